"""A bare botocore client that has made one request, and then waits: what any waiting step has in memory at least."""

import json
import sys
import time

import botocore.session

source = json.load(sys.stdin)
client = botocore.session.get_session().create_client("dynamodb")
client.get_item(TableName=source["table"], Key={"pk": {"S": f"pool#{source['pool']}"}, "sk": {"S": "head"}})
print("waiting", flush=True)
time.sleep(60)  # until it is ended, and no longer than that if nobody does
