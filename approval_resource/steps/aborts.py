"""Being told to stop: for an abort or a step's timeout Concourse sends SIGTERM, and kills ten seconds later."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

ABORTED_CODE = 128 + signal.SIGTERM
"""The exit code of a step that was stopped."""
GRACE_SECONDS = 4
"""How long a stopped step may take to undo what it did."""


class Aborted(BaseException):
    """The step was told to stop. No `Exception`, so that nothing that mends failures swallows it."""


@contextmanager
def aborts(say: Callable[[str], None]) -> Iterator[None]:
    """Turn the first SIGTERM or SIGINT into `Aborted`, and end the process if undoing takes too long."""

    def too_long(_: int, __: FrameType | None) -> None:
        say(
            "Stopped (aborted, or its time was up): the store did not answer in time; this build's claim may be left, see cli.py list"
        )
        os._exit(ABORTED_CODE)

    def abort(_: int, __: FrameType | None) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)
        signal.signal(signal.SIGALRM, too_long)
        signal.alarm(GRACE_SECONDS)
        raise Aborted

    before = {number: signal.signal(number, abort) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
