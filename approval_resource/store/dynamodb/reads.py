"""Reads of the lock store in one DynamoDB table."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from hashlib import sha256
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import unquote

from approval_resource.canonical import instant, parse_instant
from approval_resource.documents.events import EVENT, HEAD
from approval_resource.errors import CorruptRecordError
from approval_resource.model.event import Event, Head
from approval_resource.store.dynamodb import keys
from approval_resource.store.dynamodb.requests import Requests
from approval_resource.store.dynamodb.retries import RetryBudget
from approval_resource.store.dynamodb.values import Item, document
from approval_resource.store.interface import Record, require_identity

if TYPE_CHECKING:
    from approval_resource.model.claim import Claim
    from approval_resource.model.lock import BuildRecord, Lock, Turn
    from approval_resource.model.settings import Settings

T = TypeVar("T")

FIRST_PAGE = 25


class DynamoReads:
    """Reading half of `LockStore` on DynamoDB. The docstrings of `LockStore` hold its promises.

    Codecs of claims, locks and settings are imported on first use. Most processes are a `check`, which reads
    the log alone.
    """

    def __init__(self, requests: Requests) -> None:
        """Read by `requests`."""
        self._requests = requests

    def now(self) -> datetime:
        """See `LockStore.now`."""
        return self._requests.now()

    def claim(self, claim_id: str) -> Claim | None:
        """See `LockStore.claim`."""
        from approval_resource.documents.claims import CLAIM

        return require_identity(maybe(CLAIM.read, self._requests.get([keys.claim_key(claim_id)])[0]), id=claim_id)

    def glance(self, claim_id: str) -> Claim | None:
        """See `LockStore.glance`."""
        from approval_resource.documents.claims import CLAIM

        return require_identity(maybe(CLAIM.read, self._requests.glance(keys.claim_key(claim_id))), id=claim_id)

    def claims(self, claim_ids: list[str]) -> list[Claim]:
        """See `LockStore.claims`."""
        return self.claims_within(claim_ids, self._requests.budget())

    def claims_within(self, claim_ids: list[str], budget: RetryBudget) -> list[Claim]:
        """Return the same as `claims`, within the budget."""
        from approval_resource.documents.claims import CLAIM

        found = self._requests.get([keys.claim_key(id_) for id_ in claim_ids], budget)
        claims = (require_identity(maybe(CLAIM.read, document), id=id_) for id_, document in zip(claim_ids, found, strict=True))
        return [claim for claim in claims if claim is not None]

    def lock(self, pool: str, lock_name: str) -> Lock | None:
        """See `LockStore.lock`."""
        from approval_resource.documents.locks import LOCK

        return require_identity(
            maybe(LOCK.read, self._requests.get([keys.lock_key(pool, lock_name)])[0]), pool=pool, name=lock_name
        )

    def turn(self, pool: str, lock_name: str, *, consistent: bool = False) -> Turn | None:
        """See `LockStore.turn`."""
        from approval_resource.documents.locks import TURN

        place = keys.turn_key(pool, lock_name)
        found = self._requests.get([place])[0] if consistent else self._requests.glance(place)
        try:
            return require_identity(maybe(TURN.read, found), pool=pool, lock_name=lock_name)
        except CorruptRecordError:
            return None

    def lock_names(self, pool: str) -> list[str]:
        """See `LockStore.lock_names`."""
        query = {
            "ConsistentRead": True,
            "KeyConditionExpression": "#pk = :pk AND begins_with(#sk, :prefix)",
            "ExpressionAttributeNames": {"#pk": "pk", "#sk": "sk"},
            "ExpressionAttributeValues": {":pk": keys.head_key(pool)["pk"], ":prefix": {"S": keys.LOCK_PREFIX}},
        }
        return sorted(keys.lock_name_of(item) for item in self._requests.pages("query", query))

    def queues(self, pool: str) -> list[Lock]:
        """See `LockStore.queues`."""
        from approval_resource.documents.locks import LOCK

        query = {
            "ConsistentRead": True,
            "KeyConditionExpression": "#pk = :pk AND begins_with(#sk, :prefix)",
            "FilterExpression": "size(#queue) > :none",
            "ExpressionAttributeNames": {"#pk": "pk", "#sk": "sk", "#queue": "queue"},
            "ExpressionAttributeValues": {
                ":pk": keys.head_key(pool)["pk"],
                ":prefix": {"S": keys.LOCK_PREFIX},
                ":none": {"N": "0"},
            },
        }
        return [LOCK.read(document(item)) for item in self._requests.pages("query", query)]

    def settings(self, pool: str) -> Settings:
        """See `LockStore.settings`."""
        from approval_resource.documents.settings import SETTINGS
        from approval_resource.model.settings import Settings

        found = self._requests.get([keys.settings_key(pool)])[0]
        return require_identity(maybe(SETTINGS.read, found), pool=pool) or Settings(pool=pool)

    def head(self, pool: str) -> Head | None:
        """See `LockStore.head`."""
        return require_identity(maybe(HEAD.read, self._requests.get([keys.head_key(pool)])[0]), pool=pool)

    def build(self, key: str, pool: str, lock_name: str) -> BuildRecord | None:
        """See `LockStore.build`."""
        from approval_resource.documents.locks import BUILD_RECORD

        found = maybe(BUILD_RECORD.read, self._requests.get([keys.build_key(key, pool, lock_name)])[0])
        return require_identity(found, key=key, pool=pool, lock_name=lock_name)

    def event(self, pool: str, timestamp: datetime) -> Event | None:
        """See `LockStore.event`."""
        return require_identity(
            maybe(EVENT.read, self._requests.get([keys.event_key(pool, timestamp)])[0]), pool=pool, timestamp=timestamp
        )

    def content(self, claim_id: str, name: str, digest: str = "") -> bytes | None:
        """See `LockStore.content`."""
        budget = self._requests.budget()
        while True:
            found = self._requests.get([keys.content_key(claim_id, name)], budget)[0]
            if found is not None and not isinstance(found.get("content"), bytes):
                raise CorruptRecordError(f"{name} of claim {claim_id}", "it has no content")
            content = None if found is None else bytes(found["content"])
            if not digest or (content is not None and sha256(content).hexdigest() == digest) or not budget.look_again():
                return content

    def events(
        self, pool: str, *, lock_name: str | None = None, since: datetime | None = None, newest_first: bool = False
    ) -> Iterator[Event]:
        """See `LockStore.events`."""
        for record in self.stored(pool, lock_name=lock_name, since=since, newest_first=newest_first):
            yield EVENT.read(record.document)

    def records(self, pool: str) -> Iterator[Record]:
        """See `LockStore.records`."""
        return self.stored(pool, newest_first=True)

    def stored(
        self,
        pool: str,
        *,
        lock_name: str | None = None,
        since: datetime | None = None,
        newest_first: bool = False,
        budget: RetryBudget | None = None,
    ) -> Iterator[Record]:
        """Yield the records of the events that `events` would parse, within the budget."""
        if lock_name is None:
            sort, prefix, index = "sk", keys.EVENT_PREFIX, {}
            first = prefix + (instant(since) if since else "")
        else:
            sort, prefix, index = "lock_event", keys.lock_event(lock_name, None), {"IndexName": keys.LOCK_INDEX}
            first = keys.lock_event(lock_name, since)
        query: dict[str, Any] = {
            "ConsistentRead": True,
            "ScanIndexForward": not newest_first,
            "KeyConditionExpression": "#pk = :pk AND #sort BETWEEN :first AND :last",
            "ExpressionAttributeNames": {"#pk": "pk", "#sort": sort},
            "ExpressionAttributeValues": {
                ":pk": keys.head_key(pool)["pk"],
                ":first": {"S": first},
                # An instant begins with a digit, and ":" follows "9".
                ":last": {"S": f"{prefix}:"},
            },
        } | index
        if newest_first:
            query["Limit"] = FIRST_PAGE
        for item in self._requests.pages("query", query, budget):
            stored = document(item)
            yield Record(stored, keys.event_in_place(item, stored))

    def open_claims(self, pool: str | None = None) -> list[Claim]:
        """See `LockStore.open_claims`."""
        ids = [item["pk"]["S"].removeprefix("claim#") for item in self._open_keys(pool)]
        claims = [claim for claim in self.claims(ids) if claim.claimed]
        return sorted(claims, key=lambda claim: (claim.timestamp, claim.id))

    def open_claim_ids(self, prefix: str) -> list[str]:
        """See `LockStore.open_claim_ids`."""
        ids = (item["pk"]["S"].removeprefix("claim#") for item in self._open_keys(None))
        return sorted(id_ for id_ in ids if id_.startswith(prefix))

    def _open_keys(self, pool: str | None) -> Iterator[Item]:
        if pool is None:
            return self._requests.pages("scan", {"IndexName": keys.OPEN_INDEX})
        query = {
            "IndexName": keys.OPEN_INDEX,
            "KeyConditionExpression": "#pool = :pool",
            "ExpressionAttributeNames": {"#pool": "open_pool"},
            "ExpressionAttributeValues": {":pool": {"S": pool}},
        }
        return self._requests.pages("query", query)

    def all_claims(self) -> Iterator[Claim]:
        """See `LockStore.all_claims`."""
        from approval_resource.documents.claims import CLAIM

        scan = {
            "ConsistentRead": True,
            "FilterExpression": "#sk = :sk",
            "ExpressionAttributeNames": {"#sk": "sk"},
            "ExpressionAttributeValues": {":sk": {"S": keys.CLAIM_SORT_KEY}},
        }
        for item in self._requests.pages("scan", scan):
            yield CLAIM.read(document(item))

    def claim_ids(self, pool: str) -> Iterator[str]:
        """See `LockStore.claim_ids`."""
        scan = {
            "ConsistentRead": True,
            "FilterExpression": "#sk = :sk AND #pool = :pool",
            "ProjectionExpression": "#pk",
            "ExpressionAttributeNames": {"#pk": "pk", "#sk": "sk", "#pool": "pool"},
            "ExpressionAttributeValues": {":sk": {"S": keys.CLAIM_SORT_KEY}, ":pool": {"S": pool}},
        }
        for item in self._requests.pages("scan", scan):
            yield item["pk"]["S"].removeprefix("claim#")

    def claim_ids_from(self, prefix: str) -> list[str]:
        """See `LockStore.claim_ids_from`."""
        scan = {
            "ConsistentRead": True,
            "FilterExpression": "#sk = :sk AND begins_with(#pk, :pk)",
            "ProjectionExpression": "#pk",
            "ExpressionAttributeNames": {"#pk": "pk", "#sk": "sk"},
            "ExpressionAttributeValues": {":sk": {"S": keys.CLAIM_SORT_KEY}, ":pk": keys.claim_key(prefix)["pk"]},
        }
        return sorted(item["pk"]["S"].removeprefix("claim#") for item in self._requests.pages("scan", scan))

    def revoked(self) -> dict[str, datetime]:
        """Return the ended sessions, each with the instant of its end."""
        query = {
            "ConsistentRead": True,
            "KeyConditionExpression": "#pk = :pk",
            "ExpressionAttributeNames": {"#pk": "pk"},
            "ExpressionAttributeValues": {":pk": {"S": keys.REVOKED}},
        }
        return {unquote(item["sk"]["S"]): _ended(item) for item in self._requests.pages("query", query)}

    def signed(self, subject: str) -> str:
        """Return the text kept under that subject, or an empty string. Anybody may have written it."""
        found = (self._requests.get([keys.signed_key(subject)])[0] or {}).get("text")
        return found if isinstance(found, str) else ""

    def pools(self) -> list[str]:
        """See `LockStore.pools`."""
        scan = {
            "ConsistentRead": True,
            "FilterExpression": "begins_with(#pk, :prefix)",
            "ProjectionExpression": "#pk",
            "ExpressionAttributeNames": {"#pk": "pk"},
            "ExpressionAttributeValues": {":prefix": {"S": keys.POOL_PREFIX}},
        }
        return sorted({keys.pool_of(item) for item in self._requests.pages("scan", scan)})


def _ended(item: Item) -> datetime:
    """Return when a session was ended. An unreadable mark ends it for ever, which is the safe side."""
    try:
        return parse_instant(item["at"]["S"])
    except (KeyError, TypeError, ValueError):
        return datetime.max.replace(tzinfo=UTC)


def maybe(read: Callable[[Mapping[str, Any]], T], document: Mapping[str, Any] | None) -> T | None:
    """Return what `read` makes of the document, or None if there is none."""
    return None if document is None else read(document)
