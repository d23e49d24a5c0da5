"""A real browser: two people sign in, on a phone and at a desk, without a mouse and without JavaScript, and open a gate."""

from __future__ import annotations

import re
import threading
from datetime import datetime, timedelta
from hashlib import sha256
from pathlib import Path
from queue import Queue
from typing import Any
from urllib.parse import quote, unquote, urlsplit
from uuid import uuid4
from zoneinfo import ZoneInfo

import pytest
from click.testing import CliRunner
from playwright.sync_api import Browser, BrowserContext, Page

from approval_resource.claims.gate import pass_through
from approval_resource.claims.review import review
from approval_resource.clock import HostClock
from approval_resource.commands.device import Device
from approval_resource.model.claim import Attachment, Claim, Verdict
from approval_resource.model.event import State
from approval_resource.service.render import HERE as PAGES
from cli import cli
from tests.builders import under
from tests.scripts.conftest import Concourse, held_by
from tests.service.conftest import Running, next_look
from tests.service.test_written import pages

PHONE: dict[str, Any] = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}
DESK: dict[str, Any] = {"viewport": {"width": 1280, "height": 900}}
SCREENS = [PHONE, DESK]
AXE = (Path(__file__).parent / "node_modules" / "axe-core" / "axe.min.js").read_text(encoding="utf-8")
SCHEMES: dict[Any, dict[str, Any]] = {
    "light": {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]},
    "dark": {"type": "rule", "values": ["color-contrast"]},
}
TOKYO = ZoneInfo("Asia/Tokyo")
NOWHERE = "http://pages.invalid/"
PLAN = b"# plan\n+ add one\n- drop two\n~ change three\n"


def a_claim(running: Running, **more: Any) -> Claim:
    """A claim for two people, with a plan."""
    attached = {"plan.txt": PLAN}
    files = {name: Attachment(sha256(content).hexdigest(), len(content), True) for name, content in attached.items()}
    more.setdefault("terms", under(required_approvals=2))
    return running.claim(description="Release 41 to production", attachments=files, attached=attached, **more)


def opened_in(chromium: Browser, **options: Any) -> BrowserContext:
    """A fresh profile of the browser, which waits for nothing for ever."""
    context = chromium.new_context(**options)
    context.set_default_timeout(20_000)
    return context


def sign_in(page: Page, running: Running, user: str, path: str) -> None:
    """Sign in at the provider with the keyboard alone."""
    page.goto(f"{running.url}{path}")
    page.locator("input[name=login]").focus()
    page.keyboard.type(user)
    page.keyboard.press("Tab")
    page.keyboard.type("any")
    with page.expect_navigation():
        page.keyboard.press("Enter")
    if "/interaction/" in page.url:
        with page.expect_navigation():
            page.locator("button[type=submit]").press("Enter")
    page.wait_for_url(f"{running.url}{path}")


def tab_to(page: Page, selector: str) -> None:
    """Press Tab until that has the focus."""
    for _ in range(60):
        page.keyboard.press("Tab")
        if page.evaluate("s => document.activeElement && document.activeElement.matches(s)", selector):
            return
    raise AssertionError(f"{selector} can't be reached by the keyboard")


@pytest.mark.parametrize("script", [False, True], ids=["without JavaScript", "with it"])
@pytest.mark.parametrize("screen", SCREENS, ids=["phone", "desk"])
def test_two_people_open_a_gate(
    chromium: Browser, running: Running, concourse: Concourse, screen: dict[str, Any], script: bool
) -> None:
    """A put holds it, as a process of its own. Each signs in, reads and decides by the keyboard; the put goes on."""
    lock = f"gate-{uuid4()}"
    concourse.write("plan.txt", PLAN, build=41)
    put = concourse.start_put(
        "claim",
        build=41,
        lock_name=lock,
        need_approval=True,
        wait=True,
        description="Release 41 to production",
        attach={"plan.txt": "plan.txt"},
        policy={"required_approvals": 2},
    )
    put.says("is waiting for an approval")
    path = f"/claims/{held_by(running.store, lock)}"
    for user in ("ana", "ben"):
        assert put.running, put.stderr
        context = opened_in(chromium, **screen, java_script_enabled=script)
        page = context.new_page()
        page.on("dialog", lambda dialog: dialog.dismiss())
        sign_in(page, running, user, path)
        assert "Release 41 to production" in page.inner_text("main")
        assert "+ add one" in page.inner_text("pre")
        tab_to(page, "button[value=approve]")
        page.keyboard.press("Enter")
        page.wait_for_url("**done=1*")
        if user == "ben":
            assert put.ends().version["state"] == "approved"
            next_look()
            page.goto(f"{running.url}{path}")
            assert "opened: passed by main/app/deploy #41" in page.inner_text("main")
        context.close()


