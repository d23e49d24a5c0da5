"""Approvals matched to overlapping rules: as many rules as possible are met, pins hold, and nobody's approval does harm."""

from __future__ import annotations

import itertools
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from approval_resource.model.claim import Review
from approval_resource.policy import entitlement
from approval_resource.policy.authoring.trial import document_of
from approval_resource.policy.kinds import assignment, rules
from approval_resource.policy.kinds.assignment import Seat, assign
from approval_resource.policy.language.document import Policy
from approval_resource.policy.people import Roster
from approval_resource.policy.unblock import openers
from tests.builders import NOON
from tests.policy.asking import answer, approval, asked, facts, policy, tried

CHECKED = settings(deadline=None, database=None, derandomize=True, max_examples=150, suppress_health_check=list(HealthCheck))
NAMES = ("ada", "bob", "cyd", "dan", "eve")
PEOPLE = {name: [f"aws:arn:aws:iam::111122223333:user/{name}"] for name in NAMES}
OVERLAPPING: dict[str, Any] = {
    "approval_rules": [
        {"name": "release", "group": "everyone"},
        {"name": "one", "group": "first"},
        {"name": "two", "group": "second"},
    ],
    "groups": {"everyone": ["ada", "bob", "cyd"], "first": ["bob"], "second": ["cyd"]},
    "people": PEOPLE,
}


@st.composite
def elections(draw: st.DrawFn) -> tuple[list[list[Seat]], list[int]]:
    """Approvals with the seats that each may take, and what each rule requires."""
    required = draw(st.lists(st.integers(1, 3), min_size=1, max_size=4))
    rule = st.integers(0, len(required) - 1)
    # Two approvals may count for one person: a delegate's and their principal's.
    people = draw(st.lists(st.sampled_from("abcde"), max_size=5))
    options = [[(number, person) for number in sorted(draw(st.sets(rule)))] for person in people]
    return options, required


def every(options: Sequence[Sequence[Seat]], required: Sequence[int]) -> list[tuple[Seat | None, ...]]:
    """All assignments there are."""
    found = []
    for seats in itertools.product(*([None, *one] for one in options)):
        taken = [seat for seat in seats if seat is not None]
        counts = [sum(seat[0] == rule for seat in taken) for rule in range(len(required))]
        if len(set(taken)) == len(taken) and all(count <= most for count, most in zip(counts, required, strict=True)):
            found.append(seats)
    return found


def met(seats: Sequence[Seat | None], required: Sequence[int]) -> int:
    """How many rules the assignment meets."""
    return sum(sum(seat is not None and seat[0] == rule for seat in seats) == most for rule, most in enumerate(required))


def placed(seats: Sequence[Seat | None]) -> int:
    """How many approvals have a seat."""
    return sum(seat is not None for seat in seats)


@CHECKED
@given(elections())
def test_an_assignment_is_one_and_no_other_is_better(election: tuple[list[list[Seat]], list[int]]) -> None:
    """Against every assignment there is: it is among them, none meets more rules, and none counts more approvals."""
    options, required = election
    ours = assign(options, required)
    possible = every(options, required)
    assert tuple(ours) in possible
    assert met(ours, required) == max(met(seats, required) for seats in possible)
    assert placed(ours) == max(placed(seats) for seats in possible)
    assert ours == assign(options, required)


@CHECKED
@given(elections())
def test_whether_all_rules_are_met_needs_no_search(election: tuple[list[list[Seat]], list[int]]) -> None:
    """Where the search for the best set of rules is cut short, the decision is the same."""
    options, required = election
    bound, assignment.MAX_COMBINATIONS = assignment.MAX_COMBINATIONS, 0
    try:
        hurried = assign(options, required)
    finally:
        assignment.MAX_COMBINATIONS = bound
    ours = assign(options, required)
    assert placed(hurried) == placed(ours)
    assert (met(hurried, required) == len(required)) == (met(ours, required) == len(required))


