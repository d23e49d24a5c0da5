"""Who decides from Concourse: where a policy hears them, whom it takes them for, and beside whom they count."""

from __future__ import annotations

import itertools
import time
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from approval_resource.model.claim import Review
from approval_resource.policy import entitlement
from approval_resource.policy.language.identities import at_concourse, fault
from approval_resource.policy.needs import weighed
from approval_resource.policy.people import Roster
from tests.policy.asking import ANA, BOB, Document, answer, approval, asked, facts, policy, rejection, why

URL = "https://ci.example"
BUILD: Document = {"build": {"url": URL}}


def here(name: str) -> str:
    """Who has that name at the claim's Concourse."""
    return f"concourse:{URL}#{name}"


OTHER = "concourse:https://ci.other#anna"


def heard(one: Any, reviewer: str) -> bool:
    """Whether a review of theirs is taken."""
    return entitlement.refusal([one], facts(**BUILD), [], approval(reviewer)) is None


# ---- where it counts -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("document", "counts"),
    [
        ({"required_approvals": 1}, True),
        ({"conditions": {"a": 1}, "on_policy_fail": "deny"}, True),
        ({"windows": [{"days": "mon-fri"}]}, True),
        ({"approval_rules": [{"user": ANA}]}, False),
        ({"required_approvals": 1, "people": {"ana": [ANA]}}, False),
        ({"required_approvals": 1, "groups": {"qa": [ANA]}}, False),
        ({"required_approvals": 1, "bypass": {"users": [ANA]}}, False),
        (
            {
                "required_approvals": 1,
                "delegates": [{"person": ANA, "delegate": BOB, "from": "2026-01-01", "until": "2026-12-31"}],
            },
            False,
        ),
        ({"rego": "package spacelift\napprove { count(input.reviews.current.approvals) > 0 }"}, False),
    ],
)
def test_it_counts_by_itself_only_where_nobody_is_named(document: Document, counts: bool) -> None:
    """And wherever the policy says so, or not where it says that it doesn't."""
    assert heard(policy(**document), here("anna")) is counts
    if "approval_rules" not in document:
        assert heard(policy(**document, reviewers={"concourse": True}), here("anna"))
    assert not heard(policy(**document, reviewers={"concourse": False}), here("anna"))


@pytest.mark.parametrize(
    "name", ["concourse:anna", here("anna"), f"concourse:{URL}/#anna", "concourse:HTTPS://CI.example:443/#anna"]
)
@pytest.mark.parametrize(
    "document",
    [
        {"approval_rules": [{"user": "{}"}]},
        {"approval_rules": [{"group": "qa"}], "groups": {"qa": ["{}"]}},
        {"required_approvals": 1, "people": {"Anna S.": ["{}"]}},
        {"approval_rules": [{"user": "Anna S."}], "people": {"Anna S.": ["{}"]}},
    ],
)
def test_whom_a_policy_names_counts_in_every_spelling(document: Document, name: str) -> None:
    """Of the claim's Concourse, and nobody else there or elsewhere."""

    def filled(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: filled(one) for key, one in value.items()}
        return [filled(one) for one in value] if isinstance(value, list) else name if value == "{}" else value

    if name.startswith("concourse:HTTPS"):
        name = "concourse:https://CI.example:443/#anna"
    one = policy(**filled(document))
    assert heard(one, here("anna"))
    assert answer(one, approval(here("anna")), **BUILD) == "approve"
    for somebody in (here("ben"), here("Anna"), here("аnna"), OTHER):  # noqa: RUF001 - a look-alike
        assert not heard(one, somebody), somebody
        assert answer(one, approval(somebody), **BUILD) == "undecided"


