"""Built-in functions that a policy may call: their arguments, and how a call of them fails.

OPA leaves a failed call undefined. The engine ends the evaluation, and has no setting for that. So each call
that may fail is rewritten to call a library in Rego, which first checks the arguments. A call whose arguments
don't fit is undefined if that can only hold an approval back. Otherwise it ends the evaluation and names
function, value and line.
"""

from __future__ import annotations

import itertools
import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from approval_resource.policy.sandbox import tree as ast
from approval_resource.policy.sandbox.tree import Node

LIBRARY = "approval_library"
FAIL = "approval_fail.because"
FORMAT = "approval_format.go"
TRY = "approval_try.succeeds"

TYPES = {
    "s": "is_string({0})",
    "n": "is_number({0})",
    "i": "is_number({0}); {0} == floor({0})",
    "u": "is_number({0}); {0} == floor({0}); {0} >= 0",
    "a": "is_array({0})",
    "o": "is_object({0})",
    "t": "is_set({0})",
    "c": "listed({0})",
    "k": "countable({0})",
    "S": "texts({0})",
    "N": "numbers_in({0})",
    "T": "sets_in({0})",
    "O": "objects_in({0})",
    "p": "is_string({0}); regex.is_valid({0})",
    "v": "is_string({0}); semver.is_valid({0})",
    "r": "is_string({0}); net.cidr_is_valid({0})",
    "b": "bounded({0})",
    "x": "",
}
"""Rego conditions on an argument, by the letters of TABLE: text, number, whole number, whole number from 0,
array, object, set and others."""

TABLE = """
    abs:n all:c any:c array.concat:aa array.reverse:a array.slice:aii array_concat:aa and:tt base64.decode:s
    base64.encode:s base64.is_valid:s base64url.decode:s base64url.encode:s base64url.encode_no_pad:s
    cast_array:c cast_boolean:x cast_null:x cast_object:o cast_set:c cast_string:s ceil:n concat:sS
    contains:ss count:k div:nn endswith:ss floor:n format_int:ni glob.match:sxs glob.quote_meta:s
    graph.reachable:oc graph.reachable_paths:oc hex.decode:s hex.encode:s indexof:ss indexof_n:ss
    intersection:T is_array:x is_boolean:x is_null:x is_number:x is_object:x is_set:x is_string:x
    json.filter:oc json.is_valid:x json.marshal:x json.remove:oc json.unmarshal:s lower:s max:c min:c minus:xx
    mul:nn net.cidr_contains:rr net.cidr_expand:r net.cidr_is_valid:x numbers.range:bb numbers.range_step:bbu
    object.filter:ox object.get:oxx object.keys:o object.remove:ox object.subset:xx object.union:oo
    object.union_n:O or:tt plus:nn print:* product:N re_match:ps regex.find_all_string_submatch_n:psi
    regex.find_n:psi regex.is_valid:x regex.match:ps regex.replace:sps regex.split:ps
    regex.template_match:ssss rem:nn replace:sss round:n semver.compare:vv semver.is_valid:x set_diff:tt
    sort:c split:ss sprintf:sa startswith:ss strings.any_prefix_match:xx strings.any_suffix_match:xx
    strings.count:ss strings.replace_n:os strings.reverse:s substring:sui sum:N time.add_date:niii
    time.clock:x time.date:x time.diff:xx time.format:x time.parse_duration_ns:s time.parse_ns:ss
    time.parse_rfc3339_ns:s time.weekday:x to_number:x trim:ss trim_left:ss trim_prefix:ss trim_right:ss
    trim_space:s trim_suffix:ss type_name:x union:T units.parse:s units.parse_bytes:s upper:s
    urlquery.decode:s urlquery.decode_object:s urlquery.encode:s urlquery.encode_object:o walk:x
    yaml.is_valid:x yaml.marshal:x yaml.unmarshal:s
"""
SIGNATURES = dict(entry.split(":") for entry in TABLE.split())
ALLOWED = frozenset(SIGNATURES)

