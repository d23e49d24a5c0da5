"""A worker loses nothing, doubles nothing in calm weather, and repeats what it must under the same id."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from time import monotonic as time_of_host
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from approval_resource import pools
from approval_resource.audit import verify as audit
from approval_resource.canonical import instant
from approval_resource.claims.end import end_claim
from approval_resource.claims.review import review
from approval_resource.clock import HostClock
from approval_resource.errors import StoreUnavailableError
from approval_resource.model.claim import Claim, Verdict
from approval_resource.model.delivery import Delivery, Progress
from approval_resource.model.event import State
from approval_resource.notify import run
from approval_resource.notify.channels.interface import Outlet
from approval_resource.notify.config import Config
from approval_resource.notify.connections import ChannelDownError, MessageRefusedError
from approval_resource.notify.message import Message
from approval_resource.notify.worker import LEASE, Worker
from approval_resource.store.dynamodb import items
from approval_resource.store.dynamodb.store import DynamoStore
from tests.builders import FrozenTime, take, under
from tests.notify.conftest import rules

ANA, BOB = (f"aws:arn:aws:iam::111122223333:user/{name}" for name in ("ana", "bob"))
Working = Callable[..., Worker]


class CrashError(BaseException):
    """The process dies here."""


@dataclass
class Recorder:
    """An outlet that keeps what it is told; it fails, refuses or dies as `trouble` says."""

    edits: bool = False
    told: list[Message] = field(default_factory=list)
    refs: list[str] = field(default_factory=list)
    trouble: Callable[[Message], None] = lambda message: None

    def send(self, message: Message, ref: str, at: int) -> str:
        self.trouble(message)
        self.told.append(message)
        self.refs.append(ref)
        return ref or f"ref-{len(self.told)}"

    def check(self) -> None:
        """Nothing to try."""

    @property
    def ids(self) -> list[str]:
        return [message.id for message in self.told]

    @property
    def seen(self) -> list[str]:
        """Each message by its kind, or by the event that it tells of."""
        return [str(message.document["type"]) for message in self.told]


def decide(store: DynamoStore, claim: Claim, verdict: Verdict = Verdict.APPROVE, who: str = ANA, **more: Any) -> None:
    """Decide on it."""
    review(store, claim.id, reviewer=who, verdict=verdict, **more)


def down(message: Message) -> None:
    """The channel is down."""
    raise ChannelDownError("connection refused")


def refuse(message: Message) -> None:
    """The channel doesn't take this message."""
    raise MessageRefusedError("too long")


# ---- what is told ---------------------------------------------------------------------------


def test_what_already_waits_is_told_to_a_new_channel(shared: DynamoStore, time: FrozenTime, working: Working) -> None:
    """A channel that is added later hears of what waits, and not of what is over."""
    over = take(shared, 1, lock_name="a")
    decide(shared, over)
    waits = take(shared, 2, lock_name="b")
    time.tick(minutes=5)
    take(shared, 3, lock_name="c", need_approval=False)
    time.tick(minutes=5)
    outlet = Recorder()
    worker = working(outlet)
    worker.turn()
    worker.turn()
    assert [(message.claim_id, message.state) for message in outlet.told] == [(waits.id, State.PENDING)]


def test_what_began_to_wait_just_now_is_told_once_to_a_new_channel(
    shared: DynamoStore, time: FrozenTime, working: Working
) -> None:
    """A new channel looks at what waits, and at the last minute of the log: what is in both is told once."""
    take(shared, 1)
    calm, outlet = Recorder(), Recorder()
    for _ in range(2):
        working(calm, "calm").turn()
    assert calm.seen == ["claim.pending"]
    for moment in range(1, 40):
        time.at += timedelta(seconds=1)
        with suppress(CrashError):
            doom(working(outlet), Fuse(moment)).turn()
    assert len(set(outlet.ids)) == 1
    # Only a crash between the sending and its record repeats it: few of these moments are.
    assert len(outlet.ids) <= 6


def test_a_pool_that_begins_after_the_channel_is_told_from_its_first_event(
    shared: DynamoStore, time: FrozenTime, working: Working
) -> None:
    """What began to wait and was decided between two turns is told as well."""
    outlet = Recorder()
    worker = working(outlet)
    worker.turn()
    claim = take(shared, 1)
    decide(shared, claim, Verdict.REJECT)
    worker.turn()
    assert outlet.seen == ["claim.pending", "claim.rejected"]


