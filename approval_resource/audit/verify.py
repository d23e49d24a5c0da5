"""Verification of a pool's log and of everything it pins, in a table or in an export."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import chain, takewhile
from typing import Any

from approval_resource.audit.copies import Copy
from approval_resource.audit.exported import Exported
from approval_resource.audit.receipts import receipt
from approval_resource.audit.walk import Keeping, Report, Walk
from approval_resource.canonical import instant, parse_instant
from approval_resource.documents.claims import claim_digest, made_under
from approval_resource.documents.events import EVENT, event_digest
from approval_resource.documents.locks import lock_digest
from approval_resource.documents.settings import settings_digest
from approval_resource.errors import ConfigError, CorruptRecordError
from approval_resource.model.claim import Claim
from approval_resource.model.event import Event, Head, Kind, Place
from approval_resource.model.lock import Lock
from approval_resource.store.interface import RecordReads
from approval_resource.text import counted

BATCH = 100
"""Claims read in one batch."""
UNREADABLE = (CorruptRecordError, ConfigError)
"""Errors of items that can't be parsed, and of names that no key can hold. This program writes neither."""


def verify(store: RecordReads, pool: str, against: Copy | None = None) -> Report:
    """Walk the pool's log from its newest event back, and compare everything else with it.

    Findings are: events that were altered, dropped, reordered or added; claims, locks, settings, the head,
    payloads and attachments that differ from what the log left; claims that no event tells of, wherever they
    lie; events dated in the future; and, with a receipt, a log that was rewritten or cut as a whole. Changes
    that land during the walk are no findings. Nor is an item that is missing because its time to be kept is
    over, in whatever order TTL removed it: the event after a missing one tells when that one was written.
    Build records are not covered.

    Raises:
        ConfigError: `against` is a receipt of another pool, or an export with a line that is no event.
    """
    report = _once(store, pool, against)
    if report.findings:
        # Reads are not transactional, so a commit in flight looks like tampering. Report only what a second
        # pass finds again.
        again = _once(store, pool, against)
        again.findings = [finding for finding in again.findings if finding in report.findings]
        return again
    return report


def verify_export(exported: Exported, against: Copy | None = None) -> Report:
    """Verify the record of a pool as an export has it, as `verify` does that of a table.

    Raises:
        ConfigError: as `verify`.
    """
    if not exported.events_only:
        report = _once(exported, exported.pool, against)
        report.findings.extend(_end_findings(exported, report.head))
    else:
        report = Report(exported.pool, exported.head(exported.pool) or Head(pool=exported.pool))
        _compare(exported, _walked(exported, report), against)
        report.notes.append("the export is of an older version and holds events alone, so nothing else was verified")
    report.findings[:0] = exported.findings
    return report


def _end_findings(exported: Exported, began: Head) -> Iterator[str]:
    """Compare the head at the export's end with the one that it began with, and what landed in between."""
    newest_first = exported.events(exported.pool, newest_first=True)
    expected = began
    for event in reversed(list(takewhile(lambda event: event.revision > began.revision, newest_first))):
        place = {event.kind.state: Place(event.timestamp, event.claim_id, event.lock_name)} if event.kind.state else {}
        expected = replace(
            expected,
            revision=event.revision,
            timestamp=event.timestamp,
            digest=event.digest,
            newest={**expected.newest, **place},
        )
    if exported.last_head() != expected:
        yield "the head at the end of the export was altered: it is not that of the newest event"


def _once(store: RecordReads, pool: str, against: Copy | None) -> Report:
    report = Report(pool, Head(pool=pool))
    try:
        report.head = store.head(pool) or report.head
    except CorruptRecordError as corrupt:
        report.findings.append(f"the head was altered: {corrupt.why}")
    walk = _walked(store, report)
    _read_locks(store, walk)
    _verify_claims(store, walk)
    _verify_locks(store, walk)
    _verify_open(store, walk)
    _verify_settings(store, walk)
    _compare(store, walk, against)
    return report


def _compare(store: RecordReads, walk: Walk, against: Copy | None) -> None:
    if against is not None and against.receipt:
        _verify_receipt(store, walk, against.receipt)
    elif against is not None:
        _verify_copy(store, walk, against)


