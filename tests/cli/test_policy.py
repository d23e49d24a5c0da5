"""Policies from the command line: tried, linted, tested, set, shown, asked of the past, and who can unblock."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from approval_resource import pools
from approval_resource.claims import release as releases
from approval_resource.claims import review as reviews
from approval_resource.claims.decide import Terms
from approval_resource.claims.lookup import find
from approval_resource.errors import StaleLockError
from approval_resource.model.claim import Claimant, Verdict
from approval_resource.model.event import Kind, State
from approval_resource.store.dynamodb.store import DynamoStore
from tests.builders import under
from tests.cli.conftest import POOL, Run, claim_of, refused, revision

A, B, C = (f"{number}0000000-aaaa-4aaa-8aaa-aaaaaaaaaaaa" for number in (1, 2, 3))
BOB, CARA, DAN, EVE = (f"aws:arn:aws:iam::111122223333:user/{name}" for name in ("bob", "cara", "dan", "eve"))
RULES = f"""
approval_rules:
  - {{name: QA, group: qa}}
  - {{name: security, group: sec}}
groups: {{qa: [bob, cara], sec: [dan]}}
people: {{bob: ["{BOB}"], cara: ["{CARA}"], dan: ["{DAN}"]}}
bypass: {{users: ["{EVE}"]}}
"""


@pytest.fixture
def rules(tmp_path: Path) -> str:
    """A file with two rules."""
    path = tmp_path / "rules.yaml"
    path.write_text(RULES)
    return str(path)


def document(path: str) -> dict[str, object]:
    """The policy in a YAML file."""
    from approval_resource.policy.language.load import parse

    found = parse(Path(path).read_text(), path)[0]
    assert isinstance(found, dict)
    return found


# ---- a pool's ------------------------------------------------------------------------


def test_a_pool_s_policy_is_set_shown_and_unset(store: DynamoStore, run: Run, rules: str) -> None:
    """Each change is one event with who made it; the same again changes nothing."""
    store.create_table()
    assert run("policy", "set", POOL, rules).stdout.startswith("INFO: pool payments has 1 policy document")
    assert run("policy", "set", POOL, rules).exit_code == 0
    shown = json.loads(run("policy", "show", POOL, "--format", "json").stdout)
    assert [rule["name"] for rule in shown[0]["approval_rules"]] == ["QA", "security"]
    assert "approval_rules:" in run("policy", "show", POOL).stdout
    assert run("policy", "unset", POOL).exit_code == 0
    assert run("policy", "show", POOL).stdout == "pool payments has no policy of its own\n"
    assert [(event.kind, event.actor) for event in store.events(POOL)] == [(Kind.SETTINGS, "typed:ana")] * 2


def test_a_broken_policy_is_never_set(store: DynamoStore, run: Run, tmp_path: Path) -> None:
    """Every error with file, line and column, exit 1, and the pool as it was."""
    store.create_table()
    path = tmp_path / "bad.yaml"
    path.write_text(
        "conditions:\n  scope.memory: {$lt: 4, $near: 1}\nrego: |\n  package spacelift\n  approve { opa.runtime() }\n"
    )
    ran = run("policy", "set", POOL, str(path))
    assert (ran.exit_code, ran.stdout) == (1, "")
    assert f"{path}:2:26: conditions.scope.memory.$near: unknown operator $near" in ran.stderr
    assert f"{path}:5:13: calls opa.runtime: a policy sees nothing of the machine" in ran.stderr
    assert store.settings(POOL).policy == ""


@pytest.mark.parametrize("pool", ["", " payments", "pay\nments"])
def test_a_pool_needs_a_name(run: Run, rules: str, pool: str) -> None:
    """Nothing is written under a name that nobody could type again."""
    refused(run("policy", "set", pool, rules), "POOL: must be a pool's name")


# ---- deciding under one ------------------------------------------------------------------


def test_show_explains_who_said_what_and_what_it_makes(store: DynamoStore, run: Run, rules: str) -> None:
    """The tree of results, in words, and for programs; the rule that a review was given for stands beside it."""
    claim_of(store, A, terms=under(document(rules)))
    reviews.review(store, A, reviewer=BOB, verdict=Verdict.APPROVE, represented_as=("QA",), comment="tried it")
    shown = run("show", A).stdout
    assert f"approve by {BOB}" in shown
    assert "tried it" in shown
    assert "approve: 1 of 1 approvals from QA (bob)" in shown
    assert "undecided: needs 1 approval from security" in shown
    tree = json.loads(run("show", A, "--format", "json").stdout)["decision"]
    assert tree["answer"] == "undecided"


def test_unblock_names_the_smallest_sets(store: DynamoStore, run: Run, rules: str) -> None:
    """Who is still needed, those who are as good as each other together."""
    claim_of(store, A, terms=under(document(rules)))
    assert "would be opened by: 1 of bob, cara; and dan" in run("unblock", A).stdout
    reviews.review(store, A, reviewer=DAN, verdict=Verdict.APPROVE)
    found = json.loads(run("unblock", A, "--format", "json").stdout)
    assert found["sets"] == [[{"count": 1, "of": ["bob", "cara"]}]]
    reviews.review(store, A, reviewer=CARA, verdict=Verdict.APPROVE)
    refused(run("unblock", A), f"is approved by {CARA}")


def test_unblock_says_why_none_can(store: DynamoStore, run: Run) -> None:
    """A group that nobody is in, named."""
    claim_of(store, A, terms=under(approval_rules=[{"group": "nobody"}]))
    said = run("unblock", A).stdout
    assert "nobody can open it:\n  though everybody known approves: needs 1 approval from nobody" in said


def test_an_unknown_rule_and_a_wrong_input_are_refused(store: DynamoStore, run: Run) -> None:
    """With the names that there are; a malformed --input before anything is asked."""
    claim_of(store, A, terms=under(required_approvals=1, inputs=[{"name": "version"}]))
    refused(run("approve", A, "--as", "QA"), "no approval rule of that name; the policies have none, so leave it out")
    refused(run("approve", A, "--input", "colour=red"), "input colour: unknown; the policy asks for version")
    for wrong in ("version", "=1", "a=1"):
        words = ["--input", wrong, *(["--input", wrong] if wrong == "a=1" else [])]
        refused(run("approve", A, *words), "must be NAME=VALUE, each name once")
    assert revision(store) == 1


def test_to_force_takes_a_reason_and_the_right(store: DynamoStore, run: Run) -> None:
    """Neither a typed name nor an empty comment forces anything."""
    claim_of(store, A, terms=under(required_approvals=2, bypass={"users": ["aws:eve"]}))
    refused(run("approve", A, "--force"), "--comment: required with --force")
    refused(run("approve", A, "--force", "--comment", "fire"), "no policy's bypass names you")
    assert revision(store) == 1


def test_an_approval_that_a_policy_turns_into_a_rejection_is_told_so(store: DynamoStore, run: Run) -> None:
    """A Rego policy may reject on an approval; nobody is told that they approved the claim."""
    rego = "package spacelift\napprove { false }\nreject { count(input.reviews.current.approvals) > 0 }\n"
    claim_of(store, A, terms=under(rego=rego))
    said = run("approve", A)
    assert said.stdout == f"INFO: Your verdict on claim {A} is recorded; it has been rejected\n"
    assert store.claims([A])[0].state is State.REJECTED


# ---- trying -------------------------------------------------------------------------------


def test_eval_prints_the_decision_and_its_tree(run: Run, tmp_path: Path, rules: str) -> None:
    """For people and for programs; the files together are what policies together are."""
    said = tmp_path / "reviews.yaml"
    said.write_text("[{author: bob, verdict: approve}, {author: dan, verdict: approve, comment: ok}]")
    more = tmp_path / "more.rego"
    more.write_text("package spacelift\n\napprove { count(input.reviews.current.approvals) > 2 }\n")
    told = run("policy", "eval", rules, str(more), "--reviews", str(said), "--now", "2026-11-20T09:00:00Z")
    assert told.exit_code == 0
    assert told.stdout.splitlines()[0] == "undecided: waiting, by 2 policies"
    ran = run("policy", "eval", rules, "--reviews", str(said), "--now", "2026-11-20T09:00:00Z", "--format", "json")
    found = json.loads(ran.stdout)
    assert (found["decision"], found["status"], found["pending_approval_count"]) == ("approve", "approved", 0)
    assert [rule["name"] for rule in found["approval_summary"]["rules"]] == ["QA", "security"]
    assert found["approvals"][1]["comment"] == "ok"
    assert found["approvals"][0]["created_at"] == "2026-11-20T09:00:00.000000Z"


def test_eval_of_a_broken_policy_fails_and_says_error(run: Run, tmp_path: Path) -> None:
    """Exit 1, the fault on stderr, and for programs a decision of error."""
    path = tmp_path / "now.rego"
    path.write_text("package spacelift\n\napprove { time.now_ns() > 0 }\n")
    ran = run("policy", "eval", str(path), "--format", "json")
    assert ran.exit_code == 1
    assert json.loads(ran.stdout)["decision"] == "error"
    assert f"ERROR: {path}:3:11: calls time.now_ns: time comes as input.request.timestamp_ns" in ran.stderr


def test_eval_takes_a_whole_input_for_rego_alone(run: Run, tmp_path: Path, rules: str) -> None:
    """`--input` is the document itself; with other kinds of policy, or other options, it is refused."""
    path, given = tmp_path / "one.rego", tmp_path / "input.json"
    path.write_text("package spacelift\n\napprove { input.run.id == 7 }\nreject { input.run.id == 8 }\n")
    for number, decision in ((7, "approve"), (8, "reject"), (9, "undecided")):
        given.write_text(json.dumps({"run": {"id": number}}))
        ran = run("policy", "eval", str(path), "--input", str(given), "--format", "json")
        assert json.loads(ran.stdout)["decision"] == decision
    refused(run("policy", "eval", rules, "--input", str(given)), "is for Rego policies alone")
    refused(run("policy", "eval", str(path), "--input", str(given), "--now", "2026-01-01"), "leave out --facts")


def test_eval_names_every_fault_of_facts_and_reviews(run: Run, tmp_path: Path, rules: str) -> None:
    """Not one at a time."""
    said = tmp_path / "reviews.json"
    said.write_text('[{"author": "a", "verdict": "yes"}, {"authr": "b", "verdict": "approve"}]')
    ran = run("policy", "eval", rules, "--reviews", str(said))
    assert ran.exit_code == 1
    assert "reviews.0.verdict" in ran.stderr
    assert 'reviews.1.authr: unknown option; did you mean "author"?' in ran.stderr


def test_policy_test_is_a_test_runner(run: Run, tmp_path: Path, rules: str) -> None:
    """A line a case, a summary, and exit 1 where one fails or there is none."""
    cases = tmp_path / "rules.test.yaml"
    cases.write_text(
        "cases:\n"
        "  - {name: nobody, expect: {decision: undecided, reasons: [needs 1 approval from QA]}}\n"
        "  - {name: both, reviews: [{author: bob, verdict: approve}, {author: dan, verdict: approve}], expect: approve}\n"
    )
    ran = run("policy", "test", str(tmp_path))
    assert (ran.exit_code, ran.stdout.splitlines()[-1]) == (0, "2 passed, 0 failed")
    cases.write_text(cases.read_text() + "  - {name: wrong, expect: approve}\n")
    ran = run("policy", "test", str(tmp_path))
    assert (ran.exit_code, ran.stdout.splitlines()[-1]) == (1, "2 passed, 1 failed")
    assert "expected approve, but it is undecided: needs 1 approval from QA" in ran.stdout
    cases.unlink()
    refused(run("policy", "test", str(tmp_path)), "has no cases")


# ---- the past -------------------------------------------------------------------------------


def test_backtest_shows_what_would_have_gone_otherwise(store: DynamoStore, run: Run, tmp_path: Path) -> None:
    """Stored claims under another policy, with why; nothing is changed by asking."""
    for claim_id, people in ((A, ["aws:ann"]), (B, ["aws:ann", "aws:bob"])):
        lock = claim_id[:1]
        claim_of(store, claim_id, lock_name=lock, terms=under(required_approvals=len(people)))
        for who in people:
            reviews.review(store, claim_id, reviewer=who, verdict=Verdict.APPROVE)
    claim_of(store, C, lock_name="3")
    before = revision(store)
    path = tmp_path / "two.yaml"
    path.write_text("required_approvals: 2\n")
    ran = run("policy", "backtest", str(path), "--pool", POOL)
    assert ran.stdout.splitlines()[0] == "2 claims asked for an approval; 1 would have gone differently"
    assert f"{A} 1" in ran.stdout
    assert "was approved, would be undecided: 1 of 2 approvals (aws:ann)" in ran.stdout
    found = json.loads(run("policy", "backtest", str(path), "--pool", POOL, "--format", "json").stdout)
    assert [row["id"] for row in found["different"]] == [A]
    assert revision(store) == before


# ---- withdrawing past the rules -----------------------------------------------------


@pytest.mark.parametrize("of_pool", [False, True])
def test_whom_no_rule_names_withdraws_by_force_alone(store: DynamoStore, run: Run, rules: str, of_pool: bool) -> None:
    """Withdrawing ends what others are asked about, so it takes the say that a rejection takes; a typed name has none."""
    claim_of(store, A, **({"need_approval": True} if of_pool else {"terms": under(document(rules))}))
    if of_pool:
        assert run("policy", "set", POOL, rules).exit_code == 0
    words = ("do not have permission to withdraw claim", "named by none of the rules QA, security")
    refused(run("withdraw", A), *words, "withdraw --force --reason TEXT")
    assert find(store, A).state is State.PENDING
    refused(run("withdraw", A, "--force"), "--reason: required with --force")
    assert run("withdraw", A, "--force", "--reason", "asked twice").exit_code == 0
    (event,) = [event for event in store.events(POOL) if event.kind is Kind.WITHDRAWN]
    assert (event.actor, event.reason, event.forced) == ("typed:ana", "asked twice", True)


@pytest.mark.parametrize("who", [BOB, DAN])
def test_whom_a_rule_names_withdraws(store: DynamoStore, rules: str, who: str) -> None:
    """As they may reject; the log doesn't say forced."""
    claim = claim_of(store, A, terms=under(document(rules)))
    assert reviews.withdraw(store, claim, actor=who).state is State.WITHDRAWN
    assert not any(event.forced for event in store.events(POOL))


