"""The one way a document is digested and an instant is written, so that others can compute both again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any

EMPTY: Mapping[Any, Any] = MappingProxyType({})
"""The mapping with nothing in it, which frozen dataclasses share as a default."""


def digest(document: object) -> str:
    """The SHA-256, in hex, of a JSON document in its one canonical form.

    The form: keys sorted, no white space, everything outside ASCII escaped, so that anyone can
    compute it again with any JSON library.
    """
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return hashlib.sha256(text.encode("ascii")).hexdigest()


def instant(at: datetime) -> str:
    """The one way an instant is written: UTC, ISO 8601, microseconds, always 27 characters, so that text sorts as time."""
    # Not strftime: its %Y doesn't fill up years to four digits on every system.
    return at.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


def parse_instant(text: str) -> datetime:
    """The instant that `instant` wrote.

    Raises:
        ValueError: the text is not of that form.
    """
    at = datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=UTC)
    if instant(at) != text:
        raise ValueError(f"not an instant: {text!r}")
    return at
