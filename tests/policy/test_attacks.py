"""What once fooled the policies: each of these opened a gate, shut one for ever, or told a lie."""

from __future__ import annotations

import resource
from datetime import UTC, datetime
from itertools import combinations
from typing import Any

import pytest
from click.testing import CliRunner

from approval_resource.commands import policy as commands
from approval_resource.model.claim import Review, Verdict
from approval_resource.policy import unblock
from approval_resource.policy.authoring.lint import lint
from approval_resource.policy.authoring.trial import trial
from approval_resource.policy.evaluate import evaluate
from approval_resource.policy.facts import Facts
from approval_resource.policy.kinds import conditions, rego
from approval_resource.policy.language.document import Policy
from approval_resource.policy.language.load import load
from approval_resource.policy.sandbox import parent as sandbox

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
USER = "aws:arn:aws:iam::1:user/"
SESSION = "aws:arn:aws:sts::1:assumed-role/Dev/"
HEAD = "package spacelift\n"


def doc(**options: Any) -> Policy:
    """For short."""
    return load(options, "p")[0].policy


def rv(who: str, verdict: str = "approve", **more: Any) -> Review:
    """For short."""
    return Review(reviewer=who, verdict=Verdict(verdict), at=NOON, **more)


def ask(policy: Policy, *said: Review, requester: str = "", now: datetime = NOON, **given: Any) -> str:
    """For short."""
    facts = Facts(id="x", pool="payments", requester=requester, created_at=NOON, given=given)
    return evaluate([policy], facts, list(said), now).result.answer.value


def auto(query: dict[str, Any]) -> Policy:
    """For short."""
    return doc(conditions=query, on_policy_success="approve", on_policy_fail="deny")


# ---- conditions ----------------------------------------------------------------------

LOW = {"risk": {"$ne": "low"}}


@pytest.mark.parametrize(
    "query",
    [
        {"$nor": [{"items": {"$elemMatch": LOW}}]},
        {"items": {"$not": {"$elemMatch": LOW}}},
        {"items": {"$not": {"$elemMatch": {"risk": {"$nin": ["low"]}}}}},
        {"items": {"$elemMatch": {"name": "x", "subs": {"$not": {"$elemMatch": LOW}}}}},
    ],
)
def test_no_item_that_isnt_low(query: dict[str, Any]) -> None:
    """ "No item whose risk isn't low", and an item without a risk: MongoDB itself says no here; the closing of the inner
    negation, under an outer one, makes it yes."""
    item = {"name": "x", "subs": [{}]}
    assert not list(conditions.problems(query))
    assert ask(auto(query), items=[{"risk": "low", "name": "y", "subs": [{"risk": "low"}]}, item]) != "approve"


@pytest.mark.parametrize(
    "query",
    [{"items": {"$not": {"$elemMatch": {"risk": "high"}}}}, {"items.risk": {"$ne": "high"}}],
)
def test_negation_over_an_item_without_the_path(query: dict[str, Any]) -> None:
    """Negation over an item without the path."""
    assert ask(auto(query), items=[{"risk": "low"}, {}]) != "approve"


@pytest.mark.parametrize(
    "inner",
    [{"risk": {"$ne": "high"}}, {"$nor": [{"risk": "high"}]}, {}, {"n": {"$not": {"$gt": 5}}}],
)
def test_all_is_no_way_around_the_closing(inner: dict[str, Any]) -> None:
    """What stands under $all is neither checked nor closed: negations over missing paths, empty queries, other operators."""
    query = {"items": {"$all": [{"$elemMatch": inner}]}}
    assert list(conditions.problems(query)) or ask(auto(query), items=[{}]) != "approve"


def test_all_takes_no_operator_that_isnt_offered() -> None:
    """All takes no operator that isn't offered."""
    assert list(conditions.problems({"a": {"$all": [{"$elemMatch": {"$mod": [1, 0]}}]}}))


def test_a_selector_that_excludes_applies_to_what_says_nothing() -> None:
    """A selector that excludes applies to what says nothing."""
    policy = doc(selector={"tags.env": {"$ne": "dev"}}, conditions={"tags.reviewed": True}, on_policy_fail="deny")
    assert ask(policy, rv("typed:x")) != "approve"