def test_a_channel_hears_by_pool_lock_and_state(shared: DynamoStore, time: FrozenTime, working: Working) -> None:
    """Rules choose; a claim that asks nobody is told only where `held` is asked for."""
    outlets = {
        "prod": [{"locks": ["prod*"], "on": ["pending"]}],
        "ends": [{"on": ["approved", "rejected"]}],
        "other": [{"pools": ["elsewhere"]}],
        "held": [{"on": ["held"]}],
    }
    told = {name: Recorder() for name in outlets}
    workers = [working(told[name], name, rules=rules(*given, to=name)) for name, given in outlets.items()]
    for worker in workers:
        worker.turn()
    prod, test = take(shared, 1, lock_name="prod-eu"), take(shared, 2, lock_name="test")
    free = take(shared, 3, lock_name="prod-free", need_approval=False)
    decide(shared, prod)
    decide(shared, test, Verdict.REJECT)
    for worker in workers:
        worker.turn()
    assert {name: [(m.claim_id, m.document["type"]) for m in outlet.told] for name, outlet in told.items()} == {
        "prod": [(prod.id, "claim.pending")],
        "ends": [(prod.id, "claim.approved"), (test.id, "claim.rejected")],
        "other": [],
        "held": [(free.id, "claim.held")],
    }


def test_a_channel_that_edits_has_one_message_per_claim(shared: DynamoStore, time: FrozenTime, working: Working) -> None:
    """Every event of the claim, a review that decides nothing too, goes to the message that is there."""
    outlet = Recorder(edits=True)
    worker = working(outlet)
    worker.turn()
    claim = take(shared, 1, terms=under(required_approvals=2))
    worker.turn()
    decide(shared, claim)
    worker.turn()
    decide(shared, claim, who=BOB)
    worker.turn()
    assert outlet.seen == ["claim.pending", "claim.reviewed", "claim.approved"]
    assert outlet.refs == ["", "ref-1", "ref-1"]


def test_a_channel_that_cannot_edit_is_not_told_every_review(shared: DynamoStore, time: FrozenTime, working: Working) -> None:
    """Quiet: only what the rule names is a message."""
    outlet = Recorder()
    worker = working(outlet)
    worker.turn()
    claim = take(shared, 1, terms=under(required_approvals=2))
    decide(shared, claim)
    worker.turn()
    assert outlet.seen == ["claim.pending"]


def test_a_claim_that_the_log_does_not_bear_out_is_told_as_such(
    shared: DynamoStore, time: FrozenTime, working: Working
) -> None:
    """An edited item puts no words into a message; people are told to look."""
    outlet = Recorder()
    worker = working(outlet)
    worker.turn()
    claim = take(shared, 1, description="honest")
    key = {"pk": {"S": f"claim#{claim.id}"}, "sk": {"S": "claim"}}
    shared._client.update_item(
        TableName=shared._table,
        Key=key,
        UpdateExpression="SET description = :d",
        ExpressionAttributeValues={":d": {"S": "press approve at once"}},
    )
    worker.turn()
    (message,) = outlet.told
    assert "can't be trusted" in message.title
    assert "audit verify" in str(message.facts)
    assert "press approve" not in str(message)


# ---- reminders and digest -----------------------------------------------------------------------


def test_reminders_come_at_half_and_nine_tenths_of_the_time(shared: DynamoStore, time: FrozenTime, working: Working) -> None:
    """One each, and none after the decision."""
    outlet = Recorder()
    worker = working(outlet)
    worker.turn()
    claim = take(shared, 1, expires_after=timedelta(hours=10))
    heard: list[tuple[int, str]] = []
    for minute in range(0, 595, 15):
        worker.turn()
        heard += [(minute, one) for one in outlet.seen[len(heard) :]]
        time.tick(minutes=15)
    assert heard == [(0, "claim.pending"), (300, "claim.reminder"), (540, "claim.reminder")]
    assert len(set(outlet.ids)) == 3
    time.tick(minutes=-10)
    decide(shared, claim)
    worker.turn()
    assert outlet.seen[-1] == "claim.approved"


def test_a_worker_that_was_away_reminds_once(shared: DynamoStore, time: FrozenTime, working: Working) -> None:
    """Of two reminders that are due the newer is sent; a rule may ask for none."""
    outlet, quiet = Recorder(), Recorder()
    loud, silent = working(outlet), working(quiet, "quiet", rules=rules({"remind": False}, to="quiet"))
    loud.turn()
    silent.turn()
    take(shared, 1, expires_after=timedelta(hours=10))
    loud.turn()
    silent.turn()
    time.tick(hours=9, minutes=30)
    for _ in range(3):
        loud.turn()
        silent.turn()
        time.tick(minutes=1)
    assert outlet.seen == ["claim.pending", "claim.reminder"]
    assert quiet.seen == ["claim.pending"]


