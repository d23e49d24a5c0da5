"""Receipts of every kind of claim: an honest one agrees with its log, a forged one is found whatever was forged."""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from approval_resource import pools
from approval_resource.audit import copies, exported, verify
from approval_resource.audit.compare import compare
from approval_resource.audit.export import export
from approval_resource.audit.receipts import DEFAULT_POLICY, receipt_of
from approval_resource.audit.receipts import receipt as receipt_of_claim
from approval_resource.audit.verify_chain import Keeping, Report, Walk
from approval_resource.claims.decide import POLICY_ACTOR
from approval_resource.claims.end import end_claim
from approval_resource.claims.gate import pass_through
from approval_resource.claims.poller import Poller
from approval_resource.claims.proof import deciding_event
from approval_resource.claims.review import review
from approval_resource.documents.events import EVENT, event_digest
from approval_resource.errors import ConfigError, CorruptRecordError
from approval_resource.model.claim import Attachment, Claim, Verdict
from approval_resource.model.event import TICK, Event, Head, State
from approval_resource.steps.files import write_decision, write_json
from approval_resource.store.dynamodb import retries
from approval_resource.store.dynamodb.store import DynamoStore
from approval_resource.store.interface import Connection, RecordReads
from demo.engine import REGION, Engine
from tests.builders import FrozenTime, ManualClock, a_build, take, under
from tests.cli.conftest import POOL, Run, refused

Document = dict[str, Any]
ANN, BOB, OLGA = (f"aws:arn:aws:iam::111122223333:user/{name}" for name in ("ann", "bob", "olga"))
GROUP = "oidc-group:https://login.example#sec"
BEN = "concourse:https://ci.example#ben"
PLAN = b"add 1 database"
PAYLOAD = b'{"image":"app:1.2"}'
POOLS_OWN = {"name": "the pool's", "required_approvals": 1, "bypass": {"users": [OLGA]}}
INPUTS = [
    {"name": "stage", "kind": "choice", "choices": ["canary", "everywhere"], "required": True},
    {"name": "regions", "kind": "choices", "choices": ["eu-west-1", "us-east-1"]},
    {"name": "count", "kind": "number"},
    {"name": "note"},
]


def sha(content: bytes) -> str:
    """The digest of a content, as a claim names it."""
    return hashlib.sha256(content).hexdigest()


@dataclass
class World:
    """A pool in which claims of every kind are made, each on a lock of its own."""

    store: DynamoStore
    time: FrozenTime
    number: int = 0

    def take(self, lock_name: str, **request: Any) -> Claim:
        """The claim of a new build."""
        self.time.tick(seconds=1)
        self.number += 1
        build = a_build(self.number, created_by="dana", instance_vars='{"env":"eu"}')
        return take(self.store, build, lock_name=lock_name, description=f"ship {self.number}", **request)

    def say(self, claim: Claim, who: str = ANN, verdict: Verdict = Verdict.APPROVE, **more: Any) -> Claim:
        """The claim after that person's review."""
        self.time.tick(seconds=1)
        comment = more.pop("comment", f"said by {who[-4:]}")
        return review(self.store, claim.id, reviewer=who, verdict=verdict, comment=comment, **more).claim

    def approved(self, lock_name: str, **request: Any) -> Claim:
        """A claim that Ann has approved."""
        return self.say(self.take(lock_name, **request))

    def end(self, claim: Claim, state: State) -> Claim:
        """The claim, ended in that state."""
        self.time.tick(seconds=1)
        return end_claim(self.store, claim, state, actor=OLGA, reason="it is over")

    def pool_policy(self, *policies: Document) -> None:
        """Let the pool have these policies from now on."""
        self.time.tick(seconds=1)
        pools.set_policy(self.store, POOL, under(*policies).policy if policies else "", actor=OLGA)

    def expired(self, lock_name: str) -> Claim:
        """An approved claim whose lock was taken over when its lease was over."""
        claim = self.approved(lock_name, hold_timeout=timedelta(seconds=30))
        self.time.tick(minutes=1)
        self.take(lock_name, need_approval=False)
        return self.now(claim)

    def broken_through(self, lock_name: str, early: bool) -> Claim:
        """A claim that passed a freeze of its pool: approved before or during it, by force."""
        self.pool_policy(POOLS_OWN)
        claim = self.approved(lock_name) if early else self.take(lock_name)
        pools.freeze(self.store, POOL, timedelta(hours=1), "the database burns", actor=OLGA)
        self.say(claim, OLGA, forced=True, comment="fire")
        pass_through(self.store, self.now(claim), a_build(self.number), spend=True)
        pools.unfreeze(self.store, POOL, "it is out", actor=OLGA)
        self.pool_policy()
        return self.now(claim)

    def with_pool_policy(self, lock_name: str, **request: Any) -> Claim:
        """A claim that was approved under its pool's policy, which is another by now."""
        self.pool_policy(POOLS_OWN)
        claim = self.approved(lock_name, **request)
        self.pool_policy()
        return claim

    def two_said(self, claim: Claim, *first: Any, **more: Any) -> Claim:
        """The claim after approvals by Bob, and then by Ann."""
        self.say(claim, BOB, **more)
        return self.say(claim, *first)

    def spent(self, lock_name: str) -> Claim:
        """A claim whose approval opened a gate and was released after that."""
        claim = self.approved(lock_name)
        pass_through(self.store, claim, a_build(self.number), spend=True)
        return self.end(self.now(claim), State.RELEASED)

    def now(self, claim: Claim) -> Claim:
        """The claim as it is stored."""
        found = self.store.claim(claim.id)
        assert found is not None
        return found

    def event(self, claim: Claim) -> Event:
        """The event that decided it."""
        return deciding_event(self.store, claim, Poller(ManualClock(), 0.1, lambda line: None))


