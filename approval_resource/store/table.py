"""The table itself: its keys and indexes, and how it is made."""

from __future__ import annotations

import logging
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from approval_resource.clock import Clock
from approval_resource.errors import TableMissingError
from approval_resource.store.items import LOCK_INDEX, OPEN_INDEX

log = logging.getLogger(__name__)

ACTIVE_SECONDS = 60
EXISTS = "ResourceInUseException"
STRINGS = ("pk", "sk", "open_pool", "timestamp", "lock_event")


def definition(table: str) -> dict[str, Any]:
    """CreateTable's parameters; docs/deploy and the README describe the same table."""
    return {
        "TableName": table,
        "BillingMode": "PAY_PER_REQUEST",
        "DeletionProtectionEnabled": True,
        "AttributeDefinitions": [{"AttributeName": name, "AttributeType": "S"} for name in STRINGS],
        "KeySchema": _keys("pk", "sk"),
        "GlobalSecondaryIndexes": [
            {
                "IndexName": OPEN_INDEX,
                "KeySchema": _keys("open_pool", "timestamp"),
                "Projection": {"ProjectionType": "KEYS_ONLY"},
            }
        ],
        "LocalSecondaryIndexes": [
            {
                "IndexName": LOCK_INDEX,
                "KeySchema": _keys("pk", "lock_event"),
                "Projection": {"ProjectionType": "ALL"},
            }
        ],
    }


def _keys(hash_key: str, range_key: str) -> list[dict[str, str]]:
    return [{"AttributeName": hash_key, "KeyType": "HASH"}, {"AttributeName": range_key, "KeyType": "RANGE"}]


def create(client: Any, table: str, clock: Clock) -> bool:
    """Make the table and wait until it can be used. Returns whether this call made it (another may have been first).

    Point-in-time recovery and TTL are switched on where the engine and the role allow it; where not, that
    is logged and the table works without.

    Raises:
        TableMissingError: it isn't there and this role may not make it, or it did not become ready.
    """
    made = True
    try:
        client.create_table(**definition(table))
    except ClientError as error:
        code = error.response["Error"]["Code"]
        if code != EXISTS:
            raise TableMissingError(
                f"table {table} doesn't exist and this role may not create it ({code}); "
                "have an operator run cli.py init, or check table and region"
            ) from error
        made = False
    _wait(client, table, clock)
    if made:
        _optional(client.update_time_to_live, "TTL", table, TimeToLiveSpecification={"Enabled": True, "AttributeName": "ttl"})
        _optional(
            client.update_continuous_backups,
            "point-in-time recovery",
            table,
            PointInTimeRecoverySpecification={"PointInTimeRecoveryEnabled": True},
        )
        log.warning("created table %s in %s", table, client.meta.region_name)
    return made


def _wait(client: Any, table: str, clock: Clock) -> None:
    until = clock.monotonic() + ACTIVE_SECONDS
    while clock.monotonic() < until:
        try:
            if client.describe_table(TableName=table)["Table"]["TableStatus"] in ("ACTIVE", "UPDATING"):
                return
        except ClientError as error:
            # A new table is unknown to some of DynamoDB's machines for a moment.
            if error.response["Error"]["Code"] != "ResourceNotFoundException":
                raise TableMissingError(f"table {table} can't be looked at: {error.response['Error']['Code']}") from error
        clock.sleep(0.5)
    raise TableMissingError(f"table {table} was created but isn't ready after {ACTIVE_SECONDS} s; try again")


def _optional(call: Any, what: str, table: str, **parameters: Any) -> None:
    try:
        call(TableName=table, **parameters)
    except (ClientError, BotoCoreError) as error:
        code = error.response["Error"]["Code"] if isinstance(error, ClientError) else type(error).__name__
        log.warning("table %s works without %s, which could not be switched on (%s)", table, what, code)