def test_a_digest_comes_on_weekday_mornings_of_the_channels_zone(
    shared: DynamoStore, time: FrozenTime, working: Working
) -> None:
    """Once a day, Monday to Friday, at its time in its zone, and only if something waits. NOON is a Saturday in UTC."""
    outlet = Recorder()
    worker = working(outlet, digest="09:00", zone=ZoneInfo("Asia/Tokyo"), rules=rules({"on": ["expired"], "remind": False}))
    take(shared, 1, description="rotate the keys")
    came = []
    for _ in range(7 * 12):
        before = len(outlet.told)
        worker.turn()
        came += [f"{time.at:%a %H}"] * (len(outlet.told) - before)
        time.tick(hours=2)
    assert came == [f"{day} 00" for day in ("Mon", "Tue", "Wed", "Thu", "Fri")]
    assert "rotate the keys" in str(outlet.told[0].facts)


def test_nothing_that_waits_makes_no_digest(shared: DynamoStore, time: FrozenTime, working: Working) -> None:
    """A quiet morning stays quiet."""
    outlet = Recorder()
    worker = working(outlet, digest="09:00")
    time.tick(days=2, hours=-3)
    worker.turn()
    assert outlet.told == []


# ---- delivery -----------------------------------------------------------------------------------


def test_a_channel_that_is_down_for_an_hour_hears_everything_after_in_order(
    shared: DynamoStore, time: FrozenTime, working: Working
) -> None:
    """Nothing is lost, nothing overtakes, and the other channel is told meanwhile at once."""
    broken, fine = Recorder(trouble=down), Recorder()
    one, two = working(broken, "broken"), working(fine, "fine")
    tries = Counter[str]()

    def counting(message: Message) -> None:
        tries[message.id] += 1
        down(message)

    broken.trouble = counting
    one.turn()
    two.turn()
    for number in range(80):
        if number % 20 == 0:
            claim = take(shared, number, lock_name=f"lock-{number}")
            decide(shared, claim)
        one.turn()
        if number % 20 == 0:
            two.turn()
            assert len(fine.told) == 2 * (number // 20 + 1)
        time.tick(seconds=45)
    assert broken.told == []
    assert 30 < tries.total() < 50, "it backs off, up to a minute"
    assert len(tries) == 1, "what comes later waits"
    broken.trouble = lambda message: None
    for _ in range(4):
        one.turn()
        time.tick(seconds=30)
    assert broken.ids == fine.ids


def test_a_channel_that_is_gone_for_good_is_shown_as_failed(shared: DynamoStore, time: FrozenTime, working: Working) -> None:
    """Its status says since when, after how many tries and why; the claim is as it was."""
    outlet = Recorder(trouble=down)
    worker = working(outlet)
    worker.turn()
    claim = take(shared, 1)
    for _ in range(18):
        worker.turn()
        time.tick(minutes=1)
    config = Config.model_construct(channels={"hook": None}, notify=rules())
    (status,) = run.statuses(config, shared, shared.outbox)
    assert (status.state, status.behind) == ("failed", 1)
    assert status.progress.error == "connection refused"
    assert status.progress.tries > 5
    assert not run.is_well(status)
    found = shared.claim(claim.id)
    assert found is not None
    assert found == claim
    assert audit.verify(shared, "payments").findings == []


def test_a_channel_that_asks_to_wait_is_left_alone_as_long(shared: DynamoStore, time: FrozenTime, working: Working) -> None:
    """Retry-After is kept to."""
    tried = []

    def busy(message: Message) -> None:
        tried.append(time.at)
        raise ChannelDownError("too many", retry_after=300)

    outlet = Recorder(trouble=busy)
    worker = working(outlet)
    worker.turn()
    take(shared, 1)
    for _ in range(60):
        worker.turn()
        time.tick(seconds=10)
    assert [at - tried[0] for at in tried] == [timedelta(), timedelta(seconds=300)]


def test_a_message_that_is_refused_for_what_it_is_holds_up_no_other(
    shared: DynamoStore, time: FrozenTime, working: Working
) -> None:
    """After three tries it is passed over; the status counts it and says why."""
    outlet = Recorder()

    def picky(message: Message) -> None:
        if message.document["type"] == "claim.pending":
            raise MessageRefusedError("too long")

    outlet.trouble = picky
    worker = working(outlet)
    worker.turn()
    decide(shared, take(shared, 1))
    for _ in range(5):
        worker.turn()
        time.tick(minutes=1)
    assert outlet.seen == ["claim.approved"]
    progress = shared.outbox.progress("hook")
    assert progress.skipped == 1
    assert "too long" in progress.error
    assert progress.tries == 0


@pytest.mark.parametrize("outages", [0, 2, 30])
def test_an_outage_uses_up_no_try_of_a_message(shared: DynamoStore, time: FrozenTime, working: Working, outages: int) -> None:
    """However often the channel was down before and between, a message is passed over at its third refusal."""
    happens = [down] * outages + [refuse, down, down, refuse, down, refuse]
    tried: list[str] = []

    def trouble(message: Message) -> None:
        if message.document["type"] == "claim.pending":
            tried.append(message.id)
            happens[len(tried) - 1](message)

    outlet = Recorder(trouble=trouble)
    worker = working(outlet)
    worker.turn()
    decide(shared, take(shared, 1))
    for _ in range(outages + 10):
        worker.turn()
        time.tick(minutes=1)
    assert len(tried) == len(happens)
    assert outlet.seen == ["claim.approved"]
    assert shared.outbox.progress("hook").skipped == 1


def test_each_message_has_refusals_of_its_own(shared: DynamoStore, time: FrozenTime, working: Working) -> None:
    """Two refusals of one message, which then goes, are none of the next one's; a worker that dies forgets none."""
    happens: list[Callable[[Message], None]] = [refuse, refuse, void, refuse, refuse, void]
    outlet = Recorder(trouble=lambda message: happens.pop(0)(message))
    working(outlet).turn()
    for number in (1, 2):
        take(shared, number, lock_name=f"lock-{number}")
        for _ in range(3):
            working(outlet).turn()
            time.tick(minutes=1)
    assert len(outlet.told) == 2
    assert shared.outbox.progress("hook").skipped == 0


def test_a_channel_that_refuses_whatever_it_is_told_is_shown(shared: DynamoStore, time: FrozenTime, working: Working) -> None:
    """Messages are passed over, so that nothing is stuck; but the channel isn't well until it takes one."""
    outlet = Recorder(trouble=refuse)
    worker = working(outlet)
    worker.turn()
    decide(shared, take(shared, 1))
    for _ in range(8):
        worker.turn()
        time.tick(minutes=1)
    config = Config.model_construct(channels={"hook": None}, notify=rules())
    (status,) = run.statuses(config, shared, shared.outbox)
    assert (status.state, status.behind, status.progress.skipped) == ("refusing", 0, 2)
    assert not run.is_well(status)
    outlet.trouble = lambda message: None
    take(shared, 2, lock_name="b")
    worker.turn()
    (status,) = run.statuses(config, shared, shared.outbox)
    assert (status.state, status.progress.skipped, status.progress.lost) == ("ok", 2, 0)


def test_a_failure_ends_where_nothing_is_left_to_tell(shared: DynamoStore, time: FrozenTime, working: Working) -> None:
    """A reminder that couldn't be sent before the decision need not be told any more: the channel is well again."""
    outlet = Recorder()
    worker = working(outlet, rules=rules({"on": ["pending"]}))
    worker.turn()
    claim = take(shared, 1, expires_after=timedelta(hours=1))
    worker.turn()
    outlet.trouble = down
    time.tick(minutes=40)
    worker.turn()
    assert shared.outbox.progress("hook").tries == 1
    decide(shared, claim)
    time.tick(minutes=20)
    worker.turn()
    config = Config.model_construct(channels={"hook": None}, notify=rules())
    (status,) = run.statuses(config, shared, shared.outbox)
    assert (status.state, status.progress.tries, status.progress.failing_since) == ("ok", 0, None)


def test_two_workers_tell_nothing_twice_and_one_takes_over(shared: DynamoStore, time: FrozenTime, working: Working) -> None:
    """In calm weather one of them tells; 15 s after its last sign of life the other does."""
    outlet = Recorder()
    first, second = working(outlet, holder="first"), working(outlet, holder="second")
    assert first.turn()
    for number in range(10):
        take(shared, number, lock_name=f"lock-{number}")
        assert first.turn()
        assert not second.turn()
        time.tick(seconds=2)
    assert len(outlet.told) == 10
    take(shared, 11, lock_name="late")  # the first dies here
    waited = 0
    while not second.turn():
        time.tick(seconds=run.PAUSE)
        waited += 2
    assert waited <= 15
    assert len(outlet.told) == 11
    assert len(set(outlet.ids)) == 11
    assert not first.turn(), "whoever comes back finds the channel taken"


@pytest.mark.parametrize("ahead", [-2, -1, 1, 2])
def test_workers_whose_clocks_differ_take_nothing_from_each_other(
    shared: DynamoStore, time: FrozenTime, working: Working, connect: Callable[..., DynamoStore], ahead: int
) -> None:
    """Each knows the store's time to a second."""
    first, second = working(Recorder(), holder="first"), working(Recorder(), holder="second")
    second.store = connect(FrozenTime(time.at + timedelta(seconds=ahead)))
    assert first.turn()
    assert not second.turn()


def test_a_worker_that_ends_leaves_its_channel_to_the_next_at_once(
    shared: DynamoStore, time: FrozenTime, working: Working
) -> None:
    """Nobody waits for the end of a lease that was given back."""
    first, second = working(Recorder(), holder="first"), working(Recorder(), holder="second")
    assert first.turn()
    assert not second.turn()
    first.leave()
    assert second.turn()
    first.leave()
    assert not first.turn(), "giving back what is another's takes nothing from it"


def test_who_lost_the_lease_while_sending_records_nothing(shared: DynamoStore, time: FrozenTime, working: Working) -> None:
    """The place in the log belongs to who holds the lease; what the loser sent comes again under the same id."""
    outlet, others = Recorder(), Recorder()
    first, second = working(outlet, holder="first"), working(others, holder="second")
    first.turn()
    take(shared, 1)

    def stall(message: Message) -> None:
        time.tick(seconds=30)
        assert second.turn()

    outlet.trouble = stall
    assert not first.turn()
    assert outlet.ids == others.ids
    assert len(outlet.ids) == 1
    time.tick(seconds=1)
    assert second.turn()
    assert len(others.ids) == 1


# ---- crashes ------------------------------------------------------------------------------------


class Doomed:
    """A store or an outlet that dies before or after its n-th call, whatever that is."""

    def __init__(self, inner: Any, fuse: Fuse) -> None:
        self._inner = inner
        self._fuse = fuse

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._inner, name)
        if not callable(found) or name == "now":
            return found

        def call(*args: Any, **kwargs: Any) -> Any:
            self._fuse.burn()
            answer = found(*args, **kwargs)
            self._fuse.burn()
            return answer

        return call


