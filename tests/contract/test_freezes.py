"""Freezes at the gate: an approval given before passes only after, unless somebody who may has broken the glass."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from approval_resource import pools
from approval_resource.audit import verify as audit
from approval_resource.claims import gate as gates
from approval_resource.claims import review as reviews
from approval_resource.claims.decide import Terms
from approval_resource.claims.end import end_claim
from approval_resource.claims.poller import Poller
from approval_resource.errors import ConfigError, NotEntitledError, PoolFrozenError, StaleLockError
from approval_resource.model.claim import Claim, Verdict
from approval_resource.model.event import Kind, State
from approval_resource.model.settings import Settings
from approval_resource.store.dynamodb.store import DynamoStore
from tests.builders import NOON, FrozenTime, ManualClock, a_build, take, under

POOL = "payments"
ANN, BOB = (f"aws:arn:aws:iam::111122223333:user/{name}" for name in ("ann", "bob"))
HOUR = timedelta(hours=1)
GLASS = {"required_approvals": 1, "bypass": {"users": [ANN]}}


@pytest.fixture
def store(connect: Callable[..., DynamoStore], time: FrozenTime) -> DynamoStore:
    """A store at a time that the test sets."""
    return connect(store_clock=time)


def said(store: DynamoStore, claim: Claim, who: str, **more: Any) -> Claim:
    """The claim after that person's approval."""
    return reviews.review(store, claim.id, reviewer=who, verdict=Verdict.APPROVE, **more).claim


def freeze(store: DynamoStore, until: Any = HOUR) -> Settings:
    """Stop the pool."""
    return pools.freeze(store, POOL, until, "the database burns", actor="aws:op")


def passes(store: DynamoStore, claim: Claim, number: int = 7) -> Claim:
    """The claim after a build has passed its gate."""
    return gates.pass_through(store, claim, a_build(number), spend=True)


def waits(store: DynamoStore, time: FrozenTime, claim: Claim, *meanwhile: Callable[[], object], **more: Any) -> list[str]:
    """Wait for the claim's gate as a step does; returns why it was frozen."""
    clock, told = ManualClock(time), list[str]()
    clock.on_sleep = list(meanwhile)
    gates.wait(store, claim, poller=Poller(clock, 600.0, lambda line: None), frozen=told.append, **more)
    return told


def test_an_approval_that_was_given_before_passes_after_the_freeze(store: DynamoStore, time: FrozenTime) -> None:
    """The gate waits and says why and until when; the claim stays approved, and nothing fails."""
    claim = said(store, take(store, 1), ANN)
    freeze(store)
    with pytest.raises(PoolFrozenError, match="frozen until 2026-11-21 13:00:00 UTC by aws:op: the database burns"):
        passes(store, claim)
    (why,) = waits(store, time, claim)
    assert "until 2026-11-21 13:00:00 UTC by aws:op: the database burns" in why
    assert time.at >= NOON + HOUR
    assert passes(store, claim).spent
    assert audit.verify(store, POOL).findings == []


def test_a_freeze_without_an_end_holds_until_it_is_lifted(store: DynamoStore, time: FrozenTime) -> None:
    """However long that takes; both are events of who did it and why."""
    claim = said(store, take(store, 1), ANN)
    freeze(store, None)
    time.tick(days=100)
    with pytest.raises(PoolFrozenError, match="until somebody lifts that"):
        passes(store, claim)
    assert waits(store, time, claim, lambda: pools.unfreeze(store, POOL, "it is out", actor="aws:op"))
    passes(store, claim)
    told = [(event.actor, event.reason) for event in store.events(POOL) if event.kind is Kind.SETTINGS]
    assert sorted(told) == [
        ("aws:op", "frozen until somebody lifts it: the database burns"),
        ("aws:op", "the freeze is lifted: it is out"),
    ]


