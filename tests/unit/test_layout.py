"""The tree keeps its shape: imports point inward, one place knows AWS, the scripts are thin, the package is whole."""

from __future__ import annotations

import ast
import stat
import tomllib
from pathlib import Path

import pytest

from demo.engine import ROOT

PACKAGE = ROOT / "approval_resource"
MODULES = sorted(PACKAGE.rglob("*.py"))
LAYERS = (
    ("canonical", "errors", "text", "clock", "logs", "options"),
    ("fields", "events", "locks", "model", "settings", "records", "transaction", "policy"),
    ("store",),
    (
        "waiting",
        "parts",
        "decisions",
        "claims",
        "queue",
        "releases",
        "reviews",
        "pools",
        "gates",
        "receipts",
        "walk",
        "audit",
        "tables",
    ),
    ("steps", "commands"),
)
"""From the inside out; a module imports from its own layer and those before it."""


def imported(path: Path) -> set[str]:
    """What the module imports when it runs, by full name."""
    found: set[str] = set()
    waiting: list[ast.AST] = [ast.parse(path.read_text(encoding="utf-8"))]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            continue
        if isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {f"{node.module}.{name.name}" for name in node.names}
        waiting += ast.iter_child_nodes(node)
    return found


def layer(module: str) -> int:
    """The layer of a module of the package, by the part after the package's name."""
    return next(number for number, names in enumerate(LAYERS) if module in names)


@pytest.mark.parametrize(
    "path", [path for path in MODULES if path.name != "__init__.py" or path.parent.name == "store"], ids=str
)
def test_imports_point_inward(path: Path) -> None:
    """Edges know the core, the core knows no edge."""
    own = layer(path.relative_to(PACKAGE).parts[0].removesuffix(".py"))
    for name in imported(path):
        if name.startswith("approval_resource."):
            assert layer(name.split(".")[1]) <= own, f"{path.name} imports {name}"


@pytest.mark.parametrize("path", [*MODULES, ROOT / "cli.py"], ids=str)
def test_only_the_store_knows_aws(path: Path) -> None:
    """boto3 and botocore stop there."""
    if path.parent.name != "store":
        assert not {name for name in imported(path) if name.startswith(("boto3", "botocore"))}


@pytest.mark.parametrize("name", ["check", "in", "out"])
def test_the_scripts_are_thin(name: str) -> None:
    """An executable file with one call: Python itself, no shell between Concourse's signals and it."""
    path = ROOT / "assets" / name
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if line]
    assert lines[0] == "#!/usr/bin/env python3"
    assert lines[2:] == ["from approval_resource.steps.run import run", f'run("{name}")']
    assert path.stat().st_mode & stat.S_IXUSR


def test_every_package_is_shipped() -> None:
    """What pyproject.toml lists is what there is."""
    listed = set(tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]["packages"])
    there = {".".join(path.parent.relative_to(ROOT).parts) for path in PACKAGE.rglob("__init__.py")}
    assert listed == there


def test_every_lock_file_has_hashes() -> None:
    """Each pinned requirement comes with what its archive must hash to."""
    for path in sorted((ROOT / "requirements").glob("*.txt")):
        text = path.read_text(encoding="utf-8")
        pins = [line for line in text.splitlines() if line and line[0] not in "# "]
        assert pins, path
        assert all("==" in line and line.endswith("\\") for line in pins), path
