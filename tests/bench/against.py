"""`make bench-against BASE=HEAD~1`: the same processes of two commits, in turns; prints what got slower."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

from approval_resource.store.dynamodb.store import DynamoStore
from approval_resource.store.interface import Connection
from demo.engine import REGION, ministack
from tests.bench import running, starts
from tests.bench.results import ms, ratio

ROUNDS = 20
NOTICED = 1.05
"""A process that takes this much of its former time has got slower."""


def main() -> None:
    """Argument: the commit to compare with."""
    base = sys.argv[1]
    known = subprocess.run(
        ["git", "rev-parse", "--verify", "--quiet", f"{base}^{{commit}}"], cwd=running.ROOT, capture_output=True
    )
    if known.returncode:
        print(f"there is no commit {base} here to compare with")
        return
    before = Path(tempfile.mkdtemp(prefix="before-"))
    try:
        archive = subprocess.run(["git", "archive", base], cwd=running.ROOT, capture_output=True, check=True).stdout
        subprocess.run(["tar", "--extract", "--directory", str(before)], input=archive, check=True)
        subprocess.run([running.PYTHON, "-m", "compileall", "-q", str(before / "approval_resource")], check=False)
        running.compiled()
        _compare(before, base)
    finally:
        shutil.rmtree(before, ignore_errors=True)


GROUPS = """
import sys
from approval_resource.store.dynamodb.store import DynamoStore
from approval_resource.store.interface import Connection
from tests.bench import contention, latency
url, region, table = sys.argv[1:]
connection = Connection(table=table, region=region, endpoint_url=url, access_key_id="bench", secret_access_key="bench-secret")
store = DynamoStore.connect(connection)
store.create_table()
print(latency.measure(connection, store))
print(contention.measure(connection))
"""
"""Program that measures gates and contention of the tree in which it runs, by that tree's own bench."""
PAIRS = 2


def _waits(url: str, before: Path) -> None:
    """Measure what waits, too, in turns: of each tree by its own bench, on a table of its own."""
    for pair in range(PAIRS):
        for name, tree in (("before", before), ("now", running.ROOT)):
            print(f"\n{name}:", flush=True)
            subprocess.run([running.PYTHON, "-c", GROUPS, url, REGION, f"{name}-{pair}"], cwd=tree, check=True)


def _compare(before: Path, base: str) -> None:
    with ministack() as engine:
        connection = Connection(
            table="bench", region=REGION, endpoint_url=engine.url, access_key_id="bench", secret_access_key="bench-secret"
        )
        store = DynamoStore.connect(connection)
        store.create_table()
        cases = []
        for name, tree in (("now", running.ROOT), ("before", before)):
            given = {"PYTHONPATH": str(tree)}
            cli = [running.PYTHON, str(tree / "cli.py")]
            found = starts.cases(
                connection, store, f"{name}-pool", python=running.PYTHON, scripts=str(tree / "assets"), cli=cli
            )
            for case in found:
                if case["name"] in starts.BUDGETS:
                    cases.append(case | {"name": f"{case['name']} {name}", "environment": case["environment"] | given})
        times = running.timed(cases, ROUNDS)
        if os.environ.get("WAITS"):
            _waits(engine.url, before)
    slower = []
    for name in starts.BUDGETS:
        now, then = times[f"{name} now"]["clock"], times[f"{name} before"]["clock"]
        part = ratio(now, then)
        print(f"{name}: {ms(now)} ms, before {ms(then)} ms; {part:.2f} of it")
        if part > NOTICED:
            slower.append(f"{name} takes {(median(now) - median(then)) * 1000:.0f} ms longer than at {base}")
    print("\n".join(slower) if slower else f"nothing got slower since {base}")


if __name__ == "__main__":
    main()
