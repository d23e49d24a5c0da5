"""Regular expressions take linear time: a long text from outside never holds a step or a command up."""

from __future__ import annotations

import ast
import re
import time
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from approval_resource.text import without_mail
from tests.unit.test_layout import MODULES

LENGTH = 100_000
"""Characters of each text. Quadratic time takes many seconds for them, linear time a few milliseconds."""
SECONDS = 0.5
PIECES = (
    *("a", "A", "0", "é", " ", "\n", "-", ".", ":", "/", "@", "#", "%", "&", "<", "{", "(", "[", "|", ">", '"', "*", "_", "+"),
    *("a.", "a-", "a ", "a:", "a/", "a@", "0.", "1h", "{a", "%25", "> ", "[1]", "http://", "https://a", "arn:aws:iam::1:user/"),
    *("-----BEGIN CERTIFICATE-----", "error: ", "--> policy:1:", "<Arn>", '"Arn":"', "2026-01-01T00:00:00.000000Z"),
)
SEARCHES = ("findall", "finditer", "search", "split", "sub")
"""Functions that try each place of a text."""


def literals() -> Iterator[tuple[str, bool]]:
    """Yield each pattern that the package has as a literal, and whether it is looked for at each place of a text."""
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in MODULES]
    nodes = [node for tree in trees for node in ast.walk(tree)]
    used = {
        (node.value.id, node.attr) for node in nodes if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)
    }
    searched = {name for name, method in used if method in SEARCHES}
    named = {
        id(node.value): node.targets[0].id
        for node in nodes
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
    }
    for node in nodes:
        match node:
            case ast.Call(func=ast.Attribute(value=ast.Name(id="re"), attr=name), args=[of, *_]):
                looked_for = named.get(id(node)) in searched if name == "compile" else name in SEARCHES
            case ast.Call(func=ast.Attribute(attr="matching") | ast.Name(id="matching"), args=[of, *_]):
                looked_for = False
            case _:
                continue
        if isinstance(of, ast.Constant) and isinstance(of.value, str):
            yield of.value, looked_for


PATTERNS = sorted(set(literals()))


def texts(pattern: str) -> Iterator[str]:
    """Runs of pieces, those of the pattern's own words among them, which almost match and then don't."""
    own = re.findall(r"[A-Za-z0-9<>:/=@ -]{3,}", pattern)
    for piece in (*PIECES, *own):
        run = piece * (LENGTH // len(piece))
        yield run
        yield f"{run}\x00"


def test_the_patterns_are_found() -> None:
    """The test below judges those that read what others write."""
    assert len(PATTERNS) > 40
    assert any("CERTIFICATE" in pattern and looked_for for pattern, looked_for in PATTERNS)
    assert any("role/" in pattern and not looked_for for pattern, looked_for in PATTERNS)


@pytest.mark.parametrize(("pattern", "looked_for"), PATTERNS)
def test_a_pattern_takes_linear_time(pattern: str, looked_for: bool) -> None:
    """Whether it is looked for, or must match the whole, no run of anything makes it slow."""
    form = re.compile(pattern)
    for text in texts(pattern):
        began = time.process_time()
        if looked_for:
            form.findall(text)
        else:
            form.fullmatch(text)
        took = time.process_time() - began
        assert took < SECONDS, f"{took:.1f} s for {text[:40]!r}…"


@given(st.text(alphabet="a@, \n<é"))
def test_an_address_is_found_as_where_all_places_are_tried(text: str) -> None:
    """The pattern that looks only where a word begins finds what a slower one would."""
    assert without_mail(text) == re.sub(r"([^\s@<>()\"',;:]+)@[^\s@<>()\"',;:]+", r"\1@…", text)
