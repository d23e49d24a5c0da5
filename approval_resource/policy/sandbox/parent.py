"""Run untrusted text in a child process with limits, so that it can neither hang nor reach anything.

The limit counts work, in processor seconds, so that a busy machine gives the same answer as an idle one. The
limit on waiting is a backstop, for a machine that gives no processor time at all.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

CPU_SECONDS = 2.0
"""Resource limit of one task, in processor seconds, its start included."""
BUDGET_SECONDS = 5.0
"""Resource limit of all tasks of one evaluation together, in processor seconds, however many policies there
are."""
WALL_SECONDS = 60.0
"""Backstop: seconds of waiting for one task."""
Clock = Callable[[], float]
CHILD = Path(__file__).with_name("child.py")


class SandboxError(Exception):
    """The child gave no answer.

    It exceeded a limit, crashed, or could not be run. This error never leaves the policy package.
    """


class _Budget:
    """Budget of processor seconds that several tasks share."""

    def __init__(self, seconds: float, clock: Clock) -> None:
        self._clock, self._until = clock, clock() + seconds

    def left(self) -> float:
        return self._until - self._clock()

    def take(self, seconds: float) -> None:
        self._until -= seconds


_budgets: ContextVar[tuple[_Budget, ...]] = ContextVar("budgets", default=())


def stopped_clock() -> float:
    """Return the time of a clock that stands still. A budget with it counts the tasks alone."""
    return 0.0


@contextmanager
def budget(seconds: float = BUDGET_SECONDS, clock: Clock = stopped_clock) -> Iterator[None]:
    """Share a budget of processor seconds among all tasks run meanwhile.

    Budgets nest: a task may use no more than the smallest remainder, and takes from every budget. `clock`:
    its progress counts too, such as the processor time of this process's own work.
    """
    mark = _budgets.set((*_budgets.get(), _Budget(seconds, clock)))
    try:
        yield
    finally:
        _budgets.reset(mark)


def spent() -> bool:
    """Whether any budget in effect is used up."""
    return any(one.left() <= 0 for one in _budgets.get())


def run(task: dict[str, Any]) -> dict[str, Any]:
    """Run a task in a child process and return its answer.

    Raises:
        SandboxError: the child gave no answer, or a budget is used up.
    """
    import subprocess  # every evaluation imports this module, few run a task

    shared = _budgets.get()
    seconds = min([CPU_SECONDS, *(one.left() for one in shared)])
    if seconds <= 0:
        raise SandboxError("the policies before it took all the processor time there is")
    used = seconds
    answer: dict[str, Any] = {}
    try:
        code, out, err = _run_child(json.dumps({**task, "seconds": seconds}).encode())
        if not code:
            answer = json.loads(out)
            used = float(answer["used"])
    except subprocess.TimeoutExpired as slow:
        raise SandboxError(f"it was waited for {WALL_SECONDS:g} s and stopped") from slow
    except (OSError, RecursionError) as broken:
        raise SandboxError(f"it could not be run ({type(broken).__name__})") from broken
    except (ValueError, TypeError, LookupError) as garbled:
        raise SandboxError("its evaluation gave no answer") from garbled
    finally:
        for one in shared:
            one.take(used)
    if code:
        why = "an engine that is missing" if b"No module named" in err else "too much processor time or memory, or a crash"
        raise SandboxError(f"its evaluation ended in {why}")
    return answer


def _run_child(text: bytes) -> tuple[int, bytes, bytes]:
    """Run the child; return its exit code, stdout and stderr.

    The child is gone when this returns or raises, on Ctrl-C too.

    Raises:
        subprocess.TimeoutExpired: the child took longer than WALL_SECONDS.
    """
    import subprocess

    pipe = subprocess.PIPE
    command = [sys.executable, "-I", "-B", str(CHILD)]
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, env={}) as process:  # noqa: S603 - a file of this package
        try:
            out, err = process.communicate(text, timeout=WALL_SECONDS)
        except BaseException:
            process.kill()
            process.wait()
            raise
    return process.returncode, out, err
