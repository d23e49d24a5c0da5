"""Readers of the engine's abstract syntax tree of a Rego text: names, references, rules."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

PACKAGE = "spacelift"
APPROVING = ("approve", "approve_with_note")
REJECTING = ("reject", "reject_with_note")
REFERENCES = ("RefDot", "RefBrack", "Var")

Node = dict[str, Any]


def kind_of(node: Node) -> tuple[str, Node]:
    """Return an expression's kind and its body."""
    kind, body = next(iter(node.items()))
    return kind, body


def rule_names(tree: Node) -> set[str]:
    """Return the names of all rules."""
    return {name for name, _, _ in heads(tree)}


def heads(tree: Node) -> Iterator[tuple[str, Node, Node]]:
    """Yield each rule's name, its span, and the rule."""
    for rule in tree["rules"]:
        kind, body = kind_of(rule)
        head = body if kind == "Default" else next(iter(body["head"].values()))
        path = static(head["refr"])
        yield (path[0] if path else ""), body["span"], rule


def static(node: Node) -> list[str]:
    """Return the steps of a reference that come before a computed one.

    Those of `input.run.changes[_].x` are input, run and changes.
    """
    steps, _ = reference(node)
    known = []
    for step in steps:
        if not isinstance(step, str):
            break
        known.append(step)
    return known


def reference(node: Node) -> tuple[list[str | None], Node | None]:
    """Return a reference's steps, with None for a computed one, and the span of its beginning.

    There are no steps where the node is no reference.
    """
    kind, body = kind_of(node)
    if kind == "Var":
        return [body["value"]], body["span"]
    if kind not in REFERENCES:
        return [], None
    steps, span = reference(body["refr"])
    if not steps:
        return [], None
    if kind == "RefDot":
        return [*steps, body["field"][1]], span
    inner, value = kind_of(body["index"])
    return [*steps, value["value"] if inner in ("String", "RawString") else None], span


def called(call: Node) -> str:
    """Return the name of the function that is called."""
    return ".".join(str(step) for step in reference(call["fcn"])[0])


def nodes(node: Any) -> Iterator[tuple[str, Node]]:
    """Yield every expression of the tree as (kind, body)."""
    if isinstance(node, dict):
        for key, value in node.items():
            if isinstance(value, dict) and "span" in value and key[:1].isupper():
                yield key, value
            yield from nodes(value)
    elif isinstance(node, list):
        for item in node:
            yield from nodes(item)


def function_of(rule: Node) -> Node | None:
    """Return the head of a rule that is a function, else None."""
    return rule["Spec"]["head"].get("Func") if "Spec" in rule else None


def functions(tree: Node) -> set[str]:
    """Return the names of the policy's own functions."""
    return {".".join(static(head["refr"])) for rule in tree["rules"] if (head := function_of(rule)) is not None}


def own_function(name: str, defined: set[str]) -> str | None:
    """Return the policy's own function that a name means, short or in full; None for any other name."""
    short = name.removeprefix(f"data.{PACKAGE}.")
    return short if short in defined else None


def source_of(source: bytes, span: Node) -> str:
    """Return the source text of a span."""
    return source[span["start"] : span["end"]].decode("utf-8", "replace")


def text_of(node: Node) -> str | None:
    """Return the text of a string literal; None for any other expression."""
    kind, body = kind_of(node)
    return body["value"] if kind in ("String", "RawString") else None


def start_of(node: Node) -> int:
    """Return the offset at which an expression begins."""
    start: int = kind_of(node)[1]["span"]["start"]
    return start


def _assigned(rule: Node) -> list[Node]:
    """Return the values that a rule assigns."""
    if "Default" in rule:
        return [rule["Default"]["value"]]
    spec = rule["Spec"]
    parts = [*spec["head"].values(), *spec["bodies"]]
    return [part["assign"]["value"] for part in parts if part.get("assign")]


def only_true(rule: Node) -> bool:
    """Whether the rule assigns nothing but a literal true. A default counts as such a rule."""
    return "Default" in rule or all(is_bool(value, True) for value in _assigned(rule))


def never(rule: Node) -> bool:
    """Whether the rule is a default of false."""
    return "Default" in rule and is_bool(rule["Default"]["value"], False)


def is_bool(value: Node, wanted: bool) -> bool:
    """Whether the expression is the literal `wanted`."""
    kind, body = kind_of(value)
    return kind == "Bool" and body["value"] is wanted


def plain(rule: Node) -> bool:
    """Whether the rule is true or undefined, and has no arguments."""
    if "Default" in rule:
        return False
    kind, head = kind_of(rule["Spec"]["head"])
    return kind == "Compr" and kind_of(head["refr"])[0] == "Var" and only_true(rule)
