"""Looking never makes anything: what isn't there is an error that names what is."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest

from approval_resource.store.dynamodb.store import DynamoStore
from approval_resource.store.dynamodb.table import definition
from tests.builders import FrozenTime
from tests.cli.conftest import POOL, Run, claim_of, refused
from tests.docs.help_page import at, commands

A = "10000000-aaaa-4aaa-8aaa-aaaaaaaaaaaa"
EXEMPT = {("init",), ("doctor",)}
"""The one makes the table; the other tells of a missing one on stdout, see test_doctor.py."""
GIVEN = {"claim_id": [A], "ids": [A], "pool": [POOL], "files": ["POLICY"], "directory": ["."], "reviewer": ["ana"]}
NEEDED: dict[tuple[str, ...], list[str]] = {
    ("history",): ["--pool", POOL],
    ("pool", "set"): ["--retention-days", "7"],
    ("pool", "freeze"): ["--reason", "x"],
    ("policy", "backtest"): ["--pool", POOL],
    ("audit", "report"): ["--pool", POOL],
    ("notify",): ["--once", "--config", "CONFIG"],
}


def leaves() -> Iterator[tuple[str, ...]]:
    """Every command that has a connection, by its path; `init` is left out."""
    for path in commands():
        command = at(path)
        connects = any(option.name == "table" for option in command.params)
        if path and connects and not isinstance(command, click.Group) and path not in EXEMPT:
            yield path


CONFIG = """
url: https://approvals.example.com
channels:
  hook: {webhook: "http://127.0.0.1:9/hook", secret: env:LOGNAME}
notify:
  - {pools: [payments], to: [hook]}
"""


def arguments(path: tuple[str, ...], policy: Path) -> list[str]:
    """What that command needs to reach its table."""
    words = [word for one in at(path).params if isinstance(one, click.Argument) for word in GIVEN.get(one.name or "", ["x"])]
    files = {"POLICY": str(policy), "CONFIG": str(policy.with_name("config.yaml"))}
    return [*path, *(files.get(word, word) for word in (*NEEDED.get(path, []), *words))]


@pytest.mark.parametrize("path", list(leaves()), ids=" ".join)
def test_no_other_command_makes_the_table(table: str, wire: Any, run: Run, tmp_path: Path, path: tuple[str, ...]) -> None:
    """Each of them names the table, where it looked and how one is made, and makes nothing."""
    policy = tmp_path / "policy.yaml"
    policy.write_text("required_approvals: 1\n", encoding="utf-8")
    (tmp_path / "config.yaml").write_text(CONFIG, encoding="utf-8")
    ran = run(*arguments(path, policy))
    assert ran.exit_code in (1, 3), ran.output
    assert f"table {table} doesn't exist at http://127.0.0.1:" in ran.stderr
    assert "run cli.py init" in ran.stderr
    assert table not in wire.list_tables()["TableNames"]


def test_the_tables_that_there_are_are_named(wire: Any, run: Run) -> None:
    """A misspelt table is seen for what it is."""
    wire.create_table(**definition("aa-approvals"))
    try:
        words = run("list", "--table", "aa-aprovals").stderr
        assert "aa-approvals" in words
        assert "name one, or have an operator run cli.py init" in words
    finally:
        wire.update_table(TableName="aa-approvals", DeletionProtectionEnabled=False)
        wire.delete_table(TableName="aa-approvals")


@pytest.mark.parametrize(
    "command",
    [
        ("list", "--pool", "paymets"),
        ("list", "--all", "--pool", "paymets"),
        ("list", "--waiting", "--pool", "paymets"),
        ("history", "--pool", "paymets"),
        ("pool", "show", "paymets"),
        ("policy", "show", "paymets"),
        ("audit", "verify", "--pool", "paymets"),
    ],
    ids=" ".join,
)
def test_an_unknown_pool_is_an_error(store: DynamoStore, run: Run, command: tuple[str, ...]) -> None:
    """An empty answer would look as if nothing waited in it."""
    claim_of(store, A)
    ran = run(*command)
    assert ran.exit_code == (3 if command[0] == "audit" else 1)
    assert "paymets" in ran.stderr
    assert command[0] == "audit" or f"there is {POOL}" in ran.stderr
    assert store.pools() == [POOL]


def test_a_pool_in_an_empty_table_is_told_so(store: DynamoStore, run: Run) -> None:
    """Nothing to name."""
    store.create_table()
    refused(run("history", "--pool", POOL), "nothing was ever claimed there")


def test_an_emergency_stop_of_a_misspelt_pool_is_pointed_out(store: DynamoStore, run: Run) -> None:
    """It is recorded, since the pool's first claim may be yet to come, and whoever typed it is warned."""
    claim_of(store, A)
    ran = run("pool", "freeze", "paymets", "--reason", "incident")
    assert ran.exit_code == 0
    assert "nothing was ever claimed in pool paymets; check its name" in ran.stderr
    assert run("pool", "freeze", POOL, "--reason", "incident").stderr == ""