def test_a_review_that_does_not_count_is_not_counted_though_it_is_stored() -> None:
    """Neither as an approval nor as a rejection, and it hides no word of the same person's."""
    one = policy(required_approvals=1, people={"ana": [ANA, here("ana")]}, reviewers={"concourse": False})
    assert answer(one, approval(here("ana")), **BUILD) == "undecided"
    assert answer(one, rejection(here("zoe")), **BUILD) == "undecided"
    assert answer(one, approval(ANA), rejection(here("ana")), **BUILD) == "approve"


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ({"approval_rules": [{"user": ANA}]}, "names people and doesn't name your Concourse user"),
        ({"rego": "package spacelift\napprove { input.reviews.current.approvals[_] }"}, "has Rego and doesn't name your"),
        ({"required_approvals": 1, "reviewers": {"concourse": False}}, "says reviewers: {concourse: false}"),
    ],
)
def test_the_refusal_says_what_in_the_policy_keeps_the_name_out(document: Document, words: str) -> None:
    """A policy with Rego alone names nobody, so it isn't said to; whichever identity doesn't count is a reason of its own."""
    told = entitlement.refusal([policy(**document)], facts(**BUILD), [], approval(here("anna")))
    assert told is not None
    assert words in told
    for uncounted in (here("anna"), "slack:T1#U1", "link:ops"):
        assert weighed([policy(**document)], facts(**BUILD), [approval(uncounted)]) == {
            uncounted: "no policy counts that identity"
        }


# ---- whom it is ------------------------------------------------------------------------


@pytest.mark.parametrize("asker", ["anna", "Anna", "anna@example.com", "anna #1", "corp:anna", "zoë"])
@pytest.mark.parametrize("people", ["none", "short", "full", "both"])
def test_who_asked_is_known_in_every_spelling(asker: str, people: str) -> None:
    """The requester's name and the reviewer's come from the same variable."""
    lists = {
        "none": {},
        "short": {"A": [f"concourse:{asker}"]},
        "full": {"A": [here(asker)]},
        "both": {"A": [f"concourse:{asker}", here(asker), ANA]},
    }[people]
    one = policy(required_approvals=1, allow_self_approval=False, people=lists, reviewers={"concourse": True})
    assert answer(one, approval(here(asker)), requester=asker, **BUILD) == "undecided"
    assert answer(one, approval(f"concourse:{URL}/#{asker}"), requester=asker, **BUILD) == "undecided"
    assert answer(one, approval(here("ben")), requester=asker, **BUILD) == "approve"


def test_a_name_is_the_claim_s_concourse_s() -> None:
    """Without the claim's address `concourse:NAME` is nobody who reviews."""
    one = policy(approval_rules=[{"user": "concourse:anna"}])
    assert answer(one, approval(OTHER), build={"url": "https://ci.other/"}) == "approve"
    assert answer(one, approval(OTHER), **BUILD) == "undecided"
    assert answer(one, approval(OTHER)) == "undecided"


def test_the_requester_is_in_the_groups_that_name_them() -> None:
    """Rego and conditions ask for them as for a reviewer's."""
    one = policy(required_approvals=1, groups={"qa": ["concourse:anna"]})
    document = facts(requester="anna", **BUILD).static_document(facts(requester="anna", **BUILD).roster(one))
    assert document["run"]["creator_session"]["teams"] == ["qa"]


@pytest.mark.parametrize("asker", ["Anna", "anna@evil.example", "ANNA", "anna…0123456789abcdef", ANA])
def test_a_name_that_resembles_somebody_s_gives_nobody_s_groups(asker: str) -> None:
    """A policy that trusts a group's builds isn't opened by a chosen name, and no approval of hers counts beside it."""
    one = policy(
        required_approvals=1,
        allow_self_approval=False,
        people={"anna": [ANA, "concourse:https://ci.other#ANNA"]},
        groups={"admins": ["anna"]},
        reviewers={"concourse": True},
    )
    document = facts(requester=asker, **BUILD).static_document(facts(requester=asker, **BUILD).roster(one))
    assert document["run"]["creator_session"]["teams"] == []
    assert document["run"]["creator_session"]["login"] == asker
    assert answer(one, approval(here(asker)), requester=asker, **BUILD) == "undecided"
    assert answer(one, approval(ANA), requester=asker, **BUILD) == "undecided"


