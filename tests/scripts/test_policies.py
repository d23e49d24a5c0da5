"""Policies in a pipeline: read from params and files, told to people, asked at the gate, and never loaded by check."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest

from approval_resource import pools
from approval_resource.claims import review as reviews
from approval_resource.documents.claims import REVIEW
from approval_resource.model.claim import Claim, Review, Verdict
from approval_resource.model.event import State
from approval_resource.store.dynamodb.store import DynamoStore
from approval_resource.store.dynamodb.values import values
from tests.builders import a_build, under
from tests.scripts.conftest import LOCK, POOL, ROOT, Concourse, kept, until

TWO = {"required_approvals": 2}
ONE_REGO = "package spacelift\n\napprove { count(input.reviews.current.approvals) > 0 }\n"


def say(store: DynamoStore, version: dict[str, str], who: str, verdict: Verdict = Verdict.APPROVE, **more: object) -> Claim:
    """That person's verdict, without a process for it."""
    return reviews.review(store, version["id"], reviewer=who, verdict=verdict, **more).claim  # type: ignore[arg-type]


def test_a_gate_waits_for_two_and_tells_what_is_missing(concourse: Concourse, store: DynamoStore) -> None:
    """The build log says what it takes, after each review what is still missing, and the receipt under which policy."""
    claimed = concourse.claim(policy=TWO)
    assert "It needs 2 approvals" in claimed.stderr
    assert "Can be opened by: 2 other people whom AWS or an issuer knows" in claimed.stderr
    gate = concourse.start_get(claimed.version, need_approval=True)
    gate.says("It needs 2 approvals")
    say(store, claimed.version, "aws:ann", comment="fine")
    gate.says("aws:ann said approve: fine; not decided yet (1 of 2 approvals (aws:ann))")
    say(store, claimed.version, "aws:bob")
    passed = gate.ends()
    assert passed.version["state"] == "pending"
    receipt = json.loads(passed.file("receipt.json"))
    assert receipt["policy"][0]["required_approvals"] == 2
    assert [review["reviewer"] for review in receipt["reviews"]] == ["aws:ann", "aws:bob"]


def test_policies_and_facts_come_from_files_of_the_build(concourse: Concourse, store: DynamoStore) -> None:
    """YAML and bare Rego; several files are several policies, and each must approve."""
    concourse.write(
        "ci/policy.yaml", "conditions: {plan.changes: {$lte: 3}}\non_policy_fail: deny\non_policy_success: approve\n"
    )
    concourse.write("ci/people.rego", ONE_REGO)
    concourse.write("ci/facts.json", '{"plan": {"changes": 1}}')
    options: dict[str, Any] = {"policy_file": ["ci/policy.yaml", "ci/people.rego"], "facts_file": "ci/facts.json"}
    version = concourse.claim(**options).version
    assert version["state"] == "pending"
    assert say(store, version, "aws:ann").state is State.APPROVED
    denied = concourse.claim(lock_name="other", build=2, **{**options, "facts_file": None, "policy_file": "policy.yaml"})
    assert "No such file" in denied.refused()
    concourse.write("ci/policy.yaml", "conditions: {plan.changes: {$lte: 3}}\non_policy_fail: deny\n", build=2)
    refused = concourse.claim(lock_name="other", build=2, policy_file="ci/policy.yaml", facts={"plan": {"changes": 4}})
    assert "hasn't been approved" in refused.refused()
    assert "not met" in refused.stderr


@pytest.mark.long
def test_every_problem_of_a_policy_is_told_at_the_claim(concourse: Concourse, store: DynamoStore) -> None:
    """With file, line, column and the way out; nothing is claimed."""
    concourse.write("policy.yaml", 'required_approval: 1\nwindows: [{from: "25:00"}]\n')
    concourse.write("bad.rego", "package spacelift\napprove { http.send({}) }\n")
    log = concourse.claim(policy_file=["policy.yaml"], policy={"conditions": {}}).refused()
    assert 'policy.yaml:1:1: required_approval: unknown option; did you mean "required_approvals"?' in log
    assert "policy.yaml:2:12: windows.0.from: must be a time of day" in log
    assert "bad.rego:2:11: calls http.send" in concourse.claim(policy_file="bad.rego").refused()
    assert "is empty, which would hold of everything" in concourse.claim(policy={"conditions": {}}).refused()
    assert "needs need_approval: true" in concourse.put("claim", lock_name=LOCK, policy=TWO).refused()
    assert store.lock(POOL, LOCK) is None


