"""One account for the suite, and pools nobody else uses."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import uuid4

import pytest

from demo.engine import EngineMissingError
from tests.conftest import engine_or_skip
from tests.iam.account import Account, an_account


@pytest.fixture(scope="session")
def account() -> Iterator[Account]:
    """The account with its table, on an engine that enforces IAM."""
    try:
        with an_account() as made:
            yield made
    except EngineMissingError as missing:
        engine_or_skip(missing)


@pytest.fixture
def pool() -> str:
    """A pool nobody else uses."""
    return f"pool-{uuid4()}"
