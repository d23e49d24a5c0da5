"""Items of the table: each noun with its keys, index attributes and typed values."""

from __future__ import annotations

import math
from datetime import datetime, timedelta

from approval_resource.canonical import instant
from approval_resource.documents.claims import CLAIM
from approval_resource.documents.events import EVENT, HEAD
from approval_resource.documents.locks import BUILD_RECORD, LOCK
from approval_resource.documents.settings import SETTINGS
from approval_resource.model.claim import Claim
from approval_resource.model.event import Event, Head, Kind
from approval_resource.model.lock import BuildRecord, Lock
from approval_resource.model.settings import Settings
from approval_resource.store.dynamodb.keys import (
    build_key,
    claim_key,
    content_key,
    event_key,
    head_key,
    link_key,
    lock_event,
    lock_key,
    session_key,
    settings_key,
    signed_key,
)
from approval_resource.store.dynamodb.values import Item, values

LINK_LIFE = timedelta(days=30)
"""Period that the mark of a used link is kept; links live for seven days at most."""
SESSION_LIFE = timedelta(days=30)
"""Period that the mark of an ended session is kept; sessions live for a day at most."""
BUILD_DAYS = 400
"""Lower bound of the days that a build's record is kept, whatever the pool's retention.

The build may still be running.
"""


def head_item(head: Head) -> Item:
    """Return the item of a pool's head."""
    return head_key(head.pool) | values(HEAD.write(head))


def lock_item(lock: Lock) -> Item:
    """Return the item of a lock."""
    return lock_key(lock.pool, lock.name) | values(LOCK.write(lock))


def settings_item(settings: Settings) -> Item:
    """Return the item of a pool's settings."""
    return settings_key(settings.pool) | values(SETTINGS.write(settings))


def claim_item(claim: Claim, keep: timedelta | None = None) -> Item:
    """Return the item of a claim.

    It has the sparse index's hash key while the claim holds its lock, and a TTL once the claim has ended.
    """
    item = claim_key(claim.id) | values(CLAIM.write(claim))
    if claim.claimed:
        return item | {"open_pool": {"S": claim.pool}}
    return item | time_to_live(claim.ended.at, keep) if claim.ended else item


def event_item(event: Event, keep: timedelta | None = None) -> Item:
    """Return the item of an event, with its TTL.

    An event of settings has no TTL, because it says how long the others were to be kept.
    """
    item = event_key(event.pool, event.timestamp) | values(EVENT.write(event))
    life = time_to_live(event.at, keep) if event.kind is not Kind.SETTINGS else {}
    return item | {"lock_event": {"S": lock_event(event.lock_name, event.timestamp)}} | life


def time_to_live(since: datetime, keep: timedelta | None = None) -> Item:
    """Return the TTL attribute: DynamoDB removes the item some time after `since` plus `keep`.

    Without `keep` there is no TTL, and the item is kept for ever.
    """
    return {} if keep is None else {"ttl": {"N": str(math.ceil((since + keep).timestamp()))}}


def build_item(record: BuildRecord, now: datetime, keep: timedelta | None = None) -> Item:
    """Return the item of a build's record, with its TTL."""
    item = build_key(record.key, record.pool, record.lock_name) | values(BUILD_RECORD.write(record))
    return item | time_to_live(now, keep and max(keep, timedelta(days=BUILD_DAYS)))


def link_item(link: str, now: datetime) -> Item:
    """Return the item that marks a link as used. It outlives every link."""
    return link_key(link) | time_to_live(now, LINK_LIFE)


def session_item(session: str, ended: datetime) -> Item:
    """Return the item that marks a session as ended. It outlives every session."""
    return session_key(session) | values({"at": instant(ended)}) | time_to_live(ended, SESSION_LIFE)


def signed_item(subject: str, text: str, now: datetime, life: timedelta) -> Item:
    """Return the item of a text that the reviewers' service signed."""
    return signed_key(subject) | values({"text": text}) | time_to_live(now, life)


def content_item(claim_id: str, name: str, content: bytes) -> Item:
    """Return the item of a content beside a claim."""
    return content_key(claim_id, name) | values({"content": content})
