"""Recording of a verdict with its consequences, and withdrawal of a pending claim."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace

from approval_resource.canonical import EMPTY, digest
from approval_resource.claims.deadline import time_change
from approval_resource.claims.decide import EvaluationCache, Terms, apply_policies, facts_of, policies_of, terms_of
from approval_resource.claims.end import end_change, update_claim
from approval_resource.claims.lifecycle import require_reviewable, reviewed
from approval_resource.claims.lookup import find
from approval_resource.documents.claims import CLAIM, claim_digest
from approval_resource.documents.settings import settings_digest
from approval_resource.errors import (
    AlreadyReviewedError,
    ChangedSinceShownError,
    ConfigError,
    LinkSpentError,
    NotEntitledError,
    ReviewsFullError,
    ReviewTimeoutError,
    StaleLockError,
)
from approval_resource.model.claim import MAX_REVIEWS, Claim, Review, Verdict
from approval_resource.model.event import Kind, State
from approval_resource.model.settings import Settings
from approval_resource.program import called
from approval_resource.store.interface import LockStore, new_id
from approval_resource.store.transaction import ClaimChange, Commit, ReadSet, Snapshot

MAX_CLAIM = 112 * 1024
"""Upper bound of a claim's stored size, in bytes."""
ROOM = 59_300
"""Bytes of `MAX_CLAIM` that the reviews of an undecided claim must not fill.

The deciding review, its transition, the claim's end and its use need them, each with the longest names.
"""


MAX_PASSES = 100
"""Upper bound of the claims that may pass one freeze of a pool."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """The claim after a review, and whether the review changed anything."""

    claim: Claim
    changed: bool


def review(  # noqa: PLR0913 - each is a word of its own at the call
    store: LockStore,
    claim_id: str,
    *,
    reviewer: str,
    verdict: Verdict,
    comment: str = "",
    represented_as: tuple[str, ...] = (),
    forced: bool = False,
    inputs: Mapping[str, str] = EMPTY,
    build: str = "",
    groups: tuple[str, ...] = (),
    seen: str = "",
    link: str = "",
) -> Recorded:
    """Record that person's verdict and, in the same transaction, the policies' decision, if there is one.

    `build`: URL of the build in which they gave it, for the log. `groups`: the person's groups, by their
    issuer. `seen`: `shown_digest` of what they were shown; empty to skip that comparison. `link`: id of the
    one-time link that they used; this call marks it as used.

    A repeated verdict changes nothing, with the exceptions that `entitlement.merged` lists. A different
    verdict replaces the earlier one until the claim is decided. The policies are evaluated in either case:
    time or a new pool policy may let an old verdict decide.

    Raises:
        LockNotFoundError: there is no such claim.
        NoApprovalNeededError: it asks for no approval.
        AlreadyReviewedError: it was decided or has ended.
        ReviewTimeoutError: its deadline has passed; the claim is expired by this call.
        NotEntitledError: no policy gives this person a say, or lets them force a decision.
        ConfigError: a rule in `represented_as` doesn't exist or fit, an input is invalid, or a policy needs
            the Rego engine, which is not installed.
        ReviewsFullError: it has as many reviews as it can hold, in number or in bytes.
        ChangedSinceShownError: it, or its pool's settings, changed since they were shown.
        LinkSpentError: the link was used before.
    """
    found = find(store, claim_id)
    terms = terms_of(store, found)
    if (
        forced
        and verdict is Verdict.APPROVE
        and found.state is State.APPROVED
        and store.settings(found.pool).frozen(store.now())
    ):
        _require_seen(found, store.settings(found.pool), seen)
        return _break_glass(store, found, terms, reviewer, comment, groups)
    evaluations = EvaluationCache(terms)

    def decide(snapshot: Snapshot) -> Commit:
        claim = snapshot.claims[claim_id]
        if claim.late(snapshot.now):
            change = time_change(claim, terms, snapshot, evaluations)
            return Commit(changes=(change,) if change else ())
        if snapshot.link_spent:
            raise LinkSpentError(claim)
        require_reviewable(claim)
        _require_seen(claim, snapshot.settings, seen)
        at = evaluations.instant(claim, snapshot)
        new = Review(
            reviewer=reviewer,
            verdict=verdict,
            comment=comment,
            at=at,
            represented_as=represented_as,
            forced=forced,
            inputs=inputs,
            groups=groups,
        )
        given = evaluations.once("review", lambda: _with(claim, new, terms, snapshot))
        said = ClaimChange(claim=given, kind=Kind.REVIEWED, actor=reviewer, build=build, reason=comment, verdict=verdict.value)
        change = apply_policies(given, terms, snapshot, said, evaluations, at)
        if change.claim.decided is None:
            if given == claim:
                # If the link stayed valid, it could later undo a verdict that comes after this one.
                return Commit(spends=link)
            # A review that is not longer than the one it replaces always fits.
            grown = _size(change.claim) > max(MAX_CLAIM - ROOM, _size(claim))
            if len(given.reviews) > MAX_REVIEWS or grown:
                raise ReviewsFullError(claim)
        return Commit(changes=(change,), spends=link)

    read = ReadSet(pool=found.pool, lock_name=found.lock_name, claim_id=claim_id, link=link)
    done = store.commit(read, decide, new_id())
    claim = done.after.claims[claim_id]
    if done.events and claim.state is State.EXPIRED:
        raise ReviewTimeoutError(claim)
    if done.events and done.events[-1].actor != reviewer:
        raise AlreadyReviewedError(claim)  # time had completed its approval before the deadline, and this review comes after
    return Recorded(claim, changed=bool(done.events))


def shown_digest(claim: Claim, settings: Settings) -> str:
    """Return the digest of all that a reviewer is shown: the claim, its reviews, and the pool's settings."""
    return digest({"claim": claim_digest(claim), "settings": settings_digest(settings)})


