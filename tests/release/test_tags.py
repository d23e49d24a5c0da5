"""A released version stays what it is, and X.Y goes forward alone."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from pathlib import Path

import pytest

from image.release import RefusedError, registry_tags, release_tags

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    ("version", "existing", "expected"),
    [
        ("1.2.3", [], ["1.2", "1.2.3"]),
        ("1.2.3", ["1.2", "1.2.2"], ["1.2", "1.2.3"]),
        ("1.2.10", ["1.2.9"], ["1.2", "1.2.10"]),
        ("1.2.9", ["1.2.10"], ["1.2.9"]),
        ("1.2.3", ["1.3.0", "2.2.9", "11.2.9", "1.20.9"], ["1.2", "1.2.3"]),
        ("1.2.3", ["1.2.4-rc1", "v1.2.4", "1.2.04", "1.2.4.0", "run-9-amd64", "latest", "sha256-ab.sig", ""], ["1.2", "1.2.3"]),
        ("0.0.0", ["0.0.1"], ["0.0.0"]),
    ],
)
def test_a_version_gets_its_tags(version: str, existing: list[str], expected: list[str]) -> None:
    """By number, among the releases of its own X.Y; X.Y.Z comes last."""
    assert release_tags(version, existing) == expected


def test_whatever_is_released_in_whatever_order_x_y_names_the_newest() -> None:
    """X.Y never goes back, and no X.Y.Z is set twice."""
    chance = random.Random(7)  # noqa: S311 - a test's own
    for _ in range(200):
        registry: dict[str, tuple[int, ...]] = {}
        for _ in range(12):
            numbers = (chance.randint(0, 1), chance.choice((1, 10)), chance.choice((0, 2, 9, 10, 11, 100)))
            version = ".".join(map(str, numbers))
            before = dict(registry)
            try:
                registry |= dict.fromkeys(release_tags(version, list(registry)), numbers)
            except RefusedError:
                assert version in registry
            released = [content for tag, content in registry.items() if tag.count(".") == 2]
            assert all(registry[tag] == content for tag, content in before.items() if tag.count(".") == 2)
            for tag, content in registry.items():
                if tag.count(".") == 1:
                    assert content == max(other for other in released if other[:2] == content[:2])


def test_a_released_version_is_refused() -> None:
    """Whatever else there is."""
    with pytest.raises(RefusedError, match=r"1\.2\.3 is released already"):
        release_tags("1.2.3", ["1.2", "1.2.3", "1.2.4"])


@pytest.mark.parametrize(
    "version", ["", "1.2", "1.2.3.4", "v1.2.3", "01.2.3", "1.2.03", "1.2.3-rc1", "1.2.3\n", "\u0661.2.3", "1.2.-3"]
)
def test_what_is_no_version_is_refused(version: str) -> None:
    """Its X.Y couldn't be told, or two spellings would be one version."""
    with pytest.raises(RefusedError, match="is no version"):
        release_tags(version, [])


@pytest.mark.parametrize(
    "text", ["", "null", "[]", "{}", '{"Tags": null}', '{"Tags": "1.2.3"}', '{"Tags": [1]}', "<html>", '{"Tags": [']
)
def test_a_registry_whose_tags_are_unknown_lets_nothing_through(text: str) -> None:
    """What isn't known to be free isn't taken."""
    with pytest.raises(RefusedError, match="tags are unknown"):
        registry_tags(text)


@pytest.mark.parametrize(
    ("arguments", "stdin", "code", "stdout", "stderr"),
    [
        (["1.2.4"], json.dumps({"Repository": "r", "Tags": ["1.2.3"]}), 0, "1.2\n1.2.4\n", ""),
        (["1.2.3"], json.dumps({"Repository": "r", "Tags": ["1.2.3"]}), 1, "", "refused: 1.2.3 is released already"),
        (["1.2.3"], "", 1, "", "refused: the registry's tags are unknown"),
        ([], "", 1, "", "usage"),
    ],
)
def test_the_workflow_gets_tags_or_a_line(arguments: list[str], stdin: str, code: int, stdout: str, stderr: str) -> None:
    """Tags on stdout, or nothing there and one line for a person."""
    command = [sys.executable, str(ROOT / "image" / "release.py"), *arguments]
    ran = subprocess.run(command, input=stdin, capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stdout) == (code, stdout)
    assert ran.stderr.startswith(stderr)
    assert len(ran.stderr.splitlines()) == (1 if code else 0)
