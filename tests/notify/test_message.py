"""What people are told is complete, bounded, clean, and holds nothing that its readers should not see."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from time import process_time as time_of_process
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from approval_resource.claims.review import review
from approval_resource.model.claim import Attachment, Claim, Verdict
from approval_resource.model.event import State
from approval_resource.notify import message as messages
from approval_resource.notify.channels.slack import SlackOutlet
from approval_resource.notify.channels.teams import MAX_BYTES, _card
from approval_resource.notify.connections import parse_address
from approval_resource.notify.links import PageLinks
from approval_resource.notify.message import MAX_LINE, MAX_TEXT, Message, doubtful, due_reminder, excerpt, link, said
from approval_resource.notify.worker import Worker
from approval_resource.store.dynamodb.store import DynamoStore
from tests.builders import NOON, FrozenTime, a_build, a_claim, take, under
from tests.notify.standins import Request, block_error, teams
from tests.notify.test_worker import Recorder

ANA = "aws:arn:aws:sts::111122223333:assumed-role/Reviewers/ana@example.com"
HOSTILE = st.text(alphabet=st.characters(), max_size=400)
Working = Callable[..., Worker]


def fact(message: Message, label: str) -> str:
    """What it says under that label."""
    return "; ".join(text for name, text in message.facts if name == label)


def told(worker: Worker, outlet: Recorder) -> Message:
    """The message that the next turn brings."""
    before = len(outlet.told)
    worker.turn()
    (message,) = outlet.told[before:]
    return message


def test_a_message_says_all_that_a_decision_needs(shared: DynamoStore, time: FrozenTime, working: Working) -> None:
    """What, who asked with a link, pool and lock, what is missing, until when, who can open it, and the plan."""
    outlet = Recorder()
    worker = working(outlet, zone=ZoneInfo("Europe/Berlin"), excerpt=2, links=PageLinks("https://approvals.example"))
    worker.turn()
    plan = b"+ 1 instance\n\tsize = 3\nmore\nand more\n"
    claim = take(
        shared,
        a_build(7, created_by="dana"),
        description="deploy payments",
        terms=under(people={"ana": [ANA]}, approval_rules=[{"name": "owner", "user": "ana", "required_approvals": 1}]),
        expires_after=timedelta(hours=2),
        **attached(("notes.txt", b"read me"), ("plan.txt", plan)),
    )
    message = told(worker, outlet)
    assert message.title == "deploy in payments waits for approval"
    assert fact(message, "What") == "deploy payments"
    assert fact(message, "Asked by") == "dana, main/app/deploy #7 (https://ci.example/builds/7)"
    assert "owner" in fact(message, "Waits for")
    assert fact(message, "Until") == "Sat 21 Nov 2026, 15:00 CET"
    assert fact(message, "Can be opened by") == "ana"
    assert (message.excerpt_name, message.excerpt) == ("plan.txt", "+ 1 instance\n    size = 3\n… and 2 more lines")
    assert message.link == f"https://approvals.example/claims/{claim.id}"
    review(shared, claim.id, reviewer=ANA, verdict=Verdict.APPROVE, comment="ask ana@example.com")
    message = told(worker, outlet)
    assert message.title == "deploy in payments was approved"
    assert "ana@…" in fact(message, "Approved")
    assert "Sat 21 Nov 2026, 13:00 CET" in fact(message, "Approved")
    assert "example.com" not in json.dumps(message.document) + str(message.facts)
    assert (fact(message, "Until"), message.excerpt, message.asked) == ("", "", [])


def attached(*files: tuple[str, bytes]) -> dict[str, Any]:
    """The options of a request with those files."""
    sizes = {name: Attachment(hashlib.sha256(content).hexdigest(), len(content), stored=True) for name, content in files}
    return {"attachments": sizes, "attached": dict(files)}


def test_a_claim_by_anybody_says_so(shared: DynamoStore, time: FrozenTime, working: Working) -> None:
    """Where no policy applies, nobody in particular is asked."""
    outlet = Recorder()
    worker = working(outlet)
    worker.turn()
    take(shared, 1)
    message = told(worker, outlet)
    assert fact(message, "Waits for") == "one approval, by anyone who may review"
    assert message.asked == []
    assert message.link == "https://ci.example/builds/1", "without a page, the build's"


@given(HOSTILE)
def test_no_text_hides_or_overflows(text: str) -> None:
    """One line, no control or bidi characters, cut, and no host of a mail address."""
    shown = said(text)
    assert len(shown) <= MAX_TEXT
    assert len(shown.splitlines()) <= 1
    assert said(shown) == shown or shown.endswith("…")


@pytest.mark.parametrize("text", ["x" * 10**6, "a@b " * 10**5, "@" * 10**6])
def test_a_text_of_any_length_is_cut_at_once(text: str) -> None:
    """However long a table's writer makes it."""
    begun = time_of_process()
    assert len(said(text)) <= MAX_TEXT
    assert time_of_process() - begun < 1


