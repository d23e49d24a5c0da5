"""Load policies from files and maps: YAML, JSON or bare Rego, with line and column of every problem."""

from __future__ import annotations

import json
import pathlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import yaml

from approval_resource.canonical import digest
from approval_resource.errors import ConfigError
from approval_resource.policy.language.document import MAX_SHORT_NAME, Policy
from approval_resource.policy.language.strict import problems_of
from approval_resource.strict_json import no_constant
from approval_resource.text import clean

MAX_TEXT = 131_072
"""Upper bound of one policy file, and of any YAML, in characters."""
MAX_DATA = 4_000_000
"""Upper bound of facts, reviews and inputs in JSON, in characters."""
MOST_READ = 16_000_000
"""Resource limit: bytes read of one file. No valid file has more, and a file such as /dev/zero never ends."""
MAX_DEPTH = 40
MAX_NODES = 20_000
MAX_DOCUMENTS = 20
MAX_STORED = 32_768
"""Upper bound of all policies of one claim, or of one pool, in bytes as stored."""

Path = tuple[str | int, ...]
Place = tuple[int, int]
"""Line and column, both counted from 1."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Finding in a policy file: an error makes the policy unfit, a warning doesn't."""

    where: str
    """File or option that holds the policy."""
    place: Place | None
    message: str
    error: bool = True

    def __str__(self) -> str:
        """Return the finding as one line: place, severity and message."""
        at = f":{self.place[0]}:{self.place[1]}" if self.place else ""
        return f"{self.where}{at}: {'' if self.error else 'warning: '}{self.message}"


@dataclass(frozen=True, slots=True)
class Loaded:
    """Policy document, as written and as parsed."""

    where: str
    policy: Policy
    source: Mapping[str, Any]
    """Document as plain JSON values. This form is stored and digested."""
    places: Mapping[Path, Place] = field(default_factory=dict)
    rego_at: Mapping[int, tuple[int, int, bool]] = field(default_factory=dict)
    """Place of each Rego text: line, column, and whether the text's lines are lines of the file."""

    @property
    def name(self) -> str:
        """Return the policy's name, else the last part of the place where it was found."""
        return self.policy.name or self.where.rpartition("/")[2]

    @property
    def digest(self) -> str:
        """Digest of the document."""
        return digest(self.source)

    def at(self, *path: str | int) -> Place | None:
        """Return the place of that part of the document, or of the nearest part around it."""
        for end in range(len(path), -1, -1):
            if (place := self.places.get(path[:end])) is not None:
                return place
        return None


class _Reader(yaml.SafeLoader):
    """Loader for YAML 1.2's core schema: 18:00 is text and not 1080; `on` and `yes` are text."""


_Reader.yaml_implicit_resolvers = {}
for _tag, _pattern, _first in (
    ("bool", r"^(?:true|True|TRUE|false|False|FALSE)$", "tTfF"),
    ("null", r"^(?:null|Null|NULL|~|)$", "nN~"),
    ("int", r"^[-+]?[0-9]+$", "-+0123456789"),
    ("float", r"^[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?$", "-+.0123456789"),
):
    _Reader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(_pattern), list(_first))
_Reader.yaml_implicit_resolvers.setdefault("", []).append(("tag:yaml.org,2002:null", re.compile(r"^$")))


class _WrongError(Exception):
    def __init__(self, message: str, mark: yaml.Mark | None) -> None:
        super().__init__(message)
        self.place = (mark.line + 1, mark.column + 1) if mark else None


def parse(text: str, where: str) -> tuple[object, dict[Path, Place]]:
    """Parse YAML or JSON; return the document and the place of each part.

    Raises:
        ConfigError: the text is neither, has a duplicate key, uses an alias, or is too large.
    """
    try:
        if text.lstrip()[:1] in ("{", "["):
            return _json(text), _places_of_json(text)
        return _parsed(text)
    except _WrongError as wrong:
        raise ConfigError([str(Finding(where, wrong.place, str(wrong)))]) from wrong
    except yaml.MarkedYAMLError as wrong:
        mark = wrong.problem_mark
        place = (mark.line + 1, mark.column + 1) if mark else None
        raise ConfigError([str(Finding(where, place, f"not YAML or JSON: {clean(wrong.problem or 'broken')}"))]) from wrong
    except json.JSONDecodeError as wrong:
        # A text that begins like JSON may still be YAML in flow style.
        try:
            return _parsed(text)
        except (_WrongError, yaml.YAMLError, RecursionError, ValueError):
            place = (wrong.lineno, wrong.colno)
            raise ConfigError([str(Finding(where, place, f"not JSON, nor YAML: {wrong.msg}"))]) from wrong
    except (yaml.YAMLError, RecursionError, ValueError, LookupError) as wrong:
        raise ConfigError([str(Finding(where, None, "not YAML or JSON that could be read"))]) from wrong


