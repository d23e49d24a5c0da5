"""Policies where they meet the store: what is decided, under which terms, by whom, and what a pipeline can't weaken."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from approval_resource import pools
from approval_resource.audit import verify as audit
from approval_resource.claims import (
    deadline,
    wait_for_lock,
)
from approval_resource.claims import (
    decide as decisions,
)
from approval_resource.claims import (
    gate as gates,
)
from approval_resource.claims import (
    release as releases,
)
from approval_resource.claims import (
    review as reviews,
)
from approval_resource.claims.decide import POLICY_ACTOR, Terms
from approval_resource.claims.end import update_claim
from approval_resource.claims.lifecycle import transition
from approval_resource.claims.lookup import find
from approval_resource.claims.poller import Poller
from approval_resource.claims.proof import require_supported
from approval_resource.claims.request import Attempt
from approval_resource.errors import (
    AlreadyReviewedError,
    ApprovalLapsedError,
    ConfigError,
    CorruptRecordError,
    LockHeldError,
    NotEntitledError,
    UnsupportedDecisionError,
)
from approval_resource.model.claim import POLICY_CONTENT, POOL_POLICY_CONTENT, Attachment, Claim, Claimant, Verdict
from approval_resource.model.event import Kind, State
from approval_resource.model.settings import Settings
from approval_resource.policy.decision import Approved, Decision
from approval_resource.steps.check import check
from approval_resource.steps.protocol import Source
from approval_resource.store.dynamodb import items
from approval_resource.store.dynamodb.store import DynamoStore
from approval_resource.store.transaction import ClaimChange, Commit, ReadSet
from approval_resource.strict_options import read_part
from tests.builders import NOON, FrozenTime, ManualClock, a_build, a_request, take, under
from tests.contract.faults import Faults

POOL = "payments"
WRITE = "TransactWriteItems"
NEVER = "package spacelift\n\napprove { count(input.reviews.current.approvals) > 5 }\n"


def said(store: DynamoStore, claim: Claim, who: str, verdict: Verdict = Verdict.APPROVE, **more: object) -> Claim:
    """The claim after that person's review."""
    return reviews.review(store, claim.id, reviewer=who, verdict=verdict, **more).claim  # type: ignore[arg-type]


def now(store: DynamoStore, claim: Claim) -> Claim:
    """The claim as it is stored now."""
    return find(store, claim.id)


def supported(store: DynamoStore, claim: Claim) -> Decision:
    """The decision worked out again, as a gate does before it opens."""
    (event,) = [event for event in store.events(POOL) if event.claim_id == claim.id and event.kind.state is State.APPROVED]
    return require_supported(store, claim, event)


def kinds(store: DynamoStore, claim: Claim) -> list[Kind]:
    """What happened to it."""
    return [event.kind for event in store.events(POOL) if event.claim_id == claim.id]


def of_pool(*policies: dict[str, object]) -> str:
    """Those documents as a pool keeps them."""
    return under(*policies).policy


def set_policy(store: DynamoStore, *policies: dict[str, object]) -> None:
    """Give the pool that policy."""
    pools.set_policy(store, POOL, of_pool(*policies) if policies else "", actor="aws:op")


def poller(time: FrozenTime) -> Poller:
    """A wait on a clock that only waiting moves."""
    return Poller(ManualClock(time), 60.0, lambda line: None)


# ---- a claim's own -----------------------------------------------------------------


def test_two_people_it_takes(any_store: DynamoStore) -> None:
    """The second approval decides, in the transaction that records it; what was decided under is kept beside the claim."""
    claim = take(any_store, 1, terms=under(required_approvals=2))
    assert said(any_store, claim, "aws:ann").state is State.PENDING
    approved = said(any_store, claim, "aws:bob", comment="go")
    assert (approved.state, approved.decided and approved.decided.actor) == (State.APPROVED, "aws:bob")
    assert kinds(any_store, claim) == [Kind.PENDING, Kind.REVIEWED, Kind.APPROVED]
    assert json.loads(decisions.kept_policies(any_store, approved)[0]) == json.loads(under(required_approvals=2).policy)
    assert isinstance(supported(any_store, approved), Approved)


