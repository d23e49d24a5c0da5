"""Settings of a pool, as stored and digested, and back."""

from __future__ import annotations

import hashlib

from approval_resource.canonical import digest
from approval_resource.documents.codec import INSTANT, NUMBER, TEXT, WHEN, Codec, Derived, each, field, optional, within
from approval_resource.model.settings import MAX_RETENTION_DAYS, Freeze, Retention, Settings

RETENTION = Codec(
    Retention,
    lambda document: "a retention",
    field("since", INSTANT),
    field("days", within(MAX_RETENTION_DAYS)),
    field("revision", NUMBER),
    field("before", WHEN),
)
FREEZE = Codec(
    Freeze,
    lambda document: "a freeze",
    field("since", INSTANT),
    field("until", WHEN),
    field("reason", TEXT),
    field("actor", TEXT),
    field("passes", each(TEXT), sparse=True),
)
SETTINGS = Codec(
    Settings,
    lambda document: f"the settings of pool {document.get('pool', '')}",
    field("pool", TEXT),
    Derived("retention_days", lambda settings: settings.retention_days),
    field("retentions", each(RETENTION.form)),
    field("policy", TEXT, sparse=True),
    field("freeze", optional(FREEZE.form, None), sparse=True),
    field("revision", NUMBER),
)


def settings_digest(settings: Settings) -> str:
    """Return the digest by which an event pins the settings as they are after the event."""
    return digest(SETTINGS.write(settings))


def policy_digest(policy: str) -> str:
    """Return the SHA-256, in hex, of a pool's policy as stored, or an empty string for none."""
    return hashlib.sha256(policy.encode()).hexdigest() if policy else ""
