"""Somebody who can write the table edits one item: it opens no gate, and changes nothing that the audit doesn't find."""

from __future__ import annotations

import os
import random
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from itertools import accumulate
from uuid import uuid4
from zoneinfo import ZoneInfo

import pytest

from approval_resource.claims import proof
from approval_resource.errors import CorruptRecordError
from approval_resource.notify.links import PageLinks
from approval_resource.notify.message import Reading
from approval_resource.notify.worker import Worker
from approval_resource.store.dynamodb import retries
from approval_resource.store.dynamodb import table as table_module
from approval_resource.store.dynamodb.store import DynamoStore
from approval_resource.store.interface import Connection
from demo.engine import REGION, Engine
from tests import tally
from tests.builders import FrozenTime, ManualClock
from tests.contract.edits import BOB, LOCK, OLD, STAGES, Edit, Life, Outcome, edits
from tests.contract.images import put
from tests.notify.conftest import rules
from tests.notify.test_worker import Recorder

NOT_COVERED = re.compile(r"\S+ (build#|turn#|\S+ (open_pool|lock_event|ttl)$|pool#P/lock#deploy (queue|tickets|revision))")
"""Edits that may change what is decided without being found: docs/guarantees.md names them. They open no gate all the same."""
SINGLE = ("pool#", "claim", "policy", "head")
"""Sort keys of items of which there is one: a build's record, a claim, a pool's settings and its head."""
NOTIFY = "notify#"
"""What notifications keep. It is evidence for nothing, and tried by itself."""
ALWAYS = {
    stage: re.compile(pattern)
    for stage, pattern in {
        "asked": r"drop pool#P/lock#deploy",
        "pending": r"approved claim#C/part#pool%20policy|insert claim#C/claim review|drop claim#C/claim policy|backdate claim#C/claim timestamp",
        "late": r"empty claim#C/claim deadline",
        "approved": r"lower pool#P/lock#deploy fence|lower pool#P/head settings",
        "lapsed": r"drop claim#C/claim valid_until",
        "frozen": r"asked policy#P/policy|spent build#\S+",
        "spent": r"empty claim#C/claim spent|asked claim#C/claim",
        "released": r"spent claim#C/claim|drop pool#P/lock#deploy jobs",
    }.items()
}
"""Edits by which somebody once got past a gate or the audit. They are tried in every run."""
SHORT = ("pending", "approved", "frozen", "spent")
"""Stages of a short run."""
SHARE, SOAKED = 3000, 15
"""One of so many edits is tried in a short run, and in `make soak`. EDITS=all tries each."""


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing that contradicts itself is looked at for long: no other commit is under way here."""
    monkeypatch.setattr(retries, "FRESH_LOOKS", 1)
    monkeypatch.setattr(proof, "FRESH_LOOKS", 1)
    monkeypatch.setattr(proof, "FRESH_SECONDS", 0.0)


def wrong(name: str, outcome: Outcome, honest: Outcome) -> list[str]:
    """What is wrong with the outcome after that edit, beside the one without any."""
    # An edit may delay a passage. Nobody passes who could not have by then.
    opened, allowed = (list(accumulate(one.open.values())) for one in (outcome, honest))
    faults = [f"a gate opened {when}" for when, got, may in zip(outcome.open, opened, allowed, strict=False) if got > may]
    if not outcome.found and not NOT_COVERED.match(name):
        answers = honest.open | honest.told
        differing = {what: told for what, told in (outcome.open | outcome.told).items() if told != answers[what]}
        if differing:
            faults.append(f"the audit doesn't find it, and yet it decides: {differing}")
    return [f"{name}: {fault}" for fault in faults]


@pytest.fixture(scope="module")
def life(engine: Engine) -> Iterator[Life]:
    """One life for all of these tests, each of which goes back to its stage."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(table_module, "protect", lambda *_: None)
        reached = Connection(
            table=f"t-{uuid4()}",
            region=REGION,
            endpoint_url=engine.url,
            access_key_id="test",
            secret_access_key="test-secret",
        )
        time = FrozenTime()
        yield Life.of(DynamoStore.connect(reached, clock=ManualClock(), store_clock=time, creates=True), time)


