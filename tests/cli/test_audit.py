"""The record: what audit verify finds, what it can't, and what export writes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from approval_resource.audit.receipts import receipt_of
from approval_resource.canonical import digest, instant
from approval_resource.claims import gate as gates
from approval_resource.claims import review as reviews
from approval_resource.claims.poller import Poller
from approval_resource.claims.proof import deciding_event
from approval_resource.clock import HostClock
from approval_resource.documents.claims import claim_digest
from approval_resource.documents.events import event_digest, event_document
from approval_resource.model.claim import Attachment, Claim, Verdict, attachment_content
from approval_resource.model.event import Event
from approval_resource.store.dynamodb import items, keys
from approval_resource.store.dynamodb.store import DynamoStore
from approval_resource.store.dynamodb.values import Item
from tests.builders import a_build
from tests.cli.conftest import POOL, Process, Run, claim_of, refused

A, B = (f"{number}0000000-aaaa-4aaa-8aaa-aaaaaaaaaaaa" for number in (1, 2))
PLAN = b"add 1 database"


@dataclass(frozen=True, slots=True)
class Kept:
    """A table with a pool in it whose record is whole: an approved claim that still holds `deploy`, and an ended one."""

    store: DynamoStore
    wire: Any
    table: str

    @property
    def events(self) -> list[Event]:
        return list(self.store.events(POOL))

    def item(self, key: Item) -> Item:
        found: Item = self.wire.get_item(TableName=self.table, Key=key)["Item"]
        return found

    def put(self, item: Item) -> None:
        self.wire.put_item(TableName=self.table, Item=item)

    def alter(self, key: Item, **attributes: Mapping[str, object]) -> None:
        """Write those attributes into the item, behind everybody's back."""
        self.put(self.item(key) | attributes)

    def delete(self, key: Item) -> None:
        self.wire.delete_item(TableName=self.table, Key=key)

    def event_key(self, number: int) -> Item:
        return keys.event_key(POOL, self.events[number].timestamp)

    def receipt(self, path: Path) -> str:
        """Someone's own copy of what was decided on the claim that is approved."""
        claim = self.store.claims([B])[0]
        path.write_text(json.dumps(receipt_of(claim, deciding_event(self.store, claim, Poller(HostClock(), 1, print)))))
        return str(path)


@pytest.fixture(scope="module")
def table() -> str:
    """One table for all of these tests; each finds it empty."""
    return f"t-{uuid4()}"


@pytest.fixture(scope="module")
def whole() -> list[Item]:
    """The items of the pool that `kept` begins with, once they were made."""
    return []


@pytest.fixture(autouse=True)
def _empty(store: DynamoStore, wire: Any, table: str) -> None:
    store.create_table()
    for item in wire.scan(TableName=table)["Items"]:
        wire.delete_item(TableName=table, Key={name: item[name] for name in ("pk", "sk")})


@pytest.fixture
def kept(store: DynamoStore, wire: Any, table: str, whole: list[Item]) -> Kept:
    """That pool: pending, rejected, pending, approved, passed."""
    if not whole:
        fill(store)
        whole.extend(wire.scan(TableName=table)["Items"])
    else:
        wire.batch_write_item(RequestItems={table: [{"PutRequest": {"Item": item}} for item in whole]})
    return Kept(store, wire, table)


def fill(store: DynamoStore) -> None:
    claim_of(store, A, description="release 1.4")
    reviews.review(store, A, reviewer="typed:bob", verdict=Verdict.REJECT, comment="not today")
    file = Attachment(hashlib.sha256(PLAN).hexdigest(), len(PLAN), stored=True)
    payload = b'{"memory": 4}'
    claim = claim_of(
        store,
        B,
        number=2,
        attachments={"plan": file},
        attached={"plan": PLAN},
        payload=payload,
        payload_digest=hashlib.sha256(payload).hexdigest(),
    )
    reviews.review(store, B, reviewer="typed:ana", verdict=Verdict.APPROVE)
    gates.pass_through(store, claim, a_build(3), spend=False)


