"""audit: check the record, or take it away."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from approval_resource.audit import verify as audit
from approval_resource.canonical import instant
from approval_resource.commands.shared import Commands, connected, store_of
from approval_resource.errors import ConfigError, LockNotFoundError
from approval_resource.text import clean, counted


@click.group("audit", cls=Commands)
def commands() -> None:
    """Check the record, or take it away."""


@commands.command("verify")
@click.option("--pool", help="Only this pool; else every pool of the table.")
@click.option("--against", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="A receipt.json kept elsewhere.")
@connected
def audit_verify(pool: str | None, against: Path | None, **options: str | None) -> None:
    """Find whatever was altered, dropped or reordered."""
    store, _ = store_of(options)
    receipt = _receipt(against) if against else None
    if receipt is not None and pool is None:
        pool = str(receipt["event"].get("pool", ""))
    pools = [pool] if pool is not None else store.pools()
    found = False
    for name in pools:
        report = audit.verify(store, name, receipt)
        if pool is not None and not report.head.revision and not report.findings:
            raise LockNotFoundError(f"pool {clean(name)} has no log in this table; check --pool, --table and --region")
        for finding in report.findings:
            click.echo(f"pool {clean(name)}: {clean(finding)}")
        found = found or bool(report.findings)
        for note in report.notes:
            click.echo(f"pool {clean(name)}: {clean(note)}")
        removed = f", {counted(report.removed, 'event')} removed by age" if report.removed else ""
        newest = f", newest {instant(report.head.timestamp)} {report.head.digest}" if report.head.timestamp else ""
        result = counted(len(report.findings), "fault") if report.findings else "nothing wrong"
        click.echo(
            f"pool {clean(name)}: {counted(report.events, 'event')}, {counted(report.claims, 'claim')}{removed}, {result}{newest}"
        )
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


@commands.command("export")
@click.option("--pool", help="Only this pool; else every pool of the table.")
@connected
def audit_export(pool: str | None, **options: str | None) -> None:
    """Write the log as JSON, an event a line, oldest first."""
    store, _ = store_of(options)
    for name in [pool] if pool is not None else store.pools():
        for document in audit.export(store, name):
            click.echo(json.dumps(document, sort_keys=True))
