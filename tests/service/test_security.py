"""The checklist of threats, each line a test; after every refused try nothing is recorded."""

from __future__ import annotations

import json
import re
import time
from typing import Any
from urllib.parse import parse_qs, quote, urlencode, urlsplit
from uuid import uuid4

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from approval_resource.model.claim import Claim
from approval_resource.model.event import State
from approval_resource.service.sessions import COOKIE
from approval_resource.service.signin import LOGIN_COOKIE, own_path
from tests.builders import under
from tests.service.browser import Browser
from tests.service.conftest import Running, Serve, next_look
from tests.service.provider import CLIENT, ISSUER, Provider

FORM = "application/x-www-form-urlencoded"


def untouched(running: Running, claim: Claim) -> bool:
    """Whether the claim is as it was made."""
    return running.store.claim(claim.id) == claim


def session_of(browser: Browser) -> str:
    """The cookie of the browser's session."""
    return browser.cookies[urlsplit(browser.home).netloc][COOKIE]


# ---- requests that a browser makes for somebody else --------------------------------


@pytest.mark.parametrize(
    ("origin", "site"),
    [
        ("https://evil.example", "cross-site"),
        ("null", "cross-site"),
        ("", "cross-site"),
        ("", "same-site"),
        ("", "none"),
        ("https://evil.example", ""),
        ("null", ""),
        ("", ""),
        ("https://evil.example", "same-origin"),
    ],
)
def test_a_form_of_another_site_is_refused(running: Running, origin: str, site: str) -> None:
    """Even with the right word in it and the right cookies beside it."""
    claim = running.claim()
    browser = running.browser()
    page = browser.sign_in("ana", f"/claims/{claim.id}")
    form = page.form("/review")
    body = urlencode({**form.fields, "verdict": "approve"})
    sent = browser.send("POST", form.action, body=body, Content_Type=FORM, Origin=origin, Sec_Fetch_Site=site)
    assert sent.status == 403
    assert untouched(running, claim)


@pytest.mark.parametrize("path", ["/api/v1/claims/x/reviews", "/api/v1/claims/x/withdrawal"])
def test_the_api_refuses_other_sites_and_strangers_in_its_own_words(running: Running, path: str) -> None:
    """A cookie doesn't serve another site's page; who comes with nothing is asked to prove who they are."""
    browser = running.browser()
    body = {"body": "{}", "Content_Type": "application/json"}
    asked = browser.send("POST", path, **body)
    assert (asked.status, asked.json["type"].rpartition("/")[2]) == (401, "not-signed-in")
    for header in ({"Cookie": f"{COOKIE}=x"}, {"X_Amzn_Oidc_Data": "x"}):
        foreign = browser.send("POST", path, **body, **header)
        assert (foreign.status, foreign.json["type"].rpartition("/")[2]) == (403, "foreign-request")
    browser.sign_in("ana")
    assert browser.send("POST", path, **body, Origin="https://evil.example", Sec_Fetch_Site="cross-site").status == 403
    assert browser.send("POST", path, **body, Origin="null", Sec_Fetch_Site="same-origin").status == 404
    misdirected = browser.send("GET", path, Host="evil.example")
    assert (misdirected.status, misdirected.headers["content-type"]) == (421, "application/problem+json")
    other = browser.send("DELETE", path, Origin="null", Sec_Fetch_Site="same-origin")
    assert (other.status, other.json["status"]) == (405, 405)
    assert "POST" in other.headers["allow"].split(", ")
    assert ("GET" in other.headers["allow"].split(", ")) == path.endswith("/reviews")


def test_a_form_needs_the_word_of_its_own_session(running: Running) -> None:
    """Not that of another person's, nor of the same person's older session, nor none."""
    claim = running.claim()
    ana, ben, old = running.browser(), running.browser(), running.browser()
    page = ana.sign_in("ana", f"/claims/{claim.id}")
    words = [b.sign_in(who, f"/claims/{claim.id}").form("/review").fields["word"] for b, who in ((ben, "ben"), (old, "ana"))]
    for word in (*words, "", "x" * 43):
        assert ana.decide(page, "approve", word=word).status == 400
    assert untouched(running, claim)


def test_a_get_never_decides(running: Running) -> None:
    """Nor does a HEAD; a form's address answers neither."""
    claim = running.claim()
    browser = running.browser()
    browser.sign_in("ana")
    for method in ("GET", "HEAD"):
        assert browser.send(method, f"/claims/{claim.id}/review?verdict=approve").status == 405
    assert untouched(running, claim)


