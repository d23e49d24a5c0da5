"""Which claim a build means by a lock's name, and releasing it."""

from __future__ import annotations

from dataclasses import dataclass

from approval_resource.claims.end import release_or_withdraw
from approval_resource.claims.lifecycle import handed_back
from approval_resource.errors import LockHeldError, LockNotFoundError, NothingToReleaseError
from approval_resource.model.claim import Build, Claim, Claimant
from approval_resource.model.event import State
from approval_resource.store.interface import LockStore, new_id
from approval_resource.store.transaction import Commit, ReadSet, Snapshot


@dataclass(frozen=True, slots=True)
class Ended:
    """The claim that a release was about, and whether this call ended it."""

    claim: Claim
    changed: bool


def release(store: LockStore, pool: str, lock_name: str, claimant: Claimant, *, claim_id: str = "") -> Ended:
    """End exactly the claim `claim_id`; without one, the claim this build made or passed, else the holder.

    The holder is ended only when this build has no claim of its own to speak of, its job never claimed the
    lock itself, the holder is of the same team and pipeline, and nobody is still asked to decide on it:
    that is as much as the original's pipelines need, where one job claims and another releases. A claim by
    whose approval another build of this job goes is left alone even when it is named. A pending claim is
    withdrawn. What has ended already stays as it is.

    Raises:
        LockNotFoundError: nobody ever claimed that lock, or it has no claim of that id.
        NothingToReleaseError: the lock is another's, and there is no ended claim to speak of.
    """

    def decide(snapshot: Snapshot) -> Commit:
        claim = _to_release(snapshot, claimant.build, claim_id)
        if claim is None or not claim.claimed:
            return Commit()
        return Commit(changes=(release_or_withdraw(claim, snapshot, actor=str(claimant.build), build=claimant.build.link),))

    done = store.commit(ReadSet(pool=pool, lock_name=lock_name, claim_id=claim_id, build_key=claimant.key), decide, new_id())
    if done.events:
        return Ended(done.after.claims[done.events[-1].claim_id], changed=True)
    claim = _to_release(done.after, claimant.build, claim_id)
    if claim is None:
        claim = done.after.claims[claim_id] if claim_id else _newest_ended(store, done.after)
    return Ended(claim, changed=False)


def _to_release(snapshot: Snapshot, build: Build, claim_id: str) -> Claim | None:
    lock = snapshot.lock
    if lock.revision == 0:
        raise LockNotFoundError(
            f"this build has nothing to release: nobody ever claimed the lock {lock.name} in pool {lock.pool}; check lock_name"
        )
    if claim_id:
        claim = snapshot.claims.get(claim_id)
        if claim is None or claim.lock_name != lock.name or claim.pool != lock.pool:
            raise LockNotFoundError(
                f"The lock {lock.name} in pool {lock.pool} has no claim {claim_id}; check from and source.pool"
            )
        return None if _in_use(claim, build, snapshot) else claim
    own = [claim for claim in (snapshot.made, snapshot.passed) if claim is not None]
    if own:
        free = (claim for claim in own if claim.claimed and not _in_use(claim, build, snapshot))
        return next(free, next((claim for claim in own if not claim.claimed), None))
    holder = snapshot.holder
    if holder is None or holder.state is State.PENDING or not holder.build.same_pipeline(build):
        return None
    # A job that claims this lock releases what it claimed. One of its builds that never got so far, because
    # it failed or was aborted before, has nothing to release.
    if build.job_key in lock.jobs or _in_use(holder, build, snapshot):
        return None
    return holder


def _in_use(claim: Claim, build: Build, snapshot: Snapshot) -> bool:
    """Whether another build of the same job goes by the claim's approval, and this one neither made nor used it."""
    if not claim.claimed or not claim.spent_job or claim.spent_job != build.job_key:
        return False
    made = snapshot.build is not None and snapshot.build.made == claim.id
    return claim.spent != build.key() and not made


def _newest_ended(store: LockStore, snapshot: Snapshot) -> Claim:
    """The claim on the lock that ended last; there is always something true to return without touching another's."""
    places = [place for state, place in snapshot.lock.newest.items() if not state.is_open]
    for place in sorted(places, key=lambda place: place.timestamp, reverse=True):
        claim = store.claim(place.claim_id)
        if claim is not None:
            return claim
    if snapshot.holder is not None:
        raise NothingToReleaseError(snapshot.holder)
    raise LockNotFoundError(f"this build has nothing to release: the lock {snapshot.lock.name} has no claim left on record")


def claim_of_build(store: LockStore, pool: str, lock_name: str, claimant: Claimant) -> Claim:
    """The claim that a build means by a lock's name, to wait for it or to renew it: the one it made or passed, else the holder.

    A holder of another team or pipeline is never meant: its approval is not this build's.

    Raises:
        LockNotFoundError: nobody claimed that lock, or nobody holds it now.
        LockHeldError: another pipeline holds it.
    """
    done = store.commit(ReadSet(pool=pool, lock_name=lock_name, build_key=claimant.key), lambda _: Commit(), new_id())
    snapshot = done.after
    if snapshot.lock.revision == 0:
        raise LockNotFoundError(f"The lock {lock_name} does not exist in pool {pool}; check lock_name, or claim it first")
    own = [claim for claim in (snapshot.made, snapshot.passed) if claim is not None]
    own = [claim for claim in own if claim.claimed or handed_back(claim, claimant.build, snapshot.now)]
    if own:
        return next((claim for claim in own if claim.claimed), own[0])
    if snapshot.holder is None:
        raise LockNotFoundError(
            f"nobody holds the lock {lock_name} in pool {pool}; claim it first, or name the claim with from"
        )
    if not snapshot.holder.build.same_pipeline(claimant.build):
        raise LockHeldError(snapshot.holder)
    return snapshot.holder
