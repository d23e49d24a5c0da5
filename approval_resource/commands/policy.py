"""policy: try, lint and test policies; show and set a pool's."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from approval_resource import pools
from approval_resource.claims import decide as decisions
from approval_resource.commands.completion import POOLS
from approval_resource.commands.exit_codes import FAILED
from approval_resource.commands.shared import (
    FORMAT,
    REVIEWER,
    Commands,
    connected,
    progress,
    require_pool,
    require_pool_name,
    reviewer_of,
    say_errors,
    store_of,
)
from approval_resource.errors import ConfigError, CorruptRecordError
from approval_resource.model.claim import Claim
from approval_resource.model.event import State
from approval_resource.policy.authoring import cases
from approval_resource.policy.authoring.lint import lint, require_no_errors
from approval_resource.policy.authoring.trial import document_of, instant_of, trial, trial_on_input
from approval_resource.policy.decision import Answer
from approval_resource.policy.facts import not_suppliable
from approval_resource.policy.language.load import Loaded, load_text, parse, stored, text_of
from approval_resource.store.interface import LockStore
from approval_resource.text import clean, counted, shortened

A_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
FILES = click.argument("files", metavar="[FILE]...", nargs=-1, type=A_FILE)


@click.group("policy", cls=Commands)
def commands() -> None:
    """Try, check and test policies; see and set a pool's."""


# ---- policies alone, without claims ---------------------------------------------


@commands.command("eval")
@FILES
@click.option("--facts", type=A_FILE, help="What the pipeline would give; under `claim` what the claim would be. JSON or YAML.")
@click.option("--reviews", type=A_FILE, help="A list of {author, verdict, groups, comment, at}.")
@click.option("--now", help="The instant, such as 2026-11-20T09:00:00Z [default: this moment].")
@click.option("--requester", default="", help="Who would have asked for the claim, as Concourse knows them.")
@click.option("--input", "whole", type=A_FILE, help="For Rego alone: the whole input document instead.")
@FORMAT
def eval_(  # noqa: PLR0913 - each is an option of the command
    files: tuple[Path, ...],
    facts: Path | None,
    reviews: Path | None,
    now: str | None,
    requester: str,
    whole: Path | None,
    form: str,
) -> None:
    """Show what policies together decide, and why. No FILE: what stands where nobody set a policy."""
    if whole is not None and (facts or reviews or now or requester):
        raise ConfigError(["--input: is the whole of what is asked; leave out --facts, --reviews, --now, --requester"])
    try:
        loaded = _loaded(files)
        require_no_errors(loaded)
        if whole is not None:
            decision = trial_on_input(loaded, _document(whole))
        else:
            given = _document(facts) if facts else {}
            ignored = [name for name in not_suppliable(given) if name != "claim"] if isinstance(given, Mapping) else []
            if ignored:
                click.echo(
                    f"warning: facts {clean(', '.join(ignored))} are not for a pipeline to say, and are left out", err=True
                )
            decision = trial(loaded, given, _document(reviews) if reviews else [], _instant(now), requester)
    except ConfigError as broken:
        if form == "json":
            problems = [clean(problem) for problem in broken.problems]
            click.echo(json.dumps({"decision": "error", "reasons": problems, "notes": [], "policies": []}, indent=2))
        raise
    if form == "json":
        click.echo(json.dumps(document_of(decision), indent=2))
        return
    for line in decision.result.lines():
        click.echo(clean(line))
    for line in (*(f"note: {note}" for note in decision.notes), *(f"flag: {flag}" for flag in decision.flags)):
        click.echo(clean(line))


@commands.command("lint")
@click.argument("files", metavar="FILE...", nargs=-1, required=True, type=A_FILE)
def lint_(files: tuple[Path, ...]) -> None:
    """Find what is wrong with policies: file, line, column, and the way out. Exit code 1 on any error."""
    failed = False
    for file in files:
        try:
            loaded = _loaded((file,))
        except ConfigError as broken:
            failed = True
            say_errors(broken)
            continue
        found = [finding for one in loaded for finding in lint(one)]
        for finding in found:
            click.echo(shortened(clean(str(finding))))
        errors = sum(finding.error for finding in found)
        failed = failed or errors > 0
        click.echo(f"{clean(str(file))}: {counted(errors, 'error')}, {counted(len(found) - errors, 'warning')}")
    if failed:
        click.get_current_context().exit(FAILED)


@commands.command("test")
@click.argument("directory", metavar="DIR", type=click.Path(exists=True, path_type=Path))
def test_(directory: Path) -> None:
    """Run the cases in DIR: files that end in .test.yaml, each beside its policy.

    Exit code 1 where one fails.
    """
    files = cases.files_in(directory) if directory.is_dir() else [directory]
    if not files:
        raise ConfigError([f"{directory}: has no cases: no file whose name ends in {', '.join(cases.SUFFIXES)}"])
    passed = failed = 0
    for file in files:
        for outcome in cases.run(file):
            passed, failed = passed + outcome.passed, failed + (not outcome.passed)
            click.echo(f"{'ok  ' if outcome.passed else 'FAIL'} {clean(outcome.file)} {clean(outcome.case)}".rstrip())
            for problem in outcome.problems:
                click.echo(f"     {shortened(clean(problem))}")
    click.echo(f"{passed} passed, {failed} failed")
    if failed:
        click.get_current_context().exit(FAILED)


