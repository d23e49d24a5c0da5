"""Release of a claim, and the choice of a build's claim by the name of a lock."""

from __future__ import annotations

from dataclasses import dataclass

from approval_resource.claims.end import release_or_withdraw
from approval_resource.claims.lifecycle import may_hand_back
from approval_resource.errors import LockHeldError, LockNotFoundError, NothingToReleaseError
from approval_resource.model.claim import Build, Claim, Claimant
from approval_resource.model.event import State
from approval_resource.store.interface import LockStore, new_id
from approval_resource.store.transaction import Commit, ReadSet, Snapshot


@dataclass(frozen=True, slots=True)
class Ended:
    """Result of a release: the claim it was about, and whether this call ended it."""

    claim: Claim
    changed: bool


def release(store: LockStore, pool: str, lock_name: str, claimant: Claimant, *, claim_id: str = "") -> Ended:
    """End one claim of the lock.

    It is the claim `claim_id`. Without `claim_id`, it is the claim that this build made or whose gate it
    passed. If there is none, it is the lock's holder.

    The holder is ended only under four conditions: this build neither made nor passed a claim on the lock,
    the lock has no record of a claim by this build's job, the holder is of the same team and pipeline, and
    the holder isn't pending. The original resource's pipelines need just that: one job claims, and another
    releases.

    While another build of this job uses a claim's approval, the claim stays untouched, even with
    `claim_id`. Only a claim that this build made is ended nevertheless. A pending claim is withdrawn
    instead of released. An ended claim stays as it is.

    Raises:
        LockNotFoundError: nobody ever claimed the lock, it has no claim with that id, or none is on record.
        NothingToReleaseError: another build's claim holds the lock, and no ended claim is on record.
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
    # A job that claims this lock releases only its own claims. A build of it that failed or was aborted
    # before it claimed has nothing to release.
    if build.job_key in lock.jobs or _in_use(holder, build, snapshot):
        return None
    return holder


def _in_use(claim: Claim, build: Build, snapshot: Snapshot) -> bool:
    """Whether another build of the job uses the claim's approval, and this one neither made nor used it."""
    if not claim.claimed or not claim.spent_job or claim.spent_job != build.job_key:
        return False
    made = snapshot.build is not None and snapshot.build.made == claim.id
    return claim.spent != build.key() and not made


def _newest_ended(store: LockStore, snapshot: Snapshot) -> Claim:
    """Return the claim on the lock that ended last, for a release that leaves the holder alone.

    Raises:
        NothingToReleaseError: no ended claim is on record, and another build's claim holds the lock.
        LockNotFoundError: no claim is on record.
    """
    places = [place for state, place in snapshot.lock.newest.items() if not state.is_open]
    for place in sorted(places, key=lambda place: place.timestamp, reverse=True):
        claim = store.claim(place.claim_id)
        if claim is not None:
            return claim
    if snapshot.holder is not None:
        raise NothingToReleaseError(snapshot.holder)
    raise LockNotFoundError(f"this build has nothing to release: the lock {snapshot.lock.name} has no claim left on record")


def claim_of_build(store: LockStore, pool: str, lock_name: str, claimant: Claimant) -> Claim:
    """Return the claim that a build means by a lock's name when it awaits or renews.

    It is the claim that the build made or whose gate it passed, else the lock's holder. A claim of the build
    that has ended counts only while `may_hand_back` accepts it. A holder of another team or pipeline is never
    meant, since its approval isn't for this build.

    Raises:
        LockNotFoundError: nobody ever claimed the lock; or nobody holds it, and no claim of this build
            counts.
        LockHeldError: a claim of another team or pipeline holds it.
    """
    done = store.commit(ReadSet(pool=pool, lock_name=lock_name, build_key=claimant.key), lambda _: Commit(), new_id())
    snapshot = done.after
    if snapshot.lock.revision == 0:
        raise LockNotFoundError(f"The lock {lock_name} does not exist in pool {pool}; check lock_name, or claim it first")
    own = [claim for claim in (snapshot.made, snapshot.passed) if claim is not None]
    own = [claim for claim in own if claim.claimed or may_hand_back(claim, claimant.build, snapshot.now)]
    if own:
        return next((claim for claim in own if claim.claimed), own[0])
    if snapshot.holder is None:
        raise LockNotFoundError(
            f"nobody holds the lock {lock_name} in pool {pool}; claim it first, or name the claim with from"
        )
    if not snapshot.holder.build.same_pipeline(claimant.build):
        raise LockHeldError(snapshot.holder)
    return snapshot.holder
