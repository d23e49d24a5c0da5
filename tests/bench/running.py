"""The scripts as processes, with what Concourse gives them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from demo.engine import REGION
from tests.bench import timer

ROOT = Path(__file__).resolve().parents[2]
PROGRAMS = Path(__file__).with_name("programs")
PYTHON = sys.executable
START_SECONDS = 30.0
LOOK_SECONDS = 0.02
KEYS = {"AWS_ACCESS_KEY_ID": "bench", "AWS_SECRET_ACCESS_KEY": "bench-secret"}


def source(url: str, table: str, pool: str, **more: object) -> dict[str, object]:
    """A pipeline's source."""
    return {"pool": pool, "table": table, "endpoint_url": url, "AWS_DEFAULT_REGION": REGION} | KEYS | more


def environment(url: str, table: str) -> dict[str, str]:
    """What a person's shell has, and a build's step."""
    build = {"BUILD_ID": "{round}", "BUILD_NAME": "{round}", "BUILD_TEAM_NAME": "main", "BUILD_PIPELINE_NAME": "app"}
    build |= {"BUILD_JOB_NAME": "deploy", "ATC_EXTERNAL_URL": "https://ci.example"}
    aws = {"AWS_DEFAULT_REGION": REGION, "AWS_ENDPOINT_URL_DYNAMODB": url, "AWS_EC2_METADATA_DISABLED": "true"} | KEYS
    return build | aws | {"PATH": os.defpath, "APPROVAL_TABLE": table, "NO_PROXY": "127.0.0.1", "LOGNAME": "alice"}


def case(name: str, command: list[str], request: Mapping[str, object], given: Mapping[str, str]) -> dict[str, Any]:
    """One thing to time."""
    return {"name": name, "command": command, "stdin": json.dumps(request), "environment": dict(given)}


def script(name: str, *arguments: str, scripts: Path | str = ROOT / "assets") -> list[str]:
    """The command that runs a script of this checkout."""
    return [PYTHON, str(Path(scripts) / name), *arguments]


def ran(command: list[str], request: Mapping[str, object], given: Mapping[str, str], number: int = 1) -> Any:
    """Run a script once; what it answered."""
    filled = {name: text.replace("{round}", str(number)) for name, text in given.items()}
    done = subprocess.run(
        command, input=json.dumps(request).encode(), env=filled, capture_output=True, check=False, timeout=300
    )
    if done.returncode:
        raise RuntimeError(f"{command[-1]} ended with {done.returncode}: {done.stderr.decode(errors='replace')[-800:]}")
    return json.loads(done.stdout or b"null")


def timed(
    cases: list[dict[str, Any]], rounds: int, *, warm: bool = True, first: int = 1, python: list[str] | None = None
) -> dict[str, Any]:
    """Time the cases in turns: here, or where `python` leads, such as into a container."""
    asked = json.dumps({"rounds": rounds, "warm": warm, "first": first, "cases": cases}).encode()
    command = python or [PYTHON, str(Path(timer.__file__))]
    done = subprocess.run(command, input=asked, capture_output=True, check=False, timeout=900)
    if done.returncode:
        raise RuntimeError(done.stderr.decode(errors="replace")[-2000:])
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@contextmanager
def waiting(command: list[str], request: Mapping[str, object], given: Mapping[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """A process that was given its request and has said that it is waiting; ended with this at the latest.

    Raises:
        RuntimeError: it ended, or said nothing of the kind in time.
    """
    with tempfile.NamedTemporaryFile() as log:
        process = subprocess.Popen(command, env=dict(given), stdin=subprocess.PIPE, stdout=log, stderr=log)
        try:
            if process.stdin is None:
                raise RuntimeError("no pipe")
            process.stdin.write(json.dumps(request).encode())
            process.stdin.close()
            until = time.monotonic() + START_SECONDS
            while b"waiting" not in (said := Path(log.name).read_bytes()):
                if process.poll() is not None or time.monotonic() > until:
                    raise RuntimeError(f"{command[-1]} isn't waiting: {said.decode(errors='replace')[-800:]}")
                time.sleep(LOOK_SECONDS)
            yield process
        finally:
            process.kill()
            process.wait()


def compiled() -> None:
    """See to it that no run has to compile this checkout's modules, as an installed package's are compiled."""
    command = [PYTHON, "-m", "compileall", "-q", str(ROOT / "approval_resource")]
    kept = {name: text for name, text in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    subprocess.run(command, check=True, env=kept)