def test_nothing_needs_a_script(chromium: Browser, running: Running) -> None:
    """With JavaScript off in the browser altogether: sign in, decide, sign out."""
    claim = a_claim(running, terms=under(required_approvals=1))
    context = opened_in(chromium, **PHONE, java_script_enabled=False)
    page = context.new_page()
    sign_in(page, running, "ana", f"/claims/{claim.id}")
    page.fill("textarea[name=comment]", "from my phone")
    page.locator("button[value=approve]").tap()
    page.wait_for_url("**done=1*")
    page.locator("button:has-text('Sign out')").tap()
    page.wait_for_url("**/signed-out")
    context.close()
    after = running.store.claim(claim.id)
    assert after is not None
    assert after.state is State.APPROVED


def test_the_first_screen_of_a_phone_tells_what_waits_and_the_buttons_are_at_hand(chromium: Browser, running: Running) -> None:
    """Without scrolling; nothing is wider than the screen; targets are large; both buttons are seen, apart."""
    claim = a_claim(running)
    context = opened_in(chromium, **PHONE)
    page = context.new_page()
    sign_in(page, running, "ana", "/")
    first = page.locator(".cards li a").first.bounding_box()
    assert first is not None
    assert first["y"] + first["height"] < 844
    page.goto(f"{running.url}/claims/{claim.id}")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    boxes = [page.locator(f"button[value={value}]").bounding_box() for value in ("reject", "approve")]
    reject, approve = boxes
    assert reject is not None
    assert approve is not None
    assert reject["y"] + reject["height"] <= 844
    assert reject["height"] >= 44
    assert approve["height"] >= 44
    assert approve["x"] - (reject["x"] + reject["width"]) >= 24
    context.close()


def faults_of(page: Page) -> list[Any]:
    """Faults of the page at WCAG 2.2 AA in either scheme, with all that is folded in it opened.

    Schemes differ in colours alone, so that the second is looked at for those.
    """
    page.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true; })")
    page.evaluate(AXE)
    found = []
    for scheme, only in SCHEMES.items():
        page.emulate_media(color_scheme=scheme)
        result = page.evaluate("only => axe.run({runOnly: only})", only)
        assert result["passes"], "it looked at nothing"
        found += [(scheme, one["id"], [node["html"][:200] for node in one["nodes"]][:3]) for one in result["violations"]]
    return found


