"""Times whole processes, taking turns. Needs nothing but Python, so that it runs inside a container too.

One JSON document comes in on stdin: how many rounds, whether one more comes first that only warms up, and cases with `name`, `command`, `stdin` and `environment`, in which
`{round}` stands for the number of the round. One goes out: of each case the seconds that each run took, by the clock and of the
processor.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from typing import Any


def timed(case: dict[str, Any], number: int) -> tuple[float, float]:
    """Seconds by the clock, and of the processor, from the start of the process to its end.

    Raises:
        RuntimeError: it failed, so that its time says nothing.
    """

    def filled(text: str) -> str:
        return text.replace("{round}", str(number))

    environment = {name: filled(text) for name, text in case["environment"].items()}
    command = [filled(part) for part in case["command"]]
    started = time.perf_counter()
    process = subprocess.Popen(
        command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    if process.stdin is None or process.stdout is None:
        raise RuntimeError("no pipes")
    process.stdin.write(filled(case["stdin"]).encode())
    process.stdin.close()
    said = process.stdout.read()
    _, status, used = os.wait4(process.pid, 0)
    taken = time.perf_counter() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    process.stdout.close()
    if process.returncode:
        raise RuntimeError(f"{case['name']} ended with {process.returncode}: {said.decode(errors='replace')[-800:]}")
    return taken, used.ru_utime + used.ru_stime


def main() -> None:
    """Time every case once a round."""
    asked = json.load(sys.stdin)
    found: dict[str, dict[str, list[float]]] = {case["name"]: {"clock": [], "processor": []} for case in asked["cases"]}
    for number in range(asked["rounds"] + asked["warm"]):
        for case in asked["cases"]:
            clock, processor = timed(case, asked["first"] + number)
            if number >= asked["warm"]:
                found[case["name"]]["clock"].append(clock)
                found[case["name"]]["processor"].append(processor)
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main()
