"""Gate of a step: its lines in the build log, and the order of checks before it opens."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

from approval_resource.claims import gate as gates
from approval_resource.claims.proof import borne_out, deciding_event, require_supported
from approval_resource.errors import PoolFrozenError
from approval_resource.model.claim import Claim, Review
from approval_resource.model.event import State
from approval_resource.steps.put_params import STEP
from approval_resource.steps.report import still_missing, who_decides
from approval_resource.steps.step import Step
from approval_resource.text import duration as lasting


def pass_gate(  # noqa: PLR0913 - each is a word of its own at the call
    step: Step,
    claim: Claim,
    *,
    timeout: timedelta | None = None,
    timeout_from: str = "",
    spend: bool = False,
    reuse: bool = False,
    verify: Callable[[], None] = lambda: None,
) -> Claim:
    """Wait until the claim is approved, record that this build passed, and return the claim.

    The build log says what the gate waits for. `timeout` counts from the making of the claim, or from now
    with `timeout_from` STEP. A deadline that is absent or earlier is moved to the end of the timeout.
    `spend` and `reuse` are as in `pass_through`. `verify` raises an error to keep the gate shut; it is
    called before the wait and again right before the gate opens.

    Raises:
        ApprovalError: the gate stays shut.
    """
    verify()
    store, poller, say = step.store, step.gate_poller, step.say
    claim = borne_out(store, claim, poller)
    end, limit = None, ""
    if timeout is not None:
        since = store.now() if timeout_from == STEP else claim.created_at
        end, limit = since + timeout, _limit(timeout, timeout_from, since)
        if claim.state is State.PENDING:
            claim = poller.call(gates.prolong, store, claim, end - claim.created_at, step.build)
    if claim.state is State.PENDING:
        ends = [one for one in (claim.deadline, end) if one is not None]
        left = min(ends) - store.now() if ends else None
        told = [f"  the wait ends with {limit}"] if limit and min(ends) == end else []
        for line in (_waiting(claim, left), *told, f"  claimed by {_claimed(claim)}", *who_decides(step, claim)):
            say(line)
    while True:
        claim = gates.wait(
            store,
            claim,
            poller=poller,
            give_up_at=end,
            limit=limit,
            reviewed=lambda waiting, review: say(_review_line(review, still_missing(step, waiting))),
            remind=lambda waiting, left: say(_waiting(waiting, left)),
            frozen=lambda why: say(f"The approval stands, and its gate waits: {why}"),
        )
        # Fail closed: before the gate opens, the log must confirm the claim, the decision is evaluated again,
        # and the passage is written.
        claim = borne_out(store, claim, poller)
        poller.call(require_supported, store, claim, deciding_event(store, claim, poller))
        verify()
        try:
            claim = poller.call(gates.pass_through, store, claim, step.build, spend=spend, reuse=reuse)
            break
        except PoolFrozenError:
            poller.pause()  # frozen since the wait ended: wait again
    if claim.decided:
        why = f": {claim.decided.reason}" if claim.decided.reason else ""
        say(f"The lock {claim.lock_name} has been approved by {claim.decided.actor}{why}")
    return claim


def _limit(timeout: timedelta, timeout_from: str, since: datetime) -> str:
    """Return the words for a step's timeout: how long it is, and since when it counts."""
    began, other = (
        ("this step began", "")
        if timeout_from == STEP
        else ("the lock was claimed", "; to count from the start of the step, set timeout_from: step")
    )
    return f"this step's timeout of {lasting(timeout)}, counted from when {began}, {since:%Y-%m-%d %H:%M:%S} UTC{other}"


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
