"""Reaching the table: connection options, what is said when it can't be reached, init, and shell completion."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from approval_resource.model.event import State
from approval_resource.store.dynamodb.store import DynamoStore
from approval_resource.store.interface import Connection
from demo.engine import free_port
from tests.cli.conftest import ROOT, SECONDS, Environment, Process, Run, claim_of, refused

A = "10000000-aaaa-4aaa-8aaa-aaaaaaaaaaaa"
CANARY = "c4nary-s3cret"
NOWHERE: dict[str, str | None] = {"AWS_ENDPOINT_URL_DYNAMODB": "http://127.0.0.1:9"}


# ---- where to look -----------------------------------------------------------


def options_of(connection: Connection, profiles: Path) -> dict[str, tuple[str, str, dict[str, str | None]]]:
    """Each option: its value, its variable, and an environment in which nothing works without it."""
    profiles.write_text("[profile ops]\naws_access_key_id = test\naws_secret_access_key = test-secret\nregion = us-east-1\n")
    no_keys: dict[str, str | None] = {"AWS_ACCESS_KEY_ID": None, "AWS_SECRET_ACCESS_KEY": None}
    return {
        "--table": (connection.table, "APPROVAL_TABLE", {"APPROVAL_TABLE": None}),
        "--region": (connection.region, "AWS_REGION", {"AWS_DEFAULT_REGION": None}),
        "--profile": ("ops", "AWS_PROFILE", {**no_keys, "AWS_CONFIG_FILE": str(profiles)}),
        "--endpoint-url": (connection.endpoint_url, "AWS_ENDPOINT_URL_DYNAMODB", {"AWS_ENDPOINT_URL_DYNAMODB": None}),
    }


@pytest.mark.parametrize("option", ["--table", "--region", "--profile", "--endpoint-url"])
def test_connection_options_stand_before_or_after_the_command_or_in_the_environment(
    store: DynamoStore, connection: Connection, run: Run, tmp_path: Path, option: str
) -> None:
    """All three ways reach the same table."""
    claim_of(store, A)
    value, variable, without = options_of(connection, tmp_path / "config")[option]
    assert A in run(option, value, "list", **without).stdout
    assert A in run("list", option, value, **without).stdout
    assert A in run("list", **(without | {variable: value})).stdout


@pytest.mark.parametrize("before", [True, False])
def test_an_option_counts_more_than_the_environment(store: DynamoStore, connection: Connection, run: Run, before: bool) -> None:
    """Wherever it stands."""
    claim_of(store, A)
    option = ("--table", connection.table)
    ran = run(*option, "list", APPROVAL_TABLE="another") if before else run("list", *option, APPROVAL_TABLE="another")
    assert A in ran.stdout


def test_the_nearer_option_counts(store: DynamoStore, connection: Connection, run: Run) -> None:
    """The one after the command, where both are given."""
    claim_of(store, A)
    assert A in run("--table", "another", "list", "--table", connection.table).stdout


def test_a_command_of_a_group_takes_them_too(store: DynamoStore, connection: Connection, run: Run) -> None:
    """`audit verify --table` and `--table … audit verify`."""
    claim_of(store, A)
    for arguments in (("--table", connection.table, "audit", "verify"), ("audit", "verify", "--table", connection.table)):
        assert ": 1 event, 1 claim, nothing wrong" in run(*arguments, APPROVAL_TABLE=None).stdout


# ---- what can't be reached ----------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "variables", "words"),
    [
        ((), {"AWS_DEFAULT_REGION": None}, "no AWS region is set; set AWS_DEFAULT_REGION"),
        ((), {"AWS_ACCESS_KEY_ID": None, "AWS_SECRET_ACCESS_KEY": None}, "no AWS credentials were found"),
        ((), {"AWS_ACCESS_KEY_ID": None}, "AWS credentials"),
        (("--profile", "nobody"), {}, 'the AWS profile "nobody" does not exist'),
        ((), {"AWS_PROFILE": "nobody"}, 'the AWS profile "nobody" does not exist'),
        (("--profile", "no\x1b[31mbody"), {}, "does not exist"),
        (("--endpoint-url", "nonsense"), {}, "endpoint_url"),
        (("--endpoint-url", "http://["), {}, "endpoint_url"),
        (("--region", "no region"), {}, "region"),
        (("--table", "no table"), {}, "DynamoDB found the request invalid"),
    ],
)
@pytest.mark.parametrize("command", [("list",), ("approve", A)])
def test_a_connection_that_can_t_work_is_one_line(
    run: Run, command: tuple[str, ...], arguments: tuple[str, ...], variables: dict[str, str | None], words: str
) -> None:
    """Which says what is wrong, and what to set."""
    refused(run(*command, *arguments, **variables), words)


@pytest.mark.long
def test_an_address_where_nobody_answers_is_one_line(process: Process) -> None:
    """It is given a few seconds, then named."""
    url = f"http://127.0.0.1:{free_port()}"
    ran = process("list", AWS_ENDPOINT_URL_DYNAMODB=url)
    assert (ran.returncode, ran.stdout, ran.stderr.count("\n")) == (1, "", 1)
    for words in ("ERROR: can't reach ", url, "check endpoint_url, region and network"):
        assert words in ran.stderr


@pytest.mark.parametrize("url", ["nonsense", "http://127.0.0.1:{port}"])
def test_an_sts_that_can_t_be_asked_makes_nobody_a_typed_name(store: DynamoStore, run: Run, url: str) -> None:
    """Where STS gives no answer nobody becomes a typed name unasked: it takes --reviewer, and that is said."""
    claim_of(store, A)
    variables = {"AWS_ENDPOINT_URL_STS": url.format(port=free_port())}
    ran = run("approve", A, **variables)
    assert ran.exit_code == 1
    assert ran.stderr.startswith("ERROR: AWS could not be asked who you are (")
    assert ran.stderr.endswith("try again, or give --reviewer NAME to be recorded as a typed name\n")
    assert store.claims([A])[0].reviews == {}
    ran = run("approve", A, "--reviewer", "ana", **variables)
    assert (ran.exit_code, ran.stderr.count("\n")) == (0, 1)
    assert store.claims([A])[0].reviews.keys() == {"typed:ana"}


@pytest.mark.long
def test_secrets_never_show(store: DynamoStore, process: Process) -> None:
    """Not even when everything DynamoDB is asked is told."""
    claim_of(store, A)
    for variables in ({}, NOWHERE):
        ran = process("--debug", "approve", A, AWS_SECRET_ACCESS_KEY=CANARY, AWS_SESSION_TOKEN=CANARY, **variables)
        assert CANARY not in ran.stdout + ran.stderr
        assert "transact_write_items: " in ran.stderr or "can't reach " in ran.stderr


# ---- init -----------------------------------------------------------------------


def test_init_makes_the_table_once(connection: Connection, run: Run) -> None:
    """The second time it says that it exists; both are fine."""
    first, second = run("init"), run("init")
    assert (first.exit_code, first.stdout) == (0, f"INFO: table {connection.table} was created\n")
    assert (second.exit_code, second.stdout) == (0, f"INFO: table {connection.table} exists\n")


def test_init_leaves_what_is_there(store: DynamoStore, run: Run) -> None:
    """Claims outlive it."""
    claim_of(store, A)
    run("init")
    assert store.claims([A])[0].state is State.PENDING


# ---- a shell that completes -------------------------------------------------------


def shell(environment: Environment, **variables: str) -> subprocess.CompletedProcess[str]:
    """The program called by its own path, as a shell does that completes."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    return subprocess.run(
        [ROOT / "cli.py"],
        env={**os.environ, **environment, "PATH": path, **variables},
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )


def test_a_shell_gets_its_completion_script(environment: Environment) -> None:
    """As click writes it."""
    ran = shell(environment, _CLI_PY_COMPLETE="bash_source")
    assert ran.returncode == 0, ran.stderr
    assert "_CLI_PY_COMPLETE=bash_complete" in ran.stdout
    assert "complete -o nosort -F _clipy_completion cli.py" in ran.stdout


@pytest.mark.parametrize(
    ("words", "found"),
    [("cli.py ap", ["approve"]), ("cli.py audit ", ["export", "report", "verify"]), ("cli.py list --wi", ["--wide"])],
)
def test_a_shell_gets_completions(environment: Environment, words: str, found: list[str]) -> None:
    """Commands and options, without asking DynamoDB."""
    count = str(len(words.split(" ")) - 1)
    ran = shell(
        environment | {"AWS_ENDPOINT_URL_DYNAMODB": "nonsense"},
        _CLI_PY_COMPLETE="bash_complete",
        COMP_WORDS=words,
        COMP_CWORD=count,
    )
    assert [line.split(",")[1] for line in ran.stdout.splitlines()] == found, ran.stderr


def test_a_python_without_the_packages_is_told_how_to_get_them() -> None:
    """Run by an interpreter that has none of them, it is one line with the next move."""
    bare = [sys.executable, "-I", "-S", str(ROOT / "cli.py"), "list"]
    ran = subprocess.run(bare, capture_output=True, text=True, timeout=30, check=False)
    assert ran.returncode == 1
    assert (
        ran.stderr
        == "ERROR: this Python lacks botocore, click, pydantic, tabulate; run `make cli`, then .venv/bin/python cli.py\n"
    )


@pytest.mark.parametrize(("word", "meant"), [("polic", "policy"), ("aud", "audit"), ("pools", "pool"), ("lst", "list")])
def test_a_misspelt_command_is_told_the_right_one(run: Run, word: str, meant: str) -> None:
    """Those too that are only loaded when they are meant."""
    ran = run(word)
    assert ran.exit_code == 2
    assert f"'{meant}'" in ran.stderr