# ---- policies and claims of a pool ----------------------------------------------


@commands.command()
@click.argument("files", metavar="FILE...", nargs=-1, required=True, type=A_FILE)
@click.option("--pool", required=True, shell_complete=POOLS, help="The pool whose claims to ask about.")
@FORMAT
@connected
def backtest(files: tuple[Path, ...], pool: str, form: str, **options: str | None) -> None:
    """Show which of a pool's stored claims would have gone differently under these policies.

    Changes nothing.
    """
    loaded = _loaded(files)
    _warn(loaded)
    store, connection = store_of(options)
    require_pool(store, pool, connection.table)
    ids = dict.fromkeys(event.claim_id for event in store.events(pool) if event.claim_id)
    asked = [claim for claim in store.claims(list(ids)) if claim.need_approval and not _is_open(claim)]
    policy = stored(loaded)
    rows = []
    with progress("asking the policies", "claims") as watch:
        for number, claim in enumerate(asked, 1):
            row = _difference(store, claim, policy)
            rows += [row] if row is not None else []
            watch(number, len(asked))
    if form == "json":
        click.echo(json.dumps({"claims": len(asked), "different": rows}, indent=2))
        return
    click.echo(f"{counted(len(asked), 'claim')} asked for an approval; {len(rows)} would have gone differently")
    for row in rows:
        click.echo(
            f"{row['id']} {clean(row['lock_name'])} {row['timestamp']}: was {row['was']}, would be {row['would_be']}: {row['why']}"
        )


def _is_open(claim: Claim) -> bool:
    return claim.state is State.PENDING


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


@commands.command("set")
@click.argument("pool", metavar="POOL", shell_complete=POOLS)
@click.argument("files", metavar="FILE...", nargs=-1, required=True, type=A_FILE)
@REVIEWER
@connected
def set_(pool: str, files: tuple[Path, ...], reviewer: str | None, **options: str | None) -> None:
    """Let every claim in POOL satisfy these policies too, whatever its pipeline says.

    The log tells who set them.
    """
    loaded = _loaded(files)
    _warn(loaded)
    _put(pool, stored(loaded), reviewer, options)
    click.echo(
        f"INFO: pool {clean(pool)} has {counted(len(loaded), 'policy document')}; they hold for claims that wait now, too"
    )


@commands.command()
@click.argument("pool", metavar="POOL", shell_complete=POOLS)
@REVIEWER
@connected
def unset(pool: str, reviewer: str | None, **options: str | None) -> None:
    """Take POOL's policy away; the log tells who did."""
    _put(pool, "", reviewer, options)
    click.echo(f"INFO: pool {clean(pool)} has no policy of its own")


@commands.command()
@click.argument("pool", metavar="POOL", shell_complete=POOLS)
@FORMAT
@connected
def show(pool: str, form: str, **options: str | None) -> None:
    """Show POOL's policy, as YAML or JSON."""
    require_pool_name(pool)
    store, connection = store_of(options)
    require_pool(store, pool, connection.table)
    text = store.settings(pool).policy
    try:
        documents: list[Any] = json.loads(text) if text else []
    except ValueError as broken:
        raise CorruptRecordError(f"the policy of pool {clean(pool)}", "it is no JSON") from broken
    if form == "json":
        click.echo(json.dumps(documents, indent=2))
    elif not documents:
        click.echo(f"pool {clean(pool)} has no policy of its own")
    else:
        import yaml

        click.echo(yaml.safe_dump(documents, sort_keys=False, allow_unicode=False), nl=False)


def _put(pool: str, policy: str, reviewer: str | None, options: dict[str, str | None]) -> None:
    require_pool_name(pool)
    store, connection = store_of(options)
    pools.set_policy(store, pool, policy, actor=reviewer_of(connection, reviewer))


# ---- files -------------------------------------------------------------------------


def _loaded(files: tuple[Path, ...]) -> list[Loaded]:
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


def _warn(loaded: list[Loaded]) -> None:
    """Print lint's warnings about the policies.

    Raises:
        ConfigError: lint finds an error in them.
    """
    for finding in require_no_errors(loaded):
        click.echo(shortened(clean(str(finding))), err=True)


def _document(file: Path) -> object:
    return parse(text_of(file), str(file))[0]


def _instant(text: str | None) -> datetime:
    if text is None:
        return datetime.now(UTC)  # noqa: TID251 - a trial decides nothing
    try:
        return instant_of(text)
    except ValueError as wrong:
        raise ConfigError([f"--now: {wrong}"]) from wrong
