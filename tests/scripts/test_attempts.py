"""A put that Concourse runs again for the same build: after a lost answer, a killed script, a dead worker, or a refusal."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import pytest

from approval_resource.store.dynamodb.store import DynamoStore
from tests.scripts.conftest import LOCK, POOL, SECONDS, Concourse, Result, Running, Wire, held_by, kept
from tests.scripts.test_gates import WAITS, approve, pending, reject

SAME = "This build asked for that before"
ON_ITS_OWN_PROCESS = pytest.mark.skipif(
    "APPROVAL_SCRIPTS_COMMAND" in os.environ, reason="a container's runtime stands between a script and these"
)
GATE: dict[str, Any] = {"lock_name": LOCK, "need_approval": True, "wait": True}
ASK: dict[str, Any] = {"lock_name": LOCK, "need_approval": True}


def log(store: DynamoStore) -> list[str]:
    """The pool's events, oldest first."""
    return [event.kind.value for event in store.events(POOL)]


def claims(store: DynamoStore) -> set[str]:
    """The ids of all claims that ever were."""
    return {event.claim_id for event in store.events(POOL)}


def answer(result: Result) -> tuple[dict[str, str], dict[str, str]]:
    """Version and metadata of an answer."""
    return result.version, result.metadata


# ---- the answer is written, and nobody hears it ----------------------------------------


@dataclass(frozen=True)
class Story:
    """One put: what came before it, its params, and whether a decision is made while it waits."""

    action: str
    params: dict[str, Any]
    before: Callable[[Concourse, DynamoStore], object] = field(default=lambda concourse, store: None)
    waits: bool = False


def asked(concourse: Concourse, store: DynamoStore) -> None:
    """Claim the lock as a step before would, for approval."""
    assert concourse.claim().code == 0


def approved(concourse: Concourse, store: DynamoStore) -> None:
    """The same, and a person approved."""
    asked(concourse, store)
    approve(store, pending(store))


STORIES = {
    "claim": Story("claim", {"lock_name": LOCK}),
    "claim for approval": Story("claim", ASK),
    "claim and wait": Story("claim", GATE, waits=True),
    "await": Story("await", {"lock_name": LOCK}, asked, waits=True),
    "await what is approved": Story("await", {"lock_name": LOCK}, approved),
    "release": Story("release", {"lock_name": LOCK}, approved),
    "release what is pending": Story("release", {"lock_name": LOCK}, asked),
}


@contextmanager
def unread() -> Iterator[int]:
    """A pipe that is open and that nobody reads, as a script's stdout is while the web node is down."""
    reading, writing = os.pipe()
    try:
        yield writing
    finally:
        os.close(reading)
        os.close(writing)


@contextmanager
def hung_up() -> Iterator[int]:
    """A pipe whose reader is gone."""
    reading, writing = os.pipe()
    os.close(reading)
    try:
        yield writing
    finally:
        os.close(writing)


def decided(running: Running, story: Story, store: DynamoStore) -> Result:
    """The end of a put, approved where it waits."""
    if story.waits:
        running.says(WAITS)
        approve(store, pending(store))
    return running.ends()


@ON_ITS_OWN_PROCESS
@pytest.mark.parametrize("story", STORIES.values(), ids=STORIES.keys())
@pytest.mark.long
def test_an_answer_that_nobody_read_is_given_again(concourse: Concourse, store: DynamoStore, story: Story) -> None:
    """The script ends well, Concourse finds no version and runs it again: the same claim, and nothing happens twice."""
    story.before(concourse, store)
    with unread() as stdout:
        first = decided(concourse.answering(stdout).start_put(story.action, **story.params), story, store)
    assert first.code == 0
    before = log(store)
    [claim_id] = claims(store)
    again = concourse.put(story.action, **story.params)
    assert again.version["id"] == claim_id
    assert log(store) == before
    assert answer(concourse.put(story.action, **story.params)) == answer(again)


