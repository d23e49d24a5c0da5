"""Somebody who can write the table edits one item: it opens no gate, and changes nothing that the audit doesn't find."""

from __future__ import annotations

import copy
import os
import random
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any
from uuid import uuid4
from zoneinfo import ZoneInfo

import pytest

from approval_resource import pools
from approval_resource.audit import verify as audit
from approval_resource.claims import proof
from approval_resource.claims.gate import pass_through
from approval_resource.claims.lookup import find
from approval_resource.claims.poller import Poller
from approval_resource.claims.proof import borne_out, deciding_event, require_supported
from approval_resource.claims.review import review
from approval_resource.errors import ApprovalError, CorruptRecordError
from approval_resource.model.claim import Claim, Verdict
from approval_resource.notify.links import PageLinks
from approval_resource.notify.message import Reading
from approval_resource.notify.worker import Worker
from approval_resource.store.dynamodb import retries
from approval_resource.store.dynamodb.store import DynamoStore
from tests import tally
from tests.builders import NOON, FrozenTime, ManualClock, a_build, a_claim, a_waiter, take, under
from tests.notify.conftest import rules
from tests.notify.test_worker import Recorder

Item = dict[str, Any]
ANA, BOB = (f"aws:arn:aws:iam::111122223333:user/{name}" for name in ("ana", "bob"))
OLD = {"S": "2024-01-01T00:00:00.000000Z"}
KEYS = ("pk", "sk")
BY_ENGINE = ("open_pool", "lock_event", "ttl")
"""Attributes by which DynamoDB finds or removes items. No decision reads them."""
NOT_COVERED = ("build#",)
"""What a build made and passed. docs/guarantees.md says that this is not covered; no gate may open by it all the same."""
NOTIFY = "notify#"
"""What notifications keep. It is evidence for nothing, and tried by itself."""


@dataclass
class Scene:
    """A pool with settings and a policy of two, and a claim that one of them has approved."""

    store: DynamoStore
    time: FrozenTime
    pool: str
    claim: Claim
    images: list[dict[tuple[str, str], Item]]
    """The pool's items after each step, the newest last."""

    def items(self) -> dict[tuple[str, str], Item]:
        """Every item of the pool and of its claims."""
        found = self.store._client.scan(TableName=self.store._table, ConsistentRead=True)["Items"]
        own = (item for item in found if self.pool in str(item))
        return {(item["pk"]["S"], item["sk"]["S"]): item for item in own}

    def put(self, item: Item) -> None:
        """Write behind the store's back."""
        self.store._client.put_item(TableName=self.store._table, Item=item)

    def delete(self, key: tuple[str, str]) -> None:
        """Remove behind the store's back."""
        self.store._client.delete_item(TableName=self.store._table, Key={"pk": {"S": key[0]}, "sk": {"S": key[1]}})

    def approve(self, who: str) -> None:
        """Approve, if the store lets them."""
        self.time.tick(seconds=2)
        try:
            review(self.store, self.claim.id, reviewer=who, verdict=Verdict.APPROVE)
        except ApprovalError:
            return

    def opens(self) -> bool:
        """Whether the gate lets build 9 pass."""
        poller = Poller(ManualClock(), 0.1, lambda line: None)
        try:
            claim = borne_out(self.store, find(self.store, self.claim.id), poller)
            require_supported(self.store, claim, deciding_event(self.store, claim, poller))
            pass_through(self.store, claim, a_build(9), spend=True)
        except ApprovalError:
            return False
        return True

    def faults(self) -> list[str]:
        """What the audit finds."""
        return audit.verify(self.store, self.pool).findings

    def tell(self, outlet: Recorder) -> None:
        """Tell a channel of the pool's own name what is new."""
        Worker(
            reading=Reading(self.pool, ZoneInfo("UTC"), 0, PageLinks()),
            outlet=outlet,
            rules=rules({"pools": [self.pool]}),
            store=self.store,
            outbox=self.store.outbox,
            clock=ManualClock(),
            holder="one",
        ).turn()

    def go_on(self) -> None:
        """Three honest events on another lock, as far as the store takes them."""
        for number in range(3):
            self.time.tick(seconds=2)
            try:
                take(self.store, 20 + number, pool=self.pool, lock_name=f"other-{number}")
            except ApprovalError:
                return


