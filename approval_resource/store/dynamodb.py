"""The lock store in one DynamoDB table."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import datetime
from random import SystemRandom
from typing import Any, TypeVar

from botocore.exceptions import BotoCoreError, ClientError

from approval_resource.canonical import instant
from approval_resource.clock import Clock, HostClock, StoreClock
from approval_resource.errors import CorruptRecordError, StoreUnavailableError
from approval_resource.model import BuildRecord, Claim, Event, Head, Lock
from approval_resource.records import build_from, claim_from, event_from, head_from, lock_from
from approval_resource.store import Committed, Record, items, table
from approval_resource.store.connect import Connection, dynamodb, session_of
from approval_resource.store.outcomes import Failure, Outcome, classify
from approval_resource.transaction import Changes, Plan, Read, Snapshot, plan

log = logging.getLogger(__name__)

T = TypeVar("T")

COMMIT_SECONDS = 60.0
"""How long one change may take, contention and failures included."""
READ_SECONDS = 10.0
FIRST_SECONDS = 3.0
"""How long an endpoint that never answered this process is given: most likely its address is wrong."""
CONTENDED_PAUSE = (0.02, 1.0)
"""Seconds: the first pause's bound, doubled with each try, and the bound of all."""
BUSY_PAUSE = (0.1, 2.0)
BATCH = 100
"""Keys; BatchGetItem's own limit."""
FIRST_PAGE = 25

_random = SystemRandom()


class _Failed(Exception):
    """One request failed."""

    def __init__(self, failure: Failure) -> None:
        self.failure = failure
        super().__init__(failure.message)


class _Patience:
    """How long one piece of work goes on trying, and how it pauses between tries."""

    def __init__(self, clock: Clock, seconds: float) -> None:
        self._clock = clock
        self._started = clock.monotonic()
        self._seconds = seconds
        self._tries = 0
        self._renewed = False
        self._created = False

    def after(self, failure: Failure, *, answered: bool) -> None:
        """Pause and return if another try is due.

        Raises:
            StoreUnavailableError: it is not.
        """
        match failure.outcome:
            case Outcome.RENEW if not self._renewed:
                self._renewed = True
                return
            case Outcome.ABSENT if not self._created:
                self._created = True
                return
            case Outcome.REFUSED | Outcome.RENEW | Outcome.ABSENT:
                raise StoreUnavailableError(failure.message)
            case Outcome.CONTENDED:
                first, most = CONTENDED_PAUSE
            case Outcome.BUSY | Outcome.UNKNOWN:
                first, most = BUSY_PAUSE
        bound = self._seconds if answered else min(self._seconds, FIRST_SECONDS)
        pause = _random.uniform(0, min(most, first * 2 ** min(self._tries, 16)))
        if self._clock.monotonic() + pause - self._started > bound:
            raise StoreUnavailableError(f"{failure.message} (gave up after {bound:.0f} s)", passing=answered)
        self._tries += 1
        self._clock.sleep(pause)


