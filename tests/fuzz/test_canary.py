"""Secrets stay secret: wherever a credential might be written, and whatever goes wrong, nobody gets to read it."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from approval_resource.steps.protocol import Source
from demo.engine import free_port
from tests import tally
from tests.fuzz.inputs import SCRIPTS, options_of
from tests.fuzz.oracle import require_log
from tests.fuzz.world import Ran, World
from tests.scripts.conftest import Wire

CANARIES = {
    "AWS_ACCESS_KEY_ID": "AKIACANARYCANARY",
    "AWS_SECRET_ACCESS_KEY": "canary/secret+key",
    "AWS_SESSION_TOKEN": "canary-session-token==",
}
CANARY = "c4n4ry-c4n4ry"
"""A secret where none belongs."""
WRITTEN = (*CANARIES.values(), CANARY)
ENVIRONMENT = {"BUILD_ID": "1", "BUILD_TEAM_NAME": "main", "ATC_EXTERNAL_URL": "https://ci.example"}
NAMES = ("pool", "lock_name", "table", "AWS_DEFAULT_REGION", "states")
"""Options whose text is a name: it is stored, and shown when it is wrong."""
NO_PROXY = dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"), "")
DEBUG = pytest.mark.parametrize("debug", [True, pytest.param(False, marks=pytest.mark.long)])


def require_no_canary(*texts: str) -> None:
    """None of the secrets is in any of these, in whatever case."""
    for text in texts:
        found = [secret for secret in WRITTEN if secret.lower() in text.lower()]
        assert not found, text[:1_000]


def run(
    world: World, script: str, source: Mapping[str, Any], environment: Mapping[str, str] = ENVIRONMENT, **request: Any
) -> Ran:
    """Run that script; nothing it says, and no file it writes, holds a secret."""
    ran = world.run(script, json.dumps({"source": source} | request).encode(), {**ENVIRONMENT, **environment})
    require_log(ran.stderr)
    files = [path.read_bytes().decode("latin-1") for path in world.workspace.rglob("gate/*") if path.is_file()]
    require_no_canary(ran.stdout, ran.stderr, *files)
    tally.add(inputs=1)
    return ran


def run_all(world: World, source: Mapping[str, Any], environment: Mapping[str, str] = ENVIRONMENT) -> list[Ran]:
    """Run each script with that source, on what a first claim made."""
    version = {"id": "1" * 36, "lock_name": "a", "state": "pending", "timestamp": "2026-11-21T12:00:00.000000Z"}
    params = {"action": "claim", "lock_name": "a", "need_approval": True}
    return [
        run(world, "check", source, environment, version=version),
        run(world, "in", source, environment, version=version),
        run(world, "out", source, environment, params=params),
    ]


def stored(world: World) -> str:
    """All that is in the table."""
    pages = world.client.get_paginator("scan").paginate(TableName=world.connection.table, ConsistentRead=True)
    items = [item for page in pages for item in page["Items"]]
    assert items
    return json.dumps(items, default=lambda content: content.decode("latin-1"))


# ---- all is well ------------------------------------------------------------------------


@DEBUG
def test_nothing_that_is_kept_or_told_holds_a_secret(world: World, debug: bool) -> None:
    """A claim's whole life with credentials in the source: output, log, files and table are free of them."""
    source = world.source | CANARIES | {"debug": debug}
    params = {
        "action": "claim",
        "lock_name": "a",
        "need_approval": True,
        "attach": {"plan.txt": "plan.txt"},
        "payload": {"n": 1},
    }
    claimed = run(world, "out", source, params=params)
    assert claimed.code == 0
    version = json.loads(claimed.stdout)["version"]
    assert world.command("approve", version["id"]).code == 0
    assert run(world, "in", source, version=version, params={"need_approval": True}).code == 0
    assert run(world, "out", source, params={"action": "await", "from": "gate"}).code == 0
    assert run(world, "out", source, params={"action": "release", "from": "gate"}).code == 0
    checked = run(world, "check", source, version=version)
    assert len(json.loads(checked.stdout)) == 3
    assert (" ms" in checked.stderr) is debug
    require_no_canary(stored(world))


@pytest.mark.parametrize(
    "words", [("list", "--all"), ("audit", "verify"), ("audit", "export"), ("init",), ("show", "x"), ("list", "--pool")]
)
def test_the_command_line_tells_no_secret_of_its_environment(world: World, words: tuple[str, ...]) -> None:
    """With --debug too, whether it is done or refused."""
    ran = world.command("--debug", *words, **CANARIES)
    require_no_canary(ran.stdout, ran.stderr)


# ---- a source that is wrong -----------------------------------------------------------


SHAPES: dict[str, Any] = {
    "text": CANARY,
    "list": [CANARY],
    "map": {"key": CANARY},
    "key of a map": {CANARY: 1},
    "deep": [[{"key": [{"key": CANARY}]}]],
    "with line breaks": f"\n{CANARY}\r\n",
}


