"""Frame of the three scripts: stdin, stdout, signals and exit codes."""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from approval_resource.clock import HostClock
from approval_resource.errors import ApprovalError, ConfigError, Problems, TableMissingError
from approval_resource.logs import Log, log_to
from approval_resource.steps.aborts import ABORTED_CODE, Aborted, aborts
from approval_resource.steps.protocol import Source, Version, read_request, version_timestamp
from approval_resource.store.dynamodb.store import DynamoStore
from approval_resource.strict_options import read_part
from approval_resource.text import first_lines

if TYPE_CHECKING:
    from approval_resource.steps.step import Step

FAILED = 1
Undo = list[Callable[[], object]]
Work = Callable[[Source, DynamoStore], object]
"""Rest of a step, called once all of its input is valid. It returns the document for stdout."""


class _Handler(logging.Handler):
    """Handler that writes this package's log records as lines of the build log."""

    def __init__(self, log: Log) -> None:
        super().__init__()
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        self._log.say(record.getMessage())


def main(step: str, leave: Callable[[int], object] = lambda code: None, log: Log | None = None) -> int:
    """Run `check`, `in` or `out` as Concourse does; return the exit code.

    Exit codes: 0 done; 1 failed, for a reason given on stderr; 143 stopped. `leave` is called with 0 right
    after the answer is written. Until `leave` ends the process, a signal still undoes the step.
    """
    out, sys.stdout = sys.stdout, sys.stderr
    log = log or Log(sys.stderr)
    undo: Undo = []
    try:
        with aborts(log.say):
            try:
                stdin = sys.stdin.buffer.read() if sys.stdin else b""
                _write(out, _run(step, sys.argv[1:], stdin, os.environ, log, undo))
                leave(0)
            except Aborted:
                # Concourse discards the answer of a stopped step, so what the answer reports must not stay.
                for each in undo:
                    each()
                raise
    except ApprovalError as error:
        for line in first_lines(str(error).splitlines()):
            log.say(line)
        return FAILED
    except OSError as error:
        log.say(f"can't read or write {error.filename or 'what was to be read or written'}: {error.strerror or error}")
        return FAILED
    except Aborted:
        return ABORTED_CODE
    return 0


def _write(out: TextIO | None, document: object) -> None:
    """Write the answer to `out`.

    Raises:
        Aborted: nobody can read it, so the step must be undone.
    """
    try:
        if out is None:
            raise Aborted
        out.write(json.dumps(document) + "\n")
        out.flush()
    except OSError as deaf:
        raise Aborted from deaf


@dataclass(frozen=True, slots=True, repr=False)
class Call:
    """One run of a script: its input, and what to undo if it is stopped. Its repr shows no credential."""

    request: Mapping[str, Any]
    arguments: list[str]
    environ: Mapping[str, str]
    say: Callable[[str], None]
    undo: Undo
    problems: Problems = field(default_factory=Problems)

    def directory(self) -> Path:
        """Return the build's directory.

        Raises:
            ConfigError: there isn't exactly one argument.
        """
        if len(self.arguments) != 1:
            raise ConfigError(["usage: the one argument is the build's directory, as Concourse gives it"])
        return Path(self.arguments[0])

    def step(self, source: Source, store: DynamoStore) -> Step:
        """Return this run as a step on `store`."""
        from approval_resource.steps.step import Step, build_of

        return Step(source, self.directory(), build_of(self.environ), store, HostClock(), self.say, self.undo)


def _run(step: str, arguments: list[str], stdin: bytes, environ: Mapping[str, str], log: Log, undo: Undo) -> object:
    """Do the step and return its answer.

    Raises:
        ConfigError: every problem of the request, together.
        Others: as the step.
    """
    call = Call(read_request(stdin), arguments, environ, log.say, undo)
    source = call.problems.gather(read_part, Source, call.request.get("source", {}))
    log.secrets = source.secrets() if source else []
    work = {"check": _check, "in": _get, "out": _put}[step](call, source)
    call.problems.require_none()
    if source is None or work is None:
        raise AssertionError("a value is None, but no problem was recorded for it")
    log_to(_Handler(log), debug=source.debug)
    return work(source, DynamoStore.connect(source.connection, creates=step == "out"))


def _check(call: Call, _: Source | None) -> Work | None:
    from approval_resource.steps.check import check

    version = call.request.get("version") or None
    if version is not None:
        call.problems.gather(version_timestamp, version)

    def work(source: Source, store: DynamoStore) -> object:
        try:
            return check(source, version, store)
        except TableMissingError as missing:
            # Concourse checks a new resource before its first put creates the table.
            call.say(f"nothing has happened yet: {missing}")
            return []

    return work


def _get(call: Call, _: Source | None) -> Work | None:
    from approval_resource.steps.get import GetParams, get

    params = call.problems.gather(read_part, GetParams, call.request.get("params") or {})
    call.problems.gather(call.directory)
    version = call.problems.gather(Version.parse, call.request.get("version") or {})
    if params is None or version is None:
        return None
    return lambda source, store: get(call.step(source, store), params, version)


def _put(call: Call, source: Source | None) -> Work | None:
    from approval_resource.steps.put import check_put, put
    from approval_resource.steps.put_params import read_put_params

    params = call.problems.gather(read_put_params, call.request.get("params") or {})
    call.problems.gather(call.directory)
    if params is None:
        return None
    if source is not None:
        call.problems.gather(check_put, source, params)
    return lambda source, store: put(call.step(source, store), params)
