"""Pools to measure on: with a claim that was decided, and with as many that have ended as a busy year leaves behind."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from approval_resource.canonical import instant
from approval_resource.claims import acquire as claims
from approval_resource.claims import release as releases
from approval_resource.claims import review as reviews
from approval_resource.claims.request import Attempt
from approval_resource.model.claim import Claim, Claimant, Verdict
from approval_resource.steps.protocol import Version
from approval_resource.store.dynamodb import keys
from approval_resource.store.dynamodb.connect import dynamodb, session_of
from approval_resource.store.dynamodb.store import DynamoStore
from approval_resource.store.interface import Connection
from tests.builders import a_build, a_request

LOCK = "deploy"
OPEN_LOCK = "open"
BATCH = 25
"""Items; BatchWriteItem's own limit."""


@dataclass(frozen=True, slots=True)
class Decided:
    """A claim that was approved and is held, as the two versions that its pool has of it."""

    claim: Claim
    pending: dict[str, str]
    approved: dict[str, str]


def decided(store: DynamoStore, pool: str, lock_name: str = OPEN_LOCK) -> Decided:
    """Claim a lock of the pool and approve the claim."""
    build = a_build(f"decided-{pool}")
    taken = claims.take(store, a_request(pool=pool, lock_name=lock_name), Claimant(build), Attempt())
    approved = reviews.review(store, taken.claim.id, reviewer="typed:bob", verdict=Verdict.APPROVE, comment="go").claim
    return Decided(approved, Version.of(taken.claim).render(), Version.of(approved).render())


def fill(store: DynamoStore, connection: Connection, pool: str, ended: int) -> None:
    """Leave that many claims of one lock in the pool that were held and released.

    One goes the way of every claim. The others are copies of what that left, with ids and timestamps of their own, before
    it: what only reads never looks at their digests, and an audit isn't what is measured.
    """
    build = a_build(f"fill-{pool}")
    request = a_request(pool=pool, lock_name=LOCK, need_approval=False)
    taken = claims.take(store, request, Claimant(build), Attempt()).claim
    releases.release(store, pool, LOCK, Claimant(build))
    client = dynamodb(session_of(connection), connection)
    table = connection.table
    query = {
        "TableName": table,
        "KeyConditionExpression": "pk = :pk AND begins_with(sk, :event)",
        "ExpressionAttributeValues": {":pk": keys.head_key(pool)["pk"], ":event": {"S": keys.EVENT_PREFIX}},
    }
    events = client.query(**query)["Items"]
    claim = client.get_item(TableName=table, Key=keys.claim_key(taken.id))["Item"]
    batch: list[dict[str, Any]] = []
    for item in _copies(claim, events, taken, ended - 1):
        batch.append({"PutRequest": {"Item": item}})
        if len(batch) == BATCH:
            client.batch_write_item(RequestItems={table: batch})
            batch = []
    if batch:
        client.batch_write_item(RequestItems={table: batch})


def _copies(claim: dict[str, Any], events: list[dict[str, Any]], taken: Claim, count: int) -> Iterator[dict[str, Any]]:
    """The items of that many claims, one second apart, all before `taken`."""
    for number in range(1, count + 1):
        id_ = f"{number:08d}-{taken.id[9:]}"
        copied = copy.copy(claim)
        copied |= keys.claim_key(id_) | {"id": {"S": id_}}
        yield copied
        for place, event in enumerate(events):
            at = taken.timestamp - timedelta(seconds=number) + timedelta(milliseconds=100 * place)
            told = instant(at)
            changed = {"sk": f"{keys.EVENT_PREFIX}{told}", "timestamp": told, "id": id_}
            changed["lock_event"] = keys.lock_event(LOCK, at)
            yield event | {name: {"S": text} for name, text in changed.items()}
