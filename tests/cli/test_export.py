"""Exports: the whole record in a file, which is verified without the table, and whatever was forged in it is found."""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from approval_resource import pools
from approval_resource.audit import export as written
from approval_resource.audit import exported
from approval_resource.audit.verify import verify_export
from approval_resource.claims import gate as gates
from approval_resource.claims import review as reviews
from approval_resource.errors import ApprovalError, ConfigError
from approval_resource.model.claim import Attachment, Claim, Verdict
from approval_resource.store.dynamodb.store import DynamoStore
from tests.builders import a_build, under
from tests.cli.conftest import POOL, Run, claim_of, refused
from tests.contract.images import Image, items, put

ANA, BOB = (f"aws:arn:aws:iam::111122223333:user/{name}" for name in ("ana", "bob"))
PICTURE = b"\x89PNG\xff\x00"
PLAN = b"add 1 database \xc3\xa9"
POLICY = '[{"name": "two", "required_approvals": 2}]'
Document = dict[str, Any]
Place = tuple[Any, ...]


def fill(store: DynamoStore, pool: str = POOL) -> Claim:
    """A pool with settings, two locks, an ended claim, and one approved under policies, with every kind of content."""
    pools.set_retention(store, pool, 30, actor="op")
    pools.set_policy(store, pool, POLICY, actor="op")
    claim_of(store, pool=pool, lock_name="docs", description="release 1.4")
    files = {"plan": PLAN, "picture": PICTURE}
    claim = claim_of(
        store,
        number=2,
        pool=pool,
        build={"created_by": "dana"},
        attachments={
            name: Attachment(hashlib.sha256(data).hexdigest(), len(data), stored=True) for name, data in files.items()
        },
        attached=files,
        payload=b'{"memory": 4}',
        payload_digest=hashlib.sha256(b'{"memory": 4}').hexdigest(),
        terms=under(required_approvals=1, given={"risk": "low"}),
    )
    for who in (ANA, BOB):
        reviews.review(store, claim.id, reviewer=who, verdict=Verdict.APPROVE, comment="looks good")
    gates.pass_through(store, claim, a_build(3), spend=True)
    for open_claim in store.open_claims(pool):
        if open_claim.lock_name == "docs":
            reviews.review(store, open_claim.id, reviewer=ANA, verdict=Verdict.REJECT)
    return claim


@pytest.fixture
def lines(store: DynamoStore) -> list[Document]:
    """The export of that pool."""
    store.create_table()
    fill(store)
    return [json.loads(line) for line in written.export(store, [POOL])]


def save(path: Path, documents: list[Document], *, sealed: bool = True) -> Path:
    """Write an export; sealed: its last line is made to fit."""
    documents = copy.deepcopy(documents)
    if sealed and documents[-1].get("record") == "end":
        rest = "".join(f"{written.line_of(document)}\n" for document in documents[:-1])
        documents[-1]["digest"] = hashlib.sha256(rest.encode("utf-8", "surrogatepass")).hexdigest()
    path.write_text("".join(f"{written.line_of(document)}\n" for document in documents), encoding="utf-8")
    return path


def findings(path: Path) -> list[str]:
    """What the verification finds, or why it can't look."""
    try:
        with exported.opened(path) as found:
            return [finding for one in found.values() for finding in verify_export(one).findings]
    except ApprovalError as error:
        return [str(error)]