def test_a_sign_in_of_another_browser_is_refused(running: Running) -> None:
    """Login CSRF: a code and state that somebody else obtained sign nobody in here."""
    attacker, victim = running.browser(), running.browser()
    page = attacker.go("/")
    form = page.form("/login")
    url = urlsplit(page.url)
    sent = attacker.send(
        "POST", f"{url.scheme}://{url.netloc}/login", body=urlencode({**form.fields, "user": "ana"}), Content_Type=FORM
    )
    stolen = sent.headers["location"]
    assert victim.send("GET", stolen).status == 401
    victim.go("/auth/login")
    refused = victim.send("GET", stolen)
    assert refused.status == 401
    assert COOKIE not in victim.cookies.get(urlsplit(running.url).netloc, {})


def test_a_session_begins_anew_at_each_sign_in(running: Running) -> None:
    """Fixation: a cookie that was there before is worth nothing after."""
    browser = running.browser()
    browser.cookies[urlsplit(running.url).netloc] = {COOKIE: "planted.value"}
    browser.sign_in("ana")
    first = session_of(browser)
    assert first != "planted.value"
    browser.cookies[urlsplit(running.url).netloc].pop(COOKIE)
    browser.sign_in("ana")
    assert session_of(browser) != first


# ---- headers and cookies --------------------------------------------------------------


@pytest.mark.parametrize(
    "path", ["/", "/claims/none", "/static/style.css", "/openapi.json", "/healthz", "/nothing", "/api/v1/whoami"]
)
def test_every_answer_has_its_headers(running: Running, path: str) -> None:
    """No framing, no inline script, no sniffing, no referrer, no copies."""
    answer = running.browser().send("GET", path)
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "base-uri 'none'" in policy
    assert "form-action 'self'" in policy
    assert "unsafe" not in policy
    assert answer.headers["x-frame-options"] == "DENY"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert "max-age" in answer.headers["strict-transport-security"]
    assert answer.headers["cache-control"] == ("public, max-age=86400" if "static" in path else "no-store")
    assert "server" not in answer.headers


def test_cookies_are_for_this_host_and_no_script(running: Running) -> None:
    """`__Host-`, Secure, HttpOnly, Lax."""
    browser = running.browser()
    page = browser.go("/")
    assert page.status == 200
    sent = browser.send("GET", "/auth/login")
    form_page = browser.go("/")
    form = form_page.form("/login")
    back = browser.send(
        "POST",
        f"{urlsplit(form_page.url).scheme}://{urlsplit(form_page.url).netloc}/login",
        body=urlencode({**form.fields, "user": "ana"}),
        Content_Type=FORM,
    )
    signed = browser.send("GET", back.headers["location"])
    lines = [*sent.headers.getlist("set-cookie"), *signed.headers.getlist("set-cookie")]
    assert {line.partition("=")[0] for line in lines} == {COOKIE, LOGIN_COOKIE}
    for line in lines:
        assert line.startswith("__Host-")
        for attribute in ("Secure", "HttpOnly", "SameSite=lax", "Path=/"):
            assert attribute in line, line
        assert "domain" not in line.lower()


@pytest.mark.parametrize(
    "host",
    [
        *("evil.example", "127.0.0.1.evil.example", "", "[", "localhost"),
        *("127.0.0.1/api/", "127.0.0.1?x", "127.0.0.1#x", "evil@127.0.0.1", "127.0.0.1:80/api", "127.0.0.1:x", "127.0.0.1\\x"),
    ],
)
def test_a_foreign_host_is_refused(running: Running, host: str) -> None:
    """Nothing is answered under another name, so that no link or redirect can be made to lead there."""
    answer = running.browser().send("GET", "/", Host=host or "x")
    assert answer.status == 421
    assert "location" not in answer.headers


def test_links_come_from_the_config(serve: Serve) -> None:
    """Never from the Host header: the redirect to the issuer names the configured address."""
    running = serve()
    address = running.browser().send("GET", "/auth/login").headers["location"]
    assert parse_qs(urlsplit(address).query)["redirect_uri"] == [f"{running.url}/auth/callback"]


@pytest.mark.parametrize(
    "path",
    [
        "//evil.example",
        "/\\evil.example",
        "https://evil.example",
        "\\\\evil",
        "evil",
        "/a\nb",
        "",
        "/auth/logout",
        "/%0d",
        "/\t/evil",
    ],
)
def test_no_redirect_leads_elsewhere(path: str) -> None:
    """Only to a path of this service's own."""
    found = own_path(path)
    assert found == "/" or (found == path and found.startswith("/%"))


