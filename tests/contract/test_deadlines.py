"""Deadlines: applied by whoever looks next, by the store's clock, and never to what was decided in time."""

from __future__ import annotations

import time as host
from collections.abc import Callable
from datetime import timedelta

import pytest

from approval_resource.audit import verify as audit
from approval_resource.claims import acquire as claims
from approval_resource.claims import deadline
from approval_resource.claims import gate as gates
from approval_resource.claims import review as reviews
from approval_resource.claims.end import renew
from approval_resource.claims.lifecycle import DEADLINE_ACTOR
from approval_resource.claims.lookup import find
from approval_resource.claims.poller import Poller
from approval_resource.claims.request import Attempt
from approval_resource.errors import AlreadyReviewedError, ConfigError, LockHeldError, ReviewTimeoutError, StaleLockError
from approval_resource.model.claim import Claim, Claimant, Verdict
from approval_resource.model.event import Kind, State
from approval_resource.steps.check import check
from approval_resource.steps.protocol import Source
from approval_resource.store.dynamodb.store import DynamoStore
from approval_resource.strict_options import read_part
from tests.builders import NOON, FrozenTime, ManualClock, a_build, a_request, take

HOUR = timedelta(hours=1)


def now(store: DynamoStore, claim: Claim) -> Claim:
    """The claim as it is stored now."""
    return find(store, claim.id)


def approve(store: DynamoStore, claim: Claim) -> Claim:
    return reviews.review(store, claim.id, reviewer="typed:alice", verdict=Verdict.APPROVE).claim


# ---- the approval's ------------------------------------------------------------------


def test_a_claim_expires_unless_decided_in_time(shared: DynamoStore, time: FrozenTime) -> None:
    """`expires_after`, counted from the claim: a review that comes later finds it expired, and frees the lock."""
    claim = take(shared, 1, expires_after=HOUR)
    assert claim.deadline == NOON + HOUR
    time.tick(hours=1)
    with pytest.raises(ReviewTimeoutError):
        approve(shared, claim)
    assert now(shared, claim).state is State.EXPIRED
    assert take(shared, 2).claimed


def test_an_approval_before_the_deadline_stands(shared: DynamoStore, time: FrozenTime) -> None:
    """Whenever it is looked at, and by whom: a gate, a claimer, or check."""
    claim = take(shared, 1, expires_after=HOUR)
    time.tick(minutes=59)
    approve(shared, claim)
    time.tick(days=30)
    assert deadline.apply_time(shared, claim).state is State.APPROVED
    with pytest.raises(LockHeldError):
        take(shared, 2)
    check(read_part(Source, {"pool": "payments", "states": ["expired"]}), None, shared)
    poller = Poller(ManualClock(time), 1.0, lambda line: None)
    assert gates.wait(shared, now(shared, claim), poller=poller).approved


@pytest.mark.parametrize("looks", ["claimer", "gate", "check", "reviewer"])
def test_whoever_looks_next_applies_a_deadline(shared: DynamoStore, time: FrozenTime, looks: str) -> None:
    """With one event, that names the deadline as what ended it."""
    claim = take(shared, 1, expires_after=HOUR)
    time.tick(hours=2)
    match looks:
        case "claimer":
            take(shared, 2)
        case "gate":
            poller = Poller(ManualClock(time), 1.0, lambda line: None)
            with pytest.raises(ReviewTimeoutError):
                gates.wait(shared, claim, poller=poller)
        case "check":
            found = check(read_part(Source, {"pool": "payments", "states": ["expired"]}), None, shared)
            assert [version["state"] for version in found] == ["expired"]
        case _:
            with pytest.raises(ReviewTimeoutError):
                approve(shared, claim)
    ends = [event for event in shared.events("payments") if event.kind is Kind.EXPIRED]
    assert [(event.claim_id, event.actor, event.reason) for event in ends] == [
        (claim.id, DEADLINE_ACTOR, "nobody decided in time")
    ]


def test_a_check_without_states_applies_nothing(shared: DynamoStore, time: FrozenTime) -> None:
    """It only reads."""
    claim = take(shared, 1, expires_after=HOUR)
    time.tick(hours=2)
    check(read_part(Source, {"pool": "payments"}), None, shared)
    assert now(shared, claim).state is State.PENDING


def test_a_gates_timeout_never_shortens_the_deadline(shared: DynamoStore) -> None:
    """The later of the two holds."""
    claim = take(shared, 1, expires_after=2 * HOUR)
    assert gates.prolong(shared, claim, HOUR, a_build()).deadline == NOON + 2 * HOUR
    assert gates.prolong(shared, claim, 3 * HOUR, a_build()).deadline == NOON + 3 * HOUR


# ---- the lock's ----------------------------------------------------------------------


@pytest.mark.parametrize("state", ["held", "pending", "approved"])
def test_a_lock_is_taken_over_after_its_hold_time(shared: DynamoStore, time: FrozenTime, state: str) -> None:
    """From any state that holds, by a claimer, and not before; the event names both builds."""
    claim = take(shared, 1, need_approval=state != "held", hold_timeout=HOUR)
    if state == "approved":
        approve(shared, claim)
    time.tick(minutes=59)
    with pytest.raises(LockHeldError):
        take(shared, 2)
    time.tick(minutes=1)
    assert now(shared, claim).state.value == state
    newer = take(shared, 2)
    ended = now(shared, claim)
    assert (ended.state, ended.approved) == (State.EXPIRED, True if state == "approved" else None)
    event = next(event for event in shared.events("payments") if event.kind is Kind.EXPIRED)
    assert (event.claim_id, event.actor, event.build) == (claim.id, str(a_build(2)), a_build(2).link)
    assert event.reason == (
        "main/app/deploy #1 held it past 2026-11-21 13:00:00 UTC, its hold_timeout; main/app/deploy #2 took it over"
    )
    assert newer.fence == claim.fence + 1
    assert audit.verify(shared, "payments").findings == []


