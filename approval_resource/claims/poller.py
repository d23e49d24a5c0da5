"""Polling of the store: pauses with jitter, and outages that are waited out."""

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
"""Interval of reminders during a wait in which nothing changes."""
GATE_PAUSE = 0.5
"""Upper bound of the seconds of one pause of a gate. A frozen gate pauses twice between two looks."""
JITTER = 0.1
"""Jitter: fraction by which a pause is longer or shorter, so that waiters don't poll in step."""

_random = SystemRandom()


class Poller:
    """One waiter's polling of the store."""

    def __init__(self, clock: Clock, interval: float, tell: Callable[[str], None]) -> None:
        """Pause for `interval` seconds at most. `tell` takes one line for the build log."""
        self._clock = clock
        self.interval = interval
        self.until: float | None = None
        """End of the wait, on the clock of `seconds`; None: no end."""
        self._tell = tell
        self._out = False

    @property
    def expired(self) -> bool:
        """Whether the wait has reached its end."""
        return self.until is not None and self.seconds() >= self.until

    def seconds(self) -> float:
        """Return the seconds of this host's monotonic clock. Its zero is arbitrary."""
        return self._clock.monotonic()

    def pause(self, most: float = math.inf) -> None:
        """Sleep for about `most` seconds, but not longer than the interval or past the end of the wait."""
        pause = min(most * _random.uniform(1 - JITTER, 1 + JITTER), self.interval * _random.uniform(1 - JITTER, 1))
        self._clock.sleep(pause if self.until is None else max(0.0, min(pause, self.until - self.seconds())))

    def call(self, read: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Return the result of `read`. Report a transient outage once, and call `read` until it is over.

        Raises:
            StoreUnavailableError: the store refuses, or never answered this process, so waiting won't help;
                or the wait has reached its end.
        """
        while True:
            try:
                seen = read(*args, **kwargs)
            except StoreUnavailableError as outage:
                if not outage.transient or self.expired:
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
