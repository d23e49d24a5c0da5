"""Stand-ins for the places where people are told: they listen on 127.0.0.1, and check what the real ones check."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock, Thread
from typing import Any

from demo.engine import ROOT

Answer = tuple[int, dict[str, str], bytes]
OK: Answer = (200, {}, b"")


@dataclass(frozen=True)
class Request:
    """One request as it came."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def document(self) -> Any:
        """Its JSON."""
        return json.loads(self.body)


@dataclass
class Receiver:
    """A server that keeps what it gets, and answers as `answer` says."""

    url: str = ""
    requests: list[Request] = field(default_factory=list)
    answer: Callable[[Request], Answer] = lambda request: OK
    guard: Any = field(default_factory=Lock)

    def take(self, request: Request) -> Answer:
        """Keep a request, and answer it."""
        with self.guard:
            answered = self.answer(request)
            self.requests.append(request)
            return answered

    @property
    def taken(self) -> list[Request]:
        """Every request so far."""
        with self.guard:
            return list(self.requests)

    @property
    def ids(self) -> list[str]:
        """The ids of the webhooks that came, in order."""
        return [request.headers["webhook-id"] for request in self.taken]


@contextmanager
def served(receiver: Receiver) -> Iterator[Receiver]:
    """Serve it on a free port until the end."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            headers = {name.lower(): value for name, value in self.headers.items()}
            status, extra, answer = receiver.take(Request(self.path, headers, body))
            self.send_response(status)
            for name, value in {**extra, "Content-Length": str(len(answer))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, format: str, *args: object) -> None:
            """Keep the tests' output clean."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    receiver.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield receiver
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)


def verifier() -> Callable[..., bool]:
    """The function that docs/notifications.md gives for verifying a webhook."""
    page = (ROOT / "docs" / "notifications.md").read_text(encoding="utf-8")
    found = re.search(r"```python\n(import base64.*?)```", page, re.DOTALL)
    assert found
    space: dict[str, Any] = {}
    exec(found[1], space)  # noqa: S102 - the documentation's own code
    verify: Callable[..., bool] = space["verify"]
    return verify
