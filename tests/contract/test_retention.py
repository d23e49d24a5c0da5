"""How long records are kept, and how an audit tells what was removed by age from what was cut."""

from __future__ import annotations

import hashlib
from datetime import datetime, timedelta
from random import Random
from typing import Any

import pytest

from approval_resource import pools
from approval_resource.audit import verify as audit
from approval_resource.audit.copies import Copy
from approval_resource.audit.receipts import receipt_of
from approval_resource.claims import gate as gates
from approval_resource.claims import review as reviews
from approval_resource.claims.end import end_claim
from approval_resource.claims.lookup import find
from approval_resource.model.claim import Claim, Verdict
from approval_resource.model.event import Kind, State
from approval_resource.model.settings import Settings
from approval_resource.store.dynamodb import items, keys
from approval_resource.store.dynamodb.connect import dynamodb, session_of
from approval_resource.store.dynamodb.store import DynamoStore
from approval_resource.store.dynamodb.values import Item, values
from approval_resource.store.interface import Connection
from tests import tally
from tests.builders import NOON, FrozenTime, a_build, take

POOL = "payments"
DAY = timedelta(days=1)


Item = Item


class Table:
    """The table itself, behind the store's back."""

    def __init__(self, connection: Connection) -> None:
        self._client = dynamodb(session_of(connection), connection)
        self._name = connection.table

    def items(self) -> list[Item]:
        found: list[Item] = []
        for page in self._client.get_paginator("scan").paginate(TableName=self._name, ConsistentRead=True):
            found += page["Items"]
        return found

    def delete(self, item: Item) -> None:
        self._client.delete_item(TableName=self._name, Key={"pk": item["pk"], "sk": item["sk"]})

    def put(self, item: Item) -> None:
        self._client.put_item(TableName=self._name, Item=item)

    def overdue(self, now: datetime) -> list[Item]:
        """What DynamoDB would remove by now."""
        return [item for item in self.items() if "ttl" in item and int(item["ttl"]["N"]) <= now.timestamp()]

    def life(self, prefix: str) -> list[int | None]:
        """When each item of that kind may go, in days from noon; None: never."""
        found = [item for item in self.items() if item["sk"]["S"].startswith(prefix)]
        found.sort(key=lambda item: (item["pk"]["S"], item["sk"]["S"]))
        return [round((int(item["ttl"]["N"]) - NOON.timestamp()) / 86400) if "ttl" in item else None for item in found]


@pytest.fixture
def table(connection: Connection) -> Table:
    """The test's own."""
    return Table(connection)


@pytest.fixture
def connection(engine: Any) -> Connection:
    """On MiniStack: what is looked at here is what is stored, not what an engine makes of it."""
    from uuid import uuid4

    from demo.engine import REGION

    return Connection(
        table=f"t-{uuid4()}", region=REGION, endpoint_url=engine.url, access_key_id="test", secret_access_key="test-secret"
    )


def a_story(store: DynamoStore, time: FrozenTime, days: int, lock_name: str = "deploy", first: int = 1) -> list[Claim]:
    """A claim a day: asked for, reviewed and passed or rejected, and ended."""
    made = []
    for day in range(days):
        number = first + day
        claim = take(store, number, lock_name=lock_name, payload=b"{}", payload_digest=hashlib.sha256(b"{}").hexdigest())
        if day % 3:
            claim = reviews.review(store, claim.id, reviewer="typed:ana", verdict=Verdict.APPROVE).claim
            gates.pass_through(store, claim, a_build(number), spend=bool(day % 2))
            end_claim(store, claim, State.RELEASED, actor="typed:ana")
        else:
            reviews.review(store, claim.id, reviewer="typed:bob", verdict=Verdict.REJECT)
        made.append(claim)
        time.tick(days=1)
    return made


def findings(store: DynamoStore) -> list[str]:
    """What an audit finds."""
    return audit.verify(store, POOL).findings


# ---- what is kept how long -------------------------------------------------------------


def test_events_and_closed_claims_go_after_the_pools_time(shared: DynamoStore, time: FrozenTime, table: Table) -> None:
    """400 days from each event's own time, and from the claim's end; what is open, and what is counted by, stays."""
    take(shared, 1, lock_name="open", payload=b"{}", payload_digest=hashlib.sha256(b"{}").hexdigest())
    time.tick(days=3)
    a_story(shared, time, 1)
    assert table.life("event#") == [400, 403, 403]
    assert sorted(table.life("claim"), key=str) == [403, None]
    assert sorted(table.life("part#"), key=str) == [403, None]
    assert table.life("head") == [None]
    assert table.life("lock#") == [None, None]
    assert sorted(table.life("pool#"), key=str) == [400, 403]


