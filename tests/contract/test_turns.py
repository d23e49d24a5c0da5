"""Waiters poll a hint beside the lock: cheap, never evidence, and mended where it is missing, old or forged."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from approval_resource.audit import verify as audit
from approval_resource.claims import acquire as claims
from approval_resource.claims import roll_call, wait_for_lock
from approval_resource.claims.request import Attempt
from approval_resource.errors import WaitTimeoutError
from approval_resource.model.claim import Claimant
from approval_resource.model.lock import Lock, Turn
from approval_resource.model.queue_order import Waiter
from approval_resource.store.dynamodb import keys
from approval_resource.store.dynamodb.store import DynamoStore
from tests.builders import NOON, FrozenTime, a_build, a_request, take
from tests.contract.test_queue import Waiting, free, in_queue, the_lock, waiting

__all__ = ["waiting"]

PLACE = keys.turn_key("payments", "deploy")
Item = dict[str, Any]


def the_turn(store: DynamoStore) -> Turn:
    """The hint."""
    turn = store.turn("payments", "deploy", consistent=True)
    assert turn is not None
    return turn


def item(store: DynamoStore) -> Item | None:
    """The hint as stored."""
    found: Item | None = store._client.get_item(TableName=store._table, Key=PLACE, ConsistentRead=True).get("Item")
    return found


def put(store: DynamoStore, stored: Item | None) -> None:
    """Put the hint back as an older version leaves it, or as somebody forged it."""
    if stored is None:
        store._client.delete_item(TableName=store._table, Key=PLACE)
    else:
        store._client.put_item(TableName=store._table, Item=stored)


def asked(store: DynamoStore) -> list[tuple[str, str, bool]]:
    """From now on: each request by operation, sort key or none, and whether it reads consistently."""
    found: list[tuple[str, str, bool]] = []

    def note(params: dict[str, Any], model: Any, **_: object) -> None:
        place = params.get("Key", {"pk": {"S": ""}})
        found.append((model.name, place["pk"]["S"].partition("#")[0], bool(params.get("ConsistentRead"))))

    store._client.meta.events.register("provide-client-params.dynamodb", note)
    return found


def ghosts(store: DynamoStore, count: int, pace: int = 0) -> None:
    """So many builds in the queue that have died."""

    def crowded(lock: Lock, _: object) -> Lock:
        for number in range(count):
            lock = lock.joined(Waiter(key=f"ghost {number}", ticket=0, build=f"ghost #{number}", since=NOON, pace=pace))
        return lock

    store.requeue("payments", "deploy", crowded)


@pytest.mark.parametrize("dead", [1, 2, 7, 54, 300])
def test_however_many_died_the_first_living_has_a_free_lock_soon(
    shared: DynamoStore, waiting: Callable[..., Waiting], dead: int
) -> None:
    """Within 3 s: they are dropped at once, not one by one."""
    held = take(shared, 1)
    ghosts(shared, dead)
    waiter = waiting(2)
    waiter.join()
    free(shared, held)()
    assert waiter.wait().build == waiter.build
    assert sum(waiter.clock.slept) < 3
    assert in_queue(shared) == []


def test_who_answers_is_not_dropped(shared: DynamoStore, waiting: Callable[..., Waiting]) -> None:
    """Of three before it, the second answers: nobody behind it drops anybody, and it gets the lock."""
    held = take(shared, 1)
    ghosts(shared, 1)
    living, behind = waiting(2), waiting(3)
    for waiter in (living, behind):
        waiter.join()
    free(shared, held)()

    def answer() -> None:
        shared.answer_roll(the_turn(shared), 1, living.attempt.ticket)

    with pytest.raises(WaitTimeoutError):
        behind.wait(lambda: None, answer, wait_timeout=timedelta(seconds=4))
    assert in_queue(shared) == ["0", "2"]
    assert living.wait().build == living.build


def test_one_that_answered_last_moment_is_not_dropped(
    shared: DynamoStore, waiting: Callable[..., Waiting], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Right before a drop the answers are read consistently."""
    held = take(shared, 1)
    living, behind = waiting(2), waiting(3)
    for waiter in (living, behind):
        waiter.join()
    free(shared, held)()
    real, late = shared.turn, []

    def turn(pool: str, lock_name: str, *, consistent: bool = False) -> Turn | None:
        if consistent:
            late.append(living.attempt.ticket)
            shared.answer_roll(the_turn_of(real), 1, living.attempt.ticket)
        return real(pool, lock_name, consistent=consistent)

    def the_turn_of(read: Any) -> Turn:
        found = read("payments", "deploy", consistent=True)
        assert isinstance(found, Turn)
        return found

    monkeypatch.setattr(shared, "turn", turn)
    with pytest.raises(WaitTimeoutError):
        behind.wait(wait_timeout=timedelta(seconds=4))
    assert late
    assert in_queue(shared) == ["2"]


