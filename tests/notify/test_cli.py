"""cli.py notify: from the command line, as a process, with channels of every kind at once."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from approval_resource.claims.review import review
from approval_resource.clock import HostClock
from approval_resource.model.claim import Verdict
from approval_resource.notify.config import load
from approval_resource.notify.links import PageLinks
from approval_resource.notify.run import PAUSE, workers
from approval_resource.store.dynamodb.store import DynamoStore
from approval_resource.store.interface import Connection
from demo.engine import ROOT, free_port
from tests.builders import a_build, take
from tests.cli.conftest import Environment, Run, environment, process, refused, run  # noqa: F401 - fixtures
from tests.notify.conftest import SECRET
from tests.notify.standins import TOKEN, Receiver, Slack
from tests.notify.test_channels import Mailboxes, listening, port_of
from tests.notify.test_slack import slack  # noqa: F401 - a fixture

Process = Callable[..., "subprocess.CompletedProcess[str]"]
PAGE = (ROOT / "docs" / "notifications.md").read_text(encoding="utf-8")


@pytest.fixture
def mailboxes() -> Iterator[tuple[Mailboxes, int]]:
    """A relay on this machine, and its port."""
    kept = Mailboxes()
    controller = listening(kept)
    yield kept, port_of(controller)
    controller.stop()


@pytest.fixture
def configured(
    environment: Environment,  # noqa: F811
    connection: Connection,
    tmp_path: Path,
    receiver: Receiver,
    slack: Slack,  # noqa: F811
    mailboxes: tuple[Mailboxes, int],
    store: DynamoStore,
) -> str:
    """A file with three channels, whose secrets are in the environment."""
    store.create_table()
    environment |= {"SLACK_TOKEN": TOKEN, "HOOK_SECRET": SECRET}
    path = tmp_path / "notify.yaml"
    path.write_text(f"""
url: https://approvals.example.com
table: {connection.table}
channels:
  ops: {{slack: {slack.channel}, token: env:SLACK_TOKEN, api: "{slack.url}/api"}}
  hook: {{webhook: "{receiver.url}/hook", secret: env:HOOK_SECRET}}
  post: {{mail: [ops@example.com], from: approvals@example.com, smtp: "smtp://127.0.0.1:{mailboxes[1]}"}}
notify:
  - {{pools: [payments], to: [ops, hook, post]}}