# ---- verify --------------------------------------------------------------------


@pytest.mark.parametrize("narrow", [(), ("--pool", POOL)])
def test_a_whole_record_is_told_in_one_line(kept: Kept, run: Run, narrow: tuple[str, ...]) -> None:
    """How many events and claims, and the newest event's digest, to be written down elsewhere."""
    ran = run("audit", "verify", *narrow)
    newest = kept.events[-1]
    assert (ran.exit_code, ran.stderr) == (0, "")
    assert ran.stdout == (
        f"pool payments: 5 events, 2 claims, nothing wrong, newest {instant(newest.timestamp)} {newest.digest}\n"
    )


def test_verify_by_a_process(kept: Kept, process: Process) -> None:
    """The program as people start it says the same, by its exit code too."""
    assert process("audit", "verify").returncode == 0
    kept.alter(keys.claim_key(A), description={"S": "release 1.5"})
    ran = process("audit", "verify")
    assert (ran.returncode, ran.stderr) == (1, "")


def test_every_pool_is_verified(kept: Kept, run: Run) -> None:
    """Without --pool all of them are, and one fault anywhere is an exit code of 1."""
    claim_of(kept.store, pool="another")
    clean = run("audit", "verify")
    assert [line.split(":")[0] for line in clean.stdout.splitlines()] == ["pool another", "pool payments"]
    kept.delete(kept.event_key(1))
    assert run("audit", "verify").exit_code == 1
    assert run("audit", "verify", "--pool", "another").exit_code == 0


def test_an_empty_table_has_no_pool(store: DynamoStore, run: Run) -> None:
    """Nothing to verify is said in words."""
    store.create_table()
    ran = run("audit", "verify")
    assert (ran.exit_code, ran.stdout) == (0, "There is no pool yet\n")


def drop_an_event(kept: Kept) -> str:
    number = kept.events[1].revision
    kept.delete(kept.event_key(1))
    return f"events {number} are missing"


def drop_the_newest_event(kept: Kept) -> str:
    number = kept.events[-1].revision
    kept.delete(kept.event_key(-1))
    return f"{number}"


def drop_the_oldest_event(kept: Kept) -> str:
    number = kept.events[0].revision
    kept.delete(kept.event_key(0))
    return f"up to event {number}, is missing"


def swap_two_events(kept: Kept) -> str:
    first, second = kept.item(kept.event_key(1)), kept.item(kept.event_key(2))
    names = ("pk", "sk", "lock_event")
    moved = [
        {**there, **{name: here[name] for name in names if name in here}} for here, there in ((first, second), (second, first))
    ]
    what = f"event 3 at {instant(kept.events[2].timestamp)} was moved"
    for item in moved:
        kept.put(item)
    return what


def swap_two_events_with_their_places(kept: Kept) -> str:
    """The second first: places and digests made right, the chain not."""
    first, second = kept.events[1], kept.events[2]
    for event, at in ((first, second), (second, first)):
        moved = replace(event, timestamp=at.timestamp, revision=at.revision)
        kept.put(items.event_item(replace(moved, digest=event_digest(moved))))
    return f"event 3 at {instant(second.timestamp)} was altered"


def add_an_event(kept: Kept) -> str:
    last = kept.events[-1]
    late = replace(last, timestamp=last.timestamp.replace(year=last.timestamp.year + 1), revision=last.revision + 1)
    kept.put(items.event_item(replace(late, digest=event_digest(late))))
    return f"event {late.revision} at {instant(late.timestamp)}"


def alter_one_byte_of_an_event(kept: Kept) -> str:
    kept.alter(kept.event_key(1), reason={"S": "not todaz"})
    return f"event 2 at {instant(kept.events[1].timestamp)} was altered"


