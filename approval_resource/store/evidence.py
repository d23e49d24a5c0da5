"""Evidence for a snapshot: the newest event of each item, because items change and events don't."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from approval_resource.canonical import EMPTY
from approval_resource.documents.claims import claim_digest
from approval_resource.documents.events import event_digest
from approval_resource.documents.locks import lock_digest
from approval_resource.documents.settings import settings_digest
from approval_resource.errors import CorruptRecordError
from approval_resource.model.claim import Claim
from approval_resource.model.event import Event, Kind
from approval_resource.store.transaction import Snapshot


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """Newest event of each item in a snapshot. It is None, or absent, if the log has none."""

    lock: Event | None = None
    settings: Event | None = None
    claims: Mapping[str, Event] = field(default_factory=lambda: EMPTY)


def contradiction(snapshot: Snapshot, evidence: Evidence) -> CorruptRecordError | None:
    """Return the first contradiction between the snapshot and the log as an error, or None.

    A lock or claim without any event left in the log is not judged here: see `require_provable`.
    """
    for event in (evidence.lock, evidence.settings, *evidence.claims.values()):
        if event is not None and event_digest(event) != event.digest:
            return CorruptRecordError(f"event {event.revision}", "its digest is not that of its content")
    lock, told = snapshot.lock, evidence.lock
    # Events of older releases pin no lock.
    if told is not None and (told.lock_event_number != lock.events or told.lock not in ("", lock_digest(lock))):
        return CorruptRecordError(f"lock {lock.name}", "it is not as its newest event left it")
    for claim_id, newest in evidence.claims.items():
        if newest.claim != claim_digest(snapshot.claims[claim_id]):
            return CorruptRecordError(f"claim {claim_id}", "it is not as its newest event left it")
    settings, told = snapshot.settings, evidence.settings
    counted = settings.revision or snapshot.head.settings
    if counted if told is None else told.claim != settings_digest(settings):
        return CorruptRecordError(f"the settings of pool {settings.pool}", "they are not as the log left them")
    return None


def require_provable(snapshot: Snapshot, evidence: Evidence, changed: Iterable[Claim]) -> None:
    """Pass for changes that the log can prove. A claim without any event left can only be ended.

    Raises:
        CorruptRecordError: a claim without any event would stay open.
    """
    for claim in changed:
        if claim.claimed and claim.id in snapshot.claims and claim.id not in evidence.claims:
            raise CorruptRecordError(f"claim {claim.id}", "the log has no event of it, so it can only be ended")


def newest_of_claims(events: Iterable[Event], wanted: set[str]) -> dict[str, Event]:
    """Return the last event of each wanted claim. The events come oldest first."""
    return {event.claim_id: event for event in events if event.claim_id in wanted and event.kind is not Kind.SETTINGS}