def places(value: Any, prefix: Place = ()) -> Iterator[Place]:
    """Every field, those inside of maps and lists too."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, one in inner:
        yield (*prefix, name)
        yield from places(one, (*prefix, name))


def others(value: Any) -> Iterator[Any]:
    """Other values of that kind."""
    match value:
        case bool():
            yield not value
        case int():
            yield value + 1
            yield value - 1
        case str():
            yield f"{value}x"
            yield ""
            if value.endswith("Z"):
                yield "2024-01-01T00:00:00.000000Z"
        case dict() | list() if value:
            yield type(value)()
        case _:
            yield "x"


def forged(documents: list[Document]) -> Iterator[tuple[str, list[Document]]]:
    """Every export that differs in one field: changed, or dropped."""
    for number, document in enumerate(documents):
        for path in list(places(document)):
            what = f"line {number} {document.get('record', 'event')} {'.'.join(map(str, path))}"
            spot: Any = document
            for name in path[:-1]:
                spot = spot[name]
            value = spot[path[-1]]
            for other in others(value):
                if other != value:
                    spot[path[-1]] = other
                    yield f"{what}: {other!r:.30}", documents
            del spot[path[-1]]
            yield f"{what}: dropped", documents
            if isinstance(spot, list):
                spot.insert(path[-1], value)
            else:
                spot[path[-1]] = value


def test_an_export_is_verified_without_any_table(store: DynamoStore, run: Run, tmp_path: Path) -> None:
    """Neither credentials nor an endpoint are needed; the line is that of the table's own audit, and receipts are compared."""
    store.create_table()
    fill(store)
    path = tmp_path / "record.jsonl"
    path.write_text(run("audit", "export").stdout)
    nothing = dict.fromkeys(
        ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION", "AWS_ENDPOINT_URL_DYNAMODB", "APPROVAL_TABLE")
    )
    ran = run("audit", "verify", "--export", str(path), **nothing)
    assert (ran.exit_code, ran.stderr, ran.stdout) == (0, "", run("audit", "verify").stdout)
    assert run("audit", "verify", "--export", str(path), "--against", str(path), **nothing).exit_code == 0
    refused(run("audit", "verify", "--export", str(path), "--pool", "other", **nothing), "not in this export", code=3)


def test_an_export_holds_every_text_that_a_decision_rests_on(lines: list[Document]) -> None:
    """Policies, facts, payload and attachments, each as text where it is text."""
    contents = {document["name"]: document for document in lines if document.get("record") == "content"}
    assert contents.keys() == {"policy", "facts", "pool policy", "payload", "attached#plan", "attached#picture"}
    assert json.loads(contents["pool policy"]["text"]) == json.loads(POLICY)
    assert json.loads(contents["facts"]["text"]) == {"risk": "low"}
    assert contents["attached#plan"]["text"] == PLAN.decode()
    assert "text" not in contents["attached#picture"]


@pytest.mark.long
def test_whatever_was_forged_in_an_export_is_found(lines: list[Document], tmp_path: Path) -> None:
    """Every field of every line changed or dropped, also where the last line was made to fit.

    What no event pins, an edit of the table's own lock doesn't show either: its queue's tickets, and a count of writes too high.
    """
    path = tmp_path / "record.jsonl"
    assert findings(save(path, lines)) == []
    missed, tried = [], 0
    for what, documents in forged(lines):
        for sealed in (False, True):
            tried += 1
            unpinned = sealed and any(f" lock.{name}:" in what for name in ("tickets", "revision"))
            if not findings(save(path, documents, sealed=sealed and " digest:" not in what)) and not unpinned:
                missed.append(f"{what}, sealed: {sealed}")
    assert tried > 1000
    assert missed == []


def test_lines_that_were_dropped_swapped_or_repeated_are_found(lines: list[Document], tmp_path: Path) -> None:
    """With the last line made to fit, whatever carries a meaning; without, everything."""
    path = tmp_path / "record.jsonl"
    missed = []
    for number, line in enumerate(lines):
        rest = [*lines[:number], *lines[number + 1 :]]
        for what, documents in (
            ("dropped", rest),
            ("repeated", [*lines[:number], line, *lines[number:]]),
            ("moved to the front", [line, *rest]),
            ("swapped", [*lines[:number], *reversed(lines[number : number + 2]), *lines[number + 2 :]]),
        ):
            if documents == lines:
                continue
            # Where the order of two records says nothing, it is only the seal that tells.
            loose = what == "swapped" and {one.get("record") for one in lines[number : number + 2]} <= {
                "settings", "lock", "claim", "content", None,
            }  # fmt: skip
            loose = loose and any("record" in one for one in lines[number : number + 2])
            for sealed in (False,) if loose else (False, True):
                if not findings(save(path, documents, sealed=sealed)):
                    missed.append(f"line {number} {line.get('record', 'event')} {what}, sealed: {sealed}")
    assert missed == []


def test_a_claim_that_no_event_tells_of_is_found_in_an_export(lines: list[Document], tmp_path: Path) -> None:
    """It was added to the file."""
    [claim, *_] = [line for line in lines if line.get("record") == "claim"]
    added = copy.deepcopy(claim)
    added["claim"]["id"] = "99999999-aaaa-4aaa-8aaa-aaaaaaaaaaaa"
    place = next(number for number, line in enumerate(lines) if "record" not in line)
    path = save(tmp_path / "record.jsonl", [*lines[:place], added, *lines[place:]])
    assert any("was added: the log knows nothing of it" in finding for finding in findings(path))


