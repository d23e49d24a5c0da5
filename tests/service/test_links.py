"""Links: found, confirmed, spent; and what a scanner or a stranger can do with one, which is nothing."""

from __future__ import annotations

import json
import re
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

import pytest

from approval_resource.audit import verify as audit
from approval_resource.model.claim import Claim, Verdict
from approval_resource.model.event import State
from approval_resource.service.replies import said_comment
from approval_resource.service.shapes import ReplyBody
from tests.builders import under
from tests.service.browser import Browser
from tests.service.conftest import ANA, Running, Serve

FORM = "application/x-www-form-urlencoded"
BODY = {
    "reviewer": {"name": "Mr Manager", "email": "mr.manager@yourdomain.com", "nullplatform_user_id": None},
    "message": "ok",
    "details": {"ticket": 1},
}
HOOK = "link:hook"


@pytest.fixture
def hooked(serve: Serve) -> Running:
    """A service with one channel whose links carry its authority."""
    return serve(links={"bearer": ["hook"]})


def link(running: Running, claim: Claim, verdict: Verdict = Verdict.APPROVE, channel: str = "hook", **ahead: float) -> str:
    """A link to that verdict, made so long from now as `ahead` tells."""
    now = running.service.now() + timedelta(**ahead)
    return running.service.links.address(claim, verdict, channel, now)


def post(browser: Browser, address: str, body: Any = None) -> Any:
    """A program's reply."""
    text = json.dumps(body) if body is not None else None
    return browser.send("POST", address, body=text, **({"Content_Type": "application/json"} if text else {}))


def test_a_link_finds_the_claim_and_the_person_decides(running: Running) -> None:
    """Signed in: the confirm page, the wanted verdict marked, and one press; the link is spent with the review."""
    claim = running.claim(terms=under(required_approvals=2))
    address = link(running, claim, channel="ops")
    browser = running.browser()
    browser.sign_in("ana")
    page = browser.go(address)
    assert 'class="approve wanted"' in page.text
    assert running.store.claim(claim.id) == claim
    done = browser.decide(page, "approve")
    assert "Your verdict is recorded" in done.text
    assert list(running.store.claim(claim.id).reviews) == [ANA]  # type: ignore[union-attr]
    ben = running.browser()
    ben.sign_in("ben")
    spent = ben.decide(ben.go(address), "approve")
    assert spent.status == 409
    assert "used already" in spent.text


def test_a_scanner_changes_nothing(hooked: Running) -> None:
    """GET, HEAD, the page's script and its forms, POSTed without a session, by each of the links a mail may hold."""
    claim = hooked.claim()
    scanner = hooked.browser()
    for verdict in Verdict:
        address = link(hooked, claim, verdict, channel="mail")
        for method in ("GET", "HEAD", "OPTIONS"):
            scanner.send(method, address)
        page = scanner.send("GET", address)
        assert page.status == 200
        assert "changed nothing" in page.text
        for script in re.findall(r'src="([^"]+)"', page.text):
            text = scanner.send("GET", script).text
            assert "POST" not in text
            assert "submit" not in text
        assert page.forms() == []
        for form_address in (address, f"/claims/{claim.id}/review", f"/claims/{claim.id}/withdraw", "/batch"):
            body = urlencode({"verdict": "approve", "seen": "x", "word": "x", "token": address.partition("token=")[2]})
            for site in ("same-origin", "none", ""):
                sent = scanner.send("POST", form_address, body=body, Content_Type=FORM, Sec_Fetch_Site=site)
                assert sent.status in (401, 403, 400), (form_address, sent.status)
        assert post(scanner, address, BODY).status == 401
    assert hooked.store.claim(claim.id) == claim


@pytest.mark.parametrize("body", [BODY, {}, None, {"message": "ok", "unknown": 1}, {"reviewer": None}], ids=str)
def test_a_channel_replies_as_nullplatform_does(hooked: Running, body: Any) -> None:
    """The token is the authority; reviewer and message are kept as said, not as known."""
    claim = hooked.claim(terms=under(approval_rules=[{"user": "boss"}], people={"boss": [HOOK]}))
    address = link(hooked, claim)
    answer = post(hooked.browser(), address, body)
    assert answer.status == 200
    assert answer.json["status"] == "approved"
    review = hooked.store.claim(claim.id).reviews[HOOK]  # type: ignore[union-attr]
    if body is BODY:
        assert review.comment == "ok (said to be by Mr Manager <mr.manager@yourdomain.com>)"
    assert post(hooked.browser(), address, body).status == 409


def test_a_denial_by_link(hooked: Running) -> None:
    """By the other address alone: each token is for its own verdict."""
    claim = hooked.claim(terms=under(approval_rules=[{"user": "boss"}], people={"boss": [HOOK]}))
    approve, deny = link(hooked, claim), link(hooked, claim, Verdict.REJECT)
    assert post(hooked.browser(), approve.replace("/approve?", "/deny?"), BODY).status == 401
    assert post(hooked.browser(), deny, BODY).json["status"] == "denied"
    assert hooked.store.claim(claim.id).state is State.REJECTED  # type: ignore[union-attr]
    assert post(hooked.browser(), approve, BODY).status == 409


def test_a_link_that_changed_nothing_is_used_up_too(hooked: Running) -> None:
    """Kept by somebody, it could undo what the channel says later; of several at once, one is answered."""
    claim = hooked.claim(terms=under(required_approvals=2, people={"hook": [HOOK]}))
    first, second, third = (link(hooked, claim) for _ in range(3))
    browser = hooked.browser()
    assert [post(browser, address, BODY).status for address in (first, second, first, second)] == [200, 200, 409, 409]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: post(hooked.browser(), third, BODY).status, range(4)))
    assert sorted(found) == [200, 409, 409, 409]
    assert len(hooked.store.claim(claim.id).reviews) == 1  # type: ignore[union-attr]
    assert audit.verify(hooked.store, "payments").findings == []
    assert post(browser, link(hooked, claim, Verdict.REJECT), BODY).status == 200
    assert post(browser, second, BODY).status in (409, 410)


