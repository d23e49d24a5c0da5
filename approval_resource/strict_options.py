"""Options that people write in a pipeline, parsed strictly. Every problem says what to change.

Each process of the three scripts parses some, so parsing must be fast. pydantic, which parses the
policies, would take half of the time that `check` has. `policy.language.strict` makes pydantic parse
single values with these functions.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import MISSING as NO_DEFAULT
from dataclasses import Field, field, fields
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, ClassVar, TypeVar

from approval_resource.errors import ConfigError
from approval_resource.text import clean

MAX_NAME = 500
MAX_DURATION = timedelta(days=366)
UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
DECIMAL = re.compile(r"-?(?:0|[1-9][0-9]{0,17})(?:\.[0-9]{1,17})?")
DURATION = re.compile(r"(?:\d+(?:\.\d+)?[smhd])+")
UNIT = re.compile(r"([smhd])")

MISSING = "required"
NO_TEXT = "must be text; put it in quotes"
NO_FLAG = "must be true or false"
NO_NUMBER = "must be a whole number, without quotes"
NO_MAP = "must be a map"
NO_DURATION = "must be a duration such as 90m, 24h or, in minutes, 90"

Path = tuple[str | int, ...]
Reader = Callable[[object], Any]
T = TypeVar("T")


class WrongError(ValueError):
    """Invalid value. Its text says what the value must be.

    `parts` are the keys or indexes of the faulty entries of a map or list. It is empty when the value as a
    whole is faulty.
    """

    def __init__(self, told: str, *parts: str) -> None:
        """Say in `told` what the value must be."""
        self.parts = parts
        super().__init__(told)


# ---- values: each function takes any JSON value, and returns the parsed value or raises WrongError ----


def text(value: object, most: int | None = None) -> str:
    """Parse text of at most `most` characters.

    A whole number becomes its digits, because YAML and variables turn text that looks like a number into
    one. A fraction is refused, because 1.10 would arrive as 1.1. Text that looks like a JSON list stays
    text, because it may be meant as it stands.

    Raises:
        WrongError: the value is neither text nor a whole number, or it is too long.
    """
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str):
        raise WrongError(NO_TEXT)
    if most is not None and len(value) > most:
        raise WrongError(too_long(most))
    return value


def name(value: object) -> str:
    """Parse the name of a pool, a lock or a person.

    A number is refused: YAML reads 007 as 7, and that would be another person.

    Raises:
        WrongError: the value is no text, empty, too long, or has control characters or space around it.
    """
    if not isinstance(value, str):
        raise WrongError(NO_TEXT)
    if not value.strip() or value != value.strip() or value != clean(value):
        raise WrongError("must be a name: not empty, no control characters, no space around it")
    return text(value, MAX_NAME)


def numbered_name(value: object) -> str:
    """Parse a name that may arrive as a number.

    Raises:
        WrongError: the value is no name.
    """
    return name(text(value))


def matching(pattern: str, told: str) -> Reader:
    """Return a reader of text that matches `pattern` as a whole. It refuses other text with `told`."""
    form = re.compile(pattern, re.ASCII)

    def read(value: object) -> str:
        if not form.fullmatch(text(value)):
            raise WrongError(told)
        return text(value)

    return read


def flag(value: object) -> bool:
    """Parse true and false, with or without quotes.

    Raises:
        WrongError: the value is neither.
    """
    if isinstance(value, str) and value.strip().lower() in ("true", "false"):
        return value.strip().lower() == "true"
    if not isinstance(value, bool):
        raise WrongError(NO_FLAG)
    return value


def whole(value: object, *, within: int) -> int:
    """Parse a whole number from -`within` to `within`.

    Raises:
        WrongError: the value is no whole number, or outside that range.
    """
    value = _number(value, int)
    if not isinstance(value, int) or isinstance(value, bool):
        raise WrongError(NO_NUMBER)
    if abs(value) > within:
        raise WrongError(f"must be from {-within} to {within}")
    return value


def seconds(value: object) -> float:
    """Parse a pause in seconds: more than 0, at most 3600, fractions allowed.

    Raises:
        WrongError: the value is no number, or outside that range.
    """
    value = _number(value, float)
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        raise WrongError("must be a number, such as 1 or 0.5, without quotes")
    if not 0 < value <= 3600:
        raise WrongError("must be more than 0 and at most 3600 seconds")
    return float(value)


def _number(value: object, kind: type[int] | type[float]) -> object:
    """Return the number that a text spells, because variables arrive as text. Return all else unchanged.

    010 spells no number, because it may be meant as 8 or as 10.
    """
    written = value.strip() if isinstance(value, str) else ""
    fits = DECIMAL.fullmatch(written) and (kind is float or "." not in written)
    return kind(written) if fits else value


def duration(value: object) -> timedelta:
    """Parse a duration such as `90m`, `24h` or `1h30m`.

    A bare number is minutes, as in the original resource.

    Raises:
        WrongError: the value is no duration, shorter than a second or longer than 366 days.
    """
    if isinstance(value, timedelta):
        return value
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise WrongError(NO_DURATION)
    written = str(value).strip()
    try:
        if DURATION.fullmatch(written):
            numbers_and_units = UNIT.split(written)
            told = sum(
                Decimal(n) * UNITS[unit] for n, unit in zip(numbers_and_units[::2], numbers_and_units[1::2], strict=False)
            )
        else:
            told = Decimal(written) * 60
        if not 1 <= told <= Decimal(MAX_DURATION.total_seconds()):
            raise WrongError("must be at least a second and at most 366 days")
        return timedelta(seconds=float(told))
    except ArithmeticError:
        raise WrongError(NO_DURATION) from None


def instant_of(text: object) -> datetime:
    """Parse an instant as people write it; without a time zone it is in UTC.

    Raises:
        WrongError: the text is no instant.
    """
    try:
        at = datetime.fromisoformat(str(text).strip().upper())
        return (at if at.tzinfo else at.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError) as wrong:
        raise WrongError("must be an instant such as 2026-11-20T09:00:00Z") from wrong


def mapping(value: object) -> dict[str, Any]:
    """Parse a map.

    Raises:
        WrongError: the value is no map.
    """
    if not isinstance(value, dict):
        raise WrongError(NO_MAP)
    return value


def filled(value: T) -> T:
    """Return the value. Refuse an empty list, because it may come from a variable that wasn't set.

    Raises:
        WrongError: the list is empty.
    """
    if value == []:
        raise WrongError("must not be an empty list; leave the option out, or fill it")
    return value


def texts(value: object) -> dict[str, str]:
    """Parse a map of texts.

    Raises:
        WrongError: the value is no map, or some of its entries are no texts; the error's `parts` has their
        keys.
    """
    wrong = []
    found = {}
    for key, inner in mapping(value).items():
        try:
            found[key] = text(inner)
        except WrongError:
            wrong.append(key)
    if wrong:
        raise WrongError(NO_TEXT, *wrong)
    return found


# ---- documents ----

O = TypeVar("O", bound="Options")  # noqa: E741 - one letter, as type variables have


class Options:
    """Base of dataclasses for one part of Concourse's request. Each field is an `option`."""

    __slots__ = ()
    WHERE: ClassVar[str] = "params"
    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]

    def contradictions(self) -> Iterable[str]:
        """Return one line for each contradiction between options that are valid one by one."""
        return ()


