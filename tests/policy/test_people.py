"""Who a reviewer is: people with several identities, typed names, who asked, who stands in, and who may force."""

from __future__ import annotations

from typing import Any

import pytest

from approval_resource.errors import ConfigError
from approval_resource.policy import entitlement
from approval_resource.policy.language.load import load
from tests.policy.asking import ANA, BOB, CAROL, DAN, Document, answer, approval, asked, facts, policy, rejection, utc, why

LAPTOP = "oidc:https://login.example/ana"
PEOPLE = {"ana": [ANA, LAPTOP], "bob": [BOB, "concourse:bobby"], "carol": [CAROL, "concourse:carol"]}
YEAR: Document = {"from": "2026-01-01", "until": "2026-12-31"}


# ---- identities -------------------------------------------------------------------


def test_two_identities_of_one_person_are_one_approval() -> None:
    """A person counts once, however many ways there are to know them."""
    one = policy(required_approvals=2, people=PEOPLE)
    assert answer(one, approval(ANA), approval(LAPTOP)) == "undecided"
    assert answer(one, approval(ANA), approval(BOB)) == "approve"


def test_of_one_persons_identities_the_newest_word_counts() -> None:
    """A change of mind is one by whichever identity; at one instant who rejects is heard."""
    one = policy(required_approvals=1, people=PEOPLE)
    early, late = utc("2026-11-21 09:00"), utc("2026-11-21 10:00")
    assert answer(one, rejection(ANA, early), approval(LAPTOP, late)) == "approve"
    assert answer(one, approval(ANA, early), rejection(LAPTOP, late)) == "reject"
    assert answer(one, approval(ANA, late), rejection(LAPTOP, late)) == "reject"


def test_rules_name_people_by_name_or_identity() -> None:
    """Either leads to the same person."""
    for user in ("ana", ANA, LAPTOP):
        one = policy(approval_rules=[{"user": user}], people=PEOPLE)
        assert answer(one, approval(LAPTOP)) == "approve"
        assert answer(one, approval(BOB)) == "undecided"
    for member in ("ana", ANA):
        one = policy(approval_rules=[{"group": "g"}], groups={"g": [member]}, people=PEOPLE)
        assert answer(one, approval(LAPTOP)) == "approve"


def test_a_name_alone_is_nobodys_identity() -> None:
    """Who is known to AWS by an ARN isn't the `ana` of a rule unless people says so."""
    assert answer(policy(approval_rules=[{"user": "ana"}]), approval(ANA)) == "undecided"


@pytest.mark.parametrize(
    "people",
    [
        {"ana": [ANA], "bob": [ANA]},
        {"ana": ["bob"], "bob": [BOB]},
        {ANA: [BOB]},
        {"typed:ana": [ANA]},
        {"ana": ["typed:ana"]},
        {" ana": [ANA]},
    ],
    ids=[
        "one identity for two",
        "a person within a person",
        "an identity as a person",
        "a typed person",
        "typed identity",
        "space",
    ],
)
def test_people_who_cant_be_told_apart_are_a_configuration_error(people: Document) -> None:
    """Whose word it is must be clear."""
    with pytest.raises(ConfigError):
        load({"required_approvals": 1, "people": people}, "p")


# ---- typed names --------------------------------------------------------------------


def test_typed_names_together_are_one_person() -> None:
    """Anyone may type any name, and any number of them."""
    one = policy(required_approvals=2)
    assert answer(one, *(approval(f"typed:{name}") for name in "abcdef")) == "undecided"
    for voices in ((approval("typed:a"), approval(ANA)), (approval(ANA), approval("typed:a"))):
        assert answer(one, *voices) == "undecided", "somebody who is known may have typed that name too"


def test_a_rejection_under_a_typed_name_stands_whatever_other_names_say() -> None:
    """However late they say it."""
    early, late = utc("2026-11-21 09:00"), utc("2026-11-21 10:00")
    assert answer(policy(required_approvals=1), rejection("typed:a", early), approval("typed:b", late)) == "reject"


@pytest.mark.parametrize("options", [{"user": "ana"}, {"group": "g"}])
def test_a_typed_name_satisfies_no_rule(options: Document) -> None:
    """Not even one with the name of somebody who is named."""
    one = policy(approval_rules=[options], groups={"g": ["ana", ANA]}, people={"ana": [ANA]})
    assert answer(one, approval("typed:ana"), approval(f"typed:{ANA}")) == "undecided"


