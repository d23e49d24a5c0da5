"""An issuer's groups: they count as the policy says, for its own people, as they were at the review."""

from __future__ import annotations

import pytest

from approval_resource.model.claim import Review
from approval_resource.policy import entitlement, unblock
from approval_resource.policy.authoring.lint import lint
from approval_resource.policy.language.load import load
from tests.policy.asking import ANA, Document, answer, approval, facts, policy, utc

ISSUER = "https://login.example"
EVE, FAY = f"oidc:{ISSUER}#eve", f"oidc:{ISSUER}#fay"
SECURITY = f"oidc-group:{ISSUER}#sec"
RULES: Document = {"approval_rules": [{"group": "security", "count": 2}], "groups": {"security": [SECURITY, ANA]}}


def told(identity: str, *groups: str) -> Review:
    """An approval by whom an issuer knows, with what it told of their groups."""
    return approval(identity, groups=groups)


def test_a_group_of_the_issuer_satisfies_a_rule() -> None:
    """Beside people whom the policy lists, and counted person by person."""
    one = policy(**RULES)
    assert answer(one, told(EVE, SECURITY)) == "undecided"
    assert answer(one, told(EVE, SECURITY), told(FAY, SECURITY)) == "approve"
    assert answer(one, told(EVE, SECURITY), approval(ANA)) == "approve"


@pytest.mark.parametrize(
    ("identity", "group"),
    [
        (EVE, f"oidc-group:{ISSUER}#other"),
        (EVE, "security"),
        (EVE, "sec"),
        ("oidc:https://evil.example#eve", SECURITY),
        (f"oidc:{ISSUER}.evil#eve", SECURITY),
        ("aws:arn:aws:iam::123456789012:user/eve", SECURITY),
        ("concourse:https://login.example#eve", SECURITY),
        ("typed:eve", SECURITY),
    ],
)
def test_no_other_group_and_no_other_issuer_s_word_counts(identity: str, group: str) -> None:
    """An issuer speaks of its own people; a group's bare name is nobody's; AWS knows no issuer's groups."""
    one = policy(**(RULES | {"approval_rules": [{"group": "security"}]}))
    assert answer(one, told(identity, group)) == "undecided"
    assert entitlement.refusal([one], facts(), [], told(identity, group)) is not None


def test_rego_sees_the_groups_as_teams() -> None:
    """The policy's own, and the issuer's in full."""
    for team in ("security", SECURITY):
        text = f'package spacelift\napprove {{ input.reviews.current.approvals[_].session.teams[_] == "{team}" }}'
        one = policy(rego=text, groups=RULES["groups"])
        assert answer(one, told(EVE, SECURITY)) == "approve"
        assert answer(one, told(EVE)) == "undecided"


def test_the_same_verdict_with_other_groups_is_said_again() -> None:
    """Whoever joined the group since then says so by approving again; with equal groups nothing changes."""
    before = told(EVE)
    assert entitlement.merged([], before, told(EVE, SECURITY)).groups == (SECURITY,)
    assert entitlement.merged([], before, told(EVE)) is before


def test_who_can_open_a_gate_is_told_by_the_group() -> None:
    """Nobody knows its members, so they are counted."""
    one = policy(approval_rules=[{"group": "security", "count": 2}], groups={"security": [SECURITY]})
    assert unblock.openers([one], facts(), [], utc("2026-11-21 12:00")).lines == [f"2 people of {SECURITY}"]
    after = unblock.openers([one], facts(), [told(EVE, SECURITY)], utc("2026-11-21 12:00"))
    assert after.lines == [f"1 person of {SECURITY}"]


def test_lint_takes_an_issuer_s_group_only_as_a_member_of_a_group() -> None:
    """It may have any number of people, and is no person."""
    fine = load({**RULES, "approval_rules": [{"group": "security", "count": 5}]}, "p")
    assert [str(one) for one in lint(fine[0])] == []
    wrong = load({"approval_rules": [{"user": SECURITY}]}, "p")
    assert any("that is an issuer's group" in str(one) for one in lint(wrong[0]))
