"""Who can open a gate: the smallest sets of people whose approval would, or why none does."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from approval_resource.model.claim import Review
from approval_resource.policy.language.document import Policy
from approval_resource.policy.unblock import AWS_STRANGER, Openers, openers, told
from tests.builders import NOON
from tests.policy.asking import ANA, BOB, CAROL, DAN, Document, answer, approval, facts, policy, rejection

PEOPLE = {"ana": [ANA, "concourse:ana"], "bob": [BOB], "carol": [CAROL], "dan": [DAN]}
GROUPS = {"qa": ["ana", "bob", "carol"], "ops": ["dan"]}


def who(policies: Policy | Sequence[Policy], *reviews: Review, **claim: Any) -> Openers:
    """Who can open the gate at noon."""
    policies = [policies] if isinstance(policies, Policy) else policies
    return openers(policies, facts(**claim), list(reviews), NOON)


def words(found: Openers) -> list[str]:
    """The sets in words."""
    return [told(one) for one in found.sets]


def listed(**options: Any) -> Policy:
    """A policy with people and groups."""
    return policy(people=PEOPLE, groups=GROUPS, **options)


TWO_QA: Document = {"group": "qa", "count": 2}
OPS: Document = {"group": "ops"}


def test_the_smallest_sets_are_told() -> None:
    """Two of a group and the one of another; fewer once somebody has approved; nobody once all have."""
    one = listed(approval_rules=[TWO_QA, OPS])
    assert words(who(one)) == ["2 of ana, bob, carol; and dan"]
    assert words(who(one, approval(ANA))) == ["1 of bob, carol; and dan"]
    assert words(who(one, approval(ANA), approval(BOB))) == ["dan"]
    assert words(who(one, approval(ANA), approval(BOB), approval(DAN))) == ["nobody: only time or an input is missing"]


def test_a_set_that_is_told_opens_the_gate_and_a_smaller_one_doesnt() -> None:
    """As the policies themselves say."""
    one = listed(approval_rules=[TWO_QA, OPS])
    (wanted,) = who(one).sets
    chosen = [person for count, people in wanted for person in people[:count]]
    assert answer(one, *(approval(person) for person in chosen)) == "approve"
    for left_out in chosen:
        assert answer(one, *(approval(person) for person in chosen if person != left_out)) == "undecided"


def test_alternatives_of_one_size_are_all_told() -> None:
    """Who is in both groups counts for the one that lacks somebody; each set opens the gate by plain approvals."""
    one = policy(
        people=PEOPLE, groups={"a": ["ana", "bob"], "b": ["carol", "bob"]}, approval_rules=[{"group": "a"}, {"group": "b"}]
    )
    found = who(one)
    assert sorted(words(found)) == ["ana; and bob", "ana; and carol", "bob; and carol"]
    assert answer(one, approval(ANA), approval(BOB)) == "approve"
    assert not any(found.how)
    assert answer(one, approval(BOB), approval(CAROL)) == "approve"


def test_a_quorum_of_anybody_is_open_to_anybody() -> None:
    """People whom no policy names are told as such."""
    assert words(who(policy(required_approvals=2))) == ["2 other people whom AWS or an issuer knows"]
    assert words(who([])) == ["1 other person whom AWS or an issuer knows"]


def test_who_asked_is_in_no_set() -> None:
    """Where they may not approve themselves."""
    strict = listed(approval_rules=[TWO_QA], allow_self_approval=False)
    assert words(who(strict, requester="ana")) == ["bob and carol"]
    free = " ".join(words(who(listed(approval_rules=[TWO_QA]), requester="ana")))
    assert all(name in free for name in ("ana", "bob", "carol"))


def test_where_nobody_can_open_it_that_is_told() -> None:
    """With what would still be missing though everybody approved."""
    found = who(listed(approval_rules=[{"group": "ops", "count": 2}]))
    assert found.sets == ()
    assert found.complete
    assert "though everybody known approves: 1 of 2 approvals from ops" in found.reasons[0]
    alone = who(listed(approval_rules=[OPS], allow_self_approval=False), requester="dan")
    assert alone.sets == ()
    assert "asked for this claim" in alone.reasons[0]
    nobody = who(policy(approval_rules=[{"group": "empty"}]))
    assert nobody.sets == ()


def test_a_rejection_leaves_nobody() -> None:
    """It is told as the reason."""
    found = who(listed(approval_rules=[TWO_QA]), rejection(ANA, comment="no"))
    assert found.sets == ()
    assert "rejected it: no" in found.reasons[0]


def test_an_unknown_requester_leaves_nobody() -> None:
    """As nobody can tell who may approve."""
    found = who(listed(required_approvals=1, allow_self_approval=False))
    assert found.sets == ()
    assert "nobody knows who asked" in found.reasons[0]


def test_a_denial_by_conditions_leaves_nobody() -> None:
    """No approval changes a fact."""
    one = policy(conditions={"env": "dev"}, on_policy_fail="deny")
    assert who(one, given={"env": "prod"}).sets == ()
    assert words(who(one, given={"env": "dev"})) == ["1 other person whom AWS or an issuer knows"]


def test_time_and_inputs_keep_nobody_out() -> None:
    """The sets are of people; hours come by themselves, and whoever approves fills in."""
    one = policy(required_approvals=1, windows=[{"days": ["mon"]}], not_before="1h", inputs=[{"name": "v", "required": True}])
    assert words(who(one)) == ["1 other person whom AWS or an issuer knows"]
    assert words(who(one, approval(ANA))) == ["nobody: only time or an input is missing"]


def test_several_documents_must_all_be_content() -> None:
    """One set satisfies both."""
    found = who([listed(approval_rules=[OPS], name="a"), listed(required_approvals=2, name="b")])
    assert all(sum(count for count, _ in wanted) == 2 for wanted in found.sets)
    assert found.sets
    assert all("dan" in text for text in words(found))


def test_a_delegate_is_a_way_in() -> None:
    """While they stand in."""
    span = {"from": "2026-11-01", "until": "2026-11-30"}
    one = policy(people=PEOPLE, approval_rules=[{"user": "ana"}], delegates=[{"person": "ana", "delegate": "bob", **span}])
    assert sorted(words(who(one))) == ["ana", "bob"]
    assert words(openers_later(one)) == ["ana"]


def openers_later(one: Policy) -> Openers:
    """The same, half a year later."""
    return openers([one], facts(), [], NOON.replace(year=2027))


REGO_TEAM = """package spacelift
approve { count({a | r := input.reviews.current.approvals[_]; r.session.teams[_] == "qa"; a := r.author}) > 1 }
"""


def test_rego_is_asked_with_the_teams_there_are() -> None:
    """Members of a group are as good as each other."""
    assert words(who(listed(rego=REGO_TEAM))) == ["2 of ana, bob, carol"]
    assert words(who(listed(rego=REGO_TEAM), approval(ANA))) == ["1 of bob, carol"]


def test_rego_that_knows_people_by_name_is_asked_with_each() -> None:
    """People in no group are tried one by one."""
    text = 'package spacelift\napprove { input.reviews.current.approvals[_].author == "carol" }'
    assert words(who(policy(people=PEOPLE, rego=text))) == ["carol"]


def test_rego_that_never_approves_has_no_openers() -> None:
    """Which is told after no more evaluations than there is time for."""
    found = who(listed(rego="package spacelift\nreject { input.run.branch == 1 }"))
    assert found.sets == ()
    assert "neither approves nor rejects yet" in found.reasons[0]


def test_rego_that_wants_two_of_anybody_is_not_said_to_be_shut() -> None:
    """Two people open it."""
    text = "package spacelift\napprove { count(input.reviews.current.approvals) > 1 }"
    one = policy(rego=text)
    assert answer(one, approval(ANA), approval(BOB)) == "approve"
    found = who(one)
    assert words(found) == ["2 other people whom AWS or an issuer knows"] or not found.complete


def test_who_stands_for_anybody_is_nobodys_name() -> None:
    """What is told is never the placeholder."""
    assert AWS_STRANGER not in " ".join(words(who(policy(required_approvals=3))))


def test_beside_a_stranger_of_concourse_another_of_theirs_opens_it() -> None:
    """Nothing tells the first from somebody whom AWS knows, but their own Concourse's names do."""
    first = approval("concourse:https://ci.example#anna")
    about = facts(build={"url": "https://ci.example"})
    found = openers([policy(required_approvals=2)], about, [first], NOON)
    assert found.lines == ["1 other person whom the Concourse of an earlier approval knows"]
    pool = policy(required_approvals=2, people={"ana": [ANA, "concourse:ana"]}, reviewers={"concourse": True})
    found = openers([pool], about, [first], NOON)
    assert found.lines == ["ana", "1 other person whom the Concourse of an earlier approval knows"]
