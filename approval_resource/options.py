"""Options that people write, read strictly: every problem in words that say what to change."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import timedelta
from decimal import Decimal
from difflib import get_close_matches
from typing import Annotated, Any, ClassVar, TypeVar, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import PydanticCustomError

from approval_resource.errors import ConfigError
from approval_resource.text import clean

MAX_NAME = 500
MAX_DURATION = timedelta(days=366)
UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
DURATION = re.compile(r"(?:\d+(?:\.\d+)?[smhd])+")
DURATION_PART = re.compile(r"(\d+(?:\.\d+)?)([smhd])")


def _duration(value: object) -> object:
    """`90m`, `24h`, `1h30m`; a bare number is minutes, as in the original resource."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise PydanticCustomError("duration", "must be a duration such as 90m, 24h or, in minutes, 90")
    text = str(value).strip()
    try:
        if DURATION.fullmatch(text):
            seconds = sum(Decimal(number) * UNITS[unit] for number, unit in DURATION_PART.findall(text))
        else:
            seconds = Decimal(text) * 60
        if not 1 <= seconds <= Decimal(MAX_DURATION.total_seconds()):
            raise PydanticCustomError("duration", "must be at least a second and at most 366 days")
        return timedelta(seconds=float(seconds))
    except ArithmeticError:
        raise PydanticCustomError("duration", "must be a duration such as 90m, 24h or, in minutes, 90") from None


def _name(value: object) -> object:
    if isinstance(value, str) and (not value.strip() or value != value.strip() or value != clean(value)):
        raise PydanticCustomError("name", "must be a name: not empty, no control characters, no space around it")
    return value


def _flag(value: object) -> object:
    """true and false, and what people write for them in quotes."""
    if isinstance(value, str) and value.strip().lower() in ("true", "false"):
        return value.strip().lower() == "true"
    return value


Name = Annotated[str, Field(max_length=MAX_NAME), BeforeValidator(_name)]
Flag = Annotated[bool, BeforeValidator(_flag)]
Duration = Annotated[timedelta, BeforeValidator(_duration)]


class Document(BaseModel):
    """A part of Concourse's request."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, hide_input_in_errors=True, populate_by_name=False, regex_engine="python-re"
    )
    WHERE: ClassVar[str] = "params"


D = TypeVar("D", bound=Document)


def read_part(model: type[D], document: object) -> D:
    """That part of the request.

    Raises:
        ConfigError: every problem of it.
    """
    part, problems = try_part(model, document)
    if part is None:
        raise ConfigError(problems)
    return part


def try_part(model: type[D], document: object) -> tuple[D | None, list[str]]:
    """That part of the request, or every problem of it, one line each."""
    part, problems = problems_of(model, document)
    return part, [f"{'.'.join([model.WHERE, *(clean(str(step))[:80] for step in path)])}: {told}" for path, told in problems]


def problems_of(model: type[D], document: object) -> tuple[D | None, list[tuple[tuple[str | int, ...], str]]]:
    """The same, each problem as where it is and what it is."""
    if not isinstance(document, Mapping):
        return None, [((), "must be a map of options")]
    try:
        return model.model_validate(dict(document)), []
    except ValidationError as error:
        found = [_problem(model, dict(problem)) for problem in error.errors(include_input=False, include_url=False)]
        return None, list(dict.fromkeys(found))


PATTERNS = {
    "name": "must begin with a letter and have at most 50 letters, digits, _ or -",
    "table": "must be 3 to 255 letters, digits or _.-",
    "role_arn": "must be a role's ARN, such as arn:aws:iam::123456789012:role/approvals",
}
WORDS = {
    "missing": "required",
    "string_type": "must be text; put it in quotes",
    "bool_type": "must be true or false",
    "float_type": "must be a number, such as 1 or 0.5, without quotes",
    "int_type": "must be a whole number, without quotes",
    "dict_type": "must be a map",
    "list_type": "must be a list",
    "model_type": "must be a map",
    "timedelta_type": "must be a duration such as 90m, 24h or, in minutes, 90",
}


def _problem(model: type[Document], problem: Mapping[str, Any]) -> tuple[tuple[str | int, ...], str]:
    path: tuple[str | int, ...] = problem["loc"]
    if problem["type"] == "extra_forbidden":
        fields = _fields_at(model, path[:-1])
        names = [field.alias or name for name, field in fields.items()]
        return path, f"unknown option{_nearest(path[-1], names) or '; use ' + ', '.join(names)}"
    if problem["type"] == "string_pattern_mismatch":
        return path, PATTERNS[str(path[-1])]
    if problem["type"] == "string_too_long":
        return path, f"must have at most {problem['ctx']['max_length']} characters"
    return path, WORDS.get(problem["type"], _lower(problem["msg"]))


def _fields_at(model: type[Document], path: tuple[str | int, ...]) -> Mapping[str, FieldInfo]:
    """The options of the part of a document that `path` leads to."""
    for step in path:
        if isinstance(step, str):
            field = next((field for name, field in model.model_fields.items() if step in (name, field.alias)), None)
            inner = _document_in(field.annotation) if field else None
            model = inner or model
    return model.model_fields


def _document_in(annotation: object) -> type[Document] | None:
    if isinstance(annotation, type) and issubclass(annotation, Document):
        return annotation
    return next((found for inner in get_args(annotation) if (found := _document_in(inner))), None)


def _lower(message: str) -> str:
    return message[:1].lower() + message[1:]


def _nearest(word: object, known: Iterable[str]) -> str:
    by_lower = {name.lower(): name for name in known}
    found = get_close_matches(str(word).lower(), list(by_lower), n=1)
    return f'; did you mean "{by_lower[found[0]]}"?' if found else ""