ATTACHED: Document = {
    "attachments": {
        "plan": Attachment(sha(PLAN), len(PLAN), True),
        "empty": Attachment(sha(b""), 0, True),
        "large": Attachment(sha(b"large"), 5_000_000, False),
    },
    "attached": {"plan": PLAN, "empty": b""},
}
BY_CONDITION: Document = {"conditions": {"plan.changes": {"$lte": 3}}, "on_policy_success": "approve", "on_policy_fail": "deny"}
DECIDED: Mapping[str, Callable[[World, str], Claim]] = {
    "no policy": lambda world, name: world.approved(name),
    "rejected": lambda world, name: world.say(world.take(name), BOB, Verdict.REJECT, comment="nope: “no”\n\t🙂"),
    "put's policy": lambda world, name: world.two_said(world.take(name, terms=under(required_approvals=2))),
    "pool's policy": lambda world, name: world.with_pool_policy(name),
    "both policies": lambda world, name: world.with_pool_policy(
        name, terms=under({"required_approvals": 1}, {"required_approvals": 1})
    ),
    "inputs": lambda world, name: world.say(
        world.take(name, terms=under(required_approvals=1, inputs=INPUTS)),
        inputs={"stage": "canary", "regions": "eu-west-1,us-east-1", "count": "3", "note": "é"},
    ),
    "inputs of two": lambda world, name: world.two_said(
        world.take(name, terms=under(required_approvals=2, inputs=INPUTS)), inputs={"stage": "everywhere"}
    ),
    "rules and groups": lambda world, name: world.say(
        world.take(name, terms=under(approval_rules=[{"name": "sec", "group": "sec"}], groups={"sec": [GROUP]})),
        "oidc:https://login.example#ann",
        represented_as=("sec",),
        groups=(GROUP,),
    ),
    "attachments": lambda world, name: world.approved(name, **ATTACHED),
    "payload": lambda world, name: world.approved(name, payload=PAYLOAD, payload_digest=sha(PAYLOAD)),
    "facts": lambda world, name: world.approved(name, terms=under(required_approvals=1, given={"risk": 1.5, "ok": True})),
    "lapses": lambda world, name: world.approved(name, terms=under(required_approvals=1, valid_for="4h")),
    "forced": lambda world, name: world.say(
        world.take(name, terms=under(required_approvals=9, bypass={"users": [OLGA]})), OLGA, forced=True, comment="fire"
    ),
    "expired": lambda world, name: world.expired(name),
    "withdrawn": lambda world, name: world.end(world.approved(name), State.WITHDRAWN),
    "superseded": lambda world, name: world.end(world.approved(name), State.SUPERSEDED),
    "released": lambda world, name: world.spent(name),
    "from Concourse": lambda world, name: world.say(world.take(name), BEN, build="https://ci.example/builds/77"),
    "approved by policy": lambda world, name: world.take(name, terms=under(BY_CONDITION, given={"plan": {"changes": 2}})),
    "rejected by policy": lambda world, name: world.take(name, terms=under(BY_CONDITION, given={"plan": {"changes": 9}})),
    "freeze broken": lambda world, name: world.broken_through(name, early=False),
    "glass broken": lambda world, name: world.broken_through(name, early=True),
}
"""Makers of a decided claim of each kind, on the lock of that name."""
QUICK = ("no policy", "rejected", "both policies", "inputs of two")
EACH = [name if name in QUICK else pytest.param(name, marks=pytest.mark.long) for name in DECIDED]
NEVER_DECIDED: Mapping[str, Callable[[World, str], Claim]] = {
    "pending": lambda world, name: world.take(name),
    "held": lambda world, name: world.take(name, need_approval=False),
    "never decided, withdrawn": lambda world, name: world.end(world.take(name), State.WITHDRAWN),
    "never decided, superseded": lambda world, name: world.end(world.take(name), State.SUPERSEDED),
    "never decided, expired": lambda world, name: world.end(world.take(name), State.EXPIRED),
    "never decided, released": lambda world, name: world.end(world.take(name, need_approval=False), State.RELEASED),
}
"""Makers of claims of which there can be no receipt."""


