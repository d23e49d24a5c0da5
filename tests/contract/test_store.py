"""What any engine must show of the store when nobody races: the functional part of its contract."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest

from approval_resource import pools
from approval_resource.audit import verify as audit
from approval_resource.claims import gate as gates
from approval_resource.claims import release as releases
from approval_resource.claims import review as reviews
from approval_resource.claims.end import end_claim
from approval_resource.errors import LockHeldError, LockNotFoundError, StaleLockError
from approval_resource.model.claim import Attachment, Claimant, Verdict
from approval_resource.model.event import Kind, State
from approval_resource.store.dynamodb.store import DynamoStore
from tests.builders import a_build, a_request, take
from tests.contract.faults import Faults, answers


def test_a_new_pool_knows_nothing(any_store: DynamoStore) -> None:
    """Reading what was never written gives nothing, and makes the table on the way."""
    assert any_store.head("payments") is None
    assert any_store.lock("payments", "deploy") is None
    assert any_store.claim("11111111-1111-4111-8111-111111111111") is None
    assert list(any_store.events("payments")) == []
    assert any_store.open_claims() == []
    assert any_store.pools() == []


def test_a_claim_reads_back_as_it_was_written(any_store: DynamoStore) -> None:
    """Claim, lock, head, build and event are stored in one transaction and read back equal."""
    build = a_build(created_by="dana", instance_vars='{"env":"prod"}')
    claim = take(any_store, build, description="v1 🚀", attachments={"plan": Attachment("0" * 64, 12, stored=False)})
    assert any_store.claim(claim.id) == claim
    lock, head = any_store.lock("payments", "deploy"), any_store.head("payments")
    assert lock is not None
    assert (lock.holder, lock.fence, lock.events) == (claim.id, 1, 1)
    assert head is not None
    assert (head.revision, head.timestamp) == (1, claim.timestamp)
    record = any_store.build(build.key(), "payments", "deploy")
    assert record is not None
    assert record.made == claim.id
    event = any_store.event("payments", claim.timestamp)
    assert event is not None
    assert (event.kind, event.claim_id, event.digest) == (Kind.PENDING, claim.id, head.digest)


def test_second_claim_is_refused(any_store: DynamoStore) -> None:
    """A lock has at most one holder, and the loser is told who that is."""
    first = take(any_store, 1)
    with pytest.raises(LockHeldError) as held:
        take(any_store, 2)
    assert held.value.current == first


def test_each_claim_on_a_lock_gets_a_new_id_and_a_higher_fence(any_store: DynamoStore) -> None:
    """Neither an approval nor a late step can be meant for the next claim by mistake."""
    first = take(any_store, 1, need_approval=False)
    end_claim(any_store, first, State.RELEASED, actor="op")
    second = take(any_store, 2, need_approval=False)
    assert second.id != first.id
    assert second.fence == first.fence + 1
    with pytest.raises(StaleLockError):
        end_claim(any_store, first, State.RELEASED, actor="op")
    lock = any_store.lock("payments", "deploy")
    assert lock is not None
    assert lock.holder == second.id


def test_every_change_is_one_event_with_the_next_revision(any_store: DynamoStore) -> None:
    """No change without its event: revisions and each lock's numbers have no gap, timestamps only grow, digests chain."""
    for number in range(3):
        for name in ("deploy", "migrate"):
            claim = take(any_store, number, lock_name=name)
            reviews.review(any_store, claim.id, reviewer="typed:bob", verdict=Verdict.APPROVE)
            gates.pass_through(any_store, claim, a_build(number), spend=True)
            releases.release(any_store, "payments", name, Claimant(a_build(number)))
    events = list(any_store.events("payments"))
    assert [event.revision for event in events] == list(range(1, 25))
    assert all(later.timestamp > earlier.timestamp for earlier, later in pairwise(events))
    assert all(later.previous == earlier.digest for earlier, later in pairwise(events))
    for name in ("deploy", "migrate"):
        numbers = [event.lock_event_number for event in any_store.events("payments", lock_name=name)]
        assert numbers == list(range(1, 13))
    assert audit.verify(any_store, "payments").findings == []


def test_an_override_changes_two_claims_with_an_event_each(any_store: DynamoStore) -> None:
    """The superseded claim and its successor change in one transaction, with consecutive revisions."""
    first = take(any_store, 1)
    second = take(any_store, 2, override_approval=True)
    events = list(any_store.events("payments"))
    assert [(event.kind, event.claim_id) for event in events] == [
        (Kind.PENDING, first.id),
        (Kind.SUPERSEDED, first.id),
        (Kind.PENDING, second.id),
    ]
    assert events[1].operation == events[2].operation
    ended = any_store.claim(first.id)
    assert ended is not None
    assert ended.state is State.SUPERSEDED
    assert not ended.claimed


def test_events_are_found_by_lock_and_from_a_place_on(any_store: DynamoStore) -> None:
    """One lock's log, or the pool's, from a given event on, either way round."""
    one = take(any_store, 1, lock_name="one")
    two = take(any_store, 2, lock_name="two")
    reviews.review(any_store, one.id, reviewer="typed:bob", verdict=Verdict.REJECT)
    assert [event.claim_id for event in any_store.events("payments", lock_name="one")] == [one.id, one.id]
    assert [event.claim_id for event in any_store.events("payments", since=two.timestamp)] == [two.id, one.id]
    newest_first = [event.revision for event in any_store.events("payments", newest_first=True)]
    assert newest_first == [3, 2, 1]
    assert list(any_store.events("other")) == []


