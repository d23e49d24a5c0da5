"""policy backtest: a pool's past decisions under other policies."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

import click

from approval_resource.audit.verify import Watch
from approval_resource.claims import decide as decisions
from approval_resource.commands import screen
from approval_resource.commands.completion import POOLS
from approval_resource.commands.shared import FORMAT, connected, progress, require_pool, store_of
from approval_resource.errors import ConfigError, CorruptRecordError
from approval_resource.model.claim import Claim
from approval_resource.model.event import Event, State
from approval_resource.policy.authoring.lint import require_no_errors
from approval_resource.policy.decision import Answer
from approval_resource.policy.language.load import Loaded, load_text, stored, text_of
from approval_resource.store.interface import LockStore
from approval_resource.text import clean, counted, shortened

A_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
BATCH = 50
"""Number of claims that are read in one batch."""


@click.command()
@click.argument("files", metavar="FILE...", nargs=-1, required=True, type=A_FILE)
@click.option("--pool", required=True, shell_complete=POOLS, help="The pool whose claims to ask about.")
@FORMAT
@connected
def backtest(files: tuple[Path, ...], pool: str, form: str, **options: str | None) -> None:
    """Show which of a pool's stored claims would have gone differently under these policies.

    Changes nothing.
    """
    loaded = loaded_from(files)
    warn(loaded)
    store, connection = store_of(options)
    require_pool(store, pool, connection.table)
    asked = different = 0
    # The summary is printed first. The rows, maybe as many as the claims, are kept in a file until then.
    with tempfile.TemporaryFile("w+", encoding="utf-8") as kept:
        with progress(f"asking the policies about pool {pool}", "events") as watch:
            for row in _rows(store, pool, stored(loaded), watch):
                asked += 1
                if row is not None:
                    different += 1
                    kept.write(json.dumps(row) + "\n")
        kept.seek(0)
        for line in _json(asked, kept) if form == "json" else _lines(asked, different, kept):
            (click.echo if form == "json" else screen.say)(line)


def _json(asked: int, rows: Iterable[str]) -> Iterator[str]:
    yield f'{{\n  "claims": {asked},\n  "different": ['
    before = ""
    for line in rows:
        if before:
            yield f"{before},"
        before = f"    {json.dumps(json.loads(line), indent=2)}".replace("\n", "\n    ")
    yield f"{before}\n  ]\n}}" if before else "  ]\n}"


def _lines(asked: int, different: int, rows: Iterable[str]) -> Iterator[str]:
    yield f"{counted(asked, 'claim')} asked for an approval; {different} would have gone differently"
    for line in rows:
        row = json.loads(line)
        yield (
            f"{row['id']} {clean(row['lock_name'])} {row['timestamp']}: was {row['was']}, would be {row['would_be']}: {row['why']}"
        )


def _rows(store: LockStore, pool: str, policy: str, watch: Watch) -> Iterator[dict[str, str] | None]:
    """Yield one item per claim that asked for approval and is no longer pending: its difference, or None."""
    head = store.head(pool)
    ids = _claims_of(store.events(pool), watch, head.revision if head else 0)
    while batch := list(islice(ids, BATCH)):
        for claim in store.claims(batch):
            if claim.need_approval and claim.state is not State.PENDING:
                yield _difference(store, claim, policy)


def _claims_of(events: Iterable[Event], watch: Watch, total: int) -> Iterator[str]:
    """Yield the id of each claim in the events, once. Only open claims are kept in memory."""
    open_ids: set[str] = set()
    for number, event in enumerate(events, 1):
        watch(number, max(number, total))
        if event.claim_id and event.claim_id not in open_ids:
            open_ids.add(event.claim_id)
            yield event.claim_id
        if event.kind.state is not None and not event.kind.state.is_open:
            open_ids.discard(event.claim_id)


def _difference(store: LockStore, claim: Claim, policy: str) -> dict[str, str] | None:
    """Return how the policy would have decided the claim, if differently; else None."""
    ruling = claim.decided or claim.ended
    if ruling is None:
        return None
    row = {
        "id": claim.id,
        "lock_name": claim.lock_name,
        "timestamp": f"{claim.timestamp:%Y-%m-%d %H:%M:%S}",
        "was": ruling.state.value,
    }
    try:
        terms = decisions.Terms(policy, decisions.terms_of(store, claim).given)
    except CorruptRecordError as gone:
        return row | {"would_be": Answer.ERROR.value, "why": str(gone)}
    decision = decisions.decide(claim, terms, "", claim.judged_at or ruling.at)
    was = {State.APPROVED: Answer.APPROVE, State.REJECTED: Answer.REJECT}.get(ruling.state, Answer.UNDECIDED)
    if decision.result.answer is was:
        return None
    return row | {"would_be": decision.result.answer.value, "why": decisions.short_reasons(decision)}


def loaded_from(files: tuple[Path, ...]) -> list[Loaded]:
    """Load the policies of all the files.

    Raises:
        ConfigError: every problem of every file.
    """
    found: list[Loaded] = []
    problems: list[str] = []
    for file in files:
        try:
            found += load_text(text_of(file), str(file))
        except ConfigError as broken:
            problems += broken.problems
    if problems:
        raise ConfigError(problems)
    return found


def warn(loaded: list[Loaded]) -> None:
    """Print lint's warnings about the policies.

    Raises:
        ConfigError: lint finds an error in them.
    """
    for finding in require_no_errors(loaded):
        click.echo(shortened(clean(str(finding))), err=True)
