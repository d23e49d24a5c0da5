"""Match a query against facts, with MongoDB's meaning where that fails closed. Also runs in the child."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

LOGICAL = ("$and", "$or", "$nor")
NEGATIONS = ("$ne", "$nin", "$not")
ABSENT = object()
NEVER: dict[str, Any] = {"x": {"$in": []}}
ALWAYS: dict[str, Any] = {"$nor": [NEVER]}
FIELD = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)\}")


def matches(query: Mapping[str, Any], facts: Mapping[str, Any], *, closed: bool = True) -> bool:
    """Whether the facts meet the query.

    `closed`: a negation doesn't hold where its path is missing, at any depth. Not closed: every condition on
    a missing or null path counts in favour of a match, except `$exists`. That is for selectors, which err by
    selecting.

    Raises:
        ValueError: the query is malformed.
    """
    import mgqpy  # slow to load, and most importers of this module match nothing

    resolved = _resolved(query, facts)
    if resolved is None:
        return not closed
    return bool(mgqpy.Query(_closed(resolved, facts) if closed else _open(resolved, facts)).test(facts))


def expected(condition: object, facts: Mapping[str, Any]) -> str | None:
    """Return the regular expression of a `$dynamicPattern`.

    The result is None without a `$dynamicPattern`, or where it needs a missing fact.
    """
    if not isinstance(condition, Mapping) or "$dynamicPattern" not in condition:
        return None
    return _pattern(condition["$dynamicPattern"], facts)


def at(facts: object, path: str) -> object:
    """Return the fact at a dotted path, or ABSENT."""
    for step in path.split("."):
        if isinstance(facts, Mapping) and step in facts:
            facts = facts[step]
        elif isinstance(facts, list) and step.isdigit() and int(step) < len(facts):
            facts = facts[int(step)]
        else:
            return ABSENT
    return facts


def _pattern(dynamic: Mapping[str, Any], facts: Mapping[str, Any]) -> str | None:
    values: dict[str, str] = {}
    for name, source in dynamic["fields"].items():
        value = at(facts, source["path"])
        if not isinstance(value, (str, int, float)) or isinstance(value, bool) or value == "":
            return None
        values[name] = re.escape(str(value))
    return FIELD.sub(lambda field: values.get(field.group(1), field.group(0)), dynamic["template"])


def _resolved(query: Any, facts: Mapping[str, Any]) -> Any:
    """Return the query with each `$dynamicPattern` as a `$regex`; None where one needs a missing fact."""
    if isinstance(query, Mapping):
        found: dict[str, Any] = {}
        for key, value in query.items():
            if key == "$dynamicPattern":
                pattern = _pattern(value, facts)
                if pattern is None:
                    return None
                found["$regex"] = pattern
            else:
                found[key] = _resolved(value, facts)
                if found[key] is None and value is not None:
                    return None
        return found
    if isinstance(query, list):
        items = [_resolved(item, facts) for item in query]
        return None if any(item is None and query[i] is not None for i, item in enumerate(items)) else items
    return query


def _closed(query: Mapping[str, Any], facts: Any, *, negated: bool = False, inside: bool = False) -> dict[str, Any]:
    """Return the query so that no negation holds because of a missing path.

    `negated`: the part stands under an odd number of negations. `inside`: the part is asked of a list's
    items. The items aren't at hand, so the query itself has to ask whether a path exists.
    """
    parts: list[dict[str, Any]] = []
    for key, value in query.items():
        if key == "$nor":
            parts.append({key: [_closed(part, facts, negated=not negated, inside=inside) for part in value]})
        elif key in LOGICAL:
            parts.append({key: [_closed(part, facts, negated=negated, inside=inside) for part in value]})
        else:
            parts.append(_atom(key, value, facts, negated=negated, inside=inside))
        if key == "$nor" and not negated:
            # A negation holds only where every path in it exists.
            parts += [_there(path, facts, inside=inside) for part in value for path in _paths(part)]
    return parts[0] if len(parts) == 1 else {"$and": parts}


def _open(query: Mapping[str, Any], facts: Any, *, negated: bool = False) -> dict[str, Any]:
    """Return the query so that a missing or null path counts in favour of a match."""
    parts: list[dict[str, Any]] = []
    for key, value in query.items():
        if key in LOGICAL:
            parts.append({key: [_open(part, facts, negated=negated != (key == "$nor")) for part in value]})
        elif (everywhere(facts, key) and at(facts, key) is not None) or _asks_existence(value):
            parts.append({key: value})
        else:
            parts.append(NEVER if negated else ALWAYS)
    return parts[0] if len(parts) == 1 else {"$and": parts}


def _asks_existence(condition: object) -> bool:
    return isinstance(condition, Mapping) and ("$exists" in condition or _asks_existence(condition.get("$not")))


def _atom(path: str, value: Any, facts: Any, *, negated: bool, inside: bool) -> dict[str, Any]:
    operators = value if isinstance(value, Mapping) and any(name.startswith("$") for name in value) else None
    condition = {path: value if operators is None else _inner(operators, negated=negated)}
    negative = operators is not None and any(name in NEGATIONS for name in operators)
    if negated:
        absent = {path: {"$exists": False}} if inside else (ALWAYS if not everywhere(facts, path) else NEVER)
        return {"$or": [absent, condition]}
    return {"$and": [_there(path, facts, inside=inside), condition]} if negative else condition


def _there(path: str, facts: Any, *, inside: bool) -> dict[str, Any]:
    if inside:
        return {path: {"$exists": True}}
    return ALWAYS if everywhere(facts, path) else NEVER


def _inner(operators: Mapping[str, Any], *, negated: bool) -> dict[str, Any]:
    """Return the operators, with each `$elemMatch` on a list's items closed too."""
    found: dict[str, Any] = {}
    for name, value in operators.items():
        if name == "$elemMatch":
            found[name] = _of_items(value, negated=negated)
        elif name == "$not":
            found[name] = _inner(value, negated=not negated)
        elif name == "$all":
            found[name] = [
                {"$elemMatch": _of_items(one["$elemMatch"], negated=negated)}
                if isinstance(one, Mapping) and "$elemMatch" in one
                else one
                for one in value
            ]
        else:
            found[name] = value
    return found


def _of_items(value: Mapping[str, Any], *, negated: bool) -> dict[str, Any]:
    if all(key.startswith("$") and key not in LOGICAL for key in value):
        return _inner(value, negated=negated)  # operators on the items themselves, which exist
    return _closed(value, None, negated=negated, inside=True)


def everywhere(facts: object, path: str) -> bool:
    """Whether the path exists, in every item where it leads through a list."""
    return _leads(facts, path.split("."))


def _leads(facts: object, steps: list[str]) -> bool:
    if not steps:
        return True
    if isinstance(facts, Mapping):
        return steps[0] in facts and _leads(facts[steps[0]], steps[1:])
    if isinstance(facts, list):
        if steps[0].isdigit():
            return int(steps[0]) < len(facts) and _leads(facts[int(steps[0])], steps[1:])
        return bool(facts) and all(_leads(item, steps) for item in facts)
    return False


def _paths(query: Mapping[str, Any]) -> Iterator[str]:
    """Yield every path that the query reads."""
    for key, value in query.items():
        if key in LOGICAL:
            for part in value:
                yield from _paths(part)
        else:
            yield key
