"""Contents of the pages: a claim that has ended in each way, what waits behind one, a pool, and the record."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest

from approval_resource.claims.deadline import apply_time
from approval_resource.claims.end import force_release
from approval_resource.claims.gate import pass_through
from approval_resource.claims.release import release
from approval_resource.claims.review import review, withdraw
from approval_resource.model.claim import Claim, Claimant, Verdict
from approval_resource.model.event import State
from approval_resource.store.dynamodb.store import DynamoStore
from tests.builders import NOON, FrozenTime, a_build, a_waiter, take, under
from tests.service.browser import Browser, words
from tests.service.conftest import ANA, BEN, OLGA, Running, Serve

WHAT = "Release 41 to production"
ONE = under(required_approvals=1)


def approved(running: Running, **more: Any) -> Claim:
    """A claim that Ana approved and whose gate its build passed."""
    claim = running.claim(description=WHAT, terms=ONE, **more)
    done = review(running.store, claim.id, reviewer=ANA, verdict=Verdict.APPROVE, comment="looks right").claim
    return pass_through(running.store, done, a_build(), spend=False)


def released(running: Running) -> Claim:
    claim = approved(running)
    ended = release(running.store, claim.pool, claim.lock_name, Claimant(a_build()))
    return ended.claim


def rejected(running: Running) -> Claim:
    claim = running.claim(description=WHAT, terms=ONE)
    return review(running.store, claim.id, reviewer=BEN, verdict=Verdict.REJECT, comment="drops a table").claim


def expired(running: Running) -> Claim:
    claim = running.claim(description=WHAT, terms=ONE, expires_after=timedelta(milliseconds=50))
    until = time.monotonic() + 20
    while claim.state is State.PENDING and time.monotonic() < until:
        claim = apply_time(running.store, claim)
    return claim


def superseded(running: Running) -> Claim:
    claim = running.claim(description=WHAT, terms=ONE)
    running.claim(2, lock_name=claim.lock_name, override_approval=True)
    return stored(running, claim)


def withdrawn(running: Running) -> Claim:
    claim = running.claim(description=WHAT, terms=ONE)
    return withdraw(running.store, claim, actor=BEN, reason="asked too early")


def freed_by_force(running: Running) -> Claim:
    return force_release(running.store, approved(running), actor=OLGA, reason="the build is gone")


def forced(running: Running) -> Claim:
    terms = under({"required_approvals": 3, "bypass": {"users": [OLGA]}})
    claim = running.claim(description=WHAT, terms=terms)
    done = review(running.store, claim.id, reviewer=OLGA, verdict=Verdict.APPROVE, forced=True, comment="on fire").claim
    return release(running.store, done.pool, done.lock_name, Claimant(a_build())).claim


def stored(running: Running, claim: Claim) -> Claim:
    """The claim as it is now."""
    found = running.store.claim(claim.id)
    assert found is not None
    return found


@dataclass(frozen=True)
class Face:
    """What the page of an ended claim has to tell: its state, decision and end, and its gate."""

    state: str
    lines: tuple[str, ...]
    gate: str
    absent: tuple[str, ...] = ()


OPENED = "Gate opened: passed by main/app/deploy #1, "
SHUT = "Gate stayed shut"
ENDS: dict[Callable[[Running], Claim], Face] = {
    released: Face("released", (f"Decision approved by {ANA}, ", "End released by main/app/deploy #1, "), OPENED),
    rejected: Face("rejected", (f"Decision rejected by {BEN}, ", "drops a table"), SHUT, ("End ",)),
    expired: Face("expired", ("End expired by ", "nobody decided"), SHUT, ("Decision ",)),
    superseded: Face("superseded", ("End superseded by main/app/deploy #2, ",), SHUT, ("Decision ",)),
    withdrawn: Face("withdrawn", (f"End withdrawn by {BEN}, ", "asked too early"), SHUT, ("Decision ",)),
    freed_by_force: Face(
        "released", (f"Decision approved by {ANA}, ", f"End released by {OLGA}, ", "the build is gone"), OPENED
    ),
    forced: Face(
        "released",
        (f"Decision approved by {OLGA}, ", f"approve {OLGA} forced, ", "on fire"),
        "Gate the log has no build that passed",
    ),
}


@pytest.mark.parametrize(("end", "face"), ENDS.items(), ids=[end.__name__ for end in ENDS])
def test_a_claim_that_has_ended_tells_how(running: Running, end: Callable[[Running], Claim], face: Face) -> None:
    """Its state in the title and beside the lock, who decided and ended it and why, its gate; and nothing to press."""
    claim = end(running)
    browser = running.browser()
    page = browser.sign_in("olga", f"/claims/{claim.id}")
    text = words(page)
    assert f"<title>{face.state}: {claim.lock_name} in payments" in page.text
    assert f'<span class="chip {face.state}">{face.state}</span>' in page.text
    for line in (WHAT, "Asked by main/app/deploy #1", *face.lines, face.gate):
        assert line in text
    about = text.partition(" Since ")[2].partition(" What is attached ")[0]
    for line in (*face.absent, "To be decided", "Opens", "You can't decide here"):
        assert line not in about
    assert [form.action for form in page.forms() if form.action.startswith("/claims/")] == []
    record = words(browser.go(f"/claims/{claim.id}/record"))
    for line in (f"State {face.state}", *(line for line in face.lines if line.startswith(("Decision", "End")))):
        assert line in record


def test_ended_claims_are_listed_by_their_end(running: Running) -> None:
    """Under what was decided lately, with who did it and why."""
    claim = withdrawn(running)
    running.service.desk.looks.forget(claim)
    text = words(running.browser().sign_in("vic"))
    assert f"{claim.lock_name} in payments: withdrawn by {BEN}, " in text.partition(" Decided lately ")[2]


def queued(running: Running, claim: Claim, *numbers: int) -> None:
    """Let those builds wait for the claim's lock, in that order."""
    for number in numbers:
        running.store.requeue(
            claim.pool,
            claim.lock_name,
            lambda lock, now, number=number: lock.joined(a_waiter(number, since=now)),  # type: ignore[misc]
        )


