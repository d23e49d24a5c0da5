"""Slack's buttons: who may decide by them, on what they were shown, and what anybody else can do, which is nothing."""

from __future__ import annotations

import hashlib
import hmac
import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from approval_resource import pools
from approval_resource.claims.end import end_claim
from approval_resource.clock import HostClock
from approval_resource.errors import StoreUnavailableError
from approval_resource.model.claim import Claim, Review, Verdict
from approval_resource.model.event import State
from approval_resource.notify import message as messages
from approval_resource.notify import run
from approval_resource.policy.language.load import load_text, stored
from approval_resource.service import slack as buttons
from approval_resource.service.slack_accounts import ISSUER as SLACK_ISSUER
from approval_resource.service.slack_pages import TEAM_CLAIM, USER_CLAIM
from tests.builders import under
from tests.notify.standins import TOKEN, Posted, Slack, served
from tests.service.browser import Answer, Browser
from tests.service.conftest import ANA, BEN, POOLS, SLACK_SECRET, Running, Serve, next_look
from tests.service.provider import CLIENT, Provider, provided

TEAM, CHANNEL = "T0123", "C0123"
USER, STRANGER = "U0ANA", "U0EVIL"
ACCOUNT = f"slack:{TEAM}#{USER}"
ACCESS = {**POOLS, "payments": {**POOLS["payments"], "reviewers": ["team-payments", ACCOUNT]}}
NAMED = under(approval_rules=[{"user": "ana"}], people={"ana": [ACCOUNT]})
FORM = "application/x-www-form-urlencoded"


@dataclass
class Shop:
    """A service whose channel has buttons, and the workspace."""

    running: Running
    slack: Slack

    def tell(self) -> None:
        """Tell the channel what is new."""
        assert run.once(self.running.service.telling.workers(), HostClock()) == []

    def posted(self, claim: Claim) -> Posted:
        """The channel's message about that claim, as it is now."""
        self.tell()
        (found,) = [one for one in self.slack.first if claim.id[:8] in one.text]
        return found

    def stored(self, claim: Claim) -> Claim:
        """The claim as it is stored."""
        found = self.running.store.claim(claim.id)
        assert found is not None
        return found

    def reviews(self, claim: Claim) -> dict[str, Review]:
        """Reviews of the claim, by reviewer."""
        return dict(self.stored(claim).reviews)

    @property
    def whisper(self) -> str:
        """Newest message to a presser."""
        return self.slack.whispers[-1][1]

    def press(self, value: str, action: str = "approve", **changes: Any) -> int:
        """The answer's status to a press, as Slack sends it; `changes` are to the payload, by path."""
        return self.send(payload(value, action, **changes)).status

    def send(self, document: Any, secret: str = SLACK_SECRET, seconds: int = 0, **more: str) -> Answer:
        """The answer to that payload, signed so many seconds ahead of now."""
        body = urlencode({"payload": document if isinstance(document, str) else json.dumps(document)})
        return self.post(body, str(int(time.time()) + seconds), secret, **more)

    def post(self, body: str, at: str, secret: str = SLACK_SECRET, sent: str | None = None, **more: str) -> Answer:
        """The answer to that body, or to `sent` with the signature of that body."""
        mac = hmac.new(secret.encode(), f"v0:{at}:{body}".encode(), hashlib.sha256).hexdigest()
        headers = {"X_Slack_Request_Timestamp": at, "X_Slack_Signature": f"v0={mac}", "Content_Type": FORM, **more}
        return self.running.browser().send("POST", "/slack/interactions", body=body if sent is None else sent, **headers)


