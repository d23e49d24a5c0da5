"""Webhooks: every event that matters, once, in order, signed, and harmless when it comes twice."""

from __future__ import annotations

from collections.abc import Callable

from approval_resource.claims.review import review
from approval_resource.model.claim import Claim, Verdict
from approval_resource.notify.channels.webhook import WebhookOutlet
from approval_resource.notify.connections import parse_address
from approval_resource.notify.worker import Worker
from approval_resource.store.dynamodb.store import DynamoStore
from tests.builders import FrozenTime, a_build, take
from tests.notify.conftest import SECRET
from tests.notify.standins import Receiver, verifier
from tests.unit.test_words import misnamed

ANA = "aws:arn:aws:iam::111122223333:user/ana"


def hook(receiver: Receiver) -> WebhookOutlet:
    """The way to that receiver."""
    return WebhookOutlet(parse_address(f"{receiver.url}/hooks/1"), SECRET)


def decide(store: DynamoStore, claim: Claim, verdict: Verdict = Verdict.APPROVE, **more: str) -> None:
    """Decide on it as Ana."""
    review(store, claim.id, reviewer=ANA, verdict=verdict, **more)  # type: ignore[arg-type]


def test_a_claim_and_its_decision_are_told_once_and_in_order(
    shared: DynamoStore, time: FrozenTime, receiver: Receiver, working: Callable[..., Worker]
) -> None:
    """The receiver gets what happened, in the order of the log, each with a signature that the docs' verifier takes."""
    worker = working(hook(receiver))
    assert worker.turn()
    claim = take(shared, a_build(1, created_by="dana"), description="deploy it")
    time.tick(seconds=2)
    worker.turn()
    decide(shared, claim, comment="fine")
    time.tick(seconds=2)
    worker.turn()
    worker.turn()
    told = [request.document for request in receiver.taken]
    assert [one["type"] for one in told] == ["claim.pending", "claim.approved"]
    assert [one["claim"]["id"] for one in told] == [claim.id] * 2
    assert [one["claim"]["lock_name"] for one in told] == ["deploy"] * 2
    assert misnamed(told) == []
    assert (told[0]["claim"]["description"], told[0]["claim"]["requester"]) == ("deploy it", "dana")
    assert (told[1]["event"]["actor"], told[1]["claim"]["reason"]) == (ANA, "fine")
    seen: set[str] = set()
    verify = verifier()
    now = int(time.at.timestamp())
    assert all(verify(SECRET, request.headers, request.body, now, seen) for request in receiver.taken)
    assert not any(verify(SECRET, request.headers, request.body, now, seen) for request in receiver.taken)