@pytest.mark.parametrize("name", ["anna ", "an\u3164na", "anna\u00a0x", "e\u0301lan", "https://ci.example#anna\u034f"])
def test_a_name_that_no_build_tells_so_is_refused(name: str) -> None:
    """A build tells it with a mark, so a rule that names it as it is would fit nobody."""
    assert "so a build records it as" in fault(f"concourse:{name}")
    assert fault("concourse:anna…0123456789abcdef") == ""


@pytest.mark.parametrize("url", ["https://ci.example", "https://ci.example/", "HTTPS://CI.Example", "https://ci.example:443"])
def test_one_address_has_one_spelling(url: str) -> None:
    """However the web node's operator writes it."""
    assert at_concourse(url, "Anna") == here("Anna")
    assert at_concourse("http://ci.example:80/x/", "a#b") == "concourse:http://ci.example/x#a#b"


# ---- beside whom -----------------------------------------------------------------------


def test_two_people_of_one_concourse_are_two() -> None:
    """Its names tell them apart."""
    assert answer(policy(required_approvals=2), approval(here("anna")), approval(here("ben")), **BUILD) == "approve"


@pytest.mark.parametrize("second", [ANA, "oidc:https://login.example#1", OTHER, "typed:ben"])
def test_nothing_tells_a_stranger_from_one_whom_another_knows(second: str) -> None:
    """One human may be both, so it is one approval, and people are told why."""
    decision = asked(policy(required_approvals=2), approval(here("anna")), approval(second), **BUILD)
    assert decision.result.answer.value == "undecided"
    assert "(if not, list both under people) and doesn't count" in why(decision)


def test_lists_tell_people_apart_or_together() -> None:
    """Both listed, or one listed with an identity that the other's side knows."""
    listed = {"ana": [ANA, "concourse:ana"], "ben": ["concourse:ben"], "bob": [BOB]}
    one = policy(required_approvals=2, people=listed, reviewers={"concourse": True})
    assert answer(one, approval(ANA), approval(here("ben")), **BUILD) == "approve"
    assert answer(one, approval(ANA), approval(here("ana")), **BUILD) == "undecided"
    assert answer(one, approval(ANA), approval(here("zoe")), **BUILD) == "approve"
    assert answer(one, approval(BOB), approval(here("zoe")), **BUILD) == "undecided"
    assert answer(one, approval(here("ben")), approval("aws:arn:aws:iam::123456789012:user/zoe"), **BUILD) == "undecided"
    assert answer(one, approval(here("ana")), approval("aws:arn:aws:iam::123456789012:user/zoe"), **BUILD) == "approve"


def test_a_rejection_of_either_counts() -> None:
    """Refusing is safe."""
    assert answer(policy(required_approvals=2), approval(ANA), rejection(here("anna")), **BUILD) == "reject"


WHO = [ANA, BOB, "aws:arn:aws:iam::123456789012:user/zoe", "oidc:https://login.example#1", "typed:x", OTHER] + [
    here(name) for name in ("ana", "ben", "carl", "zoe")
]
LISTS: list[Document] = [
    {},
    {"ana": [ANA, "concourse:ana"]},
    {"ana": [ANA, "concourse:ana"], "ben": ["concourse:ben"], "bob": [BOB]},
    {"ana": [here("ana"), OTHER], "zoe": ["concourse:zoe", "oidc:https://login.example#1"]},
]


