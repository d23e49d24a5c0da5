"""Reach of a Rego text into its input: every path that it may read, and what can't be followed.

The text isn't run. Abstract interpretation gives each expression all the parts of the input that may be its
value. Values are followed through names, rules, functions' arguments and results, `some … in`,
`every`, comprehensions, and collections that the policy builds. A key that can't be known reaches everything
beside it.
"""

from __future__ import annotations

from collections.abc import Iterable

from approval_resource.policy.sandbox import tree as ast
from approval_resource.policy.sandbox.expressions import Clause, Expressions, Use
from approval_resource.policy.sandbox.tree import Node
from approval_resource.policy.sandbox.values import BELOW, EACH, NOTHING, OTHER, Scope, Value

MAX_ROUNDS = 12
MAX_TWICE = 5


class Reach(Expressions):
    """Parts of the input that a text may read, rule by rule."""

    def __init__(self, tree: Node, source: bytes) -> None:
        """Interpret all rules, again and again until a fixpoint, in at most MAX_ROUNDS rounds."""
        super().__init__(tree, source)
        self._depth = 0
        self.clauses = [Clause(name, rule) for name, _, rule in ast.heads(tree)]
        for _ in range(MAX_ROUNDS):
            before = dict(self._values), dict(self._given)
            for clause in self.clauses:
                clause.uses, clause.asks, clause.negated, clause.calls = {}, set(), [], {}
                self._clause = clause
                self._rule(clause.rule)
            if before == (self._values, self._given):
                break
        else:
            # Without a fixpoint, any rule may read everything.
            for clause in self.clauses:
                clause.uses[Use(frozenset([(BELOW,)]), True, 0, "rules that ask each other in circles")] = None

    def reachable_rules(self, names: Iterable[str]) -> set[str]:
        """Return the names, with those of all rules that they refer to, directly or not."""
        seen, todo = set[str](), list(names)
        while todo:
            name = todo.pop()
            if name not in seen:
                seen.add(name)
                for clause in self.clauses:
                    if name in (clause.name, self._function(clause.rule)):
                        todo += clause.asks
        return seen

    def closure(self, asks: set[str], uses: dict[Use, None]) -> dict[Use, None]:
        """Return the uses, with those of all rules that the names in `asks` refer to, directly or not."""
        found, names = dict(uses), self.reachable_rules(asks)
        for clause in self.clauses:
            if clause.name in names or self._function(clause.rule) in names:
                found |= clause.uses
        return found

    def of(self, clause: Clause) -> dict[Use, None]:
        """Return the uses of a clause, with those of all rules that it refers to, directly or not."""
        return self.closure(clause.asks, clause.uses)

    def _function(self, rule: Node) -> str:
        head = ast.function_of(rule)
        return ".".join(ast.static(head["refr"])) if head is not None else ""

    # ---- rules ----

    def _rule(self, rule: Node) -> None:
        if "Default" in rule:
            body = rule["Default"]
            self._define(ast.static(body["refr"]), self._value(body["value"], Scope()))
            return
        spec = rule["Spec"]
        kind, head = ast.kind_of(spec["head"])
        outer = Scope()
        for number, parameter in enumerate(head.get("args") or ()):
            self._match(parameter, self._given.get((self._function(rule), number), OTHER), outer)
        for body in [*spec["bodies"], *([] if spec["bodies"] else [None])]:
            scope = Scope(outer)
            if body is not None:
                self._query(body["query"], scope)
            assigned = (body or {}).get("assign") or head.get("assign")
            path = ast.static(head["refr"])
            if kind == "Set":
                key = self._value(head["key"], scope) if head.get("key") else OTHER
                self._use(key, head["span"]["start"], whole=False)
                self._define(path, Value(items=key, members=True))
                continue
            value = self._value(assigned["value"], scope) if assigned else OTHER
            self._use(value, head["span"]["start"], whole=False)
            if ast.kind_of(head["refr"])[0] == "RefBrack":
                key = self._value(ast.kind_of(head["refr"])[1]["index"], scope)
                self._use(key, head["span"]["start"], whole=True)
                # In v0 `p[x]` without a value is a set of x; else it is an object.
                value = value if assigned else key
                value = Value(items=value, members=not assigned)
            self._define(path, value)

    def _define(self, path: list[str], value: Value) -> None:
        name = path[0] if path else ""
        for step in reversed(path[1:]):
            value = Value(fields=((step, value),))
        self._values[name] = self._values.get(name, NOTHING) | value

    def _query(self, query: Node, scope: Scope) -> None:
        kept = dict(self._clause.uses), list(self._clause.negated)
        self._depth += 1
        # Statements may stand in any order, so a second pass knows every name. Deep inside there is only one,
        # since the passes multiply with the depth.
        for _ in range(2 if self._depth <= MAX_TWICE else 1):
            self._clause.uses, self._clause.negated = dict(kept[0]), list(kept[1])
            for statement in query["stmts"]:
                self._statement(statement["literal"], scope)
        self._depth -= 1

    def _statement(self, literal: Node, scope: Scope) -> None:
        kind, body = ast.kind_of(literal)
        match kind:
            case "SomeVars":
                for span in body["vars"]:
                    scope.bind(ast.source_of(self._source, span), NOTHING)
            case "SomeIn":
                self._each(body["key"], body["value"], body["collection"], scope, scope)
            case "Every":
                inner = Scope(scope)
                value = {"Var": {"value": ast.source_of(self._source, body["value"]), "span": body["value"]}}
                key = body.get("key")
                named = {"Var": {"value": ast.source_of(self._source, key), "span": key}} if key else None
                self._each(named, value, body["domain"], scope, inner)
                self._query(body["query"], inner)
            case "NotExpr":
                uses, asks = self._clause.uses, self._clause.asks
                self._clause.uses, self._clause.asks = {}, set()
                self._taken(body["expr"], Scope(scope), whole=False)
                self._clause.negated.append((body["span"]["start"], self._clause.uses, self._clause.asks))
                self._clause.uses, self._clause.asks = uses | self._clause.uses, asks | self._clause.asks
            case _:
                self._taken(body["expr"], scope, whole=False)

    def _each(self, key: Node | None, value: Node, collection: Node, outer: Scope, inner: Scope) -> None:
        held = self._value(collection, outer)
        self._use(held.at(EACH), ast.start_of(collection), whole=False)
        self._use(held, ast.start_of(collection), whole=False)
        if key is not None:
            self._match(key, OTHER, inner)
        self._match(value, held.at(EACH), inner)
