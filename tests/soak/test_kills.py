"""Scripts are aborted and killed at any moment: nothing is left of what was aborted, and what was killed goes on when it is run again."""

from __future__ import annotations

import json
import signal
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from random import Random
from typing import Any

import pytest

from approval_resource import releases, reviews
from approval_resource.errors import AlreadyReviewedError
from approval_resource.model import Build, Claim, Event, Kind, State, Verdict
from approval_resource.store.dynamodb import DynamoStore
from tests import tally
from tests.builders import a_build, take
from tests.scripts.conftest import POOL, Concourse, Result, until
from tests.soak import record
from tests.soak.sweep import Aim, Landing, Line, Victim, aim, line

LOCKS = ("blue", "green")
ABORT_SECONDS = 5.0
ABORTED = 143
SIGTERM, SIGKILL = -signal.SIGTERM, -signal.SIGKILL
PATIENCE = 2.5
"""Seconds of work after which a script is broken off that never came to the moment it was aimed at."""
START_SECONDS = 10.0
WAVE_SECONDS = 60.0
FRESH_SECONDS = 15.0
THINKING = 1.5
"""Seconds until a person approves, at most."""
LOOK = 0.03
SHARES = (2, 4)
"""Into how many tests the kills are divided, so that they run side by side: in a short run, and in a soak."""
KILLS = (24, 320)
SECONDS = (80, 400)
"""How long each may go on, far more than it needs."""
CLAIMING: dict[str, dict[str, Any]] = {
    "claim": {},
    "claim for approval": {"need_approval": True},
    "claim and wait": {"need_approval": True, "wait": True},
    "claim over others": {"need_approval": True, "override_approval": True},
    "claim for a while": {"hold_timeout": "1s"},
    "claim soon": {"wait_timeout": "1s"},
}
GAVE_UP = "gave up after"
OVER = object()
SOMETIMES = 0.1
GOT = {"name", "id", "state", "metadata", "claim.json", "payload.json", "receipt.json"}


@dataclass
class Step:
    """One step of one build: run until it ends by itself or is aborted, and again after it was killed."""

    name: str
    build: Build
    lock: str
    params: dict[str, Any]
    on: Claim | None = None
    """The claim that the step is about, where it does not make one."""
    runs: list[Victim] = field(default_factory=list)
    result: Result | None = None

    @property
    def over(self) -> bool:
        return self.result is not None

    @property
    def claims(self) -> bool:
        return self.on is None

    @property
    def is_gate(self) -> bool:
        """Whether it waits for an approval."""
        return self.name in ("await", "get", "claim and wait")

    @property
    def is_blind(self) -> bool:
        """Whether it was aborted before it could know what its first run, which was killed, has left."""
        return len(self.runs) > 1 and not self.runs[-1].asked

    @property
    def story(self) -> str:
        """What was done to it, for whoever has to find out why."""
        done = [f"run {number}: {run.aim or 'left alone'}, asked {run.asked}" for number, run in enumerate(self.runs, 1)]
        end = f"exit {self.result.code}: {self.result.stdout}{self.result.stderr}" if self.result else "not over"
        return "\n    ".join([f"{self.name} of build {self.build.id} on {self.lock} {self.params}", *done, end])


