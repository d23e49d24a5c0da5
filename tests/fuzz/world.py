"""A table of its own and a process' surroundings, in which scripts and commands run without a process of their own."""

from __future__ import annotations

import io
import json
import logging
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any
from unittest import mock
from uuid import uuid4

from click.testing import CliRunner

from approval_resource.claims import review as reviews
from approval_resource.claims.end import end_claim
from approval_resource.errors import ApprovalError
from approval_resource.model.claim import Claim, Verdict
from approval_resource.model.event import State
from approval_resource.steps import main as steps
from approval_resource.steps.aborts import Aborted
from approval_resource.store.dynamodb.connect import dynamodb, session_of
from approval_resource.store.dynamodb.store import DynamoStore
from approval_resource.store.interface import Connection
from cli import cli
from demo.engine import REGION, Engine
from tests.builders import FrozenTime
from tests.fuzz.hostile import HALF

LOOKS = 24
"""How often an input may look again before it is told to stop: more often than anything tries to reach what isn't there."""
FASTEST = 7
"""After so many looks time goes no faster any more."""
UNDOING = 100
"""How often what was aborted may look again while it undoes what it did."""
NOWHERE = "http://127.0.0.1:1"
"""A proxy that isn't there, so that nothing leaves this machine, whatever an input asks for."""
POOL = "fuzzed"


class Hurry:
    """A host's clock on which only sleeping passes time, each time faster, until what still waits is told to stop."""

    def __init__(self, time: FrozenTime) -> None:
        self._time = time
        self._slept = 0.0
        self.begin()

    def begin(self, meanwhile: tuple[Callable[[], None], ...] = (), stop: type[BaseException] = Aborted) -> None:
        """A new run, with what others do at each of its looks, and how it is told to stop."""
        self._meanwhile = list(meanwhile)
        self._stop = stop
        self._looks = 0

    def monotonic(self) -> float:
        return self._slept

    def sleep(self, seconds: float) -> None:
        self._slept += seconds
        self._looks += 1
        self._time.tick(seconds=seconds * 4 ** min(self._looks, FASTEST))
        if self._meanwhile:
            self._meanwhile.pop(0)()
        if self._looks == LOOKS:
            raise self._stop
        assert self._looks < LOOKS + UNDOING, "it was told to stop and goes on for ever"


@dataclass(frozen=True, slots=True)
class Ran:
    """What a run in this process left behind."""

    code: int
    stdout: str
    stderr: str
    seconds: float


