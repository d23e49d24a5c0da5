"""One claim's life in one pool, stage by stage, and every edit of one item that somebody with the table can make there."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from hashlib import sha256
from uuid import uuid4

from approval_resource import pools
from approval_resource.audit import verify as audit
from approval_resource.claims.end import end_claim
from approval_resource.claims.gate import pass_through
from approval_resource.claims.lookup import find, read_content
from approval_resource.claims.poller import Poller
from approval_resource.claims.proof import borne_out, deciding_event, require_supported
from approval_resource.claims.release import release
from approval_resource.claims.review import review
from approval_resource.errors import ApprovalError
from approval_resource.model.claim import Attachment, Claim, Claimant, Verdict
from approval_resource.model.event import State
from approval_resource.store.dynamodb.store import DynamoStore
from tests.builders import FrozenTime, ManualClock, a_build, a_waiter, take, under
from tests.contract.images import Image, Item, delete, items, put, restore

Edit = Callable[[], None]
ANA, BOB = (f"aws:arn:aws:iam::111122223333:user/{name}" for name in ("ana", "bob"))
LOCK, PLAN = "deploy", b"one to add"
KEYS = ("pk", "sk")
INDEXED = ("open_pool", "lock_event", "timestamp")
"""Keys of an index, which can't be empty."""
OLD, LATER = ({"S": f"{year}-01-01T00:00:00.000000Z"} for year in (2024, 2030))
STAGES = ("asked", "pending", "late", "approved", "lapsed", "frozen", "spent", "released")
AS = {"late": "pending", "lapsed": "approved"}
"""Stages that differ from another by the time alone: by then the claim's deadline, or its approval, has passed."""


@dataclass
class Outcome:
    """Whatever is decided after an edit, and whether the audit found it."""

    found: bool
    open: dict[str, bool] = field(default_factory=dict)
    """Gates, by when they were tried."""
    told: dict[str, str] = field(default_factory=dict)
    """Answers of all else that is decided from a claim, a lock or settings."""