def alter_an_event_and_its_digest(kept: Kept) -> str:
    event = replace(kept.events[1], actor="typed:mallory")
    kept.put(items.event_item(replace(event, digest=event_digest(event))))
    return f"event 2 at {instant(event.timestamp)} was altered"


def make_an_event_unreadable(kept: Kept) -> str:
    what = f"event 2 at {instant(kept.events[1].timestamp)} was altered"
    kept.alter(kept.event_key(1), kind={"S": "approvee"})
    return what


def take_an_event_s_revision_away(kept: Kept) -> str:
    what = f"at {instant(kept.events[1].timestamp)} was altered"
    item = kept.item(kept.event_key(1))
    del item["revision"]
    kept.put(item)
    return what


def make_an_event_s_names_no_text(kept: Kept) -> str:
    what = f"event 5 at {instant(kept.events[4].timestamp)} was altered"
    kept.alter(kept.event_key(4), id={"L": []}, lock_name={"M": {}})
    return what


def alter_one_byte_of_a_claim(kept: Kept) -> str:
    kept.alter(keys.claim_key(A), description={"S": "release 1.5"})
    return f"claim {A} of lock deploy was altered"


def make_a_claim_unreadable(kept: Kept) -> str:
    kept.alter(keys.claim_key(A), state={"S": "rejectee"})
    return f"claim {A} of lock deploy was altered"


def drop_a_claim(kept: Kept) -> str:
    kept.delete(keys.claim_key(A))
    return f"claim {A} of lock deploy is missing"


def alter_one_byte_of_an_attachment(kept: Kept) -> str:
    kept.alter(keys.content_key(B, attachment_content("plan")), content={"B": PLAN.replace(b"1", b"2")})
    return f"the attached#plan of claim {B} of lock deploy was altered"


def drop_an_attachment(kept: Kept) -> str:
    kept.delete(keys.content_key(B, attachment_content("plan")))
    return f"the attached#plan of claim {B} of lock deploy was altered"


def alter_one_byte_of_a_payload(kept: Kept) -> str:
    kept.alter(keys.content_key(B, "payload"), content={"B": b'{"memory": 8}'})
    return f"the payload of claim {B} of lock deploy was altered"


def make_a_payload_no_bytes(kept: Kept) -> str:
    kept.alter(keys.content_key(B, "payload"), content={"S": "x"})
    return f"the payload of claim {B} of lock deploy was altered"


def empty_an_attachment(kept: Kept) -> str:
    item = kept.item(keys.content_key(B, attachment_content("plan")))
    del item["content"]
    kept.put(item)
    return f"the attached#plan of claim {B} of lock deploy was altered"


def rewind_the_lock_s_holder(kept: Kept) -> str:
    kept.alter(keys.lock_key(POOL, "deploy"), holder={"S": A})
    return f"lock deploy was altered: its holder by the log is {B}; it says now: held by {A}, "


def rewind_the_lock_s_holder_as_if_more_had_come(kept: Kept) -> str:
    kept.alter(keys.lock_key(POOL, "deploy"), holder={"S": A}, events={"N": "99"})
    return "lock deploy was altered"


def lower_the_fence(kept: Kept) -> str:
    """The next claim would get a fence that was given before."""
    kept.alter(keys.lock_key(POOL, "deploy"), fence={"N": "1"})
    return "lock deploy was altered"


def free_the_lock(kept: Kept) -> str:
    kept.alter(keys.lock_key(POOL, "deploy"), holder={"S": ""})
    return f"lock deploy was altered: its holder by the log is {B}; it says now: held by nobody, "


def rewind_the_lock(kept: Kept) -> str:
    """The whole item as it was when the first claim was rejected."""
    lock = kept.store.lock(POOL, "deploy")
    assert lock is not None
    kept.put(items.lock_item(replace(lock, holder="", fence=1, events=2, revision=2)))
    return "lock deploy was altered"