def payload(value: str, action: str = "approve", **changes: Any) -> dict[str, Any]:
    """Payload that Slack sends when a button is pressed."""
    document: dict[str, Any] = {
        "type": "block_actions",
        "team": {"id": TEAM, "domain": "example"},
        "user": {"id": USER, "username": "ana", "name": "ana", "team_id": TEAM},
        "api_app_id": "A0123",
        "container": {"type": "message", "message_ts": "1700000000.000001", "channel_id": CHANNEL},
        "trigger_id": "12345.98765.abcd",
        "channel": {"id": CHANNEL, "name": "ops"},
        "message": {"ts": "1700000000.000001", "blocks": []},
        "response_url": "https://hooks.slack.com/actions/T0123/1/abc",
        "actions": [{"action_id": action, "block_id": "x", "value": value, "type": "button", "action_ts": "1700000001.1"}],
    }
    for path, changed in changes.items():
        *above, last = path.split("__")
        inner = document
        for step in above:
            inner = inner[step]
        inner[last] = changed
    return document


@pytest.fixture(scope="module")
def one_slack() -> Iterator[Slack]:
    """One workspace for all tests here."""
    with served(Slack(channel=CHANNEL)) as started:
        assert isinstance(started, Slack)
        yield started


@pytest.fixture
def slack(one_slack: Slack) -> Slack:
    """The workspace, empty."""
    one_slack.messages.clear()
    one_slack.whispers.clear()
    return one_slack


@pytest.fixture(scope="module")
def sign_in_with_slack() -> Iterator[Provider]:
    """Slack's own provider, whose people are its members."""
    people = {USER: {TEAM_CLAIM: TEAM, USER_CLAIM: USER}, "foreign": {TEAM_CLAIM: "T0999", USER_CLAIM: "U0999"}}
    with provided(Provider(issuer=SLACK_ISSUER, people=people)) as provider:
        yield provider


@pytest.fixture
def opened(serve: Serve, slack: Slack, sign_in_with_slack: Provider, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Shop]:
    """Opens shops."""
    monkeypatch.setenv("SLACK_TOKEN", TOKEN)

    def shop(**changes: Any) -> Shop:
        app = {"team": TEAM, "secret": "env:X", "client_id": CLIENT, "client_secret": "env:X", "linked_days": 7}
        given: dict[str, Any] = {
            "pools": ACCESS,
            "slack": app | {"discovery": sign_in_with_slack.url},
            "channels": {"ops": {"slack": CHANNEL, "token": "env:SLACK_TOKEN", "api": f"{slack.url}/api", "buttons": True}},
            "notify": [{"pools": ["payments"], "to": ["ops"]}],
        }
        running = serve(**(given | changes))
        made = Shop(running, slack)
        made.tell()
        return made

    return shop


# ---- whose press counts -------------------------------------------------------------------------


@pytest.mark.parametrize(("action", "state"), [("approve", State.APPROVED), ("reject", State.REJECTED)])
def test_a_member_whom_the_policy_names_decides_by_a_button(opened: Callable[..., Shop], action: str, state: State) -> None:
    """The record tells who and by what; the message shows it, and its buttons are gone."""
    shop = opened()
    claim = shop.running.claim(terms=NAMED)
    values = shop.posted(claim).values
    assert set(values) == {"approve", "reject"}
    assert shop.press(values[action], action) == 200
    after = shop.stored(claim)
    assert after.state is state
    assert after.reviews[ACCOUNT].comment == f"by a button in Slack, as {ACCOUNT}"
    assert shop.slack.whispers[-1][0] == USER
    message = shop.posted(claim)
    assert message.values == {}
    assert f"by {ACCOUNT}" in message.text
    assert len(shop.slack.first) == 1


def test_a_press_counts_nowhere_where_nobody_named_the_member(opened: Callable[..., Shop]) -> None:
    """Not where anybody may approve, nor for a stranger, nor by being in the channel."""
    shop = opened(pools={"payments": {"reviewers": ["everyone"]}})
    for number, terms in enumerate((None, under(required_approvals=1), under(approval_rules=[{"user": ANA}]))):
        claim = shop.running.claim(number, **({"terms": terms} if terms else {}))
        for action, value in shop.posted(claim).values.items():
            assert shop.press(value, action) == 200
            assert "only where a policy does" in shop.whisper
        assert shop.reviews(claim) == {}
    claim = shop.running.claim(9, terms=NAMED)
    assert shop.press(shop.posted(claim).values["approve"], user__id=STRANGER) == 200
    assert shop.reviews(claim) == {}


