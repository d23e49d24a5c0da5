"""How the resource of 2016 went about its work: boto3's resource, and the whole partition read to find one lock in it.

`original.py check` looks for the newest; `original.py wait` looks every ten seconds until the claim that its input names is decided.
"""

import json
import sys
import time

import boto3
from boto3.dynamodb.conditions import Key

POLL_SECONDS = 10

source = json.load(sys.stdin)
table = boto3.resource("dynamodb").Table(source["table"])


def everything() -> list[dict[str, object]]:
    """Every item of the pool."""
    found: list[dict[str, object]] = []
    more: dict[str, object] = {}
    while True:
        page = table.query(KeyConditionExpression=Key("pk").eq(f"pool#{source['pool']}"), **more)
        found += page["Items"]
        if "LastEvaluatedKey" not in page:
            return found
        more = {"ExclusiveStartKey": page["LastEvaluatedKey"]}


def decided() -> bool:
    """Whether an event tells of a decision on the claim."""
    return any(item.get("kind") == "approved" and item.get("id") == source["id"] for item in everything())


if sys.argv[1] == "wait":
    print("waiting", flush=True)
    while not decided():
        time.sleep(POLL_SECONDS)
else:
    print(json.dumps([{"timestamp": str(max(str(item.get("timestamp", "")) for item in everything()))}]))
