"""Rule 0: whatever somebody with write access to the table plants or takes out, the service approves nothing by it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from urllib.parse import urlencode

import pytest

from approval_resource.documents.claims import CLAIM
from approval_resource.model.claim import Claim, Verdict
from approval_resource.model.event import State
from approval_resource.service.sessions import COOKIE, issuers_mark, persons_mark, session_mark
from approval_resource.store.dynamodb import items
from approval_resource.store.dynamodb.values import Item, values
from tests.builders import NOON, a_claim, a_review, under
from tests.service.conftest import ANA, Running, Serve, next_look

FORM = "application/x-www-form-urlencoded"


def plant(running: Running, item: Item) -> None:
    """Put an item into the table, past everything."""
    running.store._client.put_item(TableName=running.service.config.table, Item=item)


def test_a_planted_claim_is_never_approved(running: Running) -> None:
    """It has no event in the log, so that no verdict on it is recorded, though a page may show it."""
    now = running.store.now() if running.claim() else NOON
    made = a_claim(
        id="33333333-3333-4333-8333-333333333333",
        lock_name="planted",
        timestamp=now,
        changed=now,
        event_at=now,
        revision=1,
        fence=1,
    )
    plant(running, items.claim_item(made))
    browser = running.browser()
    page = browser.sign_in("ana", f"/claims/{made.id}")
    found = browser.decide(page, "approve")
    assert found.status in (409, 412)
    after = running.store.claim(made.id)
    assert after is not None
    assert after.state is State.PENDING


@pytest.mark.parametrize(
    "edit",
    [
        lambda claim: replace(claim, description="harmless"),
        lambda claim: replace(claim, policy=""),
        lambda claim: replace(claim, lock_name="another"),
        lambda claim: replace(claim, pool="secret"),
    ],
    ids=["description", "policy", "lock", "pool"],
)
@pytest.mark.long
def test_an_edited_claim_is_never_approved(running: Running, edit: Any) -> None:
    """What the page shows is not what the log tells, so that the verdict is refused and nothing is signed away."""
    claim = running.claim(terms=under(required_approvals=1))
    edited: Claim = edit(claim)
    assert edited != claim
    plant(running, items.claim_item(edited))
    browser = running.browser()
    page = browser.sign_in("ana", f"/claims/{claim.id}")
    found = browser.decide(page, "approve")
    assert found.status in (409, 412), found.text
    assert running.store.claim(claim.id).state is State.PENDING  # type: ignore[union-attr]


def test_planted_items_that_look_like_power_give_none(running: Running) -> None:
    """Sessions, link tokens, mappings and keys of any shape: none of them is looked for."""
    claim = running.claim()
    shapes: list[dict[str, Any]] = [
        {
            "identity": ANA,
            "person": ANA,
            "sub": "ana",
            "until": "9999-01-01T00:00:00.000000Z",
            "claim": claim.id,
            "verdict": "approve",
        },
        {"content": b"x", "key": "a" * 40, "valid": True, "pool": "payments", "reviewers": ["everyone"]},
    ]
    for pk in (
        "session#stolen",
        "link#stolen",
        "token#stolen",
        f"claim#{claim.id}",
        "config",
        "key",
        "revoked",
        "slack#T#U",
        f"person#{ANA}",
    ):
        for sk in ("session", "token", "link", "mapping", "unrevoked", "session#stolen"):
            for shape in shapes:
                plant(running, {"pk": {"S": pk}, "sk": {"S": sk}} | values(shape))
    thief = running.browser()
    thief.cookies[thief.home.removeprefix("http://")] = {COOKIE: "stolen"}
    assert thief.send("GET", f"/claims/{claim.id}").status == 303
    assert thief.send("GET", "/api/v1/whoami", Authorization="Bearer stolen").status == 401
    for verdict in ("approve", "deny"):
        assert thief.send("POST", f"/approval/{claim.id}/{verdict}?token=stolen", Cookie="").status in (401, 403)
    assert running.store.claim(claim.id) == claim


def test_marks_only_take_away(serve: Serve) -> None:
    """A planted end of a session ends it, however it is written; none brings one to life or lengthens it."""
    running = serve()
    browser = running.browser()
    browser.sign_in("ana")
    cookie = browser.cookies[running.url.removeprefix("http://")][COOKIE]
    assert running.service.sessions.person(cookie, running.service.now()) is not None
    person = running.service.sessions.person(cookie, running.service.now())
    assert person is not None
    for mark in (session_mark(person.session), issuers_mark("x", "y"), persons_mark("oidc:x#y")):
        plant(running, {"pk": {"S": "revoked"}, "sk": {"S": mark.replace("#", "%23")}, "at": {"S": "soon"}})
    other = serve(url=running.url)
    assert other.service.sessions.person(cookie, other.service.now()) is None


def test_taking_a_mark_away_brings_no_session_back_here(serve: Serve) -> None:
    """The process that ended it remembers; whoever can write the table can only let a stolen cookie live elsewhere."""
    running = serve()
    browser = running.browser()
    page = browser.sign_in("ana")
    cookie = browser.cookies[running.url.removeprefix("http://")][COOKIE]
    browser.submit(page, page.form("/auth/logout"))
    for item in running.store._client.query(
        TableName=running.service.config.table,
        KeyConditionExpression="pk = :pk",
        ExpressionAttributeValues={":pk": {"S": "revoked"}},
    )["Items"]:
        running.store._client.delete_item(TableName=running.service.config.table, Key={"pk": item["pk"], "sk": item["sk"]})

    next_look()
    assert running.service.sessions.person(cookie, running.service.now()) is None


def test_a_review_that_somebody_planted_is_seen_as_what_it_is(running: Running) -> None:
    """Edited into the claim past the log, it makes every further verdict refused, and the gate stays shut."""
    claim = running.claim(terms=under(required_approvals=2))
    planted = replace(claim, reviews={ANA: a_review(ANA, Verdict.APPROVE, claim.created_at)})
    plant(running, items.claim_item(planted))
    browser = running.browser()
    page = browser.sign_in("ben", f"/claims/{claim.id}")
    assert browser.decide(page, "approve").status in (409, 412)
    assert running.store.claim(claim.id).state is State.PENDING  # type: ignore[union-attr]
    assert CLAIM.write(claim) != CLAIM.write(planted)


def test_a_spent_mark_planted_ahead_only_spends(running: Running) -> None:
    """A link under whose id a mark stands is used up; the claim waits on."""
    service = replace(running.service, links=running.service.links)
    claim = running.claim()
    address = service.links.address(claim, Verdict.APPROVE, "hook", service.now())
    token = address.partition("token=")[2]
    link = service.links.verified(token, claim, Verdict.APPROVE)
    assert link is not None
    plant(running, items.link_item(link.id, service.now()))
    browser = running.browser()
    page = browser.sign_in("ana", f"/claims/{claim.id}")
    form = page.form("/review")
    body = urlencode({**form.fields, "token": token, "verdict": "approve"})
    sent = browser.send("POST", form.action, body=body, Content_Type=FORM, Sec_Fetch_Site="same-origin")
    assert sent.status == 409
    assert running.store.claim(claim.id) == claim
