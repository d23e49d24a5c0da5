"""Shared parts of the commands: connection, reviewer, errors as lines, and finding a claim."""

from __future__ import annotations

import getpass
import importlib
import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource
from click.exceptions import NoArgsIsHelpError

from approval_resource.canonical import EMPTY
from approval_resource.claims.lookup import find
from approval_resource.commands.exit_codes import FAILED, INTERRUPTED, READER_GONE
from approval_resource.errors import ApprovalError, ConfigError, CorruptRecordError, LockNotFoundError, StoreUnavailableError
from approval_resource.model.claim import MAX_COMMENT, Claim
from approval_resource.program import called
from approval_resource.store.dynamodb.connect import caller_arn
from approval_resource.store.dynamodb.store import DynamoStore
from approval_resource.store.interface import DEFAULT_TABLE, Connection, LockStore
from approval_resource.text import clean, first_lines, quoted, shortened

MIN_PREFIX = 8
FULL_ID = 36
MAX_REVIEWER = 64
MAX_SHOWN = 8
"""Upper bound of the names that a hint tells."""
CONNECTION_OPTIONS = (
    click.option("--table", envvar="APPROVAL_TABLE", help=f"The DynamoDB table [default: {DEFAULT_TABLE}]."),
    click.option("--region", envvar=["AWS_DEFAULT_REGION", "AWS_REGION"], help="The table's AWS region."),
    click.option("--profile", envvar="AWS_PROFILE", help="A profile of ~/.aws/config."),
    click.option("--endpoint-url", envvar="AWS_ENDPOINT_URL_DYNAMODB", help="Another address of DynamoDB."),
)
TO_STDERR = partial(click.echo, err=True)
PROGRESS_STEP = 25
"""Number of items between two updates of the line of progress."""
FORMAT = click.option("--format", "form", type=click.Choice(["table", "json"]), default="table", show_default=True)
REVIEWER = click.option(
    "--reviewer", envvar="APPROVAL_REVIEWER", help="Who you are, where AWS can't tell; stored as typed [default: login name]."
)
REASON = click.option("--reason", default="", help="Why; kept on record.")


