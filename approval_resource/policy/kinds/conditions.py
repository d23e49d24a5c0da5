"""Conditions on facts, as in nullplatform's approval policies, with MongoDB's operators."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from approval_resource.policy.decision import Answer, Explanation
from approval_resource.policy.facts import SCHEMA
from approval_resource.policy.sandbox import parent as sandbox
from approval_resource.policy.sandbox import rego_lint
from approval_resource.text import clean

if TYPE_CHECKING:
    from approval_resource.policy.language.document import Policy

LOGICAL = ("$and", "$or", "$nor")
COMPARING = ("$eq", "$ne", "$gt", "$gte", "$lt", "$lte")
OPERATORS = frozenset(
    {*COMPARING, "$in", "$nin", "$exists", "$regex", "$not", "$elemMatch", "$all", "$size", "$dynamicPattern", *LOGICAL}
)
PATTERNS = ('"$regex"', '"$dynamicPattern"')
MAX_DEPTH = 20
MAX_LIST = 500
SMALL = 1_000_000
"""Upper bound of the work that needs no resource limit: characters of the queries times those of the facts,
in JSON."""
VERSION = re.compile(r"v?\d+(\.\d+)+([-+].*)?")

UNSEEN = ("reviews", "request")

Path = tuple[str | int, ...]
BROKEN = (sandbox.SandboxError, ValueError, TypeError, AttributeError, RecursionError)
"""Errors that mean that conditions can't be evaluated."""


def problems(query: object, path: Path = ()) -> Iterator[tuple[Path, str]]:
    """Yield each problem of a query: its path and a message."""
    if len(path) > MAX_DEPTH * 2:
        yield path, f"is nested more than {MAX_DEPTH} deep"
    elif not isinstance(query, Mapping):
        yield path, "must be a map of conditions"
    elif not query:
        yield path, "is empty, which would hold of everything"
    else:
        for key, value in query.items():
            if key in LOGICAL:
                yield from _list_of(value, (*path, key), problems)
            elif key.startswith("$"):
                yield (*path, key), f"unknown operator {clean(key)}; before a path use {', '.join(LOGICAL)}"
            elif not all(key.split(".")):
                yield (*path, key), "is no path: dots stand between names"
            else:
                yield from _condition(value, (*path, key))


def _list_of(value: object, path: Path, check: Any) -> Iterator[tuple[Path, str]]:
    if not isinstance(value, list) or not 0 < len(value) <= MAX_LIST:
        yield path, f"needs a list of 1 to {MAX_LIST}"
    else:
        for number, item in enumerate(value):
            yield from check(item, (*path, number))


def _condition(value: object, path: Path) -> Iterator[tuple[Path, str]]:
    """Yield each problem of one path's value or operators."""
    if len(path) > MAX_DEPTH * 2:
        yield path, f"is nested more than {MAX_DEPTH} deep"
    elif isinstance(value, Mapping) and any(key.startswith("$") for key in value):
        for key, operand in value.items():
            if not key.startswith("$"):
                yield (*path, key), "stands among operators; put it into a condition of its own"
            elif key not in OPERATORS or key in LOGICAL:
                yield (*path, key), f"unknown operator {clean(key)}; use {', '.join(sorted(OPERATORS - set(LOGICAL)))}"
            else:
                yield from _operand(key, operand, (*path, key))
    elif _holds_operator(value):
        yield path, "holds an operator inside a value, where it would be taken as text"


def _holds_operator(value: object) -> bool:
    if isinstance(value, Mapping):
        return any(key.startswith("$") or _holds_operator(inner) for key, inner in value.items())
    return isinstance(value, list) and any(_holds_operator(item) for item in value)


def _operand(operator: str, value: object, path: Path) -> Iterator[tuple[Path, str]]:
    match operator:
        case "$in" | "$nin" | "$all":
            if not isinstance(value, list) or not 0 < len(value) <= MAX_LIST:
                yield path, f"needs a list of 1 to {MAX_LIST} values"
            else:
                for number, one in enumerate(value):
                    if operator == "$all" and isinstance(one, Mapping) and one.keys() == {"$elemMatch"}:
                        yield from _operand("$elemMatch", one["$elemMatch"], (*path, number, "$elemMatch"))
                    elif _holds_operator(one):
                        yield (*path, number), "holds an operator inside a value, where it would be taken as text"
        case "$exists":
            if not isinstance(value, bool):
                yield path, "must be true or false"
        case "$size":
            if not isinstance(value, int) or isinstance(value, bool) or value < 0:
                yield path, "must be a whole number, 0 or more"
        case "$regex":
            yield from _pattern(value, path)
        case "$not":
            if not isinstance(value, Mapping) or not value or not all(key.startswith("$") for key in value):
                yield path, "needs operators, such as {$gt: 4}"
            else:
                yield from _condition(value, path)
        case "$elemMatch":
            if isinstance(value, Mapping) and value and all(key.startswith("$") and key not in LOGICAL for key in value):
                yield from _condition(value, path)
            else:
                yield from problems(value, path)
        case "$dynamicPattern":
            yield from _dynamic(value, path)
        case _:
            if _holds_operator(value):
                yield path, "compares with an operator, which would be taken as text"


