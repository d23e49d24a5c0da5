"""The gate opens on an approval and on nothing else, and tells what goes on meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from approval_resource import pools
from approval_resource.claims import gate as gates
from approval_resource.claims import release as releases
from approval_resource.claims import review as reviews
from approval_resource.claims.end import end_claim
from approval_resource.claims.lifecycle import transition
from approval_resource.claims.lookup import find
from approval_resource.errors import (
    ApprovalError,
    ConfigError,
    CorruptRecordError,
    GateTimeoutError,
    LockNotFoundError,
    NoApprovalNeededError,
    NothingToReleaseError,
    ReviewRejectedError,
    ReviewTimeoutError,
    StaleLockError,
)
from approval_resource.model.claim import Build, Claim, Claimant, Verdict
from approval_resource.model.event import State
from approval_resource.steps.gate import pass_gate
from approval_resource.steps.get import GetParams, get
from approval_resource.steps.protocol import Source, Version
from approval_resource.steps.put import put as put_step
from approval_resource.steps.put_params import read_put_params
from approval_resource.steps.step import Step
from approval_resource.store.dynamodb import items
from approval_resource.store.dynamodb.store import DynamoStore
from approval_resource.store.dynamodb.values import Item
from approval_resource.strict_options import read_part
from tests.builders import FrozenTime, ManualClock, a_build, take, under

SOURCE = read_part(Source, {"pool": "payments", "AWS_DEFAULT_REGION": "eu-west-1", "wait_lock": 10})


class Gate:
    """A build that waits at a gate, on a clock that only its waiting moves."""

    def __init__(self, connect: Callable[..., DynamoStore], directory: Path) -> None:
        self.time = FrozenTime()
        self.clock = ManualClock(self.time)
        self.store = connect(store_clock=self.time)
        self.lines: list[str] = []
        self.step = Step(SOURCE, directory, a_build(7), self.store, self.clock, self.lines.append)

    def meanwhile(self, *acts: Callable[[], object]) -> None:
        """What happens during each of the next pauses."""
        self.clock.on_sleep = list(acts)

    def review(self, claim: Claim, verdict: Verdict, who: str = "typed:bob", **more: Any) -> Callable[[], object]:
        """Somebody's verdict, to be given later."""
        return partial(reviews.review, self.store, claim.id, reviewer=who, verdict=verdict, **more)

    def wait(self, claim: Claim, **options: Any) -> Claim:
        """Wait as a get does."""
        return pass_gate(self.step, claim, **options)


@pytest.fixture
def gate(connect: Callable[..., DynamoStore], tmp_path: Path) -> Gate:
    """Such a build."""
    return Gate(connect, tmp_path)


def nothing() -> None:
    """A pause in which nothing happens."""


def test_an_approval_opens_it(gate: Gate) -> None:
    """The claim comes back approved, and the passage is on record."""
    claim = take(gate.store, 1, description="v1.2")
    gate.meanwhile(nothing, gate.review(claim, Verdict.APPROVE, comment="looks good"))
    assert gate.wait(claim).state is State.APPROVED
    assert [event.kind.value for event in gate.store.events("payments")] == ["pending", "approved", "passed"]
    assert gate.lines[0] == "The lock deploy is waiting for an approval. There is no time limit"
    assert gate.lines[1] == "  claimed by main/app/deploy #1: v1.2"
    assert gate.lines[3] == f"  approvals show {claim.id}"
    assert gate.lines[4] == f"  approvals approve --id {claim.id}"
    assert gate.lines[-1] == "The lock deploy has been approved by typed:bob: looks good"
    assert len(gate.lines) == 8


def test_a_rejection_ends_it_with_who_and_why(gate: Gate) -> None:
    """The one line names the person, the time and the reason; nothing is recorded as passed."""
    claim = take(gate.store, 1)
    gate.meanwhile(gate.review(claim, Verdict.REJECT, comment="not today"))
    with pytest.raises(ReviewRejectedError, match=r"typed:bob at 2026-11-21 12:00:\d\d UTC: not today"):
        gate.wait(claim)
    assert [event.kind.value for event in gate.store.events("payments")] == ["pending", "rejected"]


def test_its_timeout_expires_the_claim_and_frees_the_lock(gate: Gate) -> None:
    """Counted from the claim, however late the gate began to wait."""
    claim = take(gate.store, 1)
    gate.time.tick(minutes=2)
    began = gate.time.at
    with pytest.raises(ReviewTimeoutError, match="of lock deploy by 2026-11-21 12:03:00 UTC"):
        gate.wait(claim, timeout=timedelta(minutes=3))
    assert timedelta(minutes=1) <= gate.time.at - began < timedelta(minutes=1, seconds=30)
    stored, lock = gate.store.claim(claim.id), gate.store.lock("payments", "deploy")
    assert stored is not None
    assert lock is not None
    assert (stored.state, lock.holder) == (State.EXPIRED, "")


