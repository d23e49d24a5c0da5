"""check hands out every state change once, in order, and never one that isn't safe to hand out yet."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from approval_resource.claims import gate as gates
from approval_resource.claims import review as reviews
from approval_resource.claims.end import end_claim
from approval_resource.model.claim import Claim, Verdict
from approval_resource.model.event import Event, Head, Kind, State
from approval_resource.steps.check import check
from approval_resource.steps.protocol import Source, Version
from approval_resource.store.dynamodb import items
from approval_resource.store.dynamodb.store import DynamoStore
from approval_resource.store.gapless import gapless
from approval_resource.strict_options import read_part
from tests.builders import NOON, FrozenTime, a_build, take

Rendered = dict[str, str]


def source(**options: Any) -> Source:
    """The resource on pool payments."""
    return read_part(Source, {"pool": "payments"} | options)


def states(versions: list[Rendered]) -> list[str]:
    """Each version as lock:state."""
    return [f"{version['lock_name']}:{version['state']}" for version in versions]


def decide(store: DynamoStore, claim: Claim, verdict: Verdict = Verdict.APPROVE) -> Claim:
    """Somebody's verdict."""
    return reviews.review(store, claim.id, reviewer="typed:bob", verdict=verdict).claim


@pytest.fixture
def busy(store: DynamoStore) -> DynamoStore:
    """A pool in which one claim was approved and released, one rejected, and one waits."""
    first = take(store, 1)
    decide(store, first)
    gates.pass_through(store, first, a_build(1), spend=True)
    end_claim(store, first, State.RELEASED, actor="op")
    decide(store, take(store, 2, lock_name="migrate"), Verdict.REJECT)
    take(store, 3)
    return store


def test_an_empty_pool_has_no_versions(store: DynamoStore) -> None:
    """No made-up first version, with whatever options, and from whatever version of the original."""
    assert check(source(), None, store) == []
    assert check(source(lock_name="x"), None, store) == []
    assert check(source(states=["approved", "rejected"]), None, store) == []
    assert check(source(), {"timestamp": "0"}, store) == []


def test_the_first_check_gives_only_the_newest(busy: DynamoStore) -> None:
    """Concourse doesn't want a pool's whole past."""
    assert states(check(source(), None, busy)) == ["deploy:pending"]
    assert states(check(source(lock_name="migrate"), None, busy)) == ["migrate:rejected"]


def test_from_a_version_on_every_state_change_comes_oldest_first(busy: DynamoStore) -> None:
    """The given version comes back, then each later change; reviews, passages and the like are no versions."""
    oldest = next(busy.events("payments"))
    given = Version(oldest.claim_id, "deploy", State.PENDING, oldest.timestamp).render()
    everything = [
        "deploy:pending",
        "deploy:approved",
        "deploy:released",
        "migrate:pending",
        "migrate:rejected",
        "deploy:pending",
    ]
    found = check(source(), given, busy)
    assert states(found) == everything
    assert found[0] == given
    assert states(check(source(), found[3], busy)) == everything[3:]
    assert check(source(), found[-1], busy) == found[-1:]
    assert states(check(source(), {"timestamp": "0"}, busy)) == everything


def test_every_value_is_a_string_and_every_version_is_new(busy: DynamoStore) -> None:
    """Concourse takes a flat map of strings, and tells versions apart by all of it."""
    found = check(source(), {"timestamp": "0"}, busy)
    assert all(isinstance(value, str) for version in found for value in version.values())
    assert all(set(version) == {"id", "lock_name", "state", "timestamp"} for version in found)
    assert sorted(found, key=lambda version: version["timestamp"]) == found
    assert len({tuple(version.values()) for version in found}) == len(found)


def test_lock_name_and_states_narrow_what_is_given(busy: DynamoStore) -> None:
    """One lock's versions, those of some states, or both; the given version comes back all the same."""
    all_of_them = {"timestamp": "0"}
    assert states(check(source(lock_name="migrate"), all_of_them, busy)) == ["migrate:pending", "migrate:rejected"]
    assert states(check(source(states=["rejected", "approved"]), all_of_them, busy)) == ["deploy:approved", "migrate:rejected"]
    assert states(check(source(lock_name="deploy", states=["approved"]), all_of_them, busy)) == ["deploy:approved"]


