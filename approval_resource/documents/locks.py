"""Locks with their queues, and records of builds, as stored, and back."""

from __future__ import annotations

from approval_resource.canonical import digest
from approval_resource.documents.codec import INSTANT, NUMBER, TEXT, WHEN, Codec, Document, each, field
from approval_resource.documents.events import NEWEST
from approval_resource.model.lock import BuildRecord, Lock
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
UNPINNED = ("queue", "tickets", "revision", "event_at")
"""Entries of a lock that no event's digest covers: they change without an event, or follow from the event's
place in the log."""


def queue_document(lock: Lock) -> list[Document]:
    """Return a lock's queue as stored, the front first."""
    return [WAITER.write(waiter) for waiter in lock.queue]


def lock_digest(lock: Lock) -> str:
    """Return the digest by which an event pins the lock as it is after the event, without its queue."""
    return digest({name: value for name, value in LOCK.write(lock).items() if name not in UNPINNED})
