"""The states of a claim: which follows which, and what each may be used for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime

from approval_resource.errors import (
    AlreadyReviewedError,
    NoApprovalNeededError,
    ReviewRejectedError,
    ReviewTimeoutError,
    StaleLockError,
)
from approval_resource.model.claim import Claim, Review, Transition
from approval_resource.model.event import State

DEADLINE_ACTOR = "the deadline"
"""Who is said to have ended a claim that nobody decided on in time."""
NEXT_STATES: Mapping[State, frozenset[State]] = {
    State.HELD: frozenset({State.RELEASED, State.EXPIRED, State.WITHDRAWN}),
    State.PENDING: frozenset(
        {State.APPROVED, State.REJECTED, State.EXPIRED, State.SUPERSEDED, State.WITHDRAWN},
    ),
    State.APPROVED: frozenset({State.RELEASED, State.EXPIRED, State.WITHDRAWN}),
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
