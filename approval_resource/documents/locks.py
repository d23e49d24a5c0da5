"""Locks with their queues, and records of builds, as stored, and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from approval_resource.canonical import instant, parse_instant
from approval_resource.documents.events import newest_document, newest_from
from approval_resource.documents.fields import number, read_back, text, texts
from approval_resource.model.lock import BuildRecord, Document, Lock, Waiter

WAITER_FIELDS = ("key", "ticket", "priority", "build", "link", "pace")


def lock_document(lock: Lock) -> Document:
    """A lock as stored."""
    return {
        "pool": lock.pool,
        "lockname": lock.name,
        "holder": lock.holder,
        "fence": lock.fence,
        "events": lock.events,
        "jobs": list(lock.jobs),
        "newest": newest_document(lock.newest),
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
        jobs=texts(d, "jobs"),
        newest=newest_from(d["newest"]),
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