@dataclass
class Fuse:
    """How many more moments the process lives."""

    left: int

    def burn(self) -> None:
        """Come one moment nearer to the end."""
        self.left -= 1
        if self.left == 0:
            raise CrashError


def doom(worker: Worker, fuse: Fuse) -> Worker:
    """The same worker, with an end."""
    worker.store = Doomed(worker.store, fuse)
    worker.outbox = Doomed(worker.outbox, fuse)
    worker.outlet = Doomed(worker.outlet, fuse)
    return worker


def story(store: DynamoStore, time: FrozenTime) -> Iterator[None]:
    """What happens in a pool while workers come and go."""
    first = take(store, 1, lock_name="a", expires_after=timedelta(minutes=20))
    yield
    second = take(store, 2, lock_name="b")
    decide(store, first)
    yield
    end_claim(store, second, State.WITHDRAWN, actor=ANA, reason="no")
    yield


def test_a_crash_at_every_moment_loses_nothing_and_repeats_at_most_one(
    shared: DynamoStore, time: FrozenTime, working: Working
) -> None:
    """The worker dies before and after each call it makes, in turn; another goes on once the lease is over."""
    outlet = Recorder()
    working(outlet).turn()
    crashes, moment = 0, 1
    happens = story(shared, time)
    next(happens)
    quiet = 0
    while quiet < 3:
        time.at += LEASE
        worker = doom(working(outlet, holder=f"worker {moment} {crashes}"), Fuse(moment))
        try:
            worker.turn()
        except CrashError:
            crashes += 1
            moment = moment + 1
        else:
            moment, quiet = 1, quiet + 1
            next(happens, None)
    told = list(dict.fromkeys(outlet.seen))
    assert told == ["claim.pending", "claim.approved", "claim.withdrawn"]
    assert len(set(outlet.ids)) == 4
    assert crashes > 40
    assert len(outlet.ids) - 4 <= crashes
    first_seen = list(dict.fromkeys(outlet.ids))
    events = [event for event in shared.events("payments") if event.kind.state]
    assert first_seen == [f"msg_{event.digest[:32]}" for event in events], "in the order of the log"


