"""A service that is killed between its write and its answer, and people who decide at the same moment in every way."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import pytest
import urllib3

from approval_resource.model.event import Kind, State
from approval_resource.service.fetch import UnreachableError, Web
from approval_resource.store.dynamodb.store import DynamoStore
from approval_resource.store.interface import Connection
from demo.engine import REGION, ROOT
from tests.bench import served
from tests.bench.meter import Meter, metered
from tests.builders import a_build, take
from tests.scripts.conftest import until
from tests.service.browser import Browser
from tests.service.conftest import Running
from tests.service.provider import Provider

FORM = "application/x-www-form-urlencoded"


@pytest.mark.long
def test_a_verdict_whose_answer_was_lost_is_on_record_once(
    connection: Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The service is killed when its transaction has landed; the form sent again, to another process, changes nothing."""
    store = DynamoStore.connect(connection, creates=True)
    claim = take(store, a_build(1), pool="payments", lock_name="deploy")
    victim: list[int] = []

    def count(meter: Meter, operation: str, asked: dict[str, Any], answer: dict[str, Any]) -> None:
        if operation == "TransactWriteItems" and victim:
            os.kill(victim.pop(), signal.SIGKILL)

    monkeypatch.setattr(Meter, "count", count)
    with metered(connection.endpoint_url) as meter:
        with served.service(replace(connection, endpoint_url=meter.url), ["payments"], tmp_path) as first:
            browser = served.person(first.url, store, "ana")
            form = browser.go(f"/claims/{claim.id}").form("/review")
            body = urlencode({**form.fields, "verdict": "approve", "comment": "fine"})
            sent = {"body": body, "Content_Type": FORM, "Origin": "null", "Sec_Fetch_Site": "same-origin"}
            victim.append(first.pid)
            with pytest.raises(urllib3.exceptions.HTTPError):
                browser.send("POST", form.action, **sent)
        assert victim == []
        with served.service(connection, ["payments"], tmp_path) as second:
            again = Browser(second.url)
            again.cookies[urlsplit(second.url).netloc] = browser.cookies[urlsplit(first.url).netloc]
            answer = again.send("POST", form.action, **sent)
            assert (answer.status, answer.headers["location"]) == (303, f"/claims/{claim.id}?done=0")
    after = store.claim(claim.id)
    assert after is not None
    assert (after.state, [one.comment for one in after.reviews.values()]) == (State.APPROVED, ["fine"])
    verdicts = [event for event in store.events("payments") if event.verdict]
    assert [event.claim_id for event in verdicts] == [claim.id]


@pytest.mark.long
def test_a_verdict_that_is_under_way_at_a_stop_is_answered(
    connection: Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process is asked to stop while the table takes its time: the reviewer still learns what became of it."""
    store = DynamoStore.connect(connection, creates=True)
    claim = take(store, a_build(1), pool="payments", lock_name="deploy")
    landed, slow = threading.Event(), threading.Event()

    def count(meter: Meter, operation: str, asked: dict[str, Any], answer: dict[str, Any]) -> None:
        if operation == "TransactWriteItems" and slow.is_set():
            landed.set()
            stopping.wait(20)

    monkeypatch.setattr(Meter, "count", count)
    stopping = threading.Event()
    with (
        metered(connection.endpoint_url) as meter,
        served.service(replace(connection, endpoint_url=meter.url), ["payments"], tmp_path) as first,
    ):
        browser = served.person(first.url, store, "ana")
        form = browser.go(f"/claims/{claim.id}").form("/review")
        body = urlencode({**form.fields, "verdict": "approve", "comment": "fine"})
        sent = {"body": body, "Content_Type": FORM, "Origin": "null", "Sec_Fetch_Site": "same-origin"}
        slow.set()
        with ThreadPoolExecutor(1) as beside:
            answer = beside.submit(browser.send, "POST", form.action, **sent)
            assert landed.wait(20)
            os.kill(first.pid, signal.SIGTERM)
            until(lambda: not served.answers(f"{first.url}/healthz"), "refuses new requests")
            assert not answer.done()
            stopping.set()
            assert answer.result(20).status == 303
    after = store.claim(claim.id)
    assert after is not None
    assert after.state is State.APPROVED


@pytest.mark.long
def test_strangers_choose_no_address_to_be_counted_by(connection: Connection, tmp_path: Path) -> None:
    """Without `proxies`, a header that names another address each time is still one caller, who is slowed."""
    DynamoStore.connect(connection, creates=True).create_table()
    with served.service(connection, ["payments"], tmp_path) as process:
        browser = Browser(process.url)
        sent = {"body": "", "Content_Type": FORM, "Sec_Fetch_Site": "same-origin"}
        answers = [browser.send("POST", "/auth/logout", X_Forwarded_For=f"10.0.0.{part}", **sent).status for part in range(90)]
    assert 429 in answers


@pytest.mark.long
def test_two_browsers_and_the_command_line_decide_at_once(running: Running) -> None:
    """One of them decides, and everybody is told what became of their own verdict."""
    claim = running.claim()
    connection = running.service.config.connection
    told: dict[str, Any] = {}

    def click(user: str, verdict: str) -> None:
        browser = running.browser()
        page = browser.sign_in(user, f"/claims/{claim.id}")
        ready.wait()
        told[user] = browser.decide(page, verdict, comment="now")

    def type_() -> None:
        command = [sys.executable, str(ROOT / "cli.py"), "approve", claim.id, "--reviewer", "carl"]
        environment = {
            "PATH": os.environ["PATH"],
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test-secret",
            "AWS_DEFAULT_REGION": REGION,
            "AWS_ENDPOINT_URL_DYNAMODB": connection.endpoint_url,
            "AWS_EC2_METADATA_DISABLED": "true",
            "APPROVAL_TABLE": connection.table,
            "LOGNAME": "carl",
        }
        ready.wait()
        told["carl"] = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

    ready = threading.Barrier(3)
    ways = [
        threading.Thread(target=click, args=("ana", "approve")),
        threading.Thread(target=click, args=("ben", "reject")),
        threading.Thread(target=type_),
    ]
    for way in ways:
        way.start()
    for way in ways:
        way.join()
    after = running.store.claim(claim.id)
    assert after is not None
    assert after.state in (State.APPROVED, State.REJECTED)
    kinds = [event.kind for event in running.store.events("payments") if event.claim_id == claim.id]
    assert len([kind for kind in kinds if kind in (Kind.APPROVED, Kind.REJECTED)]) == 1
    recorded = {
        "ana": "It is approved" in told["ana"].text,
        "ben": "It is rejected" in told["ben"].text,
        "carl": told["carl"].returncode == 0,
    }
    assert list(recorded.values()).count(True) == len(after.reviews) == 1, (recorded, after.reviews)
    assert all(told[name].status in (409, 412) for name in ("ana", "ben") if not recorded[name])


def test_no_answer_leads_the_service_elsewhere(one_provider: Provider) -> None:
    """A redirect of an issuer isn't followed, and an endless or unreadable answer is none."""
    web = Web()
    one_provider.asked.clear()
    status, _ = web.ask(f"{one_provider.url}/login", form={"redirect_uri": f"{one_provider.url}/jwks", "state": "x"})
    assert status == 303
    assert one_provider.asked == ["/login"]
    with pytest.raises(UnreachableError):
        web.document(f"{one_provider.url}/nothing")
