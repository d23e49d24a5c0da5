"""Run as a program: processes do what can't both come true to one claim, at the same moment, round after round.

Each is forked before anything else is started and has a store of its own. What it was told, and what it
then sees, is printed as one JSON document a line.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import timedelta
from pathlib import Path
from random import Random
from typing import Any
from uuid import NAMESPACE_OID, uuid5

from approval_resource.claims import acquire as claims
from approval_resource.claims import deadline
from approval_resource.claims import end as ends
from approval_resource.claims import gate as gates
from approval_resource.claims import release as releases
from approval_resource.claims import review as reviews
from approval_resource.claims.end import end_claim
from approval_resource.claims.lifecycle import require_passable
from approval_resource.claims.lookup import find
from approval_resource.claims.request import Attempt
from approval_resource.errors import (
    AlreadyReviewedError,
    ApprovalError,
    ApprovalSpentError,
    LockHeldError,
    ReviewTimeoutError,
    StaleLockError,
)
from approval_resource.model.claim import Build, Claim, Claimant, Verdict
from approval_resource.model.event import State
from approval_resource.store.dynamodb.store import DynamoStore
from approval_resource.store.interface import Connection
from tests.builders import NOON, FrozenTime, a_build, a_request

POOL = "races"
BARRIER_SECONDS = 60
ROUND = timedelta(seconds=20)
PATIENCE = timedelta(seconds=10)
"""How long after its claim a deadline lies."""
READING = 1_000_000
"""Microseconds by which two hosts' readings of the store's time may lie before or after the truth."""
DONE, BEFORE, OTHER = "done", "before", "other"
"""Told: it is this call that decided; it was decided before; something else."""


@dataclass(frozen=True)
class Note:
    """What one process was told in one round, and what it saw afterwards."""

    turn: int
    number: int
    role: str
    told: str
    about: str
    state: str
    decided_by: str
    ended_by: str
    passable: bool
    holder: str


@dataclass
class Racer:
    """One process in one round."""

    number: int
    turn: int
    store: DynamoStore
    time: FrozenTime
    random: Random

    @property
    def claim_id(self) -> str:
        """The claim that this round is about: known to all without asking."""
        return claim_id(self.turn)

    @property
    def who(self) -> str:
        return f"typed:racer-{self.number}"

    @property
    def lock_name(self) -> str:
        return f"lock-{self.turn}"

    @property
    def own_build(self) -> Build:
        """A build that nobody else is."""
        return a_build(f"{self.turn}-{self.number}")

    @property
    def common_build(self) -> Build:
        """The build that the round's claim is of."""
        return a_build(f"{self.turn}")

    def claim(self) -> Claim:
        return find(self.store, self.claim_id)

    def take(self, build: Build, attempt: Attempt, **request: Any) -> Claim:
        return claims.take(self.store, a_request(self.lock_name, POOL, **request), Claimant(build), attempt).claim


Act = Callable[[Racer], tuple[str, str]]


def claim_id(turn: int) -> str:
    return str(uuid5(NAMESPACE_OID, f"race {turn}"))


# ---- what one of them does: told, and what about ---------------------------------


def review(racer: Racer, verdict: Verdict) -> tuple[str, str]:
    try:
        recorded = reviews.review(racer.store, racer.claim_id, reviewer=racer.who, verdict=verdict)
    except AlreadyReviewedError as late:
        return BEFORE, late.current.state
    except ReviewTimeoutError as late:
        return BEFORE, late.current.state
    return (DONE if recorded.changed else OTHER), recorded.claim.state


def approve(racer: Racer) -> tuple[str, str]:
    return review(racer, Verdict.APPROVE)


def reject(racer: Racer) -> tuple[str, str]:
    return review(racer, Verdict.REJECT)


def settle(racer: Racer) -> tuple[str, str]:
    return OTHER, deadline.apply_time(racer.store, racer.claim()).state


def take(racer: Racer, **request: Any) -> tuple[str, str]:
    try:
        taken = racer.take(racer.own_build, Attempt(), **request)
    except LockHeldError as held:
        return BEFORE, held.current.id
    return DONE, taken.id


def take_again(racer: Racer) -> tuple[str, str]:
    return DONE, racer.take(racer.common_build, Attempt()).id


def override(racer: Racer) -> tuple[str, str]:
    return take(racer, override_approval=True)


def renew(racer: Racer) -> tuple[str, str]:
    try:
        return DONE, ends.renew(racer.store, racer.claim(), racer.common_build, None).state
    except StaleLockError as late:
        return BEFORE, late.current.state


def release(racer: Racer) -> tuple[str, str]:
    claimant = Claimant(racer.common_build)
    ended = releases.release(racer.store, POOL, racer.lock_name, claimant, claim_id=racer.claim_id)
    return (DONE if ended.changed else BEFORE), ended.claim.state