def test_typed_names_are_one_person_and_no_rule_s(shared: DynamoStore) -> None:
    """However many names are typed, they are one approval, and none from a group."""
    two = take(shared, 1, lock_name="two", terms=under(required_approvals=2))
    said(shared, two, "typed:ann")
    assert said(shared, two, "typed:bob").state is State.PENDING
    rule = take(shared, 1, lock_name="rule", terms=under(approval_rules=[{"group": "qa"}], groups={"qa": ["ann"]}))
    with pytest.raises(NotEntitledError, match="named by none of the rules qa; a name that was only typed"):
        said(shared, rule, "typed:ann")
    assert now(shared, rule).reviews == {}


def test_who_no_rule_names_is_refused(shared: DynamoStore) -> None:
    """Their verdict is not even recorded, an approval as little as a rejection."""
    claim = take(shared, 1, terms=under(approval_rules=[{"user": "aws:ann"}]))
    for verdict in Verdict:
        with pytest.raises(NotEntitledError, match="You do not have permission to approve or reject"):
            said(shared, claim, "aws:bob", verdict)
    assert kinds(shared, claim) == [Kind.PENDING]


def test_one_s_own_claim_needs_somebody_else(shared: DynamoStore) -> None:
    """Who asked may reject, not approve; an ARN that ends in their name counts as theirs."""
    terms = under(required_approvals=1, allow_self_approval=False)
    claim = take(shared, a_build(1, created_by="dana"), terms=terms)
    assert said(shared, claim, "aws:arn:aws:iam::111122223333:user/dana").state is State.PENDING
    assert said(shared, claim, "typed:somebody").state is State.PENDING
    missing = decisions.missing(shared, now(shared, claim))
    assert "dana asked for this claim and doesn't count" in missing
    assert "is only a typed name, which may belong to dana, who asked for this claim" in missing
    assert said(shared, claim, "aws:arn:aws:iam::111122223333:user/bob").state is State.APPROVED


def test_who_asked_being_unknown_nothing_opens(shared: DynamoStore) -> None:
    """Fail closed: without BUILD_CREATED_BY any approval might be the requester's own, unless the policy lets that pass."""
    claim = take(shared, 1, terms=under(required_approvals=1, allow_self_approval=False))
    assert said(shared, claim, "aws:bob").state is State.PENDING
    assert "nobody knows who asked" in decisions.missing(shared, now(shared, claim))
    lax = under(required_approvals=1, allow_self_approval=False, unknown_requester="allow")
    other = take(shared, 1, lock_name="other", terms=lax)
    assert said(shared, other, "aws:bob").state is State.APPROVED


def test_a_mind_is_changed_until_the_decision_and_not_after(shared: DynamoStore) -> None:
    """An approval taken back no longer counts, and counts again when given again."""
    claim = take(shared, 1, terms=under(required_approvals=2, rejections_required=2))
    said(shared, claim, "aws:ann")
    said(shared, claim, "aws:ann", Verdict.REJECT)
    assert said(shared, claim, "aws:bob").state is State.PENDING
    assert said(shared, claim, "aws:ann").state is State.APPROVED


def test_a_rule_is_picked_by_name(shared: DynamoStore) -> None:
    """`represented_as`: the approval counts for the rule it names, and an unknown name is refused with the known ones."""
    rules = [{"name": "QA", "group": "qa"}, {"name": "security", "group": "sec"}]
    terms = under(approval_rules=rules, groups={"qa": ["aws:ann", "aws:bob"], "sec": ["aws:bob"]})
    claim = take(shared, 1, terms=terms)
    with pytest.raises(ConfigError, match="no approval rule of that name; use QA, security"):
        said(shared, claim, "aws:bob", represented_as=("Developers",))
    with pytest.raises(ConfigError, match="that rule doesn't name you"):
        said(shared, claim, "aws:ann", represented_as=("security",))
    said(shared, claim, "aws:bob", represented_as=("security",))
    assert said(shared, claim, "aws:ann").state is State.APPROVED


