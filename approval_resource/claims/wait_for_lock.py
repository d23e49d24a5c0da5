"""Waiting for a lock: join its queue, poll for the turn, drop dead waiters."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import Enum, auto
from functools import partial
from itertools import takewhile

from approval_resource.claims.acquire import leave_queue, take
from approval_resource.claims.deadline import apply_time_or_log
from approval_resource.claims.poller import REMIND, Poller
from approval_resource.claims.request import Attempt, Request, Taken
from approval_resource.claims.roll_call import CALL_PAUSE, Act, RollCall, pause_at
from approval_resource.documents.locks import queue_document
from approval_resource.errors import ApprovalError, LockHeldError, NotYourTurnError, QueueFullError, WaitTimeoutError
from approval_resource.model.claim import Claim, Claimant
from approval_resource.model.event import State
from approval_resource.model.lock import Lock, Turn
from approval_resource.model.queue_order import Waiter
from approval_resource.store.interface import LockStore
from approval_resource.text import duration

MAX_QUEUE = 200_000
"""Upper bound of a queue as JSON, in bytes. It leaves room for the rest of the lock's item of 400 KB."""
MAX_SHOWN = 200
"""Upper bound of a waiter's build and link, in characters. A longer build is cut, a longer link dropped."""
MISSED_LOOKS = 2
"""Number of looks without a usable hint before the lock is read. A single one may be a stale replica."""
DOUBT_SECONDS = 3.0
"""Seconds between the front's reads of the lock; the second waiter's are twice as far apart, and so on."""
READ_EACH_SECOND = 30
"""Length of a queue in which each waiter reads a changed lock at most once a second.

The interval grows with the square of the length.
"""
SLOW_PACE = 10
"""Pace in seconds that a waiter with slow policies announces. It polls faster than that.

While it evaluates policies it can't answer a roll call. Three paces are longer than an evaluation, so no roll
call drops it meanwhile.
"""


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

    `standing` is called each time that the lock is read and the build still waits. A poll reads the hint. A
    waiter writes only to join or leave the queue, to take the lock, to apply a decision that time has
    brought, to answer a roll call, and to mend the hint. The front of the queue takes a free lock. Waiters
    that don't take it and answer no roll call are presumed dead and dropped. A dropped waiter that is alive
    rejoins with its old ticket. On an error the build leaves the queue. After an abort the caller must clean
    up, with `abandon`.

    Raises:
        WaitTimeoutError: `wait_timeout` passed.
        QueueFullError: the queue has no room for another waiter.
        Others: as `take`.
    """
    if wait_timeout is not None:
        poller.until = poller.seconds() + wait_timeout.total_seconds()
    watch = _Watch(store, attempt, poller, overrides=request.override_approval)
    try:
        while True:
            try:
                taken = poller.call(take, store, request, claimant, attempt)
            except (LockHeldError, NotYourTurnError):
                lock = poller.call(_join, store, request, claimant, attempt)
                watch.misled(lock)
                _wait_for_turn(store, request, claimant.key, lock, poller, standing, watch)
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
    """End of `wait_timeout`."""

    def __init__(self, lock: Lock, holder: Claim | None) -> None:
        self.lock, self.holder = lock, holder
        super().__init__("the time for waiting is over")


def _join(store: LockStore, request: Request, claimant: Claimant, attempt: Attempt) -> Lock:
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
            pace=SLOW_PACE if attempt.slow else 0,
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
    watch: _Watch,
) -> None:
    """Poll until another `take` may succeed, or until the build is no longer in the queue.

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
            break
        standing(Standing(lock, None if free else holder, place, now))
        if poller.expired:
            raise _TimeIsUpError(lock, None if free else holder)
        news = watch.poll(lock, place)
        if news is News.TURN:
            break
        seen = poller.call(store.lock, lock.pool, lock.name) or replace(lock, queue=())
        if news is News.DOUBT:
            watch.repair(seen)
        if seen.events != lock.events:
            holder = poller.call(_holder, store, seen)
        lock = seen
    watch.answer()


def _holder(store: LockStore, lock: Lock) -> Claim | None:
    return store.claim(lock.holder) if lock.holder else None


class News(Enum):
    """Reason why a waiter stops polling the hint."""

    TURN = auto()
    """Its turn has come, as far as the hint can tell."""
    LOOK = auto()
    """The lock has changed in a way that matters, or the wait is over."""
    DOUBT = auto()
    """The hint is missing, outdated or without this waiter, or the lock was not read for long."""


