"""Looking at what is there: list, show and history."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import unicodedata
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

import cli
from approval_resource.claims import gate as gates
from approval_resource.claims import review as reviews
from approval_resource.claims.end import end_claim
from approval_resource.documents.claims import CLAIM
from approval_resource.model.claim import Attachment, Verdict
from approval_resource.model.event import State
from approval_resource.store.dynamodb import items, keys
from approval_resource.store.dynamodb.store import DynamoStore
from tests.builders import FrozenTime, a_build
from tests.cli.conftest import POOL, ROOT, SECONDS, Environment, Process, Run, claim_of, refused

A, B, C = (f"{number}0000000-aaaa-4aaa-8aaa-aaaaaaaaaaaa" for number in (1, 2, 3))
THEN = datetime(2016, 11, 30, 13, 55, 5, 79579, tzinfo=UTC)
HOSTILE = "a\x1b[31mred\x1b]0;title\x07\x9b2J\u202e\r\nINFO: forged\u2028x\x00"

Connect = Callable[..., DynamoStore]

# ---- list --------------------------------------------------------------------


def test_list_prints_the_table_of_the_original_to_the_character(connect: Connect, run: Run) -> None:
    """Columns, their order, times and blanks are those of the original resource."""
    time = FrozenTime(THEN)
    store = connect(time)
    claim_of(store, A, lock_name="production", description="release 1.4")
    time.at = datetime(2016, 11, 30, 14, 0, tzinfo=UTC)
    claim_of(store, B, number=2, lock_name="docs", need_approval=False)
    time.tick(seconds=0.5)
    claim_of(store, C, number=3, lock_name="db", description="a plan")
    reviews.review(store, C, reviewer="typed:ana", verdict=Verdict.APPROVE)
    ran = run("list")
    assert ran.stdout.splitlines() == [
        "approved    claimed    description    id                                    lockname    need_approval    pipeline    pool      team    timestamp",
        "----------  ---------  -------------  ------------------------------------  ----------  ---------------  ----------  --------  ------  --------------------------------",
        "            True       release 1.4    10000000-aaaa-4aaa-8aaa-aaaaaaaaaaaa  production  True             app         payments  main    2016-11-30 13:55:05.079579+00:00",
        "            True                      20000000-aaaa-4aaa-8aaa-aaaaaaaaaaaa  docs        False            app         payments  main    2016-11-30 14:00:00.000000+00:00",
        "True        True       a plan         30000000-aaaa-4aaa-8aaa-aaaaaaaaaaaa  db          True             app         payments  main    2016-11-30 14:00:00.500000+00:00",
    ]
    assert (ran.exit_code, ran.stderr) == (0, "")


def test_a_list_loads_no_policies(store: DynamoStore, process: Process) -> None:
    """Where nobody set a policy, pydantic and YAML would take longer to load than the list itself."""
    claim_of(store, A)
    ran = process("list", PYTHONPROFILEIMPORTTIME="1")
    assert A in ran.stdout
    loaded = {line.rpartition("|")[2].strip() for line in ran.stderr.splitlines()}
    assert "approval_resource.commands.looking" in loaded
    assert loaded.isdisjoint({"pydantic", "yaml", "boto3", "approval_resource.policy"})


def test_an_empty_list_is_one_plain_line(store: DynamoStore, run: Run) -> None:
    """Nothing to show is said in words."""
    store.create_table()
    ran = run("list")
    assert (ran.exit_code, ran.stdout, ran.stderr) == (0, "There is no waiting approval\n", "")


def test_an_empty_list_is_an_empty_document_for_programs(store: DynamoStore, run: Run) -> None:
    """JSON stays JSON when there is nothing."""
    store.create_table()
    assert json.loads(run("list", "--format", "json").stdout) == []


def test_list_shows_one_pool_or_all(store: DynamoStore, run: Run) -> None:
    """--pool narrows the list; without it every pool's claims are there, oldest first."""
    claim_of(store, A, pool="payments")
    claim_of(store, B, number=2, pool="shipping")
    assert [claim["id"] for claim in json.loads(run("list", "--format", "json").stdout)] == [A, B]
    one = run("list", "--pool", "shipping").stdout
    assert B in one
    assert A not in one
    refused(run("list", "--pool", "nobody's"), 'there is no pool "nobody\'s" in table ', "there are payments, shipping")