# ---- commits in flight --------------------------------------------------------------------------


class Landing:
    """A store in which a claim can't be seen yet, or only as it was before its newest event."""

    def __init__(self, inner: DynamoStore, seen: list[Claim | None]) -> None:
        self._inner = inner
        self._seen = seen

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def claim(self, claim_id: str) -> Claim | None:
        return self._seen.pop(0) if self._seen else self._inner.claim(claim_id)


def test_a_claim_that_cannot_be_seen_yet_is_told_at_the_next_turn(
    shared: DynamoStore, time: FrozenTime, working: Working
) -> None:
    """A commit may be seen item by item while it lands: its event already, its claim not yet."""
    outlet = Recorder()
    worker = working(outlet)
    worker.turn()
    take(shared, 1)
    worker.store = Landing(shared, [None])
    worker.turn()
    assert outlet.told == []
    worker.turn()
    assert outlet.seen == ["claim.pending"]


def test_a_claim_that_is_seen_as_it_was_is_told_as_it_is(shared: DynamoStore, time: FrozenTime, working: Working) -> None:
    """What is told of a decision shows the decision."""
    outlet = Recorder()
    worker = working(outlet)
    worker.turn()
    claim = take(shared, 1)
    worker.turn()
    decide(shared, claim)
    worker.store = Landing(shared, [claim])
    worker.turn()
    assert [message.state for message in outlet.told] == [State.PENDING, State.APPROVED]


