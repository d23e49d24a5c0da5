"""Prose reads well: lines that fit, and docstrings that begin with what they are about.

The lists name the files that don't keep to that yet. They only get shorter: a file that is clean leaves them.
"""

from __future__ import annotations

import ast
import io
import tokenize
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from demo.engine import ROOT
from tests.unit.test_layout import PACKAGE

WIDTH = 110
RELATIVE = ("What", "Who", "Whose", "Whom", "Which", "That", "Those", "The same,")
LONG_LINES = """
"""
RELATIVE_CLAUSES = """
"""
Check = Callable[[str], list[str]]


def docstrings(text: str) -> Iterator[tuple[int, str]]:
    """The line and the text of each docstring, those of attributes included."""
    for node in ast.walk(ast.parse(text)):
        body = getattr(node, "body", None)
        for statement in body if isinstance(body, list) else []:
            value = statement.value if isinstance(statement, ast.Expr) else None
            if isinstance(value, ast.Constant) and isinstance(value.value, str):
                yield statement.lineno, value.value


def prose_lines(text: str) -> set[int]:
    """The numbers of the lines that hold a docstring's text or a comment that stands alone."""
    lines = text.splitlines()
    found = {number for first, told in docstrings(text) for number in range(first, first + len(told.splitlines() or [""]))}
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT and lines[token.start[0] - 1].lstrip().startswith("#"):
            found.add(token.start[0])
    return found


def long_lines(text: str) -> list[str]:
    """Each line of prose that is too long, with its number."""
    lines = text.splitlines()
    return [f"{number}: {lines[number - 1]}" for number in sorted(prose_lines(text)) if len(lines[number - 1]) > WIDTH]


def relative_clauses(text: str) -> list[str]:
    """Each docstring that begins with a relative clause, with its line."""
    return [
        f"{number}: {told.splitlines()[0]}"
        for number, told in docstrings(text)
        if told.strip().startswith(tuple(word if word.endswith(",") else f"{word} " for word in RELATIVE))
    ]


CHECKS: list[tuple[Check, str]] = [(long_lines, LONG_LINES), (relative_clauses, RELATIVE_CLAUSES)]


def modules() -> list[Path]:
    """The package's modules."""
    return sorted(PACKAGE.rglob("*.py"))


@pytest.mark.parametrize(("check", "allowed"), CHECKS, ids=["long lines", "relative clauses"])
def test_prose_is_in_order(check: Check, allowed: str) -> None:
    """Of every file that isn't on the list."""
    listed = set(allowed.split())
    faults = {str(path.relative_to(PACKAGE)): check(path.read_text(encoding="utf-8")) for path in modules()}
    assert {path: told for path, told in faults.items() if told and path not in listed} == {}


@pytest.mark.parametrize(("check", "allowed"), CHECKS, ids=["long lines", "relative clauses"])
def test_the_list_only_gets_shorter(check: Check, allowed: str) -> None:
    """A file that is clean, or gone, leaves it: strike it out."""
    clean = [
        path for path in allowed.split() if not (PACKAGE / path).exists() or not check((PACKAGE / path).read_text("utf-8"))
    ]
    assert clean == [], "clean by now: strike them out of the list"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ('"""What is asked."""', 1),
        ('"""Whatever is asked."""', 0),
        ('def f():\n    """The same, for all."""', 1),
        ('class A:\n    x: int = 0\n    """Who it is."""', 1),
        ('def f():\n    """Return what is asked."""', 0),
        ('x = "What is asked"', 0),
        ('async def f():\n    """Those that wait."""', 1),
    ],
)
def test_relative_clauses_are_found(text: str, found: int) -> None:
    """In docstrings of modules, classes, functions and attributes, and nowhere else."""
    assert len(relative_clauses(text)) == found


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (f"# {'x' * WIDTH}", 1),
        (f"    # {'x' * (WIDTH - 6)}", 0),
        (f'"""Told.\n\n{"x" * (WIDTH + 1)}\n"""', 1),
        (f"x = 1  # noqa: {'x' * WIDTH}", 0),
        (f'x = "{"x" * WIDTH}"', 0),
        (f'x = 1\n"""{"x" * WIDTH}"""', 1),
    ],
)
def test_long_lines_are_found(text: str, found: int) -> None:
    """In docstrings and in comments that stand alone; code has a width of its own, which ruff checks."""
    assert len(long_lines(text)) == found


def test_the_package_is_looked_at() -> None:
    """A list of nothing would be in order too."""
    assert len(modules()) > 50
    assert ROOT in PACKAGE.parents