@dataclass
class Life:
    """A pool with settings and a policy of two people, and a claim in it from its making to its end."""

    store: DynamoStore
    time: FrozenTime
    at_each: Callable[[Life], object]
    pool: str = field(default_factory=lambda: f"edits-{uuid4()}")
    images: dict[str, Image] = field(default_factory=dict)
    """The pool's items at each stage."""
    times: dict[str, datetime] = field(default_factory=dict)
    claim_id: str = ""

    @classmethod
    def of(cls, store: DynamoStore, time: FrozenTime, at_each: Callable[[Life], object] = lambda life: None) -> Life:
        """Live it at the store's time, and keep each stage, once `at_each` has done something there."""
        life = cls(store, time, at_each)
        pools.set_retention(store, life.pool, 30, actor="op")
        life.tick()
        pools.set_policy(store, life.pool, '[{"name": "two", "required_approvals": 2}]', actor="op")
        life.tick()
        claim = take(
            store,
            a_build(1, created_by="dana"),
            pool=life.pool,
            terms=under(required_approvals=2, valid_for="2h", given={"risk": "low"}),
            expires_after=timedelta(hours=2),
            hold_timeout=timedelta(hours=8),
            payload=PLAN,
            payload_digest=sha256(PLAN).hexdigest(),
            attachments={"plan": Attachment(sha256(PLAN).hexdigest(), len(PLAN), stored=True)},
            attached={"plan": PLAN},
        )
        life.claim_id = claim.id
        # Somebody waits for the lock, so that the hint of whose turn it is takes part in the edits.
        store.requeue(life.pool, LOCK, lambda lock, _: lock.joined(a_waiter(8, ticket=0)))
        life.keep("asked")
        life.approve(ANA)
        life.keep("pending")
        life.approve(BOB)
        life.keep("approved")
        life.tick()
        pools.freeze(store, life.pool, None, "the database burns", actor="op")
        life.keep("frozen")
        life.tick()
        pools.unfreeze(store, life.pool, "", actor="op")
        life.tick()
        pass_through(store, life.claim, a_build(9), spend=True)
        life.keep("spent")
        life.tick()
        end_claim(store, life.claim, State.RELEASED, actor="op")
        life.keep("released")
        for stage, other in AS.items():
            life.images[stage], life.times[stage] = life.images[other], life.times[other] + timedelta(hours=3)
        return life

    @property
    def claim(self) -> Claim:
        """The claim as it is stored."""
        return find(self.store, self.claim_id)

    def tick(self) -> None:
        """Let two seconds pass."""
        self.time.tick(seconds=2)

    def keep(self, stage: str) -> None:
        """Keep the stage that is reached."""
        self.at_each(self)
        self.images[stage], self.times[stage] = items(self.store), self.time.at

    def restore(self, stage: str) -> None:
        """Go to that stage, whatever came since."""
        restore(self.store, self.images[stage])
        self.time.at = self.times[stage]

    def approve(self, who: str) -> str:
        """Approve, if the store lets them."""
        self.tick()
        return _said(lambda: review(self.store, self.claim_id, reviewer=who, verdict=Verdict.APPROVE).claim.state.value)

    def opens(self, number: int, *, spend: bool = True) -> bool:
        """Whether the gate lets that build pass."""
        poller = Poller(ManualClock(), 0.1, lambda line: None)
        try:
            claim = borne_out(self.store, self.claim, poller)
            require_supported(self.store, claim, deciding_event(self.store, claim, poller))
            pass_through(self.store, claim, a_build(number), spend=spend)
        except ApprovalError:
            return False
        return True

    def releases(self, number: int) -> str:
        """The release of the lock by its name, in that build."""
        claimant = Claimant(a_build(number, created_by="dana"))
        return _said(lambda: release(self.store, self.pool, LOCK, claimant).claim.state.value)

    def claims(self, number: int) -> str:
        """The lock's next claim."""

        def taken() -> str:
            claim = take(self.store, number, pool=self.pool)
            return f"{claim.state.value} {claim.fence}"

        return _said(taken)

    def reads(self) -> str:
        """All that is kept beside the claim."""

        def contents() -> str:
            claim = self.claim
            return str({name: read_content(self.store, claim, name, told) for name, told in claim.contents.items()})

        return _said(contents)

    def faults(self) -> list[str]:
        """What the audit finds."""
        return audit.verify(self.store, self.pool).findings

    def go_on(self) -> None:
        """Three honest events on another lock, as far as the store takes them."""
        for number in range(3):
            self.tick()
            try:
                take(self.store, 20 + number, pool=self.pool, lock_name=f"other-{number}")
            except ApprovalError:
                return

    def play(self, edit: Edit) -> Outcome:
        """The outcome after that edit of the stage that the pool is at."""
        edit()
        self.tick()
        done = Outcome(bool(self.faults()))
        done.open = {
            "at once": self.opens(9, spend=False),
            "for its use": self.opens(9),
            "for another's use": self.opens(10),
        }
        done.told["again"] = self.approve(ANA)
        done.open["after a second approval by one person"] = self.opens(11)
        self.go_on()
        # An honest write may put right what was edited, as the head's newest places.
        done.found = done.found and bool(self.faults())
        if done.found:
            return done
        done.told |= {
            "contents": self.reads(),
            "a release by the lock's name": self.releases(40),
            "a claim of the lock": self.claims(30),
            "bob": self.approve(BOB),
        }
        done.open["after bob"] = self.opens(12)
        done.told |= {"its release": self.releases(1), "the next claim": self.claims(8)}
        return done


def _said(act: Callable[[], str]) -> str:
    try:
        return act()
    except ApprovalError as error:
        return type(error).__name__


def edits(life: Life, stage: str) -> Iterator[tuple[str, Edit]]:
    """Every edit of one item at that stage.

    It is dropped, or put as it was or will be at another stage; each field is changed, dropped, dated otherwise, or
    taken from another stage; a field is added, and a review.
    """
    now = life.images[stage]
    others = {name: image for name, image in life.images.items() if name not in (*AS, AS.get(stage, stage))}
    known = {key for image in others.values() for key in image}
    for key in sorted(now.keys() | known):
        what = "/".join(part.replace(life.pool, "P").replace(life.claim_id, "C") for part in key)
        images = {name: image[key] for name, image in others.items() if key in image and image[key] != now.get(key)}
        for name, image in _distinct(images):
            yield f"{name} {what}", partial(put, life.store, image)
        item = now.get(key)
        if item is None:
            continue
        yield f"drop {what}", partial(delete, life.store, key)
        yield f"add {what}", partial(put, life.store, item | {"extra": {"S": "x"}})
        for path, kind, value in _fields(item, list(_distinct(images)), life.claim_id):
            yield f"{kind} {what} {'.'.join(path)}", partial(put, life.store, with_(item, path, value))
        if "reviews" in item:
            for name, review_ in _reviews(item):
                yield f"{name} {what} review", partial(put, life.store, review_)


