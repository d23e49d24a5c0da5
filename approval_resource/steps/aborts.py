"""Stop signals: Concourse sends SIGTERM for an abort or a step's timeout, and kills ten seconds later."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from approval_resource.program import called

ABORTED_CODE = 128 + signal.SIGTERM
"""Exit code of a stopped step."""
GRACE_SECONDS = 4
"""Seconds that a stopped step has to undo what it did."""


class Aborted(BaseException):
    """The step was told to stop. It isn't an `Exception`, so that no handler of failures swallows it."""


@contextmanager
def aborts(say: Callable[[str], None]) -> Iterator[None]:
    """Turn the first SIGTERM or SIGINT into `Aborted`. End the process if the undo takes too long."""

    def too_long(_: int, __: FrameType | None) -> None:
        say(
            "Stopped (aborted, or its time was up): the store did not answer in time; a claim of this build may still be there, "
            f"see {called()} list"
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
