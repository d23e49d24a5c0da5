"""Messages of failures: a lock's name and a claim's id are told apart in each of them."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest

from approval_resource import errors
from approval_resource.errors import ApprovalError
from approval_resource.model.claim import Claim, Transition
from approval_resource.model.event import State
from approval_resource.model.lock import Lock
from approval_resource.model.queue_order import Waiter
from tests.builders import NOON, a_claim

LOCK, ID, OTHER = "LOCKS-NAME", "99999999-9999-4999-8999-999999999999", "88888888-8888-4888-8888-888888888888"
LOCK_TOLD = re.compile(rf'\block "?{LOCK}\b')
CLAIM_TOLD = re.compile(rf"\b(claim|newest claim is|approvals \w+|that claim) \(?({ID}|{OTHER})")
PLAIN = (errors.ConfigError, errors.LockNotFoundError, errors.StoreUnavailableError, errors.TableMissingError)
"""Those whose whole text, or whose subject, is the caller's."""


def in_state(state: State, claim_id: str = ID, **changes: Any) -> Claim:
    """A claim of that lock, as somebody's word or the end left it."""
    ruling = Transition(state=state, actor="typed:bob", at=NOON, timestamp=NOON, reason="why")
    told = {} if state in (State.PENDING, State.HELD) else {"decided" if state.is_open else "ended": ruling}
    return a_claim(**({"id": claim_id, "lock_name": LOCK, "state": state} | told | changes))


def made(kind: type[ApprovalError], claim: Claim) -> list[ApprovalError]:
    """The failure with that claim as its subject, in each way it is worded."""
    waiter = Waiter(key="k", ticket=1, build="main/app/deploy #2", since=NOON)
    lock = Lock(pool="payments", name=LOCK, holder=claim.id, queue=(waiter,))
    more: dict[type[ApprovalError], list[tuple[Any, ...]]] = {
        errors.NotYourTurnError: [(lock,)],
        errors.QueueFullError: [(lock, 9)],
        errors.WaitTimeoutError: [(lock, claim, "5 min"), (lock, None, "5 min")],
        errors.StaleLockError: [(claim, "passed"), (claim, "withdrawn", "release")],
        errors.NotAwaitingDecisionError: [(claim, None), *((claim, in_state(state, OTHER)) for state in State)],
        errors.ReviewTimeoutError: [(claim,), (claim, "this step's timeout of 1 min")],
        errors.GateTimeoutError: [(claim,), (claim, "this step's timeout of 1 min")],
        errors.NotEntitledError: [(claim, "no rule names you")],
        errors.UnsupportedDecisionError: [(claim, ["needs 1 approval"])],
        errors.ContentChangedError: [(claim, ["params.verify.plan: changed"])],
        errors.PoolFrozenError: [(claim, "the pool is frozen")],
        errors.CorruptRecordError: [(f"claim {claim.id}", "why")],
    }
    return [kind(*given) for given in more.get(kind, [(claim,)])]


KINDS = [
    kind
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, ApprovalError) and kind not in (ApprovalError, *PLAIN)
]


@pytest.mark.parametrize("kind", KINDS, ids=[kind.__name__ for kind in KINDS])
def test_a_lock_is_called_a_lock_and_a_claim_a_claim(kind: type[ApprovalError]) -> None:
    """Wherever one of both stands in a message, the word for it stands before it."""
    ends: list[dict[str, Any]] = [{}, {"deadline": NOON + timedelta(hours=1)}]
    for claim in [in_state(state, **more) for state in State for more in ends]:
        for error in made(kind, claim):
            told = str(error)
            assert told.count(LOCK) == len(LOCK_TOLD.findall(told)), told
            assert told.count(ID) + told.count(OTHER) == len(CLAIM_TOLD.findall(told)), told
            assert LOCK in told or ID in told
            assert "None" not in told


def test_a_message_tells_until_when_and_how_long_that_was() -> None:
    """And from when a step's timeout counted, where that set the end."""
    claim = in_state(State.EXPIRED, deadline=NOON + timedelta(minutes=5))
    told = str(errors.ReviewTimeoutError(claim, "this step's timeout of 5 min"))
    assert "by 2026-11-21 12:05:00 UTC, 5 min after it was claimed (this step's timeout of 5 min); claim it again" in told
