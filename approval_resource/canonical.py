"""Canonical forms of documents and instants, so that anybody can compute a digest again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any

EMPTY: Mapping[Any, Any] = MappingProxyType({})
"""Shared empty mapping, immutable: the default of frozen dataclasses."""


def digest(document: object) -> str:
    """Return the SHA-256, in hex, of a JSON document in its one canonical form.

    The form has sorted keys and no white space, and escapes everything outside ASCII. Anybody can compute
    it again with any JSON library.

    Raises:
        TypeError: a value is not JSON.
        ValueError: a number is NaN or infinite.
    """
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return hashlib.sha256(text.encode("ascii")).hexdigest()


def instant(at: datetime) -> str:
    """Return an instant as text: UTC, ISO 8601, microseconds, always 27 characters, so text sorts as time."""
    # strftime won't do: its %Y doesn't pad years to four digits on every system.
    return at.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


def parse_instant(text: str) -> datetime:
    """Return the instant that `instant` wrote.

    Raises:
        ValueError: the text is not of that form.
    """
    # fromisoformat accepts other forms, too, which the comparison refuses. strptime takes ten times as long,
    # and loads a module.
    if not text.endswith("Z") or instant(at := datetime.fromisoformat(text)) != text:
        raise ValueError(f"not an instant: {text!r}")
    return at