def _pattern(value: object, path: Path) -> Iterator[tuple[Path, str]]:
    if not isinstance(value, str) or not value:
        yield path, "must be a regular expression, as text"
        return
    try:
        re.compile(value)
    except (re.error, RecursionError, OverflowError) as wrong:
        yield path, f"is no regular expression: {clean(str(wrong))}"


def _dynamic(value: object, path: Path) -> Iterator[tuple[Path, str]]:
    if not isinstance(value, Mapping) or value.keys() != {"template", "fields"}:
        yield path, "needs template and fields"
        return
    fields = value["fields"]
    if not isinstance(fields, Mapping) or not fields:
        yield (*path, "fields"), "must be a map of names, each with a path"
        return
    for name, source in fields.items():
        if not isinstance(source, Mapping) or source.keys() != {"path"} or not isinstance(source["path"], str):
            yield (*path, "fields", name), "needs a path, such as {path: tags.application}"
    yield from _pattern(value["template"], (*path, "template"))
    if isinstance(value["template"], str):
        for name in re.findall(r"\{([A-Za-z_][A-Za-z0-9_]*)\}", value["template"]):
            if name not in fields:
                yield (*path, "template"), f"names {{{clean(name)}}}, which fields doesn't have"


def doubts(query: object, path: Path = ()) -> Iterator[tuple[Path, str, bool]]:
    """Yield what is well formed but can't be meant: its path, a message, and whether it is an error."""
    if isinstance(query, list):
        for number, item in enumerate(query):
            yield from doubts(item, (*path, number))
    if not isinstance(query, Mapping):
        return
    for key, value in query.items():
        if key in LOGICAL:
            yield from doubts(value, (*path, key))
        elif not key.startswith("$"):
            steps: list[str | None] = list(key.split("."))
            if steps[0] in UNSEEN:
                yield (*path, key), f"conditions are asked without reviews and time, so {clean(key)} is never there", True
            elif (told := rego_lint.unknown(steps, SCHEMA)) is not None and told[1]:
                yield (*path, key), told[0].removeprefix("input."), True
            if isinstance(value, Mapping):
                for operator in COMPARING[2:]:
                    if isinstance(text := value.get(operator), str) and VERSION.fullmatch(text):
                        yield (*path, key), 'compares versions as text, where "1.10" is less than "1.9"; give numbers', False
            if value is None or (isinstance(value, Mapping) and any(one is None for one in value.values())):
                yield (
                    (*path, key),
                    f"null is also what is missing; add {{{clean(key)}: {{$exists: true}}}} where it has to be there",
                    False,
                )


def selected(policy: Policy, facts: Mapping[str, Any]) -> bool:
    """Whether the policy's selector matches these facts.

    A selector that can't be evaluated fails closed: the policy applies.
    """
    if policy.selector is None or any(problems(policy.selector)):
        return True
    try:
        return _matched([(policy.selector, False)], facts)[0]
    except BROKEN:
        return True


