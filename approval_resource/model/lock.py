"""Locks with their queues, what builds made on them, and how both are stored."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from approval_resource.canonical import EMPTY
from approval_resource.model.event import Place, State

Document = dict[str, Any]


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
    newest: Mapping[State, Place] = field(default_factory=lambda: EMPTY)
    queue: tuple[Waiter, ...] = ()
    """Who waits for it: the higher priority first, then the lower ticket."""
    tickets: int = 0
    """How many were given out."""
    event_at: datetime | None = None
    """The place in the pool's log of its newest event; None in locks written by versions that kept none."""
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