@ON_ITS_OWN_PROCESS
@pytest.mark.parametrize("params", [{"lock_name": LOCK}, ASK, GATE], ids=["claim", "claim for approval", "claim and wait"])
@pytest.mark.long
def test_a_claim_that_can_t_be_answered_is_taken_back(concourse: Concourse, store: DynamoStore, params: dict[str, Any]) -> None:
    """A closed stdout, unlike one that nobody reads: the lock is free, and the next attempt fails and says why."""
    with hung_up() as stdout:
        first = decided(
            concourse.answering(stdout).start_put("claim", **params), Story("claim", params, waits="wait" in params), store
        )
    assert first.code == 143
    [claim_id] = claims(store)
    assert kept(store, {"id": claim_id}).state.value == "withdrawn"
    assert held_by(store) == ""
    before = log(store)
    again = concourse.put("claim", **params).refused()
    assert f"{SAME}: claim {claim_id}, withdrawn" in again
    assert "the step was stopped (aborted, or its time was up)" in again
    assert log(store) == before
    assert concourse.put("claim", build=2, lock_name=LOCK).version["id"] != claim_id


@ON_ITS_OWN_PROCESS
@pytest.mark.parametrize("name", ["await", "await what is approved", "release", "release what is pending"])
@pytest.mark.long
def test_what_ends_no_claim_of_its_own_survives_a_closed_stdout(concourse: Concourse, store: DynamoStore, name: str) -> None:
    """A passage through a gate and a release stay; the next attempt of the build gets its answer."""
    story = STORIES[name]
    story.before(concourse, store)
    with hung_up() as stdout:
        assert decided(concourse.answering(stdout).start_put(story.action, **story.params), story, store).code == 143
    before = log(store)
    [claim_id] = claims(store)
    assert concourse.put(story.action, **story.params).version["id"] == claim_id
    assert log(store) == before


# ---- the script is killed ----------------------------------------------------------------


class Killer:
    """Kills a put at one of its requests: before the engine gets it, or after it and before the script hears."""

    def __init__(self, wire: Wire, *, landed: bool) -> None:
        self.victim: Running | None = None
        self.killed = False
        self._point, self._seen = -1, count()
        self._open = threading.Event()
        self._landed = landed
        wire.before, wire.after = self._before, self._after
        self._open.set()

    @contextmanager
    def aim(self, point: int) -> Iterator[None]:
        """Kill at the request of that number, counted from now; requests wait until the block ends."""
        self._open.clear()
        self.killed, self._point, self._seen = False, point, count()
        yield
        self._open.set()

    def rest(self) -> bool:
        """Kill nothing more; whether something was killed."""
        self._point = -1
        return self.killed

    def _before(self, _: str) -> None:
        assert self._open.wait(SECONDS)
        if not self._landed:
            self._strike()

    def _after(self, _: str) -> None:
        if self._landed:
            self._strike()

    def _strike(self) -> None:
        if next(self._seen) == self._point:
            assert self.victim is not None
            self.killed = True
            self.victim.kill()


@ON_ITS_OWN_PROCESS
@pytest.mark.parametrize("landed", [False, True], ids=["before it lands", "once it has landed"])
@pytest.mark.parametrize("params", [{"lock_name": LOCK}, ASK], ids=["claim", "claim for approval"])
@pytest.mark.long
def test_a_claim_that_is_killed_at_any_request_is_found_again(
    concourse: Concourse, store: DynamoStore, wire: Wire, params: dict[str, Any], landed: bool
) -> None:
    """Whatever of it has landed, the same build has one claim, and no other ever was."""
    store.create_table()
    killer, line = Killer(wire, landed=landed), concourse.sourced(endpoint_url=wire.url)
    for point in count():
        told = params | {"lock_name": f"{LOCK}-{point}"}
        with killer.aim(point):
            killer.victim = line.start_put("claim", **told)
        code = killer.victim.ends().code
        killed = killer.rest()
        assert code == (-signal.SIGKILL if killed else 0)
        again = concourse.put("claim", **told)
        assert held_by(store, told["lock_name"]) == again.version["id"]
        assert {event.claim_id for event in store.events(POOL, lock_name=told["lock_name"])} == {again.version["id"]}
        if not killed:
            break
    assert point > 2, "killed at each request, the transaction among them"
    assert "TransactWriteItems" in wire.operations