def _walked(store: RecordReads, report: Report) -> Walk:
    walk = Walk(report, Keeping.of(store, report))
    for record in store.records(report.pool):
        walk.step(record)
    walk.finish(store)
    return walk


def _verify_claims(store: RecordReads, walk: Walk) -> None:
    report = walk.report
    for claim_id, claim in _claims(store, list(walk.newest_of_claim)):
        match claim:
            case None:
                newest = walk.newest_of_claim[claim_id]
                ended = newest.state is None or not newest.state.is_open or walk.removed_since(newest)
                if not (ended and walk.keeping.over(newest.timestamp)):
                    report.findings.append(f"claim {claim_id} is missing")
            case CorruptRecordError():
                report.findings.append(f"claim {claim_id} was altered: {claim.why}")
            case Claim():
                report.claims += 1
                walk.fences[claim.id] = claim.fence
                pinned, newest = claim_digest(claim) in _pins(store, walk, claim), walk.newest_of_claim[claim_id]
                # Nothing comes after a claim's end, so what ended it pins it whatever else is gone.
                last = newest.kind.state is not None and not newest.kind.state.is_open
                if not pinned and (last or not walk.removed_since(newest)):
                    report.findings.append(f"claim {claim_id} was altered: it is not as its newest event left it")
                first = walk.oldest_of_claim[claim_id]
                if first.timestamp == claim.timestamp and not made_under(claim, first):
                    report.findings.append(f"claim {claim_id} was altered: it is not what its pipeline asked for")
                if not (claim.ended and walk.keeping.over(claim.ended.timestamp)):
                    report.findings.extend(_content_findings(store, claim))


def _claims(store: RecordReads, ids: list[str]) -> Iterator[tuple[str, Claim | CorruptRecordError | None]]:
    for start in range(0, len(ids), BATCH):
        batch = ids[start : start + BATCH]
        try:
            found = {claim.id: claim for claim in store.claims(batch)}
        except UNREADABLE:
            yield from ((claim_id, _claim(store, claim_id)) for claim_id in batch)
        else:
            yield from ((claim_id, found.get(claim_id)) for claim_id in batch)


def _claim(store: RecordReads, claim_id: str) -> Claim | CorruptRecordError | None:
    try:
        return store.claim(claim_id)
    except CorruptRecordError as corrupt:
        return corrupt
    except ConfigError as wrong:
        return CorruptRecordError(f"claim {claim_id}", _why(wrong))


def _why(wrong: CorruptRecordError | ConfigError) -> str:
    return wrong.why if isinstance(wrong, CorruptRecordError) else str(wrong)


def _pins(store: RecordReads, walk: Walk, claim: Claim) -> set[str]:
    """Return the digests that the claim may have: its newest event's, and those of later events."""
    newest = walk.newest_of_claim[claim.id]
    if claim_digest(claim) == newest.claim:
        return {newest.claim}
    return {newest.claim} | {event.claim for event in _since(store, walk) if event.claim_id == claim.id}


def _verify_settings(store: RecordReads, walk: Walk) -> None:
    settings = walk.keeping.settings
    pins = [event.claim for event in _since(store, walk) if event.kind is Kind.SETTINGS]
    if walk.settings is not None:
        pins.append(walk.settings.claim)
    if settings_digest(settings) not in pins and (pins or settings.revision):
        walk.report.findings.append("the pool's settings were altered: they are not as the log left them")

    counted_by_head = walk.report.head.settings
    # Heads of versions that knew no policies don't count their settings.
    if counted_by_head == settings.revision or not (settings.policy or counted_by_head):
        return
    landed = _head(store, walk)
    if landed is not None and landed.settings != settings.revision:
        walk.report.findings.append("the head was altered: it doesn't count the pool's settings as the log left them")


def _head(store: RecordReads, walk: Walk) -> Head | None:
    """Return the head as it is now, or None where it can't be read, which is a finding of its own."""
    try:
        return store.head(walk.report.pool)
    except CorruptRecordError:
        return None


def _since(store: RecordReads, walk: Walk) -> Iterator[Event]:
    """Yield the events that landed after the walk began, newest first, without the unreadable ones."""
    for record in store.records(walk.report.pool):
        try:
            event = EVENT.read(record.document)
        except CorruptRecordError:
            continue
        if event.revision <= walk.report.head.revision:
            return
        yield event


