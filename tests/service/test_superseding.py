"""Older claims of a pipeline, closed with the approval of a newer one."""

from __future__ import annotations

from typing import Any

import pytest
from click.testing import CliRunner

from approval_resource.audit import verify as audit
from approval_resource.claims.acquire import take as taken
from approval_resource.claims.lifecycle import require_passable
from approval_resource.claims.request import Attempt
from approval_resource.errors import LockHeldError, StaleLockError
from approval_resource.model.claim import Claim, Claimant
from approval_resource.model.event import State
from cli import cli
from tests.builders import a_build, a_request, take, under
from tests.service.browser import Browser
from tests.service.conftest import ANA, BEN, Running, Serve
from tests.service.provider import ISSUER, Provider
from tests.service.test_api import Api, machine


@pytest.fixture
def open_api(serve: Serve, provider: Provider) -> Running:
    """A service that takes bearer tokens of the provider."""
    return serve(machines=[{"issuer": ISSUER, "discovery": provider.url, "audience": "approvals-api"}])


def claim_of(running: Running, number: int, lock: str, pipeline: str = "app", **more: Any) -> Claim:
    """A pending claim of that pipeline's build."""
    return take(running.store, a_build(number, pipeline=pipeline), lock_name=lock, **more)


def state(running: Running, claim: Claim) -> State:
    """The claim's state as it is stored."""
    found = running.store.claim(claim.id)
    assert found is not None
    return found.state


def offered(browser: Browser, claim: Claim) -> str:
    """The page on which the claim is decided."""
    return browser.go(f"/claims/{claim.id}").text


def test_a_lock_never_has_an_older_claim_beside_a_newer_one(open_api: Running) -> None:
    """So older ones that wait are for other locks of the pool; `override_approval` supersedes one on its own lock."""
    older = claim_of(open_api, 1, "one")
    with pytest.raises(LockHeldError):
        taken(open_api.store, a_request("one"), Claimant(a_build(2)), Attempt())
    newer = claim_of(open_api, 2, "one", override_approval=True)
    assert (state(open_api, older), state(open_api, newer)) == (State.SUPERSEDED, State.PENDING)


def test_older_ones_that_are_chosen_end_with_an_approval(open_api: Running) -> None:
    """Each in a transaction of its own; their gates stay shut, and the audit finds nothing wrong."""
    one, two, kept = (claim_of(open_api, number, f"lock-{number}") for number in (1, 2, 3))
    newer = claim_of(open_api, 4, "lock-4")
    browser = open_api.browser()
    page = browser.sign_in("ana", f"/claims/{newer.id}")
    assert all(f'name="supersede" value="{claim.id}"' in page.text for claim in (one, two, kept))
    done = browser.decide(page, "approve", supersede=one.id)
    assert "It is approved" in done.text
    assert "It is superseded" in done.text
    assert [state(open_api, claim) for claim in (one, two, kept, newer)] == [
        State.SUPERSEDED,
        State.PENDING,
        State.PENDING,
        State.APPROVED,
    ]
    found = open_api.store.claim(one.id)
    assert found is not None
    assert found.ended is not None
    assert (found.ended.actor, found.ended.reason) == (ANA, f"the newer claim {newer.id} was approved")
    with pytest.raises(StaleLockError):
        require_passable(found)
    events = [event for event in open_api.store.events("payments") if event.actor == ANA]
    assert [(event.claim_id, event.state) for event in events] == [(newer.id, State.APPROVED), (one.id, State.SUPERSEDED)]
    assert audit.verify(open_api.store, "payments").findings == []


def test_nothing_else_ends(open_api: Running, provider: Provider) -> None:
    """Not another pipeline's or pool's, not a newer or decided one, and none where the person's rejection wouldn't count."""
    bens = under(approval_rules=[{"group": "b"}], groups={"b": [BEN]})
    other = claim_of(open_api, 1, "other", pipeline="else")
    foreign = claim_of(open_api, 2, "foreign", pool="secret")
    decided = claim_of(open_api, 3, "decided")
    not_ours = claim_of(open_api, 4, "ruled", terms=bens)
    newer = claim_of(open_api, 5, "newer")
    newest = claim_of(open_api, 6, "newest")
    ana = machine(open_api, provider)
    assert ana.review(decided.id).json["claim"]["older"] == []
    told = ana.ask("GET", f"/claims/{newer.id}").json
    assert told["older"] == []
    ids = [claim.id for claim in (other, foreign, decided, not_ours, newest)] + ["unknown", newer.id]
    done = ana.review(newer.id, supersede=ids)
    assert done.status == 201
    assert done.json["claim"]["state"] == "approved"
    assert [(one["id"], one["done"]) for one in done.json["superseded"]] == [(id_, False) for id_ in ids]
    assert f"do not have permission to supersede claim {not_ours.id}" in done.json["superseded"][3]["sentence"]
    states = [state(open_api, claim) for claim in (other, foreign, decided, not_ours, newest)]
    assert states == [State.PENDING, State.PENDING, State.APPROVED, State.PENDING, State.PENDING]


def test_nothing_ends_before_the_newer_one_is_approved(open_api: Running, provider: Provider) -> None:
    """One approval of two closes nothing, and a rejection never does. A retry closes what a killed service left open."""
    older = claim_of(open_api, 1, "older")
    newer = claim_of(open_api, 2, "newer", terms=under(required_approvals=2))
    ana, ben = machine(open_api, provider), machine(open_api, provider, "ben")
    assert ana.ask("GET", f"/claims/{newer.id}").json["older"] == [older.id]
    first = ana.review(newer.id, supersede=[older.id]).json
    assert [(one["done"], "is pending" in one["sentence"]) for one in first["superseded"]] == [(False, True)]
    assert ben.review(newer.id, "rejected", comment="no", supersede=[older.id]).status == 422
    assert state(open_api, older) is State.PENDING
    seen = ben.ask("GET", f"/claims/{newer.id}").headers["etag"]
    assert ben.review(newer.id, seen=seen).status == 201
    for _ in range(2):
        again = ben.review(newer.id, seen=seen, supersede=[older.id])
        assert (again.status, again.json["superseded"][0]["done"]) == (200, True)
    assert state(open_api, older) is State.SUPERSEDED


def test_the_command_line_closes_older_ones_too(open_api: Running, provider: Provider, monkeypatch: pytest.MonkeyPatch) -> None:
    """It says what became of each; one that was not closed makes the exit code 1, and the approval stands."""
    client: Api = machine(open_api, provider)
    monkeypatch.setenv("APPROVAL_TOKEN", client.token)
    older, newer = claim_of(open_api, 1, "older"), claim_of(open_api, 2, "newer")
    command = ["--service", open_api.url, "approve", newer.id, "--supersede", older.id, "--supersede", "unknown"]
    ran = CliRunner().invoke(cli, command)
    assert ran.exit_code == 1
    assert f"{older.id}: It is superseded" in ran.output
    assert "there is no claim unknown" in ran.output
    assert (state(open_api, older), state(open_api, newer)) == (State.SUPERSEDED, State.APPROVED)
