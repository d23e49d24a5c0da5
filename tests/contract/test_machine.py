"""A state machine drives the store beside a plain model of what should be: any order of steps, same answer.

Builds that die are those whose next step never comes: their claims stay held, their places in a queue stay taken.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from approval_resource.audit import verify as audit
from approval_resource.claims import acquire as claims
from approval_resource.claims import deadline, wait_for_lock
from approval_resource.claims import gate as gates
from approval_resource.claims import release as releases
from approval_resource.claims import review as reviews
from approval_resource.claims.decide import Terms
from approval_resource.claims.end import end_claim, force_release, renew
from approval_resource.claims.lookup import find
from approval_resource.claims.request import Attempt
from approval_resource.errors import (
    AlreadyReviewedError,
    ApprovalError,
    ApprovalSpentError,
    LockHeldError,
    LockNotFoundError,
    NoApprovalNeededError,
    NotYourTurnError,
    RequestChangedError,
    ReviewTimeoutError,
    StaleLockError,
)
from approval_resource.model.claim import Build, Claimant, Verdict
from approval_resource.model.event import State
from approval_resource.store.dynamodb.store import DynamoStore
from approval_resource.store.interface import Connection
from tests import tally
from tests.builders import FrozenTime, a_build, a_request, under

POOL = "payments"
LOCKS = st.sampled_from(["deploy", "migrate"])
BUILDS = st.integers(1, 4)
PEOPLE = st.sampled_from(["aws:ann", "aws:bob", "typed:cy", "typed:dee"])
TWO = under(required_approvals=2)
"""What every review is made under."""
OPEN = ("held", "pending", "approved")


@dataclass
class Told:
    """What the model knows of one claim."""

    id: str
    lock: str
    build: int
    asked: str
    approval: bool
    state: str
    deadline: datetime | None = None
    hold_until: datetime | None = None
    said: dict[str, str] = field(default_factory=dict)
    spent: int = 0

    @property
    def open(self) -> bool:
        return self.state in OPEN


@dataclass
class Queued:
    """What the model knows of one place in a queue."""

    build: int
    priority: int
    ticket: int


class SkewedTime(FrozenTime):
    """The store's time as one host has it: off by the second that a Date may be off."""

    def __init__(self, true: FrozenTime, seconds: int) -> None:
        super().__init__()
        self.true = true
        self.skew = timedelta(seconds=seconds)

    def now(self) -> datetime:
        return self.true.at + self.skew


