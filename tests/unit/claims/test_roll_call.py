"""Roll calls and pauses, played without a store: the first living waiter gets a free lock soon, and nobody before it is passed over."""

from __future__ import annotations

import heapq
from dataclasses import replace
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from approval_resource.claims.poller import JITTER
from approval_resource.claims.roll_call import CALL_PAUSE, LAST_PAUSE, Act, RollCall, pause_at
from approval_resource.model.lock import MAX_ROUND, Turn
from tests.builders import NOON

SEEDS = range(40)
COMMIT = 0.05
"""Seconds that taking the lock takes."""


def a_turn(waiting: int, **changes: object) -> Turn:
    """A free lock with so many waiters."""
    turn = Turn(
        pool="p", lock_name="l", revision=9, events=7, held=False, order=tuple(range(1, waiting + 1)), waiting=waiting, call="x"
    )
    return replace(turn, **changes)  # type: ignore[arg-type]


class Played:
    """A queue from the moment that its lock is free. Each living waiter looks at its pause, and late by up to `lag` seconds."""

    def __init__(self, waiting: int, living: list[int], seed: int, lag: float = 0.02, answered: tuple[int, ...] = ()) -> None:
        self.turn = a_turn(waiting, present=answered)
        if answered:
            self.turn = replace(self.turn, call=f"{self.turn.roll}/1")
        self.lag, self.random, self.now = lag, Random(seed), 0.0  # noqa: S311 - a play
        self.rolls = {ticket: RollCall(lambda: self.now) for ticket in living}
        self.writes = 0

    def pause(self, seconds: float) -> float:
        """A pause with its jitter, and how long the look takes."""
        return seconds * self.random.uniform(1 - JITTER, 1 + JITTER) + self.random.uniform(0, self.lag)

    def winner(self) -> tuple[int, float]:
        """Who takes the lock, and when."""
        due = [(self.random.random() * self.pause(pause_at(ticket - 1)), ticket) for ticket in self.rolls]
        heapq.heapify(due)
        while True:
            self.now, ticket = heapq.heappop(due)
            place = self.turn.place_of(ticket)
            if place <= 0:
                return ticket, self.now + COMMIT
            act = self.rolls[ticket].seen(self.turn, place, NOON)
            if act in (Act.ANSWER, Act.CALL):
                self.answer(ticket, again=act is Act.CALL)
            if act is Act.DROP:
                return ticket, self.now + COMMIT
            heapq.heappush(due, (self.now + self.pause(pause_at(place) if act is Act.WAIT else CALL_PAUSE), ticket))

    def answer(self, ticket: int, *, again: bool) -> None:
        """What the store makes of an answer."""
        self.writes += 1
        call = f"{self.turn.roll}/{self.turn.round + 1 if again else max(self.turn.round, 1)}"
        present = (*self.turn.present, ticket) if call == self.turn.call else (ticket,)
        self.turn = replace(self.turn, call=call, present=present)


@pytest.mark.parametrize("dead", [0, 1, 2, 3, 10, 54, 300])
def test_the_first_living_waiter_has_the_lock_within_three_seconds(dead: int) -> None:
    """However many before it are dead, and however many behind it live; nobody behind it gets it."""
    for seed in SEEDS:
        for behind in (0, 1, 20):
            living = [dead + 1 + number for number in range(behind + 1)]
            winner, seconds = Played(dead + behind + 1, living, seed).winner()
            assert winner == dead + 1
            assert seconds < 3


@pytest.mark.parametrize("lag", [0.1, 0.5, 1.0, 2.0, 5.0])
def test_nobody_is_passed_over_on_a_busy_machine(lag: float) -> None:
    """Where every look is late by up to so many seconds, everybody is given more time; the dead may be anywhere."""
    passed_over = 0
    for seed in range(100):
        random = Random(seed)  # noqa: S311 - a play
        living = sorted(random.sample(range(1, 31), 10))
        winner, seconds = Played(30, living, seed, lag).winner()
        passed_over += winner != living[0]
        assert seconds < 3 + 20 * lag
    assert passed_over == 0


def test_few_answer_a_roll_call() -> None:
    """Whoever sees an answer of one before it stays quiet, so that a crowd doesn't write all at once."""
    played = [Played(600, list(range(2, 601)), seed) for seed in range(5)]
    assert [one.winner()[0] for one in played] == [2] * 5
    assert max(one.writes for one in played) <= 60


def test_one_that_answered_and_died_holds_nobody_up() -> None:
    """It is asked again, and has no answer."""
    for seed in SEEDS:
        winner, seconds = Played(5, [3, 4, 5], seed, answered=(1,)).winner()
        assert winner == 3
        assert seconds < 10


@given(place=st.integers(0, 5000))
def test_the_further_behind_the_longer_the_pause(place: int) -> None:
    """The front looks five times a second, nobody more seldom than every 0.8 s."""
    assert pause_at(0) == 0.2
    assert pause_at(place) <= pause_at(place + 1) <= LAST_PAUSE


def test_a_held_lock_is_no_reason_for_a_roll_call() -> None:
    """Until time frees it."""
    now = 0.0
    roll = RollCall(lambda: now)
    held = a_turn(3, held=True)
    for look in range(100):
        now = float(look)
        assert roll.seen(held, 1, NOON) is Act.WAIT
    assert roll.seen(replace(held, frees_at=NOON), 1, NOON) is Act.LOOK


def test_rounds_end_somewhere() -> None:
    """Whatever somebody wrote there as the round: it is counted from 1 to 99, else there is none."""
    for number in ("0", "-1", "100", "9" * 5000, "x", "", "²"):
        assert a_turn(2, call=f"7/1/{number}").round == 0
    assert a_turn(2, call=f"7/1/{MAX_ROUND}").round == MAX_ROUND
    assert a_turn(2, call="8/1/1").round == 0
    assert a_turn(0, call="/1").round in (0, 1)
