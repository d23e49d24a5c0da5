"""What can be wrong with an image, each looked for in the image itself."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tests.image.inside import hand_over
from tests.image.workshop import CONCOURSE_ROOT, Workshop

SCRIPTS = ("check", "in", "out")
INSTALLERS = ("pip", "setuptools", "wheel", "ensurepip", "uv")
OURS = ("opt",)
"""What the image adds to its base."""
A_TASKS_USER = 4711
"""Whoever a task's image runs as, whose files are artifacts too."""
RUN_BY_NAME = ("cli.py", "precompile.py", "trim.py")
"""What Python runs as a program, of which it keeps no .pyc."""


def faults(shop: Workshop, image: str, source: dict[str, str]) -> list[str]:
    """Everything that is wrong with it, in words; `source` is that of a pool which nobody uses."""
    with shop.mounted(image) as root:
        found = [*loose(root), *uncompiled(root), *installers(root), *not_executable(root), *left_over(root)]
    return [*found, *chatty(shop, image, source), *slow_to_import(shop, image, source), *shut_out(shop, image, source)]


def files(root: Path, *under: str) -> Iterator[Path]:
    """Every file and folder there, links not followed."""
    for folder in under:
        for path, folders, names in os.walk(root / folder):
            yield from (Path(path) / name for name in (*folders, *names))


def loose(root: Path) -> list[str]:
    """What anybody may change, or what lends its owner's rights, among what the image adds."""
    wrong = []
    for path in files(root, *OURS):
        mode = path.lstat().st_mode
        if not stat.S_ISLNK(mode) and mode & (stat.S_IWOTH | stat.S_IWGRP | stat.S_ISUID | stat.S_ISGID):
            wrong.append(f"/{path.relative_to(root)} may be written by others, or is setuid: {stat.filemode(mode)}")
    return wrong


def uncompiled(root: Path) -> list[str]:
    """Modules that would be compiled again by each run."""
    wrong = []
    for path in files(root, *OURS):
        if path.suffix != ".py" or path.name in RUN_BY_NAME:
            continue
        if not list(path.parent.glob(f"__pycache__/{path.stem}.cpython-3??.pyc")):
            wrong.append(f"/{path.relative_to(root)} has no .pyc")
    return wrong


def installers(root: Path) -> list[str]:
    """What could install something, wherever it lies."""
    wrong = []
    for path in files(root, *OURS, "usr"):
        relative = path.relative_to(root)
        package = path.parent.name in ("site-packages", "dist-packages") or path.parent.name.startswith("python3")
        if (package and path.name.split("-")[0] in INSTALLERS) or (path.parent.name == "bin" and path.name.startswith("pip")):
            wrong.append(f"/{relative} is left in")
    return wrong


def not_executable(root: Path) -> list[str]:
    """Scripts that Concourse could not start, and those that need anything but Python's own path."""
    wrong = []
    for name in SCRIPTS:
        path = root / "opt" / "resource" / name
        if not path.is_file() or path.stat().st_mode & 0o111 != 0o111:
            wrong.append(f"/opt/resource/{name} is missing, or not executable by everybody")
        elif path.read_text(encoding="utf-8").splitlines()[0] != "#!/opt/approval/bin/python3":
            wrong.append(f"/opt/resource/{name} depends on PATH")
    return wrong


def left_over(root: Path) -> list[str]:
    """What the build used and should have taken with it."""
    wrong = [
        f"/{path.relative_to(root)} is left over"
        for path in files(root, "tmp", "root")
        if path.name.startswith(("pip", ".cache"))
    ]
    settings = root / "etc" / "pip.conf"
    if settings.exists() and settings.stat().st_size:
        wrong.append("/etc/pip.conf is left over")
    return wrong


def chatty(shop: Workshop, image: str, source: dict[str, str]) -> list[str]:
    """A check whose stdout is anything but one JSON document."""
    ran = shop.run(image, "/opt/resource/check", stdin=json.dumps({"source": source}).encode())
    try:
        return (
            []
            if ran.code == 0 and json.loads(ran.stdout) == []
            else [f"check ended with {ran.code}: {ran.stdout} {ran.stderr}"]
        )
    except ValueError:
        return [f"check's stdout is no JSON document: {ran.stdout!r}"]


def slow_to_import(shop: Workshop, image: str, source: dict[str, str]) -> list[str]:
    """Modules, of the standard library too, that a run had to compile: Python names the file that each one's code came from."""
    wrong = []
    for command, stdin in runs(source):
        ran = shop.run(image, "env", "PYTHONVERBOSE=1", *command, stdin=stdin)
        lines = [line for line in ran.stderr.splitlines() if line.startswith("# code object from ")]
        if not lines:
            wrong.append(f"{' '.join(command)} ended with {ran.code}, and nothing tells of its imports: {ran.stderr[-500:]}")
        compiled = [line.removeprefix("# code object from ").strip("'") for line in lines]
        wrong += [f"{' '.join(command)} has to compile {path}" for path in compiled if not path.endswith(".pyc")]
    return list(dict.fromkeys(wrong))


def runs(source: dict[str, str]) -> Iterator[tuple[list[str], bytes]]:
    """One run each of what the image is for."""
    version = {"id": "none", "lock_name": "deploy", "state": "held", "timestamp": "2026-01-01T00:00:00.000000Z"}
    release = {"action": "release", "lock_name": "none"}
    directory = "/tmp"  # noqa: S108 - in the container
    yield ["/opt/resource/check"], json.dumps({"source": source}).encode()
    yield ["/opt/resource/in", directory], json.dumps({"source": source, "version": version}).encode()
    yield ["/opt/resource/out", directory], json.dumps({"source": source, "params": release}).encode()
    yield ["cli", "--help"], b""


def shut_out(shop: Workshop, image: str, source: dict[str, str]) -> list[str]:
    """Steps that fail in Concourse: as the image's own user, in volumes that are root's, with artifacts that only their owner reads."""
    wrong = []
    with TemporaryDirectory(prefix="build-") as build:
        put, get = Path(build, "put"), Path(build, "get")
        for folder in (put / "plan", put / "notes", get):
            folder.mkdir(parents=True)
        (put / "plan" / "plan.txt").write_text("apply", encoding="utf-8")
        (put / "notes" / "notes.txt").write_text("read me", encoding="utf-8")

        def step(script: str, volume: Path, **request: Any) -> dict[str, str]:
            hand_over(Path(build), CONCOURSE_ROOT)
            for path in files(put, "notes"):
                os.chown(path, A_TASKS_USER, A_TASKS_USER)
            document = {"source": source | {"pool": "steps"}, **request}
            ran = shop.step(image, script, volume, stdin=json.dumps(document).encode())
            if ran.code == 0:
                version: dict[str, str] = json.loads(ran.stdout)["version"]
                return version
            wrong.append(f"{script} with {request} ended with {ran.code}: {ran.stderr}")
            return {}

        version = step("out", put, params={"action": "claim", "lock_name": "deploy"})
        step("in", get, version=version)
        attached = {"plan": "plan/plan.txt", "notes": "notes/notes.txt"}
        step("out", put, params={"action": "claim", "lock_name": "other", "need_approval": True, "attach": attached})
        get.rename(put / "gate")
        step("out", put, params={"action": "release", "from": "gate"})
        owners = {path.lstat().st_uid for path in files(put, "gate")}
    if owners != {CONCOURSE_ROOT}:
        wrong.append(f"in wrote as {owners or 'nobody'}, not as root")
    return wrong
