"""What happens: a claim's states, the events of a pool's log, and how log and newest end are stored."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from types import MappingProxyType
from typing import Any

from approval_resource.canonical import digest, instant, parse_instant
from approval_resource.documents.fields import flag, if_any, instant_or_none, number, optional, read_back, text

Document = dict[str, Any]


class State(StrEnum):
    """Where a claim stands. These eight are the only kinds of version."""

    HELD = "held"
    PENDING = "pending"
    APPROVED = "approved"
    REJECTED = "rejected"
    EXPIRED = "expired"
    SUPERSEDED = "superseded"
    WITHDRAWN = "withdrawn"
    RELEASED = "released"

    @property
    def is_open(self) -> bool:
        """Whether a claim in this state holds its lock."""
        return self in OPEN_STATES


TICK = timedelta(microseconds=1)
"""The least distance of two events of a pool."""
STATES: Mapping[str, State] = {state.value: state for state in State}
OPEN_STATES = frozenset({State.HELD, State.PENDING, State.APPROVED})


class Kind(StrEnum):
    """What an event records: one of the eight states a claim came into, or something else worth knowing."""

    HELD = "held"
    PENDING = "pending"
    APPROVED = "approved"
    REJECTED = "rejected"
    EXPIRED = "expired"
    SUPERSEDED = "superseded"
    WITHDRAWN = "withdrawn"
    RELEASED = "released"
    REVIEWED = "reviewed"
    PASSED = "passed"
    SPENT = "spent"
    DEADLINE = "deadline"
    POSTPONED = "postponed"
    RENEWED = "renewed"
    SETTINGS = "settings"

    @property
    def state(self) -> State | None:
        """The state this kind of event brings a claim into, or None when it changes no state."""
        return STATES.get(self.value)


NOTHING: Mapping[Any, Any] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Place:
    """A state change's place in the log and whose it was: all that a version needs, and its event can be found by it."""

    timestamp: datetime
    claim_id: str
    lock_name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """The newest end of a pool's log. A pool nothing was written to has revision 0."""

    pool: str
    revision: int = 0
    timestamp: datetime | None = None
    digest: str = ""
    newest: Mapping[State, Place] = field(default_factory=lambda: NOTHING)
    settings: int = 0
    """The revision of the pool's settings, so that whatever is conditional on the head is conditional on them."""

    def next_timestamp(self, now: datetime) -> datetime:
        """The place of an event that is added now."""
        return now if self.timestamp is None else max(now, self.timestamp + TICK)


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One entry of a pool's log, chained to the entry before it: what happened to one claim, or to the pool's settings.

    The latter names no claim, no lock and no state.
    """

    pool: str
    timestamp: datetime
    """Its place: orders the log, strictly increasing. People are shown `at`."""
    revision: int
    kind: Kind
    claim_id: str
    lock_name: str
    lock_event_number: int
    state: State | None
    """The claim's state after the event."""
    actor: str
    build: str = ""
    reason: str = ""
    verdict: str = ""
    forced: bool = False
    """Whether somebody overruled those whose say it was."""
    at: datetime
    operation: str
    claim: str
    """The digest of the claim, or of the settings, as the event left them."""
    previous: str
    """The digest of the event before, or an empty string for a pool's first."""
    previous_timestamp: datetime | None
    terms: str = ""
    """Of a claim's first event what it was made under, of settings their policy: a digest, or an empty string for none."""
    digest: str = ""


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