""")
    return str(path)


@pytest.mark.long
def test_a_claim_is_told_to_every_channel_and_so_is_its_decision(
    process: Process,  # noqa: F811
    configured: str,
    store: DynamoStore,
    receiver: Receiver,
    slack: Slack,  # noqa: F811
    mailboxes: tuple[Mailboxes, int],
) -> None:
    """From cron: each run tells what is new, and ends; nothing twice."""

    def once() -> None:
        ran = process("notify", "--config", configured, "--once")
        assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")

    once()
    claim = take(store, a_build(1, created_by="dana"), description="deploy it")
    once()
    once()
    (posted,) = slack.first
    assert posted.buttons == [f"https://approvals.example.com/claims/{claim.id}"]
    review(store, claim.id, reviewer="aws:ana", verdict=Verdict.APPROVE)
    once()
    assert "was approved" in posted.text
    assert [request.document["type"] for request in receiver.taken] == ["claim.pending", "claim.approved"]
    assert len(mailboxes[0].mails) == 2
    shown = json.loads(process("notify", "--config", configured, "--status", "--format", "json").stdout)
    assert [(one["channel"], one["state"], one["behind"]) for one in shown] == [
        (name, "ok", 0) for name in ("ops", "hook", "post")
    ]


@pytest.mark.long
def test_one_channel_that_fails_is_told_and_hinders_no_other(
    run: Run,  # noqa: F811
    configured: str,
    store: DynamoStore,
    receiver: Receiver,
    slack: Slack,  # noqa: F811
) -> None:
    """Exit code 1 and a line with its name; the others are told; no secret in it."""
    assert run("notify", "--config", configured).exit_code == 0
    take(store, 1)
    ran = run("notify", "--config", configured, "--once", SLACK_TOKEN="xoxb-canary")
    assert ran.exit_code == 1
    assert "ERROR: channel ops: Slack refused chat.postMessage: invalid_auth" in ran.stderr
    assert "canary" not in ran.output
    assert len(receiver.taken) == 1
    shown = run("notify", "--config", configured, "--status")
    assert shown.exit_code == 0
    assert "ops: retrying since" in shown.stdout
    assert "1 try, 1 event behind" in shown.stdout
    assert "invalid_auth" in shown.stdout
    assert run("notify", "--config", configured).exit_code == 0
    assert len(slack.first) == 1
    assert run("notify", "--config", configured, "--status").stdout.startswith("ops: ok, told last at")


def test_no_secret_is_told_or_kept(
    run: Run,  # noqa: F811
    configured: str,
    store: DynamoStore,
    receiver: Receiver,
    slack: Slack,  # noqa: F811
    environment: Environment,  # noqa: F811
) -> None:
    """With --debug too, whether channels take it or fail; not in the output, not in the table."""
    canaries = {"SLACK_TOKEN": "xoxb-canary", "HOOK_SECRET": "whsec_canary00"}
    text = Path(configured).read_text().replace("/hook", "/canary-path?token=canary")
    Path(configured).write_text(text)
    receiver.answer = lambda request: (500, {}, b"canary")
    told = [run("--debug", "notify", "--config", configured, **canaries).output]
    take(store, 1)
    for words in (["--once"], ["--check"], ["--status"], ["--status", "--format", "json"]):
        told.append(run("--debug", "notify", "--config", configured, *words, **canaries).output)
    assert "canary" not in "".join(told)
    assert "answered 500" in "".join(told)
    items = store._client.scan(TableName=store._table, ConsistentRead=True)["Items"]
    assert items
    assert "canary" not in str(items)


def test_check_tries_everything_and_tells_nobody(
    run: Run,  # noqa: F811
    configured: str,
    store: DynamoStore,
    receiver: Receiver,
    slack: Slack,  # noqa: F811
    mailboxes: tuple[Mailboxes, int],
) -> None:
    """File, table and each channel; all that fails is told at once."""
    take(store, 1)
    ran = run("notify", "--config", configured, "--check")
    assert (ran.exit_code, ran.stdout) == (0, "INFO: the table and 3 channels can be reached\n")
    text = Path(configured).read_text().replace(receiver.url, f"http://127.0.0.1:{free_port()}")
    Path(configured).write_text(text)
    ran = run("notify", "--config", configured, "--check", SLACK_TOKEN="xoxb-canary")
    assert ran.exit_code == 1
    assert "channel ops: Slack refused auth.test: invalid_auth" in ran.stderr
    assert "channel hook: http://127.0.0.1:" in ran.stderr
    assert "canary" not in ran.output
    assert (slack.messages, receiver.taken, mailboxes[0].mails) == ({}, [], [])


def test_a_wrong_file_is_refused_with_all_that_is_wrong(run: Run, tmp_path: Path) -> None:  # noqa: F811
    """Before anything is asked or told."""
    (tmp_path / "n.yaml").write_text("channels: {ops: {slack: C1, token: canary}}\nnotify: [{pools: [p], to: [opps]}]\n")
    ran = run("notify", "--config", str(tmp_path / "n.yaml"))
    assert ran.exit_code == 1
    assert len(ran.stderr.splitlines()) == 3
    assert "canary" not in ran.output
    refused(run("notify", "--config", str(tmp_path / "nothing.yaml")), "can't be read")
    assert run("notify").exit_code == 2


@pytest.mark.long
def test_the_table_cannot_be_asked(run: Run, configured: str) -> None:  # noqa: F811
    """One line for each channel, exit code 1."""
    nobody = f"http://127.0.0.1:{free_port()}"
    ran = run("notify", "--config", configured, "--endpoint-url", nobody, "--status")
    refused(ran, nobody)


@pytest.fixture
def following(environment: Environment, configured: str) -> Iterator[Callable[[], subprocess.Popen[str]]]:  # noqa: F811
    """Starts processes that follow; those that are still running at the end are stopped."""
    started: list[subprocess.Popen[str]] = []

    def start() -> subprocess.Popen[str]:
        child = subprocess.Popen(
            [sys.executable, "cli.py", "notify", "--config", configured, "--follow"],
            cwd=ROOT,
            env={**os.environ, **environment},
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            text=True,
        )
        started.append(child)
        return child

    yield start
    for one in started:
        one.kill()
        one.communicate()


def until(done: Callable[[], Any], what: str, seconds: float = 60) -> float:
    """Wait until it is done; return how long that took."""
    begun = time.monotonic()
    while not done():
        assert time.monotonic() < begun + seconds, what
        time.sleep(0.05)
    return time.monotonic() - begun


@pytest.mark.long
def test_of_two_one_tells_and_the_other_takes_over_within_15_seconds(
    following: Callable[[], subprocess.Popen[str]],
    store: DynamoStore,
    connect: Callable[..., DynamoStore],
    receiver: Receiver,
    configured: str,
    environment: Environment,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A process that follows is killed; a worker that stood by all the time tells what comes after."""
    for name in ("SLACK_TOKEN", "HOOK_SECRET"):
        monkeypatch.setenv(name, environment[name])
    second = connect()
    (standby,) = (
        worker
        for worker in workers(load(configured), lambda: (second, second.outbox), PageLinks(), HostClock())
        if worker.name == "hook"
    )
    first = following()
    until(lambda: store.outbox.progress("hook").holder, "the first follows")
    take(store, 1, lock_name="a")
    until(lambda: standby.turn() or receiver.taken, "told")
    assert not standby.turn()
    first.send_signal(signal.SIGKILL)
    first.wait()
    killed = time.monotonic()
    take(store, 2, lock_name="b")
    while not standby.turn():
        time.sleep(PAUSE)
    assert time.monotonic() - killed < 15
    assert len(receiver.ids) == len(set(receiver.ids)) == 2


@pytest.mark.long
def test_one_that_follows_ends_when_asked_and_leaves_its_leases(
    following: Callable[[], subprocess.Popen[str]], store: DynamoStore, receiver: Receiver
) -> None:
    """SIGTERM: what is under way is done, exit code 0, and the next one need not wait."""
    running = following()
    until(lambda: store.outbox.progress("hook").holder, "it follows")
    take(store, 1)
    until(lambda: receiver.taken, "told")
    running.terminate()
    _, log = running.communicate(timeout=60)
    assert (running.returncode, log) == (0, "INFO: telling 3 channels\n")
    assert [store.outbox.progress(name).holder for name in ("ops", "hook", "post")] == ["", "", ""]


def test_the_scripts_load_nothing_of_it() -> None:
    """check, in and out start without notifications, and so do the other commands."""
    program = (
        "import sys; import approval_resource.steps.main, approval_resource.steps.put, approval_resource.steps.get, cli;"
        "print([name for name in sys.modules if 'notify' in name or name in ('urllib3.connectionpool.x', 'smtplib', 'apprise')])"
    )
    ran = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True, timeout=60)
    assert ran.stdout == "[]\n"
