"""Model to plain document and back: the form in which things are digested and stored."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from approval_resource.canonical import digest, instant, parse_instant
from approval_resource.documents.fields import flag, if_any, instant_or_none, number, optional, read_back, text, texts
from approval_resource.model.claim import Attachment, Build, Claim, Review, Transition, Verdict
from approval_resource.model.event import Event, State

Document = dict[str, Any]
BUILD_FIELDS = ("url", "team", "pipeline", "instance_vars", "job", "id", "name", "created_by")
MAX_HOLD_SECONDS = 366 * 86_400


def claim_document(claim: Claim) -> Document:
    """The claim as stored and digested. The first nine names are the original resource's."""
    return {
        "approved": claim.approved,
        "claimed": claim.claimed,
        "description": claim.description,
        "lockname": claim.lock_name,
        "need_approval": claim.need_approval,
        "pipeline": claim.build.pipeline,
        "pool": claim.pool,
        "team": claim.build.team,
        "timestamp": instant(claim.timestamp),
        "id": claim.id,
        "state": claim.state.value,
        "changed": instant(claim.changed),
        "build": {name: getattr(claim.build, name) for name in BUILD_FIELDS},
        "build_key": claim.build_key,
        "request": claim.request,
        "payload": claim.payload,
        "attachments": {
            name: {"digest": file.digest, "size": file.size, "stored": file.stored} for name, file in claim.attachments.items()
        },
        "fence": claim.fence,
        "deadline": optional(claim.deadline),
        "hold_timeout": claim.hold_timeout,
        "hold_until": optional(claim.hold_until),
        "reviews": {who: review_document(review) for who, review in claim.reviews.items()},
        "decided": _ruling_document(claim.decided),
        "ended": _ruling_document(claim.ended),
        "spent": claim.spent,
        "spent_by": claim.spent_by,
        "spent_job": claim.spent_job,
        **if_any(
            policy=claim.policy,
            facts=claim.facts,
            pool_policy=claim.pool_policy,
            judged_at=optional(claim.judged_at),
            opens_at=optional(claim.opens_at),
            valid_until=optional(claim.valid_until),
            event_at=optional(claim.event_at),
        ),
        "revision": claim.revision,
    }


def claim_from(document: Mapping[str, Any]) -> Claim:
    """The claim that `claim_document` described.

    Raises:
        CorruptRecordError: the document is not of that form.
    """
    return read_back(f"claim {document.get('id', '')}".strip(), document, _claim, claim_document)


def _claim(d: Mapping[str, Any]) -> Claim:
    return Claim(
        id=text(d, "id"),
        pool=text(d, "pool"),
        lock_name=text(d, "lockname"),
        build=Build(**{name: text(d["build"], name) for name in BUILD_FIELDS}),
        build_key=text(d, "build_key"),
        request=text(d, "request"),
        need_approval=flag(d, "need_approval"),
        description=text(d, "description"),
        payload=text(d, "payload"),
        attachments={
            name: Attachment(digest=text(file, "digest"), size=number(file, "size"), stored=flag(file, "stored"))
            for name, file in d["attachments"].items()
        },
        fence=number(d, "fence"),
        timestamp=parse_instant(d["timestamp"]),
        state=State(d["state"]),
        changed=parse_instant(d["changed"]),
        deadline=instant_or_none(d["deadline"]),
        hold_timeout=number(d, "hold_timeout", MAX_HOLD_SECONDS),
        hold_until=instant_or_none(d["hold_until"]),
        reviews={who: _review(review) for who, review in d["reviews"].items()},
        decided=_ruling(d["decided"]),
        ended=_ruling(d["ended"]),
        spent=text(d, "spent"),
        spent_by=text(d, "spent_by"),
        spent_job=text(d, "spent_job"),
        policy=text(d, "policy", ""),
        facts=text(d, "facts", ""),
        pool_policy=text(d, "pool_policy", ""),
        judged_at=instant_or_none(text(d, "judged_at", "")),
        opens_at=instant_or_none(text(d, "opens_at", "")),
        valid_until=instant_or_none(text(d, "valid_until", "")),
        event_at=instant_or_none(text(d, "event_at", "")),
        revision=number(d, "revision"),
    )


def _review(d: Mapping[str, Any]) -> Review:
    return Review(
        reviewer=text(d, "reviewer"),
        verdict=Verdict(d["verdict"]),
        comment=text(d, "comment"),
        at=parse_instant(d["at"]),
        represented_as=texts(d, "represented_as", ()),
        forced=flag(d, "forced", default=False),
        inputs={name: text(d["inputs"], name) for name in d.get("inputs", {})},
    )


def review_document(review: Review) -> Document:
    """One review, as stored with its claim and shown in a receipt."""
    return {
        "reviewer": review.reviewer,
        "verdict": review.verdict.value,
        "comment": review.comment,
        "at": instant(review.at),
        **if_any(represented_as=list(review.represented_as), forced=review.forced, inputs=dict(review.inputs)),
    }


def claim_digest(claim: Claim) -> str:
    """The digest by which an event pins the claim as it left it."""
    return digest(claim_document(claim))


def terms_digest(claim: Claim) -> str:
    """The digest by which a claim's first event pins what it asked for, and under which terms; nothing where it asked for nothing."""
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
    """Whether the claim still says what it said when it was made, by its first event. Older events told of no terms."""
    untold = not first.terms and not claim.policy and not claim.facts
    return first.claim_id == claim.id and (untold or first.terms == terms_digest(claim))


def _ruling_document(ruling: Transition | None) -> Document | None:
    if ruling is None:
        return None
    return {
        "state": ruling.state.value,
        "actor": ruling.actor,
        "reason": ruling.reason,
        "at": instant(ruling.at),
        "timestamp": instant(ruling.timestamp),
    }


def _ruling(document: Mapping[str, Any] | None) -> Transition | None:
    if document is None:
        return None
    return Transition(
        state=State(document["state"]),
        actor=text(document, "actor"),
        reason=text(document, "reason"),
        at=parse_instant(document["at"]),
        timestamp=parse_instant(document["timestamp"]),
    )
