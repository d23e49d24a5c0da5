"""A member of Slack and a channel's link: they count where a policy names them, and nowhere else."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from approval_resource.policy import entitlement
from approval_resource.policy.decision import Approved, Rejected
from approval_resource.policy.evaluate import evaluate
from tests.policy.asking import ANA, BOB, Document, approval, facts, policy, rejection

NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)
SENT = ("slack:T0123#U0456", "link:hook")
OTHERS = ("slack:T0123#U0457", "slack:T0124#U0456", "link:hook2", "link:hoo", "slack:t0123#u0456", "link:Hook")
ALL_APPROVE = "package spacelift\napprove { count(input.reviews.current.approvals) > 0 }"
NAMING: list[Document] = [
    {"required_approvals": 1, "people": {"chat": ["WHO"]}},
    {"required_approvals": 1, "groups": {"chat": ["WHO"]}},
    {"approval_rules": [{"user": "WHO"}]},
    {"approval_rules": [{"group": "chat"}], "groups": {"chat": ["WHO"]}},
    {"approval_rules": [{"user": "chat"}], "people": {"chat": ["WHO"]}},
    {"required_approvals": 1, "bypass": {"users": ["WHO"]}},
    {"rego": ALL_APPROVE, "people": {"chat": ["WHO"]}},
]
SILENT: list[Document] = [
    {"required_approvals": 1},
    {"required_approvals": 2},
    {"required_approvals": 1, "people": {"ana": [ANA]}},
    {"approval_rules": [{"user": ANA}]},
    {"windows": [{"days": "mon-sun"}]},
    {"rego": ALL_APPROVE},
    {"required_approvals": 1, "reviewers": {"concourse": True}},
]


def written(document: Document, who: str) -> Document:
    """The document with that identity in it."""
    match document:
        case dict():
            return {key: written(value, who) for key, value in document.items()}
        case list():
            return [written(value, who) for value in document]
        case _:
            return who if document == "WHO" else document


@pytest.mark.parametrize("who", SENT)
@pytest.mark.parametrize("document", NAMING, ids=str)
def test_it_counts_where_it_is_named(document: Document, who: str) -> None:
    """In any place where a policy names people; an approval, and a rejection."""
    named = [policy(**written(document, who))]
    assert entitlement.refusal(named, facts(), [], approval(who)) is None
    assert isinstance(evaluate(named, facts(), [approval(who)], NOW), Approved)
    for other in OTHERS:
        assert entitlement.refusal(named, facts(), [], approval(other)) is not None
        assert not isinstance(evaluate(named, facts(), [approval(other)], NOW), Approved | Rejected)


@pytest.mark.parametrize("who", SENT)
@pytest.mark.parametrize("document", [None, *SILENT], ids=str)
def test_it_counts_nowhere_else(document: Document | None, who: str) -> None:
    """Not where anybody may approve, nor without any policy; neither its approval nor its rejection is taken."""
    policies = [] if document is None else [policy(**document)]
    for review in (approval(who), rejection(who)):
        told = entitlement.refusal(policies, facts(), [], review)
        assert told is not None
        assert "only where a policy does" in told
        before = evaluate(policies, facts(), [], NOW)
        after = evaluate(policies, facts(), [review], NOW)
        assert (type(after), after.reasons) == (type(before), before.reasons)


@settings(deadline=None, max_examples=40)
@given(st.sampled_from(SILENT), st.lists(st.sampled_from([*SENT, *OTHERS]), unique=True), st.booleans())
def test_beside_people_it_changes_nothing_that_it_is_not_named_for(document: Document, sent: list[str], rejects: bool) -> None:
    """Whoever else reviews, a decision is the same with unnamed ones as without."""
    one = [policy(**document)]
    people = [approval(ANA), rejection(BOB) if rejects else approval(BOB)]
    alone = evaluate(one, facts(), people, NOW)
    beside = evaluate(one, facts(), [*people, *map(approval, sent)], NOW)
    assert (type(beside), beside.reasons) == (type(alone), alone.reasons)


def test_of_two_policies_each_counts_whom_it_names() -> None:
    """The review is taken for the one, and the other waits for somebody else."""
    both = [policy(**written(NAMING[0], SENT[0])), policy(required_approvals=1)]
    assert entitlement.refusal(both, facts(), [], approval(SENT[0])) is None
    assert not isinstance(evaluate(both, facts(), [approval(SENT[0])], NOW), Approved)
    assert isinstance(evaluate(both, facts(), [approval(SENT[0]), approval(ANA)], NOW), Approved)


@pytest.mark.parametrize(
    ("people", "enough"),
    [
        ({"chat": ["slack:T0123#U0456"]}, False),
        ({"chat": ["slack:T0123#U0456"], "olga": ["oidc:https://login.example#olga"]}, True),
        ({"olga": ["slack:T0123#U0456", "oidc:https://login.example#olga"]}, False),
    ],
)
def test_one_human_by_slack_and_otherwise_counts_once(people: dict[str, list[str]], enough: bool) -> None:
    """Two approvals are of two people only where the policy's lists say so."""
    one = [policy(required_approvals=2, people=people)]
    both = [approval("slack:T0123#U0456"), approval("oidc:https://login.example#olga")]
    assert isinstance(evaluate(one, facts(), both, NOW), Approved) is enough


OLGA = "oidc:https://login.example#olga"
SOURCES = (ANA, OLGA, "slack:T0123#U0456", "slack:T0999#U0456", "link:hook", "link:mailbox")


@pytest.mark.parametrize(("one", "other"), [pair for pair in combinations(SOURCES, 2) if pair != (ANA, OLGA)])
def test_one_human_by_what_was_sent_and_otherwise_counts_once(one: str, other: str) -> None:
    """Whoever has a channel's link can reply by it, and decide as themselves too; so with Slack, and with two channels."""
    both = [approval(one), approval(other)]
    for rules in ({"required_approvals": 2}, {"approval_rules": [{"group": "all", "required_approvals": 2}]}):
        named: Document = {**rules, "groups": {"all": [one, other]}}
        for people, enough in (
            ({}, False),
            ({"first": [one]}, False),
            ({"second": [other]}, False),
            ({"both": [one, other]}, False),
            ({"first": [one], "second": [other]}, True),
        ):
            assert isinstance(evaluate([policy(**named, people=people)], facts(), both, NOW), Approved) is enough


@pytest.mark.parametrize(
    ("people", "requester", "counts"),
    [
        ({"ana": ["slack:T0123#U0456"]}, "bob", False),
        ({"ana": ["slack:T0123#U0456"]}, "", True),
        ({"ana": ["slack:T0123#U0456", "concourse:anna"]}, "bob", True),
        ({"ana": ["slack:T0123#U0456", "concourse:anna"]}, "anna", False),
        ({"ana": ["slack:T0123#U0456"], "bob": ["concourse:bob"]}, "bob", True),
        ({"ana": ["slack:T0123#U0456", "oidc:https://login.example#ana"]}, "bob", False),
    ],
)
def test_no_self_approval_hides_behind_a_members_id(people: dict[str, list[str]], requester: str, counts: bool) -> None:
    """It resembles nobody's name: where nobody may approve their own, the lists have to tell who started the build."""
    one = [policy(approval_rules=[{"user": "ana"}], people=people, allow_self_approval=False, unknown_requester="allow")]
    asked = facts(requester=requester, build={"url": "https://ci.example"})
    assert isinstance(evaluate(one, asked, [approval("slack:T0123#U0456")], NOW), Approved) is counts
