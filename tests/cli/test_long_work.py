"""Long commands: progress on a terminal alone, an end by Ctrl-C that leaves nothing half-written, and bounded memory."""

from __future__ import annotations

import hashlib
import json
import os
import pty
import signal
import subprocess
import sys
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import pytest

from approval_resource.audit import exported
from approval_resource.audit.export import line_of
from approval_resource.audit.exported import Exported
from approval_resource.canonical import instant
from approval_resource.documents.claims import CLAIM
from approval_resource.documents.events import EVENT, HEAD
from approval_resource.documents.locks import LOCK
from approval_resource.model.claim import Claim
from approval_resource.model.event import Event
from approval_resource.store.dynamodb.store import DynamoStore
from approval_resource.store.dynamodb.values import document
from approval_resource.store.interface import Connection
from tests.bench.audits import Writer, a_long_log
from tests.builders import FrozenTime
from tests.cli.conftest import POOL, ROOT, SECONDS, Environment, Run

LONG = {
    "audit verify": ("audit", "verify"),
    "audit export": ("audit", "export"),
    "audit report": ("audit", "report", "--pool", POOL),
    "audit report, JSON": ("audit", "report", "--pool", POOL, "--format", "json"),
    "policy backtest": ("policy", "backtest", "POLICY", "--pool", POOL),
}
MEASURED = LONG | {
    "audit report, page": ("audit", "report", "--pool", POOL, "--format", "html"),
    "audit report, CSV": ("audit", "report", "--pool", POOL, "--format", "csv"),
}
"""Commands whose memory is measured: every way to write what the long work finds."""


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    """A policy of two people."""
    path = tmp_path / "policy.yaml"
    path.write_text("required_approvals: 2\n", encoding="utf-8")
    return path


@pytest.fixture
def pool(connect: Callable[..., DynamoStore]) -> DynamoStore:
    """A pool of 60 claims, each approved by one person and released."""
    time = FrozenTime()
    time.tick(hours=2)
    store = connect(time)
    store.create_table()
    a_long_log(store, POOL, 240)
    return store


def words(name: str, policy: Path) -> list[str]:
    """The command line of that name."""
    return [str(policy) if word == "POLICY" else word for word in MEASURED[name]]


@contextmanager
def started(arguments: list[str], environment: Environment, stderr: int) -> Iterator[subprocess.Popen[bytes]]:
    """The command as a process, which is over at the end.

    Its coverage isn't measured: a signal that comes while the tracer holds its lock would hang it.
    """
    unmeasured = {name: text for name, text in os.environ.items() if not name.startswith("COVERAGE_")}
    process = subprocess.Popen(
        [sys.executable, "cli.py", *arguments],
        cwd=ROOT,
        env=unmeasured | environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=stderr,
    )
    with process:
        try:
            yield process
            process.wait(60)
        finally:
            process.kill()


# ---- progress ----------------------------------------------------------------------------


@pytest.mark.usefixtures("pool")
@pytest.mark.parametrize("name", LONG)
@pytest.mark.long
def test_long_work_shows_progress_on_a_terminal_alone(name: str, policy: Path, environment: Environment) -> None:
    """One line on stderr, gone at the end; none of it where stderr is piped, and none on stdout."""
    ours, theirs = pty.openpty()
    try:
        with started(words(name, policy), environment, stderr=theirs) as program:
            os.close(theirs)
            assert program.stdout is not None
            out = program.stdout.read()
            told = b"".join(iter(lambda: _some(ours), b"")).decode()
    finally:
        os.close(ours)
    assert program.returncode == 0
    assert "25" in told
    assert "\r" in told
    assert told.endswith("\r\x1b[K")
    assert "\n" not in told
    with started(words(name, policy), environment, stderr=subprocess.PIPE) as piped:
        again, silent = piped.communicate(timeout=SECONDS)
    assert silent == b""
    assert out == again or name in ("audit export", "policy backtest")
    assert b"\r" not in out


