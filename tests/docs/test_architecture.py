"""docs/architecture.md says where things are: its tree, its lives and its index are held to the code."""

from __future__ import annotations

import ast
import re
from itertools import groupby

import pytest

from demo.engine import ROOT
from tests.unit.test_layout import LAYERS, PACKAGE, ROOMS, module_of, room_of

PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
LIVES = ("The life of a put", "The life of a review", "The life of a check")
NAMED = re.compile(r"`([\w/]+\.py)` `([\w.]+)`")
QUESTIONS = 21


def section(title: str) -> str:
    """The page's part under that heading."""
    found = re.search(rf"^## {re.escape(title)}\n(.*?)(?=^## |\Z)", PAGE, re.DOTALL | re.MULTILINE)
    assert found, title
    return found[1]


def tree() -> list[tuple[int, str, str]]:
    """Layer, path and line of each module, in the tree's order."""
    block = re.search(r"```text\n(.*?)```", section("The tree"), re.DOTALL)
    assert block
    found, layer = [], 0
    for line in block[1].splitlines():
        if heading := re.match(r"(\d+)\. \S", line):
            layer = int(heading[1])
        elif line:
            path, _, told = line.strip().partition(" ")
            found.append((layer, path, told.strip()))
    return found


def defined(path: str) -> set[str]:
    """The names that the module defines: functions, classes with their methods, and what it assigns."""
    return set(names(ast.parse((PACKAGE / path).read_text(encoding="utf-8")).body))


def names(body: list[ast.stmt], within: str = "") -> list[str]:
    """The names that those statements define, a class's methods after a dot."""
    found = []
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.append(within + node.name)
        if isinstance(node, ast.ClassDef):
            found += names(node.body, f"{node.name}.")
        if isinstance(node, ast.Assign):
            found += [within + target.id for target in node.targets if isinstance(target, ast.Name)]
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            found.append(within + node.target.id)
    return found


def steps(title: str) -> list[str]:
    """The numbered steps of a life."""
    return re.findall(r"^\d+\. (.*)$", section(title), re.MULTILINE)


def test_every_module_stands_in_the_tree_once() -> None:
    """What is added, moved or taken away shows in the tree, with a line of its own."""
    paths = [path for _, path, _ in tree()]
    assert sorted(paths) == sorted(str(module.relative_to(PACKAGE)) for module in ROOMS)
    assert [path for _, path, told in tree() if not told] == []


def test_the_tree_s_layers_are_those_that_imports_keep_to() -> None:
    """Rooms stand in the order of LAYERS, each in one piece, under the number of its layer."""
    placed = [(layer, *room_of(module_of(PACKAGE / path))) for layer, path, _ in tree()]
    assert [(layer, path) for (layer, number, _), (_, path, _) in zip(placed, tree(), strict=True) if layer != number + 1] == []
    assert [room for room, _ in groupby(room for _, _, room in placed)] == [room for layer in LAYERS for room in layer]


def test_every_question_has_one_answer() -> None:
    """Each question has one path and one name that the module defines."""
    rows = re.findall(r"^\| (.+\?) \| `([^`]+)` \| `([^`]+)` \|$", section("Where is it decided?"), re.MULTILINE)
    assert len(rows) == len({question for question, _, _ in rows}) == QUESTIONS
    assert [row for row in rows if row[2] not in defined(row[1])] == []


@pytest.mark.parametrize("title", LIVES)
def test_every_step_of_a_life_names_what_does_it(title: str) -> None:
    """Module and function stand first, and both exist."""
    told = steps(title)
    assert len(told) >= 10
    assert [step for step in told if not NAMED.match(step)] == []


def test_whatever_the_page_names_is_there() -> None:
    """Each pair of a path and a name, anywhere on the page."""
    assert [pair for pair in NAMED.findall(PAGE) if pair[1] not in defined(pair[0])] == []


def test_the_words_are_explained_once() -> None:
    """A word of the glossary means one thing."""
    words = re.findall(r"^\| ([A-Z][\w ]+) \| \S", section("Glossary"), re.MULTILINE)
    assert len(words) == len(set(words)) >= 12