def _json(text: str) -> object:
    if len(text) > MAX_DATA:
        raise _WrongError(f"has more than {MAX_DATA} characters", None)

    def once(pairs: list[tuple[str, object]]) -> dict[str, object]:
        found = dict(pairs)
        if len(found) < len(pairs):
            keys = [key for key, _ in pairs]
            _parsed(text)  # raises with the place of the duplicate
            raise _WrongError(f"says {clean(next(key for key in keys if keys.count(key) > 1))[:80]} twice", None)
        return found

    document = json.loads(text, object_pairs_hook=once, parse_constant=no_constant)
    json.dumps(document, ensure_ascii=False).encode()  # a lone surrogate is no character, and raises
    return document


def _places_of_json(text: str) -> dict[Path, Place]:
    try:
        return _parsed(text)[1] if len(text) <= MAX_TEXT else {}
    except (_WrongError, yaml.YAMLError, RecursionError, ValueError):
        return {}


def _parsed(text: str) -> tuple[object, dict[Path, Place]]:
    if len(text) > MAX_TEXT:
        raise _WrongError(f"has more than {MAX_TEXT} characters", None)
    places: dict[Path, Place] = {}
    # Neither PyYAML's own parser nor its C parser refuses aliases, so the tree of nodes is walked by hand.
    node = yaml.compose(text, Loader=_Reader)
    reader = _Reader("")
    try:
        return (None if node is None else _built(node, (), places, reader, set())), places
    finally:
        reader.dispose()


def _built(node: yaml.Node, path: Path, places: dict[Path, Place], reader: _Reader, seen: set[int]) -> object:
    places[path] = (node.start_mark.line + 1, node.start_mark.column + 1)
    if len(path) > MAX_DEPTH or len(places) > MAX_NODES:
        raise _WrongError("is nested too deeply, or has too many parts", node.start_mark)
    if id(node) in seen:
        raise _WrongError("uses an anchor twice; write it out", node.start_mark)
    seen.add(id(node))
    match node:
        case yaml.MappingNode():
            found: dict[str, object] = {}
            for key_node, value_node in node.value:
                if not isinstance(key_node, yaml.ScalarNode):
                    raise _WrongError("a key must be text", key_node.start_mark)
                if key_node.tag == "tag:yaml.org,2002:merge" or key_node.value in found:
                    raise _WrongError(f"says {clean(key_node.value)[:80]} twice", key_node.start_mark)
                found[key_node.value] = _built(value_node, (*path, key_node.value), places, reader, seen)
                places[*path, key_node.value] = (key_node.start_mark.line + 1, key_node.start_mark.column + 1)
            return found
        case yaml.SequenceNode():
            return [_built(item, (*path, number), places, reader, seen) for number, item in enumerate(node.value)]
        case _:
            return _scalar(node, reader)


def _scalar(node: yaml.Node, reader: _Reader) -> object:
    if node.tag not in {f"tag:yaml.org,2002:{name}" for name in ("str", "int", "float", "bool", "null")}:
        raise _WrongError(f"unknown tag {clean(node.tag)[:80]}", node.start_mark)
    if node.tag.endswith(":int"):
        return int(node.value)
    if node.tag.endswith(":float"):
        number = float(node.value)
        if number in (float("inf"), float("-inf")):
            raise _WrongError("a number is too large", node.start_mark)
        return number
    return reader.construct_object(node)


def load_text(text: str, where: str) -> list[Loaded]:
    """Return the policies in a file.

    A file is one document or a list of them, in YAML or JSON. A file whose name ends in .rego is bare Rego.

    Raises:
        ConfigError: every problem, each with its line and column.
    """
    if len(text) > MAX_TEXT:
        raise ConfigError([f"{where}: has more than {MAX_TEXT} characters"])
    if where.endswith(".rego"):
        return load({"rego": text}, where, rego_at={0: (1, 1, True)})
    # Some editors begin a file with a byte order mark. YAML may have one; Rego's lint reports it.
    document, places = parse(text.removeprefix("\ufeff"), where)
    if isinstance(document, Mapping) and document.keys() == {"policy"}:
        document, places = document["policy"], {path[1:]: place for path, place in places.items() if path}
    return load(document, where, places, text)


