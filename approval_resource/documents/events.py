"""Events and the head of a log, as stored and digested, and back."""

from __future__ import annotations

from approval_resource.canonical import digest
from approval_resource.documents.codec import (
    FLAG,
    INSTANT,
    NUMBER,
    TEXT,
    WHEN,
    Codec,
    Document,
    enum,
    field,
    mapping_of,
    optional,
)
from approval_resource.model.event import Event, Head, Kind, Place, State

PLACE = Codec(
    Place,
    lambda document: "a place in a log",
    field("timestamp", INSTANT),
    field("id", TEXT, "claim_id"),
    field("lockname", TEXT, "lock_name"),
)
NEWEST = mapping_of(PLACE.form, State)
EVENT = Codec(
    Event,
    lambda document: f"event {document.get('timestamp', '')}",
    field("pool", TEXT),
    field("timestamp", INSTANT),
    field("revision", NUMBER),
    field("kind", enum(Kind)),
    field("id", TEXT, "claim_id"),
    field("lock_name", TEXT),
    field("lock_event_number", NUMBER),
    field("state", optional(enum(State))),
    field("actor", TEXT),
    field("build", TEXT),
    field("reason", TEXT),
    field("verdict", TEXT),
    field("forced", FLAG),
    field("at", INSTANT),
    field("operation", TEXT),
    field("claim", TEXT),
    field("previous", TEXT),
    field("previous_timestamp", WHEN),
    field("terms", TEXT, sparse=True),
    field("before", TEXT, sparse=True),
    field("lock", TEXT, sparse=True),
    field("digest", TEXT),
)
HEAD = Codec(
    Head,
    lambda document: f"the head of pool {document.get('pool', '')}",
    field("pool", TEXT),
    field("revision", NUMBER),
    field("timestamp", WHEN),
    field("digest", TEXT),
    field("newest", NEWEST),
    field("settings", NUMBER, sparse=True),
)


def event_document(event: Event) -> Document:
    """Return the event's document without its digest, as it is digested."""
    document = EVENT.write(event)
    del document["digest"]
    return document


def event_digest(event: Event) -> str:
    """Return the digest of the event without its own digest."""
    return digest(event_document(event))