def test_many_rules_and_approvals_are_matched_soon() -> None:
    """Twenty rules, each of which names everybody who may approve."""
    options = [[(rule, f"p{person}") for rule in range(20)] for person in range(24)]
    ours = assign(options, [1 + number % 3 for number in range(20)])
    assert placed(ours) == 24


# ---- policies ----------------------------------------------------------------------


@st.composite
def overlapping(draw: st.DrawFn) -> Policy:
    """Rules over groups that overlap."""
    count = draw(st.integers(1, 4))
    groups = {f"g{number}": sorted(draw(st.sets(st.sampled_from(NAMES), min_size=1))) for number in range(count)}
    listed = [{"name": f"r{number}", "group": f"g{number}", "count": draw(st.integers(1, 2))} for number in range(count)]
    return policy(approval_rules=listed, groups=groups, people=PEOPLE, per_rule=draw(st.booleans()))


@st.composite
def approvals(draw: st.DrawFn) -> list[Review]:
    """Approvals of some people, some for a rule by name."""
    who = draw(st.lists(st.sampled_from(NAMES), unique=True))
    pins = st.lists(st.sampled_from(("r0", "r1", "r2", "r3")), max_size=2, unique=True).map(tuple)
    return [approval(PEOPLE[name][0], represented_as=draw(pins)) for name in who]


def tallied(one: Policy, said: Sequence[Review]) -> dict[str, set[str]]:
    """Whose approvals each rule takes."""
    roster = Roster(one)
    tallies, _ = rules.tally(one, roster, roster.voices(said))
    return {each.rule.label: {voice.person for voice in each.approvals.values()} for each in tallies}


@CHECKED
@given(overlapping(), approvals())
def test_a_pin_is_honoured(one: Policy, said: list[Review]) -> None:
    """An approval for a rule by name counts for no other, and for each that it names only with per_rule."""
    labels = {rule.label for rule in one.approval_rules}
    taken = tallied(one, said)
    for review in said:
        name = review.reviewer.rpartition("/")[2]
        where = {label for label, people in taken.items() if name in people}
        pins = labels.intersection(review.represented_as)
        assert where <= (pins or labels)
        assert len(where) <= (len(pins) or 1 if one.per_rule else 1)


@CHECKED
@given(overlapping(), approvals(), st.sampled_from(NAMES))
def test_one_more_approval_never_hurts(one: Policy, said: list[Review], name: str) -> None:
    """What was approved stays so, and no more is missing than before."""
    more = [*said, *([] if any(PEOPLE[name][0] == review.reviewer for review in said) else [approval(PEOPLE[name][0])])]

    def missing(reviews: list[Review]) -> int:
        count: int = document_of(asked(one, *reviews))["pending_approval_count"]
        return count

    assert missing(more) <= missing(said)
    assert answer(one, *said) != "approve" or answer(one, *more) == "approve"


@CHECKED
@given(overlapping(), approvals(), st.permutations(range(5)))
def test_the_order_of_approvals_changes_nothing(one: Policy, said: list[Review], order: list[int]) -> None:
    """Neither the decision nor which rule takes whose approval."""
    shuffled = [said[number] for number in order if number < len(said)]
    assert tallied(one, shuffled) == tallied(one, said)


@CHECKED
@given(overlapping(), approvals())
@pytest.mark.long
def test_who_is_said_to_open_a_gate_opens_it(one: Policy, said: list[Review]) -> None:
    """By plain approvals, or by those that the hint names; and where nobody is named, not even everybody together can."""
    found = openers([one], facts(), said, NOON)
    for wanted, how in zip(found.sets, found.how, strict=True):
        named = dict(part.split(": approve --as ") for part in how.split("; ") if part)
        reviews = {review.reviewer: review for review in said}
        for person in [person for count, people in wanted for person in people[:count]]:
            identity = PEOPLE[person][0]
            labels = tuple(named.get(person, "").split(" --as ")) if person in named else ()
            reviews[identity] = entitlement.merged([one], reviews.get(identity), approval(identity, represented_as=labels))
        assert answer(one, *reviews.values()) == "approve"
    if not found.sets and not said:
        assert answer(one, *(approval(PEOPLE[name][0]) for name in NAMES)) != "approve"


