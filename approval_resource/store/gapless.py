"""Reading a log while commits land: no event is passed over."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta

from approval_resource.model.event import Event
from approval_resource.store.interface import LockStore

SETTLED = timedelta(minutes=1)
"""Age of an event at which a gap before it is final: the missing event was removed, or the event was planted.

An event is planned only after the one before it was written, however long each commit was retried. So only
the visibility of a written item is waited for.
"""

SKEW = timedelta(seconds=2)
"""Time by which a place may be ahead of the store's time as it is known here: that errs by up to a second."""


def gapless(events: Iterable[Event], since: datetime, *, by_lock: bool, store: LockStore) -> Iterator[Event]:
    """Yield the events, which were read from `since` on, up to the first gap that a commit may still fill.

    A read during two commits can show the later one without the earlier. A caller that goes on from the later
    one would skip the earlier for ever. Removal by age leaves gaps, too. A gap before an event that was
    older than `SETTLED` at the read was left by removal, and is passed over. So is one before an event that
    is dated as far ahead: no commit wrote that, and waiting for its age would end what is handed out for
    ever. An event whose place is ahead of the store's time by more than `SKEW`, and after the log's head, was
    planted, too. A caller that went on from there would miss all that is real until then, so it ends what is
    handed out.
    """
    expected: int | None = None
    read_at: datetime | None = None
    end: datetime | None = None
    for event in events:
        # Age counts from the read. The caller may work on one event for minutes before it takes the next.
        read_at = read_at or store.now()
        if event.timestamp > read_at + SKEW:
            # Events of a client whose endpoint lied about the time are real, and all that follows is ahead.
            end = end or _end(event.pool, store)
            if event.timestamp > end:
                return
        number = event.lock_event_number if by_lock else event.revision
        gap = _lacks_first(event, since, number) if expected is None else number != expected
        if gap and abs(read_at - event.at) < SETTLED:
            return
        expected = number + 1
        yield event


def _end(pool: str, store: LockStore) -> datetime:
    """Return the place of the newest event that a commit wrote into the pool's log."""
    head = store.head(pool)
    return head.timestamp if head and head.timestamp else datetime.min.replace(tzinfo=UTC)


def _lacks_first(event: Event, since: datetime, number: int) -> bool:
    """Whether an event later than `since` may be missing before this one, the first that was read."""
    return number > 1 and event.previous_timestamp is not None and event.previous_timestamp > since
