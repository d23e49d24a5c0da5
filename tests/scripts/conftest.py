"""A stand-in for Concourse: runs the three scripts as it does, each as a process of its own."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import pytest

from approval_resource.model.claim import Build, Claim
from approval_resource.store.interface import Connection, LockStore
from demo.engine import Engine
from tests.builders import a_build

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = Path(os.environ.get("APPROVAL_SCRIPTS_DIR") or ROOT / "assets")
COMMAND = shlex.split(os.environ.get("APPROVAL_SCRIPTS_COMMAND") or shlex.quote(sys.executable))
"""What stands before a script's path, such as an interpreter, or a way into a container."""
SECONDS = 30.0
"""How long anything may take before a test gives up on it: far more than it needs, so that a busy machine passes too."""
LOOK = 0.02
WAIT_LOCK = 0.1
POOL = "payments"
LOCK = "deploy"

Document = dict[str, Any]
T = TypeVar("T")


def until(look: Callable[[], T], what: str, seconds: float = SECONDS) -> T:
    """The first true answer of `look`."""
    end = time.monotonic() + seconds
    while not (found := look()):
        if time.monotonic() > end:
            pytest.fail(f"{what}: not within {seconds} s")
        time.sleep(LOOK)
    return found


@dataclass(frozen=True)
class Result:
    """What a script left behind."""

    code: int
    stdout: str
    stderr: str
    directory: Path
    seconds: float

    @property
    def answer(self) -> Any:
        """The one document on stdout of a script that succeeded."""
        assert self.code == 0, f"exit {self.code}: {self.stderr}"
        return json.loads(self.stdout)

    @property
    def version(self) -> dict[str, str]:
        """The version it answered with."""
        version: dict[str, str] = self.answer["version"]
        return version

    @property
    def metadata(self) -> dict[str, str]:
        """Its metadata, by name."""
        return {pair["name"]: pair["value"] for pair in self.answer["metadata"]}

    @property
    def lines(self) -> list[str]:
        """The build log."""
        return self.stderr.splitlines()

    def refused(self) -> str:
        """The build log of a script that failed as it should: exit 1, lines for a person, nothing on stdout."""
        assert self.code == 1, f"exit {self.code}: {self.stderr}"
        assert self.stdout == ""
        assert self.stderr.strip()
        assert "Traceback" not in self.stderr
        return self.stderr

    def file(self, name: str) -> str:
        """The content of a file it wrote."""
        return (self.directory / name).read_text(encoding="utf-8")

    def files(self) -> dict[str, bytes]:
        """Every file it wrote."""
        found = sorted(path for path in self.directory.rglob("*") if path.is_file())
        return {str(path.relative_to(self.directory)): path.read_bytes() for path in found}


class Running:
    """A script that has been started."""

    def __init__(
        self,
        command: list[str],
        stdin: bytes,
        environment: Mapping[str, str],
        directory: Path,
        scratch: Path,
        stdout: int | None = None,
    ) -> None:
        """`stdout`: another descriptor for its answer, which `ends` then can't tell."""
        self._out, self._err = scratch / "stdout", scratch / "stderr"
        self._directory = directory
        self._started = time.monotonic()
        with self._out.open("wb") as out, self._err.open("wb") as err:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=out if stdout is None else stdout,
                stderr=err,
                env=dict(environment),
                cwd="/",
            )
        try:
            assert self._process.stdin is not None
            self._process.stdin.write(stdin)
            self._process.stdin.close()
        except BrokenPipeError:
            pass  # it ended without reading; its exit code tells the rest

    @property
    def stderr(self) -> str:
        """The build log so far."""
        return self._err.read_text(encoding="utf-8", errors="replace")

    @property
    def running(self) -> bool:
        """Whether it has not ended yet."""
        return self._process.poll() is None

    def says(self, text: str, seconds: float = SECONDS) -> str:
        """Wait for a whole line with `text` in the build log, and return that line."""

        def line() -> str:
            whole = [line for line in self.stderr.splitlines(keepends=True) if line.endswith("\n")]
            found = next((line for line in whole if text in line), "")
            if not found and not self.running and text not in self.stderr:
                pytest.fail(f"ended with {self._process.returncode} and never said {text!r}:\n{self.stderr}")
            return found

        return until(line, f"a line with {text!r} on stderr", seconds)

    def stop(self) -> Result:
        """Abort it as Concourse does, and return what it left."""
        self._process.send_signal(signal.SIGTERM)
        self._started = time.monotonic()
        return self.ends()

    def ends(self, seconds: float = SECONDS) -> Result:
        """Wait for its end."""
        try:
            code = self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            pytest.fail(f"still running after {seconds} s:\n{self.stderr}")
        out = self._out.read_text(encoding="utf-8")
        return Result(code, out, self.stderr, self._directory, time.monotonic() - self._started)

    def kill(self) -> None:
        """End it now."""
        if self.running:
            self._process.kill()
        self._process.wait()