def test_dynamic_pattern_in_a_selector_fails_towards_applying() -> None:
    """Dynamic pattern in a selector fails towards applying."""
    query = {"tags.app": {"$not": {"$dynamicPattern": {"template": "^{team}-.*", "fields": {"team": {"path": "tags.team"}}}}}}
    policy = doc(selector=query, conditions={"tags.reviewed": True}, on_policy_fail="deny")
    assert ask(policy, rv("typed:x"), tags={"app": "pay"}) != "approve"


# ---- who asked -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("requester", "people", "reviewer"),
    [
        ("Dana", {"dana": [USER + "dana"]}, USER + "dana"),
        ("dana", {"Dana Smith": [USER + "dana"]}, USER + "dana"),
        ("DANA", {"dana": [USER + "dana", "concourse:dana"]}, USER + "dana"),
        ("dana", {}, SESSION + "dana@example.com"),
        ("dana@example.com", {}, USER + "dana"),
        ("dana-gh", {"dana": ["concourse:dana-gh"]}, USER + "dana-gh"),
    ],
)
def test_who_asked_is_recognised(requester: str, people: dict[str, Any], reviewer: str) -> None:
    """Who asked is recognised."""
    policy = doc(required_approvals=1, allow_self_approval=False, people=people)
    assert ask(policy, rv(reviewer), requester=requester) != "approve"


def test_a_listed_identity_counts_in_any_case_of_its_requester_as_an_unlisted_one_does() -> None:
    """The unlisted ARN is refused, the same ARN listed is taken: listing people weakens the rule."""
    plain = doc(required_approvals=1, allow_self_approval=False)
    listed = doc(required_approvals=1, allow_self_approval=False, people={"Dana Smith": [USER + "dana"]})
    assert ask(plain, rv(USER + "dana"), requester="dana") == ask(listed, rv(USER + "dana"), requester="dana")


@pytest.mark.parametrize("rule", [{"user": USER + "dana"}, {"group": "qa"}])
def test_nobody_stands_in_for_who_asked_however_they_are_written(rule: dict[str, str]) -> None:
    """With people: {dana: [arn]} this is refused; with the bare ARN it counts."""
    leave = [{"person": USER + "dana", "delegate": USER + "bob", "from": "2026-01-01", "until": "2027-01-01"}]
    policy = doc(approval_rules=[rule], groups={"qa": [USER + "dana"]}, allow_self_approval=False, delegates=leave)
    assert ask(policy, rv(USER + "bob"), requester="dana") != "approve"


# ---- Rego ------------------------------------------------------------------------------


@pytest.mark.parametrize("who", ["input.claim.requester", "input.build.created_by"])
def test_a_typed_name_is_no_other_author_however_the_creator_is_asked_for(who: str) -> None:
    """Only a text that reads `creator_session` isn't shown typed approvals; the creator stands in two other places too."""
    policy = doc(rego=HEAD + f"approve {{ input.reviews.current.approvals[_].author != {who} }}\n")
    facts = Facts(id="x", pool="payments", requester="dana", build={"created_by": "dana"}, created_at=NOON)
    assert evaluate([policy], facts, [rv("typed:x")], NOON).result.answer.value != "approve"


def test_a_reject_of_the_text_undefined_is_an_error() -> None:
    """A reject of the text undefined is an error."""
    text = HEAD + "approve := true if { input.run.id }\nreject := input.tags.blocked\n"
    assert ask(doc(rego=text), tags={"blocked": "yes"}) == "error"
    assert ask(doc(rego=text), tags={"blocked": "<undefined>"}) == "error"


@pytest.mark.parametrize(
    "rules",
    [
        'approve := true if { helper with input as {"x": 1} }\nhelper := true if { input.run }\n',
        "count(x) := 99\napprove := true if { count(input.reviews.current.approvals) > 5 }\n",
        "default approve := true\n",
        "approve := true\n",
        "approve := true if { input.run.id }\nreject(x) := true if { x }\n",
    ],
)
def test_lint_says_something(rules: str) -> None:
    """Lint says something."""
    assert rego.lint([HEAD + rules])[0]