def drop_the_lock(kept: Kept) -> str:
    kept.delete(keys.lock_key(POOL, "deploy"))
    return "lock deploy is missing"


def rewind_the_head(kept: Kept) -> str:
    head, event = kept.store.head(POOL), kept.events[-2]
    assert head is not None
    kept.put(items.head_item(replace(head, revision=event.revision, timestamp=event.timestamp, digest=event.digest)))
    return f"the head does not know of event 5 at {instant(kept.events[-1].timestamp)}"


@pytest.mark.parametrize(
    "tamper",
    [
        drop_an_event,
        drop_the_newest_event,
        drop_the_oldest_event,
        swap_two_events,
        swap_two_events_with_their_places,
        add_an_event,
        alter_one_byte_of_an_event,
        alter_an_event_and_its_digest,
        make_an_event_unreadable,
        take_an_event_s_revision_away,
        make_an_event_s_names_no_text,
        alter_one_byte_of_a_claim,
        make_a_claim_unreadable,
        drop_a_claim,
        alter_one_byte_of_an_attachment,
        drop_an_attachment,
        alter_one_byte_of_a_payload,
        make_a_payload_no_bytes,
        empty_an_attachment,
        rewind_the_lock_s_holder,
        rewind_the_lock_s_holder_as_if_more_had_come,
        lower_the_fence,
        free_the_lock,
        rewind_the_lock,
        drop_the_lock,
        rewind_the_head,
    ],
)
@pytest.mark.long
def test_whatever_was_altered_is_named(kept: Kept, run: Run, tamper: Callable[[Kept], str]) -> None:
    """Somebody who can write the table changes one thing in it: exit code 1 and a line that says which."""
    finding = tamper(kept)
    ran = run("audit", "verify", "--pool", POOL)
    assert ran.exit_code == 1, ran.output
    assert ran.stderr == ""
    *found, summary = ran.stdout.splitlines()
    assert any(finding in line for line in found), ran.stdout
    assert all(line.startswith("pool payments: ") for line in found)
    assert f", {len(found)} fault" in summary


def test_a_dropped_pool_head_is_found(kept: Kept, run: Run) -> None:
    """A pool whose head is gone is still asked for by name."""
    kept.delete(keys.head_key(POOL))
    assert run("audit", "verify", "--pool", POOL).exit_code == 1


# ---- against a receipt ------------------------------------------------------------


def rewrite(kept: Kept, change: Callable[[Event], Event], claims: tuple[Claim, ...] = ()) -> None:
    """The whole log, changed and chained anew, with everything else made to fit."""
    previous, left = "", dict[str, str]()
    for event in kept.events:
        event = replace(change(event), previous=previous, before=left.get(event.claim_id, ""))
        left[event.claim_id] = event.claim
        event = replace(event, digest=event_digest(event))
        kept.put(items.event_item(event))
        previous = event.digest
    head = kept.store.head(POOL)
    assert head is not None
    kept.put(items.head_item(replace(head, digest=previous)))
    for claim in claims:
        kept.put(items.claim_item(claim))


@pytest.mark.parametrize("narrow", [(), ("--pool", POOL)])
def test_a_receipt_kept_elsewhere_agrees_with_its_log(kept: Kept, run: Run, tmp_path: Path, narrow: tuple[str, ...]) -> None:
    """The receipt names its pool itself, and what came after it does not matter."""
    path = kept.receipt(tmp_path / "receipt.json")
    claim_of(kept.store, lock_name="docs", number=4)
    ran = run("audit", "verify", "--against", path, *narrow)
    assert (ran.exit_code, ran.stderr) == (0, "")
    assert "6 events, 3 claims, nothing wrong" in ran.stdout


