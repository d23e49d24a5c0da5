"""Changing a claim that is there: holding it for longer, and ending it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

from approval_resource.claims.lifecycle import DEADLINE_ACTOR, transition
from approval_resource.claims.request import _seconds
from approval_resource.errors import ConfigError, StaleLockError
from approval_resource.model.claim import Build, Claim
from approval_resource.model.event import Kind, State
from approval_resource.store.interface import LockStore, new_id
from approval_resource.store.transaction import ClaimChange, Commit, ReadSet, Snapshot


def update_claim(store: LockStore, claim: Claim, decide: Callable[[Claim, Snapshot], ClaimChange | None]) -> Claim:
    """That claim as it is after what `decide` makes of it, as it stands at the moment of writing; None changes nothing."""

    def decided(snapshot: Snapshot) -> Commit:
        change = decide(snapshot.claims[claim.id], snapshot)
        return Commit(changes=(change,) if change else ())

    read = ReadSet(pool=claim.pool, lock_name=claim.lock_name, claim_id=claim.id)
    return store.commit(read, decided, new_id()).after.claims[claim.id]


def end_claim(store: LockStore, claim: Claim, state: State, *, actor: str, reason: str = "", build: str = "") -> Claim:
    """End that claim, as a person who may: released, or withdrawn while pending.

    Raises:
        StaleLockError: it is not in a state from which that is possible.
    """
    return update_claim(
        store, claim, lambda current, snapshot: end_change(current, snapshot, state, actor=actor, reason=reason, build=build)
    )


def force_release(store: LockStore, claim: Claim, *, actor: str, reason: str) -> Claim:
    """Free the lock from that claim wherever it stands, as `release_or_withdraw` says; the log says it was forced.

    Raises:
        StaleLockError: it has ended.
    """

    def forced(current: Claim, snapshot: Snapshot) -> ClaimChange:
        return replace(release_or_withdraw(current, snapshot, actor=actor, reason=reason), forced=True)

    return update_claim(store, claim, forced)


def renew(store: LockStore, claim: Claim, build: Build, hold_timeout: timedelta | None) -> Claim:
    """Let the claim hold its lock from now for `hold_timeout`, else for as long as it was claimed for. It never becomes shorter.

    Raises:
        StaleLockError: it has ended: the lock may be somebody else's by now.
        ConfigError: it has no hold time, and none is given.
    """

    def renewed(current: Claim, snapshot: Snapshot) -> ClaimChange:
        if not current.claimed:
            raise StaleLockError(current, "renewed")
        seconds = _seconds(hold_timeout) or current.hold_timeout
        if not seconds:
            raise ConfigError([f"params.hold_timeout: required, since claim {claim.id} was made without one"])
        until = snapshot.now + timedelta(seconds=seconds)
        until = max(until, current.hold_until) if current.hold_until else until
        return ClaimChange(
            claim=replace(current, hold_timeout=current.hold_timeout or seconds, hold_until=until),
            kind=Kind.RENEWED,
            actor=str(build),
            build=build.link,
            reason=f"may be held until {until:%Y-%m-%d %H:%M:%S} UTC",
        )

    return update_claim(store, claim, renewed)


def end_change(claim: Claim, snapshot: Snapshot, state: State, *, actor: str, reason: str = "", build: str = "") -> ClaimChange:
    """The change that brings `claim` into `state`, which ends it."""
    ended = transition(claim, state, actor=actor, reason=reason, at=snapshot.now)
    return ClaimChange(claim=ended, kind=Kind(state.value), actor=actor, reason=reason, build=build)


def release_or_withdraw(claim: Claim, snapshot: Snapshot, *, actor: str, reason: str = "", build: str = "") -> ClaimChange:
    """The change by which a claim gives its lock back: released, or withdrawn where nobody has decided on it."""
    state = State.WITHDRAWN if claim.state is State.PENDING else State.RELEASED
    return end_change(claim, snapshot, state, actor=actor, reason=reason, build=build)


def expiry_change(claim: Claim, snapshot: Snapshot) -> ClaimChange:
    """The change that ends a claim nobody decided on in time."""
    return end_change(claim, snapshot, State.EXPIRED, actor=DEADLINE_ACTOR, reason="nobody decided in time")