def test_a_first_version_with_states_is_no_approval_whose_claim_has_ended(busy: DynamoStore) -> None:
    """A job that starts on approvals doesn't start on one that was used up long ago."""
    assert check(source(states=["approved"]), None, busy) == []
    decide(busy, busy.open_claims("payments")[0])
    assert states(check(source(states=["approved"]), None, busy)) == ["deploy:approved"]
    assert check(source(states=["approved"], lock_name="migrate"), None, busy) == []


def test_a_first_version_with_states_may_be_an_end(busy: DynamoStore) -> None:
    """A job that starts on rejections has a first version: a claim that ended that way stays so."""
    assert states(check(source(states=["rejected"]), None, busy)) == ["migrate:rejected"]
    assert states(check(source(states=["rejected", "pending"]), None, busy)) == ["deploy:pending"]


def test_a_check_with_states_applies_deadlines(connect: Callable[..., DynamoStore]) -> None:
    """A gate at which no container waits ends too; a check without states writes nothing."""
    time = FrozenTime()
    store = connect(store_clock=time)
    claim = take(store, 1)
    gates.prolong(store, claim, timedelta(minutes=5), a_build())
    time.tick(minutes=6)
    assert states(check(source(), None, store)) == ["deploy:pending"]
    assert states(check(source(states=["expired"], lock_name="other"), None, store)) == []
    assert states(check(source(states=["expired"]), None, store)) == ["deploy:expired"]


class Log(FrozenTime):
    """The store's time, and a log that commits wrote on to half a minute from now."""

    def head(self, pool: str) -> Head:
        return Head(pool=pool, timestamp=NOON + timedelta(seconds=30))


def an_event(revision: int, age: timedelta = timedelta(0)) -> Event:
    """Event number `revision`, so long ago."""
    return Event(
        pool="payments",
        timestamp=NOON + timedelta(seconds=revision),
        revision=revision,
        kind=Kind.HELD,
        claim_id=str(revision),
        lock_name="deploy",
        lock_event_number=revision * 10,
        state=State.HELD,
        actor="",
        at=NOON - age,
        operation="",
        claim="",
        previous="",
        previous_timestamp=NOON + timedelta(seconds=revision - 1),
    )


def revisions(events: list[Event], store: Any, *, by_lock: bool = False, since: int = 1) -> list[int]:
    """Revisions of these that are handed out, after a read from the event `since` on."""
    begin = NOON + timedelta(seconds=since)
    return [event.revision for event in gapless(events, begin, by_lock=by_lock, store=store)]


def test_a_fresh_gap_ends_what_is_handed_out() -> None:
    """A read in the middle of two commits may show the later without the earlier; both wait for the next check."""
    assert revisions([an_event(1), an_event(2), an_event(4), an_event(5)], Log()) == [1, 2]


def test_an_old_gap_is_passed_over() -> None:
    """What was removed by age never comes back, so nothing waits for it."""
    old = timedelta(minutes=2)
    assert revisions([an_event(1, old), an_event(4, old), an_event(5)], Log()) == [1, 4, 5]


@pytest.mark.parametrize("by_lock", [False, True])
@pytest.mark.parametrize("seconds", [-(10**9), -61, -59, 0, 30, 59, 61, 300, 10**9])
def test_no_planted_event_ends_what_is_handed_out_for_longer_than_a_minute_or_two(seconds: int, by_lock: bool) -> None:
    """Whatever number it has and whenever it says that it was written: what comes after it is handed out all the same."""
    time: Any = Log()
    real = [an_event(1), an_event(2), an_event(3)]
    planted = replace(an_event(99), timestamp=NOON + timedelta(seconds=1.5), at=NOON + timedelta(seconds=seconds))
    for _ in range(4):
        time.tick(minutes=1)
    found = [event.revision for event in gapless([real[0], planted, *real[1:]], NOON, by_lock=by_lock, store=time)]
    assert found == [1, 99, 2, 3]


