"""check: the state changes that Concourse hasn't seen."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

from approval_resource.model.event import Event, Place, State
from approval_resource.steps.protocol import Source, Version, version_timestamp
from approval_resource.store.interface import LockStore

SETTLED = timedelta(minutes=1)
"""A gap before an event of this age is final: no commit takes longer, so what is missing was removed."""


def check(source: Source, version: Mapping[str, Any] | None, store: LockStore) -> list[dict[str, str]]:
    """The given version and every state change after it, oldest first; without one, only the newest.

    Where the source names `states`, what time has brought is applied first, deadlines that have passed and windows
    that have opened, so that a gate at which no container waits ends too; and a first version is only a claim that is still where it says, or one that
    has ended that way.
    """
    if source.states:
        from approval_resource.claims.deadline import apply_time_or_log

        for claim in store.open_claims(source.pool):
            if (claim.late(store.now()) or claim.due(store.now())) and source.lock_name in (None, claim.lock_name):
                apply_time_or_log(store, claim)
    if version is None:
        found = _newest(source, store)
        return [found.render()] if found else []
    return [found.render() for found in _since(source, version, store)]


def _newest(source: Source, store: LockStore) -> Version | None:
    kept = store.head(source.pool) if source.lock_name is None else store.lock(source.pool, source.lock_name)
    newest = dict(kept.newest) if kept else {}
    if source.states:
        newest = {state: place for state, place in newest.items() if state in source.states and not state.is_open}
        wanted_open = [state for state in source.states if state.is_open]
        for claim in store.open_claims(source.pool) if wanted_open else ():
            if claim.state in wanted_open and source.lock_name in (None, claim.lock_name):
                place = Place(claim.changed, claim.id, claim.lock_name)
                newest[claim.state] = max(place, newest.get(claim.state, place), key=lambda place: place.timestamp)
    if not newest:
        return None
    state, place = max(newest.items(), key=lambda entry: entry[1].timestamp)
    return Version(place.claim_id, place.lock_name, state, place.timestamp)


def _since(source: Source, given: Mapping[str, Any], store: LockStore) -> Iterator[Version]:
    since = version_timestamp(given)
    events = store.events(source.pool, lock_name=source.lock_name, since=since)
    for event in gapless(events, by_lock=source.lock_name is not None, store=store):
        state = event.kind.state
        if state is None:
            continue
        own = event.timestamp == since and event.claim_id == given.get("id")
        if own or (event.timestamp > since and _wanted(state, source)):
            yield Version(event.claim_id, event.lock_name, state, event.timestamp)


def _wanted(state: State, source: Source) -> bool:
    return not source.states or state in source.states


def gapless(events: Iterable[Event], *, by_lock: bool, store: LockStore) -> Iterator[Event]:
    """The events up to the first gap that may still be filled.

    A read that runs while two commits land can show the later one and not the earlier. Handing that out
    would make Concourse skip the earlier one for ever. What was removed long ago leaves gaps too; those
    are passed over.
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