def test_a_freeze_that_comes_between_the_look_and_the_passage_is_seen(store: DynamoStore, time: FrozenTime) -> None:
    """The passage is written only where its own transaction saw no freeze."""
    claim = said(store, take(store, 1), ANN)
    assert waits(store, time, claim) == []
    freeze(store)
    with pytest.raises(PoolFrozenError):
        passes(store, claim)
    assert not [event for event in store.events(POOL) if event.kind in (Kind.PASSED, Kind.SPENT)]


def test_a_record_of_a_passage_opens_no_frozen_gate(store: DynamoStore, time: FrozenTime) -> None:
    """A build that has passed before waits like any other: its record is an item that anybody may write."""
    claim = said(store, take(store, 1), ANN)
    assert not gates.pass_through(store, claim, a_build(7), spend=False).spent
    freeze(store)
    with pytest.raises(PoolFrozenError):
        gates.pass_through(store, claim, a_build(7), spend=False)


def test_waiting_for_the_end_of_a_freeze_ends_in_time(store: DynamoStore, time: FrozenTime) -> None:
    """By the step's own timeout, and where the claim is ended meanwhile."""
    claim = said(store, take(store, 1), ANN)
    freeze(store, None)
    with pytest.raises(PoolFrozenError, match="Gave up after this step's timeout"):
        waits(store, time, claim, give_up_at=NOON + HOUR)
    with pytest.raises(StaleLockError):
        waits(store, time, claim, lambda: end_claim(store, claim, State.RELEASED, actor="aws:op"))


def test_people_review_while_the_pool_is_frozen(store: DynamoStore, time: FrozenTime) -> None:
    """Claims are made, decided and held; only gates wait."""
    freeze(store)
    assert said(store, take(store, 1), ANN).state is State.APPROVED
    assert take(store, 2, lock_name="other", need_approval=False).state is State.HELD


def test_whoever_the_pools_policy_lets_bypass_passes_by_force(store: DynamoStore, time: FrozenTime) -> None:
    """With a reason, which the passage tells; a force of before the freeze was not for it."""
    pools.set_policy(store, POOL, under(GLASS).policy, actor="aws:op")
    before = said(store, take(store, 1, lock_name="a"), ANN, forced=True, comment="early")
    time.tick(minutes=1)
    freeze(store)
    time.tick(minutes=1)
    after = said(store, take(store, 2, lock_name="b"), ANN, forced=True, comment="fire")
    with pytest.raises(PoolFrozenError):
        passes(store, before)
    assert waits(store, time, after) == []
    assert passes(store, after).spent
    (event,) = [event for event in store.events(POOL) if event.kind is Kind.SPENT]
    assert event.reason == f"passed a freeze, broken by {ANN}: fire"


def test_the_glass_can_be_broken_for_what_was_approved_before(store: DynamoStore, time: FrozenTime) -> None:
    """It stands in the pool's settings for that one claim, as an event of who did it and why; a new freeze asks again."""
    pools.set_policy(store, POOL, under(GLASS).policy, actor="aws:op")
    claim, other = (said(store, take(store, number, lock_name=name), BOB) for number, name in ((1, "a"), (2, "b")))
    freeze(store)
    with pytest.raises(NotEntitledError, match="no policy's bypass names you"):
        said(store, claim, BOB, forced=True, comment="please")
    recorded = reviews.review(store, claim.id, reviewer=ANN, verdict=Verdict.APPROVE, forced=True, comment="fire")
    assert recorded.changed
    assert not reviews.review(store, claim.id, reviewer=ANN, verdict=Verdict.APPROVE, forced=True, comment="fire").changed
    with pytest.raises(PoolFrozenError):
        passes(store, other)
    freeze_again = store.settings(POOL)
    assert passes(store, claim).spent
    assert freeze_again.freeze is not None
    assert freeze_again.freeze.passes == (claim.id,)
    reasons = [event.reason for event in store.events(POOL) if event.kind is Kind.SETTINGS and event.actor == ANN]
    assert reasons == [f"claim {claim.id} may pass the freeze: fire"]
    assert audit.verify(store, POOL).findings == []
    assert freeze(store).freeze != freeze_again.freeze
    with pytest.raises(PoolFrozenError):
        gates.pass_through(store, claim, a_build(8), spend=False)


