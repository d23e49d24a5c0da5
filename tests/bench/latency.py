"""Group 3: how long after an approval a gate opens, and what its waiting costs."""

from __future__ import annotations

import subprocess
import time
from statistics import median, quantiles

from approval_resource.claims import acquire as claims
from approval_resource.claims.poller import GATE_PAUSE
from approval_resource.claims.request import Attempt
from approval_resource.model.claim import Claimant
from approval_resource.steps.protocol import Version
from approval_resource.store.dynamodb.store import DynamoStore
from approval_resource.store.interface import Connection
from tests.bench import running
from tests.bench.meter import metered
from tests.bench.results import Budget, Group, ms
from tests.builders import a_build, a_request

GATES = 20
ORIGINAL_GATES = 4
ORIGINAL_PAUSE = 10.0
"""Seconds between two looks of the original."""
BOUND, LATE = 0.3, 0.6
"""Seconds that a gate may take after the approval: in the median, and of twenty all but one."""
DAY_BOUND = 86_400
"""Read units a day of a gate that nobody decides on."""
DAY = 86_400
PRICE = 0.125
"""US dollars for a million read units on demand, in us-east-1, November 2026."""
LOOKING_SECONDS = 8.0


def measure(connection: Connection, store: DynamoStore) -> Group:
    """Both."""
    ours = running.script("in", "/tmp/approval-bench-gate")
    waits = [_gate(connection, store, f"gate-{number}", ours, at) for number, at in enumerate(_moments(GATE_PAUSE, GATES))]
    old_moments = _moments(ORIGINAL_PAUSE, ORIGINAL_GATES)
    old = [_gate(connection, store, f"old-{number}", None, at) for number, at in enumerate(old_moments)]
    a_look, looks = _cost(connection, store)
    units = a_look * looks * DAY
    group = Group(
        "3. Gate latency", heads=["", "from approve's end to the gate's, ms", "read units a day of waiting", "$ a day"]
    )
    group.rows = [
        ["in", ms(waits), f"{units:,.0f}", f"{units * PRICE / 1e6:.4f}"],
        ["the original's ten seconds", ms(old), "grows with the pool", "grows with the pool"],
    ]
    group.notes = [f"A look is {a_look:g} read units; a look every {1 / looks:.2f} s. {PRICE} $ a million read units."]
    group.budgets = [
        Budget("gate latency, median", median(waits), BOUND, "s"),
        Budget("gate latency, 95 of 100", quantiles(waits, n=20)[-1], LATE, "s"),
        Budget("gate, read units a day", units, DAY_BOUND),
    ]
    return group


def _moments(pause: float, number: int) -> list[float]:
    """Seconds after a look at which gates are approved, spread evenly until the next one: people approve at any moment."""
    return [pause * (part + 0.5) / number for part in range(number)]


def _gate(connection: Connection, store: DynamoStore, pool: str, command: list[str] | None, after: float) -> float:
    """Seconds from the end of `cli.py approve` to the end of what waits for it."""
    build = a_build(pool)
    taken = claims.take(store, a_request(pool=pool), Claimant(build), Attempt()).claim
    given = running.environment(connection.endpoint_url, connection.table)
    request: dict[str, object] = {"source": running.source(connection.endpoint_url, connection.table, pool)}
    request |= {"version": Version.of(taken).render(), "params": {"need_approval": True}}
    if command is None:
        command = [running.PYTHON, str(running.PROGRAMS / "original.py"), "wait"]
        request = {"pool": pool, "table": connection.table, "id": taken.id}
    with running.waiting(command, request, given) as gate:
        time.sleep(after)
        approve = [running.PYTHON, str(running.ROOT / "cli.py"), "approve", "--id", taken.id]
        subprocess.run(approve, env=given, check=True, capture_output=True)
        approved = time.perf_counter()
        if gate.wait(60):
            raise RuntimeError(f"the gate ended with {gate.returncode}")
        return time.perf_counter() - approved


def _cost(connection: Connection, store: DynamoStore) -> tuple[float, float]:
    """Read units of a look, and looks a second, of a gate that nobody decides on."""
    build = a_build("cost")
    taken = claims.take(store, a_request(pool="cost"), Claimant(build), Attempt()).claim
    with metered(connection.endpoint_url) as meter:
        request = {"source": running.source(meter.url, connection.table, "cost"), "params": {"need_approval": True}}
        request["version"] = Version.of(taken).render()
        command = running.script("in", "/tmp/approval-bench-cost")
        with running.waiting(command, request, running.environment(meter.url, connection.table)):
            meter.reset()
            time.sleep(LOOKING_SECONDS)
            requests, units = sum(meter.requests.values()), meter.read_units
    return units / requests, requests / LOOKING_SECONDS
