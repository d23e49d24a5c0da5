"""Deciding on a page: signed in at the issuer, seen, decided, and the gate opens."""

from __future__ import annotations

from approval_resource.claims.poller import Poller
from approval_resource.claims.proof import deciding_event, require_supported
from approval_resource.clock import HostClock
from approval_resource.model.claim import Verdict
from approval_resource.model.event import State
from tests.builders import under
from tests.service.conftest import ANA, BEN, Running, Serve, next_look
from tests.service.provider import ISSUER


def test_a_claim_is_approved_by_whoever_signed_in(running: Running) -> None:
    """The review carries the issuer's identity and the groups as they were, and the decision holds at the gate."""
    claim = running.claim(description="Release 41")
    browser = running.browser()
    page = browser.sign_in("ana", f"/claims/{claim.id}")
    assert page.status == 200
    assert "Release 41" in page.text
    assert "waits for you" in page.text
    done = browser.decide(page, "approve", comment="looks right")
    assert done.status == 200
    assert "It is approved" in done.text
    after = running.store.claim(claim.id)
    assert after is not None
    assert after.state is State.APPROVED
    review = after.reviews[ANA]
    assert (review.verdict, review.comment) == (Verdict.APPROVE, "looks right")
    assert review.groups == (f"oidc-group:{ISSUER}#sec", f"oidc-group:{ISSUER}#team-payments")
    require_supported(running.store, after, deciding_event(running.store, after, Poller(HostClock(), 5.0, print)))


def test_the_first_page_answers_what_waits_for_whom(serve: Serve) -> None:
    """First what waits for this person, then for others, then what was decided."""
    running = serve()
    running.claim(1, lock_name="first", description="mine to decide")
    theirs = under(approval_rules=[{"user": "olga"}], people={"olga": [f"oidc:{ISSUER}#olga"]})
    running.claim(2, lock_name="second", terms=theirs)
    browser = running.browser()
    page = browser.sign_in("ana")
    mine, _, others = page.text.partition("Waiting for others")
    assert "mine to decide" in mine
    assert "second" in others
    assert "second" not in mine.partition("Waiting for you")[2]


def test_a_claim_waits_only_for_whom_it_lacks(serve: Serve) -> None:
    """As the column `you` of `list` has it: not for who could only break the glass, nor once others have done that person's part."""
    running = serve()
    ana = f"oidc:{ISSUER}#ana"
    people = {"ana": [ana], "ben": [f"oidc:{ISSUER}#ben"], "olga": [f"oidc:{ISSUER}#olga"]}
    groups = {"sec": ["ana", "ben"], "ops": ["olga"]}
    terms = under(approval_rules=[{"group": "sec"}, {"group": "ops"}], people=people, groups=groups)
    shared = running.claim(1, lock_name="shared", terms=terms)
    running.claim(2, lock_name="broken", terms=under(approval_rules=[{"user": "olga"}], people=people, bypass=["ana"]))
    browser = running.browser()
    page = browser.sign_in("ana")
    mine, _, others = page.text.partition("Waiting for others")
    assert ("shared" in mine, "broken" in mine, "broken" in others) == (True, False, True)
    other = running.browser()
    other.decide(other.sign_in("ben", f"/claims/{shared.id}"), "approve")
    next_look()
    assert "Nothing waits for you." in browser.go("/").text


def test_nothing_waiting_says_so(serve: Serve) -> None:
    """An empty list tells what else there is."""
    running = serve()
    page = running.browser().sign_in("ana")
    assert "Nothing waits for you." in page.text
    assert "Nothing was decided yet." in page.text


def test_a_second_person_completes_a_decision(running: Running) -> None:
    """After the first verdict the page says what is still missing and who can give it; after the second it is decided."""
    claim = running.claim(terms=under(required_approvals=2))
    first, second = running.browser(), running.browser()
    done = first.decide(first.sign_in("ana", f"/claims/{claim.id}"), "approve")
    assert "Your verdict is recorded. It is not decided yet" in done.text
    assert "1 of 2" in done.text
    page = second.sign_in("ben", f"/claims/{claim.id}")
    assert ANA in page.text
    assert "It is approved" in second.decide(page, "approve").text


def test_a_rejection_needs_its_reason(running: Running) -> None:
    """Without a comment nothing is recorded, and what was filled in stays."""
    claim = running.claim()
    browser = running.browser()
    page = browser.sign_in("ben", f"/claims/{claim.id}")
    again = browser.decide(page, "reject")
    assert again.status == 422
    assert "tell why you reject" in again.text
    assert running.store.claim(claim.id).reviews == {}  # type: ignore[union-attr]
    done = browser.decide(again, "reject", comment="not on a Friday")
    assert "It is rejected" in done.text
    after = running.store.claim(claim.id)
    assert after is not None
    assert after.state is State.REJECTED
    assert after.reviews[BEN].comment == "not on a Friday"


def test_a_review_binds_what_was_shown(running: Running) -> None:
    """When something changed since, nothing is recorded: the page shows what is new, and decides on that."""
    claim = running.claim(terms=under(required_approvals=2))
    first, second = running.browser(), running.browser()
    old = first.sign_in("ana", f"/claims/{claim.id}")
    second.decide(second.sign_in("ben", f"/claims/{claim.id}"), "approve", comment="me too")
    changed = first.decide(old, "approve")
    assert changed.status == 412
    assert "changed since you looked" in changed.text
    assert "New:" in changed.text
    assert "me too" in changed.text
    assert ANA not in running.store.claim(claim.id).reviews  # type: ignore[union-attr]
    assert "It is approved" in first.decide(changed, "approve").text


def test_a_mind_can_be_changed_while_nothing_is_decided(running: Running) -> None:
    """The newest word counts."""
    claim = running.claim(terms=under(required_approvals=2))
    browser = running.browser()
    page = browser.decide(browser.sign_in("ana", f"/claims/{claim.id}"), "approve")
    assert "Change your mind" in page.text
    assert "It is rejected" in browser.decide(page, "reject", comment="no").text


def test_who_reviews_may_withdraw_and_operators_may_force(running: Running) -> None:
    """By the same operation as the command line, on record."""
    claim = running.claim()
    ana, olga = running.browser(), running.browser()
    page = ana.sign_in("ana", f"/claims/{claim.id}")
    done = ana.submit(page, page.form("/withdraw"), reason="not needed")
    assert "withdrawn" in done.text
    assert running.store.claim(claim.id).ended.actor == ANA  # type: ignore[union-attr]
    held = running.claim(2, need_approval=False)
    page = olga.sign_in("olga", f"/claims/{held.id}")
    refused = olga.submit(page, page.form("/withdraw"), reason="stuck")
    assert refused.status == 403
    done = olga.submit(page, page.form("/withdraw"), reason="stuck", force="yes")
    assert running.store.claim(held.id).state is State.RELEASED  # type: ignore[union-attr]
    assert done.status == 200
