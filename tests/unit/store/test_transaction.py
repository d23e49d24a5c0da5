"""All that follows from a change is worked out in one place: holder, fence, queue, chain, head, settings, and places in the log."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from approval_resource.documents.claims import claim_digest, terms_digest
from approval_resource.documents.events import event_digest
from approval_resource.documents.settings import policy_digest, settings_digest
from approval_resource.model.claim import Claim, Transition
from approval_resource.model.event import TICK, Event, Kind, Place, State
from approval_resource.model.lock import BuildRecord
from approval_resource.model.settings import Retention, Settings
from approval_resource.store.chain import CLOCK_PRECISION, MAX_JOBS
from approval_resource.store.transaction import ClaimChange, Commit, Plan, Snapshot, plan
from tests.builders import NOON, a_build, a_claim, a_lock, a_snapshot, a_waiter, after

LATER = NOON + timedelta(hours=1)


def claim_of(number: int, **changes: Any) -> Claim:
    """A pending claim of build `number`."""
    build = a_build(number)
    return a_claim(**{"id": f"claim {number}", "build": build, "build_key": build.key(), **changes})


def change(claim: Claim, kind: Kind | None = None, **more: Any) -> ClaimChange:
    """The change that leaves the claim so."""
    return ClaimChange(claim=claim, kind=kind or Kind(claim.state.value), actor=str(claim.build), **more)


def ended(claim: Claim, state: State = State.RELEASED, now: datetime = LATER) -> ClaimChange:
    """The change that ends the claim."""
    ruling = Transition(state=state, actor="typed:ann", at=now, timestamp=now)
    return change(replace(claim, state=state, ended=ruling))


def planned(snapshot: Snapshot, *changes: ClaimChange, **wanted: Any) -> Plan:
    """The transaction for those changes."""
    return plan(snapshot, Commit(changes=changes, **wanted), "operation")


def held(number: int = 1, **lock: Any) -> Snapshot:
    """A snapshot, an hour later, in which build `number` holds the lock."""
    before = a_snapshot(lock=a_lock(**lock))
    return after(before, planned(before, change(claim_of(number))), LATER)


def test_a_claim_takes_the_lock_and_the_next_fence() -> None:
    """Claim and lock tell of the same holder and the same, higher number."""
    done = planned(a_snapshot(lock=a_lock(fence=7, revision=3)), change(claim_of(1)))
    [claim] = done.claims
    assert (done.lock.holder, done.lock.fence, claim.fence) == (claim.id, 8, 8)
    assert (claim.revision, done.lock.revision) == (1, 4)


def test_a_claim_that_ends_frees_the_lock_and_keeps_its_fence() -> None:
    """The fence only grows, so that the number of an earlier holder never comes again."""
    snapshot = held()
    done = planned(snapshot, ended(snapshot.claims["claim 1"]))
    assert (done.lock.holder, done.lock.fence) == ("", 1)
    assert done.claims[0].fence == 1
    taken = planned(after(snapshot, done), change(claim_of(2)))
    assert (taken.lock.holder, taken.lock.fence) == ("claim 2", 2)


def test_a_takeover_is_one_transaction() -> None:
    """The old claim ends and the new one holds the lock, in that order, with nothing in between."""
    snapshot = held()
    done = planned(snapshot, ended(snapshot.claims["claim 1"], State.SUPERSEDED), change(claim_of(2)))
    assert [event.kind for event in done.events] == [Kind.SUPERSEDED, Kind.PENDING]
    assert (done.lock.holder, done.lock.fence) == ("claim 2", 2)


def test_no_decision_can_take_a_held_lock() -> None:
    """A second holder is a fault of the program, and nothing is written."""
    with pytest.raises(AssertionError, match="held by claim 1"):
        planned(held(), change(claim_of(2)))


def test_a_claim_that_lost_its_lock_can_not_have_it_back() -> None:
    """Only a new claim takes a lock; an approval never returns to one that was given up."""
    snapshot = held()
    free = after(snapshot, planned(snapshot, ended(snapshot.claims["claim 1"])))
    with pytest.raises(AssertionError, match="held by none"):
        planned(free, change(replace(free.claims["claim 1"], state=State.APPROVED)))


def test_a_tombstone_touches_no_holder() -> None:
    """A withdrawn claim that is written so that a lost write can't land leaves lock and fence to who has them."""
    snapshot = held()
    done = planned(snapshot, ended(claim_of(2), State.WITHDRAWN))
    assert (done.lock.holder, done.lock.fence) == ("claim 1", 1)
    assert (done.claims[0].fence, done.claims[0].revision) == (1, 1)


