"""Which state follows which, what each may be used for, and which build is a retry."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from approval_resource.claims.lifecycle import (
    DEADLINE_ACTOR,
    NEXT_STATES,
    RETRIED_WITHIN,
    may_hand_back,
    require_open,
    require_passable,
    require_reviewable,
    reviewed,
    transition,
)
from approval_resource.errors import (
    AlreadyReviewedError,
    ApprovalError,
    NoApprovalNeededError,
    ReviewRejectedError,
    ReviewTimeoutError,
    StaleLockError,
)
from approval_resource.model.claim import Claim, Transition, Verdict
from approval_resource.model.event import State
from tests.builders import NOON, a_build, a_claim, a_review

LATER = NOON + timedelta(hours=1)
SOON = NOON + RETRIED_WITHIN
TOO_LATE = SOON + timedelta(microseconds=1)
TABLE = {
    State.HELD: {State.EXPIRED, State.WITHDRAWN, State.RELEASED},
    State.PENDING: {State.APPROVED, State.REJECTED, State.EXPIRED, State.SUPERSEDED, State.WITHDRAWN},
    State.APPROVED: {State.EXPIRED, State.SUPERSEDED, State.WITHDRAWN, State.RELEASED},
}
"""From every state that holds the lock; no other leads anywhere."""


def in_state(state: State, **changes: Any) -> Claim:
    """A claim that has come into that state as a claim does."""
    ruling = Transition(state=state, actor="typed:ann", at=NOON, timestamp=NOON)
    decided = ruling if state in (State.APPROVED, State.REJECTED) else None
    facts = {
        "state": state,
        "decided": decided,
        "ended": None if state.is_open else ruling,
        "need_approval": state is not State.HELD,
    }
    return a_claim(**(facts | changes))


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("wanted", State)
def test_a_state_follows_only_those_it_may(state: State, wanted: State) -> None:
    """Every pair of states: what has ended stays so, nothing is decided twice, and nothing waits again."""
    claim = in_state(state)
    if wanted in TABLE.get(state, ()):
        assert transition(claim, wanted, actor="typed:ben", reason="why", at=LATER).state is wanted
    else:
        with pytest.raises(StaleLockError):
            transition(claim, wanted, actor="typed:ben", reason="why", at=LATER)


def test_every_state_has_its_row() -> None:
    """A state that is added has to say what follows it."""
    assert {state: set(following) for state, following in NEXT_STATES.items()} == {
        state: TABLE.get(state, set()) for state in State
    }


def test_a_decision_is_told_with_who_why_and_when() -> None:
    """An approval holds the lock on, a rejection ends the claim too."""
    told: dict[str, Any] = {"actor": "typed:ben", "reason": "why", "at": LATER}
    approved = transition(in_state(State.PENDING), State.APPROVED, **told)
    rejected = transition(in_state(State.PENDING), State.REJECTED, **told)
    assert approved.decided == Transition(state=State.APPROVED, timestamp=LATER, **told)
    assert approved.ended is None
    assert rejected.decided == rejected.ended == Transition(state=State.REJECTED, timestamp=LATER, **told)


@pytest.mark.parametrize("state", sorted(TABLE[State.APPROVED]))
def test_the_end_of_an_approved_claim_keeps_its_decision(state: State) -> None:
    """Who approved stays on record."""
    approved = in_state(State.APPROVED)
    ended = transition(approved, state, actor="typed:ben", reason="", at=LATER)
    assert ended.decided == approved.decided
    assert ended.ended is not None
    assert ended.ended.state is state


@pytest.mark.parametrize("state", State)
def test_only_a_pending_claim_takes_reviews(state: State) -> None:
    """What was decided, has ended or asks for nothing can't be reviewed, and stays as it is."""
    claim = in_state(state)
    if state is State.PENDING:
        assert reviewed(claim, a_review()).reviews == {"aws:ann": a_review()}
    else:
        error = NoApprovalNeededError if state is State.HELD else AlreadyReviewedError
        with pytest.raises(error):
            require_reviewable(claim)
        with pytest.raises(error):
            reviewed(claim, a_review())


def test_a_person_has_one_review() -> None:
    """The newest; other people's stay."""
    claim = reviewed(reviewed(in_state(State.PENDING), a_review()), a_review("aws:ben"))
    mind = a_review(verdict=Verdict.REJECT, at=LATER)
    assert reviewed(claim, mind).reviews == {"aws:ann": mind, "aws:ben": a_review("aws:ben")}


