"""A pool's settings, seen and changed."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest

from approval_resource.store.dynamodb.store import DynamoStore
from tests.cli.conftest import POOL, Run, claim_of, refused, revision


@pytest.mark.long
def test_retention_is_set_shown_and_on_record(store: DynamoStore, run: Run) -> None:
    """400 days until somebody says otherwise; who did is an event, and the audit stays clean."""
    claim_of(store)
    assert run("pool", "show", POOL).stdout == f"pool {POOL} keeps closed claims and their events for 400 days\n"
    assert run("pool", "set", POOL, "--retention-days", "30").stdout == (
        f"INFO: pool {POOL} keeps closed claims and their events for 30 days\n"
    )
    assert json.loads(run("pool", "show", POOL, "--format", "json").stdout)["retention_days"] == 30
    (event,) = (event for event in json.loads(run("history", "--pool", POOL, "--format", "json").stdout) if not event["id"])
    assert (event["kind"], event["actor"], event["reason"]) == ("settings", "typed:ana", "retention_days 400 -> 30")
    assert "settings" in run("history", "--pool", POOL).stdout
    audited = run("audit", "verify", "--pool", POOL)
    assert (audited.exit_code, "nothing wrong" in audited.stdout) == (0, True)
    exported = [json.loads(line) for line in run("audit", "export", "--pool", POOL).stdout.splitlines()]
    assert len([line for line in exported if "record" not in line]) == 2


def test_zero_is_for_ever(store: DynamoStore, run: Run) -> None:
    """And said so."""
    claim_of(store)
    assert "for ever" in run("pool", "set", POOL, "--retention-days", "0").stdout
    assert store.settings(POOL).retention is None


def test_the_same_again_changes_nothing(store: DynamoStore, run: Run) -> None:
    """No event tells of it."""
    claim_of(store)
    assert "nothing has changed" in run("pool", "set", POOL, "--retention-days", "400").stdout
    assert revision(store) == 1


def test_a_pool_nobody_used_is_pointed_out(store: DynamoStore, run: Run) -> None:
    """It can be set before its first claim; a misspelt name shows."""
    store.create_table()
    ran = run("pool", "set", "paymets", "--retention-days", "7")
    assert ran.exit_code == 0
    assert "nothing was ever claimed in pool paymets; check its name" in ran.stderr


@pytest.mark.parametrize("days", ["-1", "36501", "soon"])
def test_days_out_of_range_are_a_wrong_command_line(run: Run, days: str) -> None:
    """Exit code 2."""
    assert run("pool", "set", POOL, "--retention-days", days).exit_code == 2


@pytest.mark.parametrize("name", ["", " ", "a\x1b[2Jb"])
def test_a_name_that_is_none_is_refused(run: Run, name: str) -> None:
    """One line."""
    refused(run("pool", "set", name, "--retention-days", "1"), "must be a pool's name")


def test_nothing_to_set_is_said(run: Run) -> None:
    """With what could be."""
    refused(run("pool", "set", POOL), "--retention-days")


def test_a_pool_is_frozen_and_lifted(store: DynamoStore, run: Run) -> None:
    """Who, why and until when stand in its settings and in the log; the audit stays clean."""
    claim_of(store)
    told = run("pool", "freeze", POOL, "--until", "2099-01-01T00:00:00Z", "--reason", "the database burns").stdout
    assert "frozen until 2099-01-01 00:00:00 UTC by typed:ana: the database burns" in told
    assert "the database burns" in run("pool", "show", POOL).stdout
    shown = json.loads(run("pool", "show", POOL, "--format", "json").stdout)["freeze"]
    assert (shown["until"], shown["reason"], shown["actor"]) == (
        "2099-01-01T00:00:00.000000Z",
        "the database burns",
        "typed:ana",
    )
    assert "its gates open again" in run("pool", "unfreeze", POOL, "--reason", "it is out").stdout
    assert "freeze" not in json.loads(run("pool", "show", POOL, "--format", "json").stdout)
    assert "was not frozen" in run("pool", "unfreeze", POOL).stdout
    assert "nothing wrong" in run("audit", "verify", "--pool", POOL).stdout
    assert "the freeze is lifted: it is out" in run("history", "--pool", POOL, "--format", "json").stdout


def test_a_freeze_may_last_a_while_or_until_it_is_lifted(store: DynamoStore, run: Run) -> None:
    """Hours from now, or no end."""
    claim_of(store)
    run("pool", "freeze", POOL, "--until", "4h", "--reason", "x")
    freeze = store.settings(POOL).freeze
    assert freeze is not None
    assert freeze.until is not None
    assert timedelta(hours=3, minutes=59) < freeze.until - freeze.since <= timedelta(hours=4)
    assert "until somebody lifts that" in run("pool", "freeze", POOL, "--reason", "x").stdout


@pytest.mark.parametrize("until", ["yesterday", "2026-02-30", "2001-01-01", "-1", ""])
def test_an_end_that_is_none_is_refused(store: DynamoStore, run: Run, until: str) -> None:
    """Nothing is frozen for a time that isn't to come."""
    claim_of(store)
    refused(run("pool", "freeze", POOL, "--until", until, "--reason", "x"), "--until: ")
    assert store.settings(POOL).freeze is None


def test_a_freeze_needs_a_reason(run: Run) -> None:
    """Since everybody who waits is told."""
    assert run("pool", "freeze", POOL).exit_code == 2
    refused(run("pool", "freeze", POOL, "--reason", " "), "--reason: required")
