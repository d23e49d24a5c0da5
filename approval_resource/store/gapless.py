"""Reading a log while commits land: no event is passed over."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta

from approval_resource.model.event import Event
from approval_resource.store.interface import LockStore

SETTLED = timedelta(minutes=1)
"""Age at which a gap before an event is final: no commit takes longer, so the missing event was removed."""


def gapless(events: Iterable[Event], *, by_lock: bool, store: LockStore) -> Iterator[Event]:
    """Yield the events up to the first gap that a commit in flight may still fill.

    A read during two commits can show the later one without the earlier. Whoever goes on from the later
    one would skip the earlier for ever. Removal by age leaves gaps, too. A gap before an event
    older than `SETTLED` is such a gap, and is passed over.
    """
    expected: int | None = None
    for event in events:
        number = event.lock_event_number if by_lock else event.revision
        if expected is not None and number != expected and _recent(event, store.now()):
            return
        expected = number + 1
        yield event


def _recent(event: Event, now: datetime) -> bool:
    return now - event.at < SETTLED
