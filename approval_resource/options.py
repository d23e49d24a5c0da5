"""Options that people write in a pipeline, read strictly: every problem in words that say what to change.

Each process of the three scripts reads some, so this takes no more time than it must: pydantic, which reads the policies,
would take half of what `check` has. `policy.strict` has it read single values by the same functions.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import MISSING as NO_DEFAULT
from dataclasses import Field, field, fields
from datetime import timedelta
from decimal import Decimal
from typing import Any, ClassVar, TypeVar

from approval_resource.errors import ConfigError
from approval_resource.text import clean

MAX_NAME = 500
MAX_DURATION = timedelta(days=366)
UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
DECIMAL = re.compile(r"-?(?:0|[1-9][0-9]{0,17})(?:\.[0-9]{1,17})?")
DURATION = re.compile(r"(?:\d+(?:\.\d+)?[smhd])+")
DURATION_PART = re.compile(r"(\d+(?:\.\d+)?)([smhd])")

MISSING = "required"
NO_TEXT = "must be text; put it in quotes"
UNTRUE = "must be true or false"
NO_NUMBER = "must be a whole number, without quotes"
NO_MAP = "must be a map"
NO_DURATION = "must be a duration such as 90m, 24h or, in minutes, 90"

Path = tuple[str | int, ...]
Reader = Callable[[object], Any]


class WrongError(ValueError):
    """A value can't be what it stands for. Its text says what it must be; `parts` are the parts that are meant, if not all of it."""

    def __init__(self, told: str, *parts: str) -> None:
        self.parts = parts
        super().__init__(told)


# ---- values: each takes what JSON can hold, and returns what is meant or raises WrongError ----


def text(value: object, most: int | None = None) -> str:
    """Text, of at most so many characters. A whole number is its digits: YAML and variables make one of text that looks so.

    A fraction is refused: 1.10 would come as 1.1. So is a list that comes as JSON text: where text is wanted, it may be
    meant as it stands.
    """
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str):
        raise WrongError(NO_TEXT)
    if most is not None and len(value) > most:
        raise WrongError(too_long(most))
    return value


def name(value: object) -> str:
    """What a pool, a lock or a person is called. No number: a policy's 007 would be another person."""
    if not isinstance(value, str):
        raise WrongError(NO_TEXT)
    if not value.strip() or value != value.strip() or value != clean(value):
        raise WrongError("must be a name: not empty, no control characters, no space around it")
    return text(value, MAX_NAME)


def numbered_name(value: object) -> str:
    """A name that may come as a number."""
    return name(text(value))


def matching(pattern: str, told: str) -> Reader:
    """Text of that form."""
    form = re.compile(pattern, re.ASCII)

    def read(value: object) -> str:
        if not form.fullmatch(text(value)):
            raise WrongError(told)
        return text(value)

    return read


def flag(value: object) -> bool:
    """true and false, and what people write for them in quotes."""
    if isinstance(value, str) and value.strip().lower() in ("true", "false"):
        return value.strip().lower() == "true"
    if not isinstance(value, bool):
        raise WrongError(UNTRUE)
    return value


def whole(value: object, *, within: int) -> int:
    """A whole number, at most that far from 0."""
    value = _number(value, int)
    if not isinstance(value, int) or isinstance(value, bool):
        raise WrongError(NO_NUMBER)
    if abs(value) > within:
        raise WrongError(f"must be from {-within} to {within}")
    return value


def seconds(value: object) -> float:
    """A pause, fractions allowed."""
    value = _number(value, float)
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        raise WrongError("must be a number, such as 1 or 0.5, without quotes")
    if not 0 < value <= 3600:
        raise WrongError("must be more than 0 and at most 3600 seconds")
    return float(value)


def _number(value: object, kind: type[int] | type[float]) -> object:
    """The number that a text is, as variables come; all else as it is. 010 is none: it may be meant as 8 or as 10."""
    written = value.strip() if isinstance(value, str) else ""
    fits = DECIMAL.fullmatch(written) and (kind is float or "." not in written)
    return kind(written) if fits else value


def duration(value: object) -> timedelta:
    """`90m`, `24h`, `1h30m`; a bare number is minutes, as in the original resource."""
    if isinstance(value, timedelta):
        return value
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise WrongError(NO_DURATION)
    written = str(value).strip()
    try:
        if DURATION.fullmatch(written):
            told = sum(Decimal(number) * UNITS[unit] for number, unit in DURATION_PART.findall(written))
        else:
            told = Decimal(written) * 60
        if not 1 <= told <= Decimal(MAX_DURATION.total_seconds()):
            raise WrongError("must be at least a second and at most 366 days")
        return timedelta(seconds=float(told))
    except ArithmeticError:
        raise WrongError(NO_DURATION) from None


def mapping(value: object) -> dict[str, Any]:
    """Any map."""
    if not isinstance(value, dict):
        raise WrongError(NO_MAP)
    return value


def texts(value: object) -> dict[str, str]:
    """A map of texts."""
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
    """A part of Concourse's request: the base of dataclasses, each of whose fields is an `option`."""

    __slots__ = ()
    WHERE: ClassVar[str] = "params"
    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]

    def contradictions(self) -> Iterable[str]:
        """What is wrong with options that are right one by one, one line each."""
        return ()


def option(read: Reader, default: Any = NO_DEFAULT, *, called: str = "", **more: Any) -> Any:
    """A field that `read` reads; without a default it is required, and only with the default None it may be null."""
    return field(default=default, metadata={"read": read, "called": called}, **more)


def named_options(model: type[Options]) -> dict[str, Field[Any]]:
    """The options of a document, by the names that people write."""
    return {one.metadata["called"] or one.name: one for one in fields(model)}


def read_part(model: type[O], document: object) -> O:
    """That part of the request.

    Raises:
        ConfigError: every problem of it.
    """
    part, problems = try_part(model, document)
    if part is None:
        raise ConfigError(problems)
    return part


def try_part(model: type[O], document: object) -> tuple[O | None, list[str]]:
    """That part of the request, or every problem of it, one line each."""
    if not isinstance(document, Mapping):
        return None, [placed(model.WHERE, (), "must be a map of options")]
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
        return None, problems
    part = model(**values)
    problems = [placed(model.WHERE, (), told) for told in part.contradictions()]
    return (None, problems) if problems else (part, [])


def placed(where: str, path: Path, told: str) -> str:
    """A problem with its place before it."""
    return f"{'.'.join([where, *(clean(str(step))[:80] for step in path)])}: {told}"


def too_long(most: int) -> str:
    """What a text is told that has more than so many characters."""
    return f"must have at most {most} characters"


def nearest(word: object, known: Iterable[str]) -> str:
    """What an unknown option is told: the name that was probably meant, or all there are."""
    from difflib import get_close_matches

    names = list(known)
    by_lower = {name.lower(): name for name in names}
    found = get_close_matches(str(word).lower(), list(by_lower), n=1)
    return f'unknown option; did you mean "{by_lower[found[0]]}"?' if found else f"unknown option; use {', '.join(names)}"