@dataclass
class World:
    """A pool in which steps are broken off, and the people and other builds in it."""

    concourse: Concourse
    store: DynamoStore
    line: Line
    random: Random
    counts: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    due: dict[str, float] = field(default_factory=dict)
    """When somebody approves a claim."""
    ghosts: set[str] = field(default_factory=set)
    """Builds that were killed in a queue, and aborted before they could know of that: whoever waits behind them drops them."""
    builds: int = 0

    @property
    def log(self) -> list[Event]:
        return list(self.store.events(POOL))

    def new_build(self) -> Build:
        self.builds += 1
        return a_build(self.builds)

    def fault(self, what: str, step: Step, why: str) -> None:
        """Something that must not be: lost, double, stuck or wrong."""
        self.counts[what] += 1
        self.faults.append(f"{what}: {why}\n  {step.story}")

    # ---- steps ------------------------------------------------------------------

    def claiming(self, lock: str) -> Step:
        """A step that claims, in any of its ways."""
        build = self.new_build()
        self.concourse.write("plan.txt", f"the plan of {build.id}\n", build)
        params: dict[str, Any] = {"action": "claim", "lock_name": lock, "payload": {"build": build.id}}
        params |= {"attach": {"plan.txt": "plan.txt"}, "description": "broken off"}
        name = self.random.choice(list(CLAIMING))
        return Step(name, build, lock, params | CLAIMING[name] | {"priority": self.random.randint(-1, 1)})

    def about(self, action: str, claim: Claim) -> Step:
        """A step that is about a claim that is there: a release or an await of its build, or another's get."""
        params: dict[str, Any] = {"action": action, "lock_name": claim.lock_name}
        build = claim.build
        if action == "get":
            build, params = self.new_build(), {"need_approval": True}
        return Step(action, build, claim.lock_name, params, claim)

    def start(self, step: Step, aimed: Aim | None) -> None:
        victim, url = self.line.victim(aimed)
        at = self.concourse.sourced(endpoint_url=url)
        step.runs.append(victim)
        if step.on is None or step.name != "get":
            victim.runs(at.start_put(build=step.build, **step.params))
        else:
            version = {"id": step.on.id, "lock_name": step.lock, "state": step.on.state.value}
            version["timestamp"] = f"{step.on.changed:%Y-%m-%dT%H:%M:%S.%fZ}"
            victim.runs(at.start_get(version, build=step.build, **step.params))

    def aim(self, *by: signal.Signals) -> Aim:
        return aim(self.random, self.random.choice(by), 1.4 * self.line.waking)

    def tend(self, step: Step) -> None:
        """Let the step go on: begin, be broken off, begin again after a SIGKILL, be judged."""
        if not step.runs:
            self.start(step, self.aim(signal.SIGTERM, signal.SIGKILL))
        victim = step.runs[-1]
        if victim.aim is not None and victim.age > (victim.woke or START_SECONDS) + PATIENCE:
            victim.strike()
        result = victim.end()
        if result is None:
            return
        if result.code in (SIGTERM, SIGKILL, ABORTED):
            self.counts["kills"] += 1
        self.counts["late writes"] += len(victim.late)
        self.counts["late writes refused"] += sum(status != 200 for status in victim.late)
        if result.code == SIGKILL:
            left = self._made(step)
            if step.claims and left is not None and self.random.random() < 2 * SOMETIMES:
                self.free(step, left)
                step.result = result
                return
            # Aimed at again, at times: workers may die twice.
            again = self.random.random() < 0.3
            self.start(step, self.aim(signal.SIGTERM, signal.SIGKILL) if again else None)
            return
        step.result = result
        self.judge(step, victim, result)

    # ---- what is promised ---------------------------------------------------------

    def judge(self, step: Step, victim: Victim, result: Result) -> None:
        """Hold a step that is over against what is promised of it."""
        if "Traceback" in result.stderr or "Exception ignored" in result.stderr:
            self.fault("wrong", step, "a traceback")
        if result.code in (SIGTERM, ABORTED) and result.seconds > ABORT_SECONDS:
            self.fault("stuck", step, f"took {result.seconds:.1f} s to be aborted")
        if result.code == SIGTERM and victim.asked:
            self.fault("wrong", step, "was ended by the signal after it had begun")
        if result.code == 1 and not self._lost_its_claim(step) and GAVE_UP not in result.stderr:
            self.fault("wrong", step, "failed")
        if result.code not in (0, 1, SIGTERM, ABORTED):
            self.fault("wrong", step, "ended like nothing that is promised")
        if step.claims:
            self._judge_claim(step, result)
        elif result.code == 0:
            self._judge_done(step, result)
        elif step.is_gate and not self._lost_its_claim(step) and step.on and not reviews.find(self.store, step.on.id).claimed:
            self.fault("lost", step, "an aborted gate ended its claim")

    def waiting(self, lock: str) -> set[str]:
        """The keys of the builds in the lock's queue."""
        seen = self.store.lock(POOL, lock)
        return {waiter.key for waiter in seen.queue} if seen else set()

    def _made(self, step: Step) -> Claim | None:
        """The claim that the step's build holds its lock by."""
        lock = self.store.lock(POOL, step.lock)
        holder = reviews.find(self.store, lock.holder) if lock and lock.holder else None
        return holder if holder and holder.build_key == step.build.key() else None

    def _lost_its_claim(self, step: Step) -> bool:
        """Whether another build superseded the step's claim, or took its lock over."""
        made = self.store.build(step.build.key(), POOL, step.lock)
        claim_id = step.on.id if step.on else made.made if made else ""
        return bool(claim_id) and reviews.find(self.store, claim_id).state in (State.SUPERSEDED, State.EXPIRED)

    def _judge_claim(self, step: Step, result: Result) -> None:
        left = self._made(step)
        if result.code == 0:
            told = self.store.claim(result.version["id"])
            if told is None or told.build_key != step.build.key() or told.payload == "":
                self.fault("lost", step, f"was told of a claim that is {told}")
            elif told != left and not self._lost_its_claim(step):
                self.fault("lost", step, f"was told of a claim that is {told.state}")
            releases.release(self.store, POOL, step.lock, step.build, step.build.key())
        elif left is not None and step.is_blind:
            # Killed with its claim, and the run after it aborted before it asked for anything: an operator's business.
            self.free(step, left)
        elif left is not None:
            self.fault("stuck", step, f"left claim {left.id} behind")
        if step.build.key() in self.waiting(step.lock):
            if step.is_blind:
                self.ghosts.add(step.build.key())
            else:
                self.fault("stuck", step, "left its place in the queue behind")

    def _judge_done(self, step: Step, result: Result) -> None:
        if step.on is None:
            raise AssertionError("a claim is judged otherwise")
        claim, kinds = reviews.find(self.store, step.on.id), record.kinds(self.log, step.on.id)
        match step.name:
            case "release":
                if claim.claimed or result.version != {**result.version, "id": claim.id, "state": claim.state}:
                    self.fault("lost", step, f"a released claim is {claim.state}")
            case "await":
                if claim.spent != step.build.key() or kinds.count(Kind.SPENT) != 1:
                    self.fault("lost", step, f"passed, and the record has {kinds}")
            case _:
                written = result.files()
                if written.keys() != GOT or any(
                    len(json.loads(written[name])) == 0 for name in GOT if "json" in name and name != "payload.json"
                ):
                    self.fault("lost", step, f"wrote {written}")

    def free(self, step: Step, claim: Claim) -> None:
        """An operator frees a lock in one command, and that is on record."""
        command = "withdraw" if claim.state is State.PENDING else "release"
        freed = self.concourse.cli(command, claim.id, "--reason", f"build {step.build.id} is gone")
        last = list(self.store.events(POOL, lock_name=step.lock))[-1]
        if freed.code or (last.claim_id, last.actor, last.reason) != (
            claim.id,
            "typed:alice",
            f"build {step.build.id} is gone",
        ):
            self.fault("stuck", step, f"an operator could not free {claim.id}: {freed.stderr}; {last}")
        self.counts["freed by hand"] += 1

    # ---- waves --------------------------------------------------------------------

    def wave(self) -> None:
        """On each lock a few steps at once, until all are over; then the locks are free."""
        self.steps = []
        groups = [self.random.choice([self.claimers, self.gates, self.releases])(lock) for lock in LOCKS]
        end = time.monotonic() + WAVE_SECONDS
        while groups and time.monotonic() < end:
            groups = [group for group in groups if next(group, OVER) is not OVER]
            time.sleep(LOOK)
        for step in self.steps:
            if not step.over:
                self.fault("stuck", step, f"not over after {WAVE_SECONDS} s")
        for lock in LOCKS:
            seen = self.store.lock(POOL, lock)
            if seen is not None and seen.holder:
                self.fault("stuck", self.steps[-1], f"lock {lock} is still held by {seen.holder}")
            if self.waiting(lock) - self.ghosts:
                self.fault("stuck", self.steps[-1], f"somebody still waits for lock {lock}")

    def claimers(self, lock: str) -> Iterator[None]:
        """Three builds claim; at times another one holds the lock at first."""
        if self.random.random() < 0.5:
            holder = take(self.store, self.new_build(), lock_name=lock, need_approval=self.random.random() < 0.5)
            yield from self.play(
                lock, [self.claiming(lock) for _ in range(3)], holder, time.monotonic() + self.random.uniform(0, 2)
            )
        else:
            yield from self.play(lock, [self.claiming(lock) for _ in range(3)])

    def gates(self, lock: str) -> Iterator[None]:
        """Two steps wait at the gate of one claim, and a build claims its lock."""
        asked = take(self.store, self.new_build(), lock_name=lock)
        at_gate = [self.about(action, asked) for action in self.random.sample(["await", "get", "get"], 2)]
        yield from self.play(lock, [*at_gate, self.claiming(lock)], asked)

    def releases(self, lock: str) -> Iterator[None]:
        """A build releases what two others claim."""
        holder = take(self.store, self.new_build(), lock_name=lock, need_approval=self.random.random() < 0.5)
        yield from self.play(lock, [self.about("release", holder), self.claiming(lock), self.claiming(lock)], holder)

    def play(self, lock: str, steps: list[Step], first: Claim | None = None, until: float = 0) -> Iterator[None]:
        """Tend the steps; the claim they found is released once that time has come and no step is about it any more."""
        self.steps += steps
        while not all(step.over for step in steps):
            for step in steps:
                if not step.over:
                    self.tend(step)
            if first and time.monotonic() > until and all(step.over for step in steps if step.on):
                releases.release(self.store, POOL, lock, first.build, first.build.key())
                first = None
            if self.random.random() < SOMETIMES:
                self.approve(lock, [step.on.build if step.on else step.build for step in steps if step.is_gate])
            yield
        if first:
            releases.release(self.store, POOL, lock, first.build, first.build.key())

    def approve(self, lock: str, asking: list[Build]) -> None:
        """Approve the lock's claim a while after it was made, if somebody waits for that."""
        seen = self.store.lock(POOL, lock)
        holder = reviews.find(self.store, seen.holder) if seen and seen.holder else None
        if holder is None or holder.state is not State.PENDING or holder.build not in asking:
            return
        if time.monotonic() < self.due.setdefault(holder.id, time.monotonic() + self.random.uniform(0, THINKING)):
            return
        with suppress(AlreadyReviewedError):
            reviews.review(self.store, holder.id, reviewer="typed:ann", verdict=Verdict.APPROVE)

    # ---- in the end ---------------------------------------------------------------

    def finish(self) -> None:
        """Every lock can be taken by a fresh build, and the record tells of nothing that must not be."""
        builds = {lock: self.new_build() for lock in LOCKS}
        for lock, begun in [(lock, self.concourse.start_put("claim", build=builds[lock], lock_name=lock)) for lock in LOCKS]:
            try:
                ended = f"exit {begun.ends(FRESH_SECONDS).code}"
            except pytest.fail.Exception as never:
                ended = str(never)
            if ended != "exit 0":
                self.counts["stuck"] += 1
                self.faults.append(f"stuck: a fresh claim of {lock}: {ended}\n{begun.stderr}")
        self.faults += record.faults(self.store, POOL)
        begun_by = Counter[str]()
        for claim in self.store.all_claims():
            begun_by[claim.build_key] += record.kinds(self.log, claim.id)[0] is not Kind.WITHDRAWN
        for build_key, number in begun_by.items():
            if number > 1:
                self.counts["double"] += 1
                self.faults.append(f"double: build {build_key} made {number} claims")
        self.counts["claims"] += begun_by.total()


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
                world.wave()
            world.finish()
        finally:
            for running in concourse.started:
                running.kill()
            tally.add(**dict.fromkeys(("lost", "double", "stuck", "wrong"), 0) | world.counts)
    assert not world.faults, "\n".join(world.faults)
    assert world.counts["kills"] >= wanted
