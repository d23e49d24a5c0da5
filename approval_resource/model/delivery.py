"""Progress of a channel through the logs, and the record of what it was told about a claim."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from approval_resource.canonical import EMPTY


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """Progress of one channel: its cursors, the lease of the process that sends to it, and its failures.

    Anybody who can write the table can forge it, so it decides only which messages are sent, and when.
    """

    channel: str
    holder: str = ""
    """Process that has the lease, or an empty string."""
    until: datetime | None = None
    """End of the lease."""
    cursors: Mapping[str, datetime] = field(default_factory=lambda: EMPTY)
    """By pool, the place in its log up to which nothing is left to send."""
    failing_since: datetime | None = None
    """Instant of the first of the consecutive failed tries, or None."""
    tries: int = 0
    """Number of failed tries since then."""
    retry_at: datetime | None = None
    error: str = ""
    """Newest failure. It is kept after the channel has recovered."""
    refused: str = ""
    """Id of the current message, if the channel refused its content; else an empty string."""
    refusals: int = 0
    """Number of times that the channel refused that message. An outage in between is no refusal."""
    skipped: int = 0
    """Number of messages that were skipped because the channel refuses their content."""
    lost: int = 0
    """Number of messages that were skipped since the newest one that the channel took."""
    told_at: datetime | None = None
    """Instant of the last message to it."""
    digest: str = ""
    """Local day of the newest daily summary."""
    revision: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """Record of what one channel was told about one claim."""

    channel: str
    claim_id: str
    pool: str = ""
    ref: str = ""
    """Channel's own id of the first message. An edit or an answer refers to it."""
    told: datetime | None = None
    """Place of the newest event that was told."""
    reminded: datetime | None = None
    """Due instant of the newest reminder that was sent."""
    at: datetime | None = None
    revision: int = 0