@pytest.mark.long
def test_many_slow_policies_end_soon() -> None:
    """All of one decision share its processor seconds, however many there are: 400 of these fit into what is kept."""
    slow = "approve := true if { input.run.id; count([1 | numbers.range(1,100000)[_] == numbers.range(1,100000)[_]]) > 0 }\n"
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    ask(doc(rego=[HEAD + slow] * 8))
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < sandbox.BUDGET_SECONDS + 1


# ---- unblock ---------------------------------------------------------------------------

BOTH = {
    "approval_rules": [{"name": "QA", "group": "qa"}, {"name": "Sec", "group": "sec"}],
    "groups": {"qa": ["aws:ann", "aws:bob"], "sec": ["aws:bob"]},
}


def openers(policy: Policy, *said: Review, **given: Any) -> unblock.Openers:
    """For short."""
    return unblock.openers([policy], Facts(created_at=NOON, given=given), list(said), NOON)


def test_unblock_knows_of_as() -> None:
    """Ann, and bob --as Sec, open it; unblock says nobody can."""
    assert ask(doc(**BOTH), rv("aws:ann"), rv("aws:bob", represented_as=("Sec",))) == "approve"
    assert openers(doc(**BOTH)).sets


def test_unblock_knows_of_per_rule() -> None:
    """Unblock knows of per rule."""
    policy = doc(per_rule=True, **BOTH)
    assert ask(policy, rv("aws:bob", represented_as=("QA", "Sec"))) == "approve"
    assert openers(policy).sets == (((1, ("aws:bob",)),),)


@pytest.mark.parametrize("who", ["aws:ann", "aws:bob"])
def test_unblock_tells_people_apart_whom_rego_does(who: str) -> None:
    """Unblock tells people apart whom rego does."""
    policy = doc(
        rego=HEAD + f'approve {{ input.reviews.current.approvals[_].author == "{who}" }}\n',
        groups={"g": ["aws:ann", "aws:bob"]},
    )
    for wanted in openers(policy).sets:
        for count, people in wanted:
            for chosen in combinations(people, count):
                assert ask(policy, *map(rv, chosen)) == "approve", f"{chosen} don't open it"
                assert count == 1, "one is enough"


def test_unblock_names_nobody_who_can_t_be() -> None:
    """No reviewer is ever called just ann: identities begin with aws: or typed:."""
    assert not openers(doc(approval_rules=[{"user": "ann"}])).sets


# ---- trials and files ------------------------------------------------------------------


def test_eval_takes_no_force_from_who_may_not() -> None:
    """The real thing refuses a forced verdict of who is in no bypass; eval counts it as an approval."""
    loaded = load({"required_approvals": 1}, "p")
    try:
        answer = trial(loaded, {}, [{"author": "aws:x", "verdict": "approve", "forced": True}], NOON).result.answer.value
    except Exception:  # noqa: BLE001 - refused is fine
        return
    assert answer != "approve"


@pytest.mark.parametrize("option", ["lint", "eval"])
def test_a_bool_tag_is_no_traceback(option: str, tmp_path: Any) -> None:
    """A bool tag is no traceback."""
    file = tmp_path / "p.yaml"
    file.write_text("required_approvals: !!bool xyz\n")
    done = CliRunner().invoke(commands.commands, [option, str(file)])
    assert done.exception is None or isinstance(done.exception, SystemExit), repr(done.exception)


def test_a_nul_in_a_case_s_policy_is_no_traceback(tmp_path: Any) -> None:
    """A nul in a case s policy is no traceback."""
    file = tmp_path / "p.test.yaml"
    file.write_text('policy: "a\\0b"\ncases: [{name: x, expect: approve}]\n')
    done = CliRunner().invoke(commands.commands, ["test", str(file)])
    assert done.exception is None or isinstance(done.exception, SystemExit), repr(done.exception)


def test_lint_tells_of_more_people_than_a_claim_keeps() -> None:
    """Lint tells of more people than a claim keeps."""
    rules = [{"name": f"{n}", "group": "g", "required_approvals": 20} for n in range(2)]
    found = lint(load({"approval_rules": rules, "groups": {"g": [f"aws:{n}" for n in range(60)]}}, "p")[0])
    assert found
