"""DynamoDB is away for a time: waiting steps say so once and go on; writes that land late land once, or never."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, replace
from random import Random

import pytest

from approval_resource.audit import verify as audit
from approval_resource.claims import release as releases
from approval_resource.claims import review as reviews
from approval_resource.model.claim import Claimant, Verdict
from approval_resource.model.event import Kind, State
from approval_resource.steps.protocol import Version
from approval_resource.store.dynamodb.store import DynamoStore
from demo.engine import Engine
from tests import tally
from tests.builders import a_build, take
from tests.scripts.conftest import LOCK, POOL, SECONDS, Concourse, Running, held_by, kept
from tests.soak.proxy import Answer, Exchange, Proxy, Toxic, nothing
from tests.soak.story import deciding, require_decent
from tests.soak.toxics import OPERATIONS, WRITE, bad_gateway, lost_answer, next_of, server_error, silent

AWAY = "; still waiting"
BACK = "DynamoDB answers again"
WAITS = "is waiting for an approval"
TAKEN = "is already claimed by"
NOTICED_SECONDS = 25.0
"""A read is tried for ten seconds before the store counts as away, and may be under way for ten when that begins."""
LOOKS_SECONDS = 1
ABORT_SECONDS = 5.0


@contextmanager
def meeting(proxy: Proxy, toxic: Toxic) -> Iterator[None]:
    """Every request meets that meanwhile."""
    proxy.judge = lambda asked: toxic if asked.operation in OPERATIONS else None
    try:
        yield
    finally:
        proxy.judge = nothing


OUTAGES: dict[str, Callable[[Proxy], AbstractContextManager[None]]] = {
    "nobody listens": Proxy.outage,
    "a load balancer's page": lambda proxy: meeting(proxy, bad_gateway),
    "errors": lambda proxy: meeting(proxy, server_error),
    "silence": lambda proxy: meeting(proxy, silent),
}


@dataclass
class Waiting:
    """A lock with a get and a put that wait for its claim's decision, and a claimer that waits for the lock itself."""

    lock_name: str
    claim_id: str
    get: Running
    put: Running
    claimer: Running
    aborted: Running

    @property
    def steps(self) -> tuple[Running, ...]:
        """Those that shall survive."""
        return (self.get, self.put, self.claimer)


def waiting(concourse: Concourse, store: DynamoStore, lock_name: str) -> Waiting:
    """Begin them, and see that they wait."""
    claim = take(store, a_build(f"{lock_name}-1"), lock_name=lock_name)
    names = {"lock_name": lock_name}
    get = concourse.start_get(Version.of(claim).render(), build=a_build(f"{lock_name}-2"), need_approval=True)
    put = concourse.start_put("await", build=a_build(f"{lock_name}-3"), **names)
    claimer = concourse.start_put("claim", build=a_build(f"{lock_name}-4"), **names)
    aborted = concourse.start_put("claim", build=a_build(f"{lock_name}-5"), **names)
    for step in (get, put):
        step.says(WAITS)
    for step in (claimer, aborted):
        step.says(TAKEN)
    return Waiting(lock_name, claim.id, get, put, claimer, aborted)


def require_told_once(step: Running) -> None:
    """One line when the store went away, one when it was back, in that order, and nothing else in between."""
    lines = step.stderr.splitlines()
    away = [number for number, line in enumerate(lines) if line.endswith(AWAY)]
    assert len(away) == 1, step.stderr
    assert [number for number, line in enumerate(lines) if line == BACK] == [away[0] + 1], step.stderr
    assert "Traceback" not in step.stderr


@pytest.mark.long
@pytest.mark.timeout(400)
def test_waiting_steps_survive_an_outage_and_say_so_once(
    concourse: Concourse, store: DynamoStore, engine: Engine, effort: tally.Effort
) -> None:
    """Gates and claimers that wait sit out an outage, tell its begin and its end in a line each, and then do what they are for."""
    store.create_table()
    kinds = list(OUTAGES)[: effort.of(1, len(OUTAGES))]
    with ExitStack() as stack:
        proxies = [stack.enter_context(Proxy(engine.url, Random(0))) for _ in kinds]  # noqa: S311
        through = [concourse.sourced(endpoint_url=proxy.url) for proxy in proxies]
        waiters = [waiting(line, store, f"lock-{number}") for number, line in enumerate(through)]
        with ExitStack() as outages:
            for kind, proxy in zip(kinds, proxies, strict=True):
                outages.enter_context(OUTAGES[kind](proxy))
            began = time.monotonic()
            stopped = waiters[0].aborted.stop()
            assert (stopped.code, stopped.stdout) == (143, "")
            assert stopped.seconds < ABORT_SECONDS
            for waiter in waiters:
                for step in waiter.steps:
                    step.says(AWAY, NOTICED_SECONDS)
            time.sleep(max(LOOKS_SECONDS, effort.of(0, 120) - (time.monotonic() - began)))
        for waiter in waiters:
            for step in waiter.steps:
                step.says(BACK, NOTICED_SECONDS)
            _finish(waiter, store)
    assert audit.verify(store, POOL).findings == []
    tally.add(outages=len(kinds), claims=2 * len(kinds), lost=0, double=0, stuck=0)