def test_naming_another_rule_moves_ones_approval(shared: DynamoStore) -> None:
    """While nothing is decided: one review, which then stands for the other rule alone. After that it stands."""
    rules = [{"name": "QA", "group": "qa"}, {"name": "security", "group": "sec"}]
    terms = under(approval_rules=rules, groups={"qa": ["aws:ann", "aws:bob"], "sec": ["aws:bob"]})
    claim = take(shared, 1, terms=terms)
    for rule in ("security", "QA"):
        left = said(shared, claim, "aws:bob", represented_as=(rule,))
        assert [review.represented_as for review in left.reviews.values()] == [(rule,)]
    assert left.state is State.PENDING
    assert said(shared, claim, "aws:ann").state is State.PENDING, "bob stands for QA now, so security is open"
    assert said(shared, claim, "aws:bob", represented_as=("security",)).state is State.APPROVED
    with pytest.raises(AlreadyReviewedError):
        said(shared, claim, "aws:bob", represented_as=("QA",))


# ---- decided by nobody --------------------------------------------------------------


def test_conditions_that_are_met_approve_at_the_claim(any_store: DynamoStore) -> None:
    """Nobody is asked: the claim is approved as it is made, by the policy, in one event."""
    terms = under(conditions={"plan.changes": {"$lte": 3}}, on_policy_success="approve", given={"plan": {"changes": 2}})
    claim = take(any_store, 1, terms=terms)
    assert (claim.state, claim.decided and claim.decided.actor) == (State.APPROVED, POLICY_ACTOR)
    assert kinds(any_store, claim) == [Kind.APPROVED]
    assert isinstance(supported(any_store, claim), Approved)
    assert audit.verify(any_store, POOL).findings == []


def test_conditions_that_deny_leave_the_lock_free(any_store: DynamoStore) -> None:
    """The claim is rejected as it is made and holds nothing; the same build asking again gets the same answer."""
    terms = under(conditions={"plan.changes": {"$lte": 3}}, on_policy_fail="deny", given={"plan": {"changes": 9}})
    claim = take(any_store, 1, terms=terms)
    assert (claim.state, claim.claimed, claim.decided and claim.decided.actor) == (State.REJECTED, False, POLICY_ACTOR)
    assert take(any_store, 1, terms=terms).id == claim.id
    assert take(any_store, 2).claimed
    assert audit.verify(any_store, POOL).findings == []


def test_other_facts_are_another_request(shared: DynamoStore) -> None:
    """A build that asks again with other facts or rules doesn't get the approval that was given for the first ones."""
    first = take(shared, 1, terms=under(required_approvals=2, given={"version": 1}))
    second = take(shared, 1, terms=under(required_approvals=2, given={"version": 2}))
    third = take(shared, 1, terms=under(required_approvals=1, given={"version": 2}))
    assert len({first.id, second.id, third.id}) == 3
    assert [now(shared, claim).state for claim in (first, second)] == [State.SUPERSEDED] * 2


# ---- a pool's -----------------------------------------------------------------------


@pytest.mark.parametrize("need_approval", [True, False])
def test_a_pool_s_policy_holds_whatever_the_pipeline_says(any_store: DynamoStore, need_approval: bool) -> None:
    """It takes the pool's two people, though the pipeline asks for one, or for none at all."""
    set_policy(any_store, {"required_approvals": 2})
    terms = under(required_approvals=1) if need_approval else Terms()
    claim = take(any_store, 1, need_approval=need_approval, terms=terms)
    assert (claim.state, claim.need_approval) == (State.PENDING, True)
    said(any_store, claim, "aws:ann")
    approved = said(any_store, claim, "aws:bob")
    assert approved.state is State.APPROVED
    assert decisions.kept_policies(any_store, approved)[1] == of_pool({"required_approvals": 2})


def test_a_pool_s_policy_counts_as_it_is_when_it_is_decided(shared: DynamoStore) -> None:
    """One set while people review is asked too; one taken away no longer is, and who approved before may say so again."""
    claim = take(shared, 1, terms=under(required_approvals=1))
    set_policy(shared, {"required_approvals": 2})
    assert said(shared, claim, "aws:ann").state is State.PENDING
    set_policy(shared)
    again = reviews.review(shared, claim.id, reviewer="aws:ann", verdict=Verdict.APPROVE)
    assert (again.changed, again.claim.state) == (True, State.APPROVED)


