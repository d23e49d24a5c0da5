"""Receipts: copies of decisions that are kept elsewhere, to compare with the log later."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from approval_resource.canonical import EMPTY, instant
from approval_resource.claims.decide import decision_of, kept_policies
from approval_resource.documents.claims import BUILD_FIELDS, REVIEW
from approval_resource.documents.events import EVENT
from approval_resource.model.claim import Claim
from approval_resource.model.event import Event
from approval_resource.store.interface import RecordReads

DEFAULT_POLICY = "one approval by anyone; one rejection ends it"


def claim_facts(claim: Claim) -> dict[str, Any]:
    """Return the facts of a claim that never change."""
    return {
        "id": claim.id,
        "pool": claim.pool,
        "lock_name": claim.lock_name,
        "need_approval": claim.need_approval,
        "description": claim.description,
        "timestamp": instant(claim.timestamp),
        "fence": claim.fence,
        "build": {name: getattr(claim.build, name) for name in BUILD_FIELDS} | {"link": claim.build.link},
        "payload": claim.payload,
        "attachments": {
            name: {"digest": file.digest, "size": file.size, "stored": file.stored} for name, file in claim.attachments.items()
        },
    }


def told_by_event(event: Event) -> dict[str, Any]:
    """Return the parts of a receipt that its event alone proves, where nothing else is left."""
    return {
        "claim": {"id": event.claim_id, "pool": event.pool, "lock_name": event.lock_name},
        "decision": event.kind.value,
        "decided_by": event.actor,
        "decided_at": instant(event.at),
        "reason": event.reason,
        "forced": event.forced,
        "event": EVENT.write(event),
    }


def receipt(store: RecordReads, claim: Claim, event: Event) -> dict[str, Any]:
    """Return the receipt of a claim that `event` decided, with what is kept beside it.

    Raises:
        CorruptRecordError: the policies or facts kept beside the claim differ from those that decided it.
    """
    asked = claim.approved and any(review.inputs for review in claim.reviews.values())
    return receipt_of(claim, event, *kept_policies(store, claim), decision_of(store, claim).filled_in if asked else {})


def receipt_of(
    claim: Claim, event: Event, policy: str = "", pool_policy: str = "", filled_in: Mapping[str, str] = EMPTY
) -> dict[str, Any]:
    """Return the proof of a decision, to be kept elsewhere: its subject, its reasons and its event.

    `policy` and `pool_policy` are the deciding policies as stored beside the claim. `filled_in` holds the
    inputs of those who approved.
    """
    decision = claim.decided
    return {
        "claim": claim_facts(claim),
        "decision": decision.state.value if decision else "",
        "decided_by": decision.actor if decision else "",
        "decided_at": instant(decision.at) if decision else "",
        "reason": decision.reason if decision else "",
        "policy": json.loads(policy) if policy else (DEFAULT_POLICY if not pool_policy else []),
        "pool_policy": json.loads(pool_policy) if pool_policy else [],
        "forced": event.forced,
        "valid_until": instant(claim.valid_until) if claim.valid_until else "",
        "inputs": dict(filled_in),
        "reviews": [REVIEW.write(claim.reviews[who]) for who in sorted(claim.reviews)],
        "event": EVENT.write(event),
    }
