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
MAX_ROUND = 99
"""Upper bound of the rounds of one roll call."""
ROUNDS = frozenset(str(number) for number in range(1, MAX_ROUND + 1))


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
    """Place in the pool's log of the newest event; None in locks of older releases, which stored none."""
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
class Turn:
    """Hint of whose turn it is, in one small item. Waiters poll it instead of the lock.

    It proves nothing: a waiter acts on it by a commit on the lock itself, so a wrong hint only costs time.
    """

    pool: str
    lock_name: str
    revision: int
    """Revision of the lock that the hint describes."""
    events: int
    held: bool
    frees_at: datetime | None = None
    """Instant at which the holder's deadline or lease ends its hold, or None."""
    order: tuple[int, ...] = ()
    """Ticket of each waiter, the front first. A long queue's end is left out."""
    pace: int = 0
    """Pace of the front, as in `Waiter.pace`."""
    waiting: int = 0
    """Number of waiters."""
    call: str = ""
    """Round of the roll call for which `present` has the answers, as `roll/round`: see `claims.roll_call`."""
    present: tuple[int, ...] = ()
    """Tickets of the waiters that have answered the call."""

    @property
    def roll(self) -> str:
        """Id of the roll call for this state: the lock's event count, and the ticket of its front."""
        return f"{self.events}/{self.order[0]}" if self.order else ""

    @property
    def round(self) -> int:
        """Number of the round that is in progress, from 1 on; 0 if none is."""
        roll, _, number = self.call.rpartition("/")
        return int(number) if roll == self.roll and number in ROUNDS else 0

    def place_of(self, ticket: int) -> int:
        """Return the index of the waiter with that ticket, or -1 if `order` doesn't have it."""
        return self.order.index(ticket) if ticket in self.order else -1

    def free(self, now: datetime) -> bool:
        """Whether the front may take the lock."""
        return not self.held or (self.frees_at is not None and self.frees_at <= now)


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildRecord:
    """Record of one build on one lock: the claim it made, and the claim whose gate it passed."""

    key: str
    pool: str
    lock_name: str
    made: str = ""
    passed: str = ""
    revision: int = 0