@DEBUG
@pytest.mark.parametrize("shape", SHAPES)
def test_no_option_repeats_what_it_cant_take(world: World, shape: str, debug: bool) -> None:
    """A secret as the value of any option of the source, known, misspelt or unknown, and of any type, is refused by name alone."""
    value = SHAPES[shape]
    known = [name for name in options_of(Source) if name not in NAMES or not isinstance(value, (str, list))]
    for name in [*known, "secret", "AWS_SECRET_ACESS_KEY", "aws_secret_access_key", "password"]:
        run_all(world, world.source | {"debug": debug, name: value})


@pytest.mark.parametrize("field", CANARIES)
@pytest.mark.parametrize(
    "tail", ["\r\nX-Header: y", *(pytest.param(tail, marks=pytest.mark.long) for tail in ("\n", "ключ", "\0", " "))]
)
def test_credentials_that_no_header_takes_are_not_repeated(world: World, field: str, tail: str) -> None:
    """What HTTP can't carry is refused, by the client or by DynamoDB, without being told."""
    run_all(world, world.source | CANARIES | {field: CANARIES[field] + tail, "debug": True})


ADDRESSES = [
    "http://{}:{}@127.0.0.1:1",
    "http://{}@127.0.0.1:1",
    "//{}:{}@127.0.0.1:1",
    "HTTP://{}:{}@127.0.0.1:1/",
    "http://{}:{}@[::1",
    "http://{}:{}@127.0.0.1:99999",
    "http://127.0.0.1:1@{}:{}@127.0.0.1:1",
    "http://127.0.0.1:{}/{}",
]
MALFORMED = ["{}:{}@127.0.0.1:1", "http:\\\\{}:{}@127.0.0.1"]


@pytest.mark.parametrize("url", ADDRESSES + MALFORMED)
def test_an_address_with_a_password_is_not_repeated(world: World, url: str) -> None:
    """Whether it comes from the source or from the command line."""
    secret = url.format(CANARY, CANARY)
    for ran in run_all(world, world.source | {"endpoint_url": secret}):
        assert ran.code == 1
    ran = world.command("list", "--endpoint-url", secret)
    assert ran.code == 1
    require_no_canary(ran.stdout, ran.stderr)


@pytest.mark.parametrize("url", ADDRESSES + MALFORMED)
def test_an_address_in_the_environment_is_not_repeated(world: World, url: str) -> None:
    """Where the source leaves it to AWS_ENDPOINT_URL_DYNAMODB, and for the command line."""
    environment = {"AWS_ENDPOINT_URL_DYNAMODB": url.format(CANARY, CANARY)}
    source = {name: value for name, value in world.source.items() if name != "endpoint_url"}
    run_all(world, source, environment)
    ran = world.command("list", **environment)
    assert ran.code == 1
    require_no_canary(ran.stdout, ran.stderr)


@pytest.mark.parametrize(
    "stdin", ['{{"source": {{"AWS_SESSION_TOKEN": "{}"', '{{"source": {{"x": "{}"}}}} {{', '["{}"]', '"{}"']
)
@pytest.mark.parametrize("script", SCRIPTS)
def test_a_document_that_cant_be_read_is_not_repeated(world: World, script: str, stdin: str) -> None:
    """Half a document may hold whole secrets."""
    ran = world.run(script, stdin.format(CANARY).encode(), ENVIRONMENT)
    assert ran.code == 1
    require_no_canary(ran.stderr)


# ---- what AWS says, or doesn't --------------------------------------------------------------


CODES = ("UnrecognizedClientException", "AccessDeniedException", "ValidationException", "Whatever")
MORE_CODES = (
    *(
        "ThrottlingException",
        "InvalidSignatureException",
        "IncompleteSignature",
        "ExpiredTokenException",
        "ResourceNotFoundException",
        "LimitExceeded",
    ),
    *("InternalServerError", "ProvisionedThroughputExceededException", "TransactionCanceledException"),
)


@DEBUG
@pytest.mark.parametrize("code", [*CODES, *(pytest.param(code, marks=pytest.mark.long) for code in MORE_CODES)])
def test_an_answer_that_repeats_secrets_is_not_repeated(world: World, wire: Wire, code: str, debug: bool) -> None:
    """Whatever DynamoDB refuses, and however it words that: keys, throttling, a table that can't be made."""

    def refuse(headers: Mapping[str, str]) -> tuple[int, dict[str, Any]]:
        echo = " ".join([*headers.values(), *CANARIES.values()])
        return 500 if code == "InternalServerError" else 400, {"__type": f"com.amazon#{code}", "message": echo, "Message": echo}

    wire.refusal = refuse
    for ran in run_all(world, world.source | CANARIES | {"endpoint_url": wire.url, "debug": debug}):
        # A check finds nothing in a table that isn't there yet, and says so.
        assert ran.code != 0 or (code, ran.stdout) == ("ResourceNotFoundException", "[]\n")


