"""Commands whose reader goes away, as `| head` does: each ends quietly."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import click
import pytest

from approval_resource.claims import review as reviews
from approval_resource.claims.end import end_claim
from approval_resource.logs import log_to
from approval_resource.model.claim import Verdict
from approval_resource.model.event import State
from approval_resource.store.dynamodb.store import DynamoStore
from cli import cli
from tests.builders import under
from tests.cli.conftest import POOL, ROOT, SECONDS, Environment, claim_of
from tests.docs.help_page import at, commands

A, B, C = (f"{number}0000000-aaaa-4aaa-8aaa-aaaaaaaaaaaa" for number in (1, 2, 3))
GONE = 141
LINES = {
    "approve": ("approve", A),
    "audit export": ("audit", "export"),
    "audit report": ("audit", "report", "--pool", POOL),
    "audit verify": ("audit", "verify"),
    "doctor": ("doctor",),
    "history": ("history", "--pool", POOL),
    "init": ("init",),
    "list": ("list",),
    "notify": ("notify", "--config", "CONFIG", "--status"),
    "policy backtest": ("policy", "backtest", "POLICY", "--pool", POOL),
    "policy eval": ("policy", "eval", "POLICY", "--requester", "carl"),
    "policy lint": ("policy", "lint", "POLICY"),
    "policy set": ("policy", "set", POOL, "POLICY"),
    "policy show": ("policy", "show", POOL),
    "policy test": ("policy", "test", "CASES"),
    "policy unset": ("policy", "unset", POOL),
    "pool freeze": ("pool", "freeze", POOL, "--reason", "incident 7"),
    "pool set": ("pool", "set", POOL, "--retention-days", "9"),
    "pool show": ("pool", "show", POOL),
    "pool unfreeze": ("pool", "unfreeze", POOL),
    "receipt": ("receipt", B),
    "reject": ("reject", A),
    "release": ("release", C),
    "serve": ("serve", "--help"),
    "show": ("show", A),
    "unblock": ("unblock", A),
    "withdraw": ("withdraw", A),
}
"""A line for each command that prints something. `serve` prints nothing but its help before it serves."""
QUICK = ("approve", "audit export", "doctor", "list", "policy lint", "show")
CASES = """
policy: policy.yaml
cases:
- {name: nobody, expect: undecided}
"""
CONFIG = """
url: https://approvals.example.com
channels:
  hook: {webhook: "http://127.0.0.1:9/hook", secret: env:LOGNAME}
notify:
  - {pools: [payments], to: [hook]}
"""


def leaves() -> Iterator[str]:
    """Every command that does something."""
    for path in commands():
        if not isinstance(at(path), click.Group):
            yield " ".join(path)


def test_every_command_is_tried() -> None:
    """A new one gets its line."""
    assert set(LINES) == set(leaves())


@pytest.fixture
def files(store: DynamoStore, tmp_path: Path) -> dict[str, str]:
    """A pool with claims in three states, and files to name."""
    claim_of(store, A, terms=under(required_approvals=2))
    claim_of(store, B, number=2, lock_name="docs")
    reviews.review(store, B, reviewer="aws:ben", verdict=Verdict.APPROVE)
    end_claim(store, store.claims([B])[0], State.RELEASED, actor="typed:bob")
    claim_of(store, C, number=3, lock_name="other", need_approval=False)
    for name, text in (("policy.yaml", "required_approvals: 2\n"), ("p.test.yaml", CASES), ("config.yaml", CONFIG)):
        (tmp_path / name).write_text(text, encoding="utf-8")
    return {
        "POLICY": str(tmp_path / "policy.yaml"),
        "CASES": str(tmp_path),
        "CONFIG": str(tmp_path / "config.yaml"),
    }


@pytest.fixture
def unread(monkeypatch: pytest.MonkeyPatch, environment: Environment) -> Iterator[Callable[..., int]]:
    """Runs a command in this process; whoever read its output has gone. Returns the exit code."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)

    def command(*arguments: str) -> int:
        reader, writer = os.pipe()
        os.close(reader)
        with monkeypatch.context() as patched, open(writer, "w", encoding="utf-8") as output:
            patched.setattr(sys, "stdout", output)
            with pytest.raises(SystemExit) as ended:
                cli(list(arguments), prog_name="cli.py")
        return int(str(ended.value.code))

    yield command
    log_to(logging.NullHandler(), debug=False)


@pytest.mark.parametrize("name", [name if name in QUICK else pytest.param(name, marks=pytest.mark.long) for name in LINES])
def test_a_command_whose_reader_has_gone_ends_quietly(
    files: dict[str, str], unread: Callable[..., int], capfd: pytest.CaptureFixture[str], name: str
) -> None:
    """No line, no traceback, and an exit code that is not that of success."""
    assert unread(*(files.get(word, word) for word in LINES[name])) == GONE
    assert capfd.readouterr().err == ""


def test_help_whose_reader_has_gone_ends_quietly(unread: Callable[..., int], capfd: pytest.CaptureFixture[str]) -> None:
    """Of each command and each group."""
    assert {unread(*path, "--help") for path in commands()} == {GONE}
    assert capfd.readouterr().err == ""


@pytest.mark.usefixtures("files")
@pytest.mark.parametrize("name", ["history", "audit export"])
def test_a_process_ends_quietly_too(environment: Environment, name: str) -> None:
    """Its last flush, after all is done, included."""
    with subprocess.Popen(
        [sys.executable, "cli.py", *LINES[name]],
        cwd=ROOT,
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as program:
        assert program.stdout is not None
        assert program.stderr is not None
        program.stdout.close()
        errors = program.stderr.read()
        assert program.wait(SECONDS) == GONE
    assert errors == b""
