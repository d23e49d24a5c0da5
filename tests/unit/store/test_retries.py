"""Retries under contention, played on a clock that only pauses move: contenders spread by the length of a try."""

from __future__ import annotations

import heapq
from random import Random
from statistics import mean

import pytest

from approval_resource.errors import StoreUnavailableError
from approval_resource.store.dynamodb import retries
from approval_resource.store.dynamodb.outcomes import Failure, Outcome
from approval_resource.store.dynamodb.retries import CONTENDED_PAUSE, MOST_SPREAD, SPREAD, RetryBudget
from tests.builders import ManualClock

CONTENDED = Failure(Outcome.CONTENDED, "somebody else was first")
BUSY = Failure(Outcome.BUSY, "throttled")
REQUEST, SERVED = 0.003, 0.0015
"""Seconds of one request, and how many of them its engine is busy with it alone."""
FIRST, AGAIN = (4, 5), 2
"""Requests of a try: the first one of a claim and of a release, which prove what they read, and a later one."""


class Ticking(ManualClock):
    """A clock that ticks by itself, too."""

    def __init__(self) -> None:
        super().__init__()
        self.at = 0.0

    def monotonic(self) -> float:
        return self.at

    def sleep(self, seconds: float) -> None:
        super().sleep(seconds)
        self.at += seconds


class Contender:
    """A build that claims and releases, each a commit on the one head that all share."""

    def __init__(self) -> None:
        self.clock = Ticking()
        self.commits = 0
        self.begin()

    def begin(self) -> None:
        """Begin a commit."""
        self.budget, self.requests, self.needed = RetryBudget(self.clock, 60), 0, FIRST[self.commits]


def requests_of(contenders: int, seed: int) -> float:
    """Requests a claim and release, where so many begin at once."""
    random, head, busy_until, asked = Random(seed), 0, 0.0, 0  # noqa: S311 - a play
    all_of_them = [Contender() for _ in range(contenders)]
    read: dict[int, int] = {}
    due = [(random.random() * 0.05, number) for number in range(contenders)]
    heapq.heapify(due)
    while due:
        at, number = heapq.heappop(due)
        one = all_of_them[number]
        one.clock.at = at
        busy_until = max(busy_until, at) + SERVED
        asked += 1
        if one.requests == 0:
            read[number] = head
            one.budget.start_try()
        one.requests += 1
        one.clock.at = busy_until
        if one.requests < one.needed:
            heapq.heappush(due, (one.clock.at + REQUEST * random.uniform(0.7, 1.3), number))
            continue
        if read[number] == head:
            head += 1
            one.commits += 1
            if one.commits == len(FIRST):
                continue
            one.begin()
        else:
            one.budget.wait(CONTENDED, answered=True)
            one.requests, one.needed = 0, AGAIN
        heapq.heappush(due, (one.clock.at + REQUEST, number))
    return asked / contenders


def test_contenders_spread_so_that_most_pass_at_the_second_try(monkeypatch: pytest.MonkeyPatch) -> None:
    """32 builds on 32 locks of one pool: at most twelve requests a claim and release, of which nine are needed."""
    monkeypatch.setattr(retries, "_random", Random(20))  # noqa: S311 - a play
    assert mean(requests_of(32, seed) for seed in range(20)) <= 12
    assert mean(requests_of(2, seed) for seed in range(20)) <= 11
    assert mean(requests_of(1, seed) for seed in range(20)) == sum(FIRST)


def pauses(length: float, tries: int = 8) -> list[float]:
    """Longest pause after each try of that length, of many."""
    found = [0.0] * tries
    for _ in range(200):
        clock = Ticking()
        budget = RetryBudget(clock, 1e9)
        for number in range(tries):
            budget.start_try()
            clock.at += length
            budget.wait(CONTENDED, answered=True)
            found[number] = max(found[number], clock.slept[-1])
    return found


def test_a_pause_goes_by_the_length_of_a_try() -> None:
    """So many lengths from the first on; a short try keeps the old bounds, a long one waits no longer than ten seconds."""
    assert 0.9 * SPREAD * 0.1 < pauses(0.1)[0] <= SPREAD * 0.1
    assert pauses(0.0)[0] <= CONTENDED_PAUSE[0]
    assert 0.9 < pauses(0.0)[-1] <= CONTENDED_PAUSE[1]
    assert max(pauses(30.0)) <= MOST_SPREAD


def test_who_lost_its_own_lock_looks_again_soon() -> None:
    """Somebody else has it most likely, so there is nothing to try, and no reason to wait before that is known."""
    clock = Ticking()
    budget = RetryBudget(clock, 60)
    budget.start_try()
    clock.at += 1
    budget.wait(CONTENDED, answered=True, spread=False)
    assert clock.slept[-1] <= CONTENDED_PAUSE[0]


def test_a_slow_decision_is_no_length() -> None:
    """It is kept for the next try, which is as short as any."""
    clock = Ticking()
    budget = RetryBudget(clock, 60)
    budget.start_try()

    def slowly(subject: str) -> str:
        clock.at += 3
        return subject

    assert budget.run_untimed(slowly, "decided") == "decided"
    budget.wait(CONTENDED, answered=True)
    assert clock.slept[-1] <= CONTENDED_PAUSE[0]


def gives_up_after(failure: Failure, *, moves: bool) -> float:
    """Seconds until the budget of a minute is spent, at most half an hour."""
    clock = Ticking()
    budget = RetryBudget(clock, 60)
    try:
        while clock.at < 1800:
            budget.wait(failure, answered=True)
            if moves:
                budget.restart()
    except StoreUnavailableError:
        pass
    return clock.at


def test_a_pool_that_moves_is_never_given_up() -> None:
    """A minute of contention ends nothing while others get along; a minute without any change does, and so does throttling."""
    assert gives_up_after(CONTENDED, moves=True) >= 1800
    assert gives_up_after(CONTENDED, moves=False) <= 60
    assert gives_up_after(BUSY, moves=True) <= 60