def _finish(waiter: Waiting, store: DynamoStore) -> None:
    """The gates open on the approval, the claimer takes the lock when it is free, and each has told what was on once."""
    reviews.review(store, waiter.claim_id, reviewer="typed:bob", verdict=Verdict.APPROVE)
    assert waiter.get.ends().code == 0
    assert waiter.put.ends().version["id"] == waiter.claim_id
    aborted = waiter.aborted.stop()
    assert aborted.code == 143
    maker = a_build(f"{waiter.lock_name}-1")
    releases.release(store, POOL, waiter.lock_name, Claimant(maker))
    taken = waiter.claimer.ends().version
    assert held_by(store, waiter.lock_name) == taken["id"] != waiter.claim_id
    for step in waiter.steps:
        require_told_once(step)


# ---- what lands late ---------------------------------------------------------------------


class Held:
    """A toxic: the write waits on the line until it is let go, and its answer is kept."""

    def __init__(self) -> None:
        self.arrived, self.go, self.landed = threading.Event(), threading.Event(), threading.Event()
        self.answer: Answer | None = None

    def __call__(self, exchange: Exchange) -> None:
        self.arrived.set()
        assert self.go.wait(SECONDS)
        self.answer = exchange.forward()
        self.landed.set()
        exchange.hang_up()

    def land(self) -> int:
        """Let it reach the engine now; returns what the engine says."""
        self.go.set()
        assert self.landed.wait(SECONDS)
        assert self.answer is not None
        return self.answer.status


@pytest.fixture
def held(proxy: Proxy) -> Iterator[Held]:
    """The next write through the proxy is held."""
    held = Held()
    proxy.judge = next_of(WRITE, held)
    yield held
    held.go.set()


def test_a_killed_claimers_write_lands_late_and_is_its_builds(
    concourse: Concourse, store: DynamoStore, proxy: Proxy, held: Held
) -> None:
    """The claim that a killed process had under way is found by the build's next try: one claim, whichever came first."""
    store.create_table()
    killed = concourse.sourced(endpoint_url=proxy.url).start_put("claim", lock_name=LOCK, need_approval=True)
    assert held.arrived.wait(SECONDS)
    killed.kill()
    assert held.land() == 200
    claim = store.open_claims(POOL)[0]
    again = concourse.claim()
    assert again.version["id"] == claim.id
    assert "This build asked for that before" in again.stderr
    assert [event.kind for event in store.events(POOL)] == [Kind.PENDING]
    tally.add(claims=1, lost=0, double=0, stuck=0)


def test_a_killed_claimers_write_that_lands_after_the_next_try_is_refused(
    concourse: Concourse, store: DynamoStore, proxy: Proxy, held: Held
) -> None:
    """Where the next try was faster, the late claim doesn't land any more."""
    store.create_table()
    killed = concourse.sourced(endpoint_url=proxy.url).start_put("claim", lock_name=LOCK, need_approval=True)
    assert held.arrived.wait(SECONDS)
    killed.kill()
    again = concourse.claim()
    assert held.land() == 400
    assert held_by(store) == again.version["id"]
    assert [event.kind for event in store.events(POOL)] == [Kind.PENDING]
    tally.add(claims=1, lost=0, double=0, stuck=0)


def test_an_aborted_claimers_write_can_not_land_late(
    concourse: Concourse, store: DynamoStore, proxy: Proxy, held: Held
) -> None:
    """What a build had under way when it was aborted is made impossible before the process ends."""
    store.create_table()
    aborted = concourse.sourced(endpoint_url=proxy.url).start_put("claim", lock_name=LOCK, need_approval=True)
    assert held.arrived.wait(SECONDS)
    stopped = aborted.stop()
    assert (stopped.code, stopped.stdout) == (143, "")
    assert held.land() == 400
    assert held_by(store) == ""
    assert [event.kind for event in store.events(POOL)] == [Kind.WITHDRAWN]
    assert audit.verify(store, POOL).findings == []
    tally.add(claims=1, lost=0, double=0, stuck=0)


