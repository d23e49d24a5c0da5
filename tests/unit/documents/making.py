"""Nouns with every field filled, made from their types alone, so that a field that is added is tested too."""

from __future__ import annotations

import types
from collections.abc import Iterator
from dataclasses import MISSING, fields, is_dataclass
from datetime import UTC, datetime
from enum import Enum
from typing import Any, Union, get_args, get_origin, get_type_hints

from hypothesis import strategies as st

from approval_resource.documents.claims import CLAIM
from approval_resource.documents.codec import Codec
from approval_resource.documents.deliveries import DELIVERY, PROGRESS
from approval_resource.documents.events import EVENT, HEAD
from approval_resource.documents.locks import BUILD_RECORD, LOCK, TURN
from approval_resource.documents.settings import SETTINGS
from approval_resource.model.claim import Claim
from approval_resource.model.delivery import Delivery, Progress
from approval_resource.model.event import Event, Head
from approval_resource.model.lock import BuildRecord, Lock, Turn
from approval_resource.model.settings import Freeze, Settings
from tests.builders import NOON

Path = tuple[str | int, ...]
TEXTS = st.text(max_size=8)
INSTANTS = st.datetimes(min_value=datetime(1970, 1, 1), max_value=datetime(2999, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
NUMBERS = st.integers(0, 36_500)


STORED_NOUNS: dict[str, tuple[Any, Codec[Any]]] = {
    "claim": (Claim, CLAIM),
    "event": (Event, EVENT),
    "head": (Head, HEAD),
    "lock": (Lock, LOCK),
    "build": (BuildRecord, BUILD_RECORD),
    "settings": (Settings, SETTINGS),
    "turn": (Turn, TURN),
    "progress": (Progress, PROGRESS),
    "delivery": (Delivery, DELIVERY),
}
"""Each noun that is an item of the table or a line of an export, with its codec."""


def filled(noun: Any, *, bare: bool = False) -> Any:
    """The noun with something in every field; a bare one with nothing where its own default says so, its nouns bare too.

    A freeze is left out of bare settings: the first version knew none.
    """
    hints = get_type_hints(noun)
    return noun(
        **{
            field.name: _value(hints[field.name], field.name, bare)
            for field in fields(noun)
            if not (
                bare and (field.default, field.default_factory) != (MISSING, MISSING) and not _holds_noun(hints[field.name])
            )
        }
    )


def _value(kind: Any, name: str, bare: bool) -> Any:
    inner, origin = get_args(kind), get_origin(kind)
    if origin in (Union, types.UnionType):
        return _value(inner[0], name, bare)
    if origin is tuple:
        return (_value(inner[0], name, bare),)
    if origin is not None:
        return {_value(inner[0], name, bare): _value(inner[1], name, bare)}
    if is_dataclass(kind):
        return filled(kind, bare=bare)
    if issubclass(kind, Enum):
        return next(iter(kind))
    return {str: f"a {name}", int: 7, bool: True, datetime: NOON}[kind]


def _holds_noun(kind: Any) -> bool:
    return kind is not Freeze and (is_dataclass(kind) or any(_holds_noun(inner) for inner in get_args(kind)))


def nouns(kind: Any) -> st.SearchStrategy[Any]:
    """Any value of that type."""
    inner, origin = get_args(kind), get_origin(kind)
    if origin in (Union, types.UnionType):
        return st.one_of(*(nouns(one) for one in inner))
    if origin is tuple:
        return st.lists(nouns(inner[0]), max_size=3).map(tuple)
    if origin is not None:
        return st.dictionaries(nouns(inner[0]), nouns(inner[1]), max_size=3)
    if is_dataclass(kind):
        hints = get_type_hints(kind)
        return st.builds(kind, **{field.name: nouns(hints[field.name]) for field in fields(kind)})  # type: ignore[arg-type]
    if kind is type(None):
        return st.none()
    if issubclass(kind, Enum):
        return st.sampled_from(kind)
    return {str: TEXTS, int: NUMBERS, bool: st.booleans(), datetime: INSTANTS}[kind]


def paths(document: Any, path: Path = ()) -> Iterator[Path]:
    """The path of everything inside the document, containers included."""
    inside = document.items() if isinstance(document, dict) else enumerate(document) if isinstance(document, list) else ()
    for key, value in inside:
        yield (*path, key)
        yield from paths(value, (*path, key))


def at(document: Any, path: Path) -> Any:
    """What lies at that path.

    Raises:
        LookupError: nothing does.
    """
    for key in path:
        document = document[key]
    return document
