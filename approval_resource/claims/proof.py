"""Evidence for a decision: the events of the log and the policies, held against the claim."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from approval_resource.canonical import instant
from approval_resource.claims.decide import POLICY_ACTOR, _until, decision_of
from approval_resource.claims.lookup import find
from approval_resource.claims.poller import Poller
from approval_resource.documents.claims import claim_digest, made_under
from approval_resource.documents.events import event_digest
from approval_resource.errors import CorruptRecordError, LockNotFoundError, StaleLockError, UnsupportedDecisionError
from approval_resource.model.claim import Claim
from approval_resource.model.event import Event, State
from approval_resource.store.chain import AHEAD
from approval_resource.store.interface import LockStore

if TYPE_CHECKING:
    from approval_resource.policy.decision import Decision

SETTLING_TIME = timedelta(minutes=1)
"""Age up to which an event that isn't found is looked for again. An older one counts as missing."""
FRESH_LOOKS = 6
"""Lower bound of the looks at a claim or event that doesn't fit yet."""
FRESH_PAUSE = 0.5
"""Upper bound of the seconds between two reads of a claim that its log contradicts."""
FRESH_SECONDS = 2.5
"""Lower bound of the seconds that these looks last. Every item of a commit is visible by then."""
MAX_LOOKS = 150
ATTEMPTS = 3
DOUBT = timedelta(minutes=2)
"""Upper bound of the time between the instant of a decision and that of its event."""


def borne_out(store: LockStore, claim: Claim, poller: Poller) -> Claim:
    """Return the claim as it is stored now, once its newest event in the log confirms that.

    Reads are not transactional, so a commit in flight looks like an edit. Only a difference that lasts for
    `FRESH_SECONDS` is an error.

    Raises:
        LockNotFoundError: the log has no event of the claim any more.
        CorruptRecordError: the claim is not as its newest event left it, or that event was altered.
    """
    for _ in range(_looks(poller)):
        newest = poller.call(newest_event, store, claim)
        if newest is not None and newest.claim == claim_digest(claim) and newest.digest == event_digest(newest):
            return claim
        poller.pause(FRESH_PAUSE)
        claim = poller.call(find, store, claim.id)
    if newest is None:
        raise LockNotFoundError(
            f"the log of pool {claim.pool} has no event of claim {claim.id}; it may have been removed by age"
        )
    raise CorruptRecordError(f"claim {claim.id} of lock {claim.lock_name}", "it is not as its newest event left it")


def _looks(poller: Poller) -> int:
    """Return the number of looks that last `FRESH_SECONDS` with their pauses, at most `MAX_LOOKS`."""
    return FRESH_LOOKS + int(min(MAX_LOOKS - FRESH_LOOKS, FRESH_SECONDS / poller.interval))


def newest_event(store: LockStore, claim: Claim) -> Event | None:
    """Return the claim's newest event, or None where the log has none."""
    if claim.event_at is not None:
        since = [
            event
            for event in store.events(claim.pool, lock_name=claim.lock_name, since=claim.event_at)
            if event.claim_id == claim.id
        ]
        if since:
            return since[-1]
    newest_first = store.events(claim.pool, lock_name=claim.lock_name, newest_first=True)
    return next((event for event in newest_first if event.claim_id == claim.id), None)


def deciding_event(store: LockStore, claim: Claim, poller: Poller) -> Event:
    """Return the event that decided the claim, checked against it.

    Raises:
        LockNotFoundError: the log no longer has it.
        CorruptRecordError: the claim contradicts its event, so one of them was altered.
        StaleLockError: nothing was decided.
    """
    if claim.decided is None:
        raise StaleLockError(claim, "passed")
    return state_event(store, claim, claim.decided.state, claim.decided.timestamp, poller)


def state_event(store: LockStore, claim: Claim, state: State, timestamp: datetime, poller: Poller) -> Event:
    """Return the event at `timestamp` that brought the claim into that state.

    Raises:
        LockNotFoundError: the log has nothing there.
        CorruptRecordError: the event there is of another claim or state, or was altered.
    """
    event = poller.call(store.event, claim.pool, timestamp)
    for _ in range(_looks(poller)):
        if event is not None or store.now() - timestamp > SETTLING_TIME:
            break
        # A transaction may be seen item by item while it lands: the claim already, its event not yet.
        poller.pause()
        event = poller.call(store.event, claim.pool, timestamp)
    what = f"claim {claim.id} of lock {claim.lock_name}"
    if event is None:
        raise LockNotFoundError(
            f"the log of pool {claim.pool} has no record of {what} being {state.value}; it may have been removed by age"
        )
    if (event.claim_id, event.lock_name, event.kind.state) != (claim.id, claim.lock_name, state):
        raise CorruptRecordError(what, "its event in the log tells of something else")
    if event.digest != event_digest(event):
        raise CorruptRecordError(what, "its event in the log was altered")
    if event.at - store.now() > AHEAD:
        raise CorruptRecordError(what, f"its event in the log is dated {instant(event.at)}, later than the store's time")
    return event


def require_supported(store: LockStore, claim: Claim, event: Event) -> Decision:
    """Evaluate the policies again. Return their decision if it supports the approval that `event` records.

    Raises:
        UnsupportedDecisionError: it doesn't, or the claim is no longer what its pipeline asked for.
        CorruptRecordError: the policies or facts kept beside the claim are not those of its making or
            decision.
    """
    from approval_resource.policy.decision import Approved, Undecidable

    decision = decision_of(store, claim)
    for _ in range(ATTEMPTS - 1):
        if not isinstance(decision, Undecidable):
            break
        decision = decision_of(store, claim)  # a policy that was too slow on a busy machine may finish on the next try
    if not isinstance(decision, Approved):
        raise UnsupportedDecisionError(claim, decision.reasons)
    if (fault := _fault(store, claim, event, _until(decision, claim.judged_at or event.at))) is not None:
        raise UnsupportedDecisionError(claim, [fault])
    return decision


def _fault(store: LockStore, claim: Claim, event: Event, valid_until: datetime | None) -> str | None:
    """Return why the decision is refused though the policies support it, or None."""
    if claim.decided is None or claim.decided.state is not State.APPROVED or claim.decided.at != event.at:
        return "its approval and its deciding event have different times"
    # The policies are evaluated for an instant within DOUBT of the event. A decision that time completed may
    # be committed later than that.
    late = event.at - claim.judged_at if claim.judged_at is not None else timedelta()
    if late < -DOUBT or (late > DOUBT and event.actor != POLICY_ACTOR):
        return "its policies were evaluated for another time than that of the decision"
    if claim.valid_until != valid_until:
        return "the end of its approval is not the one that its policy sets"
    # In logs of older releases, only a claim's first event has the digest of its terms.
    first = event if event.lock or claim.timestamp == event.timestamp else store.event(claim.pool, claim.timestamp)
    if first is None:
        if not store.settings(claim.pool).may_be_gone(claim.timestamp, store.now()):
            return "the record of how it was made is missing"
    elif event_digest(first) != first.digest or not made_under(claim, first):
        return "it is not what its pipeline asked for"
    if claim.pool_policy != _pool_policy_before(store, claim.pool, event.timestamp):
        return "it was not decided under its pool's policy"
    return None


def _pool_policy_before(store: LockStore, pool: str, timestamp: datetime) -> str:
    """Return the digest of the policy that the pool had before that place in the log."""
    settings = store.events(pool, lock_name="", newest_first=True)
    return next((event.terms for event in settings if event.timestamp < timestamp), "")
