"""What somebody who can write the table might hope to hide behind removal by age, and what a hostile record must not stop."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from approval_resource import pools
from approval_resource.audit import verify as audit
from approval_resource.claims import gate as gates
from approval_resource.claims import review as reviews
from approval_resource.claims.end import end_claim
from approval_resource.errors import CorruptRecordError
from approval_resource.model.claim import Verdict
from approval_resource.model.event import Kind, State
from approval_resource.model.settings import Retention, Settings
from approval_resource.store.dynamodb import items, keys
from approval_resource.store.dynamodb.outcomes import Failure, Outcome
from approval_resource.store.dynamodb.requests import RequestFailedError
from approval_resource.store.dynamodb.store import DynamoStore
from approval_resource.store.dynamodb.values import document, values
from tests.builders import NOON, FrozenTime, a_build, a_claim, take
from tests.contract.test_retention import POOL, Table, a_story, connection, findings, table

__all__ = ["connection", "table"]

FORGED = Settings(pool=POOL, retentions=(Retention(datetime(2020, 1, 1, tzinfo=UTC), 1, 10**6, None),), revision=7)


def lowered(shared: DynamoStore, time: FrozenTime, table: Table) -> None:
    """From 400 days to one; a day's traffic on another lock is removed by age."""
    pools.set_retention(shared, POOL, 1, actor="typed:olga")
    a_story(shared, time, 2, "other", 50)
    time.tick(days=2)
    for item in table.overdue(time.at):
        table.delete(item)
    take(shared, 99, lock_name="newest")
    assert findings(shared) == []


def test_a_closed_claim_is_pinned_whatever_else_is_gone(shared: DynamoStore, time: FrozenTime, table: Table) -> None:
    """Its last event is there, so an altered claim is found though younger events were removed."""
    a_story(shared, time, 2)
    lowered(shared, time, table)
    row = next(item for item in table.items() if item.get("state") == {"S": "released"} and item["sk"]["S"] == "claim")
    table.put(row | {"description": {"S": "altered"}})
    assert any("was altered" in finding for finding in findings(shared))


def test_a_holder_is_pinned_whatever_is_gone_of_other_locks(shared: DynamoStore, time: FrozenTime, table: Table) -> None:
    """What was removed of one lock excuses nothing of another."""
    take(shared, 1, need_approval=False)
    lowered(shared, time, table)
    row = next(item for item in table.items() if item["sk"]["S"] == "lock#deploy")
    table.put(row | {"holder": {"S": ""}})
    assert any("lock deploy was altered" in finding for finding in findings(shared))


def test_an_added_claim_with_an_old_date_is_found(shared: DynamoStore, time: FrozenTime, table: Table) -> None:
    """Of a lock of which nothing was removed, the log must tell who holds it."""
    a_story(shared, time, 2)
    old = NOON - timedelta(days=900)
    forged = replace(a_claim(state=State.HELD, need_approval=False), timestamp=old, changed=old, revision=1)
    table.put(items.claim_item(forged))
    row = next(item for item in table.items() if item["sk"]["S"] == "lock#deploy")
    table.put(row | {"holder": {"S": forged.id}})
    assert any("lock deploy was altered" in finding for finding in findings(shared))


@pytest.mark.parametrize("days", [None, 0])
def test_forged_settings_excuse_no_cut(shared: DynamoStore, time: FrozenTime, table: Table, days: int | None) -> None:
    """Of the whole log, or of one event: settings that no event tells of are found, and so are those whose event is cut."""
    if days is not None:
        pools.set_retention(shared, POOL, days, actor="typed:olga")
    a_story(shared, time, 4)
    time.tick(days=2)
    table.put(items.settings_item(FORGED))
    spent = [event for event in shared.events(POOL) if event.kind is Kind.SPENT][-1]
    rows = [item for item in table.items() if item["sk"]["S"].startswith("event#")]
    table.delete(next(item for item in rows if item["sk"] == keys.event_key(POOL, spent.timestamp)["sk"]))
    assert any("settings were altered" in finding for finding in findings(shared))
    for item in rows:
        table.delete(item)
    assert any("settings were altered" in finding for finding in findings(shared))


@pytest.mark.parametrize("days", [5_000_000, 10**12, -1])
def test_settings_out_of_bounds_are_a_line(shared: DynamoStore, table: Table, days: int) -> None:
    """For an audit a finding, for a change a refusal."""
    claim = take(shared, 1)
    table.put(items.settings_item(replace(FORGED, retentions=(replace(FORGED.retentions[0], days=days),))))
    assert any("settings were altered" in finding for finding in findings(shared))
    with pytest.raises(CorruptRecordError, match="settings of pool"):
        end_claim(shared, claim, State.WITHDRAWN, actor="typed:olga")