def test_a_gate_that_nobody_can_open_is_told_at_the_claim(concourse: Concourse) -> None:
    """Not after everybody has waited for a day: a rule that nobody can meet is refused, what only this claim lacks is warned of."""
    log = concourse.claim(policy={"approval_rules": [{"group": "qa"}]}).refused()
    assert "params.policy: group qa has no members here: list it under groups" in log
    ana = "aws:arn:aws:iam::111122223333:user/ana"
    own = {"approval_rules": [{"user": "ana"}], "people": {"ana": [ana]}, "allow_self_approval": False}
    log = concourse.claim(policy=own, build=a_build(created_by="ana")).stderr
    assert "warning: nobody can open this gate; though everybody known approves: needs 1 approval from ana" in log


def test_the_hint_names_those_who_can_open_the_gate(concourse: Concourse, store: DynamoStore) -> None:
    """By their names in the policy, and not who asked; those whom it names do open it."""
    people = {name: [f"aws:arn:aws:iam::111122223333:user/{name}"] for name in ("ana", "ben", "cara", "dan")}
    policy = {
        "approval_rules": [{"group": "qa"}, {"name": "owner", "user": "dan"}],
        "groups": {"qa": ["ana", "ben", "cara"]},
        "people": people,
        "allow_self_approval": False,
    }
    claimed = concourse.claim(policy=policy, build=a_build(created_by="ana"))
    hints = [line for line in claimed.stderr.splitlines() if "by: " in line]
    assert hints == ["Can be opened by: 1 of ben, cara; and dan"]
    assert say(store, claimed.version, people["dan"][0]).state is State.PENDING
    assert say(store, claimed.version, people["cara"][0]).state is State.APPROVED


def test_facts_that_are_not_the_pipeline_s_are_told_to_be_left_out(concourse: Concourse) -> None:
    """So that nobody wonders why their facts change nothing."""
    facts = {"reviews": {}, "run": {"id": "x", "branch": "main"}, "plan": 1}
    assert "facts reviews, run.id are not for a pipeline to say" in concourse.claim(policy=TWO, facts=facts).stderr


def test_a_pool_s_policy_asks_though_the_pipeline_doesn_t(concourse: Concourse, store: DynamoStore) -> None:
    """A put that asks for none waits all the same: else its pipeline would go on without."""
    pools.set_policy(store, POOL, under(required_approvals=1).policy, actor="op")
    put = concourse.start_put("claim", lock_name=LOCK)
    put.says("The policy of pool payments asks for an approval, though params.need_approval doesn't: waiting for it here")
    (claim,) = store.open_claims(POOL)
    assert claim.state is State.PENDING
    say(store, {"id": claim.id}, "aws:ann")
    assert put.ends().version["state"] == "approved"


def test_what_reviewers_fill_in_comes_out_as_files(concourse: Concourse, store: DynamoStore) -> None:
    """One file a name, all of it as JSON, and in the receipt."""
    policy = {"required_approvals": 1, "inputs": [{"name": "version", "required": True, "pattern": r"\d+\.\d+"}]}
    version = concourse.claim(policy=policy).version
    refused = concourse.cli("approve", version["id"])
    assert (refused.code, "approve with --input version=" in refused.stderr) == (1, True)
    concourse.approve(version, "--input", "version=1.2")
    got = concourse.get(version, need_approval=True)
    assert (got.file("inputs/version"), json.loads(got.file("inputs.json"))) == ("1.2", {"version": "1.2"})
    assert json.loads(got.file("receipt.json"))["inputs"] == {"version": "1.2"}


@pytest.mark.long
def test_an_approval_that_its_reviews_don_t_support_opens_no_gate(concourse: Concourse, store: DynamoStore) -> None:
    """`in` and `await` hold the claim against the log: one whose reviews were taken away behind everybody's back is refused."""
    version = concourse.claim(policy=TWO).version
    say(store, version, "aws:ann")
    say(store, version, "aws:bob")
    approved = kept(store, version)
    one = {"aws:ann": approved.reviews["aws:ann"]}
    forge(store, approved, one)
    log = concourse.get(version, need_approval=True).refused()
    assert f"claim {approved.id} of lock {LOCK} can't be trusted: it is not as its newest event left it" in log
    concourse.put("await", lock_name=LOCK).refused()
    decided = version | {"state": "approved", "timestamp": concourse.versions(version)[-1]["timestamp"]}
    assert "not as its newest event left it" in concourse.get(decided, into="seen").refused()


def forge(store: DynamoStore, claim: Claim, left: dict[str, Review]) -> None:
    """Take reviews away from a claim, as somebody can who writes the table."""
    store._client.update_item(
        TableName=store._table,
        Key={"pk": {"S": f"claim#{claim.id}"}, "sk": {"S": "claim"}},
        UpdateExpression="SET reviews = :reviews",
        ExpressionAttributeValues={
            ":reviews": values({"reviews": {who: REVIEW.write(review) for who, review in left.items()}})["reviews"]
        },
    )