@ON_ITS_OWN_PROCESS
def test_killed_before_the_decision_it_goes_on_waiting(concourse: Concourse, store: DynamoStore) -> None:
    """The second attempt waits for the claim that people were asked about, ahead of all who are in the queue."""
    first = concourse.start_put("claim", **GATE)
    first.says(WAITS)
    claim = pending(store)
    first.kill()
    other = concourse.start_put("claim", build=2, lock_name=LOCK)
    other.says("Place 1 of 1")
    again = concourse.start_put("claim", **GATE)
    again.says(f"{SAME}: claim {claim.id}, pending")
    again.says(WAITS)
    approve(store, claim)
    assert again.ends().version["id"] == claim.id
    assert log(store) == ["pending", "approved", "passed"]
    assert concourse.put("release", lock_name=LOCK).code == 0
    assert other.ends().version["id"] != claim.id


@pytest.mark.long
@ON_ITS_OWN_PROCESS
def test_killed_before_the_decision_and_decided_before_it_runs_again(concourse: Concourse, store: DynamoStore) -> None:
    """People don't wait for Concourse: what they decide while nothing runs counts, an approval as much as a rejection."""
    for build, decide, state in ((1, approve, "approved"), (2, reject, "rejected")):
        first = concourse.start_put("claim", build=build, **GATE)
        first.says(WAITS)
        claim = pending(store)
        first.kill()
        decide(store, claim)
        again = concourse.put("claim", build=build, **GATE)
        assert f"{SAME}: claim {claim.id}, {state}" in again.stderr
        assert again.code == (0 if state == "approved" else 1)
        concourse.put("release", build=build, lock_name=LOCK)


@ON_ITS_OWN_PROCESS
@pytest.mark.parametrize("landed", [False, True], ids=["before it lands", "once it has landed"])
@pytest.mark.parametrize("verdict", ["approve", "reject"])
@pytest.mark.parametrize("name", ["claim and wait", "await"])
@pytest.mark.long
def test_killed_while_it_is_being_decided(
    concourse: Concourse, store: DynamoStore, wire: Wire, name: str, verdict: str, landed: bool
) -> None:
    """The put dies while the reviewer's write is on its way: the next attempt gets what was decided."""
    story = STORIES[name]
    story.before(concourse, store)
    first = concourse.start_put(story.action, **story.params)
    first.says(WAITS)
    claim = pending(store)

    def kill(operation: str) -> None:
        if operation == "TransactWriteItems":
            first.kill()

    if landed:
        wire.after = kill
    else:
        wire.before = kill
    assert concourse.cli("--endpoint-url", wire.url, verdict, claim.id, "--comment", "so be it").code == 0
    assert not first.running
    again = concourse.put(story.action, **story.params)
    if verdict == "approve":
        assert again.version["id"] == claim.id
        assert log(store) == ["pending", "approved", "spent" if name == "await" else "passed"]
    else:
        assert "so be it" in again.refused()
        assert held_by(store) == ""
    assert claims(store) == {claim.id}


@ON_ITS_OWN_PROCESS
@pytest.mark.parametrize("landed", [False, True], ids=["before it lands", "once it has landed"])
@pytest.mark.parametrize("name", ["claim and wait", "await"])
@pytest.mark.long
def test_killed_after_the_decision_it_passes_once(
    concourse: Concourse, store: DynamoStore, wire: Wire, name: str, landed: bool
) -> None:
    """Killed at any request between the approval and the answer, the next attempt goes by the same approval, once."""
    store.create_table()
    story, killer = STORIES[name], Killer(wire, landed=landed)
    line = concourse.sourced(endpoint_url=wire.url)
    for point in count():
        build, told = point + 1, story.params | {"lock_name": f"{LOCK}-{point}"}
        if story.action == "await":
            concourse.claim(told["lock_name"], build=build)
        killer.victim = line.start_put(story.action, build=build, **told)
        killer.victim.says(WAITS)
        [claim] = [claim for claim in store.open_claims(POOL) if claim.lock_name == told["lock_name"]]
        with killer.aim(point):
            approve(store, claim)
        code = killer.victim.ends().code
        killed = killer.rest()
        assert code == (-signal.SIGKILL if killed else 0)
        again = concourse.put(story.action, build=build, **told)
        assert (again.version["id"], again.version["state"]) == (claim.id, "approved")
        happened = [event.kind.value for event in store.events(POOL, lock_name=told["lock_name"])]
        assert happened == ["pending", "approved", "spent" if name == "await" else "passed"]
        if not killed:
            break
    assert point > 1, "killed at each request, the passage among them"


