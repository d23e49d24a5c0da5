"""Claim states, the events of a pool's log, and the log's head."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from approval_resource.canonical import EMPTY

Document = dict[str, Any]


class State(StrEnum):
    """State of a claim. Only a change to one of these eight is a version for Concourse."""

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
"""Smallest distance between two events of a pool."""
STATES: Mapping[str, State] = {state.value: state for state in State}
OPEN_STATES = frozenset({State.HELD, State.PENDING, State.APPROVED})


class Kind(StrEnum):
    """Kind of an event: one of the eight states that a claim came into, or another change worth recording."""

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
        """State that this kind of event brings a claim into, or None when it changes no state."""
        return STATES.get(self.value)


@dataclass(frozen=True, slots=True)
class Place:
    """Place of a state change in the log, with its claim and lock.

    It is all that a version needs, and locates the event.
    """

    timestamp: datetime
    claim_id: str
    lock_name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """Newest end of a pool's log. A pool without any event has revision 0."""

    pool: str
    revision: int = 0
    timestamp: datetime | None = None
    digest: str = ""
    newest: Mapping[State, Place] = field(default_factory=lambda: EMPTY)
    settings: int = 0
    """Revision of the pool's settings, so that a write conditional on the head is conditional on them too."""

    def next_timestamp(self, now: datetime) -> datetime:
        """Return the place of an event that is added now, always later than the newest event."""
        return now if self.timestamp is None else max(now, self.timestamp + TICK)


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Entry of a pool's log, chained to the entry before it.

    It records a change of one claim, or of the pool's settings.
    An event of settings names no claim, no lock and no state.
    """

    pool: str
    timestamp: datetime
    """Place in the log, strictly increasing. It orders the log; people are shown `at`."""
    revision: int
    kind: Kind
    claim_id: str
    lock_name: str
    lock_event_number: int
    state: State | None
    """State of the claim after the event."""
    actor: str
    build: str = ""
    reason: str = ""
    verdict: str = ""
    forced: bool = False
    """Whether somebody overruled the people whose decision it was."""
    at: datetime
    operation: str
    claim: str
    """Digest of the claim, or of the settings, after the event."""
    previous: str
    """Digest of the event before, or an empty string for a pool's first."""
    previous_timestamp: datetime | None
    terms: str = ""
    """Digest of the claim's request and terms, or of the settings' policy; an empty string for none."""
    before: str = ""
    """Digest of the claim, or of the settings, before the event; an empty string if there was none."""
    lock: str = ""
    """Digest of the lock after the event, without its queue.

    Events of older releases have neither this digest nor `before`.
    """
    digest: str = ""


def passages(events: Iterable[Event]) -> tuple[Event, ...]:
    """Return the first event by which each build passed its claim's gate, oldest first.

    A build that passes, and uses the approval up later, has two such events and one passage.
    """
    first: dict[tuple[str, str], Event] = {}
    for event in events:
        if event.kind in (Kind.PASSED, Kind.SPENT):
            first.setdefault((event.build, event.actor), event)
    return tuple(first.values())
