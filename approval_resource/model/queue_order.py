"""The order of a queue: who comes before whom."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiter:
    """Build in the queue for a lock."""

    key: str
    """Idempotency key of the build, by which it finds itself in the queue."""
    ticket: int
    priority: int = 0
    build: str = ""
    link: str = ""
    since: datetime
    pace: int = 0
    """Seconds that a roll call allows between this waiter's polls: `SLOW_PACE` if its policies are slow, else
    0, or what an older release wrote."""


def in_order(waiters: Iterable[Waiter]) -> tuple[Waiter, ...]:
    """Return the waiters in the order of their turns: higher priority first, then the lower ticket."""
    return tuple(sorted(waiters, key=lambda waiter: (-waiter.priority, waiter.ticket)))