# ---- the pool, its receipts, and forgeries of them ----------------------------------------


@dataclass
class Kept:
    """The pool with all of these claims, and the receipts that were kept as each was decided."""

    world: World
    receipts: dict[str, Document]
    claims: dict[str, Claim]
    file: Path
    walk: Walk
    record: exported.Exported

    def write(self, given: Document) -> str:
        """The file of a receipt, as a get writes it."""
        write_json(self.file, given)
        return str(self.file)

    @property
    def export(self) -> Path:
        """The pool's export."""
        return self.file.parent / "export.jsonl"

    def told(self, given: Document, store: RecordReads | None = None) -> list[str]:
        """What comparing it finds, from a file on one line. A refusal is told too."""
        self.file.write_text(json.dumps(given))
        walk = Walk(Report(POOL, self.walk.report.head), self.walk.keeping, {})
        try:
            compare(store or self.record, walk, copies.read(str(self.file)))
        except ConfigError as refusal:
            return list(refusal.problems)
        assert walk.report.notes == []
        return walk.report.findings


@pytest.fixture(scope="module")
def table() -> str:
    """One table for all of these tests, which only read it."""
    return f"t-{uuid4()}"


@pytest.fixture(scope="module")
def connection(engine: Engine, table: str) -> Connection:
    """How to reach that table."""
    return reached(engine, table)


def reached(engine: Engine, table: str) -> Connection:
    """How to reach a table."""
    return Connection(
        table=table, region=REGION, endpoint_url=engine.url, access_key_id="test", secret_access_key="test-secret"
    )


def a_world(connection: Connection) -> World:
    """Its time begins yesterday, so that the command line, which goes by the engine's clock, is later."""
    store = DynamoStore.connect(connection, creates=True)
    store.head(POOL)
    time = FrozenTime(store.now() - timedelta(days=1))
    return World(DynamoStore.connect(connection, creates=True, store_clock=time), time)


@pytest.fixture(scope="module")
def kept(connection: Connection, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kept]:
    """Every kind, with its receipt as a get writes it."""
    world = a_world(connection)
    claims = {name: make(world, name) for name, make in {**DECIDED, **NEVER_DECIDED}.items()}
    receipts: dict[str, Document] = {}
    for name in DECIDED:
        directory = tmp_path_factory.mktemp("get")
        write_decision(world.store, claims[name], world.event(claims[name]), directory)
        receipts[name] = json.loads((directory / "receipt.json").read_text())
    scratch = tmp_path_factory.mktemp("kept")
    (scratch / "export.jsonl").write_text("".join(f"{line}\n" for line in export(world.store, [POOL])))
    with exported.opened(scratch / "export.jsonl") as found:
        record = found[POOL]
        report = Report(POOL, record.head(POOL) or Head(pool=POOL))
        walk = Walk(report, Keeping.of(record, report), {})
        yield Kept(world, receipts, claims, scratch / "receipt.json", walk, record)


def paths(value: object, prefix: tuple[str | int, ...] = ()) -> Iterator[tuple[tuple[str | int, ...], Any]]:
    """Each path of a JSON document with its value, the inner ones too."""
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, inner in entries:
        yield (*prefix, name), inner
        yield from paths(inner, (*prefix, name))


def at(document: Any, path: tuple[str | int, ...]) -> Any:
    """The value there, or None."""
    for name in path:
        try:
            document = document[name]
        except (LookupError, TypeError):
            return None
    return document


