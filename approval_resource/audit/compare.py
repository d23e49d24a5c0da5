"""Comparison of the log with a copy that somebody kept elsewhere."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from itertools import chain
from typing import Any

from approval_resource.audit.copies import Copy
from approval_resource.audit.lives import UNREADABLE
from approval_resource.audit.receipts import receipt, receipt_of, told_by_event
from approval_resource.audit.verify_chain import Walk
from approval_resource.canonical import instant, parse_instant
from approval_resource.documents.events import EVENT, event_digest
from approval_resource.errors import ConfigError, CorruptRecordError
from approval_resource.model.claim import Claim
from approval_resource.model.event import Event, Kind
from approval_resource.store.interface import RecordReads

OF_CONTENTS = ("policy", "pool_policy", "inputs")
"""Parts of a receipt that only the policies kept beside its claim can prove."""


def compare(store: RecordReads, walk: Walk, against: Copy) -> None:
    """Compare the copy with the stored log, and add each difference to the walk's report.

    Raises:
        ConfigError: the copy is of another pool, is no valid receipt, or is an export with an invalid line.
    """
    try:
        if against.receipt:
            _verify_receipt(store, walk, against.receipt)
        else:
            _verify_copy(store, walk, against)
    except CorruptRecordError as wrong:
        walk.report.findings.append(f"the copy can't be compared: {wrong}")


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
    if told.kind not in (Kind.APPROVED, Kind.REJECTED):
        report.findings.append(f"the receipt itself was altered: event {told.revision} decides no claim")
        return
    try:
        stored, claim = store.event(report.pool, told.timestamp), store.claim(told.claim_id)
    except UNREADABLE as wrong:
        report.findings.append(f"the receipt can't be compared: {wrong}")
        return
    if stored is None:
        younger = next(store.events(report.pool, since=told.timestamp), None)
        if not _gone_by_age(walk, younger, told.timestamp, told.digest):
            report.findings.append(_rewritten(told))
            return
        report.notes.append(f"event {told.revision} of the receipt is gone by its age; nothing is left to compare it with")
    elif stored != told:
        report.findings.append(_rewritten(told))
        return
    if claim is not None and (claim.decided is None or claim.decided.timestamp != told.timestamp):
        report.findings.append(f"the receipt itself was altered: event {told.revision} did not decide claim {claim.id}")
        return
    expected = _by_event(given, told) if claim is None else _by_claim(store, walk, given, claim, told)
    if parts := _differing(given, expected):
        report.findings.append(f"the receipt itself was altered, or its claim was: they differ in {', '.join(parts)}")
    elif stored is not None and claim is None:
        report.notes.append(f"claim {told.claim_id} of the receipt is gone; only its event was compared")


def _by_claim(store: RecordReads, walk: Walk, given: Mapping[str, Any], claim: Claim, event: Event) -> Mapping[str, Any]:
    """Return the receipt that a get step writes for the claim, from what is still stored.

    Parts that are gone by their age are taken from the given receipt.
    """
    try:
        return receipt(store, claim, event)
    except CorruptRecordError:
        if not (claim.ended and walk.keeping.may_be_gone(claim.ended.timestamp)):
            raise
    walk.report.notes.append(f"the policies of claim {claim.id} are gone by age; they and inputs were not compared")
    return receipt_of(claim, event) | {name: given.get(name) for name in OF_CONTENTS}


def _by_event(given: Mapping[str, Any], event: Event) -> Mapping[str, Any]:
    """Return the given receipt of a claim that is gone, except that the event replaces what it proves."""
    proven, claim = told_by_event(event), given.get("claim")
    return {**given, **proven, "claim": {**(claim if isinstance(claim, Mapping) else {}), **proven["claim"]}}


def _differing(given: Mapping[str, Any], expected: Mapping[str, Any]) -> list[str]:
    """Return the parts in which two receipts differ. They are compared as JSON, since 1 == True in Python."""
    left, right = ({name: json.dumps(value, sort_keys=True) for name, value in one.items()} for one in (given, expected))
    return sorted(name for name in left.keys() | right.keys() if left.get(name) != right.get(name))


def _gone_by_age(walk: Walk, younger: Event | None, at: datetime, digest: str) -> bool:
    """Whether an event with that digest may have been there and be gone by its age.

    `younger` is the next event that is still stored, or None. It holds the place and digest of the event
    before it, and the head holds those of the newest event. So no event lay between that place and `younger`.
    """
    if not walk.keeping.may_be_gone(at):
        return False
    if younger is None:
        before, pinned = walk.report.head.timestamp, walk.report.head.digest
    else:
        before, pinned = younger.previous_timestamp, younger.previous
    return before is not None and (at < before or (at == before and digest == pinned))


def _rewritten(event: Event) -> str:
    return f"the log was rewritten or cut: event {event.revision} at {instant(event.timestamp)} is not the one in the receipt"


def _verify_copy(store: RecordReads, walk: Walk, copy: Copy) -> None:
    """Compare a plain digest, or each event of an export, with the log. Events gone by age are only noted."""
    if copy.export is not None and walk.report.pool not in copy.pools:
        raise ConfigError([f"--against: {copy.export} has no event of pool {walk.report.pool}"])
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
        if kept is None and _gone_by_age(walk, newest, at, digest):
            walk.report.notes.append(f"the event at {instant(at)} is gone by its age; nothing is left to compare it with")
        elif kept is None or kept.digest != digest:
            walk.report.findings.append(
                f"the log was rewritten or cut: the event at {instant(at)} is not the one that was kept"
            )
        if newest is None:
            stored = iter(())
