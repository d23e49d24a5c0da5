"""Examination of a table and of a caller's permissions. None of its requests can change an item."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from approval_resource.errors import ConfigError
from approval_resource.program import called
from approval_resource.store.dynamodb import table as tables
from approval_resource.store.dynamodb.keys import LOCK_INDEX, OPEN_INDEX, key
from approval_resource.store.dynamodb.outcomes import ABSENT, CONTENDED, DENIED, classify
from approval_resource.store.dynamodb.values import values
from approval_resource.store.interface import Finding

NOWHERE = key("examination", "never written")
"""Key of an item that doesn't exist, and that no request here creates."""
EXISTS = {"ConditionExpression": "attribute_exists(pk)"}
IAM = "give it the policy of its role, see docs/iam"


def examine(client: Any, table: str) -> list[Finding]:
    """Return the findings about the table. If the table can't be reached, return only that finding."""
    found: list[Finding] = []
    try:
        described = client.describe_table(TableName=table)["Table"]
    except (ClientError, BotoCoreError) as error:
        if _code(error) in ABSENT:
            move = f"{tables.tables_hint(client)}run {called()} init as an operator"
            return [Finding("table", False, f"{table} doesn't exist in {client.meta.region_name}", move)]
        if _code(error) not in DENIED:
            return [Finding("table", False, _told(client, table, error), "check endpoint, region, network and credentials")]
        found.append(Finding("table", None, f"{table} may not be described by this role", "ask an operator to run doctor"))
    else:
        found += _described(client, table, described)
    found += _permissions(client, table)
    return found


def _described(client: Any, table: str, described: dict[str, Any]) -> Iterator[Finding]:
    status = described["TableStatus"]
    yield Finding("table", status == "ACTIVE", f"{table} is {status.lower()}", "wait until it is active")
    try:
        tables.require_fit(described, table)
    except ConfigError as wrong:
        yield Finding("keys and indexes", False, wrong.problems[0], f"name another table, and run {called()} init on that")
    else:
        told = f"pk and sk, indexes {OPEN_INDEX} and {LOCK_INDEX}"
        yield Finding("keys and indexes", True, told)
    protected = bool(described.get("DeletionProtectionEnabled"))
    yield Finding(
        "deletion protection",
        protected,
        "on" if protected else "off: one call can delete the record",
        f"aws dynamodb update-table --table-name {table} --deletion-protection-enabled",
    )
    yield _switch(
        lambda: client.describe_time_to_live(TableName=table)["TimeToLiveDescription"]["TimeToLiveStatus"],
        ("ENABLED", "ENABLING"),
        "time to live",
        "off: what ended is kept for ever, whatever a pool's retention_days say",
    )
    yield _switch(
        lambda: client.describe_continuous_backups(TableName=table)["ContinuousBackupsDescription"][
            "PointInTimeRecoveryDescription"
        ]["PointInTimeRecoveryStatus"],
        ("ENABLED",),
        "point-in-time recovery",
        "off: what is damaged or deleted can't be brought back",
    )


def _switch(status: Callable[[], str], on: tuple[str, ...], subject: str, off: str) -> Finding:
    try:
        fine = status() in on
    except (ClientError, BotoCoreError) as error:
        return Finding(subject, None, f"can't be looked at ({_code(error)})", "ask whoever may describe the table")
    return Finding(subject, fine, "on" if fine else off, f"run {called()} init as an operator, which switches it on")


def _permissions(client: Any, table: str) -> Iterator[Finding]:
    """Try each kind of request. Writes have a condition that can't be met, so only permissions matter."""
    name, by_key = (
        {"TableName": table},
        {"KeyConditionExpression": "pk = :pk", "ExpressionAttributeValues": {":pk": NOWHERE["pk"]}},
    )
    by_pool = {"KeyConditionExpression": "open_pool = :pk", "ExpressionAttributeValues": {":pk": NOWHERE["pk"]}}
    item = {**NOWHERE, **values({"revision": 1})}
    tries: dict[str, tuple[str, Callable[[], object]]] = {
        "read items": ("anything", lambda: client.get_item(**name, Key=NOWHERE)),
        "read several items": ("claim and review", lambda: client.batch_get_item(RequestItems={table: {"Keys": [NOWHERE]}})),
        "read the log": ("check and history", lambda: client.query(**name, **by_key)),
        "read a lock's log": ("history --lock", lambda: client.query(**name, IndexName=LOCK_INDEX, **by_key)),
        "find a pool's open claims": ("list --pool", lambda: client.query(**name, IndexName=OPEN_INDEX, **by_pool)),
        "find all open claims": ("list", lambda: client.scan(**name, IndexName=OPEN_INDEX, Limit=1)),
        "read the whole table": ("list --all and audit", lambda: client.scan(**name, Limit=1)),
        "write items": (
            "claim and review",
            lambda: client.transact_write_items(TransactItems=[{"Put": {**name, "Item": item, **EXISTS}}]),
        ),
        "update items": (
            "wait in a queue",
            lambda: client.update_item(
                **name,
                Key=NOWHERE,
                UpdateExpression="SET revision = :one",
                ExpressionAttributeValues={":one": {"N": "1"}},
                **EXISTS,
            ),
        ),
        "check items": (
            "release and pass gates, for pipelines",
            lambda: client.transact_write_items(TransactItems=[{"ConditionCheck": {**name, "Key": NOWHERE, **EXISTS}}]),
        ),
    }
    for what, (purpose, request) in tries.items():
        yield _tried(client, table, what, purpose, request)


def _tried(client: Any, table: str, what: str, purpose: str, request: Callable[[], object]) -> Finding:
    subject = f"may {what}"
    try:
        request()
    except (ClientError, BotoCoreError) as error:
        if _code(error) in DENIED:
            return Finding(subject, None, f"no: needed to {purpose}" if " " in purpose else f"no: needed for {purpose}", IAM)
        if _code(error) not in CONTENDED and _code(error) != "TransactionCanceledException":
            return Finding(subject, False, _told(client, table, error), "see the lines above")
    return Finding(subject, True, "yes")


def _code(error: ClientError | BotoCoreError) -> str:
    return str(error.response["Error"]["Code"]) if isinstance(error, ClientError) else type(error).__name__


def _told(client: Any, table: str, error: ClientError | BotoCoreError) -> str:
    return classify(error, table=table, endpoint=str(client.meta.endpoint_url)).message
