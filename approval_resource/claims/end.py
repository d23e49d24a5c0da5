"""Changes to an existing claim: renew its hold, or end it."""

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
    """Change the claim as `decide` says, and return it as it is then.

    `decide` gets the claim as it stands at the moment of writing, and the snapshot. None changes nothing.
    """

    def decided(snapshot: Snapshot) -> Commit:
        change = decide(snapshot.claims[claim.id], snapshot)
        return Commit(changes=(change,) if change else ())

    read = ReadSet(pool=claim.pool, lock_name=claim.lock_name, claim_id=claim.id)
    return store.commit(read, decided, new_id()).after.claims[claim.id]


def end_claim(store: LockStore, claim: Claim, state: State, *, actor: str, reason: str = "", build: str = "") -> Claim:
    """End the claim in `state`, released or withdrawn. Whether `actor` may do so isn't checked here.

    Raises:
        StaleLockError: no transition leads from the claim's state to `state`.
    """
    return update_claim(
        store, claim, lambda current, snapshot: end_change(current, snapshot, state, actor=actor, reason=reason, build=build)
    )


def force_release(store: LockStore, claim: Claim, *, actor: str, reason: str) -> Claim:
    """End an open claim as `release_or_withdraw` does. Its event is marked as forced.

    Raises:
        StaleLockError: the claim has ended.
    """

    def forced(current: Claim, snapshot: Snapshot) -> ClaimChange:
        return replace(release_or_withdraw(current, snapshot, actor=actor, reason=reason), forced=True)

    return update_claim(store, claim, forced)


def renew(store: LockStore, claim: Claim, build: Build, hold_timeout: timedelta | None) -> Claim:
    """Let the claim hold its lock for `hold_timeout` from now, by default for its own hold time.

    A renewal never shortens a hold.

    Raises:
        StaleLockError: the claim has ended, so another claim may hold the lock by now.
        ConfigError: the claim has no hold time, and none is given.
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
    """Return the change that ends `claim` in `state`.

    Raises:
        StaleLockError: no transition leads from the claim's state to `state`.
    """
    ended = transition(claim, state, actor=actor, reason=reason, at=snapshot.now)
    return ClaimChange(claim=ended, kind=Kind(state.value), actor=actor, reason=reason, build=build)


def release_or_withdraw(claim: Claim, snapshot: Snapshot, *, actor: str, reason: str = "", build: str = "") -> ClaimChange:
    """Return the change that frees the claim's lock: a pending claim is withdrawn, any other is released.

    Raises:
        StaleLockError: the claim has ended.
    """
    state = State.WITHDRAWN if claim.state is State.PENDING else State.RELEASED
    return end_change(claim, snapshot, state, actor=actor, reason=reason, build=build)


def expiry_change(claim: Claim, snapshot: Snapshot) -> ClaimChange:
    """Return the change that expires a claim that nobody decided on in time."""
    return end_change(claim, snapshot, State.EXPIRED, actor=DEADLINE_ACTOR, reason="nobody decided in time")
