"""One program by several names: `approvals`, `python -m approval_resource` and `cli.py`."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from approval_resource.program import VERSION
from approval_resource.store.dynamodb.store import DynamoStore
from demo.engine import ROOT
from tests.cli.conftest import SECONDS, Environment, claim_of
from tests.unit.test_layout import MODULES

A, B = (f"{number}0000000-aaaa-4aaa-8aaa-aaaaaaaaaaaa" for number in (1, 2))
FORMS = {
    "cli.py": [sys.executable, str(ROOT / "cli.py")],
    "python -m approval_resource": [sys.executable, "-m", "approval_resource"],
}
COPIED = ("approval_resource", "pyproject.toml", "README.md")


def ran(command: list[str], environment: Environment, cwd: Path = ROOT, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run one form of the program."""
    return subprocess.run(
        command,
        cwd=cwd,
        env={**os.environ, **environment, **variables},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The command as pip installs it, made from this tree without anything from elsewhere."""
    source, target = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("installed")
    for name in COPIED:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, source / name)
    flags = ["--quiet", "--disable-pip-version-check", "--no-index", "--no-deps", "--no-build-isolation"]
    command = [sys.executable, "-m", "pip", "install", *flags, "--target", str(target), str(source)]
    subprocess.run(command, check=True, timeout=100, capture_output=True)
    return target


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.long
def test_every_form_is_the_same_program(store: DynamoStore, environment: Environment, form: str) -> None:
    """Its version, its list, and its hints, which name the form in which it was called."""
    claim_of(store, A)
    version = ran([*FORMS[form], "--version"], environment)
    assert (version.returncode, version.stdout) == (0, f"{form}, version {VERSION}\n")
    assert A in ran([*FORMS[form], "list"], environment).stdout
    refused = ran([*FORMS[form], "show", B], environment)
    assert (refused.returncode, refused.stderr) == (1, f"ERROR: there is no claim {B}; see {form} list --all\n")


def test_what_pip_installs_is_called_approvals(installed: Path, store: DynamoStore, environment: Environment) -> None:
    """The command of that name does what cli.py does, from any directory, and its hints say approvals."""
    claim_of(store, A)
    command, path = [str(installed / "bin" / "approvals")], {"PYTHONPATH": str(installed)}
    assert ran([*command, "--version"], environment, Path("/"), **path).stdout == f"approvals, version {VERSION}\n"
    assert A in ran([*command, "list"], environment, Path("/"), **path).stdout
    held = ran([*command, "release", A], environment, Path("/"), **path)
    assert (held.returncode, held.stdout) == (1, "")
    assert f"; see approvals withdraw {A}" in held.stderr


def test_the_version_is_the_project_s() -> None:
    """One number: what the program says is what the package and the image are built as."""
    assert tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["version"] == VERSION


@pytest.mark.parametrize("path", MODULES, ids=str)
def test_no_hint_is_written_for_one_form_alone(path: Path) -> None:
    """Messages take the form from `program.called`, so none names a form that its reader may not have."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    told = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    texts = [node for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)]
    named = [node.value for node in texts if id(node) not in told and "cli.py" in str(node.value)]
    assert [text for text in named if "make cli" not in str(text)] == []


# ---- a shell that completes -------------------------------------------------------


def completed(environment: Environment, line: str, **variables: str) -> list[str]:
    """Return the words that a shell is offered for the last word of the line."""
    found = ran(
        FORMS["cli.py"],
        environment,
        ROOT,
        _CLI_PY_COMPLETE="bash_complete",
        COMP_WORDS=line,
        COMP_CWORD=str(len(line.split(" ")) - 1),
        **variables,
    )
    assert (found.returncode, found.stderr) == (0, "")
    return [word.split(",")[1] for word in found.stdout.splitlines() if word]


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("cli.py show ", [A, B]),
        ("cli.py approve 2", [B]),
        ("cli.py approve --id 1", [A]),
        ("cli.py withdraw 3", []),
        ("cli.py history --id 2", [B]),
        ("cli.py list --pool ", ["payments", "shipping"]),
        ("cli.py pool freeze s", ["shipping"]),
        ("cli.py policy show qui", ["quiet"]),
        ("cli.py history --pool shipping --lock ", ["docs", "retired"]),
        ("cli.py history --lock ", ["deploy", "docs"]),
    ],
)
@pytest.mark.long
def test_ids_pools_and_locks_are_completed(store: DynamoStore, environment: Environment, line: str, found: list[str]) -> None:
    """From the table that the options and the environment name; a quiet pool where no busy one fits."""
    claim_of(store, A, pool="payments")
    claim_of(store, B, number=2, pool="shipping", lock_name="docs")
    for number, (pool, lock) in enumerate((("shipping", "retired"), ("quiet", "old")), 3):
        gone = claim_of(store, number=number, pool=pool, lock_name=lock)
        ran([*FORMS["cli.py"], "withdraw", gone.id], environment)
    assert completed(environment, line) == found
    table = environment["APPROVAL_TABLE"]
    named = line.replace("cli.py", f"cli.py --table {table}", 1)
    assert completed(environment, named, APPROVAL_TABLE="another") == found


@pytest.mark.parametrize("endpoint", ["nonsense", "http://127.0.0.1:1"])
@pytest.mark.long
def test_a_table_that_can_t_be_asked_completes_nothing(environment: Environment, endpoint: str) -> None:
    """No word, no traceback."""
    assert completed(environment, "cli.py show ", AWS_ENDPOINT_URL_DYNAMODB=endpoint) == []
