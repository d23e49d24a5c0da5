"""JSON without surprises: exact numbers, no constants that JSON lacks."""

from __future__ import annotations

from decimal import Decimal


def no_constant(name: str) -> float:
    """For `json.loads`: NaN and infinities are no JSON.

    Raises:
        ValueError: always.
    """
    raise ValueError(f"{name} is no number of JSON")


def exact(text: str) -> float:
    """For `json.loads`: a fraction, if a float holds it as it is written: what people approve is what comes out again.

    Raises:
        ValueError: it would be kept as another number.
    """
    number = float(text)
    if number in (float("inf"), float("-inf")) or Decimal(text) != Decimal(repr(number)):
        raise ValueError("a number is too large, or has more digits than can be kept")
    return number