def test_a_pool_sets_its_own_time_or_none(shared: DynamoStore, time: FrozenTime, table: Table) -> None:
    """What ends after the change is kept by it, what ended before as it was; the change itself for ever, a build's record 400 days."""
    a_story(shared, time, 1)
    pools.set_retention(shared, POOL, 30, actor="typed:olga")
    a_story(shared, time, 1, first=2)
    pools.set_retention(shared, POOL, 0, actor="typed:olga")
    a_story(shared, time, 1, first=3)
    assert table.life("event#") == [400, 400, None, 31, 31, None, None, None]
    assert sorted(table.life("claim"), key=str) == [31, 400, None]
    assert sorted(table.life("pool#"), key=str) == [400, 401, None]
    assert table.life("policy") == [None]


def test_the_log_tells_who_changed_the_settings(shared: DynamoStore) -> None:
    """One event, of no claim and no lock; the same setting again changes nothing."""
    for _ in range(2):
        settings = pools.set_retention(shared, POOL, 30, actor="typed:olga")
    (event,) = shared.events(POOL)
    assert (event.kind, event.actor, event.reason) == (Kind.SETTINGS, "typed:olga", "retention_days 400 -> 30")
    assert (event.claim_id, event.lock_name, event.state) == ("", "", None)
    assert (settings.retention_days, settings.revision) == (30, 1)
    assert shared.settings(POOL) == settings
    assert findings(shared) == []


@pytest.mark.long
def test_settings_of_the_past_are_forgotten_once_nothing_of_their_time_is_left(shared: DynamoStore, time: FrozenTime) -> None:
    """However often they are changed, what is stored stays small."""
    for days in range(1, 300):
        pools.set_retention(shared, POOL, days % 2 + 1, actor="typed:olga")
        time.tick(days=1)
    assert len(shared.settings(POOL).retentions) < 7
    assert findings(shared) == []


# ---- what an audit makes of it -----------------------------------------------------------


@pytest.mark.parametrize("shuffle", range(6))
@pytest.mark.long
def test_removal_by_age_is_no_fault_in_whatever_order(
    shared: DynamoStore, time: FrozenTime, table: Table, shuffle: int
) -> None:
    """Anything whose time is over may be gone, one by one: at no point is that a finding, and the count is told."""
    pools.set_retention(shared, POOL, 7, actor="typed:olga")
    held = take(shared, 0, lock_name="held-for-long", need_approval=False)
    a_story(shared, time, 5)
    a_story(shared, time, 4, "other", 10)
    pools.set_retention(shared, POOL, 3, actor="typed:olga")
    a_story(shared, time, 4, "deploy", 20)
    take(shared, 30, lock_name="other")
    time.tick(days=1)
    overdue = table.overdue(time.at)
    Random(shuffle).shuffle(overdue)  # noqa: S311 - an order, not a secret
    assert len(overdue) > 20
    for number, item in enumerate(overdue):
        table.delete(item)
        if number % 5 == 0:
            assert findings(shared) == []
    report = audit.verify(shared, POOL)
    head = shared.head(POOL)
    assert head is not None
    assert report.findings == []
    assert report.removed + report.events == head.revision
    assert report.removed == len([item for item in overdue if item["sk"]["S"].startswith("event#")])
    assert find(shared, held.id).claimed


def test_a_pool_of_which_all_is_gone_is_no_fault(shared: DynamoStore, time: FrozenTime, table: Table) -> None:
    """Its head and locks stay behind and still fit together; it goes on from there."""
    a_story(shared, time, 3)
    time.tick(days=500)
    for item in table.overdue(time.at):
        table.delete(item)
    report = audit.verify(shared, POOL)
    assert (report.findings, report.events) == ([], 0)
    assert report.removed > 5
    claim = take(shared, 50)
    assert claim.fence == 4
    report = audit.verify(shared, POOL)
    assert (report.findings, report.events) == ([], 1)


@pytest.mark.parametrize("keep", [0, 7, 400])
@pytest.mark.long
def test_what_is_cut_before_its_time_is_found(shared: DynamoStore, time: FrozenTime, table: Table, keep: int) -> None:
    """Each event alone, the oldest ones, and the newest ones: as long as one's time is not over, its loss is a finding."""
    if keep != 400:
        pools.set_retention(shared, POOL, keep, actor="typed:olga")
    a_story(shared, time, 4)
    events = [item for item in table.items() if item["sk"]["S"].startswith("event#")]
    events.sort(key=lambda item: item["sk"]["S"])
    for cut in (*([event] for event in events), events[:3], events[-3:], events[2:5]):
        for item in cut:
            table.delete(item)
        assert any("missing" in finding for finding in findings(shared)), [item["sk"] for item in cut]
        for item in cut:
            table.put(item)
    assert findings(shared) == []


