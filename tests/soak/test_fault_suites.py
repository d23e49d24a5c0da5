"""Every suite again, on a store whose requests meet conflicts, transactions in progress and throttling all the time."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
from collections import Counter
from contextlib import suppress
from pathlib import Path

import pytest

from demo.engine import ROOT, Engine
from tests import tally
from tests.soak.toxics import CONTENTION, FAULTY

RATE = 0.3
SECONDS = 800
WORKERS = 3
"""Most of the time goes by in pauses before the next try, so these share a processor."""
STORE = ("tests/contract/test_store.py",)
STEPS = ("tests/contract/test_store.py", "tests/contract/test_machine.py", "tests/steps")
SCRIPTS = ("tests/scripts/test_gates.py", "tests/cli/test_deciding.py")
"""Not what counts requests or asks the engine by itself, as the original's suite and the audit's do."""
ELSEWHERE = "moto"
"""An engine to which this line does not lead."""
COUNTING = ("a_look_is_one_read", "looks_twice_a_second", "cheap_read", "costs_no_more", "asks_the_log_twice")
"""Tests of the steps that count requests, and would count those that were refused."""
LINE = """#!/bin/sh
PYTHONPATH={root} exec {python} -m tests.soak.toxics {arguments}
"""


def run_again(suites: tuple[str, ...], kinds: tuple[str, ...], engine: Engine, scratch: Path) -> None:
    """Run those suites where a line with these faults stands in their engine's place."""
    seed, _ = tally.seeded()
    print(f"APPROVAL_SEED={seed}")  # noqa: T201
    met, line = scratch / "met", scratch / "ministack"
    met.mkdir()
    arguments = shlex.join([engine.url, str(RATE), str(seed), str(met), *kinds])
    line.write_text(LINE.format(root=shlex.quote(str(ROOT)), python=shlex.quote(sys.executable), arguments=arguments))
    line.chmod(0o755)
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--basetemp", str(scratch / "again")]
    command += ["--numprocesses", str(WORKERS), "--timeout", str(SECONDS), "-m", "not long"]
    command += ["-k", " and ".join(f"not {name}" for name in (ELSEWHERE, *COUNTING))]
    code, told = _run([*command, *suites], {"MINISTACK": str(line), FAULTY: "1"})
    assert code == 0, told[-20_000:]
    passed = re.search(r"(\d+) passed", told)
    assert passed, told
    applied: Counter[str] = sum((Counter(json.loads(part.read_text())) for part in met.iterdir()), Counter())
    assert set(applied) == set(kinds), applied
    tally.add(faults=applied.total(), suite_tests_again=int(passed[1]), lost=0, double=0, stuck=0)


def _run(command: list[str], given: dict[str, str]) -> tuple[int, str]:
    """Its exit code and what it said; it and all that it started are gone at the end, whatever happens."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("COV", "PYTEST", "APPROVAL_"))}
    running = subprocess.Popen(
        command,
        cwd=ROOT,
        env=environment | given,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    with running:
        try:
            told, _ = running.communicate(timeout=SECONDS)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(running.pid, signal.SIGKILL)
    return running.returncode, told


@pytest.mark.long
@pytest.mark.timeout(SECONDS)
def test_the_contract_holds_under_contention_and_throttling(engine: Engine, tmp_path: Path) -> None:
    """All that any store must do, where three of ten requests are refused for a while, for any of these reasons."""
    run_again(STORE, CONTENTION, engine, tmp_path)


@pytest.mark.long
@pytest.mark.timeout(SECONDS)
@pytest.mark.parametrize("kind", CONTENTION)
def test_contract_machine_and_steps_hold_under(kind: str, engine: Engine, tmp_path: Path) -> None:
    """The store, the state machine and the steps, where three of ten requests are refused in this one way."""
    run_again(STEPS, (kind,), engine, tmp_path)


@pytest.mark.long
@pytest.mark.timeout(SECONDS)
def test_scripts_hold_under_contention_and_throttling(engine: Engine, tmp_path: Path) -> None:
    """The scripts and the command line, where three of ten requests are refused for any of these reasons."""
    run_again(SCRIPTS, CONTENTION, engine, tmp_path)
