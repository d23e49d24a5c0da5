"""Settings of a pool as stored and digested, and back."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from approval_resource.canonical import digest, instant, parse_instant
from approval_resource.documents.fields import instant_or_none, number, optional, read_back, text
from approval_resource.model.settings import MAX_RETENTION_DAYS, Retention, Settings


def settings_document(settings: Settings) -> dict[str, Any]:
    """A pool's settings as stored and digested."""
    return {
        "pool": settings.pool,
        "retention_days": settings.retention_days,
        "retentions": [
            {"since": instant(kept.since), "days": kept.days, "revision": kept.revision, "before": optional(kept.before)}
            for kept in settings.retentions
        ],
        **({"policy": settings.policy} if settings.policy else {}),
        "revision": settings.revision,
    }


def settings_from(document: Mapping[str, Any]) -> Settings:
    """The settings that `settings_document` described.

    Raises:
        CorruptRecordError: the document is not of that form.
    """
    return read_back(f"the settings of pool {document.get('pool', '')}".strip(), document, _settings, settings_document)


def _settings(d: Mapping[str, Any]) -> Settings:
    return Settings(
        pool=text(d, "pool"),
        retentions=tuple(
            Retention(
                since=parse_instant(kept["since"]),
                days=number(kept, "days", MAX_RETENTION_DAYS),
                revision=number(kept, "revision"),
                before=instant_or_none(kept["before"]),
            )
            for kept in d["retentions"]
        ),
        policy=text(d, "policy", ""),
        revision=number(d, "revision"),
    )


def settings_digest(settings: Settings) -> str:
    """The digest by which an event pins the settings as it left them."""
    return digest(settings_document(settings))


def policy_digest(policy: str) -> str:
    """The SHA-256, in hex, of a pool's policy as it is kept, or an empty string for none."""
    return hashlib.sha256(policy.encode()).hexdigest() if policy else ""
