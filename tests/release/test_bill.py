"""The bill of materials names all that an image is made of, or there is none."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from image.bill import PYTHON, STATUS, SYSTEM, UnknownError, components, installed

ROOT = Path(__file__).resolve().parents[2]
FILES = {
    STATUS: """Package: libstdc++6
Status: install ok installed
Architecture: amd64
Multi-Arch: same
Source: gcc-14 (14.2.0-19)
Version: 14.2.0-19
Description: GNU Standard C++ Library v3
 It has lines that look like others:
 Version: 0

Package: bsdutils
Status: hold ok installed
Architecture: amd64
Version: 1:2.41-5+b1~x

Package: gone
Status: deinstall ok config-files
Architecture: all
Version: 1
""",
    SYSTEM: 'PRETTY_NAME="Debian GNU/Linux 13 (trixie)"\nVERSION_ID="13"\nID=debian\n',
    PYTHON: "home = /usr/local/bin\ninclude-system-site-packages = false\nversion = 3.13.7\n",
}
DIGEST = "sha256:" + "ab" * 32


def exported(files: dict[str, str], prefix: str = "") -> bytes:
    """An archive as an engine prints it."""
    written = io.BytesIO()
    with tarfile.open(fileobj=written, mode="w") as archive:
        for name, text in files.items():
            member = tarfile.TarInfo(prefix + name)
            member.size = len(text.encode())
            archive.addfile(member, io.BytesIO(text.encode()))
    return written.getvalue()


def test_packages_python_system_and_base_are_told() -> None:
    """Each with its version, and with the names that scanners look it up by."""
    told = components(FILES, f"docker.io/library/python:3.13-slim@{DIGEST}")
    assert [(one["type"], one["name"], one["version"]) for one in told] == [
        ("container", "docker.io/library/python:3.13-slim", DIGEST),
        ("operating-system", "debian", "13"),
        ("platform", "python", "3.13.7"),
        ("library", "bsdutils", "1:2.41-5+b1~x"),
        ("library", "libstdc++6", "14.2.0-19"),
    ]
    assert [one["purl"] for one in told if "purl" in one] == [
        "pkg:generic/python@3.13.7",
        "pkg:deb/debian/bsdutils@1:2.41-5%2Bb1~x?arch=amd64&distro=debian-13",
        "pkg:deb/debian/libstdc%2B%2B6@14.2.0-19?arch=amd64&distro=debian-13",
    ]
    assert told[-1]["properties"] == [{"name": "debian:source", "value": "gcc-14 (14.2.0-19)"}]
    assert len({one["bom-ref"] for one in told}) == len(told)


def test_a_base_without_a_digest_is_not_told_as_one() -> None:
    """A tag names something else tomorrow."""
    assert components(FILES, "python:3.13-slim@") == components(FILES)


@pytest.mark.parametrize("absent", FILES)
def test_what_the_image_does_not_tell_is_an_error(absent: str) -> None:
    """A bill that leaves out what it can't find would pass for a whole one."""
    for files in ({name: text for name, text in FILES.items() if name != absent}, FILES | {absent: "\n"}):
        with pytest.raises(UnknownError, match=f"/{absent}"):
            components(files)


@pytest.mark.parametrize("line", ["Package", "Version", "Architecture"])
def test_a_package_that_is_half_told_is_an_error(line: str) -> None:
    """It is there, and nobody could look it up."""
    status = "\n".join(text for text in FILES[STATUS].splitlines() if not text.startswith(f"{line}:"))
    with pytest.raises(UnknownError, match="without name, version or architecture"):
        installed(status)


@pytest.mark.parametrize("prefix", ["", "./"])
def test_the_base_is_added_to_the_bill(tmp_path: Path, prefix: str) -> None:
    """What was there stays, however the engine writes names."""
    bill = tmp_path / "bill.json"
    bill.write_text(json.dumps({"bomFormat": "CycloneDX", "components": [{"name": "click"}]}), encoding="utf-8")
    command = [sys.executable, str(ROOT / "image" / "bill.py"), str(bill), f"python@{DIGEST}"]
    ran = subprocess.run(command, input=exported(FILES, prefix), capture_output=True, check=False)
    assert ran.returncode == 0, ran.stderr
    whole = json.loads(ran.stdout)
    assert whole == {"bomFormat": "CycloneDX", "components": [{"name": "click"}, *components(FILES, f"python@{DIGEST}")]}


@pytest.mark.parametrize("archive", [b"", b"no archive", exported({})])
def test_no_bill_comes_of_no_image(tmp_path: Path, archive: bytes) -> None:
    """One line, and nothing that passes for a bill."""
    bill = tmp_path / "bill.json"
    bill.write_text('{"components": []}', encoding="utf-8")
    command = [sys.executable, str(ROOT / "image" / "bill.py"), str(bill)]
    ran = subprocess.run(command, input=archive, capture_output=True, check=False)
    assert (ran.returncode, ran.stdout) == (1, b"")
    assert ran.stderr.startswith(b"no bill of materials: ")
    assert len(ran.stderr.splitlines()) == 1
