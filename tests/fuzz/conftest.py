"""How many inputs are tried, from which seed, and what they are tried on."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from botocore.loaders import JSONFileLoader
from hypothesis import HealthCheck, Phase, seed, settings

from demo.engine import Engine
from tests import tally
from tests.fuzz.world import World, furnish
from tests.scripts.conftest import concourse, wire

__all__ = ["concourse", "wire"]

Hunt = Callable[..., Callable[[Callable[..., Any]], Callable[..., Any]]]


@pytest.fixture
def hunt(effort: tally.Effort) -> Hunt:
    """Decorates what Hypothesis calls with the number of examples, short and soak, and a seed for that part of the test.

    A short run tries the same each time, unless APPROVAL_SEED says otherwise, and has no time to look for a
    shorter example; a soak does neither.
    """

    def decorated(short: int, soak: int, part: int = 0) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        number = tally.seeded()[0] if effort.soak or os.environ.get("APPROVAL_SEED") else 0
        print(f"again with APPROVAL_SEED={number}")  # noqa: T201 - pytest shows it with a failure
        chosen = settings(
            max_examples=effort.of(short, soak),
            deadline=None,
            database=None,
            phases=(Phase.generate, Phase.shrink) if effort.soak else (Phase.generate,),
            print_blob=True,
            suppress_health_check=list(HealthCheck),
        )
        return lambda test: seed(number + part)(chosen(test))

    return decorated


_read = JSONFileLoader.load_file


@cache
def _read_once(path: str) -> Any:
    return _read(JSONFileLoader(), path)


@pytest.fixture(scope="module", autouse=True)
def models() -> Iterator[None]:
    """botocore reads its models for each session anew, which takes longer than all else that most inputs do."""
    with mock.patch.object(JSONFileLoader, "load_file", lambda _, path: _read_once(path)):
        yield


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture) -> None:
    """Thousands of tables are made here, which is no news."""
    caplog.set_level(logging.ERROR, logger="approval_resource.store.dynamodb.table")


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    """The directory of a build's artifacts, with all sorts of files."""
    directory = tmp_path / "build"
    directory.mkdir()
    furnish(directory)
    return directory


@pytest.fixture
def world(engine: Engine, workspace: Path) -> World:
    """A table, and a build's directory."""
    return World(engine, workspace)
