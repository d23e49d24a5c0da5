"""Deadlines: time completes the approval of a pending claim, or ends the claim."""

from __future__ import annotations

import logging
from dataclasses import replace

from approval_resource.claims.decide import POLICY_ACTOR, EvaluationCache, Terms, apply_policies, terms_of
from approval_resource.claims.end import expiry_change, update_claim
from approval_resource.errors import CorruptRecordError
from approval_resource.model.claim import Claim
from approval_resource.model.event import Kind
from approval_resource.store.interface import LockStore
from approval_resource.store.transaction import ClaimChange, Snapshot

log = logging.getLogger(__name__)


def time_change(claim: Claim, terms: Terms, snapshot: Snapshot, evaluations: EvaluationCache) -> ClaimChange | None:
    """Return the change that time makes to the claim, or None.

    An approval that time completed by the deadline stands, even if nobody looks until after the deadline:
    the policies are evaluated for the instant of the completion. Otherwise a passed deadline ends the
    claim.
    """
    late = claim.late(snapshot.now)
    if claim.overdue(snapshot.now):
        return expiry_change(claim, snapshot)
    if not claim.due(snapshot.now) or claim.opens_at is None:
        return None
    at = evaluations.instant(claim, snapshot, fixed=claim.opens_at if late else None)
    postponed = ClaimChange(claim=claim, kind=Kind.POSTPONED, actor=POLICY_ACTOR)
    change = apply_policies(claim, terms, snapshot, postponed, evaluations, at)
    if change.claim.decided is not None:
        return change
    opens = change.claim.opens_at
    if late:
        return expiry_change(claim, snapshot)
    if opens == claim.opens_at:
        return None
    told = f"may be approved from {opens:%Y-%m-%d %H:%M:%S} UTC on" if opens else "time alone can no longer approve it"
    return replace(change, reason=told)


def apply_time(store: LockStore, claim: Claim) -> Claim:
    """Commit the change that time makes to the claim, if any, and return the claim as it is then."""
    terms = terms_of(store, claim) if claim.opens_at is not None else Terms()
    evaluations = EvaluationCache(terms)
    return update_claim(store, claim, lambda current, snapshot: time_change(current, terms, snapshot, evaluations))


def apply_time_or_log(store: LockStore, claim: Claim) -> Claim:
    """Do as `apply_time`, but log a corrupt claim and return it unchanged: for loops over many."""
    try:
        return apply_time(store, claim)
    except CorruptRecordError as corrupt:
        log.warning("%s", corrupt)
        return claim
