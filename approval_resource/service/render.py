"""Pages: Jinja's templates, and text of strangers made visible as text."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape
from markupsafe import Markup, escape
from starlette.responses import HTMLResponse

from approval_resource.canonical import instant
from approval_resource.text import duration, hides

HERE = Path(__file__).parent
MAX_INLINE = 262_144
"""Upper bound of an attachment that is shown in a page, in bytes."""
MAX_DIFF_LINES = 1_500
"""Upper bound of the lines of a text that is compared. The worst texts take a tenth of a second."""
UTC_FORM = "%Y-%m-%d %H:%M:%S UTC"
MARKS = {"+": "add", "-": "del", "~": "chg", "@": "hunk"}


def visible(text: str) -> Markup:
    """Return text with each invisible or bidirectional control character shown as its code point."""
    if text.isascii() and text.isprintable():
        return escape(text)
    return Markup("").join(
        Markup('<span class="ctl">{}</span>').format(f"\\u{ord(c):04x}") if c not in "\n\t" and hides(c) else escape(c)
        for c in text
    )


def spelled(text: str) -> str:
    """Return text as `visible` shows it, for where no markup can be: titles, labels and choices."""
    return "".join(f"\\u{ord(c):04x}" if hides(c) else c for c in text)


def coloured(text: str) -> Markup:
    """Return the lines of a plan or diff, coloured by sign. The sign stays for people who see no colour."""
    return Markup("\n").join(
        Markup('<span class="{}">{}</span>').format(MARKS[sign], visible(line))
        if (sign := line.lstrip()[:1]) in MARKS
        else visible(line)
        for line in text.split("\n")
    )


def as_text(content: bytes) -> str | None:
    """Return content as text, or None if it isn't UTF-8 or is too long for a page."""
    if len(content) > MAX_INLINE:
        return None
    try:
        return content.decode("utf-8").replace("\r\n", "\n")
    except UnicodeDecodeError:
        return None


def difference(before: str, after: str) -> str:
    """Return a unified diff of two texts; an empty string if they are equal, or too long to compare."""
    # Split at newlines alone, so that a change of another line separator is shown.
    old, new = before.split("\n"), after.split("\n")
    if max(len(old), len(new)) > MAX_DIFF_LINES:
        return ""
    return "\n".join(list(difflib.unified_diff(old, new, lineterm="", n=3))[2:])


def ago(at: datetime, now: datetime) -> str:
    """Return an instant as a distance from now."""
    span = now - at
    if abs(span) < timedelta(seconds=5):
        return "just now"
    return f"{duration(span)} ago" if span > timedelta(0) else f"in {duration(-span)}"


def moment(at: datetime | None, now: datetime) -> Markup:
    """Return an instant, relative and absolute. The page's script puts it into the reader's zone."""
    if at is None:
        return Markup("")
    told = at.strftime(UTC_FORM)
    return Markup('<time datetime="{}" title="{}">{}</time> <span class="abs">({})</span>').format(
        instant(at), told, ago(at, now), told
    )


def absolute(at: datetime, form: str = UTC_FORM) -> Markup:
    """Return an instant by date and time. The page's script puts it into the reader's zone, with its date."""
    return Markup('<time class="local" datetime="{}">{}</time>').format(instant(at), at.strftime(form))


def _links(url: str) -> str:
    """Return an address that a page may link to, or an empty string: pipelines write these."""
    return url if url.startswith(("https://", "http://")) else ""


def size(count: int) -> str:
    """Return a size in bytes for people."""
    return f"{count} bytes" if count < 10_240 else f"{count // 1024} KB"


class Pages:
    """Renderer of pages."""

    def __init__(self, files: Mapping[str, str]) -> None:
        """Link to the files of the pages by the addresses in `files`."""
        self._environment = Environment(
            loader=FileSystemLoader(HERE / "templates"),
            autoescape=select_autoescape(default=True, default_for_string=True),
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._environment.filters |= {
            "visible": visible,
            "spelled": spelled,
            "coloured": coloured,
            "link": _links,
            "size": size,
        }
        self._environment.globals |= {"moment": moment, "absolute": absolute, "static": files}

    def response(self, name: str, status: int, **about: Any) -> HTMLResponse:
        """Return the answer with a template's page."""
        return HTMLResponse(self._environment.get_template(name).render(about), status)