def free(racer: Racer, state: State) -> tuple[str, str]:
    try:
        return DONE, end_claim(racer.store, racer.claim(), state, actor=racer.who).state
    except StaleLockError as late:
        return BEFORE, late.current.state


def free_released(racer: Racer) -> tuple[str, str]:
    return free(racer, State.RELEASED)


def free_withdrawn(racer: Racer) -> tuple[str, str]:
    return free(racer, State.WITHDRAWN)


def pass_through(racer: Racer) -> tuple[str, str]:
    try:
        return DONE, gates.pass_through(racer.store, racer.claim(), racer.own_build, spend=True).spent_by
    except ApprovalSpentError as late:
        return BEFORE, late.current.spent_by
    except StaleLockError as late:
        return OTHER, late.current.state


RACES: Mapping[str, tuple[Act, ...]] = {
    "verdicts": (approve, reject),
    "expiry": (approve, settle),
    "override": (approve, override),
    "ends": (release, free_released, free_withdrawn),
    "takeover": (release, take),
    "renewal": (renew, take),
    "passage": (pass_through, free_released),
    "twins": (take_again,),
}


# ---- rounds ----------------------------------------------------------------------


REQUESTS: Mapping[str, dict[str, Any]] = {
    "expiry": {"expires_after": PATIENCE},
    "ends": {"need_approval": False},
    "takeover": {"need_approval": False, "hold_timeout": PATIENCE},
    "renewal": {"need_approval": False, "hold_timeout": PATIENCE},
}


def prepare(race: str, racer: Racer) -> None:
    """The claim that the round is about."""
    if race == "twins":
        return
    racer.take(racer.common_build, Attempt(racer.claim_id), **REQUESTS.get(race, {}))
    if race == "passage":
        approve(racer)


def moment(racer: Racer) -> None:
    """Set the racer's reading of the store's time, near the deadline where the race is about one."""
    claim = racer.store.claim(racer.claim_id)
    end = (claim.deadline or claim.hold_until) if claim else None
    if end is not None:
        racer.time.at = end
        racer.time.tick(microseconds=racer.random.randint(-READING, READING))


def note(racer: Racer, role: str, told: str, about: str) -> Note:
    lock = racer.store.lock(POOL, racer.lock_name)
    claim = racer.store.claim(racer.claim_id) or find(racer.store, lock.holder if lock else "")
    try:
        require_passable(claim)
        passable = True
    except ApprovalError:
        passable = False
    return Note(
        turn=racer.turn,
        number=racer.number,
        role=role,
        told=told,
        about=about,
        state=claim.state,
        decided_by=claim.decided.actor if claim.decided else "",
        ended_by=claim.ended.actor if claim.ended else "",
        passable=passable,
        holder=lock.holder if lock else "",
    )


def run(race: str, number: int, rounds: int, seed: str, connection: Connection, barrier: Any, notes: Path) -> None:
    """One process."""
    random, time = Random(f"{seed} {number}"), FrozenTime()  # noqa: S311 - what is tried, not what is kept secret
    store = DynamoStore.connect(connection, store_clock=time)
    store.head(POOL)
    try:
        with notes.open("w", encoding="utf-8") as file:
            for turn in range(rounds):
                racer = Racer(number, turn, store, time, random)
                act = RACES[race][number % len(RACES[race])]
                time.at = NOON + turn * ROUND
                if number == 0:
                    prepare(race, racer)
                barrier.wait(BARRIER_SECONDS)
                moment(racer)
                barrier.wait(BARRIER_SECONDS)
                told, about = act(racer)
                barrier.wait(BARRIER_SECONDS)
                file.write(json.dumps(asdict(note(racer, act.__name__, told, about))) + "\n")
    except BaseException:
        barrier.abort()
        raise


def main() -> None:
    """Arguments: race, processes, rounds, seed, endpoint, table."""
    race, processes, rounds, seed = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
    connection = Connection(endpoint_url=sys.argv[5], table=sys.argv[6], region=os.environ["AWS_DEFAULT_REGION"])
    DynamoStore.connect(connection).create_table()
    fork = multiprocessing.get_context("fork")
    barrier = fork.Barrier(processes)
    with tempfile.TemporaryDirectory(prefix="race-") as scratch:
        files = [Path(scratch) / f"{number}" for number in range(processes)]
        started = [
            fork.Process(target=run, args=(race, number, rounds, seed, connection, barrier, file), daemon=True)
            for number, file in enumerate(files)
        ]
        for process in started:
            process.start()
        for process in started:
            process.join()
        for file in files:
            print(file.read_text(encoding="utf-8"), end="")  # noqa: T201 - the program's output
    sys.exit(any(process.exitcode for process in started))


if __name__ == "__main__":
    main()
