"""Comparison of the log with a copy that somebody kept elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import chain
from typing import Any

from approval_resource.audit.copies import Copy
from approval_resource.audit.lives import UNREADABLE
from approval_resource.audit.receipts import receipt
from approval_resource.audit.walk import Walk
from approval_resource.canonical import instant, parse_instant
from approval_resource.documents.events import EVENT, event_digest
from approval_resource.errors import ConfigError, CorruptRecordError
from approval_resource.model.claim import Claim
from approval_resource.model.event import Event
from approval_resource.store.interface import RecordReads


def compare(store: RecordReads, walk: Walk, against: Copy) -> None:
    """Compare the copy with what is stored; what differs goes into the walk's report.

    Raises:
        ConfigError: it is a receipt of another pool, or an export with a line that is no event.
    """
    if against.receipt:
        _verify_receipt(store, walk, against.receipt)
    else:
        _verify_copy(store, walk, against)


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
        report.findings.append(f"the receipt can't be compared: {wrong}")
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
    """Compare a plain digest, or each event of an export, with the log. Events gone by age are only noted."""
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
