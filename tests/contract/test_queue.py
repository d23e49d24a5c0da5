"""The queue for a lock: first come, first served, and nobody waits for the dead."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from types import SimpleNamespace
from typing import Any, cast

import pytest

from approval_resource import pools
from approval_resource.audit import verify as audit
from approval_resource.claims import acquire as claims
from approval_resource.claims import roll_call, wait_for_lock
from approval_resource.claims.end import end_claim
from approval_resource.claims.poller import Poller
from approval_resource.claims.request import Attempt
from approval_resource.claims.wait_for_lock import Standing
from approval_resource.documents.locks import queue_document
from approval_resource.errors import LockHeldError, NotYourTurnError, QueueFullError, WaitTimeoutError
from approval_resource.model.claim import Build, Claim, Claimant
from approval_resource.model.event import State
from approval_resource.model.lock import Lock
from approval_resource.model.queue_order import Waiter
from approval_resource.store.dynamodb.store import DynamoStore
from tests.builders import NOON, FrozenTime, ManualClock, a_build, a_request, take, under
from tests.contract.faults import Faults, delivery


class Waiting:
    """A build that waits for the lock by a clock of its own; what happens between two of its looks is in its hands."""

    def __init__(self, store: DynamoStore, build: Build | int, time: FrozenTime, pause: float = 1.0, **request: Any) -> None:
        self.build = a_build(build) if isinstance(build, int) else build
        self.store = store
        self.request = a_request(**request)
        self.attempt = Attempt()
        self.clock = ManualClock(time)
        self.told: list[str] = []
        self.standings: list[Standing] = []
        self.poller = Poller(self.clock, pause, self.told.append)

    @property
    def key(self) -> str:
        return self.build.key()

    def join(self) -> Lock:
        """Stand in the queue, as a waiter does after its first try."""
        with pytest.raises((LockHeldError, NotYourTurnError)):
            claims.take(self.store, self.request, Claimant(self.build), self.attempt)
        return wait_for_lock._join(self.store, self.request, Claimant(self.build), self.attempt)

    def wait(self, *between: Callable[[], object], wait_timeout: timedelta | None = None) -> Claim:
        """Wait to the end, letting the next of `between` happen in each pause."""
        self.clock.on_sleep = list(between)
        return wait_for_lock.acquire(
            self.store,
            self.request,
            Claimant(self.build),
            self.attempt,
            poller=self.poller,
            standing=self.standings.append,
            wait_timeout=wait_timeout,
        ).claim


@pytest.fixture
def waiting(shared: DynamoStore, time: FrozenTime) -> Callable[..., Waiting]:
    """Makes waiters."""

    def made(build: Build | int, **changes: Any) -> Waiting:
        return Waiting(shared, build, time, **changes)

    return made


def the_lock(store: DynamoStore) -> Lock:
    lock = store.lock("payments", "deploy")
    assert lock is not None
    return lock


def in_queue(store: DynamoStore) -> list[str]:
    """The builds that wait, the front first, by their number."""
    return [waiter.build.rpartition("#")[2] for waiter in the_lock(store).queue]


def free(store: DynamoStore, claim: Claim) -> Callable[[], object]:
    return lambda: end_claim(store, claim, State.WITHDRAWN, actor="somebody")


def test_first_come_first_served(shared: DynamoStore, waiting: Callable[..., Waiting]) -> None:
    """Each gets the lock in the order in which they came."""
    held = take(shared, 1)
    waiters = [waiting(number) for number in range(2, 8)]
    for waiter in waiters:
        waiter.join()
    for waiter in waiters:
        claim = waiter.wait(free(shared, held))
        assert claim.build == waiter.build
        held = claim
    assert in_queue(shared) == []


def test_nobody_barges(shared: DynamoStore, waiting: Callable[..., Waiting]) -> None:
    """A lock that is free while somebody waits for it can't be had by who comes later, whatever they asked for."""
    held = take(shared, 1)
    waiting(2).join()
    free(shared, held)()
    for late in (a_request(), a_request(override_approval=True), a_request(priority=9)):
        with pytest.raises(
            NotYourTurnError, match='others wait for lock "deploy" in pool "payments", main/app/deploy #2 first'
        ):
            claims.take(shared, late, Claimant(a_build(3)), Attempt())
    assert waiting(2).wait().build == a_build(2)


def test_the_higher_priority_comes_first(shared: DynamoStore, waiting: Callable[..., Waiting]) -> None:
    """Within a priority the order is that of arrival."""
    take(shared, 1)
    for number, priority in ((2, 0), (3, 5), (4, -1), (5, 5), (6, 0)):
        waiting(number, priority=priority).join()
    assert in_queue(shared) == ["3", "5", "2", "6", "4"]


def test_joining_again_keeps_the_place(shared: DynamoStore, waiting: Callable[..., Waiting]) -> None:
    """The same build, run anew after its worker's death, stands where it stood."""
    take(shared, 1)
    waiting(2).join()
    waiting(3).join()
    again = waiting(2)
    again.join()
    assert in_queue(shared) == ["2", "3"]
    assert again.attempt.ticket == 1


