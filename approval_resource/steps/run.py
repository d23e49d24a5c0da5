"""How a script starts and ends: as a process of its own, which lives for a moment or for days."""

from __future__ import annotations

import gc
import os
import sys
from types import TracebackType
from typing import NoReturn


def run(step: str) -> NoReturn:
    """Run a script and end the process, at once and with its exit code: what was answered can't be taken back."""
    # Nothing that is imported becomes garbage, and a check is over before there is enough of it to matter. Looking for some takes
    # a tenth of a short run.
    gc.disable()
    from approval_resource.steps.log import Log
    from approval_resource.steps.main import main

    gc.freeze()
    if step != "check":
        gc.enable()  # a step may wait for days
    log = Log(sys.stderr)

    def crashed(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        """Tell of what nobody expected as Python does, in lines as any other, without the source's secrets."""
        import traceback

        for line in "".join(traceback.format_exception(kind, error, trace)).splitlines():
            log.say(line)

    # What a crash says may be anything, so Python's own hook, which redacts nothing, must not tell it.
    sys.excepthook = crashed
    os._exit(main(step, leave=os._exit, log=log))
