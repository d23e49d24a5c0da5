"""Gate of a claim: waiting for the approval, and the record that a build passed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta

from approval_resource.claims.deadline import apply_time
from approval_resource.claims.decide import terms_of
from approval_resource.claims.end import update_claim
from approval_resource.claims.freeze import freezes, shut_reasons
from approval_resource.claims.lifecycle import may_hand_back, require_passable
from approval_resource.claims.lookup import find
from approval_resource.claims.poller import REMIND, Poller
from approval_resource.errors import (
    ApprovalLapsedError,
    ApprovalSpentError,
    GateTimeoutError,
    PoolFrozenError,
)
from approval_resource.model.claim import Build, Claim, Review
from approval_resource.model.event import Kind, State
from approval_resource.store.interface import LockStore, new_id
from approval_resource.store.transaction import ClaimChange, Commit, ReadSet, Snapshot


def prolong(store: LockStore, claim: Claim, timeout: timedelta, build: Build) -> Claim:
    """Move a pending claim's deadline to `timeout` after its making.

    A later deadline stays. So does one that has passed.
    """
    deadline = claim.created_at + timeout

    def prolonged(current: Claim, snapshot: Snapshot) -> ClaimChange | None:
        if current.state is not State.PENDING or current.late(snapshot.now):
            return None
        if current.deadline is not None and current.deadline >= deadline:
            return None
        return ClaimChange(
            claim=replace(current, deadline=deadline),
            kind=Kind.DEADLINE,
            actor=str(build),
            build=build.link,
            reason=f"to be decided by {deadline:%Y-%m-%d %H:%M:%S} UTC",
        )

    return update_claim(store, claim, prolonged)


def wait(  # noqa: PLR0913 - each is a word of its own at the call
    store: LockStore,
    claim: Claim,
    *,
    poller: Poller,
    give_up_at: datetime | None = None,
    limit: str = "this step's timeout",
    reviewed: Callable[[Claim, Review], None] = lambda claim, review: None,
    remind: Callable[[Claim, timedelta | None], None] = lambda claim, left: None,
    frozen: Callable[[str], None] = lambda why: None,
) -> Claim:
    """Return the claim once it is approved and no freeze keeps its gate shut.

    `reviewed` is called with the claim and each new review. `remind` is called every few minutes with the
    time left, or with None if there is no end; it is not called while a freeze keeps the gate shut. `frozen`
    is called with each new reason that keeps an approved claim waiting. `give_up_at` ends the wait, not the
    claim; `limit` describes the option that set it.

    Raises:
        ReviewTimeoutError: its deadline passed; the claim is expired then.
        GateTimeoutError: `give_up_at` came before an approval.
        PoolFrozenError: `give_up_at` came before the end of a freeze.
        Others: as `require_passable`.
    """
    told = claim.reviews
    reminded = store.now()
    terms, why = None, ""
    while True:
        if claim.late(store.now()) or claim.due(store.now()):
            claim = poller.call(apply_time, store, claim)
        for who, review in claim.reviews.items():
            if told.get(who) != review and claim.state is State.PENDING:
                reviewed(claim, review)
        told = claim.reviews
        if claim.state is not State.PENDING:
            require_passable(claim, limit if claim.deadline == give_up_at else "")
            terms = terms or poller.call(terms_of, store, claim)
            before, why = why, shut_reasons(claim, terms, poller.call(store.settings, claim.pool), store.now())
            if not why:
                return claim
            if why != before:
                frozen(why)
        now = store.now()
        if give_up_at is not None and give_up_at <= now:
            raise PoolFrozenError(claim, f"{why}. Gave up after {limit}") if why else GateTimeoutError(claim, limit)
        if now - reminded >= REMIND and not why:
            ends = [end for end in (claim.deadline, give_up_at) if end is not None]
            remind(claim, min(ends) - now if ends else None)
            reminded = now
        poller.pause()
        if why:
            poller.pause()  # a poll of a frozen gate costs more, and nobody needs the end of a freeze at once
        # The cheap read is only a reason to look closer. What opens a gate is always read consistently.
        if poller.call(store.glance, claim.id) != claim:
            claim = poller.call(find, store, claim.id)


def pass_through(store: LockStore, claim: Claim, build: Build, *, spend: bool, reuse: bool = False) -> Claim:
    """Record that the claim's approval let `build` pass the gate. A retry records nothing.

    With `spend`, this build uses up the approval. With `reuse`, it also passes if another build has used up
    the approval. A build with the idempotency key of the one that used it up is a retry, if `may_hand_back`
    agrees.

    Raises:
        ApprovalSpentError: another build used the approval.
        ApprovalLapsedError: the approval is older than its policy's `valid_for`.
        PoolFrozenError: a freeze is in effect that nobody broke for this claim.
        Others: as `require_passable`, for the claim's state at the commit.
    """
    key = build.key()
    terms = terms_of(store, claim)

    def decide(snapshot: Snapshot) -> Commit:
        current = snapshot.claims[claim.id]
        require_passable(current)
        if snapshot.build is None:
            raise AssertionError("a passage is recorded for a build")
        if current.valid_until is not None and current.valid_until <= snapshot.now:
            raise ApprovalLapsedError(current)
        retried = current.spent == key and may_hand_back(current, build, snapshot.now)
        if spend and current.spent and not retried and not reuse:
            raise ApprovalSpentError(current)
        # A build's record doesn't prove that it passed, so a freeze also stops builds that passed before.
        if why := shut_reasons(current, terms, snapshot.settings, snapshot.now):
            raise PoolFrozenError(current, why)
        spends = spend and not current.spent
        if snapshot.build.passed == current.id and not spends:
            return Commit()
        broken = [one.broken_by for one in freezes(current, terms, snapshot.settings, snapshot.now)]
        reason = f"passed a freeze, broken by {'; '.join(dict.fromkeys(broken))}" if broken else ""
        after = replace(current, spent=key, spent_by=str(build), spent_job=build.job_key) if spends else current
        passage = ClaimChange(
            claim=after, kind=Kind.SPENT if spends else Kind.PASSED, actor=str(build), build=build.link, reason=reason
        )
        return Commit(changes=(passage,), build=replace(snapshot.build, passed=current.id))

    read = ReadSet(pool=claim.pool, lock_name=claim.lock_name, claim_id=claim.id, build_key=key)
    return store.commit(read, decide, new_id()).after.claims[claim.id]
