"""What can't both come true, done at the same moment from eight processes: one outcome, the same for all, and one event for it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections import Counter, defaultdict
from contextlib import suppress

import pytest

from approval_resource.model.event import Kind
from approval_resource.store.dynamodb.store import DynamoStore
from approval_resource.store.interface import Connection
from demo.engine import ROOT
from tests import tally
from tests.soak import races, record
from tests.soak.races import BEFORE, DONE, OTHER, Note

PROCESSES = 8
ROUND_SECONDS = 3.0
"""Far more than a round needs."""
START_SECONDS = 60
DEADLINE = "the deadline"
Rounds = dict[int, list[Note]]


@pytest.fixture
def rounds(effort: tally.Effort) -> int:
    """How often each race is run."""
    return effort.of(6, 100)


def race(name: str, rounds: int, connection: Connection) -> Rounds:
    """Run it; what each process was told and saw, by round."""
    seed, _ = tally.seeded()
    print(f"APPROVAL_SEED={seed}")  # noqa: T201 - pytest shows it with a failure
    arguments = [name, str(PROCESSES), str(rounds), str(seed), connection.endpoint_url, connection.table]
    # What eight processes cover is covered by others; measuring it would take more than the race itself.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("COV")} | {
        "AWS_DEFAULT_REGION": connection.region,
        "AWS_ACCESS_KEY_ID": connection.access_key_id,
        "AWS_SECRET_ACCESS_KEY": connection.secret_access_key,
    }
    program = subprocess.Popen(
        [sys.executable, "-m", races.__name__, *arguments],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        out, err = program.communicate(timeout=START_SECONDS + rounds * ROUND_SECONDS)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(program.pid, signal.SIGKILL)
        program.wait()
    assert program.returncode == 0, err
    told: Rounds = defaultdict(list)
    for line in out.splitlines():
        note = Note(**json.loads(line))
        told[note.turn].append(note)
    assert {turn: len(notes) for turn, notes in told.items()} == dict.fromkeys(range(rounds), PROCESSES)
    tally.add(**{f"races_{name}": rounds})
    return told


def the_outcome(notes: list[Note]) -> Note:
    """What all of them saw, which has to be the same."""
    seen = {(note.state, note.decided_by, note.ended_by, note.passable, note.holder) for note in notes}
    assert len(seen) == 1, notes
    assert not [note for note in notes if note.passable != (note.state == "approved")], notes
    return notes[0]


def the_winner(notes: list[Note]) -> Note:
    """The one who was told that this call decided; all others were told that it had been decided, and what."""
    (winner,) = [note for note in notes if note.told == DONE]
    assert {(note.told, note.about) for note in notes} - {(DONE, winner.about)} <= {(BEFORE, winner.about)}, notes
    return winner


def deciders(store: DynamoStore) -> dict[str, list[tuple[Kind, str]]]:
    """For each claim what happened to it after it was made, by the log: kinds and who did it."""
    found: dict[str, list[tuple[Kind, str]]] = defaultdict(list)
    for event in store.events(races.POOL):
        if event.kind not in (Kind.HELD, Kind.PENDING, Kind.DEADLINE):
            found[event.claim_id].append((event.kind, event.actor))
    return found


def both_happened(outcomes: Counter[str], effort: tally.Effort, *wanted: str) -> None:
    """A race that always ends the same way is none; a few rounds may."""
    assert set(outcomes) <= set(wanted)
    assert not effort.soak or set(outcomes) == set(wanted), outcomes


def test_approve_against_reject_has_one_outcome(
    connection: Connection, store: DynamoStore, rounds: int, effort: tally.Effort
) -> None:
    """Four approve and four reject: the first verdict stands, everyone sees it, and only who gave it is told so."""
    played = race("verdicts", rounds, connection)
    decided, outcomes = deciders(store), Counter[str]()
    for turn, notes in played.items():
        outcome, winner = the_outcome(notes), the_winner(notes)
        assert outcome.state == winner.about == ("approved" if winner.role == "approve" else "rejected"), notes
        assert outcome.decided_by == f"typed:racer-{winner.number}"
        assert decided[races.claim_id(turn)] == [(outcome.state, outcome.decided_by)]
        assert outcome.holder == (races.claim_id(turn) if outcome.state == "approved" else "")
        outcomes[outcome.state] += 1
    assert record.faults(store, races.POOL) == []
    both_happened(outcomes, effort, "approved", "rejected")


@pytest.mark.long
def test_approve_against_expiry_has_one_outcome(
    connection: Connection, store: DynamoStore, rounds: int, effort: tally.Effort
) -> None:
    """Four approve and four apply the deadline, each by a reading of the time a moment before or after it."""
    played = race("expiry", rounds, connection)
    decided, outcomes = deciders(store), Counter[str]()
    for turn, notes in played.items():
        outcome = the_outcome(notes)
        done = [note for note in notes if note.told == DONE]
        assert len(done) == (outcome.state == "approved"), notes
        by = f"typed:racer-{done[0].number}" if done else DEADLINE
        assert (outcome.decided_by, outcome.ended_by) == ((by, "") if done else ("", by)), notes
        # Who applies a deadline that has not passed by his reading, and comes first, leaves the claim pending.
        told = {note.about for note in notes if note.role == "approve"}
        assert told == {outcome.state}, notes
        assert {note.about for note in notes if note.role == "settle"} <= {outcome.state, "pending"}, notes
        assert decided[races.claim_id(turn)] == [(outcome.state, by)]
        outcomes[outcome.state] += 1
    assert record.faults(store, races.POOL) == []
    both_happened(outcomes, effort, "approved", "expired")


@pytest.mark.long
def test_override_against_approve_has_one_outcome(
    connection: Connection, store: DynamoStore, rounds: int, effort: tally.Effort
) -> None:
    """Four approve a claim that four others supersede: no approval lands on what was superseded, nor on what came after."""
    played = race("override", rounds, connection)
    decided, outcomes = deciders(store), Counter[str]()
    for turn, notes in played.items():
        outcome, claim_id = the_outcome(notes), races.claim_id(turn)
        approvers = [note for note in notes if note.role == "approve"]
        overriders = [note for note in notes if note.role == "override"]
        if outcome.state == "approved":
            winner = the_winner(approvers)
            assert {(note.told, note.about) for note in overriders} == {(BEFORE, claim_id)}, notes
            assert outcome.holder == claim_id
            assert decided[claim_id] == [(Kind.APPROVED, f"typed:racer-{winner.number}")]
        else:
            assert {(note.told, note.about) for note in approvers} == {(BEFORE, "superseded")}, notes
            assert {note.told for note in overriders} == {DONE}, notes
            made = {note.about for note in overriders}
            assert outcome.holder in made
            assert [len(decided[id_]) for id_ in (claim_id, *made - {outcome.holder})] == [1] * (PROCESSES // 2)
            assert {kind for id_ in (claim_id, *made) for kind, _ in decided[id_]} == {Kind.SUPERSEDED}
            assert decided[outcome.holder] == []
        outcomes[outcome.state] += 1
    assert record.faults(store, races.POOL) == []
    both_happened(outcomes, effort, "approved", "superseded")


@pytest.mark.long
def test_release_against_takeover_has_one_outcome(
    connection: Connection, store: DynamoStore, rounds: int, effort: tally.Effort
) -> None:
    """Four release a claim whose hold time is up by some readings, and four want its lock: it ends once, and one gets the lock."""
    played = race("takeover", rounds, connection)
    decided, outcomes = deciders(store), Counter[str]()
    for turn, notes in played.items():
        outcome, claim_id = the_outcome(notes), races.claim_id(turn)
        (decision,) = decided[claim_id]
        took = [note for note in notes if note.role == "take" and note.told == DONE]
        assert [note.about for note in took] == ([outcome.holder] if outcome.holder else []), notes
        others = {note.about for note in notes if note.role == "take"}
        assert others <= {claim_id, outcome.holder}, notes
        released = [note for note in notes if note.role == "release"]
        assert {note.about for note in released} == {outcome.state}, notes
        assert sum(note.told == DONE for note in released) == (outcome.state == "released"), notes
        by = "main/app/deploy #" + (f"{turn}" if outcome.state == "released" else f"{turn}-{took[0].number}")
        assert decision == (outcome.state, by) == (outcome.state, outcome.ended_by), notes
        outcomes[outcome.state] += 1
    assert record.faults(store, races.POOL) == []
    both_happened(outcomes, effort, "released", "expired")


@pytest.mark.long
def test_renewal_against_takeover_has_one_outcome(
    connection: Connection, store: DynamoStore, rounds: int, effort: tally.Effort
) -> None:
    """Four renew a claim whose lock four others take over: it is held on by all renewals, or it has expired and none counts."""
    played = race("renewal", rounds, connection)
    decided, outcomes = deciders(store), Counter[str]()
    for turn, notes in played.items():
        outcome, claim_id = the_outcome(notes), races.claim_id(turn)
        took = [note for note in notes if note.role == "take" and note.told == DONE]
        renewed = {(note.told, note.about) for note in notes if note.role == "renew"}
        if outcome.state == "held":
            assert (took, renewed, outcome.holder) == ([], {(DONE, "held")}, claim_id), notes
            assert [kind for kind, _ in decided[claim_id]] == [Kind.RENEWED] * (PROCESSES // 2)
        else:
            assert ([note.about for note in took], renewed) == ([outcome.holder], {(BEFORE, "expired")}), notes
            assert decided[claim_id] == [(Kind.EXPIRED, f"main/app/deploy #{turn}-{took[0].number}")]
        assert {note.about for note in notes if note.role == "take"} <= {claim_id, outcome.holder}, notes
        outcomes[outcome.state] += 1
    assert record.faults(store, races.POOL) == []
    both_happened(outcomes, effort, "held", "expired")


@pytest.mark.long
def test_passing_against_release_has_one_outcome(
    connection: Connection, store: DynamoStore, rounds: int, effort: tally.Effort
) -> None:
    """Four builds pass on one approval while four people free its lock: one passes at most, and only before the lock was freed."""
    played = race("passage", rounds, connection)
    decided, outcomes = deciders(store), Counter[str]()
    for turn, notes in played.items():
        outcome = the_outcome(notes)
        freed = the_winner([note for note in notes if note.role == "free_released"])
        passers = [note for note in notes if note.role == "pass_through"]
        passed = [note for note in passers if note.told == DONE]
        by = [f"main/app/deploy #{turn}-{note.number}" for note in passed]
        assert {(note.told, note.about) for note in passers} <= {
            (OTHER, "released"),
            *[(told, name) for name in by for told in (DONE, BEFORE)],
        }, notes
        assert (outcome.state, outcome.holder, len(passed) <= 1) == ("released", "", True), notes
        assert decided[races.claim_id(turn)] == [
            (Kind.APPROVED, "typed:racer-0"),
            *[(Kind.SPENT, name) for name in by],
            (Kind.RELEASED, f"typed:racer-{freed.number}"),
        ]
        outcomes["passed" if passed else "shut"] += 1
    assert record.faults(store, races.POOL) == []
    both_happened(outcomes, effort, "passed", "shut")


def test_one_build_that_runs_many_times_at_once_has_one_claim(connection: Connection, store: DynamoStore, rounds: int) -> None:
    """Eight runs of one build claim: one claim is made, and all of them have it."""
    played = race("twins", rounds, connection)
    for turn, notes in played.items():
        outcome = the_outcome(notes)
        assert {(note.told, note.about) for note in notes} == {(DONE, outcome.holder)}, (turn, notes)
    assert record.faults(store, races.POOL) == []
    assert len(list(store.events(races.POOL))) == rounds


@pytest.mark.long
def test_many_ends_at_once_are_one_end(connection: Connection, store: DynamoStore, rounds: int, effort: tally.Effort) -> None:
    """The build that releases and people who free its lock: one of them ends the claim, and the others are told how it ended."""
    played = race("ends", rounds, connection)
    decided, outcomes = deciders(store), Counter[str]()
    for turn, notes in played.items():
        outcome, winner = the_outcome(notes), the_winner(notes)
        assert outcome.state == winner.about == ("withdrawn" if winner.role == "free_withdrawn" else "released"), notes
        assert outcome.ended_by == (
            "main/app/deploy #" + str(turn) if winner.role == "release" else f"typed:racer-{winner.number}"
        )
        assert outcome.holder == ""
        assert decided[races.claim_id(turn)] == [(outcome.state, outcome.ended_by)]
        outcomes[winner.role] += 1
    assert record.faults(store, races.POOL) == []
    both_happened(outcomes, effort, "release", "free_released", "free_withdrawn")