def judge(policy: Policy, facts: Mapping[str, Any], defaults: Sequence[str] = ()) -> tuple[Explanation, dict[str, Any]]:
    """Return the answer of the policy's conditions on these facts, and the result in nullplatform's shape.

    `defaults`: the paths at which a default stands for a fact that nobody gave. A default never approves.
    """
    shape: dict[str, Any] = {"id": policy.id, "name": policy.name, "selected": True, "passed": False, "evaluations": []}
    wrong = [*problems(policy.conditions), *(problems(policy.selector) if policy.selector is not None else ())]
    if wrong:
        return Explanation(Answer.ERROR, f"the conditions are broken: {wrong[0][1]}"), shape
    conditions = policy.conditions or {}
    criteria = [{key: value} for key, value in conditions.items()]
    # A selector fails closed by applying: a condition on a missing fact counts in favour of a match. No
    # pipeline gets rid of a policy by silence.
    queries = [(policy.selector, False)] if policy.selector is not None else []
    queries += [(one, True) for one in criteria]
    try:
        results = _matched(queries, facts)
    except BROKEN as broken:
        why = str(broken) if isinstance(broken, sandbox.SandboxError) else type(broken).__name__
        return Explanation(Answer.ERROR, f"the conditions can't be evaluated: {clean(why)}"), shape
    if policy.selector is not None and not results.pop(0):
        shape["selected"] = False
        return Explanation(Answer.ABSTAIN, "its selector doesn't match, so its conditions don't apply"), shape
    shape["evaluations"] = [_evaluation(one, met, facts) for one, met in zip(criteria, results, strict=True)]
    shape["passed"] = passed = all(results)
    told = tuple(
        Explanation(Answer.ABSTAIN, f"{'met' if met else 'not met'}: {clean(json.dumps(one, ensure_ascii=False))[:300]}")
        for one, met in zip(criteria, results, strict=True)
    )
    match passed, policy.on_policy_success, policy.on_policy_fail:
        case True, "approve", _ if assumed := _assumed(criteria, facts, defaults):
            why = f"the conditions approve by facts that nobody gave; give {', '.join(assumed)}"
            return Explanation(Answer.ERROR, why), shape
        case True, "approve", _:
            return Explanation(Answer.APPROVE, "all conditions are met, which approves", ()), shape
        case True, _, _:
            return Explanation(Answer.ABSTAIN, "all conditions are met, which leaves the say to people", told), shape
        case False, _, "deny":
            missed = tuple(Explanation(Answer.REJECT, one.sentence) for one in told if one.sentence.startswith("not"))
            return Explanation(Answer.REJECT, "not all conditions are met, which denies", missed), shape
        case _:
            return Explanation(Answer.ABSTAIN, "not all conditions are met, which leaves the say to people", told), shape


def _matched(queries: list[tuple[dict[str, Any], bool]], facts: Mapping[str, Any]) -> list[bool]:
    asked = json.dumps(queries)
    if any(pattern in asked for pattern in PATTERNS) or len(asked) * len(json.dumps(facts)) > SMALL:
        answer = sandbox.run({"task": "conditions", "queries": queries, "facts": facts})
        return [result is True for result in answer["results"]]
    from approval_resource.policy.sandbox import matching

    return [matching.matches(query, facts, closed=closed) for query, closed in queries]


def _assumed(criteria: list[dict[str, Any]], facts: Mapping[str, Any], defaults: Sequence[str]) -> list[str]:
    """Return the paths by which conditions are met though nobody gave the fact.

    They are defaults, and missing facts that are compared with null: null equals what is missing.
    """
    from approval_resource.policy.sandbox import matching

    nulls = dict.fromkeys(path for path in _nulls(criteria) if matching.at(facts, path) is matching.ABSENT)
    return [*(path for path in defaults if any(_asks(one, path) for one in criteria)), *nulls]


def _nulls(query: object) -> Iterator[str]:
    """Yield the paths that are compared with null."""
    if isinstance(query, list):
        for one in query:
            yield from _nulls(one)
    elif isinstance(query, Mapping):
        for key, value in query.items():
            if key in LOGICAL:
                yield from _nulls(value)
            elif value is None or (
                isinstance(value, Mapping)
                and any(one is None or (isinstance(one, list) and None in one) for one in value.values())
                and value.get("$exists") is not True
            ):
                yield key


def _asks(query: object, path: str) -> bool:
    """Whether the query reads that path, or one below or above it."""
    if isinstance(query, list):
        return any(_asks(one, path) for one in query)
    if not isinstance(query, Mapping):
        return False
    return any(
        _asks(value, path) if key in LOGICAL else f"{key}.".startswith(f"{path}.") or path.startswith(f"{key}.")
        for key, value in query.items()
    )


def _evaluation(criteria: dict[str, Any], met: bool, facts: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {"criteria": criteria, "result": "met" if met else "not_met"}
    for path, condition in criteria.items():
        if isinstance(condition, Mapping) and "$dynamicPattern" in condition:
            from approval_resource.policy.sandbox import matching

            value = matching.at(facts, path)
            found["nestedEvaluations"] = [
                {
                    "criteria": {path: None if value is matching.ABSENT else value},
                    "expected": matching.expected(condition, facts),
                    "result": found["result"],
                }
            ]
    return found