@dataclass
class Concourse:
    """Runs check, in and out with what Concourse gives them, and the CLI beside them."""

    source: Document
    engine: Engine
    table: str
    scratch: Path
    started: list[Running] = field(default_factory=list)
    stdout: int | None = None

    def answering(self, stdout: int) -> Concourse:
        """The same with another descriptor for what the scripts answer."""
        return replace(self, stdout=stdout)

    def sourced(self, **changes: object) -> Concourse:
        """The same with other keys in the source; a key whose value is None is left out."""
        source = {name: value for name, value in (self.source | changes).items() if value is not None}
        return replace(self, source=source)

    def workspace(self, build: Build | int = 1) -> Path:
        """The directory of a build's artifacts, which a put step is given."""
        path = self.scratch / "builds" / _build(build).id
        path.mkdir(parents=True, exist_ok=True)
        return path

    def write(self, name: str, content: str | bytes, build: Build | int = 1) -> Path:
        """An artifact's file in a build."""
        path = self.workspace(build) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    def check(self, version: Mapping[str, str] | None = None) -> Result:
        """Look for versions."""
        return self.start("check", {"source": self.source, "version": version}, []).ends()

    def versions(self, version: Mapping[str, str] | None = None) -> list[dict[str, str]]:
        """The versions that check finds."""
        found: list[dict[str, str]] = self.check(version).answer
        return found

    def get(self, version: Mapping[str, str], *, build: Build | int = 1, into: str = "gate", **params: object) -> Result:
        """Run a get step."""
        return self.start_get(version, build=build, into=into, **params).ends()

    def start_get(self, version: Mapping[str, str], *, build: Build | int = 1, into: str = "gate", **params: object) -> Running:
        """Begin a get step; its files go where a later step of the build finds them as `into`."""
        directory = self.workspace(build) / into
        directory.mkdir(exist_ok=True)
        request = {"source": self.source, "params": params, "version": version}
        return self.start("in", request, [str(directory)], build)

    def put(self, action: str, *, build: Build | int = 1, **params: object) -> Result:
        """Run a put step. `from` is written `from_`."""
        return self.start_put(action, build=build, **params).ends()

    def start_put(self, action: str, *, build: Build | int = 1, **params: object) -> Running:
        """Begin a put step."""
        named = {name.rstrip("_"): value for name, value in params.items()}
        request = {"source": self.source, "params": {"action": action} | named}
        return self.start("out", request, [str(self.workspace(build))], build)

    def claim(self, lock_name: str = LOCK, *, build: Build | int = 1, **params: object) -> Result:
        """Run a put step that claims and asks for approval."""
        return self.put("claim", build=build, **({"lock_name": lock_name, "need_approval": True} | params))

    def start(
        self,
        script: str,
        request: Mapping[str, object] | bytes,
        arguments: list[str],
        build: Build | int = 1,
        **environment: str,
    ) -> Running:
        """Begin a script with that document, or those bytes, on stdin. What is empty is left out of a document."""
        if not isinstance(request, bytes):
            request = json.dumps({name: value for name, value in request.items() if value}).encode()
        given = _environment() | ({} if script == "check" else _build_environment(_build(build))) | environment
        command = [*COMMAND, str(SCRIPTS / script), *arguments]
        directory = Path(arguments[0]) if arguments else self.scratch
        return self._run(command, request, given, directory)

    def cli(self, *arguments: str) -> Result:
        """Run the command line as a reviewer on another machine does."""
        given = _environment() | self.engine.environment(self.table) | {"LOGNAME": "alice"}
        return self._run([sys.executable, str(ROOT / "cli.py"), *arguments], b"", given, self.scratch).ends()

    def approve(self, version: Mapping[str, str], *arguments: str) -> None:
        """Approve the version's claim as a person would."""
        assert self.cli("approve", "--id", version["id"], *arguments).code == 0

    def reject(self, version: Mapping[str, str], *arguments: str) -> None:
        """Reject the version's claim as a person would."""
        assert self.cli("reject", "--id", version["id"], *arguments).code == 0

    def _run(self, command: list[str], stdin: bytes, environment: Mapping[str, str], directory: Path) -> Running:
        # Builds of a played pipeline run in threads of their own, so no number is safe.
        scratch = Path(tempfile.mkdtemp(prefix="run-", dir=self.scratch))
        running = Running(command, stdin, environment, directory, scratch, self.stdout)
        self.started.append(running)
        return running