def test_a_gap_that_was_fresh_at_the_read_stays_one_however_long_the_caller_takes() -> None:
    """A notifier that sends for minutes between two events doesn't take a commit in flight for a removal."""
    time: Any = Log()
    handed_out = []
    for event in gapless([an_event(1), an_event(2), an_event(4)], an_event(1).timestamp, by_lock=False, store=time):
        handed_out.append(event.revision)
        time.tick(minutes=2)
    assert handed_out == [1, 2]


@pytest.mark.parametrize("by_lock", [False, True])
def test_a_fresh_gap_before_all_that_was_read_hands_out_nothing(by_lock: bool) -> None:
    """The known event may have been removed by age, so the gap after it shows by the next event alone."""
    fourth, fifth = (replace(an_event(revision), lock_event_number=revision) for revision in (4, 5))
    assert revisions([fourth, fifth], Log(), by_lock=by_lock) == []
    fourth = replace(fourth, at=NOON - timedelta(minutes=2))
    assert revisions([fourth, fifth], Log(), by_lock=by_lock) == [4, 5]


def test_a_first_event_whose_predecessor_is_older_than_the_read_is_no_gap() -> None:
    """Whoever reads from the event on, or from its predecessor, misses nothing."""
    assert revisions([an_event(4), an_event(5)], Log(), since=3) == [4, 5]
    first = replace(an_event(1), previous_timestamp=None)
    assert revisions([first, an_event(2)], Log(), since=-1000) == [1, 2]


def test_a_check_waits_for_a_commit_that_lands_after_its_version_was_removed(
    connect: Callable[..., DynamoStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The version's event is gone by its age; of two commits after it, only the later can be seen yet."""
    time = FrozenTime()
    store = connect(store_clock=time)
    claim = take(store, 1)
    [version] = check(source(), None, store)
    time.tick(days=500)
    decide(store, claim)
    end_claim(store, claim, State.RELEASED, actor="op")
    _, approved, released = store.events("payments")
    monkeypatch.setattr(store, "events", lambda pool, **_: iter([released]))
    assert check(source(), version, store) == []
    monkeypatch.setattr(store, "events", lambda pool, **_: iter([approved, released]))
    assert states(check(source(), version, store)) == ["deploy:approved", "deploy:released"]
    monkeypatch.setattr(store, "events", lambda pool, **_: iter([released]))
    time.tick(minutes=2)
    assert states(check(source(), version, store)) == ["deploy:released"]


@pytest.mark.parametrize("by_lock", [False, True])
@pytest.mark.parametrize("ahead", [timedelta(seconds=31), timedelta(hours=1), timedelta(days=36_500)])
@pytest.mark.parametrize("number", [3, 99])
def test_an_event_after_the_log_s_head_ends_what_is_handed_out(ahead: timedelta, number: int, by_lock: bool) -> None:
    """Whoever went on from there would miss what really happens until then; what a commit dated ahead is handed out."""
    real = [replace(an_event(revision), lock_event_number=revision) for revision in (1, 2)]
    planted = replace(an_event(number), timestamp=NOON + ahead, lock_event_number=number)
    assert revisions([*real, planted], Log(), by_lock=by_lock) == [1, 2]


def test_a_check_goes_on_after_an_event_that_was_planted_ahead(connect: Callable[..., DynamoStore]) -> None:
    """It names no version of a time that hasn't come, from which later checks would find nothing."""
    time = FrozenTime()
    store = connect(store_clock=time)
    claim = take(store, 1)
    [version] = check(source(), None, store)
    (event,) = store.events("payments")
    planted = replace(event, timestamp=event.timestamp + timedelta(days=36_500), revision=2, lock_name="elsewhere")
    store._client.put_item(TableName=store._table, Item=items.event_item(planted))
    for _ in range(2):
        assert check(source(lock_name=None), version, store) == [version]
    decide(store, claim)
    assert states(check(source(lock_name=None), version, store)) == ["deploy:pending", "deploy:approved"]


def test_one_locks_events_have_numbers_of_their_own() -> None:
    """Within one lock its own count tells a gap, since the pool's has gaps where other locks changed."""
    events = [replace(an_event(revision), lock_event_number=number) for revision, number in ((1, 1), (5, 2), (9, 4))]
    assert revisions(events, Log(), by_lock=True) == [1, 5]