@pytest.mark.long
@ON_ITS_OWN_PROCESS
def test_killed_in_the_queue_it_gets_its_turn(concourse: Concourse, store: DynamoStore) -> None:
    """The second attempt takes the place that the first one had."""
    held = concourse.claim(build=1).version
    first = concourse.start_put("claim", build=2, lock_name=LOCK)
    first.says("Place 1 of 1")
    behind = concourse.start_put("claim", build=3, lock_name=LOCK)
    behind.says("Place 2 of 2")
    first.kill()
    again = concourse.start_put("claim", build=2, lock_name=LOCK)
    again.says("Place 1 of 2")
    concourse.reject(held)
    assert again.ends().version["id"] == held_by(store)
    assert behind.running


@ON_ITS_OWN_PROCESS
@pytest.mark.parametrize("decide", [None, approve, reject], ids=["undecided", "approved", "rejected"])
@pytest.mark.long
def test_put_and_implicit_get_are_tried_again_together(
    concourse: Concourse, store: DynamoStore, decide: Callable[[DynamoStore, Any], None] | None
) -> None:
    """A gate in `get_params` that is killed: the put runs again, finds its claim, and the gate is asked about the same one."""
    version = concourse.claim().version
    gate = concourse.start_get(version, need_approval=True)
    gate.says(WAITS)
    gate.kill()
    claim = pending(store)
    if decide:
        decide(store, claim)
    again = concourse.put("claim", **ASK)
    if decide is reject:
        assert f"{SAME}: claim {claim.id}, rejected" in again.refused()
        return
    assert again.version["id"] == version["id"]
    gate = concourse.start_get(again.version, need_approval=True)
    if not decide:
        gate.says(WAITS)
        approve(store, claim)
    assert gate.ends().version == again.version
    assert claims(store) == {claim.id}


# ---- another worker ------------------------------------------------------------------------


@pytest.mark.long
@ON_ITS_OWN_PROCESS
def test_a_build_that_lost_its_worker_goes_on_with_its_claim(concourse: Concourse, store: DynamoStore) -> None:
    """Run again elsewhere with the same BUILD_ID and the same files: the same claim; with another plan it asks anew."""
    wanted = GATE | {"attach": {"plan.txt": "plan/plan.txt"}}
    concourse.write("plan/plan.txt", "+ 1 instance\n")
    first = concourse.start_put("claim", **wanted)
    first.says(WAITS)
    claim = pending(store)
    first.kill()

    def elsewhere(plan: str) -> Running:
        """The same step of the same build, in the volumes of another worker."""
        directory = concourse.scratch / f"worker-{len(concourse.started)}"
        (directory / "plan").mkdir(parents=True)
        (directory / "plan" / "plan.txt").write_text(plan)
        request = {"source": concourse.source, "params": {"action": "claim", **wanted}}
        return concourse.start("out", request, [str(directory)])

    same = elsewhere("+ 1 instance\n")
    same.says(f"{SAME}: claim {claim.id}, pending")
    same.says(WAITS)
    same.kill()
    changed = elsewhere("- 100 instances\n")
    changed.says(WAITS)
    newer = pending(store)
    assert newer.id != claim.id
    assert kept(store, {"id": claim.id}).state.value == "superseded"
    approve(store, newer)
    assert changed.ends().version["id"] == newer.id
    assert log(store) == ["pending", "superseded", "pending", "approved", "passed"]


