"""Verification of a pool's log and of everything it pins, in a table or in an export."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import islice, takewhile

from approval_resource.audit.compare import compare
from approval_resource.audit.copies import Copy
from approval_resource.audit.export import LANDED
from approval_resource.audit.exported import Exported
from approval_resource.audit.lives import (
    BATCH,
    UNREADABLE,
    Lives,
    claim_or_fault,
    claims,
    says_now,
    since,
    title_of,
)
from approval_resource.audit.verify_chain import Keeping, Report, Walk
from approval_resource.clock import Clock, HostClock
from approval_resource.documents.locks import lock_digest
from approval_resource.documents.settings import settings_digest
from approval_resource.errors import CorruptRecordError
from approval_resource.model.claim import Claim
from approval_resource.model.event import Event, Head, Kind, Place
from approval_resource.model.lock import Lock
from approval_resource.store.interface import RecordReads
from approval_resource.text import counted

Watch = Callable[[int, int], None]
"""Callback for progress: the number of events read, and the number of all."""


def verify(
    store: RecordReads,
    pool: str,
    against: Copy | None = None,
    watch: Watch | None = None,
    clock: Clock | None = None,
) -> Report:
    """Walk the pool's log from its newest event back, and compare everything else with it.

    Findings are: events that were altered, dropped, reordered or added; claims, locks, settings, the head,
    payloads and attachments that differ from what the log pins; claims that no event tells of, open or not;
    events dated in the future; and, with a copy, a log that was rewritten or cut as a whole. Changes that
    land during the walk are no findings. An item whose retention is over may be missing, and TTL may remove
    items in any order. Each event holds the time of the event before it, so the age of a missing event is
    known. Build records are not covered.

    Raises:
        ConfigError: as `compare`.
    """
    report = _once(store, pool, against, watch)
    if report.findings:
        # Reads are not transactional, so a commit in flight looks like tampering. Report only what a second
        # pass finds again, once that commit has landed.
        (clock or HostClock()).sleep(LANDED)
        again = _once(store, pool, against, watch)
        again.findings = [finding for finding in again.findings if finding in report.findings]
        return again
    return report


def verify_export(exported: Exported, against: Copy | None = None, watch: Watch | None = None) -> Report:
    """Verify a pool in an export, as `verify` does a pool in a table.

    Raises:
        ConfigError: as `verify`.
    """
    if not exported.events_only:
        report = _once(exported, exported.pool, against, watch)
        report.findings.extend(_end_findings(exported, report.head))
    else:
        report = Report(exported.pool, exported.head(exported.pool) or Head(pool=exported.pool))
        walk = Walk(report, Keeping.of(exported, report), {})
        for _ in _walked(exported, walk, watch):
            pass
        if against is not None:
            compare(exported, walk, against)
        report.notes.append("the export is of an older version and holds events alone, so nothing else was verified")
    report.findings[:0] = exported.findings
    return report


def _end_findings(exported: Exported, began: Head) -> Iterator[str]:
    """Compare the export's last head with its first head plus the events that landed in between."""
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
            settings=_settings_revision(exported, expected) if event.kind is Kind.SETTINGS else expected.settings,
        )
    if exported.last_head() != expected:
        yield "the head at the end of the export was altered: it is not that of the newest event"


def _settings_revision(exported: Exported, head: Head) -> int:
    """Return the revision of the exported settings, or as the head has it where they can't be read."""
    try:
        return exported.settings(exported.pool).revision
    except CorruptRecordError:
        return head.settings


def _once(store: RecordReads, pool: str, against: Copy | None, watch: Watch | None = None) -> Report:
    report = Report(pool, Head(pool=pool))
    try:
        report.head = store.head(pool) or report.head
    except CorruptRecordError as corrupt:
        report.findings.append(f"the head was altered: {corrupt.why}")
    # Locks are read right after the head, so that few events can land between the two.
    locks, unread = _locks(store, report)
    walk = Walk(report, Keeping.of(store, report), locks)
    lives = Lives(store, walk)
    for event in _walked(store, walk, watch):
        lives.step(event)
    lives.finish()
    _verify_locks(store, walk, lives, unread)
    _verify_added(store, walk, lives)
    _verify_settings(store, walk)
    if against is not None:
        compare(store, walk, against)
    return report


def _walked(store: RecordReads, walk: Walk, watch: Watch | None = None) -> Iterator[Event]:
    for number, record in enumerate(store.records(walk.report.pool), 1):
        if watch is not None:
            watch(number, walk.report.head.revision)
        event = walk.step(record)
        if event is not None:
            yield event
    walk.finish(store)


def _verify_settings(store: RecordReads, walk: Walk) -> None:
    settings = walk.keeping.settings
    pins = [event.claim for event in since(store, walk) if event.kind is Kind.SETTINGS]
    if walk.settings is not None:
        pins.append(walk.settings.claim)
    if settings_digest(settings) not in pins and (pins or settings.revision):
        says = f"change {settings.revision}, kept for {counted(settings.retention_days, 'day')}, "
        says += f"a policy of {counted(len(settings.policy), 'character')}" if settings.policy else "no policy"
        walk.report.findings.append(
            f"the pool's settings were altered: they are not as the log left them; they say now: {says}"
        )

    counted_by_head = walk.report.head.settings
    # A head written by a release that had no policies doesn't count the changes of settings.
    if counted_by_head == settings.revision or not (settings.policy or counted_by_head):
        return
    landed = _head(store, walk.report)
    if landed is not None and landed.settings != settings.revision:
        says = counted(landed.settings, "change")
        walk.report.findings.append(
            f"the head was altered: it counts the pool's settings otherwise than the log left them; it says now: {says}"
        )


