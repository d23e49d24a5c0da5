"""What an operator set for a pool: for how long what was kept, and how that is stored."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from approval_resource.canonical import digest, instant, parse_instant
from approval_resource.documents.fields import instant_or_none, number, optional, read_back, text

MAX_RETENTION_DAYS = 36_500


@dataclass(frozen=True, slots=True)
class Retention:
    """How long what ended since then is kept, in days; 0: for ever. It applies from that event of the log on."""

    since: datetime
    days: int
    revision: int
    before: datetime | None
    """The place of the event before that one."""


DEFAULT_RETENTION_DAYS = 400


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What an operator set for a pool."""

    pool: str
    retentions: tuple[Retention, ...] = ()
    """Each setting that may still matter, oldest first: an event is kept by the one of its time."""
    policy: str = ""
    """The policies that every claim in the pool must satisfy too, as a JSON list; an empty string: none."""
    revision: int = 0

    @property
    def retention_days(self) -> int:
        """How long what ends now is kept, in days; 0: for ever."""
        return self.retentions[-1].days if self.retentions else DEFAULT_RETENTION_DAYS

    @property
    def retention(self) -> timedelta | None:
        """The same as a span; None: for ever."""
        return timedelta(days=self.retention_days) if self.retention_days else None

    def may_be_gone(self, at: datetime, now: datetime) -> bool:
        """Whether something of that time may have been removed by age. What is older than every setting kept is."""
        if not self.retentions:
            return at + timedelta(days=DEFAULT_RETENTION_DAYS) <= now
        kept = next((kept for kept in reversed(self.retentions) if kept.since <= at), None)
        return kept is None or (kept.days > 0 and at + timedelta(days=kept.days) <= now)

    def all_may_be_gone(self, oldest: int, newest: int, at: datetime, now: datetime) -> bool:
        """Whether the events with those revisions, of which the newest happened then, may all have been removed by age."""
        if not self.retentions:
            return self.may_be_gone(at, now)
        if any(kept.revision and oldest <= kept.revision <= newest for kept in self.retentions):
            return False  # the event of a setting is kept for ever
        for kept, following in zip(self.retentions, (*self.retentions[1:], None), strict=True):
            if newest < kept.revision or (following is not None and following.revision <= oldest):
                continue
            last = at if following is None or newest < following.revision else following.before
            if last is not None and (kept.days == 0 or last + timedelta(days=kept.days) > now):
                return False
        return True


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
