"""check: the state changes that Concourse hasn't seen."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from approval_resource.model.event import Place, State
from approval_resource.steps.protocol import Source, Version, version_timestamp
from approval_resource.store.gapless import gapless
from approval_resource.store.interface import LockStore


def check(source: Source, version: Mapping[str, Any] | None, store: LockStore) -> list[dict[str, str]]:
    """Return the given version, if it is on record, and the state changes after it, oldest first.

    Without a version, return only the newest. With `source.states`, return the given version and only changes
    to those states. With `source.states` and without a given version, an open state counts only if a claim
    is in it now. With `source.states`, passed deadlines and opened windows are committed first, so that a
    gate ends even if no container waits at it.

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
    for event in gapless(events, since, by_lock=source.lock_name is not None, store=store):
        state = event.kind.state
        if state is None:
            continue
        own = event.timestamp == since and event.claim_id == given.get("id")
        if own or (event.timestamp > since and _wanted(state, source)):
            yield Version(event.claim_id, event.lock_name, state, event.timestamp)


def _wanted(state: State, source: Source) -> bool:
    return not source.states or state in source.states