@given(st.text(max_size=2000), st.integers(1, 40))
def test_an_excerpt_is_bounded(text: str, lines: int) -> None:
    """In lines and in their length; what would hide something is shown escaped."""
    shown = excerpt(text, lines).split("\n")
    assert len(shown) <= lines + 1
    assert all(len(line) <= MAX_LINE for line in shown)
    assert not {"\u202e", "\u200b", "\x1b", "\r"} & set("".join(shown))


def test_what_a_plan_would_hide_is_shown() -> None:
    """Bidi controls and terminal escapes are text."""
    assert excerpt("rm \u202ecod.yalp\x1b[2K", 1) == "rm \\u202ecod.yalp\\u001b[2K"


@pytest.mark.parametrize(
    ("url", "fine"),
    [
        ("https://ci.example/builds/1", True),
        ("http://10.0.0.1:8080", True),
        ("https://[::1]/x?y=z#w", True),
        *((url, False) for url in ("", "javascript:alert(1)", "https://", "//x", "https://x y", "https://x/\n", "https://x/é")),
        ("https://user:pw@evil.example/", False),
        (f"https://x/{'a' * 2000}", False),
    ],
)
def test_only_an_address_of_the_web_is_a_link(url: str, fine: bool) -> None:
    """Whatever a claim says its build's page is: a channel would refuse all of the message, or run it."""
    assert bool(link(url)) is fine


@given(st.lists(st.tuples(HOSTILE, HOSTILE), max_size=12), HOSTILE, st.text(max_size=3000), HOSTILE)
@settings(max_examples=50, deadline=None)
def test_no_text_makes_a_message_that_a_channel_refuses(facts: list[tuple[str, str]], title: str, plan: str, url: str) -> None:
    """Slack's and Teams' limits and forms hold for whatever claims hold."""
    shown = [(said(label), said(text)) for label, text in facts]
    message = Message(
        id="msg_1",
        kind="claim",
        pool="p",
        title=f"{said(title)} waits",
        subject=said(title),
        link=link(url),
        facts=[(label, text) for label, text in shown if text],
        excerpt_name="plan",
        excerpt=excerpt(plan, 40),
        state=State.PENDING,
    )
    slack = SlackOutlet("C1", "token", parse_address("https://slack.com/api"), {})
    content = slack._content(message)
    assert block_error(content["blocks"]) == ""
    assert len(content["text"]) <= 4000
    card = json.dumps(_card(message)).encode()
    if len(card) <= MAX_BYTES:
        assert teams(Request("/", {}, card))[0] == 202


def test_an_attachment_that_is_no_text_is_not_shown(shared: DynamoStore, time: FrozenTime, working: Working) -> None:
    """The next that is text is; none: no excerpt."""
    outlet = Recorder()
    worker = working(outlet)
    worker.turn()
    take(shared, 1, lock_name="a", **attached(("plan.bin", b"\xff\0"), ("z.txt", b"text")))
    assert told(worker, outlet).excerpt_name == "z.txt"
    take(shared, 2, lock_name="b", **attached(("plan.bin", b"\0\0")))
    assert told(worker, outlet).excerpt == ""