def test_an_approval_in_time_stands_however_late_it_is_seen(gate: Gate) -> None:
    """A gate that looks after the deadline passes on what was decided before it."""
    claim = take(gate.store, 1)
    gates.prolong(gate.store, claim, timedelta(minutes=3), a_build())
    gate.review(claim, Verdict.APPROVE)()
    gate.time.tick(hours=1)
    assert gate.wait(find(gate.store, claim.id), timeout=timedelta(minutes=3)).approved


def test_an_approval_after_the_deadline_is_too_late(gate: Gate) -> None:
    """Though nobody had looked yet, the verdict is refused and the claim expires."""
    claim = take(gate.store, 1)
    gates.prolong(gate.store, claim, timedelta(minutes=3), a_build())
    gate.time.tick(minutes=3)
    with pytest.raises(ReviewTimeoutError):
        gate.review(claim, Verdict.APPROVE)()
    assert find(gate.store, claim.id).state is State.EXPIRED


def test_the_latest_of_several_timeouts_is_the_deadline(gate: Gate) -> None:
    """A get that is more patient moves the deadline on; one that is less gives up by itself and leaves the claim."""
    claim = take(gate.store, 1)
    gates.prolong(gate.store, claim, timedelta(minutes=30), a_build())
    with pytest.raises(GateTimeoutError, match="may still be decided on until 2026-11-21 12:30:00 UTC"):
        gate.wait(find(gate.store, claim.id), timeout=timedelta(minutes=3))
    assert find(gate.store, claim.id).state is State.PENDING
    later = gates.prolong(gate.store, claim, timedelta(minutes=60), a_build())
    assert later.deadline == claim.timestamp + timedelta(minutes=60)


@pytest.mark.long
def test_time_left_is_told_every_few_minutes_and_not_at_each_look(gate: Gate) -> None:
    """An hour of looking is a dozen lines."""
    claim = take(gate.store, 1)
    with pytest.raises(ReviewTimeoutError):
        gate.wait(claim, timeout=timedelta(hours=1))
    told = [line for line in gate.lines if "is waiting for an approval. There is" in line]
    assert 11 <= len(told) <= 13
    assert told[0].endswith("There is 1 h left")
    assert len(gate.clock.slept) > 300


def test_each_review_that_decides_nothing_yet_is_one_line(gate: Gate) -> None:
    """People see who said what while more people are waited for."""
    claim = take(gate.store, 1, terms=under(required_approvals=2))
    gate.meanwhile(
        gate.review(claim, Verdict.APPROVE, "aws:ann", comment="fine"),
        nothing,
        gate.review(claim, Verdict.APPROVE, "aws:bob"),
    )
    gate.wait(claim)
    assert [line for line in gate.lines if "not decided yet" in line] == [
        "aws:ann said approve: fine; not decided yet (1 of 2 approvals (aws:ann))"
    ]


@pytest.mark.parametrize("state", [State.RELEASED, State.WITHDRAWN])
def test_a_claim_that_has_ended_opens_nothing(gate: Gate, state: State) -> None:
    """Not even when it had been approved: it no longer holds its lock."""
    claim = take(gate.store, 1)
    gate.review(claim, Verdict.APPROVE)()
    ended = end_claim(gate.store, find(gate.store, claim.id), state, actor="op")
    with pytest.raises(StaleLockError, match=f"is {state.value} by op"):
        gate.wait(ended)


def test_a_claim_that_never_asked_opens_nothing(gate: Gate) -> None:
    """A lock held without approval can't pass a gate that demands one."""
    with pytest.raises(NoApprovalNeededError):
        gate.wait(take(gate.store, 1, need_approval=False))


def test_a_claim_that_ends_between_decision_and_passage_opens_nothing(gate: Gate) -> None:
    """The passage is recorded in the state the claim is in, not the one it was seen in."""
    claim = take(gate.store, 1)
    gate.review(claim, Verdict.APPROVE)()
    approved = find(gate.store, claim.id)
    end_claim(gate.store, approved, State.RELEASED, actor="op")
    with pytest.raises(StaleLockError):
        gates.pass_through(gate.store, approved, a_build(7), spend=True)


def put(store: DynamoStore, item: Item) -> None:
    """Write behind the store's back, as somebody with write access could."""
    store._client.put_item(TableName=store._table, Item=item)


