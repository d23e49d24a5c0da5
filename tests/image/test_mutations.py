"""Each fault that an image might have is found: the image is built with it, and looked at."""

from __future__ import annotations

import pytest

from tests.image.conftest import DOCKERFILE
from tests.image.faults import faults
from tests.image.workshop import Workshop

PIP_GOES = " \\\n && find /usr -xdev"
ROOT = "\nUSER 0\nRUN "
MUTATIONS = {
    "a world-writable file": (
        DOCKERFILE + ROOT + "chmod o+w /opt/resource/approval_resource/claims/gate.py\n",
        "gate.py may be written",
    ),
    "a module without .pyc": (
        DOCKERFILE + ROOT + "rm /opt/resource/approval_resource/claims/__pycache__/gate.*.pyc\n",
        "gate.py has no .pyc",
    ),
    "a module of the standard library without .pyc": (
        DOCKERFILE + ROOT + 'find /usr -name "decoder.cpython*.pyc" -delete\n',
        "has to compile /usr/",
    ),
    "debug output on stdout": (
        DOCKERFILE + ROOT + "sed -i '2i print(\"debug\")' /opt/resource/check\n",
        "stdout is no JSON document",
    ),
    "pip": (
        DOCKERFILE[: DOCKERFILE.index(PIP_GOES)] + "\n" + DOCKERFILE[DOCKERFILE.index("COPY --from=build /opt/approval") :],
        "is left in",
    ),
    "a script that can't be executed": (
        DOCKERFILE + ROOT + "chmod a-x /opt/resource/in\n",
        "/opt/resource/in is missing, or not",
    ),
    "a script that needs PATH": (
        DOCKERFILE + ROOT + "sed -i '1s|.*|#!/usr/bin/env python3|' /opt/resource/out\n",
        "/opt/resource/out depends on PATH",
    ),
    "a user of its own": (
        DOCKERFILE + "\nUSER 10001\n",
        "can't read or write /tmp/build/get",
        'can\'t read "plan/plan.txt"',
    ),
}


@pytest.mark.parametrize("fault", MUTATIONS)
def test_it_is_found(shop: Workshop, base: str, image: str, source: dict[str, str], fault: str) -> None:
    """A build with that fault, and no other, is called faulty for that, and for all that follows from it."""
    dockerfile, *told = MUTATIONS[fault]
    mutant = shop.build("mutant", base, dockerfile, "--build-arg=VERSION=1.2.3", "--build-arg=REVISION=abc")
    found = faults(shop, mutant, source)
    assert [part for part in told if not any(part in line for line in found)] == [], found