def test_links_that_decide_reach_programs_while_a_claim_waits(shared: DynamoStore, time: FrozenTime, working: Working) -> None:
    """Whoever gives such links has them sent to the channel that they are for, and only there and then."""

    class Deciding(PageLinks):
        def decisions(self, claim: Claim, channel: str) -> dict[str, str]:
            return {
                "approve_url": f"https://x/{claim.id}/{channel}/approve",
                "deny_url": f"https://x/{claim.id}/{channel}/deny",
            }

    outlet = Recorder()
    worker = working(outlet, links=Deciding("https://x"))
    worker.turn()
    claim = take(shared, 1)
    document: Any = told(worker, outlet).document
    assert document["claim"]["approve_url"] == f"https://x/{claim.id}/hook/approve"
    assert document["claim"]["deny_url"] == f"https://x/{claim.id}/hook/deny"
    review(shared, claim.id, reviewer=ANA, verdict=Verdict.APPROVE)
    document = told(worker, outlet).document
    assert "approve_url" not in document["claim"]


@pytest.mark.parametrize(
    ("minutes", "reminded", "due"),
    [
        (0, None, None),
        (49, None, None),
        (50, None, 50),
        (89, 50, None),
        (90, 50, 90),
        (95, None, 90),
        (95, 90, None),
        (100, 50, None),
    ],
)
def test_reminders_are_due_by_the_time_left(minutes: int, reminded: int | None, due: int | None) -> None:
    """At half and nine tenths, never after the end."""
    claim = a_claim(deadline=NOON + timedelta(minutes=100))
    before = None if reminded is None else NOON + timedelta(minutes=reminded)
    found = due_reminder(claim, before, NOON + timedelta(minutes=minutes))
    assert found == (None if due is None else NOON + timedelta(minutes=due))


def test_a_deadline_that_moved_has_reminders_of_its_own() -> None:
    """What was sent for the earlier one doesn't count for the later."""
    claim = a_claim(deadline=NOON + timedelta(minutes=200))
    assert due_reminder(claim, NOON + timedelta(minutes=90), NOON + timedelta(minutes=101)) == NOON + timedelta(minutes=100)


def test_a_digest_is_bounded() -> None:
    """However many claims wait."""
    claims = [a_claim(id=f"{number:036d}", description="x" * 2000) for number in range(100)]
    reading = messages.Reading("ops", ZoneInfo("UTC"), 0, PageLinks())
    message = messages.digest_of(claims, "2026-11-23", reading, NOON)
    assert message.title == "100 claims wait for approval"
    assert len(message.facts) == messages.MAX_LISTED + 1
    assert message.facts[-1] == ("", "and 70 more")


@pytest.mark.parametrize("digest", ["x\r\nBcc: e@evil.example", "=?utf-8?q?=0a?=", "", "é", "a" * 64])
def test_a_message_s_id_is_made_of_nothing_that_was_planted(shared: DynamoStore, digest: str) -> None:
    """It becomes a header: whatever digest an event holds, the id is hexadecimal; a genuine one begins with its digest."""
    claim = take(shared, 1)
    (event,) = shared.events("payments")
    assert doubtful(claim, event, "odd").id == f"msg_{event.digest[:32]}"
    assert re.fullmatch("msg_[0-9a-f]{32}", doubtful(claim, replace(event, digest=digest), "odd").id)


@pytest.mark.parametrize("zone", ["America/New_York", "Asia/Tokyo", "UTC"])
@pytest.mark.parametrize("at", [datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, 23, 59, tzinfo=UTC)])
def test_every_instant_can_be_told(zone: str, at: datetime) -> None:
    """In UTC where the zone's clock would show none."""
    assert f"{at:%d %b}" in messages.local(at, ZoneInfo(zone)) or zone != "UTC"
