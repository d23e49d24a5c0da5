"""nullplatform's approval policies: conditions with MongoDB's operators, met or not met, and what follows."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from approval_resource.errors import ConfigError
from approval_resource.policy.authoring import nullplatform
from approval_resource.policy.authoring.lint import require_no_errors
from approval_resource.policy.authoring.trial import document_of
from approval_resource.policy.decision import Approved
from approval_resource.policy.kinds import conditions
from approval_resource.policy.language.load import load
from tests.policy.asking import ANA, Document, answer, approval, asked, errors, policy, ran, rejection, tried, written

SCOPE = {
    "requested_spec": {"memory_in_gb": 4},
    "type": "web_pool",
    "dimensions": {"environment": "qa"},
    "capabilities": {
        "scheduled_stop": {"enabled": False, "timer": "3600"},
        "auto_scaling": True,
        "instances": [{"zone": "a", "n": 1}, {"zone": "b", "n": 3}],
    },
}
QUALITY = {"coverage": 81.5, "security": {"issues": 6}, "tests_status": "passed", "lint_errors": 0}
FACTS: Document = {
    "scope": SCOPE,
    "build": {"metadata": QUALITY},
    "service": {"name": "shop-db"},
    "tags": {"application": "shop", "owners": ["ann", "bob"]},
    "user": {"roles": ["developer", "principal"]},
    "label": None,
}


def evaluated(query: Document, given: Document | None = None) -> tuple[Any, Document]:
    """What a policy with these conditions says, and the same in nullplatform's shape."""
    part = conditions.judge_facts(policy(conditions=query, on_policy_success="approve"), FACTS if given is None else given)
    return part.answers[0], nullplatform.shape(part.found)


def met(query: Document, given: Document | None = None) -> bool:
    """Whether the facts meet all the conditions."""
    result, shape = evaluated(query, given)
    assert result.answer.value in ("approve", "abstain"), result
    assert shape["passed"] is (result.answer.value == "approve")
    return bool(shape["passed"])


def dynamic(template: str, **fields: str) -> Document:
    """A pattern that is put together from facts."""
    return {"$dynamicPattern": {"template": template, "fields": {name: {"path": path} for name, path in fields.items()}}}


MEMORY = "scope.requested_spec.memory_in_gb"
ENVIRONMENT = "scope.dimensions.environment"
INSTANCES = "scope.capabilities.instances"
COVERAGE = "build.metadata.coverage"
NOPE = "scope.nope"
MATCHES: list[tuple[Document, bool]] = [
    ({MEMORY: {"$lte": 4}}, True),
    ({MEMORY: {"$lt": 4}}, False),
    ({MEMORY: {"$gte": 4}}, True),
    ({MEMORY: {"$gt": 4}}, False),
    ({MEMORY: {"$gt": 3, "$lt": 5}}, True),
    ({MEMORY: {"$gt": 3, "$lt": 4}}, False),
    ({MEMORY: {"$eq": 4}}, True),
    ({MEMORY: 4.0}, True),
    ({MEMORY: "4"}, False),
    ({"scope.capabilities.scheduled_stop.timer": {"$gte": 3000}}, False),
    ({"scope.capabilities.auto_scaling": {"$lte": 4}}, False),
    ({"scope.capabilities.auto_scaling": 1}, False),
    ({"scope.capabilities.scheduled_stop.enabled": False}, True),
    ({"scope.capabilities.scheduled_stop.enabled": 0}, False),
    ({"label": None}, True),
    ({COVERAGE: {"$exists": True}}, True),
    ({NOPE: {"$exists": False}}, True),
    ({NOPE: {"$exists": True}}, False),
    ({"label": {"$exists": True}}, True),
    ({ENVIRONMENT: {"$in": ["production"]}}, False),
    ({ENVIRONMENT: {"$in": ["production", "qa"]}}, True),
    ({ENVIRONMENT: {"$nin": ["production"]}}, True),
    ({ENVIRONMENT: {"$nin": ["qa"]}}, False),
    ({ENVIRONMENT: {"$ne": "production"}}, True),
    ({ENVIRONMENT: {"$ne": "qa"}}, False),
    ({"$or": [{ENVIRONMENT: "dev"}, {ENVIRONMENT: "qa"}]}, True),
    ({"$or": [{ENVIRONMENT: "dev"}, {ENVIRONMENT: "prod"}]}, False),
    ({"$nor": [{ENVIRONMENT: "production"}, {COVERAGE: {"$lt": 50}}]}, True),
    ({"$nor": [{ENVIRONMENT: "production"}, {COVERAGE: {"$lt": 90}}]}, False),
    ({"$and": [{"scope.type": "web_pool"}, {"build.metadata.lint_errors": 0}]}, True),
    ({"$and": [{"scope.type": "web_pool"}, {"build.metadata.lint_errors": 1}]}, False),
    ({"tags.owners": {"$in": ["bob"]}}, True),
    ({"tags.owners": "ann"}, True),
    ({"tags.owners": {"$all": ["ann", "bob"]}}, True),
    ({"tags.owners": {"$all": ["ann", "eve"]}}, False),
    ({"tags.owners": {"$size": 2}}, True),
    ({"tags.owners": {"$size": 1}}, False),
    ({"tags.owners.1": "bob"}, True),
    ({"tags.owners": ["ann", "bob"]}, True),
    ({INSTANCES: {"$elemMatch": {"zone": "b", "n": {"$gte": 3}}}}, True),
    ({INSTANCES: {"$elemMatch": {"zone": "a", "n": {"$gte": 3}}}}, False),
    ({"tags.owners": {"$elemMatch": {"$eq": "ann"}}}, True),
    ({f"{INSTANCES}.zone": "b"}, True),
    ({"service.name": {"$regex": "^shop-"}}, True),
    ({"service.name": {"$regex": "^db-"}}, False),
    ({"service.name": {"$not": {"$regex": "^db-"}}}, True),
    ({MEMORY: {"$not": {"$gt": 4}}}, True),
    ({MEMORY: {"$not": {"$lte": 4}}}, False),
    ({MEMORY: {"$not": {"$not": {"$eq": 4}}}}, True),
    ({"service.name": dynamic("^{app}-", app="tags.application")}, True),
    ({"service.name": dynamic("^{app}-{kind}$", app="tags.application", kind="scope.type")}, False),
    ({"service.name": dynamic("^{x}", x="tags.none")}, False),
    ({"service.name": {"$not": dynamic("^{x}", x="tags.none")}}, False),
    ({"$nor": [{"service.name": dynamic("^{x}", x="tags.none")}]}, False),
    ({"service.none": dynamic("^{app}", app="tags.application")}, False),
]


