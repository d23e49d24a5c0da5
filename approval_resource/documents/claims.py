"""Claims as stored and digested, and back."""

from __future__ import annotations

from approval_resource.canonical import digest
from approval_resource.documents.codec import (
    FLAG,
    INSTANT,
    NUMBER,
    TEXT,
    WHEN,
    Codec,
    Derived,
    each,
    enum,
    field,
    mapping_of,
    optional,
    within,
)
from approval_resource.model.claim import Attachment, Build, Claim, Review, Transition, Verdict
from approval_resource.model.event import Event, State

BUILD_FIELDS = ("url", "team", "pipeline", "instance_vars", "job", "id", "name", "created_by")
MAX_HOLD_SECONDS = 366 * 86_400
BUILD = Codec(Build, lambda document: "a build", *(field(name, TEXT) for name in BUILD_FIELDS))
ATTACHMENT = Codec(
    Attachment, lambda document: "an attachment", field("digest", TEXT), field("size", NUMBER), field("stored", FLAG)
)
REVIEW = Codec(
    Review,
    lambda document: f"the review of {document.get('reviewer', '')}",
    field("reviewer", TEXT),
    field("verdict", enum(Verdict)),
    field("comment", TEXT),
    field("at", INSTANT),
    field("represented_as", each(TEXT), sparse=True),
    field("forced", FLAG, sparse=True),
    field("inputs", mapping_of(TEXT), sparse=True),
    field("groups", each(TEXT), sparse=True),
)
TRANSITION = Codec(
    Transition,
    lambda document: "a transition",
    field("state", enum(State)),
    field("actor", TEXT),
    field("reason", TEXT),
    field("at", INSTANT),
    field("timestamp", INSTANT),
)
CLAIM = Codec(
    Claim,
    lambda document: f"claim {document.get('id', '')}",
    # The first nine names are the original resource's.
    Derived("approved", lambda claim: claim.approved),
    Derived("claimed", lambda claim: claim.claimed),
    field("description", TEXT),
    field("lockname", TEXT, "lock_name"),
    field("need_approval", FLAG),
    Derived("pipeline", lambda claim: claim.build.pipeline),
    field("pool", TEXT),
    Derived("team", lambda claim: claim.build.team),
    field("timestamp", INSTANT),
    field("id", TEXT),
    field("state", enum(State)),
    field("changed", INSTANT),
    field("build", BUILD.form),
    field("build_key", TEXT),
    field("request", TEXT),
    field("payload", TEXT),
    field("attachments", mapping_of(ATTACHMENT.form)),
    field("fence", NUMBER),
    field("deadline", WHEN),
    field("hold_timeout", within(MAX_HOLD_SECONDS)),
    field("hold_until", WHEN),
    field("reviews", mapping_of(REVIEW.form)),
    field("decided", optional(TRANSITION.form, None)),
    field("ended", optional(TRANSITION.form, None)),
    field("spent", TEXT),
    field("spent_by", TEXT),
    field("spent_job", TEXT),
    field("policy", TEXT, sparse=True),
    field("facts", TEXT, sparse=True),
    field("pool_policy", TEXT, sparse=True),
    field("judged_at", WHEN, sparse=True),
    field("opens_at", WHEN, sparse=True),
    field("valid_until", WHEN, sparse=True),
    field("made_at", WHEN, sparse=True),
    field("event_at", WHEN, sparse=True),
    field("revision", NUMBER),
)


def claim_digest(claim: Claim) -> str:
    """Return the digest by which an event pins the claim as it is after the event."""
    return digest(CLAIM.write(claim))


def terms_digest(claim: Claim) -> str:
    """Return the digest of the claim's request and terms, or an empty string when it needs no approval."""
    if not claim.need_approval:
        return ""
    return digest(
        {
            "id": claim.id,
            "pool": claim.pool,
            "lockname": claim.lock_name,
            "requester": claim.build.created_by,
            "description": claim.description,
            "payload": claim.payload,
            "attachments": {name: file.digest for name, file in claim.attachments.items()},
            "policy": claim.policy,
            "facts": claim.facts,
        }
    )


def made_under(claim: Claim, first: Event) -> bool:
    """Whether the claim still matches the terms that its first event pinned.

    First events of older releases pin no terms. They match a claim without policies and facts.
    """
    untold = not first.terms and not claim.policy and not claim.facts
    return first.claim_id == claim.id and (untold or first.terms == terms_digest(claim))
