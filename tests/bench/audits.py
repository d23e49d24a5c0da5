"""Group 9: the processor time that an audit takes for an event, on a log that it reads in pages."""

from __future__ import annotations

import time as host
from dataclasses import replace
from datetime import timedelta
from statistics import median
from typing import Any

from approval_resource.audit import verify as audit
from approval_resource.model.claim import Claim, Transition, Verdict
from approval_resource.model.event import Head, Kind, State
from approval_resource.model.lock import Lock
from approval_resource.model.settings import Settings
from approval_resource.store.dynamodb import items
from approval_resource.store.dynamodb.store import DynamoStore
from approval_resource.store.transaction import ClaimChange, Commit, Snapshot, plan
from tests.bench.results import Budget, Group
from tests.builders import NOON, a_build, a_claim, a_review

LOCKS = 20
EVENTS = 5000
ROUNDS = 5
BOUND = 0.25
"""Milliseconds of own processor time for an event."""


def measure(store: DynamoStore) -> Group:
    """Audits of one long log."""
    a_long_log(store, "audited", EVENTS)
    taken = []
    for _ in range(ROUNDS):
        began = host.process_time()
        report = audit.verify(store, "audited")
        taken.append((host.process_time() - began) * 1000 / EVENTS)
        assert (report.findings, report.events) == ([], EVENTS)
    group = Group("9. Audit", heads=["events", "own processor time an event, ms", "the whole log, s"])
    spent = median(taken)
    group.rows = [[f"{EVENTS:,}", f"{spent:.3f} ({min(taken):.3f} to {max(taken):.3f})", f"{spent * EVENTS / 1000:.1f}"]]
    group.budgets = [Budget("an event of an audit", spent, BOUND, "ms")]
    return group


class Writer:
    """Writer of a long log as commits would leave it, without asking the store for each."""

    def __init__(self, store: DynamoStore, pool: str) -> None:
        self.items: list[dict[str, Any]] = []
        self._store, self._now = store, NOON
        self._head, self._locks = Head(pool=pool), {f"l{number}": Lock(pool=pool, name=f"l{number}") for number in range(LOCKS)}

    def commit(self, before: Claim | None, kind: Kind, **changes: Any) -> Claim:
        """One change of a claim."""
        self._now += timedelta(seconds=1)
        claim = changes.pop("claim", before)
        if kind in (Kind.APPROVED, Kind.RELEASED):
            state = State(kind.value)
            made = Transition(state=state, actor="typed:ana", at=self._now, timestamp=self._now)
            changes |= {"state": state, "decided" if kind is Kind.APPROVED else "ended": made}
        change = ClaimChange(claim=replace(claim, **changes), kind=kind, actor="typed:ana")
        lock, pool = self._locks[claim.lock_name], self._head.pool
        known = {before.id: before} if before else {}
        snapshot = Snapshot(now=self._now, head=self._head, lock=lock, settings=Settings(pool=pool), claims=known)
        planned = plan(snapshot, Commit(changes=(change,)), f"{self._head.revision}")
        self._head, self._locks[lock.name] = planned.head, planned.lock
        self.items += [items.event_item(event) for event in planned.events]
        return planned.claims[0]

    def life(self, number: int) -> None:
        """Four events of one claim."""
        made = a_claim(
            id=f"{number:08}-{self._head.pool:a>4.4}-4aaa-8aaa-aaaaaaaaaaaa",
            pool=self._head.pool,
            lock_name=f"l{number % LOCKS}",
            state=State.PENDING,
            revision=0,
            build=a_build(number),
        )
        claim = self.commit(None, Kind.PENDING, claim=made)
        claim = self.commit(claim, Kind.REVIEWED, reviews={"typed:ana": a_review("typed:ana", Verdict.APPROVE, self._now)})
        for kind in (Kind.APPROVED, Kind.RELEASED):
            claim = self.commit(claim, kind)
        self.items.append(items.claim_item(claim))

    def write(self) -> None:
        """Put all of it into the table."""
        rows = [*self.items, *map(items.lock_item, self._locks.values()), items.head_item(self._head)]
        client, table = self._store._client, self._store._table
        for start in range(0, len(rows), 25):
            client.batch_write_item(RequestItems={table: [{"PutRequest": {"Item": item}} for item in rows[start : start + 25]]})


def a_long_log(store: DynamoStore, pool: str, events: int) -> None:
    """A pool with so many events."""
    writer = Writer(store, pool)
    for number in range(events // 4):
        writer.life(number)
    writer.write()
