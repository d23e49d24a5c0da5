"""Settings of a pool: its retention, its policy and its freeze."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

MAX_RETENTION_DAYS = 36_500


@dataclass(frozen=True, slots=True)
class Retention:
    """Days that a record is kept after its end; 0 means for ever.

    It applies from `since`, which is the place of its event in the log. `revision` is that event's, or 0 for
    the default before any such event.
    """

    since: datetime
    days: int
    revision: int
    before: datetime | None
    """Place of the event just before the one that set this retention."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Freeze:
    """Emergency stop: no gate of the pool opens from `since` until `until`. None: until somebody lifts it."""

    since: datetime
    until: datetime | None
    reason: str
    actor: str
    passes: tuple[str, ...] = ()
    """Ids of the claims that may pass nevertheless, because somebody entitled broke the freeze for them."""


DEFAULT_RETENTION_DAYS = 400


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Settings that an operator gave a pool."""

    pool: str
    retentions: tuple[Retention, ...] = ()
    """Retentions that may still matter, oldest first. An event is kept by the one in force at its time."""
    policy: str = ""
    """JSON list of policies that every claim in the pool must satisfy too, or an empty string for none."""
    freeze: Freeze | None = None
    revision: int = 0

    @property
    def retention_days(self) -> int:
        """Days that a record ending now is kept; 0 means for ever."""
        return self.retentions[-1].days if self.retentions else DEFAULT_RETENTION_DAYS

    @property
    def retention(self) -> timedelta | None:
        """Duration that a record ending now is kept, or None for ever."""
        return timedelta(days=self.retention_days) if self.retention_days else None

    def frozen(self, now: datetime) -> Freeze | None:
        """Return the freeze that is in effect at that instant, or None."""
        freeze = self.freeze
        return freeze if freeze is not None and (freeze.until is None or now < freeze.until) else None

    def may_be_gone(self, at: datetime, now: datetime) -> bool:
        """Whether a record of that instant may have been removed by age.

        A record from before the first stored retention always may.
        """
        if not self.retentions:
            return at + timedelta(days=DEFAULT_RETENTION_DAYS) <= now
        kept = next((kept for kept in reversed(self.retentions) if kept.since <= at), None)
        return kept is None or (kept.days > 0 and at + timedelta(days=kept.days) <= now)

    def all_may_be_gone(self, oldest: int, newest: int, at: datetime, now: datetime) -> bool:
        """Whether the events from revision `oldest` to `newest` may all have been removed by age.

        `at` is the instant of the newest of them.
        """
        if not self.retentions:
            return self.may_be_gone(at, now)
        if any(kept.revision and oldest <= kept.revision <= newest for kept in self.retentions):
            return False  # an event of settings is kept for ever
        for kept, following in zip(self.retentions, (*self.retentions[1:], None), strict=True):
            if newest < kept.revision or (following is not None and following.revision <= oldest):
                continue
            last = at if following is None or newest < following.revision else following.before
            if last is not None and (kept.days == 0 or last + timedelta(days=kept.days) > now):
                return False
        return True
