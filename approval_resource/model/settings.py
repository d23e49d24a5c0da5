"""What an operator set for a pool: for how long what was kept, and how that is stored."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

MAX_RETENTION_DAYS = 36_500


@dataclass(frozen=True, slots=True)
class Retention:
    """How long what ended since then is kept, in days; 0: for ever. It applies from that event of the log on."""

    since: datetime
    days: int
    revision: int
    before: datetime | None
    """The place of the event before that one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Freeze:
    """An emergency stop: since then no gate of the pool opens, until then or until somebody lifts it."""

    since: datetime
    until: datetime | None
    reason: str
    actor: str
    passes: tuple[str, ...] = ()
    """Ids of the claims that may pass all the same, since somebody who may has broken the glass for them."""


DEFAULT_RETENTION_DAYS = 400


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What an operator set for a pool."""

    pool: str
    retentions: tuple[Retention, ...] = ()
    """Each setting that may still matter, oldest first: an event is kept by the one of its time."""
    policy: str = ""
    """The policies that every claim in the pool must satisfy too, as a JSON list; an empty string: none."""
    freeze: Freeze | None = None
    revision: int = 0

    @property
    def retention_days(self) -> int:
        """How long what ends now is kept, in days; 0: for ever."""
        return self.retentions[-1].days if self.retentions else DEFAULT_RETENTION_DAYS

    @property
    def retention(self) -> timedelta | None:
        """The same as a span; None: for ever."""
        return timedelta(days=self.retention_days) if self.retention_days else None

    def frozen(self, now: datetime) -> Freeze | None:
        """Return the freeze that is in effect at that instant, if there is one."""
        freeze = self.freeze
        return freeze if freeze is not None and (freeze.until is None or now < freeze.until) else None

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
