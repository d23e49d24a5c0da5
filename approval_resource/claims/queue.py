"""Waiting for a lock: join its queue, poll for the turn, drop dead waiters."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from approval_resource.claims.acquire import leave_queue, take
from approval_resource.claims.deadline import apply_time_or_log
from approval_resource.claims.poller import Poller
from approval_resource.claims.request import Attempt, Request, Taken
from approval_resource.documents.locks import queue_document
from approval_resource.errors import ApprovalError, LockHeldError, NotYourTurnError, QueueFullError, WaitTimeoutError
from approval_resource.model.claim import Claim, Claimant
from approval_resource.model.event import State
from approval_resource.model.lock import Lock
from approval_resource.model.queue_order import Waiter
from approval_resource.store.interface import LockStore
from approval_resource.text import duration

MAX_QUEUE = 200_000
"""Upper bound of a queue as JSON, in bytes. The lock's item, of at most 400 KB, holds more than it."""
MAX_SHOWN = 200
"""Upper bound of a waiter's build and link, in characters. A longer build is cut, a longer link dropped."""
STALLED_LOOKS = 3
"""Pauses after which a front that doesn't take a free lock is presumed dead."""
MAX_DOUBLINGS = 6
"""Upper bound of the doublings in the backoff of `StallDetector`."""
SLOW_PACE = 10
"""Least poll interval that a waiter with slow policies records: three of them outlast an evaluation."""
MAX_PACE = 60
"""Upper bound of the poll interval that a waiter records, in seconds. A slower front may lose its turn."""


@dataclass(frozen=True, slots=True)
class Standing:
    """Standing of a waiting build at its last poll."""

    lock: Lock
    holder: Claim | None
    """Claim that holds the lock; None where the queue's front may take it."""
    place: int
    """Number of builds before it in the queue."""
    now: datetime


def acquire(  # noqa: PLR0913 - each is a word of its own at the call
    store: LockStore,
    request: Request,
    claimant: Claimant,
    attempt: Attempt,
    *,
    poller: Poller,
    standing: Callable[[Standing], None] = lambda standing: None,
    wait_timeout: timedelta | None = None,
) -> Taken:
    """Take the lock as `take` does, but wait in its queue while the lock can't be had.

    `standing` is called at each poll that finds the build still waiting. A poll reads. A waiter writes only
    to join or leave the queue, to take the lock, to apply a decision that time has brought, and to drop a
    dead front. The front of the queue takes a free lock. A front that leaves it untaken for several polls of
    another waiter is presumed dead and dropped; if it lives, it rejoins with its old ticket. On an error the
    build leaves the queue. After an abort the caller must clean up, with `abandon`.

    Raises:
        WaitTimeoutError: `wait_timeout` passed.
        QueueFullError: the queue has no room for another waiter.
        Others: as `take`.
    """
    if wait_timeout is not None:
        poller.until = poller.seconds() + wait_timeout.total_seconds()
    stall = StallDetector(poller)
    try:
        while True:
            try:
                taken = poller.call(take, store, request, claimant, attempt)
            except (LockHeldError, NotYourTurnError):
                lock = poller.call(_join, store, request, claimant, attempt, poller.interval)
                _wait_for_turn(store, request, claimant.key, lock, poller, standing, stall)
            else:
                if not taken.fresh and attempt.ticket:
                    # Another run of this build made the claim. The place in the queue would block others.
                    leave_queue(store, request, claimant, attempt)
                return taken
    except _TimeIsUpError as up:
        raise WaitTimeoutError(
            up.lock, up.holder, duration(wait_timeout or timedelta()), left=_left(store, request, claimant, attempt)
        ) from None
    except ApprovalError:
        if attempt.ticket or attempt.joining:
            _left(store, request, claimant, attempt)
        raise


def _left(store: LockStore, request: Request, claimant: Claimant, attempt: Attempt) -> bool:
    """Leave the queue. Return whether that could be written."""
    try:
        leave_queue(store, request, claimant, attempt)
    except ApprovalError:
        return False
    return True


class _TimeIsUpError(ApprovalError):
    """The time for waiting is over."""

    def __init__(self, lock: Lock, holder: Claim | None) -> None:
        self.lock, self.holder = lock, holder
        super().__init__("the time for waiting is over")


