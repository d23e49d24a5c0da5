"""Group 5: many builds at once, on one lock, in one pool, in many."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from dataclasses import asdict, dataclass
from itertools import pairwise
from statistics import median
from typing import Any

from approval_resource.claims import release as releases
from approval_resource.claims import wait_for_lock
from approval_resource.claims.poller import Poller
from approval_resource.claims.request import Attempt
from approval_resource.clock import HostClock
from approval_resource.model.claim import Claimant
from approval_resource.steps.protocol import DEFAULT_WAIT_LOCK
from approval_resource.store.dynamodb.store import DynamoStore
from approval_resource.store.interface import Connection
from tests.bench.meter import Meter
from tests.bench.results import Budget, Group
from tests.builders import a_build, a_request

BUILDS = 32
PROCESSES = 8
PAIRS_BOUND = 25.0
PAIRS_SECONDS = 6.0
CROWD = 54
SERVED_SECONDS = 5.0
HANDED_SECONDS = 0.25
"""Seconds from a release to the next claim of 54, in the median."""
REQUESTS = 12
"""Requests a claim and release, 32 of them on 32 locks of one pool at once."""
APART = 1.25
"""So much longer may 32 builds in 32 pools take than 32 in one, at most: pools have nothing in common to wait for."""


@dataclass(frozen=True, slots=True)
class Task:
    """What one process does: so many builds at once, each on a lock of a pool; or one, over and over, for some seconds."""

    connection: dict[str, Any]
    places: list[tuple[str, str]]
    first: int
    begin: float
    """When, by the monotonic clock, which all processes of a machine share."""
    again_for: float = 0.0


class Worker:
    """One process's part."""

    def __init__(self, task: Task) -> None:
        self._task = task
        self._meter = Meter()
        self._asked = threading.local()
        self._counting = threading.Lock()
        self.claimed: list[float] = []
        self.released: list[float] = []

    def run(self) -> dict[str, Any]:
        """All builds, each in a thread of its own."""
        threads = [
            threading.Thread(target=self._build, args=(self._task.first + number, *place))
            for number, place in enumerate(self._task.places)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        counted = {"requests": sum(self._meter.requests.values()), "units": self._meter.read_units + self._meter.write_units}
        return counted | {"claimed": self.claimed, "released": self.released}

    def _asking(self, params: dict[str, Any], **_: object) -> None:
        params["ReturnConsumedCapacity"] = "TOTAL"
        self._asked.last = params

    def _counted(self, model: Any, parsed: dict[str, Any], **_: object) -> None:
        with self._counting:
            self._meter.count(model.name, self._asked.last, parsed)

    def _build(self, number: int, pool: str, lock_name: str) -> None:
        store = DynamoStore.connect(Connection(**self._task.connection))
        store.lock(pool, lock_name)
        store._client.meta.events.register("before-parameter-build.dynamodb", self._asking)
        store._client.meta.events.register("after-call.dynamodb", self._counted)
        time.sleep(max(0.0, self._task.begin - time.monotonic()))
        until = self._task.begin + self._task.again_for
        turn = 0
        while turn == 0 or time.monotonic() < until:
            self._pair(store, f"{number}-{turn}", pool, lock_name)
            turn += 1

    def _pair(self, store: DynamoStore, number: str, pool: str, lock_name: str) -> None:
        build = a_build(number)
        wait_for_lock.acquire(
            store,
            a_request(pool=pool, lock_name=lock_name, need_approval=False),
            Claimant(build),
            Attempt(),
            poller=Poller(HostClock(), DEFAULT_WAIT_LOCK, lambda line: None),
            standing=lambda standing: None,
        )
        self.claimed.append(time.monotonic())
        releases.release(store, pool, lock_name, Claimant(build))
        self.released.append(time.monotonic())


@dataclass(frozen=True, slots=True)
class Crowd:
    """What became of many builds at once."""

    seconds: float
    requests: int
    units: float
    claimed: list[float]
    released: list[float]


def crowd(connection: Connection, places: list[tuple[str, str]], again_for: float = 0.0) -> Crowd:
    """Those places, one build each, shared among the processes."""
    told = {
        name: str(getattr(connection, name))
        for name in ("table", "region", "endpoint_url", "access_key_id", "secret_access_key")
    }
    begin = time.monotonic() + 3.0
    started = []
    for number in range(PROCESSES):
        task = Task(told, places[number::PROCESSES], number * 1000, begin, again_for)
        process = subprocess.Popen([sys.executable, "-m", __name__], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        if process.stdin is None:
            raise RuntimeError("no pipe")
        process.stdin.write(json.dumps(asdict(task)).encode())
        process.stdin.close()
        started.append(process)
    found = []
    for process in started:
        if process.stdout is None:
            raise RuntimeError("no pipe")
        said = process.stdout.read()
        process.stdout.close()
        if process.wait():
            raise RuntimeError("a worker failed")
        found.append(json.loads(said))
    claimed = sorted(at for one in found for at in one["claimed"])
    released = sorted(at for one in found for at in one["released"])
    requests, units = (sum(one[what] for one in found) for what in ("requests", "units"))
    return Crowd(released[-1] - begin, requests, units, claimed, released)


def handed(one: Crowd) -> list[float]:
    """Seconds from each release to the next claim, where others wanted the lock."""
    return [claimed - released for released, claimed in zip(one.released, one.claimed[1:], strict=False)] or [0.0]


def measure(connection: Connection) -> Group:
    """All of it."""
    group = Group(
        "5. Contention",
        heads=["builds at once", "seconds", "claims", "requests a claim and release", "units a claim and release"],
    )
    kinds = {
        f"{BUILDS} on one lock": [("one", "lock")] * BUILDS,
        f"{BUILDS} on {BUILDS} locks of one pool": [("locks", f"lock-{number}") for number in range(BUILDS)],
        f"{BUILDS} on {BUILDS} pools": [(f"pool-{number}", "lock") for number in range(BUILDS)],
        f"{CROWD} on one lock": [("crowd", "lock")] * CROWD,
    }
    found = {}
    for name, places in kinds.items():
        found[name] = one = crowd(connection, places)
        group.rows.append(_row(name, one))
    steady = crowd(connection, [("steady", f"lock-{number}") for number in range(PROCESSES)], again_for=PAIRS_SECONDS)
    pairs = len(steady.released) / steady.seconds
    group.rows.append(_row(f"{PROCESSES}, over and over", steady))
    apart, together = found[f"{BUILDS} on {BUILDS} pools"], found[f"{BUILDS} on {BUILDS} locks of one pool"]
    last = found[f"{CROWD} on one lock"]
    gaps = [after - before for before, after in pairwise(last.claimed)]
    group.notes = [
        f"{CROWD} on one lock: a claim every {median(gaps):.2f} s, {median(handed(last)):.2f} s after the release before, {max(handed(last)):.1f} s at most."
    ]
    group.budgets = [
        Budget("claims and releases a second in one pool, 8 processes", pairs, PAIRS_BOUND, at_least=True),
        Budget(f"{CROWD} builds on one lock, all of them claimed", len(last.claimed), CROWD, at_least=True),
        Budget(
            f"{CROWD} builds on one lock, each within so long of the release before it", max(handed(last)), SERVED_SECONDS, "s"
        ),
        Budget(
            f"{CROWD} builds on one lock, from a release to the next claim, median", median(handed(last)), HANDED_SECONDS, "s"
        ),
        Budget(f"{BUILDS} on {BUILDS} locks of one pool, requests a claim and release", together.requests / BUILDS, REQUESTS),
        Budget("32 pools against one pool with 32 locks, seconds", apart.seconds / together.seconds, APART),
    ]
    return group


def _row(name: str, one: Crowd) -> list[str]:
    claims_made = len(one.claimed)
    return [name, f"{one.seconds:.1f}", str(claims_made), f"{one.requests / claims_made:.1f}", f"{one.units / claims_made:.1f}"]


if __name__ == "__main__":
    asked = json.load(sys.stdin)
    asked["places"] = [tuple(place) for place in asked["places"]]
    json.dump(Worker(Task(**asked)).run(), sys.stdout)
