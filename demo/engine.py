"""MiniStack, the embedded engine: DynamoDB, IAM and STS on a free port of this machine's loopback."""

from __future__ import annotations

import os
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PROGRAM = Path(os.environ.get("MINISTACK") or ROOT / ".venv-engine" / "bin" / "ministack")
START_SECONDS = 30
STOP_SECONDS = 5
REGION = "us-east-1"


class EngineMissingError(RuntimeError):
    """The engine isn't installed."""


@dataclass(frozen=True, slots=True)
class Engine:
    """A running engine."""

    url: str
    pid: int

    def environment(self, table: str = "") -> dict[str, str]:
        """Environment variables by which a process uses this engine as AWS, and nothing else."""
        return {
            "AWS_ACCESS_KEY_ID": "demo",
            "AWS_SECRET_ACCESS_KEY": "demo-secret",
            "AWS_DEFAULT_REGION": REGION,
            "AWS_ENDPOINT_URL_DYNAMODB": self.url,
            "AWS_EC2_METADATA_DISABLED": "true",
            "NO_PROXY": "127.0.0.1",
            "no_proxy": "127.0.0.1",
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        } | ({"APPROVAL_TABLE": table} if table else {})


def free_port() -> int:
    """A port of the loopback interface that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@contextmanager
def ministack(**settings: str) -> Iterator[Engine]:
    """Run a fresh engine, and stop it at the end. `settings` are further environment variables of it.

    Raises:
        EngineMissingError: it isn't installed.
        RuntimeError: it did not start.
    """
    if not PROGRAM.exists():
        raise EngineMissingError(f"{PROGRAM} is missing; run make .venv-engine/ministack")
    port = free_port()
    environment = {
        "PATH": os.defpath,
        "BIND_HOST": "127.0.0.1",
        "GATEWAY_PORT": str(port),
        "SERVICES": "dynamodb,iam,sts",
        "LOG_LEVEL": "WARNING",
    }
    with tempfile.TemporaryDirectory(prefix="engine-") as scratch:
        environment |= {"HOME": scratch, "TMPDIR": scratch} | settings
        with running([str(PROGRAM)], environment, f"http://127.0.0.1:{port}", Path(scratch)) as engine:
            yield engine


@contextmanager
def running(command: list[str], environment: Mapping[str, str], url: str, scratch: Path) -> Iterator[Engine]:
    """Run a server: yield it once it answers at `url`, and stop it at the end."""
    log = scratch / "engine.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, env=dict(environment), stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd=scratch
        )
    try:
        until = time.monotonic() + START_SECONDS
        while not _answers(url):
            if process.poll() is not None or time.monotonic() > until:
                raise RuntimeError(f"{command[0]} did not start:\n{log.read_text(errors='replace')[-2000:]}")
            time.sleep(0.05)
        yield Engine(url, process.pid)
    finally:
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _answers(url: str) -> bool:
    try:
        direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        direct.open(url, timeout=1).close()
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False
    return True
