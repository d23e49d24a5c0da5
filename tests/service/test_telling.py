"""The service tells what waits, is decided from wherever it was told, and shows which channel it can't tell."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import timedelta
from typing import Any

import pytest

from approval_resource.model.claim import Claim
from approval_resource.model.delivery import Progress
from approval_resource.model.event import State
from approval_resource.notify import run
from approval_resource.notify.worker import FAILED_AFTER
from tests.builders import under
from tests.notify.conftest import SECRET
from tests.notify.standins import TOKEN, Receiver, Slack, served
from tests.notify.test_channels import Mailboxes, listening, port_of
from tests.service.conftest import ANA, POOLS, Running, Serve
from tests.service.test_slack import ACCOUNT, CHANNEL, TEAM, Shop

HOOK = "link:hook"
PEOPLE = {"sam": [ACCOUNT], "ana": [ANA], "robot": [HOOK]}


@pytest.fixture
def places(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Slack, Mailboxes, Receiver, dict[str, Any]]]:
    """A workspace, a mailbox and a program, and the config that tells them."""
    kept = Mailboxes()
    controller = listening(kept)
    with ExitStack() as running:
        running.callback(controller.stop)
        slack = running.enter_context(served(Slack(channel=CHANNEL)))
        receiver = running.enter_context(served(Receiver()))
        assert isinstance(slack, Slack)
        for name, secret in {"SLACK_TOKEN": TOKEN, "HOOK_SECRET": SECRET}.items():
            monkeypatch.setenv(name, secret)
        config = {
            "pools": {"payments": {"viewers": ["everyone"], "reviewers": ["team-payments", ACCOUNT]}},
            "links": {"bearer": ["hook"]},
            "slack": {"team": TEAM, "secret": "env:X"},
            "channels": {
                "ops": {"slack": CHANNEL, "token": "env:SLACK_TOKEN", "api": f"{slack.url}/api", "buttons": True},
                "post": {
                    "mail": ["ops@example.com"],
                    "from": "a@example.com",
                    "smtp": f"smtp://127.0.0.1:{port_of(controller)}",
                },
                "hook": {"webhook": f"{receiver.url}/hook", "secret": "env:HOOK_SECRET"},
            },
            "notify": [{"pools": ["payments"], "to": ["ops", "post", "hook"]}],
        }
        yield slack, kept, receiver, config


def by_slack(shop: Shop, claim: Claim, mailboxes: Mailboxes, receiver: Receiver) -> None:
    """Press the message's button."""
    assert shop.press(shop.posted(claim).values["approve"]) == 200


def by_mail(shop: Shop, claim: Claim, mailboxes: Mailboxes, receiver: Receiver) -> None:
    """Open the mail's link, sign in, decide."""
    text = mailboxes.mails[-1][1].get_body(("plain",))
    assert text is not None
    (link,) = re.findall(rf"^({re.escape(shop.running.url)}/claims/\S+)\s*$", text.get_content(), re.MULTILINE)
    browser = shop.running.browser()
    page = browser.go(link)
    page = browser.submit(page, page.form("/login"), ("user", "ana"))
    assert "It is approved" in browser.decide(page, "approve").text


def by_webhook(shop: Shop, claim: Claim, mailboxes: Mailboxes, receiver: Receiver) -> None:
    """Reply to the address that the webhook gives."""
    url = receiver.taken[-1].document["claim"]["approve_url"]
    said = json.dumps({"reviewer": {"name": "robot"}, "message": "fits the rule"}).encode()
    answer = shop.running.browser().send("POST", url, body=said, Content_Type="application/json")
    assert answer.json["status"] == "approved"


@pytest.mark.parametrize(("decide", "who"), [(by_slack, ACCOUNT), (by_mail, ANA), (by_webhook, HOOK)])
@pytest.mark.long
def test_what_is_told_everywhere_is_decided_from_anywhere(
    serve: Serve,
    places: tuple[Slack, Mailboxes, Receiver, dict[str, Any]],
    decide: Callable[[Shop, Claim, Mailboxes, Receiver], None],
    who: str,
) -> None:
    """By Slack's button, by the mail's link and a sign-in, by the webhook's reply; then every place is told who did."""
    slack, mailboxes, receiver, config = places
    shop = Shop(serve(**config), slack)
    shop.tell()
    rules = [{"user": name} for name, listed in PEOPLE.items() if who in listed]
    claim = shop.running.claim(terms=under(approval_rules=rules, people=PEOPLE), description="deploy it")
    shop.tell()
    assert len(slack.first) == len(mailboxes.mails) == len(receiver.taken) == 1
    decide(shop, claim, mailboxes, receiver)
    after = shop.stored(claim)
    assert (after.state, list(after.reviews)) == (State.APPROVED, [who])
    message = shop.posted(claim)
    assert len(slack.first) == 1, "the same message, edited"
    assert message.values == {}
    text = mailboxes.mails[-1][1].get_body(("plain",))
    assert text is not None
    for told in (message.text, text.get_content(), json.dumps(receiver.taken[-1].document)):
        assert "approved" in told
        assert who in told
    assert len(mailboxes.mails) == len(receiver.taken) == 2
    # What was told before decides nothing any more.
    old = receiver.taken[0].document["claim"]["approve_url"]
    assert shop.running.browser().send("POST", old).status in (409, 410)


