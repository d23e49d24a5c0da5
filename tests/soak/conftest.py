"""What breaks off scripts starts them with the same stand-in for Concourse as the scripts' own tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from demo.engine import Engine
from tests import tally
from tests.scripts.conftest import concourse, wire
from tests.soak.proxy import Proxy

__all__ = ["concourse", "proxy", "wire"]


@pytest.fixture
def proxy(engine: Engine) -> Iterator[Proxy]:
    """A line to the engine on which nothing goes wrong until the test says so. What went wrong is counted."""
    seed, random = tally.seeded()
    print(f"APPROVAL_SEED={seed}")  # noqa: T201 - shown where a test fails
    with Proxy(engine.url, random) as line:
        yield line
    tally.add(faults=line.applied.total())
