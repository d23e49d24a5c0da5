"""The command line through a service: for people who have an identity and no access to the table."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any, ClassVar

import pytest
from click.testing import CliRunner, Result

from approval_resource.clock import HostClock
from approval_resource.commands.device import Device, SignInError
from approval_resource.errors import ConfigError
from approval_resource.model.event import State
from approval_resource.service.config import require_apart
from approval_resource.store.interface import Connection
from cli import cli
from tests.builders import under
from tests.service.conftest import ANA, Running, Serve, a_config
from tests.service.provider import ISSUER, Provider


@pytest.fixture
def remote(serve: Serve, provider: Provider, monkeypatch: pytest.MonkeyPatch) -> Running:
    """A service that takes the token in this environment, which has no way to the table."""
    running = serve(machines=[{"issuer": ISSUER, "discovery": provider.url, "audience": "cli"}])
    monkeypatch.setenv("APPROVAL_TOKEN", provider.token(provider.claims("ana", audience="cli")))
    monkeypatch.setenv("AWS_ENDPOINT_URL_DYNAMODB", "http://127.0.0.1:1")
    return running


def run(running: Running, *arguments: str) -> Result:
    """The command line with --service."""
    return CliRunner().invoke(cli, ["--service", running.url, *arguments])


def test_a_claim_is_listed_shown_and_approved(remote: Running) -> None:
    """Under the identity of the token; what is still missing is told."""
    claim = remote.claim(description="Release 41", terms=under(required_approvals=2))
    assert claim.id in run(remote, "list", "--mine").output
    assert json.loads(run(remote, "list", "--format", "json").output)[0]["id"] == claim.id
    assert "Release 41" in run(remote, "show", claim.id).output
    done = run(remote, "approve", claim.id, "--comment", "fine")
    assert done.exit_code == 0, done.output
    assert "1 of 2" in done.output
    assert remote.store.claim(claim.id).reviews[ANA].comment == "fine"  # type: ignore[union-attr]


def test_a_claim_is_rejected_or_withdrawn(remote: Running) -> None:
    """Each by its own command; a refusal is one line and exit code 1."""
    one, two = remote.claim(1), remote.claim(2)
    assert run(remote, "reject", one.id, "--comment", "no").exit_code == 0
    ended = run(remote, "withdraw", two.id, "--reason", "old")
    assert (ended.exit_code, ended.output) == (
        0,
        f"INFO: Claim {two.id} has been withdrawn; the lock {two.lock_name} is free\n",
    )
    assert [remote.store.claim(c.id).state for c in (one, two)] == [State.REJECTED, State.WITHDRAWN]  # type: ignore[union-attr]
    again = run(remote, "approve", one.id)
    assert again.exit_code == 1
    assert again.output.startswith("ERROR: claim")
    assert run(remote, "approve", "unknown").exit_code == 1


@pytest.mark.parametrize("given", [["ticket"], ["=x"], ["ticket=1", "ticket=2"]])
def test_inputs_are_read_as_beside_the_table(remote: Running, given: list[str]) -> None:
    """A value without its name, or a name given twice, is refused before anything is sent."""
    claim = remote.claim()
    ran = run(remote, "approve", claim.id, *(word for one in given for word in ("--input", one)))
    assert ran.exit_code == 1
    assert "must be NAME=VALUE, each name once" in ran.output
    assert remote.store.claim(claim.id) == claim


def test_what_needs_the_table_says_so(remote: Running) -> None:
    """And a token is never sent in the clear."""
    answer = run(remote, "audit", "verify")
    assert answer.exit_code == 1
    assert "audit needs the table" in answer.output
    plain = CliRunner().invoke(cli, ["--service", "http://approvals.example.com", "list"])
    assert plain.exit_code == 1
    assert "must be https" in plain.output


def test_aws_credentials_are_proof_enough(serve: Serve, connection: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a token the command line signs a request that tells the service who its caller is."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", connection.endpoint_url)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test-secret")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    aws = {"region": "us-east-1", "sts": connection.endpoint_url, "accounts": ["000000000000"]}
    running = serve(aws=aws, pools={"payments": {"reviewers": ["everyone"]}})
    claim = running.claim()
    assert run(running, "approve", claim.id).exit_code == 0
    after = running.store.claim(claim.id)
    assert after is not None
    assert all(who.startswith("aws:arn:") for who in after.reviews)


@pytest.fixture
def without_token(serve: Serve, provider: Provider, monkeypatch: pytest.MonkeyPatch) -> Running:
    """A service with a sign-in for the command line, and a person who has neither token nor AWS keys."""
    running = serve(machines=[{"issuer": ISSUER, "discovery": provider.url, "audience": "cli", "device": True}])
    monkeypatch.delenv("APPROVAL_TOKEN", raising=False)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/none")
    monkeypatch.setattr(HostClock, "sleep", lambda _, seconds: slept.append(seconds))
    slept.clear()
    return running


slept: list[float] = []
"""Seconds for which the command line waited between two questions."""


def test_who_has_no_aws_keys_signs_in_by_a_code(
    without_token: Running, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The token goes to stdout alone, what to do to stderr; it is asked for no faster than the issuer wants."""
    provider.device["answers"] = ["authorization_pending", "slow_down", "authorization_pending"]
    told = run(without_token, "list")
    assert told.exit_code == 1
    assert "login)" in told.output
    signed_in = run(without_token, "login")
    assert signed_in.exit_code == 0, signed_in.output
    assert "WDJB-MJHT" in signed_in.stderr
    assert signed_in.stdout.count("\n") == 1
    assert slept == [1, 1, 6, 6]
    assert provider.device["asked"] == {"client_id": "cli", "scope": "openid profile email"}
    monkeypatch.setenv("APPROVAL_TOKEN", signed_in.stdout.strip())
    claim = without_token.claim()
    assert run(without_token, "approve", claim.id).exit_code == 0
    assert ANA in without_token.store.claim(claim.id).reviews  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("answers", "told"),
    [
        (["access_denied"], "access_denied"),
        (["authorization_pending", "expired_token"], "expired_token"),
        (["invalid\x1b[31m\nclient"], "invalid"),
        (["slow_down"] * 40, "nobody signed in in time"),
    ],
    ids=["denied", "expired", "hostile", "too slow"],
)
def test_a_sign_in_that_fails_ends_in_a_line(
    without_token: Running, provider: Provider, monkeypatch: pytest.MonkeyPatch, answers: list[str], told: str
) -> None:
    """With exit code 1 and nothing on stdout."""
    provider.device["answers"] = list(answers)
    at = iter(range(0, 10_000, 20))
    monkeypatch.setattr(HostClock, "monotonic", lambda _: float(next(at)))
    ended = run(without_token, "login")
    assert (ended.exit_code, ended.stdout) == (1, "")
    assert told in ended.stderr
    assert "\x1b" not in ended.stderr
    assert ended.stderr.count("\n") == 2


