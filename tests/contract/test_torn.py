"""Whatever of a transaction is seen late, each operation ends right, or as if it had come before, or asks to try again."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import combinations, product
from uuid import uuid4

import pytest

from approval_resource.audit import export
from approval_resource.audit import verify as audit
from approval_resource.errors import ApprovalError
from approval_resource.model.claim import Claim
from approval_resource.model.event import Kind
from approval_resource.store.dynamodb.store import DynamoStore
from tests import tally
from tests.builders import NOON, FrozenTime, ManualClock
from tests.contract.images import Image, items, restore
from tests.contract.scenes import OPERATIONS, READ_ONLY, WRITES, Scene
from tests.contract.torn import Key, Torn

LANDED = export.LANDED
SHARE, SOAKED = 600, 5
"""One of so many operations after a write is tried in a short run, and in `make soak`. TORN_READS=all tries each."""
PAIRS = 3
"""One of so many pairs of such operations is tried in `make soak`; each with TORN_READS=all."""
WHOLE = os.environ.get("TORN_READS") == "all"
Outcome = tuple[str, tuple[Kind, ...]]


@dataclass(frozen=True)
class Written:
    """A pool before and after a transaction, and the transaction's items as they were before it."""

    pool: str
    images: tuple[Image, Image]
    times: tuple[datetime, datetime]
    claims: tuple[Claim | None, Claim | None]
    before: dict[Key, dict[str, object] | None]


class Stage:
    """Plays an operation after a write, of which some items are seen late."""

    def __init__(self, connect: Callable[..., DynamoStore], time: FrozenTime) -> None:
        self.time, self.writer, self.clock = time, connect(time), ManualClock(time)
        self.writer.create_table()
        self.reader = connect(time, clock=self.clock)
        self.torn = Torn(self.reader, self.clock)
        self.torn.watch(self.writer)
        self._written: dict[str, Written] = {}

    def written(self, write: str) -> Written:
        """The pool of that write, which is made once."""
        if write not in self._written:
            restore(self.writer, {})
            self.time.at = NOON
            prepare, act = WRITES[write]
            scene = Scene(self.writer, f"torn-{uuid4()}", self.clock, self.time)
            prepare(scene)
            self.time.tick(seconds=2)
            before, time, claim = items(self.writer), self.time.at, scene.claim
            self.torn.before = {}
            act(scene)
            self._written[write] = Written(
                scene.pool, (before, items(self.writer)), (time, self.time.at), (claim, scene.claim), self.torn.before
            )
        return self._written[write]

    def play(self, write: str, operation: str, *late: Key, landed: bool = True) -> Outcome:
        """The operation's outcome, and the events that it wrote, where some items are seen late; or before the write."""
        written = self.written(write)
        restore(self.writer, written.images[landed])
        self.time.at = written.times[landed]
        scene = Scene(self.reader, written.pool, self.clock, self.time, written.claims[landed])
        head = self.writer.head(written.pool)
        self.torn.before = written.before
        self.torn.show_late(*late)
        try:
            told = OPERATIONS[operation](scene)
        except ApprovalError as error:
            told = f"{type(error).__name__}: {'try again' if 'again' in str(error) else ''}"
        self.torn.late = frozenset()
        events = [event.kind for event in self.writer.events(written.pool) if event.revision > (head.revision if head else 0)]
        return told, tuple(events)

    def wrong(self, write: str, operation: str, late: tuple[Key, ...], right: Outcome, before: Outcome) -> str:
        """What is wrong with the operation where these items are late; empty for nothing."""
        outcome = self.play(write, operation, *late)
        faults = audit.verify(self.writer, self.written(write).pool, clock=self.clock).findings
        as_before = outcome == before and not outcome[1]
        between = operation.startswith("check") and right[0].startswith(outcome[0])
        reading = operation in READ_ONLY and (between or outcome[0] == before[0])
        # An index may lag: it has the new claim, whose item isn't there yet.
        reading = reading or (write in UNBORN and operation in LISTS and not outcome[1])
        # Before its own commit nobody has the id of a claim; asked for all the same, there is none.
        unborn = write in UNBORN and outcome[0].startswith(("LockNotFoundError", "HiddenError")) and not outcome[1]
        again = "again" in outcome[0] and not outcome[1]
        # A turn that finds the pool as it was tells of that, and the next one tells the rest: each once.
        twice = operation == "notify" and outcome[0].splitlines() == sorted({*before[0].splitlines(), *right[0].splitlines()})
        if not faults and (outcome == right or as_before or unborn or reading or again or twice):
            return ""
        what = ", ".join(key[1].partition("#")[0] for key in late)
        return f"{operation} after {write}, {what} late: {outcome}, right is {right}, before it {before}; {faults}"


