"""Take a lock at once, and undo a stopped build's attempt at it."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

from approval_resource.claims.decide import POLICY_ACTOR, EvaluationCache, apply_policies
from approval_resource.claims.end import end_change, expiry_change
from approval_resource.claims.lifecycle import may_hand_back, transition
from approval_resource.claims.request import Attempt, Request, Taken, _seconds
from approval_resource.errors import LockHeldError, NotYourTurnError, RequestChangedError
from approval_resource.model.claim import FACTS_CONTENT, POLICY_CONTENT, Build, Claim, Claimant
from approval_resource.model.event import Kind, State
from approval_resource.model.lock import Lock
from approval_resource.store.interface import LockStore, new_id
from approval_resource.store.transaction import ClaimChange, Commit, ReadSet, Snapshot

SLOW = ("rego", "conditions")
"""Kinds of policy that may run in a child process, which may take seconds."""
ABORT_REASON = "the step was stopped (aborted, or its time was up)"


def take(store: LockStore, request: Request, claimant: Claimant, attempt: Attempt) -> Taken:
    """Take the lock at once, under the attempt's id.

    If the build's idempotency key has an earlier claim, the first case that fits decides:

    - The earlier claim was released: the build gets a new one.
    - `may_hand_back` refuses it: the build gets a new one. The earlier one is superseded if it is pending or
      approved, and counts as another build's if it is held.
    - The requests are equal: this is a retry. It gets the earlier claim, in whatever state that is, and
      `attempt.claim_id` becomes its id.
    - The earlier claim is pending: the new one supersedes it. If the deadline or lease of the earlier one is
      over, it expires instead, and the lock goes to the front of the queue.
    - The earlier claim holds the lock or was decided: `RequestChangedError`.
    - The earlier claim ended undecided: the build gets a new one.

    Raises:
        LockHeldError: another claim holds the lock.
        NotYourTurnError: the lock can be had, but another build is first in its queue.
        RequestChangedError: this build's claim was for another request, and can no longer be replaced.
    """
    claim_id, build = attempt.claim_id, claimant.build
    evaluations = EvaluationCache(request.terms)

    def decide(snapshot: Snapshot) -> Commit:
        if claim_id in snapshot.claims:
            return Commit()
        attempt.slow = any(f'"{kind}"' in request.terms.policy + snapshot.settings.policy for kind in SLOW)
        ended = []
        mine = snapshot.made
        if mine is not None and mine.state is not State.RELEASED:
            if not may_hand_back(mine, build, snapshot.now):
                # A held lock is in use: it is another build's, as any held lock is.
                ended += [_superseded(mine, snapshot, build)] if mine.claimed and mine.state is not State.HELD else []
            elif mine.request == request.digest:
                return Commit()
            elif mine.state is State.PENDING:
                # If its deadline or lease is over, it expires below instead: the queue's front gets the lock.
                if _takeover_change(mine, snapshot, build) is None:
                    ended.append(_superseded(mine, snapshot, build))
            elif mine.claimed or mine.decided is not None:
                raise RequestChangedError(mine)
        holder = snapshot.holder
        if not ended:
            if holder is not None and (due := _takeover_change(holder, snapshot, build)) is not None:
                ended.append(due)
            if holder is not None and not ended:
                if not request.override_approval or holder.state is not State.PENDING:
                    raise LockHeldError(holder)
                # The new claim replaces the pending one without queueing. No waiter loses a turn by that,
                # since the lock was not free.
                ended.append(_superseded(holder, snapshot, build))
            elif snapshot.lock.front is not None and snapshot.lock.front.key != claimant.key:
                raise NotYourTurnError(snapshot.lock)
        taken = _taken(_new(request, claimant, claim_id, snapshot), request, snapshot, evaluations)
        record = replace(snapshot.build, made=claim_id) if snapshot.build else None
        return Commit(changes=(*ended, taken), build=record)

    attempt.in_flight = True
    try:
        done = store.commit(_read_set(request, claimant, claim_id), decide, claim_id)
    except (LockHeldError, NotYourTurnError, RequestChangedError):
        # The refusal rests on a read after all of this attempt's writes, so none of them can still land.
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


def _taken(claim: Claim, request: Request, snapshot: Snapshot, evaluations: EvaluationCache) -> ClaimChange:
    """Return the change that makes the claim. Policies that need no review decide on it at once."""
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
    at = evaluations.instant(claim, snapshot, about=claim.id)
    judged = apply_policies(claim, request.terms, snapshot, replace(taken, actor=POLICY_ACTOR), evaluations, at)
    return judged if judged.claim.decided else replace(judged, actor=taken.actor)


def abandon(store: LockStore, request: Request, claimant: Claimant, attempt: Attempt) -> Claim | None:
    """Make sure that a stopped build's attempt holds nothing and never will. Leave the lock's queue, too.

    A claim that the attempt made is withdrawn. So is a claim that an earlier run of this build made for an
    equal request. While the attempt's write may still be in flight, a tombstone is written: a withdrawn claim
    with the attempt's id, which makes the late write's condition fail. Return the withdrawn claim or the
    tombstone; None where nothing was written.
    """
    claim_id, build = attempt.claim_id, claimant.build

    def decide(snapshot: Snapshot) -> Commit:
        own = [snapshot.claims.get(claim_id), snapshot.made]
        left = next((claim for claim in own if claim and claim.claimed and claim.request == request.digest), None)
        if left is not None:
            return Commit(
                changes=(end_change(left, snapshot, State.WITHDRAWN, actor=str(build), build=build.link, reason=ABORT_REASON),),
                urgent=True,
            )
        if own[0] is not None or not attempt.in_flight:
            return Commit()
        # Tombstone: the write in flight fails on a claim with its id. It has no content and no decision.
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
            changes=(ClaimChange(claim=never, kind=Kind.WITHDRAWN, actor=str(build), build=build.link, reason=ABORT_REASON),),
            urgent=True,
        )

    done = store.commit(_read_set(request, claimant, claim_id), decide, new_id())
    leave_queue(store, request, claimant, attempt)
    return done.after.claims[done.events[-1].claim_id] if done.events else None


def leave_queue(store: LockStore, request: Request, claimant: Claimant, attempt: Attempt) -> None:
    """Remove the build from the lock's queue.

    That covers the place of this attempt, a join that is still in flight, and the place of an earlier run.
    """

    def without(lock: Lock, _: datetime) -> Lock:
        # While a join may be in flight, write even if the build isn't in the queue. The write raises the
        # lock's revision, and the join is conditional on the old one.
        return lock.left(claimant.key) if attempt.joining or lock.place_of(claimant.key) >= 0 else lock

    store.requeue(request.pool, request.lock_name, without)
    attempt.ticket, attempt.since, attempt.joining = 0, None, False


def _takeover_change(holder: Claim, snapshot: Snapshot, build: Build) -> ClaimChange | None:
    """Return the change that ends an overdue or overstayed holder, or None. `build` wants the lock."""
    if holder.overdue(snapshot.now):
        return expiry_change(holder, snapshot)
    if not holder.overstayed(snapshot.now):
        return None
    why = f"{holder.build} held it past {holder.hold_until:%Y-%m-%d %H:%M:%S} UTC, its hold_timeout; {build} took it over"
    return end_change(holder, snapshot, State.EXPIRED, actor=str(build), build=build.link, reason=why)


def _new(request: Request, claimant: Claimant, claim_id: str, snapshot: Snapshot) -> Claim:
    """Return a new claim for the request. The transaction adds its place in the log and its fence."""
    # A pool's policy demands an approval even where the pipeline asks for none.
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
