"""list, show, history, init: print claims, queues and events; make the table."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterable
from itertools import takewhile

import click

from approval_resource.claims import decide as decisions
from approval_resource.claims import lookup as parts
from approval_resource.claims import wait_for_lock
from approval_resource.commands import screen
from approval_resource.commands.completion import CLAIM_IDS, LOCKS, POOLS
from approval_resource.commands.listing import CLEAR, NOTHING_WAITS, WATCH_SECONDS, Listing, one_screen, outlook_of
from approval_resource.commands.report import moment, receipt
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
from approval_resource.model.event import Kind
from approval_resource.store.interface import LockStore
from approval_resource.text import clean


@click.command("list")
@click.option("--pool", shell_complete=POOLS, help="Only this pool's.")
@click.option("--all", "everything", is_flag=True, help="Claims that have ended too.")
@click.option("--waiting", is_flag=True, help="Who waits for a lock instead: place, and for how long.")
@click.option("--wide", is_flag=True, help="More columns, in the table as it is where output is piped.")
@click.option("--watch", is_flag=True, help=f"Again every {WATCH_SECONDS} s, until interrupted; on a terminal in place.")
@FORMAT
@screen.options
@click.option(
    "--reviewer", envvar="APPROVAL_REVIEWER", help="Who you are, where AWS can't tell; on a terminal, yours come first."
)
@connected
def list_(  # noqa: PLR0913 - each is an option of the command
    watch: bool,
    pool: str | None,
    everything: bool,
    waiting: bool,
    wide: bool,
    form: str,
    original: bool,
    color: str,
    reviewer: str | None,
    **options: str | None,
) -> None:
    """Show who holds a lock and what waits for approval."""
    if waiting and everything:
        raise ConfigError(["--all and --waiting don't go together: nobody waits any more for what has ended"])
    store, connection = store_of(options)
    on_screen = screen.wanted(form, original or wide, color)
    listing = Listing(store, connection, reviewer)
    while True:
        if waiting:
            require_pool(store, pool, connection.table)
            text = _waiting(store, pool, form, on_screen=on_screen)
        else:
            found = _all_claims(store, pool) if everything else store.open_claims(pool)
            if not found:
                require_pool(store, pool, connection.table)
            text = listing.look(found) if on_screen else _listed(found, store, form, wide=wide)
        if not watch:
            click.echo(text)
            return
        if on_screen:
            click.echo(CLEAR, nl=False, color=True)
            click.echo(one_screen(text, connection, pool, store))
        else:
            click.clear()
            click.echo(text)
        time.sleep(WATCH_SECONDS)  # noqa: TID251 - the refresh of a screen may follow wall time


def _listed(found: list[Claim], store: LockStore, form: str, *, wide: bool) -> str:
    if form == "json":
        return json.dumps([claim_for_programs(claim) for claim in found], indent=2)
    return claims_table(found, store.now(), wide=wide) if found else NOTHING_WAITS


def _waiting(store: LockStore, pool: str | None, form: str, *, on_screen: bool) -> str:
    found = wait_for_lock.queues(store, pool)
    if form == "json":
        return json.dumps(queues_for_programs(found), indent=2)
    if not found:
        return "Nobody waits for a lock"
    return (screen.queues_table if on_screen else queues_table)(found, store.now())


def _all_claims(store: LockStore, pool: str | None) -> list[Claim]:
    if pool is None:
        found: Iterable[Claim] = store.all_claims()
    else:
        found = store.claims(list(dict.fromkeys(event.claim_id for event in store.events(pool))))
    return sorted(found, key=lambda claim: (claim.timestamp, claim.id))


@click.command()
@click.argument("claim_id", metavar="ID", shell_complete=CLAIM_IDS)
@click.option("--attachment", metavar="NAME", help="Write that attached file's content instead.")
@FORMAT
@screen.options
@connected
def show(claim_id: str, attachment: str | None, form: str, original: bool, color: str, **options: str | None) -> None:
    """Show one claim: what it is for, who said what, what its policies make of it, what became of it."""
    store, _ = store_of(options)
    on_screen = screen.wanted(form, original, color)
    claim = find_claim(store, claim_id, ended=True)
    if attachment is not None:
        _write(parts.read_attachment(store, claim, attachment))
        return
    if form == "json":
        explained = {"decision": decisions.decision_of(store, claim).result.document()} if claim.need_approval else {}
        click.echo(json.dumps(claim_for_programs(claim) | explained, indent=2))
        return
    details = (
        screen.claim_details(claim, store.now(), outlook_of(store, claim).needs)
        if on_screen
        else claim_details(claim, store.now())
    )
    click.echo(details)
    if claim.need_approval:
        click.echo("")
        decision = decisions.decision_of(store, claim)
        notes = [f"note: {note}" for note in decision.notes] + [f"flag: {flag}" for flag in decision.flags]
        for line in (*decision.result.lines(), *notes):
            click.echo(screen.paragraph(clean(line)) if on_screen else clean(line))


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
@click.option("--since", help="From then on: a day (UTC), an instant, or how long ago, such as 36h.")
@click.option("--until", help="To then; a day counts to its end.")
@click.option("--by", help="Only what this person, build or policy did: a part of the name is enough.")
@click.option(
    "--event",
    "kinds",
    multiple=True,
    metavar="KIND",
    type=click.Choice([kind.value for kind in Kind]),
    help="Only events of this kind.",
)
@FORMAT
@screen.options
@connected
def history(  # noqa: PLR0913 - each is an option of the command
    pool: str | None,
    lock_name: str | None,
    claim_id: str | None,
    since: str | None,
    until: str | None,
    by: str | None,
    kinds: tuple[str, ...],
    form: str,
    original: bool,
    color: str,
    **options: str | None,
) -> None:
    """Show what happened, oldest first."""
    store, connection = store_of(options)
    on_screen = screen.wanted(form, original, color)
    begin = None
    if claim_id:
        claim = find_claim(store, claim_id, ended=True)
        pool, lock_name, begin = claim.pool, claim.lock_name, claim.timestamp
    if not pool:
        raise ConfigError(["give --pool, or --id"])
    require_pool(store, pool, connection.table)
    now = store.now()
    first, last = moment(since, "--since", now), moment(until, "--until", now, end=True)
    begin = max((at for at in (begin, first) if at is not None), default=None)
    events = [
        event
        for event in takewhile(
            lambda event: last is None or event.timestamp < last, store.events(pool, lock_name=lock_name, since=begin)
        )
        if (not claim_id or event.claim_id == claim.id)
        and (not kinds or event.kind.value in kinds)
        and (by is None or by.casefold() in event.actor.casefold())
    ]
    if form == "json":
        click.echo(json.dumps([EVENT.write(event) for event in events], indent=2))
    elif not events:
        click.echo("Nothing has happened yet")
    else:
        click.echo(screen.events_table(events) if on_screen else events_table(events))


@click.command()
@connected
def init(**options: str | None) -> None:
    """Make the table, if it is missing. No other command makes one."""
    store, connection = store_of(options)
    made = store.create_table()
    screen.say(f"INFO: table {connection.table} {'was created' if made else 'exists'}")


COMMANDS = (list_, show, history, receipt, init)
