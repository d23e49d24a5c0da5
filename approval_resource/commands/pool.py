"""pool: settings and the emergency stop of a pool."""

from __future__ import annotations

import json
from datetime import datetime, timedelta

import click

from approval_resource import pools
from approval_resource.commands import screen
from approval_resource.commands.completion import POOLS
from approval_resource.commands.shared import (
    FORMAT,
    REASON,
    REVIEWER,
    Commands,
    connected,
    reason_of,
    require_pool,
    require_pool_name,
    reviewer_of,
    store_of,
)
from approval_resource.documents.settings import SETTINGS
from approval_resource.errors import ConfigError
from approval_resource.model.settings import MAX_RETENTION_DAYS, Settings
from approval_resource.store.interface import LockStore
from approval_resource.strict_options import duration, instant_of
from approval_resource.text import clean, counted, quoted


@click.group("pool", cls=Commands)
def commands() -> None:
    """See and change a pool's settings."""


@commands.command("set")
@click.argument("pool", metavar="POOL", shell_complete=POOLS)
@click.option(
    "--retention-days",
    type=click.IntRange(0, MAX_RETENTION_DAYS),
    help="How long closed claims and their events are kept, from now on; 0: for ever.",
)
@REVIEWER
@connected
def set_(pool: str, retention_days: int | None, reviewer: str | None, **options: str | None) -> None:
    """Change a pool's settings; the log tells who did."""
    if retention_days is None:
        raise ConfigError(["nothing to set: give --retention-days N"])
    require_pool_name(pool)
    store, connection = store_of(options)
    before = store.settings(pool)
    settings = pools.set_retention(store, pool, retention_days, actor=reviewer_of(connection, reviewer))
    changed = "nothing has changed: " if settings.revision == before.revision else ""
    screen.say(f"INFO: {changed}{_told(settings)}")
    _warn_if_unused(store, pool)


@commands.command()
@click.argument("pool", metavar="POOL", shell_complete=POOLS)
@click.option("--until", help="When it ends: an instant, or a duration such as 4h from now. Without: once somebody lifts it.")
@click.option("--reason", required=True, help="Why; shown to everybody who waits, and kept on record.")
@REVIEWER
@connected
def freeze(pool: str, until: str | None, reason: str, reviewer: str | None, **options: str | None) -> None:
    """Stop a pool: none of its gates opens, also for claims that were approved before."""
    require_pool_name(pool)
    if not reason.strip():
        raise ConfigError(["--reason: required, since everybody who waits is told"])
    end, why = _until(until), reason_of(reason)
    store, connection = store_of(options)
    settings = pools.freeze(store, pool, end, why, actor=reviewer_of(connection, reviewer))
    screen.say(f"INFO: {_told(settings)}")
    _warn_if_unused(store, pool)


@commands.command()
@click.argument("pool", metavar="POOL", shell_complete=POOLS)
@REASON
@REVIEWER
@connected
def unfreeze(pool: str, reason: str, reviewer: str | None, **options: str | None) -> None:
    """Lift a pool's freeze; its gates open again."""
    require_pool_name(pool)
    why = reason_of(reason)
    store, connection = store_of(options)
    before = store.settings(pool)
    settings = pools.unfreeze(store, pool, why, actor=reviewer_of(connection, reviewer))
    changed = "nothing has changed: it was not frozen" if settings.revision == before.revision else "its gates open again"
    screen.say(f"INFO: pool {clean(pool)}: {changed}")


def _warn_if_unused(store: LockStore, pool: str) -> None:
    head = store.head(pool)
    if head is None or not head.newest:
        click.echo(f"INFO: nothing was ever claimed in pool {clean(pool)}; check its name", err=True)


def _until(text: str | None) -> datetime | timedelta | None:
    if text is None:
        return None

    for read in (duration, instant_of):
        try:
            found: datetime | timedelta = read(text)
        except ValueError:
            continue
        return found
    raise ConfigError([f"--until: {quoted(text)} is neither an instant such as 2026-12-24T18:00:00Z nor a duration such as 4h"])


@commands.command()
@click.argument("pool", metavar="POOL", shell_complete=POOLS)
@FORMAT
@connected
def show(pool: str, form: str, **options: str | None) -> None:
    """Show a pool's settings."""
    require_pool_name(pool)
    store, connection = store_of(options)
    require_pool(store, pool, connection.table)
    settings = store.settings(pool)
    if form == "json":
        click.echo(json.dumps(SETTINGS.write(settings), indent=2))
    else:
        screen.say(_told(settings))


def _told(settings: Settings) -> str:
    span = f"for {counted(settings.retention_days, 'day')}" if settings.retention_days else "for ever"
    kept = f"pool {clean(settings.pool)} keeps closed claims and their events {span}"
    stop = settings.freeze
    if stop is None:
        return kept
    until = f"until {stop.until:%Y-%m-%d %H:%M:%S} UTC" if stop.until else "until somebody lifts that"
    return f"{kept}; frozen {until} by {clean(stop.actor)}: {clean(stop.reason)}"
