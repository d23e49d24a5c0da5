"""Settings of a pool, as an operator changes them."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise

from approval_resource.documents.settings import policy_digest
from approval_resource.errors import ConfigError
from approval_resource.model.settings import DEFAULT_RETENTION_DAYS, Freeze, Retention, Settings
from approval_resource.store.interface import LockStore, new_id
from approval_resource.store.transaction import Commit, ReadSet, Snapshot

MAX_RETENTIONS = 100
"""Upper bound of the retentions kept.

A replaced retention is kept until all records that it applies to may have been removed.
"""
BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)


def set_retention(store: LockStore, pool: str, days: int, *, actor: str) -> Settings:
    """Set for how many days a record is kept after its end; 0 keeps it for ever.

    Records that have ended keep the retention they were given.

    Raises:
        ConfigError: the retention was changed too often.
    """

    def decide(snapshot: Snapshot) -> Commit:
        settings = snapshot.settings
        if settings.retention_days == days:
            return Commit()
        head = snapshot.head
        before = settings.retentions or (Retention(BEGINNING, DEFAULT_RETENTION_DAYS, 0, None),)
        newest = Retention(head.next_timestamp(snapshot.now), days, head.revision + 1, head.timestamp)
        kept = _without_past([*before, newest], snapshot.now)
        if len(kept) > MAX_RETENTIONS:
            raise ConfigError(
                [
                    f"--retention-days: was changed {MAX_RETENTIONS} times since the oldest record that may still be kept; try again later"
                ]
            )
        reason = f"retention_days {settings.retention_days} -> {days}"
        return Commit(settings=replace(settings, retentions=tuple(kept)), actor=actor, reason=reason)

    return store.commit(ReadSet(pool=pool), decide, new_id()).after.settings


def set_policy(store: LockStore, pool: str, policy: str, *, actor: str) -> Settings:
    """Require these policies of every claim in the pool, in addition to the claim's own.

    `policy` is a JSON list, as `policy.language.load.stored` returns it. An empty string requires none.
    """

    def decide(snapshot: Snapshot) -> Commit:
        if snapshot.settings.policy == policy:
            return Commit()
        reason = f"policy sha256 {policy_digest(policy)}" if policy else "policy taken away"
        return Commit(settings=replace(snapshot.settings, policy=policy), actor=actor, reason=reason)

    return store.commit(ReadSet(pool=pool), decide, new_id()).after.settings


def freeze(store: LockStore, pool: str, until: datetime | timedelta | None, reason: str, *, actor: str) -> Settings:
    """Open no gate of the pool until that instant, or until `unfreeze` if `until` is None.

    A timedelta counts from the store's time. An earlier freeze is replaced.

    Raises:
        ConfigError: that instant is over already.
    """

    def decide(snapshot: Snapshot) -> Commit:
        end = snapshot.now + until if isinstance(until, timedelta) else until
        if end is not None and end <= snapshot.now:
            raise ConfigError([f"--until: {end:%Y-%m-%d %H:%M:%S} UTC is over; give an instant to come"])
        since = snapshot.head.next_timestamp(snapshot.now)
        stop = Freeze(since=since, until=end, reason=reason, actor=actor)
        told = f"{end:%Y-%m-%d %H:%M:%S} UTC" if end else "somebody lifts it"
        return Commit(settings=replace(snapshot.settings, freeze=stop), actor=actor, reason=f"frozen until {told}: {reason}")

    return store.commit(ReadSet(pool=pool), decide, new_id()).after.settings


def unfreeze(store: LockStore, pool: str, reason: str, *, actor: str) -> Settings:
    """Lift the pool's freeze, if there is one."""

    def decide(snapshot: Snapshot) -> Commit:
        if snapshot.settings.freeze is None:
            return Commit()
        why = f"the freeze is lifted{f': {reason}' if reason else ''}"
        return Commit(settings=replace(snapshot.settings, freeze=None), actor=actor, reason=why)

    return store.commit(ReadSet(pool=pool), decide, new_id()).after.settings


def _without_past(retentions: list[Retention], now: datetime) -> list[Retention]:
    """Drop or merge the retentions whose records may all have been removed by now.

    At the start of the list they are dropped. Elsewhere, a run of them becomes one, with the fewest days.
    """
    kept: list[Retention] = []
    past = True
    for retention, following in pairwise(retentions):
        was_past, past = past, retention.days > 0 and following.since + timedelta(days=retention.days) <= now
        if past and was_past:
            if kept:
                kept[-1] = replace(kept[-1], days=min(kept[-1].days, retention.days))
        else:
            kept.append(retention)
    return [*kept, retentions[-1]]
