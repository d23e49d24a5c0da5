"""What is wrong with a Rego policy before it is ever asked, found in its syntax tree. Run by path, in the child.

The traps are those of facts measured on the engine: built-ins that reach out of the policy, keywords taken for rule
names, data looked up by what an input says, negations that hold because a fact is missing.
"""

from __future__ import annotations

from collections.abc import Iterator
from difflib import get_close_matches
from typing import Any

PACKAGE = "spacelift"
KEYWORDS = ("if", "contains", "in", "every")
APPROVING = ("approve", "approve_with_note")
ANSWERS = frozenset({*APPROVING, "reject", "reject_with_note", "flag"})
SIMPLE = """
    abs all any ceil concat contains count endswith floor format_int indexof indexof_n intersection is_array is_boolean
    is_null is_number is_object is_set is_string lower max min print product re_match replace round set_diff sort split sprintf
    startswith substring sum to_number trim trim_left trim_prefix trim_right trim_space trim_suffix type_name union upper walk
    cast_array cast_boolean cast_null cast_object cast_set cast_string array_concat and or minus plus mul div rem
"""
DOTTED = """
    array.concat array.reverse array.slice array.flatten base64.decode base64.encode base64.is_valid base64url.decode
    base64url.encode base64url.encode_no_pad crypto.hmac.equal
    crypto.md5 crypto.sha1 crypto.sha256 glob.match glob.quote_meta graph.reachable graph.reachable_paths hex.decode hex.encode
    json.filter json.is_valid json.marshal json.patch json.remove json.unmarshal net.cidr_contains net.cidr_contains_matches
    net.cidr_expand net.cidr_intersects net.cidr_is_valid net.cidr_merge numbers.range numbers.range_step object.filter
    object.get object.keys object.remove object.subset object.union object.union_n regex.find_all_string_submatch_n
    regex.find_n regex.globs_match regex.is_valid regex.match regex.replace regex.split regex.template_match semver.compare
    semver.is_valid strings.any_prefix_match strings.any_suffix_match strings.count strings.render_template
    strings.replace_n strings.reverse time.add_date time.clock time.date time.diff time.format time.parse_duration_ns
    time.parse_ns time.parse_rfc3339_ns time.weekday units.parse units.parse_bytes urlquery.decode
    urlquery.decode_object urlquery.encode urlquery.encode_object yaml.is_valid yaml.marshal yaml.unmarshal
"""
ALLOWED = frozenset(SIMPLE.split()) | frozenset(DOTTED.split())
INSTEAD = {
    "time.now_ns": "time comes as input.request.timestamp_ns",
    "http.send": "a policy reaches nothing outside; give what it needs as facts",
    "opa.runtime": "a policy sees nothing of the machine",
    "trace": "use a note instead",
}

Problem = dict[str, Any]
Told = tuple[dict[str, Any], str, bool]
"""Where, what, and whether it is an error."""


def lint(tree: dict[str, Any], text: str, schema: dict[str, Any]) -> list[Problem]:
    """Every problem of the policy, with line and column within it; those that aren't errors are warnings."""
    return list(_Lint(tree, text.encode(), schema).problems())


def rule_names(tree: dict[str, Any]) -> set[str]:
    """The names of all rules."""
    return {name for name, _, _ in _heads(tree)}


def _heads(tree: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any], dict[str, Any]]]:
    """Each rule's name, the span of its head, and the rule."""
    for rule in tree["rules"]:
        (kind, body) = next(iter(rule.items()))
        head = body if kind == "Default" else next(iter(body["head"].values()))
        path = _static(head["refr"])
        yield (path[0] if path else ""), body["span"], rule


def _static(node: dict[str, Any]) -> list[str]:
    """The path of a reference as far as it doesn't depend on anything: `input.run.changes[_].x` is input, run, changes."""
    steps, _ = _reference(node)
    known = []
    for step in steps:
        if not isinstance(step, str):
            break
        known.append(step)
    return known


def _reference(node: dict[str, Any]) -> tuple[list[str | None], dict[str, Any] | None]:
    """A reference's steps, None for one that is computed, and where it begins; nothing for what is no reference."""
    kind, body = next(iter(node.items()))
    if kind == "Var":
        return [body["value"]], body["span"]
    if kind not in ("RefDot", "RefBrack"):
        return [], None
    steps, span = _reference(body["refr"])
    if not steps:
        return [], None
    if kind == "RefDot":
        return [*steps, body["field"][1]], span
    inner, value = next(iter(body["index"].items()))
    return [*steps, value["value"] if inner in ("String", "RawString") else None], span