def connected(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the connection options; they may stand before the command's name too."""
    for option in reversed(CONNECTION_OPTIONS):
        command = option(command)
    return command


class Commands(click.Group):
    """A group whose commands end with one line and exit code 1 on every failure raised on purpose."""

    def __init__(self, *args: Any, later: Mapping[str, str] = EMPTY, remote: str = "", **kwargs: Any) -> None:
        """Take in `later` the groups that are loaded when they are called: name to module.

        `remote`: module of the commands that stand in for these where --service is given.
        """
        kwargs.setdefault("context_settings", {"help_option_names": ["-h", "--help"], "max_content_width": 100})
        super().__init__(*args, **kwargs)
        self._later = later
        self._remote = remote

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands, those that are loaded later included."""
        return sorted([*super().list_commands(ctx), *self._later])

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command; suggest those of all names for an unknown one."""
        try:
            return super().resolve_command(ctx, args)
        except click.NoSuchCommand as unknown:
            raise click.NoSuchCommand(unknown.command_name, possibilities=self.list_commands(ctx), ctx=ctx) from None

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return the command, loading its module where it is loaded later."""
        if self._remote and ctx.params.get("service"):
            there: Mapping[str, click.Command] = importlib.import_module(self._remote).COMMANDS
            if cmd_name not in there and cmd_name in self.list_commands(ctx):
                raise ConfigError([f"{cmd_name} needs the table; through a service there are {', '.join(sorted(there))}"])
            return there.get(cmd_name)
        if cmd_name not in self._later:
            return super().get_command(ctx, cmd_name)
        found: click.Command = importlib.import_module(self._later[cmd_name]).commands
        return found

    def make_context(self, *args: Any, **kwargs: Any) -> click.Context:
        """Parse the command line; words that are wrong are shown without control characters."""
        try:
            return super().make_context(*args, **kwargs)
        except NoArgsIsHelpError:
            raise
        except click.UsageError as wrong:
            raise _fit(wrong) from wrong
        except (KeyboardInterrupt, BrokenPipeError) as ended:
            raise _cut_short(ended) from None

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; end with exit code 1 and one line for each problem of an expected failure."""
        try:
            return self._invoked(ctx)
        except (KeyboardInterrupt, BrokenPipeError) as ended:
            raise _cut_short(ended) from None

    def _invoked(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except ApprovalError as error:
            say_errors(error)
        except NoArgsIsHelpError:
            raise
        except click.UsageError as wrong:
            raise _fit(wrong) from wrong
        except UnicodeEncodeError:
            say_error("an argument holds bytes that are no text in UTF-8")
        except BrokenPipeError:
            raise
        except OSError as error:
            say_error(f"can't read or write {error.filename or 'the output'}: {error.strerror or error}")
        ctx.exit(FAILED)


def _cut_short(by: KeyboardInterrupt | BrokenPipeError) -> click.exceptions.Exit:
    """Return the end of a command that was interrupted, after its one line, or whose reader has gone."""
    if isinstance(by, KeyboardInterrupt):
        with suppress(BrokenPipeError):
            click.echo("Interrupted; the same command may be given again", err=True)
            return click.exceptions.Exit(INTERRUPTED)
    _drop_output()
    return click.exceptions.Exit(READER_GONE)


def _drop_output() -> None:
    """Send to nowhere all that is still to be written: the interpreter flushes its streams when it ends."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):  # a stream of a test has no descriptor
            os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


def _fit(wrong: click.UsageError) -> click.UsageError:
    """Return the error without control characters: click repeats in it what was typed."""
    return click.UsageError(shortened(clean(wrong.format_message())), wrong.ctx)


def say_errors(error: ApprovalError) -> None:
    """Write the first lines of the error's text on stderr."""
    for line in first_lines(str(error).splitlines()):
        say_error(line)


def say_error(line: str) -> None:
    """Write one line of an error on stderr."""
    click.echo(f"ERROR: {shortened(clean(line))}", err=True)


@contextmanager
def progress(what: str, unit: str, *, beside_output: bool = False) -> Iterator[Callable[[int, int], None]]:
    """Yield a callback of long work: how much is done, and of how much, or 0 where nobody knows that.

    It keeps one line on stderr, and none where stderr is no terminal. The line is gone at the end. With
    `beside_output`, output is written meanwhile: on a terminal that is progress enough.
    """
    stream = sys.stderr
    shown = stream.isatty() and not (beside_output and sys.stdout.isatty())

    def tell(done: int, total: int = 0) -> None:
        if shown and done % PROGRESS_STEP == 0:
            known = f" of {total:,}" if total else ""
            stream.write(f"\r{clean(what)}: {done:,}{known} {unit}\x1b[K")
            stream.flush()

    try:
        yield tell
    finally:
        if shown:
            stream.write("\r\x1b[K")
            stream.flush()


OUTPUT = click.option(
    "--output",
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write this file instead of stdout; it is there whole or not at all.",
)


@contextmanager
def output_to(file: Path | None) -> Iterator[Callable[[str], object]]:
    """Yield a function that writes text to the file, or to stdout for None.

    The file gets its name when all is written. Until then an older one of that name stays, and what was
    written of the new one is removed where anything goes wrong. A device or pipe of that name is written to.
    """
    if file is None:
        yield partial(click.echo, nl=False)
        return
    file = file.resolve()  # a link stays one
    if file.exists() and not file.is_file():
        with file.open("w", encoding="utf-8", newline="") as written:
            yield written.write
        return
    number, name = tempfile.mkstemp(prefix=f".{file.name}.", dir=file.parent)
    try:
        with open(number, "w", encoding="utf-8", newline="") as written:
            yield written.write
        mask = os.umask(0)
        os.umask(mask)
        os.chmod(name, 0o666 & ~mask)  # as any new file has; a temporary one is the owner's alone
        os.replace(name, file)
    except BaseException:
        with suppress(OSError):
            os.unlink(name)
        raise


def connection_of(base: Connection, options: Mapping[str, str | None]) -> Connection:
    """Return the connection with the options that are given in place of its own."""
    given: dict[str, Any] = {name: value for name, value in options.items() if value}
    return replace(base, **given)


def store_of(options: Mapping[str, str | None]) -> tuple[DynamoStore, Connection]:
    """Return the store that the command's options and those before the command name, and its connection."""
    context = click.get_current_context()
    connection = connection_in(context, context.find_object(Connection) or Connection(), options)
    return DynamoStore.connect(connection), connection


def connection_in(context: click.Context, base: Connection, options: Mapping[str, str | None]) -> Connection:
    """Return the connection `base` of the group, changed by a command's own options.

    The environment was read for the group. Read again for the command, it would beat options before it.
    """
    given = {
        name: value for name, value in options.items() if context.get_parameter_source(name) is ParameterSource.COMMANDLINE
    }
    return connection_of(base, given)


def filled_in(inputs: tuple[str, ...]) -> dict[str, str]:
    """Parse the values of --input into a map by name.

    Raises:
        ConfigError: one isn't NAME=VALUE, or a name comes twice.
    """
    found: dict[str, str] = {}
    for given in inputs:
        name, equals, value = given.partition("=")
        if not equals or not name or name in found:
            raise ConfigError([f"--input: {clean(given)[:80]} must be NAME=VALUE, each name once"])
        found[name] = value
    return found


def reviewer_of(connection: Connection, typed: str | None, say: Callable[[str], object] = TO_STDERR) -> str:
    """Return the reviewer's identity, which begins with how it is known.

    `say` is told where it isn't the one that was expected.

    Raises:
        ConfigError: STS should know and can't be asked, or there is no name.
    """
    try:
        arn = caller_arn(connection)
    except StoreUnavailableError as unknown:
        if not typed:
            raise ConfigError([f"{unknown}; try again, or give --reviewer NAME to be recorded as a typed name"]) from unknown
        arn = ""
        say(f"{unknown}; recorded is a typed name")
    if arn:
        if typed:
            say(f"AWS knows you as {arn}; --reviewer only counts where it doesn't")
        return f"aws:{arn}"
    try:
        name = clean(typed or getpass.getuser()).strip()
    except (KeyError, OSError) as nobody:
        raise ConfigError(["this machine has no name for you; give --reviewer NAME"]) from nobody
    if not name or len(name) > MAX_REVIEWER:
        raise ConfigError([f"--reviewer: must be a name of at most {MAX_REVIEWER} characters"])
    return f"typed:{name}"


def require_pool_name(pool: str) -> None:
    """Pass for a name that a pool can have.

    Raises:
        ConfigError: no pool can be called so.
    """
    if not pool or pool != clean(pool).strip():
        raise ConfigError(["POOL: must be a pool's name"])


def require_pool(store: LockStore, pool: str | None, table: str) -> None:
    """Pass for a pool with any record, and for None.

    Raises:
        LockNotFoundError: there is no such pool. The message names those that exist.
    """
    try:
        if pool is None or store.head(pool) is not None:
            return
    except CorruptRecordError:
        return  # the audit reports an altered head; the pool's records can still be shown
    try:
        known = store.pools()
    except StoreUnavailableError:  # a role that may not read the whole table sees the pools in which locks are held
        known = sorted({claim.pool for claim in store.open_claims()})
    shown = ", ".join(clean(name) for name in known[:MAX_SHOWN]) + (" and others" if len(known) > MAX_SHOWN else "")
    there = f"there {'are' if len(known) > 1 else 'is'} {shown}" if known else "nothing was ever claimed there"
    raise LockNotFoundError(f"there is no pool {quoted(pool)} in table {table}; {there}")


def reason_of(text: str) -> str:
    """Return a reason as it is stored.

    Raises:
        ConfigError: it is too long.
    """
    if len(text) > MAX_COMMENT:
        raise ConfigError([f"--reason: at most {MAX_COMMENT} characters, not {len(text)}"])
    return clean(text)


def find_claim(store: LockStore, given: str, *, ended: bool = False) -> Claim:
    """Return the claim with that id, or the one open claim whose id begins so.

    With `ended`, a claim that has ended is found if no open one is.

    Commands that decide leave `ended` off, so a prefix never leads them to a claim that has ended.

    Raises:
        LockNotFoundError: there is none, or more than one.
    """
    given = given.strip().lower()
    if len(given) >= FULL_ID or len(given) < MIN_PREFIX:
        claim = store.claim(given) if len(given) == FULL_ID else None
        if claim is None:
            short = (
                f"; give the whole id, or {MIN_PREFIX} or more characters of an open claim's" if len(given) < MIN_PREFIX else ""
            )
            raise LockNotFoundError(f"there is no claim {clean(given)[:FULL_ID]}{short}; see {called()} list --all")
        return claim
    ids, which = store.open_claim_ids(given), "open "
    if ended and not ids:
        with suppress(StoreUnavailableError):  # a role that may not read the whole table finds open claims alone
            ids, which = store.claim_ids_from(given), ""
    if len(ids) != 1:
        what = f"{len(ids)} {which}claims' ids begin" if ids else f"no {which}claim's id begins"
        raise LockNotFoundError(f"{what} with {clean(given)}; give the whole id, see {called()} list --all")
    return find(store, ids[0])
