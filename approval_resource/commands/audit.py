"""audit: verify, export and report on the record."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from approval_resource.audit import copies, exported
from approval_resource.audit import export as written
from approval_resource.audit import verify as audit
from approval_resource.audit.verify_chain import Report
from approval_resource.canonical import instant
from approval_resource.commands import screen
from approval_resource.commands.completion import POOLS
from approval_resource.commands.exit_codes import COULD_NOT_LOOK, FAILED
from approval_resource.commands.report import report as audit_report
from approval_resource.commands.shared import FORMAT, OUTPUT, Commands, connected, output_to, progress, say_errors, store_of
from approval_resource.errors import ApprovalError, ConfigError, LockNotFoundError
from approval_resource.text import clean, counted


@click.group("audit", cls=Commands)
def commands() -> None:
    """Check the record, or take it away."""


@commands.command("verify")
@click.option("--pool", shell_complete=POOLS, help="Only this pool; else every pool of the table.")
@click.option(
    "--against", help="Something kept elsewhere: a receipt.json, an export, or TIMESTAMP=DIGEST as a step's metadata shows it."
)
@click.option("--export", help="Verify this export instead of the table, which is not asked at all.")
@FORMAT
@connected
def audit_verify(pool: str | None, against: str | None, export: str | None, form: str, **options: str | None) -> None:
    """Find whatever was altered, dropped or reordered.

    A log cut at its end, with head, locks and claims rolled back to match, is found only --against a copy
    kept elsewhere.

    Exit code 1 where something was found, 3 where the record could not be looked at.
    """
    try:
        reports = _verified(pool, against, export, options)
    except ApprovalError as error:
        say_errors(error)
        click.get_current_context().exit(COULD_NOT_LOOK)
    if form == "json":
        click.echo(json.dumps([_report_document(report) for report in reports], indent=2))
    else:
        for report in reports:
            for line in (*report.findings, *report.notes, _summary(report)):
                screen.say(f"pool {clean(report.pool)}: {clean(line)}")
        if not reports:
            click.echo("There is no pool yet")
    if any(report.findings for report in reports):
        click.get_current_context().exit(FAILED)


def _verified(pool: str | None, against: str | None, export: str | None, options: Mapping[str, str | None]) -> list[Report]:
    copy = copies.read(against) if against is not None else None
    wanted = [pool] if pool is not None else list(copy.pools) if copy is not None else None
    if wanted == []:
        raise ConfigError(["--pool: required, since a digest tells no pool"])
    if export is not None:
        return _exported(Path(export), wanted, copy)
    store, _ = store_of(options)
    reports = []
    for name in store.pools() if wanted is None else wanted:
        with progress(f"verifying pool {name}", "events") as watch:
            reports.append(audit.verify(store, name, copy, watch))
    for report in reports:
        if wanted is not None and not report.head.revision and not report.findings:
            raise LockNotFoundError(f"pool {clean(report.pool)} has no log in this table; check --pool, --table and --region")
    return reports


def _exported(path: Path, wanted: list[str] | None, copy: copies.Copy | None) -> list[Report]:
    with exported.opened(path) as found:
        for name in wanted or ():
            if name not in found:
                raise LockNotFoundError(
                    f"pool {clean(name)} is not in this export, which has {clean(', '.join(sorted(found)))}"
                )
        with progress(f"verifying {path}", "events") as watch:
            return [audit.verify_export(found[name], copy, watch) for name in (found if wanted is None else wanted)]


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
@OUTPUT
@connected
def audit_export(pool: str | None, output: Path | None, **options: str | None) -> None:
    """Write the whole record as JSON lines: each pool's settings, locks, claims and contents, then its log.

    `audit verify --export` verifies it without the table. It holds what pipelines gave their claims.
    """
    store, _ = store_of(options)
    with progress("exporting", "lines", beside_output=output is None) as watch, output_to(output) as write:
        for number, line in enumerate(written.export(store, [pool] if pool is not None else store.pools()), 1):
            write(f"{line}\n")
            watch(number, 0)


commands.add_command(audit_report)
