"""What a claim's page shows: files and their change, every state's own face, and who can still decide."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from hashlib import sha256
from time import process_time, sleep
from types import SimpleNamespace
from typing import Any

import pytest

from approval_resource import pools
from approval_resource.claims.end import force_release
from approval_resource.model.claim import Attachment, Claim, Verdict
from approval_resource.model.event import State
from approval_resource.notify.message import excerpt
from approval_resource.service import looks as looks_module
from approval_resource.service.acts import Said
from approval_resource.service.looks import Looks
from approval_resource.service.people import Person
from approval_resource.service.render import MAX_DIFF_LINES, ago, coloured, difference, visible
from approval_resource.store.dynamodb import items
from approval_resource.store.dynamodb.store import DynamoStore
from approval_resource.text import BLANK, IGNORABLE
from tests.builders import NOON, FrozenTime, take, under
from tests.service.conftest import ANA, Running, Serve, next_look

OLGA = "oidc:https://login.example.com#olga"


def planned(running: Running, text: str, number: int, lock: str, **more: Any) -> Claim:
    """A claim on that lock with a plan."""
    content = text.encode()
    files = {"plan.txt": Attachment(sha256(content).hexdigest(), len(content), True)}
    return running.claim(number, lock_name=lock, attachments=files, attached={"plan.txt": content}, **more)


def test_a_file_is_shown_as_its_change_to_what_was_approved_last(serve: Serve) -> None:
    """On this lock; the first claim has nothing to be compared with."""
    running = serve()
    browser = running.browser()
    first = planned(running, "+ one\n- two\n", 1, "prod")
    page = browser.sign_in("ana", f"/claims/{first.id}")
    assert "Changes to what was approved last" not in page.text
    browser.decide(page, "approve")
    force_release(running.store, running.store.claim(first.id), actor="aws:op", reason="over")  # type: ignore[arg-type]
    second = planned(running, "+ one\n- three\n", 2, "prod")
    text = browser.go(f"/claims/{second.id}").text
    assert "Changes to what was approved last" in text
    assert '<span class="del">-- two</span>' in text
    assert '<span class="add">+- three</span>' in text


def approved_then(running: Running, before: str, after: str) -> tuple[Claim, Claim]:
    """A claim with the first text, approved and over, and one with the second text that waits on the same lock."""
    first = planned(running, before, 1, "prod")
    running.service.acts.review(_ana(), first.id, Said(verdict=Verdict.APPROVE))
    held = running.store.claim(first.id)
    assert held is not None
    return force_release(running.store, held, actor="aws:op", reason="over"), planned(running, after, 2, "prod")


SAME, DIFFERS = "It is the same file that was approved last.", "It differs from what was approved last."
MANY = "\n" * (MAX_DIFF_LINES + 1)


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        ("one\n", "one\n", SAME),
        (MANY + "keep", MANY + "destroy", DIFFERS),
        ("one\r\ntwo", "one\ntwo", DIFFERS),
        *((f"rm x{sign}y", "rm x\ny", "Changes to what was approved last") for sign in "\v\f\x1c\x85\u2028\r"),
        ("one", "one\n", "Changes to what was approved last"),
    ],
)
@pytest.mark.long
def test_only_equal_bytes_are_told_to_be_the_same_file(serve: Serve, before: str, after: str, told: str) -> None:
    """A change past the longest comparison, or in what separates lines, is a change."""
    running = serve()
    _, waits = approved_then(running, before, after)
    text = running.browser().sign_in("ana", f"/claims/{waits.id}").text
    assert told in text
    assert (SAME in text) == (before == after)


@pytest.mark.parametrize("edit", [{"lock_name": "another"}, {"pool": "secret"}, {"description": "edited"}, {"attachments": {}}])
def test_nothing_is_compared_with_an_edited_claim(serve: Serve, edit: dict[str, Any]) -> None:
    """Whoever writes the table can't hide a change behind an earlier claim that was never approved so."""
    running = serve()
    first, waits = approved_then(running, "one\n", "two\n")
    forged = replace(first, **(edit if edit != {"attachments": {}} else {"attachments": waits.attachments}))
    running.store._client.put_item(TableName=running.service.config.table, Item=items.claim_item(forged))
    text = running.browser().sign_in("ana", f"/claims/{waits.id}").text
    assert "approved last" not in text


