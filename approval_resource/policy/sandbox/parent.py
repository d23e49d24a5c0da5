"""Running what strangers wrote in a process of its own, with limits, so that it can neither hang nor reach anything."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

WALL_SECONDS = 2.5
"""What one task may take."""
BUDGET_SECONDS = 5.0
"""What all tasks of one evaluation may take together, however many policies there are."""
CHILD = Path(__file__).with_name("child.py")


class SandboxError(Exception):
    """It gave no answer: it ran too long, took too much, or crashed. Never raised out of the policy package."""


_until: ContextVar[float | None] = ContextVar("until", default=None)


@contextmanager
def budget(seconds: float = BUDGET_SECONDS) -> Iterator[None]:
    """Let all that runs meanwhile share that much time, and no more than is left of what it shares already."""
    outer, until = _until.get(), time.monotonic() + seconds
    mark = _until.set(until if outer is None else min(outer, until))
    try:
        yield
    finally:
        _until.reset(mark)


def spent() -> bool:
    """Whether the time that is shared is over."""
    until = _until.get()
    return until is not None and time.monotonic() >= until


def run(task: dict[str, Any]) -> dict[str, Any]:
    """The child's answer to the task.

    Raises:
        SandboxError: there is none.
    """
    import subprocess  # budgets are kept by every evaluation, few of which run anything

    until = _until.get()
    seconds = WALL_SECONDS if until is None else min(WALL_SECONDS, until - time.monotonic())
    if seconds <= 0:
        raise SandboxError("the policies before it took all the time there is")
    try:
        text = json.dumps(task)
        code, out, err = _ended(text.encode(), seconds)
    except subprocess.TimeoutExpired as slow:
        raise SandboxError(f"it took more than {seconds:.1f} s and was stopped") from slow
    except (OSError, ValueError, RecursionError) as broken:
        raise SandboxError(f"it could not be run ({type(broken).__name__})") from broken
    if code:
        why = "an engine that is missing" if b"No module named" in err else "too much time or memory, or a crash"
        raise SandboxError(f"its evaluation ended in {why}")
    try:
        answer = json.loads(out)
    except ValueError as garbled:
        raise SandboxError("its evaluation gave no answer") from garbled
    if not isinstance(answer, dict):
        raise SandboxError("its evaluation gave no answer")
    return answer


def _ended(text: bytes, seconds: float) -> tuple[int, bytes, bytes]:
    """The child's exit code and what it wrote. It is gone when this returns or raises, on Ctrl-C too.

    Raises:
        subprocess.TimeoutExpired: it took longer.
    """
    import subprocess

    pipe = subprocess.PIPE
    command = [sys.executable, "-I", "-B", str(CHILD)]
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, env={}) as process:  # noqa: S603 - a file of this package
        try:
            out, err = process.communicate(text, timeout=seconds)
        except BaseException:
            process.kill()
            process.wait()
            raise
    return process.returncode, out, err
