"""Scripts are aborted and killed at any moment: nothing is left of what was aborted, and what was killed goes on when it is run again."""

from __future__ import annotations

import signal
import time
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from random import Random

import pytest

from approval_resource.claims import release as releases
from approval_resource.model.claim import Claim, Claimant
from approval_resource.model.event import Kind
from approval_resource.store.dynamodb.store import DynamoStore
from tests import tally
from tests.builders import take
from tests.scripts.conftest import POOL, Concourse, until
from tests.soak import record
from tests.soak.sweep import Aim, Landing, line
from tests.soak.world import FRESH_SECONDS, Step, World

LOCKS = ("blue", "green")
WAVE_SECONDS, WAVE_WAKINGS = 30.0, 12
"""How long a wave may take; a busy machine starts scripts slowly, and in a wave one may be started again and again."""
LOOK = 0.03
SOMETIMES = 0.1
"""How many of the looks a person looks too."""
SHARES = (1, 4)
"""Into how many tests the kills are divided, so that they run side by side: in a short run, and in a soak."""
KILLS = (12, 320)
SECONDS = (90, 400)
"""How long each may go on, far more than it needs."""
OVER = object()


def wave(world: World) -> None:
    """On each lock a few steps at once, until all are over; then the locks are free."""
    world.steps = []
    groups = [world.random.choice([claimers, gates, upkeep])(world, lock) for lock in LOCKS]
    begun = time.monotonic()
    while groups and time.monotonic() < begun + WAVE_SECONDS + WAVE_WAKINGS * world.line.waking:
        groups = [group for group in groups if next(group, OVER) is not OVER]
        time.sleep(LOOK)
    for step in world.steps:
        if not step.over:
            world.fault("stuck", step, f"not over after {time.monotonic() - begun:.0f} s")
    for lock in LOCKS:
        seen = world.store.lock(POOL, lock)
        if seen is not None and seen.holder:
            world.fault("stuck", world.steps[-1], f"lock {lock} is still held by {seen.holder}")
        if world.waiting(lock) - world.ghosts:
            world.fault("stuck", world.steps[-1], f"somebody still waits for lock {lock}")


def claimers(world: World, lock: str) -> Iterator[None]:
    """Three builds claim; at times another one holds the lock at first."""
    if world.random.random() < 0.5:
        holder = world.hold(lock, need_approval=world.random.random() < 0.5)
        yield from play(
            world, lock, [world.claiming(lock) for _ in range(3)], holder, time.monotonic() + world.random.uniform(0, 2)
        )
    else:
        yield from play(world, lock, [world.claiming(lock) for _ in range(3)])


def gates(world: World, lock: str) -> Iterator[None]:
    """Two steps wait at the gate of one claim, and a build claims its lock."""
    asked = world.hold(lock)
    at_gate = [world.about(action, asked) for action in world.random.sample(["await", "get", "get"], 2)]
    yield from play(world, lock, [*at_gate, world.claiming(lock)], asked)


def upkeep(world: World, lock: str) -> Iterator[None]:
    """A build releases, or holds on to, what two others claim."""
    action = world.random.choice(["release", "renew"])
    holder = world.hold(lock, need_approval=world.random.random() < 0.5, hold_timeout=timedelta(minutes=5))
    yield from play(world, lock, [world.about(action, holder), world.claiming(lock), world.claiming(lock)], holder)


def play(world: World, lock: str, steps: list[Step], first: Claim | None = None, after: float = 0) -> Iterator[None]:
    """Tend the steps; the claim they found is released once that time has come and no step is about it any more."""
    world.steps += steps
    while not all(step.over for step in steps):
        for step in steps:
            if not step.over:
                world.tend(step)
        if first and time.monotonic() > after and all(step.over for step in steps if step.on):
            releases.release(world.store, POOL, lock, Claimant(first.build))
            first = None
        if world.random.random() < SOMETIMES:
            world.approve(lock, [step.on.build if step.on else step.build for step in steps if step.is_gate])
        yield
    if first:
        releases.release(world.store, POOL, lock, Claimant(first.build))


def finish(world: World) -> None:
    """Every lock can be taken by a fresh build, and the record tells of nothing that must not be."""
    builds = {lock: world.new_build() for lock in LOCKS}
    for lock, begun in [(lock, world.concourse.start_put("claim", build=builds[lock], lock_name=lock)) for lock in LOCKS]:
        try:
            ended = f"exit {begun.ends(FRESH_SECONDS + 2 * world.line.waking).code}"
        except pytest.fail.Exception as never:
            ended = str(never)
        if ended != "exit 0":
            world.counts["stuck"] += 1
            world.faults.append(f"stuck: a fresh claim of {lock}: {ended}\n{begun.stderr}")
    world.faults += record.faults(world.store, POOL)
    begun_by, log = Counter[str](), world.log
    for claim in world.store.all_claims():
        begun_by[claim.build_key] += record.kinds(log, claim.id)[0] is not Kind.WITHDRAWN
    for build_key, number in begun_by.items():
        if number > 1:
            world.counts["double"] += 1
            world.faults.append(f"double: build {build_key} made {number} claims")
    world.counts["claims"] += begun_by.total()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "share" in metafunc.fixturenames:
        metafunc.parametrize("share", range(SHARES[bool(metafunc.config.getoption("--soak"))]))


def test_a_second_run_that_is_aborted_gives_up_the_place_of_the_first(concourse: Concourse, store: DynamoStore) -> None:
    """Run again after its worker died in the queue, and aborted at its first request: no place in the queue is left."""
    take(store, 1, lock_name=LOCKS[0], need_approval=False)
    first = concourse.start_put("claim", build=2, lock_name=LOCKS[0])
    first.says("in the queue")
    first.kill()
    with line(concourse.engine.url) as laid:
        second, url = laid.victim(Aim(signal.SIGTERM, request=1, landing=Landing.LOST))
        second.runs(concourse.sourced(endpoint_url=url).start_put("claim", build=2, lock_name=LOCKS[0]))
        until(second.end, "the end of the second run")
    left = store.lock(POOL, LOCKS[0])
    assert left is not None
    assert [waiter.key for waiter in left.queue] == []


def test_whatever_is_broken_off_leaves_nothing_and_can_go_on(
    share: int, concourse: Concourse, store: DynamoStore, effort: tally.Effort
) -> None:
    """Aborted: out in time, no claim left, late ones included. Killed: nothing half written, and the next run finds its own."""
    seed, _ = tally.seeded()
    print(f"APPROVAL_SEED={seed}")  # noqa: T201 - pytest shows it with a failure
    store.create_table()
    end, wanted = time.monotonic() + effort.of(*SECONDS), effort.of(*KILLS) / effort.of(*SHARES)
    with line(concourse.engine.url) as laid:
        world = World(concourse, store, laid, Random(f"{seed} {share}"))  # noqa: S311 - what is tried
        try:
            while world.counts["kills"] < wanted and not world.faults and time.monotonic() < end:
                wave(world)
            finish(world)
        finally:
            for running in concourse.started:
                running.kill()
            tally.add(**dict.fromkeys(("lost", "double", "stuck", "wrong"), 0) | world.counts)
    assert not world.faults, "\n".join(world.faults)
    assert world.counts["kills"] >= wanted
