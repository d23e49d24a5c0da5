#!/usr/bin/env python3
"""Runs a script in a fresh container, in the place of the script itself: same stdin, stdout, signals and exit code.

`inside.py OWNER PODMAN-WITH-OPTIONS… -- /opt/resource/SCRIPT [DIRECTORY]`, where the options end in the image. The directory is
mounted at its own path, and belongs to the id OWNER as Concourse's volumes belong to root, or to everybody where OWNER is `all`.
The environment is passed on, as Concourse does.
"""

from __future__ import annotations

import contextlib
import os
import select
import stat
import subprocess
import sys
from pathlib import Path
from uuid import uuid4

KEPT = ("PATH", "HOME", "CONTAINERS_CONF", "LC_CTYPE")
"""Those of podman itself."""
OWN = 2
"""So many parts has a path that others share, such as /tmp."""


def main() -> None:
    """Become podman, with a watcher that ends the container where podman itself is killed."""
    split = sys.argv.index("--")
    owner, *podman, image = sys.argv[1:split]
    script, *arguments = sys.argv[split + 1 :]
    options, name = [], f"inside-{uuid4()}"
    for variable, value in os.environ.items():
        if variable not in KEPT:
            options.append(f"--env={variable}={value}")
            if value.startswith("/") and Path(value).is_dir():
                options.append(f"--volume={value}:{value}:ro")
    for argument in arguments[:1]:
        path = nearest(Path(argument))
        if path is not None:
            if owner == "all":
                open_to_all(path)
            else:
                hand_over(path, int(owner))
            options.append(f"--volume={path}:{path}")
    _end_with(os.getpid(), [*podman[: podman.index("run")], "rm", "--force", "--time=0", name])
    os.execvp(podman[0], [*podman, f"--name={name}", *options, image, script, *arguments])  # noqa: S606 - no shell is meant to be between


def nearest(path: Path) -> Path | None:
    """The folder that is meant, or the one in which it is to be made; None where that is nobody's in particular."""
    with contextlib.suppress(OSError):
        for candidate in (path, *path.parents):
            if candidate.is_dir():
                return candidate if len(candidate.parts) > OWN else None
    return None


def open_to_all(path: Path) -> None:
    """Let whoever the container runs as write there."""
    for found in (path, *path.rglob("*")):
        mode = found.lstat().st_mode
        if stat.S_ISDIR(mode) or stat.S_ISREG(mode):
            found.chmod(stat.S_IMODE(mode) | (0o777 if stat.S_ISDIR(mode) else 0o666))


def hand_over(path: Path, owner: int) -> None:
    """Give it and all in it to that id alone: others may look into folders, as in Concourse's volumes, and read no file."""
    for found in (path, *path.rglob("*")):
        mode = found.lstat().st_mode
        os.chown(found, owner, owner, follow_symlinks=False)
        if stat.S_ISDIR(mode) or stat.S_ISREG(mode):
            found.chmod(0o755 if stat.S_ISDIR(mode) else 0o600)


def _end_with(pid: int, command: list[str]) -> None:
    """Leave a process behind that runs the command once the one with that id has ended."""
    ends = os.pidfd_open(pid)
    if os.fork():
        os.close(ends)
        return
    os.setsid()
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nowhere, stream)
    select.select([ends], [], [])
    subprocess.run(command, check=False)
    os._exit(0)


if __name__ == "__main__":
    main()
