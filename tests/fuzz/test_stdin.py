"""Whatever Concourse might ever send: each of the three scripts gives a valid answer, or says in a few lines what is wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given

from approval_resource.steps.aborts import ABORTED_CODE
from demo.engine import Engine
from tests import tally
from tests.fuzz.conftest import Hunt
from tests.fuzz.inputs import Input, stories
from tests.fuzz.oracle import faults, longest, outside, require_answer, require_ending
from tests.fuzz.world import World

STORY = (3, 6)
"""How many inputs follow the first on one table, at least and at most."""


def document_of(world: World, given: Input) -> Any:
    """What stands on stdin."""
    source = world.source | given.source if isinstance(given.source, dict) else given.source
    known = world.versions[min(given.earlier, len(world.versions) - 1)] if given.earlier is not None and world.versions else {}
    version = (known | given.version or None) if isinstance(given.version, dict) else given.version
    return {"source": source, "params": given.params, "version": version}


def environment_of(given: Input) -> dict[str, str]:
    """What Concourse tells of the build."""
    if given.script == "check":
        return {}
    number = str(given.build)
    facts = {
        "BUILD_ID": number,
        "BUILD_NAME": number,
        "BUILD_TEAM_NAME": "main",
        "BUILD_PIPELINE_NAME": "app",
        "BUILD_JOB_NAME": "deploy",
    }
    return facts | {"ATC_EXTERNAL_URL": "https://ci.example"} | dict(given.environment)


def is_gate(given: Input) -> bool:
    """Whether it may end well only on an approval."""
    params = given.params if isinstance(given.params, dict) else {}
    asked = [name for name in ("need_approval", "wait") if str(params.get(name)).strip().lower() == "true"]
    match given.script, params.get("action"):
        case "in", _:
            return "need_approval" in asked
        case "out", "await":
            return True
        case "out", "claim":
            return "wait" in asked
        case _:
            return False


def try_one(world: World, given: Input) -> int:
    """Run that input and require that it ends as it may; returns its exit code."""
    document, environment = document_of(world, given), environment_of(given)
    world.uses(document["source"])
    world.longest = max(world.longest, longest([document, environment]))
    ran = world.run(given.script, json.dumps(document).encode(), environment, given.meanwhile)
    require_ending(ran, world.longest)
    if ran.code == 0:
        answer = world.took(given.script, ran.stdout)
        require_answer(given.script, ran.stdout, answer)
        if given.script != "check":
            claim = world.store.claim(answer["version"]["id"])
            assert claim is not None
            assert claim.approved or not is_gate(given), "a gate opened that nobody approved"
            if isinstance(given.params, dict) and given.params.get("action") == "claim" and claim.attachments:
                assert outside(world, claim) == [], "a file was attached that is not the build's"
    before, held = world.held, world.open_claims()
    assert len({claim.lock_name for claim in held}) == len(held), "a lock has two holders"
    assert not world.store.queues(world.pool), "somebody still stands in a queue"
    world.held = {claim.id for claim in held}
    if ran.code == ABORTED_CODE:
        assert world.held <= before, "an aborted step left a claim"
    return ran.code


@pytest.mark.parametrize("part", range(4))
def test_any_request_is_answered_or_refused_in_a_few_lines(part: int, engine: Engine, workspace: Path, hunt: Hunt) -> None:
    """Requests in any order, of any options with any values: an answer, or exit 1 with lines; the log stays whole, gates shut."""
    ended = dict.fromkeys((0, 1, ABORTED_CODE), 0)

    world = World(engine, workspace)

    @hunt(6, 250, part)
    @given(story=stories(*STORY))
    def any_story(story: list[Input]) -> None:
        world.begin()
        for given_ in story:
            ended[try_one(world, given_)] += 1
        assert faults(world) == []

    try:
        any_story()
    finally:
        tally.add(inputs=sum(ended.values()), answered=ended[0], refused=ended[1], aborted=ended[ABORTED_CODE])
    assert min(ended[0], ended[1]) > 0, f"too tame: {ended}"
