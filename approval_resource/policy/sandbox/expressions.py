"""Follow the data flow through the expressions of a Rego text: by any name, call or collection."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from approval_resource.policy.sandbox import tree as ast
from approval_resource.policy.sandbox.functions import SIGNATURES
from approval_resource.policy.sandbox.tree import Node
from approval_resource.policy.sandbox.values import ANY, BELOW, EACH, INPUT, NOTHING, OTHER, Path, Scope, Value

SHAPE = frozenset(
    ["count", "is_array", "is_boolean", "is_null", "is_number", "is_object", "is_set", "is_string", "type_name", "print"]
)
"""Functions whose result depends only on the type or the size of a value."""
PASSING = frozenset(
    [
        "array.concat",
        "array.reverse",
        "array.slice",
        "array_concat",
        "sort",
        "cast_array",
        "cast_set",
        "max",
        "min",
        "set_diff",
        "minus",
    ]
)
"""Functions whose result is, or holds, members of their arguments."""
PATTERNS = ("Var", "Array", "Object")
"""Patterns: expressions whose names are bound by matching."""
FLATTENING = frozenset(("union", "intersection"))
MERGING = frozenset(
    ["object.union", "object.union_n", "object.filter", "object.remove", "json.filter", "json.remove", "cast_object"]
)
"""Functions whose result has the shape of their arguments."""


@dataclass(frozen=True, slots=True)
class Use:
    """One place where a policy reads parts of the input."""

    paths: frozenset[Path]
    """Paths that may be read there."""
    whole: bool
    """Whether the whole value is read, and not only whether it exists."""
    start: int
    """Offset in the source."""
    unknown_shape_of: str = ""
    """Name of the function whose result has an unknown shape and is read there in part; else empty."""


@dataclass(slots=True)
class Clause:
    """One rule, with the parts of the input that it reads and the rules that it refers to."""

    name: str
    rule: Node
    uses: dict[Use, None] = field(default_factory=dict)
    asks: set[str] = field(default_factory=set)
    calls: dict[Use, None] = field(default_factory=dict)
    """Calls, each with the input paths that its arguments may come from."""
    negated: list[tuple[int, dict[Use, None], set[str]]] = field(default_factory=list)
    """Negations, each with its offset, its uses and the rules that it refers to."""


class Expressions:
    """Abstract interpretation of expressions: a value has all the input paths that it may come from."""

    def __init__(self, tree: Node, source: bytes) -> None:
        """Resolve the imports of the text; its rules and arguments have no values yet."""
        self._source, self._own = source, ast.functions(tree)
        self._names = ast.rule_names(tree) | self._own
        self._imports: dict[str, Value] = {}
        for imported in tree["imports"]:
            steps, _ = ast.reference(imported["refr"])
            if steps[:1] == ["input"]:
                alias = imported.get("as")
                value = INPUT
                for step in steps[1:]:
                    value = value.at(step if isinstance(step, str) else ANY)
                self._imports[ast.source_of(source, alias) if alias else str(steps[-1])] = value
        self._values: dict[str, Value] = {}
        """Value of each rule."""
        self._given: dict[tuple[str, int], Value] = {}
        """Values of each function's arguments."""
        self._clause = Clause("", {})
        """Rule that is being read."""

    def _query(self, query: Node, scope: Scope) -> None:
        raise NotImplementedError

    def _use(self, value: Value, start: int, *, whole: bool) -> None:
        if value.paths:
            self._clause.uses[Use(value.paths, whole, start)] = None
        if whole:
            for one in value.held():
                self._use(one, start, whole=True)

    def _taken(self, node: Node, scope: Scope, *, whole: bool) -> None:
        """Record the use of an expression whose value is not followed any further."""
        self._use(self._value(node, scope), ast.start_of(node), whole=whole)

    def _match(self, pattern: Node, value: Value, scope: Scope, *, declares: bool = True) -> None:
        """Bind the names of a pattern to the value that is matched with it."""
        kind, body = ast.kind_of(pattern)
        if kind == "Var":
            name = body["value"]
            place = None if declares else scope.find(name)
            if declares or place is not None or not self._known(name):
                place = place or scope
                place.bind(name, value)
                place.assigned.add(name)
        elif kind == "Array":
            for item in body["items"]:
                self._match(item, value.at(EACH), scope, declares=declares)
        elif kind == "Object":
            for _, key, one in body["fields"]:
                text = ast.text_of(key)
                self._match(one, value.at(ANY if text is None else text), scope, declares=declares)
        else:
            self._taken(pattern, scope, whole=True)

    def _known(self, name: str) -> bool:
        return name in self._names or name in self._imports or name in ("input", "data")

    def _value(self, node: Node, scope: Scope) -> Value:
        kind, body = ast.kind_of(node)
        match kind:
            case "Var" | "RefDot" | "RefBrack":
                return self._referred(node, scope)
            case "String" | "RawString":
                return Value(texts=frozenset([body["value"]]))
            case "Array" | "Set":
                items = NOTHING
                for item in body["items"]:
                    items |= self._value(item, scope)
                return Value(items=items, members=kind == "Set")
            case "Object":
                names: dict[str, Value] = {}
                rest = NOTHING
                for _, key, item in body["fields"]:
                    name, inner = ast.kind_of(key)
                    if name == "String":
                        names[inner["value"]] = self._value(item, scope)
                    else:
                        self._taken(key, scope, whole=True)
                        rest |= self._value(item, scope)
                return Value(items=rest if rest != NOTHING else None, fields=tuple(sorted(names.items())))
            case "ArrayCompr" | "SetCompr" | "ObjectCompr":
                inner_scope = Scope(scope)
                self._query(body["query"], inner_scope)
                if kind == "ObjectCompr":
                    self._taken(body["key"], inner_scope, whole=True)
                held = self._value(body["value" if kind == "ObjectCompr" else "term"], inner_scope)
                return Value(items=held, members=kind == "SetCompr")
            case "AssignExpr":
                return self._assigned(body, scope)
            case "Membership":
                self._use(self._value(body["collection"], scope).at(EACH), ast.start_of(body["collection"]), whole=True)
                for part in (body["key"], body["value"]):
                    if part is not None:
                        self._taken(part, scope, whole=True)
                return OTHER
            case "Call":
                return self._call(body, scope)
            case "BinExpr":
                return self._value(body["lhs"], scope) | self._value(body["rhs"], scope)
            case "ArithExpr":
                both = self._value(body["lhs"], scope).everything() | self._value(body["rhs"], scope).everything()
                self._clause.calls[Use(both, False, body["span"]["start"])] = None
                self._all(body, scope)
            case _:
                self._all(body, scope)
        return OTHER

    def _all(self, body: Any, scope: Scope) -> None:
        for _, inner in _below(body):
            self._taken(inner, scope, whole=True)

    def _assigned(self, body: Node, scope: Scope) -> Value:
        declares = body["op"] == "ColEq"
        sides = (body["lhs"], body["rhs"])
        names = [ast.kind_of(side)[0] in PATTERNS for side in sides]
        if not declares and not any(names):
            for side in sides:
                self._taken(side, scope, whole=True)
            return OTHER
        for pattern, given, named in ((*sides, names[0]), (*sides[::-1], names[1])):
            value = self._value(given, scope)
            # A pattern of several parts reads the whole value.
            whole = ast.kind_of(pattern)[0] in ("Array", "Object")
            self._use(Value(value.paths), ast.start_of(given), whole=whole)
            if named:
                self._match(pattern, value, scope, declares=declares)
            if declares:
                break
        return OTHER

    def _referred(self, node: Node, scope: Scope) -> Value:
        chain: list[tuple[str, Node]] = []
        while True:
            kind, body = ast.kind_of(node)
            if kind not in ("RefDot", "RefBrack"):
                break
            chain.append((kind, body))
            node = body["refr"]
        chain.reverse()
        if kind == "Var":
            name, named = body["value"], False
            steps = [step["field"][1] if how == "RefDot" else ast.text_of(step["index"]) for how, step in chain[:2]]
            if name == "data" and steps[:1] == [ast.PACKAGE] and len(steps) > 1 and isinstance(steps[1], str):
                name, named, chain = steps[1], True, chain[2:]
            local = None if named else scope.find(name)
            if local is not None:
                value = local.values[name]
                value = OTHER if value == NOTHING else value
            elif name == "input":
                value = INPUT
            elif name in self._imports and not named:
                value = self._imports[name]
            elif name in self._names:
                self._clause.asks.add(name)
                value = self._values.get(name, NOTHING)
            else:
                value = OTHER
        else:
            value = self._value(node, scope)
        for how, step in chain:
            value = self._at(value, step["field"][1], step) if how == "RefDot" else self._indexed(value, step, scope)
        return value

    def _at(self, value: Value, step: str, body: Node) -> Value:
        unknown_shape_of = value.unknown_shape_of or (
            "a path that can't be told" if any(path[-1:] == (BELOW,) for path in value.paths) else ""
        )
        if unknown_shape_of:
            self._clause.uses[Use(frozenset(), False, body["span"]["start"], unknown_shape_of)] = None
        return value.at(step)

    def _indexed(self, value: Value, body: Node, scope: Scope) -> Value:
        kind, index = ast.kind_of(body["index"])
        if (text := ast.text_of(body["index"])) is not None:
            return self._at(value, text, body)
        if kind == "Number" or (kind == "Var" and index["value"] == "_"):
            return value.at(EACH)
        if kind in ("Array", "Object"):
            self._match(body["index"], value.at(EACH), scope)
            return value.at(EACH)
        name = index["value"] if kind == "Var" else ""
        place = scope.find(name) if name else None
        if name and place is None and not self._known(name):
            scope.bind(name, NOTHING)
            place = scope
        if place is not None and name not in place.assigned:
            # At its first use, a name that is assigned nowhere else iterates over all parts.
            first = place.loops.setdefault(name, index["span"]["start"])
            if first == index["span"]["start"]:
                held = OTHER if value.items is None else value.items if value.members else OTHER | value.items
                place.bind(name, held)
                return value.at(EACH)
            return self._keyed(value, place.values[name])
        key = self._value(body["index"], scope)
        self._use(key, ast.start_of(body["index"]), whole=True)
        return self._keyed(value, key)

    def _keyed(self, value: Value, key: Value) -> Value:
        """Return the part at a key: the possible parts where the key's texts are known, else any part."""
        if key.texts and not (key.paths or key.other or key.unknown_shape_of or key.items is not None or key.fields):
            found = NOTHING
            for text in sorted(key.texts):
                found |= value.at(text)
            return found
        return value.at(ANY)

    # ---- calls ----

    def _call(self, body: Node, scope: Scope) -> Value:
        name, given = ast.called(body), body["params"]
        function = ast.own_function(name, self._own)
        if function is not None:
            self._clause.asks.add(function.partition(".")[0])
            self._clause.asks.add(function)
            for number, one in enumerate(given):
                value = self._value(one, scope)
                self._use(value, ast.start_of(one), whole=False)
                place = (function, number)
                self._given[place] = self._given.get(place, NOTHING) | value
            parts = function.split(".")
            value = self._values.get(parts[0], NOTHING)
            for part in parts[1:]:
                value = value.at(part)
            return value
        arity = len(SIGNATURES.get(name, ""))
        values = [self._value(one, scope) for one in given[:arity]]
        taken = frozenset[Path]().union(*(value.everything() for value in values))
        self._clause.calls[Use(taken, False, body["span"]["start"])] = None
        result = self._result(name, values, given[:arity])
        for one in given[arity:]:
            self._match(one, result, scope)
        return result if len(given) <= arity else OTHER

    def _result(self, name: str, values: list[Value], given: list[Node]) -> Value:
        if name == "object.get" and len(values) == 3:
            return self._got(values, given)
        whole = name not in SHAPE | PASSING | FLATTENING | MERGING
        for value, node in zip(values, given, strict=True):
            self._use(value, ast.start_of(node), whole=whole)
        together = NOTHING
        for value in values:
            together |= value
        if name in PASSING:
            return together.at(EACH) if name in ("max", "min") else Value(items=together.at(EACH))
        if name in FLATTENING:
            return Value(items=together.at(EACH).at(EACH))
        if name in MERGING:
            return together if name != "object.union_n" else together.at(EACH)
        if name == "walk":
            below = Value(frozenset((*path, BELOW) for path in together.everything()), other=True, unknown_shape_of="walk")
            return Value(items=below)
        return Value(other=True, unknown_shape_of=name if together.everything() or together.unknown_shape_of else "")

    def _got(self, values: list[Value], given: list[Node]) -> Value:
        value, key, otherwise = values
        self._use(value, ast.start_of(given[0]), whole=False)
        self._use(key, ast.start_of(given[1]), whole=True)
        kind, body = ast.kind_of(given[1])
        if kind == "Array":
            for item in body["items"]:
                text = ast.text_of(item)
                value = value.at(ANY) if text is None else self._at(value, text, ast.kind_of(given[0])[1])
        elif key.items is not None:
            value = value.at(BELOW)
            self._clause.uses[Use(frozenset(), False, ast.start_of(given[0]), "object.get by a computed path")] = None
        else:
            value = self._keyed(value, key)
        self._use(value, ast.start_of(given[0]), whole=False)
        return value | otherwise


def _below(body: Any) -> Iterator[tuple[str, Node]]:
    """Yield the nearest expressions within a body."""
    for key, value in body.items() if isinstance(body, dict) else enumerate(body) if isinstance(body, list) else ():
        if isinstance(value, dict) and len(value) == 1:
            kind, inner = ast.kind_of(value)
            if kind[:1].isupper() and isinstance(inner, dict) and "span" in inner:
                yield str(key), value
                continue
        if isinstance(value, (dict, list)):
            yield from _below(value)
