"""A real browser before a real service, with a certified provider to sign in at."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from uuid import uuid4

import pytest
from playwright.sync_api import Browser, sync_playwright

from approval_resource.service.app import service_of
from approval_resource.service.config import Config, Secrets
from approval_resource.store.dynamodb.store import DynamoStore
from approval_resource.store.interface import Connection
from demo.engine import REGION, Engine, free_port
from tests.scripts.conftest import concourse
from tests.service.conftest import KEY, Running, serving

__all__ = ["concourse"]

HERE = Path(__file__).parent
CHROMIUM = "/usr/bin/chromium"
SECRET = "browser-tests-secret"


@pytest.fixture(scope="session")
def issuer() -> Iterator[tuple[str, int]]:
    """The provider's address, and the port that the service shall have."""
    port, service = free_port(), free_port()
    command = ["node", "provider.mjs", str(port), f"http://127.0.0.1:{service}/auth/callback", SECRET]
    process = subprocess.Popen(command, cwd=HERE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline().strip() == "ready"
        yield f"http://127.0.0.1:{port}", service
    finally:
        process.terminate()
        process.communicate()


@pytest.fixture(scope="session")
def connection(engine: Engine) -> Connection:
    """The one table of the service and of the steps that wait for its people."""
    return Connection(
        table=f"t-{uuid4()}", region=REGION, endpoint_url=engine.url, access_key_id="test", secret_access_key="test-secret"
    )


@pytest.fixture(scope="session")
def running(connection: Connection, issuer: tuple[str, int]) -> Iterator[Running]:
    """The service, whose one pool is reviewed by team-payments."""
    address, port = issuer
    config = Config.model_validate(
        {
            "url": f"http://127.0.0.1:{port}",
            "pools": {"payments": {"viewers": ["everyone"], "reviewers": ["team-payments"]}},
            "login": {
                "issuer": address,
                "client_id": "approvals",
                "client_secret": "env:UNUSED",
                "scopes": ["openid", "profile", "email", "groups"],
            },
            "machines": [{"issuer": address, "audience": "approvals-cli", "device": True}],
            "session": {"keys": ["env:UNUSED"]},
        }
    )
    service = service_of(config, Secrets(SECRET, (KEY.encode(),)), DynamoStore.connect(connection, creates=True))
    with ExitStack() as stack, serving(service, port):
        yield Running(service, DynamoStore.connect(connection, creates=True), config.url, stack)


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """Debian's Chromium, without a screen."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        yield browser
        browser.close()