def with_(document: Document, path: tuple[str | int, ...], *value: object) -> Document:
    """A copy with that value there, or without any."""
    document = copy.deepcopy(document)
    inner = at(document, path[:-1])
    if value:
        inner[path[-1]] = copy.deepcopy(value[0])
    else:
        del inner[path[-1]]
    return document


def others(value: Any) -> Iterator[object]:
    """Other values, some that another reader might take for the same."""
    yield None
    match value:
        case bool():
            yield from (not value, int(value))
        case int():
            yield from (value + 1, float(value), value == 1)
        case str():
            yield from (f"{value[:-1]}x", value.swapcase(), "")
        case list():
            yield from ([], [*value, *value], value[::-1])
        case dict():
            yield from ({}, {**value, "extra": None})
        case _:
            raise AssertionError(f"nothing of a receipt is {value!r}")


SWAPS = 2
"""Other receipts' values that one field is swapped with."""


def forgeries(name: str, receipts: Mapping[str, Document]) -> Iterator[tuple[str, Document]]:
    """Each path of a receipt changed, dropped, and swapped with that of every other receipt."""
    honest = receipts[name]
    seen = {json.dumps(honest, sort_keys=True)}
    for path, value in paths(honest):
        # Each value that the others have there, the first of several that are the same, but not more than some.
        swapped = {json.dumps(other): other for other in (at(one, path) for one in receipts.values()) if other != value}
        tried = [("dropped", with_(honest, path))]
        tried += [(f"is {other!r}", with_(honest, path, other)) for other in (*others(value), *islice(swapped.values(), SWAPS))]
        for how, forged in tried:
            text = json.dumps(forged, sort_keys=True)
            if text not in seen:
                seen.add(text)
                yield f"{name}: {'.'.join(map(str, path))} {how}"[:200], forged
    yield f"{name}: extra", {**honest, "extra": None}


UNPROVEN: Mapping[str, str] = {}
"""Fields of a receipt that its log, with claim and contents there, can't prove, each with the reason: none."""


# ---- promises ---------------------------------------------------------------------------


@pytest.mark.parametrize("name", EACH)
def test_an_honest_receipt_agrees_with_its_log(kept: Kept, run: Run, name: str) -> None:
    """Of every kind of claim, as a get and as `receipt` write it, against the table and an export."""
    path = kept.write(kept.receipts[name])
    printed = run("receipt", kept.claims[name].id)
    assert (printed.exit_code, printed.stdout) == (0, Path(path).read_text())
    ran = run("audit", "verify", "--export", str(kept.export), "--format", "json", "--against", path)
    (report,) = json.loads(ran.stdout)
    assert (ran.exit_code, report["findings"], report["notes"]) == (0, [], [])
    # The same from the table, and from one line.
    assert kept.told(kept.receipts[name]) == kept.told(kept.receipts[name], kept.world.store) == []


def test_the_kinds_are_what_they_are_called(kept: Kept) -> None:
    """States, deciders and parts, so that no kind is a second one of another."""
    states = {name: kept.claims[name].state.value for name in DECIDED}
    assert {states[name] for name in ("expired", "withdrawn", "superseded", "released", "rejected")} == set(State) - {
        State.HELD,
        State.PENDING,
        State.APPROVED,
    }
    receipts = kept.receipts
    assert receipts["from Concourse"]["decided_by"] == BEN
    assert receipts["approved by policy"]["decided_by"] == receipts["rejected by policy"]["decided_by"] == POLICY_ACTOR
    assert receipts["forced"]["forced"] is receipts["freeze broken"]["forced"] is True
    assert receipts["glass broken"]["forced"] is False
    assert receipts["lapses"]["valid_until"]
    assert set(receipts["inputs"]["inputs"]) == {"stage", "regions", "count", "note"}
    assert [one["policy"] != [] for one in (receipts["put's policy"], receipts["both policies"])] == [True, True]
    assert [bool(one["pool_policy"]) for one in (receipts["pool's policy"], receipts["both policies"])] == [True, True]
    assert {file["stored"] for file in receipts["attachments"]["claim"]["attachments"].values()} == {True, False}


@pytest.mark.parametrize("name", NEVER_DECIDED)
def test_what_was_never_decided_has_no_receipt(kept: Kept, run: Run, name: str) -> None:
    """None is written, and one made up from any of its events is found."""
    claim = kept.claims[name]
    refused(run("receipt", claim.id), claim.id)
    own = [event for event in kept.record.events(POOL) if event.claim_id == claim.id]
    assert own
    for event in own:
        (finding,) = kept.told(receipt_of(claim, event))
        assert finding.endswith(f"event {event.revision} decides no claim")