def test_a_cut_next_to_what_was_removed_by_age_is_found(shared: DynamoStore, time: FrozenTime, table: Table) -> None:
    """The youngest missing event decides: its time must be over too."""
    pools.set_retention(shared, POOL, 5, actor="typed:olga")
    a_story(shared, time, 9)
    for item in table.overdue(time.at):
        table.delete(item)
    assert findings(shared) == []
    oldest = min((item for item in table.items() if item["sk"]["S"].startswith("event#")), key=lambda item: item["sk"]["S"])
    table.delete(oldest)
    assert any("is missing" in finding for finding in findings(shared))


def test_lowering_the_time_excuses_no_cut_of_what_came_before(shared: DynamoStore, time: FrozenTime, table: Table) -> None:
    """What was to be kept for 400 days when it happened is, whatever was set since; also where raising followed."""
    a_story(shared, time, 2)
    pools.set_retention(shared, POOL, 1, actor="mallory")
    time.tick(days=3)
    pools.set_retention(shared, POOL, 2, actor="mallory")
    a_story(shared, time, 1, first=9)
    time.tick(days=10)
    events = sorted((item for item in table.items() if item["sk"]["S"].startswith("event#")), key=lambda item: item["sk"]["S"])
    for item in events:
        table.delete(item)
    assert any("is missing" in finding for finding in findings(shared))


def test_altered_settings_are_found(shared: DynamoStore, time: FrozenTime, table: Table) -> None:
    """Written past the log, they would excuse a cut: altered, added, or taken away."""
    a_story(shared, time, 2)
    pools.set_retention(shared, POOL, 30, actor="typed:olga")
    (stored,) = (item for item in table.items() if item["sk"]["S"] == "policy")
    forged = values(
        {"retentions": [{"since": "2026-01-01T00:00:00.000000Z", "days": 1, "revision": 0, "before": ""}], "retention_days": 1}
    )
    table.put(stored | forged)
    assert any("settings were altered" in finding for finding in findings(shared))
    table.delete(stored)
    assert any("settings were altered" in finding for finding in findings(shared))
    table.put(stored)
    assert findings(shared) == []


def test_settings_that_no_event_tells_of_are_found(shared: DynamoStore, time: FrozenTime, table: Table) -> None:
    """In a pool where nobody ever set anything."""
    a_story(shared, time, 1)
    table.put(items.settings_item(Settings(pool=POOL, revision=1)))
    assert any("settings were altered" in finding for finding in findings(shared))


def test_a_receipt_whose_event_is_gone_by_age_is_told_as_that(shared: DynamoStore, time: FrozenTime, table: Table) -> None:
    """It can't be compared, and that is no fault; before its time it is."""
    a_story(shared, time, 2)
    decided = next(event for event in shared.events(POOL) if event.kind is Kind.APPROVED)
    claim = shared.claim(decided.claim_id)
    assert claim is not None
    receipt = receipt_of(claim, decided)
    (stored,) = (item for item in table.items() if item["sk"] == keys.event_key(POOL, decided.timestamp)["sk"])
    table.delete(stored)
    assert any("rewritten or cut" in finding for finding in audit.verify(shared, POOL, Copy((POOL,), receipt=receipt)).findings)
    time.tick(days=500)
    for item in table.overdue(time.at):
        table.delete(item)
    report = audit.verify(shared, POOL, Copy((POOL,), receipt=receipt))
    assert report.findings == []
    assert report.notes == [f"event {decided.revision} of the receipt is gone by its age; nothing is left to compare it with"]


def test_a_random_cut_is_found_and_a_random_removal_is_not(
    shared: DynamoStore, time: FrozenTime, table: Table, effort: tally.Effort
) -> None:
    """Any set of overdue items may go; take one event of a claim more, whose time is not over, and it is found."""
    seed, random = tally.seeded()
    print(f"seed {seed}")  # noqa: T201 - for a failing run
    for number in range(effort.of(2, 10)):
        a_story(shared, time, random.randint(1, 3), f"lock-{random.randint(1, 2)}", first=100 * number)
        pools.set_retention(shared, POOL, random.randint(1, 6), actor="typed:olga")
        time.tick(days=random.randint(0, 3))
        overdue = table.overdue(time.at)
        for item in random.sample(overdue, random.randint(0, len(overdue))):
            table.delete(item)
        assert findings(shared) == [], seed
        gone = {item["sk"]["S"] for item in table.overdue(time.at)}
        kept = [item for item in table.items() if "lock_event" in item and "ttl" in item and item["sk"]["S"] not in gone]
        victim = random.choice(kept)
        table.delete(victim)
        assert findings(shared) != [], (seed, victim["sk"])
        table.put(victim)
