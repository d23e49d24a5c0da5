"""Stand-ins for the places where people are told: they listen on 127.0.0.1, and check what the real ones check."""

from __future__ import annotations

import json
import re
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
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


TOKEN = "xoxb-stand-in"
SLACK_FIELDS = {
    "auth.test": set(),
    "chat.postMessage": {"channel", "text", "blocks", "unfurl_links", "unfurl_media", "thread_ts", "metadata"},
    "chat.update": {"channel", "ts", "text", "blocks", "metadata"},
    "chat.postEphemeral": {"channel", "user", "text", "blocks"},
}


@dataclass
class Posted:
    """A message in the stand-in's channel."""

    ts: str
    content: dict[str, Any]
    thread: str = ""
    edits: int = 0

    @property
    def text(self) -> str:
        """Everything that a reader could see."""
        return json.dumps(self.content, ensure_ascii=False)

    @property
    def buttons(self) -> list[str]:
        """The addresses that its buttons open."""
        return [one["url"] for one in self.elements if "url" in one]

    @property
    def elements(self) -> list[dict[str, Any]]:
        """Its buttons."""
        return [one for block in self.content.get("blocks", []) if block["type"] == "actions" for one in block["elements"]]

    @property
    def values(self) -> dict[str, str]:
        """The values of the buttons that decide, by their action."""
        return {one["action_id"]: one["value"] for one in self.elements if "value" in one}


@dataclass
class Slack(Receiver):
    """Slack as far as it is used: token, channel, limits of texts and blocks, threads, edits, rate limits."""

    channel: str = "C0123"
    messages: dict[str, Posted] = field(default_factory=dict)
    whispers: list[tuple[str, str]] = field(default_factory=list)
    """Messages to single members."""
    throttle: list[str] = field(default_factory=list)
    """Values of Retry-After for the next requests, which are refused."""

    def __post_init__(self) -> None:
        self.answer = self._answer

    @property
    def first(self) -> list[Posted]:
        """The messages that are no answers, the oldest first."""
        return [message for message in self.messages.values() if not message.thread]

    @property
    def replies(self) -> list[Posted]:
        """The answers."""
        return [message for message in self.messages.values() if message.thread]

    def _answer(self, request: Request) -> Answer:
        if self.throttle:
            return 429, {"Retry-After": self.throttle.pop(0)}, b'{"ok":false,"error":"ratelimited"}'
        error = self._error(request)
        told: dict[str, Any] = {"ok": False, "error": error}
        if not error:
            told = {"ok": True, **self._do(request.path.removeprefix("/api/"), request.document)}
            if told.get("error"):
                told["ok"] = False
        return 200, {"Content-Type": "application/json"}, json.dumps(told).encode()

    def _error(self, request: Request) -> str:
        method = request.path.removeprefix("/api/")
        if method not in SLACK_FIELDS:
            return "unknown_method"
        if request.headers.get("authorization") != f"Bearer {TOKEN}":
            return "invalid_auth"
        if request.headers.get("content-type") != "application/json; charset=utf-8":
            return "invalid_post_type"
        given = request.document
        if set(given) - SLACK_FIELDS[method]:
            return "invalid_arguments"
        if method == "auth.test":
            return ""
        if given["channel"] != self.channel:
            return "channel_not_found"
        if not given.get("text"):
            return "no_text"
        if len(given["text"]) > 40_000:
            return "msg_too_long"
        if given.get("metadata", {"event_type": "", "event_payload": {}}).keys() != {"event_type", "event_payload"}:
            return "metadata_must_be_sent_with_event_type_and_payload"
        return block_error(given.get("blocks", []))

    def _do(self, method: str, given: dict[str, Any]) -> dict[str, Any]:
        if method == "auth.test":
            return {"team_id": "T1", "user_id": "U1"}
        if method == "chat.postEphemeral":
            self.whispers.append((given["user"], given["text"]))
            return {"message_ts": "1"}
        if method == "chat.update":
            message = self.messages.get(given["ts"])
            if message is None:
                return {"error": "message_not_found"}
            message.content = {key: given[key] for key in ("text", "blocks") if key in given}
            message.edits += 1
            return {"ts": given["ts"]}
        if given.get("unfurl_links") is not False or given.get("unfurl_media") is not False:
            raise AssertionError("Slack would fetch every address of that text")
        thread = given.get("thread_ts", "")
        if thread and thread not in self.messages:
            return {"error": "thread_not_found"}
        ts = f"1700000000.{len(self.messages):06d}"
        content: dict[str, Any] = {key: given[key] for key in ("text", "blocks", "metadata") if key in given}
        self.messages[ts] = Posted(ts, content, thread)
        return {"ts": ts, "channel": self.channel}


