"""out: claim a lock, hold it for longer, release it, wait for a decision, or give one."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from approval_resource.claims import acquire, wait_for_lock
from approval_resource.claims import release as releases
from approval_resource.claims.decide import Terms
from approval_resource.claims.end import renew
from approval_resource.claims.lifecycle import require_open
from approval_resource.claims.proof import state_event
from approval_resource.claims.request import Attempt, Request
from approval_resource.errors import ConfigError, LockNotFoundError, Problems, describe_state
from approval_resource.model.claim import Claim, Claimant
from approval_resource.model.event import Event, State
from approval_resource.steps.decide import decide
from approval_resource.steps.files import claim_id_in, read_attachments, read_object, require_unchanged
from approval_resource.steps.gate import pass_gate
from approval_resource.steps.protocol import Source, Version
from approval_resource.steps.put_params import AwaitParams, ClaimParams, DecideParams, PutParams, ReleaseParams, RenewParams
from approval_resource.steps.report import Waiting, metadata, who_decides
from approval_resource.steps.step import Step
from approval_resource.steps.terms import read_terms
from approval_resource.text import quoted


def check_put(source: Source, params: PutParams) -> None:
    """Pass if the options fit together.

    Raises:
        ConfigError: every contradiction.
    """
    problems = Problems()
    if source.states:
        problems.add(
            "source.states: a resource with states is read-only, since a put's version would hide those before it from check; "
            "put to a resource without states"
        )
    named = None if isinstance(params, DecideParams) else params.lock_name
    lock_name = named or source.lock_name
    if source.lock_name is not None and named not in (None, source.lock_name):
        problems.add("params.lock_name: is not the source's lock_name; use one of them, or another resource")
    match params:
        case ClaimParams():
            if params.wait and not params.need_approval:
                problems.add("params.wait: waits for a decision, which needs need_approval: true")
            if (params.policy is not None or params.policy_file is not None) and not params.need_approval:
                problems.add("params.policy: rules for an approval, which needs need_approval: true")
            if params.expires_after and not params.need_approval:
                problems.add(
                    "params.expires_after: is how long there is to decide, which needs need_approval: true; "
                    "for how long a lock may be held, see hold_timeout"
                )
        case AwaitParams() | ReleaseParams() | RenewParams():
            if params.from_ is None and lock_name is None:
                problems.add("params.lock_name: required where from is not given")
        case DecideParams():
            if params.comment and params.comment_file is not None:
                problems.add("params.comment_file: give comment or comment_file, not both")
            if params.inputs and params.action == "reject":
                problems.add("params.inputs: is what an approval fills in; a rejection tells why in its comment")
    problems.require_none()


def put(step: Step, params: PutParams) -> dict[str, Any]:
    """Do what `action` says; return the version and metadata of the claim it was about.

    Raises:
        ApprovalError: it could not be done, or the gate stays shut.
    """
    match params:
        case ClaimParams():
            claim = _claim(step, params)
        case ReleaseParams():
            claim = _release(step, params)
        case AwaitParams():
            claim = _await(step, params)
        case RenewParams():
            claim = _renew(step, params)
        case DecideParams():
            claim = decide(step, params)
    event: Event | None
    try:
        event = state_event(step.store, claim, claim.state, claim.changed, step.poller)
    except LockNotFoundError:
        event = None  # removed by age; what this step did stands
    return {"version": Version.of(claim).render(), "metadata": metadata(claim, claim.state.value, event)}


def _abandon(step: Step, request: Request, claimant: Claimant, attempt: Attempt) -> None:
    """Withdraw a stopped step's claim, even if its answer was already written, and leave the queue."""
    waited = attempt.ticket > 0
    left = acquire.abandon(step.store, request, claimant, attempt)
    if left is not None:
        step.say(f"Stopped (aborted, or its time was up): claim {left.id} of lock {left.lock_name} is {left.state.value}")
    elif waited:
        step.say(f"Stopped (aborted, or its time was up): left the queue for the lock {request.lock_name}; nothing is claimed")


def _claim(step: Step, params: ClaimParams) -> Claim:
    say, claimant, attempt = step.say, Claimant(step.build, params.claim_key), Attempt()
    request = _request(step.source, params, step.directory, say)
    step.undo.append(partial(_abandon, step, request, claimant, attempt))
    say(f"Claiming the lock {request.lock_name} in pool {request.pool} for {step.build}")
    taken = wait_for_lock.acquire(
        step.store,
        request,
        claimant,
        attempt,
        poller=step.poller,
        standing=Waiting(say).tell,
        wait_timeout=params.wait_timeout,
    )
    claim = taken.claim
    for ended in taken.ended:
        say(f"The claim {ended.id} on it is {describe_state(ended)}")
    if taken.fresh:
        say(f"Claimed the lock {claim.lock_name}: claim {claim.id}, the lock's claim number {claim.fence}")
    else:
        say(f"This build asked for that before: claim {claim.id}, {claim.state.value}")
    require_open(claim)
    if not params.need_approval and claim.need_approval:
        # A pipeline that doesn't wait would go on without the approval that the pool's policy requires.
        say(f"The policy of pool {claim.pool} asks for an approval, though params.need_approval doesn't: waiting for it here")
    if params.wait or claim.need_approval != params.need_approval:
        return pass_gate(step, claim)
    if claim.state is State.PENDING:
        for line in who_decides(step, claim):
            say(line)
    return claim