def test_a_region_that_is_none_is_named_with_those_that_are(run: Run) -> None:
    """A typing error in it is no fault of the network."""
    from approval_resource.store.dynamodb.regions import unknown_region

    assert "eu-west-1" in unknown_region("https://dynamodb.eu-wset-1.amazonaws.com")
    assert unknown_region("https://dynamodb.eu-west-1.amazonaws.com") == ""
    assert unknown_region("http://127.0.0.1:8000") == ""


# ---- init on what is there -----------------------------------------------------------


def other(name: str, **changes: Any) -> dict[str, Any]:
    """A table of that name that differs from ours in some ways."""
    made = json.loads(json.dumps(definition(name))) | {"DeletionProtectionEnabled": False} | changes
    return {key: value for key, value in made.items() if value is not None}


def keyed(*names: str) -> list[dict[str, str]]:
    """A key of those attributes."""
    return [{"AttributeName": name, "KeyType": kind} for name, kind in zip(names, ("HASH", "RANGE"), strict=False)]


def typed(**types: str) -> list[dict[str, str]]:
    """Attributes of those types."""
    return [{"AttributeName": name, "AttributeType": kind} for name, kind in types.items()]


OURS = {"pk": "S", "sk": "S", "open_pool": "S", "timestamp": "S", "lock_event": "S"}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {
                "KeySchema": keyed("id"),
                "AttributeDefinitions": typed(id="S"),
                "GlobalSecondaryIndexes": None,
                "LocalSecondaryIndexes": None,
            },
            ["its keys are id, not pk, sk", "it has no index open", "it has no index by_lock"],
        ),
        ({"AttributeDefinitions": typed(**(OURS | {"sk": "N"}))}, ["its keys are pk, sk (of type N), not pk, sk"]),
        (
            {
                "LocalSecondaryIndexes": None,
                "AttributeDefinitions": typed(**{name: kind for name, kind in OURS.items() if name != "lock_event"}),
            },
            ["it has no index by_lock"],
        ),
        (
            {
                "LocalSecondaryIndexes": [
                    {
                        "IndexName": "by_lock",
                        "KeySchema": keyed("pk", "lock_event"),
                        "Projection": {"ProjectionType": "KEYS_ONLY"},
                    }
                ]
            },
            ["its index by_lock holds too few attributes"],
        ),
    ],
)
def test_init_on_a_table_with_other_keys_says_so(
    table: str, wire: Any, run: Run, changes: dict[str, Any], words: list[str]
) -> None:
    """Every difference in one line; the table is left as it is, and using it is refused too."""
    wire.create_table(**other(table, **changes))
    before = wire.describe_table(TableName=table)["Table"]
    refused(run("init"), f"table {table} is none of this program's", *words)
    assert wire.describe_table(TableName=table)["Table"] == before


def test_init_on_a_table_of_ours_is_fine(connect: Any, run: Run) -> None:
    """Whoever made it."""
    connect(FrozenTime()).create_table()
    assert run("init").exit_code == 0
