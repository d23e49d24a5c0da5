"""Decisions from Concourse: whoever starts a job by hand approves or rejects a claim in it."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path

from approval_resource.claims import review as reviews
from approval_resource.claims.decide import missing
from approval_resource.claims.lookup import find
from approval_resource.errors import (
    ApprovalError,
    ConfigError,
    LockNotFoundError,
    NoApprovalNeededError,
    NotAwaitingDecisionError,
    Problems,
    describe_state,
)
from approval_resource.model.claim import MAX_COMMENT, Build, Claim, Verdict
from approval_resource.model.event import Event, State
from approval_resource.policy.language.identities import at_concourse
from approval_resource.steps.files import claim_id_in, read_text
from approval_resource.steps.put_params import DecideParams
from approval_resource.steps.step import Step
from approval_resource.store.interface import LockStore
from approval_resource.text import clean, quoted, visible

ADDRESS = re.compile(r"https?://[^\s#]+")
DONE = {Verdict.APPROVE: State.APPROVED, Verdict.REJECT: State.REJECTED}


def reviewer_of(build: Build) -> str:
    """Return the identity of the person who started the build.

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
                f"Concourse's own address is {quoted(build.url) if build.url else 'not known'}, so it isn't known which Concourse "
                f"the user {quoted(build.created_by)} belongs to; set CONCOURSE_EXTERNAL_URL of the web node to an http or https address"
            ]
        )
    return at_concourse(build.url, build.created_by)


def decide(step: Step, params: DecideParams) -> Claim:
    """Record the verdict of the person who started this build, and return the claim after it.

    A second run by the same build, as with `attempts`, changes nothing and returns the claim as it is now. A
    stopped step says whether its review is on record. The review stays, since it may have opened a gate.

    Raises:
        ApprovalError: nobody is known to have started the build, the claim waits for no decision, or no
            policy gives that person a say.
    """
    verdict = Verdict(params.action)
    problems = Problems()
    reviewer = problems.gather(reviewer_of, step.build)
    comment = problems.gather(_comment, step.directory, params)
    claim_id = problems.gather(_claim_id_from, step.directory, params.from_)
    problems.require_none()
    if reviewer is None or comment is None or claim_id is None:
        raise AssertionError("a value is None, but no problem was recorded for it")
    claim = _claim_with_id(step, claim_id)
    step.say(f"{visible(step.build.created_by)} of {clean(step.build.url)} is about to {verdict.value} claim {claim.id}")
    for line in _about(claim):
        step.say(f"  {line}")
    step.undo.append(partial(_stopped, step, claim.id, reviewer, verdict))
    if _said_before(step, claim, reviewer, verdict):
        step.say(f"This build said so before; nothing has changed. Claim {claim.id} is {describe_state(claim)}")
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
        NoApprovalNeededError: it asked for no approval.
        NotAwaitingDecisionError: it isn't pending, or doesn't hold its lock.
    """
    if not claim.need_approval:
        raise NoApprovalNeededError(claim)
    lock = store.lock(claim.pool, claim.lock_name)
    if claim.state is State.PENDING and lock is not None and lock.holder == claim.id:
        return
    raise NotAwaitingDecisionError(
        claim, store.claim(lock.holder) if lock is not None and lock.holder not in ("", claim.id) else None
    )


def _said_before(step: Step, claim: Claim, reviewer: str, verdict: Verdict) -> bool:
    """Whether this build gave the same verdict before, and must not give it again.

    If the claim is pending and this was the person's newest verdict, a repetition is harmless and allowed.
    """
    said = _said(step.store, claim, reviewer)
    own = [event for event in said if (event.build, event.verdict) == (step.build.link, verdict.value) and event.build]
    return bool(own) and (claim.state is not State.PENDING or own[-1] is not said[-1])


def _said(store: LockStore, claim: Claim, reviewer: str) -> list[Event]:
    """Return the events of that person's reviews of the claim, oldest first."""
    events = store.events(claim.pool, lock_name=claim.lock_name, since=claim.timestamp)
    return [event for event in events if (event.claim_id, event.actor) == (claim.id, reviewer) and event.verdict]


def _stopped(step: Step, claim_id: str, reviewer: str, verdict: Verdict) -> None:
    """Print whether the review of a stopped step is on record."""
    claim = find(step.store, claim_id)
    said = [event.verdict for event in _said(step.store, claim, reviewer) if event.build == step.build.link]
    on_record = (
        f"{clean(step.build.created_by)}'s {verdict.value} of claim {claim.id} is on record and stays"
        if said[-1:] == [verdict.value]
        else f"{clean(step.build.created_by)} said nothing of claim {claim.id} in this build"
    )
    step.say(f"Stopped (aborted, or its time was up): {on_record}; the claim is {describe_state(claim)}")


def _claim_id_from(directory: Path, from_: str) -> str:
    """Return the claim id that a get or put wrote into the directory that `from` names.

    Raises:
        ConfigError: there is no such directory, or it is another resource's.
    """
    claim_id = claim_id_in(directory, from_)
    if claim_id is None:
        raise ConfigError(
            [
                f"params.from: there is no directory {quoted(from_)}; name a get of the claim that comes before in this job, "
                "and list it in inputs"
            ]
        )
    return claim_id


def _claim_with_id(step: Step, claim_id: str) -> Claim:
    """Return the claim with that id.

    Raises:
        ConfigError: it is of another lock than the source's.
        LockNotFoundError: the pool has no such claim.
    """
    claim = step.store.claim(claim_id)
    if claim is None or claim.pool != step.source.pool:
        raise LockNotFoundError(f"pool {step.source.pool} has no claim {claim_id}; check from, source.pool and source.table")
    step.require_own_lock(claim.lock_name, "params.from")
    return claim


def _comment(directory: Path, params: DecideParams) -> str:
    """Return the comment, given inline or in a file.

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
    asked = f", started by {visible(claim.build.created_by)}" if claim.build.created_by else ""
    lines = [
        f"lock {claim.lock_name} in pool {claim.pool}, claimed at {claim.timestamp:%Y-%m-%d %H:%M:%S} UTC",
        f"by {clean(str(claim.build))}{asked}{f' ({claim.build.link})' if claim.build.link else ''}",
    ]
    if claim.description:
        lines.append(f"for: {clean(claim.description)}")
    lines += [f"attached: {clean(name)}, sha256 {file.digest}" for name, file in sorted(claim.attachments.items())]
    return [*lines, f"it is {describe_state(claim)}"]


def _missing(store: LockStore, claim: Claim) -> str:
    """Return what the claim still needs. If that can't be told, the step must not fail: it has recorded."""
    try:
        return missing(store, claim)
    except ApprovalError as unknown:
        return f"what is missing can't be determined now ({unknown})"


def _outcome(recorded: reviews.Recorded, verdict: Verdict, needs: str) -> str:
    claim = recorded.claim
    if claim.state is DONE[verdict]:
        return f"Claim {claim.id} of lock {claim.lock_name} is {describe_state(claim)}"
    told = "Recorded" if recorded.changed else "This person said so before, and nothing has changed"
    if claim.state is State.PENDING:
        return f"{told}; claim {claim.id} of lock {claim.lock_name} is not decided yet{f': {needs}' if needs else ''}"
    return f"{told}; claim {claim.id} of lock {claim.lock_name} has been {describe_state(claim)}"
