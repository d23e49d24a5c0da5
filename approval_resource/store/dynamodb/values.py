"""Plain values as DynamoDB types them, and back."""

from __future__ import annotations

import base64
import math
import re
from collections.abc import Callable, Mapping
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
    if not isinstance(typed, dict) or len(typed) != 1:
        return math.nan
    [(kind, value)] = typed.items()
    return PLAIN.get(kind, _nothing)(value)


def _nothing(value: object) -> object:
    return math.nan


def _of(kind: type) -> Callable[[Any], object]:
    return lambda value: value if isinstance(value, kind) else math.nan


def _bytes(value: object) -> object:
    """Return the bytes of a binary value: base64 in an answer, bytes in an item that is yet to be written."""
    if isinstance(value, bytes):
        return value
    try:
        return base64.b64decode(value, validate=True) if isinstance(value, str) else math.nan
    except ValueError:
        return math.nan


PLAIN: Mapping[str, Callable[[Any], object]] = {
    "S": _of(str),
    "BOOL": _of(bool),
    "B": _bytes,
    "N": lambda text: int(text) if isinstance(text, str) and INTEGER.fullmatch(text) else math.nan,
    "NULL": lambda value: None if value is True else math.nan,
    "M": lambda inner: {name: _plain(one) for name, one in inner.items()} if isinstance(inner, dict) else math.nan,
    "L": lambda inner: [_plain(one) for one in inner] if isinstance(inner, list) else math.nan,
}
"""Functions that read the values of one type, by the type's name."""


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