@pytest.mark.usefixtures("quick")
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("stage", [pytest.param(stage, marks=[] if stage in SHORT else pytest.mark.long) for stage in STAGES])
def test_one_edit_opens_nothing_and_is_found(stage: str, life: Life, effort: tally.Effort) -> None:
    """Those by which somebody once did, and a share of every field of every item: another one in each soak."""
    seed = tally.seeded()[0] if effort.soak else int(os.environ.get("APPROVAL_SEED") or 20261126)
    print(f"APPROVAL_SEED={seed}")  # noqa: T201 - to try the same again
    share = 1 if os.environ.get("EDITS") == "all" else SOAKED if effort.soak else SHARE
    every = list(edits(life, stage))
    assert len(every) > 500
    chosen = [(name, edit) for name, edit in every if ALWAYS[stage].fullmatch(name) or picked(share, seed, stage, name)]
    for pattern in ALWAYS[stage].pattern.split("|"):
        assert any(re.fullmatch(pattern, name) for name, _ in chosen), pattern
    life.restore(stage)
    honest = life.play(lambda: None)
    assert not honest.found
    found = []
    for name, edit in chosen:
        life.restore(stage)
        found += wrong(name, life.play(edit), honest)
    tally.add(edits=len(chosen))
    assert found == []


def picked(of: int, *what: object) -> bool:
    """Whether that is one of the so many that are tried."""
    return random.Random(str(what)).randrange(of) == 0  # noqa: S311 - a choice


@pytest.mark.usefixtures("quick")
def test_a_claim_that_is_backdated_and_stripped_opens_nothing(life: Life) -> None:
    """Several fields at once: made older than the log reaches, so that nothing is asked of its first event, and without its policy."""
    life.restore("pending")
    honest = life.play(lambda: None)
    life.restore("pending")
    claim = life.images["pending"][(f"claim#{life.claim_id}", "claim")]
    stripped = {name: value for name, value in claim.items() if name != "policy"}
    forged = stripped | {"timestamp": OLD, "description": {"S": "something else"}}
    assert wrong("both", life.play(partial(put, life.store, forged)), honest) == []


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("field", ["key", "pool", "lockname"])
def test_a_record_of_another_build_is_refused(field: str, life: Life) -> None:
    """At once, and not after a minute of writes that can't succeed."""
    life.restore("approved")
    (record,) = (item for key, item in life.images["approved"].items() if key[0].startswith("build#"))
    put(life.store, record | {field: {"S": "another"}})
    assert life.releases(1) == "CorruptRecordError"
    with pytest.raises(CorruptRecordError, match="it is of something else"):
        life.store.build(record["key"]["S"], life.pool, LOCK)


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("what", ["build#", "claim#", "policy#", "pool#", "lock#deploy"])
def test_a_revision_that_was_never_written_is_refused(what: str, life: Life) -> None:
    """At once, too: writes take it for that of an item that isn't there."""
    life.restore("approved")
    image = life.images["approved"]
    key = next(key for key in image if key[1].startswith(what) or (key[0].startswith(what) and key[1].startswith(SINGLE)))
    put(life.store, image[key] | {"revision": {"N": "0"}})
    assert life.releases(1) == "CorruptRecordError"


def kept(life: Life) -> list[tuple[str, Edit]]:
    """The edits of what notifications keep, in one order."""
    return [(name, edit) for name, edit in edits(life, "pending") if f" {NOTIFY}" in name]


def tell(life: Life, outlet: Recorder) -> None:
    """Tell a channel of the pool's own name what is new."""
    Worker(
        reading=Reading(life.pool, ZoneInfo("UTC"), 0, PageLinks()),
        outlet=outlet,
        rules=rules({"pools": [life.pool]}),
        store=life.store,
        outbox=life.store.outbox,
        clock=ManualClock(),
        holder="one",
    ).turn()


@pytest.mark.usefixtures("quick")
@pytest.mark.timeout(600)
@pytest.mark.long
def test_an_edit_of_what_notifications_keep_decides_nothing(connect: Callable[..., DynamoStore], effort: tally.Effort) -> None:
    """Audit, review and gate go on as if it were not there; what is told of the claim is what the log says, or nothing."""
    time = FrozenTime()
    life = Life.of(connect(time, clock=ManualClock()), time, lambda life: tell(life, Recorder(edits=True)))
    _, choice = tally.seeded()
    every = kept(life)
    assert len(every) > 30
    for name, edit in every if effort.soak else choice.sample(every, 6):
        life.restore("pending")
        edit()
        assert life.faults() == [], name
        assert not life.opens(9), name
        life.approve(BOB)
        outlet = Recorder(edits=True)
        with suppress(CorruptRecordError):
            tell(life, outlet)
        assert {message.claim_id for message in outlet.told} <= {life.claim_id}, name
        assert life.opens(9), name
        assert life.faults() == [], name
