"""Add what an image has from its base to the bill of its Python packages: Debian's packages, Python itself, the system.

`bill.py BILL [BASE] < FILES`, where BILL is a CycloneDX document, BASE is the base's NAME@DIGEST, and FILES is the image's file
system as `docker export` prints it. Nothing of the image is run, so that its architecture doesn't matter. Prints the document.
"""

from __future__ import annotations

import json
import re
import sys
import tarfile
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import IO, Any
from urllib.parse import quote

STATUS = "var/lib/dpkg/status"
SYSTEM = "usr/lib/os-release"
PYTHON = "opt/approval/pyvenv.cfg"
"""The environment's own note of the interpreter that it was made with."""
GONE = ("not-installed", "config-files")
"""The states of a package whose files aren't there."""

Component = dict[str, Any]


class UnknownError(Exception):
    """The image doesn't tell what it is made of."""


def read(export: IO[bytes]) -> dict[str, str]:
    """Return the files that tell what an exported image is made of."""
    found = {}
    with tarfile.open(fileobj=export, mode="r|*") as archive:
        for member in archive:
            name = str(PurePosixPath(member.name)).lstrip("/")
            content = archive.extractfile(member) if name in (STATUS, SYSTEM, PYTHON) and member.isfile() else None
            if content is not None:
                found[name] = content.read().decode(errors="replace")
    return found


def components(files: Mapping[str, str], base: str = "") -> list[Component]:
    """Return the base's components, in the form of CycloneDX.

    Raises:
        UnknownError: some of it can't be told.
    """
    system = {name: text.strip('"') for name, text in _pairs(files.get(SYSTEM, "")).items()}
    python = _pairs(files.get(PYTHON, "")).get("version", "")
    packages = installed(files.get(STATUS, ""))
    told = {STATUS: packages, SYSTEM: system.get("ID") and system.get("VERSION_ID"), PYTHON: python}
    missing = [f"/{name} is missing, or doesn't tell" for name, known in told.items() if not known]
    if missing:
        raise UnknownError("; ".join(missing))
    return [
        *_base(base),
        {"type": "operating-system", "bom-ref": "system", "name": system["ID"], "version": system["VERSION_ID"]},
        _python(python),
        *(_package(package, system) for package in packages),
    ]


def installed(status: str) -> list[dict[str, str]]:
    """Return the fields of each package that is installed, by dpkg's own list.

    Raises:
        UnknownError: an entry lacks one of them.
    """
    found = []
    for entry in re.split(r"\n\s*\n", status.strip("\n")):
        fields = {name: text.strip() for name, text in re.findall(r"^([A-Za-z-]+):(.*)$", entry, re.MULTILINE)}
        if not fields or fields.get("Status", "").split()[-1:] in ([state] for state in GONE):
            continue
        if not all(fields.get(name) for name in ("Package", "Version", "Architecture")):
            raise UnknownError(f"/{STATUS} has a package without name, version or architecture: {entry[:200]!r}")
        found.append(fields)
    return sorted(found, key=lambda fields: (fields["Package"], fields["Architecture"]))


def _package(fields: Mapping[str, str], system: Mapping[str, str]) -> Component:
    name, version, architecture = fields["Package"], fields["Version"], fields["Architecture"]
    purl = f"pkg:deb/{system['ID']}/{quote(name)}@{quote(version, safe=':')}?arch={architecture}"
    component = {"type": "library", "name": name, "version": version}
    component["purl"] = component["bom-ref"] = f"{purl}&distro={system['ID']}-{system['VERSION_ID']}"
    return component | _source(fields.get("Source", ""))


def _source(source: str) -> Component:
    """Return the source package if its name differs, since Debian's advisories name source packages."""
    return {"properties": [{"name": "debian:source", "value": source}]} if source else {}


def _python(version: str) -> Component:
    return {
        "type": "platform",
        "bom-ref": "python",
        "name": "python",
        "version": version,
        "cpe": f"cpe:2.3:a:python:python:{version}:*:*:*:*:*:*:*",
        "purl": f"pkg:generic/python@{version}",
    }


def _base(base: str) -> list[Component]:
    name, _, digest = base.partition("@")
    return [{"type": "container", "bom-ref": "base", "name": name, "version": digest}] if digest else []


def _pairs(text: str) -> dict[str, str]:
    """Return the settings of a file with one `name = text` a line."""
    return {name: value for name, value in re.findall(r"^\s*([A-Za-z_-]+)\s*=\s*(.*?)\s*$", text, re.MULTILINE)}


def main() -> None:
    """Print the whole bill, or say what is missing of it."""
    if not 2 <= len(sys.argv) <= 3:
        sys.exit("usage: bill.py BILL [NAME@DIGEST] < FILES")
    bill = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    try:
        bill["components"] += components(read(sys.stdin.buffer), *sys.argv[2:])
    except (UnknownError, tarfile.TarError) as unknown:
        sys.exit(f"no bill of materials: {unknown}")
    print(json.dumps(bill, indent=2))  # noqa: T201 - its answer


if __name__ == "__main__":
    main()
