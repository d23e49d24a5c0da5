"""Bytes that are hardly JSON: each of the three scripts answers, or says in one line what it can't read."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, note
from hypothesis import strategies as st

from demo.engine import Engine
from tests import tally
from tests.builders import take
from tests.fuzz.conftest import Hunt
from tests.fuzz.inputs import SCRIPTS
from tests.fuzz.mutations import Spoil, spoil
from tests.fuzz.oracle import faults, require_answer, require_ending
from tests.fuzz.world import World

ENVIRONMENT = {"BUILD_ID": "7", "BUILD_TEAM_NAME": "main", "ATC_EXTERNAL_URL": "https://ci.example"}
PARAMS = (
    {"action": "claim", "lock_name": "b", "need_approval": True, "payload": {"n": 12.5}, "attach": {"plan.txt": "plan.txt"}},
    {"action": "release", "lock_name": "a"},
    {"action": "await", "lock_name": "a", "timeout": "90m", "verify": {}},
)
REPEATED = 10_000
"""How long a text may be that the spoiled document has and a line repeats."""
DEPTHS = range(860, 1_000)
"""Around Python's own limit, where one more frame decides what fails."""


def documents(world: World, script: str) -> list[dict[str, Any]]:
    """What the script would take, on a pool in which a claim of this build is held."""
    claim = take(world.store, pool=world.pool, lock_name="a", need_approval=False)
    version = {"id": claim.id, "lock_name": "a", "state": "held", "timestamp": f"{claim.changed:%Y-%m-%dT%H:%M:%S.%fZ}"}
    if script == "out":
        return [{"source": world.source, "params": params} for params in PARAMS]
    params = {"params": {"need_approval": False}} if script == "in" else {}
    return [{"source": world.source, "version": version} | params, {"version": version, "source": world.source}]


def try_one(world: World, script: str, stdin: bytes) -> int:
    """Run the script on those bytes and require that it ends as it may; returns its exit code."""
    ran = world.run(script, stdin, {} if script == "check" else ENVIRONMENT)
    require_ending(ran, REPEATED)
    if ran.code == 0:
        require_answer(script, ran.stdout, json.loads(ran.stdout))
    return ran.code


@pytest.mark.parametrize("script", SCRIPTS)
def test_spoiled_bytes_are_answered_or_refused(script: str, engine: Engine, workspace: Path, hunt: Hunt) -> None:
    """Flipped, cut, doubled, misencoded, nested a hundred thousand deep: an answer, or exit 1 with few lines."""
    world = World(engine, workspace)
    originals = documents(world, script)
    ended: dict[int, int] = {}

    @hunt(60, 2_500, SCRIPTS.index(script))
    @given(which=st.integers(0, 2), spoils=st.lists(spoil, min_size=1, max_size=4))
    def any_bytes(which: int, spoils: list[Spoil]) -> None:
        stdin = json.dumps(originals[which % len(originals)]).encode()
        for spoiled in spoils:
            stdin = spoiled(stdin)
        note(f"stdin: {stdin[:2_000]!r}")
        code = try_one(world, script, stdin)
        ended[code] = ended.get(code, 0) + 1

    try:
        any_bytes()
        assert faults(world) == []
    finally:
        tally.add(inputs=sum(ended.values()), answered=ended.get(0, 0), refused=ended.get(1, 0))
    assert 1 in ended


def _nested(depth: int, inside: str) -> str:
    return "[" * depth + inside + "]" * depth


PLACES: dict[str, Callable[[dict[str, Any], str], str]] = {
    "the document": lambda document, deep: deep,
    "a source key": lambda document, deep: json.dumps(document).replace('"pool": ', f'"debug": {deep}, "pool": '),
    "an unknown key": lambda document, deep: json.dumps(document).replace('"pool": ', f'"pol": {deep}, "pool": '),
    "params": lambda document, deep: json.dumps(document | {"params": 0}).replace('"params": 0', f'"params": {deep}'),
    "the version": lambda document, deep: json.dumps(document | {"version": 0}).replace('"version": 0', f'"version": {deep}'),
    "the action": lambda document, deep: json.dumps(document | {"params": {"action": 0}}).replace("0}}", f"{deep}}}}}"),
    "the payload": lambda document, deep: json.dumps(
        document | {"params": {"action": "claim", "lock_name": "c", "payload": 0}}
    ).replace('"payload": 0', f'"payload": {{"deep": {deep}}}'),
}


@pytest.mark.parametrize("place", PLACES)
def test_nesting_of_any_depth_is_taken_or_refused(place: str, world: World, effort: tally.Effort) -> None:
    """Wherever the document is nested, and however deep, one line says that it is too deep, if it is."""
    script = "check" if place == "the version" else "out"
    document = documents(world, script)[0]
    depths = [1, 100, *DEPTHS[:: effort.of(12, 1)], 10_000, 100_000]
    for depth in depths:
        code = try_one(world, script, PLACES[place](document, _nested(depth, "")).encode())
        assert depth < DEPTHS[0] or code == 1 or place == "the payload", depth
    tally.add(inputs=len(depths))