def test_the_worst_texts_are_compared_in_bounded_time() -> None:
    """Every second line is common to both, and each of those stands as often as a line may that isn't skipped."""
    common = [f"{number * 7919 % (MAX_DIFF_LINES // 20)}" for number in range(MAX_DIFF_LINES // 2)]
    before, after = ("\n".join(f"{line}\n{side}{number}" for number, line in enumerate(common)) for side in "uv")
    began = process_time()
    assert difference(before, after)
    assert process_time() - began < 2


@pytest.mark.long
def test_each_state_has_its_own_face(serve: Serve) -> None:
    """A window that is shut, a deadline that passed, a policy that can't be read, a freeze, and each end."""
    running = serve()
    browser = running.browser()
    browser.sign_in("ana")
    later = running.claim(1, terms=under(required_approvals=1, not_before="2h"))
    assert "waits for a window" in browser.decide(browser.go(f"/claims/{later.id}"), "approve").text
    odd = running.claim(2, terms=under(rego="package spacelift\napprove { not input.run.nothing.there }"))
    assert "undecidable" in browser.go(f"/claims/{odd.id}").text
    theirs = running.claim(3, terms=under(approval_rules=[{"user": OLGA}]))
    page = browser.go(f"/claims/{theirs.id}")
    assert "waits for others" in page.text
    assert "You can't decide here" in page.text
    assert "Who can still open it" in page.text
    assert OLGA in page.text
    gone = running.claim(4, expires_after=timedelta(seconds=1))
    import time

    time.sleep(2.2)
    assert "overdue" in browser.go(f"/claims/{gone.id}").text
    assert "too late by now" in browser.go(f"/claims/{gone.id}").text
    pools.freeze(running.store, "payments", timedelta(hours=1), "the database burns", actor="aws:op")
    calm = running.claim(5)
    next_look()
    assert "the database burns" in browser.go(f"/claims/{calm.id}").text
    assert "the database burns" in browser.go("/pools/payments").text


def test_who_can_open_a_gate_is_looked_up_anew_as_time_goes_by(
    connect: Callable[..., DynamoStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stand-in's time comes while nothing about the claim changes; until the answer is old, one look serves all."""
    at, now = [0.0], FrozenTime()
    monkeypatch.setattr(looks_module, "time", SimpleNamespace(monotonic=lambda: at[0]))
    store = connect(now)
    tomorrow = (NOON + timedelta(days=1)).date()
    stand_in = {"person": ANA, "delegate": OLGA, "from": str(tomorrow), "until": str(tomorrow)}
    claim = take(store, terms=under(approval_rules=[{"user": ANA}], delegates=[stand_in]))
    looks = Looks(store)

    def people() -> set[str]:
        found = looks.openers(claim, store.settings(claim.pool)).sets
        return {name for wanted in found for _, names in wanted for name in names}

    first = people()
    assert first == {ANA}
    now.tick(days=1)
    at[0] = looks_module.OPENERS_SECONDS
    assert people() == first
    at[0] += 0.1
    assert people() == {ANA, OLGA}


def test_who_asked_is_told_that_their_approval_does_not_count(serve: Serve) -> None:
    """It doesn't wait for them, and the page says why; they may reject it."""
    running = serve()
    terms = under(required_approvals=1, allow_self_approval=False, people={"dana": [ANA]})
    claim = running.claim(by="dana", terms=terms)
    browser = running.browser()
    assert "Nothing waits for you" in browser.sign_in("ana").text
    page = browser.go(f"/claims/{claim.id}")
    assert "You asked for this" in page.text
    assert "It is rejected" in browser.decide(page, "reject", comment="not yet").text


def test_inputs_rules_and_force_are_filled_in_on_the_page(serve: Serve) -> None:
    """As on the command line, with the same refusals beside what was filled in."""
    running = serve()
    policy = {
        "required_approvals": 1,
        "inputs": [{"name": "ticket", "pattern": "CHG-[0-9]+", "required": True}],
        "bypass": {"users": [ANA]},
    }
    claim = running.claim(terms=under(policy))
    browser = running.browser()
    page = browser.sign_in("ana", f"/claims/{claim.id}")
    wrong = browser.decide(page, "approve", input__ticket="none", comment="kept text")
    assert wrong.status == 422
    assert "kept text" in wrong.text
    assert 'value="none"' in wrong.text
    done = browser.decide(wrong, "approve", input__ticket="CHG-7")
    assert running.store.claim(claim.id).reviews[ANA].inputs == {"ticket": "CHG-7"}  # type: ignore[union-attr]
    assert "It is approved" in done.text
    hard = running.claim(2, terms=under({"required_approvals": 3, "bypass": {"users": [ANA]}}))
    page = browser.go(f"/claims/{hard.id}")
    assert browser.decide(page, "approve", force="yes").status == 422
    browser.decide(page, "approve", force="yes", comment="on fire")
    after = running.store.claim(hard.id)
    assert after is not None
    assert after.state is State.APPROVED
    assert after.reviews[ANA].forced


@pytest.mark.parametrize("of_pool", [False, True])
@pytest.mark.long
def test_the_way_past_a_freeze_is_shown_to_whom_the_pool_lets(serve: Serve, of_pool: bool) -> None:
    """By an issuer's group; what a claim's own policy lets would be refused."""
    running = serve()
    team = "oidc-group:https://login.example.com#team-payments"
    terms = under({"required_approvals": 1, "groups": {"team": [team]}, "bypass": {"groups": ["team"]}})
    if of_pool:
        pools.set_policy(running.store, "payments", terms.policy, actor="aws:op")
    claim = running.claim(terms=under(required_approvals=1) if of_pool else terms)
    browser = running.browser()
    browser.decide(browser.sign_in("ana", f"/claims/{claim.id}"), "approve")
    pools.freeze(running.store, "payments", timedelta(hours=1), "fire", actor="aws:op")
    sleep(1.1)
    page = browser.go(f"/claims/{claim.id}")
    assert ("Let it pass the freeze" in page.text) is of_pool
    if of_pool:
        browser.decide(page, "approve", comment="on fire")
        freeze = running.store.settings("payments").freeze
        assert freeze is not None
        assert freeze.passes == (claim.id,)


def test_several_are_decided_by_one_confirmation(serve: Serve) -> None:
    """Each listed with its digest, each in its own transaction; one that changed is told so, and the others are done."""
    running = serve()
    claims = [running.claim(number, lock_name=f"batch-{number}") for number in range(3)]
    ana, ben = running.browser(), running.browser()
    page = ana.sign_in("ana", "/batch")
    assert all(claim.id in page.text for claim in claims)
    seen = {f"claim-{claim.id}": running.service.desk.view(_ana(), claim).etag for claim in claims}
    assert all(etag in page.text for etag in seen.values())
    ben.decide(ben.sign_in("ben", f"/claims/{claims[0].id}"), "reject", comment="no")
    form = page.form("/batch")
    done = ana.submit(page, form, ("verdict", "approve"), **{name.replace("-", "__"): etag for name, etag in seen.items()})
    states = [running.store.claim(claim.id).state for claim in claims]  # type: ignore[union-attr]
    assert states == [State.REJECTED, State.APPROVED, State.APPROVED]
    assert done.text.count('"chip approve"') == 2
    assert done.text.count('"chip reject"') == 1


def test_too_many_at_once_are_refused_and_none_is_decided(serve: Serve) -> None:
    """No part of a form is dropped in silence."""
    running = serve()
    claim = running.claim()
    browser = running.browser()
    page = browser.sign_in("ana", "/batch")
    many = {f"claim__{number:08}": "x" for number in range(20)}
    many[f"claim__{claim.id.replace('-', '__')}"] = running.service.desk.view(_ana(), claim).etag
    done = browser.submit(page, page.form("/batch"), ("verdict", "approve"), **many)
    assert (done.status, "at most 20 claims at once, not 21" in done.text) == (400, True)
    assert running.store.claim(claim.id) == claim


def _ana() -> Person:
    return Person(identity=ANA, groups=("oidc-group:https://login.example.com#team-payments",), via="session")


def test_what_hides_or_turns_text_is_shown_as_its_number() -> None:
    """Control, format and bidi characters, in plain text and in plans."""
    assert visible("a\u202eb\x1b[0m\u200b<") == (
        'a<span class="ctl">\\u202e</span>b<span class="ctl">\\u001b</span>[0m<span class="ctl">\\u200b</span>&lt;'
    )
    assert coloured("+ a\n  ~ b\nc") == '<span class="add">+ a</span>\n<span class="chg">  ~ b</span>\nc'
    assert difference("a\nb", "a\nc").splitlines()[-2:] == ["-b", "+c"]
    assert difference("a", "a") == ""


def test_no_character_that_is_not_seen_is_left_out() -> None:
    """By Unicode's own list of those, besides what moves or ends a line; so two names that look alike are told apart."""
    unseen = [chr(number) for first, last in IGNORABLE for number in range(first, last + 1)] + [BLANK, "\ue000", "\u2028"]
    assert [c for c in unseen if visible(f"a{c}b") != f'a<span class="ctl">\\u{ord(c):04x}</span>b'] == []
    assert [c for c in unseen if c != "\u2028" and excerpt(f"a{c}b", 1) != f"a\\u{ord(c):04x}b"] == []
    assert visible("naïve\xa0日本 😀") == "naïve\xa0日本 😀"


def test_times_are_told_as_distances() -> None:
    """Before and after, in two units at most."""
    assert ago(NOON - timedelta(minutes=90), NOON) == "1 h 30 min ago"
    assert ago(NOON + timedelta(days=2), NOON) == "in 2 d"
    assert ago(NOON, NOON) == "just now"