@pytest.mark.parametrize(
    "wrong",
    [
        {"device_authorization_endpoint": "http://login.example.com/device"},
        {"token_endpoint": "http://login.example.com/token"},
        {"device_authorization_endpoint": 7},
    ],
    ids=str,
)
def test_no_code_goes_where_anybody_could_read_it(wrong: dict[str, object]) -> None:
    """Neither to plain http elsewhere, nor to no address at all."""
    fine: dict[str, object] = {"issuer": "i", "client_id": "c", "scope": "openid"}
    fine |= {"device_authorization_endpoint": "https://login.example.com/d", "token_endpoint": "https://login.example.com/t"}

    class Told(Device):
        asked: ClassVar[list[str]] = []

        def _asked(self, url: str, form: Mapping[str, str] | None = None) -> tuple[int, dict[str, Any]]:
            self.asked.append(url)
            return 200, fine | wrong

    with pytest.raises(SignInError):
        Told("https://a.example", HostClock(), lambda line: None).token()
    assert Told.asked == ["https://a.example/api/v1/login"]
    Told.asked.clear()


def test_a_service_without_a_sign_in_for_the_command_line_says_so(remote: Running) -> None:
    """And nothing but https or this machine is asked."""
    ended = run(remote, "login")
    assert ended.exit_code == 1
    assert "no sign-in for the command line" in ended.stderr
    elsewhere = CliRunner().invoke(cli, ["--service", "http://a.example", "login"])
    assert (elsewhere.exit_code, "must be https://" in elsewhere.output) == (1, True)