def test_without_its_engine_a_rego_policy_is_a_configuration_error(concourse: Concourse, store: DynamoStore) -> None:
    """Never a pass: the claim is refused, with what to install."""
    concourse.write("policy.rego", ONE_REGO)
    hidden = concourse.scratch / "hidden"
    hidden.mkdir()
    (hidden / "sitecustomize.py").write_text("import sys\nsys.modules['regorus'] = None\n")
    request = {"source": concourse.source, "params": {"action": "claim", "lock_name": LOCK, "need_approval": True}}
    request["params"]["policy_file"] = "policy.rego"
    put = concourse.start("out", request, [str(concourse.workspace())], PYTHONPATH=str(hidden)).ends()
    assert "needs the Rego engine, which is not installed here" in put.refused()
    assert store.lock(POOL, LOCK) is None


@pytest.mark.parametrize("states", [None, ["approved"]])
def test_check_loads_no_policies(concourse: Concourse, states: list[str] | None) -> None:
    """It runs every minute for every resource: neither engines nor YAML nor the policies' own code are imported by it."""
    concourse.claim(policy=TWO)
    request = {"source": concourse.source | ({"states": states} if states else {})}
    check = concourse.start("check", request, [], PYTHONPROFILEIMPORTTIME="1").ends()
    assert check.code == 0
    imported = set(re.findall(r"\| +([\w.]+)$", check.stderr, re.MULTILINE))
    assert "approval_resource.steps.check" in imported
    unwanted = ("approval_resource.policy", "regorus", "mgqpy", "yaml")
    assert [name for name in imported if name.startswith(unwanted)] == []


@pytest.mark.long
def test_check_completes_what_a_window_held_back(concourse: Concourse, store: DynamoStore) -> None:
    """A resource with `states: [approved]` finds the approval once the waiting time is over, with no container waiting."""
    version = concourse.claim(policy={"required_approvals": 1, "not_before": "2s"}).version
    assert say(store, version, "aws:ann").state is State.PENDING
    watching = concourse.sourced(states=["approved"])
    found = until(partial(watching.versions), "the approval")
    assert [(one["id"], one["state"]) for one in found] == [(version["id"], "approved")]


def test_who_asked_is_told_by_concourse(concourse: Concourse, store: DynamoStore) -> None:
    """BUILD_CREATED_BY, where the resource exposes it, is whom `allow_self_approval: false` keeps from approving."""
    policy = {
        "required_approvals": 1,
        "allow_self_approval": False,
        "people": {"dana": ["aws:arn:aws:iam::111122223333:user/d.miller"]},
    }
    version = concourse.claim(build=a_build(1, created_by="dana"), policy=policy).version
    assert say(store, version, "aws:arn:aws:iam::111122223333:user/d.miller").state is State.PENDING
    assert say(store, version, "aws:arn:aws:iam::111122223333:user/bob").state is State.APPROVED


def test_the_command_line_needs_no_table_to_try_a_policy(concourse: Concourse) -> None:
    """eval, lint and test ask nothing of DynamoDB, and need no credentials."""
    policy = concourse.write("policy.yaml", "required_approvals: 1\n")
    concourse.write("policy.test.yaml", "cases:\n  - {name: nobody yet, expect: undecided}\n")
    command = [sys.executable, str(ROOT / "cli.py"), "policy"]
    for words in (["eval", str(policy)], ["lint", str(policy)], ["test", str(policy.parent)]):
        ran = concourse._run([*command, *words], b"", {"PATH": "/usr/bin:/bin"}, concourse.scratch).ends()
        assert (ran.code, ran.stderr) == (0, "")


def test_without_policies_pydantic_isn_t_loaded(concourse: Concourse) -> None:
    """Claiming, passing a gate and releasing take as long as it does to load; only who writes policies waits for it."""
    for script, request, arguments in _a_day(concourse):
        ran = concourse.start(script, request, arguments, PYTHONPROFILEIMPORTTIME="1").ends()
        assert ran.code == 0, ran.stderr
        imported = set(re.findall(r"\| +([\w.]+)$", ran.stderr, re.MULTILINE))
        assert "approval_resource.steps.main" in imported
        assert [name for name in imported if name.startswith(("pydantic", "regorus", "mgqpy", "yaml", "boto3"))] == []


def _a_day(concourse: Concourse) -> Iterator[tuple[str, dict[str, Any], list[str]]]:
    """A claim, its approval by another, the gate, and the release."""
    workspace = [str(concourse.workspace())]
    params = {"action": "claim", "lock_name": LOCK, "need_approval": True}
    yield "out", {"source": concourse.source, "params": params}, workspace
    [version] = concourse.versions()
    concourse.approve(version)
    yield "in", {"source": concourse.source, "version": version, "params": {"need_approval": True}}, workspace
    yield "out", {"source": concourse.source, "params": {"action": "release", "lock_name": LOCK}}, workspace
    yield "check", {"source": concourse.source | {"states": ["approved"]}, "version": version}, []