@pytest.mark.parametrize("path", ["//evil.example", "/\\evil.example", "https://evil.example", "/%5cevil.example"])
def test_a_sign_in_ends_at_home(running: Running, path: str) -> None:
    """Wherever its link says to go on to."""
    browser = running.browser()
    page = browser.go(f"/auth/login?next={quote(path, safe='')}")
    done = browser.submit(page, page.form("/login"), ("user", "ana"))
    assert urlsplit(done.url).netloc == urlsplit(running.url).netloc


@pytest.mark.parametrize(
    "path", ["/batch/", "/auth/login/", "/claims/x/", "/api/v1/claims/", "/pools/payments/", "//evil.example/"]
)
def test_no_redirect_is_made_of_the_host_header(running: Running, path: str) -> None:
    """A path with a slash too many is none of this service's."""
    host = f"{urlsplit(running.url).hostname}:81"
    assert running.browser().send("GET", running.url + path, Host=host).headers.get("location", "/").startswith("/")


def test_a_large_body_is_refused(running: Running) -> None:
    """Told or not told in advance, it isn't read to its end."""
    browser = running.browser()
    browser.sign_in("ana")
    big = "a" * 100_000
    for body in (big, iter([big.encode()])):
        sent = browser.send("POST", "/claims/x/review", body=body, Content_Type=FORM, Sec_Fetch_Site="same-origin")
        assert sent.status == 413


def test_floods_are_slowed(serve: Serve) -> None:
    """One address may send so many unsafe requests; reading goes on."""
    running = serve()
    browser = running.browser()
    found = {
        browser.send("POST", "/auth/logout", body="", Content_Type=FORM, Sec_Fetch_Site="same-origin").status for _ in range(90)
    }
    assert 429 in found
    assert browser.send("GET", "/healthz").status == 200


@pytest.mark.parametrize(
    ("proxies", "slowed"),
    [([], True), (["10.0.0.0/8"], True), (["127.0.0.1/32"], False)],
    ids=["no proxy", "another proxy", "this proxy"],
)
def test_a_caller_is_told_by_configured_proxies_alone(serve: Serve, proxies: list[str], slowed: bool) -> None:
    """Forged addresses are one caller, who is slowed; those that a configured proxy names are many, who are not."""
    running = serve(proxies=proxies)
    sent = {"body": "", "Content_Type": FORM, "Sec_Fetch_Site": "same-origin"}
    browser = running.browser()
    found = {browser.send("POST", "/auth/logout", X_Forwarded_For=f"192.0.2.{part}", **sent).status for part in range(90)}
    assert (429 in found) is slowed
    # A proxy adds the address that it saw behind those that its caller claims.
    behind = {
        browser.send("POST", "/auth/logout", X_Forwarded_For=f"192.0.2.{part}, 198.51.100.9", **sent).status
        for part in range(90)
    }
    assert 429 in behind


# ---- what strangers write -----------------------------------------------------------------

