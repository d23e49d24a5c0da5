"""Engines, tables and builders that every suite shares."""

from __future__ import annotations

import os
import signal
import tempfile
from collections.abc import Callable, Iterator
from functools import cache, partial
from pathlib import Path
from uuid import uuid4

import pytest
from botocore.loaders import JSONFileLoader

from approval_resource.audit import export, verify
from approval_resource.clock import StoreClock
from approval_resource.store.dynamodb import table as table_module
from approval_resource.store.dynamodb.store import DynamoStore
from approval_resource.store.interface import Connection
from demo.engine import REGION, Engine, EngineMissingError, ministack
from tests import tally
from tests.builders import FrozenTime

# What a shell starts in the background ignores SIGINT, and so would every process that a test starts and interrupts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Each client parses botocore's models anew: a tenth of a second, which a command pays once and a run of the tests 2,500 times.
parsed = cache(partial(JSONFileLoader.load_file, JSONFileLoader()))
JSONFileLoader.load_file = lambda _loader, path: parsed(path)

# Nothing of the machine's own AWS set-up may reach a test, and no test may reach AWS, unless it was named.
if not os.environ.get("DYNAMODB_ENDPOINT"):
    for name in [name for name in os.environ if name.startswith(("AWS_", "APPROVAL_", "BUILD_", "ATC_"))]:
        if name not in ("APPROVAL_TALLY", "APPROVAL_SEED", "AWS_CA_BUNDLE", "APPROVAL_SCRIPTS_DIR", "APPROVAL_SCRIPTS_COMMAND"):
            del os.environ[name]
    os.environ |= {
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    }


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--soak", action="store_true", help="try as much as make soak and make fuzz do")


def pytest_configure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):
        scratch = tempfile.NamedTemporaryFile(prefix="tally-", delete=False)  # noqa: SIM115 - it outlives this call
        scratch.close()
        os.environ[tally.VARIABLE] = scratch.name


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    tried = tally.total(Path(os.environ[tally.VARIABLE]))
    if tried:
        terminalreporter.section("tried")
        for what, count in sorted(tried.items()):
            terminalreporter.write_line(f"{count:>9,} {what.replace('_', ' ')}")


def pytest_unconfigure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):
        Path(os.environ.pop(tally.VARIABLE)).unlink(missing_ok=True)


@pytest.fixture(autouse=True)
def _landed(monkeypatch: pytest.MonkeyPatch) -> None:
    """No other commit is under way where a test audits or exports, so nobody waits for one."""
    monkeypatch.setattr(verify, "LANDED", 0.0)
    monkeypatch.setattr(export, "LANDED", 0.0)


@pytest.fixture(scope="session")
def effort(pytestconfig: pytest.Config) -> tally.Effort:
    """How hard this run tries."""
    return tally.Effort(soak=bool(pytestconfig.getoption("--soak")))


def engine_or_skip(error: EngineMissingError) -> None:
    """Without its engine a test says nothing: skipped on a desk, a failure in CI."""
    if os.environ.get("CI"):
        pytest.fail(str(error))
    pytest.skip(str(error))


@pytest.fixture(scope="session")
def engine() -> Iterator[Engine]:
    """One MiniStack for the whole run."""
    try:
        with ministack() as started:
            yield started
    except EngineMissingError as missing:
        engine_or_skip(missing)


@pytest.fixture
def table() -> str:
    """The name of a table nobody else uses. It is made on first use."""
    return f"t-{uuid4()}"


@pytest.fixture
def connection(engine: Engine, table: str) -> Connection:
    """How to reach that table."""
    return Connection(
        table=table, region=REGION, endpoint_url=engine.url, access_key_id="test", secret_access_key="test-secret"
    )


@pytest.fixture
def connect(connection: Connection, monkeypatch: pytest.MonkeyPatch) -> Callable[..., DynamoStore]:
    """Makes further stores on the same table, each as another process would.

    The engine expires items by its own clock, once a minute. A table of a frozen time therefore has no TTL: its items
    would be gone in the middle of a test.
    """

    def connected(store_clock: StoreClock | None = None, **changes: object) -> DynamoStore:
        if isinstance(store_clock, FrozenTime):
            monkeypatch.setattr(table_module, "protect", lambda *_: None)
        return DynamoStore.connect(connection, store_clock=store_clock, creates=True, **changes)  # type: ignore[arg-type]

    return connected


@pytest.fixture
def store(connect: Callable[..., DynamoStore]) -> DynamoStore:
    """A store on that table."""
    return connect()
