"""Name and version of the command line. Hints print its name in the form in which it was called."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

VERSION = "0.1.0"
"""Copy of the version in pyproject.toml, because the image has no such file."""
PROGRAM = "approvals"
"""Name of the installed command, which the hints of a step's build log give."""
_called: ContextVar[str] = ContextVar("called", default=PROGRAM)


def called() -> str:
    """Return the words that start the command line, such as `approvals` or `cli.py`."""
    return _called.get()


@contextmanager
def called_as(words: str) -> Iterator[None]:
    """Make `called` return these words while the context lasts."""
    before = _called.set(words)
    try:
        yield
    finally:
        _called.reset(before)