def _build(build: Build | int) -> Build:
    return a_build(build) if isinstance(build, int) else build


def _environment() -> dict[str, str]:
    """What every container has, and what measuring coverage needs."""
    passed = {name: value for name, value in os.environ.items() if name.startswith("COVERAGE_")}
    return passed | {"PATH": os.defpath, "AWS_EC2_METADATA_DISABLED": "true"}


def _build_environment(build: Build) -> dict[str, str]:
    facts = {
        "BUILD_ID": build.id,
        "BUILD_NAME": build.name,
        "BUILD_TEAM_NAME": build.team,
        "ATC_EXTERNAL_URL": build.url,
        "BUILD_JOB_NAME": build.job,
        "BUILD_PIPELINE_NAME": build.pipeline,
        "BUILD_PIPELINE_INSTANCE_VARS": build.instance_vars,
        "BUILD_CREATED_BY": build.created_by,
        "BUILD_URL": f"{build.url}/teams/{build.team}/pipelines/{build.pipeline}/jobs/{build.job}/builds/{build.name}",
        "BUILD_URL_SHORT": f"{build.url}/builds/{build.id}",
        "BUILD_STATUS": "started",
    }
    return {name: value for name, value in facts.items() if value}


@pytest.fixture
def concourse(engine: Engine, connection: Connection, tmp_path: Path) -> Iterator[Concourse]:
    """A resource on the test's own table; whatever it started is ended with the test."""
    source = {
        "pool": POOL,
        "AWS_ACCESS_KEY_ID": connection.access_key_id,
        "AWS_SECRET_ACCESS_KEY": connection.secret_access_key,
        "AWS_DEFAULT_REGION": connection.region,
        "endpoint_url": connection.endpoint_url,
        "table": connection.table,
        "wait_lock": WAIT_LOCK,
    }
    concourse = Concourse(source, engine, connection.table, tmp_path)
    try:
        yield concourse
    finally:
        for running in concourse.started:
            running.kill()


def kept(store: LockStore, version: Mapping[str, str]) -> Claim:
    """The version's claim as it is stored now."""
    claim = store.claim(version["id"])
    assert claim is not None
    return claim


def held_by(store: LockStore, lock_name: str = LOCK) -> str:
    """The id of the claim that holds the lock, or an empty string."""
    lock = store.lock(POOL, lock_name)
    return lock.holder if lock else ""


@dataclass
class Wire:
    """The line between a script and its engine: notes what is asked, and may answer in the engine's stead."""

    url: str = ""
    asked: list[tuple[str, Document]] = field(default_factory=list)
    refusal: Callable[[Mapping[str, str]], tuple[int, Document]] | None = None
    before: Callable[[str], object] = field(default=lambda operation: None)
    """Called with each operation before it goes its way."""
    after: Callable[[str], object] = field(default=lambda operation: None)
    """Called with each operation once the engine has answered it, before the script hears."""

    @property
    def operations(self) -> list[str]:
        """What was asked for, in order, such as GetItem."""
        return [operation for operation, _ in self.asked]


@pytest.fixture
def wire(engine: Engine) -> Iterator[Wire]:
    """A line to the engine that can be listened to."""
    wire = Wire()
    host = urlsplit(engine.url).netloc

    class Line(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            operation = self.headers["X-Amz-Target"].rpartition(".")[2]
            wire.asked.append((operation, json.loads(body)))
            wire.before(operation)
            if wire.refusal is not None:
                status, document = wire.refusal(dict(self.headers))
                self._answer(status, {}, json.dumps(document).encode())
                return
            onward = HTTPConnection(host, timeout=SECONDS)
            try:
                headers = {name: value for name, value in self.headers.items() if name.lower() != "host"}
                onward.request("POST", self.path, body, headers)
                answer = onward.getresponse()
                content = answer.read()
                wire.after(operation)
                self._answer(answer.status, dict(answer.getheaders()), content)
            finally:
                onward.close()

        def _answer(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
            self.send_response(status)
            for name, value in headers.items():
                if name.lower() not in ("content-length", "transfer-encoding", "connection", "date", "server"):
                    self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            # Who asked may have been killed meanwhile.
            with suppress(BrokenPipeError, ConnectionResetError):
                self.end_headers()
                self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Nobody listens."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Line) as server:
        wire.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        try:
            yield wire
        finally:
            server.shutdown()
            thread.join()