def _request(source: Source, params: ClaimParams, directory: Path, say: Callable[[str], None]) -> Request:
    """Return the request for a claim, with the files that it names.

    Raises:
        ConfigError: every problem of payload, policies, facts and attachments.
    """
    problems = Problems()
    payload = problems.gather(read_object, directory, "payload", params.payload, params.payload_file) or b""
    terms = problems.gather(read_terms, directory, params, say) or Terms()
    kept = len(payload) + len(terms.policy) + (len(json.dumps(dict(terms.given))) if terms.given else 0)
    files = problems.gather(read_attachments, directory, params.attach, params.attach_digest, kept)
    problems.require_none()
    attachments, contents = files or ({}, {})
    return Request(
        pool=source.pool,
        lock_name=params.lock_name,
        need_approval=params.need_approval,
        description=params.description,
        payload=payload,
        payload_digest=hashlib.sha256(payload).hexdigest() if payload else "",
        attachments=attachments,
        attached=contents,
        override_approval=params.override_approval,
        expires_after=params.expires_after,
        hold_timeout=params.hold_timeout,
        priority=params.priority,
        terms=terms,
    )


def _release(step: Step, params: ReleaseParams) -> Claim:
    named = _claim_from(step, params)
    if named is None and params.from_ is not None:
        step.say(f"There is no directory {params.from_}, so the lock's name has to tell which claim is meant")
    lock_name = named.lock_name if named else params.lock_name or step.source.lock_name
    if lock_name is None:
        raise ConfigError(["params.lock_name: required, since the directory that from names isn't there"])
    step.say(f"Releasing the lock {lock_name}")
    claimant = Claimant(step.build, params.claim_key)
    ended = releases.release(step.store, step.source.pool, lock_name, claimant, claim_id=named.id if named else "")
    claim = ended.claim
    if ended.changed:
        step.say(f"The lock {lock_name} is free: claim {claim.id} of {claim.build} is {claim.state.value}")
    elif claim.claimed:
        step.say(f"Left alone: {claim.spent_by}, another build of this job, uses the approval of claim {claim.id}")
    elif named is None and claim.build_key != claimant.key:
        step.say(
            f"Nothing to release: this build never got the lock {lock_name}, so nothing was freed. "
            f"The lock's newest claim that has ended is {claim.id} of {claim.build} ({claim.state.value})"
        )
    else:
        step.say(f"Nothing to release: claim {claim.id} of {claim.build} had ended before ({claim.state.value})")
    return claim


def _await(step: Step, params: AwaitParams) -> Claim:
    claim = _claim_by_params(step, params)
    return pass_gate(
        step,
        claim,
        timeout=params.timeout,
        timeout_from=params.timeout_from,
        spend=True,
        reuse=params.reuse,
        verify=partial(require_unchanged, step.directory, params.verify, claim),
    )


def _renew(step: Step, params: RenewParams) -> Claim:
    claim = renew(step.store, _claim_by_params(step, params), step.build, params.hold_timeout)
    step.say(f"The lock {claim.lock_name} may be held until {claim.hold_until:%Y-%m-%d %H:%M:%S} UTC")
    return claim


def _claim_by_params(step: Step, params: AwaitParams | RenewParams) -> Claim:
    """Return the claim that `from` names, else the one that `claim_of_build` finds."""
    claim = _claim_from(step, params)
    if claim is not None:
        return claim
    lock_name = params.lock_name or step.source.lock_name
    if params.from_ is not None or lock_name is None:
        raise ConfigError([f"params.from: there is no directory {quoted(params.from_)}; name that of a get or put before"])
    return releases.claim_of_build(step.store, step.source.pool, lock_name, Claimant(step.build, params.claim_key))


def _claim_from(step: Step, params: ReleaseParams | AwaitParams | RenewParams) -> Claim | None:
    """Return the claim that `from` names; None without `from`, or where its directory is missing."""
    claim_id = None if params.from_ is None else claim_id_in(step.directory, params.from_)
    if claim_id is None:
        return None
    claim = step.store.claim(claim_id)
    if claim is None or claim.pool != step.source.pool:
        raise LockNotFoundError(f"pool {step.source.pool} has no claim {claim_id}; check from, source.pool and source.table")
    if params.lock_name not in (None, claim.lock_name):
        raise ConfigError([f"params.lock_name: the claim that from names is of lock {claim.lock_name}; leave one of them out"])
    step.require_own_lock(claim.lock_name, "params.from")
    return claim
