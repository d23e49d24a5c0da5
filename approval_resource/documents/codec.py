"""Codec of stored nouns: one table of fields writes a noun as a document, and reads only what it writes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Generic, TypeVar

from approval_resource.canonical import instant, parse_instant
from approval_resource.errors import CorruptRecordError

T = TypeVar("T")
E = TypeVar("E", bound=StrEnum)
Document = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Form:
    """Form of one stored value.

    `read` undoes `write`. It raises TypeError or ValueError for a value that `write` never wrote.
    """

    write: Callable[[Any], Any]
    read: Callable[[Any], Any]


@dataclass(frozen=True, slots=True)
class Field:
    """Entry of a document: its name there, its form, and the noun's attribute."""

    name: str
    form: Form
    attribute: str
    sparse: bool = False
    """Whether an empty value is left out, because documents of older releases lack the entry."""


@dataclass(frozen=True, slots=True)
class Derived:
    """Entry that follows from the other entries. It serves readers of the table other than this program."""

    name: str
    value: Callable[[Any], Any]


def field(name: str, form: Form, attribute: str = "", *, sparse: bool = False) -> Field:
    """Return a field. Its attribute has the entry's name unless `attribute` gives another."""
    return Field(name, form, attribute or name, sparse)


class Codec(Generic[T]):
    """Codec of one noun. Its documents have the order of its fields."""

    def __init__(self, noun: Callable[..., T], title: Callable[[Mapping[str, Any]], str], *fields: Field | Derived) -> None:
        """Read and write documents of `noun`. `title` names a document in messages."""
        self._noun = noun
        self._title = title
        self._fields = fields
        self._stored = [entry for entry in fields if isinstance(entry, Field)]

    def write(self, value: T) -> Document:
        """Return the document of a noun."""
        document: Document = {}
        for entry in self._fields:
            if isinstance(entry, Derived):
                document[entry.name] = entry.value(value)
                continue
            attribute = getattr(value, entry.attribute)
            if attribute or not entry.sparse:
                document[entry.name] = entry.form.write(attribute)
        return document

    def read(self, document: Mapping[str, Any]) -> T:
        """Return the noun that `write` wrote as this document.

        Raises:
            CorruptRecordError: the document is not exactly what `write` makes of a noun.
        """
        title = self._title(document).strip()
        try:
            found = self._built(document)
            same = self.write(found) == document
        except KeyError as missing:
            raise CorruptRecordError(title, f"it lacks {missing}") from missing
        except (AttributeError, LookupError, TypeError, ValueError, OverflowError) as problem:
            raise CorruptRecordError(title, str(problem)) from problem
        if not same:
            raise CorruptRecordError(title, "it has parts that contradict each other, or that nobody knows")
        return found

    def _built(self, document: Mapping[str, Any]) -> T:
        return self._noun(
            **{
                entry.attribute: self._value(entry, document)
                for entry in self._stored
                if entry.name in document or not entry.sparse
            }
        )

    @staticmethod
    def _value(entry: Field, document: Mapping[str, Any]) -> Any:
        try:
            return entry.form.read(document[entry.name])
        except (TypeError, ValueError) as wrong:
            raise type(wrong)(f"its {entry.name} {wrong}") from wrong

    @property
    def form(self) -> Form:
        """Form of a noun inside another noun's document."""
        return Form(self.write, self._inner)

    def _inner(self, document: object) -> T:
        if not isinstance(document, Mapping):
            raise TypeError("is no map")
        return self._built(document)


def _typed(kind: type, told: str) -> Callable[[Any], Any]:
    def read(value: object) -> object:
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            raise TypeError(told)
        return value

    return read


def _unchanged(value: object) -> object:
    return value


def within(most: int) -> Form:
    """Return the form of a whole number from 0 to `most`."""

    def read(value: object) -> object:
        number = NUMBER.read(value)
        if not 0 <= number <= most:
            raise ValueError(f"is not between 0 and {most}")
        return number

    return Form(_unchanged, read)


def enum(kind: type[E]) -> Form:
    """Return the form of an enum's member, stored as its value."""
    return Form(lambda value: value.value, lambda text: kind(TEXT.read(text)))


def optional(form: Form, nothing: object = "") -> Form:
    """Return the form of a value that may be None, which is stored as `nothing`."""
    return Form(
        lambda value: nothing if value is None else form.write(value),
        lambda stored: None if stored == nothing else form.read(stored),
    )


def each(form: Form) -> Form:
    """Return the form of a sequence."""

    def read(value: object) -> tuple[Any, ...]:
        if not isinstance(value, (list, tuple)):
            raise TypeError("is no list")
        return tuple(form.read(inner) for inner in value)

    return Form(lambda values: [form.write(value) for value in values], read)


def mapping_of(form: Form, key: Callable[[str], Any] = str) -> Form:
    """Return the form of a mapping from names to values."""

    def read(value: object) -> dict[Any, Any]:
        if not isinstance(value, Mapping):
            raise TypeError("is no map")
        return {key(name): form.read(inner) for name, inner in value.items()}

    return Form(lambda values: {str(name): form.write(value) for name, value in values.items()}, read)


TEXT = Form(_unchanged, _typed(str, "is no text"))
NUMBER = Form(_unchanged, _typed(int, "is no whole number"))
FLAG = Form(_unchanged, _typed(bool, "is neither true nor false"))
INSTANT = Form(instant, lambda text: parse_instant(TEXT.read(text)))
WHEN = optional(INSTANT)
"""Instant, or an empty text for None."""