def a_scene(store: DynamoStore, time: FrozenTime, *, told: bool = False) -> Scene:
    """Set the scene in a pool of its own; `told`: a channel has heard of it."""
    pool = f"edits-{uuid4()}"
    scene = Scene(store, time, pool, a_claim(), [])
    pools.set_retention(store, pool, 30, actor="op")
    time.tick(seconds=2)
    pools.set_policy(store, pool, '[{"name": "two", "required_approvals": 2}]', actor="op")
    time.tick(seconds=2)
    given = under(required_approvals=2, given={"risk": "low"})
    scene.claim = take(store, a_build(1, created_by="dana"), pool=pool, terms=given, expires_after=timedelta(hours=2))
    # Somebody waits for the lock, so that the hint of whose turn it is takes part in the edits.
    store.requeue(pool, "deploy", lambda lock, _: lock.joined(a_waiter(8, ticket=0)))
    if told:
        scene.tell(Recorder(edits=True))
    scene.images.append(scene.items())
    scene.approve(ANA)
    if told:
        scene.tell(Recorder(edits=True))
    scene.images.append(scene.items())
    return scene


def edits(scene: Scene) -> Iterator[tuple[str, Callable[[], None]]]:
    """Every edit of one item: drop it, put an older image back, and each field changed, dropped, backdated or added."""
    before, now = scene.images
    for key, item in now.items():
        what = "/".join(part.replace(scene.pool, "P").replace(scene.claim.id, "C") for part in key)
        yield f"drop {what}", partial(scene.delete, key)
        if key in before and before[key] != item:
            yield f"older {what}", partial(scene.put, before[key])
        for path in paths(item):
            if path[0] in KEYS:
                continue
            for kind, value in values_for(at(item, path), index=path in {("open_pool",), ("lock_event",), ("timestamp",)}):
                yield (
                    f"{kind} {what} {'.'.join(path)}",
                    partial(scene.put, with_(item, path, value)),
                )
        yield f"add {what}", partial(scene.put, item | {"extra": {"S": "x"}})
        if "reviews" in item:
            said = next(iter(item["reviews"]["M"].values()))
            forged = copy.deepcopy(item)
            forged["reviews"]["M"][BOB] = {"M": said["M"] | {"reviewer": {"S": BOB}}}
            yield f"add {what} review", partial(scene.put, forged)