BODIES = {
    "all": "y := count([1 | some one in a; one != true]) == 0",
    "any": "y := count([1 | some one in a; one == true]) > 0",
    "and": "y := a & b",
    "array_concat": "y := array.concat(a, b)",
    "cast_array": "y := [one | some one in a]",
    "cast_boolean": "is_boolean(a); y := a",
    "cast_null": "is_null(a); y := a",
    "cast_object": "y := a",
    "cast_set": "y := {one | some one in a}",
    "cast_string": "y := a",
    "div": "b != 0; y := a / b",
    "minus": "subtractable(a, b); y := a - b",
    "mul": "y := a * b",
    "or": "y := a | b",
    "plus": "y := a + b",
    "re_match": "y := regex.match(a, b)",
    "rem": "b != 0; a == floor(a); b == floor(b); y := a % b",
    "set_diff": "y := a - b",
    "base64.decode": "base64.is_valid(a); y := base64.decode(a)",
    "format_int": "b in {2, 8, 10, 16}; y := format_int(a, b)",
    "hex.decode": "regex.match(`^([0-9a-fA-F]{2})*$`, a); y := hex.decode(a)",
    **{f"{form}.is_valid": f"y := count([1 | is_string(a); {form}.is_valid(a)]) == 1" for form in ("json", "yaml", "semver")},
    "net.cidr_is_valid": "y := count([1 | is_string(a); net.cidr_is_valid(a)]) == 1",
    "json.unmarshal": "json.is_valid(a); y := json.unmarshal(a)",
    "yaml.unmarshal": "yaml.is_valid(a); y := yaml.unmarshal(a)",
    "sprintf": f"y := {FORMAT}(a, json.marshal([[type_name(one), one] | some one in b]), nested(b))",
    "substring": "y := substring(a, b, c)",
    "time.parse_rfc3339_ns": r"regex.match(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d`, a); y := time.parse_rfc3339_ns(a)",
    "to_number": "numeric(a); y := to_number(a)",
}
"""Bodies of functions that need more checks than their arguments' types, or that the engine doesn't have."""
TRIED = frozenset(
    [
        "base64url.decode",
        "format_int",
        "glob.match",
        "indexof",
        "indexof_n",
        "json.filter",
        "json.remove",
        "net.cidr_contains",
        "net.cidr_expand",
        "numbers.range_step",
        "regex.find_all_string_submatch_n",
        "regex.find_n",
        "regex.replace",
        "regex.split",
        "regex.template_match",
        "semver.compare",
        "strings.any_prefix_match",
        "strings.any_suffix_match",
        "strings.replace_n",
        "substring",
        "time.add_date",
        "time.clock",
        "time.date",
        "time.diff",
        "time.format",
        "time.parse_duration_ns",
        "time.parse_ns",
        "time.parse_rfc3339_ns",
        "time.weekday",
        "to_number",
        "units.parse",
        "units.parse_bytes",
        "urlquery.decode",
        "urlquery.decode_object",
        "urlquery.encode_object",
        "array.slice",
        "object.union_n",
        "yaml.unmarshal",
        "json.unmarshal",
    ]
)
"""Functions whose arguments only the engine can judge. A separate engine tries the call first."""
OPERATORS = {"Add": ("+", "plus"), "Sub": ("-", "minus"), "Mul": ("*", "mul"), "Div": ("/", "div"), "Mod": ("%", "rem")}
WRITTEN = {name: sign for sign, name in OPERATORS.values()}

HELPERS = r"""
listed(x) if is_array(x)
listed(x) if is_set(x)
countable(x) if listed(x)
countable(x) if is_object(x)
countable(x) if is_string(x)
texts(x) if { listed(x); every one in x { is_string(one) } }
numbers_in(x) if { listed(x); every one in x { is_number(one) } }
sets_in(x) if { is_set(x); every one in x { is_set(one) } }
objects_in(x) if { is_array(x); every one in x { is_object(one) } }
bounded(x) if { is_number(x); x == floor(x); abs(x) < 1000000000 }
subtractable(x, y) if { is_number(x); is_number(y) }
subtractable(x, y) if { is_set(x); is_set(y) }
numeric(x) if is_number(x)
numeric(x) if is_boolean(x)
numeric(x) if is_null(x)
numeric(x) if { is_string(x); regex.match(`^-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?$`, x) }
nested(x) := count([1 | some one in x; walk(one, [path, below]); is_set(below); any_step(path, one)]) > 0
any_step(path, one) if count(path) > 0
any_step(path, one) if not is_set(one)
"""
PARAMETERS = "abcd"


