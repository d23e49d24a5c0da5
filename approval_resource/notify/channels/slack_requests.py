"""Slack's own requests, such as a pressed button: whether they are Slack's, and fresh."""

from __future__ import annotations

import hashlib
import hmac
from datetime import datetime, timedelta

FRESH = timedelta(minutes=5)
VERSION = "v0"


def from_slack(secret: str, timestamp: str, signature: str, body: bytes, now: datetime) -> bool:
    """Whether Slack signed these bytes within the last five minutes.

    `body` holds the request's raw bytes, unparsed. `timestamp` and `signature` are the headers
    X-Slack-Request-Timestamp and X-Slack-Signature.
    """
    if not secret or not (timestamp.isascii() and timestamp.isdigit() and len(timestamp) <= 12):
        return False
    if abs(int(now.timestamp()) - int(timestamp)) > FRESH.total_seconds():
        return False
    signed = f"{VERSION}:{timestamp}:".encode() + body
    expected = f"{VERSION}={hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()}"
    # Bytes, since compare_digest takes text only if it is ASCII.
    return hmac.compare_digest(expected.encode(), signature.encode("utf-8", "replace"))
