"""Waiting for a lock: a place in its queue, and the turn that comes with it."""

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
from approval_resource.model.lock import Lock, Waiter
from approval_resource.store.interface import LockStore
from approval_resource.text import duration

MAX_QUEUE = 200_000
"""Bytes of the queue as JSON: an item of DynamoDB holds 400 KB, and there is more in the lock's than its queue."""
MAX_SHOWN = 200
"""Characters that a waiter's build, and the link to it, are shown with."""
STALLED_LOOKS = 3
"""After so many pauses a front that lets a free lock lie is taken for dead."""
MAX_DOUBLINGS = 6
MAX_PACE = 60
"""Seconds: what a front may have between two looks without being taken for dead; a slower one may lose its turn."""


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a waiting build stood at its last look."""

    lock: Lock
    holder: Claim | None
    """Who holds the lock, if it isn't free for the queue's front to take."""
    place: int
    """How many stand before it."""
    now: datetime


def acquire(
    store: LockStore,
    request: Request,
    claimant: Claimant,
    attempt: Attempt,
    *,
    poller: Poller,
    standing: Callable[[Standing], None] = lambda standing: None,
    wait_timeout: timedelta | None = None,
) -> Taken:
    """As `take`, but wait in the lock's queue while it can't be had; `standing` is called with each look.

    A waiter only reads, but to join, to leave, and when its turn has come. The first in the queue takes a free
    lock; one that doesn't for some looks of another is dropped, and comes back with its ticket if it lives. What
    fails leaves no place behind; an abort is the caller's to clean up after, with `abandon`.

    Raises:
        WaitTimeoutError: `wait_timeout` passed.
        QueueFullError: the queue holds no more.
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
                    # Another run of this build made the claim, so the place would only be in the way.
                    leave_queue(store, request, claimant, attempt)
                return taken
    except _TimeIsUp as up:
        raise WaitTimeoutError(
            up.lock, up.holder, duration(wait_timeout or timedelta()), left=_left(store, request, claimant, attempt)
        ) from None
    except ApprovalError:
        if attempt.ticket or attempt.joining:
            _left(store, request, claimant, attempt)
        raise


def _left(store: LockStore, request: Request, claimant: Claimant, attempt: Attempt) -> bool:
    """Give up the place in the queue; whether that could be written."""
    try:
        leave_queue(store, request, claimant, attempt)
    except ApprovalError:
        return False
    return True


class _TimeIsUp(ApprovalError):
    """The time for waiting is over."""

    def __init__(self, lock: Lock, holder: Claim | None) -> None:
        self.lock, self.holder = lock, holder
        super().__init__("the time for waiting is over")


def _join(store: LockStore, request: Request, claimant: Claimant, attempt: Attempt, pause: float) -> Lock:
    """The lock with the build in its queue, at its old place if it was there before."""

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
            pace=max(1, math.ceil(min(pause, MAX_PACE))),
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


def _wait_for_turn(
    store: LockStore,
    request: Request,
    build_key: str,
    lock: Lock,
    poller: Poller,
    standing: Callable[[Standing], None],
    stall: StallDetector,
) -> None:
    """Return once another `take` may succeed, or is needed to learn what became of the place in the queue.

    Raises:
        _TimeIsUp: that did not come about in time.
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
            raise _TimeIsUp(lock, None if free else holder)
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
    """How long a free lock has been left lying by the same front, in looks and in seconds of this host's monotonic clock."""

    def __init__(self, poller: Poller) -> None:
        self._poller = poller
        self._what: tuple[int, int] | None = None
        self._looks = 0
        self._since = 0.0
        self._dropped: Counter[int] = Counter()

    def seen(self, lock: Lock, *, free: bool) -> bool:
        """Take note of a look; whether that has been so for too long. Who came back once is given twice the time."""
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
    """Take the front out of the queue, if it is still the one that was seen, and nothing has happened since."""

    def dropped(lock: Lock, _: datetime) -> Lock:
        still = lock.front is not None and seen.front is not None and lock.front.ticket == seen.front.ticket
        return lock.left(seen.front.key) if still and seen.front is not None and lock.events == seen.events else lock

    store.requeue(seen.pool, seen.name, dropped)


def queues(store: LockStore, pool: str | None) -> list[tuple[Lock, Claim | None]]:
    """The locks somebody waits for, with who holds them: of one pool, or of all in which a lock is held."""
    pools = [pool] if pool is not None else sorted({claim.pool for claim in store.open_claims()})
    locks = [lock for name in pools for lock in store.queues(name)]
    holders = {claim.id: claim for claim in store.claims([lock.holder for lock in locks if lock.holder])}
    return [(lock, holders.get(lock.holder)) for lock in locks]
