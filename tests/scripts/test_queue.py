"""Waiting for a lock, holding it and losing it, as Concourse runs it."""

from __future__ import annotations

import json
import re
from datetime import timedelta

import pytest

from approval_resource.audit import verify as audit
from approval_resource.model.event import Kind, State
from approval_resource.store.interface import LockStore
from tests.builders import a_build
from tests.scripts.conftest import LOCK, POOL, Concourse, held_by, kept, until


def in_queue(store: LockStore) -> list[str]:
    """The numbers of the builds that wait, the front first."""
    lock = store.lock(POOL, LOCK)
    return [waiter.build.rpartition("#")[2] for waiter in lock.queue] if lock else []


def test_the_build_log_tells_place_and_who_is_ahead(concourse: Concourse, store: LockStore) -> None:
    """Who holds the lock and since when, the place, who comes first; a line when that changes, and none per look."""
    held = concourse.claim(build=1).version
    second = concourse.start_put("claim", build=2, lock_name=LOCK, need_approval=True)
    second.says("Place 1 of 1 in the queue for deploy")
    third = concourse.start_put("claim", build=3, lock_name=LOCK, need_approval=True)
    line = third.says("Place 2 of 2 in the queue for deploy, after main/app/deploy #2 (waiting for ")
    assert re.search(r"\(waiting for \d+ s\)$", line.rstrip())
    assert f"already claimed by main/app/deploy #1 ({a_build(1).link}) for " in third.stderr
    concourse.reject(held)
    assert second.ends().version["state"] == "pending"
    third.says("already claimed by main/app/deploy #2")
    third.says("Place 1 of 1 in the queue for deploy")
    assert len(third.stderr.splitlines()) == 5
    assert third.stop().code == 143
    assert in_queue(store) == []


def test_an_aborted_waiter_leaves_at_once(concourse: Concourse, store: LockStore) -> None:
    """Within 5 s, without a place in the queue, without a claim, and the one behind it moves up."""
    concourse.claim(build=1)
    waiters = []
    for number in (2, 3):
        waiters.append(concourse.start_put("claim", build=number, lock_name=LOCK))
        waiters[-1].says(f"Place {number - 1} of {number - 1}")
    stopped = waiters[0].stop()
    assert (stopped.code, stopped.stdout) == (143, "")
    assert stopped.seconds < 5
    assert in_queue(store) == ["3"]
    waiters[1].says("Place 1 of 1")
    assert waiters[1].stop().code == 143
    assert [event.claim_id for event in store.events(POOL)] == [held_by(store)]


@pytest.mark.long
def test_a_killed_waiter_holds_nobody_up(concourse: Concourse, store: LockStore) -> None:
    """Its place is dropped when its turn has come and it doesn't take it."""
    held = concourse.claim(build=1).version
    dead = concourse.start_put("claim", build=2, lock_name=LOCK)
    dead.says("Place 1 of 1")
    alive = concourse.start_put("claim", build=3, lock_name=LOCK)
    alive.says("Place 2 of 2")
    dead.kill()
    concourse.reject(held)
    assert alive.ends().version["state"] == "held"
    assert in_queue(store) == []


@pytest.mark.long
def test_giving_up_waiting_is_a_failed_step(concourse: Concourse, store: LockStore) -> None:
    """`wait_timeout`: exit 1 with who holds the lock, and nothing left behind."""
    held = concourse.claim(build=1).version
    told = concourse.put("claim", build=2, lock_name=LOCK, wait_timeout="1s").refused()
    assert f"is still held by main/app/deploy #1 (claim {held['id']}); this build has left the queue" in told
    assert in_queue(store) == []
    assert held_by(store) == held["id"]


@pytest.mark.long
def test_priority_goes_before_arrival(concourse: Concourse, store: LockStore) -> None:
    """Higher first."""
    held = concourse.claim(build=1).version
    low = concourse.start_put("claim", build=2, lock_name=LOCK)
    low.says("Place 1 of 1")
    high = concourse.start_put("claim", build=3, lock_name=LOCK, priority=1)
    high.says("Place 1 of 2")
    low.says("Place 2 of 2 in the queue for deploy, after main/app/deploy #3")
    concourse.reject(held)
    assert high.ends().version["state"] == "held"
    assert low.stop().code == 143


