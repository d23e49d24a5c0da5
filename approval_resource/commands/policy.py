"""policy: try, lint and test policies; show and set a pool's."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from approval_resource import pools
from approval_resource.commands import screen
from approval_resource.commands.backtest import A_FILE, backtest, loaded_from, warn
from approval_resource.commands.completion import POOLS
from approval_resource.commands.exit_codes import FAILED
from approval_resource.commands.shared import (
    FORMAT,
    REVIEWER,
    Commands,
    connected,
    require_pool,
    require_pool_name,
    reviewer_of,
    say_errors,
    store_of,
)
from approval_resource.errors import ConfigError, CorruptRecordError
from approval_resource.policy.authoring import cases
from approval_resource.policy.authoring.lint import lint, require_no_errors
from approval_resource.policy.authoring.trial import document_of, trial, trial_on_input
from approval_resource.policy.facts import not_suppliable
from approval_resource.policy.language.load import parse, stored, text_of
from approval_resource.strict_options import instant_of
from approval_resource.text import clean, counted, shortened

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
    """Show what policies together decide, and why. Without FILE: the default policy."""
    if whole is not None and (facts or reviews or now or requester):
        raise ConfigError(["--input: is the whole of what is asked; leave out --facts, --reviews, --now, --requester"])
    try:
        loaded = loaded_from(files)
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
        screen.say(clean(line))
    for line in (*(f"note: {note}" for note in decision.notes), *(f"flag: {flag}" for flag in decision.flags)):
        screen.say(clean(line))


@commands.command("lint")
@click.argument("files", metavar="FILE...", nargs=-1, required=True, type=A_FILE)
def lint_(files: tuple[Path, ...]) -> None:
    """Find what is wrong with policies: file, line, column, and the way out. Exit code 1 on any error."""
    failed = False
    for file in files:
        try:
            loaded = loaded_from((file,))
        except ConfigError as broken:
            failed = True
            say_errors(broken)
            continue
        found = [finding for one in loaded for finding in lint(one)]
        for finding in found:
            screen.say(shortened(clean(str(finding))))
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
                screen.say(f"     {shortened(clean(problem))}")
    click.echo(f"{passed} passed, {failed} failed")
    if failed:
        click.get_current_context().exit(FAILED)


# ---- policies and claims of a pool ----------------------------------------------


@commands.command("set")
@click.argument("pool", metavar="POOL", shell_complete=POOLS)
@click.argument("files", metavar="FILE...", nargs=-1, required=True, type=A_FILE)
@REVIEWER
@connected
def set_(pool: str, files: tuple[Path, ...], reviewer: str | None, **options: str | None) -> None:
    """Require every claim in POOL to satisfy these policies too, whatever its pipeline says.

    The log tells who set them.
    """
    loaded = loaded_from(files)
    warn(loaded)
    _set_policy(pool, stored(loaded), reviewer, options)
    screen.say(
        f"INFO: pool {clean(pool)} has {counted(len(loaded), 'policy document')}; they hold for claims that wait now, too"
    )


@commands.command()
@click.argument("pool", metavar="POOL", shell_complete=POOLS)
@REVIEWER
@connected
def unset(pool: str, reviewer: str | None, **options: str | None) -> None:
    """Take POOL's policy away; the log tells who did."""
    _set_policy(pool, "", reviewer, options)
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


def _set_policy(pool: str, policy: str, reviewer: str | None, options: dict[str, str | None]) -> None:
    require_pool_name(pool)
    store, connection = store_of(options)
    pools.set_policy(store, pool, policy, actor=reviewer_of(connection, reviewer))


def _document(file: Path) -> object:
    return parse(text_of(file), str(file))[0]


def _instant(text: str | None) -> datetime:
    if text is None:
        return datetime.now(UTC)  # noqa: TID251 - a trial decides nothing
    try:
        return instant_of(text)
    except ValueError as wrong:
        raise ConfigError([f"--now: {wrong}"]) from wrong


commands.add_command(backtest)
