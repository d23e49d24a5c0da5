"""Decisions from Concourse: whoever starts a job by hand approves or rejects a claim in it."""

from __future__ import annotations

import re
from pathlib import Path

from approval_resource.claims import review as reviews
from approval_resource.claims.decide import missing
from approval_resource.errors import ApprovalError, ConfigError, LockNotFoundError, StaleLockError, describe_state
from approval_resource.model.claim import MAX_COMMENT, Build, Claim, Verdict
from approval_resource.model.event import State
from approval_resource.policy.language.identities import at_concourse
from approval_resource.steps.files import claim_id_in, read_text
from approval_resource.steps.put_params import DecideParams
from approval_resource.steps.step import Step
from approval_resource.store.interface import LockStore
from approval_resource.text import clean, quoted

ADDRESS = re.compile(r"https?://[^\s#]+")
DONE = {Verdict.APPROVE: State.APPROVED, Verdict.REJECT: State.REJECTED}


def reviewer_of(build: Build) -> str:
    """Return the identity of who started the build.

    Raises:
        ConfigError: Concourse doesn't say who that was, or which Concourse it is.
    """
    if not build.created_by.strip():
        raise ConfigError(
            [
                "nobody is known to have started this build, so nobody can decide in it: set expose_build_created_by: true on this "
                "resource (beside its source, not in it), and start the job by hand, since a build that the scheduler starts is nobody's"
            ]
        )
    if not ADDRESS.fullmatch(build.url):
        raise ConfigError(
            [
                f"Concourse's own address is {quoted(build.url) if build.url else 'not known'}, so nobody can say whose "
                f"{quoted(build.created_by)} is; set CONCOURSE_EXTERNAL_URL of the web node to an http or https address"
            ]
        )
    return at_concourse(build.url, build.created_by)


def decide(step: Step, params: DecideParams) -> Claim:
    """Record the verdict of who started this build, and return the claim as it is then.

    The same build again, as by `attempts`, changes nothing and returns the claim as it is by now.

    Raises:
        ApprovalError: nobody is known to decide, the claim can't be decided on, or no policy hears them.
    """
    verdict = Verdict(params.action)
    reviewer = reviewer_of(step.build)
    comment = _comment(step.directory, params)
    claim = _meant(step, params)
    step.say(f"{clean(step.build.created_by)} of {clean(step.build.url)} is about to {verdict.value} claim {claim.id}")
    for line in _about(claim):
        step.say(f"  {line}")
    if _said_before(step.store, claim, step.build, reviewer, verdict):
        step.say(f"This build said so before; nothing has changed. The claim is {describe_state(claim)}")
        return claim
    if not (params.force and claim.state is State.APPROVED):
        require_newest(step.store, claim)
    recorded = reviews.review(
        step.store,
        claim.id,
        reviewer=reviewer,
        verdict=verdict,
        comment=comment,
        represented_as=params.as_,
        forced=params.force,
        inputs=params.inputs,
        build=step.build.link,
    )
    step.say(_outcome(recorded, verdict, _missing(step.store, recorded.claim)))
    return recorded.claim


def require_newest(store: LockStore, claim: Claim) -> None:
    """Pass for the claim that waits for its decision on its lock now.

    Raises:
        StaleLockError: it doesn't wait any more, or another one does.
    """
    lock = store.lock(claim.pool, claim.lock_name)
    if claim.state is State.PENDING and lock is not None and lock.holder == claim.id:
        return
    newer = store.claim(lock.holder) if lock is not None and lock.holder not in ("", claim.id) else None
    if newer is None:
        raise StaleLockError(claim, "decided on")
    raise StaleLockError(
        claim,
        f"decided on: the lock's newest claim is {newer.id} of {clean(str(newer.build))}, which is {newer.state.value}. "
        "Look at that one, and start this job again for it",
    )


def _said_before(store: LockStore, claim: Claim, build: Build, reviewer: str, verdict: Verdict) -> bool:
    """Whether an earlier step of this build gave the same verdict on the claim, which no longer waits."""
    if claim.state is State.PENDING or not build.link:
        return False
    said = (reviewer, build.link, verdict.value)
    events = store.events(claim.pool, lock_name=claim.lock_name, since=claim.timestamp)
    return any((event.actor, event.build, event.verdict) == said for event in events if event.claim_id == claim.id)


def _meant(step: Step, params: DecideParams) -> Claim:
    """Return the claim whose get left the directory that `from` names.

    Raises:
        ConfigError: there is no such directory, or it is another resource's.
        LockNotFoundError: the pool has no such claim.
    """
    claim_id = claim_id_in(step.directory, params.from_)
    if claim_id is None:
        raise ConfigError(
            [
                f"params.from: there is no directory {quoted(params.from_)}; name a get of the claim that comes before in this job, "
                "and list it in inputs"
            ]
        )
    claim = step.store.claim(claim_id)
    if claim is None or claim.pool != step.source.pool:
        raise LockNotFoundError(f"pool {step.source.pool} has no claim {claim_id}; check from and source.pool")
    step.require_own_lock(claim.lock_name, "params.from")
    return claim


def _comment(directory: Path, params: DecideParams) -> str:
    """Return the comment, from wherever it is given.

    Raises:
        ConfigError: it can't be read, is too long, or is missing where a decision is forced.
    """
    comment = (
        params.comment if params.comment_file is None else read_text(directory, params.comment_file, "params.comment_file")
    )
    comment = clean(comment.strip())
    where = "params.comment" if params.comment_file is None else "params.comment_file"
    if len(comment) > MAX_COMMENT:
        raise ConfigError([f"{where}: must have at most {MAX_COMMENT} characters, not {len(comment)}"])
    if params.force and not comment:
        raise ConfigError([f"{where}: required with force, since the record shall tell why"])
    return comment


def _about(claim: Claim) -> list[str]:
    """Return lines for the build log: which claim it is, who asked for it, and what for."""
    asked = f", started by {clean(claim.build.created_by)}" if claim.build.created_by else ""
    lines = [
        f"lock {claim.lock_name} in pool {claim.pool}, claimed at {claim.timestamp:%Y-%m-%d %H:%M:%S} UTC",
        f"by {clean(str(claim.build))}{asked}{f' ({claim.build.link})' if claim.build.link else ''}",
    ]
    if claim.description:
        lines.append(f"for: {clean(claim.description)}")
    lines += [f"attached: {clean(name)}, sha256 {file.digest}" for name, file in sorted(claim.attachments.items())]
    return [*lines, f"it is {describe_state(claim)}"]


def _missing(store: LockStore, claim: Claim) -> str:
    """Return what the claim still needs. A failure to tell must not fail a step whose review is recorded."""
    try:
        return missing(store, claim)
    except ApprovalError as unknown:
        return f"what can't be told now: {unknown}"


def _outcome(recorded: reviews.Recorded, verdict: Verdict, needs: str) -> str:
    claim = recorded.claim
    needed = f": {needs}" if needs else ""
    if claim.state is State.PENDING and not recorded.changed:
        return f"This person said so before, and nothing has changed; claim {claim.id} is not decided yet{needed}"
    if claim.state is State.PENDING:
        return f"Recorded; claim {claim.id} is not decided yet{needed}"
    if claim.state is DONE[verdict]:
        return f"Claim {claim.id} of lock {claim.lock_name} is {describe_state(claim)}"
    return f"Recorded; claim {claim.id} of lock {claim.lock_name} has been {describe_state(claim)}"
