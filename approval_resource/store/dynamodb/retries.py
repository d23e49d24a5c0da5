"""Retries: how long one piece of work is retried, with backoff and jitter between its tries."""

from __future__ import annotations

from collections.abc import Callable
from random import SystemRandom
from typing import TypeVar

from approval_resource.clock import Clock
from approval_resource.errors import StoreUnavailableError
from approval_resource.store.dynamodb.outcomes import Failure, Outcome

S = TypeVar("S")
T = TypeVar("T")

FIRST_SECONDS = 3.0
"""Upper bound of the seconds given to an endpoint that never answered this process.

Most likely its address is wrong.
"""
CONTENDED_PAUSE = (0.02, 1.0)
"""Backoff in seconds: bound of the first pause, doubled with each try, and bound of every pause."""
SPREAD = 16
"""Spread of the next tries of contenders, as a multiple of the length of a try.

Two tries collide if they overlap. With a pause that ignores their length, 32 contenders need about three
tries each. With this spread, most pass at the second.
"""
MOST_SPREAD = 2.0
"""Upper bound of the spread, in seconds. A busy machine makes tries long even without contention."""
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
        self._began = self._started
        self._longest = 0.0
        self._contended = False
        self._tries = 0
        self._looks = 0
        self._renewed = False
        self._created = False

    def look_again(self) -> bool:
        """Pause before a new look at a contradiction. Return False if the looks are used up."""
        if self._looks == FRESH_LOOKS:
            return False
        self._clock.sleep(FRESH_PAUSE * 2**self._looks)
        self._looks += 1
        return True

    def restart(self) -> None:
        """Restart the time limit after a change by others, if the last try failed by contention."""
        if self._contended:
            self._started = self._clock.monotonic()

    def start_try(self) -> None:
        """Measure the length of a try from now on."""
        self._began = self._clock.monotonic()

    def run_untimed(self, work: Callable[[S], T], subject: S) -> T:
        """Return the result of `work`, and leave its time out of the length of the try."""
        started = self._clock.monotonic()
        done = work(subject)
        self._began += self._clock.monotonic() - started
        return done

    def reset_looks(self) -> None:
        """Restart the count of looks, because what was read fits together."""
        self._looks = 0

    def wait(self, failure: Failure, *, answered: bool, spread: bool = True) -> None:
        """Pause before another try, by exponential backoff with jitter.

        Under contention, the pause grows with the length of a try.

        Without `spread` the next try comes soon. That serves a caller that lost the race for the item it
        wants: the next read may well end its work.

        The one renewal of credentials and the one creation of the table need no pause.

        Raises:
            StoreUnavailableError: another try can't help, or the budget is spent.
        """
        self._contended = failure.outcome is Outcome.CONTENDED
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
                self._longest = max(self._longest, self._clock.monotonic() - self._began)
                spread_over = min(SPREAD * self._longest, MOST_SPREAD) if spread else 0.0
                first, most = (max(pause, spread_over) for pause in CONTENDED_PAUSE)
            case Outcome.BUSY | Outcome.UNKNOWN:
                first, most = BUSY_PAUSE
        bound = self._seconds if answered else min(self._seconds, FIRST_SECONDS)
        pause = _random.uniform(0, min(most, first * 2 ** min(self._tries, 16)))
        if self._clock.monotonic() + pause - self._started > bound:
            raise StoreUnavailableError(f"{failure.message} (gave up after {bound:.0f} s)", transient=answered)
        self._tries += 1
        self._clock.sleep(pause)
