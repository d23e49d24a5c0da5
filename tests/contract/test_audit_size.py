"""An audit takes as much memory for a long log as for a short one, and little time of its own for each event."""

from __future__ import annotations

import time as host
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from approval_resource.audit import verify as audit
from approval_resource.model.claim import Claim, Transition, Verdict
from approval_resource.model.event import Head, Kind, State
from approval_resource.model.lock import Lock
from approval_resource.model.settings import Settings
from approval_resource.store.dynamodb import items
from approval_resource.store.dynamodb.store import DynamoStore
from approval_resource.store.transaction import ClaimChange, Commit, Snapshot, plan
from tests.builders import NOON, FrozenTime, a_build, a_claim, a_review

LOCKS = 20
PAGE = 7 * 2**20
"""Bytes that a page of a query may take. Once the log is longer than one, the page worked on and the next are held."""
SECONDS_AN_EVENT = 0.00025


class Writer:
    """Writes a long log as commits would, without asking the store for each."""

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


def peak(store: DynamoStore, pool: str) -> int:
    """The most memory that an audit of the pool holds at once, in bytes."""
    tracemalloc.start()
    try:
        assert audit.verify(store, pool).findings == []
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.long
@pytest.mark.timeout(600)
def test_an_audit_s_memory_and_time_go_by_what_lives_at_once(connect: Callable[..., DynamoStore]) -> None:
    """Five times the events take two pages more at most, and half a millisecond of own processor time each."""
    time = FrozenTime()
    time.tick(hours=2)
    store = connect(time)
    store.create_table()
    a_long_log(store, "short", 1000)
    a_long_log(store, "long", 5000)
    audit.verify(store, "short")
    started = host.process_time()
    report = audit.verify(store, "long")
    spent = host.process_time() - started
    assert (report.findings, report.events, report.claims) == ([], 5000, 1250)
    assert spent < 5000 * SECONDS_AN_EVENT
    assert peak(store, "long") - peak(store, "short") < 2 * PAGE