def test_who_gets_the_lock_leaves_its_queue() -> None:
    """The build's own place goes, nobody else's."""
    queue = (a_waiter(1), a_waiter(2), a_waiter(3))
    done = planned(a_snapshot(lock=a_lock(queue=queue, tickets=3)), change(claim_of(2)))
    assert (done.lock.queue, done.lock.tickets) == ((queue[0], queue[2]), 3)


def test_a_change_of_an_existing_claim_leaves_the_queue() -> None:
    """A build that waits for its second claim keeps its place while its first one is reviewed or ends."""
    snapshot = held()
    snapshot = replace(snapshot, lock=snapshot.lock.joined(a_waiter(1)))
    assert planned(snapshot, ended(snapshot.claims["claim 1"])).lock.queue == snapshot.lock.queue


def test_a_lock_remembers_the_jobs_that_claimed_it() -> None:
    """Each once, the latest last, and no more than fit."""
    jobs = tuple(f"job {number}" for number in range(MAX_JOBS))
    own = a_build(1).job_key
    assert planned(a_snapshot(), change(claim_of(1))).lock.jobs == (own,)
    assert planned(a_snapshot(lock=a_lock(jobs=jobs)), change(claim_of(1))).lock.jobs == (*jobs[1:], own)
    assert planned(a_snapshot(lock=a_lock(jobs=(own, "another"))), change(claim_of(1))).lock.jobs == ("another", own)
    of_none = replace(claim_of(1), build=a_build(1, job=""))
    assert planned(a_snapshot(), change(of_none)).lock.jobs == ()


def test_a_claim_carries_its_place_in_the_log() -> None:
    """Of its first event, of its newest state and of its newest event, so that each can be found again."""
    snapshot = held()
    first = snapshot.claims["claim 1"]
    assert (first.timestamp, first.changed, first.event_at) == (NOON, NOON, NOON)
    reviewed = planned(snapshot, change(first, Kind.REVIEWED)).claims[0]
    assert (reviewed.timestamp, reviewed.changed, reviewed.event_at, reviewed.revision) == (NOON, NOON, LATER, 2)
    gone = planned(snapshot, ended(first)).claims[0]
    assert (gone.timestamp, gone.changed, gone.event_at) == (NOON, LATER, LATER)


def test_a_ruling_carries_its_event_s_place() -> None:
    """Time and place of a decision are the log's, whatever the decision said of them; an older ruling stays as it is."""
    snapshot = held()
    early = Transition(state=State.APPROVED, actor="typed:ann", at=NOON, timestamp=NOON)
    approved = planned(snapshot, change(replace(snapshot.claims["claim 1"], state=State.APPROVED, decided=early)))
    decided = approved.claims[0].decided
    assert decided is not None
    assert (decided.at, decided.timestamp) == (LATER, LATER)
    much_later = LATER + timedelta(days=1)
    released = planned(after(snapshot, approved, much_later), ended(approved.claims[0], now=NOON)).claims[0]
    assert released.decided == decided
    assert released.ended is not None
    assert (released.ended.at, released.ended.timestamp) == (much_later, much_later)


def test_events_come_after_the_newest_whatever_the_clock_says() -> None:
    """Two events never share a place, also where the store's clock went back; `at` tells the time all the same."""
    snapshot = held()
    back = NOON - timedelta(minutes=5)
    [event] = planned(replace(snapshot, now=back), change(snapshot.claims["claim 1"], Kind.REVIEWED)).events
    assert (event.timestamp, event.at) == (NOON + TICK, back)


