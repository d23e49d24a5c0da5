"""Writes that change a pool in one transaction, and operations that may come upon one while it lands."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from hashlib import sha256
from pathlib import Path
from uuid import uuid4
from zoneinfo import ZoneInfo

from approval_resource import pools
from approval_resource.audit import verify as audit
from approval_resource.audit.export import export
from approval_resource.audit.exported import opened
from approval_resource.audit.receipts import receipt
from approval_resource.audit.report import report
from approval_resource.claims.acquire import take as take_now
from approval_resource.claims.end import end_claim, force_release, renew
from approval_resource.claims.gate import pass_through, wait
from approval_resource.claims.lookup import find
from approval_resource.claims.poller import Poller
from approval_resource.claims.proof import borne_out, deciding_event, require_supported
from approval_resource.claims.release import claim_of_build, release
from approval_resource.claims.request import Attempt
from approval_resource.claims.review import review, withdraw
from approval_resource.claims.wait_for_lock import _join, acquire, queues
from approval_resource.model.claim import Attachment, Claim, Claimant, Verdict
from approval_resource.model.event import State
from approval_resource.notify.links import PageLinks
from approval_resource.notify.message import Reading
from approval_resource.notify.worker import Worker
from approval_resource.service.desk import Desk
from approval_resource.service.looks import Looks
from approval_resource.service.people import Access, Person
from approval_resource.steps.check import check
from approval_resource.steps.files import write_contents
from approval_resource.steps.protocol import Source
from approval_resource.store.dynamodb.store import DynamoStore
from tests.builders import FrozenTime, ManualClock, a_build, a_request, take, under
from tests.notify.conftest import rules
from tests.notify.test_worker import Recorder

ANA, BOB, CLO = (f"aws:arn:aws:iam::111122223333:user/{name}" for name in ("ana", "bob", "clo"))
LOCK, PLAN = "deploy", b"one to add"
GLASS = {"name": "glass", "required_approvals": 1, "bypass": {"users": [ANA, BOB, CLO]}}


@dataclass
class Scene:
    """A pool, as one operation finds it."""

    store: DynamoStore
    pool: str
    clock: ManualClock
    time: FrozenTime
    claim: Claim | None = None

    @property
    def known(self) -> Claim:
        """The claim that an operation is about."""
        return find(self.store, self.claim.id if self.claim else str(uuid4()))

    @property
    def poller(self) -> Poller:
        """Polls without any pause but the store's."""
        return Poller(self.clock, 0.1, lambda line: None)


def approve(scene: Scene, who: str = ANA) -> None:
    assert scene.claim is not None
    scene.claim = review(scene.store, scene.claim.id, reviewer=who, verdict=Verdict.APPROVE).claim


def claimed(scene: Scene, number: int = 1) -> None:
    terms = under(required_approvals=2, given={"risk": "low"})
    build = a_build(number, created_by="dana")
    digest = sha256(PLAN).hexdigest()
    scene.claim = take(
        scene.store,
        build,
        pool=scene.pool,
        terms=terms,
        hold_timeout=timedelta(hours=1),
        payload=PLAN,
        payload_digest=digest,
        attachments={"plan": Attachment(digest, len(PLAN), stored=True)},
        attached={"plan": PLAN},
    )


def ruled(scene: Scene) -> None:
    pools.set_policy(scene.store, scene.pool, '[{"name": "one", "required_approvals": 1}]', actor="op")


def approved(scene: Scene) -> None:
    claimed(scene)
    approve(scene)
    approve(scene, BOB)


def passed(scene: Scene, number: int = 3) -> None:
    assert scene.claim is not None
    pass_through(scene.store, scene.claim, a_build(number), spend=True)


def released(scene: Scene) -> None:
    assert scene.claim is not None
    end_claim(scene.store, scene.claim, State.WITHDRAWN, actor="op")


def several(*steps: Callable[[Scene], object]) -> Callable[[Scene], None]:
    def all_of_them(scene: Scene) -> None:
        for step in steps:
            step(scene)

    return all_of_them


def queued(scene: Scene) -> None:
    claimant = Claimant(a_build(5))
    _join(scene.store, a_request(pool=scene.pool), claimant, Attempt())


def glazed(scene: Scene) -> None:
    """Let ana, bob and clo force a decision, and break a freeze."""
    pools.set_policy(scene.store, scene.pool, json.dumps([GLASS]), actor="op")


def frozen(scene: Scene) -> str:
    return str(pools.freeze(scene.store, scene.pool, None, "the database burns", actor="op").revision)


def thawed(scene: Scene) -> str:
    return str(pools.unfreeze(scene.store, scene.pool, "", actor="op").revision)