def _content_findings(store: RecordReads, claim: Claim) -> Iterator[str]:
    for name, expected in claim.contents.items():
        try:
            content = store.content(claim.id, name)
        except UNREADABLE:
            content = None
        if content is None or hashlib.sha256(content).hexdigest() != expected:
            yield f"the {name} of claim {claim.id} was altered"


def _read_locks(store: RecordReads, walk: Walk) -> None:
    unread = 0
    for name in sorted({*walk.newest_of_lock, *store.lock_names(walk.report.pool)}):
        try:
            lock = store.lock(walk.report.pool, name)
        except UNREADABLE as wrong:
            walk.report.findings.append(f"lock {name} was altered: {_why(wrong)}")
            unread += 1
            continue
        if lock is None:
            walk.report.findings.append(f"lock {name} is missing")
            unread += 1
        else:
            walk.locks[name] = lock
    counted_by_locks, told = sum(lock.events for lock in walk.locks.values()), walk.report.head.revision
    landed = _head(store, walk) if counted_by_locks > told else None
    if not unread and not told <= counted_by_locks <= (landed.revision if landed else told):
        walk.report.findings.append(f"the locks count {counted(counted_by_locks, 'event')} together, the log {told}")


def _verify_locks(store: RecordReads, walk: Walk) -> None:
    for lock in walk.locks.values():
        found = _lock_fault(store, walk, lock)
        if found:
            walk.report.findings.append(found)


def _lock_fault(store: RecordReads, walk: Walk, lock: Lock) -> str:
    newest = walk.newest_of_lock.get(lock.name)
    told = newest.lock_event_number if newest else 0
    if not 0 <= lock.events - told <= walk.report.removed:
        # It was read before the log is asked again, so a lock that has moved on can't be ahead of that.
        now = max((event.lock_event_number for event in _since(store, walk) if event.lock_name == lock.name), default=told)
        if told < lock.events <= now:
            return ""
        return f"lock {lock.name} was altered: it counts {counted(lock.events, 'event')}, the log {now}"
    own = [event for event in walk.newest_of_claim.values() if event.lock_name == lock.name]
    found = _holder_fault(store, walk, lock, own)
    if found:
        return found
    pinned = newest is not None and newest.lock_event_number == lock.events and newest.lock
    if pinned and newest is not None and (newest.lock != lock_digest(lock) or lock.event_at != newest.timestamp):
        return f"lock {lock.name} was altered: it is not as its newest event left it"
    if lock.revision < walk.writes_of_lock[lock.name] or any(waiter.ticket > lock.tickets for waiter in lock.queue):
        return f"lock {lock.name} was altered: it counts fewer writes than it had, or fewer tickets than it gave out"
    fence = max((walk.fences.get(event.claim_id, 0) for event in own), default=0)
    # The highest may have been that of a claim which is gone; one that may not be is a finding of its own.
    gone = walk.removed_of(lock.name) > 0 or any(event.claim_id not in walk.fences for event in own)
    if lock.fence != fence and not (gone and lock.fence > fence):
        return f"lock {lock.name} was altered: its fence is {lock.fence}, by its claims {fence}"
    if not walk.told(lock.newest, lock.name):
        return f"lock {lock.name} was altered: its newest places are not those of the log"
    return ""


def _holder_fault(store: RecordReads, walk: Walk, lock: Lock, own: list[Event]) -> str:
    """Return a fault of the holder: it must be the log's, or a claim of which the log has lost events."""
    holders = {event.claim_id for event in own if event.state and event.state.is_open and not walk.removed_since(event)}
    may_hold = holders | {event.claim_id for event in own if walk.removed_since(event)}
    if holders <= {lock.holder} and (lock.holder in may_hold or not lock.holder or _aged(walk, _claim(store, lock.holder))):
        return ""
    by_log = ", ".join(sorted(holders)) or "nobody"
    return f"lock {lock.name} was altered: it is held by {lock.holder or 'nobody'}, by the log {by_log}"


def _aged(walk: Walk, claim: Claim | CorruptRecordError | None) -> bool:
    """Whether a claim of which the log tells nothing holds its lock for longer than events are kept."""
    if not isinstance(claim, Claim) or not claim.claimed:
        return False
    return walk.removed_of(claim.lock_name) > 0 and walk.keeping.over(claim.changed)