def test_one_that_answered_and_died_holds_nobody_up(shared: DynamoStore, waiting: Callable[..., Waiting]) -> None:
    """The next round of the roll call has no answer of it."""
    held = take(shared, 1)
    ghosts(shared, 1)
    waiter = waiting(2)
    waiter.join()
    free(shared, held)()
    shared.answer_roll(the_turn(shared), 1, 1)
    assert waiter.wait().build == waiter.build
    assert roll_call.ROUND_SECONDS < sum(waiter.clock.slept) < 10


def test_the_front_answers_before_it_takes_the_lock(shared: DynamoStore, waiting: Callable[..., Waiting]) -> None:
    """In a busy pool taking it may take long, and nobody shall believe it dead meanwhile."""
    held = take(shared, 1)
    front, behind = waiting(2), waiting(3)
    for waiter in (front, behind):
        waiter.join()
    told: list[tuple[int, ...]] = []
    real = shared.commit

    def slow(*arguments: Any) -> Any:
        told.append(the_turn(shared).present)
        return real(*arguments)

    shared.commit = slow  # type: ignore[method-assign, assignment]
    try:
        front.wait(free_by(shared, held, real))
    finally:
        shared.commit = real  # type: ignore[method-assign]
    assert told[-1] == (front.attempt.ticket,)


def free_by(store: DynamoStore, held: Any, commit: Any) -> Callable[[], object]:
    """Free the lock by the commit that nobody watches."""

    def freed() -> None:
        watched, store.commit = store.commit, commit  # type: ignore[method-assign]
        free(store, held)()
        store.commit = watched  # type: ignore[method-assign]

    return freed


def test_a_look_never_reads_the_queue(shared: DynamoStore, waiting: Callable[..., Waiting]) -> None:
    """One eventually consistent read of the hint; the lock itself is read now and then, the more rarely the further behind."""
    take(shared, 1)
    ghosts(shared, 200)
    waiter = waiting(2)
    waiter.join()
    found = asked(shared)
    with pytest.raises(WaitTimeoutError):
        waiter.wait(wait_timeout=timedelta(minutes=2))
    looks = [one for one in found if one == ("GetItem", "turn", False)]
    assert 120 <= len(looks) <= 180
    assert len(found) - len(looks) < 15


def test_a_hint_is_one_small_item_however_long_the_queue(shared: DynamoStore) -> None:
    """Below 4 KB, which one read unit covers; so an eventually consistent read is half a unit."""
    take(shared, 1)
    ghosts(shared, 600)
    answer = shared._client.get_item(TableName=shared._table, Key=PLACE, ReturnConsumedCapacity="TOTAL")
    assert answer["ConsumedCapacity"]["CapacityUnits"] == 0.5
    assert len(the_turn(shared).order) > 500
    shared.requeue("payments", "deploy", lambda lock, _: Lock(**{**fields(lock), "tickets": 10**9, "queue": ()}))
    ghosts(shared, 600)
    answer = shared._client.get_item(TableName=shared._table, Key=PLACE, ReturnConsumedCapacity="TOTAL")
    assert answer["ConsumedCapacity"]["CapacityUnits"] == 0.5
    assert the_turn(shared).waiting == 600 > len(the_turn(shared).order)


def fields(lock: Lock) -> dict[str, Any]:
    """The lock's fields by name."""
    return {name: getattr(lock, name) for name in Lock.__dataclass_fields__}


def test_a_lock_for_which_nobody_waits_costs_no_hint(shared: DynamoStore) -> None:
    """Claims and releases write none."""
    free(shared, take(shared, 1))()
    free(shared, take(shared, 2))()
    assert item(shared) is None


@pytest.mark.parametrize("place", [0, 1, 3])
def test_a_change_by_an_older_version_is_found(shared: DynamoStore, waiting: Callable[..., Waiting], place: int) -> None:
    """It leaves the hint as it was: a lock it freed is found within some seconds, the more of them the further behind."""
    held = take(shared, 1)
    waiters = [waiting(number) for number in range(2, 3 + place)]
    for waiter in waiters:
        waiter.join()
    before = item(shared)

    def by_older() -> None:
        free(shared, held)()
        for waiter in waiters[:-1]:
            claim = claims.take(shared, waiter.request, Claimant(waiter.build), Attempt()).claim
            free(shared, claim)()
        put(shared, before)

    last = waiters[-1]
    assert last.wait(by_older).build == last.build
    assert sum(last.clock.slept) < (place + 1) * wait_for_lock.DOUBT_SECONDS + 2


