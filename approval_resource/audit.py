"""The log: verifying that nobody altered it, and exporting it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from approval_resource.canonical import digest
from approval_resource.claims import PAYLOAD_PART, attachment_part
from approval_resource.errors import ConfigError, CorruptRecordError
from approval_resource.model import Claim, Event, Head
from approval_resource.records import claim_digest, event_document, event_from
from approval_resource.store import LockStore, Record

BATCH = 100
"""Claims read at a time."""


@dataclass(slots=True)
class Report:
    """What an audit of one pool saw, and every fault it found, one line each."""

    pool: str
    head: Head
    events: int = 0
    claims: int = 0
    findings: list[str] = field(default_factory=list)


def verify(store: LockStore, pool: str, against: Mapping[str, Any] | None = None) -> Report:
    """Walk the pool's log from its newest event back, and hold everything else against it.

    Found are events that were altered, dropped, reordered or added; claims, locks, payloads and
    attachments that are not as the log left them; and, against a receipt, a log that was rewritten or
    cut as a whole. Changes that land meanwhile are no faults.

    Raises:
        ConfigError: `against` is no receipt, or one of another pool.
    """
    head = store.head(pool) or Head(pool=pool)
    report = Report(pool, head)
    walk = _Walk(report, head)
    for record in store.records(pool):
        walk.step(record)
    walk.finish(store)
    _verify_claims(store, walk)
    _verify_locks(store, walk)
    if against is not None:
        _verify_receipt(store, report, against)
    return report


class _Walk:
    """The way back through one log: what the next event must be, and what each event pinned."""

    def __init__(self, report: Report, head: Head) -> None:
        self.report = report
        self._digest = head.digest
        self._revision = head.revision
        self._head = head
        self.newest_of_claim: dict[str, Event] = {}
        self.newest_of_lock: dict[str, Event] = {}
        self._lock_number: dict[str, int] = {}
        self._later: list[str] = []

    def step(self, record: Record) -> None:
        """The next older event."""
        document = record.document
        what = f"event {document.get('revision')} at {document.get('timestamp')}"
        try:
            event = event_from(document)
        except CorruptRecordError as corrupt:
            self._found(f"{what} was altered: {corrupt.why}")
            self._digest, self._revision = str(document.get("previous", "")), self._revision - 1
            return
        if self._head.timestamp is None or event.timestamp > self._head.timestamp:
            self._later.append(what)
            return
        self.report.events += 1
        if digest(event_document(event)) != event.digest:
            self._found(f"{what} was altered: its digest is not that of its content")
        elif event.revision == self._revision and event.digest != self._digest:
            self._found(f"{what} was altered: it is not the one that the event after it was chained to")
        if not record.in_place:
            self._found(f"{what} was moved: its keys are not those of its content")
        if event.revision < self._revision:
            missing = (
                f"{event.revision + 1} to {self._revision}" if self._revision - event.revision > 1 else f"{self._revision}"
            )
            self._found(f"before {what} of the log, events {missing} are missing")
        elif event.revision > self._revision:
            self._found(f"{what} is out of order or was added: {self._revision} was expected")
        number = self._lock_number.get(event.lock_name)
        if number is not None and event.lock_event_number != number:
            self._found(f"{what} is number {event.lock_event_number} of lock {event.lock_name}, not {number}")
        self._lock_number[event.lock_name] = event.lock_event_number - 1
        self._digest, self._revision = event.previous, event.revision - 1
        self.newest_of_claim.setdefault(event.claim_id, event)
        self.newest_of_lock.setdefault(event.lock_name, event)

    def finish(self, store: LockStore) -> None:
        """After the oldest event."""
        if self._revision > 0:
            self._found(f"the log's oldest part, up to event {self._revision}, is missing")
        elif self._revision == 0 and self._digest:
            self._found("the first event names one before it")
        if self._later:
            now = store.head(self.report.pool)
            if now is None or now.revision - self._head.revision < len(self._later):
                self._found(f"the head does not know of {', '.join(self._later)}")

    def _found(self, finding: str) -> None:
        self.report.findings.append(finding)


def _verify_claims(store: LockStore, walk: _Walk) -> None:
    report = walk.report
    for claim_id, claim in _claims(store, list(walk.newest_of_claim)):
        match claim:
            case None:
                report.findings.append(f"claim {claim_id} is missing")
            case CorruptRecordError():
                report.findings.append(f"claim {claim_id} was altered: {claim.why}")
            case Claim():
                report.claims += 1
                if claim_digest(claim) != _newest_pin(store, walk, claim):
                    report.findings.append(f"claim {claim_id} was altered: it is not as its newest event left it")
                report.findings.extend(_parts_findings(store, claim))


def _claims(store: LockStore, ids: list[str]) -> Iterator[tuple[str, Claim | CorruptRecordError | None]]:
    for start in range(0, len(ids), BATCH):
        batch = ids[start : start + BATCH]
        try:
            found = {claim.id: claim for claim in store.claims(batch)}
        except CorruptRecordError:
            yield from ((claim_id, _claim(store, claim_id)) for claim_id in batch)
        else:
            yield from ((claim_id, found.get(claim_id)) for claim_id in batch)


def _claim(store: LockStore, claim_id: str) -> Claim | CorruptRecordError | None:
    try:
        return store.claim(claim_id)
    except CorruptRecordError as corrupt:
        return corrupt


def _newest_pin(store: LockStore, walk: _Walk, claim: Claim) -> str:
    """The digest of the claim in its newest event; the log is asked again when the claim has moved on meanwhile."""
    pinned = walk.newest_of_claim[claim.id].claim
    if claim_digest(claim) == pinned:
        return pinned
    for event in store.events(claim.pool, lock_name=claim.lock_name, since=walk.newest_of_claim[claim.id].timestamp):
        pinned = event.claim if event.claim_id == claim.id else pinned
    return pinned


def _parts_findings(store: LockStore, claim: Claim) -> Iterator[str]:
    parts = {PAYLOAD_PART: claim.payload} if claim.payload else {}
    parts |= {attachment_part(name): file.digest for name, file in claim.attachments.items() if file.stored}
    for part, expected in parts.items():
        content = store.part(claim.id, part)
        if content is None or hashlib.sha256(content).hexdigest() != expected:
            yield f"the {part} of claim {claim.id} was altered"


def _verify_locks(store: LockStore, walk: _Walk) -> None:
    for name, newest in walk.newest_of_lock.items():
        try:
            lock = store.lock(walk.report.pool, name)
        except CorruptRecordError as corrupt:
            walk.report.findings.append(f"lock {name} was altered: {corrupt.why}")
            continue
        if lock is None or lock.events < newest.lock_event_number:
            walk.report.findings.append(f"lock {name} was altered: it knows fewer events than the log")
            continue
        if lock.events > newest.lock_event_number:
            continue  # it has moved on since the walk began
        open_claims = {
            event.claim_id for event in walk.newest_of_claim.values() if event.lock_name == name and event.state.is_open
        }
        if open_claims != ({lock.holder} if lock.holder else set()):
            walk.report.findings.append(
                f"lock {name} was altered: it is held by {lock.holder or 'none'}, by the log {', '.join(sorted(open_claims)) or 'none'}"
            )


def _verify_receipt(store: LockStore, report: Report, receipt: Mapping[str, Any]) -> None:
    document = receipt.get("event")
    if not isinstance(document, Mapping):
        raise ConfigError(["against: not a receipt: it has no event"])
    try:
        told = event_from(document)
    except CorruptRecordError as wrong:
        raise ConfigError([f"against: not a receipt: {wrong}"]) from wrong
    if told.pool != report.pool:
        raise ConfigError([f"against: a receipt of pool {told.pool}, not {report.pool}"])
    if digest(event_document(told)) != told.digest:
        report.findings.append("the receipt itself was altered: its digest is not that of its event")
        return
    try:
        stored = store.event(report.pool, told.timestamp)
    except CorruptRecordError:
        stored = None
    if stored != told:
        report.findings.append(
            f"the log was rewritten or cut: event {told.revision} at {document['timestamp']} is not the one in the receipt"
        )


def export(store: LockStore, pool: str) -> Iterator[dict[str, Any]]:
    """The pool's events as documents with their digests, oldest first."""
    for event in store.events(pool):
        yield event_document(event) | {"digest": event.digest}
