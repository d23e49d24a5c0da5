"""An audit takes as much memory for a long log as for a short one, and as little work for each of its events."""

from __future__ import annotations

import sys
import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest

from approval_resource.audit import verify as audit
from approval_resource.store.dynamodb.store import DynamoStore
from tests.bench.audits import a_long_log
from tests.builders import FrozenTime

SHORT, LONG = 1000, 5000
PAGE = 7 * 2**20
"""Bytes that a page of a query may take. Once the log is longer than one, the page worked on and the next are held."""
CALLS_AN_EVENT = 400
"""Calls of Python's functions. `make bench` measures their time, which is the machine's, too."""


def peak(store: DynamoStore, pool: str) -> int:
    """The most memory that an audit of the pool holds at once, in bytes."""
    tracemalloc.start()
    try:
        assert audit.verify(store, pool).findings == []
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def calls(store: DynamoStore, pool: str, events: int) -> float:
    """How many functions an audit of the pool calls for each event, in its own thread."""
    count = 0

    def called(_frame: Any, what: str, _arg: Any) -> None:
        nonlocal count
        count += what == "call"

    sys.setprofile(called)
    try:
        report = audit.verify(store, pool)
    finally:
        sys.setprofile(None)
    assert (report.findings, report.events, report.claims) == ([], events, events // 4)
    return count / events


@pytest.mark.long
@pytest.mark.timeout(600)
def test_an_audit_s_memory_and_work_go_by_what_lives_at_once(connect: Callable[..., DynamoStore]) -> None:
    """Five times the events take two pages more at most, and no more work for each."""
    time = FrozenTime()
    time.tick(hours=2)
    store = connect(time)
    store.create_table()
    a_long_log(store, "short", SHORT)
    a_long_log(store, "long", LONG)
    audit.verify(store, "short")
    each = calls(store, "long", LONG)
    assert each < calls(store, "short", SHORT) * 1.05
    assert each < CALLS_AN_EVENT
    assert peak(store, "long") - peak(store, "short") < 2 * PAGE
