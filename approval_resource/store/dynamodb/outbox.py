"""Progress of channels and records of deliveries, beside the log that they follow."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from approval_resource.documents.deliveries import DELIVERY, PROGRESS
from approval_resource.model.delivery import Delivery, Progress
from approval_resource.store.dynamodb import keys
from approval_resource.store.dynamodb.commits import if_unchanged
from approval_resource.store.dynamodb.items import time_to_live
from approval_resource.store.dynamodb.outcomes import Outcome
from approval_resource.store.dynamodb.reads import maybe
from approval_resource.store.dynamodb.requests import RequestFailedError, Requests
from approval_resource.store.dynamodb.values import Item, values
from approval_resource.store.interface import require_identity

KEEP = timedelta(days=400)
"""Period that a delivery is kept after it was written last."""


class DynamoOutbox:
    """Implementation of `Outbox` on DynamoDB. The docstrings of `Outbox` hold its promises."""

    def __init__(self, requests: Requests, table: str) -> None:
        """Read and write that table by `requests`."""
        self._requests = requests
        self._table = table

    def progress(self, channel: str) -> Progress:
        """See `Outbox.progress`."""
        found = self._requests.get([keys.progress_key(channel)])[0]
        return require_identity(maybe(PROGRESS.read, found), channel=channel) or Progress(channel=channel)

    def delivery(self, channel: str, claim_id: str) -> Delivery:
        """See `Outbox.delivery`."""
        found = self._requests.get([keys.delivery_key(channel, claim_id)])[0]
        kept = require_identity(maybe(DELIVERY.read, found), channel=channel, claim_id=claim_id)
        return kept or Delivery(channel=channel, claim_id=claim_id)

    def write(self, progress: Progress, delivery: Delivery | None = None) -> Progress | None:
        """See `Outbox.write`."""
        after = replace(progress, revision=progress.revision + 1)
        written = [self._put(_progress_item(after), progress.revision)]
        if delivery is not None:
            written.append(self._put(_delivery_item(replace(delivery, revision=delivery.revision + 1)), delivery.revision))
        budget = self._requests.budget()
        while True:
            try:
                self._requests.call("transact_write_items", TransactItems=written)
            except RequestFailedError as failed:
                if failed.failure.outcome in (Outcome.CONTENDED, Outcome.UNKNOWN):
                    # This read finds an earlier try whose answer was lost, or another process's write.
                    now = self.progress(progress.channel)
                    if now == after:
                        return after
                    if now.revision != progress.revision or not self._same(delivery):
                        return None
                self._requests.again(failed.failure, budget)
            else:
                return after

    def _same(self, delivery: Delivery | None) -> bool:
        """Whether the stored delivery still has the revision that was read."""
        return delivery is None or self.delivery(delivery.channel, delivery.claim_id).revision == delivery.revision

    def _put(self, item: Item, revision: int) -> Item:
        return {"Put": {"TableName": self._table, "Item": item, **if_unchanged(revision)}}


def _progress_item(progress: Progress) -> Item:
    return keys.progress_key(progress.channel) | values(PROGRESS.write(progress))


def _delivery_item(delivery: Delivery) -> Item:
    item = keys.delivery_key(delivery.channel, delivery.claim_id) | values(DELIVERY.write(delivery))
    return item | (time_to_live(delivery.at, KEEP) if delivery.at else {})
