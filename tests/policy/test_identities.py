"""Identities in policies: one that no caller can have is an error wherever a policy names people, with the form that matches."""

from __future__ import annotations

import re

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from approval_resource.policy.language.identities import CALLER, fault
from tests.policy.asking import answer, approval, errors, policy

CHECKED = settings(deadline=None, database=None, derandomize=True, max_examples=150, suppress_health_check=list(HealthCheck))
ACCOUNT = "111122223333"
ANNA = f"aws:arn:aws:iam::{ACCOUNT}:user/anna"
SESSION = f"aws:arn:aws:sts::{ACCOUNT}:assumed-role/operator/anna@example.com"
POSSIBLE = [
    ANNA,
    SESSION,
    f"aws:arn:aws:iam::{ACCOUNT}:user/teams/payments/anna",
    f"aws:arn:aws:iam::{ACCOUNT}:root",
    f"aws:arn:aws-us-gov:sts::{ACCOUNT}:assumed-role/AWSReservedSSO_ops_0123456789abcdef/anna",
    f"aws:arn:aws-cn:iam::{ACCOUNT}:user/anna+x=1",
    f"aws:arn:aws:sts::{ACCOUNT}:federated-user/anna",
    "oidc:https://login.example.com/realms/x#8a6b-42",
    "concourse:https://ci.example.com#anna",
    "concourse:https://ci.example.com:8443/x#anna smith",
]
IMPOSSIBLE = [
    (f"arn:aws:iam::{ACCOUNT}:user/anna", ANNA),
    (f"ARN:aws:iam::{ACCOUNT}:user/anna", ANNA),
    (f"AWS:arn:aws:iam::{ACCOUNT}:user/anna", ANNA),
    (f"aws:ARN:aws:iam::{ACCOUNT}:user/anna", ANNA),
    (f"aws:arn:aws:iam::{ACCOUNT}:User/anna", ANNA),
    (f"aws:arn:aws:iam:eu-west-1:{ACCOUNT}:user/anna", ANNA),
    (f"aws:arn:aws:sts::{ACCOUNT}:user/anna", ANNA),
    (f"aws:arn:aws:iam::{ACCOUNT}:role/operator", f"aws:arn:aws:sts::{ACCOUNT}:assumed-role/operator/SESSION"),
    (f"arn:aws:iam::{ACCOUNT}:role/operator", f"aws:arn:aws:sts::{ACCOUNT}:assumed-role/operator/SESSION"),
    (f"aws:arn:aws:iam::{ACCOUNT}:role/teams/operator", f"aws:arn:aws:sts::{ACCOUNT}:assumed-role/operator/SESSION"),
    (f"aws:arn:aws:sts::{ACCOUNT}:assumed-role/operator", f"aws:arn:aws:sts::{ACCOUNT}:assumed-role/operator/SESSION"),
    (f"aws:arn:aws:sts::{ACCOUNT}:assumed-role/teams/operator/anna@example.com", SESSION),
    (f"aws:arn:aws:iam::{ACCOUNT}:assumed-role/operator/anna@example.com", SESSION),
    (f"aws:arn:aws:sts::{ACCOUNT}:assumed-role/operator/*", "not patterns"),
    (f"aws:arn:aws:iam::{ACCOUNT}:user/*", "not patterns"),
    (f"aws:arn:aws:iam::{ACCOUNT}:user/team/*/anna", "not patterns"),
    ("aws:*", "not patterns"),
    (f"aws:arn:aws:sts::{ACCOUNT}:assumed-role/operator/a", "STS reports"),
    (f"aws:arn:aws:iam::{ACCOUNT}:group/operators", "STS reports"),
    (f"aws:arn:aws:iam::{ACCOUNT}:policy/operators", "STS reports"),
    (f"aws:arn:aws:iam::{ACCOUNT}:instance-profile/web", "STS reports"),
    (f"aws:arn:aws:iam::{ACCOUNT}:mfa/anna", "STS reports"),
    (f"aws:arn:aws:iam::{ACCOUNT}:user/", "STS reports"),
    (f"aws:arn:amazon:iam::{ACCOUNT}:user/anna", "STS reports"),
    ("aws:arn:aws:iam::1111222233334:user/anna", "12 digits"),
    ("aws:arn:aws:iam::1111-2222-3333:user/anna", "12 digits"),
    ("aws:arn:aws:iam:::user/anna", "12 digits"),
    ("aws:anna", "STS reports"),
    ("aws:AIDAEXAMPLE", "STS reports"),
    ("aws:", "STS reports"),
    ("github:anna", "no kind of identity"),
    ("sso:anna", "no kind of identity"),
    ("aws-sso:anna", "no kind of identity"),
    ("oidc:anna", "oidc:https://ISSUER#SUB"),
    ("oidc:https://login.example.com", "oidc:https://ISSUER#SUB"),
    ("oidc:https://login.example.com#", "oidc:https://ISSUER#SUB"),
    ("oidc:login.example.com#anna", "oidc:https://ISSUER#SUB"),
    ("OIDC:https://login.example.com#anna", "in small letters"),
    ("concourse:", "concourse:https://HOST#NAME"),
    ("concourse:https://ci.example.com", "concourse:https://HOST#NAME"),
    ("Concourse:anna", "in small letters"),
    ("slack:anna", "slack:TEAM#USER"),
]
YEAR = "from: 2026-01-01, until: 2026-12-31"
ZOE = f"people: {{{{zoe: [{ANNA}2]}}}}\n"
PLACES = {
    "people": "required_approvals: 1\npeople:\n  anna:\n  - {identity}\n",
    "groups": "required_approvals: 1\ngroups:\n  ops:\n  - {identity}\n",
    "rules": "approval_rules:\n- name: one\n  user:\n    {identity}\n",
    "bypass": "required_approvals: 1\nbypass:\n  users:\n  - {identity}\n",
    "who is away": f"required_approvals: 1\ndelegates:\n- {{{{{YEAR}, delegate: zoe, person: {{identity}}}}}}\n{ZOE}",
    "delegates": f"required_approvals: 1\ndelegates:\n- {{{{{YEAR}, person: zoe, delegate: {{identity}}}}}}\n{ZOE}",
}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize(("identity", "words"), IMPOSSIBLE, ids=[identity for identity, _ in IMPOSSIBLE])
def test_an_identity_that_nobody_can_have_is_an_error(place: str, identity: str, words: str) -> None:
    """Wherever a policy names people, with its place and the form that would match."""
    told = errors(PLACES[place].format(identity=f'"{identity}"'), "p.yaml")
    assert len(told) == 1, told
    assert re.match(r"p\.yaml:[34]:\d+: [a-z_]+\.", told[0])
    assert f"nobody can be {identity}: " in told[0]
    assert words in told[0]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("identity", POSSIBLE)
