"""The states of a claim: which follows which, and what each may be used for."""

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
"""How long after a claim's newest event a build with the same idempotency key counts as a retry of the one that made it."""
DEADLINE_ACTOR = "the deadline"
"""Who is said to have ended a claim that nobody decided on in time."""
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


def require_open(claim: Claim) -> None:
    """Pass only for a claim that still holds its lock.

    Raises:
        ReviewRejectedError, ReviewTimeoutError, StaleLockError: how it ended.
    """
    match claim.state:
        case State.HELD | State.PENDING | State.APPROVED:
            return
        case State.REJECTED:
            raise ReviewRejectedError(claim)
        case State.EXPIRED if claim.ended is not None and claim.ended.actor == DEADLINE_ACTOR:
            raise ReviewTimeoutError(claim, _deadline(claim))
        case State.EXPIRED | State.SUPERSEDED | State.WITHDRAWN | State.RELEASED:
            raise StaleLockError(claim, "used any more")


def require_passable(claim: Claim) -> None:
    """Pass only for a claim that is approved and still holds its lock.

    Raises:
        NoApprovalNeededError: it never asked for an approval, so nobody gave one.
        StaleLockError: it is still pending.
        Others: as `require_open`.
    """
    if not claim.need_approval:
        raise NoApprovalNeededError(claim)
    require_open(claim)
    if claim.state is not State.APPROVED or not claim.approved:
        raise StaleLockError(claim, "passed")


def _deadline(claim: Claim) -> str:
    return f"{claim.deadline:%Y-%m-%d %H:%M:%S} UTC" if claim.deadline else "its deadline"


def require_reviewable(claim: Claim) -> None:
    """Pass when a review of this claim still counts.

    Raises:
        NoApprovalNeededError: nobody asked for an approval.
        AlreadyReviewedError: it was decided or has ended.
    """
    if not claim.need_approval:
        raise NoApprovalNeededError(claim)
    if claim.state is not State.PENDING:
        raise AlreadyReviewedError(claim)


def handed_back(claim: Claim, build: Build, now: datetime) -> bool:
    """Whether the claim may be given again to a build with the idempotency key of the one that made or passed it.

    Concourse numbers builds anew when its database is restored or made anew, so an equal key may be another build's. What
    people have said of a claim is handed back only for a retry, which follows soon; and never to a build that somebody else
    started. A claim nobody has reviewed yet asks people now, whichever of the two builds it is.
    """
    if claim.build.created_by and build.created_by and claim.build.created_by != build.created_by:
        return False
    unasked = claim.state is State.HELD or (claim.state is State.PENDING and not claim.reviews)
    return unasked or now - _newest(claim) <= RETRIED_WITHIN


def _newest(claim: Claim) -> datetime:
    """The instant of the claim's newest event, as far as the claim tells."""
    reviewed_at = [review.at for review in claim.reviews.values()]
    decided_at = [claim.decided.at] if claim.decided else []
    ended_at = [claim.ended.at] if claim.ended else []
    # Places in the log may lie in the future, after an event whose time had not come yet. These instants don't.
    if claim.made_at is not None:
        return max([claim.created_at, *reviewed_at, *decided_at, *ended_at])
    return claim.event_at or max([claim.changed, *reviewed_at, *decided_at])


def reviewed(claim: Claim, review: Review) -> Claim:
    """Return the claim with that person's newest review.

    Raises:
        NoApprovalNeededError, AlreadyReviewedError: as `require_reviewable`.
    """
    require_reviewable(claim)
    return replace(claim, reviews={**claim.reviews, review.reviewer: review})


def transition(claim: Claim, state: State, *, actor: str, reason: str, at: datetime) -> Claim:
    """Return the claim brought into `state`. Its lock follows in the transaction.

    Raises:
        StaleLockError: no transition leads there from the claim's state.
    """
    if state not in NEXT_STATES[claim.state]:
        raise StaleLockError(claim, state.value)
    ruling = Transition(state=state, actor=actor, reason=reason, at=at, timestamp=at)
    decided = ruling if state in (State.APPROVED, State.REJECTED) else claim.decided
    return replace(claim, state=state, decided=decided, ended=None if state.is_open else ruling)
