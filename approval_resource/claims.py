"""Taking a lock, and ending the claim on it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from approval_resource.canonical import digest
from approval_resource.errors import (
    LockHeldError,
    LockNotFoundError,
    NothingToReleaseError,
    RequestChangedError,
)
from approval_resource.model import (
    NOTHING,
    Attachment,
    Build,
    Claim,
    Kind,
    Lock,
    State,
)
from approval_resource.parts import PAYLOAD_PART, attachment_part
from approval_resource.store import LockStore, new_id
from approval_resource.transaction import Change, Changes, Read, Snapshot
from approval_resource.waiting import Lookout

STORE_ACTOR = "the deadline"
"""Who is said to have ended a claim that nobody decided on in time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What a build asks for when it claims."""

    pool: str
    lock_name: str
    need_approval: bool = False
    description: str = ""
    payload: bytes = b""
    payload_digest: str = ""
    attachments: Mapping[str, Attachment] = field(default_factory=lambda: NOTHING)
    contents: Mapping[str, bytes] = field(default_factory=lambda: NOTHING)
    """The content of each attachment that is to be kept, by name."""
    override_approval: bool = False
    """Supersede a claim that still waits for its decision instead of waiting for it."""

    @property
    def digest(self) -> str:
        """What is asked for, how aside: two requests with the same digest are the same."""
        return digest(
            {
                "need_approval": self.need_approval,
                "description": self.description,
                "payload": self.payload_digest,
                "attachments": {name: file.digest for name, file in self.attachments.items()},
            }
        )

    @property
    def parts(self) -> dict[str, bytes]:
        """What is kept beside the claim, by part name."""
        payload = {PAYLOAD_PART: self.payload} if self.payload_digest else {}
        return payload | {attachment_part(name): content for name, content in self.contents.items()}


@dataclass(slots=True)
class Attempt:
    """One asker's try at a lock: the id of its claim, and whether a write under it may be under way."""

    claim_id: str = field(default_factory=new_id)
    in_flight: bool = False


@dataclass(frozen=True, slots=True)
class Taken:
    """The claim a build has now, and whether this call made it (else it is the answer to the same question before)."""

    claim: Claim
    fresh: bool


@dataclass(frozen=True, slots=True)
class Ended:
    """The claim that a release was about, and whether this call ended it."""

    claim: Claim
    changed: bool


def take(store: LockStore, request: Request, build: Build, build_key: str, attempt: Attempt) -> Taken:
    """Take the lock for `build` at once, under the attempt's id.

    The same build asking for the same gets the claim it has, whatever became of it, and a new one after
    it released that; the attempt's id is then that claim's. Asking for something else replaces its own pending claim.

    Raises:
        LockHeldError: another claim holds the lock.
        RequestChangedError: this build's claim on the lock was for something else, and is past changing.
    """
    claim_id = attempt.claim_id

    def decide(snapshot: Snapshot) -> Changes:
        if claim_id in snapshot.claims:
            return Changes()
        ended = []
        mine = _made(snapshot)
        if mine is not None and mine.state is not State.RELEASED:
            if mine.request == request.digest:
                return Changes()
            if mine.state is State.PENDING:
                ended.append(_superseded(mine, snapshot, build))
            elif mine.claimed or mine.decided is not None:
                raise RequestChangedError(mine)
        holder = snapshot.holder
        if holder is not None and not ended:
            if holder.overdue(snapshot.now):
                ended.append(expired(holder, snapshot))
            elif request.override_approval and holder.state is State.PENDING:
                ended.append(_superseded(holder, snapshot, build))
            else:
                raise LockHeldError(holder)
        claim = _new(request, build, build_key, claim_id, snapshot)
        taken = Change(
            claim=claim,
            kind=Kind(claim.state.value),
            actor=str(build),
            build=build.link,
            reason=request.description,
            parts=request.parts,
        )
        record = replace(snapshot.build, made=claim_id) if snapshot.build else None
        return Changes(changes=(*ended, taken), build=record)

    read = Read(pool=request.pool, lock_name=request.lock_name, claim_id=claim_id, build_key=build_key)
    attempt.in_flight = True
    try:
        done = store.commit(read, decide, claim_id)
    except (LockHeldError, RequestChangedError):
        # Refused on what was read after every attempt before it, so none of those can land any more.
        attempt.in_flight = False
        raise
    own = done.after.claims.get(claim_id) or _made(done.after)
    if own is None:
        raise AssertionError("a claim was neither made nor found")
    attempt.claim_id = own.id
    return Taken(own, fresh=own.id == claim_id)