def test_an_identity_that_somebody_can_have_is_none(place: str, identity: str) -> None:
    """Nor is a name without a prefix, which is a person's or a group's."""
    assert errors(PLACES[place].format(identity=f'"{identity}"'), "p.yaml") == []
    assert fault("anna") == fault("Platform team") == ""


def test_the_form_that_is_told_matches() -> None:
    """Whoever copies it has an identity that somebody can have; SESSION stands for the session's name."""
    for identity, _ in IMPOSSIBLE:
        for meant in re.findall(r"aws:arn:\S+\d{12}:\S+", fault(identity)):
            assert fault(meant) == "", identity


@pytest.mark.parametrize("place", PLACES)
def test_a_name_of_concourse_may_stand_wherever_people_are_named(place: str) -> None:
    """It is whoever has that name at the Concourse of the claim's build, asking or approving."""
    for name in ("anna", "Anna Smith", "corp:anna", "anna#1"):
        assert errors(PLACES[place].format(identity=f'"concourse:{name}"'), "p.yaml") == []


def test_who_asked_is_found_by_their_name_at_whichever_concourse() -> None:
    """An identity of Concourse with its address hides no approval of one's own, whether one person has the name or two."""
    people = {"Anna S.": [ANNA, "concourse:https://ci.example.com#asmith"]}
    one = policy(required_approvals=1, allow_self_approval=False, people=people)
    assert answer(one, approval(ANNA), requester="asmith") == "undecided"
    assert answer(one, approval(ANNA), requester="ben") == "approve"
    two = policy(
        required_approvals=1,
        allow_self_approval=False,
        people={**people, "Arno S.": [SESSION, "concourse:https://ci.example.org#asmith"]},
    )
    assert answer(two, approval(ANNA), requester="asmith") == "undecided"
    assert answer(two, approval(SESSION), requester="asmith") == "undecided"


@CHECKED
@given(
    st.from_regex(CALLER, fullmatch=True),
    st.sampled_from(("aws:", "AWS:", "", "aws", " aws:")),
    st.sampled_from(("", "/", "/x", " ", "*", ":x", "\n")),
)
@pytest.mark.long
def test_only_an_arn_of_a_caller_is_an_identity(arn: str, before: str, after: str) -> None:
    """Every ARN that STS returns is taken behind aws:, and nothing else that looks like one."""
    possible = before == "aws:" and CALLER.fullmatch(arn + after)
    assert (fault(f"{before}{arn}{after}") == "") == bool(possible)


def test_everything_wrong_is_told_at_once() -> None:
    """A policy that names nobody right, in each of its places."""
    text = f"""\
approval_rules:
- {{name: a, user: "arn:aws:iam::{ACCOUNT}:user/anna"}}
- {{name: b, user: "aws:arn:aws:iam::{ACCOUNT}:role/operator"}}
- {{name: c, group: g}}
groups: {{g: ["aws:arn:aws:iam::{ACCOUNT}:role/x", "arn:aws:iam::{ACCOUNT}:user/y"]}}
bypass: {{users: ["arn:aws:iam::{ACCOUNT}:user/root"]}}
delegates:
- {{person: "arn:aws:iam::{ACCOUNT}:user/anna", delegate: "github:z", from: 2026-01-01, until: 2026-12-31}}
"""
    places = [told.split(" ")[1].rstrip(":") for told in errors(text, "p.yaml")]
    assert sorted(places) == [
        "approval_rules.0.user",
        "approval_rules.1.user",
        "bypass.users.0",
        "delegates.0.delegate",
        "delegates.0.person",
        "groups.g.0",
        "groups.g.1",
    ]
