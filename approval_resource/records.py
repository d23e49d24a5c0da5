"""Model to plain document and back: the form in which things are digested and stored."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, TypeVar

from approval_resource.canonical import digest, instant, parse_instant
from approval_resource.errors import CorruptRecordError
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
    Retention,
    Review,
    Ruling,
    Settings,
    State,
    Verdict,
    Waiter,
)

Document = dict[str, Any]
T = TypeVar("T")

BUILD_FIELDS = ("url", "team", "pipeline", "instance_vars", "job", "id", "name", "created_by")
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
        "deadline": _optional(claim.deadline),
        "hold_timeout": claim.hold_timeout,
        "hold_until": _optional(claim.hold_until),
        "reviews": {who: review_document(review) for who, review in claim.reviews.items()},
        "decided": _ruling_document(claim.decided),
        "ended": _ruling_document(claim.ended),
        "spent": claim.spent,
        "spent_by": claim.spent_by,
        "spent_job": claim.spent_job,
        "revision": claim.revision,
    }


def claim_from(document: Mapping[str, Any]) -> Claim:
    """The claim that `claim_document` described.

    Raises:
        CorruptRecordError: the document is not of that form.
    """
    return _read(f"claim {document.get('id', '')}".strip(), document, _claim, claim_document)


def _claim(d: Mapping[str, Any]) -> Claim:
    return Claim(
        id=_text(d, "id"),
        pool=_text(d, "pool"),
        lock_name=_text(d, "lockname"),
        build=Build(**{name: _text(d["build"], name) for name in BUILD_FIELDS}),
        build_key=_text(d, "build_key"),
        request=_text(d, "request"),
        need_approval=_flag(d, "need_approval"),
        description=_text(d, "description"),
        payload=_text(d, "payload"),
        attachments={
            name: Attachment(digest=_text(file, "digest"), size=_number(file, "size"), stored=_flag(file, "stored"))
            for name, file in d["attachments"].items()
        },
        fence=_number(d, "fence"),
        timestamp=parse_instant(d["timestamp"]),
        state=State(d["state"]),
        changed=parse_instant(d["changed"]),
        deadline=_instant_or_none(d["deadline"]),
        hold_timeout=_number(d, "hold_timeout"),
        hold_until=_instant_or_none(d["hold_until"]),
        reviews={
            who: Review(
                reviewer=_text(review, "reviewer"),
                verdict=Verdict(review["verdict"]),
                comment=_text(review, "comment"),
                at=parse_instant(review["at"]),
            )
            for who, review in d["reviews"].items()
        },
        decided=_ruling(d["decided"]),
        ended=_ruling(d["ended"]),
        spent=_text(d, "spent"),
        spent_by=_text(d, "spent_by"),
        spent_job=_text(d, "spent_job"),
        revision=_number(d, "revision"),
    )


def review_document(review: Review) -> Document:
    """One review, as stored with its claim and shown in a receipt."""
    return {
        "reviewer": review.reviewer,
        "verdict": review.verdict.value,
        "comment": review.comment,
        "at": instant(review.at),
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
        "previous_timestamp": _optional(event.previous_timestamp),
    }


def sealed_document(event: Event) -> Document:
    """The event as stored, exported and put into receipts: with its digest."""
    return event_document(event) | {"digest": event.digest}


def event_from(document: Mapping[str, Any]) -> Event:
    """The event that `sealed_document` described.

    Raises:
        CorruptRecordError: the document is not of that form.
    """
    return _read(f"event {document.get('timestamp', '')}".strip(), document, _event, sealed_document)


def _event(d: Mapping[str, Any]) -> Event:
    return Event(
        pool=_text(d, "pool"),
        timestamp=parse_instant(d["timestamp"]),
        revision=_number(d, "revision"),
        kind=Kind(d["kind"]),
        claim_id=_text(d, "id"),
        lock_name=_text(d, "lock_name"),
        lock_event_number=_number(d, "lock_event_number"),
        state=State(d["state"]) if d["state"] else None,
        actor=_text(d, "actor"),
        build=_text(d, "build"),
        reason=_text(d, "reason"),
        verdict=_text(d, "verdict"),
        forced=_flag(d, "forced"),
        at=parse_instant(d["at"]),
        operation=_text(d, "operation"),
        claim=_text(d, "claim"),
        previous=_text(d, "previous"),
        previous_timestamp=_instant_or_none(d["previous_timestamp"]),
        digest=_text(d, "digest"),
    )


def event_digest(event: Event) -> str:
    """What the event's digest must be, computed from everything else it holds."""
    return digest(event_document(event))


def claim_digest(claim: Claim) -> str:
    """The digest by which an event pins the claim as it left it."""
    return digest(claim_document(claim))


def head_document(head: Head) -> Document:
    """A pool's head as stored."""
    return {
        "pool": head.pool,
        "revision": head.revision,
        "timestamp": _optional(head.timestamp),
        "digest": head.digest,
        "newest": _newest_document(head.newest),
    }