def take_when_free(
    store: LockStore,
    request: Request,
    build: Build,
    build_key: str,
    attempt: Attempt,
    *,
    lookout: Lookout,
    waiting_for: Callable[[Claim], None],
) -> Taken:
    """As `take`, but wait while another claim holds the lock; `waiting_for` is called with each new holder.

    Between tries it only reads the lock, and tries again when that has changed or its holder is overdue.
    """
    holder = ""
    while True:
        try:
            return lookout.look(take, store, request, build, build_key, attempt)
        except LockHeldError as held:
            current = held.current
        if current.id != holder:
            waiting_for(current)
            holder = current.id
        seen = lookout.look(store.lock, request.pool, request.lock_name)
        while _still_held(store, seen, current):
            lookout.rest()
            now = lookout.look(store.lock, request.pool, request.lock_name)
            if now is None or seen is None or now.revision != seen.revision:
                break


def _still_held(store: LockStore, lock: Lock | None, holder: Claim) -> bool:
    return lock is not None and lock.holder == holder.id and not holder.overdue(store.now())


def release(
    store: LockStore, pool: str, lock_name: str, build: Build, build_key: str, *, claim_id: str = "", reason: str = ""
) -> Ended:
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

    def decide(snapshot: Snapshot) -> Changes:
        claim = _to_release(snapshot, build, claim_id)
        if claim is None or not claim.claimed:
            return Changes()
        state = State.WITHDRAWN if claim.state is State.PENDING else State.RELEASED
        return Changes(changes=(ending(claim, snapshot, state, actor=str(build), build=build.link, reason=reason),))

    done = store.commit(Read(pool=pool, lock_name=lock_name, claim_id=claim_id, build_key=build_key), decide, new_id())
    if done.events:
        return Ended(done.after.claims[done.events[-1].claim_id], changed=True)
    claim = _to_release(done.after, build, claim_id)
    if claim is None:
        claim = done.after.claims[claim_id] if claim_id else _newest_ended(store, done.after)
    return Ended(claim, changed=False)


def _to_release(snapshot: Snapshot, build: Build, claim_id: str) -> Claim | None:
    lock = snapshot.lock
    _require_known(lock)
    if claim_id:
        claim = snapshot.claims.get(claim_id)
        if claim is None or claim.lock_name != lock.name or claim.pool != lock.pool:
            raise LockNotFoundError(
                f"The lock {lock.name} in pool {lock.pool} has no claim {claim_id}; check from and source.pool"
            )
        return None if _in_use(claim, build, snapshot) else claim
    own = [claim for claim in (_made(snapshot), _passed(snapshot)) if claim is not None]
    if own:
        free = (claim for claim in own if claim.claimed and not _in_use(claim, build, snapshot))
        return next(free, next((claim for claim in own if not claim.claimed), None))
    holder = snapshot.holder
    if holder is None or holder.state is State.PENDING or not holder.build.same_pipeline(build):
        return None
    # A job that claims this lock releases what it claimed. One of its builds that never got so far, because
    # it failed or was aborted before, has nothing to release.
    return None if build.job_key in lock.jobs else holder


def _in_use(claim: Claim, build: Build, snapshot: Snapshot) -> bool:
    """Whether another build of the same job goes by the claim's approval, and this one neither made nor used it."""
    if not claim.claimed or not claim.spent_job or claim.spent_job != build.job_key:
        return False
    made = snapshot.build is not None and snapshot.build.made == claim.id
    return claim.spent != build.key() and not made


def _require_known(lock: Lock) -> None:
    if lock.revision == 0:
        raise LockNotFoundError(f"The lock {lock.name} does not exist in pool {lock.pool}; check lock_name, or claim it first")


def _newest_ended(store: LockStore, snapshot: Snapshot) -> Claim:
    """The claim on the lock that ended last; there is always something true to return without touching another's."""
    places = [place for state, place in snapshot.lock.newest.items() if not state.is_open]
    for place in sorted(places, key=lambda place: place.timestamp, reverse=True):
        claim = store.claim(place.claim_id)
        if claim is not None:
            return claim
    if snapshot.holder is not None:
        raise NothingToReleaseError(snapshot.holder)
    raise LockNotFoundError(f"The lock {snapshot.lock.name} has no claim left on record; there is nothing to release")


