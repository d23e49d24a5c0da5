"""Behind a load balancer that signs people in: its own signed header counts, and no other."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt.algorithms import ECAlgorithm

from tests.service.conftest import ANA, Running, Serve
from tests.service.provider import ISSUER

ARN = "arn:aws:elasticloadbalancing:eu-west-1:123456789012:loadbalancer/app/approvals/50dc6c495c0c9188"
KID = "11111111-2222-3333-4444-555555555555"
KEY = ec.generate_private_key(ec.SECP256R1())


@contextmanager
def keys() -> Iterator[str]:
    """The place of the balancer's public key."""
    pem = KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            """Say nothing."""

        def do_GET(self) -> None:
            self.send_response(200 if self.path == f"/{KID}" else 404)
            self.send_header("Content-Length", str(len(pem)))
            self.end_headers()
            self.wfile.write(pem)

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


def padded(header: dict[str, Any], claims: dict[str, Any], key: Any = KEY) -> str:
    """A header as the balancer writes it: a token whose parts are padded, and signed with the padding."""
    parts = [json.dumps(part).encode() for part in ({"typ": "JWT", "alg": "ES256"} | header, claims)]
    signed = b".".join(map(base64.urlsafe_b64encode, parts))
    signature = ECAlgorithm(ECAlgorithm.SHA256).sign(signed, key)
    return b".".join([signed, base64.urlsafe_b64encode(signature)]).decode()


def a_header(**changes: Any) -> dict[str, Any]:
    """What the balancer says of its token."""
    return {"kid": KID, "signer": ARN, "iss": ISSUER, "client": "x", "exp": int(time.time()) + 120} | changes


@pytest.fixture
def balanced(serve: Serve) -> Iterator[Running]:
    """A service behind that balancer."""
    with keys() as place:
        yield serve(balancer={"arn": ARN, "issuer": ISSUER, "keys": place}, pools={"payments": {"reviewers": ["everyone"]}})


def whoami(running: Running, header: str) -> Any:
    return running.browser().send("GET", "/api/v1/whoami", X_Amzn_Oidc_Data=header)


def test_the_balancer_tells_who_signed_in(balanced: Running) -> None:
    """As at the login's own issuer."""
    answer = whoami(balanced, padded(a_header(), {"sub": "ana", "email": "ana@example.com"}))
    assert answer.json["identity"] == ANA
    assert answer.json["via"] == "balancer"


def test_nobody_else_s_header_counts(balanced: Running) -> None:
    """Another balancer's, another issuer's, an expired, unsigned, or plain one; nor any where none is configured."""
    other = ec.generate_private_key(ec.SECP256R1())
    claims = {"sub": "ana"}
    unsigned = f"{base64.b64encode(json.dumps(a_header() | {'alg': 'none'}).encode()).decode()}.e30=."
    for header in (
        padded(a_header(signer=ARN.replace("50dc", "60dc")), claims),
        padded(a_header(iss="https://evil.example"), claims),
        padded(a_header(exp=int(time.time()) - 100), claims),
        padded(a_header(exp="never"), claims),
        padded(a_header(kid="../../evil"), claims),
        padded(a_header(), claims, other),
        padded(a_header(), {"email": "ana@example.com"}),
        *(padded(a_header(), {"sub": sub}) for sub in ("ana\u200b", " ana", "a" * 256, "an\na", 7)),
        unsigned,
        "ana",
        json.dumps(claims),
    ):
        assert whoami(balanced, header).status == 401, header


def test_without_a_balancer_its_header_is_nothing(running: Running) -> None:
    """Whoever sends it is nobody; so are headers of proxies that sign nothing."""
    header = padded(a_header(), {"sub": "ana"})
    browser = running.browser()
    answer = browser.send(
        "GET", "/api/v1/whoami", X_Amzn_Oidc_Data=header, X_Forwarded_User="ana", X_Forwarded_Email="ana@example.com"
    )
    assert answer.status == 401


def test_who_comes_by_the_balancer_proves_anew_too(serve: Serve) -> None:
    """Where a sign-in ends after `max_age`: by the auth_time that the issuer tells, and never without one."""
    with keys() as place:
        balancer = {"arn": ARN, "issuer": ISSUER, "keys": place}
        login = {"issuer": ISSUER, "discovery": place, "client_id": "x", "client_secret": "env:UNUSED", "max_age": 60}
        running = serve(balancer=balancer, pools={"payments": {"reviewers": ["everyone"]}}, login=login)
        claim = running.claim()
        for auth_time, status in (({}, 401), ({"auth_time": time.time() - 3600}, 401), ({"auth_time": time.time()}, 201)):
            header = padded(a_header(), {"sub": "ana", **auth_time})
            browser = running.browser()
            etag = browser.send("GET", f"/api/v1/claims/{claim.id}", X_Amzn_Oidc_Data=header).headers["etag"]
            sent = browser.send(
                "POST",
                f"/api/v1/claims/{claim.id}/reviews",
                body='{"status": "approved"}',
                X_Amzn_Oidc_Data=header,
                If_Match=etag,
                Content_Type="application/json",
                Sec_Fetch_Site="same-origin",
            )
            assert sent.status == status, sent.text
