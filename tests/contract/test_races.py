"""One holder, whatever the interleaving: real processes on an engine that is right under races."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable

import pytest

from approval_resource.audit import verify as audit
from approval_resource.store.dynamodb.connect import dynamodb, session_of
from approval_resource.store.dynamodb.store import DynamoStore
from approval_resource.store.interface import Connection
from demo.engine import ROOT

PROCESSES = 32


@pytest.mark.timeout(590)
@pytest.mark.parametrize("rounds", [5, pytest.param(200, marks=pytest.mark.long)])
def test_exactly_one_of_many_claimers_wins_each_round(rounds: int, connection: Connection, store: DynamoStore) -> None:
    """32 processes claim one lock at once, again and again: one holder a round, every loser is told which, the log is whole."""
    command = [
        sys.executable,
        "-m",
        "tests.contract.race",
        str(PROCESSES),
        str(rounds),
        connection.endpoint_url,
        connection.table,
    ]
    # What 32 processes cover is covered by others; measuring it would take more than the race itself.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("COV")}
    environment |= {"AWS_DEFAULT_REGION": connection.region}
    if connection.access_key_id:
        environment |= {
            "AWS_ACCESS_KEY_ID": connection.access_key_id,
            "AWS_SECRET_ACCESS_KEY": connection.secret_access_key,
        }
    race = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=580, check=False)
    assert race.returncode == 0, race.stderr
    outcomes_of: dict[int, list[tuple[str, str]]] = defaultdict(list)
    for line in race.stdout.splitlines():
        turn, outcome, told = json.loads(line)
        outcomes_of[turn].append((outcome, told))
    assert len(outcomes_of) == rounds
    for turn, outcomes in outcomes_of.items():
        winners = [told for outcome, told in outcomes if outcome == "won"]
        assert len(winners) == 1, (turn, outcomes)
        assert sorted(outcomes) == sorted([("won", winners[0]), *[("held by", winners[0])] * (PROCESSES - 1)]), turn
    report = audit.verify(store, "races")
    assert report.findings == []
    assert (report.events, report.claims) == (2 * rounds, rounds)
    _alter_one_byte(connection, store)
    assert audit.verify(store, "races").findings


def _alter_one_byte(connection: Connection, store: DynamoStore) -> None:
    """Change one character of an event of the log, behind the store's back."""
    victim = list(store.events("races"))[7]
    client = dynamodb(session_of(connection), connection)
    key = {"pk": {"S": "pool#races"}, "sk": {"S": f"event#{victim.timestamp:%Y-%m-%dT%H:%M:%S.%fZ}"}}
    item = client.get_item(TableName=connection.table, Key=key)["Item"]
    item["actor"] = {"S": item["actor"]["S"][:-1] + "X"}
    client.put_item(TableName=connection.table, Item=item)


def test_threads_of_one_process_claim_and_one_wins(connect: Callable[..., DynamoStore]) -> None:
    """Sixteen threads claim; one wins."""
    from concurrent.futures import ThreadPoolExecutor

    from approval_resource.errors import LockHeldError
    from tests.builders import take

    connect().create_table()

    def attempt(number: int) -> str:
        try:
            return take(connect(), number).id
        except LockHeldError:
            return ""

    with ThreadPoolExecutor(16) as pool:
        won = [claim for claim in pool.map(attempt, range(16)) if claim]
    assert len(won) == 1
