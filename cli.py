#!/usr/bin/env python3
"""The command line for reviewers, operators and auditors: parses, calls the core, prints.

Exit codes: 0 done; 1 refused, failed, interrupted, or something found; 2 the command line itself is wrong.
"""

from __future__ import annotations

import getpass
import importlib.util
import json
import logging
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

absent = [name for name in ("boto3", "click", "pydantic", "tabulate") if importlib.util.find_spec(name) is None]
if absent:
    sys.exit(f"ERROR: this Python lacks {', '.join(absent)}; run `make cli`, then .venv/bin/python cli.py")

import click
from click.core import ParameterSource

from approval_resource import audit, claims, parts, reviews
from approval_resource.canonical import instant
from approval_resource.errors import ApprovalError, ConfigError, LockNotFoundError, StaleLockError, StoreUnavailableError
from approval_resource.model import Claim, State, Verdict
from approval_resource.records import sealed_document
from approval_resource.store import LockStore
from approval_resource.store.connect import DEFAULT_TABLE, Connection, caller_arn
from approval_resource.store.dynamodb import DynamoStore
from approval_resource.tables import claim_details, claim_for_programs, claims_table, events_table
from approval_resource.text import clean, counted

MIN_PREFIX = 8
FULL_ID = 36
WATCH_SECONDS = 2
MAX_COMMENT = 255
MAX_REVIEWER = 64
CONNECTION_OPTIONS = (
    click.option("--table", envvar="APPROVAL_TABLE", help=f"The DynamoDB table [default: {DEFAULT_TABLE}]."),
    click.option("--region", envvar=["AWS_DEFAULT_REGION", "AWS_REGION"], help="The table's AWS region."),
    click.option("--profile", envvar="AWS_PROFILE", help="A profile of ~/.aws/config."),
    click.option("--endpoint-url", envvar="AWS_ENDPOINT_URL_DYNAMODB", help="Another address of DynamoDB."),
)
FORMAT = click.option("--format", "form", type=click.Choice(["table", "json"]), default="table", show_default=True)
REVIEWER = click.option(
    "--reviewer", envvar="APPROVAL_REVIEWER", help="Who you are, where AWS can't tell; stored as typed [default: login name]."
)
REASON = click.option("--reason", default="", help="Why; kept on record.")