def paths(item: Item, prefix: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Each field, those inside of maps too."""
    for name, value in item.items():
        yield (*prefix, name)
        if "M" in value:
            yield from paths(value["M"], (*prefix, name))


def at(item: Item, path: tuple[str, ...]) -> Item:
    """The value there."""
    for name in path[:-1]:
        item = item[name]["M"]
    value: Item = item[path[-1]]
    return value


def with_(item: Item, path: tuple[str, ...], value: Item | None) -> Item:
    """The item with that value there, or without any."""
    item = copy.deepcopy(item)
    inner = item
    for name in path[:-1]:
        inner = inner[name]["M"]
    if value is None:
        del inner[path[-1]]
    else:
        inner[path[-1]] = value
    return item


def values_for(value: Item, *, index: bool = False) -> Iterator[tuple[str, Item | None]]:
    """Other values of that kind, and none. An index takes no empty one."""
    yield "drop", None
    if "N" in value:
        yield "lower", {"N": str(int(value["N"]) - 1)}
        yield "raise", {"N": str(int(value["N"]) + 1)}
    elif "BOOL" in value:
        yield "turn", {"BOOL": not value["BOOL"]}
    elif "S" in value:
        if not index:
            yield "empty", {"S": ""}
        yield "change", {"S": f"{value['S'][:-1]}x"}
        if value["S"].endswith("Z"):
            yield "backdate", OLD
    elif value.get("M"):
        yield "clear", {"M": {}}
    elif value.get("L"):
        yield "clear", {"L": []}


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """What contradicts itself is looked at as often, without the pauses: no other commit is under way here."""
    monkeypatch.setattr(retries, "FRESH_PAUSE", 0.0)
    monkeypatch.setattr(proof, "FRESH_PAUSE", 0.0)
    monkeypatch.setattr(proof, "FRESH_SECONDS", 0.0)


def play(scene: Scene, edit: Callable[[], None]) -> list[str]:
    """What is wrong after that edit."""
    wrong = []
    edit()
    found = bool(scene.faults())
    if scene.opens():
        wrong.append("the gate opened on one approval of two")
    scene.approve(ANA)
    if scene.opens():
        wrong.append("the gate opened on one person's second approval")
    scene.go_on()
    # An honest write may put right what was edited, as the head's newest places.
    found = found and bool(scene.faults())
    scene.approve(BOB)
    if not found and not scene.opens():
        wrong.append("the audit doesn't find it, and yet the decision changed")
    return wrong


ALWAYS = re.compile(
    r"add claim#C/claim review|(drop|backdate|change) claim#C/claim (deadline|timestamp|spent|policy|reviews)"
    r"|\w+ pool#P/lock#deploy (jobs|holder|fence)|\w+ pool#P/head settings|older .*"
)
"""Edits by which somebody once got past a gate or the audit. They are tried in every run."""
SHARE, SOAKED = 32, 1 if os.environ.get("EDITS") == "all" else 3
"""One of so many edits is tried in a short run, and in `make soak`. EDITS=all tries each there."""


def sweep(store: DynamoStore, time: FrozenTime, seed: int, share: int) -> list[str]:
    """Try every edit, or each of a share of them, on a scene of its own."""
    print(f"APPROVAL_SEED={seed}")  # noqa: T201 - to try the same again
    names = [name for name, _ in edits(a_scene(store, time))]
    assert len(names) > 300
    always = [name for name in names if ALWAYS.fullmatch(name)]
    assert len(always) > 20
    drawn = [name for name in names if random.Random(f"{seed} {name}").randrange(share) == 0]  # noqa: S311 - a choice
    chosen = list(dict.fromkeys([*always, *drawn]))
    wrong = []
    for name in chosen:
        time.at = NOON
        scene = a_scene(store, time)
        edit = dict(edits(scene)).get(name)
        if edit is None:
            continue  # events are named by their time, digests by what they are of
        covered = not any(f" {part}" in name for part in NOT_COVERED) and not any(
            name.endswith(f" {part}") for part in BY_ENGINE
        )
        wrong += [f"{name}: {told}" for told in play(scene, edit) if covered or "opened" in told]
    return wrong


@pytest.mark.usefixtures("quick")
@pytest.mark.timeout(1800)
def test_one_edit_opens_nothing_and_is_found(connect: Callable[..., DynamoStore], effort: tally.Effort) -> None:
    """Those by which somebody once did, and a share of every field of every item: another one in each soak."""
    time = FrozenTime()
    seed = tally.seeded()[0] if effort.soak else int(os.environ.get("APPROVAL_SEED") or 20261126)
    assert sweep(connect(time), time, seed, SOAKED if effort.soak else SHARE) == []


@pytest.mark.usefixtures("quick")
def test_a_claim_that_is_backdated_and_stripped_opens_nothing(connect: Callable[..., DynamoStore]) -> None:
    """Several fields at once: made older than the log reaches, so that nothing is asked of its first event, and without its policy."""
    time = FrozenTime()
    scene = a_scene(connect(time), time)
    key = (f"claim#{scene.claim.id}", "claim")
    stripped = {name: value for name, value in scene.items()[key].items() if name != "policy"}
    forged = stripped | {"timestamp": OLD, "description": {"S": "something else"}}
    assert play(scene, partial(scene.put, forged)) == []


def kept(scene: Scene) -> list[tuple[str, Callable[[], None]]]:
    """The edits of what notifications keep, in one order."""
    return [(name, edit) for name, edit in edits(scene) if f" {NOTIFY}" in name]


@pytest.mark.usefixtures("quick")
@pytest.mark.timeout(600)
@pytest.mark.long
def test_an_edit_of_what_notifications_keep_decides_nothing(connect: Callable[..., DynamoStore], effort: tally.Effort) -> None:
    """Audit, review and gate go on as if it were not there; what is told of the claim is what the log says, or nothing."""
    time = FrozenTime()
    store = connect(time)
    _, choice = tally.seeded()
    places = range(len(kept(a_scene(store, time, told=True))))
    assert len(places) > 30
    for place in places if effort.soak else choice.sample(places, 6):
        time.at = NOON
        scene = a_scene(store, time, told=True)
        # By place, since some are named by the scene's pool.
        name, edit = kept(scene)[place]
        edit()
        assert scene.faults() == [], name
        assert not scene.opens(), name
        scene.approve(BOB)
        outlet = Recorder(edits=True)
        with suppress(CorruptRecordError):
            scene.tell(outlet)
        assert {message.claim_id for message in outlet.told} <= {scene.claim.id}, name
        assert scene.opens(), name
        assert scene.faults() == [], name