def kept(scene: Scene) -> str:
    return str(pools.set_retention(scene.store, scene.pool, 30, actor="op").revision)


def forced(scene: Scene, who: str) -> str:
    said = review(scene.store, scene.known.id, reviewer=who, verdict=Verdict.APPROVE, forced=True, comment="fire")
    return f"{said.claim.state.value} {said.changed}"


def forced_out(scene: Scene) -> str:
    return force_release(scene.store, scene.known, actor="op", reason="stuck").state.value


def nothing(scene: Scene) -> None:
    """Leave the pool as it is."""


WRITES: dict[str, tuple[Callable[[Scene], object], Callable[[Scene], object]]] = {
    "a claim": (nothing, claimed),
    "a claim in a pool with a policy": (ruled, claimed),
    "a first approval": (claimed, approve),
    "the deciding approval": (several(claimed, approve), lambda scene: approve(scene, BOB)),
    "the deciding approval under a pool's policy": (
        several(ruled, claimed, approve),
        lambda scene: approve(scene, BOB),
    ),
    "a rejection": (claimed, lambda scene: _reject(scene, ANA)),
    "a withdrawal": (claimed, released),
    "a release": (approved, lambda scene: _release(scene, 1)),
    "a passage": (approved, passed),
    "a renewal": (approved, lambda scene: _renew(scene)),
    "a pool's policy": (several(claimed, approve), ruled),
    "a place in the queue": (claimed, queued),
    "the next claim": (several(claimed, released), lambda scene: claimed(scene, 2)),
    "a freeze": (approved, frozen),
    "the end of a freeze": (several(approved, frozen), thawed),
    "a retention": (claimed, kept),
    "a forced approval": (several(glazed, claimed), lambda scene: forced(scene, ANA)),
    "a broken freeze": (several(glazed, approved, frozen), lambda scene: forced(scene, ANA)),
    "a forced release": (approved, forced_out),
    "a takeover": (several(claimed, lambda scene: scene.time.tick(hours=2)), lambda scene: claimed(scene, 2)),
}
"""What there is before, and the transaction that is seen in parts."""


def _reject(scene: Scene, who: str) -> str:
    return review(scene.store, scene.known.id, reviewer=who, verdict=Verdict.REJECT).claim.state.value


def _approve(scene: Scene) -> str:
    return review(scene.store, scene.known.id, reviewer=CLO, verdict=Verdict.APPROVE).claim.state.value


def _release(scene: Scene, number: int) -> str:
    return release(scene.store, scene.pool, LOCK, Claimant(a_build(number, created_by="dana"))).claim.state.value


def _renew(scene: Scene) -> str:
    return renew(scene.store, scene.known, a_build(), timedelta(hours=2)).state.value


def _claim(scene: Scene, number: int, **changes: object) -> str:
    terms = under(required_approvals=2, given={"risk": "low"})
    request = a_request(pool=scene.pool, terms=terms, hold_timeout=timedelta(hours=1))
    taken = take_now(scene.store, request, Claimant(a_build(number, created_by="dana")), Attempt())
    return f"{taken.claim.state.value} {taken.claim.build.name}"


def _gate(scene: Scene) -> str:
    claim = borne_out(scene.store, scene.known, scene.poller)
    claim = wait(scene.store, claim, poller=scene.poller, give_up_at=scene.store.now() + timedelta(seconds=5))
    require_supported(scene.store, claim, deciding_event(scene.store, claim, scene.poller))
    return f"open, {pass_through(scene.store, claim, a_build(9), spend=True).spent_by}"


def _await(scene: Scene) -> str:
    claim = claim_of_build(scene.store, scene.pool, LOCK, Claimant(a_build(1, created_by="dana")))
    return borne_out(scene.store, claim, scene.poller).state.value


def _queue(scene: Scene) -> str:
    request = a_request(pool=scene.pool)
    poller = scene.poller
    claimant = Claimant(a_build(8))
    return acquire(
        scene.store, request, claimant, Attempt(), poller=poller, wait_timeout=timedelta(seconds=4)
    ).claim.state.value


def _check(scene: Scene, **source: object) -> str:
    first = next(iter(scene.store.events(scene.pool)), None)
    version = {"timestamp": f"{first.timestamp:%Y-%m-%dT%H:%M:%S.%fZ}", "id": first.claim_id} if first else None
    versions = check(Source(pool=scene.pool, **source), version, scene.store)  # type: ignore[arg-type]
    return "seen: " + "".join(f"{one['state']}," for one in versions)


def _list(scene: Scene) -> str:
    waiting = [len(lock.queue) for lock, _ in queues(scene.store, scene.pool)]
    return f"{[(claim.state.value, len(claim.reviews)) for claim in scene.store.open_claims(scene.pool)]} {waiting}"