def lines(browser: Browser, path: str, heading: str) -> list[str]:
    """The items of the list below that heading."""
    text = browser.go(path).text.partition(f">{heading}</h2>")[2].partition("</ol>")[0]
    return [" ".join(re.sub("<[^>]*>", "", item).split()) for item in re.findall(r"<li>(.*?)</li>", text, re.DOTALL)]


def test_who_waits_for_the_lock_is_told_in_order(running: Running) -> None:
    """With since when; the section is left out while nobody does."""
    claim = running.claim()
    browser = running.browser()
    assert "Waiting for this lock" not in browser.sign_in("ana", f"/claims/{claim.id}").text
    queued(running, claim, 7, 8)
    running.service.desk.looks.forget(claim)
    told = lines(browser, f"/claims/{claim.id}", "Waiting for this lock")
    assert [line.partition(",")[0] for line in told] == ["main/app/deploy #7", "main/app/deploy #8"]
    assert all(re.search(r", just now \(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC\)$", line) for line in told)


def test_a_pool_tells_its_holders_its_queues_and_its_days(serve: Serve) -> None:
    """Empty at first; then each holder with its state, each lock's queue, and each event below its day, newest first."""
    running = serve()
    browser = running.browser()
    empty = words(browser.sign_in("vic", "/pools/payments"))
    for line in ("Every lock is free.", "Nobody waits.", "Nothing has happened yet."):
        assert line in empty
    pending = running.claim(description=WHAT, lock_name="eu")
    held = approved(running, lock_name="us")
    queued(running, pending, 7, 8)
    gone = withdraw(running.store, running.claim(3, lock_name="ap"), actor=BEN, reason="asked too early", forced=True)
    running.service.desk.looks.forget(pending)
    text = words(browser.go("/pools/payments"))
    holders, _, rest = text.partition("Holding a lock ")[2].partition(" Waiting for a lock ")
    queues, _, history = rest.partition(" History ")
    assert [name for name in ("eu in payments", "us in payments", "ap in payments") if name in holders] == [
        "eu in payments",
        "us in payments",
    ]
    assert WHAT in holders
    assert re.search(r"\bpending\b.*\bapproved\b", holders)
    assert re.fullmatch(r"eu main/app/deploy #7, just now \(.* UTC\) main/app/deploy #8, just now \(.* UTC\)", queues)
    told = re.findall(r"\d\d:\d\d:\d\d (\w+): (\w+)(?: \(\w+\))?(?:, forced)? by", history)
    assert told == [
        ("ap", "withdrawn"),
        ("ap", "pending"),
        ("us", "passed"),
        ("us", "approved"),
        ("us", "pending"),
        ("eu", "pending"),
    ]
    assert f"ap: withdrawn, forced by {BEN}: asked too early" in history
    assert f'href="/claims/{gone.id}">ap</a>' in browser.go("/pools/payments").text
    assert held.id in browser.go("/pools/payments").text


def test_history_is_told_by_day(serve: Serve, connect: Callable[..., DynamoStore]) -> None:
    """Each day is a heading of its own with its events alone, the newest first."""
    running = serve()
    first = FrozenTime(NOON)
    early = take(connect(first), lock_name="eu")
    first.tick(days=1, hours=2)
    take(connect(first), a_build(2), lock_name="us")
    withdraw(connect(first), early, actor=BEN, reason="asked too early", forced=True)
    text = words(running.browser().sign_in("vic", "/pools/payments"))
    assert text.partition(" History ")[2] == (
        f"2026-11-22 in UTC 14:00:00 eu: withdrawn, forced by {BEN}: asked too early 14:00:00 us: pending by main/app/deploy #2 "
        "2026-11-21 in UTC 12:00:00 eu: pending by main/app/deploy #1"
    )


def test_the_record_tells_reviews_policies_and_log(running: Running) -> None:
    """Whoever said what and when, each policy's answer, and each event with who, why and its digest."""
    claim = approved(running)
    browser = running.browser()
    text = words(browser.sign_in("vic", f"/claims/{claim.id}/record"))
    one = claim.reviews[ANA]
    assert f"Reviews approve by {ANA} at {one.at:%Y-%m-%d %H:%M:%S} UTC: looks right" in text
    assert "Policies policy 1 " in text
    assert "1 of 1 approvals" in text
    log = text.partition(" Log ")[2]
    events = list(running.store.events(claim.pool, lock_name=claim.lock_name))
    assert [event.kind.value for event in events] == ["pending", "approved", "passed"]
    for event in events:
        verdict = f" ({event.verdict})" if event.verdict else ""
        why = f" {event.reason}" if event.reason else ""
        assert f"{event.at:%Y-%m-%d %H:%M:%S} UTC {event.kind.value}{verdict} {event.actor}{why} {event.digest[:16]}…" in log
    assert "approvals audit verify" in log
    empty = words(browser.go(f"/claims/{running.claim().id}/record"))
    assert "Reviews none " in empty