def test_a_lock_nobody_released_is_taken_over(concourse: Concourse, store: LockStore) -> None:
    """After its `hold_timeout`, by who waits for it; the old build's late release leaves the new claim alone."""
    old = concourse.put("claim", build=1, lock_name=LOCK, hold_timeout="1s")
    (concourse.workspace(1) / "lock").mkdir()
    (concourse.workspace(1) / "lock" / "id").write_text(old.version["id"])
    new = concourse.put("claim", build=2, lock_name=LOCK)
    assert f"The claim {old.version['id']} on it is expired by main/app/deploy #2 at " in new.stderr
    assert kept(store, old.version).state is State.EXPIRED
    late = concourse.put("release", build=1, from_="lock")
    assert late.version["id"] == old.version["id"]
    assert "had ended before (expired)" in late.stderr
    assert held_by(store) == new.version["id"]
    (event,) = (event for event in store.events(POOL) if event.kind is Kind.EXPIRED)
    assert "main/app/deploy #1 held it" in event.reason
    assert "main/app/deploy #2 took it over" in event.reason
    assert audit.verify(store, POOL).findings == []


@pytest.mark.long
def test_a_renewed_hold_is_not_taken_over(concourse: Concourse, store: LockStore) -> None:
    """`renew` answers with the claim's version, and the lock stays where it is; once it has ended, renewing fails."""
    old = concourse.put("claim", build=1, lock_name=LOCK, hold_timeout="1s")
    renewed = concourse.put("renew", build=1, lock_name=LOCK, hold_timeout="10m")
    assert renewed.version == old.version
    assert "The lock deploy may be held until " in renewed.stderr
    assert "is still held by" in concourse.put("claim", build=2, lock_name=LOCK, wait_timeout="3s").refused()
    concourse.put("release", build=1, lock_name=LOCK)
    assert "is released by main/app/deploy #1" in concourse.put("renew", build=1, lock_name=LOCK).refused()


def test_an_approval_has_a_deadline(concourse: Concourse, store: LockStore) -> None:
    """`expires_after`: the waiting put fails, says by when nobody decided, and the lock is free."""
    told = concourse.put("claim", build=1, lock_name=LOCK, need_approval=True, wait=True, expires_after="1s").refused()
    assert "of lock deploy by " in told
    assert held_by(store) == ""


@pytest.mark.long
def test_an_expiry_with_nobody_waiting_is_found_by_check(concourse: Concourse, store: LockStore) -> None:
    """A resource with `states` ends the claim, and emits that."""
    pending = concourse.claim(build=1, expires_after="1s").version
    watching = concourse.sourced(states=["expired"])
    found = until(lambda: watching.versions(), "the expiry")
    assert [(version["id"], version["state"]) for version in found] == [(pending["id"], "expired")]


def test_expires_after_needs_somebody_to_ask(concourse: Concourse) -> None:
    """A lock that is merely held has a `hold_timeout` instead."""
    assert "see hold_timeout" in concourse.put("claim", lock_name=LOCK, expires_after="1h").refused()


def test_a_forced_release_frees_a_lock_in_one_command(concourse: Concourse, store: LockStore) -> None:
    """From a build that was killed while it waited for its decision; the next in the queue gets it."""
    waiting = concourse.start_put("claim", build=1, lock_name=LOCK, need_approval=True, wait=True)
    waiting.says("is waiting for an approval")
    waiting.kill()
    behind = concourse.start_put("claim", build=2, lock_name=LOCK)
    behind.says("Place 1 of 1")
    stuck = held_by(store)
    rows = json.loads(concourse.cli("list", "--waiting", "--format", "json").stdout)
    assert [(row["build"], row["held_by"]) for row in rows] == [("main/app/deploy #2", stuck)]
    assert concourse.cli("release", stuck, "--force", "--reason", "its worker is gone").code == 0
    assert behind.ends().version["state"] == "held"
    (forced,) = (event for event in store.events(POOL) if event.forced)
    assert (forced.claim_id, forced.reason) == (stuck, "its worker is gone")


def test_the_queue_is_left_alone_by_an_override(concourse: Concourse, store: LockStore) -> None:
    """It takes the pending claim's place; who waited goes on waiting."""
    pending = concourse.claim(build=1).version
    waiter = concourse.start_put("claim", build=2, lock_name=LOCK)
    waiter.says("Place 1 of 1")
    newer = concourse.claim(build=3, override_approval=True).version
    assert kept(store, pending).state is State.SUPERSEDED
    waiter.says("already claimed by main/app/deploy #3")
    assert held_by(store) == newer["id"]
    assert waiter.stop().code == 143


def test_the_time_of_the_hold_is_in_the_list(concourse: Concourse, store: LockStore) -> None:
    """`show` and `list --wide` tell until when a lock may be held."""
    claim = kept(store, concourse.put("claim", lock_name=LOCK, hold_timeout="90m").version)
    assert claim.hold_until is not None
    assert abs(claim.hold_until - claim.timestamp - timedelta(minutes=90)) < timedelta(seconds=1)
    assert f"{claim.hold_until:%Y-%m-%d %H:%M}" in concourse.cli("show", claim.id).stdout