# ---- a refusal is an answer -----------------------------------------------------------------


def by_rejection(concourse: Concourse, store: DynamoStore) -> None:
    """Somebody says no."""
    reject(store, pending(store), "not on a Friday")


def by_hand(concourse: Concourse, store: DynamoStore) -> None:
    """Somebody takes the claim back."""
    assert concourse.cli("withdraw", pending(store).id, "--reason", "not on a Friday").code == 0


def by_time(concourse: Concourse, store: DynamoStore) -> None:
    """Nobody decides in time."""


@pytest.mark.parametrize("refuse", [by_rejection, by_hand, by_time])
@pytest.mark.parametrize("name", ["claim and wait", "await"])
@pytest.mark.long
def test_a_refusal_is_told_twice_and_asked_once(
    concourse: Concourse, store: DynamoStore, name: str, refuse: Callable[[Concourse, DynamoStore], None]
) -> None:
    """Two attempts fail for one refusal, word for word; nobody is asked again, and the lock is free for the next build."""
    patience: dict[str, Any] = {"expires_after": "3s"} if refuse is by_time else {}
    story = STORIES[name]
    if story.action == "await":
        assert concourse.claim(**patience).code == 0
    params = story.params | (patience if story.action == "claim" else {})
    first = concourse.start_put(story.action, **params)
    first.says(WAITS)
    [claim_id] = claims(store)
    refuse(concourse, store)
    told = first.ends().refused()
    before = log(store)
    again = concourse.put(story.action, **params).refused()
    assert again.splitlines()[-1] == told.splitlines()[-1]
    assert ("not on a Friday" in again) is (refuse is not by_time)
    assert log(store) == before
    assert claims(store) == {claim_id}
    assert held_by(store) == ""


def test_another_build_that_took_the_lock_after_a_refusal_keeps_it(concourse: Concourse, store: DynamoStore) -> None:
    """The second attempt neither claims again nor waits for the lock, whoever holds it by then."""
    first = concourse.start_put("claim", **GATE)
    first.says(WAITS)
    reject(store, pending(store))
    first.ends().refused()
    taken = concourse.put("claim", build=2, lock_name=LOCK).version
    assert "rejected" in concourse.put("claim", **GATE).refused()
    assert held_by(store) == taken["id"]


def test_a_step_that_was_stopped_isn_t_asked_about_again(concourse: Concourse, store: DynamoStore) -> None:
    """SIGTERM, by an abort or by the step's `timeout`, withdraws the claim; the next attempt fails and claims nothing."""
    first = concourse.start_put("claim", **GATE)
    first.says(WAITS)
    [claim_id] = claims(store)
    assert first.stop().code == 143
    assert f"{SAME}: claim {claim_id}, withdrawn" in concourse.put("claim", **GATE).refused()
    assert log(store) == ["pending", "withdrawn"]
    assert held_by(store) == ""


@pytest.mark.long
def test_an_await_that_was_stopped_waits_anew(concourse: Concourse, store: DynamoStore) -> None:
    """It made no claim and ends none; the next attempt goes by the same decision."""
    version = concourse.claim().version
    first = concourse.start_put("await", lock_name=LOCK)
    first.says(WAITS)
    assert first.stop().code == 143
    again = concourse.start_put("await", lock_name=LOCK)
    again.says(WAITS)
    approve(store, pending(store))
    assert again.ends().version["id"] == version["id"]
    assert log(store) == ["pending", "approved", "spent"]


@pytest.mark.long
def test_waiting_for_the_lock_is_tried_again(concourse: Concourse, store: DynamoStore) -> None:
    """`wait_timeout` is a failure without a claim, so each attempt waits for as long, and the second may get the lock."""
    held = concourse.claim(build=1).version
    assert "gave up" in concourse.put("claim", build=2, lock_name=LOCK, wait_timeout="1s").refused()
    again = concourse.start_put("claim", build=2, lock_name=LOCK, wait_timeout="30s")
    again.says("Place 1 of 1")
    concourse.reject(held)
    assert again.ends().version["id"] == held_by(store)
