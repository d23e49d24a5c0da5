"""audit report, receipt: proof for auditors. `moment` parses their times."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path

import click

from approval_resource.audit import pages
from approval_resource.audit.receipts import receipt as receipt_of
from approval_resource.audit.report import Decision, PoolReport
from approval_resource.audit.report import report as made
from approval_resource.audit.verify import Watch
from approval_resource.claims.poller import Poller
from approval_resource.claims.proof import deciding_event
from approval_resource.clock import HostClock
from approval_resource.commands import screen
from approval_resource.commands.completion import CLAIM_IDS, LOCKS, POOLS
from approval_resource.commands.exit_codes import COULD_NOT_LOOK, FAILED
from approval_resource.commands.shared import (
    MAX_SHOWN,
    OUTPUT,
    connected,
    find_claim,
    output_to,
    progress,
    require_pool,
    say_errors,
    store_of,
)
from approval_resource.errors import ApprovalError, ConfigError, LockNotFoundError
from approval_resource.strict_options import duration, instant_of
from approval_resource.text import clean, quoted

SECONDS = 1.0
"""Longest pause between two reads of an entry whose commit is in flight, in seconds."""


def moment(text: str | None, option: str, now: datetime, *, end: bool = False) -> datetime | None:
    """Parse a day, an instant, or how long ago.

    A day means its first instant; with `end`, the next day's first instant, so that the day is included.

    Raises:
        ConfigError: it is none of these.
    """
    if text is None:
        return None
    try:
        day = date.fromisoformat(text.strip())
    except ValueError:
        pass
    else:
        day = min(day, date.max - timedelta(days=1))  # the day after must exist too
        return datetime.combine(day, time(), UTC) + timedelta(days=end)
    try:
        return instant_of(text)
    except ValueError:
        pass
    try:
        return now - duration(text)
    except (ValueError, OverflowError) as wrong:
        raise ConfigError(
            [
                f"{option}: {quoted(text)} is no day such as 2026-11-27, no instant such as 2026-11-27T09:00:00Z, and not how long "
                "ago, such as 36h"
            ]
        ) from wrong


@click.command("report")
@click.option("--pool", required=True, shell_complete=POOLS, help="The pool whose decisions to report.")
@click.option("--lock", "lock_name", shell_complete=LOCKS, help="Only this lock's.")
@click.option("--since", help="From then on: a day (UTC), an instant, or how long ago, such as 36h.")
@click.option("--until", help="To then; a day counts to its end.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "html", "csv", "json"]),
    default="text",
    show_default=True,
    help="html is a page that prints and needs nothing else.",
)
@OUTPUT
@connected
def report(
    pool: str,
    lock_name: str | None,
    since: str | None,
    until: str | None,
    form: str,
    output: Path | None,
    **options: str | None,
) -> None:
    """Show who decided what, when, under which policy with its text, and whether that is proven.

    Exit code 1 where something isn't proven, 3 where the record could not be looked at.
    """
    try:
        store, connection = store_of(options)
        require_pool(store, pool, connection.table)
        if lock_name is not None and next(iter(store.events(pool, lock_name=lock_name)), None) is None:
            there = ", ".join(clean(name) for name in store.lock_names(pool)[:MAX_SHOWN]) or "none"
            raise LockNotFoundError(
                f"nothing ever happened on lock {clean(lock_name)} in pool {clean(pool)}; its locks: {there}"
            )
        now = store.now()
        first, last = moment(since, "--since", now), moment(until, "--until", now, end=True)
        with progress(f"verifying pool {pool}", "events") as watch:
            found = made(store, pool, lock_name, first, last, watch)
        unproven = Unproven()
        title = f"Decisions of pool {pool}{f', lock {lock_name}' if lock_name else ''}"
        spans = [f"{word} {at:%Y-%m-%d %H:%M} UTC" for word, at in (("from", first), ("to", last)) if at is not None]
        with progress("reporting", "decisions", beside_output=output is None) as watch, output_to(output) as write:
            found = replace(found, decisions=unproven.noted(found.decisions, watch))
            wrapped = form == "text" and output is None and sys.stdout.isatty()
            for text in _written(found, form, " ".join([title, *spans]), now):
                write(f"{screen.paragraph(text)}\n" if wrapped else f"{text}\n" if form == "text" else text)
    except ApprovalError as error:
        say_errors(error)
        click.get_current_context().exit(COULD_NOT_LOOK)
    if found.audit.findings or unproven.any:
        click.get_current_context().exit(FAILED)


class Unproven:
    """Note of whether any decision yielded so far is unproven."""

    any = False

    def noted(self, decisions: Iterator[Decision], watch: Watch) -> Iterator[Decision]:
        """Yield the decisions, and note where one is not proven."""
        for number, decision in enumerate(decisions, 1):
            self.any = self.any or bool(decision.faults)
            yield decision
            watch(number, 0)


def _written(found: PoolReport, form: str, title: str, now: datetime) -> Iterator[str]:
    match form:
        case "html":
            yield from pages.page(found, clean(title), now)
        case "csv":
            yield from pages.rows(found)
        case "json":
            yield "["
            for number, decision in enumerate(found.decisions):
                yield f"{',' if number else ''}\n{json.dumps(decision.document(), indent=2)}"
            yield "\n]\n"
        case _:
            yield from pages.lines(found)


@click.command()
@click.argument("claim_id", metavar="ID", shell_complete=CLAIM_IDS)
@connected
def receipt(claim_id: str, **options: str | None) -> None:
    """Print a decided claim's receipt, as a get writes it. Keep it elsewhere, for audit verify --against."""
    store, _ = store_of(options)
    claim = find_claim(store, claim_id, ended=True)
    event = deciding_event(store, claim, Poller(HostClock(), SECONDS, lambda line: click.echo(line, err=True)))
    click.echo(json.dumps(receipt_of(store, claim, event), indent=2, sort_keys=True))
