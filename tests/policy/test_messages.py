"""Reasons: in English, each person under the shortest name that is nobody else's, and nothing told twice or both ways."""

from __future__ import annotations

import re

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from approval_resource.model.claim import Review
from approval_resource.policy.decision import Explanation
from approval_resource.policy.people import Roster
from tests.policy.asking import ANA, BOB, Document, approval, asked, policy, rejection, why

CHECKED = settings(deadline=None, database=None, derandomize=True, max_examples=150, suppress_health_check=list(HealthCheck))
ARN = "aws:arn:aws:iam::111122223333:"
OTHER = "aws:arn:aws:iam::444455556666:"
ROLE = "aws:arn:aws:sts::111122223333:assumed-role/"


@pytest.mark.parametrize(
    ("identities", "shown"),
    [
        ([f"{ARN}user/dan"], ["dan"]),
        ([f"{ARN}user/teams/x/dan"], ["dan"]),
        ([f"{ROLE}ops/dan@example.com"], ["ops/dan@example.com"]),
        ([f"{ARN}user/dan", f"{OTHER}user/dan"], [f"{ARN}user/dan", f"{OTHER}user/dan"]),
        ([f"{ARN}user/dan", f"{ARN}user/Dan"], [f"{ARN}user/Dan", f"{ARN}user/dan"]),
        ([f"{ARN}user/dan", f"{ARN}user/eve"], ["dan", "eve"]),
        ([f"{OTHER}user/ana", ANA], [f"{OTHER}user/ana", "ana"]),
        ([f"{OTHER}user/ana"], [f"{OTHER}user/ana"]),
        (["typed:ana"], ["typed:ana"]),
        ([f"{ARN}root"], [f"{ARN}root"]),
        (["oidc:https://x#1"], ["oidc:https://x#1"]),
    ],
)
def test_people_are_told_by_their_shortest_name_that_is_nobody_elses(identities: list[str], shown: list[str]) -> None:
    """Ana is in the policy, so an identity that ends like her name is never shown as her."""
    one = policy(required_approvals=5, people={"ana": [ANA]})
    assert sorted(why(asked(one, *map(approval, identities))).partition("(")[2].rstrip(")").split(", ")) == sorted(shown)


def test_what_is_missing_is_english() -> None:
    """One approval is one, and two are two."""
    assert why(asked(policy(required_approvals=2))) == "needs 2 approvals"
    assert why(asked(policy(required_approvals=1))) == "needs 1 approval"
    assert why(asked(policy(approval_rules=[{"group": "qa"}]))) == "needs 1 approval from qa"
    assert why(asked(policy(required_approvals=2), approval(ANA))) == "1 of 2 approvals (ana)"


RULES: Document = {"approval_rules": [{"name": "qa", "group": "qa"}, {"name": "ops", "user": BOB}], "groups": {"qa": ["ana"]}}


def test_who_counts_for_one_thing_is_not_said_not_to_count_for_another() -> None:
    """Of one document, or of several."""
    quorum = policy(required_approvals=2, name="a")
    rules = policy(**RULES, people={"ana": [ANA]}, name="b")
    both = policy(**RULES, people={"ana": [ANA]}, required_approvals=2)
    dan = approval(f"{ARN}user/dan")
    assert (
        why(asked(rules, dan))
        == "needs 1 approval from qa; dan is named by no rule and doesn't count; needs 1 approval from ops"
    )
    for told in (why(asked([quorum, rules], dan)), why(asked(both, dan))):
        assert "1 of 2 approvals; " in told
        assert told.endswith("approved by dan (named by no rule)")
        assert told.count("dan") == 1
        assert "doesn't count" not in told


def test_who_would_be_named_again_is_in_one_list() -> None:
    """With the rules they are counted for, so that nothing of the counts is lost; all others stand beside their count."""
    dan = approval(f"{ARN}user/dan")
    ana: Document = {"people": {"ana": [ANA]}}
    qa = policy(approval_rules=[{"group": "qa", "count": 2}], groups={"qa": [ANA, BOB]}, **ana, name="a")
    ops = policy(approval_rules=[{"name": "ops", "user": ANA}], **ana, name="b")
    two, three = policy(required_approvals=2, name="c"), policy(required_approvals=3, **ana, name="d")
    strict = policy(required_approvals=2, allow_self_approval=False, **ana, name="e")
    assert why(asked([qa], approval(ANA), dan)) == "1 of 2 approvals from qa (ana); dan is named by no rule and doesn't count"
    assert why(asked([two, three], dan)) == "1 of 2 approvals; 1 of 3 approvals; approved by dan"
    assert why(asked([two, qa], approval(ANA))) == "1 of 2 approvals; 1 of 2 approvals from qa; approved by ana (for qa)"
    assert (
        why(asked([qa, three], approval(ANA), dan))
        == "1 of 2 approvals from qa; 2 of 3 approvals; approved by ana (for qa), dan (named by no rule)"
    )
    assert why(asked([ops, three], approval(ANA), dan)) == "2 of 3 approvals (ana, dan)"
    assert (
        why(asked([strict, qa], approval(ANA), requester="ana"))
        == "needs 2 approvals; 1 of 2 approvals from qa; approved by ana (for qa; asked for this claim)"
    )
    per_rule = policy(
        approval_rules=[{"group": "qa", "count": 2}, {"group": "ops", "count": 2}],
        groups={"qa": [ANA, BOB], "ops": [ANA, BOB]},
        per_rule=True,
        **ana,
    )
    assert (
        why(asked(per_rule, approval(ANA, represented_as=("qa", "ops"))))
        == "1 of 2 approvals from qa; 1 of 2 approvals from ops; approved by ana (for qa, ops)"
    )