def test_a_claim_that_is_gone_holds_nothing_up(shared: DynamoStore, time: FrozenTime, working: Working) -> None:
    """By age, or by somebody's hand: the events of others are told."""
    outlet = Recorder()
    worker = working(outlet)
    worker.turn()
    gone, kept = take(shared, 1, lock_name="a"), take(shared, 2, lock_name="b")
    key = {"pk": {"S": f"claim#{gone.id}"}, "sk": {"S": "claim"}}
    shared._client.delete_item(TableName=shared._table, Key=key)
    worker.turn()
    assert outlet.told == []
    time.tick(minutes=2)
    worker.turn()
    assert [message.claim_id for message in outlet.told] == [kept.id]


# ---- all channels at once -----------------------------------------------------------------------


def test_a_channel_that_hangs_holds_up_no_other(store: DynamoStore, working: Working) -> None:
    """Each channel has a thread and a connection of its own."""
    let_go, stop = threading.Event(), threading.Event()
    stuck, fine = Recorder(trouble=lambda message: void(let_go.wait(60))), Recorder()
    workers = [working(stuck, "stuck"), working(fine, "fine")]
    for worker in workers:
        worker.store, worker.outbox, worker.clock = store, store.outbox, HostClock()
        worker.turn()
    take(store, 1)
    thread = threading.Thread(target=run.follow, args=(workers, stop))
    thread.start()
    try:
        end = time_of_host() + 60
        while not fine.told and time_of_host() < end:
            stop.wait(0.05)
        assert (len(fine.told), stuck.told) == (1, [])
    finally:
        let_go.set()
        stop.set()
        thread.join(60)
    assert len(stuck.told) == 1


def void(_: object) -> None:
    """Return nothing."""


@pytest.mark.long
def test_a_fault_in_one_channel_is_told_and_hinders_no_other(
    store: DynamoStore, working: Working, caplog: pytest.LogCaptureFixture
) -> None:
    """Its traceback is logged, its status shows it, and the others go on; so does it, once the fault is over."""

    def faulty(message: Message) -> None:
        raise KeyError("a fault")

    broken, fine, stop = Recorder(trouble=faulty), Recorder(), threading.Event()
    workers = [working(broken, "broken"), working(fine, "fine")]
    for worker in workers:
        worker.store, worker.outbox, worker.clock = store, store.outbox, HostClock()
        worker.turn()
    take(store, 1)
    take(store, 2, lock_name="b")
    thread = threading.Thread(target=run.follow, args=(workers, stop))
    thread.start()
    try:
        wait_for(lambda: len(fine.told) == 2 and store.outbox.progress("broken").tries)
        assert "KeyError" in store.outbox.progress("broken").error
        assert "Traceback" in caplog.text
        broken.trouble = lambda message: None
        wait_for(lambda: len(broken.told) == 2)
    finally:
        stop.set()
        thread.join(60)
    assert broken.ids == fine.ids


def test_a_fault_outside_a_message_ends_no_channel(
    shared: DynamoStore, time: FrozenTime, working: Working, caplog: pytest.LogCaptureFixture
) -> None:
    """Not even one that keeps a channel's progress from being read."""

    class Faulty:
        def progress(self, channel: str) -> Progress:
            raise ZeroDivisionError

    broken, fine, stop = working(Recorder(), "broken"), working(Recorder(), "fine"), threading.Event()
    broken.outbox = Faulty()  # type: ignore[assignment]
    assert run.once([broken, fine], fine.clock) == ["channel broken: a fault of this program: ZeroDivisionError"]
    thread = threading.Thread(target=run.follow, args=([broken, fine], stop))
    thread.start()
    wait_for(lambda: "still trying" in caplog.text)
    assert thread.is_alive()
    stop.set()
    thread.join(60)
    assert not thread.is_alive()


def wait_for(done: Callable[[], object]) -> None:
    """Wait until that is so, for a minute at most."""
    end = time_of_host() + 60
    while not done():
        assert time_of_host() < end
        threading.Event().wait(0.02)


