"""Claims of the walk: each is verified from its newest event back to its first, then forgotten."""

from __future__ import annotations

import hashlib
import os
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

from approval_resource.audit.verify_chain import Walk
from approval_resource.documents.claims import claim_digest, made_under
from approval_resource.documents.events import EVENT
from approval_resource.errors import ConfigError, CorruptRecordError
from approval_resource.model.claim import Claim
from approval_resource.model.event import Event, Kind
from approval_resource.store.interface import RecordReads
from approval_resource.text import counted

BATCH = 100
"""Claims read in one batch."""
BUCKETS = 1024
UNREADABLE = (CorruptRecordError, ConfigError)
"""Errors of items that can't be parsed, and of names that no key can hold. This program writes neither."""


@dataclass(slots=True)
class Life:
    """Newest event of a claim, or of the settings, and the oldest one that the walk has reached."""

    newest: Event
    gone: int
    """Number of lost events of its lock that are younger than `newest`. Some may have been its own."""
    oldest: Event
    missing: int
    """Number of its lock's events that were missing when the walk reached `oldest`."""
    claim: Claim | None = None
    read: bool = False
    begun: bool = False
    """Whether the oldest is the claim's first."""


class SetDifference:
    """Difference of two sets of ids in constant memory. It tells which buckets of ids differ.

    A digest with a random key chooses the buckets, so that nobody can choose ids that cancel each other out.
    """

    def __init__(self) -> None:
        """Begin with two empty sets."""
        self._key = os.urandom(16)
        self._sums = [0] * BUCKETS

    def add(self, id_: str, sign: int = 1) -> None:
        """Add an id to the first set; to the second, with -1."""
        bucket, value = self._place(id_)
        self._sums[bucket] += sign * value

    def differs(self, id_: str) -> bool:
        """Whether the bucket of that id differs."""
        return self._sums[self._place(id_)[0]] != 0

    def __bool__(self) -> bool:
        """Whether the sets differ."""
        return any(self._sums)

    def _place(self, id_: str) -> tuple[int, int]:
        value = int.from_bytes(hashlib.blake2b(id_.encode(), key=self._key, digest_size=16).digest(), "big")
        return value % BUCKETS, value


class Lives:
    """Verification of every claim in the log: its state, and that each event follows from the one before.

    It keeps a claim from its newest event to its first, so memory grows with the claims open at one time.
    """

    def __init__(self, store: RecordReads, walk: Walk) -> None:
        """Follow the walk, and read claims from `store`."""
        self._store = store
        self._walk = walk
        self._lives: dict[str, Life] = {}
        self._unread: list[str] = []
        self.holders: dict[str, set[str]] = defaultdict(set)
        """Claims that hold each lock according to the log, as far as its events are left."""
        self.may_hold: set[str] = set()
        """Claims named as the holder by their lock's item, where the log has lost events that could
        confirm it."""
        self.fences: dict[str, int] = defaultdict(int)
        """The highest fence of each lock's claims."""
        self.absent: set[str] = set()
        """Locks with a claim that is gone, or can't be read."""
        self.stored = SetDifference()
        """Difference between the stored claims that the log tells of and all stored claims."""

    def step(self, event: Event) -> None:
        """Take the next older event."""
        life = self._lives.get(event.claim_id)
        missing = self._walk.missing(event.lock_name)
        if life is None:
            life = self._lives[event.claim_id] = Life(event, missing, event, missing)
            if event.kind is not Kind.SETTINGS:
                self._unread.append(event.claim_id)
                self._hold(event, missing)
        else:
            self._verify_continuous(life, event, missing)
            life.oldest, life.missing = event, missing
        if event.kind is not Kind.SETTINGS:
            life.begun = _is_first(event, life.claim)
            self._forget(event.claim_id, life)
        if len(self._unread) >= BATCH:
            self._read()

    def finish(self) -> None:
        """Judge the claims whose first event the log no longer has."""
        self._read()
        for life in self._lives.values():
            if life.oldest.before and not self._walk.gone:
                self._found(_without_beginning(life.oldest))

    def _hold(self, event: Event, missing: int) -> None:
        """Note which claim holds the event's lock. If later events are missing, that is not certain."""
        if missing:
            lock = self._walk.locks.get(event.lock_name)
            if lock is not None and lock.holder == event.claim_id:
                self.may_hold.add(event.claim_id)
        elif event.state and event.state.is_open:
            self.holders[event.lock_name].add(event.claim_id)

    def _verify_continuous(self, life: Life, event: Event, missing: int) -> None:
        """Compare the state that this event left with the one from which the next younger event started.

        The two are not compared if events of the lock are missing between them: some may be of the same
        claim.
        """
        younger = life.oldest
        if younger.lock and missing == life.missing and younger.before != event.claim:
            verb = "was" if event.claim_id else "were"
            self._found(
                f"{_subject(event)} {verb} altered between event {event.revision} and event {younger.revision}: "
                "the second follows from another state than the first left"
            )

    def _forget(self, claim_id: str, life: Life) -> None:
        """Compare a claim with its first event and forget it, once both were read."""
        if not (life.read and life.begun):
            return
        del self._lives[claim_id]
        if life.oldest.before:
            self._found(_without_beginning(life.oldest))
        claim = life.claim
        if claim is not None and life.oldest.timestamp == claim.timestamp and not made_under(claim, life.oldest):
            self._found(f"{title_of(claim)} was altered: it is not what its pipeline asked for; {says_now(claim)}")

    def _read(self) -> None:
        batch, self._unread = self._unread, []
        for claim_id, claim in claims(self._store, batch):
            life = self._lives[claim_id]
            life.read = True
            if claim is not None:
                self.stored.add(claim_id)
            if isinstance(claim, Claim):
                life.claim = claim
                life.begun = _is_first(life.oldest, claim)
                self._walk.report.claims += 1
                self.fences[life.newest.lock_name] = max(self.fences[life.newest.lock_name], claim.fence)
                self._verify(claim, life)
            else:
                self.absent.add(life.newest.lock_name)
                self._verify_absent(claim, life)
            self._forget(claim_id, life)

    def _verify_absent(self, claim: CorruptRecordError | None, life: Life) -> None:
        newest = life.newest
        ended = newest.state is None or not newest.state.is_open or life.gone
        if claim is not None:
            self._found(f"{_subject(newest)} was altered: {claim.why}")
        elif not (ended and self._walk.keeping.may_be_gone(newest.timestamp)):
            self._found(f"{_subject(newest)} is missing")

    def _verify(self, claim: Claim, life: Life) -> None:
        newest = life.newest
        # A claim's end is its last event. That event pins the claim even if other events are gone.
        last = newest.kind.state is not None and not newest.kind.state.is_open
        if (last or not life.gone) and not self._pinned(claim, newest):
            self._found(f"{title_of(claim)} was altered: it is not as its newest event left it; {says_now(claim)}")
        if claim.lock_name != newest.lock_name:
            self._found(f"{title_of(claim)} was altered: its newest event is one of lock {newest.lock_name}")
        if not (claim.ended and self._walk.keeping.may_be_gone(claim.ended.timestamp)):
            for finding in content_findings(self._store, claim):
                self._found(finding)

    def _pinned(self, claim: Claim, newest: Event) -> bool:
        """Whether the claim is as its newest event, or one that landed during the walk, left it."""
        pin = claim_digest(claim)
        if pin == newest.claim:
            return True
        return any(pin == event.claim for event in since(self._store, self._walk) if event.claim_id == claim.id)

    def _found(self, finding: str) -> None:
        self._walk.report.findings.append(finding)


