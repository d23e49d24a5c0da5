"""`make bench`: measures all groups, says which budgets hold, and writes docs/performance.md and its picture.

`python -m tests.bench latency waiting` measures only those, and writes nothing.

A budget that is missed is told, and fails nothing: these are times, on whatever machine this is. What is exact (requests and units)
is a test beside this.
"""

from __future__ import annotations

import platform
import re
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from approval_resource.store.dynamodb.store import DynamoStore
from approval_resource.store.interface import Connection
from demo.engine import REGION, ministack
from tests.bench import audits, contention, growth, latency, memory, pages, plot, starts, waiting
from tests.bench.results import Group

DOCS = Path(__file__).resolve().parents[2] / "docs"
MEASURED = re.compile(r"(<!-- measured -->\n).*?(<!-- end -->)", re.DOTALL)


def main() -> None:
    """Measure, tell, write."""
    began = time.monotonic()
    groups: list[Group] = []

    def tell(*found: Group) -> None:
        groups.extend(found)
        for group in found:
            print(group, flush=True)

    with ministack() as engine:
        connection = Connection(
            table="bench", region=REGION, endpoint_url=engine.url, access_key_id="bench", secret_access_key="bench-secret"
        )
        store = DynamoStore.connect(connection)
        store.create_table()
        kinds: dict[str, Callable[[], Iterable[Group]]] = {
            "starts": lambda: starts.measure(connection, store),
            "latency": lambda: [latency.measure(connection, store)],
            "contention": lambda: [contention.measure(connection)],
            "memory": lambda: [memory.measure(connection, store)],
            "waiting": lambda: [waiting.measure(connection, store)],
            "pages": lambda: [pages.measure(connection, store)],
            "audits": lambda: [audits.measure(store)],
        }
        for kind in sys.argv[1:] or kinds:
            tell(*kinds[kind]())
        if sys.argv[1:]:
            return
        grown, drawn = growth.measure(connection, store)
        tell(grown)
    groups.sort(key=lambda group: group.title)
    (DOCS / "growth.svg").write_text(plot.svg(growth.SIZES, drawn), encoding="utf-8")
    _write(groups)
    print(f"\n{time.monotonic() - began:.0f} s in all")
    for group in groups:
        for budget in group.budgets:
            print(budget)


def _write(groups: list[Group]) -> None:
    """Put the tables into the page, in the place of those that were there."""
    page = DOCS / "performance.md"
    told = [
        f"Python {platform.python_version()}, {platform.machine()}, MiniStack. Medians, with the quartiles in brackets.",
        "",
    ]
    for group in groups:
        told += [f"### {group.title}", "", group.table(), ""]
        told += ["![Processor time by closed claims](growth.svg)", ""] if group.title.startswith("4") else []
        told += [line for note in group.notes for line in (note, "")]
        budgets = [f"- {str(budget).strip()}" for budget in group.budgets]
        told += [*budgets, ""]
    text = MEASURED.sub(lambda found: f"{found[1]}\n" + "\n".join(told) + found[2], page.read_text(encoding="utf-8"))
    page.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
