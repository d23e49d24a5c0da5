"""Images of a whole table, to go back to."""

from __future__ import annotations

from typing import Any

from approval_resource.store.dynamodb.store import DynamoStore

Item = dict[str, Any]
Key = tuple[str, str]
Image = dict[Key, Item]


def items(store: DynamoStore) -> Image:
    """Every item of the table, by its key."""
    pages = store._client.get_paginator("scan").paginate(TableName=store._table, ConsistentRead=True)
    return {(item["pk"]["S"], item["sk"]["S"]): item for page in pages for item in page["Items"]}


def restore(store: DynamoStore, then: Image) -> None:
    """Make the table what it was then."""
    now = items(store)
    for key in now.keys() - then.keys():
        delete(store, key)
    for key, item in then.items():
        if now.get(key) != item:
            put(store, item)


def put(store: DynamoStore, item: Item) -> None:
    """Write behind the store's back."""
    store._client.put_item(TableName=store._table, Item=item)


def delete(store: DynamoStore, key: Key) -> None:
    """Remove behind the store's back."""
    store._client.delete_item(TableName=store._table, Key={"pk": {"S": key[0]}, "sk": {"S": key[1]}})
