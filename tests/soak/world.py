"""A pool in which steps are broken off, and what is promised of each of them."""

from __future__ import annotations

import json
import signal
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from random import Random
from typing import Any

from approval_resource.claims import release as releases
from approval_resource.claims import review as reviews
from approval_resource.claims.lookup import find
from approval_resource.claims.poller import Poller
from approval_resource.claims.request import Attempt
from approval_resource.claims.wait_for_lock import acquire
from approval_resource.clock import HostClock
from approval_resource.errors import AlreadyReviewedError
from approval_resource.model.claim import Build, Claim, Claimant, Verdict
from approval_resource.model.event import Event, Kind, State
from approval_resource.store.dynamodb.store import DynamoStore
from tests.builders import a_build, a_request
from tests.scripts.conftest import POOL, WAIT_LOCK, Concourse, Result
from tests.soak import record
from tests.soak.sweep import Aim, Line, Victim, aim

ABORT_SECONDS = 5.0
ABORTED = 143
SIGTERM, SIGKILL = -signal.SIGTERM, -signal.SIGKILL
PATIENCE = 2.5
"""Seconds of work after which a script is broken off that never came to the moment it was aimed at."""
START_SECONDS = 10.0
FRESH_SECONDS = 15.0
"""How long a lock may take to be had that nobody alive holds or waits for."""
THINKING = 1.5
"""Seconds until a person approves, at most."""
AGAIN = 0.3
"""How many of the steps that were killed are aimed at once more."""
FREED = 0.2
"""How many of those that were killed with a claim are not run again: an operator frees the lock."""
CLAIMING: dict[str, dict[str, Any]] = {
    "claim": {},
    "claim for approval": {"need_approval": True},
    "claim and wait": {"need_approval": True, "wait": True},
    "claim over others": {"need_approval": True, "override_approval": True},
    "claim for a while": {"hold_timeout": "1s"},
    "claim soon": {"wait_timeout": "1s"},
}
GAVE_UP = "gave up after"
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
        """A step that is about a claim that is there: its build's release, renewal or await, or another build's get."""
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

    def aim(self) -> Aim:
        return aim(self.random, self.random.choice([signal.SIGTERM, signal.SIGKILL]), 1.4 * self.line.waking)

    def tend(self, step: Step) -> None:
        """Let the step go on: begin, be broken off, begin again after a SIGKILL, be judged."""
        if not step.runs:
            self.start(step, self.aim())
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
        left = self._made(step) if result.code == SIGKILL and step.claims else None
        if left is not None and self.random.random() < FREED:
            self.free(step, left)
            step.result = result
        elif result.code == SIGKILL:
            self.start(step, self.aim() if self.random.random() < AGAIN else None)
        else:
            step.result = result
            self.judge(step, victim, result)

    # ---- what is promised ---------------------------------------------------------

    def judge(self, step: Step, victim: Victim, result: Result) -> None:
        """Hold a step that is over against what is promised of it."""
        if "Traceback" in result.stderr or "Exception ignored" in result.stderr:
            self.fault("wrong", step, "a traceback")
        if result.code in (SIGTERM, ABORTED) and result.seconds > ABORT_SECONDS:
            self.fault("stuck", step, f"took {result.seconds:.1f} s to be aborted")
        may_fail = GAVE_UP in result.stderr or self._lost_its_claim(step)
        if result.code == 1 and not may_fail:
            self.fault("wrong", step, "failed")
        if result.code == SIGTERM and victim.asked and not may_fail:
            self.fault("wrong", step, "was ended by the signal after it had begun")
        if result.code not in (0, 1, SIGTERM, ABORTED):
            self.fault("wrong", step, "ended like nothing that is promised")
        if step.claims:
            self._judge_claim(step, result)
        elif result.code == 0:
            self._judge_done(step, result)
        elif step.is_gate and not self._lost_its_claim(step) and step.on and not find(self.store, step.on.id).claimed:
            self.fault("lost", step, "an aborted gate ended its claim")

    def waiting(self, lock: str) -> set[str]:
        """The keys of the builds in the lock's queue."""
        seen = self.store.lock(POOL, lock)
        return {waiter.key for waiter in seen.queue} if seen else set()

    def _made(self, step: Step) -> Claim | None:
        """The claim that the step's build holds its lock by."""
        lock = self.store.lock(POOL, step.lock)
        holder = find(self.store, lock.holder) if lock and lock.holder else None
        return holder if holder and holder.build_key == step.build.key() else None

    def _lost_its_claim(self, step: Step) -> bool:
        """Whether another build superseded the step's claim, or took its lock over."""
        made = self.store.build(step.build.key(), POOL, step.lock)
        claim_id = step.on.id if step.on else made.made if made else ""
        return bool(claim_id) and find(self.store, claim_id).state in (State.SUPERSEDED, State.EXPIRED)

    def _judge_claim(self, step: Step, result: Result) -> None:
        left = self._made(step)
        if result.code == 0:
            told = self.store.claim(result.version["id"])
            if told is None or told.build_key != step.build.key() or told.payload == "":
                self.fault("lost", step, f"was told of a claim that is {told}")
            elif (left is None or told.id != left.id) and not self._lost_its_claim(step):
                self.fault("lost", step, f"was told of a claim that is {told.state}")
            releases.release(self.store, POOL, step.lock, Claimant(step.build))
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
        claim, kinds = find(self.store, step.on.id), record.kinds(self.log, step.on.id)
        match step.name:
            case "release":
                if claim.claimed or result.version != {**result.version, "id": claim.id, "state": claim.state}:
                    self.fault("lost", step, f"a released claim is {claim.state}")
            case "renew":
                if Kind.RENEWED not in kinds:
                    self.fault("lost", step, f"renewed, and the record has {kinds}")
            case "await":
                if claim.spent != step.build.key() or kinds.count(Kind.SPENT) != 1:
                    self.fault("lost", step, f"passed, and the record has {kinds}")
            case _:
                written = result.files()
                if written.keys() != GOT or json.loads(written["receipt.json"])["event"]["id"] != claim.id:
                    self.fault("lost", step, f"wrote {written}")

    def free(self, step: Step, claim: Claim) -> None:
        """An operator frees a lock in one command, and that is on record."""
        why = f"build {step.build.id} is gone"
        freed = self.concourse.cli("release", claim.id, "--force", "--reason", why)
        if self._lost_its_claim(step):
            return
        last = [event for event in self.log if event.claim_id == claim.id][-1]
        if freed.code or (last.actor, last.reason, last.forced) != ("typed:alice", why, True):
            self.fault("stuck", step, f"an operator could not free {claim.id}: {freed.stderr}; {last}")
        self.counts["freed by hand"] += 1

    # ---- other builds, and people ---------------------------------------------------

    def hold(self, lock: str, **request: Any) -> Claim:
        """Another build's claim, made at once unless ghosts stand in the queue."""
        build, asked = self.new_build(), a_request(lock, POOL, **request)
        poller = Poller(HostClock(), WAIT_LOCK, lambda line: None)
        wait = timedelta(seconds=FRESH_SECONDS)
        return acquire(self.store, asked, Claimant(build), Attempt(), poller=poller, wait_timeout=wait).claim

    def approve(self, lock: str, asking: list[Build]) -> None:
        """Approve the lock's claim a while after it was made, if somebody waits for that."""
        seen = self.store.lock(POOL, lock)
        holder = find(self.store, seen.holder) if seen and seen.holder else None
        if holder is None or holder.state is not State.PENDING or holder.build not in asking:
            return
        if time.monotonic() < self.due.setdefault(holder.id, time.monotonic() + self.random.uniform(0, THINKING)):
            return
        with suppress(AlreadyReviewedError):
            reviews.review(self.store, holder.id, reviewer="typed:ann", verdict=Verdict.APPROVE)
