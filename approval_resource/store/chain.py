"""Chain of a pool's log: place, number and digest of each new event, and the head and lock after it."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

from approval_resource.documents.events import event_digest
from approval_resource.documents.locks import lock_digest
from approval_resource.model.claim import Claim
from approval_resource.model.event import TICK, Event, Head, Kind, Place, State
from approval_resource.model.lock import Lock

CLOCK_PRECISION = timedelta(seconds=1)
"""Largest difference of two readings of the store's time that count as the same time."""
AHEAD = CLOCK_PRECISION + 1000 * TICK
"""Time by which an honest event may be later than the store's clock.

It is the precision, plus a tick for each of up to 1000 events of one instant.
"""
MAX_JOBS = 100
"""Upper bound of the jobs that a lock keeps as those that claimed it."""


class Chain:
    """Head of a pool's log, and the lock, while one transaction adds events to them."""

    def __init__(self, head: Head, lock: Lock, now: datetime, operation: str) -> None:
        """Begin at the newest event. `now` is the store's time; `operation` is the transaction's id."""
        self.head, self.lock = head, lock
        self.events: list[Event] = []
        self._now, self._operation = now, operation

    def next_place(self) -> tuple[datetime, datetime]:
        """Return the next event's place in the log, and its time, which people are shown."""
        timestamp = self.head.next_timestamp(self._now)
        return timestamp, timestamp if timestamp - self._now < CLOCK_PRECISION else self._now

    def apply_claim(self, claim: Claim, *, fresh: bool) -> None:
        """Update the lock's holder, fence, jobs and queue for a changed claim. `fresh`: the claim is new."""
        lock = self.lock.left(claim.build_key) if fresh else self.lock
        if claim.claimed and lock.holder != claim.id:
            if lock.holder or not fresh:
                raise AssertionError(f"claim {claim.id} can't take a lock held by {lock.holder or 'none'}")
            lock = replace(lock, holder=claim.id, fence=claim.fence, jobs=_with_job(lock.jobs, claim.build.job_key))
        elif not claim.claimed and lock.holder == claim.id:
            lock = replace(lock, holder="")
        self.lock = lock

    def add(  # noqa: PLR0913 - each is a word of its own at the call
        self,
        *,
        kind: Kind,
        claim_id: str,
        state: State | None,
        actor: str,
        claim: str,
        build: str = "",
        reason: str = "",
        verdict: str = "",
        forced: bool = False,
        terms: str = "",
        before: str = "",
    ) -> None:
        """Chain another event to the newest."""
        head, (timestamp, at) = self.head, self.next_place()
        place = {kind.state: Place(timestamp, claim_id, self.lock.name)} if kind.state else {}
        lock = replace(self.lock, events=self.lock.events + 1, newest={**self.lock.newest, **place}, event_at=timestamp)
        event = Event(
            pool=head.pool,
            timestamp=timestamp,
            revision=head.revision + 1,
            kind=kind,
            claim_id=claim_id,
            lock_name=lock.name,
            lock_event_number=lock.events,
            state=state,
            actor=actor,
            build=build,
            reason=reason,
            verdict=verdict,
            forced=forced,
            at=at,
            operation=self._operation,
            claim=claim,
            previous=head.digest,
            previous_timestamp=head.timestamp,
            terms=terms,
            before=before,
            lock=lock_digest(lock),
        )
        event = replace(event, digest=event_digest(event))
        self.head = replace(
            head, revision=event.revision, timestamp=timestamp, digest=event.digest, newest={**head.newest, **place}
        )
        self.lock = lock
        self.events.append(event)


def _with_job(jobs: tuple[str, ...], job: str) -> tuple[str, ...]:
    return (*(other for other in jobs if other != job), job)[-MAX_JOBS:] if job else jobs
