"""JSON without surprises: exact numbers, and neither NaN nor infinity."""

from __future__ import annotations

from decimal import Decimal


def no_constant(name: str) -> float:
    """Refuse NaN and infinities, which are not JSON, as the `parse_constant` of `json.loads`.

    Raises:
        ValueError: always.
    """
    raise ValueError(f"{name} is no number of JSON")


def exact(text: str) -> float:
    """Parse a fraction that comes out of a float unchanged, as the `parse_float` of `json.loads`.

    The number that people approve must be the number that comes out again.

    Raises:
        ValueError: a float would hold another number.
    """
    number = float(text)
    if number in (float("inf"), float("-inf")) or Decimal(text) != Decimal(repr(number)):
        raise ValueError("a number is too large, or has more digits than can be kept")
    return number
