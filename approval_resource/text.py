"""Words for people: nothing that moves a cursor, no mail addresses where strangers read, durations in plain units."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Sequence
from datetime import timedelta

MAX_LINE = 900
"""Characters of one line that is told; what it is told of may be longer than anybody reads."""
MAX_LINES = 20
MAIL = re.compile(r"([^\s@<>()\"',;:]+)@[^\s@<>()\"',;:]+")
USER = re.compile(r"^([a-z]+://)?.*@", re.IGNORECASE | re.DOTALL)


def clean(text: str) -> str:
    """`text` on one line, without control, format and surrogate characters: others wrote it, a terminal will show it."""
    return "".join(" " if unicodedata.category(c) in ("Cc", "Zl", "Zp") else c for c in text if _shown(c))


def _shown(c: str) -> bool:
    return unicodedata.category(c) not in ("Cf", "Cs", "Co", "Cn")


def shortened(line: str) -> str:
    """`line`, cut where nobody would read on."""
    return line if len(line) <= MAX_LINE else f"{line[:MAX_LINE]}…"


def first_lines(lines: Sequence[str]) -> list[str]:
    """The first of the lines, with how many more there are."""
    more = len(lines) - MAX_LINES
    return [*lines[:MAX_LINES], f"… and {more} more"] if more > 0 else list(lines)


def without_user(address: str) -> str:
    """An address with all that stands before its host left out, which may be a password."""
    return USER.sub(r"\1", address)


def without_mail(text: str) -> str:
    """`text` with the hosts of mail addresses left out: build pages may be public."""
    return MAIL.sub(r"\1@…", text)


def counted(number: int, thing: str, things: str = "") -> str:
    """`1 claim`, `2 claims`; `things` is the plural where that isn't `thing` with an s."""
    return f"{number} {thing if number == 1 else things or f'{thing}s'}"


def duration(span: timedelta) -> str:
    """A span in its two largest units, such as `1 h 30 min`; never less than a second."""
    seconds = max(1, round(span.total_seconds()))
    parts = []
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60), ("s", 1)):
        count, seconds = divmod(seconds, size)
        if count:
            parts.append(f"{count} {unit}")
    return " ".join(parts[:2])


def quoted(value: object) -> str:
    """A short value as a person wrote it, for a message."""
    text = clean(value if isinstance(value, str) else json.dumps(value, default=str))
    return f'"{text[:60]}"' if len(text) <= 60 else f'"{text[:60]}…"'
