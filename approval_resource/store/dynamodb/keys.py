"""Keys of the table: the key of each item, and the names that can be read from a key."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from urllib.parse import quote, unquote

from approval_resource.canonical import instant
from approval_resource.errors import ConfigError
from approval_resource.store.dynamodb.values import Item

OPEN_INDEX = "open"
LOCK_INDEX = "by_lock"
MAX_SORT_KEY = 1024
"""Upper bound of a sort key in bytes, set by DynamoDB."""
MAX_PARTITION_KEY = 2048
"""Upper bound of a partition key in bytes, set by DynamoDB."""
HEAD_SORT_KEY = "head"
CLAIM_SORT_KEY = "claim"
EVENT_PREFIX = "event#"
POOL_PREFIX = "pool#"
LOCK_PREFIX = "lock#"
REVOKED = "revoked"
"""Partition key of the sessions that were ended."""


def key(pk: str, sk: str) -> Item:
    """Return a primary key.

    Raises:
        ConfigError: its names are too long for DynamoDB.
    """
    if len(sk) > MAX_SORT_KEY or len(pk) > MAX_PARTITION_KEY:
        raise ConfigError(
            [
                f"the names of pool and lock are too long: a key holds {MAX_SORT_KEY} characters, and each byte of a name other "
                "than an ASCII letter, a digit or _.-~ takes three of them; give shorter names"
            ]
        )
    return {"pk": {"S": pk}, "sk": {"S": sk}}


def name(text: str) -> str:
    """Return a name as it stands inside a key: percent-encoded, so that no name can look like two."""
    return quote(text, safe="")


def head_key(pool: str) -> Item:
    """Return the key of a pool's head."""
    return key(f"{POOL_PREFIX}{name(pool)}", HEAD_SORT_KEY)


def lock_key(pool: str, lock_name: str) -> Item:
    """Return the key of a lock."""
    return key(f"{POOL_PREFIX}{name(pool)}", f"{LOCK_PREFIX}{name(lock_name)}")


def turn_key(pool: str, lock_name: str) -> Item:
    """Return the key of a lock's turn. Its own partition keeps polls away from the pool's log."""
    return key(f"turn#{name(pool)}", f"turn#{name(lock_name)}")


def settings_key(pool: str) -> Item:
    """Return the key of a pool's settings. Their own partition lets IAM keep pipelines from writing there."""
    return key(f"policy#{name(pool)}", "policy")


def pool_of(item: Mapping[str, Any]) -> str:
    """Return the name of the pool in whose partition an item lies."""
    return unquote(str(item["pk"]["S"]).removeprefix(POOL_PREFIX))


def lock_name_of(item: Mapping[str, Any]) -> str:
    """Return the name of a lock, by the key of its item."""
    return unquote(str(item["sk"]["S"]).removeprefix(LOCK_PREFIX))


def event_key(pool: str, timestamp: datetime) -> Item:
    """Return the key of the event at that place in a pool's log."""
    return key(f"{POOL_PREFIX}{name(pool)}", f"{EVENT_PREFIX}{instant(timestamp)}")


def claim_key(claim_id: str) -> Item:
    """Return the key of a claim."""
    return key(f"claim#{name(claim_id)}", CLAIM_SORT_KEY)


def content_key(claim_id: str, content: str) -> Item:
    """Return the key of a content beside a claim."""
    return key(f"claim#{name(claim_id)}", f"part#{name(content)}")


def build_key(build: str, pool: str, lock_name: str) -> Item:
    """Return the key of a build's record on a lock."""
    return key(f"build#{name(build)}", f"pool#{name(pool)}#lock#{name(lock_name)}")


def link_key(link: str) -> Item:
    """Return the key of the mark that a link was used. A forged mark can only disable a link."""
    return key(f"link#{name(link)}", "spent")


def session_key(session: str) -> Item:
    """Return the key of the mark that a session of the reviewers' service was ended."""
    return key(REVOKED, name(session))


def signed_key(subject: str) -> Item:
    """Return the key of a text that the reviewers' service signed. The signature exposes a planted text."""
    return key(f"signed#{name(subject)}", "text")


def progress_key(channel: str) -> Item:
    """Return the key of a channel's progress. Its own partition lets IAM keep others from writing there."""
    return key(f"notify#{name(channel)}", "progress")


def delivery_key(channel: str, claim_id: str) -> Item:
    """Return the key of the record of what a channel was told about a claim."""
    return key(f"notify#{name(channel)}", f"delivery#{name(claim_id)}")


def lock_event(lock_name: str, timestamp: datetime | None) -> str:
    """Return the sort key of the index over a lock's events. Without a timestamp, return their common prefix.

    Raises:
        ConfigError: the lock's name is too long for it.
    """
    text = f"{name(lock_name)}#{instant(timestamp) if timestamp else ''}"
    return str(key("", text)["sk"]["S"])


def event_in_place(item: Mapping[str, Any], document: Mapping[str, Any]) -> bool:
    """Whether a stored event's sort keys follow from its content."""
    keys = {"sk": f"{EVENT_PREFIX}{document.get('timestamp')}"}
    keys["lock_event"] = f"{name(str(document.get('lock_name')))}#{document.get('timestamp')}"
    return all(item.get(attribute) == {"S": value} for attribute, value in keys.items())
