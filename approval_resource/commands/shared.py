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
"""Upper bound of the names in a hint."""
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
    """Group whose commands turn an expected failure into lines on stderr and exit code 1."""

    def __init__(self, *args: Any, later: Mapping[str, str] = EMPTY, remote: str = "", **kwargs: Any) -> None:
        """Load each group of `later`, a map of name to module, only when it is called.

        `remote`: module of the commands that replace these with --service.
        """
        kwargs.setdefault("context_settings", {"help_option_names": ["-h", "--help"], "max_content_width": 100})
        super().__init__(*args, **kwargs)
        self._later = later
        self._remote = remote

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands, those that are loaded later included."""
        return sorted([*super().list_commands(ctx), *self._later])

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command. For an unknown name, suggest similar ones among all commands."""
        try:
            return super().resolve_command(ctx, args)
        except click.NoSuchCommand as unknown:
            raise click.NoSuchCommand(unknown.command_name, possibilities=self.list_commands(ctx), ctx=ctx) from None

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return the command, loading its module if need be; with --service, the service's command."""
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
            raise _printable(wrong) from wrong
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
            raise _printable(wrong) from wrong
        except UnicodeEncodeError:
            say_error("an argument holds bytes that are no text in UTF-8")
        except BrokenPipeError:
            raise
        except OSError as error:
            say_error(f"can't read or write {error.filename or 'the output'}: {error.strerror or error}")
        ctx.exit(FAILED)


def _cut_short(by: KeyboardInterrupt | BrokenPipeError) -> click.exceptions.Exit:
    """Return the Exit of a command that was interrupted, or whose reader has gone. Report an interruption."""
    if isinstance(by, KeyboardInterrupt):
        with suppress(BrokenPipeError):
            click.echo("Interrupted; the same command may be given again", err=True)
            return click.exceptions.Exit(INTERRUPTED)
    _drop_output()
    return click.exceptions.Exit(READER_GONE)


def _drop_output() -> None:
    """Point stdout and stderr at /dev/null, since the interpreter flushes both when it ends."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):  # a stream of a test has no descriptor
            os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


def _printable(wrong: click.UsageError) -> click.UsageError:
    """Return the error without control characters, since click's message repeats what was typed."""
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
    """Yield a progress callback: items done, and their total or 0 if unknown.

    It keeps one line on stderr if that is a terminal, and erases it at the end. With `beside_output` it also
    needs stdout to be piped: on a terminal, the output itself shows progress.
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

    Text goes to a temporary file, which replaces `file` once all is written, and is removed on any failure. A
    device or pipe is written to directly.
    """
    if file is None:
        yield partial(click.echo, nl=False)
        return
    file = file.resolve()  # the target of a symlink is replaced, not the symlink
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
        os.chmod(name, 0o666 & ~mask)  # the mode of a new file; mkstemp's is 0600
        os.replace(name, file)
    except BaseException:
        with suppress(OSError):
            os.unlink(name)
        raise


def connection_of(base: Connection, options: Mapping[str, str | None]) -> Connection:
    """Return `base` with each option that isn't empty in place of its own value."""
    given: dict[str, Any] = {name: value for name, value in options.items() if value}
    return replace(base, **given)


def store_of(options: Mapping[str, str | None]) -> tuple[DynamoStore, Connection]:
    """Return the store and its connection, by the options before and after the command's name."""
    context = click.get_current_context()
    connection = connection_in(context, context.find_object(Connection) or Connection(), options)
    return DynamoStore.connect(connection), connection


def connection_in(context: click.Context, base: Connection, options: Mapping[str, str | None]) -> Connection:
    """Return the group's connection `base`, changed by a command's own options.

    The group has read the environment. If the command read it too, it would override options that stand
    before the command's name.
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
    """Return the reviewer's identity: `aws:ARN`, or `typed:NAME` if AWS doesn't tell.

    Call `say` with a line if STS can't be asked, or if the typed name is ignored.

    Raises:
        ConfigError: STS can't be asked and no name was typed, or there is no usable name.
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
    """Return the claim with that id, or the one open claim whose id has that prefix.

    With `ended`, a prefix may also mean a claim that has ended, if it means no open one. Commands that decide
    leave `ended` off.

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