@pytest.mark.parametrize("narrow", [(), ("--pool", POOL)])
def test_list_all_shows_ended_claims_too(store: DynamoStore, run: Run, narrow: tuple[str, ...]) -> None:
    """--all adds what no longer holds a lock."""
    claim_of(store, A)
    reviews.review(store, A, reviewer="typed:ana", verdict=Verdict.REJECT)
    claim_of(store, B, number=2)
    open_only, everything = run("list", *narrow).stdout, run("list", "--all", *narrow).stdout
    assert A not in open_only
    assert everything.splitlines()[2].split()[:2] == ["False", "False"]
    assert [line for line in everything.splitlines() if A in line or B in line] == everything.splitlines()[2:]


def test_list_wide_adds_columns_after_those_of_the_original(connect: Connect, run: Run) -> None:
    """--wide tells state, build, requester, deadline, reviews, fence and link; a deadline that has passed is named."""
    store = connect(FrozenTime(THEN))
    claim = claim_of(store, A, build={"created_by": "dana"})
    gates.prolong(store, claim, timedelta(minutes=5), a_build(2))
    header, _, row = run("list", "--wide").stdout.splitlines()
    assert header.split() == [
        *("approved", "claimed", "description", "id", "lockname", "need_approval", "pipeline", "pool", "team", "timestamp"),
        *("state", "job", "build", "requester", "deadline", "hold_until", "reviews", "fence", "link"),
    ]
    for told in (
        "pending, deadline passed",
        "deploy",
        "dana",
        "2016-11-30 14:00:05.079579+00:00",
        "https://ci.example/builds/1",
    ):
        assert told in row


def test_list_for_programs_holds_the_whole_claim(store: DynamoStore, run: Run) -> None:
    """--format json is the claim as stored, with the link to its build."""
    claim = claim_of(store, A)
    assert json.loads(run("list", "--format", "json").stdout) == [
        CLAIM.write(claim) | {"lock_name": "deploy", "link": "https://ci.example/builds/1"}
    ]


