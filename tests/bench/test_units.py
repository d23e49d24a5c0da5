"""What an operation asks of the table doesn't grow with what has ended in its pool: requests and units, which are exact."""

from __future__ import annotations

from pathlib import Path

import pytest

from approval_resource.store.dynamodb.store import DynamoStore
from approval_resource.store.interface import Connection
from tests.bench import growth, plot, waiting
from tests.bench.results import Budget, ratio

SIZES = (10, 1_000)


@pytest.fixture(scope="module")
def found(module_store: tuple[Connection, DynamoStore]) -> dict[str, list[growth.Cost]]:
    """What each operation costs, on a pool of each size."""
    connection, store = module_store
    return growth.costs(connection, store, [growth.pool_of(store, connection, size) for size in SIZES])


@pytest.mark.parametrize("operation", growth.BOUNDS)
@pytest.mark.long
def test_its_cost_stays_the_same(found: dict[str, list[growth.Cost]], operation: str) -> None:
    """Ten closed claims or a thousand: the same requests, the same units, and no more than is written down."""
    small, large = found[operation]
    assert small == large
    requests, read_units, write_units = growth.BOUNDS[operation]
    assert 0 < small.requests <= requests
    assert small.read_units <= read_units
    assert small.write_units <= write_units


def test_the_bounds_are_those_that_the_page_tells() -> None:
    """Every operation has its row, with no more than the bound."""
    page = (Path(__file__).resolve().parents[2] / "docs" / "performance.md").read_text(encoding="utf-8")
    for operation, bounds in growth.BOUNDS.items():
        [row] = [line for line in page.splitlines() if line.startswith(f"| {operation} |") and line.count("|") > 7]
        told = [float(cell) for cell in row.strip("| ").split("|")[-3:]]
        assert all(cell <= bound for cell, bound in zip(told, bounds, strict=True)), row


def test_a_budget_says_whether_it_holds() -> None:
    """At most, or at least."""
    assert Budget("a", 0.5, 0.5).holds
    assert not Budget("a", 0.51, 0.5).holds
    assert Budget("a", 25, 25, at_least=True).holds
    assert str(Budget("a", 24, 25, "a second", at_least=True)) == "MISSED  a: 24.00 ≥ 25 a second"
    assert ratio([1.0, 2.0, 9.0], [2.0, 4.0, 10.0]) == 0.5


def test_the_picture_has_a_line_for_each_operation() -> None:
    """Named beside it."""
    drawn = plot.svg((10, 1000), {"check": [100.0, 101.0], "list": [200.0, 199.0]})
    assert drawn.count("<polyline") == 2
    assert all(f">{name}</text>" in drawn for name in ("check", "list"))


def test_six_hundred_waiters_leave_a_partition_most_of_its_units(module_store: tuple[Connection, DynamoStore]) -> None:
    """All their looks and all their reads of the lock: under 700 units a second of the 3,000 that a partition has."""
    _, store = module_store
    assert waiting.units(store, "units-600", 600) < waiting.UNITS_BOUND
    assert waiting.units(store, "units-1", 1) < 3.5
