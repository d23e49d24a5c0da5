"""Find facts that a policy reads though nobody gave them, and people whom nobody knows."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from approval_resource.policy.sandbox.expressions import Use
from approval_resource.policy.sandbox.values import ANY, BELOW, EACH, Path, shown

REST = "*"
"""Step that stands for all fields of a place that aren't known by name."""
APPROVALS: Path = ("reviews", "current", "approvals")
REJECTIONS: Path = ("reviews", "current", "rejections")
ADDRESSES = ("creator_ip", "remote_ip")
FREE: Path = ("run", "changes", EACH, "entity", "data")
"""Attributes of a planned entity. The plan itself leaves some out, so an absent one counts as given."""


class Supply:
    """Sources of the parts of an input document."""

    def __init__(self, known: dict[str, Any], document: Any) -> None:
        """Take the document and the sources of its parts.

        `known` lists paths. `merged`: parts from several sources. `ours`: parts that a pipeline can't supply.
        `defaults`: values that stand for facts which nobody gave. `people`: fields that only Concourse can
        fill.
        """
        self._document = document
        self._merged = {path_of(one) for one in known["merged"]}
        self._ours = frozenset(known["ours"])
        self._defaults = {path_of(one) for one in known["defaults"]}
        self._people = [path_of(one) for one in known["people"]]

    def missing(self, uses: Iterable[Use]) -> set[Path]:
        """Return the paths that are read though nobody gave a fact there.

        A path that ends in `*` stands for fields that can't be told by name.
        """
        return {
            path
            for use in uses
            for one in use.paths
            for path in self._absent(self._document, one, (), whole=use.whole)
            if not any(_same(path, person) for person in self._people)
        }

    def unknown_people(self, uses: Iterable[Use]) -> set[Path]:
        """Return the fields that identify persons, are read, and aren't in the document."""
        return {person for person in reached(uses, self._people) if not _there(self._document, person)}

    def _absent(self, node: Any, path: Path, prefix: Path, *, whole: bool) -> Iterator[Path]:
        if prefix in self._defaults:
            yield prefix
        elif _same(prefix, FREE):
            return
        elif not path or path[0] == BELOW:
            if (whole or path) and prefix in self._merged:
                yield (*prefix, REST)
        elif isinstance(node, list):
            if path[0] in (EACH, ANY) or path[0].isdigit():
                for number, item in enumerate(node):
                    yield from self._absent(item, path[1:], (*prefix, str(number)), whole=whole)
        elif isinstance(node, dict):
            yield from self._absent_in(node, path, prefix, whole=whole)

    def _absent_in(self, node: dict[str, Any], path: Path, prefix: Path, *, whole: bool) -> Iterator[Path]:
        step = path[0]
        ours = prefix[:1] != () and prefix[0] in self._ours
        if step == ANY and not self._merged:
            return  # a whole document has one source: everything in it is given
        if step in (EACH, ANY):
            if prefix in self._merged or (step == ANY and not ours):
                yield (*prefix, REST)
            for name, value in node.items():
                yield from self._absent(value, path[1:], (*prefix, name), whole=whole)
        elif step in node:
            yield from self._absent(node[step], path[1:], (*prefix, step), whole=whole)
        elif not ours and not (prefix == () and step in self._ours):
            yield (*prefix, *itertools.takewhile(lambda one: one not in (EACH, ANY, BELOW), path))


def reached(uses: Iterable[Use], places: Sequence[Path]) -> set[Path]:
    """Return the places that any of the uses may read."""
    return {place for use in uses for path in use.paths for place in places if _overlaps(path, place, whole=use.whole)}


def _overlaps(path: Path, place: Path, *, whole: bool) -> bool:
    for one, other in zip(path, place, strict=False):
        if one == BELOW:
            return place[-1] not in ADDRESSES
        if one != other and one not in (EACH, ANY) and not (other == EACH and one.isdigit()):
            return False
    # An address counts as read only by its name: a whole session or review is read for other reasons.
    return len(path) >= len(place) or (whole and place[-1] not in ADDRESSES)


def _same(path: Path, place: Path) -> bool:
    """Whether the path is the place, or lies below it."""
    return len(path) >= len(place) and all(other in (one, EACH) for one, other in zip(path, place, strict=False))


def _there(node: Any, path: Path) -> bool:
    """Whether the path exists, in every item where it leads through a list."""
    if not path:
        return True
    if isinstance(node, list) and path[0] == EACH:
        return all(_there(item, path[1:]) for item in node)
    return isinstance(node, dict) and path[0] in node and _there(node[path[0]], path[1:])


def path_of(text: str) -> Path:
    """Parse a dotted path, in which `[]` is each item of a list."""
    return tuple(EACH if step == "[]" else step for step in text.split(".")) if text else ()


def told(path: Path) -> str:
    """Describe a path for people."""
    if path[-1] == REST:
        where = ".".join(("input", *path[:-1]))
        return f"the rest of {where} (the policy reads all of it or a computed key, so read a key by its name)"
    return shown(path)