@pytest.mark.parametrize("name", EACH)
def test_a_receipt_forged_in_any_field_is_found(kept: Kept, name: str) -> None:
    """Every path of its JSON: changed, dropped, of another type, and swapped with another receipt's."""
    assert kept.told(kept.receipts[name]) == []
    tried = list(forgeries(name, kept.receipts))
    assert len(tried) > 200
    assert [what for what, forged in tried if not kept.told(forged) and what not in UNPROVEN] == []


@pytest.mark.long
def test_the_command_tells_a_forged_receipt(kept: Kept, run: Run) -> None:
    """Exit code 1 where something was found, 3 where it is no receipt or of a pool that isn't there."""
    honest = kept.receipts["inputs"]
    ran = run("audit", "verify", "--against", kept.write(honest))
    assert (ran.exit_code, "nothing wrong" in ran.stdout) == (0, True)
    for forged, words in (
        (honest | {"policy": kept.receipts["forced"]["policy"]}, "they differ in policy"),
        (honest | {"event": kept.receipts["forced"]["event"]}, "they differ in claim, decided_at, decided_by"),
        (with_(honest, ("event", "actor"), BOB), "its digest is not that of its event"),
        (with_(honest, ("event", "pool"), "elsewhere"), "its digest is not that of its event"),
    ):
        ran = run("audit", "verify", "--against", kept.write(forged))
        assert ran.exit_code == 1
        assert words in ran.stdout
    for path in (("event",), ("event", "digest"), ("event", "kind")):
        refused(run("audit", "verify", "--against", kept.write(with_(honest, path))), "not a receipt", code=3)


@pytest.mark.parametrize(
    "name", [name for name in DECIDED if "policy" in name or name in ("inputs", "forced", "lapses", "facts")]
)
def test_a_policys_text_that_was_replaced_is_found(kept: Kept, name: str) -> None:
    """By a laxer one, by the one that nobody set, and by none."""
    honest = kept.receipts[name]
    for part in ("policy", "pool_policy"):
        for text in ([{"name": "the pool's", "required_approvals": 0}], [], DEFAULT_POLICY):
            if text != honest[part]:
                (finding,) = kept.told(honest | {part: text})
                assert finding.endswith(f"they differ in {part}")


@pytest.mark.parametrize("name", EACH)
def test_an_event_forged_with_its_digest_is_found(kept: Kept, name: str) -> None:
    """Each field of the event with a digest made anew, also where it is dated back past what is kept; and other true events."""
    honest = kept.receipts[name]
    told = EVENT.read(honest["event"])
    forged = [replace(told, timestamp=datetime(2020, 1, 1, tzinfo=UTC))]
    for field, value in honest["event"].items():
        swapped = {str(one["event"].get(field, "")) for one in kept.receipts.values()} - {str(value)}
        for other in (*others(value), *sorted(swapped)[:SWAPS]):
            with suppress(CorruptRecordError):
                forged.append(EVENT.read(honest["event"] | {field: other}))
    forged = [replace(event, digest=event_digest(event)) for event in forged]
    forged += kept.record.events(POOL)
    events = {event.digest: event for event in forged if event != told}
    assert len(events) > 100
    assert [event for event in events.values() if not kept.told(honest | {"event": EVENT.write(event)})] == []


@pytest.mark.long
def test_a_receipt_that_two_readers_read_differently_is_none(kept: Kept, run: Run) -> None:
    """A name that comes twice, and a receipt on one line that calls itself a record of an export."""
    honest = kept.receipts["no policy"]
    for text in (
        json.dumps(honest).replace('"decision":', '"decision": "rejected", "decision":', 1),
        json.dumps(honest).replace('"pool":', '"pool": "other", "pool":', 1),
    ):
        kept.file.write_text(text)
        refused(run("audit", "verify", "--pool", POOL, "--against", str(kept.file)), "neither a receipt nor an export", code=3)
    kept.file.write_text(json.dumps({"record": "end", **honest, "decided_by": "boss"}))
    ran = run("audit", "verify", "--pool", POOL, "--against", str(kept.file))
    assert ran.exit_code == 1
    assert "they differ in decided_by, record" in ran.stdout
    kept.file.write_text('{"record": "end"}')
    refused(run("audit", "verify", "--pool", POOL, "--against", str(kept.file)), "has no event of pool", code=3)


