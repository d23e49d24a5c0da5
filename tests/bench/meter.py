"""A line to the engine that counts: requests, and the read and write units that each took, by operation."""

from __future__ import annotations

import json
import math
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

READ_UNIT = 4096
"""Bytes of one item, read consistently."""
WRITES = ("TransactWriteItems", "PutItem", "UpdateItem")


@dataclass(slots=True)
class Meter:
    """What went over the line since it was last read."""

    url: str = ""
    requests: Counter[str] = field(default_factory=Counter)
    read_units: float = 0.0
    write_units: float = 0.0
    seconds: float = 0.0
    """How long the engine took to answer, all requests together."""

    def reset(self) -> None:
        """Begin at nothing."""
        self.requests.clear()
        self.read_units = self.write_units = self.seconds = 0.0

    def count(self, operation: str, asked: dict[str, Any], answer: dict[str, Any]) -> None:
        """Note one request."""
        self.requests[operation] += 1
        if operation == "BatchGetItem":
            # The engine doesn't tell it of these, so they are counted as DynamoDB does: each item by itself, 1 for what is missing.
            keys = sum(len(of["Keys"]) for of in asked["RequestItems"].values())
            items = [item for found in answer.get("Responses", {}).values() for item in found]
            self.read_units += sum(math.ceil(_size(item) / READ_UNIT) for item in items) + keys - len(items)
            return
        consumed = answer.get("ConsumedCapacity", [])
        units = sum(of["CapacityUnits"] for of in (consumed if isinstance(consumed, list) else [consumed]))
        if operation in WRITES:
            self.write_units += units
        else:
            self.read_units += units


def _size(item: dict[str, Any]) -> int:
    """About as many bytes as DynamoDB counts for an item: names and values."""
    return sum(len(name) + len(json.dumps(value)) - len('{"S": ""}') for name, value in item.items())


@contextmanager
def metered(engine_url: str) -> Iterator[Meter]:
    """A meter, at whose url the engine can be asked."""
    meter, host = Meter(), urlsplit(engine_url).netloc
    lock = threading.Lock()

    class Line(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            operation = self.headers["X-Amz-Target"].rpartition(".")[2]
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            body = json.dumps(asked | {"ReturnConsumedCapacity": "TOTAL"}).encode()
            kept = {name: text for name, text in self.headers.items() if name.lower() not in ("host", "content-length")}
            onward = HTTPConnection(host, timeout=120)
            try:
                onward.request("POST", self.path, body, kept)
                answer = onward.getresponse()
                content = answer.read()
                if answer.status == 200:
                    with lock:
                        meter.count(operation, asked, json.loads(content))
                self.send_response(answer.status)
                for name, text in answer.getheaders():
                    if name.lower() not in (
                        "content-length",
                        "transfer-encoding",
                        "connection",
                        "date",
                        "server",
                        "x-amz-crc32",
                    ):
                        self.send_header(name, text)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)
            finally:
                onward.close()

        def log_message(self, format: str, *args: object) -> None:
            """Nobody listens."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Line) as server:
        meter.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        try:
            yield meter
        finally:
            server.shutdown()
            thread.join()
