"""A crash: the one thing that may end in a traceback, and it tells where, but no secret."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from types import TracebackType
from typing import Any
from unittest import mock

import pytest

from approval_resource.steps.protocol import Source
from approval_resource.store.dynamodb.store import DynamoStore
from approval_resource.strict_options import read_part
from demo.engine import ROOT
from tests.fuzz.test_canary import CANARIES, CANARY, DEBUG, ENVIRONMENT, NO_PROXY, require_no_canary
from tests.fuzz.world import World

VERSION = {"id": "1" * 36, "lock_name": "a", "state": "pending", "timestamp": "2026-11-21T12:00:00.000000Z"}
REQUESTS: dict[str, dict[str, Any]] = {
    "check": {"version": VERSION},
    "in": {"version": VERSION, "params": {"need_approval": True}},
    "out": {"params": {"action": "claim", "lock_name": "a", "need_approval": True}},
}
PROGRAM = """
import sys
from unittest import mock
from approval_resource.steps.run import run
from approval_resource.store.dynamodb.requests import Requests
with mock.patch.object(Requests, "ask", side_effect=RuntimeError({message!r})):
    run({script!r})
"""


def crashed(world: World, script: str, message: str, *, debug: bool) -> str:
    """What a script says in which the store raises what nobody expected."""
    source = world.source | CANARIES | {"debug": debug}
    arguments = [] if script == "check" else [str(world.workspace)]
    ran = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(message=message, script=script), *arguments],
        cwd=ROOT,
        env={**ENVIRONMENT, "AWS_EC2_METADATA_DISABLED": "true", "PATH": ""},
        input=json.dumps({"source": source} | REQUESTS[script]).encode(),
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert ran.returncode == 1
    assert ran.stdout == b""
    return ran.stderr.decode()


@DEBUG
@pytest.mark.parametrize("script", REQUESTS)
def test_a_crash_keeps_its_traceback(world: World, script: str, debug: bool) -> None:
    """Who mends it reads what was raised and where; who reads the build log reads no secret."""
    told = crashed(world, script, "out of cheese", debug=debug)
    assert "Traceback (most recent call last)" in told
    assert "RuntimeError: out of cheese" in told
    assert "in ask" in told or "requests.py" in told or "dynamodb.py" in told
    require_no_canary(told)


@pytest.mark.parametrize("script", REQUESTS)
def test_a_crash_that_names_a_secret_is_told_without_it(world: World, script: str) -> None:
    """What a library puts into its exception's text is redacted as any other line of the build log."""
    told = crashed(world, script, f"signing with {CANARIES['AWS_SECRET_ACCESS_KEY']} failed", debug=False)
    assert "Traceback (most recent call last)" in told
    require_no_canary(told)


def frames(traceback: TracebackType | None) -> Iterator[dict[str, Any]]:
    """The variables of each frame."""
    while traceback is not None:
        yield traceback.tb_frame.f_locals
        traceback = traceback.tb_next


CRASHES = {
    "while it asks": ("approval_resource.store.dynamodb.requests.Requests.ask", {"Source", "DynamoStore"}),
    "while it connects": ("botocore.session.Session.create_client", {"Source", "Connection"}),
}


def objects(world: World, script: str, crash: str) -> dict[str, object]:
    """This package's objects in the frames of a crash, by the name of their class."""
    source = world.source | CANARIES | {"debug": True, "role_arn": ""}
    stdin = json.dumps({"source": source} | REQUESTS[script]).encode()
    with (
        mock.patch(CRASHES[crash][0], side_effect=RuntimeError("out of cheese")),
        pytest.raises(RuntimeError) as caught,
    ):
        world.run(script, stdin, ENVIRONMENT | NO_PROXY)
    found = [value for variables in frames(caught.tb) for value in variables.values()]
    return {type(value).__name__: value for value in found if type(value).__module__.startswith("approval_resource.")}


@pytest.mark.parametrize("crash", CRASHES)
@pytest.mark.parametrize("script", REQUESTS)
def test_what_a_traceback_with_variables_shows_holds_no_secret(world: World, script: str, crash: str) -> None:
    """Source, Connection, Step, store and all else of this package in a crash's frames can be shown."""
    found = objects(world, script, crash)
    assert CRASHES[crash][1] <= found.keys()
    assert script == "check" or crash == "while it connects" or "Step" in found
    for value in found.values():
        require_no_canary(repr(value), str(value))


@pytest.mark.parametrize("script", ["in", "out"])
def test_a_call_shows_no_secret(world: World, script: str) -> None:
    """The run of a script is in a crash's frames too."""
    require_no_canary(repr(objects(world, script, "while it asks")["Call"]))


def test_a_source_shows_no_password_of_an_address() -> None:
    """An address with a password in it is refused, and not shown by what holds it until then."""
    source = read_part(Source, {"pool": "a", "endpoint_url": f"http://user:{CANARY}@127.0.0.1:1"})
    require_no_canary(repr(source), repr(source.connection))


def test_the_command_line_crashes_without_its_secrets(world: World) -> None:
    """A traceback of cli.py has none of the keys in its environment."""
    with (
        mock.patch.object(DynamoStore, "open_claims", side_effect=RuntimeError("out of cheese")),
        pytest.raises(RuntimeError) as caught,
    ):
        world.command("list", **CANARIES)
    for variables in frames(caught.tb):
        for value in variables.values():
            if type(value).__module__.startswith(("approval_resource.", "cli")):
                require_no_canary(repr(value))
