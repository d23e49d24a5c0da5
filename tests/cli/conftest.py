"""Ways to run the command line: in this process, and as a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from approval_resource.claims import acquire as claims
from approval_resource.claims.request import Attempt
from approval_resource.model.claim import Claim, Claimant
from approval_resource.store.dynamodb.connect import dynamodb, session_of
from approval_resource.store.interface import Connection, LockStore
from cli import cli
from tests.builders import a_build, a_request
from tests.cli.terminal import Seen, Watcher, on_terminal

ROOT = Path(__file__).resolve().parents[2]
SECONDS = 30
POOL = "payments"

Environment = dict[str, str]
Run = Callable[..., Result]
Terminal = Callable[..., Seen]
Process = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def environment(connection: Connection) -> Environment:
    """What a reviewer's shell holds."""
    return {
        "AWS_ACCESS_KEY_ID": connection.access_key_id,
        "AWS_SECRET_ACCESS_KEY": connection.secret_access_key,
        "AWS_DEFAULT_REGION": connection.region,
        "AWS_ENDPOINT_URL_DYNAMODB": connection.endpoint_url,
        "APPROVAL_TABLE": connection.table,
        "NO_PROXY": "127.0.0.1",
        "no_proxy": "127.0.0.1",
        "LOGNAME": "ana",
    }


@pytest.fixture
def wire(connection: Connection) -> Any:
    """A client of DynamoDB itself, for what no part of this program does."""
    return dynamodb(session_of(connection), connection)


@pytest.fixture
def run(environment: Environment) -> Run:
    """Runs a command in this process; further variables as keywords, None takes one away."""

    def command(*arguments: str, **variables: str | None) -> Result:
        ran = CliRunner().invoke(cli, arguments, env=environment | variables, prog_name="cli.py")
        if ran.exception is not None and not isinstance(ran.exception, SystemExit):
            raise ran.exception
        return ran

    return command


@pytest.fixture
def process(environment: Environment) -> Process:
    """Runs a command as a process; further variables as keywords, None takes one away."""

    def command(*arguments: str, **variables: str | None) -> subprocess.CompletedProcess[str]:
        wanted = {**os.environ, **environment, **variables}
        return subprocess.run(
            [sys.executable, "cli.py", *arguments],
            cwd=ROOT,
            env={name: value for name, value in wanted.items() if value is not None},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )

    return command


@pytest.fixture
def terminal(environment: Environment) -> Terminal:
    """Runs a command on a terminal; `columns` and `rows` size it, further variables as keywords."""

    def command(
        *arguments: str, columns: int = 80, rows: int = 40, watcher: Watcher = lambda text, program: None, **variables: str
    ) -> Seen:
        return on_terminal(arguments, environment | variables, columns, rows, watcher)

    return command


def claim_of(
    store: LockStore, claim_id: str = "", *, number: int = 1, build: dict[str, str] | None = None, **request: Any
) -> Claim:
    """Claim at once, under that id."""
    asker = a_build(number, **(build or {}))
    attempt = Attempt(claim_id) if claim_id else Attempt()
    return claims.take(store, a_request(**request), Claimant(asker), attempt).claim


def refused(ran: Result, *words: str, code: int = 1) -> None:
    """It ended with that exit code and one line on stderr, which holds those words, and said nothing else."""
    assert ran.exit_code == code, ran.output
    assert ran.stdout == ""
    assert ran.stderr.startswith("ERROR: ")
    assert ran.stderr.count("\n") == 1, ran.stderr
    for word in words:
        assert word in ran.stderr


def revision(store: LockStore, pool: str = POOL) -> int:
    """How many events the pool has had."""
    head = store.head(pool)
    return head.revision if head else 0
