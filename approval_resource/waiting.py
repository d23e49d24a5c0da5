"""Looking again and again: the pause between two looks, and outages that are sat out."""

from __future__ import annotations

from collections.abc import Callable
from random import SystemRandom
from typing import ParamSpec, TypeVar

from approval_resource.clock import Clock
from approval_resource.errors import StoreUnavailableError

T = TypeVar("T")
P = ParamSpec("P")

JITTER = 0.1
"""The part of a pause that varies, so that waiters don't look in step."""

_random = SystemRandom()


class Lookout:
    """One waiter's looks at the store."""

    def __init__(self, clock: Clock, pause: float, tell: Callable[[str], None]) -> None:
        """`pause`: seconds between two looks. `tell` takes one line for the build log."""
        self._clock = clock
        self._pause = pause
        self._tell = tell
        self._out = False

    def rest(self) -> None:
        """Wait for the next look's turn."""
        self._clock.sleep(self._pause * _random.uniform(1 - JITTER, 1 + JITTER))

    def look(self, look: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """What `look` returns; while the store is away for a time, said once, it is asked again.

        Raises:
            StoreUnavailableError: the store refuses, or never answered this process: waiting won't help.
        """
        while True:
            try:
                seen = look(*args, **kwargs)
            except StoreUnavailableError as outage:
                if not outage.passing:
                    raise
                if not self._out:
                    self._tell(f"{outage}; still waiting")
                self._out = True
                self.rest()
            else:
                if self._out:
                    self._tell("DynamoDB answers again")
                self._out = False
                return seen
