"""Group 6: what a step that waits has in memory."""

from __future__ import annotations

from pathlib import Path

from approval_resource.claims import acquire as claims
from approval_resource.claims.request import Attempt
from approval_resource.model.claim import Claimant
from approval_resource.steps.protocol import Version
from approval_resource.store.dynamodb.store import DynamoStore
from approval_resource.store.interface import Connection
from tests.bench import running
from tests.bench.pools import decided
from tests.bench.results import Budget, Group
from tests.builders import a_build, a_request

BOUND = 52.0


def measure(connection: Connection, store: DynamoStore) -> Group:
    """`in` waiting, beside a bare client of botocore that has made one request."""
    build = a_build("memory")
    taken = claims.take(store, a_request(pool="memory"), Claimant(build), Attempt()).claim
    decided(store, "memory-bare")
    request = {"source": running.source(connection.endpoint_url, connection.table, "memory"), "params": {"need_approval": True}}
    request["version"] = Version.of(taken).render()
    waiting = _resident(connection, running.script("in", "/tmp/approval-bench-memory"), request)
    bare = [running.PYTHON, str(running.PROGRAMS / "bare.py")]
    least = _resident(connection, bare, {"pool": "memory-bare", "table": connection.table})
    group = Group("6. Memory", heads=["process", "resident, MB"])
    group.rows = [["in, waiting", f"{waiting:.1f}"], ["a bare botocore client", f"{least:.1f}"]]
    group.budgets = [Budget("in, waiting", waiting, BOUND, "MB")]
    return group


def _resident(connection: Connection, command: list[str], request: dict[str, object]) -> float:
    """Megabytes that it has resident once it waits."""
    given = running.environment(connection.endpoint_url, connection.table)
    with running.waiting(command, request, given) as process:
        told = Path(f"/proc/{process.pid}/status").read_text(encoding="utf-8")
    [line] = [line for line in told.splitlines() if line.startswith("VmRSS")]
    return int(line.split()[1]) * 1024 / 1e6