@pytest.mark.parametrize(("query", "expected"), MATCHES, ids=[json.dumps(query)[:300] for query, _ in MATCHES])
def test_conditions_are_met_as_in_mongodb(query: Document, expected: bool) -> None:
    """Each operator, dotted paths, lists, and no comparison across types."""
    assert met(query) is expected


def test_every_operator_is_tried_here() -> None:
    """None is allowed that no test knows."""
    tried_here = json.dumps([query for query, _ in MATCHES])
    assert [operator for operator in conditions.OPERATORS if f'"{operator}"' not in tried_here] == []


NEGATIONS: list[Document] = [
    {NOPE: {"$ne": 1}},
    {NOPE: {"$nin": [1]}},
    {NOPE: {"$not": {"$eq": 1}}},
    {NOPE: {"$not": {"$not": {"$eq": 1}}}},
    {NOPE: {"$not": {"$ne": 1}}},
    {NOPE: {"$not": {"$regex": "x"}}},
    {NOPE: {"$not": {"$elemMatch": {"a": 1}}}},
    {NOPE: {"$not": {"$exists": True}}},
    {NOPE: {"$ne": None}},
    {"$nor": [{NOPE: 1}]},
    {"$nor": [{ENVIRONMENT: "production"}, {NOPE: 1}]},
    {"$nor": [{"$or": [{NOPE: 1}, {ENVIRONMENT: "production"}]}]},
    {"$nor": [{"$nor": [{NOPE: 1}]}]},
    {"$nor": [{"$and": [{NOPE: {"$not": {"$eq": 1}}}]}]},
    {"$or": [{ENVIRONMENT: "production"}, {NOPE: {"$ne": 1}}]},
    {"$or": [{"$nor": [{NOPE: 1}]}]},
    {"$and": [{ENVIRONMENT: "qa"}, {NOPE: {"$ne": 1}}]},
    {INSTANCES: {"$elemMatch": {"nope": {"$ne": 1}}}},
    {INSTANCES: {"$elemMatch": {"$nor": [{"nope": 1}]}}},
    {INSTANCES: {"$elemMatch": {"$or": [{"nope": {"$nin": [1]}}]}}},
    {f"{INSTANCES}.nope": {"$ne": 1}},
    {"tags.owners.7": {"$ne": "eve"}},
    {"service.name.first": {"$ne": "x"}},
]


