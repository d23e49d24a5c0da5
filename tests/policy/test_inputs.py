"""What who approves fills in: kinds, choices, patterns, what is required, disagreement, limits."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from approval_resource.errors import ConfigError
from approval_resource.policy import entitlement
from approval_resource.policy.kinds import inputs
from approval_resource.policy.language.load import load
from tests.policy.asking import ANA, BOB, CAROL, Document, answer, approval, asked, facts, policy, rejection, utc, why


def asking(*asked_for: Document, **options: Any) -> Any:
    """A policy of one approval that asks for those inputs."""
    return policy(**{"required_approvals": 1, "inputs": list(asked_for), **options})


@pytest.mark.parametrize(
    ("asked_for", "fitting", "unfit"),
    [
        ({}, ["x", "a b", "ü"], ["", " "]),
        ({"pattern": r"v\d+(\.\d+)*"}, ["v1", "v1.2.3"], ["1", "v", "v1 ", "xv1", "v1\nrm"]),
        ({"kind": "number"}, ["1", "-2.5", "1e3"], ["", "one", "1_000", "nan", "inf", "-Infinity", "0x10"]),
        ({"kind": "boolean"}, ["true", "false"], ["yes", "True", "1", ""]),
        ({"kind": "choice", "choices": ["canary", "all at once"]}, ["canary", "all at once"], ["Canary", "", "both"]),
        (
            {"kind": "choices", "choices": ["eu", "us", "ap south"]},
            ["eu", "eu,us", "us, eu", "ap south,eu,us"],
            ["", ",", "eu,", "EU", "eu,eu", "eu us", "eu,mars", "eu;us"],
        ),
    ],
    ids=["string", "pattern", "number", "boolean", "choice", "choices"],
)
def test_what_is_filled_in_must_be_of_its_kind(asked_for: Document, fitting: list[str], unfit: list[str]) -> None:
    """Each kind takes what it should and nothing else, wholly; what doesn't fit approves nothing though it were stored."""
    one = asking({"name": "it", "required": True, **asked_for})
    for value in fitting:
        assert inputs.problems([one], {"it": value}) == []
        assert answer(one, approval(ANA, inputs={"it": value})) == "approve"
    for value in unfit:
        assert inputs.problems([one], {"it": value})
        assert answer(one, approval(ANA, inputs={"it": value})) == "error"


@pytest.mark.parametrize("value", [" 1 ", "\uff11\uff12", "\u0661"])
def test_a_number_is_written_in_plain_digits(value: str) -> None:
    """What reads it next may be no Python."""
    assert inputs.problems([asking({"name": "n", "kind": "number"})], {"n": value})


def test_what_is_required_is_waited_for() -> None:
    """Who approves without it is told the option; a rejection needs none of it."""
    one = asking({"name": "ticket", "required": True}, {"name": "why"})
    decision = asked(one, approval(ANA))
    assert decision.result.answer.value == "undecided"
    assert "approve with --input ticket=" in why(decision)
    assert entitlement.problems([one], facts(), [], approval(ANA)) == [
        "needs ticket: approve with --input ticket=…, or by a put with inputs: {ticket: …}"
    ]
    assert entitlement.problems([one], facts(), [], rejection(ANA)) == []
    assert answer(one, rejection(ANA)) == "reject"
    assert answer(one, approval(ANA, inputs={"ticket": "T-1"})) == "approve"


def test_several_people_may_fill_in_a_part_each() -> None:
    """What they say is put together."""
    one = asking({"name": "a", "required": True}, {"name": "b", "required": True}, required_approvals=2)
    assert answer(one, approval(ANA, inputs={"a": "1"}), approval(BOB, inputs={"b": "2"})) == "approve"
    assert answer(one, approval(ANA, inputs={"a": "1"}), approval(BOB, inputs={"a": "1"})) == "undecided"


def test_people_who_disagree_must_come_to_terms() -> None:
    """Nobody's value is chosen for them, and who rejects has none."""
    one = asking({"name": "a"}, required_approvals=2)
    decision = asked(one, approval(ANA, inputs={"a": "1"}), approval(BOB, inputs={"a": "2"}))
    assert decision.result.answer.value == "undecided"
    assert "disagree on a" in why(decision)
    two = asking({"name": "a"}, required_approvals=2, rejections_required=2)
    given = [approval(ANA, inputs={"a": "1"}), approval(BOB, inputs={"a": "1"}), rejection(CAROL, inputs={"a": "2"})]
    assert answer(two, *given) == "approve"


def test_a_change_of_mind_changes_what_is_filled_in() -> None:
    """The same verdict with another value replaces the first."""
    one = asking({"name": "a", "required": True})
    before = approval(ANA, utc("2026-11-21 09:00"), inputs={"a": "1"})
    after = approval(ANA, utc("2026-11-21 10:00"), inputs={"a": "2"})
    assert entitlement.merged([one], before, after) == after
    assert entitlement.merged([one], before, approval(ANA)) is before


