"""Locks with their queues, and records of builds, as stored, and back."""

from __future__ import annotations

from itertools import accumulate

from approval_resource.canonical import digest
from approval_resource.documents.codec import FLAG, INSTANT, NUMBER, TEXT, WHEN, Codec, Document, Form, each, field
from approval_resource.documents.events import NEWEST
from approval_resource.model.claim import Claim
from approval_resource.model.lock import BuildRecord, Lock, Turn
from approval_resource.model.queue_order import Waiter

WAITER = Codec(
    Waiter,
    lambda document: "a waiter",
    field("key", TEXT),
    field("ticket", NUMBER),
    field("priority", NUMBER),
    field("build", TEXT),
    field("link", TEXT),
    field("pace", NUMBER),
    field("since", INSTANT),
)
LOCK = Codec(
    Lock,
    lambda document: f"lock {document.get('lockname', '')}",
    field("pool", TEXT),
    field("lockname", TEXT, "name"),
    field("holder", TEXT),
    field("fence", NUMBER),
    field("events", NUMBER),
    field("jobs", each(TEXT)),
    field("newest", NEWEST),
    field("queue", each(WAITER.form)),
    field("tickets", NUMBER),
    field("event_at", WHEN, sparse=True),
    field("revision", NUMBER),
)
BUILD_RECORD = Codec(
    BuildRecord,
    lambda document: "a build's record",
    field("key", TEXT),
    field("pool", TEXT),
    field("lockname", TEXT, "lock_name"),
    field("made", TEXT),
    field("passed", TEXT),
    field("revision", NUMBER),
)
MAX_ORDER = 3000
"""Upper bound of a turn's order as text: the item stays below 4 KB, the read unit."""


ORDER = Form(lambda tickets: " ".join(map(str, tickets)), lambda text: tuple(map(int, TEXT.read(text).split())))
TURN = Codec(
    Turn,
    lambda document: f"the turn of lock {document.get('lockname', '')}",
    field("pool", TEXT),
    field("lockname", TEXT, "lock_name"),
    field("revision", NUMBER),
    field("events", NUMBER),
    field("held", FLAG),
    field("frees_at", WHEN),
    field("order", ORDER),
    field("pace", NUMBER),
    field("waiting", NUMBER),
    field("call", TEXT),
    field("present", each(NUMBER)),
)


def turn_of(lock: Lock, holder: Claim | None) -> Turn:
    """Return the hint for the waiters of the lock, which `holder` holds."""
    lengths = accumulate(len(f"{waiter.ticket} ") for waiter in lock.queue)
    return Turn(
        pool=lock.pool,
        lock_name=lock.name,
        revision=lock.revision,
        events=lock.events,
        held=bool(lock.holder),
        frees_at=holder.frees_at if holder else None,
        order=tuple(waiter.ticket for waiter, length in zip(lock.queue, lengths, strict=True) if length <= MAX_ORDER),
        pace=lock.front.pace if lock.front else 0,
        waiting=len(lock.queue),
    )


UNPINNED = ("queue", "tickets", "revision", "event_at")
"""Entries of a lock that no event's digest covers: they change without an event, or follow from the event's
place in the log."""


def queue_document(lock: Lock) -> list[Document]:
    """Return a lock's queue as stored, the front first."""
    return [WAITER.write(waiter) for waiter in lock.queue]


def lock_digest(lock: Lock) -> str:
    """Return the digest by which an event pins the lock as it is after the event, without its queue."""
    return digest({name: value for name, value in LOCK.write(lock).items() if name not in UNPINNED})
