"""All that the value of an expression in a Rego text may be, as far as its input goes, and the names it goes by."""

from __future__ import annotations

from dataclasses import dataclass

EACH = "\0each"
"""A step to every part there is."""
ANY = "\0any"
"""A step by a key that can't be told."""
BELOW = "\0below"
"""Everything below, at whatever depth."""
MAX_STEPS, MAX_NESTED = 16, 6

Path = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Value:
    """All that an expression's value may be."""

    paths: frozenset[Path] = frozenset()
    texts: frozenset[str] = frozenset()
    items: Value | None = None
    """Members of a collection that the policy built."""
    fields: tuple[tuple[str, Value], ...] = ()
    members: bool = False
    """Whether that collection is a set, whose keys are what it holds."""
    other: bool = False
    """Whether it may be something that is none of these."""
    dark: str = ""
    """A function whose result may look like anything."""

    def __or__(self, more: Value) -> Value:
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
            self.dark or more.dark,
        )
        return (
            found
            if found.depth() <= MAX_NESTED
            else Value(frozenset((*path, BELOW) for path in found.everything()), other=True)
        )

    def depth(self) -> int:
        """Return how deep the policy nested what it built."""
        return 1 + max([0, *(one.depth() for one in self.held())])

    def held(self) -> list[Value]:
        """Return what a collection of the policy's holds."""
        return [*([self.items] if self.items is not None else []), *(value for _, value in self.fields)]

    def everything(self) -> frozenset[Path]:
        """Return every path in it, at whatever depth."""
        return self.paths.union(*(one.everything() for one in self.held()))

    def at(self, step: str) -> Value:
        """Return the part of it at that step."""
        found = Value(
            frozenset(_longer(path, step) for path in self.paths), other=self.other or bool(self.dark), dark=self.dark
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
    """The names of one body, within those around it."""

    def __init__(self, outer: Scope | None = None) -> None:
        self.outer = outer
        self.values: dict[str, Value] = {}
        self.assigned: set[str] = set()
        self.loops: dict[str, int] = {}
        """Offset at which a name that is given no value stands first, and so goes through all there is."""

    def find(self, name: str) -> Scope | None:
        """Return the scope in which the name is one of these."""
        scope: Scope | None = self
        while scope is not None and name not in scope.values:
            scope = scope.outer
        return scope

    def bind(self, name: str, value: Value) -> None:
        if name != "_":
            self.values[name] = self.values.get(name, NOTHING) | value