def _head(store: RecordReads, report: Report) -> Head | None:
    """Return the head as it is now, or None where it can't be read, which is a finding of its own."""
    try:
        return store.head(report.pool)
    except CorruptRecordError:
        return None


def _locks(store: RecordReads, report: Report) -> tuple[dict[str, Lock], set[str]]:
    """Return the locks that can be read, and the names of those that can't."""
    locks: dict[str, Lock] = {}
    unread: set[str] = set()
    for name in store.lock_names(report.pool):
        try:
            lock = store.lock(report.pool, name)
        except UNREADABLE as wrong:
            report.findings.append(f"lock {name} was altered: {wrong.why if isinstance(wrong, CorruptRecordError) else wrong}")
            unread.add(name)
        else:
            if lock is not None:
                locks[name] = lock
    return locks, unread


def _verify_locks(store: RecordReads, walk: Walk, lives: Lives, unread: set[str]) -> None:
    report = walk.report
    missing = walk.newest_of_lock.keys() - walk.locks.keys() - unread
    report.findings.extend(f"lock {name} is missing" for name in sorted(missing))
    counted_by_locks, told_by_log = sum(lock.events for lock in walk.locks.values()), report.head.revision
    landed = _head(store, report) if counted_by_locks > told_by_log else None
    whole = not unread and not missing
    if whole and not told_by_log <= counted_by_locks <= (landed.revision if landed else told_by_log):
        report.findings.append(f"the locks count {counted(counted_by_locks, 'event')} together, the log {told_by_log}")
    for lock in walk.locks.values():
        found = _lock_fault(store, walk, lives, lock)
        if found:
            says = f"held by {lock.holder or 'nobody'}, fence {lock.fence}, {counted(len(lock.jobs), 'job')}"
            report.findings.append(f"lock {lock.name} was altered: {found}; it says now: {says}")


def _lock_fault(store: RecordReads, walk: Walk, lives: Lives, lock: Lock) -> str:
    """Return the first fault of a lock, or an empty string."""
    newest = walk.newest_of_lock.get(lock.name)
    by_head, by_log = newest.lock_event_number if newest else 0, walk.numbers.get(lock.name, 0)
    if by_head < lock.events <= by_log:
        return ""  # it has moved on since the head was read
    if not 0 <= lock.events - by_head <= walk.gone:
        return f"it counts {counted(lock.events, 'event')}, the log {by_log}"
    holders = lives.holders[lock.name]
    if not _holds(store, walk, lives, lock):
        return f"its holder by the log is {', '.join(sorted(holders)) or 'nobody'}"
    pinned = newest is not None and newest.lock_event_number == lock.events and newest.lock
    if pinned and newest is not None and (newest.lock != lock_digest(lock) or lock.event_at != newest.timestamp):
        return "it is not as its newest event left it"
    if lock.revision < walk.writes_of_lock[lock.name] or any(waiter.ticket > lock.tickets for waiter in lock.queue):
        return "it counts fewer writes than it had, or fewer tickets than it gave out"
    fence = lives.fences[lock.name]
    # A removed claim may have had the highest fence. A claim that is missing too early is another finding.
    gone = walk.removed_of(lock.name) > 0 or lock.name in lives.absent
    if lock.fence != fence and not (gone and lock.fence > fence):
        return f"its fence by its claims is {fence}"
    if not walk.matches_places(lock.newest, lock.name):
        return "its newest places are not those of the log"
    return ""


def _holds(store: RecordReads, walk: Walk, lives: Lives, lock: Lock) -> bool:
    """Whether the log confirms the lock's holder, or has lost events that could confirm it."""
    holders = lives.holders[lock.name]
    if not holders <= {lock.holder}:
        return False
    if not lock.holder or lock.holder in holders or lock.holder in lives.may_hold:
        return True
    claim = claim_or_fault(store, lock.holder)
    return isinstance(claim, Claim) and claim.claimed and _aged(walk, claim)


def _aged(walk: Walk, claim: Claim) -> bool:
    """Whether a claim is older than events are kept, and events of its lock are gone."""
    return walk.removed_of(claim.lock_name) > 0 and walk.keeping.may_be_gone(claim.changed)


def _verify_added(store: RecordReads, walk: Walk, lives: Lives) -> None:
    """Find claims that no event tells of, whether or not they are in the index of open ones."""
    report = walk.report
    suspects: dict[str, Claim] = {}
    try:
        known = lives.may_hold.union(*lives.holders.values())
        suspects = {claim.id: claim for claim in store.open_claims(report.pool) if claim.id not in known}
    except CorruptRecordError as corrupt:
        report.findings.append(f"{corrupt.what} was altered: {corrupt.why}")
    for claim_id in store.claim_ids(report.pool):
        lives.stored.add(claim_id, -1)
    if lives.stored:
        differing = (claim_id for claim_id in store.claim_ids(report.pool) if lives.stored.differs(claim_id))
        while batch := list(islice(differing, BATCH)):
            suspects |= {claim_id: claim for claim_id, claim in claims(store, batch) if isinstance(claim, Claim)}
    for claim in suspects.values():
        if not _has_event(store, report.pool, claim) and not _aged(walk, claim):
            report.findings.append(
                f"claim {claim.id} was added: the log knows nothing of it; {title_of(claim)}, {says_now(claim)}"
            )


def _has_event(store: RecordReads, pool: str, claim: Claim) -> bool:
    """Whether the log has the claim's event, even an unreadable one, at the place that the claim names."""
    try:
        event = store.event(pool, claim.changed)
    except CorruptRecordError:
        return True
    return event is not None and event.claim_id == claim.id