def _verify_open(store: RecordReads, walk: Walk) -> None:
    try:
        claims = store.open_claims(walk.report.pool)
    except CorruptRecordError as corrupt:
        walk.report.findings.append(f"{corrupt.what} was altered: {corrupt.why}")
        return
    claims += [claim for claim in _elsewhere(store, walk) if claim.id not in {known.id for known in claims}]
    unknown = {claim.id for claim in claims if not _aged(walk, claim)} - walk.newest_of_claim.keys()
    unknown -= {event.claim_id for event in _since(store, walk)} if unknown else set()
    walk.report.findings.extend(f"claim {claim_id} was added: the log knows nothing of it" for claim_id in sorted(unknown))


def _elsewhere(store: RecordReads, walk: Walk) -> Iterator[Claim]:
    """Claims of the pool that the log doesn't tell of, whatever the index of open ones says."""
    for claim_id in store.claim_ids(walk.report.pool):
        if claim_id not in walk.newest_of_claim:
            claim = _claim(store, claim_id)
            ended = isinstance(claim, Claim) and claim.ended is not None and walk.keeping.over(claim.ended.timestamp)
            if isinstance(claim, Claim) and not (ended and walk.report.removed):
                yield claim


def _verify_receipt(store: RecordReads, walk: Walk, given: Mapping[str, Any]) -> None:
    report = walk.report
    document = given.get("event")
    if not isinstance(document, Mapping):
        raise ConfigError(["against: not a receipt: it has no event"])
    try:
        told = EVENT.read(document)
    except CorruptRecordError as wrong:
        raise ConfigError([f"against: not a receipt: {wrong}"]) from wrong
    if told.pool != report.pool:
        raise ConfigError([f"against: a receipt of pool {told.pool}, not {report.pool}"])
    if event_digest(told) != told.digest:
        report.findings.append("the receipt itself was altered: its digest is not that of its event")
        return
    try:
        stored, claim = store.event(report.pool, told.timestamp), store.claim(told.claim_id)
    except UNREADABLE as wrong:
        report.findings.append(f"the receipt can't be compared: {_why(wrong)}")
        return
    if stored is None and walk.keeping.over(told.timestamp):
        report.notes.append(f"event {told.revision} of the receipt is gone by its age; nothing is left to compare it with")
    elif stored != told:
        report.findings.append(
            f"the log was rewritten or cut: event {told.revision} at {document['timestamp']} is not the one in the receipt"
        )
    elif claim is not None and given != (expected := _expected(store, walk, claim, told)):
        if expected is None:
            report.notes.append(f"the policies of claim {claim.id} are gone by age; only the event was compared")
            return
        parts = sorted(name for name in given.keys() | expected.keys() if given.get(name) != expected.get(name))
        report.findings.append(f"the receipt itself was altered, or its claim was: they differ in {', '.join(parts)}")


def _verify_copy(store: RecordReads, walk: Walk, copy: Copy) -> None:
    """Compare an export, event by event, or a plain digest with the log, except for what is gone by age."""
    told = [(copy.at, copy.digest)] if copy.at is not None else []
    exported = (
        (parse_instant(event["timestamp"]), event["digest"]) for event in copy.events() if event["pool"] == walk.report.pool
    )
    stored = store.events(walk.report.pool)
    newest: Event | None = None
    for at, digest in chain(told, exported):
        while newest is None or newest.timestamp < at:
            newest = next(stored, None)
            if newest is None:
                break
        kept = newest if newest is not None and newest.timestamp == at else None
        if kept is None and walk.keeping.over(at):
            walk.report.notes.append(f"the event at {instant(at)} is gone by its age; nothing is left to compare it with")
        elif kept is None or kept.digest != digest:
            walk.report.findings.append(
                f"the log was rewritten or cut: the event at {instant(at)} is not the one that was kept"
            )
        if newest is None:
            stored = iter(())


def _expected(store: RecordReads, walk: Walk, claim: Claim, event: Event) -> dict[str, Any] | None:
    """Return the receipt that a get of the claim writes; None where its contents are gone by their age."""
    try:
        return receipt(store, claim, event)
    except CorruptRecordError:
        if claim.ended and walk.keeping.over(claim.ended.timestamp):
            return None
        raise
