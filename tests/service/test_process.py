"""The process: its config, its check, start and graceful stop, its numbers and its log lines; several of it at once."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import urllib3
import yaml
from click.testing import CliRunner

from approval_resource.errors import ConfigError
from approval_resource.service.config import read_config, read_secrets
from approval_resource.service.people import Person
from approval_resource.service.sessions import COOKIE
from approval_resource.store.dynamodb.store import DynamoStore
from approval_resource.store.interface import Connection
from cli import cli
from demo.engine import REGION, ROOT, free_port
from tests.builders import take, under
from tests.notify.standins import Receiver, served
from tests.service.conftest import KEY, POOLS, Running, Serve, next_look
from tests.service.provider import CLIENT, ISSUER, SECRET, Provider

TEAM = (f"oidc-group:{ISSUER}#team-payments",)


def document(port: int, provider: Provider, connection: Connection, **changes: Any) -> dict[str, Any]:
    """A config as people write it."""
    return {
        "url": f"http://127.0.0.1:{port}",
        "listen": f"127.0.0.1:{port}",
        "table": connection.table,
        "region": REGION,
        "endpoint_url": connection.endpoint_url,
        "pools": POOLS,
        "login": {"issuer": ISSUER, "discovery": provider.url, "client_id": CLIENT, "client_secret": "env:OIDC_SECRET"},
        "session": {"keys": ["env:SESSION_KEY"]},
        "channels": {"hook": {"webhook": f"{provider.url}/hook", "secret": "env:HOOK_SECRET"}},
        "notify": [{"pools": ["payments"], "on": ["pending"], "to": ["hook"]}],
    } | changes


ENVIRONMENT = {
    "OIDC_SECRET": SECRET,
    "SESSION_KEY": KEY,
    "HOOK_SECRET": "whsec_c2VjcmV0",
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test-secret",
    "AWS_EC2_METADATA_DISABLED": "true",
}


def test_the_process_starts_serves_tells_and_stops(
    provider: Provider, connection: Connection, tmp_path: Path, hook: Receiver
) -> None:
    """It takes under 110 MB, and 2.5 s of one processor until it is ready; it tells what waits.

    A request that is being answered when it is told to end gets its answer; the exit is clean, and no secret is logged.
    """
    port = free_port()
    config = tmp_path / "service.yaml"
    told = {"hook": {"webhook": f"{hook.url}/hook", "secret": "env:HOOK_SECRET"}}
    config.write_text(yaml.safe_dump(document(port, provider, connection, channels=told)), encoding="utf-8")
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), **ENVIRONMENT}
    store = DynamoStore.connect(connection)
    store.create_table()
    claim = take(store, 1)
    log = (tmp_path / "log").open("w+b")
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "cli.py"), "serve", "--config", str(config)], env=environment, stderr=log, stdout=log
    )
    web = urllib3.PoolManager(retries=False)
    try:
        until = time.monotonic() + 60
        while True:
            try:
                if web.request("GET", f"http://127.0.0.1:{port}/healthz").status == 200:
                    break
            except urllib3.exceptions.HTTPError:
                pass
            assert process.poll() is None
            assert time.monotonic() < until
            time.sleep(0.05)
        assert web.request("GET", f"http://127.0.0.1:{port}/readyz").status == 200
        fields = Path(f"/proc/{process.pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        assert (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK") < 2.5
        while not hook.taken:
            assert time.monotonic() < until
            time.sleep(0.05)
        told_claim = hook.taken[0].document["claim"]
        assert (told_claim["id"], told_claim["approve_url"].partition("?")[0]) == (
            claim.id,
            f"http://127.0.0.1:{port}/approval/{claim.id}/approve",
        )
        statuses: list[int] = []
        status = Path(f"/proc/{process.pid}/status").read_text(encoding="utf-8")
        resident = next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1]
        assert int(resident) * 1024 < 110_000_000
        asked = threading.Thread(
            target=lambda: statuses.append(
                web.request("GET", f"http://127.0.0.1:{port}/api/v1/whoami?token=visible-token").status
            )
        )
        asked.start()
        asked.join()
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0 or process.returncode == -signal.SIGTERM
        assert statuses == [401]
        assert store.outbox.progress("hook").holder == "", "the lease was given back"
    finally:
        process.kill()
        process.wait()
    log.seek(0)
    lines = [json.loads(line) for line in log.read().decode().splitlines()]
    log.close()
    assert any(line.get("event") == "start" for line in lines)
    assert any(line.get("status") == 401 and line.get("refused") == "not-signed-in" for line in lines)
    text = json.dumps(lines)
    assert SECRET not in text
    assert KEY not in text
    assert "visible-token" not in text


@pytest.fixture
def hook() -> Iterator[Receiver]:
    """A program that gets webhooks."""
    with served(Receiver()) as started:
        yield started


@pytest.mark.long
def test_check_says_all_that_is_wrong(
    provider: Provider, connection: Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file's problems together; then secrets, issuers and the table; and nothing when all is well."""
    DynamoStore.connect(connection).create_table()
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    path = tmp_path / "service.yaml"

    def checked(**changes: Any) -> tuple[int, str]:
        path.write_text(yaml.safe_dump(document(free_port(), provider, connection, **changes)), encoding="utf-8")
        done = CliRunner().invoke(cli, ["serve", "--config", str(path), "--check"])
        return done.exit_code, done.output

    assert checked() == (0, "INFO: the config is fine; its issuers, its channels and its table answer\n")
    code, told = checked(pools={}, colour="blue", url="http://example.com", session={"keys": ["secret-in-the-file"]})
    assert code == 1
    for part in ("pools", "colour", "url", "session.keys", "env:NAME"):
        assert part in told
    assert "secret-in-the-file" not in told
    code, told = checked(
        login={"issuer": "https://other.example", "discovery": provider.url, "client_id": "x", "client_secret": "env:NONE"}
    )
    assert code == 1
    assert "env:NONE is empty or missing" in told
    assert "another issuer" in told
    code, told = checked(
        channels={
            "ops": {"slack": "C0123", "token": "env:SESSION_KEY", "buttons": True},
            "hook": {"webhook": f"http://127.0.0.1:{free_port()}/", "secret": "env:NOT_SET"},
        },
        notify=[{"pools": ["paymnets"], "to": ["ops", "hook"]}],
    )
    assert code == 1
    assert f"{path}.channels.hook.secret: the environment variable NOT_SET is not set" in told
    code, told = checked(
        channels={"ops": {"slack": "C0123", "token": "env:SESSION_KEY", "api": "http://127.0.0.1:9", "buttons": True}},
        notify=[{"pools": ["paymnets"], "to": ["ops"]}],
    )
    assert f"{path}.channels.ops.buttons: need the section slack" in told
    assert f"{path}.notify.0.pools: paymnets is none of the pools" in told
    code, told = checked(channels={"hook": {"webhook": f"http://127.0.0.1:{free_port()}/", "secret": "env:HOOK_SECRET"}})
    assert code == 1
    assert "channel hook: http://127.0.0.1" in told
    machines = [
        {"issuer": ISSUER, "discovery": provider.url, "audience": name, "device": name == "cli"} for name in ("cli", "api")
    ]
    for lacking in ("device_authorization_endpoint", "authorization_endpoint"):
        provider.lacks = lacking
        code, told = checked(machines=machines)
        assert code == 1
        assert told.count(lacking) == 1, "an issuer of several parts is asked once"
    code, told = checked(endpoint_url=f"http://127.0.0.1:{free_port()}")
    assert code == 1
    assert f"table {connection.table}" in told


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"url": "https://a.example/path"}, "must have no path"),
        ({"url": "https://user:pass@a.example"}, "must be https://"),
        ({"url": "ftp://a.example"}, "must be https://"),
        ({"session": {"keys": []}}, "session.keys"),
        ({"session": {"keys": ["env:SHORT"]}}, "at least 32 characters"),
        ({"machines": [{"issuer": ISSUER, "audience": CLIENT}]}, "the login's own"),
        ({"links": {"bearer": ["a b"]}}, "links.bearer"),
        ({"aws": {"region": "eu-west-1", "accounts": []}}, "aws.accounts"),
        ({"balancer": {"arn": "x", "issuer": "y"}}, "balancer.arn"),
        ({"proxies": ["anywhere"]}, "proxies"),
        ({"slack": {"team": "C0123", "secret": "env:SESSION_KEY"}}, "slack.team: must be a workspace's id"),
        ({"slack": {"team": "T0123", "secret": "in-the-file"}}, "slack.secret: must name a secret"),
        ({"slack": {"team": "T0123", "secret": "env:SESSION_KEY", "client_id": "x"}}, "slack: client_id and client_secret"),
        ({"slack": {"team": "T0123", "secret": "env:NONE"}}, "slack.secret: env:NONE is empty or missing"),
    ],
    ids=str,
)
def test_a_wrong_config_is_refused(
    provider: Provider, connection: Connection, tmp_path: Path, changes: dict[str, Any], told: str
) -> None:
    """With the place of what is wrong."""
    path = tmp_path / "service.yaml"
    path.write_text(yaml.safe_dump(document(8080, provider, connection) | changes), encoding="utf-8")
    with pytest.raises(ConfigError) as wrong:
        read_secrets(read_config(path), ENVIRONMENT | {"SHORT": "short"})
    assert told in str(wrong.value)


