"""Slack: one message per claim, edited; nothing that others wrote becomes markup, a mention or a link."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from approval_resource.claims.review import review
from approval_resource.model.claim import Verdict
from approval_resource.model.event import State
from approval_resource.notify.channels.slack import SlackOutlet, escaped, quoted
from approval_resource.notify.channels.slack_requests import from_slack
from approval_resource.notify.connections import ChannelDownError, MessageRefusedError, parse_address
from approval_resource.notify.links import PageLinks
from approval_resource.notify.message import Message
from approval_resource.notify.worker import Worker
from approval_resource.store.dynamodb.store import DynamoStore
from tests.builders import FrozenTime, a_build, take, under
from tests.notify.standins import TOKEN, Slack, block_error, served

ANA, BOB = (f"aws:arn:aws:iam::111122223333:user/{name}" for name in ("ana", "bob"))


@pytest.fixture
def slack() -> Iterator[Slack]:
    """A stand-in."""
    standin = Slack()
    with served(standin):
        yield standin


def outlet(slack: Slack, token: str = TOKEN, **people: str) -> SlackOutlet:
    """The way to its channel."""
    return SlackOutlet(slack.channel, token, parse_address(f"{slack.url}/api"), people)


def a_message(**changes: object) -> Message:
    """A message of a claim that waits."""
    facts = {"id": "msg_1", "kind": "claim", "pool": "p", "title": "deploy waits", "subject": "deploy", "state": State.PENDING}
    return Message(**(facts | changes))  # type: ignore[arg-type]


def test_a_claim_has_one_message_that_goes_on_with_it(
    slack: Slack, shared: DynamoStore, time: FrozenTime, working: Callable[..., Worker]
) -> None:
    """Posted when it waits, edited at each review and at the decision, when who is asked and the plan are gone from it."""
    policy = under(
        people={"ana": [ANA], "bob": [BOB]},
        approval_rules=[{"name": "two", "group": "ops", "required_approvals": 2}],
        groups={"ops": ["ana", "bob"]},
    )
    worker = working(outlet(slack, ana="UANA", bob="UBOB", dana="UDANA"), links=PageLinks("https://approvals.example"))
    worker.turn()
    claim = take(
        shared,
        a_build(1, created_by="dana"),
        terms=policy,
        description="deploy <!channel> *now*",
        expires_after=timedelta(hours=2),
    )
    worker.turn()
    (message,) = slack.first
    assert "<!channel>" not in message.text
    assert "Sat 21 Nov 2026, 14:00 UTC" in message.text
    assert "dana" in message.text
    assert "https://ci.example/builds/1" in message.text
    assert "<@UANA> <@UBOB>" in message.text
    assert message.buttons == [f"https://approvals.example/claims/{claim.id}"]
    review(shared, claim.id, reviewer=ANA, verdict=Verdict.APPROVE, comment="fine by me")
    worker.turn()
    assert "fine by me" in message.text
    assert "<@UANA>" not in message.text, "only those are mentioned whom it still takes"
    assert "<@UBOB>" in message.text
    review(shared, claim.id, reviewer=BOB, verdict=Verdict.REJECT, comment="not on a Saturday")
    worker.turn()
    assert (len(slack.first), message.edits) == (1, 2)
    assert "was rejected" in message.text
    assert "not on a Saturday" in message.text
    assert "user/bob" in message.text
    assert "<@" not in message.text
    (reply,) = slack.replies
    assert (reply.thread, "<@UDANA>" in reply.text) == (message.ts, True)


def test_no_lock_s_name_becomes_a_link_in_an_answer(slack: Slack) -> None:
    """What the requester is told is verbatim too, as Slack makes links of addresses in a text alone."""
    way = outlet(slack, dana="UDANA")
    ref = way.send(a_message(), "", 0)
    title = f"https://evil.example/{'&' * 3000} was approved"
    way.send(replace(a_message(), title=title, outcome=True, requester="dana", state=State.APPROVED), ref, 0)
    (reply,) = slack.replies
    (block,) = reply.content["blocks"]
    assert block["text"]["verbatim"] is True
    assert block["text"]["text"].startswith("<@UDANA> https://evil.example/")


@pytest.mark.parametrize("name", ["plan", "&" * 160, "`<>&" * 40])
def test_no_section_is_longer_than_slack_takes(slack: Slack, name: str) -> None:
    """Whatever an attachment is called, and however much of it grows when it is escaped."""
    outlet(slack).send(replace(a_message(), excerpt_name=name, excerpt="<&>`" * 2000), "", 0)
    (message,) = slack.messages.values()
    texts = [block["text"]["text"] for block in message.content["blocks"] if block["type"] == "section"]
    assert max(map(len, texts)) <= 3000


@pytest.mark.parametrize("error", ["thread_not_found", "message_not_found", "cant_update_message", "edit_window_closed"])
def test_a_message_that_goes_meanwhile_is_no_fault_of_the_program(slack: Slack, error: str) -> None:
    """Deleted between its edit and the answer below it: the next try goes on."""
    way = outlet(slack, dana="UDANA")
    ref = way.send(a_message(), "", 0)
    answer = slack.answer
    slack.answer = lambda request: (
        (200, {}, json.dumps({"ok": False, "error": error}).encode()) if "thread_ts" in request.document else answer(request)
    )
    with pytest.raises(ChannelDownError, match=error):
        way.send(a_message(outcome=True, requester="dana", state=State.APPROVED), ref, 0)


def test_a_reminder_answers_in_the_thread(
    slack: Slack, shared: DynamoStore, time: FrozenTime, working: Callable[..., Worker]
) -> None:
    """The channel has one message; who is still asked is mentioned again below it."""
    worker = working(outlet(slack))
    worker.turn()
    take(shared, 1, expires_after=timedelta(hours=2))
    worker.turn()
    time.tick(hours=1)
    worker.turn()
    assert len(slack.first) == 1
    assert [reply.thread for reply in slack.replies] == [slack.first[0].ts]
    assert "1 h left" in slack.replies[0].text


def test_a_message_that_somebody_deleted_is_sent_anew(
    slack: Slack, shared: DynamoStore, time: FrozenTime, working: Callable[..., Worker]
) -> None:
    """What became of the claim is told all the same, and later edits go there."""
    worker = working(outlet(slack))
    worker.turn()
    claim = take(shared, 1)
    worker.turn()
    slack.messages.clear()
    review(shared, claim.id, reviewer=ANA, verdict=Verdict.APPROVE)
    worker.turn()
    (message,) = slack.first
    assert "was approved" in message.text
    assert shared.outbox.delivery("hook", claim.id).ref == message.ts


def test_a_rate_limit_is_kept_to(slack: Slack, shared: DynamoStore, time: FrozenTime, working: Callable[..., Worker]) -> None:
    """Slack says 429 with Retry-After: nothing is sent before."""
    worker = working(outlet(slack))
    worker.turn()
    take(shared, 1)
    slack.throttle = ["120"]
    for _ in range(12):
        worker.turn()
        time.tick(seconds=10)
    assert (len(slack.requests), slack.messages) == (1, {})
    worker.turn()
    assert len(slack.first) == 1


@pytest.mark.parametrize(
    ("token", "channel", "error"), [("xoxb-no", "C0123", "invalid_auth"), (TOKEN, "C9", "channel_not_found")]
)
def test_what_slack_refuses_is_told_by_its_own_word(slack: Slack, token: str, channel: str, error: str) -> None:
    """Without the token."""
    way = SlackOutlet(channel, token, parse_address(f"{slack.url}/api"), {})
    with pytest.raises(ChannelDownError, match=error) as told:
        way.send(a_message(), "", 0)
    assert token not in str(told.value)


def test_check_asks_slack_who_it_is_and_posts_nothing(slack: Slack) -> None:
    """A wrong token is found."""
    outlet(slack).check()
    with pytest.raises(ChannelDownError, match="invalid_auth"):
        outlet(slack, token="xoxb-no").check()
    assert slack.messages == {}


def test_a_message_as_long_as_can_be_fits(slack: Slack) -> None:
    """Slack's limits hold whatever others wrote."""
    long = "<&>*`" * 120
    facts = [("What", long)] * 30
    outlet(slack).send(
        a_message(title="<&>`" * 80, facts=facts, excerpt="\n".join(["<&>`" * 40] * 40), excerpt_name="x"), "", 0
    )
    assert len(slack.first) == 1


