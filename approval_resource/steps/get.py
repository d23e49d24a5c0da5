"""in: a version's facts as files, and the gate that waits for its decision."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

from approval_resource import gates
from approval_resource.clock import Clock
from approval_resource.errors import ConfigError, LockNotFoundError, told
from approval_resource.model import Build, Claim, Review, State
from approval_resource.steps.files import write_json, write_parts
from approval_resource.steps.protocol import GetParams, Source, Version, quoted
from approval_resource.steps.report import claim_facts, how_to_decide, metadata, receipt
from approval_resource.store import LockStore
from approval_resource.text import duration
from approval_resource.waiting import Lookout

Say = Callable[[str], None]


def get(
    source: Source, params: GetParams, version: Version, directory: Path, build: Build, store: LockStore, clock: Clock, say: Say
) -> dict[str, Any]:
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
    claim = store.claim(version.id)
    if claim is None or claim.pool != source.pool:
        raise LockNotFoundError(f"pool {source.pool} has no claim {quoted(version.id)}; it may have been removed by age")
    event = gates.state_event(store, claim, version.state, version.timestamp)
    state, decision = version.state, None
    if params.need_approval:
        claim = pass_gate(source, claim, build, store, clock, say, timeout=params.timeout)
        state = State.APPROVED
        event = decision = gates.deciding_event(store, claim)
    elif claim.decided is not None and claim.decided.timestamp <= version.timestamp:
        decision = gates.deciding_event(store, claim)
    if version.state.is_open and not claim.claimed:
        say(f"The claim {claim.id} has ended since: it is {told(claim)}")
    told_to_concourse = metadata(claim, state.value, event)
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "name").write_text(claim.lock_name, encoding="utf-8")
    (directory / "id").write_text(claim.id, encoding="utf-8")
    (directory / "state").write_text(state.value, encoding="utf-8")
    write_json(directory / "metadata", told_to_concourse)
    write_json(directory / "claim.json", claim_facts(claim))
    write_parts(store, claim, directory)
    if decision is not None:
        write_json(directory / "receipt.json", receipt(claim, decision))
    return {"version": version.render(), "metadata": told_to_concourse}


def pass_gate(
    source: Source,
    claim: Claim,
    build: Build,
    store: LockStore,
    clock: Clock,
    say: Say,
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
    lookout = Lookout(clock, source.wait_lock, say)
    if timeout is not None and claim.state is State.PENDING:
        claim = lookout.look(gates.prolong, store, claim, timeout, build)
    if claim.state is State.PENDING:
        say(f"The lock {claim.lock_name} is waiting for an approval. {_left(_time_left(claim, store))}")
        for line in (
            f"  claimed by {claim.build}{': ' if claim.description else ''}{claim.description}",
            *how_to_decide(claim, source),
        ):
            say(line)
    claim = gates.wait(
        store,
        claim,
        lookout=lookout,
        give_up_at=claim.timestamp + timeout if timeout else None,
        reviewed=lambda review: say(_review_line(review)),
        remind=lambda waiting, left: say(f"The lock {waiting.lock_name} is waiting for an approval. {_left(left)}"),
    )
    # Not open before its decision is seen in the log and the passage is written.
    gates.deciding_event(store, claim)
    verify()
    claim = lookout.look(gates.pass_through, store, claim, build, spend=spend, reuse=reuse)
    if claim.decided:
        why = f": {claim.decided.reason}" if claim.decided.reason else ""
        say(f"The lock {claim.lock_name} has been approved by {claim.decided.actor}{why}")
    return claim


def _time_left(claim: Claim, store: LockStore) -> timedelta | None:
    return claim.deadline - store.now() if claim.deadline else None


def _left(left: timedelta | None) -> str:
    return f"There is {duration(left)} left" if left else "There is no time limit"


def _review_line(review: Review) -> str:
    said = f": {review.comment}" if review.comment else ""
    return f"{review.reviewer} said {review.verdict.value}{said}; not decided yet"
