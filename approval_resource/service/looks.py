"""Cached reads of the store, shared by all callers: for one second, some longer, contents for ever."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from itertools import takewhile
from typing import Any, Generic, TypeVar

from approval_resource.claims.decide import Terms, decision_of, openers, terms_of
from approval_resource.claims.lookup import read_content
from approval_resource.claims.proof import newest_event
from approval_resource.claims.review import shown_digest
from approval_resource.documents.claims import claim_digest
from approval_resource.documents.events import event_digest
from approval_resource.errors import ApprovalError
from approval_resource.model.claim import Claim
from approval_resource.model.event import Event, State, passages
from approval_resource.model.lock import Lock
from approval_resource.model.settings import Settings
from approval_resource.policy.decision import Decision
from approval_resource.policy.unblock import Openers
from approval_resource.store.dynamodb.store import DynamoStore

T = TypeVar("T")

FRESH_SECONDS = 1.0
FOR_EVER = float("inf")
OPENERS_SECONDS = 30.0
MAX_ENTRIES = 4_096
MAX_ID = 36
"""Upper bound of the characters of a claim's id: nothing longer is looked for, or kept as a key."""
MAX_CONTENTS = 32
"""Upper bound of the contents kept in memory; each has at most 400 KB."""
MAX_ENDED = 20
"""Upper bound of a pool's claims that are shown as decided lately."""
MAX_EVENTS = 400
"""Upper bound of the events that a page of history shows."""


class _Entry(Generic[T]):
    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.made_at: float | None = None
        self.value: T | None = None
        self.failed: ApprovalError | None = None


class Cache(Generic[T]):
    """Values by key, each made once at a time and kept for some seconds; a failure for one second."""

    def __init__(self, seconds: float = FRESH_SECONDS, most: int = MAX_ENTRIES) -> None:
        """Keep each value for `seconds`, and `most` values at most."""
        self._seconds = seconds
        self._most = most
        self._lock = threading.Lock()
        self._entries: OrderedDict[Hashable, _Entry[T]] = OrderedDict()

    def get(self, key: Hashable, make: Callable[[], T]) -> T:
        """Return the value kept under `key`, made by `make` if it is missing or too old."""
        with self._lock:
            entry = self._entries.setdefault(key, _Entry())
            self._entries.move_to_end(key)
            while len(self._entries) > self._most:
                self._entries.popitem(last=False)
        with entry.lock:
            seconds = min(self._seconds, FRESH_SECONDS) if entry.failed else self._seconds
            if entry.made_at is None or time.monotonic() - entry.made_at > seconds:
                entry.failed, entry.value = None, None
                try:
                    entry.value = make()
                except ApprovalError as failed:
                    entry.failed = failed
                entry.made_at = time.monotonic()
            if entry.failed is not None:
                raise entry.failed
            return entry.value  # type: ignore[return-value]

    def forget(self, key: Hashable) -> None:
        """Make the value anew at the next call."""
        with self._lock:
            self._entries.pop(key, None)


