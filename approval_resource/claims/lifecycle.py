"""States of a claim: their transitions, and what each state allows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta

from approval_resource.errors import (
    AlreadyReviewedError,
    NoApprovalNeededError,
    ReviewRejectedError,
    ReviewTimeoutError,
    StaleLockError,
)
from approval_resource.model.claim import Build, Claim, Review, Transition
from approval_resource.model.event import State

RETRIED_WITHIN = timedelta(minutes=10)
"""Time after a claim's newest event within which a build with an equal idempotency key counts as a retry."""
DEADLINE_ACTOR = "the deadline"
"""Actor on record for the end of a claim that nobody decided on in time."""
NEXT_STATES: Mapping[State, frozenset[State]] = {
    State.HELD: frozenset({State.RELEASED, State.EXPIRED, State.WITHDRAWN}),
    State.PENDING: frozenset(
        {State.APPROVED, State.REJECTED, State.EXPIRED, State.SUPERSEDED, State.WITHDRAWN},
    ),
    State.APPROVED: frozenset({State.RELEASED, State.EXPIRED, State.SUPERSEDED, State.WITHDRAWN}),
    State.REJECTED: frozenset(),
    State.EXPIRED: frozenset(),
    State.SUPERSEDED: frozenset(),
    State.WITHDRAWN: frozenset(),
    State.RELEASED: frozenset(),
}


def require_open(claim: Claim, limit: str = "") -> None:
    """Pass only for a claim that still holds its lock. `limit` names the option that set its deadline.

    Raises:
        ReviewRejectedError: it was rejected.
        ReviewTimeoutError: nobody decided by its deadline.
        StaleLockError: it ended in another way.
    """
    match claim.state:
        case State.HELD | State.PENDING | State.APPROVED:
            return
        case State.REJECTED:
            raise ReviewRejectedError(claim)
        case State.EXPIRED if claim.ended is not None and claim.ended.actor == DEADLINE_ACTOR:
            raise ReviewTimeoutError(claim, limit)
        case State.EXPIRED | State.SUPERSEDED | State.WITHDRAWN | State.RELEASED:
            raise StaleLockError(claim, "used any more")


def require_passable(claim: Claim, limit: str = "") -> None:
    """Pass only for a claim that is approved and still holds its lock. `limit` is as for `require_open`.

    Raises:
        NoApprovalNeededError: it never asked for an approval, so nobody gave one.
        StaleLockError: it holds its lock, but isn't approved.
        Others: as `require_open`.
    """
    if not claim.need_approval:
        raise NoApprovalNeededError(claim)
    require_open(claim, limit)
    if claim.state is not State.APPROVED or not claim.approved:
        raise StaleLockError(claim, "passed")


def require_reviewable(claim: Claim) -> None:
    """Pass only for a claim on which a review can still count.

    Raises:
        NoApprovalNeededError: it asked for no approval.
        AlreadyReviewedError: it was decided or has ended.
    """
    if not claim.need_approval:
        raise NoApprovalNeededError(claim)
    if claim.state is not State.PENDING:
        raise AlreadyReviewedError(claim)


def may_hand_back(claim: Claim, build: Build, now: datetime) -> bool:
    """Whether a build may have this claim, which a build with an equal key made or passed the gate of.

    Idempotency keys can repeat: Concourse numbers builds from the start again when its database is restored
    or replaced. An equal key may thus belong to another build. A review or decision is therefore handed back
    only to a retry, which comes within `RETRIED_WITHIN` of the claim's newest event. A build that is known to
    be started by another person never gets the claim. A held claim, or a pending one without a review, has no
    time limit: no person's verdict is in it, and people still have to decide on a pending one.
    """
    if claim.build.created_by and build.created_by and claim.build.created_by != build.created_by:
        return False
    unasked = claim.state is State.HELD or (claim.state is State.PENDING and not claim.reviews)
    return unasked or now - _newest(claim) <= RETRIED_WITHIN


def _newest(claim: Claim) -> datetime:
    """Return when the claim last changed. Without `made_at`, its places in the log count, too."""
    reviewed_at = [review.at for review in claim.reviews.values()]
    decided_at = [claim.decided.at] if claim.decided else []
    ended_at = [claim.ended.at] if claim.ended else []
    # `made_at` is set if the claim's place in the log is later than its making, because the event before
    # it was dated ahead of time. Its places may then lie in the future. These instants don't.
    if claim.made_at is not None:
        return max([claim.created_at, *reviewed_at, *decided_at, *ended_at])
    return claim.event_at or max([claim.changed, *reviewed_at, *decided_at])


def reviewed(claim: Claim, review: Review) -> Claim:
    """Return the claim with `review`, which replaces an earlier one by the same person.

    Raises:
        NoApprovalNeededError, AlreadyReviewedError: as `require_reviewable`.
    """
    require_reviewable(claim)
    return replace(claim, reviews={**claim.reviews, review.reviewer: review})


def transition(claim: Claim, state: State, *, actor: str, reason: str, at: datetime) -> Claim:
    """Return the claim in `state`. The transaction updates its lock.

    Raises:
        StaleLockError: no transition leads from the claim's state to `state`.
    """
    if state not in NEXT_STATES[claim.state]:
        raise StaleLockError(claim, state.value)
    ruling = Transition(state=state, actor=actor, reason=reason, at=at, timestamp=at)
    decided = ruling if state in (State.APPROVED, State.REJECTED) else claim.decided
    return replace(claim, state=state, decided=decided, ended=None if state.is_open else ruling)
