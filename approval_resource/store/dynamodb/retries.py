"""Retries: how long one piece of work is retried, with backoff and jitter between its tries."""

from __future__ import annotations

from random import SystemRandom

from approval_resource.clock import Clock
from approval_resource.errors import StoreUnavailableError
from approval_resource.store.dynamodb.outcomes import Failure, Outcome

FIRST_SECONDS = 3.0
"""Upper bound of the seconds given to an endpoint that never answered this process.

Most likely its address is wrong.
"""
CONTENDED_PAUSE = (0.02, 1.0)
"""Backoff in seconds: bound of the first pause, doubled with each try, and bound of every pause."""
BUSY_PAUSE = (0.1, 2.0)
"""Backoff in seconds under throttling or failures, with the same two bounds."""
_random = SystemRandom()


FRESH_LOOKS = 7
"""Upper bound of the new looks at items that contradict each other."""
FRESH_PAUSE = 0.02
"""Seconds before the first new look at items that contradict each other, doubled with each: 2.5 s in all.

Reads are not transactional, so a commit in flight looks like tampering.
"""


class RetryBudget:
    """Time limit of one piece of work, with backoff and jitter between its tries."""

    def __init__(self, clock: Clock, seconds: float) -> None:
        """Start the budget of that many seconds now."""
        self._clock = clock
        self._started = clock.monotonic()
        self._seconds = seconds
        self._tries = 0
        self._looks = 0
        self._renewed = False
        self._created = False

    def look_again(self) -> bool:
        """Pause before a new look at a contradiction. Return False once no commit in flight explains it."""
        if self._looks == FRESH_LOOKS:
            return False
        self._clock.sleep(FRESH_PAUSE * 2**self._looks)
        self._looks += 1
        return True

    def seen_whole(self) -> None:
        """Restart the count of looks, because what was read fits together."""
        self._looks = 0

    def wait(self, failure: Failure, *, answered: bool) -> None:
        """Pause before another try: exponential backoff with jitter.

        The one renewal of credentials and the one creation of the table need no pause.

        Raises:
            StoreUnavailableError: another try can't help, or the budget is spent.
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