def _nodes(node: Any, outer: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every expression of the tree as (kind, body)."""
    if isinstance(node, dict):
        for key, value in node.items():
            if isinstance(value, dict) and "span" in value and key[:1].isupper():
                yield key, value
            yield from _nodes(value, key)
    elif isinstance(node, list):
        for item in node:
            yield from _nodes(item, outer)


class _Lint:
    def __init__(self, tree: dict[str, Any], text: bytes, schema: dict[str, Any]) -> None:
        self._tree, self._text, self._schema = tree, text, schema
        self._names = rule_names(tree)
        self._aliases: dict[str, list[str | None]] = {}
        """What names stand for parts of the input: those imported, and in the rule at hand those assigned."""
        for imported in tree["imports"]:
            steps, _ = _reference(imported["refr"])
            if steps[:1] == ["input"]:
                alias = imported.get("as")
                name = text[alias["start"] : alias["end"]].decode() if alias else str(steps[-1])
                self._aliases[name] = steps

    def problems(self) -> Iterator[Problem]:
        """Every problem, at the place where what it is about begins: the engine's own columns are those of its last sign."""
        for span, message, error in self._found():
            before = self._text[: span["start"]]
            column = len(before.rpartition(b"\n")[2].decode("utf-8", "replace")) + 1
            yield {"line": before.count(b"\n") + 1, "column": column, "message": message, "error": error}

    def _found(self) -> Iterator[Told]:
        package = ".".join(str(step) for step in _reference(self._tree["package"]["refr"])[0])
        if package != PACKAGE:
            yield _problem(self._tree["package"]["span"], f"package is {package}; it must be {PACKAGE}")
        yield from self._imports()
        for name, span, rule in _heads(self._tree):
            if name in KEYWORDS:
                yield _problem(
                    span,
                    f"a rule is called {name}, a keyword of Rego v1: without `import rego.v1` the one before it is always true",
                )
            if name in APPROVING and not _conditional(rule):
                yield _problem(span, f"{name} has no condition, so it approves everything", error=False)
        if not self._names & set(APPROVING):
            yield _problem(
                self._tree["package"]["span"], "has no approve rule, so it never approves and the gate never opens", error=False
            )
        yield from self._calls()
        yield from self._references()
        yield from self._negations()

    def _imports(self) -> Iterator[Told]:
        for imported in self._tree["imports"]:
            steps, span = _reference(imported["refr"])
            if steps[:1] not in (["rego"], ["future"], ["input"]):
                yield _problem(span or imported["span"], "imports what isn't there: a policy is one text, with no other data")

    def _calls(self) -> Iterator[Told]:
        functions = {
            ".".join(_static(next(iter(rule["Spec"]["head"].values()))["refr"]))
            for rule in self._tree["rules"]
            if "Spec" in rule and "Func" in rule["Spec"]["head"]
        }
        for name, span, rule in _heads(self._tree):
            if "Spec" in rule and "Func" in rule["Spec"]["head"] and name in ALLOWED | ANSWERS:
                yield _problem(span, f"a function is called {name}, which is something else already")
        for kind, body in _nodes(self._tree["rules"]):
            if kind == "Call":
                name = ".".join(str(step) for step in _reference(body["fcn"])[0])
                if name not in ALLOWED | functions and name.removeprefix(f"data.{PACKAGE}.") not in functions:
                    near = get_close_matches(name, ALLOWED | functions, n=1)
                    way = INSTEAD.get(name) or (f"did you mean {near[0]}?" if near else "it isn't available to policies")
                    yield _problem(body["span"], f"calls {name}: {way}")
        for changed in _with(self._tree["rules"]):
            yield _problem(changed["span"], "changes its own input or data with `with`, which is for tests")

    def _by_rule(self) -> Iterator[Any]:
        """Each rule, while the names that it gives to parts of the input are known."""
        imported = self._aliases
        for rule in self._tree["rules"]:
            self._aliases = dict(imported)
            for kind, body in _nodes(rule):
                if kind == "AssignExpr" and "Var" in body["lhs"]:
                    path = self._input_path(_reference(body["rhs"])[0])
                    if path is not None:
                        self._aliases[body["lhs"]["Var"]["value"]] = ["input", *path]
            yield rule
        self._aliases = imported

    def _references(self) -> Iterator[Told]:
        for rule in self._by_rule():
            yield from self._references_in(rule)

    def _references_in(self, rule: Any) -> Iterator[Told]:
        inner: set[int] = set()
        for kind, body in _nodes(rule):
            if body.get("eidx") in inner or kind not in ("RefDot", "RefBrack", "Var"):
                continue
            steps, _ = _reference({kind: body})
            _cover(body, inner)
            if steps[:1] == ["data"]:
                if steps[1:2] != [PACKAGE] or not all(isinstance(step, str) for step in steps[:3]):
                    yield _problem(body["span"], f"looks into data by name: name the rule itself, as data.{PACKAGE}.RULE")
                elif len(steps) < 3:
                    yield _problem(body["span"], f"takes all of data.{PACKAGE}; name one rule")
                elif steps[2] not in self._names:
                    yield _problem(body["span"], f"data.{PACKAGE}.{steps[2]} is no rule of this policy")
            path = self._input_path(steps)
            if path is not None and (told := unknown(path, self._schema)):
                message, error = told
                yield _problem(body["span"], message, error=error)

    def _input_path(self, steps: list[str | None]) -> list[str | None] | None:
        """The path below input, or None where the reference is to something else."""
        if steps[:1] == ["input"]:
            return steps[1:]
        alias = self._aliases.get(str(steps[0])) if steps else None
        return [*alias[1:], *steps[1:]] if alias and steps[0] not in self._names else None

    def _negations(self) -> Iterator[Told]:
        bodies: dict[str, list[Any]] = {}
        for name, _, rule in _heads(self._tree):
            bodies.setdefault(name, []).append(rule)
        nots = ((kind, body) for rule in self._by_rule() for kind, body in _nodes(rule))
        for kind, body in nots:
            if kind == "NotExpr" and (path := self._may_be_missing(body["expr"], bodies, set())):
                yield _problem(
                    body["span"], f"holds also where input.{path} is missing; ask for it in a line before this one", error=False
                )

    def _may_be_missing(self, node: Any, bodies: dict[str, list[Any]], seen: set[str]) -> str:
        for kind, body in _nodes(node):
            if kind not in ("RefDot", "RefBrack", "Var"):
                continue
            steps, _ = _reference({kind: body})
            path = self._input_path(steps)
            if path:
                if (missing := _optional(path, self._schema)) is not None:
                    return missing
            elif steps and steps[0] in bodies and steps[0] not in seen:
                seen.add(str(steps[0]))
                if found := self._may_be_missing(bodies[str(steps[0])], bodies, seen):
                    return found
        return ""


def _conditional(rule: dict[str, Any]) -> bool:
    """Whether the rule depends on anything."""
    if "Default" in rule:
        return next(iter(rule["Default"]["value"].items()))[1].get("value") is not True
    spec = rule["Spec"]
    if spec["bodies"]:
        return True
    values = [head["assign"]["value"] for head in spec["head"].values() if head.get("assign")]
    return bool(values) and all("Bool" not in value for value in values)


def _with(node: Any) -> Iterator[dict[str, Any]]:
    """Every `with` of the tree."""
    if isinstance(node, dict):
        yield from node.get("with_mods") or ()
    for inner in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from _with(inner)


def _cover(body: dict[str, Any], covered: set[int]) -> None:
    """Take note of the references within a reference, which are no references of their own."""
    inner = body.get("refr")
    while isinstance(inner, dict):
        kind, value = next(iter(inner.items()))
        if kind not in ("RefDot", "RefBrack", "Var"):
            return
        covered.add(value["eidx"])
        inner = value.get("refr")


def unknown(path: list[str | None], schema: dict[str, Any]) -> tuple[str, bool] | None:
    """What to say of a path that the input document has no place for, and whether nothing could ever stand there."""
    known = schema
    for number, step in enumerate(path):
        if step is None:
            if "[]" not in known:
                return None
            known = known["[]"]
            continue
        by_name = {key.rstrip("?"): value for key, value in known.items() if key not in ("[]", "open")}
        if step in by_name:
            known = by_name[step]
            continue
        if "[]" in known and step.isdigit():
            known = known["[]"]
            continue
        where = ".".join(["input", *("_" if part is None else part for part in path[: number + 1])])
        near = get_close_matches(step, by_name, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        if "open" in known:
            return (f"{where} is not in the schema, so the pipeline has to give it as a fact{hint}", False)
        return (f"{where} does not exist{hint or '; see docs/policies.md'}", True)
    return None


def _optional(path: list[str | None], schema: dict[str, Any]) -> str | None:
    """The beginning of the path that may be missing; None where all of it is always there."""
    known = schema
    for number, step in enumerate(path):
        if step is None or (step.isdigit() and "[]" in known):
            if "[]" not in known:
                return _named(path, number)
            known = known["[]"]
        elif step in known:
            known = known[step]
        else:
            return _named(path, number)
    return None


def _named(path: list[str | None], last: int) -> str:
    return ".".join("_" if part is None else part for part in path[: last + 1])


def _problem(span: dict[str, Any], message: str, *, error: bool = True) -> Told:
    return span, message, error
