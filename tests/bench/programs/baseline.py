"""What a straightforward script would be: pydantic for its input, boto3's resource for one item."""

import sys

import boto3
from pydantic import BaseModel


class Source(BaseModel):
    """A little of what a source has."""

    pool: str
    table: str


source = Source.model_validate_json(sys.stdin.read())
table = boto3.resource("dynamodb").Table(source.table)
print(table.get_item(Key={"pk": f"pool#{source.pool}", "sk": "head"}, ConsistentRead=True)["Item"]["revision"])