def _require_seen(claim: Claim, settings: Settings, seen: str) -> None:
    if seen and seen != shown_digest(claim, settings):
        raise ChangedSinceShownError(claim)


def withdraw(
    store: LockStore, claim: Claim, *, actor: str, reason: str = "", forced: bool = False, groups: tuple[str, ...] = ()
) -> Claim:
    """Withdraw a pending claim for a person whose rejection counts.

    With `forced`, anybody may withdraw it, and its event is marked as forced.

    A step that takes back its own claim, as after an abort, asks nobody: see `claims/end.py`.

    Raises:
        StaleLockError: it is no longer pending.
        NotEntitledError: no policy gives this person a say.
    """
    terms = Terms() if forced else terms_of(store, claim)

    def withdrawn(current: Claim, snapshot: Snapshot) -> ClaimChange:
        if current.state is not State.PENDING:
            raise StaleLockError(current, "withdrawn", "release" if current.claimed else "show")
        if not forced and (refused := _without_a_say(current, terms, snapshot, actor, groups)):
            why = f"{refused}; withdraw --force --reason TEXT takes it back all the same, on record"
            raise NotEntitledError(current, why, "withdraw")
        change = end_change(current, snapshot, State.WITHDRAWN, actor=actor, reason=reason)
        return replace(change, forced=True) if forced else change

    return update_claim(store, claim, withdrawn)


def is_older(claim: Claim, newer: Claim) -> bool:
    """Whether a claim waits for its decision, and is an older one of the same pipeline in the same pool."""
    return (
        claim.state is State.PENDING
        and claim.pool == newer.pool
        and claim.timestamp < newer.timestamp
        and claim.build.same_pipeline(newer.build)
    )


def supersede(store: LockStore, claim: Claim, newer: Claim, *, actor: str, groups: tuple[str, ...] = ()) -> Claim:
    """End an older pending claim of a pipeline that has a newer approved one.

    The person must be one whose rejection counts, as for `withdraw`. A lock has one open claim at most, so an
    older one that still waits is for another lock of the pool.

    Raises:
        StaleLockError: it is no longer pending.
        ConfigError: it is no older claim of that pipeline, or the newer one isn't approved.
        NotEntitledError: no policy gives this person a say.
    """
    terms = terms_of(store, claim)

    def superseded(current: Claim, snapshot: Snapshot) -> ClaimChange:
        if current.state is not State.PENDING:
            raise StaleLockError(current, "superseded", "show")
        if newer.state is not State.APPROVED or not is_older(current, newer):
            raise ConfigError([f"claim {claim.id} is no older claim of a pipeline that has {newer.id} approved"])
        if refused := _without_a_say(current, terms, snapshot, actor, groups):
            raise NotEntitledError(current, refused, "supersede")
        return end_change(current, snapshot, State.SUPERSEDED, actor=actor, reason=f"the newer claim {newer.id} was approved")

    return update_claim(store, claim, superseded)