class DynamoStore:
    """`LockStore` on DynamoDB; its promises are told there."""

    def __init__(
        self, client: Any, table_name: str, *, clock: Clock | None = None, store_clock: StoreClock | None = None
    ) -> None:
        self._client = client
        self._table = table_name
        self._clock: Clock = clock or HostClock()
        self._time = store_clock or StoreClock(self._clock)
        self._answered = False
        client.meta.events.register("after-call.dynamodb", self._heard)

    @classmethod
    def connect(
        cls, connection: Connection, *, clock: Clock | None = None, store_clock: StoreClock | None = None
    ) -> DynamoStore:
        """The store behind that connection. Asks nothing yet.

        Raises:
            ConfigError, StoreUnavailableError: the connection can't work.
        """
        return cls(dynamodb(session_of(connection), connection), connection.table, clock=clock, store_clock=store_clock)

    # ---- time -------------------------------------------------------------

    def now(self) -> datetime:
        now = self._time.now()
        if now is None:
            raise StoreUnavailableError(
                f"{self._endpoint} sent no Date with its answers, so nobody knows what time it is there"
            )
        return now

    def _heard(self, http_response: Any, **_: object) -> None:
        self._answered = True
        self._time.observe(http_response.headers.get("date"))

    # ---- the one way to change anything ------------------------------------

    def commit(self, read: Read, decide: Callable[[Snapshot], Changes], operation: str) -> Committed:
        patience = _Patience(self._clock, COMMIT_SECONDS)
        doubt: Head | None = None
        while True:
            snapshot = self._snapshot(read, patience)
            if doubt is not None and (written := self._written(doubt, operation, patience)):
                return Committed(self._snapshot(read, patience), written)
            wanted = decide(snapshot)
            if not wanted.changes:
                return Committed(snapshot)
            planned = plan(snapshot, wanted, operation)
            try:
                self._call("transact_write_items", TransactItems=self._writes(read, snapshot, planned))
            except _Failed as failed:
                if failed.failure.outcome is Outcome.UNKNOWN and doubt is None:
                    doubt = snapshot.head
                self._again(failed.failure, patience)
            else:
                return Committed(_after(snapshot, planned), planned.events)

    def _written(self, doubt: Head, operation: str, patience: _Patience) -> tuple[Event, ...]:
        """What this operation turns out to have written since `doubt`.

        Looked for in the log, which nobody can overwrite. An attempt still in flight can't land after the
        next one: both are conditional on the same head.
        """
        records = self._records(doubt.pool, since=doubt.timestamp, patience=patience)
        return tuple(event_from(record.document) for record in records if record.document.get("operation") == operation)

    def _snapshot(self, read: Read, patience: _Patience) -> Snapshot:
        while True:
            snapshot = self._look(read, patience)
            if not snapshot.lock.holder or snapshot.lock.holder in snapshot.claims:
                return snapshot
            # Another transaction was seen half done: the lock already names a holder that isn't there yet.
            missing = f'lock "{read.lock_name}" in pool "{read.pool}" names a holder that isn\'t stored'
            patience.after(Failure(Outcome.CONTENDED, f"{missing}; run cli.py audit verify"), answered=True)

    def _look(self, read: Read, patience: _Patience) -> Snapshot:
        keys = [items.head_key(read.pool), items.lock_key(read.pool, read.lock_name)]
        if read.claim_id:
            keys.append(items.claim_key(read.claim_id))
        if read.build_key:
            keys.append(items.build_key(read.build_key, read.pool, read.lock_name))
        found = self._get(keys, patience)
        head = _maybe(head_from, found[0]) or Head(pool=read.pool)
        lock = _maybe(lock_from, found[1]) or Lock(pool=read.pool, name=read.lock_name)
        asked = _maybe(claim_from, found[2]) if read.claim_id else None
        build = _maybe(build_from, found[-1]) if read.build_key else None
        others = {lock.holder, build.made if build else "", build.passed if build else ""} - {"", read.claim_id}
        known = self._claims(sorted(others), patience)
        claims = {claim.id: claim for claim in (*known, asked) if claim is not None}
        if read.build_key and build is None:
            build = BuildRecord(key=read.build_key, pool=read.pool, lock_name=read.lock_name)
        return Snapshot(now=self.now(), head=head, lock=lock, build=build, claims=claims)

    def _writes(self, read: Read, snapshot: Snapshot, planned: Plan) -> list[dict[str, Any]]:
        """The transaction: what is written and what is only checked, all on condition that nothing read has changed."""
        before = snapshot.claims
        writes = [
            self._put(items.head_item(planned.head), snapshot.head.revision),
            self._put(items.lock_item(planned.lock), snapshot.lock.revision),
            *(
                self._put(items.claim_item(claim), before[claim.id].revision if claim.id in before else 0)
                for claim in planned.claims
            ),
            *(self._put(items.event_item(event), 0) for event in planned.events),
        ]
        written = {claim.id for claim in planned.claims}
        writes += [self._put(items.part_item(*part), 0) for part in planned.parts]
        writes += [self._check(items.claim_key(id_), claim.revision) for id_, claim in before.items() if id_ not in written]
        if read.claim_id and read.claim_id not in written | before.keys():
            writes.append(self._check(items.claim_key(read.claim_id), 0))
        if planned.build is not None and snapshot.build is not None:
            writes.append(self._put(items.build_item(planned.build), snapshot.build.revision))
        elif snapshot.build is not None:
            key = items.build_key(snapshot.build.key, snapshot.build.pool, snapshot.build.lock_name)
            writes.append(self._check(key, snapshot.build.revision))
        return writes

    def _put(self, item: items.Item, revision: int) -> dict[str, Any]:
        return {"Put": {"TableName": self._table, "Item": item, **_still(revision)}}

    def _check(self, key: items.Item, revision: int) -> dict[str, Any]:
        return {"ConditionCheck": {"TableName": self._table, "Key": key, **_still(revision)}}

    # ---- reading ------------------------------------------------------------

    def claim(self, claim_id: str) -> Claim | None:
        return _maybe(claim_from, self._get([items.claim_key(claim_id)])[0])

    def claims(self, claim_ids: list[str]) -> list[Claim]:
        return self._claims(claim_ids, self._reading())

    def _claims(self, claim_ids: list[str], patience: _Patience) -> list[Claim]:
        found = self._get([items.claim_key(id_) for id_ in claim_ids], patience)
        return [claim_from(document) for document in found if document is not None]

    def lock(self, pool: str, lock_name: str) -> Lock | None:
        return _maybe(lock_from, self._get([items.lock_key(pool, lock_name)])[0])

    def lock_names(self, pool: str) -> list[str]:
        query = {
            "ConsistentRead": True,
            "KeyConditionExpression": "#pk = :pk AND begins_with(#sk, :prefix)",
            "ExpressionAttributeNames": {"#pk": "pk", "#sk": "sk"},
            "ExpressionAttributeValues": {":pk": items.head_key(pool)["pk"], ":prefix": {"S": items.LOCK_PREFIX}},
        }
        return sorted(items.lock_name_of(item) for item in self._pages("query", query))

    def head(self, pool: str) -> Head | None:
        return _maybe(head_from, self._get([items.head_key(pool)])[0])

    def build(self, key: str, pool: str, lock_name: str) -> BuildRecord | None:
        return _maybe(build_from, self._get([items.build_key(key, pool, lock_name)])[0])

    def event(self, pool: str, timestamp: datetime) -> Event | None:
        return _maybe(event_from, self._get([items.event_key(pool, timestamp)])[0])

    def part(self, claim_id: str, name: str) -> bytes | None:
        found = self._get([items.part_key(claim_id, name)])[0]
        if found is None:
            return None
        if not isinstance(found.get("content"), bytes):
            raise CorruptRecordError(f"{name} of claim {claim_id}", "it has no content")
        return bytes(found["content"])

    def events(
        self, pool: str, *, lock_name: str | None = None, since: datetime | None = None, newest_first: bool = False
    ) -> Iterator[Event]:
        for record in self._records(pool, lock_name=lock_name, since=since, newest_first=newest_first):
            yield event_from(record.document)

    def records(self, pool: str) -> Iterator[Record]:
        return self._records(pool, newest_first=True)

    def _records(
        self,
        pool: str,
        *,
        lock_name: str | None = None,
        since: datetime | None = None,
        newest_first: bool = False,
        patience: _Patience | None = None,
    ) -> Iterator[Record]:
        if lock_name is None:
            sort, prefix, index = "sk", items.EVENT_PREFIX, {}
            first = prefix + (instant(since) if since else "")
        else:
            sort, prefix, index = "lock_event", items.lock_event(lock_name, None), {"IndexName": items.LOCK_INDEX}
            first = items.lock_event(lock_name, since)
        query: dict[str, Any] = {
            "ConsistentRead": True,
            "ScanIndexForward": not newest_first,
            "KeyConditionExpression": "#pk = :pk AND #sort BETWEEN :first AND :last",
            "ExpressionAttributeNames": {"#pk": "pk", "#sort": sort},
            "ExpressionAttributeValues": {
                ":pk": items.head_key(pool)["pk"],
                ":first": {"S": first},
                # An instant begins with a digit, and ":" follows "9".
                ":last": {"S": f"{prefix}:"},
            },
        } | index
        if newest_first:
            query["Limit"] = FIRST_PAGE
        for item in self._pages("query", query, patience):
            document = items.document(item)
            yield Record(document, items.event_in_place(item, document))

    def open_claims(self, pool: str | None = None) -> list[Claim]:
        ids = [item["pk"]["S"].removeprefix("claim#") for item in self._open_keys(pool)]
        claims = [claim for claim in self.claims(ids) if claim.claimed]
        return sorted(claims, key=lambda claim: (claim.timestamp, claim.id))

    def open_claim_ids(self, prefix: str) -> list[str]:
        ids = (item["pk"]["S"].removeprefix("claim#") for item in self._open_keys(None))
        return sorted(id_ for id_ in ids if id_.startswith(prefix))

    def _open_keys(self, pool: str | None) -> Iterator[items.Item]:
        if pool is None:
            return self._pages("scan", {"IndexName": items.OPEN_INDEX})
        query = {
            "IndexName": items.OPEN_INDEX,
            "KeyConditionExpression": "#pool = :pool",
            "ExpressionAttributeNames": {"#pool": "open_pool"},
            "ExpressionAttributeValues": {":pool": {"S": pool}},
        }
        return self._pages("query", query)

    def all_claims(self) -> Iterator[Claim]:
        for item in self._of_sort_key(items.CLAIM_SORT_KEY):
            yield claim_from(items.document(item))

    def pools(self) -> list[str]:
        return sorted(head_from(items.document(item)).pool for item in self._of_sort_key(items.HEAD_SORT_KEY))

    def _of_sort_key(self, sort_key: str) -> Iterator[items.Item]:
        scan = {
            "ConsistentRead": True,
            "FilterExpression": "#sk = :sk",
            "ExpressionAttributeNames": {"#sk": "sk"},
            "ExpressionAttributeValues": {":sk": {"S": sort_key}},
        }
        return self._pages("scan", scan)

    def _pages(self, method: str, request: dict[str, Any], patience: _Patience | None = None) -> Iterator[items.Item]:
        page = dict(request)
        while True:
            answer = self._ask(method, patience or self._reading(), TableName=self._table, **page)
            yield from answer["Items"]
            if "LastEvaluatedKey" not in answer:
                return
            page = {name: value for name, value in page.items() if name != "Limit"}
            page["ExclusiveStartKey"] = answer["LastEvaluatedKey"]

    def _get(self, keys: list[items.Item], patience: _Patience | None = None) -> list[dict[str, Any] | None]:
        """The documents at those keys, None for each that isn't there, read consistently."""
        found: dict[tuple[str, str], dict[str, Any]] = {}
        waiting = list(keys)
        patience = patience or self._reading()
        while waiting:
            batch, waiting = waiting[:BATCH], waiting[BATCH:]
            if len(batch) == 1:
                answer = self._ask("get_item", patience, TableName=self._table, Key=batch[0], ConsistentRead=True)
                got, left = ([answer["Item"]] if "Item" in answer else []), []
            else:
                wanted = {self._table: {"Keys": batch, "ConsistentRead": True}}
                answer = self._ask("batch_get_item", patience, RequestItems=wanted)
                got = answer["Responses"].get(self._table, [])
                left = answer.get("UnprocessedKeys", {}).get(self._table, {}).get("Keys", [])
            for item in got:
                found[item["pk"]["S"], item["sk"]["S"]] = items.document(item)
            if left:
                waiting += left
                patience.after(Failure(Outcome.BUSY, f"DynamoDB is throttling table {self._table}; try again"), answered=True)
        return [found.get((key["pk"]["S"], key["sk"]["S"])) for key in keys]

    # ---- one request ----------------------------------------------------------

    def create_table(self) -> bool:
        """Make the table if it is missing, and protect it if it isn't yet; whether this call made it.

        Raises:
            TableMissingError: it may not be made, or did not become ready.
            StoreUnavailableError: DynamoDB can't be asked.
        """
        try:
            self._call("describe_table", TableName=self._table)
        except _Failed as failed:
            if failed.failure.outcome is not Outcome.ABSENT:
                raise StoreUnavailableError(failed.failure.message) from failed
            return table.create(self._client, self._table, self._clock)
        table.protect(self._client, self._table, self._clock)
        return False

    def _reading(self) -> _Patience:
        return _Patience(self._clock, READ_SECONDS)

    def _ask(self, method: str, patience: _Patience, **request: Any) -> dict[str, Any]:
        """A read, repeated while that can help."""
        while True:
            try:
                return self._call(method, **request)
            except _Failed as failed:
                self._again(failed.failure, patience)

    def _again(self, failure: Failure, patience: _Patience) -> None:
        patience.after(failure, answered=self._answered)
        if failure.outcome is Outcome.ABSENT:
            table.create(self._client, self._table, self._clock)

    def _call(self, method: str, **request: Any) -> dict[str, Any]:
        started = self._clock.monotonic()
        try:
            answer: dict[str, Any] = getattr(self._client, method)(**request)
        except (ClientError, BotoCoreError) as error:
            failure = classify(error, table=self._table, endpoint=self._endpoint)
            log.debug("%s: %s (%s)", method, failure.outcome.name.lower(), type(error).__name__)
            raise _Failed(failure) from error
        log.debug("%s: %.0f ms", method, (self._clock.monotonic() - started) * 1000)
        return answer

    @property
    def _endpoint(self) -> str:
        return str(self._client.meta.endpoint_url)


def _maybe(read: Callable[[Mapping[str, Any]], T], document: Mapping[str, Any] | None) -> T | None:
    return None if document is None else read(document)


def _still(revision: int) -> dict[str, Any]:
    """The condition that an item is as it was read: absent (revision 0), or at that revision."""
    if revision == 0:
        return {"ConditionExpression": "attribute_not_exists(pk)"}
    return {
        "ConditionExpression": "#revision = :revision",
        "ExpressionAttributeNames": {"#revision": "revision"},
        "ExpressionAttributeValues": {":revision": {"N": str(revision)}},
    }


def _after(snapshot: Snapshot, planned: Plan) -> Snapshot:
    return replace(
        snapshot,
        head=planned.head,
        lock=planned.lock,
        build=planned.build or snapshot.build,
        claims={**snapshot.claims, **{claim.id: claim for claim in planned.claims}},
    )