def load(
    document: object,
    where: str,
    places: Mapping[Path, Place] | None = None,
    text: str = "",
    *,
    rego_at: Mapping[int, tuple[int, int, bool]] | None = None,
) -> list[Loaded]:
    """Return the policies in a map, or in a list of maps.

    Raises:
        ConfigError: every problem, each with its line and column where they are known.
    """
    several = isinstance(document, list)
    documents = document if isinstance(document, list) else [document]
    if not documents or len(documents) > MAX_DOCUMENTS:
        raise ConfigError([f"{where}: must be a policy, or a list of 1 to {MAX_DOCUMENTS} of them"])
    found: list[Loaded] = []
    problems: list[str] = []
    for number, one in enumerate(documents):
        prefix: Path = (number,) if several else ()
        own = {path[len(prefix) :]: place for path, place in (places or {}).items() if path[: len(prefix)] == prefix}
        if not isinstance(one, Mapping):
            problems.append(str(Finding(where, own.get(()), "must be a map of rules; see docs/policies.md")))
            continue
        try:
            plain = json.loads(json.dumps(one, allow_nan=False))
        except (ValueError, TypeError, RecursionError):
            problems.append(str(Finding(where, own.get(()), "holds what JSON can't, or is nested too deeply")))
            continue
        policy, faults = problems_of(Policy, plain)
        if policy is None or policy.says_nothing:
            faults = faults or [
                ((), "asks for nothing; give required_approvals, approval_rules, conditions, rego, windows or freezes")
            ]
            nowhere = Loaded(where, Policy(), plain, own)
            problems += [str(Finding(where, nowhere.at(*path), _told(path, message))) for path, message in faults]
            continue
        name = f"{where}[{number}]" if several else where
        begin = rego_at if rego_at is not None else _rego_places(plain.get("rego"), own, text)
        found.append(Loaded(name, policy, plain, own, begin))
    if problems:
        raise ConfigError(problems)
    return found


def _told(path: Iterable[str | int], message: str) -> str:
    name = ".".join(clean(str(step))[:80] for step in path)
    return f"{name}: {message}" if name else message


def _rego_places(rego: object, places: Mapping[Path, Place], text: str) -> dict[int, tuple[int, int, bool]]:
    """Return the place of each Rego text, and whether the text's lines are lines of the file.

    A YAML block begins on the line after its key. Any other text has the place of its key or list item.
    """
    paths: list[Path] = [("rego",)] if isinstance(rego, str) else [("rego", i) for i in range(len(rego or ()))]  # type: ignore[arg-type]
    lines = text.splitlines()
    found: dict[int, tuple[int, int, bool]] = {}
    for number, path in enumerate(paths):
        place = places.get(path)
        if place is None:
            continue
        line = lines[place[0] - 1] if place[0] <= len(lines) else ""
        if re.search(r"[|>][-+0-9]*\s*(#.*)?$", line):
            body = next((line for line in lines[place[0] :] if line.strip()), "")
            found[number] = (place[0] + 1, len(body) - len(body.lstrip()) + 1, True)
        else:
            found[number] = (*place, False)
    return found


def stored(loaded: Sequence[Loaded]) -> str:
    """Return the policies in their stored form, which is JSON.

    Raises:
        ConfigError: there are too many, or they are too long.
    """
    documents = [{"name": clean(one.name)[-MAX_SHORT_NAME:].strip() or "policy", **one.source} for one in loaded]
    text = json.dumps(documents, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    if len(text) > MAX_STORED or len(documents) > MAX_DOCUMENTS:
        raise ConfigError(
            [
                f"policy: {len(documents)} documents, {len(text)} bytes in all; "
                f"at most {MAX_DOCUMENTS} documents and {MAX_STORED} bytes are kept"
            ]
        )
    return text


def text_of(file: pathlib.Path) -> str:
    """Return the text of a file that a person named.

    Raises:
        ConfigError: the file can't be read, is too long, or is not UTF-8.
    """
    try:
        with file.open("rb") as opened:
            content = opened.read(MOST_READ + 1)
    except OSError as wrong:
        raise ConfigError([f"{file}: can't be read ({wrong.strerror or wrong})"]) from wrong
    if len(content) > MOST_READ:
        raise ConfigError([f"{file}: has more than {MOST_READ} bytes"])
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as wrong:
        raise ConfigError([f"{file}: is no text in UTF-8"]) from wrong