@pytest.mark.parametrize("screen", SCREENS, ids=["phone", "desk"])
def test_axe_finds_nothing(chromium: Browser, running: Running, screen: dict[str, Any]) -> None:
    """On every page as the service answers it, before and after a verdict that was recorded, or refused, or of many."""
    claim = a_claim(
        running, terms=under({"required_approvals": 2, "inputs": [{"name": "ticket", "description": "Which one?"}]})
    )
    decided, other = (a_claim(running, terms=under(required_approvals=1)) for _ in range(2))
    context = opened_in(chromium, **screen, bypass_csp=True)
    page = context.new_page()
    found: dict[str, list[Any]] = {}

    def look(at: str, path: str = "") -> None:
        if path:
            page.goto(f"{running.url}{path}")
        found[at] = faults_of(page)

    address = running.service.links.address(claim, Verdict.APPROVE, "mail", running.service.now())
    look("a link", address.removeprefix(running.url))
    sign_in(page, running, "ana", f"/claims/{decided.id}")
    page.locator("button[value=approve]").click()
    page.wait_for_url("**done=1*")
    look("recorded")
    for path in ("/", f"/claims/{claim.id}", f"/claims/{claim.id}/record", "/pools/payments", "/nothing", "/signed-out"):
        look(path, path)
    page.goto(f"{running.url}/claims/{claim.id}")
    page.locator("button[value=reject]").click()
    page.get_by_text("tell why you reject").wait_for()
    look("refused")
    review(running.store, claim.id, reviewer="aws:arn:aws:iam::123456789012:user/x", verdict=Verdict.APPROVE, comment="new")
    page.fill("textarea[name=comment]", "no")
    page.locator("button[value=reject]").click()
    page.get_by_text("New:").wait_for()
    look("changed meanwhile")
    look("/batch", "/batch")
    page.locator(f"input[name='claim-{other.id}']").check()
    page.locator("button[value=approve]").click()
    page.locator("[role=status] li").wait_for()
    look("of many")
    page.goto(f"{running.url}/claims/{claim.id}")
    context.clear_cookies()
    page.locator("button[value=approve]").click()
    page.get_by_role("link", name="Sign in").wait_for()
    look("signed out meanwhile")
    context.close()
    assert {at: faults for at, faults in found.items() if faults} == {}


@pytest.mark.parametrize("screen", SCREENS, ids=["phone", "desk"])
def test_axe_finds_nothing_on_any_template(chromium: Browser, screen: dict[str, Any]) -> None:
    """With every part of it, and with none; a claim's page in each state. A template that is added is looked at too."""
    looked_at = dict(pages("plain", State.PENDING))
    looked_at |= {"claim.html, approved": pages("plain", State.APPROVED)["claim.html"]}
    for state in State:
        looked_at |= {f"claim.html, to a viewer, {state.value}": pages("plain", state)["claim.html, to a viewer"]}
    templates = {file.name for file in (PAGES / "templates").iterdir()} - {"base.html", "parts.html"}
    assert {name.partition(",")[0] for name in looked_at} == templates
    context = opened_in(chromium, **screen)
    page = context.new_page()
    page.route(
        f"{NOWHERE}**",
        lambda route: route.fulfill(body=looked_at[unquote(urlsplit(route.request.url).path)[1:]], content_type="text/html"),
    )
    page.route(f"{NOWHERE}static/*", lambda route: route.fulfill(path=PAGES / urlsplit(route.request.url).path[1:]))
    found = {}
    for name in looked_at:
        page.goto(f"{NOWHERE}{quote(name)}")
        assert page.evaluate("getComputedStyle(document.querySelector('.skip')).position") == "absolute", "without its style"
        found[name] = faults_of(page)
    context.close()
    assert {name: faults for name, faults in found.items() if faults} == {}


def test_an_open_page_says_when_something_changed_and_when_its_gate_has_opened(chromium: Browser, running: Running) -> None:
    """By the script alone; what somebody types stays, and nothing is decided by it."""
    claim = a_claim(running)
    context = opened_in(chromium, **DESK)
    page = context.new_page()
    page.clock.install()
    sign_in(page, running, "ana", f"/claims/{claim.id}")
    page.fill("textarea[name=comment]", "half a sentence")

    def hears(text: str) -> None:
        next_look()
        page.clock.run_for(5_000)
        page.locator("#live").filter(has_text=text).wait_for()

    for user in ("x", "y"):
        user = f"aws:arn:aws:iam::123456789012:user/{user}"
        approved = review(running.store, claim.id, reviewer=user, verdict=Verdict.APPROVE).claim
        hears("This has changed")
    pass_through(running.store, approved, claim.build, spend=False)
    hears("The gate has opened")
    assert page.input_value("textarea[name=comment]") == "half a sentence"
    context.close()


