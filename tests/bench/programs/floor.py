"""As little as a signed request can be: one GetItem, signed by hand, over urllib3."""

import datetime
import hashlib
import hmac
import json
import os
import sys
from urllib.parse import urlsplit

import urllib3

source = json.load(sys.stdin)
url, region = os.environ["AWS_ENDPOINT_URL_DYNAMODB"], os.environ["AWS_DEFAULT_REGION"]
body = json.dumps(
    {"TableName": source["table"], "Key": {"pk": {"S": f"pool#{source['pool']}"}, "sk": {"S": "head"}}, "ConsistentRead": True}
)
at = datetime.datetime.now(datetime.UTC).strftime("%Y%m%dT%H%M%SZ")
headers = {
    "content-type": "application/x-amz-json-1.0",
    "host": urlsplit(url).netloc,
    "x-amz-date": at,
    "x-amz-target": "DynamoDB_20120810.GetItem",
}
names = ";".join(headers)
canonical = "\n".join(
    [
        "POST",
        "/",
        "",
        *(f"{name}:{text}" for name, text in headers.items()),
        "",
        names,
        hashlib.sha256(body.encode()).hexdigest(),
    ]
)
scope = f"{at[:8]}/{region}/dynamodb/aws4_request"
key = b"AWS4" + os.environ["AWS_SECRET_ACCESS_KEY"].encode()
for part in scope.split("/"):
    key = hmac.digest(key, part.encode(), "sha256")
text = "\n".join(["AWS4-HMAC-SHA256", at, scope, hashlib.sha256(canonical.encode()).hexdigest()])
signature = hmac.new(key, text.encode(), "sha256").hexdigest()
credential = f"{os.environ['AWS_ACCESS_KEY_ID']}/{scope}"
headers["authorization"] = f"AWS4-HMAC-SHA256 Credential={credential}, SignedHeaders={names}, Signature={signature}"
answer = urllib3.PoolManager().request("POST", url, body=body, headers=headers)
print(json.loads(answer.data)["Item"]["revision"])
sys.stdout.flush()
os._exit(0)
