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
    """Seconds between polls that a roll call allows for; 0 unless policies are slow or the release is old."""


def in_order(waiters: Iterable[Waiter]) -> tuple[Waiter, ...]:
    """Return the waiters in the order of their turns: higher priority first, then the lower ticket."""
    return tuple(sorted(waiters, key=lambda waiter: (-waiter.priority, waiter.ticket)))
