"""Walk back through a pool's log: the expected next event, what is gone by age, and what is wrong."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from approval_resource.canonical import digest, instant
from approval_resource.documents.events import EVENT
from approval_resource.errors import CorruptRecordError
from approval_resource.model.event import Event, Head, Kind, Place, State
from approval_resource.model.lock import Lock
from approval_resource.model.settings import Settings
from approval_resource.store.chain import AHEAD
from approval_resource.store.interface import Record, RecordReads

EVERY_LOCK = None


@dataclass(slots=True)
class Report:
    """Counts of what an audit of one pool read, and every fault found, one line each."""

    pool: str
    head: Head
    events: int = 0
    claims: int = 0
    removed: int = 0
    """Number of missing events whose retention is over."""
    findings: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    """Comparisons that were not possible, with the reason why that is no fault."""


@dataclass(frozen=True, slots=True)
class Keeping:
    """Retention of the pool: whether something of a given age may have been removed."""

    settings: Settings
    now: datetime

    @classmethod
    def of(cls, store: RecordReads, report: Report) -> Keeping:
        """Read the pool's settings and the store's time; settings that can't be read are a finding."""
        try:
            settings = store.settings(report.pool)
        except CorruptRecordError as corrupt:
            report.findings.append(f"the pool's settings were altered: {corrupt.why}")
            settings = Settings(pool=report.pool)
        # A read came just before, so the store's time is known.
        return cls(settings, store.now())

    def may_be_gone(self, at: datetime | None) -> bool:
        """Whether a record of that instant may have been removed by age."""
        return at is not None and self.settings.may_be_gone(at, self.now)

    def all_may_be_gone(self, oldest: int, newest: int, at: datetime | None) -> bool:
        """Whether events `oldest` to `newest`, the latter of `at`, may all be gone by age."""
        return at is not None and self.settings.all_may_be_gone(oldest, newest, at, self.now)