def test_a_killed_reviewers_approval_that_lands_after_a_rejection_is_refused(
    concourse: Concourse, store: DynamoStore, proxy: Proxy, held: Held
) -> None:
    """Whoever was decided by first stays decided: an approval on its way when somebody rejected opens nothing."""
    claim = take(store, 1)
    begin = deciding("approve", claim.id)
    killed = begin(replace(concourse, engine=Engine(proxy.url, concourse.engine.pid)))
    assert held.arrived.wait(SECONDS)
    killed.kill()
    concourse.reject({"id": claim.id})
    assert held.land() == 400
    assert kept(store, {"id": claim.id}).state is State.REJECTED
    assert "hasn't been approved" in concourse.put("await", build=1, lock_name=LOCK).refused()
    assert [event.kind for event in store.events(POOL)] == [Kind.PENDING, Kind.REJECTED]
    assert audit.verify(store, POOL).findings == []
    tally.add(claims=1, lost=0, double=0, stuck=0)


def test_a_passage_whose_process_was_killed_opens_for_nobody_else(
    concourse: Concourse, store: DynamoStore, proxy: Proxy, held: Held
) -> None:
    """An approval that was used up by a write which landed late is used up: by that build, again, and by no other."""
    claim = take(store, 1)
    reviews.review(store, claim.id, reviewer="typed:bob", verdict=Verdict.APPROVE)
    killed = concourse.sourced(endpoint_url=proxy.url).start_put("await", build=2, lock_name=LOCK)
    assert held.arrived.wait(SECONDS)
    killed.kill()
    assert held.land() == 200
    assert "has used the approval of claim" in concourse.put("await", build=3, lock_name=LOCK).refused()
    assert concourse.put("await", build=2, lock_name=LOCK).code == 0
    assert [event.kind for event in store.events(POOL)] == [Kind.PENDING, Kind.APPROVED, Kind.SPENT]
    tally.add(claims=1, lost=0, double=0, stuck=0)


# ---- steps that give up -----------------------------------------------------------------


@pytest.mark.long
def test_what_gave_up_is_run_again_and_finds_what_it_did(concourse: Concourse, store: DynamoStore, proxy: Proxy) -> None:
    """A release that landed, and a minute in which nobody could ask whether it did: exit 1, and the next run finds it done."""
    held_claim = take(store, 1, need_approval=False)
    lost = threading.Event()

    def lost_for_good(exchange: Exchange) -> None:
        lost_answer(exchange)
        lost.set()

    proxy.judge = next_of(WRITE, lost_for_good)
    releasing = concourse.sourced(endpoint_url=proxy.url).start_put("release", lock_name=LOCK)
    assert lost.wait(SECONDS)
    with proxy.outage():
        gave_up = releasing.ends(90)
    assert "(gave up after 60 s)" in gave_up.refused()
    assert kept(store, {"id": held_claim.id}).state is State.RELEASED
    again = concourse.put("release", lock_name=LOCK)
    assert (again.version["id"], again.version["state"]) == (held_claim.id, "released")
    assert [event.kind for event in store.events(POOL)] == [Kind.HELD, Kind.RELEASED]
    tally.add(claims=1, lost=0, double=0, stuck=0)


# ---- the first use ----------------------------------------------------------------------


@pytest.mark.parametrize("operation", ["CreateTable", "DescribeTable", "UpdateContinuousBackups"])
def test_a_table_whose_making_met_a_fault_is_used(
    concourse: Concourse, store: DynamoStore, proxy: Proxy, operation: str
) -> None:
    """The next run makes exactly one claim, and the table is protected, or somebody is told how it comes to be."""
    proxy.judge = next_of(operation, lost_answer)
    through = concourse.sourced(endpoint_url=proxy.url)
    first = through.claim()
    require_decent(first, "first use")
    second = through.claim()
    assert proxy.applied.total() == 1
    assert [event.claim_id for event in store.events(POOL)] == [second.version["id"]]
    backups = store._client.describe_continuous_backups(TableName=concourse.table)["ContinuousBackupsDescription"]
    protected = backups["PointInTimeRecoveryDescription"]["PointInTimeRecoveryStatus"] == "ENABLED"
    assert protected or "approvals init" in first.stderr + second.stderr
    tally.add(claims=1, lost=0, double=0, stuck=0)