def test_a_dead_front_is_dropped_once_it_answers_no_roll_call(shared: DynamoStore, waiting: Callable[..., Waiting]) -> None:
    """Not before, and by the waiter's own monotonic clock: the dead one's turn comes, and the next takes the lock."""
    held = take(shared, 1)
    waiting(2).join()
    waiter = waiting(3)
    waiter.join()
    free(shared, held)()
    seen: list[tuple[float, list[str]]] = []
    claim = waiter.wait(*[lambda: seen.append((sum(waiter.clock.slept), in_queue(shared)))] * 20)
    assert claim.build == a_build(3)
    assert all(queued == ["2", "3"] for at, queued in seen if at < roll_call.CALL_SECONDS)
    assert sum(waiter.clock.slept) < 3


def test_a_front_of_an_older_version_is_given_three_of_its_own_pauses(
    shared: DynamoStore, waiting: Callable[..., Waiting]
) -> None:
    """It answers no roll call, and may look seldom."""
    held = take(shared, 1)
    old = Waiter(key=a_build(2).key(), ticket=0, build=str(a_build(2)), since=NOON, pace=20)
    shared.requeue("payments", "deploy", lambda lock, _: lock.joined(old))
    waiter = waiting(3)
    waiter.join()
    free(shared, held)()
    waiter.wait()
    assert 60 <= sum(waiter.clock.slept) < 63


@pytest.mark.parametrize("whose", ["its own", "its pool's"])
@pytest.mark.parametrize("kind", ["rego", "conditions"])
def test_a_front_whose_policies_take_long_is_not_passed_over(
    shared: DynamoStore, waiting: Callable[..., Waiting], kind: str, whose: str
) -> None:
    """It may be evaluating them for longer than three looks. After thrice as long as that may take it is dead."""
    document: dict[str, Any] = {"rego": "package spacelift\napprove { false }"} if kind == "rego" else {"conditions": {"a": 1}}
    terms = under(**document, required_approvals=1)
    if whose == "its pool's":
        pools.set_policy(shared, "payments", terms.policy, actor="aws:op")
    held = take(shared, 1)
    waiting(2, **({"terms": terms} if whose == "its own" else {})).join()
    waiter = waiting(3)
    waiter.join()
    free(shared, held)()
    waiter.wait()
    assert 30 <= sum(waiter.clock.slept) < 40


def test_a_front_is_left_alone_while_the_lock_is_held(shared: DynamoStore, waiting: Callable[..., Waiting]) -> None:
    """Waiting long is no sign of death."""
    take(shared, 1)
    waiting(2).join()
    waiter = waiting(3)
    with pytest.raises(WaitTimeoutError):
        waiter.wait(wait_timeout=timedelta(minutes=5))
    assert in_queue(shared) == ["2"]


def test_a_live_one_that_was_dropped_comes_back_with_its_ticket(shared: DynamoStore, waiting: Callable[..., Waiting]) -> None:
    """It stands before those that came after it."""
    held = take(shared, 1)
    waiters = [waiting(number) for number in (2, 3, 4)]
    for waiter in waiters:
        waiter.join()
    slow = waiters[0]

    def drop() -> None:
        wait_for_lock._drop(shared, the_lock(shared))
        assert in_queue(shared) == ["3", "4"]

    def back() -> None:
        assert in_queue(shared) == ["2", "3", "4"]
        free(shared, held)()

    assert slow.wait(drop, lambda: None, back).build == a_build(2)
    assert in_queue(shared) == ["3", "4"]


def test_a_drop_that_comes_late_drops_nobody_else(shared: DynamoStore, waiting: Callable[..., Waiting]) -> None:
    """It means the front that was seen, on a lock to which nothing has happened since."""
    held = take(shared, 1)
    waiting(2).join()
    waiting(3).join()
    seen = the_lock(shared)
    wait_for_lock._drop(shared, seen)
    wait_for_lock._drop(shared, seen)
    assert in_queue(shared) == ["3"]
    seen = the_lock(shared)
    free(shared, held)()
    wait_for_lock._drop(shared, seen)
    assert in_queue(shared) == ["3"]


@pytest.mark.long
def test_giving_up_leaves_nothing_behind(shared: DynamoStore, waiting: Callable[..., Waiting]) -> None:
    """After wait_timeout: who holds it is told, and the place in the queue is gone."""
    held = take(shared, 1)
    waiter = waiting(2)
    with pytest.raises(WaitTimeoutError) as gave_up:
        waiter.wait(wait_timeout=timedelta(minutes=10))
    assert str(gave_up.value) == (
        f'gave up after 10 min: lock "deploy" in pool "payments" is still held by main/app/deploy #1 (claim {held.id}); '
        "this build has left the queue. Try again, or see approvals list --waiting"
    )
    assert 600 <= sum(waiter.clock.slept) <= 602
    assert in_queue(shared) == []
    assert shared.claim(waiter.attempt.claim_id) is None
    assert the_lock(shared).holder == held.id


