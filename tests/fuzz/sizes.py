"""What an item counts for in DynamoDB, whose limits are in bytes of names and values together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

ITEM = 400 * 1024
"""Bytes an item may have."""


def item_size(item: Mapping[str, Any]) -> int:
    """The size of an item by the rules that AWS gives: UTF-8 lengths, and a little for each nested thing."""
    return sum(len(name.encode()) + _value(value) for name, value in item.items())


def _value(typed: Mapping[str, Any]) -> int:
    ((kind, value),) = typed.items()
    match kind:
        case "S":
            return len(value.encode())
        case "N":
            return len(value) // 2 + 2
        case "B":
            return len(value)
        case "M":
            return 3 + sum(1 + len(name.encode()) + _value(inner) for name, inner in value.items())
        case "L":
            return 3 + sum(1 + _value(inner) for inner in value)
        case _:
            return 1