@pytest.mark.parametrize("what", ["review", "claim"])
def test_a_pool_s_policy_set_in_between_is_not_missed(connect: Callable[..., DynamoStore], time: FrozenTime, what: str) -> None:
    """The deciding transaction checks that the policy it read is the present one; else everything is asked anew."""
    store, other = connect(time), connect(time)
    claim = take(store, 1)

    def setting(request: object) -> None:
        set_policy(other, {"required_approvals": 2})

    if what == "review":
        Faults.on(store, WRITE, setting)
        assert said(store, claim, "aws:ann").state is State.PENDING
        assert kinds(store, claim) == [Kind.PENDING, Kind.REVIEWED]
    else:
        Faults.on(store, WRITE, setting)
        assert take(store, 2, lock_name="plain", need_approval=False).state is State.PENDING


def test_a_policy_read_at_another_moment_than_the_log_is_read_again(shared: DynamoStore) -> None:
    """Items are read one by one: settings older or newer than the pool's head are no moment that ever was."""
    set_policy(shared, {"required_approvals": 2})
    found = shared.commit(ReadSet(pool=POOL), lambda snapshot: Commit(), "read").after
    assert found.is_whole
    before = Settings(pool=POOL)
    assert not replace(found, settings=before).is_whole
    assert not replace(found, head=replace(found.head, settings=0)).is_whole
    assert not replace(found, settings=replace(found.settings, revision=2, policy="")).is_whole
    assert replace(found, settings=before, head=replace(found.head, settings=0)).is_whole


def test_what_was_decided_stays_explained(shared: DynamoStore) -> None:
    """The pool's policy that was used is kept with the claim, so a later one changes nothing about it."""
    set_policy(shared, {"required_approvals": 1, "description": "then"})
    claim = take(shared, 1)
    approved = said(shared, claim, "aws:ann")
    set_policy(shared, {"required_approvals": 5})
    assert "then" in decisions.kept_policies(shared, approved)[1]
    assert isinstance(supported(shared, approved), Approved)


def test_setting_a_policy_is_on_record(any_store: DynamoStore) -> None:
    """Who set it, and its digest; the log's chain holds, and setting the same again writes nothing."""
    set_policy(any_store, {"required_approvals": 2})
    set_policy(any_store, {"required_approvals": 2})
    set_policy(any_store)
    events = list(any_store.events(POOL))
    assert [(event.kind, event.actor) for event in events] == [(Kind.SETTINGS, "aws:op")] * 2
    assert events[0].reason.startswith("policy sha256 ")
    assert audit.verify(any_store, POOL).findings == []
    assert pools.set_retention(any_store, POOL, 30, actor="op").policy == ""


# ---- time ----------------------------------------------------------------------------

WINDOW: dict[str, Any] = {"required_approvals": 1, "windows": [{"from": "14:00", "to": "16:00"}]}


def test_an_approval_outside_a_window_is_kept_until_it_opens(shared: DynamoStore, time: FrozenTime) -> None:
    """The gate opens when the window does, by the policy, with nobody asked again."""
    claim = said(shared, take(shared, 1, terms=under(**WINDOW)), "aws:ann")
    assert (claim.state, claim.opens_at) == (State.PENDING, NOON + timedelta(hours=2))
    passed = gates.wait(shared, claim, poller=poller(time))
    assert time.at >= NOON + timedelta(hours=2)
    assert (passed.state, passed.decided and passed.decided.actor) == (State.APPROVED, POLICY_ACTOR)
    assert isinstance(supported(shared, passed), Approved)
    assert kinds(shared, claim) == [Kind.PENDING, Kind.REVIEWED, Kind.APPROVED]


@pytest.mark.parametrize("looks", ["claimer", "gate", "check"])
def test_whoever_looks_next_completes_it(shared: DynamoStore, time: FrozenTime, looks: str) -> None:
    """A resource with `states` too, so that no container has to wait for a window."""
    claim = said(shared, take(shared, 1, terms=under(required_approvals=1, not_before="3h")), "aws:ann")
    time.tick(hours=3)
    match looks:
        case "claimer":
            with pytest.raises(LockHeldError):
                take(shared, 2)
            attempt = Attempt()
            with pytest.raises(Exception, match="gave up"):
                wait_for_lock.acquire(
                    shared,
                    a_request(),
                    Claimant(a_build(2)),
                    attempt,
                    poller=poller(time),
                    standing=lambda standing: None,
                    wait_timeout=timedelta(minutes=3),
                )
        case "gate":
            gates.wait(shared, claim, poller=poller(time))
        case _:
            source = read_part(Source, {"pool": POOL, "states": ["approved"]})
            assert [version["id"] for version in check(source, None, shared)] == [claim.id]
    assert now(shared, claim).state is State.APPROVED