def test_groups_that_a_typed_name_is_said_to_be_in_count_for_nothing() -> None:
    """A trial may say so; a rule doesn't listen."""
    one = policy(approval_rules=[{"group": "g"}])
    assert answer(one, approval("typed:ana"), memberships={"typed:ana": frozenset({"g"})}) == "undecided"
    assert answer(one, approval(ANA), memberships={ANA: frozenset({"g"})}) == "approve"


@pytest.mark.parametrize(
    "document",
    [
        {"approval_rules": [{"user": "typed:ana"}]},
        {"required_approvals": 1, "groups": {"g": ["typed:ana"]}},
        {"required_approvals": 1, "bypass": {"users": ["typed:ana"]}},
        {"required_approvals": 1, "delegates": [{"person": "typed:ana", "delegate": BOB, **YEAR}]},
        {"required_approvals": 1, "delegates": [{"person": BOB, "delegate": "typed:ana", **YEAR}]},
    ],
    ids=["rule", "group", "bypass", "principal", "delegate"],
)
def test_no_policy_can_name_a_typed_name(document: Document) -> None:
    """It proves nothing."""
    with pytest.raises(ConfigError, match="proves nothing"):
        load(document, "p")


def test_the_word_for_all_typed_names_is_in_no_group() -> None:
    """Nobody who only typed a name is in a team, whatever a group's list says."""
    text = 'package spacelift\napprove { input.reviews.current.approvals[_].session.teams[_] == "admins" }'
    try:
        one = policy(rego=text, groups={"admins": ["typed names"]})
    except ConfigError:
        return
    assert answer(one, approval("typed:anyone")) != "approve"


# ---- who asked -----------------------------------------------------------------------


def own(**options: Any) -> Any:
    """A policy under which nobody approves what they asked for."""
    return policy(required_approvals=1, allow_self_approval=False, **options)


@pytest.mark.parametrize(
    ("requester", "identity"),
    [("bobby", BOB), ("bob", BOB), ("carol", CAROL), ("ana", ANA), ("ana", LAPTOP), ("dan", DAN), ("DAN", DAN)],
    ids=[
        "listed for Concourse",
        "a person's name",
        "both",
        "another identity",
        "yet another",
        "last part of an ARN",
        "its case",
    ],
)
def test_who_asked_is_known_by_any_of_their_identities(requester: str, identity: str) -> None:
    """Listed for Concourse, by the person's name, or by the last part of an ARN that no list tells more of."""
    assert answer(own(people=PEOPLE), approval(identity), requester=requester) == "undecided"
    assert "asked for this claim" in why(asked(own(people=PEOPLE), approval(identity), requester=requester))
    assert answer(own(people=PEOPLE), approval(identity), requester="somebody-else") == "approve"
    assert answer(own(people=PEOPLE), rejection(identity), requester=requester) == "reject"


def test_a_typed_approval_may_be_the_requesters_own() -> None:
    """So it doesn't count, whatever name was typed."""
    assert answer(own(people=PEOPLE), approval("typed:bob"), requester="ana") == "undecided"
    assert answer(policy(required_approvals=1), approval("typed:bob"), requester="ana") == "approve"


@pytest.mark.parametrize(("options", "expected"), [({}, "error"), ({"unknown_requester": "allow"}, "approve")])
def test_where_nobody_knows_who_asked_nobody_can_tell_their_own_approval(options: Document, expected: str) -> None:
    """An error that says what to set, unless the policy allows it."""
    assert answer(own(people=PEOPLE, **options), approval(ANA)) == expected
    if expected == "error":
        assert "expose_build_created_by" in why(asked(own(people=PEOPLE), approval(ANA)))


def test_an_unknown_requester_doesnt_keep_anybody_from_rejecting() -> None:
    """A rejection is stronger than the error."""
    assert answer(own(people=PEOPLE), rejection(ANA)) == "reject"


@pytest.mark.parametrize("person", ["Ana", "Ana Lopez"])
def test_who_asked_is_known_though_their_person_is_called_otherwise(person: str) -> None:
    """Concourse knows ana, AWS knows user/ana: that a list calls her Ana must not let her approve her own claim."""
    assert answer(own(people={person: [ANA]}), approval(ANA), requester="ana") == "undecided"