def library() -> str:
    """Return the library, in Rego v1: each function in a quiet and in a loud form.

    The quiet form is undefined where the call fails. The loud form ends the evaluation and says why.
    """
    lines = [f"package {LIBRARY}", HELPERS]
    for name, signature in SIGNATURES.items():
        if not _may_fail(name):
            continue
        given = PARAMETERS[: len(signature)]
        fits = [TYPES[letter].format(one) for letter, one in zip(signature, given, strict=True) if TYPES[letter]]
        if name in TRIED:
            fits.append(f"{TRY}({json.dumps(name)}, json.marshal([{', '.join(given)}]))")
        body = "; ".join([*fits, BODIES.get(name, f"y := {name}({', '.join(given)})")])
        short, arguments = _short(name), ", ".join(given)
        lines.append(f"quiet_{short}({arguments}) := y if {{ {body} }}")
        told = json.dumps(WRITTEN.get(name, name))
        lines.append(
            f"loud_{short}({arguments}, line) := y if {{ {body} }} else := {FAIL}({told}, json.marshal([{arguments}]), line)"
        )
    return "\n".join(lines) + "\n"


def _rewritten(name: str, call: Node) -> bool:
    """Whether the call is rewritten to call the library."""
    return name in ALLOWED and _may_fail(name) and len(call["params"]) == len(SIGNATURES[name])


def _may_fail(name: str) -> bool:
    return name in BODIES or name in TRIED or set(SIGNATURES[name]) - {"x", "*"} != set()


def _short(name: str) -> str:
    return name.replace(".", "_")


Edit = tuple[int, int, str]
"""Edit of the source: start, end, and the replacement."""


def edits(source: bytes, tree: Node) -> list[Edit]:
    """Return the edits that rewrite a policy's calls to the library. None changes a line's number."""
    found = []
    for kind, body, name, fails_safe in calls(source, tree):
        line = source.count(b"\n", 0, body["span"]["start"]) + 1
        variant, last = ("quiet", "") if fails_safe else ("loud", f", {line}")
        start, end = body["span"]["start"], body["span"]["end"]
        if kind == "Call":
            named = start + len(source[start : source.index(b"(", start)].rstrip())
            found.append((start, named, f"data.{LIBRARY}.{variant}_{_short(name)}"))
            found.append((end - 1, end - 1, last))
        elif (at := _operator(source, body, OPERATORS[body["op"]][0])) is not None:
            found.append((start, start, f"data.{LIBRARY}.{variant}_{name}("))
            found.append((at, at + 1, ","))
            found.append((end, end, f"{last})"))
    return found


def calls(source: bytes, tree: Node) -> Iterator[tuple[str, Node, str, bool]]:
    """Yield every call and arithmetic expression that may fail: kind, node and the function's name.

    The last part says whether a failure is safe, that is, can only prevent an approval.
    """
    loud, own = _loud(source, tree), ast.functions(tree)
    for name, _, rule in ast.heads(tree):
        for kind, body, fails_safe in _positions(rule, fails_safe=name not in loud):
            if kind == "ArithExpr" and body["op"] in OPERATORS:
                yield kind, body, OPERATORS[body["op"]][1], fails_safe
            elif kind == "Call" and ast.own_function(function := ast.called(body), own) is None and _rewritten(function, body):
                yield kind, body, function, fails_safe


def _operator(source: bytes, body: Node, sign: str) -> int | None:
    """Return the offset of the operator; None where the text between the operands doesn't tell it."""
    # The engine's span of a string lies within its quotes. Arithmetic on a string fails in any case.
    start, end = body["span"]["start"], body["span"]["end"]
    if source[start - 1 : start] in (b'"', b"`") or source[end : end + 1] in (b'"', b"`"):
        return None
    (_, left), (_, right) = ast.kind_of(body["lhs"]), ast.kind_of(body["rhs"])
    between = source[left["span"]["end"] : right["span"]["start"]]
    plain = re.fullmatch(rb"[\s)\"`]*(" + re.escape(sign).encode() + rb")[\s(\"`]*", between)
    return left["span"]["end"] + plain.start(1) if plain else None


