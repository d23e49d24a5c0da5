"""A service as a process, and people who are signed in to it without an issuer."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import urllib3

from approval_resource.service.people import Person
from approval_resource.service.sessions import COOKIE, Endings, Sessions
from approval_resource.service.signing import Signer
from approval_resource.store.dynamodb.store import DynamoStore
from approval_resource.store.interface import Connection
from demo.engine import REGION, free_port
from tests.bench import running
from tests.service.browser import Browser

KEY = "0123456789abcdef0123456789abcdef-bench"
ISSUER = "https://login.example.com"
START_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Process:
    """A server that is ready, and how long that took."""

    url: str
    pid: int
    seconds: float

    @property
    def resident(self) -> float:
        """Megabytes that it has in memory."""
        told = Path(f"/proc/{self.pid}/status").read_text(encoding="utf-8")
        [line] = [line for line in told.splitlines() if line.startswith("VmRSS")]
        return int(line.split()[1]) * 1024 / 1e6

    @property
    def processor(self) -> float:
        """Seconds of processor time that it has taken so far."""
        fields = Path(f"/proc/{self.pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / 100


def answers(url: str) -> bool:
    """Whether there is a page at that address."""
    try:
        return urllib3.request("GET", url, retries=False, timeout=5).status == 200
    except urllib3.exceptions.HTTPError:
        return False


@contextmanager
def server(command: list[str], environment: dict[str, str], url: str, ready: str) -> Iterator[Process]:
    """That server, once it is ready; ended with this.

    Raises:
        RuntimeError: it ended, or wasn't ready in time.
    """
    began = time.monotonic()
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        while not answers(url + ready):
            if process.poll() is not None or time.monotonic() > began + START_SECONDS:
                raise RuntimeError(f"{command[1]} isn't ready")
            time.sleep(0.01)
        yield Process(url, process.pid, time.monotonic() - began)
    finally:
        process.kill()
        process.wait()


@contextmanager
def service(connection: Connection, pools: list[str], directory: Path) -> Iterator[Process]:
    """A service in which everybody reviews those pools."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    document = {
        "url": url,
        "listen": f"127.0.0.1:{port}",
        "table": connection.table,
        "region": REGION,
        "endpoint_url": connection.endpoint_url,
        "pools": {pool: {"reviewers": ["everyone"]} for pool in pools},
        "login": {"issuer": ISSUER, "client_id": "bench", "client_secret": "env:OIDC_SECRET"},
        "session": {"keys": ["env:SESSION_KEY"]},
    }
    config = directory / "service.yaml"
    config.write_text(json.dumps(document), encoding="utf-8")
    environment = running.environment(connection.endpoint_url, connection.table) | {"OIDC_SECRET": "bench", "SESSION_KEY": KEY}
    command = [sys.executable, str(running.ROOT / "cli.py"), "serve", "--config", str(config)]
    with server(command, environment, url, "/readyz") as process:
        yield process


def person(url: str, store: DynamoStore, name: str) -> Browser:
    """A browser in which that person is signed in."""
    somebody = Person(identity=f"oidc:{ISSUER}#{name}", name=name, via="session")
    cookie, _ = Sessions(Signer([KEY.encode()]), Endings(store), 8).begin(somebody, "", store.now())
    browser = Browser(url)
    browser.cookies[urlsplit(url).netloc] = {COOKIE: cookie}
    return browser
