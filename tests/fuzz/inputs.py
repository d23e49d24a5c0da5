"""What the scripts may be given, built from the models they read it with: a new option is fuzzed without a word here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import Enum
from functools import partial, reduce
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from hypothesis import strategies as st

from approval_resource.steps.get import GetParams
from approval_resource.steps.protocol import RequestedVersion, Source
from approval_resource.steps.put_params import ACTIONS
from approval_resource.strict_options import Options, named_options
from tests.fuzz import hostile
from tests.fuzz.hostile import Values, mostly

SCRIPTS = ("check", "in", "out")
REACHING = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_DEFAULT_REGION", "role_arn", "endpoint_url")
"""Options of the source that say how to reach the table; a request with others rarely gets further than that."""
NEAR_MISSES: Mapping[str, tuple[Any, ...]] = {
    "AWS_DEFAULT_REGION": ("", "not a region", "us-east-1\n", "x" * 300, "eu-west-1"),
    "role_arn": ("", "arn:aws:iam::123456789012:role/x", "not an arn", "arn:aws:iam::123456789012:role/" + "x" * 9_000),
    "endpoint_url": (
        *("http://127.0.0.1:1", "http://127.0.0.1:99999", "http://[", "http://[::1]:1", "not a url", "//127.0.0.1", "file:///"),
        *("http://user:word@127.0.0.1:1", "http://127.0.0.1:1/?" + "x" * 9_000, "http://127.0.0.1:1/\x1b[2J", "http://\u202e"),
    ),
    "table": ("", "ab", "x" * 256, "a b", "t\n", "../t", "ab.c", "x" * 255),
    "AWS_ACCESS_KEY_ID": ("", "key\n", "ключ", "x" * 9_000),
    "AWS_SECRET_ACCESS_KEY": ("", "key\n", "ключ", "x" * 9_000),
    "AWS_SESSION_TOKEN": ("", "token\r\nX: y", "ключ", "x" * 9_000),
}
PATHS = ("from", "payload_file")
FEW = 4
BUILD = ("BUILD_TEAM_NAME", "BUILD_PIPELINE_NAME", "BUILD_JOB_NAME", "BUILD_NAME", "BUILD_CREATED_BY", "ATC_EXTERNAL_URL")


@dataclass(frozen=True, slots=True)
class Input:
    """One run of a script. What is named `changes` replaces parts of what would work."""

    script: str
    source: Any = field(default_factory=dict)
    """Changes to the source that reaches the table; what is no map replaces it."""
    params: Any = field(default_factory=dict)
    earlier: int | None = None
    """Which of the versions that were answered before it is given, the newest being 0; None: none of them."""
    version: Any = field(default_factory=dict)
    """Changes to that version; what is no map replaces it."""
    build: int = 1
    environment: Mapping[str, str] = field(default_factory=dict)
    meanwhile: tuple[str, ...] = ()
    """What others do while it waits, one word a look: approve, reject, end, or nothing."""


def sensible(annotation: Any, name: str) -> Values:
    """Values that an option of that type is meant for, and those that just are not."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin in (Union, UnionType):
        return st.one_of(*(sensible(each, name) for each in arguments if each is not type(None)))
    if origin in (dict, Mapping) and arguments == (str, str):
        return st.dictionaries(hostile.file_name, hostile.path, max_size=3)
    if origin is dict:
        return hostile.payload
    if origin in (tuple, list):
        return st.lists(sensible(arguments[0], name), min_size=1, max_size=3)
    if name == "action":
        return st.sampled_from(sorted(ACTIONS))
    if name in NEAR_MISSES:
        return st.sampled_from(NEAR_MISSES[name])
    if name in PATHS or name.endswith("_file"):
        return hostile.path
    return _plain(annotation, name)


def _plain(annotation: Any, name: str) -> Values:
    if not isinstance(annotation, type):
        return hostile.junk
    if issubclass(annotation, Enum):
        return st.sampled_from([member.value for member in annotation])
    known: tuple[tuple[type, Values], ...] = (
        (bool, hostile.flag),
        (timedelta, hostile.span),
        (str, hostile.name if name.endswith("name") else hostile.text),
        (int, hostile.priority),
        (float, hostile.pace),
    )
    return next((values for kind, values in known if issubclass(annotation, kind)), hostile.junk)


def options_of(model: type[Options], without: tuple[str, ...] = ()) -> dict[str, Values]:
    """Values for each option of that part of a request, by the name people write."""
    hints = get_type_hints(model)
    named = {name: hints[field.name] for name, field in named_options(model).items()}
    return {name: sensible(annotation, name) for name, annotation in named.items() if name not in without}


def some(model: type[Options], without: tuple[str, ...] = ()) -> Values:
    """A map of a few options of that part of a request, now and then with values, or names, that make no sense."""
    options = options_of(model, without)
    name = st.sampled_from(sorted(options))
    entry = name.flatmap(lambda name: st.tuples(st.just(name), options[name]))
    odd = mostly(entry, st.tuples(name.map(_misspelt) | hostile.text, hostile.leaf), st.tuples(name, hostile.junk))
    return mostly(st.lists(entry, max_size=FEW), st.lists(odd, min_size=1, max_size=FEW + 2)).map(dict)


def _misspelt(name: str) -> str:
    return name.swapcase() if len(name) % 2 else name[:-1]


def _acting(action: str, given: dict[str, Any]) -> dict[str, Any]:
    return {"action": action, "lock_name": "a"} | given


def _params(script: str) -> Values:
    if script == "check":
        return st.just({}) | hostile.junk
    if script == "in":
        return mostly(some(GetParams), hostile.junk)
    acting = [some(model).map(partial(_acting, action)) for action, model in ACTIONS.items()]
    mixed = st.tuples(*(some(model) for model in ACTIONS.values())).map(lambda parts: reduce(lambda a, b: a | b, parts))
    return mostly(st.one_of(*acting), mixed, hostile.junk)


def _source() -> Values:
    """Mostly one that reaches the table of the test, in any pool and with any further options."""
    reaching = some(Source, (*REACHING, "pool", "table", "debug"))
    few = reaching.flatmap(lambda given: st.booleans().map(lambda debug: given | {"debug": debug}))
    return mostly(st.just({}) | few, some(Source), hostile.junk)


def stories(least: int, most: int) -> Values:
    """Inputs that follow each other: first a claim that can be made, then as many of any kind."""
    locks = st.fixed_dictionaries({"action": st.just("claim"), "lock_name": st.just("a"), "need_approval": st.booleans()})
    first = st.builds(Input, script=st.just("out"), params=locks, build=st.just(1))
    return st.tuples(first, st.lists(inputs(), min_size=least, max_size=most)).map(lambda story: [story[0], *story[1]])


def inputs() -> Values:
    """Any input of any script."""
    return st.sampled_from((*SCRIPTS, "out", "out", "out")).flatmap(_input)


def _input(script: str) -> Values:
    return st.builds(
        Input,
        script=st.just(script),
        source=_source(),
        params=_params(script),
        earlier=mostly(st.integers(0, 2), st.none()),
        version=mostly(st.just({}), some(RequestedVersion), hostile.junk),
        build=st.integers(1, 3),
        environment=mostly(st.just({}), st.dictionaries(st.sampled_from(BUILD), hostile.printable, max_size=3)),
        meanwhile=st.lists(st.sampled_from(["approve", "reject", "end", ""]), max_size=3).map(tuple),
    )
