"""Taking a lock, keeping it, and ending the claim on it."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

from approval_resource.claims.decide import POLICY_ACTOR, apply_policies
from approval_resource.claims.end import end_change, expiry_change
from approval_resource.claims.lifecycle import handed_back, transition
from approval_resource.claims.request import Attempt, Request, Taken, _seconds
from approval_resource.errors import LockHeldError, NotYourTurnError, RequestChangedError
from approval_resource.model.claim import FACTS_CONTENT, POLICY_CONTENT, Build, Claim, Claimant
from approval_resource.model.event import Kind, State
from approval_resource.model.lock import Lock
from approval_resource.store.interface import LockStore, new_id
from approval_resource.store.transaction import ClaimChange, Commit, ReadSet, Snapshot

ABORT_REASON = "the step was stopped (aborted, or its time was up)"


def take(store: LockStore, request: Request, claimant: Claimant, attempt: Attempt) -> Taken:
    """Take the lock at once, under the attempt's id.

    A retry, which is the same build asking for the same soon after, gets the claim it has, whatever became of it; the
    attempt's id is then that claim's. After a release, or once that claim is no longer `handed_back`, there is a new claim,
    and an old one that still holds the lock is superseded. So is the build's own pending claim when it asks for something else.

    Raises:
        LockHeldError: another claim holds the lock.
        NotYourTurnError: it can be had, but others wait for it and come first.
        RequestChangedError: this build's claim on the lock was for something else, and is past changing.
    """
    claim_id, build = attempt.claim_id, claimant.build

    def decide(snapshot: Snapshot) -> Commit:
        if claim_id in snapshot.claims:
            return Commit()
        ended = []
        mine = snapshot.made
        if mine is not None and mine.state is not State.RELEASED:
            if not handed_back(mine, build, snapshot.now):
                ended += [_superseded(mine, snapshot, build)] if mine.claimed else []
            elif mine.request == request.digest:
                return Commit()
            elif mine.state is State.PENDING:
                # One whose time is up frees the lock for whoever is first in its queue.
                if _due(mine, snapshot, build) is None:
                    ended.append(_superseded(mine, snapshot, build))
            elif mine.claimed or mine.decided is not None:
                raise RequestChangedError(mine)
        holder = snapshot.holder
        if not ended:
            if holder is not None and (due := _due(holder, snapshot, build)) is not None:
                ended.append(due)
            if holder is not None and not ended:
                if not request.override_approval or holder.state is not State.PENDING:
                    raise LockHeldError(holder)
                # Instead of waiting it takes the pending claim's own place, which nobody in the queue could have.
                ended.append(_superseded(holder, snapshot, build))
            elif snapshot.lock.front is not None and snapshot.lock.front.key != claimant.key:
                raise NotYourTurnError(snapshot.lock)
        taken = _taken(_new(request, claimant, claim_id, snapshot), request, snapshot)
        record = replace(snapshot.build, made=claim_id) if snapshot.build else None
        return Commit(changes=(*ended, taken), build=record)

    attempt.in_flight = True
    try:
        done = store.commit(_read_set(request, claimant, claim_id), decide, claim_id)
    except (LockHeldError, NotYourTurnError, RequestChangedError):
        # Refused on what was read after every attempt before it, so none of those can land any more.
        attempt.in_flight = False
        raise
    own = done.after.claims.get(claim_id) or done.after.made
    if own is None:
        raise AssertionError("a claim was neither made nor found")
    attempt.claim_id = own.id
    ended = tuple(done.after.claims[event.claim_id] for event in done.events if event.claim_id != own.id)
    return Taken(own, fresh=own.id == claim_id, ended=ended)


def _read_set(request: Request, claimant: Claimant, claim_id: str) -> ReadSet:
    return ReadSet(pool=request.pool, lock_name=request.lock_name, claim_id=claim_id, build_key=claimant.key)


def _taken(claim: Claim, request: Request, snapshot: Snapshot) -> ClaimChange:
    """The change that makes the claim; policies that need nobody decide on it at once."""
    taken = ClaimChange(
        claim=claim,
        kind=Kind(claim.state.value),
        actor=str(claim.build),
        build=claim.build.link,
        reason=request.description,
        contents=request.contents,
    )
    if not claim.need_approval or not (request.terms.policy or snapshot.settings.policy):
        return taken
    judged = apply_policies(claim, request.terms, snapshot, replace(taken, actor=POLICY_ACTOR))
    return judged if judged.claim.decided else replace(judged, actor=taken.actor)


def abandon(store: LockStore, request: Request, claimant: Claimant, attempt: Attempt) -> Claim | None:
    """Make sure that an aborted build's attempt holds nothing and never will; returns the claim this ended, if any.

    One that landed is withdrawn, and so is one that an earlier run of the same build made. For one that may
    still be in flight a withdrawn claim of that id is written, so that it can't land any more.
    """
    claim_id, build = attempt.claim_id, claimant.build

    def decide(snapshot: Snapshot) -> Commit:
        own = [snapshot.claims.get(claim_id), snapshot.made]
        left = next((claim for claim in own if claim and claim.claimed and claim.request == request.digest), None)
        if left is not None:
            return Commit(
                changes=(end_change(left, snapshot, State.WITHDRAWN, actor=str(build), build=build.link, reason=ABORT_REASON),)
            )
        if own[0] is not None or not attempt.in_flight:
            return Commit()
        # A claim that never was keeps no content, and is withdrawn as one that nobody decided on.
        bare = replace(
            _new(request, claimant, claim_id, snapshot),
            payload="",
            policy="",
            facts="",
            attachments={},
            state=State.PENDING,
        )
        never = transition(bare, State.WITHDRAWN, actor=str(build), reason=ABORT_REASON, at=snapshot.now)
        return Commit(
            changes=(ClaimChange(claim=never, kind=Kind.WITHDRAWN, actor=str(build), build=build.link, reason=ABORT_REASON),)
        )

    done = store.commit(_read_set(request, claimant, claim_id), decide, new_id())
    leave_queue(store, request, claimant, attempt)
    return done.after.claims[done.events[-1].claim_id] if done.events else None


def leave_queue(store: LockStore, request: Request, claimant: Claimant, attempt: Attempt) -> None:
    """Give up the build's place in the lock's queue: this attempt's, also one still on its way there, and an earlier run's."""

    def without(lock: Lock, _: datetime) -> Lock:
        # Written even where the build isn't in the queue: a join in flight is conditional on the revision that this raises.
        return lock.left(claimant.key) if attempt.joining or lock.place_of(claimant.key) >= 0 else lock

    store.requeue(request.pool, request.lock_name, without)
    attempt.ticket, attempt.since, attempt.joining = 0, None, False


def _due(holder: Claim, snapshot: Snapshot, build: Build) -> ClaimChange | None:
    """The change that ends a holder whose time is up, for `build` that wants its lock."""
    if holder.overdue(snapshot.now):
        return expiry_change(holder, snapshot)
    if not holder.overstayed(snapshot.now):
        return None
    why = f"{holder.build} held it past {holder.hold_until:%Y-%m-%d %H:%M:%S} UTC, its hold_timeout; {build} took it over"
    return end_change(holder, snapshot, State.EXPIRED, actor=str(build), build=build.link, reason=why)


def _new(request: Request, claimant: Claimant, claim_id: str, snapshot: Snapshot) -> Claim:
    """The claim that a request makes; its place in the log and its fence come with the transaction."""
    # What the pool asks for, no pipeline can leave out.
    need_approval = request.need_approval or bool(snapshot.settings.policy)
    return Claim(
        id=claim_id,
        pool=request.pool,
        lock_name=request.lock_name,
        build=claimant.build,
        build_key=claimant.key,
        request=request.digest,
        need_approval=need_approval,
        description=request.description,
        payload=request.payload_digest,
        attachments=request.attachments,
        timestamp=snapshot.now,
        state=State.PENDING if need_approval else State.HELD,
        changed=snapshot.now,
        policy=request.digest_of(POLICY_CONTENT),
        facts=request.digest_of(FACTS_CONTENT),
        deadline=snapshot.now + request.expires_after if request.expires_after and need_approval else None,
        hold_timeout=_seconds(request.hold_timeout),
        hold_until=snapshot.now + timedelta(seconds=_seconds(request.hold_timeout)) if request.hold_timeout else None,
    )


def _superseded(claim: Claim, snapshot: Snapshot, build: Build) -> ClaimChange:
    return end_change(
        claim, snapshot, State.SUPERSEDED, actor=str(build), build=build.link, reason="a newer claim took its place"
    )
