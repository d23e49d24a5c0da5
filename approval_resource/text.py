"""Text for people: no cursor control, no mail addresses where strangers read, durations in plain units."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Sequence
from datetime import timedelta

MAX_LINE = 900
"""Upper bound of the characters in one line. Its subject may be longer than anybody reads."""
MAX_LINES = 20
"""Upper bound of the lines shown of a list."""
MAIL = re.compile(r"([^\s@<>()\"',;:]+)@[^\s@<>()\"',;:]+")
INVISIBLE = re.compile("[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]")
"""Characters of other categories than format and control that nothing is drawn for."""
USER = re.compile(r"^([a-z]+://)?.*@", re.IGNORECASE | re.DOTALL)


def clean(text: str) -> str:
    """Return `text` on one line, without control, format and surrogate characters.

    Others wrote the text, and a terminal will show it.
    """
    return "".join(" " if unicodedata.category(c) in ("Cc", "Zl", "Zp") else c for c in text if _shown(c))


def seen(text: str) -> str:
    """Return `text` as people see it: no invisible characters, one form of each letter, single spaces."""
    return " ".join(INVISIBLE.sub("", unicodedata.normalize("NFC", clean(text))).split())


def _shown(c: str) -> bool:
    return unicodedata.category(c) not in ("Cf", "Cs", "Co", "Cn")


def shortened(line: str) -> str:
    """Return `line`, cut where nobody would read on."""
    return line if len(line) <= MAX_LINE else f"{line[:MAX_LINE]}…"


def first_lines(lines: Sequence[str]) -> list[str]:
    """Return the first lines, and then how many more there are."""
    more = len(lines) - MAX_LINES
    return [*lines[:MAX_LINES], f"… and {more} more"] if more > 0 else list(lines)


def without_user(address: str) -> str:
    """Return an address without the user and password before its host."""
    return USER.sub(r"\1", address)


def without_mail(text: str) -> str:
    """Return `text` without the hosts of mail addresses, because build pages may be public."""
    return MAIL.sub(r"\1@…", text)


def counted(number: int, thing: str, things: str = "") -> str:
    """Return `1 claim` or `2 claims`. `things` is the plural, if it isn't `thing` with an s."""
    return f"{number} {thing if number == 1 else things or f'{thing}s'}"


def duration(span: timedelta) -> str:
    """Return a duration in its two largest units, such as `1 h 30 min`; never less than a second."""
    seconds = max(1, round(span.total_seconds()))
    parts = []
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60), ("s", 1)):
        count, seconds = divmod(seconds, size)
        if count:
            parts.append(f"{count} {unit}")
    return " ".join(parts[:2])


def quoted(value: object) -> str:
    """Return a value in quotes as a person wrote it, cut to 60 characters, for a message."""
    try:
        text = clean(value if isinstance(value, str) else json.dumps(value, default=str))
    except RecursionError:
        text = "something nested too deeply"
    return f'"{text[:60]}"' if len(text) <= 60 else f'"{text[:60]}…"'