@pytest.mark.parametrize("query", NEGATIONS, ids=json.dumps)
def test_a_negation_over_a_missing_path_is_not_met(query: Document) -> None:
    """MongoDB says that it is; whoever forgets a fact would then be approved."""
    assert not met(query)


DOUBLE: list[Document] = [
    {INSTANCES: {"$not": {"$elemMatch": {"nope": {"$ne": 1}}}}},
    {INSTANCES: {"$not": {"$elemMatch": {"$nor": [{"nope": 1}]}}}},
    {"$nor": [{INSTANCES: {"$elemMatch": {"nope": {"$ne": 1}}}}]},
    {INSTANCES: {"$all": [{"$elemMatch": {"nope": {"$ne": 1}}}]}},
]


@pytest.mark.parametrize("query", DOUBLE, ids=json.dumps)
def test_a_negation_within_a_negation_over_a_missing_path_is_not_met(query: Document) -> None:
    """MongoDB itself says so of the first three: each item lacks the path, hence none of them has the wanted value."""
    assert not met(query)


def test_a_negation_over_a_path_that_some_items_lack_is_not_met() -> None:
    """One scanned image doesn't speak for the one that wasn't."""
    assert not met({"images.verdict": {"$ne": "bad"}}, {"images": [{"verdict": "good"}, {}]})


def test_a_negation_that_is_true_of_all_there_is_is_met() -> None:
    """Failing closed doesn't mean never."""
    assert met({INSTANCES: {"$not": {"$elemMatch": {"zone": "c"}}}})
    assert met({INSTANCES: {"$elemMatch": {"zone": {"$ne": "a"}}}})
    assert met({"$nor": [{"$nor": [{ENVIRONMENT: "qa"}]}]})


@pytest.mark.parametrize(
    ("application", "name", "expected"),
    [
        ("shop", "shop-db", True),
        ("shop", "shopping", False),
        ("s.*p", "shop-db", False),
        ("s.*p", "s.*p-db", True),
        ("a|shop", "shop-db", False),
        ("(", "(-db", True),
        ("", "-db", False),
        (7, "7-db", True),
        (True, "True-db", False),
        (None, "None-db", False),
        (["shop"], "shop-db", False),
        ({"a": 1}, "a-db", False),
    ],
)
def test_a_value_in_a_dynamic_pattern_is_text(application: object, name: str, expected: bool) -> None:
    """A regular expression's characters in a fact stand for themselves; what is no text or number is missing."""
    query = {"service.name": dynamic("^{app}-", app="tags.application")}
    assert met(query, {"service": {"name": name}, "tags": {"application": application}}) is expected


def test_a_dynamic_pattern_shows_what_it_came_to() -> None:
    """The evaluation tells the value and the pattern that it was held against."""
    _, shape = evaluated({"service.name": dynamic("^{app}-", app="tags.application")})
    (one,) = shape["evaluations"]
    assert one["nestedEvaluations"] == [{"criteria": {"service.name": "shop-db"}, "expected": "^shop-", "result": "met"}]


BROKEN: list[Document] = [
    {},
    {"a": {"$foo": 1}},
    {"$where": "1"},
    {"$not": {"a": 1}},
    {"$expr": {"$gt": ["$a", 1]}},
    {"a": {"$type": "string"}},
    {"a": {"$regex": "x", "$options": "i"}},
    {"a": {"$mod": [2, 0]}},
    {"$or": []},
    {"$or": {}},
    {"$and": [{}]},
    {"$nor": [1]},
    {"a": {"$in": 1}},
    {"a": {"$in": []}},
    {"a": {"$exists": 1}},
    {"a": {"$size": -1}},
    {"a": {"$size": True}},
    {"a": {"$not": 1}},
    {"a": {"$not": {}}},
    {"a": {"$not": {"b": 1}}},
    {"a": {"$elemMatch": {}}},
    {"a": {"$elemMatch": {"$foo": 1}}},
    {"a": {"$gt": 1, "b": 2}},
    {"a": {"$regex": "("}},
    {"a": {"$regex": ""}},
    {"a": {"$regex": 1}},
    {"a": {"$dynamicPattern": "x"}},
    {"a": dynamic("^{y}", x="b")},
    {"a": {"$dynamicPattern": {"template": "x", "fields": {}}}},
    {"a": {"b": {"$gt": 1}}},
    {"a": [{"$gt": 1}]},
    {"a": {"$eq": {"$gt": 1}}},
    {"a..b": 1},
    {".a": 1},
    {"": 1},
]


