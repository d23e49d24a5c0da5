"""Locks with their queues, what builds made on them, and how both are stored."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from approval_resource.canonical import instant, parse_instant
from approval_resource.documents.fields import number, read_back, text, texts
from approval_resource.model.event import NOTHING, Place, State, newest_document, newest_from

Document = dict[str, Any]

WAITER_FIELDS = ("key", "ticket", "priority", "build", "link", "pace")


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiter:
    """A build that stands in the queue for a lock."""

    key: str
    """The build's key, by which it knows itself."""
    ticket: int
    priority: int = 0
    build: str = ""
    link: str = ""
    since: datetime
    pace: int = 1
    """Whole seconds between two of its looks, at least 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lock:
    """A name in a pool; at most one claim holds it. Its counters outlive every claim."""

    pool: str
    name: str
    holder: str = ""
    """The id of the claim that holds it, or an empty string."""
    fence: int = 0
    events: int = 0
    jobs: tuple[str, ...] = ()
    """The keys of the jobs that claimed it, the latest last, as many as are kept."""
    newest: Mapping[State, Place] = field(default_factory=lambda: NOTHING)
    queue: tuple[Waiter, ...] = ()
    """Who waits for it: the higher priority first, then the lower ticket."""
    tickets: int = 0
    """How many were given out."""
    revision: int = 0

    @property
    def front(self) -> Waiter | None:
        """Whose turn it is once the lock can be had."""
        return self.queue[0] if self.queue else None

    def place_of(self, key: str) -> int:
        """How many stand before the build with that key, or -1 when it isn't in the queue."""
        return next((place for place, waiter in enumerate(self.queue) if waiter.key == key), -1)

    def joined(self, waiter: Waiter) -> Lock:
        """This lock with the waiter at its place in the queue; one that comes without a ticket (0) is given the next."""
        ticket = waiter.ticket or self.tickets + 1
        queue = sorted((*self.queue, replace(waiter, ticket=ticket)), key=lambda waiter: (-waiter.priority, waiter.ticket))
        return replace(self, queue=tuple(queue), tickets=max(self.tickets, ticket))

    def left(self, key: str) -> Lock:
        """This lock without that build in its queue."""
        return replace(self, queue=tuple(waiter for waiter in self.queue if waiter.key != key))


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildRecord:
    """Which claim a build made, and which gate's claim it passed, on one lock."""

    key: str
    pool: str
    lock_name: str
    made: str = ""
    passed: str = ""
    revision: int = 0


def lock_document(lock: Lock) -> Document:
    """A lock as stored."""
    return {
        "pool": lock.pool,
        "lockname": lock.name,
        "holder": lock.holder,
        "fence": lock.fence,
        "events": lock.events,
        "jobs": list(lock.jobs),
        "newest": newest_document(lock.newest),
        "queue": queue_document(lock),
        "tickets": lock.tickets,
        "revision": lock.revision,
    }


def lock_from(document: Mapping[str, Any]) -> Lock:
    """The lock that `lock_document` described.

    Raises:
        CorruptRecordError: the document is not of that form.
    """
    return read_back(f"lock {document.get('lockname', '')}".strip(), document, _lock, lock_document)


def _lock(d: Mapping[str, Any]) -> Lock:
    return Lock(
        pool=text(d, "pool"),
        name=text(d, "lockname"),
        holder=text(d, "holder"),
        fence=number(d, "fence"),
        events=number(d, "events"),
        jobs=texts(d, "jobs"),
        newest=newest_from(d["newest"]),
        queue=tuple(_waiter(waiter) for waiter in d["queue"]),
        tickets=number(d, "tickets"),
        revision=number(d, "revision"),
    )


def queue_document(lock: Lock) -> list[Document]:
    """A lock's queue as stored, the front first."""
    return [{name: getattr(waiter, name) for name in WAITER_FIELDS} | {"since": instant(waiter.since)} for waiter in lock.queue]


def _waiter(d: Mapping[str, Any]) -> Waiter:
    return Waiter(
        key=text(d, "key"),
        ticket=number(d, "ticket"),
        priority=number(d, "priority"),
        build=text(d, "build"),
        link=text(d, "link"),
        since=parse_instant(d["since"]),
        pace=number(d, "pace"),
    )


def build_document(record: BuildRecord) -> Document:
    """What is stored of one build and one lock."""
    return {
        "key": record.key,
        "pool": record.pool,
        "lockname": record.lock_name,
        "made": record.made,
        "passed": record.passed,
        "revision": record.revision,
    }


def build_from(document: Mapping[str, Any]) -> BuildRecord:
    """The record that `build_document` described.

    Raises:
        CorruptRecordError: the document is not of that form.
    """
    return read_back("a build's record", document, _build, build_document)


def _build(d: Mapping[str, Any]) -> BuildRecord:
    return BuildRecord(
        key=text(d, "key"),
        pool=text(d, "pool"),
        lock_name=text(d, "lockname"),
        made=text(d, "made"),
        passed=text(d, "passed"),
        revision=number(d, "revision"),
    )