def head_from(document: Mapping[str, Any]) -> Head:
    """The head that `head_document` described.

    Raises:
        CorruptRecordError: the document is not of that form.
    """
    return _read(f"the head of pool {document.get('pool', '')}".strip(), document, _head, head_document)


def _head(d: Mapping[str, Any]) -> Head:
    return Head(
        pool=_text(d, "pool"),
        revision=_number(d, "revision"),
        timestamp=_instant_or_none(d["timestamp"]),
        digest=_text(d, "digest"),
        newest=_newest(d["newest"]),
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
    return _read(f"lock {document.get('lockname', '')}".strip(), document, _lock, lock_document)


def _lock(d: Mapping[str, Any]) -> Lock:
    return Lock(
        pool=_text(d, "pool"),
        name=_text(d, "lockname"),
        holder=_text(d, "holder"),
        fence=_number(d, "fence"),
        events=_number(d, "events"),
        jobs=tuple(d["jobs"]),
        newest=_newest(d["newest"]),
        queue=tuple(_waiter(waiter) for waiter in d["queue"]),
        tickets=_number(d, "tickets"),
        revision=_number(d, "revision"),
    )


def queue_document(lock: Lock) -> list[Document]:
    """A lock's queue as stored, the front first."""
    return [{name: getattr(waiter, name) for name in WAITER_FIELDS} | {"since": instant(waiter.since)} for waiter in lock.queue]


def _waiter(d: Mapping[str, Any]) -> Waiter:
    return Waiter(
        key=_text(d, "key"),
        ticket=_number(d, "ticket"),
        priority=_number(d, "priority"),
        build=_text(d, "build"),
        link=_text(d, "link"),
        since=parse_instant(d["since"]),
        pace=_number(d, "pace"),
    )


def settings_document(settings: Settings) -> Document:
    """A pool's settings as stored and digested."""
    return {
        "pool": settings.pool,
        "retention_days": settings.retention_days,
        "retentions": [
            {"since": instant(kept.since), "days": kept.days, "revision": kept.revision, "before": _optional(kept.before)}
            for kept in settings.retentions
        ],
        "revision": settings.revision,
    }


def settings_from(document: Mapping[str, Any]) -> Settings:
    """The settings that `settings_document` described.

    Raises:
        CorruptRecordError: the document is not of that form.
    """
    return _read(f"the settings of pool {document.get('pool', '')}".strip(), document, _settings, settings_document)


def _settings(d: Mapping[str, Any]) -> Settings:
    return Settings(
        pool=_text(d, "pool"),
        retentions=tuple(
            Retention(
                since=parse_instant(kept["since"]),
                days=_number(kept, "days"),
                revision=_number(kept, "revision"),
                before=_instant_or_none(kept["before"]),
            )
            for kept in d["retentions"]
        ),
        revision=_number(d, "revision"),
    )


def settings_digest(settings: Settings) -> str:
    """The digest by which an event pins the settings as it left them."""
    return digest(settings_document(settings))


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
    return _read("a build's record", document, _build, build_document)


def _build(d: Mapping[str, Any]) -> BuildRecord:
    return BuildRecord(
        key=_text(d, "key"),
        pool=_text(d, "pool"),
        lock_name=_text(d, "lockname"),
        made=_text(d, "made"),
        passed=_text(d, "passed"),
        revision=_number(d, "revision"),
    )


def _read(what: str, document: Mapping[str, Any], read: Callable[[Mapping[str, Any]], T], render: Callable[[T], Document]) -> T:
    """What the document describes, if it says so in just the form that `render` writes, and nothing else."""
    try:
        found = read(document)
        same = render(found) == document
    except KeyError as missing:
        raise CorruptRecordError(what, f"it lacks {missing}") from missing
    except (AttributeError, TypeError, ValueError, OverflowError) as problem:
        raise CorruptRecordError(what, str(problem)) from problem
    if not same:
        raise CorruptRecordError(what, "it has parts that contradict each other, or that nobody knows")
    return found


def _text(document: Mapping[str, Any], name: str) -> str:
    value = document[name]
    if not isinstance(value, str):
        raise TypeError(f"its {name} is no text")
    return value


def _number(document: Mapping[str, Any], name: str) -> int:
    value = document[name]
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"its {name} is no whole number")
    return value


def _flag(document: Mapping[str, Any], name: str) -> bool:
    value = document[name]
    if not isinstance(value, bool):
        raise TypeError(f"its {name} is neither true nor false")
    return value


def _optional(at: datetime | None) -> str:
    return instant(at) if at else ""


def _instant_or_none(text: str) -> datetime | None:
    return parse_instant(text) if text else None


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
        actor=_text(document, "actor"),
        reason=_text(document, "reason"),
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
            timestamp=parse_instant(place["timestamp"]), claim_id=_text(place, "id"), lock_name=_text(place, "lockname")
        )
        for state, place in document.items()
    }
