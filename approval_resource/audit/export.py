"""Exports: everything stored of some pools as JSON lines, which can be verified without the table."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from itertools import islice
from typing import Any

from approval_resource.canonical import instant
from approval_resource.claims.lookup import read_content
from approval_resource.clock import Clock, HostClock
from approval_resource.documents.claims import CLAIM
from approval_resource.documents.events import EVENT, HEAD
from approval_resource.documents.locks import LOCK
from approval_resource.documents.settings import SETTINGS
from approval_resource.errors import CorruptRecordError, StoreUnavailableError
from approval_resource.model.claim import Claim
from approval_resource.model.event import Event, Head
from approval_resource.store.interface import RecordReads

BATCH = 100
"""Claims read in one batch."""
LANDED = 1.2
"""Seconds after which every item of a commit is visible."""


def line_of(document: dict[str, Any]) -> str:
    """Return the one line of a document in an export."""
    return json.dumps(document, sort_keys=True)


def content_of(content: bytes) -> dict[str, str]:
    """Return a content as an export holds it: as text where it is text, else in base64."""
    try:
        return {"text": content.decode()}
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(content).decode()}


def export(store: RecordReads, pools: Iterable[str], clock: Clock | None = None) -> Iterator[str]:
    """Yield the lines of an export: for each pool its records, its events, the oldest first, and its head.

    The last line has the digest of all lines before it. A pool without a log is left out, and an export of
    no pool has no line.

    Raises:
        CorruptRecordError: something was altered. The export stays without its last line.
        StoreUnavailableError: the pool's settings changed meanwhile.
    """
    clock = clock or HostClock()
    seal, told = hashlib.sha256(), []
    for pool in pools:
        for document in _documents(store, pool, clock):
            line = line_of(document)
            seal.update(f"{line}\n".encode())
            yield line
            if document.get("record") == "pool":
                told.append(pool)
    if told:
        yield line_of({"record": "end", "pools": told, "digest": seal.hexdigest()})


def _documents(store: RecordReads, pool: str, clock: Clock) -> Iterator[dict[str, Any]]:
    """Yield the records of one pool.

    The head comes first and again last. An audit needs both to tell which events landed during the export.
    Reads are not transactional, so a part is read only after every commit that an earlier part tells of
    has landed. In a pool in which nothing happens that takes no time.
    """
    head = store.head(pool)
    if head is None:
        return
    if head.timestamp is None or store.now() - head.timestamp < timedelta(seconds=LANDED):
        clock.sleep(LANDED)
    yield {"record": "pool", "pool": pool, "format": 1, "at": instant(store.now()), "head": HEAD.write(head)}
    settings = store.settings(pool)
    if settings.revision:
        yield {"record": "settings", "settings": SETTINGS.write(settings)}
    newer = settings.revision > head.settings
    for name in store.lock_names(pool):
        lock = store.lock(pool, name)
        if lock is not None:
            newer = newer or _after(head, lock.event_at)
            yield {"record": "lock", "lock": LOCK.write(lock)}
    ids = store.claim_ids(pool)
    while batch := list(islice(ids, BATCH)):
        for claim in store.claims(batch):
            newer = newer or _after(head, claim.event_at)
            yield {"record": "claim", "claim": CLAIM.write(claim)}
            yield from _contents(store, claim)
    if newer:
        clock.sleep(LANDED)
    last = store.head(pool) or head
    if last != head:
        clock.sleep(LANDED)
    yield from (EVENT.write(event) for event in _events(store, pool, last, clock))
    if store.settings(pool) != settings or last.settings > max(settings.revision, head.settings):
        raise StoreUnavailableError(f"the settings of pool {pool} changed while it was exported; export it again")
    yield {"record": "head", "head": HEAD.write(last)}


def _events(store: RecordReads, pool: str, last: Head, clock: Clock) -> Iterator[Event]:
    """Yield the events up to the head `last`, and those after it that no newer head accounts for."""
    events = store.events(pool)
    for event in events:
        if _after(last, event.timestamp):
            clock.sleep(LANDED)
            if not _after(store.head(pool) or last, event.timestamp):
                return
            # No head tells of it: it was planted, or the head was put back. A verification has to find it.
            yield event
            yield from events
            return
        yield event


def _after(head: Head, at: datetime | None) -> bool:
    """Whether that place in the log is after the head's."""
    return at is not None and (head.timestamp is None or at > head.timestamp)


def _contents(store: RecordReads, claim: Claim) -> Iterator[dict[str, Any]]:
    for name, digest in claim.contents.items():
        try:
            content = read_content(store, claim, name, digest)
        except CorruptRecordError:
            # TTL removes each content by itself. The verification judges whether these may be gone.
            if claim.ended is None:
                raise
        else:
            yield {"record": "content", "claim": claim.id, "name": name} | content_of(content)
