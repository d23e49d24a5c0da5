"""What made waiters spin, wait for themselves, wait too long, or lose their turn."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from approval_resource.claims import acquire as claims
from approval_resource.claims import wait_for_lock
from approval_resource.claims.roll_call import Act, RollCall
from approval_resource.errors import ApprovalError, NotYourTurnError, StoreUnavailableError, WaitTimeoutError
from approval_resource.model.claim import Claim, Claimant
from approval_resource.store.dynamodb.store import DynamoStore
from tests.builders import FrozenTime, ManualClock, take
from tests.contract.test_queue import Waiting, free, in_queue, the_lock, waiting

__all__ = ["waiting"]

HOUR = timedelta(hours=1)


@pytest.mark.parametrize("limit", ["expires_after", "hold_timeout"])
def test_an_override_drops_a_dead_front_too(
    shared: DynamoStore, time: FrozenTime, waiting: Callable[..., Waiting], limit: str
) -> None:
    """A pending holder whose time is up is no longer superseded: the lock is the queue's, and its front is waited out."""
    limits: dict[str, Any] = {limit: HOUR}
    take(shared, 1, **limits)
    waiting(2).join()
    time.tick(hours=2)
    overrider = waiting(3, override_approval=True)
    assert overrider.wait(wait_timeout=timedelta(seconds=30)).build == overrider.build
    assert len(overrider.clock.slept) < 10


def test_a_build_never_waits_for_its_own_claim(
    shared: DynamoStore, waiting: Callable[..., Waiting], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of two runs of one build the second finds the claim of the first, also when that came while it joined; no place is left."""
    held = take(shared, 1)
    one, two = waiting(2), waiting(2)
    one.join()
    real = shared.requeue
    made: list[Claim] = []

    def late(*arguments: Any) -> Any:
        if not made:
            free(shared, held)()
            made.append(claims.take(shared, one.request, Claimant(one.build), one.attempt).claim)
        return real(*arguments)

    monkeypatch.setattr(shared, "requeue", late)
    assert two.wait(wait_timeout=timedelta(seconds=40)).id == made[0].id
    assert in_queue(shared) == []


def test_a_long_pause_doesnt_outlast_the_time_for_waiting(shared: DynamoStore, waiting: Callable[..., Waiting]) -> None:
    """A waiter that looks once an hour gives up after its minute all the same."""
    take(shared, 1)
    waiter = waiting(2, pause=3600.0)
    with pytest.raises(WaitTimeoutError):
        waiter.wait(wait_timeout=timedelta(minutes=1))
    assert sum(waiter.clock.slept) == pytest.approx(60, abs=1)


def test_an_outage_doesnt_outlast_the_time_for_waiting(
    shared: DynamoStore, waiting: Callable[..., Waiting], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also one that began before anything was known of the lock."""
    waiter = waiting(2)

    def away(*_: object) -> None:
        raise StoreUnavailableError("away", transient=True)

    monkeypatch.setattr(shared, "commit", away)
    with pytest.raises(ApprovalError):
        waiter.wait(wait_timeout=timedelta(seconds=30))
    assert sum(waiter.clock.slept) == pytest.approx(30, abs=1)


def test_a_place_that_could_not_be_given_up_is_told(
    shared: DynamoStore, waiting: Callable[..., Waiting], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where writes are throttled when the time is up, nobody says that the build has left."""
    take(shared, 1)
    waiter = waiting(2)
    waiter.join()

    def away(*_: object) -> None:
        raise StoreUnavailableError("throttled", transient=True)

    with pytest.raises(WaitTimeoutError, match="could not leave the queue, and will be passed over"):
        waiter.wait(lambda: monkeypatch.setattr(shared, "requeue", away), wait_timeout=timedelta(seconds=3))


@pytest.mark.parametrize("limit", ["expires_after", "hold_timeout"])
def test_changed_params_are_no_way_past_the_queue(
    shared: DynamoStore, time: FrozenTime, waiting: Callable[..., Waiting], limit: str
) -> None:
    """A pending claim whose time is up frees the lock for who is first, not for its own build's next request."""
    limits: dict[str, Any] = {limit: HOUR}
    take(shared, 1, **limits)
    waiting(2).join()
    time.tick(hours=2)
    with pytest.raises(NotYourTurnError):
        take(shared, 1, description="changed", **limits)


def test_who_came_back_is_given_more_time(shared: DynamoStore, waiting: Callable[..., Waiting], time: FrozenTime) -> None:
    """A front that was dropped and came back is slow, not dead: each time twice as long goes by before it is dropped again."""
    held = take(shared, 1)
    slow = waiting(2)
    slow.join()
    waiting(3).join()
    free(shared, held)()
    clock = ManualClock(time)
    roll = RollCall(clock.monotonic)
    drops = []
    for look in range(80):
        turn = shared.turn("payments", "deploy")
        assert turn is not None
        if turn.order[0] == slow.attempt.ticket:
            act = roll.seen(turn, 1, time.now())
            if act is Act.ANSWER:
                shared.answer_roll(turn, 1, turn.order[1])
            if act is Act.DROP:
                drops.append(look)
                wait_for_lock._drop(shared, the_lock(shared))
                assert in_queue(shared) == ["3"]
                wait_for_lock._join(shared, slow.request, Claimant(slow.build), slow.attempt)
        clock.sleep(0.25)
    assert [later - before for before, later in zip([0, *drops], drops, strict=False)] == [6, 13, 25]
