"""One channel's worker: follow the logs, tell what is new, keep the cursors.

The log is the outbox. A lease lets one of several workers tell a channel. The cursor moves in the transaction
that records the delivery, so a crash before it repeats one message under the same id.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatchcase

from approval_resource.claims.poller import Poller
from approval_resource.claims.proof import borne_out, newest_event
from approval_resource.clock import Clock
from approval_resource.documents.claims import claim_digest
from approval_resource.documents.events import event_digest
from approval_resource.errors import ApprovalError, CorruptRecordError, LockNotFoundError
from approval_resource.model.claim import Claim
from approval_resource.model.delivery import Delivery, Progress
from approval_resource.model.event import Event, State
from approval_resource.notify import message as messages
from approval_resource.notify.channels.interface import Outlet
from approval_resource.notify.config import Rule
from approval_resource.notify.connections import ChannelDownError, MessageRefusedError
from approval_resource.notify.message import Message, Reading
from approval_resource.store.gapless import SETTLED, gapless
from approval_resource.store.interface import LockStore, Outbox
from approval_resource.text import clean

log = logging.getLogger(__name__)

LEASE = timedelta(seconds=11)
"""Lease: time after a worker's last write until another worker may take its channel."""
SKEW = timedelta(seconds=4)
"""Upper bound of the difference between two workers' readings of the store's time, with a margin."""
ENOUGH = timedelta(seconds=8)
"""Lower bound of a lease's remaining time before a message is sent. It is longer than any request."""
FIRST_BACKOFF = timedelta(seconds=1)
MAX_BACKOFF = timedelta(minutes=1)
MAX_WAIT = timedelta(hours=1)
"""Longest pause that a channel may ask for."""
MAX_REFUSED = 3
"""Refusals after which a message is passed over. Failures by an outage don't count."""
MAX_ERROR = 300
FAILED_AFTER = timedelta(minutes=15)
"""Age from which a failure makes a channel `failed`, and an untold event makes it `behind`."""
LOOK_SECONDS = 0.5
"""Longest pause between two reads of a claim that differs from its newest event."""
LOOK = timedelta(seconds=30)
"""Pause between two searches for due reminders."""
DIGEST_HOURS = 3
"""Hours after its time within which a digest is still sent."""
WEEKDAYS = 5
BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)
SETTLING = timedelta(minutes=1)
"""Span of the log that a new channel reads back. Older claims come from the index, which may lag."""


class LeaseLostError(Exception):
    """Loss of the lease: another worker tells the channel now."""


class NotYetError(Exception):
    """Event whose claim isn't visible yet, since their commit is in flight. The next turn retries it."""


