"""Words for people: nothing that moves a cursor, no mail addresses where strangers read, durations in plain units."""

from __future__ import annotations

import re
import unicodedata
from datetime import timedelta

MAIL = re.compile(r"([^\s@<>()\"',;:]+)@[^\s@<>()\"',;:]+")


def clean(text: str) -> str:
    """`text` on one line, without control, format and surrogate characters: others wrote it, a terminal will show it."""
    return "".join(" " if unicodedata.category(c) in ("Cc", "Zl", "Zp") else c for c in text if _shown(c))


def _shown(c: str) -> bool:
    return unicodedata.category(c) not in ("Cf", "Cs", "Co", "Cn")


def without_mail(text: str) -> str:
    """`text` with the hosts of mail addresses left out: build pages may be public."""
    return MAIL.sub(r"\1@…", text)


def counted(number: int, thing: str) -> str:
    """`1 claim`, `2 claims`."""
    return f"{number} {thing}{'' if number == 1 else 's'}"


def duration(span: timedelta) -> str:
    """A span in its two largest units, such as `1 h 30 min`; never less than a second."""
    seconds = max(1, round(span.total_seconds()))
    parts = []
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60), ("s", 1)):
        count, seconds = divmod(seconds, size)
        if count:
            parts.append(f"{count} {unit}")
    return " ".join(parts[:2])
