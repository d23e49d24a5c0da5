"""Selectors: they scope conditions and nothing else, and silence never gets a claim past one."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from approval_resource.model.claim import Review
from approval_resource.policy.kinds import conditions
from tests.policy.asking import ANA, BOB, CAROL, Document, answer, approval, policy, rejection, utc

CHECKED = settings(deadline=None, database=None, derandomize=True, max_examples=150, suppress_health_check=list(HealthCheck))
SATURDAY, MONDAY = utc("2026-11-21 12:00"), utc("2026-11-23 12:00")
REST: dict[str, Document] = {
    "windows": {"windows": [{"days": "mon-fri", "from": "09:00", "to": "17:00"}]},
    "a waiting time": {"not_before": "1d"},
    "a freeze": {"freezes": [{"from": "2026-11-21", "until": "2026-11-22"}]},
    "self-approval": {"allow_self_approval": False},
    "inputs": {"inputs": [{"name": "ticket", "required": True}]},
    "rules": {"approval_rules": [{"user": ANA}, {"user": BOB}]},
    "a number": {"required_approvals": 2},
    "rejections": {"rejections_required": 2},
    "a bypass": {"bypass": {"users": [CAROL]}},
    "a time to use it": {"valid_for": "1h"},
}
SAID: dict[str, list[Review]] = {
    "nobody": [],
    "one": [approval(ANA)],
    "another": [approval(BOB)],
    "two": [approval(ANA), approval(BOB)],
    "with an input": [approval(ANA, inputs={"ticket": "A-1"})],
    "one against": [rejection(BOB), approval(ANA)],
    "two against": [rejection(BOB), rejection(ANA)],
    "by force": [approval(CAROL, forced=True, comment="fire"), rejection(BOB)],
}
BOTH = st.lists(st.sampled_from(sorted(REST)), min_size=1, unique=True)


def rest_of(names: list[str]) -> Document:
    """A document with those options."""
    return {name: value for part in names for name, value in REST[part].items()}


@pytest.mark.parametrize("settled", [{}, {"on_policy_fail": "deny"}, {"on_policy_success": "approve"}])
@pytest.mark.parametrize("part", REST)
def test_what_stands_beside_conditions_holds_whether_the_selector_selects_or_not(part: str, settled: Document) -> None:
    """Where it doesn't, the document is the same as one without conditions."""
    scoped = policy(selector={"env": "prod"}, conditions={"ok": True}, **settled, **REST[part])
    plain = policy(**REST[part])
    for said in SAID.values():
        for now in (SATURDAY, MONDAY):
            expected = answer(plain, *said, now=now, requester="ana")
            assert answer(scoped, *said, now=now, requester="ana", given={"env": "dev", "ok": False}) == expected


@CHECKED
@given(BOTH, st.sampled_from(sorted(SAID)), st.sampled_from((SATURDAY, MONDAY)), st.sampled_from(("", "ana", "zoe")))
def test_a_selector_never_loosens_what_stands_beside_it(parts: list[str], said: str, now: Any, requester: str) -> None:
    """Several options together, the same."""
    scoped = policy(selector={"env": "prod"}, conditions={"ok": True}, on_policy_success="approve", **rest_of(parts))
    expected = answer(policy(**rest_of(parts)), *SAID[said], now=now, requester=requester)
    assert answer(scoped, *SAID[said], now=now, requester=requester, given={"env": "dev"}) == expected


def test_a_document_of_conditions_alone_is_dropped() -> None:
    """With all that tells only of them, or of people."""
    alone = policy(
        selector={"env": "prod"}, conditions={"ok": True}, on_policy_fail="deny", people={"ana": [ANA]}, groups={"g": ["ana"]}
    )
    other = policy(conditions={"ok": False}, on_policy_success="approve")
    assert answer([alone, other], given={"env": "dev", "ok": False}) == "approve"
    assert answer([alone, other], given={"env": "prod", "ok": False}) == "reject"
    assert answer(alone, approval(ANA), given={"env": "dev"}) == "approve"


def selected(selector: Document, facts: Document) -> bool:
    """Whether the conditions apply to those facts."""
    return conditions.judge_facts(policy(selector=selector, conditions={"ok": True}), facts).applies


