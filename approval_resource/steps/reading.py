"""Concourse's JSON, read strictly: one document, exact numbers, and every problem in words that say what to change."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from decimal import Decimal
from difflib import get_close_matches
from typing import Any, ClassVar, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from approval_resource.errors import ConfigError
from approval_resource.text import clean


class Document(BaseModel):
    """A part of Concourse's request."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, hide_input_in_errors=True, populate_by_name=False, regex_engine="python-re"
    )
    WHERE: ClassVar[str] = "params"


D = TypeVar("D", bound=Document)


def read_request(text: bytes) -> dict[str, Any]:
    """The JSON document on stdin.

    Raises:
        ConfigError: it isn't one JSON object, or has numbers or characters that can't be kept.
    """
    try:
        request = json.loads(text, parse_constant=no_constant, parse_float=exact)
        json.dumps(request, ensure_ascii=False).encode()
    except RecursionError as deep:
        raise ConfigError(["stdin: the document is nested too deeply"]) from deep
    except UnicodeEncodeError as half:
        raise ConfigError(["stdin: the document holds half a surrogate pair, which is no character"]) from half
    except (ValueError, UnicodeDecodeError) as wrong:
        why = wrong.msg if isinstance(wrong, json.JSONDecodeError) else "it has a number or a character that can't be kept"
        raise ConfigError([f"stdin: not a JSON document ({why})"]) from wrong
    if not isinstance(request, dict):
        raise ConfigError(["stdin: must be a JSON object with source, and params or version where they apply"])
    return request


def no_constant(name: str) -> float:
    """For `json.loads`: NaN and infinities are no JSON.

    Raises:
        ValueError: always.
    """
    raise ValueError(f"{name} is no number of JSON")


def exact(text: str) -> float:
    """For `json.loads`: a fraction, if a float holds it as it is written: what people approve is what comes out again.

    Raises:
        ValueError: it would be kept as another number.
    """
    number = float(text)
    if number in (float("inf"), float("-inf")) or Decimal(text) != Decimal(repr(number)):
        raise ValueError("a number is too large, or has more digits than can be kept")
    return number


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
    if not isinstance(document, Mapping):
        return None, [f"{model.WHERE}: must be a map of options"]
    try:
        return model.model_validate(dict(document)), []
    except ValidationError as error:
        return None, [_problem(model, dict(problem)) for problem in error.errors(include_input=False, include_url=False)]


PATTERNS = {
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
    "timedelta_type": "must be a duration such as 90m, 24h or, in minutes, 90",
}


def _problem(model: type[Document], problem: Mapping[str, Any]) -> str:
    path = [str(step) for step in problem["loc"]]
    where = ".".join([model.WHERE, *(clean(step)[:80] for step in path)])
    if problem["type"] == "extra_forbidden":
        names = [field.alias or name for name, field in model.model_fields.items()]
        return f"{where}: unknown option{_nearest(path[-1], names) or '; use ' + ', '.join(names)}"
    if problem["type"] == "string_pattern_mismatch":
        return f"{where}: {PATTERNS[path[-1]]}"
    if problem["type"] == "string_too_long":
        return f"{where}: must have at most {problem['ctx']['max_length']} characters"
    return f"{where}: {WORDS.get(problem['type'], _lower(problem['msg']))}"


def _lower(message: str) -> str:
    return message[:1].lower() + message[1:]


def _nearest(word: object, known: Iterable[str]) -> str:
    by_lower = {name.lower(): name for name in known}
    found = get_close_matches(str(word).lower(), list(by_lower), n=1)
    return f'; did you mean "{by_lower[found[0]]}"?' if found else ""


def quoted(value: object) -> str:
    """A short value as a person wrote it, for a message."""
    text = clean(value if isinstance(value, str) else json.dumps(value, default=str))
    return f'"{text[:60]}"' if len(text) <= 60 else f'"{text[:60]}…"'