def test_a_lock_whose_name_begins_like_anothers_has_a_log_of_its_own(any_store: DynamoStore) -> None:
    """Names are encoded inside keys, so `a`, `a#b`, `a/b` and `a%23b` never mix."""
    names = ["a", "a#b", "a/b", "a%23b", "a b", "ä", "🚀", "a#2026-01-01T00:00:00.000000Z"]
    made = {}
    for number, name in enumerate(names):
        made[name] = take(any_store, number, lock_name=name, pool="p#lock#a")
    for name in names:
        assert [event.claim_id for event in any_store.events("p#lock#a", lock_name=name)] == [made[name].id]
    assert any_store.pools() == ["p#lock#a"]


def test_open_claims_are_those_that_hold_a_lock(any_store: DynamoStore) -> None:
    """The sparse index lists holders, of one pool or of all; ended claims leave it."""
    one = take(any_store, 1, pool="a")
    two = take(any_store, 2, pool="b")
    gone = take(any_store, 3, pool="b", lock_name="other")
    end_claim(any_store, gone, State.WITHDRAWN, actor="op")
    assert [claim.id for claim in any_store.open_claims("a")] == [one.id]
    assert [claim.id for claim in any_store.open_claims()] == [one.id, two.id]
    assert any_store.open_claim_ids(two.id[:8]) == [two.id]
    assert {claim.id for claim in any_store.all_claims()} == {one.id, two.id, gone.id}


def test_parts_are_kept_beside_the_claim(any_store: DynamoStore) -> None:
    """Payload and attachments are written with the claim, byte for byte."""
    request: dict[str, Any] = {"payload": b'{"a":1}', "payload_digest": "d", "attached": {"plan": b"\x00\xff"}}
    claim = take(any_store, 1, **request)
    assert any_store.content(claim.id, "payload") == b'{"a":1}'
    assert any_store.content(claim.id, "attached#plan") == b"\x00\xff"
    assert any_store.content(claim.id, "attached#other") is None


def test_many_events_are_read_page_by_page(any_store: DynamoStore) -> None:
    """A log longer than the first page comes whole, in order."""
    for number in range(20):
        claim = take(any_store, number, need_approval=False, description="x" * 1000)
        end_claim(any_store, claim, State.RELEASED, actor="op")
    assert [event.revision for event in any_store.events("payments", newest_first=True)] == list(range(40, 0, -1))


def test_a_decision_that_wants_no_change_writes_nothing(any_store: DynamoStore) -> None:
    """Asking again for what one has leaves no trace."""
    claim = take(any_store, 1)
    assert take(any_store, 1) == claim
    assert len(list(any_store.events("payments"))) == 1


def test_init_makes_the_table_once(any_store: DynamoStore) -> None:
    """Making a table that exists changes nothing and says so."""
    assert any_store.create_table()
    assert not any_store.create_table()


def test_init_finishes_what_a_first_use_could_not(store: DynamoStore) -> None:
    """A table that was made without TTL and recovery gets both from the next init."""
    Faults.on(store, "UpdateContinuousBackups", answers(400, "AccessDeniedException"))
    Faults.on(store, "UpdateTimeToLive", answers(400, "AccessDeniedException"))
    assert store.create_table()
    assert protection(store) == ("DISABLED", "DISABLED")
    assert not store.create_table()
    assert protection(store) == ("ENABLED", "ENABLED")


def protection(store: DynamoStore) -> tuple[str, str]:
    """Whether TTL and point-in-time recovery are on."""
    ttl = store._client.describe_time_to_live(TableName=store._table)["TimeToLiveDescription"]["TimeToLiveStatus"]
    backups = store._client.describe_continuous_backups(TableName=store._table)["ContinuousBackupsDescription"]
    return ttl, backups["PointInTimeRecoveryDescription"]["PointInTimeRecoveryStatus"]


def test_reviewing_what_does_not_exist_is_refused(any_store: DynamoStore) -> None:
    """A verdict never makes a claim."""
    with pytest.raises(LockNotFoundError):
        reviews.review(any_store, "nope", reviewer="typed:bob", verdict=Verdict.APPROVE)
    assert list(any_store.all_claims()) == []


def test_the_same_digest_is_asked_for_the_same_request() -> None:
    """What counts as the same request: all that reviewers see, and not how it is to be got."""
    assert a_request(override_approval=True).digest == a_request().digest
    assert a_request(description="other").digest != a_request().digest
    assert a_request(payload_digest="d").digest != a_request().digest
    assert a_request(attachments={"plan": Attachment("1", 1, stored=True)}).digest != a_request().digest


def test_a_change_asks_the_log_twice(store: DynamoStore) -> None:
    """For the newest events of lock and claim, and for that of the settings; a change of the settings asks for that alone."""
    claim = take(store, 1)
    asked = Faults.on(store, "Query")
    reviews.review(store, claim.id, reviewer="aws:ann", verdict=Verdict.APPROVE)
    assert asked.seen == 2
    pools.set_retention(store, "payments", 30, actor="op")
    pools.set_retention(store, "payments", 60, actor="op")
    assert asked.seen == 2 + 2
    take(store, 2, lock_name="other")
    assert asked.seen == 4 + 2
