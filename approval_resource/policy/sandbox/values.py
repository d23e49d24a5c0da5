"""Abstract values of Rego expressions, as far as they come from the input, and the scopes of names."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

EACH = "\0each"
"""Step to every part there is."""
ANY = "\0any"
"""Step by a key that can't be known before evaluation."""
BELOW = "\0below"
"""Everything below, at any depth."""
MAX_STEPS, MAX_NESTED = 16, 6

Path = tuple[str, ...]


def shown(path: Iterable[str | None]) -> str:
    """Return a path for people, with `_` for each step that has no known key."""
    return ".".join("_" if step in (None, EACH, ANY) else str(step) for step in path)


@dataclass(frozen=True, slots=True)
class Value:
    """Abstract value: everything that an expression may be."""

    paths: frozenset[Path] = frozenset()
    texts: frozenset[str] = frozenset()
    items: Value | None = None
    """Members of a collection that the policy built."""
    fields: tuple[tuple[str, Value], ...] = ()
    members: bool = False
    """Whether that collection is a set, whose keys are its members."""
    other: bool = False
    """Whether it may also be a value that the other fields don't describe."""
    unknown_shape_of: str = ""
    """Name of the function whose result this is, if its shape is unknown; else empty."""

    def __or__(self, more: Value) -> Value:
        """Return the join of two abstract values.

        A join that is nested too deeply is widened: it stands for everything below its paths.
        """
        if self == more:
            return self
        names = dict(self.fields)
        for name, value in more.fields:
            names[name] = names[name] | value if name in names else value
        items = self.items if more.items is None else more.items if self.items is None else self.items | more.items
        found = Value(
            self.paths | more.paths,
            self.texts | more.texts,
            items,
            tuple(sorted(names.items())),
            self.members if more.items is None else more.members if self.items is None else self.members and more.members,
            self.other or more.other,
            self.unknown_shape_of or more.unknown_shape_of,
        )
        return (
            found
            if found.depth() <= MAX_NESTED
            else Value(frozenset((*path, BELOW) for path in found.everything()), other=True)
        )

    def depth(self) -> int:
        """Return how deeply the policy's own collections are nested."""
        return 1 + max([0, *(one.depth() for one in self.held())])

    def held(self) -> list[Value]:
        """Return the values that the policy's own collection holds."""
        return [*([self.items] if self.items is not None else []), *(value for _, value in self.fields)]

    def everything(self) -> frozenset[Path]:
        """Return every path in it, at any depth."""
        return self.paths.union(*(one.everything() for one in self.held()))

    def at(self, step: str) -> Value:
        """Return the part of it at that step."""
        found = Value(
            frozenset(_longer(path, step) for path in self.paths),
            other=self.other or bool(self.unknown_shape_of),
            unknown_shape_of=self.unknown_shape_of,
        )
        for name, value in self.fields:
            if step in (name, EACH, ANY, BELOW):
                found |= value
        return found | self.items if self.items is not None else found


def _longer(path: Path, step: str) -> Path:
    if path[-1:] == (BELOW,):
        return path
    return (*path, step) if len(path) < MAX_STEPS else (*path, BELOW)


NOTHING = Value()
OTHER = Value(other=True)
INPUT = Value(frozenset([()]))


class Scope:
    """Scope: the names of one body, nested in the scope around it."""

    def __init__(self, outer: Scope | None = None) -> None:
        """Open a scope in `outer`."""
        self.outer = outer
        self.values: dict[str, Value] = {}
        self.assigned: set[str] = set()
        self.loops: dict[str, int] = {}
        """Offset of the first use of each name that is never assigned. There it iterates over all parts."""

    def find(self, name: str) -> Scope | None:
        """Return the nearest scope that has the name; None where none has."""
        scope: Scope | None = self
        while scope is not None and name not in scope.values:
            scope = scope.outer
        return scope

    def bind(self, name: str, value: Value) -> None:
        """Add to the values that the name may have; `_` binds nothing."""
        if name != "_":
            self.values[name] = self.values.get(name, NOTHING) | value