def test_a_channel_s_records_are_all_that_is_written(shared: DynamoStore, time: FrozenTime, working: Working) -> None:
    """Whatever it tells, reminds of, passes over and fails at: only partitions that the notifier's role may write."""
    written: list[str] = []

    def noted(params: dict[str, Any], model: Any, **_: Any) -> None:
        for one in [entry for item in params.get("TransactItems", [params]) for entry in item.values()]:
            if model.name not in ("GetItem", "BatchGetItem", "Query"):
                key = one["Item"] if isinstance(one, dict) and "Item" in one else one
                written.append(key["pk"]["S"] if isinstance(key, dict) and "pk" in key else f"{model.name} {key}")

    worker = working(Recorder(trouble=down), digest="12:00")
    worker.turn()
    claim = take(shared, 1, expires_after=timedelta(minutes=10))
    take(shared, 2, lock_name="b")
    shared._client.meta.events.register("provide-client-params.dynamodb", noted)
    worker.turn()
    worker.outlet = Recorder(trouble=refuse)
    for _ in range(4):
        time.tick(minutes=2)
        worker.turn()
    worker.outlet = Recorder(edits=True)
    time.tick(hours=1)
    for _ in range(3):
        worker.turn()
    worker.leave()
    shared._client.meta.events.unregister("provide-client-params.dynamodb", noted)
    assert len(written) > 10
    assert {key.partition("#")[0] for key in written} == {"notify"}
    assert shared.claim(claim.id) == claim


# ---- planted records ----------------------------------------------------------------------------


def plant(store: DynamoStore, channel: str, **fields: Any) -> None:
    """Write a channel's progress behind the program's back."""
    before = store.outbox.progress(channel)
    assert store.outbox.write(Progress(channel=channel, revision=before.revision, **fields)) is not None


@pytest.mark.parametrize(
    "planted",
    [
        {"holder": "mallory", "until": "far"},
        {"holder": "mallory", "retry_at": "far"},
        {"cursors": "far"},
        {"digest": "2999-01-01", "tries": 10**9, "error": "\x1b[31m", "skipped": 10**9},
        {},
    ],
    ids=["lease", "backoff", "cursor", "noise", "empty"],
)
def test_a_planted_record_decides_nothing(
    shared: DynamoStore, time: FrozenTime, working: Working, planted: dict[str, Any]
) -> None:
    """It may deny or repeat a message for a while; claims, log and audit are as they were, and what waits is told."""
    outlet = Recorder()
    worker = working(outlet)
    worker.turn()
    claim = take(shared, 1)
    far = time.at + timedelta(days=400)
    given = {"cursors": {"payments": far}} if planted.get("cursors") == "far" else planted
    plant(shared, "hook", **{name: far if value == "far" else value for name, value in given.items()})
    shared.outbox.write(
        shared.outbox.progress("other"),
        Delivery(channel="other", claim_id=claim.id, pool="payments", ref="x", told=far, reminded=far, at=time.at),
    )
    worker.turn()
    assert [message.claim_id for message in outlet.told] == [claim.id]
    assert shared.claim(claim.id) == claim
    assert audit.verify(shared, "payments").findings == []


def test_a_progress_that_cannot_be_read_is_said_and_others_go_on(
    shared: DynamoStore, time: FrozenTime, working: Working
) -> None:
    """Garbage in one channel's item stops that channel with a line that names it."""
    working(Recorder()).turn()
    shared._client.put_item(
        TableName=shared._table, Item={"pk": {"S": "notify#hook"}, "sk": {"S": "progress"}, "channel": {"N": "1"}}
    )
    problems = run.once([working(Recorder()), working(Recorder(), "fine")], working(Recorder()).clock)
    assert len(problems) == 1
    assert problems[0].startswith("channel hook: progress of channel")


def test_an_outage_of_the_store_is_waited_out(shared: DynamoStore, time: FrozenTime, working: Working) -> None:
    """A turn that can't ask the store ends with an error, and the next one goes on."""
    outlet = Recorder()
    worker = working(outlet)
    worker.turn()
    take(shared, 1)

    class Out:
        def progress(self, channel: str) -> Progress:
            raise StoreUnavailableError("no answer", transient=True)

    there, worker.outbox = worker.outbox, Out()  # type: ignore[assignment]
    with pytest.raises(StoreUnavailableError):
        worker.turn()
    worker.outbox = there
    worker.turn()
    assert len(outlet.told) == 1


