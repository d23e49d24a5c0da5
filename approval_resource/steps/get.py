"""in: a version's facts as files, and the gate that waits for its decision."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from approval_resource.audit.receipts import claim_facts
from approval_resource.claims import decide as decisions
from approval_resource.claims import gate as gates
from approval_resource.errors import ConfigError, LockNotFoundError, told
from approval_resource.model.claim import Claim, Review
from approval_resource.model.event import State
from approval_resource.options import Options, duration, flag, name, option
from approval_resource.steps.files import write_decision, write_json, write_parts
from approval_resource.steps.protocol import Version
from approval_resource.steps.report import metadata, still_missing, who_decides
from approval_resource.steps.step import Step
from approval_resource.text import duration as lasting
from approval_resource.text import quoted


@dataclass(frozen=True, slots=True, kw_only=True)
class GetParams(Options):
    """`params` of a get step."""

    lock_name: str | None = option(name, None)
    need_approval: bool = option(flag, False)
    timeout: timedelta | None = option(duration, None)


def get(step: Step, params: GetParams, version: Version) -> dict[str, Any]:
    """Write the version's files; with `need_approval`, only once its claim is approved.

    The files depend on the version and the params alone, since Concourse may hand them to any later step
    that asks for the same.

    Raises:
        ApprovalError: the version isn't this pool's, or the gate stays shut.
    """
    if params.lock_name not in (None, version.lock_name):
        raise ConfigError(
            [
                f"params.lock_name: this version is of lock {quoted(version.lock_name)}, not {quoted(params.lock_name)}; "
                "give the resource source.lock_name, so that it has versions of that lock only"
            ]
        )
    step.require_own_lock(version.lock_name, "version")
    store, lookout = step.store, step.lookout
    claim = store.claim(version.id)
    if claim is None or (claim.pool, claim.lock_name) != (step.source.pool, version.lock_name):
        raise LockNotFoundError(
            f"pool {step.source.pool} has no claim {quoted(version.id)} of lock {quoted(version.lock_name)}; "
            "it may have been removed by age"
        )
    event = gates.state_event(store, claim, version.state, version.timestamp, lookout)
    state, decision = version.state, None
    if params.need_approval:
        claim = pass_gate(step, claim, timeout=params.timeout)
        state = State.APPROVED
        event = decision = gates.deciding_event(store, claim, lookout)
    elif claim.decided is not None and claim.decided.timestamp <= version.timestamp:
        decision = gates.deciding_event(store, claim, lookout)
        if claim.approved:
            decisions.require_supported(store, claim, decision)
    if version.state.is_open and not claim.claimed:
        step.say(f"The claim {claim.id} has ended since: it is {told(claim)}")
    told_to_concourse = metadata(claim, state.value, event)
    directory = step.directory
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "name").write_text(claim.lock_name, encoding="utf-8")
    (directory / "id").write_text(claim.id, encoding="utf-8")
    (directory / "state").write_text(state.value, encoding="utf-8")
    write_json(directory / "metadata", told_to_concourse)
    write_json(directory / "claim.json", claim_facts(claim))
    write_parts(store, claim, directory)
    if decision is not None:
        write_decision(store, claim, decision, directory)
    return {"version": version.render(), "metadata": told_to_concourse}


def pass_gate(
    step: Step,
    claim: Claim,
    *,
    timeout: timedelta | None = None,
    spend: bool = False,
    reuse: bool = False,
    verify: Callable[[], None] = lambda: None,
) -> Claim:
    """The claim, once it is approved and this build's passage is on record; says what it waits for while it does.

    `verify` may raise what speaks against passing; it is asked before the wait and again right before the gate opens.

    Raises:
        ApprovalError: the gate stays shut.
    """
    verify()
    store, lookout, say = step.store, step.lookout, step.say
    if timeout is not None and claim.state is State.PENDING:
        claim = lookout.look(gates.prolong, store, claim, timeout, step.build)
    if claim.state is State.PENDING:
        ends = [end for end in (claim.deadline, claim.timestamp + timeout if timeout else None) if end is not None]
        left = min(ends) - store.now() if ends else None
        for line in (_waiting(claim, left), f"  claimed by {_claimed(claim)}", *who_decides(step, claim)):
            say(line)
    claim = gates.wait(
        store,
        claim,
        lookout=lookout,
        give_up_at=claim.timestamp + timeout if timeout else None,
        reviewed=lambda waiting, review: say(_review_line(review, still_missing(step, waiting))),
        remind=lambda waiting, left: say(_waiting(waiting, left)),
    )
    # Not open before its decision is seen in the log, is worked out again, and the passage is written.
    lookout.look(decisions.require_supported, store, claim, gates.deciding_event(store, claim, lookout))
    verify()
    claim = lookout.look(gates.pass_through, store, claim, step.build, spend=spend, reuse=reuse)
    if claim.decided:
        why = f": {claim.decided.reason}" if claim.decided.reason else ""
        say(f"The lock {claim.lock_name} has been approved by {claim.decided.actor}{why}")
    return claim


def _waiting(claim: Claim, left: timedelta | None) -> str:
    limit = f"There is {lasting(left)} left" if left else "There is no time limit"
    held = f"; from {claim.hold_until:%Y-%m-%d %H:%M:%S} UTC another build may take the lock over" if claim.hold_until else ""
    return f"The lock {claim.lock_name} is waiting for an approval. {limit}{held}"


def _claimed(claim: Claim) -> str:
    return f"{claim.build}: {claim.description}" if claim.description else str(claim.build)


def _review_line(review: Review, missing: str) -> str:
    said = f": {review.comment}" if review.comment else ""
    why = f" ({missing})" if missing else ""
    return f"{review.reviewer} said {review.verdict.value}{said}; not decided yet{why}"