def to_await(store: LockStore, pool: str, lock_name: str, build: Build, build_key: str) -> Claim:
    """The claim whose decision a build means by a lock's name: the one it made or passed, else the holder.

    A holder of another team or pipeline is never meant: its approval is not this build's.

    Raises:
        LockNotFoundError: nobody claimed that lock, or nobody holds it now.
        LockHeldError: another pipeline holds it.
    """
    done = store.commit(Read(pool=pool, lock_name=lock_name, build_key=build_key), lambda _: Changes(), new_id())
    snapshot = done.after
    _require_known(snapshot.lock)
    own = [claim for claim in (_made(snapshot), _passed(snapshot)) if claim is not None]
    if own:
        return next((claim for claim in own if claim.claimed), own[0])
    if snapshot.holder is None:
        raise LockNotFoundError(
            f"nobody holds the lock {lock_name} in pool {pool}; claim it first, or name the claim with from"
        )
    if not snapshot.holder.build.same_pipeline(build):
        raise LockHeldError(snapshot.holder)
    return snapshot.holder


def end(store: LockStore, claim: Claim, state: State, *, actor: str, reason: str = "", build: str = "") -> Claim:
    """End that claim, as a person: released, or withdrawn while pending.

    Raises:
        StaleLockError: it is not in a state from which that is possible.
    """

    def decide(snapshot: Snapshot) -> Changes:
        current = snapshot.claims[claim.id]
        return Changes(changes=(ending(current, snapshot, state, actor=actor, reason=reason, build=build),))

    read = Read(pool=claim.pool, lock_name=claim.lock_name, claim_id=claim.id)
    return store.commit(read, decide, new_id()).after.claims[claim.id]


def abandon(store: LockStore, request: Request, build: Build, build_key: str, attempt: Attempt) -> Claim | None:
    """Make sure that an aborted build's attempt holds nothing and never will; returns the claim this ended, if any.

    One that landed is withdrawn, and so is one that an earlier run of the same build made. For one that may
    still be in flight a withdrawn claim of that id is written, so that it can't land any more.
    """
    claim_id = attempt.claim_id

    def decide(snapshot: Snapshot) -> Changes:
        own = [snapshot.claims.get(claim_id), _made(snapshot)]
        left = next((claim for claim in own if claim and claim.claimed and claim.request == request.digest), None)
        if left is not None:
            return Changes(
                changes=(ending(left, snapshot, State.WITHDRAWN, actor=str(build), build=build.link, reason=ABORTED),)
            )
        if own[0] is not None or not attempt.in_flight:
            return Changes()
        # A claim that never was keeps none of its parts, and is withdrawn as one that nobody decided on.
        bare = replace(_new(request, build, build_key, claim_id, snapshot), payload="", attachments={}, state=State.PENDING)
        never = bare.ruled(State.WITHDRAWN, actor=str(build), reason=ABORTED, at=snapshot.now)
        return Changes(changes=(Change(claim=never, kind=Kind.WITHDRAWN, actor=str(build), build=build.link, reason=ABORTED),))

    read = Read(pool=request.pool, lock_name=request.lock_name, claim_id=claim_id, build_key=build_key)
    done = store.commit(read, decide, new_id())
    return done.after.claims[done.events[-1].claim_id] if done.events else None


ABORTED = "the build was aborted"


def ending(claim: Claim, snapshot: Snapshot, state: State, *, actor: str, reason: str = "", build: str = "") -> Change:
    """The change that brings `claim` into `state`, which ends it."""
    ended = claim.ruled(state, actor=actor, reason=reason, at=snapshot.now)
    return Change(claim=ended, kind=Kind(state.value), actor=actor, reason=reason, build=build)


def expired(claim: Claim, snapshot: Snapshot) -> Change:
    """The change that ends a claim nobody decided on in time."""
    return ending(claim, snapshot, State.EXPIRED, actor=STORE_ACTOR, reason="nobody decided in time")


def _new(request: Request, build: Build, build_key: str, claim_id: str, snapshot: Snapshot) -> Claim:
    """The claim that a request makes; its place in the log and its fence come with the transaction."""
    return Claim(
        id=claim_id,
        pool=request.pool,
        lock_name=request.lock_name,
        build=build,
        build_key=build_key,
        request=request.digest,
        need_approval=request.need_approval,
        description=request.description,
        payload=request.payload_digest,
        attachments=request.attachments,
        timestamp=snapshot.now,
        state=State.PENDING if request.need_approval else State.HELD,
        changed=snapshot.now,
    )


def _superseded(claim: Claim, snapshot: Snapshot, build: Build) -> Change:
    return ending(claim, snapshot, State.SUPERSEDED, actor=str(build), build=build.link, reason="a newer claim took its place")


def _made(snapshot: Snapshot) -> Claim | None:
    return snapshot.claims.get(snapshot.build.made) if snapshot.build else None


def _passed(snapshot: Snapshot) -> Claim | None:
    return snapshot.claims.get(snapshot.build.passed) if snapshot.build else None