def test_a_table_of_an_older_version_is_waited_on(shared: DynamoStore, waiting: Callable[..., Waiting]) -> None:
    """Its queues have no hint, until somebody writes one."""
    held = take(shared, 1)
    for number in (2, 3):
        waiting(number).join()
    put(shared, None)
    assert waiting(2).wait(lambda: None, lambda: None, free(shared, held)).build == a_build(2)
    assert item(shared) is not None


FORGERIES: dict[str, Callable[[Item, int], Item | None]] = {
    "gone": lambda told, mine: None,
    "no item of ours": lambda told, mine: {name: told[name] for name in ("pk", "sk")},
    "of another lock": lambda told, mine: told | {"lockname": {"S": "other"}},
    "of another type": lambda told, mine: told | {"present": {"S": "x"}, "order": {"L": []}},
    "free": lambda told, mine: told | {"held": {"BOOL": False}},
    "free by time": lambda told, mine: told | {"frees_at": {"S": "2020-01-01T00:00:00.000000Z"}},
    "free for me": lambda told, mine: told | {"held": {"BOOL": False}, "order": {"S": f"{mine}"}, "waiting": {"N": "1"}},
    "old": lambda told, mine: told | {"revision": {"N": "1"}},
    "far ahead": lambda told, mine: told | {"revision": {"N": "99999"}},
    "without me": lambda told, mine: told | {"order": {"S": "7 8 9"}},
    "all behind others": lambda told, mine: told | {"order": {"S": ""}, "waiting": {"N": "900"}},
    "all present": lambda told, mine: told | {"call": {"S": f"1/{mine}/1"}, "present": {"L": [{"N": str(mine)}]}},
    "last round": lambda told, mine: told | {"call": {"S": f"1/{mine}/99"}},
    "unknown": lambda told, mine: told | {"extra": {"S": "x"}},
}


@pytest.mark.parametrize("forgery", FORGERIES)
def test_a_forged_hint_costs_time_and_nothing_else(
    shared: DynamoStore, waiting: Callable[..., Waiting], time: FrozenTime, forgery: str
) -> None:
    """Whatever it says: nobody gets a lock that is held, or before their turn, and who is next gets it soon after it is free."""
    held = take(shared, 1)
    front, behind = waiting(2), waiting(3)
    for waiter in (front, behind):
        waiter.join()

    def forge(mine: int) -> Callable[[], None]:
        told = item(shared)
        assert told is not None
        return lambda: put(shared, FORGERIES[forgery](told, mine))

    with pytest.raises(WaitTimeoutError):
        behind.wait(forge(behind.attempt.ticket), wait_timeout=timedelta(seconds=20))
    assert the_lock(shared).holder == held.id
    behind.poller.until = None
    behind.join()
    freed: list[float] = []

    def free_and_forge() -> None:
        free(shared, held)()
        forge(front.attempt.ticket)()
        freed.append(sum(front.clock.slept))

    assert front.wait(free_and_forge).build == front.build
    assert sum(front.clock.slept) - freed[0] < wait_for_lock.DOUBT_SECONDS + 2
    assert in_queue(shared) == ["3"]
    assert audit.verify(shared, "payments").findings == []


def test_a_refused_hint_ends_no_step(shared: DynamoStore, waiting: Callable[..., Waiting], monkeypatch: Any) -> None:
    """Where it can be neither read nor written in a useful way, waiters read the lock."""
    held = take(shared, 1)
    monkeypatch.setattr(shared, "turn", lambda *_, **__: None)
    waiter = waiting(2)
    waiter.join()
    assert waiter.wait(lambda: None, free(shared, held)).build == waiter.build
    assert sum(waiter.clock.slept) < 3


def test_an_override_sees_a_pending_claim_at_once(shared: DynamoStore, waiting: Callable[..., Waiting]) -> None:
    """It may take the lock from behind the queue, so any new holder is news to it."""
    held = take(shared, 1, need_approval=False)
    ghosts(shared, 40)
    overrider = waiting(3, override_approval=True)
    overrider.join()

    def pending() -> None:
        free(shared, held)()
        shared.requeue("payments", "deploy", lambda lock, _: Lock(**{**fields(lock), "queue": lock.queue[-1:]}))
        ghost = lambda lock, _: Lock(**{**fields(lock), "queue": ()})  # noqa: E731 - the queue makes way
        queued = the_lock(shared).queue
        shared.requeue("payments", "deploy", ghost)
        claims.take(shared, a_request(), Claimant(a_build(9)), Attempt())
        shared.requeue("payments", "deploy", lambda lock, _: Lock(**{**fields(lock), "queue": queued}))

    assert overrider.wait(pending).build == overrider.build
    assert sum(overrider.clock.slept) < 2.5