def test_an_event_tells_its_place_as_its_time_within_the_clock_s_precision() -> None:
    """Two readings that differ by less than a second are not different times."""
    snapshot = held()
    for back, told in ((CLOCK_PRECISION - 2 * TICK, NOON + TICK), (CLOCK_PRECISION - TICK, NOON - CLOCK_PRECISION + TICK)):
        [event] = planned(replace(snapshot, now=NOON - back), change(snapshot.claims["claim 1"], Kind.REVIEWED)).events
        assert (event.timestamp, event.at) == (NOON + TICK, told)


def test_the_head_is_the_newest_event() -> None:
    """Its revision, place and digest are those of the last event of the transaction."""
    snapshot = held()
    done = planned(snapshot, ended(snapshot.claims["claim 1"], State.SUPERSEDED), change(claim_of(2)))
    newest = done.events[-1]
    assert (done.head.revision, done.head.timestamp, done.head.digest) == (3, newest.timestamp, newest.digest)


def test_newest_places_are_of_state_changes_alone() -> None:
    """Pool and lock tell where each state was last come into; other events are no versions."""
    snapshot = held()
    pending = {State.PENDING: Place(NOON, "claim 1", "deploy")}
    assert snapshot.head.newest == snapshot.lock.newest == pending
    reviewed = planned(snapshot, change(snapshot.claims["claim 1"], Kind.REVIEWED))
    assert reviewed.head.newest == reviewed.lock.newest == pending
    done = planned(snapshot, ended(snapshot.claims["claim 1"]))
    assert done.head.newest == done.lock.newest == pending | {State.RELEASED: Place(LATER, "claim 1", "deploy")}


def test_an_event_pins_the_claim_as_it_left_it() -> None:
    """Its digest before and after, and the terms."""
    snapshot = a_snapshot()
    made = planned(snapshot, change(claim_of(1, policy="p")))
    assert (made.events[0].claim, made.events[0].terms) == (claim_digest(made.claims[0]), terms_digest(made.claims[0]))
    again = planned(after(snapshot, made), change(made.claims[0], Kind.REVIEWED))
    assert (again.events[0].claim, again.events[0].terms) == (claim_digest(again.claims[0]), terms_digest(made.claims[0]))
    assert (made.events[0].before, again.events[0].before) == ("", claim_digest(made.claims[0]))


def test_an_event_says_what_the_change_says() -> None:
    """Actor, build, reason, verdict, force, and the operation by which a lost answer is found again."""
    told: dict[str, Any] = {"build": "https://ci.example/builds/1", "reason": "why", "verdict": "approve", "forced": True}
    [event] = planned(a_snapshot(), change(claim_of(1), **told)).events
    assert {name: getattr(event, name) for name in told} == told
    assert (event.actor, event.operation, event.pool) == ("main/app/deploy #1", "operation", "payments")
    assert (event.claim_id, event.lock_name, event.state) == ("claim 1", "deploy", State.PENDING)


def test_settings_are_pinned_by_an_event_of_the_pool_s_own() -> None:
    """It names no claim, carries the policy's digest, and the head counts the settings, on which every change is conditional."""
    snapshot = a_snapshot(settings=Settings(pool="payments", revision=4), lock=a_lock(""))
    done = planned(snapshot, settings=Settings(pool="payments", policy="[]"), actor="typed:ann", reason="why")
    assert done.settings is not None
    [event] = done.events
    assert (event.kind, event.claim_id, event.state, event.lock_name) == (Kind.SETTINGS, "", None, "")
    assert (event.actor, event.reason, event.terms) == ("typed:ann", "why", policy_digest("[]"))
    assert event.claim == settings_digest(done.settings)
    assert (done.settings.revision, done.head.settings) == (5, 5)


def test_what_ends_is_kept_as_the_settings_say_then() -> None:
    """By the settings of the snapshot, or by those that this very transaction sets; None is for ever."""
    week = Settings(pool="payments", retentions=(Retention(NOON, 7, 1, None),))
    ever = Settings(pool="payments", retentions=(Retention(NOON, 0, 1, None),))
    assert planned(a_snapshot(), change(claim_of(1))).keep == timedelta(days=400)
    assert planned(a_snapshot(settings=week), change(claim_of(1))).keep == timedelta(days=7)
    assert planned(a_snapshot(settings=week, lock=a_lock("")), settings=ever).keep is None


