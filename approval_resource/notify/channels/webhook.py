"""Webhook: signed POST requests to a program, with the headers of Standard Webhooks."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from http import HTTPStatus

from approval_resource.notify import connections
from approval_resource.notify.connections import Address
from approval_resource.notify.message import Message

PREFIX = "whsec_"
REFUSED = (HTTPStatus.REQUEST_ENTITY_TOO_LARGE, HTTPStatus.UNPROCESSABLE_ENTITY)
"""Answers that refuse one message. Others, such as 400 for a wrong secret, keep it waiting."""


def key_of(secret: str) -> bytes:
    """Return the key of a secret: base64 after `whsec_`, else the text's own bytes.

    Raises:
        ValueError: what follows `whsec_` is no base64, or nothing.
    """
    if not secret.startswith(PREFIX):
        return secret.encode()
    key = base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    if not key:
        raise ValueError("no key")
    return key


def signature(secret: str, message_id: str, at: int, body: bytes) -> str:
    """Return the signature of a message with that id, sent at that second."""
    signed = f"{message_id}.{at}.".encode() + body
    return "v1," + base64.b64encode(hmac.new(key_of(secret), signed, hashlib.sha256).digest()).decode()


class WebhookOutlet:
    """`Outlet` to a program. It gets each event as a message of its own."""

    edits = False

    def __init__(self, address: Address, secret: str) -> None:
        """Send to `address`, signed with `secret`."""
        self._address = address
        self._secret = secret

    def send(self, message: Message, ref: str, at: int) -> str:
        """See `Outlet.send`."""
        body = json.dumps(message.document, ensure_ascii=False, separators=(",", ":")).encode()
        headers = {
            "Content-Type": "application/json",
            "webhook-id": message.id,
            "webhook-timestamp": str(at),
            "webhook-signature": signature(self._secret, message.id, at, body),
        }
        answer = connections.post(self._address, body, headers)
        connections.require_accepted(self._address, answer, REFUSED)
        return ref or message.id

    def check(self) -> None:
        """See `Outlet.check`."""
        connections.reach(self._address)