class Looks:
    """Reads for pages and the API, each as old as its cache allows. The write of a review checks anew."""

    def __init__(self, store: DynamoStore) -> None:
        """Read `store`."""
        self.store = store
        self._open: Cache[list[Claim]] = Cache()
        self._settings: Cache[Settings] = Cache()
        self._claims: Cache[Claim | None] = Cache()
        self._locks: Cache[Lock | None] = Cache()
        self._events: Cache[list[Event]] = Cache()
        self._ended: Cache[list[Claim]] = Cache()
        self._passages: Cache[tuple[Event, ...]] = Cache()
        self._terms: Cache[Terms] = Cache(FOR_EVER, 512)
        self._contents: Cache[bytes] = Cache(FOR_EVER, MAX_CONTENTS)
        self._decisions: Cache[Decision] = Cache()
        # What opens a gate changes with time, too: windows, waiting, lapsing approvals.
        self._openers: Cache[Openers] = Cache(OPENERS_SECONDS, 1_024)
        self._earlier: Cache[Claim | None] = Cache(30.0, 512)

    def open_claims(self, pool: str) -> list[Claim]:
        """Return the claims that hold a lock in the pool, oldest first."""
        return self._open.get(pool, lambda: self.store.open_claims(pool))

    def settings(self, pool: str) -> Settings:
        """Return the pool's settings."""
        return self._settings.get(pool, lambda: self.store.settings(pool))

    def claim(self, claim_id: str) -> Claim | None:
        """Return the claim with that id, or None."""
        return self._claims.get(claim_id, lambda: self.store.claim(claim_id))

    def lock(self, claim: Claim) -> Lock | None:
        """Return the claim's lock."""
        return self._locks.get((claim.pool, claim.lock_name), lambda: self.store.lock(claim.pool, claim.lock_name))

    def events(self, pool: str) -> list[Event]:
        """Return the newest events of the pool, newest first."""
        return self._events.get(pool, lambda: _first(self.store.events(pool, newest_first=True), MAX_EVENTS))

    def ended(self, pool: str) -> list[Claim]:
        """Return the pool's claims that were decided or ended lately."""
        return self._ended.get(pool, lambda: self._ended_in(pool))

    def _ended_in(self, pool: str) -> list[Claim]:
        events = [event for event in self.events(pool) if event.state not in (None, State.PENDING, State.HELD)]
        ids = list(dict.fromkeys(event.claim_id for event in events))[:MAX_ENDED]
        claims = [claim for claim in self.store.claims(ids) if claim.pool == pool and (claim.decided or claim.ended)]
        return sorted(claims, key=lambda claim: claim.changed, reverse=True)

    def events_of(self, claim: Claim) -> list[Event]:
        """Return the events of one claim, oldest first."""
        found = self.store.events(claim.pool, lock_name=claim.lock_name, since=claim.timestamp)
        return _first((event for event in found if event.claim_id == claim.id), MAX_EVENTS)

    def passages(self, claim: Claim) -> tuple[Event, ...]:
        """Return the passages of builds through the gate of an approved claim, as the log has them."""
        return self._passages.get((claim.id, claim.event_at), lambda: self._passages_of(claim))

    def _passages_of(self, claim: Claim) -> tuple[Event, ...]:
        if claim.decided is None or claim.decided.state is not State.APPROVED:
            return ()
        events = self.store.events(claim.pool, lock_name=claim.lock_name, since=claim.decided.timestamp)
        # A planted event lies after the claim's newest one, or its digest is not that of its content.
        lifetime = takewhile(lambda event: claim.event_at is None or event.timestamp <= claim.event_at, events)
        own = (event for event in lifetime if event.claim_id == claim.id and event.digest == event_digest(event))
        return passages(_first(own, MAX_EVENTS))

    def terms(self, claim: Claim) -> Terms:
        """Return the terms kept beside the claim.

        Raises:
            CorruptRecordError: they are not those that it was made under.
        """
        return self._terms.get((claim.id, claim.policy, claim.facts), lambda: terms_of(self.store, claim))

    def content(self, claim: Claim, name: str, digest: str) -> bytes:
        """Return content kept beside the claim, which has that digest.

        Raises:
            CorruptRecordError: it is not what the claim was made with.
        """
        return self._contents.get((claim.id, name, digest), lambda: read_content(self.store, claim, name, digest))

    def decision(self, claim: Claim, settings: Settings) -> Decision:
        """Return what the policies make of a pending claim now, or made of it when it was decided.

        Raises:
            CorruptRecordError: the terms are not those that it was made under or decided by.
        """
        return self._decisions.get(shown_digest(claim, settings), lambda: decision_of(self.store, claim))

    def openers(self, claim: Claim, settings: Settings) -> Openers:
        """Return who can still open the claim's gate."""
        return self._openers.get(shown_digest(claim, settings), lambda: openers(self.store, claim))

    def approved_before(self, claim: Claim) -> Claim | None:
        """Return the claim that was approved last on this lock before that one, or None.

        None too if the log contradicts that claim, since an edited record could hide a change.
        """
        return self._earlier.get(claim.id, lambda: self._approved_before(claim))

    def _approved_before(self, claim: Claim) -> Claim | None:
        events = self.store.events(claim.pool, lock_name=claim.lock_name, newest_first=True)
        for event in _first(events, MAX_EVENTS):
            if event.state is State.APPROVED and event.timestamp < claim.timestamp and event.claim_id != claim.id:
                found = self.store.claim(event.claim_id)
                return found if found is not None and self._borne_out(found, claim) else None
        return None

    def _borne_out(self, found: Claim, claim: Claim) -> bool:
        if (found.pool, found.lock_name) != (claim.pool, claim.lock_name):
            return False
        newest = newest_event(self.store, found)
        return newest is not None and newest.claim == claim_digest(found) and newest.digest == event_digest(newest)

    def forget(self, claim: Claim) -> None:
        """Drop the cached reads that a change of the claim affects."""
        self._claims.forget(claim.id)
        self._open.forget(claim.pool)
        self._settings.forget(claim.pool)
        self._locks.forget((claim.pool, claim.lock_name))
        self._events.forget(claim.pool)
        self._ended.forget(claim.pool)


def _first(found: Any, most: int) -> list[Any]:
    return [one for _, one in zip(range(most), found, strict=False)]
