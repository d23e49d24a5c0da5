"""The bill of materials is of the image: its base's packages, its Python, its own packages."""

from __future__ import annotations

import json
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.image.workshop import ROOT, Workshop

BASE_LABEL = "org.opencontainers.image.base"
DIGEST = "sha256:" + "ab" * 32
STRICT = """
import sys
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
sys.exit(JsonStrictValidator(SchemaVersion.V1_6).validate_str(sys.stdin.read()))
"""


@pytest.fixture(scope="module")
def bill(shop: Workshop, base: str, image: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What `make sbom` writes of an image whose base is pinned."""
    labels = f"LABEL {BASE_LABEL}.name=docker.io/library/python:3.13-slim {BASE_LABEL}.digest={DIGEST}"
    pinned = shop.build("pinned", base, f"FROM {image}\n{labels}\n")
    written = tmp_path_factory.mktemp("bill") / "sbom.cdx.json"
    options = {"ENGINE": shlex.join(shop.command("podman")), "IMAGE": pinned, "BILL": str(written)}
    command = ["make", "sbom", *(f"{name}={text}" for name, text in options.items())]
    made = subprocess.run(command, cwd=ROOT, env=shop.environment, capture_output=True, text=True, check=False, timeout=600)
    assert made.returncode == 0, made.stderr
    assert shop.must("podman", "ps", "--all", "--quiet") == ""
    found: dict[str, Any] = json.loads(written.read_text(encoding="utf-8"))
    return found


def of_type(bill: dict[str, Any], purl: str) -> set[tuple[str, str]]:
    """Name and version of the components of that kind."""
    return {(one["name"], one["version"]) for one in bill["components"] if one.get("purl", "").startswith(purl)}


@pytest.mark.timeout(900)
def test_it_has_every_package_of_the_base(shop: Workshop, base: str, bill: dict[str, Any]) -> None:
    """As dpkg's list in the base has them, with their versions."""
    with shop.mounted(base) as root:
        status = (root / "var/lib/dpkg/status").read_text(encoding="utf-8")
    entries = [dict(line.split(": ", 1) for line in entry.splitlines()) for entry in status.strip().split("\n\n")]
    listed = {(entry["Package"], entry["Version"]) for entry in entries}
    assert {"libc6", "base-files", "ca-certificates"} <= {name for name, _ in listed}
    assert of_type(bill, "pkg:deb/debian/") == listed


@pytest.mark.timeout(900)
def test_it_has_the_python_that_runs_the_scripts(shop: Workshop, image: str, bill: dict[str, Any]) -> None:
    """The standard library's version, as the interpreter tells it."""
    told = shop.run(image, "/opt/approval/bin/python", "-c", "import platform; print(platform.python_version())")
    assert of_type(bill, "pkg:generic/python") == {("python", told.stdout.strip())}


@pytest.mark.timeout(900)
def test_it_has_the_images_own_packages(shop: Workshop, image: str, bill: dict[str, Any]) -> None:
    """Each that is installed in the image, in the version that it has there."""
    with shop.mounted(image) as root:
        metadata = list(Path(root, "opt/approval").glob("lib/python3*/site-packages/*.dist-info"))
        held = {path.name.removesuffix(".dist-info").lower() for path in metadata}
    assert held
    assert {f"{name.replace('-', '_')}-{version}".lower() for name, version in of_type(bill, "pkg:pypi/")} >= held


@pytest.mark.timeout(900)
def test_it_names_the_base(bill: dict[str, Any]) -> None:
    """By the digest that the image's labels have."""
    containers = [(one["name"], one["version"]) for one in bill["components"] if one["type"] == "container"]
    assert containers == [("docker.io/library/python:3.13-slim", DIGEST)]


@pytest.mark.timeout(900)
def test_it_is_a_cyclonedx_document(bill: dict[str, Any]) -> None:
    """By the schema, strictly read."""
    python = str(ROOT / ".venv-sbom" / "bin" / "python")
    ran = subprocess.run([python, "-c", STRICT], input=json.dumps(bill), capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
