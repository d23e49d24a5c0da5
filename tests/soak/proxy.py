"""A line between processes and their engine on which anything may go wrong: toxiproxy's ideas, with DynamoDB's words."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from email.utils import formatdate
from functools import cached_property
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler
from random import Random
from typing import Any
from urllib.parse import urlsplit

HOST = "127.0.0.1"
SECONDS = 30.0
"""How long the engine may take to answer."""
HOP_BY_HOP = ("connection", "keep-alive", "transfer-encoding", "content-length")
SIGNED_BY = "Credential="


@dataclass(frozen=True)
class Answer:
    """A whole answer of HTTP."""

    status: int
    headers: Sequence[tuple[str, str]]
    body: bytes


@dataclass(frozen=True)
class Asked:
    """A whole request of HTTP, and what it asks of DynamoDB."""

    method: str
    path: str
    headers: Sequence[tuple[str, str]]
    body: bytes

    @cached_property
    def named(self) -> Mapping[str, str]:
        """The headers by name in lower case."""
        return {name.lower(): value for name, value in self.headers}

    @property
    def operation(self) -> str:
        """Such as GetItem; empty for what is no request of DynamoDB's."""
        return self.named.get("x-amz-target", "").rpartition(".")[2]

    @property
    def key(self) -> str:
        """The access key that signed it."""
        return self.named.get("authorization", "").partition(SIGNED_BY)[2].partition("/")[0]

    @property
    def document(self) -> dict[str, Any]:
        """What its body says."""
        document: dict[str, Any] = json.loads(self.body)
        return document


@dataclass
class Exchange:
    """One request on its way through, and what a toxic can do with it."""

    asked: Asked
    random: Random
    proxy: Proxy
    _connection: socket.socket
    _give: Callable[[Answer, float], None]

    def forward(self, body: bytes | None = None) -> Answer:
        """What the engine says to it, or to it with another body."""
        onward = HTTPConnection(self.proxy.onward, timeout=SECONDS)
        try:
            onward.putrequest(self.asked.method, self.asked.path, skip_host=True, skip_accept_encoding=True)
            sent = self.asked.body if body is None else body
            for name, value in self.asked.headers:
                if name.lower() not in HOP_BY_HOP:
                    onward.putheader(name, value)
            onward.putheader("Content-Length", str(len(sent)))
            onward.endheaders(sent)
            answer = onward.getresponse()
            headers = [(name, value) for name, value in answer.getheaders() if name.lower() not in HOP_BY_HOP]
            return Answer(answer.status, headers, answer.read())
        finally:
            onward.close()

    def give(self, answer: Answer, part: float = 1.0) -> None:
        """Answer; with `part` only so much of the body comes before the line breaks."""
        self._give(answer, part)

    def refuse(self, code: str, message: str = "", status: int = 400, **more: object) -> None:
        """Answer with an error in DynamoDB's own words, without asking the engine."""
        document = {"__type": f"com.amazonaws.dynamodb.v20120810#{code}", "message": message or code} | more
        self.give(an_answer(status, "application/x-amz-json-1.0", json.dumps(document).encode(), ("x-amzn-requestid", "TOXIC")))

    def hang_up(self) -> None:
        """Break the line to whoever asked."""
        with suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)

    def pause(self, seconds: float) -> None:
        """Let time pass, unless the proxy is closed meanwhile."""
        self.proxy.closed.wait(seconds)


Toxic = Callable[[Exchange], None]
Judge = Callable[[Asked], Toxic | None]
"""Says what a request meets, if anything."""


def an_answer(status: int, kind: str, body: bytes, *headers: tuple[str, str]) -> Answer:
    """An answer of something that tells the time as everybody does."""
    return Answer(status, [("Content-Type", kind), ("Date", formatdate(usegmt=True)), *headers], body)


def nothing(_: Asked) -> Toxic | None:
    """All is well."""
    return None


