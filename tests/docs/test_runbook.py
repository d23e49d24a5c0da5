"""The runbook holds: its commands exist, its costs add up, its alarms hear, and a restored table works."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import click
import pytest

from approval_resource.claims import review as reviews
from approval_resource.model.claim import Verdict
from approval_resource.model.event import State
from approval_resource.store.dynamodb.store import DynamoStore
from approval_resource.store.dynamodb.table import definition
from approval_resource.store.interface import Connection
from cli import cli
from demo.engine import ROOT
from tests.builders import FrozenTime
from tests.cli.conftest import Run, claim_of

PAGE = (ROOT / "docs" / "runbook.md").read_text(encoding="utf-8")
A, B = (f"{number}0000000-aaaa-4aaa-8aaa-aaaaaaaaaaaa" for number in (1, 2))
READ, WRITE, STORED, RECOVERY = 0.125, 0.625, 0.25, 0.20
DAYS = 30


def typed() -> list[str]:
    """Each command line of this program on the page, in its blocks and in its sentences."""
    lines = re.findall(r"^\$ (approvals [^\n]*)", PAGE, re.MULTILINE) + re.findall(r"`(approvals [^`]*)`", PAGE)
    return [line.split(" > ")[0] for line in lines]


@pytest.mark.parametrize("line", sorted(set(typed())))
def test_every_command_on_the_page_is_one(line: str) -> None:
    """Its words and options parse; only what they name is missing."""
    words = shlex.split(line)[1:]
    command: click.Command = cli
    context = click.Context(cli, **cli.context_settings)  # click keeps the options of help that it is asked for first
    while words and isinstance(command, click.Group):
        parsed = command.make_parser(context).parse_args(list(words))
        _, words, _ = parsed
        if not words:
            break
        found = command.get_command(context, words[0])
        assert found is not None, line
        command, words, context = found, words[1:], click.Context(found, parent=context)
    if not isinstance(command, click.Group):
        command.make_parser(context).parse_args(list(words))


def test_the_commands_are_found() -> None:
    """A page without any would hold too."""
    assert len(set(typed())) > 12


def test_the_costs_add_up() -> None:
    """Each row follows from what stands above the table."""
    rows = re.findall(r"^\| (a [a-z]+) \|(.*)\|$", PAGE, re.MULTILINE)
    assert [name for name, _ in rows] == ["a team", "a department", "a company"]
    for _, cells in rows:
        resources, claims, minutes, reads, writes, kept, dollars = (float(cell.replace(",", "")) for cell in cells.split("|"))
        read = (resources * 60 * 24 * DAYS + claims * (24 + minutes * 60)) / 1e6
        write, stored = claims * 36 / 1e6, claims * 400 / DAYS * 10 / 1e6
        assert (reads, writes, kept) == (round(read, 2), round(write, 3), round(stored, 2))
        assert dollars == round(read * READ + write * WRITE + stored * (STORED + RECOVERY), 2)


# ---- alarms ------------------------------------------------------------------------------


@pytest.mark.parametrize(("audit", "old", "waiting"), [(0, 2, "1"), (1, 0, "0"), (3, 2, "1")])
def test_the_watch_publishes_what_waits_and_what_the_audit_says(tmp_path: Path, audit: int, old: int, waiting: str) -> None:
    """Both numbers, by the programs that it calls."""
    now = datetime.now(UTC)
    claims = [
        {"state": "pending", "timestamp": (now - timedelta(hours=old)).isoformat()},
        {"state": "pending", "timestamp": now.isoformat()},
        {"state": "held", "timestamp": (now - timedelta(hours=9)).isoformat()},
    ]
    (tmp_path / "claims.json").write_text(json.dumps(claims), encoding="utf-8")
    _program(tmp_path / "approvals", f'[ "$1" = list ] && exec cat {tmp_path}/claims.json\nexit {audit}\n')
    _program(tmp_path / "aws", f'echo "$@" >> {tmp_path}/sent\n')
    path = os.pathsep.join([str(tmp_path), str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    subprocess.run([ROOT / "docs" / "deploy" / "watch.sh"], env={"PATH": path}, check=True, timeout=30)
    sent = (tmp_path / "sent").read_text(encoding="utf-8").splitlines()
    assert all("--namespace Approvals --dimensions TableName=concourse-approvals " in line for line in sent)
    assert [line.split("--metric-name ")[1] for line in sent] == [
        f"Waiting --value {waiting}",
        f"AuditExitCode --value {audit}",
    ]


def _program(path: Path, text: str) -> None:
    path.write_text(f"#!/bin/sh\n{text}", encoding="utf-8")
    path.chmod(0o755)


# ---- restore -----------------------------------------------------------------------------


@pytest.fixture
def restored(wire: Any, table: str) -> Callable[[], str]:
    """Restores the table as it is now into another, as DynamoDB does: the items and indexes, and nothing else."""

    def restore() -> str:
        name = f"{table}-r"
        wire.create_table(**definition(name) | {"DeletionProtectionEnabled": False})
        for item in wire.scan(TableName=table, ConsistentRead=True)["Items"]:
            wire.put_item(TableName=name, Item=item)
        return name

    return restore


@pytest.mark.long
def test_a_restored_table_works_and_its_audit_is_clean(
    store: DynamoStore, connection: Connection, restored: Callable[[], str], run: Run
) -> None:
    """What waited can be decided on, the log goes on, and init switches on what a restore leaves off."""
    claim_of(store, A, lock_name="production")
    claim_of(store, B, number=2, lock_name="docs", need_approval=False)
    name = restored()
    before = {line.split(":")[0]: line for line in run("doctor", "--table", name).stdout.splitlines()}
    assert "WRONG point-in-time recovery" in before
    assert run("init", "--table", name).exit_code == 0
    after = run("doctor", "--table", name).stdout
    assert "ok    point-in-time recovery" in after
    assert "ok    time to live" in after
    assert "nothing wrong" in run("audit", "verify", "--table", name).stdout
    assert run("approve", A, "--table", name).exit_code == 0
    assert run("release", B, "--table", name).exit_code == 0
    assert "nothing wrong" in run("audit", "verify", "--table", name).stdout
    there = DynamoStore.connect(replace(connection, table=name))
    assert [claim.state for claim in there.claims([A, B])] == [State.APPROVED, State.RELEASED]
    assert store.claims([A])[0].state is State.PENDING


def test_a_table_restored_to_an_earlier_moment_is_told_by_a_receipt(
    connect: Callable[..., DynamoStore], restored: Callable[[], str], run: Run, tmp_path: Path
) -> None:
    """Its own log is whole; what somebody kept elsewhere says that it was cut."""
    store = connect(FrozenTime(datetime.now(UTC) - timedelta(hours=1)))
    claim_of(store, A, lock_name="production")
    name = restored()
    reviews.review(store, A, reviewer="aws:ana", verdict=Verdict.APPROVE)
    kept = tmp_path / "receipt.json"
    kept.write_text(run("receipt", A).stdout, encoding="utf-8")
    assert "nothing wrong" in run("audit", "verify", "--table", name).stdout
    cut = run("audit", "verify", "--table", name, "--against", str(kept))
    assert cut.exit_code == 1
    assert "the log was rewritten or cut" in cut.stdout
