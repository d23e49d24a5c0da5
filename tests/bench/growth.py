"""Group 4: what an operation takes and costs as closed claims pile up in its pool."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from approval_resource.claims import acquire as claims
from approval_resource.claims.request import Attempt
from approval_resource.model.claim import Claim, Claimant
from approval_resource.store.dynamodb.store import DynamoStore
from approval_resource.store.interface import Connection
from tests.bench import running
from tests.bench.meter import Meter, metered
from tests.bench.pools import LOCK, OPEN_LOCK, Decided, decided, fill
from tests.bench.results import Budget, Group
from tests.builders import a_build, a_request

SIZES = (10, 1_000, 100_000)
ROUNDS = 3
FLAT = 1.2
COUNT_FROM, TIME_FROM = 20_000, 30_000
"""The first number of a build whose requests are counted, and of one that is timed."""
BOUNDS = {
    "check": (1, 1.0, 0.0),
    "check, newest": (1, 1.0, 0.0),
    "check, lock": (1, 1.0, 0.0),
    "check, states": (3, 4.0, 0.0),
    "list": (2, 3.0, 0.0),
    "claim": (7, 12.0, 20.0),
    "approve": (8, 16.0, 24.0),
    "release": (7, 14.0, 20.0),
}
"""The most requests, read units and write units that an operation takes, however many claims have ended in its pool."""


@dataclass(slots=True)
class Cost:
    """What one run of an operation asked for."""

    requests: int
    read_units: float
    write_units: float


@dataclass(slots=True)
class Taken:
    """What runs of one operation on one pool took, in seconds."""

    clock: list[float] = field(default_factory=list)
    processor: list[float] = field(default_factory=list)


@dataclass(slots=True)
class Pool:
    """A pool with so many closed claims, and a claim that is open."""

    name: str
    size: int
    open: Decided


def pool_of(store: DynamoStore, connection: Connection, size: int) -> Pool:
    """Make one."""
    name = f"grown-{size}"
    fill(store, connection, name, size)
    return Pool(name, size, decided(store, name))


class Operations:
    """Everything that is measured, as processes that ask the engine at `url`."""

    def __init__(self, url: str, connection: Connection, store: DynamoStore, first: int) -> None:
        """`first`: the number of its first build, which nobody else may have had."""
        self._url = url
        self._table = connection.table
        self._store = store
        self._given = running.environment(url, connection.table)
        self._number = first
        self.all: dict[str, Callable[[Pool], dict[str, Any]]] = {
            "check": lambda pool: self._script(pool, "check", version=pool.open.pending),
            "check, newest": lambda pool: self._script(pool, "check"),
            "check, lock": lambda pool: self._script(pool, "check", {"lock_name": OPEN_LOCK}, version=pool.open.pending),
            "check, states": lambda pool: self._script(pool, "check", {"states": ["approved"]}, version=pool.open.pending),
            "list": lambda pool: self._cli("list", "--pool", pool.name),
            "claim": lambda pool: self._out(pool, {"action": "claim", "lock_name": self._lock()}),
            "approve": self._approve,
            "release": self._release,
        }

    def case(self, name: str, pool: Pool) -> dict[str, Any]:
        """One run of an operation, with whatever it needs made before."""
        self._number += 1
        return self.all[name](pool) | {"name": f"{name} {pool.size}"}

    def _lock(self) -> str:
        # The lock that the closed claims were of stays busy with its own; each claim here takes a lock once.
        return f"{LOCK}-{self._number}"

    def _script(self, pool: Pool, script: str, more: dict[str, Any] | None = None, **request: object) -> dict[str, Any]:
        source = running.source(self._url, self._table, pool.name, **(more or {}))
        return running.case(script, running.script(script), {"source": source} | request, self._given)

    def _out(self, pool: Pool, params: dict[str, Any]) -> dict[str, Any]:
        source = running.source(self._url, self._table, pool.name)
        given = self._given | {"BUILD_ID": str(self._number), "BUILD_NAME": str(self._number)}
        return running.case("out", running.script("out", "/tmp"), {"source": source, "params": params}, given)

    def _cli(self, *arguments: str) -> dict[str, Any]:
        command = [running.PYTHON, str(running.ROOT / "cli.py"), *arguments]
        return running.case("cli", command, {}, self._given)

    def _approve(self, pool: Pool) -> dict[str, Any]:
        return self._cli("approve", "--id", self._claimed(pool, need_approval=True).id)

    def _release(self, pool: Pool) -> dict[str, Any]:
        self._claimed(pool, need_approval=False)
        return self._out(pool, {"action": "release", "lock_name": self._lock()})

    def _claimed(self, pool: Pool, *, need_approval: bool) -> Claim:
        build = a_build(self._number)
        request = a_request(pool=pool.name, lock_name=self._lock(), need_approval=need_approval)
        return claims.take(self._store, request, Claimant(build), Attempt()).claim


def cost(operations: Operations, meter: Meter, name: str, pool: Pool) -> Cost:
    """What one run costs."""
    case = operations.case(name, pool)
    meter.reset()
    running.timed([case], rounds=1, warm=False)
    return Cost(sum(meter.requests.values()), meter.read_units, meter.write_units)


def costs(connection: Connection, store: DynamoStore, pools: list[Pool]) -> dict[str, list[Cost]]:
    """What each operation costs on each of the pools."""
    with metered(connection.endpoint_url) as meter:
        operations = Operations(meter.url, connection, store, COUNT_FROM)
        return {name: [cost(operations, meter, name, pool) for pool in pools] for name in operations.all}


def measure(connection: Connection, store: DynamoStore) -> tuple[Group, dict[str, list[float]]]:
    """The group, and of each operation the processor's milliseconds by size, to be drawn."""
    pools = [pool_of(store, connection, size) for size in SIZES]
    found = costs(connection, store, pools)
    operations = Operations(connection.endpoint_url, connection, store, TIME_FROM)
    taken = {name: [Taken() for _ in pools] for name in operations.all}
    for _ in range(ROUNDS):
        for name in operations.all:
            for pool, noted in zip(pools, taken[name], strict=True):
                [one] = running.timed([operations.case(name, pool)], rounds=1, warm=False).values()
                noted.clock += one["clock"]
                noted.processor += one["processor"]
    heads = [
        "operation",
        *(f"{size:,} closed, processor ms" for size in SIZES),
        "100,000 to 10",
        "requests",
        "read units",
        "write units",
    ]
    group = Group("4. Growth", heads=heads)
    drawn: dict[str, list[float]] = {}
    for name, times in taken.items():
        drawn[name] = [median(one.processor) * 1000 for one in times]
        grown = drawn[name][-1] / drawn[name][0]
        same = found[name][0] if all(one == found[name][0] for one in found[name]) else None
        shown = [f"{same.requests}", f"{same.read_units:g}", f"{same.write_units:g}"] if same else ["grows"] * 3
        group.rows.append([name, *(f"{one:.0f}" for one in drawn[name]), f"{grown:.2f}", *shown])
        group.budgets.append(Budget(f"{name}, growth", grown, FLAT))
        group.budgets.append(Budget(f"{name}, requests at most", max(one.requests for one in found[name]), BOUNDS[name][0]))
    slowest = max(median(one.clock) for times in taken.values() for one in times)
    group.notes = [
        "Processor time is that of the process itself. By the clock, what asks for events takes longer on the largest pool "
        f"(up to {slowest:.1f} s), since this engine looks at every item of a partition for each Query; DynamoDB doesn't, and the "
        "requests and read units, which are exact, stay the same."
    ]
    return group, drawn
