"""check: the state changes that Concourse hasn't seen."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

from approval_resource.model.event import Event, Place, State
from approval_resource.steps.protocol import Source, Version, version_timestamp
from approval_resource.store.interface import LockStore

SETTLED = timedelta(minutes=1)
"""Age at which a gap before an event is final: no commit takes longer, so the missing event was removed."""


def check(source: Source, version: Mapping[str, Any] | None, store: LockStore) -> list[dict[str, str]]:
    """Return the given version, if it is on record, and every state change after it, oldest first.

    Without a version, return only the newest. With `source.states`, passed deadlines and opened windows are
    committed first, so that a gate ends even if no container waits at it. A first version is then of a claim
    that is still in the open state it names, or of a claim that has ended in the state it names.

    Raises:
        ConfigError: the version has no instant.
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
    """Yield the events up to the first gap that a commit in flight may still fill.

    A read during two commits can show the later one without the earlier. If check returned the later one,
    Concourse would skip the earlier one for ever. Removal by age leaves gaps, too. A gap before an event
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
