"""Breaking scripts off: at which moment, by which signal, and what becomes of the request that was on its way."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from enum import StrEnum
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from random import Random
from urllib.parse import urlsplit

from tests.scripts.conftest import SECONDS, Result, Running

WRITES = ("TransactWriteItems", "UpdateItem")
"""What changes anything: claims and their log, and a place in a queue."""
AT_ONCE = 0.01
"""Seconds between an answer and the signal that comes right after it, at most."""
LATE = 0.5
"""Seconds after its process ended that a late request lands, at most."""
POLL = 0.002


class Landing(StrEnum):
    """What becomes of the request at which a script is broken off."""

    LOST = "is lost"
    RACING = "lands as the signal is given"
    AMID = "lands right before the script's next write"
    LATE = "lands when the script has ended"
    LANDED = "has landed, and its answer is lost"
    ANSWERED = "has been answered"


@dataclass(frozen=True)
class Aim:
    """When and how a script is broken off."""

    by: signal.Signals
    request: int = 0
    """At which of its requests, or of its writes; 0: after so many seconds."""
    writes: bool = False
    landing: Landing = Landing.ANSWERED
    seconds: float = 0.0
    """From the start to the signal, from the answer to the signal, or from the script's end to the late landing."""

    def __str__(self) -> str:
        when = f"at {'write' if self.writes else 'request'} {self.request}, which {self.landing}" if self.request else ""
        return f"{self.by.name} {when} ({self.seconds:.3f} s)"


def aim(random: Random, by: signal.Signals, life: float) -> Aim:
    """One in four after any part of a script's life; else at a request, at its writes mostly."""
    if random.random() < 0.25:
        return Aim(by, seconds=random.uniform(0, life))
    writes = random.random() < 0.7
    landings = [*Landing, *([Landing.LATE, Landing.RACING] if writes else [])]
    landing = random.choice([kind for kind in landings if kind is not Landing.AMID or by is signal.SIGTERM])
    seconds = {Landing.ANSWERED: random.uniform(0, AT_ONCE), Landing.LATE: random.choice([0, random.uniform(0, LATE)])}
    return Aim(by, random.choice([1, 1, 1, 2, 2] if writes else [1, 2, 3, 3, 4, 6]), writes, landing, seconds.get(landing, 0))


@dataclass
class Victim:
    """One run of a script, on its way to be broken off unless it has no aim."""

    aim: Aim | None
    executor: ThreadPoolExecutor
    started: float = field(default_factory=time.monotonic)
    asked: list[str] = field(default_factory=list)
    """The operations it asked for, in order."""
    woke: float = 0.0
    """When it asked for the first one."""
    late: list[int] = field(default_factory=list)
    """What the engine answered to writes that landed after the signal: HTTP's status codes."""
    _running: Future[Running] = field(default_factory=Future)
    _result: Future[Result] | None = None
    _under_way: int = 0
    _held: bool = False
    """Whether a request is kept back for the script's next write."""
    _next: threading.Event = field(default_factory=threading.Event)
    """The script has come to its next write, which waits for the one kept back."""
    _landed: threading.Event = field(default_factory=threading.Event)
    _guard: threading.Lock = field(default_factory=threading.Lock)

    def runs(self, running: Running) -> None:
        """Its process has been started."""
        self._running.set_result(running)

    @property
    def age(self) -> float:
        """Seconds since its start."""
        return time.monotonic() - self.started

    def strike(self) -> Future[Result]:
        """Give the signal, once; the result is there when the process has ended."""
        with self._guard:
            if self._result is None:
                self._result = self.executor.submit(self._break)
            return self._result

    def _break(self) -> Result:
        running = self._running.result(SECONDS)
        if self.aim is not None and self.aim.by is signal.SIGTERM:
            return running.stop()
        running.kill()
        return running.ends()

    def end(self) -> Result | None:
        """What it left, once it has ended and no request of its is under way; gives the signal if that is due by the clock."""
        running = self._running.result(SECONDS)
        with self._guard:
            if self._result is None and not running.running:
                self._result = self.executor.submit(running.ends)
            ended = self._result
        if ended is None:
            if self.aim is not None and not self.aim.request and self.age >= self.aim.seconds:
                self.strike()
            return None
        return ended.result() if ended.done() and not self._under_way else None

    # ---- its requests ---------------------------------------------------------

    def meet(self, operation: str, send: Callable[[], Answer]) -> Answer | None:
        """What the script hears to this request, if anything."""
        with self._guard:
            self._under_way += 1
            self.woke = self.woke or self.age
            self.asked.append(operation)
            aimed = self._aimed_at(operation) if self._result is None else None
            after = self._held and operation in WRITES
            self._held = self._held or (aimed is not None and aimed.landing is Landing.AMID)
        try:
            if after:
                self._next.set()
                self._landed.wait(SECONDS)
            return send() if aimed is None else self._break_at(aimed, operation, send)
        finally:
            with self._guard:
                self._under_way -= 1

    def _aimed_at(self, operation: str) -> Aim | None:
        if self.aim is None or (self.aim.writes and operation not in WRITES):
            return None
        number = sum(asked in WRITES for asked in self.asked) if self.aim.writes else len(self.asked)
        return self.aim if number == self.aim.request else None

    def _break_at(self, aim: Aim, operation: str, send: Callable[[], Answer]) -> Answer | None:
        match aim.landing:
            case Landing.LOST:
                self.strike().exception(SECONDS)
                return None
            case Landing.LANDED:
                send()
                self.strike().exception(SECONDS)
                return None
            case Landing.RACING:
                self.strike()
                return send()
            case Landing.ANSWERED:
                answer = send()
                threading.Timer(aim.seconds, self.strike).start()
                return answer
            case Landing.LATE:
                self.strike().exception(SECONDS)
                time.sleep(aim.seconds)
            case Landing.AMID:
                ended = self.strike()
                while not ended.done() and not self._next.is_set():
                    time.sleep(POLL)
        status = send().status
        self._landed.set()
        if operation in WRITES:
            self.late.append(status)
        return None


