"""A strict OpenID provider of this project's own, on the loopback: PKCE, one use of each code, and faults on demand."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, parse_qsl, unquote, urlencode, urlsplit

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa

ISSUER = "https://login.example.com"
CLIENT, SECRET = "approvals", "provider-secret-of-the-tests"
Claims = dict[str, Any]


@dataclass
class Provider:
    """The provider's state: its people, what it has given out, and how it shall lie."""

    issuer: str = ISSUER
    url: str = ""
    people: dict[str, Claims] = field(default_factory=dict)
    codes: dict[str, dict[str, str]] = field(default_factory=dict)
    twist: Callable[[Claims], Claims] = lambda claims: claims
    sign: Callable[[Claims], str] | None = None
    asked: list[str] = field(default_factory=list)
    keys: dict[str, rsa.RSAPrivateKey] = field(default_factory=dict)
    kid: str = "k1"
    device: dict[str, Any] = field(default_factory=dict)
    lacks: str = ""
    """Endpoint that its configuration leaves out."""

    def __post_init__(self) -> None:
        self.rotate("k1")

    def rotate(self, kid: str) -> None:
        """Sign with a new key from now on, beside the old one."""
        self.keys[kid] = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self.kid = kid

    def forget(self) -> None:
        """Lie no more."""
        self.twist, self.sign, self.kid = lambda claims: claims, None, "k1"
        self.asked.clear()
        self.device.clear()
        self.lacks = ""

    def token(self, claims: Claims, kid: str = "") -> str:
        """A token with those claims, signed with the provider's key."""
        kid = kid or self.kid
        return jwt.encode(claims, self.keys[kid], algorithm="RS256", headers={"kid": kid})

    def claims(self, user: str, audience: str = CLIENT, **more: Any) -> Claims:
        """What the provider says of somebody."""
        now = int(time.time())
        return {
            "iss": self.issuer,
            "sub": user,
            "aud": audience,
            "iat": now,
            "exp": now + 300,
            **self.people.get(user, {}),
            **more,
        }

    def jwks(self) -> dict[str, Any]:
        """The public keys."""
        found = []
        for kid, key in self.keys.items():
            public = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(key.public_key()))
            found.append(public | {"kid": kid, "use": "sig", "alg": "RS256"})
        return {"keys": found}


def _handler(provider: Provider) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            """Say nothing."""

        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            query = dict(parse_qsl(parts.query))
            provider.asked.append(parts.path)
            if parts.path == "/.well-known/openid-configuration":
                told = {
                    "issuer": provider.issuer,
                    "authorization_endpoint": f"{provider.url}/authorize",
                    "token_endpoint": f"{provider.url}/token",
                    "jwks_uri": f"{provider.url}/jwks",
                    "device_authorization_endpoint": f"{provider.url}/device",
                }
                self._json({name: value for name, value in told.items() if name != provider.lacks})
            elif parts.path == "/jwks":
                self._json(provider.jwks())
            elif parts.path == "/authorize":
                self._authorize(query)
            else:
                self._json({"error": "not_found"}, 404)

        def _authorize(self, query: dict[str, str]) -> None:
            fit = query.get("client_id") == CLIENT and query.get("response_type") == "code"
            fit = fit and "openid" in query.get("scope", "").split() and query.get("code_challenge_method") == "S256"
            fit = fit and len(query.get("code_challenge", "")) == 43 and all(query.get(name) for name in ("state", "nonce"))
            if not fit:
                self._json({"error": "invalid_request"}, 400)
                return
            fields = "".join(f'<input type="hidden" name="{n}" value="{html.escape(v)}">' for n, v in query.items())
            people = "".join(f'<button name="user" value="{user}">{user}</button>' for user in provider.people)
            self._send(200, f'<form method="post" action="/login">{fields}{people}</form>'.encode(), "text/html")

        def do_POST(self) -> None:
            given = {n: v[0] for n, v in parse_qs(self.rfile.read(int(self.headers["content-length"])).decode()).items()}
            provider.asked.append(self.path)
            if self.path == "/login":
                code = secrets.token_urlsafe(8)
                provider.codes[code] = given
                back = {"code": code, "state": given["state"], "iss": provider.issuer}
                self.send_response(303)
                self.send_header("Location", f"{given['redirect_uri']}?{urlencode(back)}")
                self.send_header("Content-Length", "0")
                self.end_headers()
            elif self.path == "/device":
                provider.device["asked"] = given
                told = {"device_code": "device-1", "user_code": "WDJB-MJHT", "verification_uri": f"{provider.url}/enter"}
                self._json(told | {"expires_in": 60, "interval": 1})
            elif self.path == "/token" and given.get("grant_type", "").endswith(":device_code"):
                self._device(given)
            elif self.path == "/token":
                self._token(given)

        def _device(self, given: dict[str, str]) -> None:
            asked = provider.device.get("asked", {})
            answers = provider.device.get("answers", [])
            if given.get("device_code") != "device-1" or given.get("client_id") != asked.get("client_id"):
                self._json({"error": "invalid_grant"}, 400)
            elif answers:
                self._json({"error": answers.pop(0)}, 400)
            else:
                claims = provider.claims("ana", audience=given["client_id"])
                self._json({"id_token": provider.token(claims), "access_token": "unused", "token_type": "Bearer"})

        def _token(self, given: dict[str, str]) -> None:
            pair = base64.b64decode(self.headers.get("authorization", "").removeprefix("Basic ")).decode()
            begun = provider.codes.pop(given.get("code", ""), None)
            digest = hashlib.sha256(given.get("code_verifier", "").encode()).digest()
            challenge = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
            if [unquote(part) for part in pair.split(":")] != [CLIENT, SECRET]:
                self._json({"error": "invalid_client"}, 401)
            elif begun is None or begun["code_challenge"] != challenge or begun["redirect_uri"] != given.get("redirect_uri"):
                self._json({"error": "invalid_grant"}, 400)
            else:
                claims = provider.claims(begun["user"], nonce=begun["nonce"], auth_time=int(time.time()))
                claims = provider.twist(claims)
                token = provider.sign(claims) if provider.sign else provider.token(claims)
                self._json({"id_token": token, "access_token": "unused", "token_type": "Bearer"})

        def _json(self, document: dict[str, Any], status: int = 200) -> None:
            self._send(status, json.dumps(document).encode(), "application/json")

        def _send(self, status: int, body: bytes, kind: str) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    return Handler


@contextmanager
def provided(provider: Provider) -> Iterator[Provider]:
    """That provider, answering on a free port, stopped at the end."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _handler(provider)) as server:
        provider.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield provider
        finally:
            server.shutdown()
            thread.join()
