"""Child process: evaluate untrusted Rego, conditions and patterns under resource limits.

It is run by path, and imports only this directory of the package, to start fast and to keep all other code
out of reach of untrusted text. It reads one JSON document from stdin, and writes one to stdout. Its caller
takes anything else, such as a crash, as an error.
"""

from __future__ import annotations

import json
import math
import os
import re
import resource
import signal
import sys
import time
from pathlib import Path
from typing import Any

MEMORY = 256 * 1024 * 1024
"""Resource limit of address space, in bytes."""
MAX_ANSWER = 4_000_000


def _limit(seconds: float) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))
    # The timer counts fractions of a second. The limit counts whole seconds, and code can't lift it.
    whole = math.ceil(seconds)
    resource.setrlimit(resource.RLIMIT_CPU, (whole, whole + 1))
    signal.setitimer(signal.ITIMER_PROF, max(0.001, seconds - time.process_time()))


def _rego(task: dict[str, Any]) -> dict[str, Any]:
    """Return each policy's problems, and its answer on each input."""
    from approval_resource.policy.sandbox import rego_evaluation

    return {"policies": [rego_evaluation.evaluate(text, task) for text in task["policies"]]}


def _conditions(task: dict[str, Any]) -> dict[str, Any]:
    """Return whether the facts meet each query."""
    from approval_resource.policy.sandbox import matching

    return {"results": [matching.matches(query, task["facts"], closed=closed) for query, closed in task["queries"]]}


def _pattern(task: dict[str, Any]) -> dict[str, Any]:
    """Return whether each text matches its pattern as a whole."""
    return {"results": [re.fullmatch(pattern, text) is not None for pattern, text in task["pairs"]]}


TASKS = {"rego": _rego, "conditions": _conditions, "pattern": _pattern}


def main() -> None:
    """Read one task from stdin, run it under limits, and write its answer to stdout."""
    task = json.load(sys.stdin)
    _limit(task["seconds"])
    sys.path.insert(0, str(Path(__file__).parents[3]))
    answer = json.dumps({**TASKS[task["task"]](task), "used": time.process_time()})
    if len(answer) > MAX_ANSWER:
        sys.exit(1)
    sys.stdout.write(answer)
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