def test_a_window_that_no_longer_helps_is_put_off(shared: DynamoStore, time: FrozenTime) -> None:
    """Where the pool asks for more by then, the claim goes on waiting, and the log says so once."""
    claim = said(shared, take(shared, 1, terms=under(**WINDOW)), "aws:ann")
    set_policy(shared, {"required_approvals": 2})
    time.tick(hours=2)
    for _ in range(3):
        assert deadline.apply_time(shared, claim).state is State.PENDING
    assert kinds(shared, claim) == [Kind.PENDING, Kind.REVIEWED, Kind.POSTPONED]
    assert said(shared, claim, "aws:bob").state is State.APPROVED


def test_a_rejection_needs_no_window(shared: DynamoStore) -> None:
    """What must not happen is stopped at any hour."""
    assert said(shared, take(shared, 1, terms=under(**WINDOW)), "aws:ann", Verdict.REJECT).state is State.REJECTED


def test_a_deadline_goes_before_a_window(shared: DynamoStore, time: FrozenTime) -> None:
    """A claim that expired before its window opened is expired, whoever looks first."""
    claim = said(shared, take(shared, 1, terms=under(**WINDOW), expires_after=timedelta(hours=1)), "aws:ann")
    time.tick(hours=3)
    assert deadline.apply_time(shared, claim).state is State.EXPIRED


def test_an_approval_lapses(shared: DynamoStore, time: FrozenTime) -> None:
    """`valid_for`: it opens the gate until then, and no build after."""
    claim = said(shared, take(shared, 1, terms=under(required_approvals=1, valid_for="1h")), "aws:ann")
    assert claim.valid_until == NOON + timedelta(hours=1)
    time.tick(minutes=59)
    gates.pass_through(shared, claim, a_build(1), spend=True)
    time.tick(minutes=1)
    for build in (1, 2):
        with pytest.raises(ApprovalLapsedError, match="claim again"):
            gates.pass_through(shared, claim, a_build(build), spend=True, reuse=True)


# ---- forced ---------------------------------------------------------------------------


def test_a_forced_decision_needs_the_right_and_is_told_as_forced(shared: DynamoStore) -> None:
    """Who may break the glass decides alone; the event says forced, and the decision is supported when it is worked out again."""
    terms = under(
        required_approvals=3, windows=[{"from": "20:00"}], bypass={"groups": ["oncall"]}, groups={"oncall": ["aws:eve"]}
    )
    claim = take(shared, 1, terms=terms)
    for who in ("aws:ann", "typed:eve"):
        with pytest.raises(NotEntitledError, match="no policy's bypass names you"):
            said(shared, claim, who, forced=True, comment="fire")
    said(shared, claim, "aws:eve", comment="looks fine")
    approved = said(shared, claim, "aws:eve", forced=True, comment="fire")
    assert approved.state is State.APPROVED
    events = [event for event in shared.events(POOL) if event.claim_id == claim.id]
    assert [(event.kind, event.forced, event.reason) for event in events][-1] == (Kind.APPROVED, True, "fire")
    assert isinstance(supported(shared, approved), Approved)


def test_a_claim_s_bypass_forces_nothing_of_its_pool(shared: DynamoStore) -> None:
    """A pipeline can name itself in its own policy, not in the pool's."""
    set_policy(shared, {"required_approvals": 2})
    claim = take(shared, 1, terms=under(required_approvals=1, bypass={"users": ["aws:eve"]}))
    assert said(shared, claim, "aws:eve", forced=True, comment="mine").state is State.PENDING


# ---- worked out again -------------------------------------------------------------------


def forged(store: DynamoStore, claim: Claim, **changes: object) -> Claim:
    """The claim, approved by somebody who can write the table and keeps the log's chain whole."""

    def without_policies(current: Claim, snapshot: object) -> ClaimChange:
        after = transition(current, State.APPROVED, actor="aws:ann", reason="", at=store.now())
        return ClaimChange(claim=replace(after, **changes), kind=Kind.APPROVED, actor="aws:ann")  # type: ignore[arg-type]

    return update_claim(store, claim, without_policies)


