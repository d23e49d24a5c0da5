"""What the three scripts share: stdin, stdout, signals and exit codes."""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from approval_resource.clock import HostClock
from approval_resource.errors import ApprovalError, ConfigError
from approval_resource.logs import log_to
from approval_resource.options import try_part
from approval_resource.steps.aborts import ABORTED_CODE, Aborted, aborts
from approval_resource.steps.log import Log
from approval_resource.steps.protocol import Source, Version, read_request, version_timestamp
from approval_resource.store.dynamodb.store import DynamoStore
from approval_resource.text import first_lines

if TYPE_CHECKING:
    from approval_resource.steps.step import Step

FAILED = 1


class _Handler(logging.Handler):
    """This package's log records as lines of the build log."""

    def __init__(self, log: Log) -> None:
        super().__init__()
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        self._log.say(record.getMessage())


def main(step: str, leave: Callable[[int], object] = lambda code: None, log: Log | None = None) -> int:
    """Run `check`, `in` or `out` as Concourse does; returns the exit code.

    0: done. 1: the step failed, for a reason given on stderr. 143: it was aborted. `leave` is called
    right after the answer was written, while an abort could still undo what was done.
    """
    out, sys.stdout = sys.stdout, sys.stderr
    log = log or Log(sys.stderr)
    try:
        with aborts(log.say):
            stdin = sys.stdin.buffer.read() if sys.stdin else b""
            _run(step, sys.argv[1:], stdin, os.environ, log, partial(_answer, out, leave))
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


def _answer(out: TextIO | None, leave: Callable[[int], object], document: object) -> None:
    try:
        if out is None:
            raise Aborted
        out.write(json.dumps(document) + "\n")
        out.flush()
    except OSError as deaf:
        # Nobody hears the answer, so what it tells of must not stay.
        raise Aborted from deaf
    leave(0)


@dataclass(frozen=True, slots=True, repr=False)
class Call:
    """One run of a script: all it was given, and every problem found in that so far. Its repr tells nothing of it: keys too."""

    request: Mapping[str, Any]
    source: Source | None
    arguments: list[str]
    environ: Mapping[str, str]
    problems: list[str]
    say: Callable[[str], None]

    def directory(self) -> Path:
        """The build's directory; where the argument is wrong, that is noted as a problem."""
        if len(self.arguments) != 1:
            self.problems.append("usage: the one argument is the build's directory, as Concourse gives it")
            return Path()
        return Path(self.arguments[0])

    def step(self, source: Source, store: DynamoStore, directory: Path) -> Step:
        """The step that this run is."""
        from approval_resource.steps import step

        return step.Step(source, directory, step.build_of(self.environ), store, HostClock(), self.say)


Answer = Callable[[object], None]
Ready = Callable[[Source, DynamoStore, Answer], None]


def _run(step: str, arguments: list[str], stdin: bytes, environ: Mapping[str, str], log: Log, answer: Answer) -> None:
    request = read_request(stdin)
    source, problems = try_part(Source, request.get("source", {}))
    log.secrets = source.secrets() if source else []
    ready = {"check": _check, "in": _get, "out": _put}[step](Call(request, source, arguments, environ, problems, log.say))
    if source is None or ready is None or problems:
        raise ConfigError(problems)
    log_to(_Handler(log), debug=source.debug)
    ready(source, DynamoStore.connect(source.connection), answer)


def _check(call: Call) -> Ready | None:
    from approval_resource.steps.check import check

    version = call.request.get("version") or None
    if version is not None:
        try:
            version_timestamp(version)
        except ConfigError as wrong:
            call.problems.extend(wrong.problems)
    return lambda source, store, answer: answer(check(source, version, store))


def _get(call: Call) -> Ready | None:
    from approval_resource.steps.get import GetParams, get

    params, problems = try_part(GetParams, call.request.get("params") or {})
    call.problems.extend(problems)
    directory = call.directory()
    try:
        version = Version.parse(call.request.get("version") or {})
    except ConfigError as wrong:
        call.problems.extend(wrong.problems)
        return None
    if params is None:
        return None
    return lambda source, store, answer: answer(get(call.step(source, store, directory), params, version))


def _put(call: Call) -> Ready | None:
    from approval_resource.steps.params import read_put_params
    from approval_resource.steps.put import check_put, put

    params, problems = read_put_params(call.request.get("params") or {})
    call.problems.extend(problems)
    directory = call.directory()
    if params is None:
        return None
    if call.source is not None:
        call.problems.extend(check_put(call.source, params))
    return lambda source, store, answer: put(call.step(source, store, directory), params, answer)