def _without_a_say(claim: Claim, terms: Terms, snapshot: Snapshot, actor: str, groups: tuple[str, ...]) -> str | None:
    """Return why that person's rejection wouldn't count, or None if it would."""
    from approval_resource.policy import entitlement

    try:
        policies = policies_of(terms, snapshot.settings.policy)
    except ConfigError as broken:
        return f"a policy can't be read ({broken.problems[0]})"
    against = Review(reviewer=actor, verdict=Verdict.REJECT, at=snapshot.now, groups=groups)
    return entitlement.refusal(policies, facts_of(claim, terms), [*claim.reviews.values()], against)


def _break_glass(
    store: LockStore, claim: Claim, terms: Terms, reviewer: str, comment: str, groups: tuple[str, ...]
) -> Recorded:
    """Let an approved claim pass the pool's freeze. The pool's policy must let the reviewer bypass it.

    Raises:
        NotEntitledError: the pool's policy doesn't let the reviewer bypass the freeze.
        AlreadyReviewedError: there is no freeze any more.
        ConfigError: too many claims may pass.
    """
    from approval_resource.policy import entitlement

    def decide(snapshot: Snapshot) -> Commit:
        freeze = snapshot.settings.freeze
        if freeze is None:
            raise AlreadyReviewedError(claim)  # the freeze was lifted meanwhile
        if claim.id in freeze.passes:
            return Commit()
        asked = Review(reviewer=reviewer, verdict=Verdict.APPROVE, comment=comment, at=snapshot.now, forced=True, groups=groups)
        # The claim's own policy doesn't count: its pipeline wrote it, and must not bypass the pool's freeze.
        refused = entitlement.refusal(policies_of(Terms(), snapshot.settings.policy), facts_of(claim, terms), [], asked)
        if refused is not None:
            raise NotEntitledError(claim, f"the pool is frozen, and {refused}")
        if len(freeze.passes) >= MAX_PASSES:
            raise ConfigError([f"{MAX_PASSES} claims may pass the freeze already; lift it: {called()} pool unfreeze"])
        settings = replace(snapshot.settings, freeze=replace(freeze, passes=(*freeze.passes, claim.id)))
        return Commit(settings=settings, actor=reviewer, reason=f"claim {claim.id} may pass the freeze: {comment}")

    # Settings belong to no lock, so their event is written for the lock without a name.
    done = store.commit(ReadSet(pool=claim.pool), decide, new_id())
    return Recorded(claim, changed=bool(done.events))


def _with(claim: Claim, new: Review, terms: Terms, snapshot: Snapshot) -> Claim:
    """Return the claim with that review in it, or the same claim if the review changes nothing.

    Raises:
        NotEntitledError, ConfigError: as `review`.
    """
    from approval_resource.policy import entitlement
    from approval_resource.policy.evaluate import dropped
    from approval_resource.policy.kinds import rego
    from approval_resource.policy.sandbox import parent as sandbox

    try:
        policies = policies_of(terms, snapshot.settings.policy)
    except ConfigError as broken:
        raise NotEntitledError(claim, f"a policy can't be read ({broken.problems[0]})") from broken
    if any(policy.rego for policy in policies) and not rego.installed():
        raise ConfigError([f"the policy of claim {claim.id} {rego.MISSING_ENGINE}; nothing was recorded"])
    before = claim.reviews.get(new.reviewer)
    merged = entitlement.merged(policies, before, new)
    if merged is before:
        return claim
    refused = entitlement.refusal(policies, facts_of(claim, terms), [*claim.reviews.values()], merged)
    if refused is not None:
        raise NotEntitledError(claim, refused)
    with sandbox.budget():
        applying = [policy for policy in policies if not dropped(policy, facts_of(claim, terms))]
        problems = entitlement.problems(applying, facts_of(claim, terms), [*claim.reviews.values()], merged)
    if problems:
        raise ConfigError(problems)
    return reviewed(claim, merged)


def _size(claim: Claim) -> int:
    """Upper bound of the stored size in bytes: JSON's punctuation is more than the store counts."""
    return len(json.dumps(CLAIM.write(claim), ensure_ascii=False, separators=(",", ":")).encode())
