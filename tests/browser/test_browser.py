"""A real browser: two people sign in, on a phone and at a desk, without a mouse and without JavaScript, and open a gate."""

from __future__ import annotations

import re
import threading
from datetime import timedelta
from hashlib import sha256
from pathlib import Path
from queue import Queue
from typing import Any

import pytest
from click.testing import CliRunner
from playwright.sync_api import Browser, BrowserContext, Page

from approval_resource.claims.gate import wait
from approval_resource.claims.poller import Poller
from approval_resource.clock import HostClock
from approval_resource.commands.device import Device
from approval_resource.model.claim import Attachment, Claim, Verdict
from approval_resource.model.event import State
from cli import cli
from tests.builders import under
from tests.service.conftest import Running

PHONE: dict[str, Any] = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}
DESK: dict[str, Any] = {"viewport": {"width": 1280, "height": 900}}
SCREENS = [PHONE, DESK]
AXE = (Path(__file__).parent / "node_modules" / "axe-core" / "axe.min.js").read_text(encoding="utf-8")
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
def test_two_people_open_a_gate(chromium: Browser, running: Running, screen: dict[str, Any], script: bool) -> None:
    """Each signs in, reads and decides by the keyboard; the step that waits goes on."""
    claim = a_claim(running)
    opened: list[Claim] = []
    until = running.store.now() + timedelta(seconds=60)
    poller = Poller(HostClock(), 0.2, lambda line: None)
    gate = threading.Thread(
        target=lambda: opened.append(wait(running.store, claim, poller=poller, give_up_at=until)), daemon=True
    )
    gate.start()
    for user in ("ana", "ben"):
        context = opened_in(chromium, **screen, java_script_enabled=True)
        page = context.new_page()
        page.on("dialog", lambda dialog: dialog.dismiss())
        if not script:
            # The test's own look at the focus needs a script engine, so the page's script is kept out instead.
            page.route("**/static/live.js*", lambda route: route.abort())
        sign_in(page, running, user, f"/claims/{claim.id}")
        assert "Release 41 to production" in page.inner_text("main")
        assert "+ add one" in page.inner_text("pre")
        tab_to(page, "button[value=approve]")
        page.keyboard.press("Enter")
        page.wait_for_url("**done=1*")
        context.close()
    gate.join(30)
    assert [one.state for one in opened] == [State.APPROVED]
    assert len(opened[0].reviews) == 2


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


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("screen", SCREENS, ids=["phone", "desk"])
def test_axe_finds_nothing(chromium: Browser, running: Running, screen: dict[str, Any], scheme: Any) -> None:
    """At WCAG 2.2 AA, on every page, in either scheme."""
    claim = a_claim(
        running, terms=under({"required_approvals": 2, "inputs": [{"name": "ticket", "description": "Which one?"}]})
    )
    decided = a_claim(running, terms=under(required_approvals=1))
    context = opened_in(chromium, **screen, color_scheme=scheme, bypass_csp=True)
    page = context.new_page()
    sign_in(page, running, "ana", f"/claims/{decided.id}")
    page.locator("button[value=approve]").click()
    page.wait_for_url("**done=1*")
    found = {}
    paths = [
        "/",
        f"/claims/{claim.id}",
        f"/claims/{decided.id}?done=1",
        f"/claims/{claim.id}/record",
        "/pools/payments",
        "/batch",
        "/signed-out",
        "/nothing",
    ]
    for path in paths:
        page.goto(f"{running.url}{path}")
        page.evaluate(AXE)
        tags = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]
        result = page.evaluate("tags => axe.run({runOnly: {type: 'tag', values: tags}})", tags)
        faults = [(one["id"], [node["html"][:200] for node in one["nodes"]][:3]) for one in result["violations"]]
        if faults:
            found[path] = faults
    context.close()
    assert found == {}


def test_an_open_page_says_when_something_changed(chromium: Browser, running: Running) -> None:
    """By the script alone; what somebody types stays, and nothing is decided by it."""
    claim = a_claim(running)
    context = opened_in(chromium, **DESK)
    page = context.new_page()
    sign_in(page, running, "ana", f"/claims/{claim.id}")
    page.fill("textarea[name=comment]", "half a sentence")
    from approval_resource.claims.review import review
    from approval_resource.model.claim import Verdict

    review(running.store, claim.id, reviewer="aws:arn:aws:iam::123456789012:user/x", verdict=Verdict.APPROVE)
    page.locator("#live").filter(has_text="changed").wait_for(timeout=20_000)
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
