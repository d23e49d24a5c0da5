"""The same inputs to the scripts and commands as Concourse and a shell start them: as processes of their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli import cli
from tests import tally
from tests.fuzz.commands import Word, lines
from tests.fuzz.conftest import Hunt
from tests.fuzz.inputs import Input, inputs
from tests.fuzz.mutations import Spoil, spoil
from tests.fuzz.oracle import longest, require_answer, require_command_ending, require_ending
from tests.fuzz.test_stdin import environment_of
from tests.fuzz.world import NOWHERE, Ran, furnish
from tests.scripts.conftest import ROOT, Concourse, Running

PATIENCE = 6.0
"""Seconds after which what still runs is aborted, as a build would be."""
OUTSIDE = dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"), NOWHERE) | {"NO_PROXY": "127.0.0.1"}


def ended(running: Running) -> Ran:
    """How it ended, aborted if it waited."""
    until = time.monotonic() + PATIENCE
    while running.running and time.monotonic() < until:
        time.sleep(0.02)
    result = running.stop() if running.running else running.ends()
    return Ran(result.code, result.stdout, result.stderr, 0)


@pytest.mark.timeout(600)
def test_a_script_of_its_own_process_answers_or_refuses(concourse: Concourse, hunt: Hunt) -> None:
    """Any request and any bytes, in a process with signals, streams and an exit code of its own."""
    furnish(concourse.workspace())
    tried = 0

    @hunt(3, 60)
    @given(one=inputs(), spoils=st.lists(spoil, max_size=1))
    def any_input(one: Input, spoils: list[Spoil]) -> None:
        nonlocal tried
        source = {**concourse.source, "pool": f"{uuid4()}", **one.source} if isinstance(one.source, dict) else one.source
        document = {"source": source, "params": one.params}
        stdin = json.dumps(document | {"version": one.version or None}).encode()
        for spoiled in spoils:
            stdin = spoiled(stdin)
        environment = {name: text for name, text in environment_of(one).items() if "\0" not in text}
        directory = concourse.workspace() / ("" if one.script == "out" else "gate")
        arguments = [] if one.script == "check" else [str(directory)]
        ran = ended(concourse.start(one.script, stdin, arguments, 1, **OUTSIDE, **environment))
        tried += 1
        require_ending(ran, max(longest([document, one.version, environment]), 10_000 if spoils else 0))
        if ran.code == 0:
            require_answer(one.script, ran.stdout, json.loads(ran.stdout))

    try:
        any_input()
    finally:
        tally.add(inputs=tried, processes=tried)


@pytest.mark.timeout(600)
def test_a_command_of_its_own_process_is_done_or_refused(concourse: Concourse, hunt: Hunt) -> None:
    """Any words, as a shell hands them over."""
    known = {"pool": str(concourse.source["pool"]), "id": concourse.claim().version["id"]}
    variables = concourse.engine.environment(concourse.table) | OUTSIDE | {"PATH": os.defpath, "LOGNAME": "ana"}
    tried = 0

    @hunt(2, 40)
    @given(line=lines(cli))
    def any_line(line: list[Word]) -> None:
        nonlocal tried
        words = [word if isinstance(word, str) else known[word.what][: word.length] for word in line if word != "--watch"]
        ran = subprocess.run(
            [sys.executable, str(ROOT / "cli.py"), *words],
            cwd=concourse.scratch,
            env=variables,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=30,
            check=False,
        )
        tried += 1
        raw = "--attachment" in words
        out, err = ran.stdout.decode(errors="replace" if raw else "strict"), ran.stderr.decode()
        require_command_ending(Ran(ran.returncode, out, err, 0), longest(words), raw=raw)

    try:
        any_line()
    finally:
        tally.add(inputs=tried, processes=tried)


@pytest.mark.parametrize("command", ["list", "show"])
def test_a_terminal_without_emoji_shows_the_rest(concourse: Concourse, command: str) -> None:
    """Whose terminal knows Western letters only can still see what waits, and decide."""
    version = concourse.claim("🔒", description="déployer").version
    variables = concourse.engine.environment(concourse.table) | {"PATH": os.defpath, "PYTHONIOENCODING": "latin-1"}
    words = [command] if command == "list" else [command, version["id"]]
    ran = subprocess.run(
        [sys.executable, str(ROOT / "cli.py"), *words], cwd=ROOT, env=variables, capture_output=True, timeout=30, check=False
    )
    assert ran.returncode == 0, ran.stderr
    assert "déployer" in ran.stdout.decode("latin-1")