def test_links_of_a_channel_without_authority_only_find_the_claim(serve: Serve, places: Any) -> None:
    """A webhook that isn't under `links.bearer` has them too, for people."""
    slack, _, receiver, config = places
    shop = Shop(serve(**config | {"links": {}}), slack)
    shop.tell()
    claim = shop.running.claim(terms=under(required_approvals=1, people=PEOPLE))
    shop.tell()
    url = receiver.taken[-1].document["claim"]["approve_url"]
    assert shop.running.browser().send("POST", url).status == 401
    browser = shop.running.browser()
    browser.sign_in("ana")
    assert 'class="approve wanted"' in browser.go(url).text
    assert shop.reviews(claim) == {}


def test_a_channel_that_is_gone_for_good_is_shown(serve: Serve, places: Any) -> None:
    """On the page of whoever sees a pool of its, in the numbers, and by the status of the command line."""
    slack, _, _, config = places
    running = serve(**config)
    telling = running.service.telling
    assert telling.config is not None
    Shop(running, slack).tell()
    now = running.service.now()
    fail(running, "hook", since=now - FAILED_AFTER - timedelta(minutes=1), error="<b>gone</b>")
    fail(running, "post", since=now - timedelta(minutes=1), error="a moment")
    states = {status.channel: status.state for status in run.statuses(telling.config, running.store, running.store.outbox)}
    assert states == {"ops": "ok", "post": "retrying", "hook": "failed"}
    browser = running.browser()
    text = browser.sign_in("vic").text
    assert "Not everybody is told of what waits" in text
    assert "channel hook: failed since" in text
    assert "&lt;b&gt;gone&lt;/b&gt;" in text
    assert "channel post" not in text
    numbers = browser.send("GET", "/metrics").text
    assert 'approval_channel_state{channel="hook",state="failed"} 1.0' in numbers
    assert 'approval_channel_state{channel="post",state="retrying"} 1.0' in numbers
    assert 'approval_channel_state{channel="ops",state="failed"} 0.0' in numbers


def test_a_channel_is_shown_to_nobody_who_sees_none_of_its_pools(serve: Serve, places: Any) -> None:
    """Nor does a record that can't be read hide what waits."""
    slack, _, _, config = places
    running = serve(**config | {"pools": {"payments": {"reviewers": ["team-payments"]}, "secret": POOLS["secret"]}})
    Shop(running, slack).tell()
    key = {"pk": {"S": "notify#hook"}, "sk": {"S": "progress"}}
    running.store._client.put_item(TableName=running.store._table, Item={**key, "channel": {"N": "1"}})
    assert "Not everybody is told" not in running.browser().sign_in("vic").text
    text = running.browser().sign_in("ana").text
    assert "channel hook: failed" in text
    assert "Waiting for you" in text


def fail(running: Running, channel: str, **fields: Any) -> None:
    """Record failures of a channel."""
    before = running.store.outbox.progress(channel)
    failed = Progress(
        channel=channel,
        revision=before.revision,
        cursors=before.cursors,
        failing_since=fields["since"],
        tries=9,
        error=fields["error"],
        retry_at=running.service.now() + timedelta(minutes=1),
    )
    assert running.store.outbox.write(failed) is not None


def test_a_running_service_tells_by_itself(serve: Serve, places: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """For as long as it runs; its leases are given back at the end."""
    monkeypatch.setattr(run, "PAUSE", 0.05)
    _, _, receiver, config = places
    running = serve(**config)
    with running.service.telling.running():
        claim = running.claim(terms=under(approval_rules=[{"user": "robot"}], people=PEOPLE))
        end = time.monotonic() + 60
        while not receiver.taken and time.monotonic() < end:
            time.sleep(0.02)
    assert receiver.taken[0].document["claim"]["id"] == claim.id
    assert [running.store.outbox.progress(name).holder for name in ("ops", "post", "hook")] == ["", "", ""]


def test_no_planted_deadline_keeps_a_link_from_being_made(running: Running) -> None:
    """A claim's record may say any time."""
    from dataclasses import replace
    from datetime import UTC, datetime

    claim = running.claim()
    ways = running.service.telling.ways
    running.service.now()
    for deadline in (datetime(1, 1, 2, tzinfo=UTC), datetime(9999, 12, 30, tzinfo=UTC), datetime(1969, 1, 1, tzinfo=UTC)):
        links = ways.decisions(replace(claim, deadline=deadline), "hook")
        assert set(links) == {"approve_url", "deny_url"}