def test_a_refusal_of_one_message_is_told_apart() -> None:
    """Slack's errors about a message's form let the others go on."""
    standin = Slack()
    standin.answer = lambda request: (200, {}, b'{"ok":false,"error":"msg_too_long"}')
    with served(standin), pytest.raises(MessageRefusedError):
        outlet(standin).send(a_message(), "", 0)


@given(st.text(alphabet="<>&*_~`@!#|\n ab", max_size=60))
def test_no_text_is_markup(text: str) -> None:
    """Nothing begins a mention or a link, and no block of code is ended from inside."""
    assert "<" not in escaped(text)
    assert ">" not in escaped(text)
    assert quoted(text, 50).count("```") == 2
    assert not block_error([{"type": "section", "text": {"type": "mrkdwn", "text": quoted(text, 50)}}])


# ---- Slack's own requests -----------------------------------------------------------------------

VECTOR = (
    "8f742231b10e8888abcd99yyyzzz85a5",
    "1531420618",
    "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503",
    b"token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V&channel_name=foobar"
    b"&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text=&response_url=https%3A%2F%2Fhooks.slack.com"
    b"%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c",
)
"""Slack's documented example of a signed request."""
THEN = datetime.fromtimestamp(1531420618, UTC)


def test_slacks_documented_example_verifies() -> None:
    """Secret, timestamp, signature and body as its documentation gives them."""
    assert from_slack(*VECTOR, now=THEN)


