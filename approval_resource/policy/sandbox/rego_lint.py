"""Lint a Rego policy in its abstract syntax tree, before it is ever evaluated. Runs in the child.

It finds traps that were measured on the engine: built-ins that reach out of the policy, keywords taken for
rule names, data looked up by a name from the input, negations that hold because a fact is missing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from difflib import get_close_matches
from typing import Any

from approval_resource.policy.sandbox import functions, go_format
from approval_resource.policy.sandbox import tree as ast
from approval_resource.policy.sandbox.expressions import Clause, Use
from approval_resource.policy.sandbox.functions import ALLOWED
from approval_resource.policy.sandbox.reach import Reach
from approval_resource.policy.sandbox.tree import APPROVING, PACKAGE, REJECTING
from approval_resource.policy.sandbox.values import ANY, BELOW, EACH, Path, shown

KEYWORDS = ("if", "contains", "in", "every")
ANSWERS = frozenset({*APPROVING, *REJECTING, "flag"})
INSTEAD = {
    "time.now_ns": "time comes as input.request.timestamp_ns",
    "http.send": "a policy reaches nothing outside; give what it needs as facts",
    "opa.runtime": "a policy sees nothing of the machine",
    "trace": "use a note instead",
}
REFUSED = {"author_roles": "there are no roles here; list people under groups, and ask for session.teams"}
"""Fields of Spacelift's input that nothing here can fill, each with what to use instead."""
ORDERING = ("Lt", "Le", "Gt", "Ge")
VERSION = re.compile(r"v?\d+(\.\d+)+([-+].*)?")
AS_TEXT = 'compares versions as text, where "1.10" is less than "1.9"'

Problem = dict[str, Any]
Told = tuple[int, str, bool]
"""Offset in the source, message, and whether it is an error."""


def lint(tree: dict[str, Any], source: bytes, schema: dict[str, Any], reach: Reach) -> list[Problem]:
    """Return every problem of the policy, errors and warnings, with line and column."""
    found = []
    for start, message, error in dict.fromkeys(_Lint(tree, source, schema, reach).found()):
        line, column = place(source, start)
        found.append({"line": line, "column": column, "message": message, "error": error})
    return found


def place(source: bytes, start: int) -> tuple[int, int]:
    """Return the line and column of an offset in the source.

    The engine's own columns don't serve: they are those of an expression's last character.
    """
    before = source[:start]
    return before.count(b"\n") + 1, len(before.rpartition(b"\n")[2].decode("utf-8", "replace")) + 1