def test_overlapping_rules_are_met_in_whatever_order_people_approve() -> None:
    """Whoever comes first doesn't take the place of who fits no other rule."""
    for order in itertools.permutations(("ada", "bob", "cyd")):
        reviews = [{"author": name, "verdict": "approve"} for name in order]
        assert tried(OVERLAPPING, reviews).result.answer.value == "approve"
        assert tried(OVERLAPPING, reviews[:2]).result.answer.value == "undecided"


def test_an_approval_moves_to_the_rule_that_is_named_later() -> None:
    """It keeps its time and comment, and goes back as easily; the same rule again changes nothing."""
    one = policy(**OVERLAPPING)
    first = approval(PEOPLE["bob"][0], comment="fine")
    moved = entitlement.merged([one], first, approval(PEOPLE["bob"][0], represented_as=("one",), comment="again"))
    assert (moved.represented_as, moved.comment, moved.at) == (("one",), "fine", first.at)
    back = entitlement.merged([one], moved, approval(PEOPLE["bob"][0], represented_as=("release",)))
    assert back.represented_as == ("release",)
    assert entitlement.merged([one], back, approval(PEOPLE["bob"][0], represented_as=("release",))) is back
    assert entitlement.merged([one], back, approval(PEOPLE["bob"][0])) is back


def test_a_pin_moves_in_its_own_document_alone() -> None:
    """What was named for the pool's policy stays when the claim's is named, and a rule that is gone is forgotten."""
    own = policy(approval_rules=[{"name": "a", "user": "bob"}, {"name": "b", "user": "bob"}], people=PEOPLE)
    pools = policy(approval_rules=[{"name": "x", "user": "bob"}, {"name": "y", "user": "bob"}], people=PEOPLE)
    before = approval("bob", represented_as=("x", "a", "gone"))
    assert entitlement.merged([own, pools], before, approval("bob", represented_as=("b",))).represented_as == ("x", "b")


def test_who_pinned_an_approval_in_the_way_is_told_to_move_it() -> None:
    """Nobody else can meet the rule, and the hint says how."""
    one = policy(
        approval_rules=[{"name": "a", "group": "all"}, {"name": "b", "group": "all"}, {"name": "c", "user": "bob"}],
        groups={"all": ["ada", "bob", "cyd"]},
        people=PEOPLE,
    )
    said = [approval(PEOPLE["ada"][0]), approval(PEOPLE["bob"][0], represented_as=("b",)), approval(PEOPLE["cyd"][0])]
    found = openers([one], facts(), said, NOON)
    assert found.lines == ["bob (bob: approve --as c)"]


@CHECKED
@given(overlapping())
def test_lint_tells_exactly_the_rules_that_cant_be_met(one: Policy) -> None:
    """An error wherever not even everybody together can meet all rules, and none where they can."""
    everybody = [approval(PEOPLE[name][0]) for name in NAMES]
    if one.per_rule:
        everybody = [replace(review, represented_as=tuple(rule.label for rule in one.approval_rules)) for review in everybody]
    assert (list(rules.unsatisfiable(one)) == []) == (answer(one, *everybody) == "approve")


def test_rules_over_many_people_are_looked_at_soon() -> None:
    """Whether many people can meet many rules needs no search."""
    names = [f"p{number}" for number in range(900)]
    one = policy(
        approval_rules=[{"name": f"r{number}", "group": "g"} for number in range(20)],
        groups={"g": names},
        people={name: [f"aws:arn:aws:iam::111122223333:user/{name}"] for name in names},
    )
    begin = time.process_time()
    assert list(rules.unsatisfiable(one)) == []
    assert time.process_time() - begin < 1