def test_an_export_of_an_older_version_still_reads(lines: list[Document], run: Run, tmp_path: Path) -> None:
    """It holds events alone: its chain is verified, it is compared with a table, and what can't be verified is told."""
    events = [line for line in lines if "record" not in line]
    path = save(tmp_path / "old.jsonl", events)
    ran = run("audit", "verify", "--export", str(path))
    assert ran.exit_code == 0, ran.output
    assert "of an older version and holds events alone" in ran.stdout
    assert run("audit", "verify", "--against", str(path)).exit_code == 0
    for number in range(1, len(events) - 1):
        assert findings(save(path, [*events[:number], *events[number + 1 :]])), number
        assert findings(save(path, [*events[:number], events[number] | {"actor": "typed:mallory"}, *events[number + 1 :]]))


@pytest.mark.long
def test_an_export_made_while_pools_change_is_whole(store: DynamoStore, tmp_path: Path) -> None:
    """Commits land between any two of its lines."""
    store.create_table()
    fill(store)
    for every in (1, 5):
        path, taken = tmp_path / "record.jsonl", 0
        with path.open("w") as file:
            for number, line in enumerate(written.export(store, [POOL])):
                file.write(f"{line}\n")
                if number % every == 0 and taken < 12:
                    taken += 1
                    claim = claim_of(store, number=100 + taken, pool=POOL, lock_name=f"busy-{every}-{taken // 2}-{number}")
                    reviews.review(store, claim.id, reviewer=ANA, verdict=Verdict.REJECT)
        assert findings(path) == []


def test_every_pool_is_in_one_export(store: DynamoStore, run: Run, tmp_path: Path) -> None:
    """Each is verified; one that was taken out is missed."""
    store.create_table()
    for pool in (POOL, "another"):
        fill(store, pool)
    path = tmp_path / "record.jsonl"
    path.write_text(run("audit", "export").stdout)
    ran = run("audit", "verify", "--export", str(path))
    assert (ran.exit_code, len(ran.stdout.splitlines())) == (0, 2)
    kept = [line for line in path.read_text().splitlines(keepends=True) if "another" not in line or '"end"' in line]
    path.write_text("".join(kept))
    assert run("audit", "verify", "--export", str(path)).exit_code != 0


@pytest.mark.parametrize("content", ["", "{", "[]\n", '{"record": "claim"}\n', '{"record": []}\n', "[" * 100_000, "{}\n"])
def test_what_is_no_export_is_refused(run: Run, tmp_path: Path, content: str) -> None:
    """Nothing could be looked at, and that is told in a line."""
    path = tmp_path / "record.jsonl"
    path.write_text(content)
    refused(run("audit", "verify", "--export", str(path)), "an export" if content else "no export", code=3)
    with pytest.raises(ConfigError), exported.opened(tmp_path):
        pass
    refused(run("audit", "verify", "--export", str(tmp_path / "none")), "can't read", code=3)


def put_back(store: DynamoStore, then: Image, *prefixes: str) -> None:
    """Put those items back as they were, and leave all others."""
    for key, item in then.items():
        if key[1].startswith(prefixes):
            put(store, item)


def test_an_event_that_no_head_tells_of_is_in_the_export_and_found(store: DynamoStore, tmp_path: Path) -> None:
    """Whoever puts head, lock and claim back as they were before an approval hides it from no export."""
    store.create_table()
    claim = claim_of(store)
    then = items(store)
    reviews.review(store, claim.id, reviewer=ANA, verdict=Verdict.APPROVE)
    put_back(store, then, "head", "lock#", "claim")
    documents = [json.loads(line) for line in written.export(store, [POOL])]
    assert [one["kind"] for one in documents if "record" not in one] == ["pending", "approved"]
    assert any("event 2" in finding for finding in findings(save(tmp_path / "export.jsonl", documents)))


def test_settings_that_were_put_back_are_exported_and_found(store: DynamoStore, tmp_path: Path) -> None:
    """The record can be taken away just when it was tampered with."""
    store.create_table()
    claim_of(store)
    pools.set_retention(store, POOL, 30, actor="op")
    then = items(store)
    pools.set_retention(store, POOL, 60, actor="op")
    put_back(store, then, "settings", "policy")
    documents = [json.loads(line) for line in written.export(store, [POOL])]
    assert any("settings" in finding for finding in findings(save(tmp_path / "export.jsonl", documents)))
