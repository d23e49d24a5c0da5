"""A step at the gate of a frozen pool: it waits, tells why and until when, and goes on after; nothing fails by it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from approval_resource import pools
from approval_resource.errors import PoolFrozenError
from approval_resource.model.claim import Verdict
from approval_resource.store.dynamodb.store import DynamoStore
from tests.builders import NOON, take
from tests.steps.test_gate import Gate

HOUR = timedelta(hours=1)


@pytest.fixture
def gate(connect: Callable[..., DynamoStore], tmp_path: Path) -> Gate:
    """A build that waits on a clock that only its waiting moves."""
    return Gate(connect, tmp_path)


def freeze(gate: Gate, until: timedelta | None = HOUR) -> None:
    """Stop the pool."""
    pools.freeze(gate.store, "payments", until, "the database burns", actor="aws:op")


@pytest.mark.long
def test_a_step_waits_until_a_freeze_is_over(gate: Gate) -> None:
    """It says so once, not at every look."""
    claim = take(gate.store, 1)
    gate.review(claim, Verdict.APPROVE)()
    freeze(gate)
    assert gate.wait(claim, spend=True).spent
    assert gate.time.at >= NOON + HOUR
    told = [line for line in gate.lines if "frozen" in line]
    assert len(told) == 1
    assert told[0].startswith("The approval stands, and its gate waits: pool payments is frozen until 2026-11-21 13:00:00 UTC")
    assert "the database burns" in told[0]


@pytest.mark.long
def test_a_freeze_right_before_the_gate_opens_keeps_it_shut(gate: Gate) -> None:
    """After the wait, after the last look at what was attached: the passage itself is refused, and the step waits again."""
    claim = take(gate.store, 1)
    gate.review(claim, Verdict.APPROVE)()
    looks: list[int] = []

    def verify() -> None:
        looks.append(1)
        if len(looks) == 2:
            freeze(gate)

    assert gate.wait(claim, spend=True, verify=verify).spent
    assert gate.time.at >= NOON + HOUR
    assert any("frozen" in line for line in gate.lines)


def test_a_claim_that_is_approved_while_its_pool_is_frozen_waits(gate: Gate) -> None:
    """People decide meanwhile; the step tells both, and goes on once the freeze is lifted."""
    claim = take(gate.store, 1)
    freeze(gate, None)
    gate.meanwhile(
        gate.review(claim, Verdict.APPROVE),
        lambda: None,
        lambda: pools.unfreeze(gate.store, "payments", "it is out", actor="aws:op"),
    )
    assert gate.wait(claim).approved
    assert any("until somebody lifts that" in line for line in gate.lines)


@pytest.mark.long
def test_a_step_s_timeout_ends_the_wait_for_a_freeze(gate: Gate) -> None:
    """The approval stands for whoever comes after."""
    claim = take(gate.store, 1)
    gate.review(claim, Verdict.APPROVE)()
    freeze(gate, None)
    with pytest.raises(PoolFrozenError, match=f"claim {claim.id} is approved, but its gate stays shut"):
        gate.wait(claim, timeout=HOUR)
