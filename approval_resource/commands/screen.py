"""Tables for a terminal: laid out by tabulate to its width, with states coloured."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import click
import tabulate
from wcwidth import wcswidth, wrap

from approval_resource.canonical import EMPTY
from approval_resource.commands.shared import MIN_PREFIX
from approval_resource.model.claim import Claim
from approval_resource.model.event import Event, Kind, State
from approval_resource.model.lock import Lock
from approval_resource.text import clean, duration

GAP = 2
"""Blanks between two columns."""
NARROW = 8
"""Lower bound of a text column's width, in characters."""
WORD = 16
"""Longest word that stays whole while the columns fit, in characters."""
LINES = 3
"""Upper bound of the lines that one cell fills."""
COLOURS = {
    State.PENDING: "yellow",
    State.APPROVED: "green",
    State.HELD: "cyan",
    State.REJECTED: "red",
    State.EXPIRED: "red",
}


@dataclass(frozen=True, slots=True)
class Column:
    """Column of a table. Text is wrapped on a narrow terminal; the least important columns are left out."""

    name: str
    text: bool = False
    importance: int = 0


def options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options of its screen."""
    for option in (
        click.option("--original", is_flag=True, help="On a terminal too, the table as it is where output is piped."),
        click.option(
            "--color", type=click.Choice(["auto", "always", "never"]), default="auto", help="Colours; NO_COLOR turns them off."
        ),
    ):
        command = option(command)
    return command


def wanted(form: str, original: bool, color: str) -> bool:
    """Return whether the answer is for a person at a terminal. Set the context's colours in any case."""
    context = click.get_current_context()
    context.color = {"always": True, "never": False}.get(color, None if not os.environ.get("NO_COLOR") else False)
    return form == "table" and not original and sys.stdout.isatty()


def width() -> int:
    """Return the columns of the terminal."""
    return shutil.get_terminal_size().columns