@pytest.mark.parametrize(
    ("state", "opens", "passes"),
    [
        (State.HELD, None, NoApprovalNeededError),
        (State.PENDING, None, StaleLockError),
        (State.APPROVED, None, None),
        (State.REJECTED, ReviewRejectedError, ReviewRejectedError),
        (State.EXPIRED, StaleLockError, StaleLockError),
        (State.SUPERSEDED, StaleLockError, StaleLockError),
        (State.WITHDRAWN, StaleLockError, StaleLockError),
        (State.RELEASED, StaleLockError, StaleLockError),
    ],
)
def test_a_gate_opens_on_an_approved_claim_alone(
    state: State, opens: type[ApprovalError] | None, passes: type[ApprovalError] | None
) -> None:
    """One that holds its lock may be used; only one that is approved and holds it may be passed on."""
    for require, error in ((require_open, opens), (require_passable, passes)):
        if error is None:
            require(in_state(state))
        else:
            with pytest.raises(error):
                require(in_state(state))


def test_a_claim_that_contradicts_itself_opens_no_gate() -> None:
    """A state that says approved needs a decision that says so, and a request that asked for one."""
    approved = in_state(State.APPROVED)
    rejected = Transition(state=State.REJECTED, actor="typed:ben", at=NOON, timestamp=NOON)
    for claim in (replace(approved, decided=None), replace(approved, decided=rejected)):
        with pytest.raises(StaleLockError):
            require_passable(claim)
    with pytest.raises(NoApprovalNeededError):
        require_passable(replace(approved, need_approval=False))


def test_an_expiry_tells_whether_nobody_decided_or_the_lock_was_taken_over() -> None:
    """The deadline's own is a time-out of the review; another actor's is a lost lock."""
    by_deadline = Transition(state=State.EXPIRED, actor=DEADLINE_ACTOR, at=NOON, timestamp=NOON)
    with pytest.raises(ReviewTimeoutError, match="2026-11-21 12:00:00 UTC"):
        require_open(in_state(State.EXPIRED, ended=by_deadline, deadline=NOON))
    with pytest.raises(StaleLockError):
        require_open(in_state(State.EXPIRED))


def asked(**changes: Any) -> Claim:
    """A pending claim that somebody has reviewed, whose newest event was at noon."""
    return a_claim(**({"reviews": {"aws:ann": a_review()}, "event_at": NOON} | changes))


@pytest.mark.parametrize(
    "claim", [asked(), *(in_state(state, event_at=NOON) for state in State if state not in (State.HELD, State.PENDING))]
)
def test_what_people_said_is_handed_back_to_a_retry_alone(claim: Claim) -> None:
    """Up to ten minutes after the newest event, and not a microsecond longer."""
    assert may_hand_back(claim, a_build(), SOON)
    assert not may_hand_back(claim, a_build(), TOO_LATE)


@pytest.mark.parametrize("claim", [in_state(State.HELD), in_state(State.PENDING)])
def test_a_claim_that_nobody_reviewed_is_handed_back_at_any_time(claim: Claim) -> None:
    """People are asked now, whichever of two builds it is."""
    assert may_hand_back(claim, a_build(), NOON + timedelta(days=300))


@pytest.mark.parametrize("claim", [in_state(State.HELD), in_state(State.PENDING), in_state(State.APPROVED)])
@pytest.mark.parametrize(
    ("made_by", "asked_by", "same"),
    [("ann", "ann", True), ("ann", "ben", False), ("", "ben", True), ("ann", "", True), ("", "", True)],
)
def test_a_build_that_somebody_else_started_is_no_retry(claim: Claim, made_by: str, asked_by: str, same: bool) -> None:
    """Where Concourse tells who started both."""
    claim = replace(claim, build=a_build(created_by=made_by))
    assert may_hand_back(claim, a_build(created_by=asked_by), NOON) is same


@pytest.mark.parametrize(
    "changes",
    [
        {"event_at": LATER},
        {"event_at": None, "changed": LATER},
        {"event_at": None, "reviews": {"aws:ann": a_review(at=LATER)}},
        {"event_at": None, "decided": Transition(state=State.APPROVED, actor="a", at=LATER, timestamp=NOON)},
    ],
)
def test_the_ten_minutes_count_from_the_newest_that_is_known_of_the_claim(changes: dict[str, Any]) -> None:
    """Its newest event; of claims that were stored without that, the newest of what they tell."""
    claim = asked(**changes)
    assert may_hand_back(claim, a_build(), LATER + RETRIED_WITHIN)
    assert not may_hand_back(claim, a_build(), LATER + RETRIED_WITHIN + timedelta(microseconds=1))
