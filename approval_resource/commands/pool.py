"""pool: what an operator sets for a pool."""

from __future__ import annotations

import json

import click

from approval_resource import pools
from approval_resource.commands.shared import FORMAT, REVIEWER, Commands, connected, require_pool_name, reviewer_of, store_of
from approval_resource.documents.settings import SETTINGS
from approval_resource.errors import ConfigError
from approval_resource.model.settings import MAX_RETENTION_DAYS, Settings
from approval_resource.text import clean, counted


@click.group("pool", cls=Commands)
def commands() -> None:
    """See and change a pool's settings."""


@commands.command("set")
@click.argument("pool", metavar="POOL")
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
    click.echo(f"INFO: {changed}{_told(settings)}")
    head = store.head(pool)
    if head is None or not head.newest:
        click.echo(f"INFO: nothing was ever claimed in pool {clean(pool)}; check its name", err=True)


@commands.command()
@click.argument("pool", metavar="POOL")
@FORMAT
@connected
def show(pool: str, form: str, **options: str | None) -> None:
    """Show a pool's settings."""
    require_pool_name(pool)
    store, _ = store_of(options)
    settings = store.settings(pool)
    click.echo(json.dumps(SETTINGS.write(settings), indent=2) if form == "json" else _told(settings))


def _told(settings: Settings) -> str:
    span = f"for {counted(settings.retention_days, 'day')}" if settings.retention_days else "for ever"
    return f"pool {clean(settings.pool)} keeps closed claims and their events {span}"