def test_a_pools_settings_are_told_to_nobody(shared: DynamoStore, time: FrozenTime, working: Working) -> None:
    """Events without a claim are passed by."""
    outlet: Recorder = Recorder(edits=True)
    worker = working(outlet)
    worker.turn()
    pools.set_retention(shared, "payments", 30, actor="op")
    worker.turn()
    assert outlet.told == []
    _: Outlet = outlet


ENDS = [datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC)]


@pytest.mark.parametrize(("at", "zone"), list(zip(ENDS, ["America/New_York", "Asia/Tokyo"], strict=True)))
@pytest.mark.parametrize("name", ["deadline", "timestamp", "changed", "event_at", "valid_until", "made_at"])
def test_no_planted_instant_ends_the_program(
    shared: DynamoStore, time: FrozenTime, working: Working, name: str, at: datetime, zone: str
) -> None:
    """In a claim that the channel knows or is new to, at a reminder or a morning's list: the other claim is told."""
    outlets = [Recorder(), Recorder()]
    first, second = (
        working(outlet, name=name, zone=ZoneInfo(zone), digest="00:00") for outlet, name in zip(outlets, "ab", strict=True)
    )
    time.tick(days=2)  # a Monday
    first.turn()
    claim = take(shared, 1, expires_after=timedelta(hours=20), terms=under(required_approvals=1))
    first.turn()
    changes: dict[str, Any] = {name: at}
    shared._client.put_item(TableName=shared._table, Item=items.claim_item(replace(claim, **changes)))
    other = take(shared, 2, lock_name="other", expires_after=timedelta(hours=20))
    for _ in range(3):
        time.tick(hours=6)
        first.turn()
        second.turn()
    assert all(other.id in {message.claim_id for message in outlet.told} for outlet in outlets)


@pytest.mark.parametrize("at", ENDS)
def test_no_planted_head_ends_the_program(shared: DynamoStore, time: FrozenTime, working: Working, at: datetime) -> None:
    """A pool's head at either end of time; what waits is told all the same."""
    claim = take(shared, 1)
    (head,) = (item for item in shared._client.scan(TableName=shared._table)["Items"] if item["sk"]["S"] == "head")
    shared._client.put_item(TableName=shared._table, Item=head | {"timestamp": {"S": instant(at)}})
    outlet = Recorder()
    for _ in range(3):
        working(outlet).turn()
        time.tick(minutes=1)
    assert [message.claim_id for message in outlet.told] == [claim.id]


@pytest.mark.parametrize("ahead", [timedelta(hours=1), timedelta(days=36_500)])
@pytest.mark.parametrize("number", [1, 7])
def test_no_planted_event_hides_what_a_claim_comes_to(
    shared: DynamoStore, time: FrozenTime, working: Working, ahead: timedelta, number: int
) -> None:
    """Dated after the log's head, under the next number or another: it is told to nobody, and all that is real is told."""
    outlet = Recorder(edits=True)
    worker = working(outlet)
    worker.turn()
    claim = take(shared, 1, terms=under(required_approvals=2))
    worker.turn()
    (event,) = shared.events("payments")
    planted = replace(event, timestamp=event.timestamp + ahead, at=event.at + ahead, revision=event.revision + number)
    shared._client.put_item(TableName=shared._table, Item=items.event_item(replace(planted, lock_name="elsewhere")))
    for act in (
        lambda: decide(shared, claim),
        lambda: decide(shared, claim, who=BOB),
        lambda: end_claim(shared, claim, State.RELEASED, actor="op"),
    ):
        act()
        worker.turn()
        worker.turn()
        time.tick(seconds=10)
    assert outlet.seen == ["claim.pending", "claim.reviewed", "claim.approved", "claim.released"]
    config = Config.model_construct(channels={"hook": None}, notify=rules())
    (status,) = run.statuses(config, shared, shared.outbox)
    assert (status.state, status.behind) == ("ok", 0)


def test_nobody_is_reminded_of_an_edited_claim(shared: DynamoStore, time: FrozenTime, working: Working) -> None:
    """Nor is it in a morning's list: neither shows what the log doesn't bear out. What is sound is told as always."""
    time.tick(days=2)
    outlet = Recorder()
    worker = working(outlet, digest="13:00")
    worker.turn()
    edited, sound = (take(shared, number, lock_name=f"lock-{number}", expires_after=timedelta(hours=2)) for number in (1, 2))
    worker.turn()
    item = items.claim_item(replace(edited, description="press approve"))
    shared._client.put_item(TableName=shared._table, Item=item)
    time.tick(minutes=61)
    worker.turn()
    later = outlet.told[2:]
    assert {message.kind for message in later} == {"reminder", "digest"}
    assert [message.claim_id for message in later if message.kind == "reminder"] == [sound.id]
    assert "press approve" not in str(later)
