"""notify: tell people what waits and what was decided, by the channels of a configuration."""

from __future__ import annotations

import json
import signal
from threading import Event as Flag
from typing import Any

import click

from approval_resource.canonical import instant
from approval_resource.clock import HostClock
from approval_resource.commands.exit_codes import FAILED
from approval_resource.commands.shared import FORMAT, connected, connection_of, say_error
from approval_resource.errors import ApprovalError, ConfigError
from approval_resource.notify import run
from approval_resource.notify.channels import apprise
from approval_resource.notify.config import AppriseChannel, Config, load
from approval_resource.notify.links import PageLinks
from approval_resource.notify.outlets import unreachable
from approval_resource.store.dynamodb.store import DynamoStore
from approval_resource.store.interface import Connection, LockStore, Outbox
from approval_resource.text import clean, counted


@click.command("notify")
@click.option("--config", "path", required=True, metavar="FILE", help="The channels, and who is told what.")
@click.option("--once", "mode", flag_value="once", default="once", help="Tell what is new, and end [default].")
@click.option("--follow", "mode", flag_value="follow", help="Go on telling, until stopped.")
@click.option("--status", "mode", flag_value="status", help="Show how far each channel is. Exit code 1 where one has failed.")
@click.option("--check", "mode", flag_value="check", help="Try the file, the table and each channel; nobody is told anything.")
@FORMAT
@connected
def commands(path: str, mode: str, form: str, **options: str | None) -> None:
    """Tell people what waits for them, and what became of it."""
    config = load(path)
    absent = [
        f"{path}.channels.{name}: {apprise.missing()}"
        for name, channel in config.channels.items()
        if isinstance(channel, AppriseChannel) and apprise.missing()
    ]
    if absent:
        raise ConfigError(absent)
    connection = _connection(config, options)

    def connect() -> tuple[LockStore, Outbox]:
        store = DynamoStore.connect(connection)
        return store, store.outbox

    match mode:
        case "check":
            _check(config, connection)
        case "status":
            _status(config, connection, form)
        case "follow":
            _follow(config, connect)
        case _:
            problems = run.once(run.workers(config, connect, _links(config), HostClock()), HostClock())
            for problem in problems:
                say_error(problem)
            click.get_current_context().exit(1 if problems else 0)


def _connection(config: Config, options: dict[str, str | None]) -> Connection:
    """Return the connection. This command's options win over the file, and the file over everything else."""
    context = click.get_current_context()
    named = {"table": config.table, "region": config.region, "endpoint_url": config.endpoint_url}
    typed = {
        name: value
        for name, value in options.items()
        if context.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE
    }
    return connection_of(connection_of(context.find_object(Connection) or Connection(), named), typed)


def _links(config: Config) -> PageLinks:
    return PageLinks(f"{config.url}{config.url.path}" if config.url else "")


def _follow(config: Config, connect: run.Connect) -> None:
    stop = Flag()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    click.echo(f"INFO: telling {counted(len(config.channels), 'channel')}", err=True)
    run.follow(run.workers(config, connect, _links(config), HostClock()), stop)


def _check(config: Config, connection: Connection) -> None:
    problems = []
    try:
        store = DynamoStore.connect(connection)
        for pool in dict.fromkeys(pool for rule in config.notify for pool in rule.pools):
            if store.head(pool) is None:
                click.echo(f"INFO: nothing was ever claimed in pool {clean(pool)}; check its name", err=True)
    except ApprovalError as error:
        problems.append(str(error))
    problems += unreachable(config)
    for problem in problems:
        say_error(problem)
    if problems:
        click.get_current_context().exit(FAILED)
    click.echo(f"INFO: the table and {counted(len(config.channels), 'channel')} can be reached")


def _status(config: Config, connection: Connection, form: str) -> None:
    store = DynamoStore.connect(connection)
    found = run.statuses(config, store, store.outbox)
    if form == "json":
        click.echo(json.dumps([_document(status) for status in found], indent=2))
    else:
        for status in found:
            click.echo(_line(status))
    if not all(map(run.is_well, found)):
        click.get_current_context().exit(FAILED)


def _document(status: run.Status) -> dict[str, Any]:
    progress = status.progress
    return {
        "channel": status.channel,
        "state": status.state,
        "behind": status.behind,
        "since": instant(status.since) if status.since else None,
        "tries": progress.tries,
        "error": progress.error,
        "skipped": progress.skipped,
        "told_at": instant(progress.told_at) if progress.told_at else None,
    }


def _line(status: run.Status) -> str:
    progress = status.progress
    since = f" since {status.since:%Y-%m-%d %H:%M:%S} UTC" if status.since and status.state != "ok" else ""
    parts = [f"{clean(status.channel)}: {status.state}{since}"]
    if progress.tries:
        parts.append(counted(progress.tries, "try", "tries"))
    if status.behind:
        parts.append(f"{counted(status.behind, 'event')} behind")
    if progress.skipped:
        parts.append(f"{counted(progress.skipped, 'message')} refused and passed over")
    if progress.told_at:
        parts.append(f"told last at {progress.told_at:%Y-%m-%d %H:%M:%S} UTC")
    if progress.error:
        parts.append(f"{'' if progress.tries else 'last '}error: {clean(progress.error)}")
    return ", ".join(parts)
