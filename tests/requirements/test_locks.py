"""Locks are closed: what is installed from them stands in them, whatever the index has gained since."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.metadata import PathDistribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
LOCKS = sorted((ROOT / "requirements").glob("*.txt"))
OLDEST_PIP = "22.3"
"""The pip of Python 3.11.0, the oldest Python supported."""
PIP_SHA256 = "1daab4b8d3b97d1d763caeb01a4640a2250a0ea899e257b1e44b9eded91e15ab"
ON_TOP_OF = {"dev": "runtime", "moto": "engine", "service": "runtime", "browser": "service"}
"""Locks that are installed into an environment that holds another already, as the Makefile does."""
INSTALL = ["--disable-pip-version-check", "--quiet", "install", "--no-deps", "--only-binary", ":all:", "--require-hashes"]
LOCKED = re.compile(r"^([A-Za-z0-9._-]+)(?:\[([^\]]*)\])?==([^\s;]+)(?:\s*;\s*(.*?))?\s*\\?$", re.MULTILINE)


def pinned(lock: Path) -> dict[str, tuple[set[str], str]]:
    """Each package of a lock: its extras and its version."""
    found = LOCKED.findall(lock.read_text(encoding="utf-8"))
    return {
        canonicalize_name(name): ({extra for extra in extras.split(",") if extra}, version)
        for name, extras, version, _ in found
    }


def missing(required: Requirement, extras: set[str], held: dict[str, tuple[set[str], str]]) -> str:
    """What a locked package requires and its lock doesn't hold, or an empty string."""
    environments = [{"extra": extra} for extra in (extras or {""})]
    if required.marker is not None and not any(required.marker.evaluate(environment) for environment in environments):
        return ""
    has = held.get(canonicalize_name(required.name))
    if has is None:
        return f"{required} isn't in it"
    if not required.specifier.contains(has[1], prereleases=True):
        return f"{required} isn't met by {has[1]}"
    return f"{required} lacks its extras" if required.extras - has[0] else ""


@pytest.fixture(scope="module")
def old_pip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment whose pip is the oldest that is supported."""
    directory = tmp_path_factory.mktemp("old-pip")
    subprocess.run([sys.executable, "-m", "venv", str(directory)], check=True)
    old = tmp_path_factory.mktemp("lock") / "pip.txt"
    old.write_text(f"pip=={OLDEST_PIP} --hash=sha256:{PIP_SHA256}\n", encoding="utf-8")
    subprocess.run([str(directory / "bin/python"), "-m", "pip", *INSTALL, "-r", str(old)], check=True)
    return directory / "bin/python"


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.stem)
def test_a_lock_is_closed_and_installs_with_the_oldest_pip(lock: Path, old_pip: Path, tmp_path: Path) -> None:
    """The oldest pip supported installs it as it is, and nothing in it requires anything that it doesn't hold."""
    base = ON_TOP_OF.get(lock.stem)
    locks = [lock] if base is None else [lock.with_name(f"{base}.txt"), lock]
    target = tmp_path / "installed"
    for one in locks:
        command = [str(old_pip), "-m", "pip", *INSTALL, "--target", str(target), "--upgrade", "-r", str(one)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"pip {OLDEST_PIP}, {one.name}: {done.stderr}"
    held = {name: has for one in locks for name, has in pinned(one).items()}
    assert open_requirements(held, target) == []


def open_requirements(held: dict[str, tuple[set[str], str]], target: Path) -> list[str]:
    """Every requirement of the packages installed in `target` that those locked don't meet."""
    problems = []
    for metadata in sorted(target.glob("*.dist-info")):
        package = PathDistribution(metadata)
        name = canonicalize_name(package.metadata["Name"])
        extras = held[name][0] if name in held else set()
        for line in package.requires or ():
            told = missing(Requirement(line), extras, held)
            if told:
                problems.append(f"{name}: {told}")
    return problems


def test_a_lock_that_misses_an_extra_is_found() -> None:
    """The check above finds what made this project uninstallable: pytest-cov wants coverage with its extra."""
    required = Requirement("coverage[toml]>=7.10.6")
    assert missing(required, set(), {"coverage": ({"toml"}, "7.17.3")}) == ""
    assert "lacks its extras" in missing(required, set(), {"coverage": (set(), "7.17.3")})
    assert "isn't met" in missing(required, set(), {"coverage": ({"toml"}, "7.1")})
    assert "isn't in it" in missing(required, set(), {})
    assert missing(Requirement("tomli; extra == 'toml'"), set(), {}) == ""
    assert "isn't in it" in missing(Requirement("tomli; extra == 'toml'"), {"toml"}, {})


@pytest.mark.parametrize("place", ["Makefile", "Dockerfile"])
def test_locks_are_installed_as_they_are(place: str) -> None:
    """Whoever installs from a lock looks nothing up, builds nothing, and checks every hash."""
    text = (ROOT / place).read_text(encoding="utf-8").replace("\\\n", " ")
    lines = [line for line in text.splitlines() if re.search(r"pip.*\binstall\b", line)]
    assert lines
    for line in lines:
        for option in ("--no-deps", "--only-binary :all:", "--require-hashes"):
            assert option in line, line