def test_waiters_only_read(shared: DynamoStore, waiting: Callable[..., Waiting]) -> None:
    """Between joining and its turn a waiter writes nothing: the lock's guard doesn't move."""
    held = take(shared, 1)
    waiter = waiting(2)
    revisions: list[int] = []
    waiter.wait(*[lambda: revisions.append(the_lock(shared).revision)] * 9, free(shared, held))
    assert len(set(revisions)) == 1


def test_the_wait_tells_place_holder_and_time(shared: DynamoStore, waiting: Callable[..., Waiting], time: FrozenTime) -> None:
    """At each look: who holds the lock, how many come first and since when."""
    held = take(shared, 1)
    waiting(2).join()
    time.tick(minutes=3)
    waiter = waiting(3)
    with pytest.raises(WaitTimeoutError):
        waiter.wait(wait_timeout=timedelta(seconds=5))
    first = waiter.standings[0]
    assert (first.place, first.holder, first.lock.queue[0].since) == (1, held, NOON)
    assert first.now == NOON + timedelta(minutes=3)


def crowd(build: str) -> Callable[[Lock, Any], Lock]:
    """Builds of that name in the queue, until no more fit."""

    def crowded(lock: Lock, _: Any) -> Lock:
        waiters = [Waiter(key=f"{number:064}", ticket=number, build=build, since=NOON) for number in range(1000, 2500)]
        one = len(json.dumps(queue_document(replace(lock, queue=tuple(waiters[-1:]))))) - len("[]") + len(", ")
        fit = waiters[: wait_for_lock.MAX_QUEUE // one]
        return replace(lock, queue=tuple(fit), tickets=2500)

    return crowded


def test_a_full_queue_says_so(shared: DynamoStore, waiting: Callable[..., Waiting]) -> None:
    """Who doesn't fit into the lock's item is told the limit; those who wait are none the worse, and it can be freed."""
    held = take(shared, 1)
    there = len(shared.requeue("payments", "deploy", crowd("main/app/deploy #12")).queue)
    with pytest.raises(QueueFullError, match=f"its {there} builds take up the 200000 bytes"):
        waiting(2).wait()
    assert len(the_lock(shared).queue) == there > 500
    free(shared, held)()
    assert not the_lock(shared).holder


def test_the_longest_queue_fits_its_item(shared: DynamoStore, waiting: Callable[..., Waiting]) -> None:
    """Names as long as they may be, in characters of four bytes, until no more fit: the lock can still be freed and taken."""
    held = take(shared, 1)
    assert len(shared.requeue("payments", "deploy", crowd("🦜" * wait_for_lock.MAX_SHOWN)).queue) > 50
    free(shared, held)()
    front = the_lock(shared).front
    assert front is not None
    its_build = cast("Claimant", SimpleNamespace(build=a_build(9), key=front.key))
    assert claims.take(shared, a_request(), its_build, Attempt()).fresh


def test_an_aborted_join_never_lands(connect: Callable[..., DynamoStore], time: FrozenTime) -> None:
    """A place that was asked for, and whose answer was lost, is gone or can't come any more once the build has left."""
    store = connect(time)
    take(store, 1)
    waiter = Waiting(store, 2, time)
    with pytest.raises(LockHeldError):
        claims.take(store, waiter.request, Claimant(waiter.build), waiter.attempt)
    late: list[Any] = []

    def aborted(request: Any) -> Any:
        late.append(request)
        raise KeyboardInterrupt

    Faults.on(store, "UpdateItem", aborted)
    with pytest.raises(KeyboardInterrupt):
        wait_for_lock._join(store, waiter.request, Claimant(waiter.build), waiter.attempt)
    claims.abandon(store, waiter.request, Claimant(waiter.build), waiter.attempt)
    assert late
    for request in late:
        delivery(store)(request)
    assert in_queue(store) == []


def test_a_claim_takes_its_build_out_of_the_queue(shared: DynamoStore, waiting: Callable[..., Waiting]) -> None:
    """However it came about: here by superseding the pending claim that all others wait behind."""
    held = take(shared, 1)
    waiting(2).join()
    waiter = waiting(3)
    waiter.join()
    claim = waiting(3, override_approval=True).wait()
    assert (claim.build, in_queue(shared)) == (a_build(3), ["2"])
    ended = shared.claim(held.id)
    assert ended is not None
    assert ended.state is State.SUPERSEDED


def test_queueing_is_no_event(shared: DynamoStore, waiting: Callable[..., Waiting]) -> None:
    """Joining, leaving and dropping leave the log alone, and the audit clean."""
    held = take(shared, 1)
    waiting(2).join()
    waiting(3).join()
    wait_for_lock._drop(shared, the_lock(shared))
    free(shared, held)()
    assert [event.kind.value for event in shared.events("payments")] == ["pending", "withdrawn"]
    assert audit.verify(shared, "payments").findings == []