def test_a_rewritten_log_needs_a_receipt_to_be_found(kept: Kept, run: Run, tmp_path: Path) -> None:
    """Who can write the table can forge who approved; only somebody's own copy tells."""
    path = kept.receipt(tmp_path / "receipt.json")
    claim = kept.store.claims([B])[0]
    assert claim.decided is not None
    forged = replace(
        claim,
        decided=replace(claim.decided, actor="typed:boss"),
        reviews={"typed:boss": replace(claim.reviews["typed:ana"], reviewer="typed:boss")},
    )

    def forge(event: Event) -> Event:
        if event.claim_id != B or event.revision < 4:
            return event
        actor = "typed:boss" if event.actor == "typed:ana" else event.actor
        return replace(event, actor=actor, claim=claim_digest(forged))

    rewrite(kept, forge, (forged,))
    assert run("audit", "verify").exit_code == 0
    ran = run("audit", "verify", "--against", path)
    assert ran.exit_code == 1
    when = json.loads(Path(path).read_text())["event"]["timestamp"]
    assert f"pool payments: the log was rewritten or cut: event 4 at {when} is not the one in the receipt" in ran.stdout


def test_a_table_put_back_needs_a_receipt_to_be_found(
    store: DynamoStore, wire: Any, table: str, run: Run, tmp_path: Path
) -> None:
    """A table restored to before an approval is whole in itself; the approval's receipt tells."""
    claim_of(store, B)
    before = wire.scan(TableName=table)["Items"]
    reviews.review(store, B, reviewer="typed:ana", verdict=Verdict.APPROVE)
    path = Kept(store, wire, table).receipt(tmp_path / "receipt.json")
    for item in wire.scan(TableName=table)["Items"]:
        wire.delete_item(TableName=table, Key={name: item[name] for name in ("pk", "sk")})
    for item in before:
        wire.put_item(TableName=table, Item=item)
    assert run("audit", "verify").exit_code == 0
    ran = run("audit", "verify", "--against", path)
    assert ran.exit_code == 1
    assert "the log was rewritten or cut: event 2 at " in ran.stdout


def test_an_altered_receipt_is_found(kept: Kept, run: Run, tmp_path: Path) -> None:
    """A receipt whose event doesn't add up proves nothing."""
    path = Path(kept.receipt(tmp_path / "receipt.json"))
    path.write_text(path.read_text().replace("typed:ana", "typed:anb"))
    ran = run("audit", "verify", "--against", str(path))
    assert ran.exit_code == 1
    assert "the receipt itself was altered" in ran.stdout


NO_JSON = ("", "{", "[" * 100_000, "\udcff")
NO_RECEIPTS = ("[]", "{}", '{"event": 1}', '{"event": {}}', '{"event": {"pool": "payments"}}')


@pytest.mark.usefixtures("kept")
def test_what_is_no_receipt_is_refused(run: Run, tmp_path: Path) -> None:
    """Anything else in the file is one line."""
    path = tmp_path / "receipt.json"
    for content in (*NO_JSON, *NO_RECEIPTS):
        words = "is neither a receipt nor an export" if content in NO_JSON else "not a receipt"
        path.write_bytes(content.encode("utf-8", "surrogateescape"))
        refused(run("audit", "verify", "--pool", POOL, "--against", str(path)), words, code=3)


def test_a_receipt_of_another_pool_is_refused(kept: Kept, run: Run, tmp_path: Path) -> None:
    """Its pool is told."""
    claim_of(kept.store, pool="another")
    path = kept.receipt(tmp_path / "receipt.json")
    refused(run("audit", "verify", "--pool", "another", "--against", path), "a receipt of pool payments, not another", code=3)


def test_a_receipt_that_is_not_there_is_told(run: Run, tmp_path: Path) -> None:
    """Nothing was looked at."""
    refused(run("audit", "verify", "--against", str(tmp_path / "none.json")), "is no file", code=3)