def _join(store: LockStore, request: Request, claimant: Claimant, attempt: Attempt, pause: float) -> Lock:
    """Put the build into the lock's queue, with its old ticket if it has one, and return the lock.

    Raises:
        QueueFullError: the queue has no room for another waiter.
    """

    def joined(lock: Lock, now: datetime) -> Lock:
        if lock.place_of(claimant.key) >= 0:
            return lock
        waiter = Waiter(
            key=claimant.key,
            ticket=attempt.ticket,
            priority=request.priority,
            build=str(claimant.build)[:MAX_SHOWN],
            link=claimant.build.link if len(claimant.build.link) <= MAX_SHOWN else "",
            since=attempt.since or now,
            pace=max(SLOW_PACE if attempt.slow else 1, math.ceil(min(pause, MAX_PACE))),
        )
        longer = lock.joined(waiter)
        if not attempt.ticket and len(json.dumps(queue_document(longer))) > MAX_QUEUE:
            raise QueueFullError(lock, MAX_QUEUE)
        return longer

    attempt.joining = True
    lock = store.requeue(request.pool, request.lock_name, joined)
    place = lock.place_of(claimant.key)
    if place >= 0:
        attempt.ticket, attempt.since = lock.queue[place].ticket, lock.queue[place].since
    attempt.joining = False
    return lock


def _wait_for_turn(  # noqa: PLR0913 - each is a word of its own at the call
    store: LockStore,
    request: Request,
    build_key: str,
    lock: Lock,
    poller: Poller,
    standing: Callable[[Standing], None],
    stall: StallDetector,
) -> None:
    """Poll until another `take` may succeed, or is needed because the build is no longer in the queue.

    Raises:
        _TimeIsUpError: the wait reached its end first.
    """
    holder = poller.call(_holder, store, lock)
    while (place := lock.place_of(build_key)) >= 0:
        now = store.now()
        if holder is not None and holder.due(now) and not holder.overdue(now):
            holder = poller.call(apply_time_or_log, store, holder)
        due = holder is not None and (holder.overdue(now) or holder.overstayed(now))
        free = not lock.holder or due
        overrides = request.override_approval and not due and holder is not None and holder.state is State.PENDING
        own = holder is not None and holder.build_key == build_key
        if overrides or own or (free and place == 0):
            return
        standing(Standing(lock, None if free else holder, place, now))
        if poller.expired:
            raise _TimeIsUpError(lock, None if free else holder)
        if stall.seen(lock, free=free):
            poller.call(_drop, store, lock)
        poller.pause()
        seen = poller.call(store.lock, lock.pool, lock.name) or replace(lock, queue=())
        if seen.events != lock.events:
            holder = poller.call(_holder, store, seen)
        lock = seen


def _holder(store: LockStore, lock: Lock) -> Claim | None:
    return store.claim(lock.holder) if lock.holder else None


class StallDetector:
    """Detector of a front that leaves a free lock untaken, by polls and by this host's monotonic clock."""

    def __init__(self, poller: Poller) -> None:
        """Use the clock and the interval of `poller`."""
        self._poller = poller
        self._what: tuple[int, int] | None = None
        self._looks = 0
        self._since = 0.0
        self._dropped: Counter[int] = Counter()

    def seen(self, lock: Lock, *, free: bool) -> bool:
        """Record one poll; return whether the front is presumed dead.

        The backoff is exponential: each time that a front was dropped and came back doubles its time.
        """
        front = lock.front
        if not free or front is None:
            self._what = None
            return False
        if self._what != (front.ticket, lock.events):
            self._what, self._looks, self._since = (front.ticket, lock.events), 0, self._poller.seconds()
            return False
        self._looks += 1
        patience = STALLED_LOOKS * 2 ** min(self._dropped[front.ticket], MAX_DOUBLINGS)
        waited = self._poller.seconds() - self._since
        if self._looks < patience or waited < patience * max(self._poller.interval, front.pace):
            return False
        self._dropped[front.ticket] += 1
        self._what = None
        return True


def _drop(store: LockStore, seen: Lock) -> None:
    """Remove the front of the queue, unless the front changed or the lock had an event since `seen`."""

    def dropped(lock: Lock, _: datetime) -> Lock:
        still = lock.front is not None and seen.front is not None and lock.front.ticket == seen.front.ticket
        return lock.left(seen.front.key) if still and seen.front is not None and lock.events == seen.events else lock

    store.requeue(seen.pool, seen.name, dropped)


def queues(store: LockStore, pool: str | None) -> list[tuple[Lock, Claim | None]]:
    """Return the locks that builds wait for, each with the claim that holds it, if any.

    Without `pool`, these are the locks of all pools in which a lock is held.
    """
    pools = [pool] if pool is not None else sorted({claim.pool for claim in store.open_claims()})
    locks = [lock for name in pools for lock in store.queues(name)]
    holders = {claim.id: claim for claim in store.claims([lock.holder for lock in locks if lock.holder])}
    return [(lock, holders.get(lock.holder)) for lock in locks]