def test_a_gate_on_a_claim_that_was_taken_over_stays_shut(shared: DynamoStore, time: FrozenTime) -> None:
    """Approved or not: it says who took the lock, and not that nobody decided."""
    claim = approve(shared, take(shared, 1, hold_timeout=HOUR))
    time.tick(hours=1)
    take(shared, 2)
    with pytest.raises(StaleLockError, match=r"expired by main/app/deploy #2 .*took it over"):
        gates.pass_through(shared, claim, a_build(1), spend=True)
    with pytest.raises(AlreadyReviewedError):
        approve(shared, claim)


def test_nobody_but_a_claimer_ends_a_hold(shared: DynamoStore, time: FrozenTime) -> None:
    """A lock that nobody else wants stays held, and its approval can still be passed on."""
    claim = approve(shared, take(shared, 1, hold_timeout=HOUR))
    time.tick(hours=5)
    check(read_part(Source, {"pool": "payments", "states": ["expired"]}), None, shared)
    assert deadline.apply_time(shared, claim).state is State.APPROVED
    assert gates.pass_through(shared, claim, a_build(1), spend=True).spent


def test_renewing_counts_the_hold_time_anew(shared: DynamoStore, time: FrozenTime) -> None:
    """From the moment of renewal, by its first length or a new one, never to an earlier end; one event each."""
    claim = take(shared, 1, hold_timeout=HOUR)
    time.tick(minutes=50)
    assert renew(shared, claim, a_build(1), None).hold_until == NOON + timedelta(minutes=110)
    time.tick(minutes=30)
    with pytest.raises(LockHeldError):
        take(shared, 2)
    assert renew(shared, claim, a_build(1), timedelta(minutes=5)).hold_until == NOON + timedelta(minutes=110)
    assert renew(shared, claim, a_build(1), 3 * HOUR).hold_until == NOON + timedelta(minutes=80) + 3 * HOUR
    time.tick(hours=3)
    assert renew(shared, claim, a_build(1), None).hold_until == NOON + timedelta(minutes=80) + 4 * HOUR
    assert [event.kind.value for event in shared.events("payments")] == ["pending", *["renewed"] * 4]
    assert audit.verify(shared, "payments").findings == []


def test_a_lock_that_was_taken_over_can_not_be_renewed(shared: DynamoStore, time: FrozenTime) -> None:
    """The late renewal fails, and touches nobody else's claim."""
    claim = take(shared, 1, hold_timeout=HOUR)
    time.tick(hours=1)
    newer = take(shared, 2)
    with pytest.raises(StaleLockError, match="can't be renewed"):
        renew(shared, claim, a_build(1), None)
    assert now(shared, newer) == newer


def test_a_claim_without_a_hold_time_asks_for_one(shared: DynamoStore) -> None:
    """There is nothing to count anew."""
    claim = take(shared, 1)
    with pytest.raises(ConfigError, match="hold_timeout: required"):
        renew(shared, claim, a_build(1), None)
    assert renew(shared, claim, a_build(1), HOUR).hold_until == NOON + HOUR


def test_the_hold_time_is_part_of_what_was_asked_for(shared: DynamoStore) -> None:
    """The same build asking with another one replaces its own pending claim."""
    first = take(shared, 1, hold_timeout=HOUR)
    assert take(shared, 1, hold_timeout=HOUR).id == first.id
    second = take(shared, 1, hold_timeout=2 * HOUR)
    assert (second.id != first.id, now(shared, first).state) == (True, State.SUPERSEDED)


# ---- whose clock ---------------------------------------------------------------------


@pytest.mark.parametrize("hours", [-1, 1, 24 * 365], ids=str)
def test_a_hosts_wall_clock_changes_nothing(
    connect: Callable[..., DynamoStore], monkeypatch: pytest.MonkeyPatch, hours: int
) -> None:
    """An hour off, or a year, or jumping in mid-claim: deadlines go by the store's Date and the monotonic clock."""
    real = host.time
    store = connect()
    claim = take(store, 1, expires_after=HOUR, hold_timeout=2 * HOUR)
    monkeypatch.setattr(host, "time", lambda: real() + hours * 3600)
    off = connect()
    assert off.head("payments")
    assert abs(off.now() - store.now()) < timedelta(seconds=2)
    assert not now(off, claim).overdue(off.now())
    assert not now(off, claim).overstayed(off.now())
    assert deadline.apply_time(off, claim).state is State.PENDING
    with pytest.raises(LockHeldError):
        take(off, 2)
    made = take(off, 3, lock_name="other", expires_after=HOUR)
    monkeypatch.undo()
    assert made.deadline is not None
    assert abs(made.deadline - store.now() - HOUR) < timedelta(seconds=5)


def test_times_are_told_by_one_clock(connect: Callable[..., DynamoStore]) -> None:
    """Hosts whose clocks differ by an hour write one log in which time goes forward."""
    ahead, behind = FrozenTime(NOON + HOUR), FrozenTime(NOON)
    one, other = connect(ahead), connect(behind)
    for number in range(3):
        take(one, number, lock_name=f"a{number}")
        take(other, number, lock_name=f"b{number}")
    places = [event.timestamp for event in one.events("payments")]
    assert places == sorted(set(places))
    assert audit.verify(one, "payments").findings == []


def test_a_request_carries_its_deadline(shared: DynamoStore) -> None:
    """Only where an approval is asked for: a held lock has a hold time instead."""
    request = a_request(need_approval=False, expires_after=HOUR)
    claim = claims.take(shared, request, Claimant(a_build()), Attempt()).claim
    assert claim.deadline is None
