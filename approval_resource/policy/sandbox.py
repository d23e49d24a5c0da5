"""Running what strangers wrote in a process of its own, with limits, so that it can neither hang nor reach anything."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

WALL_SECONDS = 2.5
CHILD = Path(__file__).with_name("child.py")


class SandboxError(Exception):
    """It gave no answer: it ran too long, took too much, or crashed. Never raised out of the policy package."""


def run(task: dict[str, Any]) -> dict[str, Any]:
    """The child's answer to the task.

    Raises:
        SandboxError: there is none.
    """
    try:
        text = json.dumps(task)
        done = subprocess.run(  # noqa: S603 - this interpreter, on a file of this package
            [sys.executable, "-I", "-B", str(CHILD)],
            input=text.encode(),
            capture_output=True,
            timeout=WALL_SECONDS,
            env={},
            check=False,
        )
    except subprocess.TimeoutExpired as slow:
        raise SandboxError(f"it took more than {WALL_SECONDS} s and was stopped") from slow
    except (OSError, ValueError, RecursionError) as broken:
        raise SandboxError(f"it could not be run ({type(broken).__name__})") from broken
    if done.returncode:
        why = "an engine that is missing" if b"No module named" in done.stderr else "too much time or memory, or a crash"
        raise SandboxError(f"its evaluation ended in {why}")
    try:
        answer = json.loads(done.stdout)
    except ValueError as garbled:
        raise SandboxError("its evaluation gave no answer") from garbled
    if not isinstance(answer, dict):
        raise SandboxError("its evaluation gave no answer")
    return answer