def test_an_approval_that_nobody_gave_opens_nothing(shared: DynamoStore, time: FrozenTime) -> None:
    """The log's chain holds, and still the gate works the decision out again and refuses."""
    for number, terms in enumerate((Terms(), under(required_approvals=1), under(rego=NEVER))):
        claim = take(shared, 1, lock_name=f"{number}", terms=terms)
        approved = forged(shared, claim)
        assert approved.state is State.APPROVED
        with pytest.raises(UnsupportedDecisionError, match="don't support that"):
            supported(shared, approved)
    assert audit.verify(shared, POOL).findings == []


def test_an_approval_made_longer_than_its_policy_says_opens_nothing(shared: DynamoStore) -> None:
    """Neither its end, nor the instant it was decided for, can be chosen."""
    terms = under(required_approvals=1, rejections_required=2, valid_for="1h")
    claim = take(shared, 1, terms=terms)
    approved = said(shared, claim, "aws:ann")
    for changes in ({"valid_until": None}, {"judged_at": NOON - timedelta(days=1)}, {"decided": None}):
        with pytest.raises(UnsupportedDecisionError):
            supported(shared, replace(approved, **changes))


def altered(store: DynamoStore, claim: Claim, **changes: object) -> Claim:
    """The claim as somebody who can write the table has changed it, with nothing else touched."""
    after = replace(now(store, claim), **changes)  # type: ignore[arg-type]
    store._client.put_item(TableName=store._table, Item=items.claim_item(after))
    return after


@pytest.mark.parametrize("what", ["policy", "facts", "requester", "attachments"])
@pytest.mark.long
def test_a_claim_keeps_to_what_its_pipeline_asked_for(shared: DynamoStore, what: str) -> None:
    """Each event pins that: who takes its policy away while it waits finds that no review is taken any more, and is found."""
    terms = under(required_approvals=2, allow_self_approval=False, given={"a": 1})
    claim = take(shared, a_build(1, created_by="dana"), terms=terms)
    changes: dict[str, object] = {
        "policy": {"policy": ""},
        "facts": {"facts": ""},
        "requester": {"build": replace(claim.build, created_by="eve")},
        "attachments": {"attachments": {"plan": Attachment("0" * 64, 1, stored=False)}},
    }[what]  # type: ignore[assignment]
    altered(shared, claim, **changes)
    with pytest.raises(CorruptRecordError, match="not as its newest event left it"):
        said(shared, claim, "aws:ann")
    assert [event.kind for event in shared.events(POOL)] == [Kind.PENDING]
    told = f"claim {claim.id} of lock {claim.lock_name} was altered: it is not what its pipeline asked for; it says now: "
    assert any(finding.startswith(told) for finding in audit.verify(shared, POOL).findings)


def test_an_approval_past_its_pool_s_policy_opens_nothing(shared: DynamoStore) -> None:
    """The log tells which policy the pool had then: an approval that was decided without it, or under another, is none."""
    set_policy(shared, {"required_approvals": 1})
    claim = said(shared, take(shared, 1), "aws:ann")
    pools.set_retention(shared, POOL, 30, actor="op")
    assert isinstance(supported(shared, claim), Approved)
    for policy in ("", "0" * 64):
        with pytest.raises((UnsupportedDecisionError, CorruptRecordError)):
            supported(shared, replace(claim, pool_policy=policy))


@pytest.mark.parametrize("part", [POLICY_CONTENT, POOL_POLICY_CONTENT])
@pytest.mark.long
def test_terms_that_were_altered_are_not_asked(shared: DynamoStore, part: str) -> None:
    """What is kept beside a claim is what its digest says, or nothing is decided by it."""
    set_policy(shared, {"required_approvals": 1})
    claim = said(shared, take(shared, 1, terms=under(required_approvals=1)), "aws:ann")
    weak = of_pool({"required_approvals": 1, "description": "weak"}).encode()
    shared._client.put_item(TableName=shared._table, Item=items.content_item(claim.id, part, weak))
    with pytest.raises(CorruptRecordError, match="is not what it was claimed with"):
        supported(shared, claim)