def test_at_most_one_client_is_the_command_line_s(provider: Provider, connection: Connection) -> None:
    """It could not know at which issuer to sign in."""
    two = [{"issuer": ISSUER, "audience": name, "device": True} for name in ("a", "b")]
    with pytest.raises(ConfigError, match="at most one has device"):
        require_apart(a_config("https://a.example", provider, connection, machines=two))


CLAIM = {
    **{"id": "x", "pool": "p", "lock_name": "l", "state": "pending", "waits_for_you": True, "description": "", "build": "b"},
    **{"reasons": [], "openers": [], "approvals": []},
}
ANSWERS: dict[str, dict[str, Any]] = {
    "list": {"claims": [CLAIM], "next": None},
    "show": CLAIM | {"approvals": [{"status": "approved", "created_at": "", "comment": None, "user": {"username": "u"}}]},
    "approve": {"sentence": "fine", "superseded": [{"id": "y", "done": True, "sentence": "ended"}]},
    "reject": {"sentence": "fine", "superseded": []},
    "withdraw": CLAIM,
}
CALLS = {"list": ["list"], "show": ["show", "x"], "approve": ["approve", "x"]}
CALLS |= {"reject": ["reject", "x"], "withdraw": ["withdraw", "x"]}
ODD: list[Any] = [None, 7, "x", [], [7], [{}], {}, {"x": 1}]


def altered(document: Any) -> Iterator[Any]:
    """The document with each part of it missing, or something odd."""
    if isinstance(document, dict):
        for name, part in document.items():
            yield {key: value for key, value in document.items() if key != name}
            yield from (document | {name: odd} for odd in ODD)
            yield from (document | {name: inner} for inner in altered(part))
    elif isinstance(document, list):
        yield from ([inner] for part in document for inner in altered(part))


class Saying(BaseHTTPRequestHandler):
    """A server that gives one answer to whatever it is asked."""

    body: ClassVar[bytes] = b""

    def do_GET(self) -> None:
        self.rfile.read(int(self.headers.get("content-length") or 0))
        self.send_response(200)
        self.end_headers()
        self.wfile.write(self.body)

    do_POST = do_GET

    def log_message(self, *_: Any) -> None:
        """Say nothing of it."""


@pytest.mark.parametrize("command", ANSWERS)
def test_an_odd_answer_ends_in_a_line(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a server that is none, or of another version: no traceback, and no list without end."""
    monkeypatch.setenv("APPROVAL_TOKEN", "x")
    fine = ANSWERS[command]
    documents = [json.dumps(document).encode() for document in altered(fine)]
    server = ThreadingHTTPServer(("127.0.0.1", 0), Saying)
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        for body in [
            json.dumps(fine).encode(),
            *documents,
            b"[" * 200_000,
            b"",
            b"null",
            b"{}",
            b'{"claims": [], "next": "x"}',
        ]:
            monkeypatch.setattr(Saying, "body", body)
            ended = CliRunner().invoke(cli, ["--service", f"http://127.0.0.1:{server.server_port}", *CALLS[command]])
            assert ended.exception is None or isinstance(ended.exception, SystemExit), body[:300]
            assert ended.exit_code in (0, 1)
            assert ended.exit_code == 0 or ended.output.count("ERROR: ") == 1
            assert ended.exit_code == 0 or body != json.dumps(fine).encode(), ended.output
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
