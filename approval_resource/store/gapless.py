"""Reading a log while commits land: no event is passed over."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta

from approval_resource.model.event import Event
from approval_resource.store.interface import LockStore

SETTLED = timedelta(minutes=1)
"""Age of an event at which a gap before it is final: the missing event was removed, or this one was planted.

A commit numbers its event only after the event before it was written. So a gap that can still close is an
item that is written but not visible yet. The time for which a commit is retried doesn't matter."""

SKEW = timedelta(seconds=2)
"""Time by which an honest place may be ahead of the store's time: `StoreClock` errs by up to a second."""


def gapless(events: Iterable[Event], since: datetime, *, by_lock: bool, store: LockStore) -> Iterator[Event]:
    """Yield the events, which were read from `since` on, up to the first gap that a commit may still fill.

    A read during two commits can show the later event without the earlier one. A caller that continued after
    the later one would never see the earlier. Two other kinds of gap are passed over. If the event after the
    gap was older than `SETTLED` at the read, removal by age left the gap. If that event is dated `SETTLED` or
    more ahead of the store's time, it was planted, and waiting for it to age could last for ever. The output
    ends at an event whose place is more than `SKEW` ahead of the store's time and after the log's head: it
    was planted, too, and a caller that continued after it would miss every real event before that place.
    """
    expected: int | None = None
    read_at: datetime | None = None
    end: datetime | None = None
    for event in events:
        # Age counts from the read. The caller may work on one event for minutes before it takes the next.
        read_at = read_at or store.now()
        if event.timestamp > read_at + SKEW:
            # If an endpoint told a client a time in the future, that client's genuine events lie ahead of
            # the store's time, and so do all events after them.
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