@dataclass
class Proxy:
    """A line to the engine at `onward`; every request meets what `judge` says. To be closed."""

    onward: str
    random: Random
    judge: Judge = nothing
    port: int = 0
    applied: Counter[str] = field(default_factory=Counter)
    """How often each toxic was met."""
    closed: threading.Event = field(default_factory=threading.Event)
    _lock: threading.RLock = field(default_factory=threading.RLock)
    _away: int = 0
    _open: set[socket.socket] = field(default_factory=set)
    _threads: set[threading.Thread] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.onward = urlsplit(self.onward).netloc or self.onward
        # Bound and never listening, this keeps the port while nobody answers there.
        self._reserved = socket.socket()
        self._reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._reserved.bind((HOST, self.port))
        self.port = self._reserved.getsockname()[1]
        self._listener = socket.create_server((HOST, self.port), backlog=128)
        self._accepting = threading.Thread(target=self._accept, daemon=True)
        self._accepting.start()

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://{HOST}:{self.port}"

    @contextmanager
    def deaf(self) -> Iterator[None]:
        """Nobody listens meanwhile; who is connected stays so."""
        with self._lock:
            self._away += 1
            if self._away == 1:
                _end(self._listener)
        try:
            yield
        finally:
            with self._lock:
                self._away -= 1
                if not self._away and not self.closed.is_set():
                    self._listener = socket.create_server((HOST, self.port), backlog=128)

    @contextmanager
    def outage(self) -> Iterator[None]:
        """Nobody listens meanwhile, and every line breaks."""
        with self.deaf():
            self._cut_off()
            yield

    def close(self) -> None:
        """End it, once what is under way has reached the engine."""
        self.closed.set()
        with self._lock:
            _end(self._listener)
        self._accepting.join()
        self._cut_off()
        with self._lock:
            left = list(self._threads)
        for thread in left:
            thread.join(SECONDS)
        self._reserved.close()

    def __enter__(self) -> Proxy:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _cut_off(self) -> None:
        with self._lock:
            for connection in self._open:
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        while not self.closed.is_set():
            try:
                connection, _ = self._listener.accept()
            except OSError:
                time.sleep(0.005)  # deaf for now
                continue
            thread = threading.Thread(target=self._serve, args=(connection,), daemon=True)
            with self._lock:
                self._threads.add(thread)
                self._open.add(connection)
                if self.closed.is_set():
                    _end(connection)
            thread.start()

    def _serve(self, connection: socket.socket) -> None:
        try:
            # An OSError is a line that broke, on purpose or because its other end was killed.
            with suppress(OSError):
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                _Line(connection, self)
        finally:
            with self._lock:
                self._open.discard(connection)
                self._threads.discard(threading.current_thread())
            _end(connection)

    def meet(self, exchange: Exchange) -> None:
        """Pass a request on, or let it meet its toxic."""
        with self._lock:
            toxic = self.judge(exchange.asked)
            if toxic is not None:
                self.applied[getattr(toxic, "__name__", "other")] += 1
        if toxic is None:
            exchange.give(exchange.forward())
        else:
            toxic(exchange)


class _Line(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"

    def __init__(self, connection: socket.socket, proxy: Proxy) -> None:
        self._proxy = proxy
        super().__init__(connection, (HOST, 0), None)  # type: ignore[arg-type]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        asked = Asked(self.command, self.path, self.headers.items(), body)
        self._proxy.meet(Exchange(asked, self._proxy.random, self._proxy, self.connection, self._give))

    do_GET = do_POST

    def _give(self, answer: Answer, part: float) -> None:
        self.send_response_only(answer.status)
        for name, value in answer.headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        self.wfile.write(answer.body[: int(len(answer.body) * part)])
        self.close_connection = self.close_connection or part < 1

    def log_message(self, format: str, *args: object) -> None:
        """Nobody listens."""


def _end(ending: socket.socket) -> None:
    with suppress(OSError):
        ending.shutdown(socket.SHUT_RDWR)
    ending.close()
