"""A running service on a table of its own, a provider, and browsers."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Any
from uuid import uuid4

import pytest
import uvicorn

from approval_resource.model.claim import Claim
from approval_resource.service.app import service_of
from approval_resource.service.call import Service
from approval_resource.service.config import Config, Secrets
from approval_resource.service.guard import Buckets
from approval_resource.service.looks import FRESH_SECONDS
from approval_resource.service.server import options_of
from approval_resource.store.dynamodb.store import DynamoStore
from approval_resource.store.interface import Connection
from demo.engine import REGION, Engine, free_port
from tests.builders import a_build, take
from tests.service.browser import Browser
from tests.service.provider import CLIENT, ISSUER, SECRET, Provider, provided

KEY = "0123456789abcdef0123456789abcdef-tests"
SLACK_SECRET = "8f742231b10e8888abcd99yyyzzz85a5"
PEOPLE: dict[str, dict[str, Any]] = {
    "ana": {"name": "Ana Ruiz", "email": "ana@example.com", "groups": ["team-payments", "sec"]},
    "ben": {"name": "Ben", "groups": ["team-payments"]},
    "olga": {"name": "Olga", "groups": ["platform"]},
    "vic": {"name": "Vic", "groups": []},
}
POOLS = {
    "payments": {"viewers": ["everyone"], "reviewers": ["team-payments"], "operators": ["platform"]},
    "secret": {"reviewers": ["sec"]},
}
ANA, BEN, OLGA = (f"oidc:{ISSUER}#{name}" for name in ("ana", "ben", "olga"))


def next_look() -> None:
    """Return once the service looks at the table anew: each look serves all who ask within its seconds."""
    time.sleep(FRESH_SECONDS + 0.1)


@pytest.fixture(scope="session")
def one_provider() -> Iterator[Provider]:
    """One provider for the whole run."""
    with provided(Provider(people={name: dict(about) for name, about in PEOPLE.items()})) as provider:
        yield provider


@pytest.fixture
def provider(one_provider: Provider) -> Iterator[Provider]:
    """The provider, honest again after each test."""
    yield one_provider
    one_provider.forget()
    one_provider.people = {name: dict(about) for name, about in PEOPLE.items()}


@dataclass
class Running:
    """A running service, with the store behind it."""

    service: Service
    store: DynamoStore
    url: str
    browsers: ExitStack

    def browser(self) -> Browser:
        """A new browser."""
        browser = Browser(self.url)
        self.browsers.callback(browser.close)
        return browser

    def claim(self, number: int = 1, **request: Any) -> Claim:
        """A claim that waits for an approval."""
        request.setdefault("lock_name", f"lock-{uuid4()}")
        return take(self.store, a_build(number, created_by=request.pop("by", "")), **request)


@contextmanager
def serving(service: Service, port: int) -> Iterator[None]:
    """That service, answering on the port as the process does, stopped at the end. Nobody is told by it."""
    options = options_of(service, "127.0.0.1", port)
    options.lifespan = "off"
    server = uvicorn.Server(options)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        until = time.monotonic() + 20
        while not server.started:
            assert thread.is_alive(), "it did not start"
            assert time.monotonic() < until, "it did not start"
            time.sleep(0.01)
        yield
    finally:
        server.should_exit = True
        thread.join()


Serve = Callable[..., Running]


def secrets_of(*keys: str) -> Secrets:
    """The secrets of a service with those keys."""
    return Secrets(SECRET, tuple(key.encode() for key in keys), SLACK_SECRET, SECRET)


def a_config(url: str, provider: Provider, connection: Connection, **changes: Any) -> Config:
    """A config as the tests have it, with those options in place of its own."""
    document: dict[str, Any] = {
        "url": url,
        "table": connection.table,
        "region": REGION,
        "endpoint_url": connection.endpoint_url,
        "pools": POOLS,
        "login": {"issuer": ISSUER, "discovery": provider.url, "client_id": CLIENT, "client_secret": "env:UNUSED"},
        "session": {"hours": 8, "keys": ["env:UNUSED"]},
    }
    return Config.model_validate(document | changes)


@pytest.fixture
def serve(provider: Provider, connection: Connection, connect: Callable[..., DynamoStore]) -> Iterator[Serve]:
    """Starts services on the test's table, with options in place of the usual ones."""
    with ExitStack() as running:

        def served(keys: tuple[str, ...] = (KEY,), store: DynamoStore | None = None, **changes: Any) -> Running:
            port = free_port()
            url = f"http://127.0.0.1:{port}"
            config = a_config(changes.pop("url", url), provider, connection, **changes)
            service = service_of(config, secrets_of(*keys), store or connect())
            running.enter_context(serving(service, port))
            return Running(service, connect(), url, running)

        yield served


@pytest.fixture(scope="session")
def one_running(engine: Engine, one_provider: Provider) -> Iterator[Running]:
    """One service for the whole run, which floods nobody out. Each claim has a lock of its own."""
    connection = Connection(
        table=f"t-{uuid4()}", region=REGION, endpoint_url=engine.url, access_key_id="test", secret_access_key="test-secret"
    )
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    store = DynamoStore.connect(connection, creates=True)
    service = service_of(a_config(url, one_provider, connection), secrets_of(KEY), store)
    service = replace(service, buckets=Buckets(10**6, 10**6))
    with ExitStack() as running, serving(service, port):
        yield Running(service, DynamoStore.connect(connection, creates=True), url, running)


@pytest.fixture
def running(one_running: Running, provider: Provider) -> Running:
    """That service, with an honest provider."""
    return one_running
