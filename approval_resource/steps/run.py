"""Start and end of a script's process, which lives for a moment or for days."""

from __future__ import annotations

import gc
import os
import sys
from types import TracebackType
from typing import NoReturn


def run(step: str) -> NoReturn:
    """Run a script, then end the process at once with its exit code: a written answer can't be taken back."""
    # The garbage collector would take a tenth of a short run for nothing. Imports don't become garbage, and
    # a check is over before its own garbage matters.
    gc.disable()
    from approval_resource.logs import Log
    from approval_resource.steps.main import main

    gc.freeze()
    if step != "check":
        gc.enable()  # a step may wait for days
    log = Log(sys.stderr)

    def crashed(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        """Write an unexpected error as Python does, but as lines of the build log, with secrets redacted."""
        import traceback

        for line in "".join(traceback.format_exception(kind, error, trace)).splitlines():
            log.say(line)

    # A traceback may contain anything, and Python's own hook redacts nothing.
    sys.excepthook = crashed
    os._exit(main(step, leave=os._exit, log=log))
