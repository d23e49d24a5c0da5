"""Pauses by place in a queue, and the roll call by which living waiters find out who has died."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from datetime import datetime
from enum import Enum, auto

from approval_resource.model.lock import MAX_ROUND, Turn

FRONT_PAUSE = 0.2
"""Seconds between two looks of the front."""
PLACE_PAUSE = 0.07
"""Additional seconds for each place behind the front. Waiters further back can look less often."""
LAST_PAUSE = 0.8
"""Upper bound of the seconds between two looks of any waiter."""
CALL_PAUSE = 0.2
"""Seconds between two looks of a waiter that takes part in a roll call."""
CALL_SECONDS = 1.3
"""Seconds at a free lock after which waiters that have not answered are presumed dead.

In that time each living waiter looks twice: after its own pause, and after the pause of a call.
"""
CALL_LOOKS = 6
"""Lower bound of the looks before waiters are presumed dead. A busy machine slows everybody's looks."""
SLOWEST_LOOKS = 5
"""Lower bound of the wait, as a multiple of the slowest look of this waiter."""
ROUND_SECONDS = 6.0
"""Seconds after which a waiter that answered but did not take the lock has to answer anew."""
STALLED_LOOKS = 3
"""Lower bound of the wait, as a multiple of the front's pace: see `Waiter.pace`."""
MAX_DOUBLINGS = 6
"""Upper bound of how often a round's time, and the time until waiters are presumed dead, is doubled."""


def pause_at(place: int) -> float:
    """Return the seconds that a waiter pauses between two looks, by the number of waiters before it."""
    return min(FRONT_PAUSE + place * PLACE_PAUSE, LAST_PAUSE)


class Act(Enum):
    """Next act of a waiter that sees a free lock, and is not the front."""

    WAIT = auto()
    LOOK = auto()
    """Look again soon."""
    ANSWER = auto()
    """Answer the roll call, or begin it."""
    CALL = auto()
    """Begin another round of it."""
    DROP = auto()
    """Drop the waiters before it, which are presumed dead."""


class RollCall:
    """One waiter's part in roll calls, by its looks and by this host's monotonic clock.

    If the front doesn't take a free lock, each waiter answers by writing its ticket into the hint, which
    is the lock's `Turn`, unless one ahead of it has answered. In the end, the first living waiter has
    answered, and nobody ahead of it has. After `CALL_SECONDS` or longer it drops the waiters ahead of it.
    Those before the first with a pace are dropped in one write. That one is dropped alone, and only as the
    front. The front answers before it takes the lock, since its commit may take long in a busy pool.
    """

    def __init__(self, seconds: Callable[[], float]) -> None:
        """Measure time by `seconds`, a monotonic clock."""
        self._seconds = seconds
        self._observed: tuple[str, int] | None = None
        self._looks = 0
        self._since = self._last = self._slowest = 0.0
        self._dropped: Counter[int] = Counter()

    def seen(self, turn: Turn, place: int, now: datetime) -> Act:
        """Record one look of the waiter at that place, and return what it does about it."""
        what, at = (turn.roll, max(turn.round, 1)), self._seconds()
        if place <= 0 or not turn.free(now):
            self._observed = None
            return Act.WAIT
        if what != self._observed:
            self._observed, self._looks, self._since, self._last, self._slowest = what, 0, at, at, 0.0
            return Act.LOOK
        self._looks += 1
        waited, self._slowest, self._last = at - self._since, max(self._slowest, at - self._last), at
        ahead = turn.order[:place]
        present = set(turn.present) if turn.round else set()
        if present.intersection(ahead):
            again = waited >= ROUND_SECONDS * 2 ** min(turn.round - 1, MAX_DOUBLINGS)
            return Act.CALL if again and turn.round < MAX_ROUND else Act.WAIT
        if turn.order[place] not in present:
            return Act.ANSWER
        return self._concluded(turn, place, waited)

    def _concluded(self, turn: Turn, place: int, waited: float) -> Act:
        """Return DROP if the waiters ahead, none of whom has answered, are presumed dead, else LOOK.

        The backoff is exponential: the time doubles with each drop of a waiter that came back.
        """
        gone = turn.order[:place]
        patience = 2 ** min(max(self._dropped[ticket] for ticket in gone), MAX_DOUBLINGS)
        needed = max(CALL_SECONDS, SLOWEST_LOOKS * self._slowest, STALLED_LOOKS * turn.pace) * patience
        if self._looks < CALL_LOOKS * patience or waited < needed:
            return Act.LOOK
        self._dropped.update(gone)
        self._observed = None
        return Act.DROP
