"""Requests to one DynamoDB table, classified by the table of outcomes and retried while that can help."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable, Iterator
from datetime import datetime
from queue import SimpleQueue
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError
from botocore.parsers import ResponseParserError

from approval_resource.clock import Clock, StoreClock
from approval_resource.errors import StoreUnavailableError, TableMissingError
from approval_resource.program import called
from approval_resource.store.dynamodb.outcomes import Failure, NotDynamoDBError, Outcome, classify, refused
from approval_resource.store.dynamodb.retries import RetryBudget
from approval_resource.store.dynamodb.values import Item, document

log = logging.getLogger(__name__)

READ_SECONDS = 10.0
"""Upper bound of the seconds that one read may take, throttling and failures included."""
FIRST_ERROR_STATUS = 400
"""Lowest HTTP status code that reports an error."""
HOLDS_ITEMS = ("Item", "Items", "Responses")
"""Parts of an answer that hold items."""
BATCH = 100
"""Upper bound of the keys in one BatchGetItem, set by DynamoDB."""


class RequestFailedError(Exception):
    """Failure of one request."""

    def __init__(self, failure: Failure, refused: frozenset[int] = frozenset()) -> None:
        """Keep the classified `failure`, and the indexes of the writes that cancelled a transaction."""
        self.failure = failure
        self.refused = refused
        super().__init__(failure.message)


class _Flight(threading.local):
    """Request in flight, one in each thread."""

    taken: dict[str, Any] | None = None
    """Items of its answer, as JSON. None: no request is in flight."""


class Requests:
    """Requests to the table, and the store's time by the Date headers of its answers."""

    def __init__(
        self,
        client: Any,
        table_name: str,
        clock: Clock,
        store_clock: StoreClock | None,
        renew: Callable[[], Any] | None = None,
        creates: bool = False,
    ) -> None:
        """Send requests by `client`.

        `renew` makes another client with fresh credentials, for when those of `client` expire early.
        `creates` says that a missing table shall be created.
        """
        self._table = table_name
        self._clock = clock
        self._time = store_clock or StoreClock(clock)
        self._answered = False
        self._flight = _Flight()
        self._renew = renew
        self._creates = creates
        self._use(client)

    def _use(self, client: Any) -> None:
        self._client = client
        client.meta.events.register("before-parse.dynamodb", self._vet)
        client.meta.events.register("after-call.dynamodb", self._heard)

    def now(self) -> datetime:
        """Return the store's time.

        Raises:
            StoreUnavailableError: no answer had a readable Date header.
        """
        now = self._time.now()
        if now is None:
            raise StoreUnavailableError(
                f"{self._endpoint} sent no Date with its answers, so nobody knows what time it is there"
            )
        return now

    def _vet(self, response_dict: dict[str, Any], **_: object) -> None:
        """Take the items out of DynamoDB's answer before botocore parses it. Refuse any other answer.

        botocore would parse a proxy's page with status 200 as a success. botocore takes most of a long read's
        time for looking up each value's shape; `values.document` reads the same JSON.

        Raises:
            NotDynamoDBError: something else answered.
        """
        try:
            body = json.loads(response_dict["body"] or b"null")
        except ValueError:
            body = None
        signed = "x-amzn-requestid" in response_dict["headers"]
        if not isinstance(body, dict) or not (
            signed or ("__type" in body and response_dict["status_code"] >= FIRST_ERROR_STATUS)
        ):
            raise NotDynamoDBError
        if self._flight.taken is not None and response_dict["status_code"] < FIRST_ERROR_STATUS:
            self._flight.taken = {name: body.pop(name) for name in HOLDS_ITEMS if name in body}
            response_dict["body"] = json.dumps(body).encode()

    def _heard(self, http_response: Any, **_: object) -> None:
        self._answered = True
        self._time.observe(http_response.headers.get("date"))

    def pages(self, method: str, request: dict[str, Any], budget: RetryBudget | None = None) -> Iterator[Item]:
        """Yield the items of a query or scan, page by page. A limit holds for the first page only.

        The next page is fetched while the caller works on the one before. After a page with a limit it is
        fetched only when it is asked for, since a caller with a limit seldom wants more. Each page has a
        budget of its own unless `budget` is given.

        Raises:
            StoreUnavailableError: as `ask`.
        """
        page = {"TableName": self._table, **request}

        def fetch() -> Item:
            return self.ask(method, budget or self.budget(), **page)

        answer = fetch()
        while "LastEvaluatedKey" in answer:
            limited = page.pop("Limit", None)
            page["ExclusiveStartKey"] = answer["LastEvaluatedKey"]
            fetched = fetch if limited else _ahead(fetch)
            yield from _emptied(answer)
            answer = fetched()
        yield from _emptied(answer)

    def glance(self, wanted: Item) -> dict[str, Any] | None:
        """Return the document at that key, or None, by an eventually consistent read at half the price.

        Raises:
            StoreUnavailableError: as `ask`.
        """
        answer = self.ask("get_item", self.budget(), TableName=self._table, Key=wanted)
        return document(answer["Item"]) if "Item" in answer else None

    def get(self, wanted: list[Item], budget: RetryBudget | None = None) -> list[dict[str, Any] | None]:
        """Return the documents at those keys by strongly consistent reads, None for each that doesn't exist.

        Raises:
            StoreUnavailableError: as `ask`.
        """
        found: dict[tuple[str, str], dict[str, Any]] = {}
        waiting = list(wanted)
        budget = budget or self.budget()
        while waiting:
            batch, waiting = waiting[:BATCH], waiting[BATCH:]
            if len(batch) == 1:
                answer = self.ask("get_item", budget, TableName=self._table, Key=batch[0], ConsistentRead=True)
                got, left = ([answer["Item"]] if "Item" in answer else []), []
            else:
                batched = {self._table: {"Keys": batch, "ConsistentRead": True}}
                answer = self.ask("batch_get_item", budget, RequestItems=batched)
                got = answer["Responses"].get(self._table, [])
                left = answer.get("UnprocessedKeys", {}).get(self._table, {}).get("Keys", [])
            for item in got:
                found[item["pk"]["S"], item["sk"]["S"]] = document(item)
            if left:
                waiting += left
                budget.wait(Failure(Outcome.BUSY, f"DynamoDB is throttling table {self._table}; try again"), answered=True)
        return [found.get((key["pk"]["S"], key["sk"]["S"])) for key in wanted]

    def create_table(self) -> bool:
        """Create the table if it is missing, else switch on its protection.

        Return whether this call created it, or may have.

        Raises:
            ConfigError: a table of that name has other keys or indexes. Nothing of it was changed.
            TableMissingError: it can't be created, or did not become ready.
            StoreUnavailableError: DynamoDB can't be asked.
        """
        from approval_resource.store.dynamodb import table

        try:
            described = self.call("describe_table", TableName=self._table)
        except RequestFailedError as failed:
            if failed.failure.outcome is not Outcome.ABSENT:
                raise StoreUnavailableError(failed.failure.message) from failed
            return table.create(self._client, self._table, self._clock)
        table.require_fit(described["Table"], self._table)
        table.protect(self._client, self._table, self._clock)
        return False

    def budget(self, seconds: float = READ_SECONDS) -> RetryBudget:
        """Return the retry budget of a piece of work that begins now."""
        return RetryBudget(self._clock, seconds)

    def ask(self, method: str, budget: RetryBudget, **request: Any) -> dict[str, Any]:
        """Make a request that may be repeated, such as a read, and retry it while that can help.

        Raises:
            StoreUnavailableError: a retry can't help, or the budget is spent.
        """
        while True:
            try:
                return self.call(method, **request)
            except RequestFailedError as failed:
                self.again(failed.failure, budget)

    def again(self, failure: Failure, budget: RetryBudget, *, spread: bool = True) -> None:
        """Prepare another try: pause, create the missing table, or renew the credentials.

        `spread` is as in `RetryBudget.wait`.

        Raises:
            StoreUnavailableError: another try can't help, or the budget is spent.
            TableMissingError: the table doesn't exist, and isn't for this caller to create.
        """
        if failure.outcome is Outcome.ABSENT and not self._creates:
            from approval_resource.store.dynamodb import table

            raise TableMissingError(f"{failure.message}; {table.tables_hint(self._client)}have an operator run {called()} init")
        budget.wait(failure, answered=self._answered, spread=spread)
        if failure.outcome is Outcome.ABSENT:
            from approval_resource.store.dynamodb import table  # it is missing once in its life

            table.create(self._client, self._table, self._clock)
        if failure.outcome is Outcome.RENEW and self._renew is not None:
            self._use(self._renew())

    def call(self, method: str, **request: Any) -> dict[str, Any]:
        """Make one request, once.

        Raises:
            RequestFailedError: it failed, with the outcome.
        """
        started = self._clock.monotonic()
        self._flight.taken = {}
        try:
            answer: dict[str, Any] = getattr(self._client, method)(**request) | (self._flight.taken or {})
        except (ClientError, BotoCoreError) as error:
            failure = classify(error, table=self._table, endpoint=self._endpoint)
            log.debug("%s: %s (%s)", method, failure.outcome.name.lower(), type(error).__name__)
            raise RequestFailedError(failure, refused(error)) from error
        except (ResponseParserError, RuntimeError, KeyError) as error:
            # botocore raises these if some other server answers, or if STS answers with expired credentials.
            message = (
                f"AWS's answer about credentials could not be used ({type(error).__name__}); check role_arn, STS and proxies"
            )
            raise RequestFailedError(Failure(Outcome.UNKNOWN, message)) from error
        except ValueError as error:
            # botocore makes some clients, such as that of STS, on first use, and finds wrong settings then.
            raise RequestFailedError(Failure(Outcome.REFUSED, f"AWS's settings can't be used: {error}")) from error
        finally:
            self._flight.taken = None
        log.debug("%s: %.0f ms", method, (self._clock.monotonic() - started) * 1000)
        return answer

    @property
    def _endpoint(self) -> str:
        return str(self._client.meta.endpoint_url)


def _emptied(answer: dict[str, Any]) -> Iterator[Item]:
    """Yield a page's items, and drop each from the page, so that memory never holds more than two pages."""
    items = answer.pop("Items")[::-1]
    while items:
        yield items.pop()


def _ahead(fetch: Callable[[], dict[str, Any]]) -> Callable[[], dict[str, Any]]:
    """Begin to fetch a page. Return a function that waits for it, and raises as `fetch` does.

    The thread is a daemon: an interrupted command doesn't wait for a page that nobody will read.
    """
    came: SimpleQueue[dict[str, Any] | Exception] = SimpleQueue()

    def run() -> None:
        try:
            came.put(fetch())
        except Exception as error:  # noqa: BLE001 - the waiting thread raises it
            came.put(error)

    def result() -> dict[str, Any]:
        got = came.get()
        if isinstance(got, Exception):
            raise got
        return got

    threading.Thread(target=run, name="next page", daemon=True).start()
    return result
