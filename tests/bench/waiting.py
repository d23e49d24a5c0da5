"""Group 7: what a queue costs while it waits, and how soon the first living waiter has a free lock."""

from __future__ import annotations

import threading
import time

from approval_resource.claims import acquire as claims
from approval_resource.claims import release as releases
from approval_resource.claims import wait_for_lock
from approval_resource.claims.poller import REMIND, Poller
from approval_resource.claims.request import Attempt
from approval_resource.claims.roll_call import pause_at
from approval_resource.clock import HostClock
from approval_resource.model.claim import Claimant
from approval_resource.model.lock import Lock
from approval_resource.steps.protocol import DEFAULT_WAIT_LOCK
from approval_resource.store.dynamodb import keys
from approval_resource.store.dynamodb.store import DynamoStore
from approval_resource.store.interface import Connection
from tests.bench.latency import DAY, PRICE
from tests.bench.results import Budget, Group
from tests.builders import a_build, a_request, a_waiter

WAITERS = (1, 10, 54, 600)
UNITS_BOUND = 700.0
"""Read units a second of 600 waiters on one lock."""
DEAD = (0, 2, 54)
DEAD_BOUND = 3.0
"""Seconds within which the first living waiter has a free lock, however many before it have died."""


def crowded(store: DynamoStore, pool: str, waiters: int) -> Claimant:
    """A lock that is held, with so many others in its queue. Returns who holds it."""
    holder = Claimant(a_build(f"holder of {pool}"))
    claims.take(store, a_request(pool=pool, need_approval=False), holder, Attempt())

    def filled(lock: Lock, _: object) -> Lock:
        return Lock(
            **{name: getattr(lock, name) for name in Lock.__dataclass_fields__}
            | {"queue": tuple(a_waiter(number) for number in range(1, waiters + 1)), "tickets": waiters}
        )

    store.requeue(pool, "deploy", filled)
    return holder


def units(store: DynamoStore, pool: str, waiters: int) -> float:
    """Read units a second of so many waiters: what a look of each takes, and a read of the lock, by how often they come.

    What the engine tells of both reads is exact; how often they come is the waiters' rule.
    """

    def taken(key: dict[str, object], *, consistent: bool) -> float:
        answer = store._client.get_item(
            TableName=store._table, Key=key, ConsistentRead=consistent, ReturnConsumedCapacity="TOTAL"
        )
        return float(answer["ConsumedCapacity"]["CapacityUnits"])

    crowded(store, pool, waiters)
    look = taken(keys.turn_key(pool, "deploy"), consistent=False)
    whole = taken(keys.lock_key(pool, "deploy"), consistent=True)
    places = range(waiters)
    doubts = (min((place + 1) * wait_for_lock.DOUBT_SECONDS, REMIND.total_seconds()) for place in places)
    return sum(look / pause_at(place) for place in places) + sum(whole / seconds for seconds in doubts)


def after_the_dead(connection: Connection, pool: str, dead: int) -> float:
    """Seconds from a release until the first living waiter has the lock."""
    store, other = DynamoStore.connect(connection), DynamoStore.connect(connection)
    holder = crowded(store, pool, dead)
    claimed: list[float] = []

    def wait() -> None:
        poller = Poller(HostClock(), DEFAULT_WAIT_LOCK, lambda line: None)
        request = a_request(pool=pool, need_approval=False)
        wait_for_lock.acquire(other, request, Claimant(a_build(f"living of {pool}")), Attempt(), poller=poller)
        claimed.append(time.monotonic())

    living = threading.Thread(target=wait)
    living.start()
    while len((store.lock(pool, "deploy") or Lock(pool=pool, name="deploy")).queue) <= dead:
        time.sleep(0.05)
    time.sleep(1.0)
    releases.release(store, pool, "deploy", holder)
    released = time.monotonic()
    living.join()
    return claimed[0] - released


def measure(connection: Connection, store: DynamoStore) -> Group:
    """Both."""
    group = Group("7. Waiting for a lock", heads=["builds in the queue", "read units a second", "$ a day"])
    found = {waiters: units(store, f"queue-{waiters}", waiters) for waiters in WAITERS}
    group.rows = [[f"{waiters}", f"{of:.1f}", f"{of * DAY * PRICE / 1e6:.2f}"] for waiters, of in found.items()]
    late = {dead: after_the_dead(connection, f"dead-{dead}", dead) for dead in DEAD}
    told = ", ".join(f"{seconds:.1f} s with {dead} dead before it" for dead, seconds in late.items())
    group.notes = [f"From a release to the claim of the first living waiter: {told}."]
    group.budgets = [
        Budget(f"{WAITERS[-1]} waiters on one lock, read units a second", found[WAITERS[-1]], UNITS_BOUND),
        Budget("the first living waiter has a free lock, however many died", max(late.values()), DEAD_BOUND, "s"),
    ]
    return group