def option(read: Reader, default: Any = NO_DEFAULT, *, called: str = "", **more: Any) -> Any:
    """Return a dataclass field that `read` parses. `called` is its option's name, if it isn't the field's.

    A field without a default is required. An option may be null only if its default is None.
    """
    return field(default=default, metadata={"read": read, "called": called}, **more)


def named_options(model: type[Options]) -> dict[str, Field[Any]]:
    """Return the options of a document, by the names that people write."""
    return {one.metadata["called"] or one.name: one for one in fields(model)}


def read_part(model: type[O], document: object) -> O:
    """Parse one part of the request.

    Raises:
        ConfigError: every problem of that part.
    """
    if not isinstance(document, Mapping):
        raise ConfigError([placed(model.WHERE, (), "must be a map of options")])
    known = named_options(model)
    values: dict[str, Any] = {}
    problems: list[str] = []
    for called, one in known.items():
        if called not in document:
            if one.default is one.default_factory is NO_DEFAULT:
                problems.append(placed(model.WHERE, (called,), MISSING))
        elif document[called] is not None or one.default is not None:
            try:
                values[one.name] = one.metadata["read"](document[called])
            except WrongError as wrong:
                paths: list[Path] = [(called, part) for part in wrong.parts] or [(called,)]
                problems += [placed(model.WHERE, path, str(wrong)) for path in paths]
    problems += [placed(model.WHERE, (called,), nearest(called, known)) for called in document if called not in known]
    if problems:
        raise ConfigError(problems)
    part = model(**values)
    if problems := [placed(model.WHERE, (), told) for told in part.contradictions()]:
        raise ConfigError(problems)
    return part


def placed(where: str, path: Path, told: str) -> str:
    """Return a problem with its place in front of it."""
    return f"{'.'.join([where, *(clean(str(step))[:80] for step in path)])}: {told}"


def too_long(most: int) -> str:
    """Return the message for a text of more than `most` characters."""
    return f"must have at most {most} characters"


def nearest(word: object, known: Iterable[str]) -> str:
    """Return the message for an unknown option: the name that was probably meant, or all known names."""
    from difflib import get_close_matches

    names = list(known)
    by_lower = {name.lower(): name for name in names}
    found = get_close_matches(str(word).lower(), list(by_lower), n=1)
    return f'unknown option; did you mean "{by_lower[found[0]]}"?' if found else f"unknown option; use {', '.join(names)}"
