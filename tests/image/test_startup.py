"""What precompiling is worth: `check` with and without the .pyc files, in one run."""

from __future__ import annotations

import json
from statistics import median

from tests.image.conftest import DOCKERFILE
from tests.image.workshop import Workshop

ROUNDS = 7
SLOWEST = 0.8
"""Of the time that the same code takes uncompiled; half of it is what to expect."""


def test_precompiled_modules_are_worth_their_space(shop: Workshop, base: str, image: str, source: dict[str, str]) -> None:
    """Both images take turns, so that what else the machine does falls on both."""
    removed = '\nRUN find /usr /opt -name "*.pyc" -delete\n'
    bare = shop.build("uncompiled", base, DOCKERFILE + removed, "--build-arg=VERSION=1.2.3", "--build-arg=REVISION=abc")
    times: dict[str, list[float]] = {image: [], bare: []}
    for _ in range(ROUNDS):
        for each, taken in times.items():
            taken.append(_seconds(shop, each, source))
    compiled, uncompiled = median(times[image]), median(times[bare])
    print(f"check: {compiled * 1000:.0f} ms precompiled, {uncompiled * 1000:.0f} ms not; ratio {compiled / uncompiled:.2f}")
    assert compiled / uncompiled < SLOWEST


def _seconds(shop: Workshop, image: str, source: dict[str, str]) -> float:
    """How long check takes, the container's own start left out."""
    request = json.dumps({"source": source})
    timed = (
        "import subprocess, sys, time; request = sys.stdin.buffer.read(); start = time.monotonic(); "
        "done = subprocess.run('/opt/resource/check', input=request, stdout=subprocess.PIPE); "
        "print(time.monotonic() - start if done.stdout == b'[]\\n' else done)"
    )
    ran = shop.run(image, "/opt/approval/bin/python", "-c", timed, stdin=request.encode())
    assert ran.code == 0, ran.stderr
    return float(ran.stdout)