OF_CONTENTS = "its policies, kept beside the claim, go with the claim's contents"
OF_CLAIM = "the claim is gone, and its event tells only of its digest"
GONE_CONTENTS = {"policy": OF_CONTENTS, "pool_policy": OF_CONTENTS, "inputs": OF_CONTENTS}
GONE_CLAIM = GONE_CONTENTS | dict.fromkeys(
    (
        "claim.need_approval",
        "claim.description",
        "claim.timestamp",
        "claim.fence",
        "claim.build",
        "claim.payload",
        "claim.attachments",
        "reviews",
        "valid_until",
    ),
    OF_CLAIM,
)
"""Fields that nothing is left to prove after retention, each with the reason."""


@pytest.mark.parametrize(
    ("gone", "unproven"),
    [(("part#",), GONE_CONTENTS), (("part#", "claim"), GONE_CLAIM), (("part#", "claim", "event#"), GONE_CLAIM)],
    ids=["contents", "claim", "event"],
)
@pytest.mark.long
def test_what_is_left_after_retention_is_still_proven(
    engine: Engine, tmp_path: Path, gone: tuple[str, ...], unproven: Mapping[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An honest receipt gets a note and no finding; a forgery is found wherever a field is not listed as gone."""
    monkeypatch.setattr(retries, "FRESH_PAUSE", 0.0)  # no commit is under way, so nothing is looked at again later
    world = a_world(reached(engine, f"t-{uuid4()}"))
    claim = world.end(DECIDED["both policies"](world, "deploy"), State.RELEASED)
    honest = receipt_of_claim(world.store, claim, world.event(claim))
    world.time.tick(days=500)
    world.take("other", need_approval=False)
    client, name = world.store._client, world.store._table
    for item in client.scan(TableName=name)["Items"]:
        ended = "ttl" in item and int(item["ttl"]["N"]) <= world.time.at.timestamp()
        if ended and item["sk"]["S"].startswith(gone):
            client.delete_item(TableName=name, Key={key: item[key] for key in ("pk", "sk")})

    def told(given: Document) -> Report:
        write_json(tmp_path / "receipt.json", given)
        return verify.verify(world.store, POOL, copies.read(str(tmp_path / "receipt.json")))

    report = told(honest)
    assert report.findings == []
    assert len(report.notes) == 1
    fields = [path for path, _ in paths(honest) if len(path) == 1 or (len(path) == 2 and path[0] == "claim")]
    silent = {
        ".".join(map(str, path))
        for path in fields
        if path not in (("claim",), ("event",)) and not told(with_(honest, path, 7)).findings
    }
    assert silent == set(unproven)


def test_a_digest_of_what_was_never_there_is_found_however_old(kept: Kept) -> None:
    """An event names place and digest of the one before it, so age excuses no copy that was made up."""
    events = list(kept.record.events(POOL))
    years = Keeping(kept.walk.keeping.settings, events[-1].at + timedelta(days=5000))
    for event in events[1:]:
        for place, digest in (
            (event.timestamp, "0" * 64),
            (event.timestamp - TICK, event.digest),
            (event.timestamp + TICK, event.digest),
            (events[0].timestamp - timedelta(days=900), event.digest),
        ):
            walk = Walk(Report(POOL, kept.walk.report.head), years, {})
            compare(kept.record, walk, copies.Copy(at=place, digest=digest))
            assert len(walk.report.findings) == 1
            assert walk.report.notes == []


@pytest.mark.parametrize("name", ["no policy", "both policies"])
def test_a_damaged_log_or_policy_is_a_finding_beside_a_receipt(
    engine: Engine, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the audit finds is told, and comparing ends in a line; it isn't told that the record could not be looked at."""
    monkeypatch.setattr(retries, "FRESH_PAUSE", 0.0)
    world = a_world(reached(engine, f"t-{uuid4()}"))
    claim = DECIDED[name](world, "deploy")
    write_json(tmp_path / "receipt.json", receipt_of_claim(world.store, claim, world.event(claim)))
    client, table = world.store._client, world.store._table
    for item in client.scan(TableName=table)["Items"]:
        if item["sk"]["S"].startswith("part#"):
            client.put_item(TableName=table, Item=item | {"content": {"B": b"[]"}})
        elif item["sk"]["S"].startswith("event#") and name == "no policy":
            client.put_item(TableName=table, Item=item | {"revision": {"S": "x"}})
    found = verify.verify(world.store, POOL, copies.read(str(tmp_path / "receipt.json"))).findings
    assert len(found) > 1
    assert any("can't be compared" in finding for finding in found)
