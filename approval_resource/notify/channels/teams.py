"""Microsoft Teams: a card with one link, posted by a workflow."""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import Any

from approval_resource.notify import connections
from approval_resource.notify.connections import Address
from approval_resource.notify.message import Message

MAX_BYTES = 28_000
"""Upper bound of a message, set by Teams."""
REFUSED = (HTTPStatus.BAD_REQUEST, HTTPStatus.REQUEST_ENTITY_TOO_LARGE, HTTPStatus.UNPROCESSABLE_ENTITY)


class TeamsOutlet:
    """`Outlet` to a workflow of Teams. A card can't be edited, so each message is a new card."""

    edits = False

    def __init__(self, address: Address) -> None:
        """Post to `address`."""
        self._address = address

    def send(self, message: Message, ref: str, at: int) -> str:
        """See `Outlet.send`."""
        body = json.dumps(_card(message), ensure_ascii=False).encode()
        if len(body) > MAX_BYTES:
            body = json.dumps(_card(message, short=True), ensure_ascii=False).encode()
        answer = connections.post(self._address, body, {"Content-Type": "application/json"})
        connections.require_accepted(self._address, answer, REFUSED)
        return ref or message.id

    def check(self) -> None:
        """See `Outlet.check`."""
        connections.reach(self._address)


def _card(message: Message, *, short: bool = False) -> dict[str, Any]:
    """Return the message with one adaptive card. Text runs interpret no markup, unlike text blocks."""
    facts = message.facts[:5] if short else message.facts
    body = [{"id": message.id, **_text(message.title, weight="Bolder", size="Medium")}]
    body += [_text(f"{label}: {text}" if label else text) for label, text in facts]
    if message.excerpt and not short:
        body.append(_text(message.excerpt_name))
        body += [_text(line or " ", fontType="Monospace") for line in message.excerpt.splitlines()]
    card = {
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": "1.4",
        "body": body,
        "actions": [{"type": "Action.OpenUrl", "title": "Open", "url": message.link}] if message.link else [],
    }
    attachment = {"contentType": "application/vnd.microsoft.card.adaptive", "contentUrl": None, "content": card}
    return {"type": "message", "attachments": [attachment]}


def _text(text: str, **style: str) -> dict[str, Any]:
    return {"type": "RichTextBlock", "inlines": [{"type": "TextRun", "text": text, **style}]}
