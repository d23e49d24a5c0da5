"""The engines the contract runs on: MiniStack, moto in one thread, or whatever DYNAMODB_ENDPOINT names."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from approval_resource.store.dynamodb.connect import dynamodb, session_of
from approval_resource.store.dynamodb.store import DynamoStore
from approval_resource.store.interface import Connection
from demo.engine import PROGRAM, REGION, Engine, EngineMissingError, free_port, running
from tests.builders import FrozenTime
from tests.conftest import engine_or_skip

ELSEWHERE = os.environ.get("DYNAMODB_ENDPOINT", "")
MOTO = """
from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import run_simple
run_simple("127.0.0.1", {port}, DomainDispatcherApplication(create_backend_app), threaded=False)
"""


@pytest.fixture(scope="session")
def moto() -> Iterator[Engine]:
    """Another implementation of DynamoDB, served by one thread: its transactions break when raced."""
    if not (PROGRAM.parent.parent / "moto").exists():
        engine_or_skip(EngineMissingError("moto is missing; run make .venv-engine/moto"))
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="moto-") as scratch:
        environment = {"PATH": os.defpath, "HOME": scratch, "AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x"}
        command = [str(PROGRAM.parent / "python"), "-c", MOTO.format(port=port)]
        with running(command, environment, f"http://127.0.0.1:{port}", Path(scratch)) as engine:
            yield engine


@pytest.fixture
def connection(request: pytest.FixtureRequest, table: str) -> Iterator[Connection]:
    """The engine of the default: the one named from outside, else MiniStack."""
    reached = _connection(ELSEWHERE or request.getfixturevalue("engine").url, table)
    yield reached
    if ELSEWHERE:
        _drop(reached)


@pytest.fixture(params=["elsewhere"] if ELSEWHERE else ["ministack", "moto"])
def any_store(request: pytest.FixtureRequest, table: str) -> Iterator[DynamoStore]:
    """The store on each engine in turn, for what needs no races."""
    engine = "moto" if request.param == "moto" else "engine"
    reached = _connection(ELSEWHERE or request.getfixturevalue(engine).url, table)
    yield DynamoStore.connect(reached, creates=True)
    if ELSEWHERE:
        _drop(reached)


def _connection(url: str, table: str) -> Connection:
    """Our own engines take any keys; another one is asked with what the environment gives, if it gives any."""
    given = bool(ELSEWHERE) and any(name in os.environ for name in ("AWS_ACCESS_KEY_ID", "AWS_PROFILE", "AWS_ROLE_ARN"))
    keys: dict[str, Any] = {} if given else {"access_key_id": "test", "secret_access_key": "test-secret"}
    return Connection(table=table, region=os.environ.get("AWS_DEFAULT_REGION", REGION), endpoint_url=url, **keys)


def _drop(reached: Connection) -> None:
    """Tables of an engine that isn't ours don't go away by themselves."""
    client = dynamodb(session_of(reached), reached)
    with suppress(ClientError):
        client.update_table(TableName=reached.table, DeletionProtectionEnabled=False)
        client.delete_table(TableName=reached.table)


@pytest.fixture
def time() -> FrozenTime:
    """The store's time, as a test sets it."""
    return FrozenTime()


@pytest.fixture
def shared(connect: Callable[..., DynamoStore], time: FrozenTime) -> DynamoStore:
    """A store whose time is the test's."""
    return connect(time)