def test_rego_is_shown_who_asked_under_one_name() -> None:
    """What compares author with creator_session.login finds the requester by any identity."""
    text = "package spacelift\napprove { input.reviews.current.approvals[_].author != input.run.creator_session.login }"
    one = policy(rego=text, people=PEOPLE)
    assert answer(one, approval(BOB), requester="bobby") == "undecided"
    assert answer(one, approval(DAN), requester="dan") == "undecided"
    assert answer(one, approval(DAN), requester="bobby") == "approve"


# ---- standing in -----------------------------------------------------------------------


def with_delegates(*delegates: tuple[str, str], span: Document = YEAR, **options: Any) -> Any:
    """A policy whose rule wants ana, or two of a group with ana and carol; each pair is who is stood in for, and by whom."""
    listed = [{"person": person, "delegate": delegate, **span} for person, delegate in delegates]
    rules = {"approval_rules": [{"user": "ana"}]}
    return policy(**{**rules, "people": PEOPLE, "groups": {"g": ["ana", "carol"]}, "delegates": listed, **options})


GROUP = [{"group": "g", "required_approvals": 2}]


def test_a_delegate_counts_for_who_they_stand_in_for() -> None:
    """By user and by group."""
    assert answer(with_delegates(("ana", BOB)), approval(BOB)) == "approve"
    assert answer(with_delegates(), approval(BOB)) == "undecided"
    assert answer(with_delegates(("ana", BOB), approval_rules=[{"group": "g"}]), approval(BOB)) == "approve"


@pytest.mark.parametrize(
    ("at", "expected"),
    [
        ("2026-11-20 14:59", "undecided"),
        ("2026-11-20 15:00", "approve"),
        ("2026-11-21 14:59", "approve"),
        ("2026-11-21 15:00", "undecided"),
    ],
)
def test_dates_are_included_and_are_days_of_their_zone(at: str, expected: str) -> None:
    """One whole day in Tokyo, by when the delegate spoke."""
    day = {"from": "2026-11-21", "until": "2026-11-21", "tz": "Asia/Tokyo"}
    assert answer(with_delegates(("ana", BOB), span=day), approval(BOB, utc(at)), now=utc("2026-12-01 00:00")) == expected


def test_who_speaks_for_themselves_is_not_stood_in_for() -> None:
    """Whatever they say: the delegate is then themselves again."""
    two = with_delegates(("ana", BOB), approval_rules=GROUP)
    assert answer(two, approval(BOB), approval(CAROL)) == "approve"
    assert answer(two, approval(BOB), approval(ANA)) == "undecided"
    assert answer(with_delegates(("ana", BOB)), rejection(ANA), approval(BOB)) == "reject"


def test_one_person_is_counted_once_by_however_many_delegates() -> None:
    """Two who stand in for ana are one ana."""
    two = with_delegates(("ana", BOB), ("ana", DAN), approval_rules=GROUP)
    assert answer(two, approval(BOB), approval(DAN)) == "undecided"


def test_one_delegate_is_counted_once_for_however_many_people() -> None:
    """Who stands in for two has one voice, and adds none to who speaks for themselves."""
    two = with_delegates(("ana", BOB), ("carol", BOB), approval_rules=GROUP)
    assert answer(two, approval(BOB)) == "undecided"
    assert answer(two, approval(BOB), approval(ANA)) == "undecided"
    assert answer(two, approval(BOB), approval(ANA), approval(CAROL)) == "approve"


def test_standing_in_is_not_handed_on() -> None:
    """Whoever stands in for a delegate doesn't stand in for that one's principal."""
    assert answer(with_delegates(("ana", BOB), ("bob", DAN)), approval(DAN)) == "undecided"


def test_nobody_stands_in_for_who_asked() -> None:
    """Where they may not approve themselves."""
    strict = with_delegates(("ana", BOB), allow_self_approval=False)
    assert answer(strict, approval(BOB), requester="ana") == "undecided"
    assert answer(strict, approval(BOB), requester="dan") == "approve"
    assert answer(with_delegates(("ana", BOB)), approval(BOB), requester="ana") == "approve"


def test_nobody_stands_in_for_who_asked_where_no_list_names_them_either() -> None:
    """Her own approval wouldn't count; her delegate's must not."""
    listed = [{"person": ANA, "delegate": BOB, **YEAR}]
    one = policy(approval_rules=[{"user": ANA}], allow_self_approval=False, delegates=listed)
    assert answer(one, approval(ANA), requester="ana") == "undecided"
    assert answer(one, approval(BOB), requester="ana") == "undecided"