NASTY = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>{{7*7}}\u202e\x1b[31m"


def test_whatever_a_pipeline_or_person_writes_is_text(running: Running) -> None:
    """In every field, on every page; what hides or turns text is shown as its number."""
    from hashlib import sha256

    from approval_resource.claims.decide import Terms
    from approval_resource.model.claim import Attachment
    from tests.builders import a_build, take

    content = f"+ {NASTY}\n- old".encode()
    policy = '[{"name":"<b>p</b>","required_approvals":2,"inputs":[{"name":"x","description":"<i>d</i>\\"><script>"}]}]'
    build = a_build(
        1, team="<script>", pipeline="<img>", job='"onmouseover=x', url="javascript:alert(1)", created_by="<u>dana</u>"
    )
    claim = take(
        running.store,
        build,
        lock_name=f"<script>lock</script>{uuid4()}",
        description=NASTY,
        attachments={"<b>plan</b>.txt": Attachment(sha256(content).hexdigest(), len(content), True)},
        attached={"<b>plan</b>.txt": content},
        terms=Terms(policy, {"<script>": NASTY}),
    )
    browser = running.browser()
    page = browser.decide(
        browser.sign_in("ana", f"/claims/{claim.id}"), "approve", comment="<script>me</script>", input__x="<b>"
    )
    assert page.status == 200, page.text
    pages = [page, *(browser.go(path) for path in ("/", f"/claims/{claim.id}/record", "/pools/payments", "/batch"))]
    for one in pages:
        assert one.status == 200
        tags = set(re.findall(r"<\s*([a-z]+)", one.text))
        assert not tags & {"img", "b", "i", "u", "iframe", "svg"}, tags
        assert re.findall(r"<script[^>]*>", one.text) == [f'<script src="{_script(running)}" defer>']
        assert not re.search(r"<[^>]+\son\w+=", one.text)
        assert "javascript:" not in re.sub(r">[^<]*<", "><", one.text)
        assert "\u202e" not in one.text
        assert "\x1b" not in one.text
    assert "\\u202e" in pages[0].text


def _script(running: Running) -> str:
    static: Any = running.service.pages._environment.globals["static"]
    return str(static["live.js"])


def test_a_file_is_sent_as_nothing_that_a_browser_shows(running: Running) -> None:
    """A download, sandboxed, whatever it is called."""
    from hashlib import sha256

    from approval_resource.model.claim import Attachment

    content = b"<script>alert(1)</script>"
    claim = running.claim(
        attachments={"a/plan.html": Attachment(sha256(content).hexdigest(), len(content), True)},
        attached={"a/plan.html": content},
    )
    browser = running.browser()
    browser.sign_in("ana")
    answer = browser.go(f"/claims/{claim.id}/attachments/a/plan.html")
    assert answer.body == content
    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.headers["content-disposition"].startswith("attachment;")
    assert "sandbox" in answer.headers["content-security-policy"]


# ---- other people's pools -------------------------------------------------------------------


def test_another_pool_s_claims_are_not_there(running: Running) -> None:
    """Whoever may not see a pool can't tell its claims from none, by page or API, nor act on them."""
    claim = running.claim(pool="secret")
    hidden = running.claim(2, pool="unlisted")
    browser = running.browser()
    page = browser.sign_in("ben")
    assert "secret" not in page.text
    for id_ in (claim.id, hidden.id):
        for path in (f"/claims/{id_}", f"/claims/{id_}/record", f"/claims/{id_}/attachments/x", f"/api/v1/claims/{id_}"):
            assert browser.go(path).status == 404
            told = browser.go(path).text.replace(id_, "ID")
            assert told == browser.go(path.replace(id_, "0" * 36)).text.replace("0" * 36, "ID")
    assert browser.go("/pools/secret").status == 404
    form = browser.go(f"/claims/{running.claim(3).id}").form("/review")
    body = urlencode({**form.fields, "verdict": "approve"})
    for act in ("review", "withdraw"):
        sent = browser.send("POST", f"/claims/{claim.id}/{act}", body=body, Content_Type=FORM, Sec_Fetch_Site="same-origin")
        assert sent.status == 404
    assert untouched(running, claim)


def test_another_pool_s_claims_are_not_acted_on(serve: Serve, provider: Provider) -> None:
    """By the API a hidden claim is none, whoever's token it is; a batch says so of it alone, and decides the others."""
    running = serve(machines=[{"issuer": ISSUER, "discovery": provider.url, "audience": "approvals-api"}])
    hidden, open_ = running.claim(pool="secret"), running.claim(2)
    token = provider.token(provider.claims("ben", audience="approvals-api"))
    sent = {"Authorization": f"Bearer {token}", "Content_Type": "application/json"}
    for path, body in (("reviews", {"status": "approved"}), ("withdrawal", {"reason": "mine now", "force": True})):
        for id_ in (hidden.id, "0" * 36):
            answer = running.browser().send("POST", f"/api/v1/claims/{id_}/{path}", body=json.dumps(body), If_Match="*", **sent)
            assert answer.status == 404, path
    ben = running.browser()
    page = ben.sign_in("ben", "/batch")
    seen = re.search(rf'name="claim-{open_.id}" value="([^"]+)"', page.text)
    assert seen is not None
    chosen = {f"claim-{hidden.id}": "none", f"claim-{open_.id}": seen[1]}
    done = ben.submit(page, page.form("/batch"), ("verdict", "approve"), **chosen)
    assert done.status == 200
    assert "secret" not in done.text
    assert untouched(running, hidden)
    assert running.store.claim(open_.id).state is State.APPROVED  # type: ignore[union-attr]


def test_a_viewer_sees_and_decides_nothing(running: Running) -> None:
    """No form is offered, and one that is made up is refused."""
    claim = running.claim()
    browser = running.browser()
    page = browser.sign_in("vic", f"/claims/{claim.id}")
    assert page.status == 200
    assert not [form for form in page.forms() if form.action.endswith("/review")]
    word = page.form("/auth/logout").fields["word"]
    body = urlencode({"word": word, "verdict": "approve", "seen": running.service.desk.view(_vic(running), claim).etag})
    sent = browser.send("POST", f"/claims/{claim.id}/review", body=body, Content_Type=FORM, Sec_Fetch_Site="same-origin")
    assert sent.status == 403
    assert untouched(running, claim)


def _vic(running: Running) -> Any:
    from approval_resource.service.people import Person

    return Person(identity=f"oidc:{ISSUER}#vic", via="session")


# ---- sessions -------------------------------------------------------------------------------


def test_a_session_that_was_ended_stays_ended(serve: Serve) -> None:
    """A copy of its cookie signs nobody in, at this process or at another."""
    running = serve()
    other = serve(url=running.url)
    browser = running.browser()
    page = browser.sign_in("ana")
    cookie = session_of(browser)
    browser.submit(page, page.form("/auth/logout"))
    thief = running.browser()
    thief.cookies[urlsplit(running.url).netloc] = {COOKIE: cookie}
    assert thief.send("GET", "/").status == 303
    assert other.service.sessions.person(cookie, other.service.now()) is None


@pytest.mark.parametrize(
    "change",
    [lambda c: c[:-3] + "abc", lambda c: c.swapcase(), lambda c: "", lambda c: c.split(".")[0], lambda c: f"{c}."],
    ids=["end", "case", "empty", "unsigned", "longer"],
)
def test_an_altered_cookie_is_none(running: Running, change: Any) -> None:
    """Whatever was changed in it."""
    browser = running.browser()
    browser.sign_in("ana")
    browser.cookies[urlsplit(running.url).netloc][COOKIE] = change(session_of(browser))
    assert browser.send("GET", "/").status == 303


def test_keys_rotate(serve: Serve) -> None:
    """The new key signs, the old one still verifies; once it is gone, its sessions are too."""
    old, new = "a" * 40, "b" * 40
    first = serve(keys=(old,))
    browser = first.browser()
    browser.sign_in("ana")
    cookie = session_of(browser)
    now = first.service.now()
    both = serve(keys=(new, old))
    assert both.service.sessions.person(cookie, now) is not None
    assert serve(keys=(new,)).service.sessions.person(cookie, now) is None


def test_a_session_has_an_end(running: Running) -> None:
    """By the store's clock."""
    from datetime import timedelta

    browser = running.browser()
    browser.sign_in("ana")
    now = running.service.now()
    assert running.service.sessions.person(session_of(browser), now + timedelta(hours=7)) is not None
    assert running.service.sessions.person(session_of(browser), now + timedelta(hours=8, seconds=1)) is None


def test_the_issuer_can_end_sessions(serve: Serve, provider: Provider) -> None:
    """By a logout token; anything else that it signs isn't one."""
    running = serve()
    browser = running.browser()
    browser.sign_in("ana")
    event: dict[str, Any] = {"http://schemas.openid.net/event/backchannel-logout": {}}

    def send(token: str) -> int:
        return (
            running.browser()
            .send("POST", "/auth/backchannel-logout", body=urlencode({"logout_token": token}), Content_Type=FORM)
            .status
        )

    assert send(provider.token(provider.claims("ana"))) == 400
    assert send(provider.token(provider.claims("ana", events=event, nonce="n"))) == 400
    assert browser.send("GET", "/").status == 200
    assert send(provider.token(provider.claims("ana", events=event))) == 200
    next_look()
    assert browser.send("GET", "/").status == 303


@pytest.mark.long
def test_the_issuer_can_end_a_session_without_naming_its_person(serve: Serve, provider: Provider) -> None:
    """A logout token may hold a `sid` instead of a subject. It signs nobody in, whomever it names."""
    running = serve(machines=[{"issuer": ISSUER, "discovery": provider.url, "audience": "approvals-api"}])
    provider.people["ana"]["sid"] = "s-1"
    ana, ben = running.browser(), running.browser()
    ana.sign_in("ana")
    ben.sign_in("ben")
    event: dict[str, Any] = {"http://schemas.openid.net/event/backchannel-logout": {}}

    def token(**claims: Any) -> str:
        given = provider.claims("nobody", **claims)
        del given["sub"]
        return provider.token(given)

    def send(logout: str) -> int:
        form = urlencode({"logout_token": logout})
        return running.browser().send("POST", "/auth/backchannel-logout", body=form, Content_Type=FORM).status

    assert send(token(events=event)) == 401
    assert send(token(sid="s-1")) == 400
    assert send(token(events=event, sid="s-2")) == 200
    assert send(token(events={"x": {}}, sid="s-1")) == 400
    next_look()
    assert ana.send("GET", "/").status == 200
    assert send(token(events=event, sid="s-1")) == 200
    next_look()
    assert (ana.send("GET", "/").status, ben.send("GET", "/").status) == (303, 200)
    told: dict[str, Any] = {"events": event, "sid": "s-1", "aud": "approvals-api"}
    for bearer in (token(**told), provider.token(provider.claims("ana", **told))):
        assert running.browser().send("GET", "/api/v1/whoami", Authorization=f"Bearer {bearer}").status == 401


@pytest.mark.parametrize("path", ["/claims/{}", "/claims/{}/record", "/api/v1/claims/{}", "/approval/{}/approve?token=x"])
@pytest.mark.parametrize("id_", ["a" * 37, "a" * 3000, "a" * 60_000, "%00", "%ff", "%20", "..%2f.."])
def test_an_id_that_is_none_is_not_looked_for(running: Running, path: str, id_: str) -> None:
    """However long or odd: it is answered as one that isn't there, and takes no memory as a key."""
    browser = running.browser()
    browser.sign_in("ana")
    assert browser.send("GET", path.format(id_)).status in (401, 404)
    assert all(len(str(key)) <= 36 for key in running.service.desk.looks._claims._entries)


@pytest.mark.parametrize("shown_at", ["2020-01-01", "2020-01-01T00:00:00", "9999-12-31T23:59:59+00:00", "\ud800", "now", ""])
def test_an_odd_time_in_a_form_is_no_time(running: Running, shown_at: str) -> None:
    """The page of a refused verdict is shown all the same."""
    claim = running.claim(terms=under(required_approvals=3))
    ana, ben = running.browser(), running.browser()
    page = ana.sign_in("ana", f"/claims/{claim.id}")
    ben.decide(ben.sign_in("ben", f"/claims/{claim.id}"), "approve")
    fields = {**page.form("/review").fields, "shown_at": shown_at.encode("utf-8", "replace").decode(), "verdict": "approve"}
    sent = ana.send(
        "POST", page.form("/review").action, body=urlencode(fields), Content_Type=FORM, Sec_Fetch_Site="same-origin"
    )
    assert sent.status == 412


def test_no_address_tells_of_a_verdict_that_was_not_given(running: Running) -> None:
    """A link that somebody sends, as it looks after a verdict, doesn't make a reviewer think that they have decided."""
    claim = running.claim(terms=under(required_approvals=2))
    ana = running.browser()
    page = ana.sign_in("ana", f"/claims/{claim.id}?done=1")
    assert "Your verdict is recorded" not in page.text
    assert "Your verdict is recorded" in ana.decide(page, "approve").text


# ---- tokens ------------------------------------------------------------------------------------


def _forged(provider: Provider) -> dict[str, Any]:
    other = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    public = provider.keys[provider.kid].public_key()
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    import base64
    import hashlib
    import hmac
    import json

    def b64(data: bytes) -> str:
        return base64.urlsafe_b64encode(data).rstrip(b"=").decode()

    def confused(claims: dict[str, Any]) -> str:
        head = b64(json.dumps({"alg": "HS256", "kid": provider.kid}).encode()) + "." + b64(json.dumps(claims).encode())
        return f"{head}.{b64(hmac.digest(pem, head.encode(), hashlib.sha256))}"

    return {
        "alg none": lambda claims: jwt.encode(claims, "", algorithm="none", headers={"kid": provider.kid}),
        "HS256 with the public key": confused,
        "another key under a known kid": lambda claims: jwt.encode(
            claims, other, algorithm="RS256", headers={"kid": provider.kid}
        ),
        "an unknown kid": lambda claims: jwt.encode(claims, other, algorithm="RS256", headers={"kid": "unknown"}),
        "a key in the header": lambda claims: jwt.encode(
            claims, other, algorithm="RS256", headers={"jwk": provider.jwks()["keys"][0]}
        ),
    }


@pytest.mark.parametrize(
    "how",
    ["alg none", "HS256 with the public key", "another key under a known kid", "an unknown kid", "a key in the header"],
)
def test_a_token_that_isn_t_the_issuer_s_signs_nobody_in(running: Running, provider: Provider, how: str) -> None:
    """Whatever algorithm or key it names."""
    provider.sign = _forged(provider)[how]
    browser = running.browser()
    assert browser.sign_in("ana").status == 401
    assert COOKIE not in browser.cookies[urlsplit(running.url).netloc]


@pytest.mark.parametrize(
    "wrong",
    [
        {"iss": "https://evil.example"},
        {"aud": "others"},
        {"aud": [CLIENT, "others"]},
        {"aud": [CLIENT, "others"], "azp": "others"},
        {"azp": "others"},
        {"exp": 1},
        {"exp": None},
        {"exp": "9999999999"},
        {"iat": 9_999_999_999},
        {"nbf": 9_999_999_999},
        {"nonce": "another"},
        {"nonce": None},
        {"sub": ""},
        {"sub": 7},
        {"sub": "a\nb"},
        {"sub": " ana"},
        {"sub": "x" * 300},
        {"groups": {"a": 1}},
        {"groups": [1]},
    ],
    ids=str,
)
def test_a_token_that_says_something_else_signs_nobody_in(running: Running, provider: Provider, wrong: dict[str, Any]) -> None:
    """Issuer, audience, party, times, nonce and subject have to be right, each of them."""
    provider.twist = lambda claims: {name: value for name, value in (claims | wrong).items() if value is not None}
    browser = running.browser()
    assert browser.sign_in("ana").status == 401
    assert COOKIE not in browser.cookies[urlsplit(running.url).netloc]


def test_a_code_serves_once(running: Running) -> None:
    """The same answer of the issuer again signs nobody in."""
    browser = running.browser()
    page = browser.go("/")
    form = page.form("/login")
    url = urlsplit(page.url)
    login = dict(browser.cookies[urlsplit(running.url).netloc])
    back = browser.send(
        "POST", f"{url.scheme}://{url.netloc}/login", body=urlencode({**form.fields, "user": "ana"}), Content_Type=FORM
    )
    assert browser.send("GET", back.headers["location"]).status == 303
    again = running.browser()
    again.cookies[urlsplit(running.url).netloc] = login
    assert again.send("GET", back.headers["location"]).status == 401


def test_the_issuer_s_new_key_is_found(serve: Serve, provider: Provider) -> None:
    """And its keys are looked for no more than once a minute, whatever tokens name."""
    running = serve()
    provider.rotate("k2")
    assert running.browser().sign_in("ana").status == 200
    looks = provider.asked.count("/jwks")
    provider.sign = lambda claims: jwt.encode(claims, provider.keys["k2"], algorithm="RS256", headers={"kid": "made-up"})
    for _ in range(3):
        assert running.browser().sign_in("ana").status == 401
    assert provider.asked.count("/jwks") == looks


def test_too_many_groups_fail_closed(running: Running, provider: Provider) -> None:
    """An overage is no empty list: whoever's groups aren't told may do nothing that takes a group, and is told why."""
    provider.people["ana"] = {"_claim_names": {"groups": "src1"}, "_claim_sources": {}}
    claim = running.claim()
    page = running.browser().sign_in("ana", f"/claims/{claim.id}")
    assert "too many" in page.text
    assert not [form for form in page.forms() if form.action.endswith("/review")]


def test_a_policy_for_groups_refuses_whose_groups_are_not_told(serve: Serve, provider: Provider) -> None:
    """Where the config lets everybody review too."""

    running = serve(pools={"payments": {"reviewers": ["everyone"]}})
    provider.people["ana"] = {"hasgroups": True}
    terms = under(required_approvals=1, groups={"g": [f"oidc-group:{ISSUER}#sec"]})
    claim = running.claim(terms=terms)
    free = running.claim(2, lock_name="free")
    browser = running.browser()
    page = browser.sign_in("ana", f"/claims/{claim.id}")
    assert "too many" in page.text
    assert not [form for form in page.forms() if form.action.endswith("/review")]
    assert "It is approved" in browser.decide(browser.go(f"/claims/{free.id}"), "approve").text


def test_who_signed_in_too_long_ago_signs_in_again(serve: Serve, provider: Provider) -> None:
    """To decide; the issuer's auth_time is what counts, not that it was asked."""
    running = serve(login={**_login(provider), "max_age": 600})
    provider.twist = lambda claims: claims | {"auth_time": claims["auth_time"] - 3600}
    assert running.browser().sign_in("ana").status == 401
    provider.twist = lambda claims: {name: value for name, value in claims.items() if name != "auth_time"}
    assert running.browser().sign_in("ana").status == 401
    provider.forget()
    claim = running.claim()
    browser = running.browser()
    assert "It is approved" in browser.decide(browser.sign_in("ana", f"/claims/{claim.id}"), "approve").text


@pytest.mark.parametrize(
    ("told", "status"),
    [({}, 201), ({"auth_time": -3600}, 401), ({"iat": -3600}, 401), ({"iat": -3600, "auth_time": -5}, 201)],
    ids=["just made", "signed in long ago", "made long ago", "renewed"],
)
def test_a_token_decides_no_longer_after_a_sign_in_than_a_browser(
    serve: Serve, provider: Provider, told: dict[str, int], status: int
) -> None:
    """Else one sign-in on the command line would decide for as long as its token lasts."""
    machine = {"issuer": ISSUER, "discovery": provider.url, "audience": "approvals-api"}
    running = serve(login={**_login(provider), "max_age": 600}, machines=[machine])
    claim, now = running.claim(), int(time.time())
    claims = provider.claims("ana", "approvals-api", **{name: now + ago for name, ago in told.items()})
    word = {"Authorization": f"Bearer {provider.token(claims)}"}
    seen = running.browser().send("GET", f"/api/v1/claims/{claim.id}", **word)
    sent = running.browser().send(
        "POST",
        f"/api/v1/claims/{claim.id}/reviews",
        body=json.dumps({"status": "approved"}),
        Content_Type="application/json",
        If_Match=seen.headers["etag"],
        **word,
    )
    assert sent.status == status


def test_signing_in_again_leads_back_to_the_page_of_a_form(serve: Serve, provider: Provider) -> None:
    """A form's own address takes no GET."""
    running = serve(login={**_login(provider), "max_age": 600})
    claim = running.claim()
    for form in ("review", "withdraw"):
        answer = running.browser().send(
            "POST", f"/claims/{claim.id}/{form}", body="", Content_Type=FORM, Sec_Fetch_Site="same-origin", Origin=running.url
        )
        assert (answer.status, f'/auth/login?next=/claims/{claim.id}"' in answer.text) == (401, True)


def test_a_key_that_can_not_be_read_hinders_no_other(
    running: Running, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An issuer may publish keys of kinds that nobody here knows, and broken ones."""
    good = provider.jwks()["keys"]
    broken = [
        {},
        {"kty": "RSA"},
        {"kty": "RSA", "n": "!", "e": "!"},
        {"kty": "EC", "crv": "P-256", "x": 1, "y": []},
        {"kty": 7},
    ]
    monkeypatch.setattr(provider, "jwks", lambda: {"keys": [*broken, *good]})
    assert running.browser().sign_in("ana").status == 200


def _login(provider: Provider) -> dict[str, Any]:
    return {"issuer": ISSUER, "discovery": provider.url, "client_id": CLIENT, "client_secret": "env:UNUSED"}


def test_refused_tries_are_logged_and_not_in_the_pool_s_log(running: Running, caplog: pytest.LogCaptureFixture) -> None:
    """With who, what and why; no cookie, word or token is in any line."""
    claim = running.claim()
    browser = running.browser()
    page = browser.sign_in("ana", f"/claims/{claim.id}")
    events = len(list(running.store.events("payments")))
    with caplog.at_level("INFO", logger="approval_resource"):
        browser.decide(page, "approve", seen="0" * 64)
        mangled = quote(f"/approval/{claim.id}/approve?token=v1.secretsecret")
        for path in (mangled, mangled.replace("%3F", "%253F"), f"/approval/{claim.id}/approve?token=v1.secretsecret"):
            running.browser().send("GET", path)
        # A line is written once its answer has been sent.
        until = time.monotonic() + 10
        while "bad-link" not in str([getattr(one, "told", "") for one in caplog.records]) and time.monotonic() < until:
            time.sleep(0.02)
    told = [record.told for record in caplog.records if hasattr(record, "told")]
    assert any(line.get("refused") == "changed" and line["who"].endswith("#ana") and claim.id in line["path"] for line in told)
    assert any(line.get("refused") == "bad-link" for line in told)
    assert "secretsecret" not in caplog.text + str(told)
    assert session_of(browser) not in caplog.text + str(told)
    assert len(list(running.store.events("payments"))) == events
    assert running.store.claim(claim.id).state is State.PENDING  # type: ignore[union-attr]