@pytest.mark.parametrize(
    ("selector", "facts", "expected"),
    [
        ({"env": "prod"}, {}, True),
        ({"env": "prod"}, {"env": None}, True),
        ({"env": "prod"}, {"env": "dev"}, False),
        ({"env": {"$ne": "dev"}}, {}, True),
        ({"env": {"$in": ["prod", "qa"]}}, {}, True),
        ({"env": {"$regex": "^prod"}}, {}, True),
        ({"env": {"$not": {"$regex": "^dev"}}}, {}, True),
        ({"tags.env": "prod"}, {"tags": {}}, True),
        ({"tags.env": "prod"}, {"tags": "prod"}, True),
        ({"changes.type": "role"}, {"changes": []}, True),
        ({"changes.type": "role"}, {"changes": [{"type": "user"}, {}]}, True),
        ({"changes.type": "role"}, {"changes": [{"type": "user"}]}, False),
        ({"size": {"$gt": 4}}, {}, True),
        ({"env": "prod", "team": "x"}, {"team": "y"}, False),
        ({"env": "prod", "team": "x"}, {"team": "x"}, True),
        ({"$or": [{"env": "prod"}, {"team": "x"}]}, {"team": "y"}, True),
        ({"$or": [{"env": "prod"}, {"team": "x"}]}, {"env": "dev", "team": "y"}, False),
        ({"$nor": [{"env": "dev"}]}, {}, True),
        ({"$nor": [{"env": "dev"}, {"team": "y"}]}, {"team": "y"}, False),
        ({"$nor": [{"$nor": [{"env": "prod"}]}]}, {}, True),
        ({"env": {"$exists": True}}, {}, False),
        ({"env": {"$exists": False}}, {}, True),
        ({"env": {"$not": {"$exists": False}}}, {}, False),
    ],
    ids=str,
)
def test_a_selector_over_a_missing_fact_selects(selector: Document, facts: Document, expected: bool) -> None:
    """Whatever it asks of it, unless it asks whether it is there, or another fact speaks against it."""
    assert selected(selector, facts) is expected


VALUES = st.sampled_from(("prod", "dev", 1, 4, True, None, [], ["prod"], {"x": 1}))
FACTS = st.dictionaries(st.sampled_from("abc"), VALUES | st.dictionaries(st.sampled_from("xy"), VALUES, max_size=2), max_size=3)
PATHS = st.sampled_from(("a", "b", "c", "a.x", "b.x", "b.y"))
ATOMS = st.one_of(
    VALUES.filter(lambda value: not isinstance(value, dict)),
    st.sampled_from(("prod", "dev", 1)).map(lambda value: {"$ne": value}),
    st.lists(st.sampled_from(("prod", "dev", 1)), min_size=1).map(lambda values: {"$in": values}),
    st.integers(0, 4).map(lambda value: {"$gt": value}),
    st.sampled_from(("prod", "dev")).map(lambda value: {"$not": {"$eq": value}}),
)
QUERIES: st.SearchStrategy[Document] = st.recursive(
    st.dictionaries(PATHS, ATOMS, min_size=1, max_size=2),
    lambda inner: st.dictionaries(
        st.sampled_from(("$and", "$or", "$nor")), st.lists(inner, min_size=1, max_size=2), min_size=1, max_size=1
    ),
    max_leaves=4,
)


def without(facts: Document) -> Iterator[Document]:
    """The facts with each of them left out, and with each set to null."""
    for name, value in facts.items():
        for inner in [None, *(value if isinstance(value, dict) else ())]:
            for null in (False, True):
                rest = copy.deepcopy(facts)
                part, key = (rest, name) if inner is None else (rest[name], inner)
                if null:
                    part[key] = None
                else:
                    del part[key]
                yield rest


@CHECKED
@given(QUERIES, FACTS)
def test_saying_less_never_gets_a_claim_past_a_selector(selector: Document, facts: Document) -> None:
    """What is selected stays selected with any fact left out, or null."""
    if selected(selector, facts):
        for less in without(facts):
            assert selected(selector, less), less
    assert selected(selector, {}) or "$exists" in str(selector)
