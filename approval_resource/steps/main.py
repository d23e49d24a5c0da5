"""What the three scripts share: stdin, stdout, signals and exit codes."""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from approval_resource.clock import HostClock
from approval_resource.errors import ApprovalError, ConfigError
from approval_resource.steps.aborts import ABORTED, Aborted, aborts
from approval_resource.steps.protocol import (
    GetParams,
    Source,
    Version,
    build_of,
    read_put_params,
    read_request,
    try_part,
    version_timestamp,
)
from approval_resource.store.dynamodb import DynamoStore
from approval_resource.text import clean

FAILED = 1


class Log:
    """The build log: whole lines on stderr, with nothing in them that would move a cursor or tell a secret."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self.secrets: list[str] = []

    def say(self, line: str) -> None:
        """One line."""
        for secret in self.secrets:
            line = line.replace(secret, "((redacted))")
        text = clean(line).encode(self._stream.encoding or "utf-8", "backslashreplace")
        self._stream.write(text.decode(self._stream.encoding or "utf-8") + "\n")
        self._stream.flush()


class _Handler(logging.Handler):
    """This package's log records as lines of the build log."""

    def __init__(self, log: Log) -> None:
        super().__init__()
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        self._log.say(record.getMessage())


def main(step: str) -> int:
    """Run `check`, `in` or `out` as Concourse does; returns the exit code.

    0: done. 1: the step failed, for a reason given on stderr. 143: it was aborted.
    """
    out, sys.stdout = sys.stdout, sys.stderr
    log = Log(sys.stderr)
    try:
        with aborts(log.say):
            answer = _run(step, sys.argv[1:], sys.stdin.buffer.read(), os.environ, log)
    except ApprovalError as error:
        for line in str(error).splitlines():
            log.say(line)
        return FAILED
    except Aborted:
        return ABORTED
    out.write(json.dumps(answer) + "\n")
    out.flush()
    return 0


@dataclass(frozen=True, slots=True)
class Call:
    """One run of a script: all it was given, and every problem found in that so far."""

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


Ready = Callable[[Source, DynamoStore], object]


def _run(step: str, arguments: list[str], stdin: bytes, environ: Mapping[str, str], log: Log) -> object:
    request = read_request(stdin)
    source, problems = try_part(Source, request.get("source", {}))
    log.secrets = source.secrets() if source else []
    ready = {"check": _check, "in": _get, "out": _put}[step](Call(request, source, arguments, environ, problems, log.say))
    if source is None or ready is None or problems:
        raise ConfigError(problems)
    logger = logging.getLogger("approval_resource")
    logger.addHandler(_Handler(log))
    logger.setLevel(logging.DEBUG if source.debug else logging.WARNING)
    return ready(source, DynamoStore.connect(source.connection))


def _check(call: Call) -> Ready | None:
    from approval_resource.steps.check import check

    version = call.request.get("version") or None
    if version is not None:
        try:
            version_timestamp(version)
        except ConfigError as wrong:
            call.problems.extend(wrong.problems)
    return lambda source, store: check(source, version, store)


def _get(call: Call) -> Ready | None:
    from approval_resource.steps.get import get

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
    return lambda source, store: get(source, params, version, directory, build_of(call.environ), store, HostClock(), call.say)


def _put(call: Call) -> Ready | None:
    from approval_resource.steps.put import check_put, put

    params, problems = read_put_params(call.request.get("params") or {})
    call.problems.extend(problems)
    directory = call.directory()
    if params is None:
        return None
    if call.source is not None:
        call.problems.extend(check_put(call.source, params))
    return lambda source, store: put(source, params, directory, build_of(call.environ), store, HostClock(), call.say)
