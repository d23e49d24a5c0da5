"""list, show, history, init: print claims, queues and events; make the table."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterable

import click

from approval_resource.claims import decide as decisions
from approval_resource.claims import lookup as parts
from approval_resource.claims import queue
from approval_resource.commands.completion import CLAIM_IDS, LOCKS, POOLS
from approval_resource.commands.shared import FORMAT, connected, find_claim, require_pool, store_of
from approval_resource.commands.tables import (
    claim_details,
    claim_for_programs,
    claims_table,
    events_table,
    queues_for_programs,
    queues_table,
)
from approval_resource.documents.events import EVENT
from approval_resource.errors import ConfigError
from approval_resource.model.claim import Claim
from approval_resource.store.interface import LockStore
from approval_resource.text import clean

WATCH_SECONDS = 2


@click.command("list")
@click.option("--pool", shell_complete=POOLS, help="Only this pool's.")
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
    store, connection = store_of(options)
    require_pool(store, pool, connection.table)
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
        time.sleep(WATCH_SECONDS)  # noqa: TID251 - the refresh of a screen may follow wall time


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


@click.command()
@click.argument("claim_id", metavar="ID", shell_complete=CLAIM_IDS)
@click.option("--attachment", metavar="NAME", help="Write that attached file's content instead.")
@FORMAT
@connected
def show(claim_id: str, attachment: str | None, form: str, **options: str | None) -> None:
    """Show one claim: what it is for, who said what, what its policies make of it, what became of it."""
    store, _ = store_of(options)
    claim = find_claim(store, claim_id)
    if attachment is not None:
        _write(parts.read_attachment(store, claim, attachment))
        return
    if form == "json":
        explained = {"decision": decisions.explained(store, claim).result.document()} if claim.need_approval else {}
        click.echo(json.dumps(claim_for_programs(claim) | explained, indent=2))
        return
    click.echo(claim_details(claim, store.now()))
    if claim.need_approval:
        click.echo("")
        decision = decisions.explained(store, claim)
        notes = [f"note: {note}" for note in decision.notes] + [f"flag: {flag}" for flag in decision.flags]
        for line in (*decision.result.lines(), *notes):
            click.echo(clean(line))


def _write(content: bytes) -> None:
    """Write content unchanged to a file or pipe; to a terminal, without characters that move its cursor."""
    if sys.stdout.isatty():
        lines = content.decode("utf-8", "replace").splitlines()
        click.echo("\n".join(clean(line) for line in lines))
    else:
        click.echo(content, nl=False)


@click.command()
@click.option("--pool", shell_complete=POOLS, help="This pool's log.")
@click.option("--lock", "lock_name", shell_complete=LOCKS, help="Only this lock's part of it.")
@click.option("--id", "claim_id", shell_complete=CLAIM_IDS, help="Only this claim's part of it.")
@FORMAT
@connected
def history(pool: str | None, lock_name: str | None, claim_id: str | None, form: str, **options: str | None) -> None:
    """Show what happened, oldest first."""
    store, connection = store_of(options)
    since = None
    if claim_id:
        claim = find_claim(store, claim_id)
        pool, lock_name, since = claim.pool, claim.lock_name, claim.timestamp
    if not pool:
        raise ConfigError(["give --pool, or --id"])
    require_pool(store, pool, connection.table)
    events = [
        event for event in store.events(pool, lock_name=lock_name, since=since) if not claim_id or event.claim_id == claim.id
    ]
    if form == "json":
        click.echo(json.dumps([EVENT.write(event) for event in events], indent=2))
    elif not events:
        click.echo("Nothing has happened yet")
    else:
        click.echo(events_table(events))


@click.command()
@connected
def init(**options: str | None) -> None:
    """Make the table, if it is missing. Nothing else that looks, decides or sets makes one."""
    store, connection = store_of(options)
    made = store.create_table()
    click.echo(f"INFO: table {connection.table} {'was created' if made else 'exists'}")


COMMANDS = (list_, show, history, init)