def test_who_asked_stands_in_for_nobody() -> None:
    """Their approval is their own."""
    assert answer(with_delegates(("ana", BOB), allow_self_approval=False), approval(BOB), requester="bobby") == "undecided"


@pytest.mark.parametrize(
    "delegate",
    [
        {"person": "a", "delegate": "b", "from": "2026-02-02", "until": "2026-02-01"},
        {"person": "a", "delegate": "a", "from": "2026-02-01", "until": "2026-02-02"},
        {"person": "a", "delegate": "b", "from": "2026-02-30", "until": "2026-03-02"},
        {"person": "a", "delegate": "b", "from": "2026-02-01"},
    ],
)
def test_a_delegation_needs_two_people_and_two_dates(delegate: Document) -> None:
    """In order."""
    with pytest.raises(ConfigError):
        load({"required_approvals": 1, "delegates": [delegate]}, "p")


# ---- forcing ----------------------------------------------------------------------------

STRICT = {"required_approvals": 3, "windows": [{"days": ["mon"]}], "people": PEOPLE}


def forcing(**options: Any) -> Any:
    """A policy that is far from approving, and whose decision ana and the leads may force."""
    return policy(**{**STRICT, "bypass": {"users": ["ana"], "groups": ["leads"]}, "groups": {"leads": [CAROL]}, **options})


@pytest.mark.parametrize("who", [ANA, LAPTOP, CAROL])
def test_who_may_forces_a_decision(who: str) -> None:
    """Whatever else is missing, time included; the reason stands in the decision."""
    decision = asked(forcing(), approval(who, forced=True, comment="fire"))
    assert decision.result.answer.value == "approve"
    assert decision.forced
    assert "forced it to be approved: fire" in why(decision)
    assert answer(forcing(), rejection(who, forced=True)) == "reject"


def test_without_force_their_approval_is_one_of_many() -> None:
    """Being able to isn't doing so."""
    decision = asked(forcing(), approval(ANA))
    assert decision.result.answer.value == "undecided"
    assert not decision.forced


@pytest.mark.parametrize("who", [BOB, DAN, "typed:ana", f"typed:{ANA}"])
def test_nobody_else_forces_anything(who: str) -> None:
    """Nor does who only typed a name; they are told so."""
    decision = asked(forcing(), approval(who, forced=True))
    assert decision.result.answer.value == "undecided"
    assert not decision.forced
    assert entitlement.refusal([forcing()], facts(), [], approval(who, forced=True)) is not None
    assert entitlement.refusal([forcing()], facts(), [], approval(ANA, forced=True)) is None


def test_a_delegate_forces_nothing() -> None:
    """Forcing isn't delegated with approving."""
    one = forcing(delegates=[{"person": "ana", "delegate": BOB, **YEAR}])
    assert answer(one, approval(BOB, forced=True)) == "undecided"


def test_a_forced_rejection_is_stronger_than_a_forced_approval() -> None:
    """In whichever order they came."""
    early, late = utc("2026-11-21 09:00"), utc("2026-11-21 10:00")
    assert answer(forcing(), approval(ANA, late, forced=True), rejection(CAROL, early, forced=True)) == "reject"
    assert answer(forcing(), approval(ANA, early, forced=True), rejection(CAROL, late, forced=True)) == "reject"


SESSION = "aws:arn:aws:sts::123456789012:assumed-role/Admin/"


def test_a_selector_takes_the_bypass_from_nobody() -> None:
    """It scopes conditions; who may force may so wherever the rest of the document holds."""
    one = policy(selector={"env": "prod"}, conditions={"ok": True}, bypass={"users": [ANA]})
    for env in ("dev", "prod"):
        assert answer(one, approval(ANA, forced=True), rejection(BOB), given={"env": env}) == "approve"
        assert answer(one, rejection(BOB), given={"env": env}) == "reject"


def test_force_is_for_the_document_that_gives_it() -> None:
    """A pool's policy without a bypass is not overruled by a claim's with one."""
    pool = policy(required_approvals=2, name="pool")
    force = approval(ANA, forced=True)
    assert answer([forcing(), pool], force) == "undecided"
    assert answer([forcing(), pool], force, approval(BOB)) == "approve"
    assert answer([forcing(), pool], force, rejection(BOB)) == "reject"