UNBORN = ("the next claim", "a takeover")
"""Writes that make another claim than the one that was there."""

LISTS = ("list", "the page of what waits")


def tears(stage: Stage, most: int) -> Iterator[tuple[Key, ...]]:
    """Which of the written items that the operation has read may be late: each of them, and so many together."""
    read = [key for key in stage.torn.before if key in stage.torn.asked]
    for size in range(1, most + 1):
        yield from combinations(read, size)


def sweep(stage: Stage, seed: int, *, share: int, pairs: int = 0) -> tuple[list[str], int]:
    """Try a share of the operations after each write, with each item late that they read, and a share of the pairs."""

    def picked(of: int, *what: object) -> bool:
        return random.Random(f"{seed} {what}").randrange(of) == 0  # noqa: S311 - a choice

    print(f"APPROVAL_SEED={seed}")  # noqa: T201 - to try the same again
    found, tried = [], 0
    for write, operation in product(WRITES, OPERATIONS):
        if not picked(share, write, operation):
            continue
        right = stage.play(write, operation)
        late = list(tears(stage, 2 if pairs else 1))
        before = stage.play(write, operation, landed=False)
        for number, keys in enumerate(late):
            if (len(keys) == 2) == bool(pairs) and (not pairs or picked(pairs, write, operation, number)):
                tried += 1
                if fault := stage.wrong(write, operation, keys, right, before):
                    found.append(fault)
    return found, tried


@pytest.fixture
def stage(connect: Callable[..., DynamoStore], time: FrozenTime, monkeypatch: pytest.MonkeyPatch) -> Stage:
    """A stage. Audits wait on its clock, for as long as they do elsewhere."""
    stage = Stage(connect, time)
    monkeypatch.setattr(audit, "LANDED", LANDED)
    monkeypatch.setattr(export, "LANDED", LANDED)
    monkeypatch.setattr(audit, "HostClock", lambda: stage.clock)
    return stage


def seed_of(effort: tally.Effort) -> int:
    """The seed that the environment names, another one in each soak, or always the same."""
    return tally.seeded()[0] if effort.soak else int(os.environ.get("APPROVAL_SEED") or 20261126)


@pytest.mark.timeout(1800)
def test_an_item_that_is_seen_late_makes_no_outcome_wrong(stage: Stage, effort: tally.Effort) -> None:
    """Every item that an operation reads, alone, after every kind of write: a share, in the soak a larger and another one."""
    found, tried = sweep(stage, seed_of(effort), share=1 if WHOLE else SOAKED if effort.soak else SHARE)
    tally.add(torn_reads=tried)
    assert found == []
    assert tried


@pytest.mark.parametrize(
    ("write", "operation", "late"),
    [
        ("the deciding approval under a pool's policy", "gate", "part#"),
        ("the end of a freeze", "force", "policy"),
        ("the deciding approval", "export", "head"),
        ("the deciding approval", "export", "lock#"),
        ("the deciding approval", "export", "claim"),
        ("the deciding approval", "export", "event#"),
        ("a freeze", "export", "head"),
    ],
)
def test_what_once_went_wrong_goes_right(write: str, operation: str, late: str, stage: Stage) -> None:
    """A gate failed for good on its pool policy's late content; an export held a part of a commit, and was called altered."""
    right, before = stage.play(write, operation), stage.play(write, operation, landed=False)
    (key,) = (key for key in stage.written(write).before if key[1].startswith(late))
    assert stage.wrong(write, operation, (key,), right, before) == ""


@pytest.mark.timeout(1800)
def test_two_items_that_are_seen_late_make_no_outcome_wrong(stage: Stage, effort: tally.Effort) -> None:
    """Pairs, in the soak."""
    if not effort.soak:
        pytest.skip("pairs are tried in make soak")
    found, tried = sweep(stage, seed_of(effort), share=1 if WHOLE else SOAKED, pairs=1 if WHOLE else PAIRS)
    tally.add(torn_reads=tried)
    assert found == []
