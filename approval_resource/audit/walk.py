"""Walk back through a pool's log: the expected next event, what is gone by age, and what is wrong."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from approval_resource.canonical import instant
from approval_resource.documents.events import EVENT, event_digest
from approval_resource.errors import CorruptRecordError
from approval_resource.model.event import Event, Head, Kind, Place, State
from approval_resource.model.lock import Lock
from approval_resource.model.settings import Settings
from approval_resource.store.interface import Record, RecordReads
from approval_resource.store.transaction import CLOCK_PRECISION

EVERY_LOCK = None


@dataclass(slots=True)
class Report:
    """Counts of what an audit of one pool read, and every fault found, one line each."""

    pool: str
    head: Head
    events: int = 0
    claims: int = 0
    removed: int = 0
    """Events that are gone, and may be: their time to be kept is over."""
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
        # The head, or these, were read just before, so the store's time is known.
        return cls(settings, store.now())

    def over(self, at: datetime | None) -> bool:
        """Whether what happened then may have been removed by age."""
        return at is not None and self.settings.may_be_gone(at, self.now)

    def all_over(self, oldest: int, newest: int, at: datetime | None) -> bool:
        """Whether the events with those revisions, of which the newest happened then, may have been."""
        return at is not None and self.settings.all_may_be_gone(oldest, newest, at, self.now)


class Walk:
    """State of the walk back through one log: the next expected event, and everything that events pin."""

    def __init__(self, report: Report, keeping: Keeping) -> None:
        """Begin at the head that `report` names."""
        self.report = report
        self.keeping = keeping
        self._head = report.head
        self._digest = report.head.digest
        self._revision = report.head.revision
        self._at = report.head.timestamp
        """When the event that is expected next happened."""
        self.newest_of_claim: dict[str, Event] = {}
        self.oldest_of_claim: dict[str, Event] = {}
        self.newest_of_lock: dict[str, Event] = {}
        self.locks: dict[str, Lock] = {}
        """The locks as they are stored, as far as they could be read."""
        self._missing: Counter[str] = Counter()
        """How many events of each lock are missing between those that were seen."""
        self._missing_after: dict[str, int] = {}
        """The same when an event was seen, by its digest."""
        self.places: dict[str | None, dict[State, Place]] = {EVERY_LOCK: {}}
        """The newest place of each state, by lock and in the pool."""
        self.settings: Event | None = None
        """The newest event of the pool's settings."""
        self.fences: dict[str, int] = {}
        """Each claim's fence, as far as claims could be read."""
        self.writes_of_lock: Counter[str] = Counter()
        """How many transactions wrote each lock, by its events: one operation may have several."""
        self._operation_of_lock: dict[str, str] = {}
        self._lock_number: dict[str, int] = {}
        """The number expected next of each lock."""
        self._later: list[Event] = []
        self._found_before: dict[str, tuple[Event | None, int]] = {}
        """Last event seen of each claim and of the settings, and how many of its lock's were missing then."""

    def step(self, record: Record) -> None:
        """Check the next older event."""
        document = record.document
        what = f"event {document.get('revision')} at {document.get('timestamp')}"
        try:
            event = EVENT.read(document)
        except CorruptRecordError as corrupt:
            self._found(f"{what} was altered: {corrupt.why}")
            self._digest, self._revision, self._at = str(document.get("previous", "")), self._revision - 1, None
            return
        if self._head.timestamp is None or event.timestamp > self._head.timestamp:
            self._later.append(event)
            return
        if event.revision == self._head.revision and event.timestamp != self._head.timestamp:
            self._found("the head was altered: its timestamp is not that of the newest event")
        self.report.events += 1
        if event_digest(event) != event.digest:
            self._found(f"{what} was altered: its digest is not that of its content")
        elif event.revision == self._revision and event.digest != self._digest:
            self._found(f"{what} was altered: it is not the one that the event after it was chained to")
        if not record.in_place:
            self._found(f"{what} was moved: its keys are not those of its content")
        if event.revision < self._revision and not self._removed(event.revision + 1):
            missing = (
                f"{event.revision + 1} to {self._revision}" if self._revision - event.revision > 1 else f"{self._revision}"
            )
            self._found(f"before {what} of the log, events {missing} are missing")
        elif event.revision > self._revision:
            self._found(f"{what} is out of order or was added: {self._revision} was expected")
        number = self._lock_number.get(event.lock_name, event.lock_event_number)
        if not 0 <= number - event.lock_event_number <= self.report.removed - self._missing[event.lock_name]:
            self._found(f"{what} is number {event.lock_event_number} of lock {event.lock_name}, not {number}")
        self._missing[event.lock_name] += number - event.lock_event_number
        self._lock_number[event.lock_name] = event.lock_event_number - 1
        self._digest, self._revision, self._at = event.previous, event.revision - 1, event.previous_timestamp
        self._missing_after[event.digest] = self._missing[event.lock_name]
        self._continuous(event)
        if event.at > self.keeping.now + CLOCK_PRECISION:
            self._found(f"{what} is dated {instant(event.at)}, later than the store's time")
        if event.kind is Kind.SETTINGS:
            self.settings = self.settings or event
        else:
            self.newest_of_claim.setdefault(event.claim_id, event)
            self.oldest_of_claim[event.claim_id] = event
        self.newest_of_lock.setdefault(event.lock_name, event)
        self.writes_of_lock[event.lock_name] += event.operation != self._operation_of_lock.get(event.lock_name)
        self._operation_of_lock[event.lock_name] = event.operation
        if event.kind.state is not None:
            place = Place(event.timestamp, event.claim_id, event.lock_name)
            for name in (EVERY_LOCK, event.lock_name):
                self.places.setdefault(name, {}).setdefault(event.kind.state, place)

    def _continuous(self, event: Event) -> None:
        """Compare what the next younger event of a claim, or of the settings, found with what this one left.

        Where events of its lock are missing between the two, one of its own may be among them.
        """
        subject = event.claim_id
        younger, missing = self._found_before.get(subject, (None, 0))
        if younger is not None and younger.lock and missing == self._missing[event.lock_name] and younger.before != event.claim:
            who = f"claim {subject} of lock {event.lock_name}" if subject else "the pool's settings"
            verb = "was" if subject else "were"
            self._found(
                f"{who} {verb} altered between event {event.revision} and event {younger.revision}, "
                f"which found something else than the one before had left"
            )
        self._found_before[subject] = (event, self._missing[event.lock_name])

    def _begun(self) -> None:
        """Compare each oldest event with the log's beginning: it can't have found anything."""
        for subject, (event, _) in self._found_before.items():
            if event is not None and event.before and not self.report.removed:
                who = f"claim {subject} of lock {event.lock_name}" if subject else "the pool's settings"
                self._found(f"{who} had no event before event {event.revision}, which found it there")

    def finish(self, store: RecordReads) -> None:
        """Judge what the oldest event leaves open."""
        self._begun()
        if self._revision > 0 and not self._removed(1):
            self._found(f"the log's oldest part, up to event {self._revision}, is missing")
        elif self._revision == 0 and self._digest:
            self._found("the first event names one before it")
        self._verify_later(store)
        if self._head.revision and not self.told(self._head.newest, EVERY_LOCK):
            self._found("the head was altered: its newest places are not those of the log")

    def _removed(self, oldest: int) -> bool:
        """Whether the events missing from revision `oldest` on were removed by age; count them if so."""
        if not self.keeping.all_over(oldest, self._revision, self._at):
            return False
        self.report.removed += self._revision - oldest + 1
        return True

    def removed_since(self, event: Event) -> int:
        """How many events of that one's lock, younger than it, are gone: they may have been of its claim."""
        return self._newer(event.lock_name) + self._missing_after[event.digest]

    def removed_of(self, lock_name: str) -> int:
        """How many events of that lock are gone."""
        return self._newer(lock_name) + self._missing[lock_name] + self._lock_number.get(lock_name, 0)

    def _newer(self, lock_name: str) -> int:
        lock, newest = self.locks.get(lock_name), self.newest_of_lock.get(lock_name)
        return max(0, (lock.events if lock else 0) - (newest.lock_event_number if newest else 0))

    def told(self, newest: Mapping[State, Place], lock_name: str | None) -> bool:
        """Whether these are the newest places of a lock, or of the pool, as far as the log still tells."""
        by_log = self.places.get(lock_name, {})
        removed = self.report.removed if lock_name is None else self.removed_of(lock_name)
        gone = {state for state, place in newest.items() if removed and self.keeping.over(place.timestamp)}
        same = all(by_log.get(state) == place for state, place in newest.items() if state not in gone)
        return same and by_log.keys() <= newest.keys()

    def _verify_later(self, store: RecordReads) -> None:
        """Events that lie after the head: each must be one that landed since the walk began."""
        if not self._later:
            return
        try:
            now = store.head(self.report.pool) or self._head
        except CorruptRecordError:
            now = self._head
        landed = set(range(self._head.revision + 1, now.revision + 1))
        for event in self._later:
            known = event.revision in landed and now.timestamp is not None and event.timestamp <= now.timestamp
            landed.discard(event.revision)
            if not known:
                self._found(f"the head does not know of event {event.revision} at {instant(event.timestamp)}")

    def _found(self, finding: str) -> None:
        self.report.findings.append(finding)