class _Lint:
    def __init__(self, tree: dict[str, Any], source: bytes, schema: dict[str, Any], reach: Reach) -> None:
        self._tree, self._source, self._schema, self._reach = tree, source, schema, reach
        self._names = ast.rule_names(tree)
        self._functions = ast.functions(tree)

    def found(self) -> Iterator[Told]:
        """Yield every problem, with the offset at which its subject begins."""
        beginning = self._tree["package"]["span"]
        package = ".".join(str(step) for step in ast.reference(self._tree["package"]["refr"])[0])
        if package != PACKAGE:
            yield _problem(beginning, f"package is {package}; it must be {PACKAGE}")
        yield from self._imports()
        for name, span, rule in ast.heads(self._tree):
            if name in KEYWORDS:
                yield _problem(
                    span,
                    f"a rule is called {name}, a keyword of Rego v1: without `import rego.v1`, the rule in front of that keyword is always true",
                )
            if name in APPROVING and not conditional(rule):
                yield _problem(span, f"{name} has no condition, so it approves everything", error=False)
        if not self._names & set(APPROVING):
            yield _problem(beginning, "has no approve rule, so it never approves and the gate never opens", error=False)
        yield from self._unasked()
        yield from self._calls()
        yield from self._data()
        for clause in self._reach.clauses:
            for use in clause.uses:
                yield from self._use(use)
            yield from self._negations(clause)
        yield from self._failing()
        yield from self._versions()

    def _imports(self) -> Iterator[Told]:
        for imported in self._tree["imports"]:
            steps, span = ast.reference(imported["refr"])
            if steps[:1] not in (["rego"], ["future"], ["input"]):
                yield _problem(span or imported["span"], "imports what isn't there: a policy is one text, with no other data")

    def _unasked(self) -> Iterator[Told]:
        """Yield rules that no answer depends on, such as a `deny` that rejects nothing."""
        asked = self._reach.reachable_rules(ANSWERS)
        told = set[str]()
        for name, span, _ in ast.heads(self._tree):
            if name not in asked and name not in told and name not in KEYWORDS:
                told.add(name)
                near = get_close_matches(name, ANSWERS, n=1)
                hint = f"; did you mean {near[0]}?" if near else ""
                yield _problem(
                    span,
                    f"rule {name} decides nothing: only {', '.join(sorted(ANSWERS))} and what they ask count{hint}",
                    error=False,
                )

    def _calls(self) -> Iterator[Told]:
        for name, span, rule in ast.heads(self._tree):
            if ast.function_of(rule) is not None and name in ALLOWED | ANSWERS:
                yield _problem(span, f"a function is called {name}, which is something else already")
        for kind, body in ast.nodes(self._tree["rules"]):
            if kind == "Call":
                yield from self._call(body, ast.called(body))
        for changed in _with(self._tree["rules"]):
            yield _problem(changed["span"], "changes its own input or data with `with`, which is for tests")

    def _call(self, body: dict[str, Any], name: str) -> Iterator[Told]:
        given = len(body["params"])
        if ast.own_function(name, self._functions) is not None:
            return
        if name not in ALLOWED:
            near = get_close_matches(name, ALLOWED | self._functions, n=1)
            way = INSTEAD.get(name) or (f"did you mean {near[0]}?" if near else "it isn't available to policies")
            yield _problem(body["span"], f"calls {name}: {way}")
        elif name != "print":
            arity = len(functions.SIGNATURES[name])
            if given not in (arity, arity + 1):
                yield _problem(body["span"], f"calls {name} with {given} arguments; it takes {arity}")
            elif given == arity + 1 and name in functions.BODIES:
                yield _problem(body["span"], f"calls {name} with its result as an argument; write x := {name}(…)")
        if name == "sprintf" and given and (form := ast.text_of(body["params"][0])) is not None:
            yield from self._format(body, form)

    def _format(self, body: dict[str, Any], form: str) -> Iterator[Told]:
        refusal = go_format.refusal(form)
        values = body["params"][1] if len(body["params"]) > 1 else {}
        if refusal:
            yield _problem(body["span"], f"sprintf: {refusal}, which is an error", error=False)
        elif "Array" in values and (listed := len(values["Array"]["items"])) != (asked := go_format.values(form)):
            yield _problem(body["span"], f"sprintf: the format is for {asked} values, and {listed} are given", error=False)

    def _data(self) -> Iterator[Told]:
        inner: set[int] = set()
        for kind, body in ast.nodes(self._tree["rules"]):
            if body.get("eidx") in inner or kind not in ast.REFERENCES:
                continue
            steps, _ = ast.reference({kind: body})
            _cover(body, inner)
            if steps[:1] != ["data"]:
                continue
            if steps[1:2] != [PACKAGE] or not all(isinstance(step, str) for step in steps[:3]):
                yield _problem(body["span"], f"looks into data by name: name the rule itself, as data.{PACKAGE}.RULE")
            elif len(steps) < 3:
                yield _problem(body["span"], f"takes all of data.{PACKAGE}; name one rule")
            elif steps[2] not in self._names:
                yield _problem(body["span"], f"data.{PACKAGE}.{steps[2]} is no rule of this policy")

    # ---- paths ----

    def _use(self, use: Use) -> Iterator[Told]:
        if use.unknown_shape_of:
            yield use.start, f"not checked: what {use.unknown_shape_of} gives may have any parts", False
        if not use.paths:
            return
        told = [unknown(_steps(path), self._schema) for path in sorted(use.paths)]
        if all(told):
            # Where the value may be one of several parts, one that the schema has is enough.
            message, error = min((one for one in told if one is not None), key=lambda one: one[1])
            yield use.start, message, error
        for path in use.paths:
            for number, step in enumerate(path):
                known = _schema_at(path[:number], self._schema)
                if step == ANY and known is not None and "[]" not in known and len(known.keys() - {"open"}) > 0:
                    where = shown(["input", *_steps(path[:number])])
                    yield use.start, f"not checked: takes a part of {where} by a key that can't be told; name the key", False

    def _negations(self, clause: Clause) -> Iterator[Told]:
        for start, uses, asks in clause.negated:
            paths = sorted(path for use in self._reach.closure(asks, uses) for path in use.paths)
            missing = next((one for path in paths if (one := _optional(_steps(path), self._schema)) is not None), None)
            if missing is not None:
                yield start, f"holds also where input.{missing} is missing; ask for it in a line before this one", False

    # ---- failures at evaluation ----

    def _failing(self) -> Iterator[Told]:
        """Yield calls that may fail on a pipeline's facts, where failure is an error, not undefined."""
        starts = {call.start: call for clause in self._reach.clauses for call in clause.calls}
        for _, body, name, fails_safe in functions.calls(self._source, self._tree):
            call = starts.get(body["span"]["start"])
            paths = call.paths if call is not None else frozenset()
            if not fails_safe and any(_optional(_steps(path), self._schema) is not None for path in paths):
                yield _problem(
                    body["span"],
                    f"where {functions.WRITTEN.get(name, name)} fails it is an error here, and not undefined as in OPA, since the "
                    "policy might approve without it",
                    error=False,
                )

    def _versions(self) -> Iterator[Told]:
        for kind, body in ast.nodes(self._tree["rules"]):
            if kind == "BoolExpr" and body["op"] in ORDERING:
                sides = (body["lhs"], body["rhs"])
                if any(_is_version(side) for side in sides) and not any("Number" in side or "Call" in side for side in sides):
                    yield _problem(
                        body["span"],
                        f"{AS_TEXT}; use semver.compare",
                        error=False,
                    )


