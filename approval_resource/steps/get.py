"""in: write a version's files, and wait at the gate for its decision first if asked to."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from approval_resource.audit.receipts import claim_facts
from approval_resource.claims.proof import borne_out, deciding_event, require_supported, state_event
from approval_resource.errors import ConfigError, LockNotFoundError, describe_state
from approval_resource.model.event import State
from approval_resource.steps.files import write_contents, write_decision, write_json
from approval_resource.steps.gate import pass_gate
from approval_resource.steps.protocol import Version
from approval_resource.steps.put_params import counted_from, timeout_problems
from approval_resource.steps.report import metadata
from approval_resource.steps.step import Step
from approval_resource.strict_options import Options, duration, flag, numbered_name, option
from approval_resource.text import quoted


@dataclass(frozen=True, slots=True, kw_only=True)
class GetParams(Options):
    """`params` of a get step."""

    lock_name: str | None = option(numbered_name, None)
    need_approval: bool = option(flag, False)
    timeout: timedelta | None = option(duration, None)
    timeout_from: str = option(counted_from, "")

    def contradictions(self) -> Iterable[str]:
        """Yield a line if timeout_from is given without timeout."""
        yield from timeout_problems(self.timeout, self.timeout_from)


def get(step: Step, params: GetParams, version: Version) -> dict[str, Any]:
    """Write the version's files; return version and metadata.

    With `need_approval`, wait first until the claim is approved.

    The files depend on the version and the params alone. Concourse may hand them to any later step with equal
    version and params.

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
    store, poller = step.store, step.poller
    claim = store.claim(version.id)
    if claim is None or (claim.pool, claim.lock_name) != (step.source.pool, version.lock_name):
        raise LockNotFoundError(
            f"pool {step.source.pool} has no claim {quoted(version.id)} of lock {quoted(version.lock_name)}; "
            "it may have been removed by age"
        )
    event = state_event(store, claim, version.state, version.timestamp, poller)
    state, decision = version.state, None
    if params.need_approval:
        claim = pass_gate(step, claim, timeout=params.timeout, timeout_from=params.timeout_from)
        state = State.APPROVED
        event = decision = deciding_event(store, claim, poller)
    elif claim.decided is not None and claim.decided.timestamp <= version.timestamp:
        claim = borne_out(store, claim, poller)
        decision = deciding_event(store, claim, poller)
        if claim.approved:
            require_supported(store, claim, decision)
    if version.state.is_open and not claim.claimed:
        step.say(f"The claim {claim.id} has ended since: it is {describe_state(claim)}")
    told_to_concourse = metadata(claim, state.value, event)
    directory = step.directory
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "name").write_text(claim.lock_name, encoding="utf-8")
    (directory / "id").write_text(claim.id, encoding="utf-8")
    (directory / "state").write_text(state.value, encoding="utf-8")
    write_json(directory / "metadata", told_to_concourse)
    write_json(directory / "claim.json", claim_facts(claim))
    write_contents(store, claim, directory)
    if decision is not None:
        write_decision(store, claim, decision, directory)
    return {"version": version.render(), "metadata": told_to_concourse}
