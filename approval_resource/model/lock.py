"""Locks with their queues, and the record of what a build did on a lock."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from approval_resource.canonical import EMPTY
from approval_resource.model.event import Place, State
from approval_resource.model.queue_order import Waiter, in_order

Document = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Lock:
    """Name in a pool. At most one claim holds it; its counters outlive every claim."""

    pool: str
    name: str
    holder: str = ""
    """Id of the claim that holds the lock, or an empty string."""
    fence: int = 0
    events: int = 0
    jobs: tuple[str, ...] = ()
    """Keys of the latest jobs that claimed the lock, the newest last, up to a limit."""
    newest: Mapping[State, Place] = field(default_factory=lambda: EMPTY)
    queue: tuple[Waiter, ...] = ()
    """Waiters, in the order of `in_order`."""
    tickets: int = 0
    """Number of tickets given out."""
    event_at: datetime | None = None
    """Place in the pool's log of the newest event; None in locks of older versions, which stored none."""
    revision: int = 0

    @property
    def front(self) -> Waiter | None:
        """First waiter, whose turn it is once the lock is free; None for an empty queue."""
        return self.queue[0] if self.queue else None

    def place_of(self, key: str) -> int:
        """Return the build's index in the queue, or -1."""
        return next((place for place, waiter in enumerate(self.queue) if waiter.key == key), -1)

    def joined(self, waiter: Waiter) -> Lock:
        """Return the lock with the waiter in its queue. A waiter without a ticket (0) gets the next one."""
        ticket = waiter.ticket or self.tickets + 1
        return replace(self, queue=in_order((*self.queue, replace(waiter, ticket=ticket))), tickets=max(self.tickets, ticket))

    def left(self, key: str) -> Lock:
        """Return the lock without that build in its queue."""
        return replace(self, queue=tuple(waiter for waiter in self.queue if waiter.key != key))


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildRecord:
    """Record of one build on one lock: the claim it made, and the claim whose gate it passed."""

    key: str
    pool: str
    lock_name: str
    made: str = ""
    passed: str = ""
    revision: int = 0
