"""What once fooled the policies through the store."""

from __future__ import annotations

import hashlib
import resource
from dataclasses import replace

import pytest

from approval_resource.audit import verify as audit
from approval_resource.claims import deadline
from approval_resource.claims import decide as decisions
from approval_resource.errors import CorruptRecordError
from approval_resource.model.claim import Claim
from approval_resource.model.event import State
from approval_resource.policy.sandbox import parent as sandbox
from approval_resource.steps.check import check
from approval_resource.steps.protocol import Source
from approval_resource.store.dynamodb import items
from approval_resource.store.dynamodb.store import DynamoStore
from approval_resource.strict_options import read_part
from tests.builders import NOON, FrozenTime, a_build, take, under
from tests.contract.test_policies import POOL, now, said, set_policy

REGO = "package spacelift\n\napprove { count(input.reviews.current.approvals) > 0 }\n"
AUTO = [{"name": "weak", "conditions": {"pool.name": POOL}, "on_policy_success": "approve"}]


def kept(store: DynamoStore, claim: Claim, part: str, content: bytes) -> str:
    """For short."""
    store._client.put_item(TableName=store._table, Item=items.content_item(claim.id, part, content))
    return hashlib.sha256(content).hexdigest()


# ---- forged ------------------------------------------------------------------------


# ---- stuck -------------------------------------------------------------------------