def _is_version(node: dict[str, Any]) -> bool:
    text = ast.text_of(node)
    if text is not None:
        return VERSION.fullmatch(text) is not None
    steps, _ = ast.reference(node)
    return bool(steps) and "version" in str(steps[-1]).lower()


def conditional(rule: dict[str, Any]) -> bool:
    """Whether the rule depends on anything, or gives another value than true."""
    if "Default" in rule:
        return not _is_true(rule["Default"]["value"])
    spec = rule["Spec"]
    if spec["bodies"]:
        return True
    values = [head["assign"]["value"] for head in spec["head"].values() if head.get("assign")]
    return bool(values) and not any(map(_is_true, values))


def _is_true(value: dict[str, Any]) -> bool:
    return ast.kind_of(value)[1].get("value") is True


def _with(node: Any) -> Iterator[dict[str, Any]]:
    """Yield every `with` modifier of the tree."""
    if isinstance(node, dict):
        yield from node.get("with_mods") or ()
    for inner in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from _with(inner)


def _cover(body: dict[str, Any], covered: set[int]) -> None:
    """Add the inner references of a reference to `covered`, so that only the whole one is looked at."""
    inner = body.get("refr")
    while isinstance(inner, dict):
        kind, value = ast.kind_of(inner)
        if kind not in ast.REFERENCES:
            return
        covered.add(value["eidx"])
        inner = value.get("refr")


# ---- the schema ----------------------------------------------------------------


def _steps(path: Path) -> list[str | None]:
    """Return a path's steps before BELOW, with None for each step that has no known key."""
    steps: list[str | None] = []
    for step in path:
        if step == BELOW:
            break
        steps.append(None if step in (EACH, ANY) else step)
    return steps


def _named(known: dict[str, Any]) -> dict[str, Any]:
    return {key.rstrip("?"): value for key, value in known.items() if key not in ("[]", "open")}


def _schema_at(path: Path, schema: dict[str, Any]) -> dict[str, Any] | None:
    known: dict[str, Any] | None = schema
    for step in _steps(path):
        known = None if known is None else known.get("[]") if step is None else _named(known).get(step)
    return known


def unknown(path: list[str | None], schema: dict[str, Any]) -> tuple[str, bool] | None:
    """Return a message on a path that the schema doesn't have, and whether it is an error; else None.

    The message is only a warning if a pipeline may give the fact.
    """
    known = schema
    for number, step in enumerate(path):
        if step is None:
            if "[]" not in known:
                return None
            known = known["[]"]
            continue
        by_name = _named(known)
        if step in by_name:
            known = by_name[step]
            continue
        if "[]" in known and step.isdigit():
            known = known["[]"]
            continue
        where = shown(["input", *path[: number + 1]])
        if step in REFUSED:
            return (f"{where} is refused: {REFUSED[step]}", True)
        near = get_close_matches(step, by_name, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        if "open" in known:
            return (f"{where} is not in the schema, so the pipeline has to give it as a fact{hint}", False)
        return (f"{where} does not exist{hint or '; see docs/policies.md'}", True)
    return None


def _optional(path: list[str | None], schema: dict[str, Any]) -> str | None:
    """Return the path up to its first step that may be missing; None where no step may be missing."""
    known = schema
    for number, step in enumerate(path):
        if step is None or (step.isdigit() and "[]" in known):
            if "[]" not in known:
                return shown(path[: number + 1])
            known = known["[]"]
        elif step in known:
            known = known[step]
        else:
            return shown(path[: number + 1])
    return None


def _problem(span: dict[str, Any], message: str, *, error: bool = True) -> Told:
    return span["start"], message, error
