"""Events and the newest end of a log, as stored and digested, and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from approval_resource.canonical import digest, instant, parse_instant
from approval_resource.documents.fields import flag, if_any, instant_or_none, number, optional, read_back, text
from approval_resource.model.event import Document, Event, Head, Kind, Place, State


def event_document(event: Event) -> Document:
    """The event as digested: all of it but the digest itself."""
    return {
        "pool": event.pool,
        "timestamp": instant(event.timestamp),
        "revision": event.revision,
        "kind": event.kind.value,
        "id": event.claim_id,
        "lock_name": event.lock_name,
        "lock_event_number": event.lock_event_number,
        "state": event.state.value if event.state else "",
        "actor": event.actor,
        "build": event.build,
        "reason": event.reason,
        "verdict": event.verdict,
        "forced": event.forced,
        "at": instant(event.at),
        "operation": event.operation,
        "claim": event.claim,
        "previous": event.previous,
        "previous_timestamp": optional(event.previous_timestamp),
        **if_any(terms=event.terms),
    }


def sealed_document(event: Event) -> Document:
    """The event as stored, exported and put into receipts: with its digest."""
    return event_document(event) | {"digest": event.digest}


def event_from(document: Mapping[str, Any]) -> Event:
    """The event that `sealed_document` described.

    Raises:
        CorruptRecordError: the document is not of that form.
    """
    return read_back(f"event {document.get('timestamp', '')}".strip(), document, _event, sealed_document)


def _event(d: Mapping[str, Any]) -> Event:
    return Event(
        pool=text(d, "pool"),
        timestamp=parse_instant(d["timestamp"]),
        revision=number(d, "revision"),
        kind=Kind(d["kind"]),
        claim_id=text(d, "id"),
        lock_name=text(d, "lock_name"),
        lock_event_number=number(d, "lock_event_number"),
        state=State(d["state"]) if d["state"] else None,
        actor=text(d, "actor"),
        build=text(d, "build"),
        reason=text(d, "reason"),
        verdict=text(d, "verdict"),
        forced=flag(d, "forced"),
        at=parse_instant(d["at"]),
        operation=text(d, "operation"),
        claim=text(d, "claim"),
        previous=text(d, "previous"),
        previous_timestamp=instant_or_none(d["previous_timestamp"]),
        terms=text(d, "terms", ""),
        digest=text(d, "digest"),
    )


def event_digest(event: Event) -> str:
    """What the event's digest must be, computed from everything else it holds."""
    return digest(event_document(event))


def head_document(head: Head) -> Document:
    """A pool's head as stored."""
    return {
        "pool": head.pool,
        "revision": head.revision,
        "timestamp": optional(head.timestamp),
        "digest": head.digest,
        "newest": newest_document(head.newest),
        **if_any(settings=head.settings),
    }


def head_from(document: Mapping[str, Any]) -> Head:
    """The head that `head_document` described.

    Raises:
        CorruptRecordError: the document is not of that form.
    """
    return read_back(f"the head of pool {document.get('pool', '')}".strip(), document, _head, head_document)


def _head(d: Mapping[str, Any]) -> Head:
    return Head(
        pool=text(d, "pool"),
        revision=number(d, "revision"),
        timestamp=instant_or_none(d["timestamp"]),
        digest=text(d, "digest"),
        newest=newest_from(d["newest"]),
        settings=number(d, "settings") if "settings" in d else 0,
    )


def newest_document(newest: Mapping[State, Place]) -> Document:
    return {
        state.value: {"timestamp": instant(place.timestamp), "id": place.claim_id, "lockname": place.lock_name}
        for state, place in newest.items()
    }


def newest_from(document: Mapping[str, Any]) -> dict[State, Place]:
    return {
        State(state): Place(
            timestamp=parse_instant(place["timestamp"]), claim_id=text(place, "id"), lock_name=text(place, "lockname")
        )
        for state, place in document.items()
    }