def test_a_pool_s_policy_that_can_t_be_read_opens_nothing(shared: DynamoStore) -> None:
    """Somebody damaged it: reviews are refused by name of the fault, and no claim is approved."""
    claim = take(shared, 1)
    for broken in ("{", '[{"required_approval": 1}]', "[]"):
        pools.set_policy(shared, POOL, broken, actor="op")
        with pytest.raises(NotEntitledError, match="a policy can't be read"):
            said(shared, claim, "aws:ann")
    assert take(shared, 2, lock_name="other", need_approval=False).state is State.PENDING


# ---- facts and inputs ----------------------------------------------------------------------


def test_a_pipeline_can_t_say_what_is_not_its_to_say(shared: DynamoStore) -> None:
    """Reviews, the requester and the claim's own facts come from here, whatever the facts hold."""
    given = {
        "reviews": {"current": {"approvals": [{"author": "a"}, {"author": "b"}], "rejections": []}, "older": []},
        "request": {"timestamp_ns": 1},
        "requester": "somebody",
        "run": {
            "id": "mine",
            "state": "FINISHED",
            "created_at": 1,
            "creator_session": {"login": "x"},
            "triggered_by": "x",
            "branch": "main",
        },
        "stack": {"name": "mine", "labels": ["prod"]},
        "claim": {"requester": "somebody"},
        "build": {"created_by": "somebody", "commit": "abc"},
    }
    rego = """
package spacelift

told { input.run.branch == "main"; input.stack.labels[_] == "prod"; input.build.commit == "abc" }
lied { count(input.reviews.current.approvals) > 0 }
lied { input.request.timestamp_ns == 1 }
lied { input.run.id == "mine" }
lied { input.run.state == "FINISHED" }
lied { input.run.created_at == 1 }
lied { input.run.creator_session.login != "dana" }
lied { input.run.triggered_by != "dana" }
lied { input.stack.name == "mine" }
lied { input.claim.requester != "dana" }
lied { input.build.created_by != "dana" }
approve { told; not lied }
"""
    claim = take(shared, a_build(1, created_by="dana"), terms=under(rego=rego, given=given))
    assert (claim.state, claim.decided and claim.decided.actor) == (State.APPROVED, POLICY_ACTOR)
    for known_only_to_concourse in (
        "input.requester",
        "input.run.creator_session",
        "input.claim.requester",
        "input.build.created_by",
    ):
        rego = f"package spacelift\n\napprove {{ {known_only_to_concourse} }}\napprove {{ not {known_only_to_concourse} }}\n"
        claim = take(shared, 2, lock_name=known_only_to_concourse, terms=under(rego=rego, given=given))
        assert claim.state is State.PENDING


def test_what_is_asked_for_is_checked_and_kept(shared: DynamoStore) -> None:
    """An approval without it, or with what doesn't fit, is refused; two who approve must agree."""
    asked = [{"name": "version", "required": True, "pattern": r"\d+\.\d+"}]
    claim = take(shared, 1, terms=under(required_approvals=2, inputs=asked))
    with pytest.raises(ConfigError, match="needs version: approve with --input version="):
        said(shared, claim, "aws:ann")
    with pytest.raises(ConfigError, match="input version: must match"):
        said(shared, claim, "aws:ann", inputs={"version": "new"})
    with pytest.raises(ConfigError, match="input other: unknown; the policy asks for version"):
        said(shared, claim, "aws:ann", inputs={"version": "1.2", "other": "x"})
    said(shared, claim, "aws:ann", inputs={"version": "1.2"})
    with pytest.raises(ConfigError, match="disagree on version"):
        said(shared, claim, "aws:bob", inputs={"version": "1.3"})
    approved = said(shared, claim, "aws:bob")
    assert approved.state is State.APPROVED
    assert now(shared, claim).reviews["aws:ann"].inputs == {"version": "1.2"}


def test_a_release_by_name_leaves_a_policed_claim_to_its_reviewers(shared: DynamoStore) -> None:
    """A job that claims nothing itself can't free a lock that still waits for its approval."""
    set_policy(shared, {"required_approvals": 2})
    claim = take(shared, 1, need_approval=False)
    other = a_build(9, job="cleanup")
    with pytest.raises(LockHeldError):
        releases.release(shared, POOL, "deploy", Claimant(other))
    assert now(shared, claim).state is State.PENDING