def table(columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> str:
    """Return the rows as a table that fits the terminal.

    Empty columns are dropped first. Then text is wrapped, and then the least important columns are dropped.
    """
    shown = list(range(len(columns)))
    if sum(_natural(columns, rows)) > width() - GAP * (len(columns) - 1):
        shown = [n for n in shown if any(row[n] for row in rows)] or shown
    while (limits := _fitted([columns[n] for n in shown], [[row[n] for n in shown] for row in rows])) is None:
        if len(shown) == 1:
            break
        shown.remove(min(shown, key=lambda n: columns[n].importance))
    limits = limits or [width()]
    cells = [[_cut(row[n], limit) for n, limit in zip(shown, limits, strict=True)] for row in rows]
    return _laid_out(cells, [columns[n].name for n in shown], limits)


def pairs(rows: Iterable[tuple[str, str]]) -> str:
    """Return names and values, a line each; long values are wrapped."""
    rows = [row for row in rows if row[1]]
    first = max((_width(name) for name, _ in rows), default=0)
    return _laid_out([list(row) for row in rows], (), [first, max(NARROW, width() - GAP - first)], form="plain")


def paragraph(line: str) -> str:
    """Return a line wrapped to the terminal, with a hanging indent.

    An id is broken only if it is wider than the terminal.
    """
    indent = line[: len(line) - len(line.lstrip())]
    folded = wrap(line.strip(), width(), initial_indent=indent, subsequent_indent=f"{indent}  ", break_on_hyphens=False)
    return "\n".join(folded)


def say(line: str) -> None:
    """Print a line of an answer, wrapped if stdout is a terminal."""
    click.echo(paragraph(line) if sys.stdout.isatty() else line)


def _laid_out(rows: list[list[str]], headers: Sequence[str], limits: Sequence[int], form: str = "simple") -> str:
    return tabulate.tabulate(
        rows,
        headers=headers,
        tablefmt=form,
        disable_numparse=True,
        maxcolwidths=list(limits),
    )


def _fitted(columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> list[int] | None:
    """Return the width of each column, breaking as few words as possible; None if the columns don't fit."""
    heads = [_width(column.name) + tabulate.MIN_PADDING for column in columns]
    cells = list(zip(*rows, strict=True)) or [()] * len(columns)
    natural = _natural(columns, rows)
    words = [max(map(_width, " ".join(told).split()), default=0) for told in cells]
    for longest in (WORD, NARROW):
        floors = [max(NARROW, head, min(word, longest)) for head, word in zip(heads, words, strict=True)]
        least = [floor if column.text else size for column, floor, size in zip(columns, floors, natural, strict=True)]
        limits = _limits(natural, least, width() - GAP * (len(columns) - 1))
        if limits is not None:
            return limits
    return None


def _natural(columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> list[int]:
    """Return the width of each column with no text wrapped."""
    heads = [_width(column.name) + tabulate.MIN_PADDING for column in columns]
    cells = list(zip(*rows, strict=True)) or [()] * len(columns)
    return [max(head, *map(_width, ["", *told])) for head, told in zip(heads, cells, strict=True)]


def _limits(natural: list[int], least: list[int], room: int) -> list[int] | None:
    """Return the width of each column; the widest is narrowed first. None if the columns don't fit."""
    limits = list(natural)
    while sum(limits) > room:
        giving = [n for n, limit in enumerate(limits) if limit > least[n]]
        if not giving:
            return None
        limits[max(giving, key=limits.__getitem__)] -= 1
    return limits


def _width(text: str) -> int:
    return max(0, wcswidth(click.unstyle(text)))


def _cut(text: str, limit: int) -> str:
    most = limit * LINES - LINES
    return text if _width(text) <= limit or len(text) <= most else f"{text[: max(1, most - 1)]}…"


def state(claim: Claim, now: datetime) -> str:
    """Return a claim's state in its colour, or `expired` if its deadline has passed."""
    name = "expired" if claim.overdue(now) else claim.state.value
    return click.style(name, fg=COLOURS.get(claim.state), bold=claim.state is State.PENDING)


def briefly(span: timedelta) -> str:
    """Return a duration in its largest unit."""
    return " ".join(duration(span).split()[:2])


def left(claim: Claim, now: datetime) -> str:
    """Return the time until the claim expires, or until its lock may be taken over."""
    end = claim.deadline if claim.state is State.PENDING else claim.hold_until if claim.claimed else None
    return "" if end is None else briefly(end - now) if end > now else "over"


def at(instant: datetime | None) -> str:
    """Return an instant to the second."""
    return f"{instant:%Y-%m-%d %H:%M:%S}" if instant else ""


def short_ids(ids: Iterable[str]) -> dict[str, str]:
    """Map each id to a prefix that is unique here, and long enough for a command."""
    known = list(dict.fromkeys(ids))
    length = MIN_PREFIX
    while len({one[:length] for one in known}) < len(known):
        length += 1
    return {one: one[:length] for one in known}


def in_order(claims: Iterable[Claim], yours: Container[str] = ()) -> list[Claim]:
    """Return the claims that wait for you, those that wait for others, and the rest; each newest first."""
    newest = sorted(claims, key=lambda claim: (claim.timestamp, claim.id), reverse=True)
    return sorted(newest, key=lambda claim: (claim.id not in yours, claim.state is not State.PENDING))


CLAIMS = (
    Column("id", importance=10),
    Column("lock", text=True, importance=9),
    Column("what", text=True, importance=5),
    Column("state", importance=8),
    Column("age", importance=3),
    Column("left", importance=4),
    Column("needs", text=True, importance=6),
)
YOURS = Column("you", importance=7)
"""Column that marks claims that wait for the caller. It is shown if there is one."""


def claims_table(
    claims: Iterable[Claim],
    now: datetime,
    needs: Mapping[str, str],
    *,
    yours: Container[str] = (),
    marks: Mapping[str, str] = EMPTY,
) -> str:
    """Return a table of claims.

    All by claim id: `needs` is what a claim still needs, `yours` has those that wait for the caller, and
    `marks` is a word to put beside the id, such as `new`.
    """
    ordered = in_order(claims, yours)
    ids, pools = short_ids(claim.id for claim in ordered), {claim.pool for claim in ordered}
    told = any(claim.id in yours for claim in ordered)
    rows = [
        [
            click.style(f"{ids[claim.id]} {mark}", bold=True) if (mark := marks.get(claim.id)) else ids[claim.id],
            clean(claim.lock_name if len(pools) == 1 else f"{claim.pool}/{claim.lock_name}"),
            clean(f"{claim.build}: {claim.description}" if claim.description else str(claim.build)),
            state(claim, now),
            briefly(now - claim.created_at),
            left(claim, now),
            clean(needs.get(claim.id, "")),
            *([click.style("yes", bold=True) if claim.id in yours else ""] if told else ()),
        ]
        for claim in ordered
    ]
    return table((*CLAIMS, YOURS) if told else CLAIMS, rows)


EVENTS = (
    Column("at", importance=8),
    Column("lock", text=True, importance=6),
    Column("event", importance=9),
    Column("claim", importance=4),
    Column("by", text=True, importance=7),
    Column("why", text=True, importance=5),
)


def events_table(events: Sequence[Event]) -> str:
    """Return a table with one row per event."""
    ids = short_ids(event.claim_id for event in events if event.claim_id)
    rows = [
        [
            at(event.at),
            clean(event.lock_name),
            _event(event),
            ids.get(event.claim_id, ""),
            clean(event.actor),
            clean(event.reason),
        ]
        for event in events
    ]
    return table(EVENTS, rows)


def _event(event: Event) -> str:
    name = f"{event.verdict or 'reviewed'} (waits)" if event.kind is Kind.REVIEWED else event.kind.value
    told = f"{name} (forced)" if event.forced else name
    return click.style(told, fg=COLOURS.get(event.kind.state) if event.kind.state else None)


WAITERS = (
    Column("lock", text=True, importance=8),
    Column("place", importance=7),
    Column("build", text=True, importance=9),
    Column("waits", importance=6),
    Column("priority", importance=3),
    Column("held by", text=True, importance=5),
)


def queues_table(queues: Iterable[tuple[Lock, Claim | None]], now: datetime) -> str:
    """Return a table with one row per waiter, the front of each lock's queue first."""
    rows = [
        [
            clean(f"{lock.pool}/{lock.name}"),
            str(place),
            clean(waiter.build),
            briefly(now - waiter.since),
            str(waiter.priority),
            clean(f"{holder.build} ({holder.id[:MIN_PREFIX]})") if holder else "",
        ]
        for lock, holder in queues
        for place, waiter in enumerate(lock.queue, 1)
    ]
    return table(WAITERS, rows)


def claim_details(claim: Claim, now: datetime, needs: str) -> str:
    """Return one claim in detail, for a person: what waits, whose it is, what was said, what became of it."""
    rows = [
        ("what", clean(claim.description)),
        ("state", state(claim, now)),
        ("needs", clean(needs)),
        ("lock", clean(f"{claim.lock_name} in pool {claim.pool}")),
        ("build", clean(f"{claim.build} {claim.build.link}".rstrip())),
        ("asked by", clean(claim.build.created_by)),
        ("since", f"{at(claim.created_at)} UTC, {duration(now - claim.created_at)} ago"),
        ("expires", f"{at(claim.deadline)} UTC" if claim.deadline else ""),
        ("may be taken over", f"from {at(claim.hold_until)} UTC" if claim.hold_until else ""),
        *((f"attached {clean(name)}", f"{file.size} bytes, sha256 {file.digest}") for name, file in claim.attachments.items()),
        *(
            (f"{one.verdict.value} by", f"{clean(who)}, {at(one.at)} UTC{f': {clean(one.comment)}' if one.comment else ''}")
            for who, one in claim.reviews.items()
        ),
        *(
            (one.state.value, f"by {clean(one.actor)}, {at(one.at)} UTC{f': {clean(one.reason)}' if one.reason else ''}")
            for one in (claim.decided, claim.ended)
            if one is not None
        ),
        ("claim", claim.id),
    ]
    return pairs(rows)