class World:
    """One table after another, the store on it, and the directory of a build's artifacts."""

    def __init__(self, engine: Engine, workspace: Path, *, stories: int = 25) -> None:
        """`stories`: how many there are on one table; what reads whole tables would take ever longer if they grew for ever."""
        self._reached = Connection(
            region=REGION, endpoint_url=engine.url, access_key_id="test", secret_access_key="test-secret"
        )
        self._session = session_of(self._reached)
        self._stories = 0
        self._on_a_table = stories
        self.workspace = workspace
        self.begin()

    def begin(self) -> None:
        """A new story, in a pool of its own."""
        if self._stories % self._on_a_table == 0:
            self.connection = replace(self._reached, table=f"t-{uuid4()}")
            self.time = FrozenTime()
            self.clock = Hurry(self.time)
            self.client = dynamodb(self._session, self.connection)
            self.store = DynamoStore(self.client, self.connection.table, clock=self.clock, store_clock=self.time, creates=True)
        self._stories += 1
        self.pool = f"{POOL}{self._stories}"
        self.pools = {self.pool}
        """The pools that may have been used."""
        self.versions: list[dict[str, str]] = []
        """What was answered so far, the newest first."""
        self.held: set[str] = set()
        """The claims that held a lock after the newest input."""
        self.usual = True
        """Whether the environment of the run says nothing of its own about how to reach AWS."""
        self.longest = 0
        """How long the longest text was that anything was given."""
        shutil.rmtree(self.workspace / "gate", ignore_errors=True)

    @property
    def source(self) -> dict[str, Any]:
        """The source that reaches the table."""
        return {
            "pool": self.pool,
            "AWS_ACCESS_KEY_ID": self.connection.access_key_id,
            "AWS_SECRET_ACCESS_KEY": self.connection.secret_access_key,
            "AWS_DEFAULT_REGION": self.connection.region,
            "endpoint_url": self.connection.endpoint_url,
            "table": self.connection.table,
        }

    def connect(self, connection: Connection, **_: object) -> DynamoStore:
        """In place of `DynamoStore.connect`: making a client takes longer than most inputs do, so those that are alike share one."""
        by_environment = replace(self.connection, access_key_id="", secret_access_key="")
        if self.usual and connection in (self.connection, by_environment):
            return self.store
        client = dynamodb(session_of(connection), connection)
        return DynamoStore(client, connection.table, clock=self.clock, store_clock=self.time, creates=True)

    def uses(self, source: Any) -> None:
        """Remember the pool that a run is given, if it could be one."""
        pool = source.get("pool") if isinstance(source, dict) else None
        if isinstance(pool, str) and pool.strip() and HALF not in pool:
            self.pools.add(pool)

    def open_claims(self) -> list[Claim]:
        """The claims that hold a lock."""
        return self.store.open_claims(self.pool)

    def others(self, word: str) -> None:
        """Somebody else acts on every claim of the pool."""
        if not word:
            return
        for claim in self.open_claims():
            with suppress(ApprovalError):
                if word == "end":
                    state = State.WITHDRAWN if claim.state is State.PENDING else State.RELEASED
                    end_claim(self.store, claim, state, actor="typed:somebody")
                else:
                    reviews.review(self.store, claim.id, reviewer="typed:somebody", verdict=Verdict(word), comment="word")

    def run(self, script: str, stdin: bytes, environment: Mapping[str, str], meanwhile: tuple[str, ...] = ()) -> Ran:
        """Run that script as Concourse does."""
        arguments = {"check": [], "in": [str(self.workspace / "gate")], "out": [str(self.workspace)]}[script]
        self.clock.begin(tuple(partial(self.others, word) for word in meanwhile))
        wrote, told = io.BytesIO(), io.BytesIO()
        out, err = io.TextIOWrapper(wrote, encoding="utf-8"), io.TextIOWrapper(told, encoding="utf-8")
        with (
            surroundings(self, environment),
            mock.patch.object(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin))),
            mock.patch.object(sys, "stdout", out),
            mock.patch.object(sys, "stderr", err),
            mock.patch.object(sys, "argv", [script, *arguments]),
            mock.patch.object(steps, "HostClock", return_value=self.clock),
        ):
            started = time.monotonic()
            code = steps.main(script)
            seconds = time.monotonic() - started
            out.flush()
            err.flush()
        return Ran(code, wrote.getvalue().decode(), told.getvalue().decode(), seconds)

    def command(self, *words: str, **variables: str) -> Ran:
        """Run the command line; where it would wait for its next turn it is interrupted."""
        own = {
            "AWS_ACCESS_KEY_ID": self.connection.access_key_id,
            "AWS_SECRET_ACCESS_KEY": self.connection.secret_access_key,
            "AWS_DEFAULT_REGION": self.connection.region,
            "AWS_ENDPOINT_URL_DYNAMODB": self.connection.endpoint_url,
            "APPROVAL_TABLE": self.connection.table,
            "LOGNAME": "ana",
        }
        self.clock.begin(stop=KeyboardInterrupt)
        with surroundings(self, variables, own), mock.patch("time.sleep", side_effect=KeyboardInterrupt):
            started = time.monotonic()
            ran = CliRunner().invoke(cli, words, prog_name="cli.py")
        if ran.exception is not None and not isinstance(ran.exception, SystemExit):
            raise ran.exception
        return Ran(ran.exit_code, ran.stdout, ran.stderr, time.monotonic() - started)

    def took(self, script: str, stdout: str) -> Any:
        """Remember the versions that a script answered with; returns the answer."""
        answer: Any = json.loads(stdout)
        found = answer[::-1] if script == "check" else [answer["version"]]
        self.versions = [*(version for version in found if version not in self.versions[:5]), *self.versions][:20]
        return answer


@contextmanager
def surroundings(
    world: World, environment: Mapping[str, str], usual: Mapping[str, str] = MappingProxyType({})
) -> Iterator[None]:
    """Those of a fresh process that has these variables, and finds the world's table by the usual ones if by any."""
    proxies = dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"), NOWHERE)
    fixed = proxies | {"NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1", "AWS_MAX_ATTEMPTS": "1"}
    world.usual = not any(name.startswith("AWS_") or name.upper() in fixed for name in environment)
    root, logger = logging.getLogger(), logging.getLogger("approval_resource")
    with (
        mock.patch.dict(os.environ, {**fixed, **usual, **environment}),
        mock.patch.object(DynamoStore, "connect", world.connect),
        mock.patch.object(root, "handlers", []),
        mock.patch.object(logger, "handlers", []),
        mock.patch.object(logger, "level", logger.level),
    ):
        yield


def furnish(workspace: Path) -> None:
    """Files a build might have, and what is none though its name says so."""
    plain = {"plan.txt": b"plan", "empty": b"", "full.bin": os.urandom(350_000), "over.bin": b"x" * 350_001}
    plain |= {"payload.json": b'{"n": 1e2}', "odd.json": b'{"n": NaN}', "naïve 🔒.txt": b"\xff\x1b[2J"}
    for name, content in plain.items():
        (workspace / name).write_bytes(content)
    for name in ("dir", "odd"):
        (workspace / name).mkdir()
    (workspace / "loop").symlink_to("loop")
    for name in ("pipe", "odd/id"):
        os.mkfifo(workspace / name)
