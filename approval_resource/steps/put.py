"""out: claim a lock, release one, or wait for a decision."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from approval_resource import claims, gates
from approval_resource.clock import Clock
from approval_resource.errors import ConfigError, ContentChangedError, LockNotFoundError
from approval_resource.model import Build, Claim, State
from approval_resource.steps.aborts import Aborted
from approval_resource.steps.files import changed_files, claim_id_in, read_attachments, read_payload
from approval_resource.steps.get import pass_gate
from approval_resource.steps.protocol import AwaitParams, ClaimParams, PutParams, ReleaseParams, Source, Version
from approval_resource.steps.report import how_to_decide, metadata
from approval_resource.store import LockStore
from approval_resource.waiting import Lookout

Say = Callable[[str], None]


def check_put(source: Source, params: PutParams) -> list[str]:
    """What is wrong with the options taken together, one line each."""
    problems = []
    if source.states:
        problems.append(
            "source.states: a resource with states is read-only, since a put's version would hide those before it from check; "
            "put to a resource without states"
        )
    lock_name = params.lock_name or source.lock_name
    if source.lock_name is not None and params.lock_name not in (None, source.lock_name):
        problems.append("params.lock_name: is not the source's lock_name; use one of them, or another resource")
    match params:
        case ClaimParams():
            if params.wait and not params.need_approval:
                problems.append("params.wait: waits for a decision, which needs need_approval: true")
        case AwaitParams() | ReleaseParams():
            if params.from_ is None and lock_name is None:
                problems.append("params.lock_name: required where from is not given")
    return problems


def put(
    source: Source, params: PutParams, directory: Path, build: Build, store: LockStore, clock: Clock, say: Say
) -> dict[str, Any]:
    """Do what `action` says; returns the version and metadata of the claim it was about.

    Raises:
        ApprovalError: it could not be done, or the gate stays shut.
    """
    match params:
        case ClaimParams():
            claim = _claim(source, params, directory, build, store, clock, say)
        case ReleaseParams():
            claim = _release(source, params, directory, build, store, say)
        case AwaitParams():
            claim = _await(source, params, directory, build, store, clock, say)
    event = gates.state_event(store, claim, claim.state, claim.changed)
    return {"version": Version.of(claim).render(), "metadata": metadata(claim, claim.state.value, event)}


def _claim(
    source: Source, params: ClaimParams, directory: Path, build: Build, store: LockStore, clock: Clock, say: Say
) -> Claim:
    request = _request(source, params, directory)
    lookout = Lookout(clock, source.wait_lock, say)
    attempt = claims.Attempt()
    say(f"Claiming the lock {request.lock_name} in pool {request.pool} for {build}")
    try:
        taken = claims.take_when_free(
            store,
            request,
            build,
            build.key(params.claim_key),
            attempt,
            lookout=lookout,
            waiting_for=lambda holder: say(_held_line(holder)),
        )
        claim = taken.claim
        if taken.fresh:
            say(f"Claimed the lock {claim.lock_name}: claim {claim.id}, number {claim.fence} on this lock")
        else:
            say(f"This build asked for that before: claim {claim.id}, {claim.state.value}")
        gates.require_open(claim)
        if params.wait:
            return pass_gate(source, claim, build, store, clock, say)
        if claim.state is State.PENDING:
            for line in how_to_decide(claim, source):
                say(line)
    except Aborted:
        # Concourse forgets what an aborted put made, so nothing of it may be left.
        claim_left = claims.abandon(store, request, build, build.key(params.claim_key), attempt)
        if claim_left is not None:
            say(f"Aborted: claim {claim_left.id} of lock {claim_left.lock_name} is {claim_left.state.value}")
        raise
    else:
        return claim


def _request(source: Source, params: ClaimParams, directory: Path) -> claims.Request:
    problems: list[str] = []
    payload = read_payload(directory, params.payload, params.payload_file, problems)
    attachments, contents = read_attachments(directory, params.attach, params.attach_digest, problems)
    if problems:
        raise ConfigError(problems)
    return claims.Request(
        pool=source.pool,
        lock_name=params.lock_name,
        need_approval=params.need_approval,
        description=params.description,
        payload=payload,
        payload_digest=hashlib.sha256(payload).hexdigest() if payload else "",
        attachments=attachments,
        contents=contents,
        override_approval=params.override_approval,
    )


def _held_line(holder: Claim) -> str:
    waits = ", waiting for an approval" if holder.state is State.PENDING else ""
    where = f" ({holder.build.link})" if holder.build.link else ""
    return f"The lock {holder.lock_name} is already claimed by {holder.build}{where}{waits}: claim {holder.id}. Waiting for it"


def _release(source: Source, params: ReleaseParams, directory: Path, build: Build, store: LockStore, say: Say) -> Claim:
    named = _named(source, params.from_, params.lock_name, directory, store, say)
    lock_name = named.lock_name if named else params.lock_name or source.lock_name
    if lock_name is None:
        raise ConfigError(["params.lock_name: required, since the directory that from names isn't there"])
    say(f"Releasing the lock {lock_name}")
    ended = claims.release(
        store, source.pool, lock_name, build, build.key(params.claim_key), claim_id=named.id if named else ""
    )
    claim = ended.claim
    if ended.changed:
        say(f"The lock {lock_name} is free: claim {claim.id} is {claim.state.value}")
    else:
        say(f"Nothing to release: claim {claim.id} of {claim.build} had ended before ({claim.state.value})")
    return claim


def _await(
    source: Source, params: AwaitParams, directory: Path, build: Build, store: LockStore, clock: Clock, say: Say
) -> Claim:
    claim = _named(source, params.from_, params.lock_name, directory, store, say)
    if claim is None:
        lock_name = params.lock_name or source.lock_name
        if params.from_ is not None or lock_name is None:
            raise ConfigError(
                [f"params.from: there is no directory {params.from_}; name that of a get or put before this step"]
            )
        claim = claims.to_await(store, source.pool, lock_name, build, build.key(params.claim_key))
    waits = source, claim, build, store, clock, say
    return pass_gate(
        *waits, timeout=params.timeout, spend=True, reuse=params.reuse, verify=lambda: _verify(params, directory, claim)
    )


def _verify(params: AwaitParams, directory: Path, claim: Claim) -> None:
    changed = changed_files(directory, params.verify, claim)
    if changed:
        raise ContentChangedError(claim, changed)


def _named(
    source: Source, from_: str | None, lock_name: str | None, directory: Path, store: LockStore, say: Say
) -> Claim | None:
    """The claim that `from` names; None without `from`, or where its directory is missing."""
    if from_ is None:
        return None
    problems: list[str] = []
    claim_id = claim_id_in(directory, from_, problems)
    if problems:
        raise ConfigError(problems)
    if claim_id is None:
        say(f"There is no directory {from_}: the step that makes it did not succeed")
        return None
    claim = store.claim(claim_id)
    if claim is None or claim.pool != source.pool:
        raise LockNotFoundError(f"pool {source.pool} has no claim {claim_id}; check from and source.pool")
    if lock_name not in (None, claim.lock_name):
        raise ConfigError([f"params.lock_name: the claim that from names is of lock {claim.lock_name}; leave one of them out"])
    return claim