def test_the_glass_can_be_broken_by_an_issuers_group(store: DynamoStore, time: FrozenTime) -> None:
    """By whoever the issuer said is in it, as for every other decision, and by nobody else."""
    group, cat = "oidc-group:https://login.example.com#sre", "oidc:https://login.example.com#cat"
    glass = {"required_approvals": 1, "groups": {"sre": [group]}, "bypass": {"groups": ["sre"]}}
    pools.set_policy(store, POOL, under(glass).policy, actor="aws:op")
    claim = said(store, take(store, 1), BOB)
    freeze(store)
    for groups in ((), (f"{group}2",)):
        with pytest.raises(NotEntitledError, match="no policy's bypass names you"):
            said(store, claim, cat, forced=True, comment="please", groups=groups)
    assert reviews.review(
        store, claim.id, reviewer=cat, verdict=Verdict.APPROVE, forced=True, comment="fire", groups=(group,)
    ).changed
    assert passes(store, claim).spent


def test_a_pipeline_cant_let_itself_past_the_pools_freeze(store: DynamoStore, time: FrozenTime) -> None:
    """A bypass of the claim's own policy forces its decision, and not the stop."""
    claim = take(store, 1, terms=under(GLASS))
    freeze(store)
    time.tick(minutes=1)
    assert said(store, claim, ANN, forced=True, comment="me").state is State.APPROVED
    with pytest.raises(PoolFrozenError):
        passes(store, claim)
    with pytest.raises(NotEntitledError):
        said(store, claim, ANN, forced=True, comment="me again")


@pytest.mark.parametrize("of_pool", [False, True])
def test_a_policys_freeze_keeps_an_earlier_approval_waiting(store: DynamoStore, time: FrozenTime, of_pool: bool) -> None:
    """The claim's policy, and the pool's as it stands at the gate."""
    begin, end = NOON + HOUR, NOON + 3 * HOUR
    frozen = {
        **GLASS,
        "freezes": [{"from": f"{begin:%Y-%m-%dT%H:%M:%SZ}", "until": f"{end:%Y-%m-%dT%H:%M:%SZ}", "reason": "x"}],
    }
    claim = said(store, take(store, 1, terms=Terms() if of_pool else under(frozen)), BOB)
    if of_pool:
        pools.set_policy(store, POOL, under(frozen).policy, actor="aws:op")
    time.at = begin
    with pytest.raises(PoolFrozenError, match="frozen until"):
        passes(store, claim)
    time.at = begin - timedelta(seconds=1)
    assert waits(store, time, claim) == []
    time.at = begin
    assert waits(store, time, claim) == ["frozen until Sat 2026-11-21 15:00 UTC: x"]
    assert time.at >= end
    assert passes(store, claim).spent


def test_a_freeze_that_is_over_before_it_begins_is_refused(store: DynamoStore) -> None:
    """Nothing is written."""
    with pytest.raises(ConfigError, match="is over"):
        freeze(store, NOON)
    assert store.settings(POOL).revision == 0


def test_the_freeze_keeps_all_other_settings(store: DynamoStore) -> None:
    """And is gone without a trace in the settings' digest once it is lifted."""
    pools.set_retention(store, POOL, 30, actor="aws:op")
    pools.set_policy(store, POOL, under(GLASS).policy, actor="aws:op")
    before = store.settings(POOL)
    freeze(store)
    after = pools.unfreeze(store, POOL, "", actor="aws:op")
    assert (after.policy, after.retentions, after.freeze) == (before.policy, before.retentions, None)
    assert store.settings(POOL) == after