@dataclass(slots=True)
class Worker:
    """Worker of one channel. Its state may be lost: all that counts is in the store."""

    reading: Reading
    outlet: Outlet
    rules: list[Rule]
    store: LockStore
    outbox: Outbox
    clock: Clock
    holder: str
    """Unique name of this worker."""
    digest: str = ""
    """Local time of the morning's digest, or an empty string."""
    _progress: Progress = field(init=False, default_factory=lambda: Progress(channel=""))
    _written: Progress = field(init=False, default_factory=lambda: Progress(channel=""))
    _looked_at: datetime | None = field(init=False, default=None)

    @property
    def name(self) -> str:
        """Name of its channel."""
        return self.reading.channel

    @property
    def failing(self) -> str:
        """Failure of the newest try, or an empty string."""
        return self._progress.error if self._progress.tries else ""

    def turn(self, *, patient: bool = True) -> bool:
        """Tell whatever is new. Return False where another worker has the lease.

        `patient`: don't try a failed channel before its backoff is over.

        Raises:
            StoreUnavailableError: the store can't be asked. The next turn goes on.
        """
        self._progress = self._written = self.outbox.progress(self.name)
        now = self.store.now()
        # A lease or pause longer than any worker sets is forged, so it is ignored.
        if self._progress.holder not in ("", self.holder) and _between(now, self._progress.until, LEASE + SKEW):
            return False
        try:
            self._hold()
            if not (patient and _between(now, self._progress.retry_at, MAX_WAIT + SKEW)):
                self._tell()
                if self._progress.tries:
                    self._progress = self._without_failures()  # the failed message was sent, or isn't needed any more
                if self._progress != self._written:
                    self._write(self._progress)
        except ChannelDownError as down:
            return self._failed(down)
        except LeaseLostError:
            return False
        except ApprovalError:
            raise
        except Exception as fault:
            # The fault is this channel's alone: its status shows it, it is retried, and other channels go on.
            log.exception("channel %s: a fault of this program", self.name)
            return self._failed(ChannelDownError(f"a fault of this program, see its log: {type(fault).__name__}"))
        return True

    def leave(self) -> None:
        """Give the lease back, so that another worker need not wait for its end."""
        if self._progress.holder == self.holder:
            self.outbox.write(replace(self._progress, holder="", until=None))

    def _hold(self) -> None:
        """Renew the lease unless it lasts for another message.

        Raises:
            LeaseLostError: another worker has it.
        """
        progress, now = self._progress, self.store.now()
        if progress.holder != self.holder or progress.until is None or not ENOUGH <= progress.until - now <= LEASE:
            self._write(progress)

    def _write(self, progress: Progress, delivery: Delivery | None = None) -> None:
        """Write the progress and the delivery, and renew the lease.

        Raises:
            LeaseLostError: another worker wrote it in between.
        """
        kept = self.outbox.write(replace(progress, holder=self.holder, until=self.store.now() + LEASE), delivery)
        if kept is None:
            raise LeaseLostError
        self._progress = self._written = kept

    def _failed(self, down: ChannelDownError) -> bool:
        """Record a failure, and when to try again. Return False where the lease is lost."""
        now, tries = self.store.now(), self._progress.tries + 1
        backoff = min(MAX_BACKOFF, FIRST_BACKOFF * 2 ** min(tries - 1, 10))
        pause = min(MAX_WAIT, max(backoff, timedelta(seconds=down.retry_after)))
        why = clean(str(down))[:MAX_ERROR]
        log.warning("channel %s: %s; try %d, again in %.0f s", self.name, why, tries, pause.total_seconds())
        since = self._progress.failing_since or now
        try:
            self._write(replace(self._progress, failing_since=since, tries=tries, retry_at=now + pause, error=why))
        except LeaseLostError:
            return False
        return True

    # ---- what is new --------------------------------------------------------------------------

    def _tell(self) -> None:
        for pool in dict.fromkeys(pool for rule in self.rules for pool in rule.pools):
            try:
                self._tell_pool(pool)
            except CorruptRecordError as corrupt:
                # The other pools' claims are told all the same.
                log.warning("channel %s: pool %s: %s", self.name, clean(pool), corrupt)
                self._progress = replace(self._progress, error=clean(str(corrupt))[:MAX_ERROR])
        now = self.store.now()
        if self._looked_at is None or now - self._looked_at >= LOOK:
            self._remind()
            self._looked_at = now
        self._tell_digest()

    def _tell_pool(self, pool: str) -> None:
        head, cursor = self.store.head(pool), self._progress.cursors.get(pool)
        if head is None or head.timestamp is None:
            if cursor is None:
                self._move_cursor(pool, BEGINNING)
            return
        if cursor is None or cursor > head.timestamp:
            cursor = self._begin(pool, head.timestamp)
        if cursor == head.timestamp:
            return
        for event in gapless(self.store.events(pool, since=cursor), cursor, by_lock=False, store=self.store):
            if event.timestamp > head.timestamp:
                # A commit that landed since is told at the next turn. Any other event dated after the head is
                # planted, and telling it would skip its claim's events up to that date.
                return
            if event.timestamp > cursor:
                try:
                    self._tell_event(event)
                except NotYetError:
                    return
                self._move_cursor(pool, event.timestamp)

    def _begin(self, pool: str, end: datetime) -> datetime:
        """Tell of the pending claims of a pool without a usable cursor. Return the cursor to start from."""
        for claim in self._pending(pool):
            event = self.store.event(pool, claim.changed)
            if event is not None:
                with suppress(NotYetError):
                    self._tell_event(event)
        cursor = max(end, BEGINNING + SETTLING) - SETTLING
        self._move_cursor(pool, cursor)
        return cursor

    def _move_cursor(self, pool: str, cursor: datetime) -> None:
        """Move the pool's cursor. It is written with the next delivery, or at the end of the turn."""
        self._progress = replace(self._progress, cursors={**self._progress.cursors, pool: cursor})

    def _tell_event(self, event: Event) -> None:
        wanted = self._rule(event.pool, event.lock_name, event.kind.state)
        if not event.claim_id or not (wanted or self.outlet.edits):
            return
        delivery = self.outbox.delivery(self.name, event.claim_id)
        if delivery.told is not None and event.timestamp <= delivery.told:
            return
        if wanted is None and not delivery.ref:
            return
        claim = self.store.claim(event.claim_id)
        if claim is None and self.store.now() - event.at < SETTLED:
            raise NotYetError
        if claim is None or not (claim.need_approval or wanted is None or State.HELD in wanted.on):
            return
        self._deliver(self._message(claim, event), replace(delivery, told=event.timestamp), event)

    def _message(self, claim: Claim, event: Event) -> Message:
        """Return the event's message, or a warning if the log contradicts the claim."""
        try:
            # Reads aren't transactional: the event may be visible before the claim's change. So poll.
            claim = borne_out(self.store, claim, Poller(self.clock, LOOK_SECONDS, log.warning))
        except CorruptRecordError as corrupt:
            return messages.doubtful(claim, event, str(corrupt))
        except LockNotFoundError:
            log.debug("channel %s: claim %s has no event left", self.name, claim.id)
        return messages.about(self.store, claim, event, self.reading)

    def _rule(self, pool: str, lock_name: str, state: State | None) -> Rule | None:
        """Return the first rule for that state of the lock's claims, or None."""
        return next((rule for rule in self._rules(pool, lock_name) if state in rule.on), None)

    def _rules(self, pool: str, lock_name: str) -> Iterator[Rule]:
        for rule in self.rules:
            if pool in rule.pools and any(fnmatchcase(lock_name, pattern) for pattern in rule.locks):
                yield rule

    def _pending(self, pool: str) -> Iterator[Claim]:
        """Yield the claims of the pool that wait and that the channel is told of."""
        for claim in self.store.open_claims(pool):
            if claim.state is State.PENDING and any(self._rules(pool, claim.lock_name)):
                yield claim

    def _is_sound(self, claim: Claim) -> bool:
        """Whether the log confirms the claim, or has no event of it left."""
        newest = newest_event(self.store, claim)
        sound = newest is None or (newest.claim == claim_digest(claim) and newest.digest == event_digest(newest))
        if not sound:
            log.warning("channel %s: claim %s is not as its newest event left it", self.name, clean(claim.id))
        return sound

    def _deliver(self, message: Message, delivery: Delivery, event: Event | None = None) -> None:
        """Send a message; then record the delivery and the cursor after it in one transaction."""
        self._hold()
        delivery = replace(delivery, ref=self._send(message, delivery.ref), pool=message.pool, at=self.store.now())
        if event is not None and event.timestamp > self._progress.cursors.get(event.pool, event.timestamp):
            self._move_cursor(event.pool, event.timestamp)
        self._write(self._without_failures(), delivery)

    def _send(self, message: Message, ref: str) -> str:
        try:
            found = self.outlet.send(message, ref, int(self.store.now().timestamp()))
        except MessageRefusedError as refused:
            progress = self._progress
            refusals = progress.refusals + 1 if progress.refused == message.id else 1
            self._progress = replace(progress, refused=message.id, refusals=refusals)
            if refusals < MAX_REFUSED:
                raise ChannelDownError(str(refused)) from refused
            log.warning("channel %s: passed over %s: %s", self.name, message.id, refused)
            error = clean(f"passed over {message.id}: {refused}")[:MAX_ERROR]
            self._progress = replace(progress, skipped=progress.skipped + 1, lost=progress.lost + 1, error=error)
            return ref
        self._progress = replace(self._progress, lost=0, told_at=self.store.now())
        return found

    def _without_failures(self) -> Progress:
        """Return the progress after a message was sent or passed over: without failures."""
        return replace(self._progress, failing_since=None, tries=0, retry_at=None, refused="", refusals=0)

    # ---- reminders and digests ----------------------------------------------------------------

    def _remind(self) -> None:
        for pool in dict.fromkeys(pool for rule in self.rules if rule.remind for pool in rule.pools):
            for claim in self._pending(pool):
                if not any(rule.remind for rule in self._rules(pool, claim.lock_name)):
                    continue
                if messages.due_reminder(claim, None, self.store.now()) is None:
                    continue
                delivery = self.outbox.delivery(self.name, claim.id)
                due = messages.due_reminder(claim, delivery.reminded, self.store.now())
                if due is not None and delivery.told is not None and self._is_sound(claim):
                    message = messages.reminder(self.store, claim, due, self.reading)
                    self._deliver(message, replace(delivery, reminded=due))

    def _tell_digest(self) -> None:
        if not self.digest:
            return
        now = self.store.now().astimezone(self.reading.zone)
        hour, minute = map(int, self.digest.split(":"))
        at = now.replace(hour=hour, minute=minute, second=0, microsecond=0)
        day = now.date().isoformat()
        if now.weekday() >= WEEKDAYS or not at <= now < at + timedelta(hours=DIGEST_HOURS) or self._progress.digest == day:
            return
        pools = dict.fromkeys(pool for rule in self.rules for pool in rule.pools)
        waiting = [claim for pool in pools for claim in self._pending(pool) if self._is_sound(claim)]
        if waiting:
            self._hold()
            self._send(messages.digest_of(waiting, day, self.reading, self.store.now()), "")
            self._progress = self._without_failures()
        self._write(replace(self._progress, digest=day))


def _between(now: datetime, end: datetime | None, most: timedelta) -> bool:
    """Whether that end is still to come, and no later than `most` from now."""
    return end is not None and now < end <= now + most
