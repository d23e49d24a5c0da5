"""Claims, events and queues as tables where output is piped, and as documents for programs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

import tabulate

from approval_resource.documents.claims import CLAIM
from approval_resource.documents.locks import queue_document
from approval_resource.model.claim import Claim
from approval_resource.model.event import Event, Kind
from approval_resource.model.lock import Lock
from approval_resource.text import clean, duration, visible

CLAIM_COLUMNS = (
    "approved",
    "claimed",
    "description",
    "id",
    "lockname",
    "need_approval",
    "pipeline",
    "pool",
    "team",
    "timestamp",
)
"""Columns of the original resource, in its order."""
WIDE_COLUMNS = ("state", "job", "build", "requester", "deadline", "hold_until", "reviews", "fence", "link")
NAMES = {"lockname": "lock_name"}
"""Field's name by column of the original's table, where the two differ."""
WAITER_COLUMNS = ("pool", "lock", "place", "build", "waiting for", "priority", "held by", "claim")
EVENT_COLUMNS = ("at", "lock", "event", "claim", "by", "why")


def claims_table(claims: Iterable[Claim], now: datetime, *, wide: bool) -> str:
    """Return a table with one row per claim.

    It equals the original resource's table to the character. `wide` adds columns after those.
    """
    columns = CLAIM_COLUMNS + (WIDE_COLUMNS if wide else ())
    rows = [_row(claim, now) for claim in claims]
    table = [[row[column] for column in columns] for row in rows]
    return _plain(table, columns)


def events_table(events: Iterable[Event]) -> str:
    """Return a table with one row per event."""
    rows = [
        [
            _time(event.at),
            clean(event.lock_name),
            _event(event),
            event.claim_id,
            visible(event.actor),
            clean(event.reason),
        ]
        for event in events
    ]
    return _plain(rows, EVENT_COLUMNS)


def _event(event: Event) -> str:
    if event.kind is Kind.REVIEWED:
        return f"{event.kind.value} ({event.verdict})"
    return f"{event.kind.value} (forced)" if event.forced else event.kind.value


def queues_table(queues: Iterable[tuple[Lock, Claim | None]], now: datetime) -> str:
    """Return a table with one row per waiter, the front of each lock's queue first."""
    rows = [
        [
            clean(lock.pool),
            clean(lock.name),
            place,
            clean(waiter.build),
            duration(now - waiter.since),
            waiter.priority,
            clean(str(holder.build)) if holder else "",
            holder.id if holder else "",
        ]
        for lock, holder in queues
        for place, waiter in enumerate(lock.queue, 1)
    ]
    return _plain(rows, WAITER_COLUMNS)


def queues_for_programs(queues: Iterable[tuple[Lock, Claim | None]]) -> list[dict[str, Any]]:
    """Return one document per waiter, the front of each lock's queue first."""
    return [
        {"pool": lock.pool, "lock_name": lock.name, "place": place, "held_by": holder.id if holder else ""}
        | {name: waiter[name] for name in ("build", "link", "priority", "since", "ticket")}
        for lock, holder in queues
        for place, waiter in enumerate(queue_document(lock), 1)
    ]


def claim_details(claim: Claim, now: datetime) -> str:
    """Return one claim in detail, a line each: its fields, attachments, reviews, decision and end."""
    fields = {NAMES.get(name, name): value for name, value in _row(claim, now).items()}
    rows: list[tuple[str, object]] = [(name, value) for name, value in fields.items() if value not in ("", None)]
    for name, file in claim.attachments.items():
        rows.append((f"attached {clean(name)}", f"sha256 {file.digest}, {file.size} bytes"))
    for who, review in claim.reviews.items():
        rows.append((f"{review.verdict.value} by {visible(who)}", f"{_time(review.at)} {clean(review.comment)}"))
    for what, ruling in (("decided", claim.decided), ("ended", claim.ended)):
        if ruling:
            told = f"{ruling.state.value} by {visible(ruling.actor)}, {_time(ruling.at)} {clean(ruling.reason)}"
            rows.append((what, told.rstrip()))
    return _plain(rows, (), "plain")


def claim_for_programs(claim: Claim) -> dict[str, Any]:
    """Return all that is stored of a claim, and the link to its build.

    `lockname`, the stored name of `lock_name`, is kept beside it for older programs.
    """
    return CLAIM.write(claim) | {"lock_name": claim.lock_name, "link": claim.build.link}


def _plain(rows: Iterable[Iterable[object]], headers: Sequence[str], form: str = "simple") -> str:
    """Lay a table out as the original resource does: a wide character counts as one column."""
    before, tabulate.WIDE_CHARS_MODE = tabulate.WIDE_CHARS_MODE, False
    try:
        return tabulate.tabulate(rows, headers=headers, tablefmt=form, disable_numparse=True)
    finally:
        tabulate.WIDE_CHARS_MODE = before


def _row(claim: Claim, now: datetime) -> dict[str, object]:
    return {
        "approved": claim.approved,
        "claimed": claim.claimed,
        "description": clean(claim.description),
        "id": claim.id,
        "lockname": clean(claim.lock_name),
        "need_approval": claim.need_approval,
        "pipeline": clean(f"{claim.build.pipeline} {claim.build.instance}".strip()),
        "pool": clean(claim.pool),
        "team": clean(claim.build.team),
        "timestamp": _time(claim.timestamp),
        "state": "pending, deadline passed" if claim.overdue(now) else claim.state.value,
        "job": clean(claim.build.job),
        "build": clean(claim.build.name),
        "requester": visible(claim.build.created_by),
        "deadline": _time(claim.deadline),
        "hold_until": _time(claim.hold_until),
        "reviews": len(claim.reviews),
        "fence": claim.fence,
        "link": clean(claim.build.link),
    }


def _time(at: datetime | None) -> str:
    return at.isoformat(sep=" ", timespec="microseconds") if at else ""
