"""Time: how long things take by this host, and what time it is by the store."""

from __future__ import annotations

import time
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Protocol


class Clock(Protocol):
    """This host's sense of duration. Its wall clock decides nothing, so it isn't here."""

    def monotonic(self) -> float:
        """Seconds since some moment; never goes back."""

    def sleep(self, seconds: float) -> None:
        """Return after that many seconds."""


class HostClock:
    """The real one."""

    def monotonic(self) -> float:
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)


class StoreClock:
    """The store's time: the Date of its newest answer, carried on by the host's monotonic clock.

    DynamoDB tells whole seconds, so this may lag by up to one. Hosts' wall clocks differ and jump;
    claims of many hosts are measured by this one.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._date: datetime | None = None
        self._seen = 0.0

    def observe(self, date: str | None) -> None:
        """Take note of an answer's Date header; one that is absent or unreadable is passed over."""
        try:
            seen = parsedate_to_datetime(date) if date else None
        except ValueError:
            return
        if seen is not None and seen.tzinfo is not None:
            self._date, self._seen = seen, self._clock.monotonic()

    def now(self) -> datetime | None:
        """The store's time, aware and in UTC, or None before its first answer."""
        if self._date is None:
            return None
        return self._date + timedelta(seconds=self._clock.monotonic() - self._seen)