@pytest.mark.parametrize("seconds", [-301, 301, 86400])
def test_a_request_that_is_not_fresh_is_refused(seconds: int) -> None:
    """Five minutes in both directions."""
    assert from_slack(*VECTOR, now=THEN + timedelta(seconds=299))
    assert not from_slack(*VECTOR, now=THEN + timedelta(seconds=seconds))


@pytest.mark.parametrize("place", range(4))
def test_a_request_with_anything_else_is_refused(place: int) -> None:
    """Another secret, timestamp, signature or body, by one character, or none at all."""
    for change in (lambda part: part[:-1] + (b"x" if isinstance(part, bytes) else "x"), lambda part: part[:0]):
        parts: list[object] = list(VECTOR)
        parts[place] = change(parts[place])  # type: ignore[no-untyped-call]
        assert not from_slack(*parts, THEN)  # type: ignore[call-arg, arg-type]


@given(st.text(max_size=20), st.text(max_size=80), st.binary(max_size=40))
def test_no_made_up_request_is_slacks(timestamp: str, signature: str, body: bytes) -> None:
    """Whatever stands in the headers, the answer is no, and no error."""
    assert not from_slack(VECTOR[0], timestamp, signature, body, THEN)
    assert not from_slack(VECTOR[0], VECTOR[1], signature, body, THEN)


def test_what_is_sent_again_has_the_same_id(slack: Slack) -> None:
    """Slack keeps it as the message's metadata."""
    for _ in range(2):
        outlet(slack).send(a_message(), "", 0)
    assert [one.content["metadata"]["event_payload"] for one in slack.first] == [{"id": "msg_1"}] * 2


def test_what_is_sent_is_json_as_slack_wants_it(slack: Slack) -> None:
    """Bytes in UTF-8, whatever the text."""
    outlet(slack).send(a_message(facts=[("What", "größer als 🚀")]), "", 0)
    assert "🚀" in json.dumps(slack.requests[-1].document, ensure_ascii=False)