def test_the_config_has_to_let_the_member_review_too(opened: Callable[..., Shop]) -> None:
    """As for everybody else: a pool that somebody may not see is not there for them."""
    shop = opened(pools=POOLS | {"payments": {"reviewers": ["team-payments"]}})
    claim = shop.running.claim(terms=NAMED)
    assert shop.press(shop.posted(claim).values["approve"]) == 200
    assert "no claim" in shop.whisper
    assert shop.reviews(claim) == {}


# ---- forged, foreign, old, again ----------------------------------------------------------------


def test_nothing_is_parsed_that_slack_did_not_sign(opened: Callable[..., Shop]) -> None:
    """Slack's documented example holds in its minute; altered, or at any other time, it doesn't."""
    shop = opened()
    body = (
        "token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V&channel_name=foobar"
        "&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text=&response_url=https%3A%2F%2Fhooks.slack.com"
        "%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN&trigger_id=398738663015.47445629121."
        "803a0bc887a14d10d2c447fce8b6703c"
    )
    headers = {
        "X_Slack_Request_Timestamp": "1531420618",
        "X_Slack_Signature": "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503",
        "Content_Type": FORM,
    }

    def answered(at: int, text: str = body) -> int:
        shop.running.service.store.now = lambda: datetime.fromtimestamp(at, UTC)  # type: ignore[method-assign]
        return shop.running.browser().send("POST", "/slack/interactions", body=text, **headers).status

    assert answered(1531420618 + 300) == answered(1531420618 - 300) == 400, "it is Slack's, and tells of no button"
    assert answered(1531420618 + 301) == answered(1531420618 - 301) == 401
    assert answered(1531420618, body + "&x=1") == answered(1531420618, "") == 401


def test_a_request_that_is_not_slacks_is_refused(opened: Callable[..., Shop]) -> None:
    """Replayed later, altered, signed by another, or without a signature."""
    shop = opened()
    claim = shop.running.claim(terms=NAMED)
    value = shop.posted(claim).values["approve"]
    good = urlencode({"payload": json.dumps(payload(value))})
    now = str(int(time.time()))
    assert shop.send(payload(value), seconds=-302).status == 401
    assert shop.send(payload(value), seconds=302).status == 401
    assert shop.send(payload(value), secret="another").status == 401
    assert shop.send(payload(value), secret="").status == 401
    assert shop.post(urlencode({"payload": json.dumps(payload(value, user__id=STRANGER))}), now, sent=good).status == 401
    assert shop.post(good, now, sent=good.replace(USER, STRANGER)).status == 401
    assert shop.post(good, now, sent=f"{good}&x=1").status == 401
    assert shop.post(good, now, X_Slack_Signature="").status == 401
    assert shop.post(good, now, X_Slack_Request_Timestamp=str(int(now) + 1)).status == 401
    assert shop.post(good, "x" * 3).status == 401
    assert shop.post(good, now, Cookie="__Host-session=x").status == 403, "it is no browser's request"
    assert shop.reviews(claim) == {}
    assert shop.slack.whispers == []


@pytest.mark.parametrize(
    "changes",
    [
        {"team__id": "T0999"},
        {"team": None},
        {"user__team_id": "T0999"},
        {"user": {"id": USER}},
        {"team__id": "T0999", "user__team_id": "T0999"},
        {"channel__id": "C0999"},
        {"channel": None},
    ],
    ids=str,
)
@pytest.mark.long
def test_a_button_that_was_pressed_elsewhere_is_refused(opened: Callable[..., Shop], changes: dict[str, Any]) -> None:
    """In another workspace, by a member of another, or in another channel."""
    shop = opened()
    claim = shop.running.claim(terms=NAMED)
    assert shop.press(shop.posted(claim).values["approve"], **changes) == 403
    assert shop.reviews(claim) == {}