def block_error(blocks: list[dict[str, Any]]) -> str:
    """What Slack answers where blocks are not of its form, by the limits of its reference; empty where they are."""
    if len(blocks) > 50:
        return "invalid_blocks"
    for block in blocks:
        match block:
            case {"type": "header", "text": {"type": "plain_text", "text": str(text)}} if 0 < len(text) <= 150:
                continue
            case {"type": "section", "text": {"type": "mrkdwn", "text": str(text)}} if 0 < len(text) <= 3000:
                continue
            case {"type": "actions", "elements": list(elements)} if 0 < len(elements) <= 25:
                if not all(map(is_button, elements)) or len({one["action_id"] for one in elements}) < len(elements):
                    return "invalid_blocks"
            case _:
                return "invalid_blocks"
    return ""


def is_button(one: dict[str, Any]) -> bool:
    """Whether it is a button within the limits of Slack's reference."""
    asked = one.get("confirm", {})
    texts = [(one["text"], 75), *((asked[part], most) for part, most in CONFIRM.items() if asked)]
    return (
        one["type"] == "button"
        and all(text["type"] == "plain_text" and 0 < len(text["text"]) <= most for text, most in texts)
        and asked.keys() in ({}.keys(), CONFIRM.keys())
        and 0 < len(one["action_id"]) <= 255
        and len(one.get("url", "")) <= 3000
        and len(one.get("value", "")) <= 2000
        and one.get("style", "primary") in ("primary", "danger")
    )


CONFIRM = {"title": 100, "text": 300, "confirm": 30, "deny": 30}
CARD_KEYS = {"$schema", "type", "version", "body", "actions"}


def teams(request: Request) -> Answer:
    """Answer as a workflow of Teams does: 202, or 400 for what is no message with one adaptive card, or is too large."""
    try:
        told = request.document
        (attachment,) = told["attachments"]
        card = attachment["content"]
        fine = (
            told["type"] == "message"
            and attachment["contentType"] == "application/vnd.microsoft.card.adaptive"
            and card.keys() <= CARD_KEYS
            and card["type"] == "AdaptiveCard"
            and card["version"] in ("1.2", "1.3", "1.4")
            and all(action["type"] == "Action.OpenUrl" for action in card["actions"])
            and all(block["type"] == "RichTextBlock" for block in card["body"])
            and all(run["type"] == "TextRun" and run["text"] for block in card["body"] for run in block["inlines"])
        )
    except (KeyError, TypeError, ValueError):
        fine = False
    if not fine or len(request.body) > 28_000:
        return 400, {}, b"bad card"
    return 202, {}, b""


DRIPPING = (b"", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
"""First bytes of a dripping server, so that it then drips into the first line, the headers or the body."""


@contextmanager
def dripping(head: bytes) -> Iterator[str]:
    """The address of a server that says `head`, and then a byte now and then, for longer than anybody may wait."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(20)

        def drip() -> None:
            there, _ = listener.accept()
            with there, suppress(OSError):
                there.sendall(head)
                for _ in range(400):
                    there.sendall(b"x")
                    time.sleep(0.05)

        thread = Thread(target=drip, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/"
        thread.join(30)
