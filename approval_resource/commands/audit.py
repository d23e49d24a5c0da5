"""audit: check the record, or take it away."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import click

from approval_resource.audit import copies
from approval_resource.audit import verify as audit
from approval_resource.audit.walk import Report
from approval_resource.canonical import instant
from approval_resource.commands.completion import POOLS
from approval_resource.commands.report import report as audit_report
from approval_resource.commands.shared import FORMAT, Commands, connected, say_errors, store_of
from approval_resource.errors import ApprovalError, ConfigError, LockNotFoundError
from approval_resource.text import clean, counted

COULD_NOT_LOOK = 3
"""Exit code of an audit that could not be made; a scheduler can tell it from 1, something found."""


@click.group("audit", cls=Commands)
def commands() -> None:
    """Check the record, or take it away."""


@commands.command("verify")
@click.option("--pool", shell_complete=POOLS, help="Only this pool; else every pool of the table.")
@click.option(
    "--against", help="Something kept elsewhere: a receipt.json, an export, or TIMESTAMP=DIGEST as a step's metadata shows it."
)
@FORMAT
@connected
def audit_verify(pool: str | None, against: str | None, form: str, **options: str | None) -> None:
    """Find whatever was altered, dropped or reordered.

    Exit code 1 where something was found, 3 where the record could not be looked at.
    """
    try:
        reports = _verified(pool, against, options)
    except ApprovalError as error:
        say_errors(error)
        click.get_current_context().exit(COULD_NOT_LOOK)
    if form == "json":
        click.echo(json.dumps([_report_document(report) for report in reports], indent=2))
    else:
        for report in reports:
            for line in (*report.findings, *report.notes, _summary(report)):
                click.echo(f"pool {clean(report.pool)}: {clean(line)}")
        if not reports:
            click.echo("There is no pool yet")
    if any(report.findings for report in reports):
        click.get_current_context().exit(1)


def _verified(pool: str | None, against: str | None, options: Mapping[str, str | None]) -> list[Report]:
    copy = copies.read(against) if against is not None else None
    store, _ = store_of(options)
    pool = pool or (copy.pool if copy is not None else None)
    if copy is not None and pool is None:
        raise ConfigError(["--pool: required, since a digest tells no pool"])
    reports = [audit.verify(store, name, copy) for name in ([pool] if pool is not None else store.pools())]
    for report in reports:
        if pool is not None and not report.head.revision and not report.findings:
            raise LockNotFoundError(f"pool {clean(pool)} has no log in this table; check --pool, --table and --region")
    return reports


def _summary(report: Report) -> str:
    removed = f", {counted(report.removed, 'event')} removed by age" if report.removed else ""
    newest = f", newest {instant(report.head.timestamp)} {report.head.digest}" if report.head.timestamp else ""
    result = counted(len(report.findings), "fault") if report.findings else "nothing wrong"
    return f"{counted(report.events, 'event')}, {counted(report.claims, 'claim')}{removed}, {result}{newest}"


def _report_document(report: Report) -> dict[str, Any]:
    return {
        "pool": report.pool,
        "events": report.events,
        "claims": report.claims,
        "removed": report.removed,
        "findings": report.findings,
        "notes": report.notes,
        "newest": {"timestamp": instant(report.head.timestamp), "digest": report.head.digest}
        if report.head.timestamp
        else None,
    }


@commands.command("export")
@click.option("--pool", shell_complete=POOLS, help="Only this pool; else every pool of the table.")
@connected
def audit_export(pool: str | None, **options: str | None) -> None:
    """Write the log as JSON, an event a line, oldest first."""
    store, _ = store_of(options)
    for name in [pool] if pool is not None else store.pools():
        for document in audit.export(store, name):
            click.echo(json.dumps(document, sort_keys=True))


commands.add_command(audit_report)
