"""One condition against facts, with MongoDB's meaning where that fails closed. Also run by path, in the child."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import mgqpy

NEGATIONS = ("$ne", "$nin", "$not")
ABSENT = object()
FIELD = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)\}")


def matches(query: Mapping[str, Any], facts: Mapping[str, Any]) -> bool:
    """Whether the facts meet the query.

    Raises:
        ValueError: it is no query.
    """
    resolved = _resolved(query, facts)
    return False if resolved is None else bool(mgqpy.Query(_closed(resolved)).test(facts))


def expected(condition: object, facts: Mapping[str, Any]) -> str | None:
    """The regular expression that a `$dynamicPattern` asks for, given the facts; None where it asks for what isn't there."""
    if not isinstance(condition, Mapping) or "$dynamicPattern" not in condition:
        return None
    return _pattern(condition["$dynamicPattern"], facts)


def at(facts: object, path: str) -> object:
    """The fact at a dotted path, or ABSENT."""
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
    """The query with each `$dynamicPattern` as the `$regex` it comes to; None where one asks for a fact that isn't there."""
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


def _closed(query: Mapping[str, Any]) -> dict[str, Any]:
    """The query in which a negation holds only of paths that are there: MongoDB's hold of what is missing."""
    parts: list[dict[str, Any]] = []
    for key, value in query.items():
        if key in ("$and", "$or", "$nor"):
            inner = [_closed(part) for part in value]
            there = [{path: {"$exists": True}} for part in value for path in _paths(part)] if key == "$nor" else []
            parts += [*there, {key: inner}]
        elif isinstance(value, Mapping) and any(name.startswith("$") for name in value):
            if any(name in NEGATIONS for name in value):
                parts.append({key: {"$exists": True}})
            parts.append({key: _closed_operators(value)})
        else:
            parts.append({key: value})
    return parts[0] if len(parts) == 1 else {"$and": parts}


def _closed_operators(operators: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in operators.items():
        if name == "$elemMatch" and not all(key.startswith("$") and key not in ("$and", "$or", "$nor") for key in value):
            found[name] = _closed(value)
        elif name in ("$elemMatch", "$not"):
            found[name] = _closed_operators(value)
        else:
            found[name] = value
    return found


def _paths(query: Mapping[str, Any]) -> Iterator[str]:
    """Every path that the query asks about."""
    for key, value in query.items():
        if key in ("$and", "$or", "$nor"):
            for part in value:
                yield from _paths(part)
        else:
            yield key
