"""Receiver of the playground's webhook: it prints each message, with the link to decide."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

from approval_resource.notify.channels.webhook import signature
from approval_resource.text import clean

MAX_BODY = 1_000_000


@contextmanager
def inbox(secret: str) -> Iterator[str]:
    """Run the receiver, and stop it at the end. Yield its address. It takes messages signed with `secret`."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(min(MAX_BODY, int(self.headers.get("Content-Length", 0))))
            key, at = self.headers.get("webhook-id", ""), int(self.headers.get("webhook-timestamp", 0))
            genuine = self.headers.get("webhook-signature", "") == signature(secret, key, at, body)
            self.send_response(204 if genuine else 401)
            self.end_headers()
            if genuine:
                print(f"# told by webhook: {told(json.loads(body))}", flush=True)

        def log_message(self, format: str, *args: object) -> None:
            """Print messages alone."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def told(document: dict[str, object]) -> str:
    """Return a message in one line: what happened, to which lock, and where to look or decide."""
    claim = document.get("claim")
    about = claim if isinstance(claim, dict) else {}
    return clean(f"{document.get('type')}, lock {about.get('lock_name')}: {about.get('url')}")
