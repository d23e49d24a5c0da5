"""doctor: each line is true, has its way out, and nothing is changed by looking."""

from __future__ import annotations

import json
from typing import Any

import pytest

from approval_resource.program import VERSION
from approval_resource.store.dynamodb.store import DynamoStore
from tests.cli.conftest import Run, claim_of
from tests.cli.test_only_init_makes import other

A = "10000000-aaaa-4aaa-8aaa-aaaaaaaaaaaa"


def findings(run: Run, code: int, **variables: str) -> dict[str, dict[str, Any]]:
    """What it found, by subject."""
    ran = run("doctor", "--format", "json", **variables)
    assert ran.exit_code == code, ran.output
    return {one["subject"]: one for one in json.loads(ran.stdout)}


def everything(wire: Any, table: str) -> Any:
    """All that the table holds."""
    return sorted(wire.scan(TableName=table)["Items"], key=str)


def test_a_sound_table_is_told_so_line_by_line(store: DynamoStore, wire: Any, table: str, run: Run) -> None:
    """Table, keys, protection, recovery, permissions, clock and versions; and nothing has changed."""
    claim_of(store, A)
    before = everything(wire, table)
    found = findings(run, 0)
    for subject in (
        "table",
        "keys and indexes",
        "deletion protection",
        "time to live",
        "point-in-time recovery",
        "clock",
        "may read items",
        "may read the whole table",
        "may write items",
        "may update items",
        "may check items",
    ):
        assert found[subject]["fine"] is True, found[subject]
    assert VERSION in found["versions"]["told"]
    assert everything(wire, table) == before


def test_a_missing_table_has_a_way_out(table: str, wire: Any, run: Run) -> None:
    """It isn't made by looking."""
    found = findings(run, 1)
    assert found["table"]["fine"] is False
    assert "run cli.py init" in found["table"]["move"]
    assert table not in wire.list_tables()["TableNames"]


def test_what_is_wrong_with_a_table_is_told_with_its_way_out(table: str, wire: Any, run: Run) -> None:
    """Another's keys, no protection, no TTL, no recovery."""
    wire.create_table(**other(table, LocalSecondaryIndexes=None, AttributeDefinitions=_without_lock_event()))
    found = findings(run, 1)
    for subject, words in (
        ("keys and indexes", "it has no index by_lock"),
        ("deletion protection", "off"),
        ("time to live", "off"),
        ("point-in-time recovery", "off"),
    ):
        assert found[subject]["fine"] is False, found[subject]
        assert words in found[subject]["told"]
        assert found[subject]["move"]


def _without_lock_event() -> list[dict[str, str]]:
    return [{"AttributeName": name, "AttributeType": "S"} for name in ("pk", "sk", "open_pool", "timestamp")]


def test_a_table_that_can_t_be_reached_is_one_line_with_its_way_out(run: Run) -> None:
    """No traceback, and the rest is told all the same."""
    found = findings(run, 1, AWS_ENDPOINT_URL_DYNAMODB="http://127.0.0.1:1")
    assert "can't reach http://127.0.0.1:1" in found["table"]["told"]
    assert found["versions"]["fine"] is True
    assert found["clock"]["fine"] is None


@pytest.mark.usefixtures("store")
def test_people_read_lines(store: DynamoStore, run: Run) -> None:
    """A mark, the subject, what is so, and what to do where it isn't."""
    claim_of(store, A)
    lines = run("doctor").stdout.splitlines()
    assert "ok    keys and indexes: pk and sk, indexes open and by_lock" in lines
    assert any(line.startswith("note  who: no STS to ask here") for line in lines)
