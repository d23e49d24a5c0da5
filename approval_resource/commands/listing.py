"""List of claims for one person at a terminal: theirs first, changes since the last refresh marked."""

from __future__ import annotations

import shutil

import click

from approval_resource.claims import decide as decisions
from approval_resource.commands import screen
from approval_resource.commands.shared import reviewer_of
from approval_resource.errors import ConfigError, CorruptRecordError
from approval_resource.model.claim import Claim
from approval_resource.model.event import State
from approval_resource.program import called
from approval_resource.store.interface import Connection, LockStore
from approval_resource.text import clean, shortened

WATCH_SECONDS = 2
CLEAR = "\x1b[H\x1b[2J"
"""Escape sequence that clears a terminal. It is sent even if colours are off."""
NOTHING_WAITS = "There is no waiting approval"
"""The original resource's line for an empty list."""


class Listing:
    """Open claims as one person sees them. Each look marks what changed since the one before."""

    def __init__(self, store: LockStore, connection: Connection, typed: str | None) -> None:
        """`typed` is the person's typed name. STS is asked once, and only if a claim is pending."""
        self._store = store
        self._connection = connection
        self._typed = typed
        self._who: str | None = None
        self._why_unknown = ""
        self._seen: dict[str, Claim] | None = None

    def look(self, found: list[Claim]) -> str:
        """Return the claims as text that fits the screen, and remember them."""
        before, self._seen = self._seen, {claim.id: claim for claim in found}
        marks, gone = {}, []
        if before is not None:
            known = {claim.id: before.get(claim.id) for claim in found}
            marks = {one: "new" if was is None else "changed" for one, was in known.items() if was != self._seen[one]}
            gone = [claim for claim in before.values() if claim.id not in known]
        return "\n".join([self._table(found, marks), *map(screen.paragraph, self._remarks(gone))])

    def _table(self, found: list[Claim], marks: dict[str, str]) -> str:
        self._yours: set[str] = set()
        if not found:
            return NOTHING_WAITS
        policies: dict[str, str] = {}
        needs: dict[str, str] = {}
        for claim in found:
            if claim.state is State.PENDING:
                if claim.pool not in policies:
                    policies[claim.pool] = self._store.settings(claim.pool).policy
                outlook = outlook_of(self._store, claim, self._caller(), policies[claim.pool])
                needs[claim.id] = outlook.needs
                if outlook.waits:
                    self._yours.add(claim.id)
        return screen.claims_table(found, self._store.now(), needs, yours=self._yours, marks=marks)

    def _remarks(self, gone: list[Claim]) -> list[str]:
        told = [f"Ended since the last look: {clean(claim.lock_name)} ({claim.id[:8]})" for claim in gone]
        if self._yours:
            told.append(f"{len(self._yours)} of these {'wait' if len(self._yours) > 1 else 'waits'} for you, {self._who}")
        elif self._why_unknown:
            told.append(f"None is marked as yours: {self._why_unknown}")
        return told

    def _caller(self) -> str:
        """Return the caller's identity, or an empty string where it can't be told."""
        if self._who is None:
            try:
                self._who = reviewer_of(self._connection, self._typed, say=lambda _: None)
            except ConfigError as unknown:
                self._who, self._why_unknown = "", clean(str(unknown))
        return self._who


def outlook_of(store: LockStore, claim: Claim, reviewer: str = "", pool_policy: str | None = None) -> decisions.Outlook:
    """Return the claim's outlook. For a corrupt claim it says so, and the list goes on."""
    try:
        return decisions.outlook(store, claim, reviewer, pool_policy)
    except CorruptRecordError as corrupt:
        return decisions.Outlook(f"nothing can be told: {corrupt.why}")


def one_screen(text: str, connection: Connection, pool: str | None, store: LockStore) -> str:
    """Return the text under a header with table, pool and time, cut to the terminal's height."""
    rows = max(2, shutil.get_terminal_size().lines - 1)
    where = f"table {connection.table}{f', pool {clean(pool)}' if pool else ''}"
    header = f"{called()} list: {where}, {store.now():%H:%M:%S} UTC, every {WATCH_SECONDS} s, Ctrl-C ends it"
    lines = [click.style(shortened(header)[: screen.width()], reverse=True), *text.splitlines()]
    return "\n".join([*lines[: rows - 1], f"… and {len(lines) - rows + 1} more lines"] if len(lines) > rows else lines)
