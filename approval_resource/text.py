"""Text for people: no cursor control, no mail addresses where strangers read, durations in plain units."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Sequence
from datetime import timedelta
from functools import lru_cache

MAX_LINE = 900
"""Upper bound of the characters in one line. Texts from outside may be much longer."""
MAX_LINES = 20
"""Upper bound of the lines shown of a list."""
MAIL = re.compile(r"(?<![^\s@<>()\"',;:])([^\s@<>()\"',;:]+)@[^\s@<>()\"',;:]+")
"""A mail address. It is looked for only where a word begins, so that a long word takes linear time."""
IGNORABLE = (
    *((0x00AD, 0x00AD), (0x034F, 0x034F), (0x061C, 0x061C), (0x115F, 0x1160), (0x17B4, 0x17B5), (0x180B, 0x180F)),
    *((0x200B, 0x200F), (0x202A, 0x202E), (0x2060, 0x206F), (0x3164, 0x3164), (0xFE00, 0xFE0F), (0xFEFF, 0xFEFF)),
    *((0xFFA0, 0xFFA0), (0xFFF0, 0xFFF8), (0x1BCA0, 0x1BCA3), (0x1D173, 0x1D17A), (0xE0000, 0xE0FFF)),
)
"""Ranges of Unicode's Default_Ignorable_Code_Point: characters for which nothing is shown."""
BLANK = "\u2800"
"""Braille's empty pattern: a symbol, and yet nothing is drawn for it."""
USER = re.compile(r"^([a-z]+://)?.*@", re.IGNORECASE | re.DOTALL)


def clean(text: str) -> str:
    """Return `text` on one line, without control, format, surrogate and other invisible characters.

    Use it for texts from outside that a terminal will show. Two names may become the same: see `visible`.
    """
    return "".join(" " if unicodedata.category(c) in ("Cc", "Zl", "Zp") else c for c in text if _shown(c))


def as_displayed(text: str) -> str:
    """Return `text` as people see it: no invisible characters, one form of each letter, single spaces."""
    return " ".join(unicodedata.normalize("NFC", clean(text).replace(BLANK, "")).split())


def _shown(c: str) -> bool:
    if ord(c) < IGNORABLE[0][0]:
        return True
    ignorable = any(first <= ord(c) <= last for first, last in IGNORABLE)
    return not ignorable and unicodedata.category(c) not in ("Cf", "Cs", "Co", "Cn")


@lru_cache(maxsize=4096)
def hides(c: str) -> bool:
    """Whether a character isn't seen, or changes how others are shown."""
    return c != clean(c) or c == BLANK


def visible(name: str) -> str:
    """Return a name on one line, with an escape for each character that `clean` would take out or change.

    So two names that differ only in invisible characters are shown differently.
    """
    return "".join(c if c == clean(c) else c.encode("unicode_escape").decode() for c in name)


def shortened(line: str) -> str:
    """Return `line`, cut after `MAX_LINE` characters."""
    return line if len(line) <= MAX_LINE else f"{line[:MAX_LINE]}…"


def first_lines(lines: Sequence[str]) -> list[str]:
    """Return the first `MAX_LINES` lines, and after them one that counts the rest."""
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