def test_a_channel_satisfies_no_rule_that_does_not_name_it(hooked: Running) -> None:
    """As every identity that a policy doesn't list."""
    claim = hooked.claim(terms=under(approval_rules=[{"user": "olga"}], people={"olga": ["oidc:https://x#olga"]}))
    assert post(hooked.browser(), link(hooked, claim), BODY).status == 403
    assert hooked.store.claim(claim.id) == claim


def test_a_channel_decides_nothing_where_nobody_named_it(hooked: Running) -> None:
    """A channel isn't anybody, even if anybody may approve: neither its approval nor its denial is taken."""
    for number, terms in enumerate((None, under(required_approvals=1), under(required_approvals=2))):
        claim = hooked.claim(number, **({"terms": terms} if terms else {}))
        for verdict in Verdict:
            answer = post(hooked.browser(), link(hooked, claim, verdict), BODY)
            assert (answer.status, "only where a policy does" in answer.text) == (403, True)
        assert hooked.store.claim(claim.id) == claim


def test_a_link_is_for_one_claim_under_its_terms(hooked: Running) -> None:
    """Another claim's, an altered, an expired and a missing token are refused; so is one of another key or address."""
    one, two = hooked.claim(1), hooked.claim(2)
    address = link(hooked, one)
    token = address.partition("token=")[2]
    browser = hooked.browser()
    assert post(browser, address.replace(one.id, two.id), BODY).status == 401
    assert post(browser, address.partition("?")[0], BODY).status == 401
    for wrong in (token[:-1], token + "A", token.replace("v1.", "v2."), token.swapcase(), "v1.", "", "v1." + "A" * 500):
        assert post(browser, f"/approval/{one.id}/approve?token={wrong}", BODY).status == 401
    assert post(browser, link(hooked, one, days=-8), BODY).status == 410
    assert post(browser, f"/approval/{'0' * 36}/approve?token={token}", BODY).status == 401
    assert hooked.store.claim(one.id) == one
    assert hooked.store.claim(two.id) == two


def test_strangers_cost_the_table_no_more_than_a_look_a_second(hooked: Running) -> None:
    """Made-up ids and tokens are refused without a look; one real link costs one, however often it is opened."""
    claim, other = hooked.claim(1), hooked.claim(2)
    address, token = link(hooked, claim), link(hooked, other).partition("token=")[2]
    browser = hooked.browser()
    assert browser.send("GET", "/").status == 303
    counted: list[str] = []
    hooked.service.store._client.meta.events.register("before-call.dynamodb", lambda model, **_: counted.append(model.name))
    made_up = [f"/approval/{number:036x}/{word}?token={token}" for number in range(20) for word in ("approve", "deny")]
    made_up += [f"/approval/{claim.id}/approve?token={one}" for one in (token, "", "v1.AAAA", token[:-2])]
    for path in made_up:
        assert browser.send("GET", path).status == 401
        assert browser.send("HEAD", path).status == 401
        assert post(browser, path, BODY).status == 401
    for path in ("/", f"/claims/{claim.id}", "/pools/payments", "/batch", f"/claims/{claim.id}/record", "/auth/login"):
        assert browser.send("GET", path).status == 303
    assert counted == []
    started = time.monotonic()
    for _ in range(30):
        assert browser.send("GET", address).status == 200
        assert browser.send("GET", "/readyz").status == 200
        assert browser.send("GET", "/metrics").status == 200
    seconds = time.monotonic() - started
    assert 0 < counted.count("GetItem") <= 3 * (seconds + 1)
    assert len(counted) <= 10 * (seconds + 1)


def test_a_link_dies_with_its_claim(hooked: Running) -> None:
    """410 once it was decided otherwise, on the page too."""
    claim = hooked.claim()
    address = link(hooked, claim)
    browser = hooked.browser()
    browser.decide(browser.sign_in("ana", f"/claims/{claim.id}"), "approve")
    assert post(hooked.browser(), address, BODY).status == 410
    assert browser.go(address).status == 410


def test_a_link_dies_with_the_service_of_its_pool(hooked: Running, serve: Serve) -> None:
    """A pool that was taken out of the config is decided by no link that was sent before."""
    claim = hooked.claim()
    later = serve(url=hooked.url, links={"bearer": ["hook"]}, pools={"other": {"viewers": ["everyone"]}})
    refused = post(later.browser(), link(hooked, claim).replace(hooked.url, later.url), BODY)
    assert refused.status == 410
    assert "no longer serves" in refused.text
    assert hooked.store.claim(claim.id) == claim


def test_a_link_lasts_no_longer_than_its_claim(hooked: Running) -> None:
    """Nor longer than a week."""
    soon = hooked.claim(expires_after=timedelta(hours=1))
    for claim, most in ((soon, timedelta(hours=1)), (hooked.claim(2), timedelta(hours=168))):
        token = link(hooked, claim).partition("token=")[2]
        found = hooked.service.links.verified(token, claim, Verdict.APPROVE)
        assert found is not None
        assert found.until <= hooked.service.now() + most


def test_what_a_reply_says_is_cleaned_and_cut() -> None:
    """Nobody's message breaks a line or the record's bounds."""
    body = ReplyBody.model_validate({"message": "a\nb\u202e" + "c" * 400, "reviewer": {"name": "x\x1b[0m"}})
    assert len(said_comment(body)) == 255
    assert said_comment(body).startswith("a bc")
