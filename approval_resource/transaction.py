"""What one commit reads, what it decided, and everything that follows from it, worked out without I/O."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from approval_resource.model import NOTHING, BuildRecord, Claim, Event, Head, Kind, Lock, Place, Ruling
from approval_resource.records import claim_digest, event_digest

TICK = timedelta(microseconds=1)
A_SECOND = timedelta(seconds=1)
"""What two readings of the store's time may differ by without being different times."""
MAX_JOBS = 100
"""Jobs that a lock remembers to have claimed it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Read:
    """What a commit has to know: always the pool's head and the lock with its holder, and what else is named."""

    pool: str
    lock_name: str
    claim_id: str = ""
    build_key: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """What was read, and the store's time at which it was. Absent things are there with revision 0."""

    now: datetime
    head: Head
    lock: Lock
    build: BuildRecord | None = None
    claims: Mapping[str, Claim] = field(default_factory=lambda: NOTHING)

    @property
    def holder(self) -> Claim | None:
        """The claim that holds the lock."""
        return self.claims[self.lock.holder] if self.lock.holder else None

    @property
    def is_whole(self) -> bool:
        """Whether lock and claims tell of one moment. Items are read one by one, so a commit between may tear them."""
        if self.lock.holder and self.lock.holder not in self.claims:
            return False
        own = (claim for claim in self.claims.values() if (claim.pool, claim.lock_name) == (self.lock.pool, self.lock.name))
        return all(claim.claimed == (claim.id == self.lock.holder) for claim in own)


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One claim as it shall be, and what the log says of it."""

    claim: Claim
    kind: Kind
    actor: str
    build: str = ""
    reason: str = ""
    verdict: str = ""
    parts: Mapping[str, bytes] = field(default_factory=lambda: NOTHING)
    """Content to be kept beside the claim, by part name; written once, with the change that makes the claim."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """What a decision wants written, in order. No changes: nothing is written at all."""

    changes: tuple[Change, ...] = ()
    build: BuildRecord | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Everything one transaction writes."""

    head: Head
    lock: Lock
    claims: tuple[Claim, ...]
    events: tuple[Event, ...]
    build: BuildRecord | None
    parts: tuple[tuple[str, str, bytes], ...]
    """Claim id, part name and content of each part."""


def plan(snapshot: Snapshot, wanted: Changes, operation: str) -> Plan:
    """All that follows from `wanted`: the events and their chain, the lock's holder, fence and counters, the head.

    A claim that comes to hold the lock raises its fence; one that ends frees it. Both happen here and
    nowhere else, so that no decision can forget them.
    """
    head, lock = snapshot.head, snapshot.lock
    events: list[Event] = []
    claims: dict[str, Claim] = {}
    for change in wanted.changes:
        timestamp = snapshot.now if head.timestamp is None else max(snapshot.now, head.timestamp + TICK)
        at = timestamp if timestamp - snapshot.now < A_SECOND else snapshot.now
        claim = _stamped(change, snapshot, timestamp, at, lock)
        if claim.claimed and lock.holder != claim.id:
            if lock.holder or claim.id in snapshot.claims:
                raise AssertionError(f"claim {claim.id} can't take a lock held by {lock.holder or 'none'}")
            lock = replace(lock, holder=claim.id, fence=claim.fence, jobs=_with_job(lock.jobs, claim.build.job_key))
        elif not claim.claimed and lock.holder == claim.id:
            lock = replace(lock, holder="")
        event = Event(
            pool=head.pool,
            timestamp=timestamp,
            revision=head.revision + 1,
            kind=change.kind,
            claim_id=claim.id,
            lock_name=lock.name,
            lock_event_number=lock.events + 1,
            state=claim.state,
            actor=change.actor,
            build=change.build,
            reason=change.reason,
            verdict=change.verdict,
            at=at,
            operation=operation,
            claim=claim_digest(claim),
            previous=head.digest,
            previous_timestamp=head.timestamp,
        )
        event = replace(event, digest=event_digest(event))
        place = {event.kind.state: Place(timestamp, claim.id, lock.name)} if event.kind.state else {}
        head = replace(head, revision=event.revision, timestamp=timestamp, digest=event.digest, newest={**head.newest, **place})
        lock = replace(lock, events=event.lock_event_number, newest={**lock.newest, **place})
        events.append(event)
        claims[claim.id] = claim
    return Plan(
        head=head,
        lock=replace(lock, revision=lock.revision + 1),
        claims=tuple(claims.values()),
        events=tuple(events),
        build=replace(wanted.build, revision=wanted.build.revision + 1) if wanted.build else None,
        parts=tuple((change.claim.id, name, content) for change in wanted.changes for name, content in change.parts.items()),
    )


def _stamped(change: Change, snapshot: Snapshot, timestamp: datetime, at: datetime, lock: Lock) -> Claim:
    """The change's claim with what only the transaction knows: its revision, its fence, its place in the log."""
    claim = change.claim
    before = snapshot.claims.get(claim.id)
    if change.kind.state is not None:
        claim = replace(
            claim,
            changed=timestamp,
            decided=_placed(claim.decided, before.decided if before else None, timestamp, at),
            ended=_placed(claim.ended, before.ended if before else None, timestamp, at),
        )
    if before is None:
        return replace(claim, timestamp=timestamp, fence=lock.fence + 1 if claim.claimed else lock.fence, revision=1)
    return replace(claim, revision=before.revision + 1)


def _with_job(jobs: tuple[str, ...], job: str) -> tuple[str, ...]:
    return (*(other for other in jobs if other != job), job)[-MAX_JOBS:] if job else jobs


def _placed(ruling: Ruling | None, before: Ruling | None, timestamp: datetime, at: datetime) -> Ruling | None:
    return replace(ruling, timestamp=timestamp, at=at) if ruling is not None and ruling != before else ruling
