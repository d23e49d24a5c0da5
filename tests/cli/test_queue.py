"""Who waits for what: list --waiting."""

from __future__ import annotations

import json
from datetime import timedelta

from approval_resource.claims import wait_for_lock
from approval_resource.claims.request import Attempt
from approval_resource.model.claim import Claimant
from approval_resource.store.dynamodb.store import DynamoStore
from tests.builders import a_build, a_request
from tests.cli.conftest import Run, claim_of, refused


def wait(store: DynamoStore, number: int, priority: int = 0) -> None:
    """Stand in the queue."""
    build = a_build(number)
    wait_for_lock._join(store, a_request(priority=priority), Claimant(build), Attempt())


def test_the_queue_is_listed_with_place_and_time(store: DynamoStore, run: Run) -> None:
    """A row a waiter: where it stands, for how long, and who holds the lock; the front first."""
    held = claim_of(store, number=1)
    wait(store, 2)
    wait(store, 3, priority=5)
    header, _, first, second = run("list", "--waiting").stdout.splitlines()
    assert header.split() == ["pool", "lock", "place", "build", "waiting", "for", "priority", "held", "by", "claim"]
    assert first.split() == [
        "payments",
        "deploy",
        "1",
        "main/app/deploy",
        "#3",
        *ago(first),
        "5",
        *["main/app/deploy", "#1"],
        held.id,
    ]
    assert second.split()[2:5] == ["2", "main/app/deploy", "#2"]


def ago(row: str) -> list[str]:
    """How long the row says it waits: a second or a few."""
    number, unit = row.split()[5:7]
    assert timedelta(seconds=int(number)) < timedelta(minutes=1)
    assert unit == "s"
    return [number, unit]


def test_programs_read_the_queue_as_json(store: DynamoStore, run: Run) -> None:
    """The same facts, and the build's link."""
    held = claim_of(store, number=1)
    wait(store, 2)
    (row,) = json.loads(run("list", "--waiting", "--pool", "payments", "--format", "json").stdout)
    assert row.pop("since").startswith("20")
    assert row == {
        "pool": "payments",
        "lock_name": "deploy",
        "place": 1,
        "build": "main/app/deploy #2",
        "link": "https://ci.example/builds/2",
        "priority": 0,
        "ticket": 1,
        "held_by": held.id,
    }


def test_nobody_waits(store: DynamoStore, run: Run) -> None:
    """That is said; as JSON it is an empty list."""
    claim_of(store)
    assert run("list", "--waiting").stdout == "Nobody waits for a lock\n"
    assert json.loads(run("list", "--waiting", "--format", "json").stdout) == []


def test_all_and_waiting_do_not_go_together(run: Run) -> None:
    """One line says so."""
    refused(run("list", "--all", "--waiting"), "--all and --waiting don't go together")
