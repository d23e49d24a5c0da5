"""Events from the future, written through an endpoint that lied about the time: they open nothing, and delay nothing honest."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from approval_resource.audit import verify as audit
from approval_resource.claims import review as reviews
from approval_resource.claims.end import end_claim
from approval_resource.claims.lookup import find
from approval_resource.errors import CorruptRecordError, GateTimeoutError
from approval_resource.model.claim import Claim, Verdict
from approval_resource.model.event import State
from approval_resource.store.chain import AHEAD
from approval_resource.store.dynamodb.store import DynamoStore
from tests.builders import NOON, FrozenTime, take, under
from tests.steps.test_gate import Gate

DAYS = timedelta(days=3)
HOUR = timedelta(hours=1)
POOL = "payments"

Connect = Callable[..., DynamoStore]


@pytest.fixture
def gate(connect: Connect, tmp_path: Path) -> Gate:
    """A build at a gate, whose store tells it the true time."""
    return Gate(connect, tmp_path)


@pytest.fixture
def early(gate: Gate, connect: Connect) -> Claim:
    """A claim with a window three days ahead alone, approved by a store whose endpoint says that it is then."""
    open_then = {"required_approvals": 1, "windows": [{"days": (NOON + DAYS).strftime("%a").lower()}]}
    claim = take(gate.store, 1, terms=under(open_then))
    lied_to = connect(FrozenTime(NOON + DAYS))
    after = reviews.review(lied_to, claim.id, reviewer="aws:ana", verdict=Verdict.APPROVE).claim
    assert after.state is State.APPROVED, "where the time is wrong, the window is open"
    return after


def test_an_approval_dated_ahead_opens_no_gate(gate: Gate, early: Claim) -> None:
    """It meets no window either, and the audit reports it."""
    with pytest.raises(CorruptRecordError, match="later than the store's time"):
        gate.wait(early)
    assert "passed" not in {event.kind.value for event in gate.store.events(POOL)}
    assert any("is dated" in line and "later than the store's time" in line for line in audit.verify(gate.store, POOL).findings)


@pytest.mark.parametrize(("ahead", "opens"), [(timedelta(seconds=1), True), (AHEAD + timedelta(seconds=1), False)])
def test_clocks_may_differ_by_a_second(gate: Gate, connect: Connect, ahead: timedelta, opens: bool) -> None:
    """Such an approval opens its gate; one that is further ahead opens none."""
    claim = take(gate.store, 1)
    reviews.review(connect(FrozenTime(NOON + ahead)), claim.id, reviewer="aws:ana", verdict=Verdict.APPROVE)
    if opens:
        assert gate.wait(find(gate.store, claim.id)).approved
        assert audit.verify(gate.store, POOL).findings == []
    else:
        with pytest.raises(CorruptRecordError, match="later than the store's time"):
            gate.wait(find(gate.store, claim.id))


@pytest.mark.usefixtures("early")
def test_what_is_honest_after_it_counts_from_its_own_time(gate: Gate) -> None:
    """Its place in the log is after it; deadlines, holds and timeouts go by when it was made."""
    claim = take(gate.store, 2, lock_name="other", expires_after=2 * HOUR, hold_timeout=3 * HOUR)
    assert claim.timestamp > NOON + DAYS
    assert (claim.created_at, claim.deadline, claim.hold_until) == (NOON, NOON + 2 * HOUR, NOON + 3 * HOUR)
    with pytest.raises(GateTimeoutError):
        gate.wait(claim, timeout=timedelta(minutes=5))
    assert NOON + timedelta(minutes=5) <= gate.time.at < NOON + timedelta(minutes=6)


@pytest.mark.long
@pytest.mark.usefixtures("early")
def test_an_honest_approval_after_it_opens_in_its_own_time(gate: Gate) -> None:
    """`not_before` counts from its claim; the events tell their true time, and the lock is free again."""
    claim = take(gate.store, 2, lock_name="other", terms=under(required_approvals=1, not_before="1h"), expires_after=2 * HOUR)
    gate.review(claim, Verdict.APPROVE, who="aws:ana")()
    assert gate.wait(find(gate.store, claim.id)).approved
    assert NOON + HOUR <= gate.time.at < NOON + HOUR + timedelta(minutes=1)
    end_claim(gate.store, find(gate.store, claim.id), State.RELEASED, actor="somebody")
    own = [event for event in gate.store.events(POOL) if event.claim_id == claim.id]
    assert len(own) == 5
    assert all(event.timestamp > NOON + DAYS > event.at >= NOON for event in own)
    assert take(gate.store, 3, lock_name="other", need_approval=False).claimed