class _Watch:
    """One waiter's polling of the hint. The waiter reads the lock with its queue when the hint changes.

    Older releases change locks without writing the hint, and anybody who may write the table may forge one.
    So the waiter also reads the lock itself now and then, less often the further behind it is.
    """

    def __init__(self, store: LockStore, attempt: Attempt, poller: Poller, *, overrides: bool) -> None:
        self._store, self._attempt, self._poller, self._overrides = store, attempt, poller, overrides
        self._roll = RollCall(poller.seconds)
        self._turn: Turn | None = None

    def poll(self, lock: Lock, place: int) -> News:
        """Poll the hint until there is a reason to stop, and return that. `lock` was read just now."""
        poller, read_at, missed, pause = self._poller, self._poller.seconds(), 0, pause_at(place)
        while True:
            poller.pause(pause)
            if poller.expired:
                return News.LOOK
            self._turn = turn = poller.call(self._store.turn, lock.pool, lock.name)
            place = turn.place_of(self._attempt.ticket) if turn is not None and turn.revision >= lock.revision else -1
            if turn is not None and place < 0 and turn.revision >= lock.revision and turn.waiting > len(turn.order):
                place = len(turn.order)  # behind those that the hint has room for
            if turn is None or place < 0:
                missed += 1
                if missed == MISSED_LOOKS:
                    return News.DOUBT
                continue
            now, age = self._store.now(), poller.seconds() - read_at
            if place == 0 and turn.free(now):
                return News.TURN
            if self._overrides and turn.events != lock.events:
                return News.LOOK
            if turn.revision != lock.revision and age >= (turn.waiting / READ_EACH_SECOND) ** 2:
                return News.LOOK
            if age >= min((place + 1) * DOUBT_SECONDS, REMIND.total_seconds()):
                return News.DOUBT
            act = self._roll.seen(turn, place, now) if place < len(turn.order) else Act.WAIT
            if act is Act.DROP:
                self._drop(turn, place)
                return News.LOOK
            if act in (Act.ANSWER, Act.CALL):
                self._store.answer_roll(turn, turn.round + 1 if act is Act.CALL else max(turn.round, 1), self._attempt.ticket)
            pause = pause_at(place) if act is Act.WAIT else CALL_PAUSE

    def answer(self) -> None:
        """Answer the roll call as the front that takes the lock now."""
        turn = self._turn
        if turn is not None and turn.place_of(self._attempt.ticket) == 0:
            self._store.answer_roll(turn, max(turn.round, 1), self._attempt.ticket)

    def repair(self, lock: Lock) -> None:
        """Write the hint anew if it tells of another state than `lock`, which was read after it."""
        if self._turn is None or self._turn.revision != lock.revision:
            self._store.show_turn(lock, self._turn)

    def misled(self, lock: Lock) -> None:
        """Write the hint anew, because it announced a turn that had not come."""
        if self._turn is not None:
            self._store.show_turn(lock, self._turn)
            self._turn = None

    def _drop(self, turn: Turn, place: int) -> None:
        """Drop those before it, unless one has answered since, or the lock or its front has changed."""
        told = self._poller.call(partial(self._store.turn, consistent=True), turn.pool, turn.lock_name)
        lock = self._poller.call(self._store.lock, turn.pool, turn.lock_name)
        gone = set(turn.order[:place])
        if lock is None or told is None or told.roll != turn.roll or (told.round and gone.intersection(told.present)):
            return
        if lock.events != turn.events or lock.front is None or lock.front.ticket != turn.order[0]:
            return
        # A waiter with a pace may be alive and not answer: its release is old, or its policies are slow. It
        # is dropped only as the front, and alone.
        leading = list(takewhile(lambda waiter: waiter.ticket in gone and not waiter.pace, lock.queue))
        self._poller.call(_drop, self._store, lock, len(leading) or 1)


def _drop(store: LockStore, seen: Lock, count: int = 1) -> None:
    """Remove the first `count` waiters, unless they changed or the lock had an event since `seen`."""
    gone = seen.queue[:count]

    def dropped(lock: Lock, _: datetime) -> Lock:
        still = [waiter.ticket for waiter in lock.queue[:count]] == [waiter.ticket for waiter in gone]
        return replace(lock, queue=lock.queue[count:]) if gone and still and lock.events == seen.events else lock

    store.requeue(seen.pool, seen.name, dropped)


def queues(store: LockStore, pool: str | None) -> list[tuple[Lock, Claim | None]]:
    """Return the locks that builds wait for, each with the claim that holds it, if any.

    Without `pool`, these are the locks of all pools in which a lock is held.
    """
    pools = [pool] if pool is not None else sorted({claim.pool for claim in store.open_claims()})
    locks = [lock for name in pools for lock in store.queues(name) if lock.queue]
    holders = {claim.id: claim for claim in store.claims([lock.holder for lock in locks if lock.holder])}
    return [(lock, holders.get(lock.holder)) for lock in locks]
