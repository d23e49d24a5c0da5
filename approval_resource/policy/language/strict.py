"""Strict pydantic models of policies and trials. Every problem is worded as for all other options."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Annotated, Any, TypeVar, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import PydanticCustomError

from approval_resource import strict_options as options
from approval_resource.errors import ConfigError
from approval_resource.strict_options import MAX_NAME, NO_FLAG, WrongError, nearest, placed, too_long


def _as(read: Callable[[object], object]) -> BeforeValidator:
    """Return a pydantic validator that calls a reader of options."""

    def validate(value: object) -> object:
        try:
            return read(value)
        except WrongError as wrong:
            raise PydanticCustomError("option", "{told}", {"told": str(wrong)}) from None

    return BeforeValidator(validate)


Name = Annotated[str, Field(max_length=MAX_NAME), _as(options.name)]
Flag = Annotated[bool, _as(options.flag)]
Duration = Annotated[timedelta, _as(options.duration)]


def one_or_more(value: object) -> object:
    """Return a text as a list of one, and any other value as it is."""
    return [value] if isinstance(value, str) else value


class Document(BaseModel):
    """Base of all documents that people write, validated as a whole."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, hide_input_in_errors=True, populate_by_name=False, regex_engine="python-re"
    )


D = TypeVar("D", bound=Document)


def read_document(model: type[D], document: object, where: str) -> D:
    """Validate a document.

    Raises:
        ConfigError: every problem of it, each with its place below `where`.
    """
    part, problems = problems_of(model, document)
    if part is None:
        raise ConfigError([placed(where, path, told) for path, told in problems])
    return part


def problems_of(model: type[D], document: object) -> tuple[D | None, list[tuple[tuple[str | int, ...], str]]]:
    """Return the validated document, or every problem of it: its path and a message."""
    if not isinstance(document, Mapping):
        return None, [((), "must be a map of options")]
    try:
        return model.model_validate(dict(document)), []
    except ValidationError as error:
        found = [_problem(model, dict(problem)) for problem in error.errors(include_input=False, include_url=False)]
        return None, list(dict.fromkeys(found))


SYNONYMS = dict.fromkeys(
    ("blackout", "blackouts", "blackout_windows", "moratorium", "moratoria", "moratoriums", "change_freeze", "frozen"),
    "freezes",
)
"""Names that other systems give to options, each with the option's name here."""
PATTERNS = {"name": "must begin with a letter and have at most 50 letters, digits, _ or -"}
WORDS = {
    "missing": options.MISSING,
    "string_type": options.NO_TEXT,
    "bool_type": NO_FLAG,
    "float_type": "must be a number, such as 1 or 0.5, without quotes",
    "int_type": options.NO_NUMBER,
    "dict_type": options.NO_MAP,
    "list_type": "must be a list",
    "model_type": options.NO_MAP,
    "timedelta_type": options.NO_DURATION,
}


def _problem(model: type[Document], problem: Mapping[str, Any]) -> tuple[tuple[str | int, ...], str]:
    path: tuple[str | int, ...] = problem["loc"]
    if problem["type"] == "extra_forbidden":
        known = [field.alias or name for name, field in _fields_at(model, path[:-1]).items()]
        meant = SYNONYMS.get(str(path[-1]).lower())
        return path, nearest(meant if meant in known else path[-1], known)
    if problem["type"] == "string_pattern_mismatch":
        return path, PATTERNS[str(path[-1])]
    if problem["type"] == "string_too_long":
        return path, too_long(problem["ctx"]["max_length"])
    return path, WORDS.get(problem["type"], _lower(problem["msg"]))


def _fields_at(model: type[Document], path: tuple[str | int, ...]) -> Mapping[str, FieldInfo]:
    """Return the options of the part of a document at `path`."""
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
