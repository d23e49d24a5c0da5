"""Conditions on facts, as in nullplatform's approval policies, with MongoDB's operators."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from approval_resource.policy.decision import Answer, Explanation
from approval_resource.policy.kinds.kind import Part, View
from approval_resource.policy.sandbox import matching
from approval_resource.policy.sandbox import parent as sandbox
from approval_resource.policy.sandbox.matching import LOGICAL
from approval_resource.text import clean

if TYPE_CHECKING:
    from approval_resource.policy.language.document import Policy

OPERATORS = frozenset(
    [
        "$eq",
        "$ne",
        "$gt",
        "$gte",
        "$lt",
        "$lte",
        "$in",
        "$nin",
        "$exists",
        "$regex",
        "$not",
        "$elemMatch",
        "$all",
        "$size",
        "$dynamicPattern",
    ]
) | {*LOGICAL}
PATTERNS = ('"$regex"', '"$dynamicPattern"')
MAX_DEPTH = 20
MAX_LIST = 500
SMALL = 1_000_000
"""Upper bound of the work that is done without a child process: characters of the queries times characters of
the facts, both as JSON."""

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
                if not isinstance(value, list) or not 0 < len(value) <= MAX_LIST:
                    yield (*path, key), f"needs a list of 1 to {MAX_LIST}"
                else:
                    for number, item in enumerate(value):
                        yield from problems(item, (*path, key, number))
            elif key.startswith("$"):
                yield (*path, key), f"unknown operator {clean(key)}; before a path use {', '.join(LOGICAL)}"
            elif not all(key.split(".")):
                yield (*path, key), "is no path: dots stand between names"
            else:
                yield from _condition(value, (*path, key))


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


@dataclass(frozen=True, slots=True)
class Matched:
    """Conditions of one policy, matched with facts."""

    id: int | str | None
    facts: Mapping[str, Any]
    answer: Answer
    selected: bool = True
    met: Sequence[tuple[Mapping[str, Any], bool]] = ()
    """Each condition, and whether the facts meet it; empty if they can't be evaluated."""


def judge(view: View) -> Part:
    """Approve or reject by facts alone, or leave the decision to people."""
    return judge_facts(view.policy, view.facts.static_document(view.roster), view.facts.defaults)


def judge_facts(policy: Policy, facts: Mapping[str, Any], defaults: Sequence[str] = ()) -> Part:
    """Return the part of the policy's conditions on these facts.

    `defaults`: the paths at which a default stands for a fact that nobody gave. A default never approves.
    """
    answer, selected, met = _judged(policy, facts, defaults)
    return Part(
        answers=[answer],
        applies=selected,
        settles=answer.answer is not Answer.ABSTAIN,
        found=Matched(policy.id, facts, answer.answer, selected, met),
    )


Met = list[tuple[dict[str, Any], bool]]


def _judged(policy: Policy, facts: Mapping[str, Any], defaults: Sequence[str]) -> tuple[Explanation, bool, Met]:
    """Return the answer, whether the selector selects, and each condition with whether it is met."""
    wrong = [*problems(policy.conditions), *(problems(policy.selector) if policy.selector is not None else ())]
    if wrong:
        return Explanation(Answer.ERROR, f"the conditions are broken: {wrong[0][1]}"), True, []
    conditions = policy.conditions or {}
    criteria = [{key: value} for key, value in conditions.items()]
    # A selector fails closed by applying: a condition on a missing fact counts in favour of a match. So no
    # pipeline escapes a policy by leaving a fact out.
    queries = [(policy.selector, False)] if policy.selector is not None else []
    queries += [(one, True) for one in criteria]
    try:
        results = _matched(queries, facts)
    except BROKEN as broken:
        why = str(broken) if isinstance(broken, sandbox.SandboxError) else type(broken).__name__
        return Explanation(Answer.ERROR, f"the conditions can't be evaluated: {clean(why)}"), True, []
    if policy.selector is not None and not results.pop(0):
        return Explanation(Answer.ABSTAIN, "its selector doesn't match, so its conditions don't apply"), False, []
    met = list(zip(criteria, results, strict=True))
    approves = policy.on_policy_success == "approve" and all(results)
    return _answer(policy, met, _assumed(criteria, facts, defaults) if approves else ()), True, met


def _answer(policy: Policy, met: Met, assumed: Sequence[str]) -> Explanation:
    """Return the answer of conditions that apply.

    `assumed`: the paths at which a condition is met though nobody gave the fact.
    """
    told = tuple(
        Explanation(Answer.ABSTAIN, f"{'met' if is_met else 'not met'}: {clean(json.dumps(one, ensure_ascii=False))[:300]}")
        for one, is_met in met
    )
    match all(is_met for _, is_met in met), policy.on_policy_success, policy.on_policy_fail:
        case True, "approve", _ if assumed:
            return Explanation(Answer.ERROR, f"the conditions approve by facts that nobody gave; give {', '.join(assumed)}")
        case True, "approve", _:
            return Explanation(Answer.APPROVE, "all conditions are met, which approves")
        case True, _, _:
            return Explanation(Answer.ABSTAIN, "all conditions are met, which leaves the say to people", told)
        case False, _, "deny":
            missed = [
                Explanation(Answer.REJECT, one.sentence) for one, (_, is_met) in zip(told, met, strict=True) if not is_met
            ]
            return Explanation(Answer.REJECT, "not all conditions are met, which denies", tuple(missed))
        case _:
            return Explanation(Answer.ABSTAIN, "not all conditions are met, which leaves the say to people", told)


def _matched(queries: list[tuple[dict[str, Any], bool]], facts: Mapping[str, Any]) -> list[bool]:
    asked = json.dumps(queries)
    if any(pattern in asked for pattern in PATTERNS) or len(asked) * len(json.dumps(facts)) > SMALL:
        answer = sandbox.run({"task": "conditions", "queries": queries, "facts": facts})
        return [result is True for result in answer["results"]]
    return [matching.matches(query, facts, closed=closed) for query, closed in queries]


def _assumed(criteria: list[dict[str, Any]], facts: Mapping[str, Any], defaults: Sequence[str]) -> list[str]:
    """Return the paths at which a condition is met though nobody gave the fact.

    A default stands there, or the fact is missing and is compared with null, which equals a missing fact.
    """
    nulls = dict.fromkeys(path for path in _nulls(criteria) if matching.at(facts, path) is matching.ABSENT)
    return [*(path for path in defaults if any(_reads(one, path) for one in criteria)), *nulls]


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


def _reads(query: object, path: str) -> bool:
    """Whether the query reads that path, or one below or above it."""
    if isinstance(query, list):
        return any(_reads(one, path) for one in query)
    if not isinstance(query, Mapping):
        return False
    return any(
        _reads(value, path) if key in LOGICAL else f"{key}.".startswith(f"{path}.") or path.startswith(f"{key}.")
        for key, value in query.items()
    )