def _some(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:
        return b""


# ---- interrupted -----------------------------------------------------------------------------


@pytest.mark.usefixtures("pool")
@pytest.mark.parametrize("name", LONG)
@pytest.mark.parametrize("last", [False, True], ids=["at the first read of claims", "at the last"])
@pytest.mark.long
def test_an_interrupt_ends_in_one_line_and_leaves_nothing(
    run: Run, monkeypatch: pytest.MonkeyPatch, policy: Path, tmp_path: Path, name: str, *, last: bool
) -> None:
    """Exit code 130; an older file of that name stays, and no other is left."""
    arguments = words(name, policy)
    kept = tmp_path / "kept"
    kept.write_text("older", encoding="utf-8")
    if name.startswith(("audit export", "audit report")):
        arguments += ["--output", str(kept)]
    before = sorted(tmp_path.iterdir())
    calls, real = [0], DynamoStore.claims

    def counting(store: DynamoStore, ids: list[str]) -> list[Claim]:
        calls[0] += 1
        if calls[0] == stop:
            raise KeyboardInterrupt
        return real(store, ids)

    monkeypatch.setattr(DynamoStore, "claims", counting)
    stop = 1
    if last:
        stop = 0
        assert run(*arguments).exit_code == 0
        stop, calls[0] = calls[0], 0
        kept.write_text("older", encoding="utf-8")
    ran = run(*arguments)
    assert (ran.exit_code, ran.stdout, ran.stderr) == (130, "", "Interrupted; the same command may be given again\n")
    assert kept.read_text(encoding="utf-8") == "older"
    assert sorted(tmp_path.iterdir()) == before


def test_a_signal_ends_a_process_alike(pool: DynamoStore, environment: Environment, tmp_path: Path) -> None:
    """Ctrl-C at a terminal, in the middle of an export to a file."""
    kept = tmp_path / "export.jsonl"
    ours, theirs = pty.openpty()
    try:
        arguments = ["audit", "export", "--output", str(kept)]
        with started(arguments, environment, stderr=theirs) as program:
            os.close(theirs)
            told = b""
            while b"exporting" not in told:
                more = _some(ours)
                assert more, told
                told += more
            program.send_signal(signal.SIGINT)
            told += b"".join(iter(lambda: _some(ours), b""))
    finally:
        os.close(ours)
    assert program.returncode == 130
    assert told.endswith(b"\r\x1b[KInterrupted; the same command may be given again\r\n")
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_was_written_is_as_others_are(pool: DynamoStore, run: Run, tmp_path: Path) -> None:
    """Whole, verifiable, and with the permissions of any new file; a directory that isn't there is told."""
    kept = tmp_path / "export.jsonl"
    ran = run("audit", "export", "--output", str(kept))
    assert (ran.exit_code, ran.stdout) == (0, "")
    beside = tmp_path / "beside"
    beside.touch()
    assert kept.stat().st_mode == beside.stat().st_mode
    assert run("audit", "verify", "--export", str(kept)).exit_code == 0
    link = tmp_path / "link"
    link.symlink_to(kept)
    assert run("audit", "export", "--output", str(link)).exit_code == 0
    assert link.is_symlink()
    assert run("audit", "export", "--output", "/dev/null").exit_code == 0
    assert Path("/dev/null").is_char_device()
    ran = run("audit", "export", "--output", str(tmp_path / "no such" / "file"))
    assert (ran.exit_code, ran.stdout, ran.stderr.count("\n")) == (1, "", 1)


# ---- bounded in memory -------------------------------------------------------------------------


FEW, MANY = 200, 2_000
MOST = 2**20
"""Bytes that so many claims more may take: 580 for each."""


class OnDisk(Exported):
    """A record that is read from a file, without an engine that would be slower than the commands."""

    def events(self, pool: str, **narrow: Any) -> Iterator[Event]:
        """The pool has no settings, so that nobody looks through the whole log for them."""
        return iter(()) if narrow.get("lock_name") == "" else super().events(pool, **narrow)


def written(path: Path, claims: int) -> None:
    """An export of a pool with so many claims, each approved and released."""
    writer = Writer(cast("DynamoStore", None), POOL)
    for number in range(claims):
        writer.life(number)
    documents = [document(item) for item in writer.items]
    lines: list[dict[str, Any]] = [
        {"record": "pool", "pool": POOL, "format": 1, "at": instant(writer._now), "head": HEAD.write(writer._head)}
    ]
    lines += [{"record": "lock", "lock": LOCK.write(lock)} for lock in writer._locks.values()]
    lines += [{"record": "claim", "claim": CLAIM.write(CLAIM.read(one))} for one in documents if "kind" not in one]
    lines += [EVENT.write(EVENT.read(one)) for one in documents if "kind" in one]
    lines.append({"record": "head", "head": HEAD.write(writer._head)})
    text = "".join(f"{line_of(line)}\n" for line in lines)
    end = {"record": "end", "pools": [POOL], "digest": hashlib.sha256(text.encode()).hexdigest()}
    path.write_text(f"{text}{line_of(end)}\n", encoding="utf-8")


@pytest.fixture(scope="module")
def exports(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """A record of a few claims, and one of ten times as many."""
    paths = [tmp_path_factory.mktemp("exports") / f"{claims}.jsonl" for claims in (FEW, MANY)]
    for path, claims in zip(paths, (FEW, MANY), strict=True):
        written(path, claims)
    return paths


@pytest.mark.long
@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", MEASURED)
def test_the_memory_of_long_work_does_not_go_by_the_claims(
    run: Run, monkeypatch: pytest.MonkeyPatch, policy: Path, tmp_path: Path, exports: list[Path], name: str
) -> None:
    """Each command on a few claims and on ten times as many; every one of them would have gone differently in the backtest."""
    peaks: list[int] = []
    for path in exports:
        with exported.opened(path) as pools:
            found = pools[POOL]
            store = OnDisk(found.file, POOL, found.header, offsets=found.offsets, places=found.places)
            for module in ("audit", "report", "backtest"):
                monkeypatch.setattr(f"approval_resource.commands.{module}.store_of", lambda _, s=store: (s, Connection()))
            pool = () if "--pool" in MEASURED[name] else ("--pool", POOL)
            peaks.append(peak(run, [*words(name, policy), *pool], tmp_path))
    few, many = peaks
    assert many - few <= MOST


def peak(run: Run, arguments: list[str], tmp_path: Path) -> int:
    """The most memory that a command takes at once, without what it printed."""
    if {"export", "report"} & set(arguments):
        arguments = [*arguments, "--output", str(tmp_path / "out")]
    tracemalloc.start()
    try:
        ran = run(*arguments)
        held = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert ran.exit_code == 0, ran.output[-500:]
    return held - 3 * len(ran.stdout)  # the test keeps it, as bytes and as text


def test_a_backtest_has_each_claim_once_and_its_summary_first(pool: DynamoStore, run: Run, policy: Path) -> None:
    """Also those that are open, and however many events a claim has."""
    lines = run("policy", "backtest", str(policy), "--pool", POOL).stdout.splitlines()
    assert lines[0] == "60 claims asked for an approval; 60 would have gone differently"
    assert len({line.split()[0] for line in lines[1:]}) == len(lines) - 1 == 60
    document = json.loads(run("policy", "backtest", str(policy), "--pool", POOL, "--format", "json").stdout)
    assert (document["claims"], len(document["different"])) == (60, 60)
