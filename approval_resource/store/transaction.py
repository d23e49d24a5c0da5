"""Transactions without I/O: what a commit reads, what it decides, and everything that follows from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from approval_resource.canonical import EMPTY
from approval_resource.documents.claims import claim_digest, terms_digest
from approval_resource.documents.settings import policy_digest, settings_digest
from approval_resource.model.claim import Claim, Transition
from approval_resource.model.event import Event, Head, Kind
from approval_resource.model.lock import BuildRecord, Lock
from approval_resource.model.settings import Settings
from approval_resource.store.chain import Chain


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadSet:
    """Items that a commit reads: the pool's head and settings, the lock with its holder, and those named.

    The pool's own events belong to the lock without a name, which nobody can claim.
    """

    pool: str
    lock_name: str = ""
    claim_id: str = ""
    build_key: str = ""
    link: str = ""
    """Id of the link by which the change is made, or an empty string."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """Items that a commit read, and the store's time at that moment.

    A head, lock, settings or build record that doesn't exist has revision 0.
    """

    now: datetime
    head: Head
    lock: Lock
    settings: Settings
    build: BuildRecord | None = None
    claims: Mapping[str, Claim] = field(default_factory=lambda: EMPTY)
    link_spent: bool = False
    """Whether `ReadSet.link` was used before."""

    @property
    def holder(self) -> Claim | None:
        """Claim that holds the lock, or None."""
        return self.claims[self.lock.holder] if self.lock.holder else None

    @property
    def made(self) -> Claim | None:
        """Claim that the build made, or None."""
        return self.claims.get(self.build.made) if self.build else None

    @property
    def passed(self) -> Claim | None:
        """Claim on whose approval the build passed a gate, or None."""
        return self.claims.get(self.build.passed) if self.build else None

    @property
    def lacks_record(self) -> bool:
        """Whether the build's claim holds the lock but is missing in its record, as in a torn read."""
        build, holder = self.build, self.holder
        return build is not None and holder is not None and holder.build_key == build.key and holder.id != build.made

    @property
    def is_whole(self) -> bool:
        """Whether lock, claims and settings belong to one moment.

        Items are read one by one, so a commit in between may tear them.
        """
        # Heads written by releases that had no policies don't hold the settings' revision.
        if self.settings.revision != self.head.settings and (self.head.settings or self.settings.policy):
            return False
        if self.lock.holder and self.lock.holder not in self.claims:
            return False
        own = (claim for claim in self.claims.values() if (claim.pool, claim.lock_name) == (self.lock.pool, self.lock.name))
        return all(claim.claimed == (claim.id == self.lock.holder) for claim in own)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimChange:
    """Claim after a change, and what the log records of the change."""

    claim: Claim
    kind: Kind
    actor: str
    build: str = ""
    reason: str = ""
    verdict: str = ""
    forced: bool = False
    contents: Mapping[str, bytes] = field(default_factory=lambda: EMPTY)
    """Content to store beside the claim, by content name. Each is new: no earlier change has named it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Commit:
    """Changes that a decision wants written, in order. Without any, at most a link is marked as used."""

    changes: tuple[ClaimChange, ...] = ()
    build: BuildRecord | None = None
    settings: Settings | None = None
    """Settings that replace the pool's, set by `actor` for `reason`. They come without claim changes."""
    actor: str = ""
    reason: str = ""
    spends: str = ""
    """Id of the link that is used up, even if there are no changes; an empty string for none."""
    urgent: bool = False
    """Whether the caller has only seconds, so that its next tries are not spread."""

    @property
    def nothing(self) -> bool:
        """Whether there is nothing to write."""
        return not self.changes and self.settings is None


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Everything that one transaction writes."""

    head: Head
    lock: Lock
    claims: tuple[Claim, ...]
    events: tuple[Event, ...]
    build: BuildRecord | None
    settings: Settings | None
    contents: tuple[tuple[str, str, bytes], ...]
    """Claim id, content name and content of each content."""
    keep: timedelta | None
    """Retention of what ends with this transaction, or None for ever."""
    spends: str = ""
    """Id of the link that is used up, or an empty string."""


def plan(snapshot: Snapshot, wanted: Commit, operation: str) -> Plan:
    """Return all that follows from `wanted`: events, head, and the lock's holder, queue, fence and counters.

    A claim that acquires the lock raises its fence, and its build leaves the queue. A claim that ends frees
    the lock. No other code does that, so no decision can forget it.
    """
    log = Chain(snapshot.head, snapshot.lock, snapshot.now, operation)
    claims: dict[str, Claim] = {}
    for change in wanted.changes:
        timestamp, at = log.next_place()
        claim = _stamped(change, snapshot, timestamp, at, log.lock)
        log.apply_claim(claim, fresh=claim.id not in snapshot.claims)
        log.add(
            kind=change.kind,
            claim_id=claim.id,
            state=claim.state,
            actor=change.actor,
            build=change.build,
            reason=change.reason,
            verdict=change.verdict,
            forced=change.forced,
            claim=claim_digest(claim),
            terms=terms_digest(claim),
            before=claim_digest(snapshot.claims[claim.id]) if claim.id in snapshot.claims else "",
        )
        claims[claim.id] = claim
    settings = replace(wanted.settings, revision=snapshot.settings.revision + 1) if wanted.settings else None
    if settings is not None:
        if snapshot.lock.name:
            raise AssertionError("settings are the pool's, so their event belongs to the lock without a name")
        digest = settings_digest(settings)
        log.head = replace(log.head, settings=settings.revision)
        log.add(
            kind=Kind.SETTINGS,
            claim_id="",
            state=None,
            actor=wanted.actor,
            reason=wanted.reason,
            claim=digest,
            terms=policy_digest(settings.policy),
            before=settings_digest(snapshot.settings) if snapshot.settings.revision else "",
        )
    return Plan(
        head=log.head,
        lock=replace(log.lock, revision=log.lock.revision + 1),
        claims=tuple(claims.values()),
        events=tuple(log.events),
        build=replace(wanted.build, revision=wanted.build.revision + 1) if wanted.build else None,
        settings=settings,
        contents=tuple(
            (change.claim.id, name, content) for change in wanted.changes for name, content in change.contents.items()
        ),
        keep=(settings or snapshot.settings).retention,
        spends=wanted.spends,
    )


def _stamped(change: ClaimChange, snapshot: Snapshot, timestamp: datetime, at: datetime, lock: Lock) -> Claim:
    """Return the change's claim with the transaction's own values: revision, fence and place in the log."""
    claim = replace(change.claim, event_at=timestamp)
    before = snapshot.claims.get(claim.id)
    if change.kind.state is not None:
        claim = replace(
            claim,
            changed=timestamp,
            decided=_placed(claim.decided, before.decided if before else None, timestamp, at),
            ended=_placed(claim.ended, before.ended if before else None, timestamp, at),
        )
    if before is None:
        made_at = at if at != timestamp else None
        return replace(
            claim, timestamp=timestamp, made_at=made_at, fence=lock.fence + 1 if claim.claimed else lock.fence, revision=1
        )
    return replace(claim, revision=before.revision + 1)


def _placed(ruling: Transition | None, before: Transition | None, timestamp: datetime, at: datetime) -> Transition | None:
    return replace(ruling, timestamp=timestamp, at=at) if ruling is not None and ruling != before else ruling
