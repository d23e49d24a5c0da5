"""The lock store in one DynamoDB table."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, TypeVar

from approval_resource.canonical import instant
from approval_resource.clock import Clock, HostClock, StoreClock
from approval_resource.errors import CorruptRecordError
from approval_resource.model import BuildRecord, Claim, Event, Head, Lock
from approval_resource.records import build_from, claim_from, event_from, head_from, lock_from, queue_document
from approval_resource.settings import Settings, settings_from
from approval_resource.store import Committed, Record, items
from approval_resource.store.connect import Connection, dynamodb, session_of
from approval_resource.store.outcomes import Failure, Outcome
from approval_resource.store.requests import Patience, RequestFailed, Requests
from approval_resource.transaction import Changes, Plan, Read, Snapshot, plan

log = logging.getLogger(__name__)
T = TypeVar("T")

COMMIT_SECONDS = 60.0
"""How long one change may take, contention and failures included."""
FIRST_PAGE = 25


class DynamoStore:
    """`LockStore` on DynamoDB; its promises are told there."""

    def __init__(
        self,
        client: Any,
        table_name: str,
        *,
        clock: Clock | None = None,
        store_clock: StoreClock | None = None,
        renew: Callable[[], Any] | None = None,
    ) -> None:
        self._client = client
        self._table = table_name
        self._requests = Requests(client, table_name, clock or HostClock(), store_clock, renew)

    @classmethod
    def connect(
        cls, connection: Connection, *, clock: Clock | None = None, store_clock: StoreClock | None = None
    ) -> DynamoStore:
        """The store behind that connection. Asks nothing yet.

        Raises:
            ConfigError, StoreUnavailableError: the connection can't work.
        """

        def client() -> Any:
            return dynamodb(session_of(connection), connection)

        return cls(client(), connection.table, clock=clock, store_clock=store_clock, renew=client)

    def now(self) -> datetime:
        return self._requests.now()

    def create_table(self) -> bool:
        """As `Requests.create_table`."""
        return self._requests.create_table()

    # ---- the one way to change anything ------------------------------------

    def commit(self, read: Read, decide: Callable[[Snapshot], Changes], operation: str) -> Committed:
        patience = self._requests.patience(COMMIT_SECONDS)
        doubt: Head | None = None
        while True:
            snapshot = self._snapshot(read, patience)
            if doubt is not None and (written := self._written(doubt, operation, patience)):
                after = self._snapshot(read, patience)
                own = {event.claim_id for event in written} - {""}
                others = own - after.claims.keys()
                changed = self._claims(sorted(others), patience)
                after = replace(after, claims={**after.claims, **{claim.id: claim for claim in changed}})
                self._retire((claim for claim in after.claims.values() if claim.id in own), after.settings.retention)
                return Committed(after, written)
            wanted = decide(snapshot)
            if wanted.nothing:
                return Committed(snapshot)
            planned = plan(snapshot, wanted, operation)
            try:
                self._requests.call("transact_write_items", TransactItems=self._writes(read, snapshot, planned))
            except RequestFailed as failed:
                if failed.failure.outcome is Outcome.UNKNOWN and doubt is None:
                    doubt = snapshot.head
                self._requests.again(failed.failure, patience)
            else:
                self._retire(planned.claims, planned.keep)
                return Committed(_after(snapshot, planned), planned.events)

    def _retire(self, claims: Iterable[Claim], keep: timedelta | None) -> None:
        """Give the parts of claims that have ended their end of life; where that fails, they are kept.

        Not in the transaction: ending a claim must never be harder than making it was, and its parts may fill a
        transaction. Nor is it tried twice: a release must not wait for it.
        """
        for claim in claims:
            ttl = items.time_to_live(claim.ended.at, keep) if claim.ended else {}
            try:
                for part in claim.parts if ttl else ():
                    self._requests.call(
                        "update_item",
                        TableName=self._table,
                        Key=items.part_key(claim.id, part),
                        UpdateExpression="SET #ttl = if_not_exists(#ttl, :ttl)",
                        ConditionExpression="attribute_exists(pk)",
                        ExpressionAttributeNames={"#ttl": "ttl"},
                        ExpressionAttributeValues={":ttl": ttl["ttl"]},
                    )
            except RequestFailed as failed:
                log.warning("payload or attachments of claim %s are kept for ever: %s", claim.id, failed)

    def requeue(self, pool: str, lock_name: str, change: Callable[[Lock, datetime], Lock]) -> Lock:
        patience = self._requests.patience(COMMIT_SECONDS)
        while True:
            found = self._requests.get([items.lock_key(pool, lock_name)], patience)[0]
            before = _own(_maybe(lock_from, found), pool=pool, name=lock_name) or Lock(pool=pool, name=lock_name)
            after = change(before, self.now())
            if after is before or before.revision == 0:
                return before
            after = replace(after, revision=before.revision + 1)
            written = items.values({"queue": queue_document(after), "tickets": after.tickets, "revision": after.revision})
            still = _still(before.revision)
            try:
                self._requests.call(
                    "update_item",
                    TableName=self._table,
                    Key=items.lock_key(pool, lock_name),
                    UpdateExpression="SET #queue = :queue, #tickets = :tickets, #revision = :after",
                    ConditionExpression=still["ConditionExpression"],
                    ExpressionAttributeNames={"#queue": "queue", "#tickets": "tickets", "#revision": "revision"},
                    ExpressionAttributeValues={
                        ":queue": written["queue"],
                        ":tickets": written["tickets"],
                        ":after": written["revision"],
                        **still["ExpressionAttributeValues"],
                    },
                )
            except RequestFailed as failed:
                self._requests.again(failed.failure, patience)
            else:
                return after

    def _written(self, doubt: Head, operation: str, patience: Patience) -> tuple[Event, ...]:
        """What this operation turns out to have written since `doubt`.

        Looked for in the log, which nobody can overwrite. An attempt still in flight can't land after the
        next one: both are conditional on the same head.
        """
        records = self._records(doubt.pool, since=doubt.timestamp, patience=patience)
        return tuple(event_from(record.document) for record in records if record.document.get("operation") == operation)

    def _snapshot(self, read: Read, patience: Patience) -> Snapshot:
        while True:
            snapshot = self._look(read, patience)
            if snapshot.is_whole:
                return snapshot
            torn = f'lock "{read.lock_name}" in pool "{read.pool}" and its claims contradict each other'
            patience.after(Failure(Outcome.CONTENDED, f"{torn}; run cli.py audit verify"), answered=True)

    def _look(self, read: Read, patience: Patience) -> Snapshot:
        keys = [items.head_key(read.pool), items.lock_key(read.pool, read.lock_name), items.settings_key(read.pool)]
        if read.claim_id:
            keys.append(items.claim_key(read.claim_id))
        if read.build_key:
            keys.append(items.build_key(read.build_key, read.pool, read.lock_name))
        found = self._requests.get(keys, patience)
        head = _own(_maybe(head_from, found[0]), pool=read.pool) or Head(pool=read.pool)
        lock = _own(_maybe(lock_from, found[1]), pool=read.pool, name=read.lock_name) or Lock(
            pool=read.pool, name=read.lock_name
        )
        settings = _own(_maybe(settings_from, found[2]), pool=read.pool) or Settings(pool=read.pool)
        asked = _own(_maybe(claim_from, found[3]), id=read.claim_id) if read.claim_id else None
        build = _maybe(build_from, found[-1]) if read.build_key else None
        others = {lock.holder, build.made if build else "", build.passed if build else ""} - {"", read.claim_id}
        known = self._claims(sorted(others), patience)
        claims = {claim.id: claim for claim in (*known, asked) if claim is not None}
        if read.build_key and build is None:
            build = BuildRecord(key=read.build_key, pool=read.pool, lock_name=read.lock_name)
        return Snapshot(now=self.now(), head=head, lock=lock, settings=settings, build=build, claims=claims)

    def _writes(self, read: Read, snapshot: Snapshot, planned: Plan) -> list[dict[str, Any]]:
        """The transaction: what is written and what is only checked, all on condition that nothing read has changed."""
        before = snapshot.claims
        writes = [
            self._put(items.head_item(planned.head), snapshot.head.revision),
            self._put(items.lock_item(planned.lock), snapshot.lock.revision),
            *(
                self._put(items.claim_item(claim, planned.keep), before[claim.id].revision if claim.id in before else 0)
                for claim in planned.claims
            ),
            *(self._put(items.event_item(event, planned.keep), 0) for event in planned.events),
        ]
        written = {claim.id for claim in planned.claims}
        writes += [self._put(items.part_item(*part), 0) for part in planned.parts]
        writes += [self._check(items.claim_key(id_), claim.revision) for id_, claim in before.items() if id_ not in written]
        if read.claim_id and read.claim_id not in written | before.keys():
            writes.append(self._check(items.claim_key(read.claim_id), 0))
        if planned.build is not None and snapshot.build is not None:
            writes.append(self._put(items.build_item(planned.build, snapshot.now, planned.keep), snapshot.build.revision))
        elif snapshot.build is not None:
            key = items.build_key(snapshot.build.key, snapshot.build.pool, snapshot.build.lock_name)
            writes.append(self._check(key, snapshot.build.revision))
        if planned.settings is not None:
            writes.append(self._put(items.settings_item(planned.settings), snapshot.settings.revision))
        return writes

    def _put(self, item: items.Item, revision: int) -> dict[str, Any]:
        return {"Put": {"TableName": self._table, "Item": item, **_still(revision)}}

    def _check(self, key: items.Item, revision: int) -> dict[str, Any]:
        return {"ConditionCheck": {"TableName": self._table, "Key": key, **_still(revision)}}

    # ---- reading ------------------------------------------------------------

    def claim(self, claim_id: str) -> Claim | None:
        return _own(_maybe(claim_from, self._requests.get([items.claim_key(claim_id)])[0]), id=claim_id)

    def claims(self, claim_ids: list[str]) -> list[Claim]:
        return self._claims(claim_ids, self._requests.patience())

    def _claims(self, claim_ids: list[str], patience: Patience) -> list[Claim]:
        found = self._requests.get([items.claim_key(id_) for id_ in claim_ids], patience)
        claims = (_own(_maybe(claim_from, document), id=id_) for id_, document in zip(claim_ids, found, strict=True))
        return [claim for claim in claims if claim is not None]

    def lock(self, pool: str, lock_name: str) -> Lock | None:
        return _own(_maybe(lock_from, self._requests.get([items.lock_key(pool, lock_name)])[0]), pool=pool, name=lock_name)

    def lock_names(self, pool: str) -> list[str]:
        query = {
            "ConsistentRead": True,
            "KeyConditionExpression": "#pk = :pk AND begins_with(#sk, :prefix)",
            "ExpressionAttributeNames": {"#pk": "pk", "#sk": "sk"},
            "ExpressionAttributeValues": {":pk": items.head_key(pool)["pk"], ":prefix": {"S": items.LOCK_PREFIX}},
        }
        return sorted(items.lock_name_of(item) for item in self._requests.pages("query", query))

    def queues(self, pool: str) -> list[Lock]:
        query = {
            "ConsistentRead": True,
            "KeyConditionExpression": "#pk = :pk AND begins_with(#sk, :prefix)",
            "FilterExpression": "size(#queue) > :none",
            "ExpressionAttributeNames": {"#pk": "pk", "#sk": "sk", "#queue": "queue"},
            "ExpressionAttributeValues": {
                ":pk": items.head_key(pool)["pk"],
                ":prefix": {"S": items.LOCK_PREFIX},
                ":none": {"N": "0"},
            },
        }
        return [lock_from(items.document(item)) for item in self._requests.pages("query", query)]

    def settings(self, pool: str) -> Settings:
        found = self._requests.get([items.settings_key(pool)])[0]
        return _own(_maybe(settings_from, found), pool=pool) or Settings(pool=pool)

    def head(self, pool: str) -> Head | None:
        return _own(_maybe(head_from, self._requests.get([items.head_key(pool)])[0]), pool=pool)

    def build(self, key: str, pool: str, lock_name: str) -> BuildRecord | None:
        return _maybe(build_from, self._requests.get([items.build_key(key, pool, lock_name)])[0])

    def event(self, pool: str, timestamp: datetime) -> Event | None:
        return _own(
            _maybe(event_from, self._requests.get([items.event_key(pool, timestamp)])[0]), pool=pool, timestamp=timestamp
        )

    def part(self, claim_id: str, name: str) -> bytes | None:
        found = self._requests.get([items.part_key(claim_id, name)])[0]
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
        patience: Patience | None = None,
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
        for item in self._requests.pages("query", query, patience):
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
            return self._requests.pages("scan", {"IndexName": items.OPEN_INDEX})
        query = {
            "IndexName": items.OPEN_INDEX,
            "KeyConditionExpression": "#pool = :pool",
            "ExpressionAttributeNames": {"#pool": "open_pool"},
            "ExpressionAttributeValues": {":pool": {"S": pool}},
        }
        return self._requests.pages("query", query)

    def all_claims(self) -> Iterator[Claim]:
        scan = {
            "ConsistentRead": True,
            "FilterExpression": "#sk = :sk",
            "ExpressionAttributeNames": {"#sk": "sk"},
            "ExpressionAttributeValues": {":sk": {"S": items.CLAIM_SORT_KEY}},
        }
        for item in self._requests.pages("scan", scan):
            yield claim_from(items.document(item))

    def pools(self) -> list[str]:
        scan = {
            "ConsistentRead": True,
            "FilterExpression": "begins_with(#pk, :prefix)",
            "ProjectionExpression": "#pk",
            "ExpressionAttributeNames": {"#pk": "pk"},
            "ExpressionAttributeValues": {":prefix": {"S": items.POOL_PREFIX}},
        }
        return sorted({items.pool_of(item) for item in self._requests.pages("scan", scan)})


def _maybe(read: Callable[[Mapping[str, Any]], T], document: Mapping[str, Any] | None) -> T | None:
    return None if document is None else read(document)


def _own(found: T | None, **identity: object) -> T | None:
    """What was found, if it is what its key says.

    Raises:
        CorruptRecordError: somebody put it there from elsewhere.
    """
    if found is not None and any(getattr(found, name) != value for name, value in identity.items()):
        what = " ".join(f"{name} {value}" for name, value in identity.items())
        raise CorruptRecordError(f"what is stored for {what}", "it is of something else")
    return found


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
        settings=planned.settings or snapshot.settings,
        build=planned.build or snapshot.build,
        claims={**snapshot.claims, **{claim.id: claim for claim in planned.claims}},
    )