def test_names_that_no_key_can_hold_stop_no_audit(shared: DynamoStore, table: Table) -> None:
    """A finding for each, and the rest is told too."""
    claim, other = take(shared, 1), take(shared, 2, lock_name="other")
    row = next(item for item in table.items() if item["pk"]["S"] == f"claim#{claim.id}")
    table.put(row | values({"attachments": {"x" * 1100: {"digest": "0", "size": 1, "stored": True}}}))
    event = next(event for event in shared.events(POOL) if event.claim_id == other.id)
    (stored,) = (item for item in table.items() if item["sk"] == keys.event_key(POOL, event.timestamp)["sk"])
    table.put(stored | values({"id": "x" * 2100}))
    found = findings(shared)
    assert any(finding.startswith(f"claim {claim.id} of lock {claim.lock_name} was altered") for finding in found)
    assert any(finding.startswith("event 2 at ") for finding in found)


def test_a_lost_answer_shortens_nobodys_life(
    shared: DynamoStore, time: FrozenTime, table: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What ended under the old setting keeps its time, also when a later change of the same build had to be looked for."""
    payload: dict[str, Any] = {"payload": b"{}", "payload_digest": hashlib.sha256(b"{}").hexdigest()}
    old = reviews.review(shared, take(shared, 1, **payload).id, reviewer="typed:ana", verdict=Verdict.APPROVE).claim
    gates.pass_through(shared, old, a_build(1), spend=True)
    end_claim(shared, old, State.RELEASED, actor="typed:ana")
    pools.set_retention(shared, POOL, 1, actor="typed:olga")
    real = shared._requests.call
    lost: list[str] = []

    def losing(method: str, **request: Any) -> Any:
        answer = real(method, **request)
        if method == "transact_write_items" and not lost:
            lost.append(method)
            raise RequestFailedError(Failure(Outcome.UNKNOWN, "answer lost"))
        return answer

    monkeypatch.setattr(shared._requests, "call", losing)
    take(shared, 1, description="other")
    assert lost
    assert table.life("part#") == [400]
    time.tick(days=2)
    for item in table.overdue(time.at):
        table.delete(item)
    assert audit.verify(shared, POOL).findings == []


ODD = (
    {"SS": ["a"]},
    {"NS": ["1"]},
    {"BS": [b"x"]},
    {"N": "1.5"},
    {"B": b"x"},
    {"NULL": True},
    {"L": [{"N": "1"}]},
    {"L": [{"N": "1.5"}]},
    {"L": [{"SS": ["a"]}]},
    {"L": [{"B": b"x"}]},
    {"M": {"a": {"SS": ["a"]}}},
)
"""Values of types, or of parts, that nothing is stored as."""


@pytest.mark.parametrize("odd", ODD, ids=str)
@pytest.mark.parametrize("attribute", ["represented_as", "inputs", "comment"])
def test_a_review_of_the_wrong_type_is_named_as_damaged(store: DynamoStore, attribute: str, odd: dict[str, Any]) -> None:
    """One forged attribute ends what meets it in a line that names the claim, the audit in a finding, and neither in a crash."""
    claim = take(store, 1)
    claim = reviews.review(store, claim.id, reviewer="typed:bob", verdict=Verdict.APPROVE).claim
    item = items.claim_item(claim)
    item["reviews"]["M"]["typed:bob"]["M"][attribute] = odd
    store._client.put_item(TableName=store._table, Item=item)
    with pytest.raises(CorruptRecordError, match=claim.id):
        store.claim(claim.id)
    assert any(claim.id in str(finding) for finding in audit.verify(store, claim.pool).findings)


@pytest.mark.parametrize("odd", ODD, ids=str)
def test_a_lock_of_the_wrong_type_is_named_as_damaged(store: DynamoStore, odd: dict[str, Any]) -> None:
    """Nothing is written on the grounds of it."""
    claim = take(store, 1)
    lock = store.lock(claim.pool, claim.lock_name)
    assert lock is not None
    store._client.put_item(TableName=store._table, Item=items.lock_item(lock) | {"jobs": odd})
    with pytest.raises(CorruptRecordError):
        store.lock(claim.pool, claim.lock_name)


@pytest.mark.parametrize(
    "typed", [{}, {"XX": 1}, {"N": 1}, {"N": "9" * 5000}, {"L": None}, {"M": None}, None, [], {"L": [None]}]
)
def test_what_is_no_value_at_all_equals_nothing(typed: Any) -> None:
    """An attribute of a type that is unknown, as a false endpoint may tell of, is read as damaged; reading it doesn't crash."""
    found = document({"pk": {"S": "a"}, "sk": {"S": "b"}, "odd": typed})["odd"]
    assert found != found or (isinstance(found, list) and found[0] != found[0])