@DEBUG
def test_an_address_that_is_not_there_tells_no_secret(world: World, debug: bool) -> None:
    """Nobody answers, so the request and its signature stay unsaid."""
    source = world.source | CANARIES | {"endpoint_url": f"http://127.0.0.1:{free_port()}", "debug": debug}
    for ran in run_all(world, source):
        assert ran.code != 0


@contextmanager
def sts(body: str, status: int) -> Iterator[str]:
    """A server that gives every request that answer."""

    class Answer(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, format: str, *args: object) -> None:
            """Nobody listens."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


@DEBUG
@pytest.mark.parametrize(
    "code", ["AccessDenied", "InvalidClientTokenId", "ExpiredToken", pytest.param("Throttling", marks=pytest.mark.long)]
)
def test_an_sts_that_repeats_secrets_is_not_repeated(world: World, code: str, debug: bool) -> None:
    """Assuming the role is refused, with the keys in the answer."""
    echo = " ".join(CANARIES.values())
    body = f"<ErrorResponse><Error><Code>{code}</Code><Message>{echo}</Message></Error></ErrorResponse>"
    source = world.source | CANARIES | {"role_arn": "arn:aws:iam::123456789012:role/x", "debug": debug}
    with sts(body, 403) as url:
        for ran in run_all(world, source, NO_PROXY | {"AWS_ENDPOINT_URL_STS": url}):
            assert ran.code != 0
        ran = world.command("approve", "x" * 36, **NO_PROXY, **CANARIES, AWS_ENDPOINT_URL_STS=url)
        require_no_canary(ran.stdout, ran.stderr)


@pytest.mark.parametrize("asked", ["by a step", "by a reviewer"])
@pytest.mark.parametrize("status", [200, 403, 502])
def test_what_is_no_sts_is_told_in_a_line(world: World, asked: str, status: int) -> None:
    """A proxy that answers in the place of STS, with a page of its own, is one line: for steps and for reviewers."""
    role = {"role_arn": "arn:aws:iam::123456789012:role/x"}
    with sts(f"<html>{CANARY}", status) as url:
        environment = NO_PROXY | {"AWS_ENDPOINT_URL_STS": url}
        if asked == "by a step":
            assert run(world, "check", world.source | role, environment).code == 1
        else:
            ran = world.command("approve", "x" * 36, **environment)
            # An outage is tried again, after a pause that this world interrupts.
            assert ran.code == (130 if status == 502 else 1)
            require_no_canary(ran.stdout, ran.stderr)


@DEBUG
def test_credentials_of_an_assumed_role_are_not_told(world: World, debug: bool) -> None:
    """What STS hands out is a secret too, and refused by DynamoDB it stays one."""
    keys = (
        f"<AccessKeyId>{CANARY}</AccessKeyId><SecretAccessKey>{CANARY}</SecretAccessKey><SessionToken>{CANARY}</SessionToken>"
    )
    body = (
        f"<AssumeRoleResponse><AssumeRoleResult><Credentials>{keys}<Expiration>2099-01-01T00:00:00Z</Expiration>"
        "</Credentials></AssumeRoleResult></AssumeRoleResponse>"
    )
    source = world.source | CANARIES | {"role_arn": "arn:aws:iam::123456789012:role/x", "debug": debug}
    with sts(body, 200) as url:
        for ran in run_all(world, source, NO_PROXY | {"AWS_ENDPOINT_URL_STS": url}):
            assert ran.code in (0, 1)


def test_the_address_of_sts_tells_no_password(world: World) -> None:
    """AWS_ENDPOINT_URL_STS is shown when nobody answers there, without what stands before the host."""
    environment = NO_PROXY | {"AWS_ENDPOINT_URL_STS": f"http://user:{CANARY}@127.0.0.1:1"}
    run_all(world, world.source | {"role_arn": "arn:aws:iam::123456789012:role/x"}, environment)


@pytest.mark.parametrize("variable", ["HTTP_PROXY", "HTTPS_PROXY"])
def test_a_proxys_password_is_not_told(world: World, variable: str) -> None:
    """A proxy that can't be reached is not named with its user."""
    proxy = {variable: f"http://user:{CANARY}@127.0.0.1:1", variable.lower(): f"http://user:{CANARY}@127.0.0.1:1"}
    environment = proxy | {"NO_PROXY": "", "no_proxy": ""}
    for role in ({}, {"role_arn": "arn:aws:iam::123456789012:role/x"}):
        run_all(world, world.source | CANARIES | role, environment)
    ran = world.command("list", "--region", "eu-west-1", **environment)
    require_no_canary(ran.stdout, ran.stderr)
