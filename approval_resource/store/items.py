"""How documents become DynamoDB items: keys, index attributes and typed values."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import quote, unquote

from approval_resource.canonical import instant
from approval_resource.errors import ConfigError
from approval_resource.model import BuildRecord, Claim, Event, Head, Kind, Lock
from approval_resource.records import build_document, claim_document, head_document, lock_document, sealed_document
from approval_resource.settings import Settings, settings_document

Item = dict[str, Any]

OPEN_INDEX = "open"
LOCK_INDEX = "by_lock"
MAX_SORT_KEY = 1024
"""Bytes; DynamoDB's own limit."""
MAX_PARTITION_KEY = 2048
BUILD_DAYS = 400
"""What a build made is kept for that long at least, whatever the pool's retention: the build may still be running."""
HEAD_SORT_KEY = "head"
CLAIM_SORT_KEY = "claim"
EVENT_PREFIX = "event#"
POOL_PREFIX = "pool#"
LOCK_PREFIX = "lock#"

INTEGER = re.compile("-?[0-9]+")


def key(pk: str, sk: str) -> Item:
    """A primary key.

    Raises:
        ConfigError: the names in it are too long for DynamoDB.
    """
    if len(sk) > MAX_SORT_KEY or len(pk) > MAX_PARTITION_KEY:
        raise ConfigError(
            [
                "the names of pool and lock are too long: with everything but letters, digits and _.-~ written as "
                f"three characters a byte they may fill {MAX_SORT_KEY} characters, together with what surrounds them"
            ]
        )
    return {"pk": {"S": pk}, "sk": {"S": sk}}


def name(text: str) -> str:
    """A name as it stands inside a key: percent-encoded, so that no name can look like two."""
    return quote(text, safe="")


def head_key(pool: str) -> Item:
    return key(f"{POOL_PREFIX}{name(pool)}", HEAD_SORT_KEY)


def lock_key(pool: str, lock_name: str) -> Item:
    return key(f"{POOL_PREFIX}{name(pool)}", f"{LOCK_PREFIX}{name(lock_name)}")


def settings_key(pool: str) -> Item:
    """A partition of its own, so that IAM can keep pipelines from writing there."""
    return key(f"policy#{name(pool)}", "policy")


def pool_of(item: Mapping[str, Any]) -> str:
    """The name of the pool that an item lies in, by its key."""
    return unquote(str(item["pk"]["S"]).removeprefix(POOL_PREFIX))


def lock_name_of(item: Mapping[str, Any]) -> str:
    """The name of the lock that an item is, by its key."""
    return unquote(str(item["sk"]["S"]).removeprefix(LOCK_PREFIX))


def event_key(pool: str, timestamp: datetime) -> Item:
    return key(f"{POOL_PREFIX}{name(pool)}", f"{EVENT_PREFIX}{instant(timestamp)}")


def claim_key(claim_id: str) -> Item:
    return key(f"claim#{name(claim_id)}", CLAIM_SORT_KEY)


def part_key(claim_id: str, part: str) -> Item:
    return key(f"claim#{name(claim_id)}", f"part#{name(part)}")


def build_key(build: str, pool: str, lock_name: str) -> Item:
    return key(f"build#{name(build)}", f"pool#{name(pool)}#lock#{name(lock_name)}")


def lock_event(lock_name: str, timestamp: datetime | None) -> str:
    """The sort key of the index over one lock's events; without a timestamp, what all of them begin with.

    Raises:
        ConfigError: the lock's name is too long for it.
    """
    text = f"{name(lock_name)}#{instant(timestamp) if timestamp else ''}"
    return str(key("", text)["sk"]["S"])


def head_item(head: Head) -> Item:
    return head_key(head.pool) | values(head_document(head))


def lock_item(lock: Lock) -> Item:
    return lock_key(lock.pool, lock.name) | values(lock_document(lock))


def settings_item(settings: Settings) -> Item:
    return settings_key(settings.pool) | values(settings_document(settings))


def claim_item(claim: Claim, keep: timedelta | None = None) -> Item:
    """The claim: with the sparse index's hash key while it holds its lock, and with its end of life once it has ended."""
    item = claim_key(claim.id) | values(claim_document(claim))
    if claim.claimed:
        return item | {"open_pool": {"S": claim.pool}}
    return item | time_to_live(claim.ended.at, keep) if claim.ended else item


def event_item(event: Event, keep: timedelta | None = None) -> Item:
    """The event, with its end of life. One of settings has none: it says for how long the others were to be kept."""
    item = event_key(event.pool, event.timestamp) | values(sealed_document(event))
    life = time_to_live(event.at, keep) if event.kind is not Kind.SETTINGS else {}
    return item | {"lock_event": {"S": lock_event(event.lock_name, event.timestamp)}} | life


def time_to_live(since: datetime, keep: timedelta | None = None) -> Item:
    """The attribute by which DynamoDB removes an item some time after that many days; nothing when it is kept for ever."""
    return {} if keep is None else {"ttl": {"N": str(math.ceil((since + keep).timestamp()))}}


def event_in_place(item: Mapping[str, Any], document: Mapping[str, Any]) -> bool:
    """Whether a stored event's keys are those that its content leads to."""
    keys = {"sk": f"{EVENT_PREFIX}{document.get('timestamp')}"}
    keys["lock_event"] = f"{name(str(document.get('lock_name')))}#{document.get('timestamp')}"
    return all(item.get(attribute) == {"S": value} for attribute, value in keys.items())


def build_item(record: BuildRecord, now: datetime, keep: timedelta | None = None) -> Item:
    item = build_key(record.key, record.pool, record.lock_name) | values(build_document(record))
    return item | time_to_live(now, keep and max(keep, timedelta(days=BUILD_DAYS)))


def part_item(claim_id: str, part: str, content: bytes) -> Item:
    return part_key(claim_id, part) | values({"content": content})


def values(document: Mapping[str, object]) -> Item:
    """The document's values as DynamoDB types them."""
    return {name: _typed(value) for name, value in document.items()}


def document(item: Mapping[str, Any]) -> dict[str, Any]:
    """The document that an item holds, its keys and index attributes aside, numbers as int."""
    return {
        attribute: _plain(value)
        for attribute, value in item.items()
        if attribute not in ("pk", "sk", "open_pool", "lock_event", "ttl")
    }


def _typed(value: object) -> Item:
    match value:
        case None:
            return {"NULL": True}
        case bool():
            return {"BOOL": value}
        case int():
            return {"N": str(value)}
        case str():
            return {"S": value}
        case bytes():
            return {"B": value}
        case list() | tuple():
            return {"L": [_typed(inner) for inner in value]}
        case Mapping():
            return {"M": {name: _typed(inner) for name, inner in value.items()}}
        case _:
            raise TypeError(f"nothing that is stored is a {type(value).__name__}")


def _plain(typed: Mapping[str, Any]) -> object:
    """The value; where it is of a type that nothing here is stored as, one that equals nothing that was."""
    match next(iter(typed.items())):
        case "NULL", _:
            return None
        case "N", text:
            return int(text) if INTEGER.fullmatch(text) else math.nan
        case "M", inner:
            return {name: _plain(value) for name, value in inner.items()}
        case "L", inner:
            return [_plain(value) for value in inner]
        case (("S" | "B" | "BOOL"), value):
            return value
        case _:
            return math.nan
