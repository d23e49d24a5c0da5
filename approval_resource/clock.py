"""Clocks: the host's clock measures durations, and the store's clock tells the time."""

from __future__ import annotations

import time
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Protocol

NEARLY_A_SECOND = timedelta(microseconds=999_999)
"""Largest distance between an instant and its Date header, which drops fractions of a second."""


class Clock(Protocol):
    """Clock of this host, for durations only. The host's wall clock decides nothing, so it isn't here."""

    def monotonic(self) -> float:
        """Return the seconds since an arbitrary moment. The value never goes back."""

    def sleep(self, seconds: float) -> None:
        """Return after that many seconds."""


class HostClock:
    """Clock of the real host."""

    def monotonic(self) -> float:
        """See `Clock.monotonic`."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """See `Clock.sleep`."""
        time.sleep(seconds)


class StoreClock:
    """Clock of the store: the Date headers of its answers, extended by the host's monotonic clock.

    A Date header has a resolution of one second. `observe` keeps the extended time while it lies within the
    second of the newest header. Otherwise it moves the time to the nearer end of that second. So the clock
    errs by up to a second, rarely goes back, and follows the store's clock wherever that goes. Hosts' wall
    clocks differ and jump, so claims from many hosts are measured by this clock.
    """

    def __init__(self, clock: Clock) -> None:
        """Use `clock` to extend the newest header's time. No time is known before the first header."""
        self._clock = clock
        self._seen: tuple[datetime, float] | None = None
        """Store's time and monotonic time at the newest header. One tuple, which threads read as a whole."""

    def observe(self, date: str | None) -> None:
        """Take over an answer's Date header. An absent or unreadable header is ignored."""
        try:
            told = parsedate_to_datetime(date) if date else None
        except ValueError:
            return
        if told is None or told.tzinfo is None:
            return
        carried = self.now() or told
        self._seen = min(max(carried, told), told + NEARLY_A_SECOND), self._clock.monotonic()

    def now(self) -> datetime | None:
        """Return the store's time, aware and in UTC, or None before the first readable Date header."""
        if self._seen is None:
            return None
        at, then = self._seen
        return at + timedelta(seconds=self._clock.monotonic() - then)