def test_why_somebody_doesnt_count_is_told_once() -> None:
    """However many rules and documents there are."""
    strict = {"allow_self_approval": False, "people": {"ana": [ANA]}}
    several = [policy(**RULES, **strict, required_approvals=1, name="a"), policy(required_approvals=2, **strict, name="b")]
    told = why(asked(several, approval(ANA), requester="ana"))
    assert told.count("ana asked for this claim and doesn't count") == told.count("ana") == 1


def test_the_tree_says_of_each_part_who_doesnt_count_there() -> None:
    """One line is read by itself."""
    strict = policy(required_approvals=1, allow_self_approval=False, people={"ana": [ANA]})
    lines = list(asked(strict, approval(ANA), requester="ana").result.lines())
    assert lines[-1].strip() == "undecided: needs 1 approval; ana asked for this claim and doesn't count"


def test_an_approval_for_a_rule_of_others_is_told_as_that() -> None:
    """And one in the name of somebody who spoke for themselves."""
    one = policy(**RULES, people={"ana": [ANA]})
    assert "ana approved for ops, which doesn't name them, and doesn't count" in why(
        asked(one, approval(ANA, represented_as=("ops",)))
    )
    year = {"from": "2026-01-01", "until": "2026-12-31"}
    away = policy(
        approval_rules=[{"user": "ana"}, {"user": "dan"}],
        people={"ana": [ANA], "bob": [BOB], "dan": [f"{ARN}user/dan"]},
        delegates=[{"person": "ana", "delegate": "bob", **year}],
    )
    told = why(asked(away, approval(ANA), approval(BOB)))
    assert "bob stands in for ana, who is counted already, and doesn't count" in told


IDENTITIES = (ANA, BOB, f"{OTHER}user/ana", f"{ROLE}ops/ana", f"{ROLE}ops/bob", f"{ARN}user/carol", "typed:ana", "typed:bob")


@st.composite
def documents(draw: st.DrawFn) -> Document:
    """Quorum, rules, or both, with and without self-approval."""
    found: Document = {"people": {"ana": [ANA]}, "groups": {"qa": ["ana", BOB]}}
    found["allow_self_approval"] = draw(st.booleans())
    if draw(st.booleans()):
        found["approval_rules"] = [{"group": "qa", "count": draw(st.integers(1, 2))}, {"name": "owner", "user": BOB}]
    if "approval_rules" not in found or draw(st.booleans()):
        found["required_approvals"] = draw(st.integers(1, 4))
    return found


SAID = st.lists(
    st.builds(
        lambda who, rejects: rejection(who) if rejects else approval(who),
        st.sampled_from(IDENTITIES),
        st.sampled_from((False, False, False, True)),
    ),
    unique_by=lambda review: review.reviewer,
    max_size=6,
)


def deciding(node: Explanation) -> list[Explanation]:
    """The leaves that the answer follows from."""
    parts = [part for part in node.parts if part.answer is node.answer] or list(node.parts)
    return [leaf for part in parts for leaf in deciding(part)] if parts else [node]


@CHECKED
@given(st.lists(documents(), min_size=1, max_size=3), SAID, st.sampled_from(("ana", "zoe")))
def test_nobody_is_told_twice_or_both_ways(several: list[Document], said: list[Review], requester: str) -> None:
    """In one line: each person once, whatever they count for, nobody both ways, and nothing lost that the tree says."""
    policies = [policy(**one, name=f"p{number}") for number, one in enumerate(several)]
    decision = asked(policies, *said, requester=requester)
    line = why(decision)
    shown = {voice.shown for one in policies for voice in Roster(one, requester).voices(said)}
    # A reason may say to whom a typed name may belong. A name may be part of a longer one, as "ana" is of "ops/ana".
    own = re.sub(r"which may belong to [^;]+?, who", "", line)
    times = {who: len(re.findall(rf"(?<![\w:/]){re.escape(who)}(?![\w:/])", own)) for who in shown}
    assert max(times.values(), default=0) <= 1, line
    for leaf in deciding(decision.result):
        assert all(times[who] == 1 for who in (*leaf.counted_people, *(who for who, _ in leaf.uncounted))), line
        for who in leaf.counted_people:
            beside = f"{leaf.sentence} ({', '.join(leaf.counted_people)})" in line
            assert beside or re.search(rf"approved by .*{re.escape(who)} \(for [^;)]*\b{leaf.rule}\b", line) or not leaf.rule
    counting = {who for leaf in deciding(decision.result) for who in leaf.counted_people}
    refused = re.findall(r"(?:^|; )(\S+) [^;]* and doesn't count", line)
    assert not counting.intersection(refused)
    assert len(refused) == len(set(refused))
    assert len(decision.reasons) == len(set(decision.reasons))
    for one in policies:
        voices = Roster(one, requester).voices(said)
        assert len({voice.shown for voice in voices}) == len(voices)
