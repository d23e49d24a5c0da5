"""Model to plain document and back: the form in which things are digested and stored."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from approval_resource.canonical import digest, instant, parse_instant
from approval_resource.fields import flag, instant_or_none, number, optional, read_back, text
from approval_resource.model import (
    Attachment,
    Build,
    BuildRecord,
    Claim,
    Event,
    Head,
    Kind,
    Lock,
    Place,
    Review,
    Ruling,
    State,
    Verdict,
    Waiter,
)

Document = dict[str, Any]

BUILD_FIELDS = ("url", "team", "pipeline", "instance_vars", "job", "id", "name", "created_by")
MAX_HOLD_SECONDS = 366 * 86_400
WAITER_FIELDS = ("key", "ticket", "priority", "build", "link", "pace")


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
        **_if_any(
            policy=claim.policy,
            facts=claim.facts,
            pool_policy=claim.pool_policy,
            judged_at=optional(claim.judged_at),
            opens_at=optional(claim.opens_at),
            valid_until=optional(claim.valid_until),
        ),
        "revision": claim.revision,
    }


def _if_any(**fields: Any) -> Document:
    """Those that say anything: a claim without policies is stored as it always was."""
    return {name: value for name, value in fields.items() if value}


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
        revision=number(d, "revision"),
    )


def _review(d: Mapping[str, Any]) -> Review:
    return Review(
        reviewer=text(d, "reviewer"),
        verdict=Verdict(d["verdict"]),
        comment=text(d, "comment"),
        at=parse_instant(d["at"]),
        represented_as=tuple(d.get("represented_as", ())),
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
        **_if_any(represented_as=list(review.represented_as), forced=review.forced, inputs=dict(review.inputs)),
    }


def event_document(event: Event) -> Document:
    """The event as digested: all of it but the digest itself."""
    return {
        "pool": event.pool,
        "timestamp": instant(event.timestamp),
        "revision": event.revision,
        "kind": event.kind.value,
        "id": event.claim_id,
        "lock_name": event.lock_name,
        "lock_event_number": event.lock_event_number,
        "state": event.state.value if event.state else "",
        "actor": event.actor,
        "build": event.build,
        "reason": event.reason,
        "verdict": event.verdict,
        "forced": event.forced,
        "at": instant(event.at),
        "operation": event.operation,
        "claim": event.claim,
        "previous": event.previous,
        "previous_timestamp": optional(event.previous_timestamp),
        **_if_any(terms=event.terms),
    }


def sealed_document(event: Event) -> Document:
    """The event as stored, exported and put into receipts: with its digest."""
    return event_document(event) | {"digest": event.digest}


def event_from(document: Mapping[str, Any]) -> Event:
    """The event that `sealed_document` described.

    Raises:
        CorruptRecordError: the document is not of that form.
    """
    return read_back(f"event {document.get('timestamp', '')}".strip(), document, _event, sealed_document)


def _event(d: Mapping[str, Any]) -> Event:
    return Event(
        pool=text(d, "pool"),
        timestamp=parse_instant(d["timestamp"]),
        revision=number(d, "revision"),
        kind=Kind(d["kind"]),
        claim_id=text(d, "id"),
        lock_name=text(d, "lock_name"),
        lock_event_number=number(d, "lock_event_number"),
        state=State(d["state"]) if d["state"] else None,
        actor=text(d, "actor"),
        build=text(d, "build"),
        reason=text(d, "reason"),
        verdict=text(d, "verdict"),
        forced=flag(d, "forced"),
        at=parse_instant(d["at"]),
        operation=text(d, "operation"),
        claim=text(d, "claim"),
        previous=text(d, "previous"),
        previous_timestamp=instant_or_none(d["previous_timestamp"]),
        terms=text(d, "terms", ""),
        digest=text(d, "digest"),
    )


def event_digest(event: Event) -> str:
    """What the event's digest must be, computed from everything else it holds."""
    return digest(event_document(event))


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


def head_document(head: Head) -> Document:
    """A pool's head as stored."""
    return {
        "pool": head.pool,
        "revision": head.revision,
        "timestamp": optional(head.timestamp),
        "digest": head.digest,
        "newest": _newest_document(head.newest),
        **_if_any(settings=head.settings),
    }


