"""Reads that see a transaction item by item: each of its items may be shown late, as it was before or not yet at all."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from botocore.awsrequest import AWSResponse

from approval_resource.store.dynamodb.store import DynamoStore
from tests.builders import ManualClock
from tests.contract.faults import Body, delivery

Key = tuple[str, str]
SECOND = 1.0
READS = ("GetItem", "BatchGetItem", "Query", "Scan")


def key_of(item: dict[str, Any]) -> Key:
    """An item's primary key."""
    return item["pk"]["S"], item["sk"]["S"]


@dataclass
class Torn:
    """Between a store and its engine: what others wrote is seen late by this store, item by item."""

    store: DynamoStore
    clock: ManualClock
    before: dict[Key, dict[str, Any] | None] = field(default_factory=dict)
    """Each item that was written while somebody watched, as it was before."""
    late: frozenset[Key] = frozenset()
    """Items that are shown as they were before, for a second of this store's clock."""
    asked: set[Key] = field(default_factory=set)
    """Items that this store has read, or looked for."""
    _since: float = 0.0

    def __post_init__(self) -> None:
        self._send = delivery(self.store)
        for operation in READS:
            self.store._client.meta.events.register_first(f"before-send.dynamodb.{operation}", self._read)

    def watch(self, writer: DynamoStore) -> None:
        """Keep what `writer` is about to overwrite."""
        for operation in ("TransactWriteItems", "UpdateItem"):
            writer._client.meta.events.register_first(f"before-send.dynamodb.{operation}", self._about_to_write)

    def show_late(self, *late: Key) -> None:
        """From now on, and for a second."""
        self.late, self._since, self.asked = frozenset(late), self.clock.monotonic(), set()

    def _about_to_write(self, request: Any, **_: object) -> None:
        asked = json.loads(request.body)
        writes = [one for each in asked.get("TransactItems", [{"Update": asked}]) for one in each.values()]
        for written in writes:
            if "Item" not in written and "UpdateExpression" not in written:
                continue
            key = {name: written.get("Item", written.get("Key"))[name] for name in ("pk", "sk")}
            self.before.setdefault(key_of(key), self._stored(written["TableName"], key))

    def _stored(self, table: str, key: dict[str, Any]) -> dict[str, Any] | None:
        late, self.late = self.late, frozenset()
        try:
            item: dict[str, Any] | None = self.store._requests.call(
                "get_item", TableName=table, Key=key, ConsistentRead=True
            ).get("Item")
        finally:
            self.late = late
        return item

    def _read(self, request: Any, **_: object) -> AWSResponse:
        asked = json.loads(request.body)
        answer: Any = self._send(request)
        document = json.loads(answer.content)
        if answer.status_code == 200:
            self._note(asked, document)
            if self.late and self.clock.monotonic() - self._since < SECOND:
                document = self._seen(asked, document)
        headers = {
            name: value for name, value in answer.headers.items() if name.lower() not in ("content-length", "x-amz-crc32")
        }
        return AWSResponse(request.url, answer.status_code, headers, Body(json.dumps(document).encode()))

    def _note(self, asked: dict[str, Any], document: dict[str, Any]) -> None:
        named = [asked["Key"]] if "Key" in asked else []
        named += [key for one in asked.get("RequestItems", {}).values() for key in one["Keys"]]
        found = [*document.get("Items", []), *(item for rows in document.get("Responses", {}).values() for item in rows)]
        self.asked |= {key_of(key) for key in [*named, *found] if "sk" in key}

    def _seen(self, asked: dict[str, Any], document: dict[str, Any]) -> dict[str, Any]:
        if "Key" in asked:
            if key_of(asked["Key"]) not in self.late:
                return document
            old = self.before[key_of(asked["Key"])]
            return {"Item": old} if old else {}
        if "RequestItems" in asked:
            return document | {"Responses": {table: self._rows(rows) for table, rows in document["Responses"].items()}}
        return document | {"Items": self._rows(document["Items"])}

    def _rows(self, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        shown = (self.before[key_of(item)] if "sk" in item and key_of(item) in self.late else item for item in rows)
        return [item for item in shown if item is not None]
