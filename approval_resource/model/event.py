"""What happens: a claim's states, the events of a pool's log, and how log and newest end are stored."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from approval_resource.canonical import EMPTY

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
    newest: Mapping[State, Place] = field(default_factory=lambda: EMPTY)
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
    """Digest of what the claim was made under, or of the settings' policy; an empty string for none."""
    before: str = ""
    """The digest of the claim, or of the settings, as the event found them; an empty string where there was none."""
    lock: str = ""
    """The digest of the lock as the event left it, its queue aside. Events of older versions tell neither this nor `before`."""
    digest: str = ""
