"""Time: how long things take by this host, and what time it is by the store."""

from __future__ import annotations

import time
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Protocol

NEARLY_A_SECOND = timedelta(microseconds=999_999)


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
    """The store's time: the Dates of its answers, carried on by the host's monotonic clock.

    A Date tells whole seconds. What was carried on is kept while it lies within the second that the newest
    answer names, and is moved to that second's nearer end where it doesn't: it errs by up to a second,
    rarely goes back, and follows the store's clock wherever that goes. Hosts' wall clocks differ and
    jump; claims of many hosts are measured by this one.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._at: datetime | None = None
        self._seen = 0.0

    def observe(self, date: str | None) -> None:
        """Take note of an answer's Date header; one that is absent or unreadable is passed over."""
        try:
            told = parsedate_to_datetime(date) if date else None
        except ValueError:
            return
        if told is None or told.tzinfo is None:
            return
        carried = self.now() or told
        self._at, self._seen = min(max(carried, told), told + NEARLY_A_SECOND), self._clock.monotonic()

    def now(self) -> datetime | None:
        """The store's time, aware and in UTC, or None before its first answer."""
        if self._at is None:
            return None
        return self._at + timedelta(seconds=self._clock.monotonic() - self._seen)
