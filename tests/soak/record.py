"""What the record of a pool must tell, whatever was killed or raced."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from itertools import pairwise

from approval_resource.audit import verify as audit
from approval_resource.claims.lifecycle import NEXT_STATES
from approval_resource.model.event import Event, Kind, State
from approval_resource.store.interface import LockStore

BEGINNINGS = frozenset({State.HELD, State.PENDING})
NEVER_LANDED = [State.WITHDRAWN]
"""What the log tells of a claim that was given up while it was under way."""


def faults(store: LockStore, pool: str) -> list[str]:
    """Everything wrong in a pool in which nothing happens any more, one line each."""
    events = list(store.events(pool))
    found = list(audit.verify(store, pool).findings)
    found += _histories(events)
    found += _holders(events)
    last = {event.claim_id: event.state for event in events if event.claim_id}
    claims = [claim for claim in store.all_claims() if claim.pool == pool]
    found += [
        f"claim {claim.id} is {claim.state}, by the log {last.get(claim.id)}"
        for claim in claims
        if claim.state is not last.get(claim.id)
    ]
    found += [f"claim {id_} is on the log only" for id_ in last.keys() - {claim.id for claim in claims}]
    for name in store.lock_names(pool):
        lock = store.lock(pool, name)
        open_here = [claim.id for claim in claims if claim.lock_name == name and claim.claimed]
        if lock is None or open_here != ([lock.holder] if lock.holder else []):
            found.append(f"lock {name} is held by {lock.holder if lock else 'nobody'}; open are {open_here}")
    return found


def _histories(events: Iterable[Event]) -> Iterable[str]:
    """Each claim begins once, goes only where a way leads, and ends once."""
    states: dict[str, list[State]] = defaultdict(list)
    for event in events:
        if event.kind.state is not None:
            states[event.claim_id].append(event.kind.state)
    for claim_id, history in states.items():
        legal = history[0] in BEGINNINGS and all(after in NEXT_STATES[before] for before, after in pairwise(history))
        if not legal and history != NEVER_LANDED:
            yield f"claim {claim_id} went from one state to another as none may: {', '.join(history)}"


def _holders(events: Iterable[Event]) -> Iterable[str]:
    """At each moment of the log one claim at most holds a lock."""
    holder: dict[str, str] = {}
    for event in events:
        before = holder.get(event.lock_name, "")
        if event.kind.state in BEGINNINGS:
            if before:
                yield f"lock {event.lock_name} was held by {before} when {event.claim_id} took it"
            holder[event.lock_name] = event.claim_id
        elif before == event.claim_id and not (event.state and event.state.is_open):
            holder[event.lock_name] = ""


def kinds(events: Iterable[Event], claim_id: str) -> list[Kind]:
    """What happened to one claim, in order."""
    return [event.kind for event in events if event.claim_id == claim_id]
