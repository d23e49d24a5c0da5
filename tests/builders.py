"""Short ways to make the nouns, and clocks that stand still."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from approval_resource.claims import acquire as claims
from approval_resource.claims.decide import Terms
from approval_resource.claims.request import Attempt, Request
from approval_resource.clock import HostClock, StoreClock
from approval_resource.documents.events import event_digest
from approval_resource.model.claim import Build, Claim, Claimant, Review, Verdict
from approval_resource.model.event import Event, Head, Kind, State
from approval_resource.model.lock import Lock
from approval_resource.model.queue_order import Waiter
from approval_resource.model.settings import Settings
from approval_resource.store.interface import LockStore
from approval_resource.store.transaction import Plan, Snapshot

NOON = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)


class FrozenTime(StoreClock):
    """The store's time as a test sets it, whatever the engine's answers say."""

    def __init__(self, at: datetime = NOON) -> None:
        super().__init__(HostClock())
        self.at = at

    def now(self) -> datetime:
        return self.at

    def tick(self, **span: float) -> None:
        """Let that much time pass, told as `timedelta` takes it."""
        self.at += timedelta(**span)


class ManualClock:
    """A host's clock on which only sleeping passes time; what else shall happen meanwhile is told by `on_sleep`."""

    def __init__(self, time: FrozenTime | None = None) -> None:
        self.slept: list[float] = []
        self.time = time
        self.on_sleep: list[Any] = []

    def monotonic(self) -> float:
        return sum(self.slept)

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        if self.time is not None:
            self.time.tick(seconds=seconds)
        if self.on_sleep:
            self.on_sleep.pop(0)()


def a_build(number: int | str = 1, **changes: str) -> Build:
    """Build `number` of main/app/deploy."""
    facts: dict[str, str] = {
        "url": "https://ci.example",
        "team": "main",
        "pipeline": "app",
        "job": "deploy",
        "id": f"{number}",
        "name": f"{number}",
    }
    return Build(**(facts | changes))


def a_request(lock_name: str = "deploy", pool: str = "payments", **changes: Any) -> Request:
    """A request for approval on a lock."""
    facts: dict[str, Any] = {"pool": pool, "lock_name": lock_name, "need_approval": True}
    return Request(**(facts | changes))


def under(*policies: dict[str, Any], given: dict[str, Any] | None = None, **policy: Any) -> Terms:
    """The terms of a claim: these policies, or the one that the options are, and what its pipeline says."""
    documents = [{"name": f"policy {number + 1}", **one} for number, one in enumerate(policies or (policy,))]
    return Terms(json.dumps(documents), given or {})


def take(store: LockStore, build: Build | int = 1, claim_key: str = "", **request: Any) -> Claim:
    """Claim at once."""
    build = a_build(build) if isinstance(build, int) else build
    return claims.take(store, a_request(**request), Claimant(build, claim_key), Attempt()).claim


def a_claim(**changes: Any) -> Claim:
    """A pending claim."""
    facts: dict[str, Any] = {
        "id": "11111111-1111-4111-8111-111111111111",
        "pool": "payments",
        "lock_name": "deploy",
        "build": a_build(),
        "build_key": a_build().key(),
        "request": "r",
        "need_approval": True,
        "timestamp": NOON,
        "state": State.PENDING,
        "changed": NOON,
    }
    return Claim(**(facts | changes))


def a_review(reviewer: str = "aws:ann", verdict: Verdict = Verdict.APPROVE, at: datetime = NOON, **changes: Any) -> Review:
    """That person's review."""
    return Review(reviewer=reviewer, verdict=verdict, at=at, **changes)


def a_waiter(number: int = 1, **changes: Any) -> Waiter:
    """Build `number` of main/app/deploy in a queue, with that number as its ticket."""
    build = a_build(number)
    facts: dict[str, Any] = {"key": build.key(), "ticket": number, "build": str(build), "since": NOON}
    return Waiter(**(facts | changes))


def a_lock(name: str = "deploy", pool: str = "payments", **changes: Any) -> Lock:
    """A free lock that nobody waits for."""
    return Lock(pool=pool, name=name, **changes)


def an_event(**changes: Any) -> Event:
    """The first event of a pool's log, with the digest that belongs to it unless another is given."""
    facts: dict[str, Any] = {
        "pool": "payments",
        "timestamp": NOON,
        "revision": 1,
        "kind": Kind.PENDING,
        "claim_id": a_claim().id,
        "lock_name": "deploy",
        "lock_event_number": 1,
        "state": State.PENDING,
        "actor": str(a_build()),
        "at": NOON,
        "operation": "22222222-2222-4222-8222-222222222222",
        "claim": "c",
        "previous": "",
        "previous_timestamp": None,
    }
    event = Event(**(facts | changes))
    return event if event.digest else replace(event, digest=event_digest(event))


def a_snapshot(**changes: Any) -> Snapshot:
    """A pool nothing was written to, with a free lock, at noon."""
    facts: dict[str, Any] = {
        "now": NOON,
        "head": Head(pool="payments"),
        "lock": a_lock(),
        "settings": Settings(pool="payments"),
    }
    return Snapshot(**(facts | changes))


def after(snapshot: Snapshot, planned: Plan, now: datetime | None = None) -> Snapshot:
    """The snapshot that the next transaction reads, once the planned one was written."""
    return replace(
        snapshot,
        now=now or snapshot.now,
        head=planned.head,
        lock=planned.lock,
        settings=planned.settings or snapshot.settings,
        build=planned.build or snapshot.build,
        claims={**snapshot.claims, **{claim.id: claim for claim in planned.claims}},
    )
