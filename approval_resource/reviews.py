"""Recording a verdict, and what follows from it."""

from __future__ import annotations

import json
from dataclasses import dataclass

from approval_resource.canonical import instant
from approval_resource.claims import expired
from approval_resource.errors import LockNotFoundError, ReviewsFullError, ReviewTimeoutError
from approval_resource.model import Claim, Kind, Review, State, Verdict
from approval_resource.policy.model import Approved, Evaluate, Rejected, Undecidable, Waiting
from approval_resource.policy.quorum import one_approval
from approval_resource.records import claim_document
from approval_resource.store import LockStore, new_id
from approval_resource.transaction import Change, Changes, Read, Snapshot

MAX_REVIEWS = 24
"""People whose undecided reviews one claim keeps, if MAX_CLAIM has room for all of them."""
MAX_CLAIM = 96 * 1024
"""Bytes of a claim."""
ROOM = 38_000
"""Bytes of a claim that undecided reviews leave free: for the one that decides, its ruling, the claim's end, and who
used it, each with names of builds and comments as long as they may be."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """The claim after a review, and whether the review changed anything."""

    claim: Claim
    changed: bool


def find(store: LockStore, claim_id: str) -> Claim:
    """The claim with that id.

    Raises:
        LockNotFoundError: there is none.
    """
    claim = store.claim(claim_id)
    if claim is None:
        raise LockNotFoundError(f"there is no claim {claim_id}; see cli.py list")
    return claim


def review(
    store: LockStore,
    claim_id: str,
    *,
    reviewer: str,
    verdict: Verdict,
    comment: str = "",
    evaluate: Evaluate = one_approval,
) -> Recorded:
    """Record that person's verdict and, in the same transaction, what the policy makes of it.

    The same verdict again changes nothing, its comment included; another replaces it, while nothing is decided.

    Raises:
        LockNotFoundError: there is no such claim.
        NoApprovalNeededError: it asks for no approval.
        AlreadyReviewedError: it was decided or has ended.
        ReviewTimeoutError: its deadline has passed; the claim is expired by this call.
        ReviewsFullError: it has as many reviews as it can hold, in number or in bytes.
    """
    found = find(store, claim_id)

    def decide(snapshot: Snapshot) -> Changes:
        claim = snapshot.claims[claim_id]
        if claim.overdue(snapshot.now):
            return Changes(changes=(expired(claim, snapshot),))
        claim.require_reviewable()
        before = claim.reviews.get(reviewer)
        if before is not None and before.verdict is verdict:
            return Changes()
        given = claim.reviewed(Review(reviewer=reviewer, verdict=verdict, comment=comment, at=snapshot.now))
        match evaluate(given, snapshot.now):
            case Approved():
                after, kind = given.ruled(State.APPROVED, actor=reviewer, reason=comment, at=snapshot.now), Kind.APPROVED
            case Rejected():
                after, kind = given.ruled(State.REJECTED, actor=reviewer, reason=comment, at=snapshot.now), Kind.REJECTED
            case Waiting() | Undecidable():
                # Who changes their mind at no greater length is always heard.
                grown = _size(given) > max(MAX_CLAIM - ROOM, _size(claim))
                if len(given.reviews) > MAX_REVIEWS or grown:
                    raise ReviewsFullError(claim)
                after, kind = given, Kind.REVIEWED
        return Changes(changes=(Change(claim=after, kind=kind, actor=reviewer, reason=comment, verdict=verdict.value),))

    done = store.commit(Read(pool=found.pool, lock_name=found.lock_name, claim_id=claim_id), decide, new_id())
    claim = done.after.claims[claim_id]
    if done.events and claim.state is State.EXPIRED:
        raise ReviewTimeoutError(claim, instant(claim.deadline) if claim.deadline else "its deadline")
    return Recorded(claim, changed=bool(done.events))


def _size(claim: Claim) -> int:
    """At most how many bytes the claim has as it is stored: JSON's signs are more than what the store counts for them."""
    return len(json.dumps(claim_document(claim), ensure_ascii=False, separators=(",", ":")).encode())
