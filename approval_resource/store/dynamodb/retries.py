"""Retries: how long one piece of work goes on trying, and how it pauses."""

from __future__ import annotations

from random import SystemRandom

from approval_resource.clock import Clock
from approval_resource.errors import StoreUnavailableError
from approval_resource.store.dynamodb.outcomes import Failure, Outcome

FIRST_SECONDS = 3.0
"""How long an endpoint that never answered this process is given: most likely its address is wrong."""
CONTENDED_PAUSE = (0.02, 1.0)
"""Seconds: the first pause's bound, doubled with each try, and the bound of all."""
BUSY_PAUSE = (0.1, 2.0)
_random = SystemRandom()


FRESH_LOOKS = 7
FRESH_PAUSE = 0.02
"""Seconds before the first new look at items that contradict each other, doubled with each: 2.5 s in all.

Reads are no transactions, so a commit that lands looks like an edit.
"""


class RetryBudget:
    """How long one piece of work goes on trying, and how it pauses between tries."""

    def __init__(self, clock: Clock, seconds: float) -> None:
        self._clock = clock
        self._started = clock.monotonic()
        self._seconds = seconds
        self._tries = 0
        self._looks = 0
        self._renewed = False
        self._created = False

    def look_again(self) -> bool:
        """Pause before another look at what contradicts itself; False once no commit in flight explains it."""
        if self._looks == FRESH_LOOKS:
            return False
        self._clock.sleep(FRESH_PAUSE * 2**self._looks)
        self._looks += 1
        return True

    def seen_whole(self) -> None:
        """Count the looks anew: what was read fits together."""
        self._looks = 0

    def wait(self, failure: Failure, *, answered: bool) -> None:
        """Pause and return if another try is due.

        Raises:
            StoreUnavailableError: it is not.
        """
        match failure.outcome:
            case Outcome.RENEW if not self._renewed:
                self._renewed = True
                return
            case Outcome.ABSENT if not self._created:
                self._created = True
                return
            case Outcome.REFUSED | Outcome.RENEW | Outcome.ABSENT:
                raise StoreUnavailableError(failure.message)
            case Outcome.CONTENDED:
                first, most = CONTENDED_PAUSE
            case Outcome.BUSY | Outcome.UNKNOWN:
                first, most = BUSY_PAUSE
        bound = self._seconds if answered else min(self._seconds, FIRST_SECONDS)
        pause = _random.uniform(0, min(most, first * 2 ** min(self._tries, 16)))
        if self._clock.monotonic() + pause - self._started > bound:
            raise StoreUnavailableError(f"{failure.message} (gave up after {bound:.0f} s)", passing=answered)
        self._tries += 1
        self._clock.sleep(pause)
