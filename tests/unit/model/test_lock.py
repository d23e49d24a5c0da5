"""The queue in a lock: first come, first served within a priority, and a place that a ticket brings back."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from approval_resource.model.lock import Lock
from tests.builders import a_lock, a_waiter

STEPS = st.lists(st.tuples(st.sampled_from(["join", "leave", "come back"]), st.integers(1, 6), st.integers(-2, 2)), max_size=30)


def queued(*priorities: int) -> Lock:
    """A lock for which builds 1, 2, ... wait with those priorities, in the order of arrival."""
    lock = a_lock()
    for number, priority in enumerate(priorities, 1):
        lock = lock.joined(a_waiter(number, ticket=0, priority=priority))
    return lock


def tickets(lock: Lock) -> list[int]:
    """The tickets in the queue, the front first."""
    return [waiter.ticket for waiter in lock.queue]


def played(steps: list[tuple[str, int, int]]) -> list[Lock]:
    """The lock after each step that makes sense: a build joins once, and comes back with the ticket it had."""
    locks, had = [a_lock()], dict[str, tuple[int, int]]()
    for step, number, priority in steps:
        lock, waiter = locks[-1], a_waiter(number, ticket=0, priority=priority)
        present = lock.place_of(waiter.key) >= 0
        if step == "leave":
            lock = lock.left(waiter.key)
        elif not present and step == "come back" and waiter.key in had:
            ticket, before = had[waiter.key]
            lock = lock.joined(replace(waiter, ticket=ticket, priority=before))
        elif not present:
            lock = lock.joined(waiter)
            had[waiter.key] = (lock.queue[lock.place_of(waiter.key)].ticket, priority)
        locks.append(lock)
    return locks


def test_the_front_is_who_came_first() -> None:
    """Within one priority the order of arrival is the order of the queue."""
    assert tickets(queued(0, 0, 0)) == [1, 2, 3]
    assert queued(0, 0).front == queued(0, 0).queue[0]


def test_nobody_is_the_front_of_an_empty_queue() -> None:
    """A lock that nobody waits for keeps nobody out."""
    assert a_lock().front is None
    assert queued(0).left(a_waiter(1).key).front is None


def test_a_higher_priority_comes_first() -> None:
    """Whoever waits with a higher one passes the lower ones, and no equal one."""
    assert tickets(queued(0, 5, -1, 5)) == [2, 4, 1, 3]


def test_a_place_is_the_number_of_those_before_it() -> None:
    """0 is the front, -1 is no place at all."""
    lock = queued(0, 0, 1)
    assert [lock.place_of(a_waiter(number).key) for number in (3, 1, 2, 4)] == [0, 1, 2, -1]


def test_a_ticket_brings_its_place_back() -> None:
    """A waiter that was dropped and lives comes back before those who came after it."""
    lock = queued(0, 0, 0)
    back = lock.left(a_waiter(1).key).joined(a_waiter(1))
    assert tickets(back) == [1, 2, 3]
    assert back.tickets == 3


def test_a_ticket_is_never_given_twice() -> None:
    """Who comes new never gets the number of somebody who has left."""
    lock = queued(0, 0)
    for number in (1, 2):
        lock = lock.left(a_waiter(number).key)
    assert tickets(lock.joined(a_waiter(3, ticket=0))) == [3]


def test_leaving_a_queue_one_is_not_in_changes_nothing() -> None:
    """Nobody else loses a place by it."""
    assert queued(0, 0).left(a_waiter(9).key) == queued(0, 0)


@given(STEPS)
def test_the_queue_is_always_in_order(steps: list[tuple[str, int, int]]) -> None:
    """Whatever joins, leaves and comes back: by priority, then by ticket, each build and each ticket once."""
    for lock in played(steps):
        order = [(-waiter.priority, waiter.ticket) for waiter in lock.queue]
        assert order == sorted(order)
        assert len(set(tickets(lock))) == len({waiter.key for waiter in lock.queue}) == len(lock.queue)
        assert all(0 < ticket <= lock.tickets for ticket in tickets(lock))


@given(STEPS)
def test_nobody_passes_another_by_what_a_third_one_does(steps: list[tuple[str, int, int]]) -> None:
    """Two that wait before and after a step keep their order, and the counter of tickets never goes back."""
    for before, later in pairwise(played(steps)):
        stayed = set(tickets(before)) & set(tickets(later))
        assert [t for t in tickets(before) if t in stayed] == [t for t in tickets(later) if t in stayed]
        assert later.tickets >= before.tickets