def connected(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the connection options; they may stand before the command's name too."""
    for option in reversed(CONNECTION_OPTIONS):
        command = option(command)
    return command


class Commands(click.Group):
    """A group whose commands end with one line and exit code 1 on every failure raised on purpose."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except ApprovalError as error:
            for line in str(error).splitlines():
                say_error(line)
        except UnicodeEncodeError:
            say_error("an argument holds bytes that are no text in UTF-8")
        except OSError as error:
            say_error(f"can't read or write {error.filename or 'the output'}: {error.strerror or error}")
        ctx.exit(1)


def say_error(line: str) -> None:
    click.echo(f"ERROR: {clean(line)}", err=True)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option("--debug", is_flag=True, help="Tell on stderr what is asked of DynamoDB.")
@connected
@click.pass_context
def cli(ctx: click.Context, /, debug: bool, **options: str | None) -> None:
    """See who holds which lock, decide on what waits, and check the record."""
    logging.basicConfig(format="%(message)s", stream=sys.stderr)
    logging.getLogger("approval_resource").setLevel(logging.DEBUG if debug else logging.WARNING)
    ctx.obj = _connection(Connection(), options)


def _connection(base: Connection, options: Mapping[str, str | None]) -> Connection:
    return replace(base, **{name: value for name, value in options.items() if value})


def _store(options: Mapping[str, str | None]) -> tuple[DynamoStore, Connection]:
    context = click.get_current_context()
    # The environment was read for the group; once more for the command, it would beat what stands before the command.
    given = {
        name: value for name, value in options.items() if context.get_parameter_source(name) is ParameterSource.COMMANDLINE
    }
    connection = _connection(context.find_object(Connection) or Connection(), given)
    return DynamoStore.connect(connection), connection


def _reviewer(connection: Connection, typed: str | None) -> str:
    """Who is asking, with how that is known."""
    try:
        arn = caller_arn(connection)
    except StoreUnavailableError as unknown:
        arn = ""
        click.echo(f"{unknown}; recorded is a typed name", err=True)
    if arn:
        if typed:
            click.echo(f"AWS knows you as {arn}; --reviewer only counts where it doesn't", err=True)
        return f"aws:{arn}"
    try:
        name = clean(typed or getpass.getuser()).strip()
    except (KeyError, OSError) as nobody:
        raise ConfigError(["this machine has no name for you; give --reviewer NAME"]) from nobody
    if not name or len(name) > MAX_REVIEWER:
        raise ConfigError([f"--reviewer: must be a name of at most {MAX_REVIEWER} characters"])
    return f"typed:{name}"


# ---- looking -----------------------------------------------------------------


@cli.command("list")
@click.option("--pool", help="Only this pool's.")
@click.option("--all", "everything", is_flag=True, help="Claims that have ended too.")
@click.option("--wide", is_flag=True, help="More columns.")
@click.option("--watch", is_flag=True, help=f"Again every {WATCH_SECONDS} s, until interrupted.")
@FORMAT
@connected
def list_(pool: str | None, everything: bool, wide: bool, watch: bool, form: str, **options: str | None) -> None:
    """Show who holds a lock and what waits for approval."""
    store, _ = _store(options)
    while True:
        found = _ever(store, pool) if everything else store.open_claims(pool)
        if form == "json":
            text = json.dumps([claim_for_programs(claim) for claim in found], indent=2)
        else:
            text = claims_table(found, store.now(), wide=wide) if found else "There is no waiting approval"
        if not watch:
            click.echo(text)
            return
        click.clear()
        click.echo(text)
        time.sleep(WATCH_SECONDS)  # noqa: TID251 - a screen is refreshed by the wall


def _ever(store: LockStore, pool: str | None) -> list[Claim]:
    if pool is None:
        found: Iterable[Claim] = store.all_claims()
    else:
        found = store.claims(list(dict.fromkeys(event.claim_id for event in store.events(pool))))
    return sorted(found, key=lambda claim: (claim.timestamp, claim.id))


@cli.command()
@click.argument("claim_id", metavar="ID")
@click.option("--attachment", metavar="NAME", help="Write that attached file's content instead.")
@FORMAT
@connected
def show(claim_id: str, attachment: str | None, form: str, **options: str | None) -> None:
    """Show one claim: what it is for, who said what, what became of it."""
    store, _ = _store(options)
    claim = _find(store, claim_id)
    if attachment is not None:
        _write(parts.attachment(store, claim, attachment))
        return
    if form == "json":
        click.echo(json.dumps(claim_for_programs(claim), indent=2))
        return
    click.echo(claim_details(claim, store.now()))


def _write(content: bytes) -> None:
    """As it is into a file or a pipe; on a terminal without what would move its cursor."""
    if sys.stdout.isatty():
        lines = content.decode("utf-8", "replace").splitlines()
        click.echo("\n".join(clean(line) for line in lines))
    else:
        click.echo(content, nl=False)


@cli.command()
@click.option("--pool", help="This pool's log.")
@click.option("--lock", "lock_name", help="Only this lock's part of it.")
@click.option("--id", "claim_id", help="Only this claim's part of it.")
@FORMAT
@connected
def history(pool: str | None, lock_name: str | None, claim_id: str | None, form: str, **options: str | None) -> None:
    """Show what happened, oldest first."""
    store, _ = _store(options)
    since = None
    if claim_id:
        claim = _find(store, claim_id)
        pool, lock_name, since = claim.pool, claim.lock_name, claim.timestamp
    if not pool:
        raise ConfigError(["give --pool, or --id"])
    events = [
        event for event in store.events(pool, lock_name=lock_name, since=since) if not claim_id or event.claim_id == claim.id
    ]
    if form == "json":
        click.echo(json.dumps([sealed_document(event) for event in events], indent=2))
    elif not events:
        click.echo("Nothing has happened yet")
    else:
        click.echo(events_table(events))


def _find(store: LockStore, given: str) -> Claim:
    """The claim with that id, or the open one whose id begins so.

    Raises:
        LockNotFoundError: there is none, or more than one.
    """
    given = given.strip().lower()
    if len(given) >= FULL_ID or len(given) < MIN_PREFIX:
        claim = store.claim(given) if len(given) == FULL_ID else None
        if claim is None:
            short = (
                f"; give the whole id, or {MIN_PREFIX} or more characters of an open claim's" if len(given) < MIN_PREFIX else ""
            )
            raise LockNotFoundError(f"there is no claim {clean(given)[:FULL_ID]}{short}; see cli.py list --all")
        return claim
    ids = store.open_claim_ids(given)
    if len(ids) != 1:
        what = f"{len(ids)} open claims' ids begin" if ids else "no open claim's id begins"
        raise LockNotFoundError(f"{what} with {clean(given)}; give the whole id, see cli.py list --all")
    return reviews.find(store, ids[0])


# ---- deciding ----------------------------------------------------------------


def _deciding(command: Callable[..., Any]) -> Callable[..., Any]:
    for option in (
        click.argument("ids", metavar="[ID]...", nargs=-1),
        click.option(
            "--id", "more", metavar="ID", multiple=True, help="The claim; a unique beginning of 8 or more characters will do."
        ),
        click.option("--comment", default="", help=f"Why; kept on record. At most {MAX_COMMENT} characters."),
        REVIEWER,
        connected,
    ):
        command = option(command)
    return command


@cli.command()
@_deciding
def approve(**arguments: Any) -> None:
    """Approve one or more claims."""
    _review(Verdict.APPROVE, "approved", **arguments)


@cli.command()
@_deciding
def reject(**arguments: Any) -> None:
    """Reject one or more claims."""
    _review(Verdict.REJECT, "rejected", **arguments)


def _review(
    verdict: Verdict,
    done: str,
    ids: tuple[str, ...],
    more: tuple[str, ...],
    comment: str,
    reviewer: str | None,
    **options: str | None,
) -> None:
    wanted = list(dict.fromkeys((*more, *ids)))
    if not wanted:
        raise ConfigError(["Please give an id: --id ID, see cli.py list"])
    if len(comment) > MAX_COMMENT:
        raise ConfigError([f"--comment: at most {MAX_COMMENT} characters, not {len(comment)}"])
    store, connection = _store(options)
    who = _reviewer(connection, reviewer)
    failed = False
    for given in wanted:
        try:
            claim = _find(store, given)
            recorded = reviews.review(store, claim.id, reviewer=who, verdict=verdict, comment=clean(comment))
        except ApprovalError as error:
            failed = True
            for line in str(error).splitlines():
                say_error(line)
            continue
        if not recorded.changed:
            click.echo(f"INFO: You had {done} the lock {recorded.claim.id} before; nothing has changed")
        elif recorded.claim.state is State.PENDING:
            click.echo(f"INFO: Your verdict on the lock {recorded.claim.id} is recorded; it is not decided yet")
        else:
            click.echo(f"INFO: The lock {recorded.claim.id} has been {done}")
    if failed:
        click.get_current_context().exit(1)


@cli.command()
@click.argument("claim_id", metavar="ID")
@REASON
@REVIEWER
@connected
def release(claim_id: str, reason: str, reviewer: str | None, **options: str | None) -> None:
    """Free the lock of a claim that is held or approved, whatever its build thinks."""
    _end(State.RELEASED, claim_id, reason, reviewer, options)


@cli.command()
@click.argument("claim_id", metavar="ID")
@REASON
@REVIEWER
@connected
def withdraw(claim_id: str, reason: str, reviewer: str | None, **options: str | None) -> None:
    """Take back a claim that still waits for its decision."""
    _end(State.WITHDRAWN, claim_id, reason, reviewer, options)


def _end(state: State, claim_id: str, reason: str, reviewer: str | None, options: Mapping[str, str | None]) -> None:
    if len(reason) > MAX_COMMENT:
        raise ConfigError([f"--reason: at most {MAX_COMMENT} characters, not {len(reason)}"])
    store, connection = _store(options)
    claim = _find(store, claim_id)
    if state is State.WITHDRAWN and claim.state is not State.PENDING:
        raise StaleLockError(claim, "withdrawn")
    ended = claims.end(store, claim, state, actor=_reviewer(connection, reviewer), reason=clean(reason))
    click.echo(f"INFO: The lock {ended.id} has been {state.value}; {clean(ended.lock_name)} is free")


# ---- the table and the record ----------------------------------------------------


@cli.command()
@connected
def init(**options: str | None) -> None:
    """Make the table, if it is missing."""
    store, connection = _store(options)
    made = store.create_table()
    click.echo(f"INFO: table {connection.table} {'was created' if made else 'exists'}")


@cli.group("audit", cls=Commands)
def audit_() -> None:
    """Check the record, or take it away."""


@audit_.command("verify")
@click.option("--pool", help="Only this pool; else every pool of the table.")
@click.option("--against", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="A receipt.json kept elsewhere.")
@connected
def audit_verify(pool: str | None, against: Path | None, **options: str | None) -> None:
    """Find whatever was altered, dropped or reordered."""
    store, _ = _store(options)
    receipt = _receipt(against) if against else None
    if receipt is not None and pool is None:
        pool = str(receipt["event"].get("pool", ""))
    pools = [pool] if pool is not None else store.pools()
    found = False
    for name in pools:
        report = audit.verify(store, name, receipt)
        for finding in report.findings:
            click.echo(f"pool {clean(name)}: {clean(finding)}")
        found = found or bool(report.findings)
        newest = f", newest {instant(report.head.timestamp)} {report.head.digest}" if report.head.timestamp else ""
        result = counted(len(report.findings), "fault") if report.findings else "nothing wrong"
        click.echo(
            f"pool {clean(name)}: {counted(report.events, 'event')}, {counted(report.claims, 'claim')}, {result}{newest}"
        )
        if pool is not None and not report.events and not report.findings:
            raise LockNotFoundError(f"pool {clean(name)} has no log in this table; check --pool, --table and --region")
    if not pools:
        click.echo("There is no pool yet")
    if found:
        click.get_current_context().exit(1)


def _receipt(path: Path) -> dict[str, Any]:
    try:
        receipt = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as wrong:
        raise ConfigError([f"--against: {path} is not a receipt: no JSON document"]) from wrong
    if not isinstance(receipt, dict) or not isinstance(receipt.get("event"), dict):
        raise ConfigError([f"--against: {path} is not a receipt: it has no event"])
    return receipt


@audit_.command("export")
@click.option("--pool", help="Only this pool; else every pool of the table.")
@connected
def audit_export(pool: str | None, **options: str | None) -> None:
    """Write the log as JSON, an event a line, oldest first."""
    store, _ = _store(options)
    for name in [pool] if pool is not None else store.pools():
        for document in audit.export(store, name):
            click.echo(json.dumps(document, sort_keys=True))


if __name__ == "__main__":
    cli()