def test_an_export_or_a_digest_kept_elsewhere_is_compared(kept: Kept, run: Run, tmp_path: Path) -> None:
    """Concourse's metadata shows a digest; either tells of a log that was rewritten as a whole."""
    export = tmp_path / "log.jsonl"
    export.write_text(run("audit", "export", "--pool", POOL).stdout)
    noted = f"{instant(kept.events[-1].timestamp)}={kept.events[-1].digest}"
    for copy in (("--against", str(export)), ("--pool", POOL, "--against", noted)):
        ran = run("audit", "verify", *copy)
        assert (ran.exit_code, ran.stderr) == (0, ""), ran.output
    rewrite(kept, lambda event: replace(event, reason="another"))
    assert run("audit", "verify").exit_code == 0
    for copy in (("--against", str(export)), ("--pool", POOL, "--against", noted)):
        ran = run("audit", "verify", *copy)
        assert ran.exit_code == 1
        assert "the log was rewritten or cut" in ran.stdout
    refused(run("audit", "verify", "--against", noted), "--pool: required", code=3)


@pytest.mark.long
def test_a_scheduler_can_tell_what_was_found_from_what_could_not_be_looked_at(kept: Kept, run: Run) -> None:
    """Exit codes 0, 1 and 3, and a document for programs."""
    ran = run("audit", "verify", "--format", "json")
    [report] = json.loads(ran.stdout)
    assert (ran.exit_code, report["findings"], report["events"]) == (0, [], len(kept.events))
    assert report["newest"]["digest"] == kept.events[-1].digest
    claim = kept.store.claims([B])[0]
    kept.put(items.claim_item(replace(claim, description="other")))
    ran = run("audit", "verify", "--format", "json")
    assert ran.exit_code == 1
    assert any(B in finding for finding in json.loads(ran.stdout)[0]["findings"])
    refused(run("audit", "verify", "--pool", "nowhere"), "has no log in this table", code=3)
    assert run("audit", "verify", AWS_ENDPOINT_URL_DYNAMODB="http://127.0.0.1:1").exit_code == 3


# ---- export --------------------------------------------------------------------


@pytest.mark.parametrize("narrow", [(), ("--pool", POOL)])
def test_export_writes_an_event_a_line(kept: Kept, run: Run, narrow: tuple[str, ...]) -> None:
    """Oldest first, keys sorted, each with its digest; other records name what they are."""
    ran = run("audit", "export", *narrow)
    lines = ran.stdout.splitlines()
    documents = [json.loads(line) for line in lines]
    events = [document for document in documents if "record" not in document]
    assert (ran.exit_code, ran.stderr) == (0, "")
    assert events == [event_document(event) | {"digest": event.digest} for event in kept.events]
    assert [document["kind"] for document in events] == ["pending", "rejected", "pending", "approved", "passed"]
    assert lines == [json.dumps(document, sort_keys=True) for document in documents]


def test_an_export_can_be_verified_by_anyone(kept: Kept, run: Run) -> None:
    """The digest of each event follows from its content, and names that of the event before."""
    previous = ""
    for line in run("audit", "export").stdout.splitlines():
        document = json.loads(line)
        if "record" in document:
            continue
        told = document.pop("digest")
        assert (digest(document), document["previous"]) == (told, previous)
        previous = told
    assert previous == kept.events[-1].digest


def test_export_of_nothing_is_nothing(store: DynamoStore, run: Run) -> None:
    """No pool, or one that nobody used."""
    store.create_table()
    for narrow in ((), ("--pool", POOL)):
        ran = run("audit", "export", *narrow)
        assert (ran.exit_code, ran.stdout) == (0, "")


def test_a_pool_that_has_no_log_is_not_called_clean(run: Run) -> None:
    """A misspelt pool is an error, not an audit with nothing wrong."""
    ran = run("audit", "verify", "--pool", "paymnets")
    assert ran.exit_code == 3
    assert ran.stderr == "ERROR: pool paymnets has no log in this table; check --pool, --table and --region\n"