@dataclass(frozen=True)
class Answer:
    """What the engine answered."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass
class Line:
    """The line between scripts and their engine; each has an address of its own on it."""

    url: str
    executor: ThreadPoolExecutor
    victims: list[Victim] = field(default_factory=list)

    def victim(self, aim: Aim | None) -> tuple[Victim, str]:
        """The next one, and its address."""
        self.victims.append(Victim(aim, self.executor))
        return self.victims[-1], f"{self.url}/{len(self.victims) - 1}"

    @property
    def waking(self) -> float:
        """Seconds from a script's start to its first request, by those that were started last."""
        woke = [victim.woke for victim in self.victims[-12:] if victim.woke]
        return sum(woke) / len(woke) if woke else 0.4


HOP_BY_HOP = ("content-length", "transfer-encoding", "connection", "date", "server")


@contextmanager
def line(engine_url: str) -> Iterator[Line]:
    """A line to that engine."""
    host = urlsplit(engine_url).netloc

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            victim = laid.victims[int(self.path.strip("/"))]
            headers = {name: value for name, value in self.headers.items() if name.lower() != "host"}

            def send() -> Answer:
                onward = HTTPConnection(host, timeout=SECONDS)
                try:
                    onward.request("POST", "/", body, headers)
                    answer = onward.getresponse()
                    return Answer(answer.status, dict(answer.getheaders()), answer.read())
                finally:
                    onward.close()

            answer = victim.meet(self.headers["X-Amz-Target"].rpartition(".")[2], send)
            # The script that would hear it may be dead.
            with suppress(OSError):
                self._answer(answer)

        def _answer(self, answer: Answer | None) -> None:
            if answer is None:
                self.close_connection = True
                return
            self.send_response(answer.status)
            for name, value in answer.headers.items():
                if name.lower() not in HOP_BY_HOP:
                    self.send_header(name, value)
            self.send_header("Content-Length", str(len(answer.body)))
            self.end_headers()
            self.wfile.write(answer.body)

        def log_message(self, format: str, *args: object) -> None:
            """Nobody listens."""

    class Server(ThreadingHTTPServer):
        def handle_error(self, request: object, client_address: object) -> None:
            """A script that was killed left its connection as it was."""

    with ThreadPoolExecutor(32) as executor, Server(("127.0.0.1", 0), Handler) as server:
        laid = Line(f"http://127.0.0.1:{server.server_address[1]}", executor)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        try:
            yield laid
        finally:
            server.shutdown()
            thread.join()
