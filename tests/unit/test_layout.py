"""The tree keeps its shape: imports point inward, one place knows AWS, the scripts are thin, the package is whole."""

from __future__ import annotations

import ast
import stat
import tomllib
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from demo.engine import ROOT

PACKAGE = ROOT / "approval_resource"
MODULES = sorted(PACKAGE.rglob("*.py"))
LAYERS = (
    ("text clock canonical logs strict_json program",),
    ("model",),
    ("errors",),
    ("strict_options", "documents", "policy.sandbox"),
    ("policy.language", "store.chain store.evidence store.gapless store.interface store.transaction"),
    ("config_file", "policy.decision policy.facts policy.people", "store.dynamodb"),
    ("policy.kinds",),
    ("policy.evaluate policy.entitlement policy.unblock policy.needs",),
    ("policy.authoring", "claims", "pools"),
    ("audit",),
    ("notify",),
    ("service",),
    ("steps", "commands"),
    ("__main__",),
)
"""Rooms from the ground up, each a package or a few modules. A module imports from its own room and from layers below."""


def imported(path: Path) -> set[str]:
    """Everything that the module imports, anywhere in it, by full name."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {f"{node.module}.{name.name}" for name in node.names}
    return found


def module_of(path: Path) -> str:
    """A module's name below the package, such as `claims.acquire`."""
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts)


def room_of(name: str) -> tuple[int, str]:
    """The layer and the room that a module, or something in it, lies in."""
    rooms = [(number, room) for number, layer in enumerate(LAYERS) for room in layer]
    found = [(number, room) for number, room in rooms if any(f"{name}.".startswith(f"{part}.") for part in room.split())]
    assert len(found) == 1, f"{name} lies in no room, or in two: {found}"
    return found[0]


def internal_imports(path: Path) -> set[str]:
    """What the module imports of this package, by name below it."""
    return {name.removeprefix("approval_resource.") for name in imported(path) if name.startswith("approval_resource.")}


ROOMS = [path for path in MODULES if path.name != "__init__.py"]


@pytest.mark.parametrize("path", ROOMS, ids=module_of)
def test_imports_point_downward(path: Path) -> None:
    """Edges know the core, the core knows no edge; rooms on one layer don't know each other."""
    layer, room = room_of(module_of(path))
    for name in internal_imports(path):
        below, other = room_of(name)
        assert below < layer or other == room, f"{module_of(path)} imports {name}"


def test_no_import_goes_in_a_circle() -> None:
    """Modules can be put in an order in which each imports only from those before it."""
    names = {module_of(path) for path in ROOMS}
    graph = {
        module_of(path): {name if name in names else name.rpartition(".")[0] for name in internal_imports(path)}
        for path in ROOMS
    }
    assert list(TopologicalSorter(graph).static_order())


@pytest.mark.parametrize("path", [path for path in MODULES if path.name == "__init__.py"], ids=str)
def test_a_room_s_door_loads_nothing(path: Path) -> None:
    """An `__init__.py` imports nothing, so that `check` loads only the modules it names."""
    assert not imported(path)


@pytest.mark.parametrize("path", [*MODULES, ROOT / "cli.py"], ids=str)
def test_only_the_store_knows_aws(path: Path) -> None:
    """boto3 and botocore stop there."""
    if path.parent != PACKAGE / "store" / "dynamodb":
        assert not {name for name in imported(path) if name.startswith(("boto3", "botocore"))}


WEB = ("starlette", "uvicorn", "jinja2", "markupsafe", "jwt", "cryptography", "prometheus_client", "approval_resource.service")


@pytest.mark.parametrize("path", [*MODULES, ROOT / "cli.py"], ids=str)
def test_only_the_service_knows_the_web(path: Path) -> None:
    """Whoever doesn't run it installs nothing of it, and the three scripts load nothing of it."""
    if path.parent != PACKAGE / "service" and path != PACKAGE / "commands" / "serve.py":
        assert not {name for name in imported(path) if name.startswith(WEB)}


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
