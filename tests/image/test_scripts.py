"""The scripts' own tests hold inside the image, with as little as a careful operator leaves a container."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys

import pytest

from tests.image.workshop import CONCOURSE, CONCOURSE_ROOT, HARDENED, ROOT, Workshop

SECONDS = 1500
CONTAINERS = {
    "as Concourse runs it": (str(CONCOURSE_ROOT), CONCOURSE),
    "as another": ("all", (*HARDENED, "--user=4711:4711")),
}
"""Whose the steps' directories are, and what else podman is told: with Concourse, as the image's own user."""


@pytest.mark.timeout(SECONDS + 60)
@pytest.mark.parametrize("container", CONTAINERS)
def test_the_scripts_tests_pass_inside(shop: Workshop, image: str, container: str) -> None:
    """Read-only, 256 MB, 64 processes, and no capabilities but those that Concourse leaves root; the engine is on the host."""
    owner, options = CONTAINERS[container]
    run = shop.command("podman", "run", "--rm", "--interactive", "--network=host", *options)
    inside = [str(ROOT / "tests" / "image" / "inside.py"), owner, *run, image, "--"]
    configuration = f"CONTAINERS_CONF={shop.environment['CONTAINERS_CONF']}"
    variables = {
        "APPROVAL_SCRIPTS_DIR": "/opt/resource",
        "APPROVAL_SCRIPTS_COMMAND": shlex.join(["/usr/bin/env", configuration, sys.executable, *inside]),
    }
    command = [sys.executable, "-m", "pytest", "-m", "not long", "--numprocesses=2", "--dist=worksteal", "tests/scripts"]
    ran = subprocess.run(
        command, cwd=ROOT, env=os.environ | variables, capture_output=True, text=True, check=False, timeout=SECONDS
    )
    print(ran.stdout[-300:])
    assert ran.returncode == 0, ran.stdout[-20_000:]
    passed = re.search(r"(\d+) passed", ran.stdout)
    assert passed is not None
    assert int(passed[1]) > 150
