"""Looking again and again: the pause between two looks, and outages that are sat out."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import timedelta
from random import SystemRandom
from typing import ParamSpec, TypeVar

from approval_resource.clock import Clock
from approval_resource.errors import StoreUnavailableError

T = TypeVar("T")
P = ParamSpec("P")

REMIND = timedelta(minutes=5)
"""How often a wait is told of though nothing has changed."""
JITTER = 0.1
"""The part of a pause that varies, so that waiters don't look in step."""

_random = SystemRandom()


class Poller:
    """One waiter's looks at the store."""

    def __init__(self, clock: Clock, interval: float, tell: Callable[[str], None]) -> None:
        """`interval`: seconds between two looks. `tell` takes one line for the build log."""
        self._clock = clock
        self.interval = interval
        self.until: float | None = None
        """When, by `seconds`, the waiting is over; None: never."""
        self._tell = tell
        self._out = False

    @property
    def expired(self) -> bool:
        """Whether the time for waiting is up."""
        return self.until is not None and self.seconds() >= self.until

    def seconds(self) -> float:
        """Seconds since some moment, by this host's clock that never goes back."""
        return self._clock.monotonic()

    def pause(self, most: float = math.inf) -> None:
        """Wait for the next look's turn, at most that many seconds, or for the end of the waiting."""
        pause = min(most, self.interval * _random.uniform(1 - JITTER, 1 + JITTER))
        self._clock.sleep(pause if self.until is None else max(0.0, min(pause, self.until - self.seconds())))

    def call(self, read: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """What `read` returns; while the store is away for a time, which is said once, it is asked again.

        Raises:
            StoreUnavailableError: the store refuses, or never answered this process, so that waiting won't help; or
                the time for waiting is up.
        """
        while True:
            try:
                seen = read(*args, **kwargs)
            except StoreUnavailableError as outage:
                if not outage.passing or self.expired:
                    raise
                if not self._out:
                    self._tell(f"{outage}; still waiting")
                self._out = True
                self.pause()
            else:
                if self._out:
                    self._tell("DynamoDB answers again")
                self._out = False
                return seen
