"""Many builds on one lock: all get it, in the order in which they came, and none fails."""

from __future__ import annotations

import pytest

from approval_resource.audit import verify as audit
from approval_resource.model.event import Kind
from approval_resource.store.interface import LockStore
from tests import tally
from tests.scripts.conftest import LOCK, POOL, Concourse, until


@pytest.mark.long
@pytest.mark.timeout(400)
def test_all_builds_get_the_lock_in_order(concourse: Concourse, store: LockStore, effort: tally.Effort) -> None:
    """Fifty-four in a soak, as a user's pipeline had: each claims once, the fences count up, the log is whole."""
    builds = effort.of(4, 54)
    first = concourse.put("claim", build=1, lock_name=LOCK)
    waiting = []
    for number in range(2, builds + 1):
        waiting.append(concourse.start_put("claim", build=number, lock_name=LOCK))
        until(lambda number=number: len(_queue(store)) == number - 1, f"build {number} in the queue")  # type: ignore[misc]
    assert first.version["state"] == "held"
    for number in range(1, builds + 1):
        if number > 1:
            result = waiting[number - 2].ends(120)
            assert result.code == 0, result.stderr
            assert result.version["state"] == "held"
        released = concourse.put("release", build=number, lock_name=LOCK)
        assert released.version["state"] == "released"
    claims = [store.claim(event.claim_id) for event in store.events(POOL) if event.kind is Kind.HELD]
    assert [(claim.build.name, claim.fence) for claim in claims if claim] == [
        (str(number), number) for number in range(1, builds + 1)
    ]
    assert _queue(store) == []
    assert audit.verify(store, POOL).findings == []
    tally.add(claims=builds, lost=0, double=0, stuck=0)


def _queue(store: LockStore) -> list[str]:
    lock = store.lock(POOL, LOCK)
    return [waiter.build for waiter in lock.queue] if lock else []