def test_secrets_stay_out_of_every_repr(running: Running) -> None:
    """What a stray log line or traceback would show."""
    text = repr(running.service.config) + repr(running.service.client) + repr(read_secrets_of())
    assert SECRET not in text
    assert KEY not in text


def read_secrets_of() -> object:
    from approval_resource.service.config import Secrets

    return Secrets(SECRET, (KEY.encode(),))


def test_numbers_for_a_monitor(serve: Serve) -> None:
    """Reviews, refusals, what waits and for how long, and holders by age; no name of a person or claim."""
    running = serve()
    claim = running.claim()
    running.claim(2)
    browser = running.browser()
    page = browser.sign_in("ana", f"/claims/{claim.id}")
    browser.decide(page, "approve", seen="0" * 64)
    browser.decide(browser.go(f"/claims/{claim.id}"), "approve")
    next_look()
    text = browser.send("GET", "/metrics").text
    assert 'approval_reviews_total{pool="payments",state="approved",verdict="approve"} 1.0' in text
    assert 'approval_refusals_total{type="changed"} 1.0' in text
    assert 'approval_pending{pool="payments"} 1.0' in text
    assert 'approval_holders{age="under an hour",pool="payments"} 2.0' in text
    assert "approval_oldest_pending_seconds" in text
    assert 'approval_request_seconds_count{route="review"} 2.0' in text
    assert claim.id not in text
    assert "ana" not in text


