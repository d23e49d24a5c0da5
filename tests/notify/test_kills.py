"""A process that tells people is killed at random moments: nothing is lost, and what comes twice has the same id."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from approval_resource.claims.end import end_claim
from approval_resource.model.event import State
from approval_resource.notify.config import DEFAULT_ON
from approval_resource.store.dynamodb.store import DynamoStore
from approval_resource.store.interface import Connection
from demo.engine import ROOT, Engine
from tests import tally
from tests.builders import take
from tests.notify.conftest import SECRET
from tests.notify.standins import Receiver

KILLS = (20, 300)
"""In a short run, and in a soak."""
MOMENT = 0.03
"""Seconds within which it is killed once it has told so many messages as was drawn: about as long as one takes."""
PATIENCE = 1.5
"""Seconds that a process gets at most, since there may be less to tell."""
SECONDS = 300


def live(parent: subprocess.Popen[str], done: Callable[[], object], more: float = 0, most: float = SECONDS) -> None:
    """Let one process follow until that is done and some time more, and kill it."""
    say(parent)
    end = time.monotonic() + most
    while not done() and time.monotonic() < end:
        time.sleep(0.002)
    time.sleep(more)
    say(parent)


def told(receiver: Receiver, number: int) -> bool:
    """Whether it got so many."""
    return len(receiver.taken) >= number


def say(parent: subprocess.Popen[str]) -> None:
    """Start a child, or kill it."""
    assert parent.stdin is not None
    assert parent.stdout is not None
    parent.stdin.write("\n")
    parent.stdin.flush()
    assert parent.stdout.readline()


@pytest.mark.long
@pytest.mark.timeout(1200)
def test_kills_lose_nothing_and_repeat_at_most_one_each(
    engine: Engine, connection: Connection, store: DynamoStore, receiver: Receiver, tmp_path: Path, effort: tally.Effort
) -> None:
    """Claims come and go while it is killed; then it may finish. Each event came, in order, with one id."""
    _, random = tally.seeded()
    kills = effort.of(*KILLS)
    config = tmp_path / "notify.yaml"
    config.write_text(f"""
table: {connection.table}
channels: {{hook: {{webhook: "{receiver.url}", secret: env:HOOK_SECRET}}}}
notify: [{{pools: [payments], to: [hook]}}]
""")
    store.create_table()
    environment = {**os.environ, **engine.environment(connection.table), "HOOK_SECRET": SECRET, "PYTHONPATH": str(ROOT)}
    # Errors of a child that is killed in the middle of something are no one's.
    with subprocess.Popen(
        [sys.executable, "-m", "tests.notify.program", str(config)],
        cwd=ROOT,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as parent:
        try:
            # The channel has its place in the log before anything happens.
            live(parent, lambda: store.outbox.progress("hook").cursors)
            for number in range(kills):
                claim = take(store, number, lock_name=f"lock-{number}")
                if number % 2:
                    end_claim(store, claim, State.WITHDRAWN, actor="aws:ana", reason="no more")
                goal = len(receiver.taken) + random.randint(0, 3)
                live(parent, partial(told, receiver, goal), random.uniform(0, MOMENT), PATIENCE)
            wanted = [f"msg_{event.digest[:32]}" for event in store.events("payments") if event.kind.state in DEFAULT_ON]
            live(parent, lambda: set(receiver.ids) >= set(wanted))
        finally:
            parent.kill()
    times = Counter(receiver.ids)
    assert set(times) == set(wanted)
    assert list(dict.fromkeys(receiver.ids)) == wanted, "each came, in order, and nothing else"
    assert times.total() - len(times) <= kills + 1
    assert max(times.values()) <= kills
    tally.add(notify_kills=kills, notify_repeats=times.total() - len(times))
