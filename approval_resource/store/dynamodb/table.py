"""Table: its keys and indexes, and its creation."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from approval_resource.canonical import EMPTY
from approval_resource.clock import Clock
from approval_resource.errors import ConfigError, TableMissingError
from approval_resource.program import called
from approval_resource.store.dynamodb.keys import LOCK_INDEX, OPEN_INDEX
from approval_resource.store.dynamodb.outcomes import DENIED, Outcome, classify

log = logging.getLogger(__name__)

ACTIVE_SECONDS = 60
PROTECT_SECONDS = 30
PAUSE_SECONDS = 0.5
EXISTS = "ResourceInUseException"
SHOWN = 8
"""Upper bound of the tables that a hint names."""
STRINGS = ("pk", "sk", "open_pool", "timestamp", "lock_event")


def definition(table: str) -> dict[str, Any]:
    """Return CreateTable's parameters. docs/deploy and the README describe the same table."""
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


def require_fit(described: dict[str, Any], table: str) -> None:
    """Pass for a table with the keys and indexes of `definition`. `described` is DescribeTable's answer.

    Raises:
        ConfigError: it has others. The message names each difference.
    """
    wanted, types = definition(table), {one["AttributeName"]: one["AttributeType"] for one in described["AttributeDefinitions"]}
    faults = []
    if _told_keys(described["KeySchema"], types) != _told_keys(wanted["KeySchema"]):
        faults.append(f"its keys are {_told_keys(described['KeySchema'], types)}, not {_told_keys(wanted['KeySchema'])}")
    for kind in ("GlobalSecondaryIndexes", "LocalSecondaryIndexes"):
        found = {index["IndexName"]: index for index in described.get(kind) or ()}
        for index in wanted[kind]:
            name, keys = index["IndexName"], _told_keys(index["KeySchema"])
            if name not in found:
                faults.append(f"it has no index {name}")
            elif (has := _told_keys(found[name]["KeySchema"], types)) != keys:
                faults.append(f"its index {name} is on {has}, not {keys}")
            elif found[name]["Projection"]["ProjectionType"] not in ("ALL", index["Projection"]["ProjectionType"]):
                faults.append(f"its index {name} holds too few attributes")
    if faults:
        raise ConfigError([f"table {table} is none of this program's: {'; '.join(faults)}; name another with --table"])


def _told_keys(schema: list[dict[str, str]], types: Mapping[str, str] = EMPTY) -> str:
    named = [one["AttributeName"] for one in sorted(schema, key=lambda one: one["KeyType"])]
    return ", ".join(name if types.get(name, "S") == "S" else f"{name} (of type {types[name]})" for name in named)


def tables_hint(client: Any) -> str:
    """Return the beginning of a hint for a missing table: the tables that exist."""
    try:
        names = client.list_tables(Limit=SHOWN + 1)["TableNames"]
    except (ClientError, BotoCoreError):
        return "check table and region, or "
    region = client.meta.region_name
    if not names:
        return f"there are no tables in {region}; check the region, or "
    shown = ", ".join(names[:SHOWN]) + (" and others" if len(names) > SHOWN else "")
    return f"there {'are' if len(names) > 1 else 'is'} {shown} in {region}; name one, or "


def create(client: Any, table: str, clock: Clock) -> bool:
    """Create the table and wait until it is ready. Return whether this call created it, or may have.

    Another process may have been first.

    Raises:
        TableMissingError: it can't be created, or did not become ready.
    """
    made = _create(client, table)
    _wait(client, table, clock)
    if made:
        protect(client, table, clock)
        log.warning("created table %s in %s", table, client.meta.region_name)
    return made


def _create(client: Any, table: str) -> bool:
    """Request the table. Return whether this call created it, or may have.

    If the answer is lost, the request is repeated once. If the table exists by then, the first request may
    have made it.
    """
    in_doubt = False
    while True:
        try:
            client.create_table(**definition(table))
        except (ClientError, BotoCoreError) as error:
            if _code(error) == EXISTS:
                return in_doubt
            if _code(error) in DENIED:
                raise TableMissingError(
                    f"table {table} doesn't exist and this role may not create it ({_code(error)}); "
                    f"have an operator run {called()} init, or check table and region"
                ) from error
            failure = classify(error, table=table, endpoint=str(client.meta.endpoint_url))
            if in_doubt or failure.outcome is not Outcome.UNKNOWN:
                raise TableMissingError(f"table {table} can't be made: {failure.message}") from error
            in_doubt = True
        else:
            return True


def protect(client: Any, table: str, clock: Clock) -> None:
    """Switch on TTL and point-in-time recovery, unless they are on.

    If the engine or the role doesn't allow one of them, a warning is logged, and the table works without it.
    """
    ttl = {"TimeToLiveSpecification": {"Enabled": True, "AttributeName": "ttl"}}
    recovery = {"PointInTimeRecoverySpecification": {"PointInTimeRecoveryEnabled": True}}
    _switch_on(client.update_time_to_live, "TTL", table, clock, ttl)
    _switch_on(client.update_continuous_backups, "point-in-time recovery", table, clock, recovery)


def _wait(client: Any, table: str, clock: Clock) -> None:
    until = clock.monotonic() + ACTIVE_SECONDS
    while clock.monotonic() < until:
        try:
            if client.describe_table(TableName=table)["Table"]["TableStatus"] in ("ACTIVE", "UPDATING"):
                return
        except (ClientError, BotoCoreError) as error:
            # Some of DynamoDB's machines don't know a new table for a moment.
            if _code(error) != "ResourceNotFoundException":
                raise TableMissingError(
                    f"table {table} can't be looked at: {_told(client, table, error)}; run {called()} init"
                ) from error
        clock.sleep(PAUSE_SECONDS)
    raise TableMissingError(f"table {table} was created but isn't ready after {ACTIVE_SECONDS} s; run {called()} init")


def _switch_on(call: Any, what: str, table: str, clock: Clock, specification: dict[str, Any]) -> None:
    until = clock.monotonic() + PROTECT_SECONDS
    while True:
        try:
            call(TableName=table, **specification)
        except (ClientError, BotoCoreError) as error:
            # A new table takes some time until point-in-time recovery can be switched on.
            if _code(error) == "ContinuousBackupsUnavailableException" and clock.monotonic() < until:
                clock.sleep(PAUSE_SECONDS)
                continue
            if "already enabled" not in str(error):
                log.warning(
                    "table %s works without %s, which could not be switched on (%s); %s init tries again",
                    table,
                    what,
                    _code(error),
                    called(),
                )
        return


def _code(error: ClientError | BotoCoreError) -> str:
    return str(error.response["Error"]["Code"]) if isinstance(error, ClientError) else type(error).__name__


def _told(client: Any, table: str, error: ClientError | BotoCoreError) -> str:
    return classify(error, table=table, endpoint=str(client.meta.endpoint_url)).message