def test_any_number_of_processes_serve_one_table(serve: Serve) -> None:
    """A session of one is known to the other, and a form of one is taken by the other."""
    one = serve()
    two = serve()
    claim = one.claim()
    browser = one.browser()
    page = browser.sign_in("ana", f"/claims/{claim.id}")
    other = two.browser()
    other.cookies[two.url.removeprefix("http://")] = dict(browser.cookies[one.url.removeprefix("http://")])
    page.url = f"{two.url}/claims/{claim.id}"
    assert "It is approved" in other.decide(page, "approve").text


@pytest.mark.long
def test_an_unreachable_table_is_told_and_readiness_says_so(serve: Serve, connection: Connection) -> None:
    """503 with the next move; the process stays alive."""
    gone = DynamoStore.connect(replace(connection, endpoint_url=f"http://127.0.0.1:{free_port()}"))
    running = serve(store=gone)
    browser = running.browser()
    assert browser.send("GET", "/healthz").status == 200
    answer = browser.send("GET", "/readyz")
    assert answer.status == 503
    assert answer.headers["retry-after"] == "5"
    numbers = browser.send("GET", "/metrics")
    assert numbers.status == 200, "what counts the store's errors is told while there are some"
    failed = re.search(r"^approval_store_errors_total (\S+)$", numbers.text, re.MULTILINE)
    assert failed is not None
    assert float(failed[1]) >= 2


@pytest.mark.long
def test_a_thousand_open_pages_cost_the_table_no_more_than_one(serve: Serve) -> None:
    """Each of another person, polling with the tag of what it shows; counted in requests to the table."""
    running = serve()
    claim = running.claim(terms=under(required_approvals=2))
    counted: list[str] = []
    running.service.store._client.meta.events.register("before-call.dynamodb", lambda model, **_: counted.append(model.name))
    signed_in = [
        running.service.sessions.begin(
            Person(identity=f"oidc:{ISSUER}#{number}", name=f"p{number}", groups=TEAM, via="session"), "", running.service.now()
        )[0]
        for number in range(1_000)
    ]
    browser = running.browser()
    path = f"/api/v1/claims/{claim.id}"

    def polled(cookie: str, tag: str = "") -> str:
        answer = browser.send("GET", path, Cookie=f"{COOKIE}={cookie}", If_None_Match=tag)
        assert answer.status == (304 if tag else 200)
        return answer.headers["etag"]

    tag = polled(signed_in[0])
    next_look()
    counted.clear()
    polled(signed_in[0], tag)
    one_look = len(counted)
    assert one_look > 0
    next_look()
    counted.clear()
    started = time.monotonic()
    for cookie in signed_in:
        polled(cookie, tag)
    assert len(counted) <= one_look * (time.monotonic() - started + 1)