def test_a_button_is_for_one_claim_as_it_was_shown_and_one_verdict(opened: Callable[..., Shop]) -> None:
    """No part of one value fits another's; a value of another key or service is none."""
    shop = opened()
    one, two = (shop.running.claim(number, terms=NAMED) for number in (1, 2))
    values = shop.posted(one).values
    id_, seen, word = values["approve"].split(".")
    other_id, other_seen, other_word = shop.posted(two).values["approve"].split(".")
    forged = [
        f"{other_id}.{seen}.{word}",
        f"{id_}.{other_seen}.{word}",
        f"{id_}.{seen}.{other_word}",
        f"{other_id}.{other_seen}.{word}",
        f"{id_}.{seen}.{word[:-1]}",
        f"{id_}..{word}",
        f"{id_}.{seen}",
        values["reject"],
        id_,
        "",
    ]
    assert [shop.press(value) for value in forged] == [403] * len(forged)
    assert shop.press(values["approve"], "reject") == 403
    link = shop.running.service.links.address(one, Verdict.APPROVE, "ops", shop.running.service.now())
    assert shop.press(parse_qs(urlsplit(link).query)["token"][0]) == 403
    assert shop.reviews(one) == shop.reviews(two) == {}


def test_a_stale_button_records_nothing_and_says_so(opened: Callable[..., Shop]) -> None:
    """After another review, another policy of the pool, or the decision: what was shown is no longer so."""
    shop = opened()
    terms = under(required_approvals=2, people={"ana": [ACCOUNT], "ben": [BEN], "anna": [ANA]})
    claim = shop.running.claim(terms=terms)
    old = shop.posted(claim).values["approve"]
    browser = shop.running.browser()
    browser.decide(browser.sign_in("ben", f"/claims/{claim.id}"), "approve")
    assert shop.press(old) == 200
    assert "Nothing was recorded" in shop.whisper
    assert list(shop.reviews(claim)) == [BEN]
    fresh = shop.posted(claim).values["approve"]
    assert fresh != old
    pools.set_policy(shop.running.store, "payments", stored(load_text("required_approvals: 2", "p")), actor="aws:olga")
    assert shop.press(fresh) == 200
    assert "Nothing was recorded" in shop.whisper
    assert list(shop.reviews(claim)) == [BEN]


@pytest.mark.parametrize(
    "fault", [StoreUnavailableError("the answer was lost"), ValueError("a fault")], ids=["outage", "fault"]
)
def test_a_presser_is_not_told_that_nothing_was_recorded_where_it_may_have_been(
    opened: Callable[..., Shop], monkeypatch: pytest.MonkeyPatch, fault: Exception
) -> None:
    """The verdict landed, and what came after it failed: the answer says that it isn't known, and where to look."""
    shop = opened()
    claim = shop.running.claim(terms=NAMED)
    acts = shop.running.service.acts
    review = acts.review

    def recorded_and_lost(*given: Any, **named: Any) -> Any:
        review(*given, **named)
        raise fault

    monkeypatch.setattr(acts, "review", recorded_and_lost)
    assert shop.press(shop.posted(claim).values["approve"]) == 200
    assert shop.stored(claim).state is State.APPROVED
    assert "Nothing was recorded" not in shop.whisper
    assert "It isn't known whether this was recorded" in shop.whisper
    assert f"/claims/{claim.id}" in shop.whisper


