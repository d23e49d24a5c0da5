"""doctor: examine the table, this role and this machine. Each fault is told with its remedy."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version

import click

from approval_resource.commands import screen
from approval_resource.commands.exit_codes import FAILED
from approval_resource.commands.shared import FORMAT, connected, store_of
from approval_resource.errors import StoreUnavailableError
from approval_resource.program import VERSION
from approval_resource.store.dynamodb.connect import caller_arn
from approval_resource.store.dynamodb.store import DynamoStore
from approval_resource.store.interface import Connection, Finding
from approval_resource.text import clean

PACKAGES = ("botocore", "click", "pydantic", "tabulate")
SKEW_SECONDS = 240
"""Tolerated error of this machine's clock, in seconds. AWS refuses signatures five minutes off."""
MARKS = {True: ("ok", "green"), False: ("WRONG", "red"), None: ("note", "yellow")}


@click.command()
@FORMAT
@connected
def doctor(form: str, **options: str | None) -> None:
    """Examine the table, what this role may, clock, region and versions. Changes nothing.

    Exit code 1 where something is wrong.
    """
    store, connection = store_of(options)
    findings = [*_here(connection), *store.examine(), *_clock(store)]
    if form == "json":
        click.echo(json.dumps([asdict(finding) for finding in findings], indent=2))
    else:
        for finding in findings:
            mark, colour = MARKS[finding.fine]
            move = f"; {finding.move}" if finding.move and not finding.fine else ""
            screen.say(f"{click.style(f'{mark:5}', fg=colour)} {finding.subject}: {clean(finding.told)}{clean(move)}")
    if any(finding.fine is False for finding in findings):
        click.get_current_context().exit(FAILED)


def _here(connection: Connection) -> Iterator[Finding]:
    yield Finding(
        "versions", True, ", ".join([f"approval-resource {VERSION}", f"Python {sys.version.split()[0]}", *_installed()])
    )
    where = f"region {connection.region or 'as AWS is configured'}{f', at {connection.endpoint_url}' if connection.endpoint_url else ''}"
    yield Finding("where", True, where)
    try:
        arn = caller_arn(connection)
    except StoreUnavailableError as unknown:
        yield Finding("who", False, str(unknown), "check credentials and the way to STS; reviews need --reviewer until then")
        return
    told = f"aws:{arn}" if arn else "no STS to ask here, so that reviews are of a typed name, which satisfies no rule"
    yield Finding("who", True if arn else None, told, "nothing to do where this is a trial")


def _installed() -> Iterator[str]:
    for name in (*PACKAGES, "gordon-to-regorus"):
        try:
            yield f"{name} {version(name)}"
        except PackageNotFoundError:
            yield f"no {name}"


def _clock(store: DynamoStore) -> Iterator[Finding]:
    try:
        away = (datetime.now(UTC) - store.now()).total_seconds()  # noqa: TID251 - it is this clock that is examined
    except StoreUnavailableError as unknown:
        yield Finding("clock", None, f"can't be compared: {unknown}", "see the lines above")
        return
    told = f"{abs(away):.0f} s {'ahead of' if away > 0 else 'behind'} DynamoDB's, which alone counts"
    yield Finding("clock", abs(away) <= SKEW_SECONDS, told, "set this machine's clock: AWS refuses its signatures else")