@pytest.mark.parametrize("query", BROKEN, ids=json.dumps)
def test_broken_conditions_are_configuration_errors(query: Document) -> None:
    """Lint refuses them, as conditions and as a selector; asked all the same they approve nothing."""
    assert errors(json.dumps({"conditions": query}), "p.json")
    assert errors(json.dumps({"conditions": {"a": 1}, "selector": query}), "p.json")
    one = load({"conditions": query, "on_policy_success": "approve"}, "p")
    with pytest.raises(ConfigError):
        require_no_errors(one)
    assert answer(one[0].policy, approval(ANA)) == "error"


def test_conditions_may_not_be_nested_for_ever() -> None:
    """A depth that no policy needs is refused."""
    query: Document = {"a": 1}
    for _ in range(30):
        query = {"$and": [query]}
    assert "nested more than" in errors(json.dumps({"conditions": query}), "p.json")[0]


# ---- policies ---------------------------------------------------------------------

SMALL = {"id": 1, "name": "Dev Scopes should have less than 4GB ram"}
SMALL_CONDITIONS = {MEMORY: {"$lte": 4}, "scope.capabilities.scheduled_stop.enabled": True}
OR = [{ENVIRONMENT: "dev"}, {ENVIRONMENT: "qa"}]
FOUR: Document = {
    COVERAGE: {"$gte": 80},
    "build.metadata.security.issues": {"$lte": 4},
    "scope.capabilities.auto_scaling": True,
    "$or": OR,
}


def shown(*documents: Document, given: Document | None = None, success: str = "approve", fail: str = "deny") -> Document:
    """The decision on policies that all lead to the same action, as programs see it, nobody having reviewed."""
    listed = [{**document, "on_policy_success": success, "on_policy_fail": fail} for document in documents]
    return document_of(tried(listed, given=FACTS if given is None else given))


def small_scope(memory: int, stops: bool) -> Document:
    """A scope of that size."""
    return {"scope": {"requested_spec": {"memory_in_gb": memory}, "capabilities": {"scheduled_stop": {"enabled": stops}}}}


def test_the_result_lists_each_policy_with_its_evaluations() -> None:
    """One for each key, in order, met or not met; not all met and fail: deny denies."""
    result = shown({**SMALL, "conditions": SMALL_CONDITIONS}, given=small_scope(4, stops=False))
    assert result["action"] == "deny"
    assert result["decision"] == "reject"
    (one,) = result["policies"]
    assert {key: one[key] for key in ("id", "name", "selected", "passed", "evaluations")} == {
        **SMALL,
        "selected": True,
        "passed": False,
        "evaluations": [
            {"criteria": {MEMORY: {"$lte": 4}}, "result": "met"},
            {"criteria": {"scope.capabilities.scheduled_stop.enabled": True}, "result": "not_met"},
        ],
    }


def test_all_met_approves_where_the_policy_says_so() -> None:
    """Automatically, without anybody."""
    result = shown({**SMALL, "conditions": SMALL_CONDITIONS}, given=small_scope(2, stops=True))
    assert (result["action"], result["decision"]) == ("approve", "approve")


def test_all_met_may_leave_the_say_to_people() -> None:
    """success: manual."""
    result = shown({"id": 2, "conditions": {"scope.type": "web_pool"}}, success="manual")
    assert (result["action"], result["decision"]) == ("manual", "undecided")


def test_or_is_one_evaluation() -> None:
    """Whatever stands in it."""
    result = shown({"id": 12345, "conditions": FOUR}, fail="manual")
    (one,) = result["policies"]
    assert result["action"] == "manual"
    assert (one["id"], one["passed"]) == (12345, False)
    assert [evaluation["result"] for evaluation in one["evaluations"]] == ["met", "not_met", "met", "met"]
    assert [evaluation["criteria"] for evaluation in one["evaluations"]] == [{key: value} for key, value in FOUR.items()]