def test_a_second_press_changes_nothing(opened: Callable[..., Shop]) -> None:
    """Twice, by two at once, or sent again by somebody who saw it: one review, and who presses late is told."""
    shop = opened()
    waits = shop.running.claim(terms=under(required_approvals=2, people={"ana": [ACCOUNT], "ben": [BEN]}))
    value = shop.posted(waits).values["approve"]
    assert shop.press(value) == 200
    before = shop.stored(waits)
    assert shop.press(value) == 200
    assert "nothing has changed" in shop.whisper
    assert shop.stored(waits) == before
    claim = shop.running.claim(2, terms=NAMED)
    value = shop.posted(claim).values["approve"]
    threads = [threading.Thread(target=shop.press, args=(value,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(shop.reviews(claim)) == 1
    events = [event for event in shop.running.store.events("payments") if event.claim_id == claim.id]
    assert [event.state for event in events] == [State.PENDING, State.APPROVED]
    assert shop.press(shop.posted(waits).values["reject"], "approve") == 403


def test_an_old_press_does_not_undo_a_change_of_mind(opened: Callable[..., Shop]) -> None:
    """Sent again within the five minutes, after the same person said the contrary."""
    shop = opened()
    terms = under(required_approvals=2, rejections_required=2, people={"ana": [ACCOUNT], "ben": [BEN]})
    claim = shop.running.claim(terms=terms)
    approve = shop.posted(claim).values["approve"]
    assert shop.press(approve) == 200
    assert shop.press(shop.posted(claim).values["reject"], "reject") == 200
    before = shop.stored(claim)
    assert shop.press(approve) == 200
    assert "Nothing was recorded" in shop.whisper
    assert shop.stored(claim) == before


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.one_of(
        st.text(max_size=60),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.text(max_size=5),
            lambda inner: (
                st.lists(inner, max_size=3)
                | st.dictionaries(st.sampled_from(["type", "team", "user", "actions", "channel", "id", "value"]), inner)
            ),
            max_leaves=8,
        ),
    )
)
def test_no_payload_breaks_the_endpoint(one_shop: Shop, document: Any) -> None:
    """Whatever is signed: an answer, and no fault."""
    assert one_shop.send(document).status in (200, 400, 403)


@pytest.fixture
def one_shop(opened: Callable[..., Shop]) -> Shop:
    """A shop that no flood closes."""
    shop = opened()
    shop.running.service.buckets._at_once = 10**6
    return shop


@pytest.mark.parametrize(
    "body", ["", "payload=", "payload=[]", "payload={", "x=1", "payload={}&payload={}", "payload=%ff", "a&" * 9]
)
@pytest.mark.long
def test_what_is_no_request_of_slacks_form_is_malformed(opened: Callable[..., Shop], body: str) -> None:
    """Signed all the same."""
    assert opened().post(body, str(int(time.time()))).status == 400


def test_what_decides_nothing_is_taken_note_of(opened: Callable[..., Shop]) -> None:
    """Slack tells of a pressed link too, and of other things; a long message fits."""
    shop = opened()
    assert shop.press("", "open") == 200
    assert shop.send({"type": "view_submission"}).status == 200
    claim = shop.running.claim(terms=NAMED)
    value = shop.posted(claim).values["approve"]
    assert shop.press(value, message={"text": "x" * 200_000}) == 200
    assert shop.stored(claim).state is State.APPROVED
    assert shop.press(value, message={"text": "x" * 600_000}) == 413


def test_no_stale_button_stays(opened: Callable[..., Shop]) -> None:
    """A reminder, which nobody edits, has none; the claim's own message loses its, whoever decides and wherever."""
    shop = opened()
    (worker,) = shop.running.service.telling.workers()
    claim = shop.running.claim(terms=NAMED, expires_after=timedelta(hours=1))
    assert shop.posted(claim).values != {}
    due = shop.running.service.now() + timedelta(minutes=31)
    worker.outlet.send(messages.reminder(shop.running.store, claim, due, worker.reading), shop.slack.first[0].ts, 0)
    (reply,) = shop.slack.replies
    assert (reply.values, reply.buttons) == ({}, [f"{shop.running.url}/claims/{claim.id}"])
    end_claim(shop.running.store, claim, State.WITHDRAWN, actor="aws:olga", reason="no more")
    assert shop.posted(claim).values == {}


# ---- when a press isn't enough ------------------------------------------------------------------


def test_what_takes_more_than_a_press_has_no_buttons(opened: Callable[..., Shop]) -> None:
    """Inputs of the claim's policy or of the pool's, and a recent sign-in, are for the page."""
    shop = opened()
    asks: dict[str, Any] = {
        **{"approval_rules": [{"user": "ana"}], "people": {"ana": [ACCOUNT]}},
        "inputs": [{"name": "ticket"}],
    }
    claim = shop.running.claim(terms=under(**asks))
    message = shop.posted(claim)
    assert message.values == {}
    assert message.buttons == [f"{shop.running.url}/claims/{claim.id}"]
    strict = opened(login=shop.running.service.config.login.model_dump() | {"max_age": 600})
    plain = strict.running.claim(2, terms=NAMED)
    assert strict.posted(plain).values == {}


def test_a_button_from_before_a_recent_sign_in_was_asked_for_decides_nothing(opened: Callable[..., Shop]) -> None:
    """The service was started anew, with another config."""
    shop = opened()
    claim = shop.running.claim(terms=NAMED)
    value = shop.posted(claim).values["approve"]
    strict = opened(
        login=shop.running.service.config.login.model_dump() | {"max_age": 600}, url=shop.running.service.config.url
    )
    pressed = strict.running.service.telling.ways.pressed(value, Verdict.APPROVE, "ops")
    assert pressed is not None
    assert strict.send(payload(value), Host=urlsplit(shop.running.url).netloc).status == 200
    assert "sign in again" in strict.whisper
    assert strict.reviews(claim) == {}


@pytest.mark.long
def test_without_the_option_there_are_no_buttons_and_no_endpoint(opened: Callable[..., Shop], slack: Slack) -> None:
    """It is off by default."""
    channel = {"slack": CHANNEL, "token": "env:SLACK_TOKEN", "api": f"{slack.url}/api"}
    shop = opened(slack=None, channels={"ops": channel})
    claim = shop.running.claim(terms=NAMED)
    assert shop.posted(claim).values == {}
    assert shop.press("x") == 404


def test_slack_is_answered_within_three_seconds(opened: Callable[..., Shop], monkeypatch: pytest.MonkeyPatch) -> None:
    """However slow the table is; the review is recorded all the same, and its presser told then."""
    monkeypatch.setattr(buttons, "SECONDS", 0.2)
    shop = opened()
    claim = shop.running.claim(terms=NAMED)
    value = shop.posted(claim).values["approve"]
    go_on, acts = threading.Event(), shop.running.service.acts
    review = acts.review
    monkeypatch.setattr(acts, "review", lambda *given, **named: (go_on.wait(30), review(*given, **named))[1])
    assert shop.press(value) == 200
    assert shop.reviews(claim) == {}
    go_on.set()
    end = time.monotonic() + 30
    while not shop.slack.whispers and time.monotonic() < end:
        time.sleep(0.02)
    assert "It is approved" in shop.whisper
    assert shop.stored(claim).state is State.APPROVED


# ---- accounts that people link ------------------------------------------------------------------


def linked(shop: Shop, user: str = "ana", account: str = USER) -> tuple[Browser, Answer]:
    """A browser in which somebody linked an account, and the page after that."""
    browser = shop.running.browser()
    page = browser.sign_in(user, "/slack/link")
    page = browser.submit(page, page.form("/slack/link"))
    address = next(part for part in page.text.split('"') if "/authorize?" in part).replace("&amp;", "&")
    page = browser.go(address)
    return browser, browser.submit(page, page.form("/login"), ("user", account))


def test_a_linked_account_decides_as_its_person(opened: Callable[..., Shop]) -> None:
    """With the groups of that sign-in, until it is unlinked; the record tells that it was by Slack."""
    shop = opened(pools=POOLS)
    rule = under(approval_rules=[{"group": "sec"}], groups={"sec": [f"oidc-group:{ANA[5:].partition('#')[0]}#sec"]})
    one, two = (shop.running.claim(number, terms=rule) for number in (1, 2))
    assert "is linked with you" in linked(shop)[1].text
    assert shop.press(shop.posted(one).values["approve"]) == 200
    assert "It is approved" in shop.whisper
    after = shop.stored(one)
    assert (after.state, list(after.reviews)) == (State.APPROVED, [ANA])
    assert after.reviews[ANA].comment == f"by a button in Slack, as {ACCOUNT}"
    elsewhere = shop.running.browser()
    later = elsewhere.sign_in("ana", "/slack/link")
    done = elsewhere.submit(later, later.form("/slack/unlink"))
    assert "No account of Slack is linked with you" in done.text
    assert shop.press(shop.posted(two).values["approve"]) == 200
    assert shop.reviews(two) == {}


def test_an_account_of_another_workspace_is_not_linked(opened: Callable[..., Shop]) -> None:
    """Its members aren't this workspace's."""
    shop = opened()
    _, page = linked(shop, account="foreign")
    assert page.status == 403
    assert shop.running.store.signed("slack:T0999#U0999") == ""


def test_a_link_that_was_planted_altered_or_put_back_is_none(opened: Callable[..., Shop]) -> None:
    """A writer of the table makes no link, moves none to another account, and revives none that was ended."""
    shop = opened(pools=POOLS)
    service = shop.running.service
    assert service.slack is not None
    accounts, now = service.slack.accounts, service.now()
    browser, page = linked(shop)
    text = shop.running.store.signed(ACCOUNT)
    week = timedelta(days=7)
    assert accounts.person(ACCOUNT, now + timedelta(seconds=5)) is not None
    shop.running.store.keep_signed(f"slack:{TEAM}#{STRANGER}", text, week)
    assert accounts.person(f"slack:{TEAM}#{STRANGER}", now) is None
    cookie = browser.cookies[shop.running.url.removeprefix("http://")]["__Host-session"]
    for planted in (text[:-2], text.replace(".", ""), "", cookie, json.dumps({"account": ACCOUNT, "identity": ANA}), "x.y"):
        shop.running.store.keep_signed(ACCOUNT, planted, week)
        assert accounts.person(ACCOUNT, now) is None
    shop.running.store.keep_signed(ACCOUNT, text, week)
    assert accounts.person(ACCOUNT, now + timedelta(days=8)) is None
    browser.submit(page, page.form("/slack/unlink"))
    shop.running.store.keep_signed(ACCOUNT, text, week)
    next_look()
    assert accounts.person(ACCOUNT, service.now()) is None


def test_nobody_links_an_account_for_somebody_else(opened: Callable[..., Shop]) -> None:
    """The way back from Slack fits the session in which it began, once signed in, and only a form of one's own begins it."""
    shop = opened()
    victim, mallory = shop.running.browser(), shop.running.browser()
    assert victim.go("/slack/callback?code=x&state=y").form("/login"), "it asks to sign in first"
    victim.sign_in("ana", "/slack/link")
    page = mallory.sign_in("ben", "/slack/link")
    page = mallory.submit(page, page.form("/slack/link"))
    address = next(part for part in page.text.split('"') if "/authorize?" in part).replace("&amp;", "&")
    login = mallory.go(address)
    form = login.form("/login")
    sent = mallory.send(
        "POST",
        f"{urlsplit(login.url).scheme}://{urlsplit(login.url).netloc}/login",
        body=urlencode({**form.fields, "user": USER}),
        Content_Type=FORM,
    )
    assert victim.go(sent.headers["location"]).status == 403, "mallory's way back, opened by the victim"
    host = shop.running.url.removeprefix("http://")
    victim.cookies[host]["__Host-slack"] = mallory.cookies[host]["__Host-slack"]
    assert victim.go(sent.headers["location"]).status == 403, "even with mallory's cookie planted"
    assert shop.running.store.signed(ACCOUNT) == ""
    forged = victim.send("POST", "/slack/link", body="word=x", Content_Type=FORM, Sec_Fetch_Site="cross-site")
    assert forged.status == 403
    other = shop.running.browser()
    assert "is linked with you" in linked(shop)[1].text
    page = other.sign_in("ben", "/slack/link")
    other.submit(page, page.form("/slack/unlink"))
    next_look()
    service = shop.running.service
    assert service.slack is not None
    assert service.slack.accounts.person(ACCOUNT, service.now()) is not None, "ben ends his own links alone"
    forged = other.send("POST", "/slack/unlink", body="word=x", Content_Type=FORM, Sec_Fetch_Site="cross-site")
    assert forged.status == 403