@pytest.mark.parametrize("stranger", ["the requester", "somebody no rule names"])
def test_who_doesnt_count_fills_in_nothing(stranger: str) -> None:
    """Neither a value that opens the gate nor one that disputes another's."""
    if stranger == "the requester":
        one = asking({"name": "version", "required": True}, allow_self_approval=False)
    else:
        one = policy(approval_rules=[{"user": BOB}], inputs=[{"name": "version", "required": True}])
    theirs = approval(ANA, inputs={"version": "mine"})
    assert answer(one, theirs, approval(BOB), requester="ana") == "undecided"
    assert answer(one, theirs, approval(BOB, inputs={"version": "another"}), requester="ana") == "approve"


def test_unknown_inputs_are_refused_with_those_that_there_are() -> None:
    """By name."""
    assert inputs.problems([asking({"name": "a"})], {"b": "1"}) == ["input b: unknown; the policy asks for a"]
    assert inputs.problems([policy(required_approvals=1)], {"b": "1"}) == ["input b: unknown; the policy asks for none"]


def test_several_policies_may_ask_for_the_same_and_all_must_be_content() -> None:
    """One may be stricter than the other."""
    both = [asking({"name": "a"}), asking({"name": "a", "pattern": "v.*"})]
    assert inputs.problems(both, {"a": "v1"}) == []
    assert inputs.problems(both, {"a": "1"}) == ["input a: must match v.*"]


@pytest.mark.parametrize("value", ["x" * 201, "a\nb", "a\x1b[2J", "a\u202eb"])
def test_what_nobody_should_have_to_read_is_refused(value: str) -> None:
    """Too long, or with what moves a cursor."""
    (told,) = inputs.problems([asking({"name": "a"})], {"a": value})
    assert "at most 200 characters" in told


def test_all_that_is_filled_in_has_a_limit() -> None:
    """Names included."""
    names = [f"input{number}" for number in range(6)]
    one = asking(*({"name": name} for name in names))
    assert "inputs: more than 500 characters in all" in inputs.problems([one], dict.fromkeys(names, "x" * 200))


@pytest.mark.parametrize(
    "asked_for",
    [
        [{"name": "1a"}],
        [{"name": "a b"}],
        [{"name": "a" * 51}],
        [{"name": "a", "kind": "date"}],
        [{"name": "a", "kind": "choice"}],
        [{"name": "a", "kind": "choice", "choices": [""]}],
        [{"name": "a", "kind": "choices"}],
        [{"name": "a", "kind": "choices", "choices": ["a,b"]}],
        [{"name": "a", "kind": "choices", "choices": [" a"]}],
        [{"name": "a", "kind": "number", "pattern": "1"}],
        [{"name": "a", "pattern": "x" * 501}],
        [{"name": "a"}, {"name": "a"}],
        [{"name": f"a{number}"} for number in range(11)],
        [{}],
    ],
    ids=str,
)
def test_an_input_that_makes_no_sense_is_a_configuration_error(asked_for: list[Document]) -> None:
    """Before anybody is asked for it."""
    with pytest.raises(ConfigError):
        load({"required_approvals": 1, "inputs": asked_for}, "p")


@pytest.mark.parametrize("choice", ["a,b", " a"])
def test_a_choice_among_several_is_told_all_that_it_can_t_have(choice: str) -> None:
    """Those chosen are given with commas between them, and spaces around them don't count."""
    with pytest.raises(ConfigError, match="no comma in it and no space around it"):
        load({"required_approvals": 1, "inputs": [{"name": "a", "kind": "choices", "choices": [choice]}]}, "p")


def test_rego_is_shown_what_was_filled_in() -> None:
    """Of each review."""
    text = 'package spacelift\napprove { input.reviews.current.approvals[_].inputs.size == "small" }'
    one = policy(rego=text, inputs=[{"name": "size", "kind": "choice", "choices": ["small", "large"]}])
    assert answer(one, approval(ANA, inputs={"size": "small"})) == "approve"
    assert answer(one, approval(ANA, inputs={"size": "large"})) == "undecided"


CHOICES = ("eu", "us", "ap", "sa")
PICKS = st.lists(st.sampled_from(CHOICES), unique=True, min_size=1)


@settings(deadline=None, database=None, derandomize=True, max_examples=100, suppress_health_check=list(HealthCheck))
@given(PICKS, PICKS, st.sampled_from((",", ", ", " ,")))
def test_several_choices_are_the_same_in_whatever_order(mine: list[str], theirs: list[str], comma: str) -> None:
    """Who picks the same agrees, who picks otherwise doesn't; what is written stands in the policy's order."""
    one = asking({"name": "regions", "kind": "choices", "choices": list(CHOICES), "required": True}, required_approvals=2)
    said = [approval(ANA, inputs={"regions": comma.join(mine)}), approval(BOB, inputs={"regions": ",".join(theirs)})]
    decision = asked(one, *said)
    if set(mine) == set(theirs):
        assert decision.result.answer.value == "approve"
        assert decision.filled_in == {"regions": ",".join(choice for choice in CHOICES if choice in mine)}
    else:
        assert "disagree on regions" in why(decision)