def test_an_approval_without_its_event_opens_nothing(gate: Gate) -> None:
    """A claim that was edited to look approved is not trusted: the log knows nothing of it."""
    claim = take(gate.store, 1)
    forged = transition(claim, State.APPROVED, actor="typed:eve", reason="", at=gate.time.at + timedelta(seconds=1))
    put(gate.store, items.claim_item(forged))
    with pytest.raises(CorruptRecordError, match="not as its newest event left it"):
        gate.wait(forged)


def test_an_approval_whose_event_tells_of_something_else_opens_nothing(gate: Gate) -> None:
    """Nor when it points at an event that is not its own."""
    claim = take(gate.store, 1)
    put(gate.store, items.claim_item(transition(claim, State.APPROVED, actor="typed:eve", reason="", at=claim.timestamp)))
    with pytest.raises(CorruptRecordError, match="not as its newest event left it"):
        gate.wait(find(gate.store, claim.id))


@pytest.mark.parametrize("changed", [{"state": {"S": "waved through"}}, {"approved": {"BOOL": True}}, {"extra": {"S": "x"}}])
def test_an_unreadable_claim_opens_nothing(gate: Gate, changed: dict[str, Any]) -> None:
    """An unknown state, contradicting flags or anything unknown in it: refused, with what to do."""
    claim = take(gate.store, 1)
    put(gate.store, items.claim_item(claim) | changed)
    with pytest.raises(CorruptRecordError, match="nothing was opened"):
        gate.wait(claim, timeout=timedelta(minutes=1))


def test_a_version_of_another_pool_or_of_nothing_is_refused(gate: Gate, tmp_path: Path) -> None:
    """A get never answers for a claim it doesn't know, or one of a pool it wasn't configured for."""
    elsewhere = take(gate.store, 1, pool="other")
    for version in (Version.of(elsewhere), Version("nope", "deploy", State.PENDING, gate.time.at)):
        with pytest.raises(ApprovalError, match="pool payments has no claim"):
            get(gate.step, GetParams(), version)
    assert list(tmp_path.iterdir()) == []


def test_a_made_up_version_is_refused(gate: Gate, tmp_path: Path) -> None:
    """A state or a place in the log that the claim never had is not taken on trust."""
    claim = take(gate.store, 1)
    for made_up in (
        Version(claim.id, "deploy", State.APPROVED, claim.timestamp),
        Version(claim.id, "deploy", State.PENDING, claim.timestamp + timedelta(seconds=1)),
    ):
        with pytest.raises(ApprovalError):
            get(gate.step, GetParams(), made_up)


def test_an_event_that_is_not_visible_yet_is_looked_for_again(gate: Gate) -> None:
    """A decision may be seen item by item while it lands; the gate waits for the rest of it rather than failing."""
    claim = take(gate.store, 1)
    gate.review(claim, Verdict.APPROVE)()
    approved = find(gate.store, claim.id)
    seen, hidden = gate.store.event, [None, None]
    gate.store.event = lambda *place: hidden.pop() if hidden else seen(*place)  # type: ignore[method-assign]
    assert gate.wait(approved).approved
    assert hidden == []


def test_a_resource_of_one_lock_takes_no_other(gate: Gate) -> None:
    """source.lock_name binds get, await and release alike, and a version can't lend its lock's name to another's claim."""
    claim = take(gate.store, 1, lock_name="staging")
    gate.review(claim, Verdict.APPROVE)()
    version = Version.of(find(gate.store, claim.id))
    production = replace(gate.step, source=replace(SOURCE, lock_name="production"))
    with pytest.raises(ConfigError, match=r'"staging", but source\.lock_name is "production"'):
        get(production, GetParams(need_approval=True), version)
    with pytest.raises(LockNotFoundError, match='of lock "production"'):
        get(production, GetParams(need_approval=True), replace(version, lock_name="production"))
    (gate.step.directory / "gate").mkdir()
    (gate.step.directory / "gate" / "id").write_text(claim.id)
    for action in ("await", "release"):
        params = read_put_params({"action": action, "from": "gate"})
        with pytest.raises(ConfigError, match=r"params\.from: is of lock"):
            put_step(production, params)
    assert find(gate.store, claim.id).state is State.APPROVED


def released(gate: Gate, build: Build, claim_id: str = "") -> releases.Ended:
    """That build's release of lock deploy."""
    return releases.release(gate.store, "payments", "deploy", Claimant(build), claim_id=claim_id)