def test_watch_lists_again_and_again(store: DynamoStore, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """--watch shows what has come since its last look."""
    store.create_table()
    steps = iter([lambda: claim_of(store, A), _interrupt])
    monkeypatch.setattr("approval_resource.commands.looking.time.sleep", lambda _: next(steps)())
    ran = run("list", "--watch")
    assert ran.stdout.startswith("There is no waiting approval\n")
    assert A in ran.stdout
    assert ran.exit_code == 130


def _interrupt() -> None:
    raise KeyboardInterrupt


def test_watch_stops_when_interrupted(store: DynamoStore, environment: Environment) -> None:
    """Ctrl-C ends --watch with one line and exit code 130, and no traceback."""
    store.create_table()
    command = [sys.executable, "cli.py", "list", "--watch"]
    with subprocess.Popen(
        command, cwd=ROOT, env=os.environ | environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as watching:
        try:
            assert watching.stdout is not None
            assert watching.stdout.readline() == "There is no waiting approval\n"
            watching.send_signal(signal.SIGINT)
            _, errors = watching.communicate(timeout=SECONDS)
        finally:
            watching.kill()
    assert (watching.returncode, errors.strip()) == (130, "Interrupted; the same command may be given again")


# ---- show --------------------------------------------------------------------


def test_show_tells_everything_about_one_claim(connect: Connect, run: Run) -> None:
    """What it is for, what is attached, who said what, and what became of it."""
    time = FrozenTime(THEN)
    store = connect(time)
    claim_of(store, A, description="release 1.4")
    reviews.review(store, A, reviewer="typed:ana", verdict=Verdict.APPROVE, comment="fine")
    time.tick(minutes=1)
    end_claim(store, store.claims([A])[0], State.RELEASED, actor="typed:bob", reason="done")
    ran = run("show", A)
    told = [line.split(maxsplit=1) for line in ran.stdout.splitlines()]
    assert ran.exit_code == 0
    assert ["state", "released"] in told
    assert ["description", "release 1.4"] in told
    assert "approve by typed:ana  2016-11-30 13:55:05.079579+00:00 fine" in ran.stdout
    assert ["decided", "approved by typed:ana, 2016-11-30 13:55:05.079580+00:00 fine"] in told
    assert ["ended", "released by typed:bob, 2016-11-30 13:56:05.079579+00:00 done"] in told


def test_show_tells_what_is_attached(store: DynamoStore, run: Run) -> None:
    """Each attachment with its digest and size."""
    plan = Attachment(hashlib.sha256(b"a plan").hexdigest(), len(b"a plan"), stored=True)
    claim_of(store, A, attachments={"plan": plan}, attached={"plan": b"a plan"})
    assert f"attached plan  sha256 {plan.digest}, 6 bytes" in run("show", A).stdout


@pytest.mark.long
def test_reviewers_read_what_is_attached(store: DynamoStore, run: Run) -> None:
    """The very bytes that were claimed with, or one line: no such file, only its digest kept, or altered since."""
    files = {"plan": b"a\xff plan\n", "image": b"big"}
    attachments = {
        name: Attachment(hashlib.sha256(content).hexdigest(), len(content), stored=name == "plan")
        for name, content in files.items()
    }
    claim_of(store, A, attachments=attachments, attached={"plan": files["plan"]})
    assert run("show", A, "--attachment", "plan").stdout_bytes == files["plan"]
    for name in ("image", "nope"):
        refused = run("show", A, "--attachment", name)
        assert (refused.exit_code, refused.stderr) == (1, f"ERROR: claim {A} keeps no file {name}; kept is plan\n")
    altered = items.content_item(A, "attached#plan", b"another plan")
    store._client.put_item(TableName=store._table, Item=altered)
    refused = run("show", A, "--attachment", "plan")
    assert refused.exit_code == 1
    assert "is not what it was claimed with" in refused.stderr


def test_show_for_programs_is_the_claim(store: DynamoStore, run: Run) -> None:
    """--format json is the same document as list's, and what its policies make of it."""
    claim = claim_of(store, A)
    shown = json.loads(run("show", A, "--format", "json").stdout)
    assert shown.pop("decision")["answer"] == "undecided"
    assert shown == CLAIM.write(claim) | {"lock_name": claim.lock_name, "link": claim.build.link}
    assert shown["lockname"] == shown["lock_name"]


def test_show_of_an_unknown_claim_is_one_line(store: DynamoStore, run: Run) -> None:
    """It says that there is none, and where to look."""
    store.create_table()
    refused(run("show", A), f"there is no claim {A}", "cli.py list")


# ---- history -----------------------------------------------------------------


@pytest.fixture
def two_locks(connect: Connect) -> DynamoStore:
    """A pool with a rejected claim and a held one."""
    time = FrozenTime(THEN)
    store = connect(time)
    claim_of(store, A, description="release 1.4")
    time.tick(seconds=1)
    reviews.review(store, A, reviewer="typed:ana", verdict=Verdict.REJECT, comment="not today")
    time.tick(seconds=1)
    claim_of(store, B, number=2, lock_name="docs", need_approval=False)
    return store


@pytest.mark.usefixtures("two_locks")
def test_history_tells_what_happened_oldest_first(run: Run) -> None:
    """When, on which lock, what, to which claim, by whom and why."""
    assert run("history", "--pool", POOL).stdout.splitlines() == [
        "at                                lock    event     claim                                 by                  why",
        "--------------------------------  ------  --------  ------------------------------------  ------------------  -----------",
        "2016-11-30 13:55:05.079579+00:00  deploy  pending   10000000-aaaa-4aaa-8aaa-aaaaaaaaaaaa  main/app/deploy #1  release 1.4",
        "2016-11-30 13:55:06.079579+00:00  deploy  rejected  10000000-aaaa-4aaa-8aaa-aaaaaaaaaaaa  typed:ana           not today",
        "2016-11-30 13:55:07.079579+00:00  docs    held      20000000-aaaa-4aaa-8aaa-aaaaaaaaaaaa  main/app/deploy #2",
    ]


@pytest.mark.usefixtures("two_locks")
@pytest.mark.parametrize(
    ("narrow", "kinds"),
    [
        (("--pool", POOL), ["pending", "rejected", "held"]),
        (("--pool", POOL, "--lock", "docs"), ["held"]),
        (("--pool", POOL, "--lock", "nobody's"), []),
        (("--id", A), ["pending", "rejected"]),
        (("--id", B[:8]), ["held"]),
    ],
)
def test_history_can_be_narrowed(run: Run, narrow: tuple[str, ...], kinds: list[str]) -> None:
    """To a lock, or to one claim, which names its pool itself."""
    events = json.loads(run("history", *narrow, "--format", "json").stdout)
    assert [event["kind"] for event in events] == kinds


def test_history_of_nothing_is_one_plain_line(store: DynamoStore, run: Run) -> None:
    """A lock nobody used has none."""
    claim_of(store, A)
    ran = run("history", "--pool", POOL, "--lock", "nobody's")
    assert (ran.exit_code, ran.stdout) == (0, "Nothing has happened yet\n")


def test_history_asks_for_a_pool_or_a_claim(store: DynamoStore, run: Run) -> None:
    """Neither given is one line."""
    store.create_table()
    refused(run("history"), "--pool", "--id")


# ---- what others wrote -----------------------------------------------------------


COMMANDS: list[tuple[str, ...]] = [
    ("list", "--all"),
    ("list", "--all", "--wide"),
    ("list", "--all", "--format", "json"),
    ("show", A),
    ("show", A, "--format", "json"),
    ("history", "--id", A),
    ("history", "--id", A, "--format", "json"),
    ("audit", "verify"),
    ("audit", "export"),
    ("approve", A),
    ("approve", HOSTILE),
    ("withdraw", A),
    ("history", "--pool", HOSTILE, "--lock", HOSTILE),
    ("list", "--pool", HOSTILE),
    ("show", HOSTILE * 3),
    ("show", HOSTILE[:8]),
]


@pytest.mark.long
def test_control_characters_never_reach_the_terminal(store: DynamoStore, wire: Any, table: str, run: Run) -> None:
    """Whatever others wrote into descriptions, names and comments, and whoever typed this line, moves no cursor."""
    claim_of(
        store,
        A,
        pool=f"pool {HOSTILE}",
        lock_name=f"lock {HOSTILE}",
        description=HOSTILE,
        build={"job": HOSTILE, "team": HOSTILE, "pipeline": HOSTILE, "url": HOSTILE, "created_by": HOSTILE},
    )
    reviews.review(store, A, reviewer=f"typed:{HOSTILE}", verdict=Verdict.REJECT, comment=HOSTILE)
    wire.delete_item(TableName=table, Key=keys.lock_key(f"pool {HOSTILE}", f"lock {HOSTILE}"))
    for command in COMMANDS:
        shown = run(*command).output
        assert {c for c in shown if c != "\n" and unicodedata.category(c)[0] in "CZ" and c != " "} == set(), command
        assert not any(line.startswith("INFO: forged") for line in shown.splitlines()), command


def test_an_ended_pipe_is_no_traceback(store: DynamoStore, process: Process) -> None:
    """A reader that has seen enough does no harm."""
    store.create_table()
    ran = subprocess.run(
        ["sh", "-c", f"{sys.executable} cli.py --help | true"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert ran.stderr == ""
    assert process("list").stdout == "There is no waiting approval\n"


def test_the_exit_codes_are_told(run: Run) -> None:
    """What the program's first page promises is what click does: 2 for a wrong command line."""
    assert "2 the command line itself is wrong" in (cli.__doc__ or "")
    assert run("list", "--format", "xml").exit_code == 2
    assert run("lists").exit_code == 2
    assert run("list", "--pol", POOL).exit_code == 2
    assert run("--help").exit_code == 0
