"""Concourse's JSON, read strictly: one document, exact numbers."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

from approval_resource.errors import ConfigError


def read_request(text: bytes) -> dict[str, Any]:
    """The JSON document on stdin.

    Raises:
        ConfigError: it isn't one JSON object, or has numbers or characters that can't be kept.
    """
    try:
        request = json.loads(text, parse_constant=no_constant, parse_float=exact)
        json.dumps(request, ensure_ascii=False).encode()
    except RecursionError as deep:
        raise ConfigError(["stdin: the document is nested too deeply"]) from deep
    except UnicodeEncodeError as half:
        raise ConfigError(["stdin: the document holds half a surrogate pair, which is no character"]) from half
    except (ValueError, UnicodeDecodeError) as wrong:
        why = wrong.msg if isinstance(wrong, json.JSONDecodeError) else "it has a number or a character that can't be kept"
        raise ConfigError([f"stdin: not a JSON document ({why})"]) from wrong
    if not isinstance(request, dict):
        raise ConfigError(["stdin: must be a JSON object with source, and params or version where they apply"])
    return request


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
