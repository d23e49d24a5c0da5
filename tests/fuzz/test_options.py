"""Every option of the three scripts with every hostile value, one at a time, in a request that is right but for it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from approval_resource.claims import review as reviews
from approval_resource.model.claim import Verdict
from approval_resource.steps.get import GetParams
from approval_resource.steps.protocol import RequestedVersion, Source
from approval_resource.steps.put_params import ACTIONS
from approval_resource.strict_options import Options, named_options
from tests import tally
from tests.builders import take
from tests.fuzz.hostile import FILE_NAMES, FILES, HALF, NO_FILES, NO_SPANS, NUMBERS, SPANS, TEXTS
from tests.fuzz.inputs import REACHING
from tests.fuzz.oracle import faults, longest, outside, require_answer, require_ending
from tests.fuzz.world import World

MAPS = tuple({name: path} for name in FILE_NAMES for path in ("plan.txt", "full.bin")) + tuple({"f": path} for path in NO_FILES)
SHAPES: tuple[Any, ...] = (
    None,
    True,
    False,
    [],
    {},
    [[]],
    [None],
    {"a": 1},
    {"a": {"a": [1]}},
    {"": ""},
    ["approved"],
    ["approved", 1],
    HALF,
    [HALF],
)
VALUES = (*TEXTS, *NUMBERS, *SPANS, *NO_SPANS, *FILES, *NO_FILES, *MAPS, *SHAPES)
BUILD = {
    "ATC_EXTERNAL_URL": "https://ci.example",
    "BUILD_ID": "1",
    "BUILD_NAME": "1",
    "BUILD_TEAM_NAME": "main",
    "BUILD_PIPELINE_NAME": "app",
    "BUILD_JOB_NAME": "deploy",
    "BUILD_CREATED_BY": "anna",
}
PARTS: dict[str, tuple[str, str, type[Options]]] = {
    "source": ("check", "source", Source),
    "version of check": ("check", "version", RequestedVersion),
    "version of in": ("in", "version", RequestedVersion),
    "params of in": ("in", "params", GetParams),
    **{f"params of {action}": ("out", "params", model) for action, model in ACTIONS.items()},
}


def requests(world: World) -> dict[str, dict[str, Any]]:
    """A request that works for each part, on claims of the build that runs them."""
    take(world.store, 1, pool=world.pool, lock_name="release", need_approval=False)
    take(world.store, 1, pool=world.pool, lock_name="renew", need_approval=False)
    approved = take(world.store, 1, pool=world.pool, lock_name="await")
    reviews.review(world.store, approved.id, reviewer="typed:ana", verdict=Verdict.APPROVE)
    version = {"id": approved.id, "lock_name": "await", "state": "pending"}
    version["timestamp"] = f"{approved.changed:%Y-%m-%dT%H:%M:%S.%fZ}"
    given = {"source": world.source, "version": version, "params": {}}
    own = {"renew": {"hold_timeout": "1h"}}
    params = {action: {"action": action, "lock_name": action} | own.get(action, {}) for action in ACTIONS}
    for verdict in Verdict:
        waiting = take(world.store, 2, pool=world.pool, lock_name=verdict.value)
        (world.workspace / verdict.value).mkdir()
        (world.workspace / verdict.value / "id").write_text(waiting.id)
        params[verdict.value] = {"action": verdict.value, "from": verdict.value}
    return {part: given | {"params": params.get(part.removeprefix("params of "), {})} for part in PARTS}


def cases(model: type[Options]) -> Iterator[tuple[str, Any]]:
    """Each option with each value."""
    for option in named_options(model):
        if option not in REACHING:
            yield from ((option, value) for value in VALUES)


def run(world: World, script: str, document: dict[str, Any]) -> int:
    """Run that script and require that it ends as it may; returns its exit code."""
    ran = world.run(script, json.dumps(document).encode(), {} if script == "check" else BUILD)
    require_ending(ran, longest(document))
    if ran.code == 0:
        require_answer(script, ran.stdout, json.loads(ran.stdout))
    return ran.code


@pytest.mark.parametrize("part", PARTS)
def test_any_value_of_any_option_is_taken_or_refused(part: str, world: World, effort: tally.Effort) -> None:
    """A valid answer, or exit 1 with few lines; nothing is left behind that the audit can't account for."""
    script, where, model = PARTS[part]
    number, random = tally.seeded()
    print(f"again with APPROVAL_SEED={number}")  # noqa: T201 - pytest shows it with a failure
    request = requests(world)[part]
    every = list(cases(model))
    tried = every if effort.soak else random.sample(every, 15)
    assert run(world, script, request) == 0
    answered = 0
    for turn, (option, value) in enumerate(tried):
        document = request | {where: request[where] | {option: value}}
        if part == "params of claim" and option != "lock_name":
            document["params"] |= {"lock_name": f"{turn}"}  # one of its own, so that nothing waits
        world.uses(document["source"])
        try:
            answered += run(world, script, document) == 0
        except AssertionError as wrong:
            raise AssertionError(f"{option}: {value!r:.200}: {wrong}") from wrong
    tally.add(inputs=len(tried), answered=answered, refused=len(tried) - answered)
    assert faults(world) == []
    for claim in world.open_claims():
        assert outside(world, claim) == [], "a file was attached that is not the build's"
    assert answered < len(tried)