class Walk:
    """State of the walk back through one log: the next expected event, and what events pin of locks and head.

    It keeps nothing per event, so memory grows with the locks and the findings, not with the log.
    """

    def __init__(self, report: Report, keeping: Keeping, locks: Mapping[str, Lock]) -> None:
        """Begin at the head that `report` names. `locks` are those that could be read, after that head."""
        self.report = report
        self.keeping = keeping
        self.locks = locks
        self._head = report.head
        self._digest = report.head.digest
        self._revision = report.head.revision
        self._at = report.head.timestamp
        """Timestamp of the event expected next."""
        self.newest_of_lock: dict[str, Event] = {}
        """The newest event of each lock that the head knows of."""
        self.numbers: dict[str, int] = {}
        """Number of events of each lock, as its newest event gives it, even if that lies after the head."""
        self._missing: Counter[str] = Counter()
        """Number of events of each lock that are missing between those that were seen."""
        self.places: dict[str | None, dict[State, Place]] = {EVERY_LOCK: {}}
        """The newest place of each state, by lock and in the pool."""
        self.settings: Event | None = None
        """The newest event of the pool's settings."""
        self.writes_of_lock: Counter[str] = Counter()
        """Number of transactions that wrote each lock. One may have added several of its events."""
        self._operation_of_lock: dict[str, str] = {}
        self._lock_number: dict[str, int] = {}
        """Number, within its lock, that the next event of each lock is expected to have."""
        self.later: list[Event] = []
        """Events that lie after the head, newest first."""
        self._unreadable: set[str] = set()
        """Places of the events that could not be read."""

    @property
    def gone(self) -> int:
        """Number of events that can't be read: those removed by age, and the altered, which are findings."""
        return self.report.removed + len(self._unreadable)

    def step(self, record: Record) -> Event | None:
        """Check the next older event. Return it, or None where it is not readable, or newer than the head."""
        document = record.document
        what = f"event {document.get('revision')} at {document.get('timestamp')}"
        try:
            event = EVENT.read(document)
        except CorruptRecordError as corrupt:
            self._found(f"{what} was altered: {corrupt.why}")
            self._unreadable.add(str(document.get("timestamp")))
            self._digest, self._revision, self._at = str(document.get("previous", "")), self._revision - 1, None
            return None
        self.numbers.setdefault(event.lock_name, event.lock_event_number)
        if self._head.timestamp is None or event.timestamp > self._head.timestamp:
            self.later.append(event)
            return None
        self._verify_place(event, record, what)
        if event.kind is Kind.SETTINGS:
            self.settings = self.settings or event
        self.newest_of_lock.setdefault(event.lock_name, event)
        self.writes_of_lock[event.lock_name] += event.operation != self._operation_of_lock.get(event.lock_name)
        self._operation_of_lock[event.lock_name] = event.operation
        if event.kind.state is not None:
            place = Place(event.timestamp, event.claim_id, event.lock_name)
            for name in (EVERY_LOCK, event.lock_name):
                self.places.setdefault(name, {}).setdefault(event.kind.state, place)
        return event

    def _verify_place(self, event: Event, record: Record, what: str) -> None:
        """Compare an event with its own digest, its place, and the events after it."""
        self.report.events += 1
        if event.revision == self._head.revision and event.timestamp != self._head.timestamp:
            self._found("the head was altered: its timestamp is not that of the newest event")
        # Reading and writing an event are exact inverses, so the stored document has the event's digest.
        if _digest(record.document) != event.digest:
            self._found(f"{what} was altered: its digest is not that of its content; {_says_now(event)}")
        elif event.revision == self._revision and event.digest != self._digest:
            self._found(f"{what} was altered: it is not the one that the event after it was chained to; {_says_now(event)}")
        if not record.in_place:
            self._found(f"{what} was moved: its keys are not those of its content; {_says_now(event)}")
        if event.revision < self._revision and not self._removed(event.revision + 1):
            missing = (
                f"{event.revision + 1} to {self._revision}" if self._revision - event.revision > 1 else f"{self._revision}"
            )
            self._found(f"after {what} of the log, events {missing} are missing")
        elif event.revision > self._revision:
            self._found(f"{what} is out of order or was added: {self._revision} was expected; {_says_now(event)}")
        number = self._lock_number.get(event.lock_name, event.lock_event_number)
        if not 0 <= number - event.lock_event_number <= self.gone - self._missing[event.lock_name]:
            self._found(f"{what} is number {event.lock_event_number} of lock {event.lock_name}, not {number}")
        self._missing[event.lock_name] += number - event.lock_event_number
        self._lock_number[event.lock_name] = event.lock_event_number - 1
        self._digest, self._revision, self._at = event.previous, event.revision - 1, event.previous_timestamp
        if event.at > self.keeping.now + AHEAD:
            self._found(f"{what} is dated {instant(event.at)}, later than the store's time; {_says_now(event)}")

    def finish(self, store: RecordReads) -> None:
        """Report what is missing before the oldest event, and a head that isn't that of the log."""
        if self._revision > 0 and not self._removed(1):
            self._found(f"the log's oldest part, up to event {self._revision}, is missing")
        elif self._revision == 0 and self._digest:
            self._found("the first event names one before it")
        self._verify_later(store)
        if self._head.revision and not self.matches_places(self._head.newest, EVERY_LOCK):
            self._found("the head was altered: its newest places are not those of the log")

    def _removed(self, oldest: int) -> bool:
        """Whether the events missing from revision `oldest` on were removed by age; count them if so."""
        if not self.keeping.all_may_be_gone(oldest, self._revision, self._at):
            return False
        self.report.removed += self._revision - oldest + 1
        return True

    def missing(self, lock_name: str) -> int:
        """Return the number of the lock's events that are missing in the part of the log walked so far."""
        return self._newer(lock_name) + self._missing[lock_name]

    def removed_of(self, lock_name: str) -> int:
        """Return the number of the lock's events that are gone from the whole log."""
        return self.missing(lock_name) + self._lock_number.get(lock_name, 0)

    def _newer(self, lock_name: str) -> int:
        lock = self.locks.get(lock_name)
        return max(0, (lock.events if lock else 0) - self.numbers.get(lock_name, 0))

    def matches_places(self, newest: Mapping[State, Place], lock_name: str | None) -> bool:
        """Whether these are the newest places of a lock, or of the pool, as far as events are left."""
        by_log = self.places.get(lock_name, {})
        removed = self.report.removed if lock_name is None else self.removed_of(lock_name)
        gone = {state for state, place in newest.items() if removed and self.keeping.may_be_gone(place.timestamp)}
        gone |= {state for state, place in newest.items() if instant(place.timestamp) in self._unreadable}
        same = all(by_log.get(state) == place for state, place in newest.items() if state not in gone)
        return same and by_log.keys() <= newest.keys()

    def _verify_later(self, store: RecordReads) -> None:
        """Check the events after the head: each must be one that landed since the walk began."""
        if not self.later:
            return
        try:
            now = store.head(self.report.pool) or self._head
        except CorruptRecordError:
            now = self._head
        landed = set(range(self._head.revision + 1, now.revision + 1))
        for event in self.later:
            known = event.revision in landed and now.timestamp is not None and event.timestamp <= now.timestamp
            landed.discard(event.revision)
            if not known:
                self._found(
                    f"the head does not know of event {event.revision} at {instant(event.timestamp)}; {_says_now(event)}"
                )

    def _found(self, finding: str) -> None:
        self.report.findings.append(finding)


def _digest(document: Mapping[str, Any]) -> str:
    return digest({name: value for name, value in document.items() if name != "digest"})


def _says_now(event: Event) -> str:
    """Return the content of an event, for a finding."""
    about = f"claim {event.claim_id} of lock {event.lock_name}, {event.kind.value}" if event.claim_id else "the pool's settings"
    return f"it says now: {about} by {event.actor or 'nobody'}"