class Machine(RuleBasedStateMachine):
    """Builds, people and time against two locks; every step is expected to end as the model says."""

    connection: Connection

    @initialize(skew=st.integers(-1, 1))
    def start(self, skew: int) -> None:
        """A table of its own, and a clock that only the machine moves; two hosts may read it a second apart."""
        self.time = FrozenTime()
        self.pool = f"{POOL}-{uuid4()}"
        self.times = [SkewedTime(self.time, 0), SkewedTime(self.time, skew)]
        self.stores = [DynamoStore.connect(self.connection, store_clock=time) for time in self.times]
        self.told: list[Told] = []
        self.made: dict[tuple[int, str], Told] = {}
        self.passed: dict[tuple[int, str], Told] = {}
        self.events = 0
        self.jobs: dict[str, set[str]] = {"deploy": set(), "migrate": set()}
        self.queues: dict[str, list[Queued]] = {"deploy": [], "migrate": []}
        self.tickets = {"deploy": 0, "migrate": 0}
        self.attempts: dict[tuple[int, str], Attempt] = {}
        for lock in ("deploy", "migrate"):
            self.ask(lock, 1)

    def ask(self, lock: str, build: int, store: int = 0) -> None:
        """A build claims with nothing special."""
        self.claim(lock, build, approval=True, override=False, text="a", hold=None, expires=None, store=store)

    def build(self, number: int) -> Build:
        """Builds 1 to 3 are of one job; 4 is of another of the same pipeline."""
        return a_build(number, job="unlock" if number == 4 else "deploy")

    def in_use(self, told: Told, build: int) -> bool:
        """Whether another build of the same job goes by the claim's approval."""
        return told.open and told.spent not in (0, build) and self.build(told.spent).job == self.build(build).job

    def holder(self, lock: str) -> Told | None:
        """The model's holder of the lock."""
        return next((told for told in self.told if told.lock == lock and told.open), None)

    def overdue(self, told: Told, store: int) -> bool:
        """Whether nobody decided in time, as that host has it."""
        return told.state == "pending" and told.deadline is not None and told.deadline <= self.times[store].now()

    def overstayed(self, told: Told, store: int) -> bool:
        """Whether the lock may be taken over, as that host has it."""
        return told.open and told.hold_until is not None and told.hold_until <= self.times[store].now()

    def stale(self, told: Told, store: int) -> bool:
        """Whether people's say of the claim is too old, as that host has it, to serve a build of the same name."""
        claim = find(self.stores[store], told.id)
        assert claim.event_at is not None
        quiet = told.state == "held" or (told.state == "pending" and not told.said)
        return not quiet and self.times[store].now() - claim.event_at > timedelta(minutes=10)

    def front(self, lock: str) -> int:
        """The build whose turn is next, or 0."""
        return self.queues[lock][0].build if self.queues[lock] else 0

    @rule(
        lock=LOCKS,
        build=BUILDS,
        approval=st.booleans(),
        override=st.booleans(),
        text=st.sampled_from(["a", "b"]),
        hold=st.sampled_from([None, None, timedelta(minutes=10)]),
        expires=st.sampled_from([None, None, timedelta(minutes=8)]),
        store=st.integers(0, 1),
    )
    def claim(
        self,
        lock: str,
        build: int,
        approval: bool,
        override: bool,
        text: str,
        hold: timedelta | None,
        expires: timedelta | None,
        store: int,
    ) -> None:
        """A build claims."""
        request = a_request(
            lock,
            self.pool,
            need_approval=approval,
            description=text,
            override_approval=override,
            hold_timeout=hold,
            expires_after=expires,
            terms=TWO if approval else Terms(),
        )
        asked = f"{approval}{text}{hold}{expires}"
        own, holder = self.made.get((build, lock)), self.holder(lock)
        expected, ended = "taken", None
        if own and own.state != "released":
            if self.stale(own, store):
                ended = (own, "superseded") if own.open else None
            elif own.asked == asked:
                expected = own.id
            elif own.state == "pending":
                over = self.overdue(own, store) or self.overstayed(own, store)
                ended = None if over else (own, "superseded")
            elif own.open or own.state == "rejected":
                expected = "changed"
        if expected == "taken" and not ended:
            due = holder and (self.overdue(holder, store) or self.overstayed(holder, store))
            if holder and due:
                ended = (holder, "expired")
            if holder and not due:
                expected = "taken" if override and holder.state == "pending" else "held"
                ended = (holder, "superseded")
            elif self.front(lock) not in (0, build):
                expected = "not yet"
        try:
            who = self.build(build)
            taken = claims.take(self.stores[store], request, Claimant(who), Attempt()).claim
        except NotYourTurnError:
            assert expected == "not yet"
            return
        except LockHeldError as held:
            self.claim_refused(held, expected, holder)
            return
        except RequestChangedError:
            assert expected == "changed"
            return
        if expected != "taken":
            assert taken.id == expected
            return
        if ended:
            ended[0].state = ended[1]
            self.events += 1
        self.events += 1
        self.jobs[lock].add(who.job)
        told = Told(taken.id, lock, build, asked, approval, "pending" if approval else "held", taken.deadline, taken.hold_until)
        assert (told.deadline is not None, told.hold_until is not None) == (bool(expires and approval), bool(hold))
        self.told.append(told)
        self.queues[lock] = [queued for queued in self.queues[lock] if queued.build != build]
        self.made[build, lock] = told

    @rule(lock=LOCKS, build=BUILDS, store=st.integers(0, 1))
    def ask_again(self, lock: str, build: int, store: int) -> None:
        """The plain question, so that it comes up often."""
        self.ask(lock, build, store)

    def claim_refused(self, held: LockHeldError, expected: str, holder: Told | None) -> None:
        """The lock was another's, as the model says, and the refusal names it."""
        assert expected == "held"
        assert holder is not None
        assert held.current.id == holder.id

    @precondition(lambda self: self.told)
    @rule(data=st.data(), who=PEOPLE, verdict=st.sampled_from(Verdict), store=st.integers(0, 1))
    def review(self, data: st.DataObject, who: str, verdict: Verdict, store: int) -> None:
        """Somebody reviews a claim, open or not."""
        told = data.draw(st.sampled_from(self.told))
        expected: type[ApprovalError] | None = None
        if self.overdue(told, store):
            expected = ReviewTimeoutError
        elif not told.approval:
            expected = NoApprovalNeededError
        elif told.state != "pending":
            expected = AlreadyReviewedError
        refused: type[ApprovalError] | None = None
        try:
            recorded = reviews.review(self.stores[store], told.id, reviewer=who, verdict=verdict)
        except ApprovalError as error:
            refused = type(error)
        assert refused is expected
        if refused is not None:
            if refused is ReviewTimeoutError:
                told.state = "expired"
                self.events += 1
            return
        assert recorded.changed == (told.said.get(who) != verdict.value)
        if not recorded.changed:
            return
        self.events += 1
        told.said[who] = verdict.value
        # Typed names are all one person, and count beside nobody whom AWS knows.
        people = {name for name, said in told.said.items() if said == "approve" and not name.startswith("typed")}
        if "reject" in told.said.values():
            told.state = "rejected"
        elif len(people) == 2:
            told.state = "approved"
        assert recorded.claim.state.value == told.state

    @rule(lock=LOCKS, build=BUILDS, store=st.integers(0, 1))
    def release(self, lock: str, build: int, store: int) -> None:
        """A build releases by the lock's name."""
        who = self.build(build)
        own = [told for told in (self.made.get((build, lock)), self.passed.get((build, lock))) if told]
        holder = self.holder(lock)
        meant = next((told for told in own if told.open and not self.in_use(told, build)), None)
        passed_by = holder is not None and self.in_use(holder, build)
        if not own and holder and holder.state != "pending" and who.job not in self.jobs[lock] and not passed_by:
            meant = holder
        try:
            ended = releases.release(self.stores[store], self.pool, lock, Claimant(who))
        except LockNotFoundError:
            assert not any(told.lock == lock for told in self.told)
            return
        except LockHeldError:
            assert meant is None
            assert holder is not None
            assert not any(told.lock == lock and not told.open for told in self.told)
            return
        assert ended.changed == (meant is not None)
        if meant:
            assert ended.claim.id == meant.id
            meant.state = "withdrawn" if meant.state == "pending" else "released"
            self.events += 1
        else:
            assert not ended.claim.claimed

    @precondition(lambda self: self.told)
    @rule(data=st.data(), state=st.sampled_from([State.RELEASED, State.WITHDRAWN]), store=st.integers(0, 1))
    def end(self, data: st.DataObject, state: State, store: int) -> None:
        """An operator ends a claim, open or not."""
        told = data.draw(st.sampled_from(self.told))
        claim = find(self.stores[store], told.id)
        possible = told.open and not (told.state == "pending" and state is State.RELEASED)
        try:
            end_claim(self.stores[store], claim, state, actor="op")
        except StaleLockError:
            assert not possible
            return
        assert possible
        told.state = state.value
        self.events += 1

    @precondition(lambda self: self.told)
    @rule(data=st.data(), build=BUILDS, spend=st.booleans(), reuse=st.booleans(), store=st.integers(0, 1))
    def pass_gate(self, data: st.DataObject, build: int, spend: bool, reuse: bool, store: int) -> None:
        """A build passes the gate of a claim, or doesn't."""
        told = data.draw(st.sampled_from(self.told))
        claim = find(self.stores[store], told.id)
        usable = told.spent == 0 or (told.spent == build and not self.stale(told, store))
        try:
            gates.pass_through(self.stores[store], claim, self.build(build), spend=spend, reuse=reuse)
        except ApprovalSpentError:
            assert told.state == "approved"
            assert spend
            assert not reuse
            assert not usable
            return
        except ApprovalError:
            assert told.state != "approved"
            return
        assert told.state == "approved", "a gate opened without an approval"
        assert not spend or reuse or usable
        spends = spend and not told.spent
        if spends or self.passed.get((build, told.lock)) is not told:
            self.events += 1
        told.spent = build if spends else told.spent
        self.passed[build, told.lock] = told

    @precondition(lambda self: self.told)
    @rule(data=st.data(), minutes=st.integers(1, 20), store=st.integers(0, 1))
    def prolong(self, data: st.DataObject, minutes: int, store: int) -> None:
        """A gate sets its timeout, counted from the claim."""
        told = data.draw(st.sampled_from(self.told))
        claim = find(self.stores[store], told.id)
        deadline = claim.timestamp + timedelta(minutes=minutes)
        gates.prolong(self.stores[store], claim, timedelta(minutes=minutes), a_build(9))
        if told.state == "pending" and not self.overdue(told, store) and (told.deadline is None or told.deadline < deadline):
            told.deadline = deadline
            self.events += 1

    @precondition(lambda self: self.told)
    @rule(data=st.data(), store=st.integers(0, 1))
    def settle(self, data: st.DataObject, store: int) -> None:
        """Somebody looks at a claim and applies its deadline if that has passed."""
        told = data.draw(st.sampled_from(self.told))
        settled = deadline.apply_time(self.stores[store], find(self.stores[store], told.id))
        if self.overdue(told, store):
            told.state = "expired"
            self.events += 1
        assert settled.state.value == told.state

    @precondition(lambda self: self.told)
    @rule(data=st.data(), build=BUILDS, minutes=st.integers(1, 20), store=st.integers(0, 1))
    def renew(self, data: st.DataObject, build: int, minutes: int, store: int) -> None:
        """A build counts a claim's hold time anew."""
        told = data.draw(st.sampled_from(self.told))
        claim = find(self.stores[store], told.id)
        try:
            renewed = renew(self.stores[store], claim, self.build(build), timedelta(minutes=minutes))
        except StaleLockError:
            assert not told.open
            return
        assert told.open
        until = self.times[store].now() + timedelta(minutes=minutes)
        told.hold_until = max(until, told.hold_until or until)
        assert renewed.hold_until == told.hold_until
        self.events += 1

    @precondition(lambda self: self.told)
    @rule(data=st.data(), store=st.integers(0, 1))
    def force_out(self, data: st.DataObject, store: int) -> None:
        """An operator frees a lock in one go."""
        told = data.draw(st.sampled_from(self.told))
        claim = find(self.stores[store], told.id)
        try:
            force_release(self.stores[store], claim, actor="op", reason="stuck")
        except StaleLockError:
            assert not told.open
            return
        assert told.open
        told.state = "withdrawn" if told.state == "pending" else "released"
        self.events += 1

    @rule(lock=LOCKS, build=BUILDS, priority=st.integers(0, 1), store=st.integers(0, 1))
    def join(self, lock: str, build: int, priority: int, store: int) -> None:
        """A build joins the queue, for the first time, again, or back from having been taken for dead."""
        attempt = self.attempts.setdefault((build, lock), Attempt())
        who = self.build(build)
        request = a_request(lock, self.pool, priority=priority)
        back = attempt.ticket
        stored = wait_for_lock._join(self.stores[store], request, Claimant(who), attempt)
        if stored.revision and all(queued.build != build for queued in self.queues[lock]):
            self.tickets[lock] += 0 if back else 1
            self.queues[lock].append(Queued(build, priority, back or self.tickets[lock]))
            self.queues[lock].sort(key=lambda queued: (-queued.priority, queued.ticket))

    @rule(lock=LOCKS, build=BUILDS, store=st.integers(0, 1))
    def leave(self, lock: str, build: int, store: int) -> None:
        """A build stops waiting."""
        attempt = self.attempts.get((build, lock))
        if attempt is None or not attempt.ticket:
            return
        claims.leave_queue(self.stores[store], a_request(lock, self.pool), Claimant(self.build(build)), attempt)
        self.queues[lock] = [queued for queued in self.queues[lock] if queued.build != build]

    @rule(lock=LOCKS, store=st.integers(0, 1))
    def drop(self, lock: str, store: int) -> None:
        """Somebody takes the front for dead."""
        seen = self.stores[store].lock(self.pool, lock)
        if seen is not None:
            wait_for_lock._drop(self.stores[store], seen)
            self.queues[lock] = self.queues[lock][1:]

    @rule(minutes=st.integers(1, 15))
    def wait(self, minutes: int) -> None:
        """Time passes."""
        self.time.tick(minutes=minutes)

    @invariant()
    def agrees(self) -> None:
        """Every lock has the holder the model says, and every claim its state."""
        if not getattr(self, "told", None):
            return
        for lock in ("deploy", "migrate"):
            stored, holder = self.stores[0].lock(self.pool, lock), self.holder(lock)
            assert (stored.holder if stored else "") == (holder.id if holder else "")
            assert [(waiter.key, waiter.ticket) for waiter in (stored.queue if stored else ())] == [
                (self.build(queued.build).key(), queued.ticket) for queued in self.queues[lock]
            ]
        for told in self.told:
            claim = self.stores[1].claim(told.id)
            assert claim is not None
            assert (claim.state.value, claim.claimed) == (told.state, told.open)

    def teardown(self) -> None:
        """The log is whole, has one event for each change, and its check sees every state change in order."""
        if not getattr(self, "told", None):
            return
        report = audit.verify(self.stores[0], self.pool)
        assert report.findings == []
        assert (report.events, report.claims) == (self.events, len(self.told))
        assert {claim.id for claim in self.stores[0].open_claims(self.pool)} == {told.id for told in self.told if told.open}


@pytest.mark.timeout(900)
def test_any_order_of_steps_ends_as_the_model_says(connection: Connection, effort: tally.Effort) -> None:
    """Claims, queues, reviews, overrides, takeovers, releases, deadlines, passages and deaths, in any order."""
    DynamoStore.connect(connection).create_table()
    machine = type("Bound", (Machine,), {"connection": connection})
    from hypothesis.stateful import run_state_machine_as_test

    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=effort.of(8, 150),
            stateful_step_count=effort.of(30, 50),
            deadline=None,
            print_blob=True,
            suppress_health_check=list(HealthCheck),
        ),
    )
