#!/usr/bin/env python3
"""The command line for reviewers, operators and auditors: parses, calls the core, prints.

Exit codes: 0 done; 1 refused, failed, interrupted, or something found; 2 the command line itself is wrong.
"""

from __future__ import annotations

import importlib.util
import io
import json
import logging
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

absent = [name for name in ("boto3", "click", "pydantic", "tabulate") if importlib.util.find_spec(name) is None]
if absent:
    sys.exit(f"ERROR: this Python lacks {', '.join(absent)}; run `make cli`, then .venv/bin/python cli.py")

import click

from approval_resource import claims, parts, queue, reviews
from approval_resource.commands import audit, pool
from approval_resource.commands.shared import (
    FORMAT,
    MAX_COMMENT,
    REASON,
    REVIEWER,
    Commands,
    connected,
    connection_of,
    reason_of,
    reviewer_of,
    say_errors,
    store_of,
)
from approval_resource.errors import ApprovalError, ConfigError, LockNotFoundError, StaleLockError
from approval_resource.logs import log_to
from approval_resource.model import Claim, State, Verdict
from approval_resource.records import sealed_document
from approval_resource.store import LockStore
from approval_resource.store.connect import Connection
from approval_resource.tables import (
    claim_details,
    claim_for_programs,
    claims_table,
    events_table,
    queues_for_programs,
    queues_table,
)
from approval_resource.text import clean

MIN_PREFIX = 8
FULL_ID = 36
WATCH_SECONDS = 2


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option("--debug", is_flag=True, help="Tell on stderr what is asked of DynamoDB.")
@connected
@click.pass_context
def cli(ctx: click.Context, /, debug: bool, **options: str | None) -> None:
    """See who holds which lock, decide on what waits, and check the record."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # what a terminal can't show is no reason to show nothing
    log_to(logging.StreamHandler(sys.stderr), debug=debug)
    ctx.obj = connection_of(Connection(), options)


# ---- looking -----------------------------------------------------------------


@cli.command("list")
@click.option("--pool", help="Only this pool's.")
@click.option("--all", "everything", is_flag=True, help="Claims that have ended too.")
@click.option("--waiting", is_flag=True, help="Who waits for a lock instead: place, and for how long.")
@click.option("--wide", is_flag=True, help="More columns.")
@click.option("--watch", is_flag=True, help=f"Again every {WATCH_SECONDS} s, until interrupted.")
@FORMAT
@connected
def list_(watch: bool, pool: str | None, everything: bool, waiting: bool, wide: bool, form: str, **options: str | None) -> None:
    """Show who holds a lock and what waits for approval."""
    if waiting and everything:
        raise ConfigError(["--all and --waiting don't go together: nobody waits any more for what has ended"])
    store, _ = store_of(options)
    while True:
        if waiting:
            text = _waiting(store, pool, form)
        else:
            text = _listed(_ever(store, pool) if everything else store.open_claims(pool), store, form, wide=wide)
        if not watch:
            click.echo(text)
            return
        click.clear()
        click.echo(text)
        time.sleep(WATCH_SECONDS)  # noqa: TID251 - a screen is refreshed by the wall


def _listed(found: list[Claim], store: LockStore, form: str, *, wide: bool) -> str:
    if form == "json":
        return json.dumps([claim_for_programs(claim) for claim in found], indent=2)
    return claims_table(found, store.now(), wide=wide) if found else "There is no waiting approval"


def _waiting(store: LockStore, pool: str | None, form: str) -> str:
    found = queue.queues(store, pool)
    if form == "json":
        return json.dumps(queues_for_programs(found), indent=2)
    return queues_table(found, store.now()) if found else "Nobody waits for a lock"


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
    store, _ = store_of(options)
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
    store, _ = store_of(options)
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
    store, connection = store_of(options)
    who = reviewer_of(connection, reviewer)
    failed = False
    for given in wanted:
        try:
            claim = _find(store, given)
            recorded = reviews.review(store, claim.id, reviewer=who, verdict=verdict, comment=clean(comment))
        except ApprovalError as error:
            failed = True
            say_errors(error)
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
@click.option("--force", is_flag=True, help="A pending claim's too (it is withdrawn); needs --reason, and the log says forced.")
@REASON
@REVIEWER
@connected
def release(claim_id: str, force: bool, reason: str, reviewer: str | None, **options: str | None) -> None:
    """Free the lock of a claim that is held or approved, whatever its build thinks."""
    if force and not reason.strip():
        raise ConfigError(["--reason: required with --force, since the record shall tell why"])
    _end(State.RELEASED, claim_id, reason, reviewer, options, force=force)


@cli.command()
@click.argument("claim_id", metavar="ID")
@REASON
@REVIEWER
@connected
def withdraw(claim_id: str, reason: str, reviewer: str | None, **options: str | None) -> None:
    """Take back a claim that still waits for its decision."""
    _end(State.WITHDRAWN, claim_id, reason, reviewer, options)


def _end(
    state: State, claim_id: str, reason: str, reviewer: str | None, options: Mapping[str, str | None], *, force: bool = False
) -> None:
    why = reason_of(reason)
    store, connection = store_of(options)
    claim = _find(store, claim_id)
    if state is State.WITHDRAWN and claim.state is not State.PENDING:
        raise StaleLockError(claim, "withdrawn", "release" if claim.claimed else "show")
    if state is State.RELEASED and claim.state is State.PENDING and not force:
        raise StaleLockError(claim, "released", "withdraw")
    who = reviewer_of(connection, reviewer)
    if force:
        ended = claims.force_out(store, claim, actor=who, reason=why)
    else:
        ended = claims.end(store, claim, state, actor=who, reason=why)
    click.echo(f"INFO: The lock {ended.id} has been {ended.state.value}; {clean(ended.lock_name)} is free")


# ---- the table and the record ----------------------------------------------------


@cli.command()
@connected
def init(**options: str | None) -> None:
    """Make the table, if it is missing."""
    store, connection = store_of(options)
    made = store.create_table()
    click.echo(f"INFO: table {connection.table} {'was created' if made else 'exists'}")


cli.add_command(audit.commands)
cli.add_command(pool.commands)


if __name__ == "__main__":
    cli()
