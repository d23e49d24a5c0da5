"""Whether a claim's gate has opened: told on its page and by the API, by what the log has."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from approval_resource import pools
from approval_resource.claims.end import force_release
from approval_resource.claims.gate import pass_through
from approval_resource.documents.events import event_digest
from approval_resource.model.claim import Claim, Verdict
from approval_resource.model.event import TICK, Event, Kind, passages
from approval_resource.service.acts import Said
from approval_resource.service.people import Person
from approval_resource.store.dynamodb import items
from tests.builders import a_build, an_event, under
from tests.service.browser import Browser, words
from tests.service.conftest import ANA, Running
from tests.service.provider import ISSUER

ANA_HERE = Person(identity=ANA, groups=(f"oidc-group:{ISSUER}#team-payments", f"oidc-group:{ISSUER}#sec"), via="session")


def approved(running: Running) -> Claim:
    """A claim that one person approved."""
    return running.service.acts.review(ANA_HERE, running.claim().id, Said(verdict=Verdict.APPROVE)).claim


def passed(running: Running, claim: Claim, number: int, *, spend: bool = False) -> Claim:
    """The claim once that build has passed its gate, as a put of it does."""
    after = pass_through(running.store, claim, a_build(number), spend=spend)
    running.service.desk.looks.forget(claim)
    return after


def gate(browser: Browser, claim: Claim) -> str:
    """The page's line about the gate, or an empty string."""
    return words(browser.go(f"/claims/{claim.id}")).partition(" Gate ")[2].partition(" Why ")[0]


def test_a_page_tells_whether_the_gate_has_opened_by_which_build_and_when(running: Running) -> None:
    """Nothing before the decision; not yet after it; then each build with its link and time, each once."""
    browser = running.browser()
    browser.sign_in("ana")
    waits = running.claim()
    assert gate(browser, waits) == ""
    page = browser.decide(browser.go(f"/claims/{waits.id}"), "approve")
    assert "the waiting step goes on" in page.text
    assert gate(browser, waits).startswith("not opened yet: no build has passed")
    claim = running.store.claim(waits.id)
    assert claim is not None
    claim = passed(running, claim, 41)
    (event,) = passages(running.store.events("payments", lock_name=claim.lock_name))
    told = gate(browser, claim)
    assert told.startswith("opened: passed by main/app/deploy #41, just now ")
    assert f"({event.at:%Y-%m-%d %H:%M:%S} UTC)" in told
    assert 'href="https://ci.example/builds/41"' in browser.go(f"/claims/{claim.id}").text
    claim = passed(running, claim, 41, spend=True)
    assert gate(browser, claim).count("#41") == 2, "once as passed, once as used by"
    for number in range(42, 49):
        claim = passed(running, claim, number)
    told = gate(browser, claim)
    assert [number for number in range(41, 49) if f"#{number}," in told] == [41, 42, 43, 44, 45]
    assert "and by 3 more since, as the record tells" in told


def test_a_gate_that_a_freeze_keeps_shut_is_told_so(running: Running) -> None:
    """Though its claim is approved."""
    looks = running.service.desk.looks
    claim = running.claim(pool="secret")
    claim = running.service.acts.review(ANA_HERE, claim.id, Said(verdict=Verdict.APPROVE)).claim
    pools.freeze(running.store, "secret", timedelta(hours=1), "fire", actor="aws:op")
    looks.forget(claim)
    browser = running.browser()
    browser.sign_in("ana")
    assert gate(browser, claim).startswith("kept shut by a freeze")
    pools.unfreeze(running.store, "secret", "", actor="aws:op")
    looks.forget(claim)
    assert gate(browser, claim).startswith("not opened yet")


def test_an_end_is_told_at_the_gate(running: Running) -> None:
    """A passage stays told after the end; a later claim's on the same lock is not this one's."""
    browser = running.browser()
    browser.sign_in("ana")
    first = passed(running, approved(running), 1)
    first = force_release(running.store, first, actor="aws:op", reason="over")
    second = running.claim(2, lock_name=first.lock_name)
    second = running.service.acts.review(ANA_HERE, second.id, Said(verdict=Verdict.APPROVE)).claim
    assert gate(browser, first).startswith("opened: passed by main/app/deploy #1,")
    assert gate(browser, second).startswith("not opened yet")
    second = force_release(running.store, passed(running, second, 2), actor="aws:op", reason="over")
    running.service.desk.looks.forget(second)
    assert "#2" not in gate(browser, first)
    unused = force_release(running.store, approved(running), actor="aws:op", reason="not needed")
    running.service.desk.looks.forget(unused)
    assert gate(browser, unused).startswith("the log has no build that passed")


def test_a_lapsed_approval_is_not_told_as_one_that_may_still_open(running: Running) -> None:
    """Nobody passes on it any more."""
    claim = running.claim(terms=under(required_approvals=1, valid_for="1h"))
    claim = running.service.acts.review(ANA_HERE, claim.id, Said(verdict=Verdict.APPROVE)).claim
    view = running.service.desk.view(ANA_HERE, claim)
    assert view.gate == "not opened yet: no build has passed"
    assert replace(view, now=view.now + timedelta(hours=2)).gate == "not opened: no build passed before the approval lapsed"


def test_a_planted_passage_is_not_told(running: Running) -> None:
    """Neither one that isn't what its digest is of, nor one after the claim's newest event."""
    claim = passed(running, passed(running, approved(running), 41), 42)
    assert claim.event_at is not None
    first, _ = passages(running.store.events("payments", lock_name=claim.lock_name))
    late = replace(first, timestamp=claim.event_at + TICK, revision=99, build="https://ci.example/builds/98")
    for event in (replace(first, build="https://ci.example/builds/99"), replace(late, digest=event_digest(late))):
        running.store._client.put_item(TableName=running.service.config.table, Item=items.event_item(event))
    running.service.desk.looks.forget(claim)
    told = running.service.desk.view(ANA_HERE, claim).passages
    assert [event.build for event in told] == ["https://ci.example/builds/42"]


def test_an_open_page_hears_that_the_gate_has_opened(running: Running) -> None:
    """A passage makes another tag, so that the page that polls with its own gets the claim with its passages."""
    browser = running.browser()
    browser.sign_in("ana")
    claim = approved(running)
    path = f"/api/v1/claims/{claim.id}"
    seen = browser.go(path)
    assert seen.json["passages"] == []
    tag = seen.headers["etag"]
    assert f'data-etag="{tag.strip(chr(34))}" data-passages="0"' in browser.go(f"/claims/{claim.id}").text
    assert browser.send("GET", path, If_None_Match=tag).status == 304
    passed(running, claim, 41)
    answer = browser.send("GET", path, If_None_Match=tag)
    assert answer.status == 200
    assert [(one["build"], one["build_url"]) for one in answer.json["passages"]] == [
        ("main/app/deploy #41", "https://ci.example/builds/41")
    ]


def an_entry(kind: Kind, build: str, place: int) -> Event:
    """An entry of that kind, told by that build."""
    return an_event(revision=place, kind=kind, build=build, actor=f"build {build}")


@pytest.mark.parametrize("kind", list(Kind), ids=lambda kind: kind.value)
def test_only_what_records_a_passage_is_one(kind: Kind) -> None:
    """Of all kinds of events, two are; the first of each build."""
    entries = [an_entry(kind, "1", 1), an_entry(kind, "1", 2), an_entry(kind, "2", 3)]
    assert passages(entries) == ((entries[0], entries[2]) if kind in (Kind.PASSED, Kind.SPENT) else ())