def _is_first(event: Event, claim: Claim | None) -> bool:
    """Whether the event is certainly its claim's first."""
    if claim is not None and event.timestamp <= claim.timestamp:
        return True
    return event.kind in (Kind.HELD, Kind.PENDING) or (event.lock != "" and event.before == "")


def since(store: RecordReads, walk: Walk) -> Iterator[Event]:
    """Yield the events that landed after the walk began, newest first, without the unreadable ones."""
    for record in store.records(walk.report.pool):
        try:
            event = EVENT.read(record.document)
        except CorruptRecordError:
            continue
        if event.revision <= walk.report.head.revision:
            return
        yield event


def claims(store: RecordReads, ids: list[str]) -> Iterator[tuple[str, Claim | CorruptRecordError | None]]:
    """Yield each id with its claim, the error if it can't be read, or None if it is missing."""
    try:
        found = {claim.id: claim for claim in store.claims(ids)}
    except UNREADABLE:
        yield from ((claim_id, claim_or_fault(store, claim_id)) for claim_id in ids)
    else:
        yield from ((claim_id, found.get(claim_id)) for claim_id in ids)


def claim_or_fault(store: RecordReads, claim_id: str) -> Claim | CorruptRecordError | None:
    """Return the claim, the reason why it can't be read, or None where there is none."""
    try:
        return store.claim(claim_id)
    except CorruptRecordError as corrupt:
        return corrupt
    except ConfigError as wrong:
        return CorruptRecordError(f"claim {claim_id}", str(wrong))


def content_findings(store: RecordReads, claim: Claim) -> Iterator[str]:
    """Yield a line for each content beside the claim that isn't what the claim names."""
    for name, expected in claim.contents.items():
        try:
            content = store.content(claim.id, name)
        except UNREADABLE:
            content = None
        if content is None:
            yield f"the {name} of {title_of(claim)} was altered: there is none now"
        elif (now := hashlib.sha256(content).hexdigest()) != expected:
            yield f"the {name} of {title_of(claim)} was altered: it has {counted(len(content), 'byte')} now, of SHA-256 {now}"


def title_of(claim: Claim) -> str:
    """Return a claim's id and lock."""
    return f"claim {claim.id} of lock {claim.lock_name}"


def says_now(claim: Claim) -> str:
    """Return what a claim says now."""
    decided = claim.decided
    by = f" by {decided.actor}" if decided and decided.state is claim.state and decided.actor else ""
    reviews = ", ".join(f"{who} ({review.verdict.value})" for who, review in sorted(claim.reviews.items())) or "nobody"
    return f"it says now: {claim.state.value}{by}, reviewed by {reviews}"


def _without_beginning(event: Event) -> str:
    return f"{_subject(event)}: event {event.revision} follows from an earlier state, but the event before it is missing"


def _subject(event: Event) -> str:
    return f"claim {event.claim_id} of lock {event.lock_name}" if event.claim_id else "the pool's settings"