def applied(source: bytes, changes: list[Edit], without: Sequence[tuple[int, int]] = ()) -> str:
    """Return the source with the edits made and the rules at `without` removed; lines keep their numbers."""
    kept = [change for change in changes if not any(start <= change[0] and change[1] <= end for start, end in without)]
    kept += [(start, end, "\n" * source.count(b"\n", start, end)) for start, end in without]

    def order(numbered: tuple[int, Edit]) -> tuple[int, bool, int]:
        # At one offset, ends come before beginnings: inner end, outer end, outer beginning, inner beginning.
        number, (start, end, text) = numbered
        begins = end > start or text.endswith("(")
        return start, begins, number if begins else -number

    out, at = [], 0
    for _, (start, end, text) in sorted(enumerate(kept), key=order):
        out += [source[at:start].decode("utf-8", "replace"), text]
        at = end
    return "".join([*out, source[at:].decode("utf-8", "replace")])


# ---- calls whose failure may open a gate -------------------------------------


def _positions(node: Any, *, fails_safe: bool) -> Iterator[tuple[str, Node, bool]]:
    """Yield every call and arithmetic expression, and whether its failure makes only its rule undefined."""
    if isinstance(node, dict):
        for key, value in node.items():
            below = fails_safe and key not in ("NotExpr", "Every", "ArrayCompr", "SetCompr", "ObjectCompr")
            if key in ("Call", "ArithExpr") and isinstance(value, dict):
                yield key, value, below
            yield from _positions(value, fails_safe=below)
    elif isinstance(node, list):
        for item in node:
            yield from _positions(item, fails_safe=fails_safe)


def _names(node: Any, names: set[str], *, fails_safe: bool) -> Iterator[tuple[str, bool]]:
    """Yield each rule that `node` refers to, and whether the node's own rule becomes undefined with it."""
    if isinstance(node, dict):
        for key, value in node.items():
            below = fails_safe and key not in ("NotExpr", "Every", "ArrayCompr", "SetCompr", "ObjectCompr")
            if key in ast.REFERENCES and isinstance(value, dict):
                steps = ast.static({key: value})
                name = steps[2] if steps[:2] == ["data", ast.PACKAGE] and len(steps) > 2 else next(iter(steps), "")
                if name in names:
                    yield name, below
            yield from _names(value, names, fails_safe=below)
    elif isinstance(node, list):
        for item in node:
            yield from _names(item, names, fails_safe=fails_safe)


def _loud(source: bytes, tree: Node) -> set[str]:
    """Return the rules in which a failed call must be an error, since an undefined rule could open a gate."""
    names = ast.rule_names(tree)
    loud, answers = set(ast.REJECTING), (*ast.APPROVING, "flag")
    often = Counter(name for name, _, _ in ast.heads(tree))
    for name, _, rule in ast.heads(tree):
        if "Default" in rule:
            loud |= {name} - set(answers)
            continue
        spec = rule["Spec"]
        # An undefined rule may open a gate in three ways: a collection that others count lacks a member, an
        # `else` branch is taken, or another definition of the same rule gives it a value.
        listed = "Set" in spec["head"] or ast.kind_of(ast.kind_of(spec["head"])[1]["refr"])[0] != "Var"
        otherwise = any(
            b"else" in source[one["span"]["end"] : other["span"]["start"] + 4]
            for one, other in itertools.pairwise(spec["bodies"])
        )
        if (listed and name not in answers) or otherwise or (often[name] > 1 and not ast.only_true(rule)):
            loud.add(name)
    references = [(name, set(_names(rule, names, fails_safe=True))) for name, _, rule in ast.heads(tree)]
    grown = True
    while grown:
        found = {one for name, named in references for one, fails_safe in named if not fails_safe or name in loud} | loud
        grown, loud = found != loud, found
    return loud