def test_contents_are_written_beside_their_own_claim() -> None:
    """Each with the id of the claim that it was given with."""
    snapshot = held()
    first = ended(snapshot.claims["claim 1"], State.SUPERSEDED)
    done = planned(snapshot, first, change(claim_of(2), contents={"payload": b"p", "policy": b"q"}))
    assert done.contents == (("claim 2", "payload", b"p"), ("claim 2", "policy", b"q"))


def test_a_build_s_record_is_one_revision_on() -> None:
    """Only where the decision wants it written."""
    record = BuildRecord(key="k", pool="payments", lock_name="deploy", made="claim 1", revision=2)
    assert planned(a_snapshot(), change(claim_of(1)), build=record).build == replace(record, revision=3)
    assert planned(a_snapshot(build=record), change(claim_of(1))).build is None


def test_a_plan_is_a_function_of_what_was_read() -> None:
    """A commit that is tried again comes to the same, and nothing that was read is changed by it."""
    snapshot, kept = held(), held()
    wanted = Commit(changes=(ended(snapshot.claims["claim 1"]), change(claim_of(2))))
    assert plan(snapshot, wanted, "operation") == plan(snapshot, wanted, "operation")
    assert snapshot == kept


def check_chain(events: list[Event]) -> None:
    """Hold each event against the one before it."""
    for number, event in enumerate(events, 1):
        before = events[number - 2] if number > 1 else None
        assert event.digest == event_digest(event)
        assert (event.revision, event.lock_event_number) == (number, number)
        assert event.previous == (before.digest if before else "")
        assert event.previous_timestamp == (before.timestamp if before else None)
        assert before is None or event.timestamp > before.timestamp


@given(st.lists(st.tuples(st.sampled_from(["take", "end", "take over", "review"]), st.integers(-3600, 3600)), max_size=20))
def test_whatever_happens_the_log_is_one_chain(steps: list[tuple[str, int]]) -> None:
    """Numbers without a gap, places that grow though the clock jumps, and at most one claim that holds the lock."""
    snapshot, events = a_snapshot(), list[Event]()
    for number, (step, seconds) in enumerate(steps, 1):
        now, holder = snapshot.now + timedelta(seconds=seconds), snapshot.holder
        snapshot = replace(snapshot, now=now)
        changes = []
        if holder is not None and step in ("end", "take over"):
            changes.append(ended(holder, State.SUPERSEDED, now))
        elif holder is not None:
            changes.append(change(holder, Kind.REVIEWED))
        if step == "take over" or (holder is None and step == "take"):
            changes.append(change(claim_of(number)))
        done = planned(snapshot, *changes)
        fence = snapshot.lock.fence
        snapshot = after(snapshot, done)
        events += done.events
        assert snapshot.is_whole
        assert [claim.id for claim in snapshot.claims.values() if claim.claimed] == [snapshot.lock.holder][
            : bool(snapshot.lock.holder)
        ]
        assert snapshot.lock.fence - fence == sum(event.kind is Kind.PENDING for event in done.events)
    check_chain(events)


def test_a_snapshot_of_two_moments_is_seen() -> None:
    """Lock, claims and settings that contradict each other were read while a commit landed, and are read again."""
    snapshot = held()
    claim, head = snapshot.claims["claim 1"], snapshot.head
    torn = {
        "a holder that is not there": replace(snapshot, claims={}),
        "a holder that has ended": replace(snapshot, claims={claim.id: replace(claim, state=State.RELEASED)}),
        "a claim that holds a free lock": replace(snapshot, lock=replace(snapshot.lock, holder="")),
        "settings the head doesn't count": replace(snapshot, settings=Settings(pool="payments", policy="[]", revision=1)),
        "a head that counts newer settings": replace(snapshot, head=replace(head, settings=1)),
    }
    assert snapshot.is_whole
    assert [name for name, one in torn.items() if one.is_whole] == []


def test_a_claim_on_another_lock_tears_no_snapshot() -> None:
    """A build's record may name a claim elsewhere, which says nothing of this lock."""
    snapshot = held()
    other = claim_of(2, lock_name="another")
    assert replace(snapshot, claims={**snapshot.claims, other.id: other}).is_whole
