"""Whatever is typed after `cli.py`: it is done, or refused in a few lines; it never crashes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from approval_resource.claims import review as reviews
from approval_resource.model.claim import Verdict
from cli import cli
from demo.engine import Engine
from tests import tally
from tests.builders import take
from tests.fuzz.commands import CLAIMS, Word, lines
from tests.fuzz.conftest import Hunt
from tests.fuzz.oracle import faults, longest, require_command_ending
from tests.fuzz.world import World

STORY = (3, 6)


def begin(world: World) -> list[str]:
    """A pool with a claim that is held, a pending one, an approved and a rejected one; their ids."""
    world.begin()
    made = [
        take(world.store, number, pool=world.pool, lock_name=f"a{number or ''}", need_approval=number > 0)
        for number in range(CLAIMS)
    ]
    for claim, verdict in zip(made[2:], (Verdict.APPROVE, Verdict.REJECT), strict=True):
        reviews.review(world.store, claim.id, reviewer="typed:somebody", verdict=verdict)
    return [claim.id for claim in made]


@pytest.fixture
def receipts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The working directory has files that could be receipts."""
    event = {"pool": "fuzzed1", "timestamp": "x" * 30, "revision": 10**300}
    (tmp_path / "receipt.json").write_text(json.dumps({"event": event}))
    (tmp_path / "junk.json").write_text('{"event": {"pool": "\\ud800"}}')
    (tmp_path / "deep.json").write_text("[" * 100_000)
    (tmp_path / "odd.json").write_text('{"event": {"pool": {"a": NaN}}}')
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("part", range(2))
@pytest.mark.usefixtures("receipts")
def test_any_line_is_done_or_refused_in_a_few_lines(part: int, engine: Engine, workspace: Path, hunt: Hunt) -> None:
    """Any words in any order: exit 0, 1 or 2, 130 where it is interrupted, never a traceback, nothing that moves a cursor; the log stays whole."""
    world = World(engine, workspace, stories=8)
    ended = dict.fromkeys((0, 1, 2, 130), 0)

    @hunt(6, 250, part)
    @given(story=st.lists(lines(cli), min_size=STORY[0], max_size=STORY[1]))
    def any_story(story: list[list[Word]]) -> None:
        claims = begin(world)

        def spelt(word: Word) -> str:
            if isinstance(word, str):
                return word
            return world.pool if word.what == "pool" else claims[word.number][: word.length]

        for line in story:
            words = [spelt(word) for word in line]
            world.longest = max(world.longest, longest(words))
            ran = world.command(*words)
            require_command_ending(ran, world.longest, raw="--attachment" in line)
            ended[ran.code] += 1
        assert faults(world) == []

    try:
        any_story()
    finally:
        tally.add(inputs=sum(ended.values()), commands_done=ended[0], commands_refused=ended[1] + ended[2])
    assert all(ended[code] for code in (0, 1, 2)), f"too tame: {ended}"
