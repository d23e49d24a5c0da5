"""A long read fetches its next page while the caller works on one, and fails or ends as a slow one would."""

from __future__ import annotations

from collections.abc import Callable
from threading import Event
from typing import Any

import pytest

from approval_resource.errors import StoreUnavailableError
from approval_resource.store.dynamodb import reads
from approval_resource.store.dynamodb.requests import READ_SECONDS
from approval_resource.store.dynamodb.store import DynamoStore
from tests.builders import ManualClock, take
from tests.contract.faults import Faults, answers, before

EVENTS, PAGE = 7, 2


@pytest.fixture
def clock() -> ManualClock:
    """A clock on which pauses take no time."""
    return ManualClock()


@pytest.fixture
def paged(connect: Callable[..., DynamoStore], clock: ManualClock) -> DynamoStore:
    """A store with a log of several pages, each of two events."""
    store = connect(clock=clock)
    for number in range(EVENTS):
        take(store, number, lock_name=f"lock-{number}")

    def small(params: dict[str, Any], **_: object) -> dict[str, Any]:
        return {"Limit": PAGE} | params

    store._client.meta.events.register("provide-client-params.dynamodb.Query", small)
    return store


def test_the_next_page_is_fetched_while_one_is_worked_on(paged: DynamoStore) -> None:
    """The second request has gone out before the caller asks for a second event; no third has."""
    asked = Event()
    queries = Faults.on(paged, "Query", lambda _: None, before(asked.set))
    events = paged.events("payments")
    first = next(events)
    assert asked.wait(60)
    assert [first.revision, *(event.revision for event in events)] == list(range(1, EVENTS + 1))
    assert queries.seen == EVENTS // PAGE + 1


def test_a_page_that_fails_ends_the_read_at_its_place(paged: DynamoStore) -> None:
    """Events before the failing page are given; then the caller gets the failure, not the thread."""
    Faults.on(paged, "Query", lambda _: None, answers(400, "AccessDeniedException"))
    events = paged.events("payments")
    assert [next(events).revision, next(events).revision] == [1, 2]
    with pytest.raises(StoreUnavailableError, match="may not"):
        next(events)


def test_a_page_that_is_throttled_is_asked_for_again(paged: DynamoStore) -> None:
    """A fetch ahead has the same retries as any other, and nothing is lost or doubled."""
    Faults.on(paged, "Query", lambda _: None, *[answers(400, "ProvisionedThroughputExceededException")] * 3)
    assert [event.revision for event in paged.events("payments")] == list(range(1, EVENTS + 1))


def test_a_read_with_a_limit_asks_for_no_page_beforehand(paged: DynamoStore) -> None:
    """Whoever looks at the newest events alone pays for one page."""
    queries = Faults.on(paged, "Query")
    events = paged.events("payments", newest_first=True)
    assert next(events).revision == EVENTS
    events.close()  # type: ignore[attr-defined]
    assert queries.seen == 1


def test_a_caller_who_takes_long_over_a_page_loses_no_retry(
    paged: DynamoStore, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The time limit of a page begins with its request, not with the page before."""
    monkeypatch.setattr(reads, "FIRST_PAGE", PAGE)
    Faults.on(paged, "Query", lambda _: None, answers(400, "ProvisionedThroughputExceededException"))
    events = paged.events("payments", newest_first=True)
    found = [next(events).revision, next(events).revision]
    clock.sleep(10 * READ_SECONDS)
    assert [*found, *(event.revision for event in events)] == list(range(EVENTS, 0, -1))


def test_requests_beside_a_fetch_ahead_keep_their_own_answers(paged: DynamoStore) -> None:
    """Reads between two events get their items, and not those of the page in flight."""
    for event in paged.events("payments"):
        claim = paged.claim(event.claim_id)
        assert claim is not None
        assert (claim.id, claim.lock_name) == (event.claim_id, event.lock_name)
