"""A Concourse whose database was restored or made anew numbers its builds anew: their approvals don't pass from one to another."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from approval_resource.claims.decide import Terms
from approval_resource.claims.end import end_claim
from approval_resource.claims.gate import pass_through
from approval_resource.claims.lifecycle import RETRIED_WITHIN, may_hand_back
from approval_resource.claims.lookup import find
from approval_resource.claims.release import claim_of_build
from approval_resource.claims.review import review
from approval_resource.errors import ApprovalSpentError, LockHeldError
from approval_resource.model.claim import Claim, Claimant, Verdict
from approval_resource.model.event import State
from approval_resource.store.dynamodb.store import DynamoStore
from tests.builders import FrozenTime, a_build, take, under

SOON = RETRIED_WITHIN - timedelta(seconds=1)
LATER = RETRIED_WITHIN + timedelta(seconds=1)
TWO = under(required_approvals=2)


@pytest.fixture
def time() -> FrozenTime:
    """The store's time, which only the test moves."""
    return FrozenTime()


@pytest.fixture
def shared(connect: Callable[..., DynamoStore], time: FrozenTime) -> DynamoStore:
    """A store that goes by that time."""
    return connect(time)


def approved(store: DynamoStore) -> Claim:
    """A claim of build 1 that somebody approved."""
    return review(store, take(store, 1).id, reviewer="typed:bob", verdict=Verdict.APPROVE).claim


def passed(store: DynamoStore) -> Claim:
    """A claim of build 1 that was approved, and whose gate that build passed."""
    return pass_through(store, approved(store), a_build(1), spend=False)


def rejected(store: DynamoStore) -> Claim:
    """A claim of build 1 that somebody rejected."""
    return review(store, take(store, 1).id, reviewer="typed:bob", verdict=Verdict.REJECT).claim


def half_approved(store: DynamoStore) -> Claim:
    """A claim of build 1 that one of two people approved."""
    claim = take(store, 1, terms=TWO)
    return review(store, claim.id, reviewer="aws:arn:aws:iam::111122223333:user/ana", verdict=Verdict.APPROVE).claim


MADE = {"approved": approved, "passed": passed, "rejected": rejected, "half approved": half_approved}


def again(store: DynamoStore, made: str, created_by: str = "") -> Claim:
    """The claim that a build named 1 gets that asks for the same."""
    terms = TWO if made == "half approved" else Terms()
    return take(store, a_build(1, created_by=created_by), terms=terms)


@pytest.mark.parametrize("made", MADE)
def test_a_retry_gets_its_claim(shared: DynamoStore, time: FrozenTime, made: str) -> None:
    """attempts, a rerun after a killed worker, an equal step and a second run at once ask soon after the first."""
    claim = MADE[made](shared)
    time.at += SOON
    assert again(shared, made).id == claim.id


@pytest.mark.parametrize("made", MADE)
def test_a_later_build_of_the_same_name_asks_anew(shared: DynamoStore, time: FrozenTime, made: str) -> None:
    """What people said of the first build's claim is not handed to the second, and nothing of the first is left on the lock."""
    first = MADE[made](shared)
    time.at += LATER
    second = again(shared, made)
    assert (second.id != first.id, second.state, dict(second.reviews)) == (True, State.PENDING, {})
    old = find(shared, first.id)
    assert old.state is (State.REJECTED if made == "rejected" else State.SUPERSEDED)
    assert again(shared, made).id == second.id, "its own retry gets its own claim"


def test_a_build_that_somebody_else_started_asks_anew_at_once(shared: DynamoStore) -> None:
    """Concourse tells who started a build, and no two people start the same one."""
    first = review(shared, take(shared, a_build(1, created_by="ana")).id, reviewer="typed:bob", verdict=Verdict.APPROVE).claim
    assert take(shared, a_build(1, created_by="ana")).id == first.id
    assert take(shared, a_build(1, created_by="eve")).id != first.id


def test_a_lock_that_somebody_else_s_build_holds_is_held(shared: DynamoStore) -> None:
    """Of the same name, but started by another person: it waits as for any held lock, and gets one after the release."""
    held = take(shared, a_build(1, created_by="ana"), need_approval=False)
    with pytest.raises(LockHeldError):
        take(shared, a_build(1, created_by="ben"), need_approval=False)
    assert find(shared, held.id).state is State.HELD
    end_claim(shared, held, State.RELEASED, actor="typed:op")
    assert take(shared, a_build(1, created_by="ben"), need_approval=False).id != held.id


def test_a_claim_nobody_has_reviewed_waits_for_its_build_for_ever(shared: DynamoStore, time: FrozenTime) -> None:
    """A build that waits for days, and whose worker dies, goes on with its claim: nobody has approved anything yet."""
    claim = take(shared, 1)
    time.tick(days=9)
    assert take(shared, 1).id == claim.id


def test_a_lock_without_approval_stays_its_build_s(shared: DynamoStore, time: FrozenTime) -> None:
    """Where nobody is asked, there is no approval that could go astray."""
    claim = take(shared, 1, need_approval=False)
    time.tick(days=9)
    assert take(shared, 1, need_approval=False).id == claim.id


def test_a_spent_approval_serves_no_later_build_of_the_same_name(shared: DynamoStore, time: FrozenTime) -> None:
    """`await` passes again for a retry, and not for a build that comes later."""
    claim = pass_through(shared, approved(shared), a_build(1), spend=True)
    time.at += SOON
    assert pass_through(shared, claim, a_build(1), spend=True).spent == a_build(1).key()
    time.at += LATER - SOON
    with pytest.raises(ApprovalSpentError, match="not a retry of that one"):
        pass_through(shared, claim, a_build(1), spend=True)
    assert pass_through(shared, claim, a_build(1), spend=True, reuse=True).spent


def test_what_ended_long_ago_is_not_what_a_later_build_means(shared: DynamoStore, time: FrozenTime) -> None:
    """By a lock's name a build means its own claim; one that ended in an earlier life is not its own."""
    first = rejected(shared)
    newer = take(shared, 2)
    assert claim_of_build(shared, "payments", "deploy", Claimant(a_build(1))).id == first.id
    time.at += LATER
    assert claim_of_build(shared, "payments", "deploy", Claimant(a_build(1))).id == newer.id


def test_a_claim_of_an_older_version_is_judged_by_what_it_tells(shared: DynamoStore, time: FrozenTime) -> None:
    """Claims written before the newest event's place was kept tell of their decision; that counts."""
    claim = replace(approved(shared), event_at=None)
    assert may_hand_back(claim, a_build(1), time.at + SOON)
    assert not may_hand_back(claim, a_build(1), time.at + LATER)