def _set(scene: Scene) -> str:
    return str(pools.set_policy(scene.store, scene.pool, '[{"name": "three", "required_approvals": 3}]', actor="op").revision)


def _files(scene: Scene) -> str:
    claim = borne_out(scene.store, scene.known, scene.poller)
    with tempfile.TemporaryDirectory() as scratch:
        write_contents(scene.store, claim, Path(scratch))
        return str(sorted((path.name, path.read_bytes()) for path in Path(scratch).rglob("*") if path.is_file()))


def _receipt(scene: Scene) -> str:
    claim = scene.known
    told = receipt(scene.store, claim, deciding_event(scene.store, claim, scene.poller))
    return f"{told['decision']} {told['pool_policy']} {len(told['reviews'])}"


def _report(scene: Scene) -> str:
    found = report(scene.store, scene.pool)
    return str([(one.event.kind.value, one.faults, one.notes) for one in found.decisions] + found.audit.findings)


def _export(scene: Scene) -> str:
    lines = list(export(scene.store, [scene.pool], scene.clock))
    with tempfile.NamedTemporaryFile("w", suffix=".jsonl") as file:
        file.write("".join(f"{line}\n" for line in lines))
        file.flush()
        with opened(Path(file.name)) as found:
            return str([finding for one in found.values() for finding in audit.verify_export(one).findings])


def _notify(scene: Scene) -> str:
    """Two turns, the second once all is seen: nothing is left untold."""
    outlet = Recorder(edits=True)
    worker = Worker(
        reading=Reading(scene.pool, ZoneInfo("UTC"), 0, PageLinks()),
        outlet=outlet,
        rules=rules({"pools": [scene.pool]}),
        store=scene.store,
        outbox=scene.store.outbox,
        clock=scene.clock,
        holder="one",
    )
    for _ in range(2):
        worker.turn()
        scene.clock.sleep(1.5)
    return "\n".join(sorted(f"{message.document['type']} {message.claim_id}" for message in outlet.told))


class Everybody(Access):
    """Rights of everybody to everything in one pool."""

    def __init__(self, pool: str) -> None:
        self._pool = pool

    def may(self, person: Person, pool: str, role: object) -> bool:
        return pool == self._pool

    def visible(self, person: Person) -> list[str]:
        return [self._pool]


def _desk(scene: Scene) -> tuple[Desk, Person]:
    return Desk(Looks(scene.store), Everybody(scene.pool)), Person(identity=CLO, via="session")


def _page(scene: Scene) -> str:
    """A claim's page."""
    desk, clo = _desk(scene)
    view = desk.view(clo, desk.claim(clo, scene.known.id))
    return f"{view.face} {len(view.claim.reviews)} {view.broken} {bool(view.frozen)}"


def _rows(scene: Scene, *, ended: bool) -> str:
    """A list of what waits, or of what was decided."""
    desk, clo = _desk(scene)
    rows = desk.ended(clo, scene.pool) if ended else desk.rows(clo)
    return str([(row.claim.state.value, row.standing.why_not) for row in rows])


OPERATIONS: dict[str, Callable[[Scene], str]] = {
    "claim": lambda scene: _claim(scene, 7),
    "claim again": lambda scene: _claim(scene, 1),
    "gate": _gate,
    "await": _await,
    "check": _check,
    "check of a lock": lambda scene: _check(scene, lock_name=LOCK),
    "check of states": lambda scene: _check(scene, states=(State.PENDING, State.APPROVED)),
    "approve": _approve,
    "reject": lambda scene: _reject(scene, CLO),
    "withdraw": lambda scene: end_claim(scene.store, scene.known, State.WITHDRAWN, actor="op").state.value,
    "renew": _renew,
    "release": lambda scene: _release(scene, 1),
    "queue": _queue,
    "list": _list,
    "policy set": _set,
    "freeze": frozen,
    "unfreeze": thawed,
    "retention": kept,
    "force": lambda scene: forced(scene, CLO),
    "force a release": forced_out,
    "force a withdrawal": lambda scene: withdraw(scene.store, scene.known, actor=CLO, reason="x", forced=True).state.value,
    "files": _files,
    "receipt": _receipt,
    "report": _report,
    "export": _export,
    "notify": _notify,
    "a claim's page": _page,
    "the page of what waits": lambda scene: _rows(scene, ended=False),
    "the page of what was decided": lambda scene: _rows(scene, ended=True),
    "audit": lambda scene: str(audit.verify(scene.store, scene.pool, clock=scene.clock).findings),
}
READ_ONLY = (
    "check",
    "check of a lock",
    "check of states",
    "list",
    "await",
    "files",
    "receipt",
    "a claim's page",
    "the page of what waits",
    "the page of what was decided",
)