def head_from(document: Mapping[str, Any]) -> Head:
    """The head that `head_document` described.

    Raises:
        CorruptRecordError: the document is not of that form.
    """
    return read_back(f"the head of pool {document.get('pool', '')}".strip(), document, _head, head_document)


def _head(d: Mapping[str, Any]) -> Head:
    return Head(
        pool=text(d, "pool"),
        revision=number(d, "revision"),
        timestamp=instant_or_none(d["timestamp"]),
        digest=text(d, "digest"),
        newest=_newest(d["newest"]),
        settings=number(d, "settings") if "settings" in d else 0,
    )


def lock_document(lock: Lock) -> Document:
    """A lock as stored."""
    return {
        "pool": lock.pool,
        "lockname": lock.name,
        "holder": lock.holder,
        "fence": lock.fence,
        "events": lock.events,
        "jobs": list(lock.jobs),
        "newest": _newest_document(lock.newest),
        "queue": queue_document(lock),
        "tickets": lock.tickets,
        "revision": lock.revision,
    }


def lock_from(document: Mapping[str, Any]) -> Lock:
    """The lock that `lock_document` described.

    Raises:
        CorruptRecordError: the document is not of that form.
    """
    return read_back(f"lock {document.get('lockname', '')}".strip(), document, _lock, lock_document)


def _lock(d: Mapping[str, Any]) -> Lock:
    return Lock(
        pool=text(d, "pool"),
        name=text(d, "lockname"),
        holder=text(d, "holder"),
        fence=number(d, "fence"),
        events=number(d, "events"),
        jobs=tuple(d["jobs"]),
        newest=_newest(d["newest"]),
        queue=tuple(_waiter(waiter) for waiter in d["queue"]),
        tickets=number(d, "tickets"),
        revision=number(d, "revision"),
    )


def queue_document(lock: Lock) -> list[Document]:
    """A lock's queue as stored, the front first."""
    return [{name: getattr(waiter, name) for name in WAITER_FIELDS} | {"since": instant(waiter.since)} for waiter in lock.queue]


def _waiter(d: Mapping[str, Any]) -> Waiter:
    return Waiter(
        key=text(d, "key"),
        ticket=number(d, "ticket"),
        priority=number(d, "priority"),
        build=text(d, "build"),
        link=text(d, "link"),
        since=parse_instant(d["since"]),
        pace=number(d, "pace"),
    )


def build_document(record: BuildRecord) -> Document:
    """What is stored of one build and one lock."""
    return {
        "key": record.key,
        "pool": record.pool,
        "lockname": record.lock_name,
        "made": record.made,
        "passed": record.passed,
        "revision": record.revision,
    }


def build_from(document: Mapping[str, Any]) -> BuildRecord:
    """The record that `build_document` described.

    Raises:
        CorruptRecordError: the document is not of that form.
    """
    return read_back("a build's record", document, _build, build_document)


def _build(d: Mapping[str, Any]) -> BuildRecord:
    return BuildRecord(
        key=text(d, "key"),
        pool=text(d, "pool"),
        lock_name=text(d, "lockname"),
        made=text(d, "made"),
        passed=text(d, "passed"),
        revision=number(d, "revision"),
    )


def _ruling_document(ruling: Ruling | None) -> Document | None:
    if ruling is None:
        return None
    return {
        "state": ruling.state.value,
        "actor": ruling.actor,
        "reason": ruling.reason,
        "at": instant(ruling.at),
        "timestamp": instant(ruling.timestamp),
    }


def _ruling(document: Mapping[str, Any] | None) -> Ruling | None:
    if document is None:
        return None
    return Ruling(
        state=State(document["state"]),
        actor=text(document, "actor"),
        reason=text(document, "reason"),
        at=parse_instant(document["at"]),
        timestamp=parse_instant(document["timestamp"]),
    )


def _newest_document(newest: Mapping[State, Place]) -> Document:
    return {
        state.value: {"timestamp": instant(place.timestamp), "id": place.claim_id, "lockname": place.lock_name}
        for state, place in newest.items()
    }


def _newest(document: Mapping[str, Any]) -> dict[State, Place]:
    return {
        State(state): Place(
            timestamp=parse_instant(place["timestamp"]), claim_id=text(place, "id"), lock_name=text(place, "lockname")
        )
        for state, place in document.items()
    }