def test_a_selector_says_where_conditions_apply() -> None:
    """Where it matches they do; where it doesn't the policy is dropped, and what is left is what nobody set."""
    qa = {"id": 6, "selector": {ENVIRONMENT: "qa"}, "conditions": {"scope.type": "x"}}
    result = shown(qa)
    assert (result["action"], result["policies"][0]["selected"], result["policies"][0]["passed"]) == ("deny", True, False)
    dropped = shown({**qa, "selector": {ENVIRONMENT: "prod"}})
    assert (dropped["action"], dropped["decision"], dropped["policies"][0]["selected"]) == ("manual", "undecided", False)
    other = {"id": 7, "conditions": {"scope.type": "web_pool"}}
    both = shown({**qa, "selector": {ENVIRONMENT: "prod"}}, other)
    assert (both["action"], both["decision"]) == ("approve", "approve")


def test_a_fact_that_is_left_out_is_no_way_past_a_policy_for_all_but_one() -> None:
    """A policy for everything but dev holds also for a claim whose pipeline doesn't say where it goes."""
    one = policy(selector={"env": {"$ne": "dev"}}, conditions={"tested": True}, on_policy_fail="deny")
    assert answer(one, approval(ANA), given={"env": "prod", "tested": False}) == "reject"
    assert answer(one, approval(ANA), given={"tested": False}) != "approve"


def test_a_price_in_a_list_is_a_value() -> None:
    """Only keys are operators."""
    assert errors('{"conditions": {"price": ["$5"]}, "on_policy_success": "approve"}', "p.json") == []


def test_no_policy_is_manual() -> None:
    """Nothing approves by itself that nobody said anything about."""
    decision = asked([], given=FACTS)
    assert decision.result.answer.value == "undecided"
    assert answer([], approval(ANA), given=FACTS) == "approve"


def test_the_strictest_action_of_several_policies_is_taken() -> None:
    """A denial before people, people before an approval."""
    passing, failing = {"conditions": {"scope.type": "web_pool"}}, {"conditions": {"scope.type": "x"}}
    assert shown(passing, passing)["action"] == "approve"
    assert shown(passing, failing)["action"] == "deny"
    assert shown(passing, failing)["decision"] == "reject"
    assert shown(passing, failing, fail="manual")["action"] == "manual"
    assert shown(passing, failing, fail="manual")["decision"] == "undecided"


# ---- the lifecycle, as far as it is a policy's --------------------------------------


def gate(success: str, fail: str) -> Document:
    """A policy with that action."""
    return {"conditions": {"ok": True}, "on_policy_success": success, "on_policy_fail": fail}


@pytest.mark.parametrize(
    ("document", "passed", "untouched", "approved", "rejected"),
    [
        (gate("approve", "manual"), True, "approve", "approve", "reject"),
        (gate("approve", "deny"), False, "reject", "reject", "reject"),
        (gate("approve", "manual"), False, "undecided", "approve", "reject"),
        (gate("manual", "deny"), True, "undecided", "approve", "reject"),
    ],
    ids=["auto_approved", "auto_denied", "pending after a failure", "pending after a success"],
)
def test_the_statuses_follow_from_conditions_and_replies(
    document: Document, passed: bool, untouched: str, approved: str, rejected: str
) -> None:
    """Auto-approved, auto-denied or pending at first; then as somebody replies."""
    one = policy(**document)
    given = {"ok": passed}
    assert answer(one, given=given) == untouched
    assert answer(one, approval(ANA), given=given) == approved
    assert answer(one, rejection(ANA), given=given) == rejected


def test_people_may_be_asked_beside_conditions() -> None:
    """Conditions that are met don't replace a quorum that the same policy asks for, nor the other way round."""
    one = policy(**gate("approve", "deny"), required_approvals=1)
    assert answer(one, given={"ok": True}) == "undecided"
    assert answer(one, approval(ANA), given={"ok": True}) == "approve"
    assert answer(one, approval(ANA), given={"ok": False}) == "reject"
    assert answer(one, approval(ANA), given={}) == "reject"


def test_the_time_to_execute_is_told_with_the_approval() -> None:
    """allowed_time_to_execute is valid_for here; of several policies the shortest counts."""
    day, hour = policy(required_approvals=1, valid_for="24h"), policy(required_approvals=1, valid_for="1h")
    decision = asked([day, hour], approval(ANA))
    assert isinstance(decision, Approved)
    assert decision.valid_for == timedelta(hours=1)


def test_a_dry_run_creates_nothing(tmp_path: Path) -> None:
    """`policy eval` needs no table, and shows the action."""
    file = written(tmp_path, "p.yaml", "conditions: {scope.type: web_pool}\non_policy_success: approve\n")
    result = ran("eval", file, "--facts", written(tmp_path, "facts.json", FACTS), "--format", "json")
    assert json.loads(result.stdout)["action"] == "approve"