@pytest.mark.parametrize("policy", [{"required_approvals": 2}, {"conditions": {"a": 1}}, None])
def test_where_no_rule_says_whose_say_it_is_anybody_withdraws(
    store: DynamoStore, run: Run, policy: dict[str, object] | None
) -> None:
    """As anybody may reject."""
    claim_of(store, A, terms=under(policy) if policy else Terms())
    assert run("withdraw", A).exit_code == 0


def test_a_claim_that_was_decided_meanwhile_is_not_withdrawn(store: DynamoStore, rules: str) -> None:
    """By force neither: an approval isn't taken back under the name of something else."""
    claim = claim_of(store, A, terms=under(document(rules)))
    for who in (BOB, DAN):
        reviews.review(store, A, reviewer=who, verdict=Verdict.APPROVE)
    for forced in (False, True):
        with pytest.raises(StaleLockError, match="can't be withdrawn"):
            reviews.withdraw(store, claim, actor=BOB, reason="x", forced=forced)


def test_a_pool_whose_policy_cant_be_read_is_withdrawn_from_by_force(store: DynamoStore, run: Run) -> None:
    """Nobody is stuck, and nobody gets by unseen."""
    claim_of(store, A)
    pools.set_policy(store, POOL, "{", actor="aws:op")
    refused(run("withdraw", A), "a policy can't be read")
    assert run("withdraw", A, "--force", "--reason", "stuck").exit_code == 0


def test_a_build_takes_back_its_own_claim_unasked(store: DynamoStore, rules: str) -> None:
    """As a step does that is aborted: whose claim it is needs no rule's say."""
    claim = claim_of(store, A, terms=under(document(rules)))
    ended = releases.release(store, POOL, claim.lock_name, Claimant(claim.build), claim_id=claim.id)
    assert (ended.changed, ended.claim.state) == (True, State.WITHDRAWN)
