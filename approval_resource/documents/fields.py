"""Stored documents, read back field by field and as strictly as they were written."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, TypeVar

from approval_resource.canonical import instant, parse_instant
from approval_resource.errors import CorruptRecordError

T = TypeVar("T")


def read_back(
    what: str, document: Mapping[str, Any], read: Callable[[Mapping[str, Any]], T], render: Callable[[T], dict[str, Any]]
) -> T:
    """What the document describes, if it says so in just the form that `render` writes, and nothing else.

    Raises:
        CorruptRecordError: it doesn't.
    """
    try:
        found = read(document)
        same = render(found) == document
    except KeyError as missing:
        raise CorruptRecordError(what, f"it lacks {missing}") from missing
    except (AttributeError, LookupError, TypeError, ValueError, OverflowError) as problem:
        raise CorruptRecordError(what, str(problem)) from problem
    if not same:
        raise CorruptRecordError(what, "it has parts that contradict each other, or that nobody knows")
    return found


def text(document: Mapping[str, Any], name: str, default: str | None = None) -> str:
    """A text; where `default` is given, that stands for one that isn't there.

    Raises:
        KeyError, TypeError: it isn't there, or is something else.
    """
    value = document[name] if default is None else document.get(name, default)
    if not isinstance(value, str):
        raise TypeError(f"its {name} is no text")
    return value


def texts(document: Mapping[str, Any], name: str, default: Sequence[str] | None = None) -> tuple[str, ...]:
    """A list of texts; `default` and what it raises as with `text`."""
    value = document[name] if default is None else document.get(name, default)
    if not isinstance(value, (list, tuple)) or not all(isinstance(inner, str) for inner in value):
        raise TypeError(f"its {name} are no texts")
    return tuple(value)


def number(document: Mapping[str, Any], name: str, most: int | None = None) -> int:
    """A whole number, where `most` is given one from 0 to that.

    Raises:
        KeyError, TypeError: as `text`.
        ValueError: it is out of bounds.
    """
    value = document[name]
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"its {name} is no whole number")
    if most is not None and not 0 <= value <= most:
        raise ValueError(f"its {name} is not between 0 and {most}")
    return value


def flag(document: Mapping[str, Any], name: str, *, default: bool | None = None) -> bool:
    """True or false; `default` and what it raises as with `text`."""
    value = document[name] if default is None else document.get(name, default)
    if not isinstance(value, bool):
        raise TypeError(f"its {name} is neither true nor false")
    return value


def optional(at: datetime | None) -> str:
    """An instant as it is stored, or an empty text for none."""
    return instant(at) if at else ""


def instant_or_none(text: str) -> datetime | None:
    """What `optional` wrote.

    Raises:
        ValueError: it is no instant.
    """
    return parse_instant(text) if text else None


def if_any(**fields: Any) -> dict[str, Any]:
    """Those that say anything: a claim without policies is stored as it always was."""
    return {name: value for name, value in fields.items() if value}