def _distinct(images: dict[str, Item]) -> Iterator[tuple[str, Item]]:
    seen: list[Item] = []
    for name, image in images.items():
        if image not in seen:
            seen.append(image)
            yield name, image


def _reviews(item: Item) -> Iterator[tuple[str, Item]]:
    """The item with a review of bob's in it, or with what a review may say besides."""
    given = item["reviews"]["M"]
    said = next(iter(given.values()), {"M": {"verdict": {"S": "approve"}, "comment": {"S": ""}, "at": item["changed"]}})
    forged = {"M": said["M"] | {"reviewer": {"S": BOB}}}
    yield "insert", item | {"reviews": {"M": given | {BOB: forged}}}
    for name, value in {"forced": {"BOOL": True}, "groups": {"L": [{"S": "ops"}]}, "inputs": {"M": {"a": {"S": "b"}}}}.items():
        yield f"insert {name}", item | {"reviews": {"M": given | {BOB: {"M": forged["M"] | {name: value}}}}}


def _fields(item: Item, images: list[tuple[str, Item]], claim_id: str) -> Iterator[tuple[tuple[str, ...], str, Item | None]]:
    """Each field of an item with each other value for it, and those that it lacks."""
    for path in paths(item):
        if path[0] in KEYS:
            continue
        value = at(item, path)
        if value is None:
            continue
        tried: list[Item | None] = [value]
        taken = ((f"{name}'s", at(image, path)) for name, image in images)
        for kind, other in (*values_for(value, claim_id, index=path[0] in INDEXED), *taken):
            if other not in tried:
                tried.append(other)
                yield path, kind, other
    for name, image in images:
        for path in paths(image):
            if at(item, path) is None and (len(path) == 1 or _holds_more(at(item, path[:-1]), path[-1])):
                yield path, f"{name}'s", at(image, path)
    if "attachments" in item:
        for lacking, planted in PLANTED.items():
            if lacking not in item:
                yield (lacking,), "plant", planted


PLANTED: dict[str, Item] = {
    "made_at": OLD,
    "opens_at": OLD,
    "valid_until": LATER,
    "judged_at": OLD,
    "event_at": OLD,
    "pool_policy": {"S": ""},
}
"""What a claim may say besides, and the claim of a stage may not."""


def paths(item: Item, prefix: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Each field, those inside of maps and lists too."""
    for name, value in item.items():
        yield (*prefix, name)
        yield from paths(_inner(value), (*prefix, name))


def _holds_more(value: Item | None, name: str) -> bool:
    """Whether a value may have another one of that name in it: a map any, a list its next."""
    return value is not None and ("M" in value or ("L" in value and name == str(len(value["L"]))))


def _inner(value: Item) -> Item:
    """The values inside of a map, or of a list by their index."""
    inner: Item = value.get("M") or {str(place): one for place, one in enumerate(value.get("L", ()))}
    return inner


def at(item: Item, path: tuple[str, ...]) -> Item | None:
    """The value there, or None."""
    value: Item | None = item.get(path[0])
    for name in path[1:]:
        value = _inner(value).get(name) if value is not None else None
    return value


def with_(item: Item, path: tuple[str, ...], value: Item | None) -> Item:
    """The item with that value there, or without any."""
    name, *rest = path
    changed = copy.copy(item)
    if rest:
        kind = next(iter(item[name]))
        after = with_(_inner(item[name]), tuple(rest), value)
        changed[name] = {kind: after if kind == "M" else [*after.values()]}
    elif value is None:
        del changed[name]
    else:
        changed[name] = value
    return changed


def values_for(value: Item, claim_id: str, *, index: bool = False) -> Iterator[tuple[str, Item | None]]:
    """Other values of that kind, and none. A key of an index can't be empty."""
    yield "drop", None
    if "N" in value:
        yield "lower", {"N": str(int(value["N"]) - 1)}
        yield "raise", {"N": str(int(value["N"]) + 1)}
        yield "zero", {"N": "0"}
    elif "BOOL" in value:
        yield "turn", {"BOOL": not value["BOOL"]}
    elif "B" in value:
        yield "change", {"B": value["B"][:-1] + b"x"}
        yield "empty", {"B": b""}
    elif "S" in value:
        if not index:
            yield "empty", {"S": ""}
        yield "change", {"S": f"{value['S'][:-1]}x"}
        if value["S"].endswith("Z") or not value["S"]:
            yield "backdate", OLD
            yield "postdate", LATER
        if not value["S"]:
            yield "name", {"S": claim_id}
    elif value.get("M"):
        yield "clear", {"M": {}}
    elif value.get("L"):
        yield "clear", {"L": []}