@pytest.mark.parametrize("verdict", list(Verdict), ids=lambda verdict: verdict.value)
def test_a_scanner_with_a_real_browser_changes_nothing(chromium: Browser, running: Running, verdict: Verdict) -> None:
    """It opens the link of a mail, runs the page's script, presses and posts all that there is, and has no session."""
    claim = a_claim(running, terms=under(required_approvals=1))
    address = running.service.links.address(claim, verdict, "mail", running.service.now())
    context = opened_in(chromium)
    page = context.new_page()
    page.goto(address)
    page.wait_for_load_state("load")
    assert "changed nothing" in page.content()
    assert page.locator("form, button, input").count() == 0
    posting = "async a => (await fetch(a, {method: 'POST', body: new URLSearchParams({verdict: 'approve', word: 'x', seen: 'x'})})).status"
    for path in (address, f"{running.url}/claims/{claim.id}/review", f"{running.url}/batch"):
        assert page.evaluate(posting, path) in (400, 401, 403)
    context.close()
    assert running.store.claim(claim.id) == claim


def test_the_command_line_signs_in_by_a_code(chromium: Browser, running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    """At the strict provider, in a browser; then it decides as that person, without AWS keys."""
    claim = a_claim(running, terms=under(required_approvals=1))
    told: Queue[str] = Queue()
    found: list[str] = []
    device = Device(running.url, HostClock(), told.put)
    signing_in = threading.Thread(target=lambda: found.append(device.token()))
    signing_in.start()
    address, code = re.findall(r"at (\S+) and enter (\S+)\. ", told.get(timeout=30))[0]
    context = opened_in(chromium)
    page = context.new_page()
    # The provider's own pages name a font elsewhere.
    page.route(lambda url: "//127.0.0.1:" not in url, lambda route: route.abort())
    page.goto(address)
    page.locator("input[name=user_code]").fill(code)
    page.locator("button[type=submit]").first.click()
    page.locator("button[type=submit]").first.click()
    page.locator("input[name=login]").fill("ben")
    page.locator("input[name=password]").fill("any")
    page.locator("button[type=submit]").first.click()
    page.locator("button[type=submit]").first.click()
    signing_in.join(60)
    context.close()
    assert len(found) == 1
    monkeypatch.setenv("APPROVAL_TOKEN", found[0])
    done = CliRunner().invoke(cli, ["--service", running.url, "approve", claim.id])
    assert done.exit_code == 0, done.output
    after = running.store.claim(claim.id)
    assert after is not None
    assert [one.partition("#")[2] for one in after.reviews] == ["ben"]
    assert after.state is State.APPROVED


def test_times_are_in_the_readers_zone(chromium: Browser, running: Running) -> None:
    """Absolute ones by the page's script, wherever a moment is told; without JavaScript they are in UTC and say so."""
    claim = a_claim(running, expires_after=timedelta(days=2))
    review(running.store, claim.id, reviewer="aws:arn:aws:iam::123456789012:user/x", verdict=Verdict.APPROVE)
    for script in (True, False):
        context = opened_in(chromium, **DESK, java_script_enabled=script, timezone_id="Asia/Tokyo", locale="en-GB")
        page = context.new_page()
        sign_in(page, running, "ana", f"/claims/{claim.id}")
        told: list[datetime] = []
        for path in ("/", f"/claims/{claim.id}", "/pools/payments"):
            page.goto(f"{running.url}{path}")
            for time in page.locator("time").all():
                at = datetime.fromisoformat(time.get_attribute("datetime") or "")
                there = at.astimezone(TOKYO)
                local, utc = f"{there.day} {there:%b %Y, %H:%M:%S}", f"{at:%Y-%m-%d %H:%M:%S} UTC"
                if time.get_attribute("class") == "local":
                    assert time.inner_text() in ({local} if script else {utc, f"{at:%Y-%m-%d %H:%M} UTC", f"{at:%H:%M:%S}"})
                else:
                    beside = time.locator("xpath=following-sibling::*[1][contains(@class, 'abs')]")
                    assert beside.inner_text() == f"({local if script else utc})"
                    assert time.get_attribute("title") == (local if script else utc)
                told.append(at)
        assert {claim.created_at, claim.deadline} <= set(told)
        assert page.locator("h3", has_text="in UTC").count() >= 1, "days are UTC's, whatever the zone"
        page.goto(f"{running.url}/claims/{claim.id}/record")
        assert page.locator("main time").count() == 0, "the record reads alike everywhere"
        assert f"Asked at\n{claim.created_at:%Y-%m-%d %H:%M:%S} UTC" in page.inner_text("main")
        context.close()