MEMBER, OTHER_MEMBER, LINK = "slack:T1#U1", "slack:T1#U2", "link:ops"
ANYBODY = [*WHO, MEMBER, OTHER_MEMBER, LINK, "oidc:https://other.example#7"]
ANY_LISTS: list[Document] = [
    *LISTS,
    {"ana": [ANA, MEMBER, "concourse:ana"]},
    {"ana": [MEMBER, "oidc:https://login.example#1"], "zoe": ["concourse:zoe", LINK]},
    {"ana": [ANA, "oidc:https://login.example#1", LINK], "ben": [MEMBER, OTHER_MEMBER]},
]
GROUPS: list[Document] = [{}, {"ops": [OTHER_MEMBER, LINK, BOB]}, {"ops": [ANA, "oidc:https://login.example#1", MEMBER]}]


@example(before=[ANA, BOB, WHO[3]], more=here("ana"), people=LISTS[1], groups={}, required=3)
@example(before=[BOB, OTHER, here("ana")], more="typed:x", people=LISTS[1], groups={}, required=2)
@given(
    st.lists(st.sampled_from(ANYBODY), unique=True, max_size=7),
    st.sampled_from(ANYBODY),
    st.sampled_from(ANY_LISTS),
    st.sampled_from(GROUPS),
    st.integers(1, 3),
)
def test_another_approval_never_hurts(before: list[str], more: str, people: Document, groups: Document, required: int) -> None:
    """Whatever kinds of identity come together, of people whom lists name or of strangers."""
    one = policy(required_approvals=required, people=people, groups=groups, reviewers={"concourse": True})
    if answer(one, *map(approval, before), **BUILD) == "approve":
        assert answer(one, *map(approval, dict.fromkeys([*before, more])), **BUILD) == "approve"


def test_any_number_of_issuers_is_heard_in_bounded_time() -> None:
    """Parts of a side double with each source: above a few, each alone and all together are tried."""
    people: Document = {"ana": [ANA, "concourse:ana"]}
    one = policy(required_approvals=20, people=people, reviewers={"concourse": True})
    strangers = [f"oidc:https://issuer{number}.example#1" for number in range(40)]
    began = time.process_time()
    ways = Roster(one, concourse=URL).hearings([approval(who) for who in [*strangers, here("ana")]])
    assert time.process_time() - began < 1
    assert [sum(not voice.may_be for voice in way) for way in ways] == [40, 1]
    assert answer(one, *map(approval, [*strangers, here("ana")]), **BUILD) == "approve"


@given(st.lists(st.sampled_from(WHO), unique=True, max_size=6), st.sampled_from(LISTS))
def test_of_those_counted_everybody_is_told_from_everybody(said: list[str], people: Document) -> None:
    """No way to count holds two whom nothing tells apart, and none is left out that would be larger."""
    one = policy(required_approvals=1, people=people, reviewers={"concourse": True})
    roster = Roster(one, concourse=URL)
    reviews: list[Review] = [approval(who) for who in said]
    by_trusted = {
        person: any(roster.person(who) == person and not who.startswith("concourse:") for who in said)
        for person in map(roster.person, said)
    }

    def apart(a: str, b: str) -> bool:
        pair = [roster.person(a), roster.person(b)]
        if all(person in people for person in pair) or all(by_trusted[person] for person in pair):
            return True
        known = [{knower(one) for one in people.get(person, [who])} for person, who in zip(pair, (a, b), strict=True)]
        return bool(known[0] & known[1])

    def knower(identity: str) -> str:
        full = (
            here(identity.removeprefix("concourse:")) if identity.startswith("concourse:") and "#" not in identity else identity
        )
        return full.partition("#")[0] if "#" in full else full.partition(":")[0]

    voices = {voice.person: voice.identity for voice in roster.voices(reviews)}
    best = max(
        size
        for size in range(len(voices) + 1)
        if any(
            all(apart(a, b) for a, b in itertools.combinations(chosen, 2))
            for chosen in itertools.combinations(voices.values(), size)
        )
    )
    ways = [[voice.identity for voice in way if not voice.may_be] for way in roster.hearings(reviews)]
    for way in ways:
        assert all(apart(a, b) for a, b in itertools.combinations(way, 2))
    assert max(map(len, ways)) == len(ways[0]) == best
