"""Configuration files: YAML, read strictly. They name their secrets, which are kept elsewhere."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

from pydantic import BeforeValidator
from pydantic_core import PydanticCustomError

from approval_resource.policy.language.load import parse, text_of
from approval_resource.text import clean

SECRET_FORMS = ("env:", "file:")
MAX_SECRET = 64 * 1024


class NoSecretError(Exception):
    """Missing secret: its variable is unset or empty, or its file can't be read or is empty."""


def document_in(path: Path) -> object:
    """Return the document in that file.

    Raises:
        ConfigError: the file can't be read, or is no YAML.
    """
    document, _ = parse(text_of(path), str(path))
    return document


def names_secret(value: object) -> bool:
    """Whether a value names a secret, as `env:NAME` or `file:PATH`, instead of being one."""
    return isinstance(value, str) and value.startswith(SECRET_FORMS) and bool(value.partition(":")[2])


def secret_of(named: str, environment: Mapping[str, str] = os.environ) -> str:
    """Return the secret with that name.

    Raises:
        NoSecretError: there is none.
    """
    kind, _, rest = named.partition(":")
    if kind == "env":
        found = environment.get(rest, "").strip()
        if not found:
            raise NoSecretError(f"the environment variable {clean(rest)} is not set")
        return found
    try:
        with Path(rest).open(encoding="utf-8") as file:
            found = file.read(MAX_SECRET).strip()
    except (OSError, UnicodeError, ValueError):
        raise NoSecretError(f"the file {clean(rest)} can't be read") from None
    if not found:
        raise NoSecretError(f"the file {clean(rest)} is empty")
    return found


def matching(pattern: str, told: str) -> BeforeValidator:
    """Return a validator that accepts only text in the form `pattern`, and answers others with `told`."""
    form = re.compile(pattern, re.ASCII)

    def read(value: object) -> object:
        if not isinstance(value, str) or not form.fullmatch(value):
            raise PydanticCustomError("form", "{told}", {"told": told})
        return value

    return BeforeValidator(read)