def test_a_passing_fault_of_the_sandbox_at_the_opening_stops_nothing(
    shared: DynamoStore, time: FrozenTime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A busy worker: the child is too slow once, just when the window opens. The next look must decide."""
    claim = take(shared, 1, terms=under(rego=REGO, not_before="1h"))
    said(shared, claim, "aws:ann")
    time.tick(hours=1, seconds=1)
    with monkeypatch.context() as slow:

        def late(task: object) -> dict[str, object]:
            raise sandbox.SandboxError("it took more than 2.5 s and was stopped")

        slow.setattr(sandbox, "run", late)
        deadline.apply_time(shared, now(shared, claim))
    time.tick(hours=1)
    current = now(shared, claim)
    assert current.due(shared.now()) or current.opens_at is not None, "nobody will ever look again"
    assert deadline.apply_time(shared, current).state is State.APPROVED


def test_a_label_in_two_documents_is_usable_in_each(shared: DynamoStore) -> None:
    """The pool's QA hides the pipeline's QA: bob can't say which of his own rules he means."""
    set_policy(shared, {"approval_rules": [{"name": "QA", "group": "q"}], "groups": {"q": ["aws:carol"]}})
    own = {
        "approval_rules": [{"name": "first", "group": "g"}, {"name": "QA", "group": "q"}],
        "groups": {"g": ["aws:ann", "aws:bob"], "q": ["aws:bob"]},
    }
    claim = take(shared, 1, terms=under(own))
    said(shared, claim, "aws:carol")
    said(shared, claim, "aws:ann")
    assert said(shared, claim, "aws:bob", represented_as=("QA",)).state is State.APPROVED


# ---- inputs ------------------------------------------------------------------------


def test_what_who_asked_fills_in_is_not_what_an_approver_filled_in(shared: DynamoStore) -> None:
    """Dana's own approval counts for nothing; what she filled in must not either."""
    terms = under(
        required_approvals=1,
        allow_self_approval=False,
        inputs=[{"name": "rollback_tested", "kind": "boolean", "required": True}],
    )
    claim = take(shared, a_build(1, created_by="dana"), terms=terms)
    said(shared, claim, "aws:arn:aws:iam::1:user/dana", inputs={"rollback_tested": "true"})
    try:
        after = said(shared, claim, "aws:bob")
    except Exception:  # noqa: BLE001 - refused is fine
        return
    assert after.state is not State.APPROVED


def test_who_counts_for_nothing_blocks_nobody(shared: DynamoStore) -> None:
    """Who counts for nothing blocks nobody."""
    terms = under(required_approvals=1, allow_self_approval=False, inputs=[{"name": "ticket", "required": True}])
    claim = take(shared, a_build(1, created_by="dana"), terms=terms)
    said(shared, claim, "aws:arn:aws:iam::1:user/dana", inputs={"ticket": "JUNK"})
    assert said(shared, claim, "aws:bob", inputs={"ticket": "OPS-1"}).state is State.APPROVED


def test_what_is_written_is_what_the_policy_checked(shared: DynamoStore, time: FrozenTime) -> None:
    """Dana, by two identities, first wrote A and then B; bob agrees with B. The decision's files must say B."""
    terms = under(required_approvals=2, people={"dana": ["aws:d1", "aws:d2"]}, inputs=[{"name": "ticket", "required": True}])
    claim = take(shared, 1, terms=terms)
    said(shared, claim, "aws:d1", inputs={"ticket": "A"})
    time.tick(minutes=1)
    said(shared, claim, "aws:d2", inputs={"ticket": "B"})
    approved = said(shared, claim, "aws:bob", inputs={"ticket": "B"})
    assert approved.state is State.APPROVED
    assert decisions.decision_of(shared, approved).filled_in == {"ticket": "B"}


def test_forced_writes_what_the_forcing_person_filled_in(shared: DynamoStore, time: FrozenTime) -> None:
    """Forced writes what the forcing person filled in."""
    terms = under(required_approvals=2, bypass={"users": ["aws:boss"]}, inputs=[{"name": "ticket", "required": True}])
    claim = take(shared, 1, terms=terms)
    said(shared, claim, "aws:ann", inputs={"ticket": "A"})
    time.tick(minutes=1)
    approved = said(shared, claim, "aws:boss", forced=True, comment="now", inputs={"ticket": "B"})
    assert decisions.decision_of(shared, approved).filled_in == {"ticket": "B"}


# ---- windows -----------------------------------------------------------------------


def test_pool_selector_is_not_escaped_by_saying_less(shared: DynamoStore) -> None:
    """The pool's policy applies to everything but dev; a pipeline that says nothing of its environment is not dev."""
    set_policy(
        shared, {"selector": {"tags.env": {"$ne": "dev"}}, "conditions": {"tags.reviewed": True}, "on_policy_fail": "deny"}
    )
    claim = take(shared, 1)
    assert claim.state is State.REJECTED or said(shared, claim, "typed:anybody").state is not State.APPROVED


@pytest.mark.long
def test_one_pipeline_s_slow_policy_does_not_hold_up_everybody_s_check(shared: DynamoStore, time: FrozenTime) -> None:
    """Fast until its time comes, then 2 s for each of its texts; up to 400 fit. Any check with `states` in the pool pays."""
    late = (NOON.timestamp() + 1800) * 1e9
    slow = (
        f"package spacelift\n\napprove {{ input.request.timestamp_ns < {late:.0f} }}\n"
        f"approve {{ input.request.timestamp_ns >= {late:.0f}; count([1 | numbers.range(1,100000)[_] == numbers.range(1,100000)[_]]) > 0 }}\n"
    )
    claim = take(shared, 1, terms=under(rego=[slow] * 4, not_before="1h"))
    assert claim.opens_at is not None
    time.tick(hours=1, seconds=1)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    check(read_part(Source, {"pool": POOL, "table": shared._table, "states": ["approved"]}), None, shared)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < sandbox.BUDGET_SECONDS + 1


def test_audit_sees_a_policy_taken_out_of_a_waiting_claim(shared: DynamoStore) -> None:
    """Audit sees a policy taken out of a waiting claim."""
    claim = take(shared, 1, terms=under(required_approvals=2))
    shared._client.put_item(TableName=shared._table, Item=items.claim_item(replace(claim, policy=""), None))
    with pytest.raises(CorruptRecordError):
        said(shared, claim, "aws:ann")
    assert audit.verify(shared, POOL).findings
