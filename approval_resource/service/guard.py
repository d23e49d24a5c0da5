"""Guards of every request: host, origin, floods, headers, and the log line."""

from __future__ import annotations

import json
import logging
import re
import threading
import time
from collections import OrderedDict
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from approval_resource.service.problems import KINDS, ForeignError, Problem, told

log = logging.getLogger("approval_resource.service.guard")

MAX_BODY = 65_536
"""Upper bound of a request's body, in bytes."""
SAFE = ("GET", "HEAD", "OPTIONS")
POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "content-security-policy": POLICY,
    "x-frame-options": "DENY",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "strict-transport-security": "max-age=31536000",
    "x-robots-tag": "noindex, nofollow",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}
"""Headers of every answer that doesn't set its own."""
MISDIRECTED = Problem(421, "host", "The request is for another host")
OPEN_PATHS = ("/healthz", "/readyz")
"""Paths that answer under any host, for probes that know only an address."""

QUERY = re.compile(r"\?|%(?:25)*3f", re.IGNORECASE)
"""Beginning of a query, however often it was percent-encoded."""
SIGNED_PATHS = ("/auth/backchannel-logout", "/slack/interactions")
"""Paths of requests that their sender signs."""


class Guard:
    """Outermost layer: refuses foreign hosts and foreign pages, and puts headers on every answer."""

    def __init__(self, app: ASGIApp, origin: str, host: str) -> None:
        """Serve `app` under `host` alone; take unsafe requests from pages of `origin` alone."""
        self._app = app
        self._origin = origin
        named = f"[{host}]" if ":" in host else host
        self._host = re.compile(rf"{re.escape(named)}(:[0-9]{{1,5}})?", re.ASCII | re.IGNORECASE)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        started, status = time.monotonic(), 500
        logged: dict[str, Any] = {}
        scope["told"] = logged

        async def with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                given = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    given.setdefault(name, value)
            await send(message)

        try:
            if why := self._refusal(scope, headers):
                logged["refused"] = why
                await self._refused(why, scope["path"])(scope, receive, with_headers)
            else:
                await self._app(scope, receive, with_headers)
        finally:
            spent = round((time.monotonic() - started) * 1000, 1)
            if scope["path"] not in OPEN_PATHS:
                # The path holds ids; the query may hold a token, and is never logged. Programs that mangle
                # links write the query's ? as %3F, so that it becomes part of the path.
                path = QUERY.split(scope["path"], 1)[0]
                fields = {"event": "request", "method": scope["method"], "path": path, "status": status, "ms": spent}
                log.info("request", extra={"told": fields | logged})

    def _refusal(self, scope: Scope, headers: Headers) -> str:
        # Starlette builds the request's address from Host, so a path or query in it must be refused.
        if not self._host.fullmatch(headers.get("host", "")) and scope["path"] not in OPEN_PATHS:
            return "host"
        if scope["method"] in SAFE or self._is_unforgeable(scope["path"], headers):
            return ""
        site, origin = headers.get("sec-fetch-site"), headers.get("origin")
        # With the policy no-referrer, a browser sends Origin: null for a form, but still sends
        # Sec-Fetch-Site.
        own = (self._origin,) if site is None else (None, "null", self._origin)
        return "" if site in (None, "same-origin") and origin in own else "origin"

    def _refused(self, why: str, path: str) -> Response:
        kind = MISDIRECTED if why == "host" else KINDS[ForeignError]
        if path.startswith("/api/"):
            document = told(self._origin, kind, [f"refused: {why}"])
            return JSONResponse(document, kind.status, media_type="application/problem+json")
        return PlainTextResponse(f"refused: {why}\n", kind.status)

    @staticmethod
    def _is_unforgeable(path: str, headers: Headers) -> bool:
        """Whether it has Authorization, or is to a program's path without cookie or balancer's header."""
        bare = "cookie" not in headers and "x-amzn-oidc-data" not in headers
        by_program = path.startswith(("/approval/", "/api/")) or path in SIGNED_PATHS
        return (bare and by_program) or bool(headers.get("authorization"))


class Buckets:
    """Token buckets, one for each caller: so many requests at once, and so many a second after that."""

    def __init__(self, at_once: int, a_second: float, most: int = 10_000) -> None:
        """Remember `most` callers."""
        self._at_once, self._a_second, self._most = at_once, a_second, most
        self._lock = threading.Lock()
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, caller: str) -> bool:
        """Whether the caller has a request left, which is taken."""
        now = time.monotonic()
        with self._lock:
            left, at = self._left.pop(caller, (float(self._at_once), now))
            left = min(float(self._at_once), left + (now - at) * self._a_second)
            fits = left >= 1
            self._left[caller] = (left - 1 if fits else left, now)
            while len(self._left) > self._most:
                self._left.popitem(last=False)
        return fits


class Lines(logging.Formatter):
    """Log lines of JSON: level, logger, and the fields that were told, in which callers put no token."""

    def format(self, record: logging.LogRecord) -> str:
        """Return one line."""
        line = {"at": round(record.created, 3), "level": record.levelname.lower(), "logger": record.name}
        told = getattr(record, "told", None)
        line |= told if isinstance(told, dict) else {"message": record.getMessage()}
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=True, default=str)
