"""An answer of DynamoDB is lost, and what it told of is seen late: nothing is written twice, nothing taken for unchanged."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from itertools import combinations
from typing import Any

import pytest
from botocore.exceptions import ReadTimeoutError

from approval_resource import pools
from approval_resource.audit import export
from approval_resource.audit import verify as audit
from approval_resource.claims.acquire import take
from approval_resource.claims.end import force_release, renew
from approval_resource.claims.gate import pass_through
from approval_resource.claims.release import release
from approval_resource.claims.request import Attempt
from approval_resource.claims.review import review, withdraw
from approval_resource.model.claim import Claimant, Verdict
from approval_resource.model.event import Kind
from approval_resource.store.dynamodb.store import DynamoStore
from tests import tally
from tests.builders import NOON, FrozenTime, a_build, a_request
from tests.contract.faults import Faults, delivery
from tests.contract.images import items, restore
from tests.contract.scenes import ANA, BOB, CLO, LOCK, Scene, approve, approved, claimed, frozen, glazed, nothing, several
from tests.contract.test_torn import LANDED, Stage
from tests.contract.torn import Key


def _take(scene: Scene, number: int) -> str:
    request = a_request(pool=scene.pool, hold_timeout=timedelta(hours=1))
    taken = take(scene.store, request, Claimant(a_build(number)), Attempt())
    return f"{taken.claim.state.value} {taken.fresh} {[claim.state.value for claim in taken.ended]}"


def _review(scene: Scene, who: str, verdict: Verdict = Verdict.APPROVE, **more: Any) -> str:
    recorded = review(scene.store, scene.known.id, reviewer=who, verdict=verdict, **more)
    return f"{recorded.claim.state.value} {recorded.changed}"


def _release(scene: Scene) -> str:
    ended = release(scene.store, scene.pool, LOCK, Claimant(a_build(1, created_by="dana")))
    return f"{ended.claim.state.value} {ended.changed}"


def _renew(scene: Scene) -> str:
    return renew(scene.store, scene.known, a_build(), timedelta(hours=2)).state.value


def _late(scene: Scene) -> None:
    scene.time.tick(hours=2)


def _held(scene: Scene) -> str:
    return str(pools.set_retention(scene.store, scene.pool, 30, actor="op").retention_days)


ACTS: dict[str, tuple[Callable[[Scene], object], Callable[[Scene], str]]] = {
    "a renewal": (approved, _renew),
    "the deciding review": (several(claimed, approve), lambda scene: _review(scene, BOB)),
    "a forced decision": (several(glazed, claimed, approve), lambda scene: _review(scene, CLO, forced=True, comment="fire")),
    "a takeover": (several(claimed, _late), lambda scene: _take(scene, 2)),
    "a claim": (nothing, lambda scene: _take(scene, 1)),
    "a review": (claimed, lambda scene: _review(scene, BOB)),
    "a rejection": (claimed, lambda scene: _review(scene, BOB, Verdict.REJECT)),
    "a broken freeze": (
        several(glazed, approved, frozen),
        lambda scene: _review(scene, ANA, forced=True, comment="fire"),
    ),
    "a release": (approved, _release),
    "a forced release": (
        approved,
        lambda scene: force_release(scene.store, scene.known, actor="op", reason="stuck").state.value,
    ),
    "a withdrawal": (claimed, lambda scene: withdraw(scene.store, scene.known, actor=ANA).state.value),
    "a passage": (approved, lambda scene: pass_through(scene.store, scene.known, a_build(3), spend=True).spent_by),
    "a retention": (claimed, _held),
    "a freeze": (claimed, frozen),
}
"""What there is before, and the change whose answer is lost. It tells what its caller is told."""
SHORT = ("a renewal", "the deciding review", "a forced decision", "a takeover")
"""Changes that a short run tries."""


class Line:
    """A stage whose reader writes itself, over a line that loses an answer and shows what was written late."""

    def __init__(self, stage: Stage, name: str) -> None:
        self.stage = stage
        self.prepare, self.act = ACTS[name]
        self.scene = Scene(stage.writer, f"lost-{name.replace(' ', '-')}", stage.clock, stage.time)
        stage.time.at = NOON
        self.prepare(self.scene)
        stage.time.tick(seconds=2)
        self.before, self.at = items(stage.writer), stage.time.at
        self.faults = Faults.on(stage.reader, "TransactWriteItems")
        self.written: list[Key] = []

    def play(self, late: tuple[int, ...] | None) -> tuple[str, tuple[Kind, ...]]:
        """Whatever the caller is told, and the events that were written; None: no answer is lost."""
        stage = self.stage
        restore(stage.writer, self.before)
        stage.time.at = self.at
        scene = Scene(stage.reader, self.scene.pool, stage.clock, stage.time, self.scene.claim)
        head = stage.writer.head(scene.pool)
        if late is not None:
            self.faults.pending = [lambda request: self._lose(request, late)]
        told = self.act(scene)
        stage.torn.late = frozenset()
        events = [event.kind for event in stage.writer.events(scene.pool) if event.revision > (head.revision if head else 0)]
        return told, tuple(events)

    def _lose(self, request: Any, late: tuple[int, ...]) -> None:
        torn = self.stage.torn
        torn.before = {}
        torn._about_to_write(request)
        self.written = list(torn.before)
        answer: Any = delivery(self.stage.reader)(request)
        assert answer.status_code == 200
        torn.show_late(*(key for number, key in enumerate(self.written) if number in late))
        raise ReadTimeoutError(endpoint_url=request.url)


@pytest.fixture
def stage(connect: Callable[..., DynamoStore], time: FrozenTime, monkeypatch: pytest.MonkeyPatch) -> Stage:
    """A stage. Audits wait on its clock, for as long as they do elsewhere."""
    stage = Stage(connect, time)
    monkeypatch.setattr(audit, "LANDED", LANDED)
    monkeypatch.setattr(export, "LANDED", LANDED)
    return stage


def tears(count: int, *, pairs: bool) -> Iterator[tuple[int, ...]]:
    """Nothing late, each item, all of them, and each pair."""
    yield from ((), *((number,) for number in range(count)), tuple(range(count)))
    if pairs:
        yield from combinations(range(count), 2)


@pytest.mark.parametrize("name", [pytest.param(name, marks=[] if name in SHORT else pytest.mark.long) for name in ACTS])
def test_a_lost_answer_whose_items_are_seen_late_is_found(name: str, stage: Stage, effort: tally.Effort) -> None:
    """Whichever of its items are late: its caller is told what they would have been told, and it is written once."""
    line = Line(stage, name)
    honest = line.play(None)
    assert line.play(()) == honest
    for late in tears(len(line.written), pairs=effort.soak):
        assert line.play(late) == honest, [line.written[number] for number in late]
        assert audit.verify(stage.writer, line.scene.pool, clock=stage.clock).findings == []
