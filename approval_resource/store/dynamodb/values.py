"""Plain values as DynamoDB types them, and back."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

Item = dict[str, Any]
INTEGER = re.compile("-?[0-9]{1,38}")
"""Integer of at most 38 digits, the precision of a DynamoDB number."""


def document(item: Mapping[str, Any]) -> dict[str, Any]:
    """Return the document that an item holds, without keys, index attributes and TTL. Numbers are int."""
    return {
        attribute: _plain(value)
        for attribute, value in item.items()
        if attribute not in ("pk", "sk", "open_pool", "lock_event", "ttl")
    }


def _plain(typed: object) -> object:
    """Return the plain value.

    A value without a type, or of a type that is never stored, becomes NaN, which equals nothing.
    """
    match typed:
        case {"NULL": True}:
            return None
        case {"N": str(text)} if INTEGER.fullmatch(text):
            return int(text)
        case {"M": dict(inner)}:
            return {name: _plain(value) for name, value in inner.items()}
        case {"L": list(inner)}:
            return [_plain(value) for value in inner]
        case {"S": str(value)} | {"B": bytes(value)} | {"BOOL": bool(value)}:
            return value
        case _:
            return math.nan


def values(document: Mapping[str, object]) -> Item:
    """Return the document's values as DynamoDB types them."""
    return {name: _typed(value) for name, value in document.items()}


def _typed(value: object) -> Item:
    match value:
        case None:
            return {"NULL": True}
        case bool():
            return {"BOOL": value}
        case int():
            return {"N": str(value)}
        case str():
            return {"S": value}
        case bytes():
            return {"B": value}
        case list() | tuple():
            return {"L": [_typed(inner) for inner in value]}
        case Mapping():
            return {"M": {name: _typed(inner) for name, inner in value.items()}}
        case _:
            raise TypeError(f"nothing that is stored is a {type(value).__name__}")