def test_a_build_that_never_got_its_lock_frees_nobody_elses(gate: Gate) -> None:
    """Of a job that claims the lock itself, a build that failed or was aborted before has nothing to release."""
    first = take(gate.store, 1, need_approval=False)
    released(gate, a_build(1))
    holder = take(gate.store, 2, need_approval=False)
    ended = released(gate, a_build(3))
    assert (ended.changed, ended.claim.id) == (False, first.id)
    assert find(gate.store, holder.id).claimed
    assert released(gate, a_build(4, job="unlock")).claim.id == holder.id


def test_a_build_that_was_refused_the_approval_frees_nothing(gate: Gate) -> None:
    """A second build of the job at the same gate can't end the claim under the first, named or not; another job can."""
    claim = take(gate.store, 1)
    gate.review(claim, Verdict.APPROVE)()
    first, second = a_build(10, job="apply"), a_build(11, job="apply")
    for build in (first, second):
        gates.pass_through(gate.store, claim, build, spend=False)
    gates.pass_through(gate.store, claim, first, spend=True)
    left = released(gate, second, claim.id)
    assert (left.claim.id, left.changed) == (claim.id, False)
    with pytest.raises(NothingToReleaseError, match=r"in use by main/app/apply #10; it was left alone"):
        released(gate, second)
    assert find(gate.store, claim.id).claimed
    assert released(gate, first, claim.id).changed


def asked(gate: Gate) -> list[tuple[str, bool]]:
    """From now on: each request of the gate's store by its operation, and whether it is read consistently."""
    found: list[tuple[str, bool]] = []

    def note(params: dict[str, Any], model: Any, **_: object) -> None:
        found.append((model.name, bool(params.get("ConsistentRead"))))

    gate.store._client.meta.events.register("provide-client-params.dynamodb", note)
    return found


def test_a_look_is_one_read_at_half_the_price(gate: Gate) -> None:
    """While nothing changes, a look is one eventually consistent read; the approval itself is read consistently."""
    claim = take(gate.store, 1)
    looks: list[list[tuple[str, bool]]] = []
    requests = asked(gate)

    def look() -> None:
        looks.append(list(requests))
        requests.clear()

    def approve() -> None:
        gate.review(claim, Verdict.APPROVE)()
        requests.clear()

    gate.meanwhile(look, look, look, look, approve)
    assert gate.wait(claim).approved
    assert looks[1:] == [[("GetItem", False)]] * 3
    assert requests[:2] == [("GetItem", False), ("GetItem", True)]
    assert all(consistent for name, consistent in requests[1:] if name in ("GetItem", "Query"))


def test_a_gate_looks_twice_a_second_or_as_often_as_wait_lock_says(gate: Gate) -> None:
    """Longer pauses of the source don't make people wait; shorter ones are kept to; none is in step with another gate's."""
    for wait_lock, usual, longest in ((10, 0.5, 0.55), (0.2, 0.2, 0.2)):
        step = replace(gate.step, source=replace(gate.step.source, wait_lock=wait_lock))
        gate.clock.slept.clear()
        for _ in range(30):
            step.gate_poller.pause()
        assert all(usual * 0.9 <= pause <= longest for pause in gate.clock.slept)
        assert len(set(gate.clock.slept)) > 10


def test_a_cheap_read_opens_nothing(gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever an eventually consistent read says: the gate stays shut while the claim itself waits."""
    claim = take(gate.store, 1, expires_after=timedelta(minutes=1))
    lies = replace(claim, state=State.APPROVED, revision=claim.revision + 1)
    monkeypatch.setattr(gate.store, "glance", lambda claim_id: lies)
    with pytest.raises(ReviewTimeoutError):
        gate.wait(claim)


def test_a_late_cheap_read_delays_nothing_but_itself(gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    """A replica that is behind shows the claim as it was; the next look finds what was decided."""
    claim = take(gate.store, 1)
    real = gate.store.glance
    late = [claim, claim]
    monkeypatch.setattr(gate.store, "glance", lambda claim_id: late.pop() if late else real(claim_id))
    gate.meanwhile(gate.review(claim, Verdict.APPROVE))
    assert gate.wait(claim).approved
    assert len(gate.clock.slept) == 3


def test_a_frozen_gate_costs_no_more_than_one_that_waits(gate: Gate) -> None:
    """It reads the pool's settings too, so it looks half as often."""
    claim = take(gate.store, 1)
    gate.review(claim, Verdict.APPROVE)()
    pools.freeze(gate.store, "payments", timedelta(seconds=20), "fire", actor="aws:op")
    requests = asked(gate)
    assert gate.wait(find(gate.store, claim.id)).approved
    looks = [name for name, consistent in requests if (name, consistent) == ("GetItem", False)]
    assert 15 <= len(looks) <= 22
