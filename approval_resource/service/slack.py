"""Slack's buttons: who pressed which, on what they were shown, and an answer within three seconds."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from threading import BoundedSemaphore
from typing import Any
from urllib.parse import parse_qs

from approval_resource.model.claim import Verdict
from approval_resource.notify.channels.slack import SlackOutlet
from approval_resource.notify.channels.slack_requests import from_slack
from approval_resource.notify.config import SlackChannel
from approval_resource.notify.connections import ChannelDownError, MessageRefusedError
from approval_resource.notify.outlets import outlet_of
from approval_resource.service.config import SlackApp
from approval_resource.service.desk import ForbiddenError
from approval_resource.service.oidc import NotSignedInError
from approval_resource.service.problems import MalformedError, TooManyError
from approval_resource.service.slack_accounts import Accounts
from approval_resource.service.telling import BUTTONS, Ways

MAX_PAYLOAD = 524_288
"""Upper bound of a request of Slack's in bytes. It repeats the whole message."""
SECONDS = 2.0
"""Longest time before Slack is answered, in seconds. Slack gives up after three."""
AT_ONCE = 4
MAX_WAITING = 32
USER = re.compile(r"[UW][A-Z0-9]{1,20}", re.ASCII)
NOT_OURS = "this button is none that this service made for this channel"


@dataclass(frozen=True, slots=True, kw_only=True)
class Press:
    """Press of a button that this service made, by a member of its workspace."""

    channel: str
    """Channel's name in the config."""
    claim_id: str
    seen: str
    verdict: Verdict
    user: str


class Slack:
    """App of Slack whose buttons this service answers."""

    def __init__(
        self, app: SlackApp, secret: str, channels: Mapping[str, SlackChannel], ways: Ways, accounts: Accounts
    ) -> None:
        """Take requests signed with `secret`, of buttons in `channels`."""
        self.team = app.team
        self.accounts = accounts
        self._secret = secret
        self._channels = channels
        self._ways = ways
        self._pool = ThreadPoolExecutor(AT_ONCE, "slack")
        self._room = BoundedSemaphore(MAX_WAITING)

    def press(self, timestamp: str, signature: str, body: bytes, now: datetime) -> Press | None:
        """Return the press in a request, or None if it presses no deciding button.

        Raises:
            NotSignedInError: Slack didn't sign it within the last five minutes.
            MalformedError: it has not the form of Slack's requests.
            ForbiddenError: it comes from elsewhere, or the button isn't this service's.
        """
        # Nothing is parsed before its signature holds.
        if not from_slack(self._secret, timestamp, signature, body, now):
            raise NotSignedInError("the request isn't signed by Slack, or is older than five minutes")
        return self._press(_payload(body))

    def account(self, press: Press) -> str:
        """Return the identity of the presser, as Slack tells it."""
        return f"slack:{self.team}#{press.user}"

    def within_seconds(self, record: Callable[[], None]) -> None:
        """Run `record`, and wait for it for `SECONDS`. After that it goes on in the background.

        Raises:
            TooManyError: too much is being done already.
        """
        if not self._room.acquire(blocking=False):
            raise TooManyError("too many presses at once; press again in some seconds")
        done = self._pool.submit(record)
        done.add_done_callback(lambda _: self._room.release())
        wait([done], SECONDS)

    def whisper(self, press: Press, text: str) -> None:
        """Tell the presser alone. A failure is ignored, since it changes nothing on record."""
        outlet = outlet_of(self._channels[press.channel])
        if isinstance(outlet, SlackOutlet):
            with suppress(ChannelDownError, MessageRefusedError):
                outlet.whisper(press.user, text)

    def _press(self, payload: Mapping[str, Any]) -> Press | None:
        if payload.get("type") != "block_actions":
            return None
        actions = payload.get("actions")
        if not isinstance(actions, list) or len(actions) != 1 or not isinstance(actions[0], dict):
            raise MalformedError("the request tells of no single action")
        verdict = BUTTONS.get(str(actions[0].get("action_id")))
        if verdict is None:
            return None
        user, of_user = _text(payload, "user", "id"), _text(payload, "user", "team_id")
        # Members of other workspaces may press a button in a channel that is shared with them.
        if not self.team == _text(payload, "team", "id") == of_user:
            raise ForbiddenError("the button was pressed from another workspace than the one that is configured")
        if not USER.fullmatch(user):
            raise MalformedError("the request names no member")
        for name, channel in self._channels.items():
            if channel.slack != _text(payload, "channel", "id"):
                continue
            if found := self._ways.pressed(_text(actions[0], "value"), verdict, name):
                return Press(channel=name, claim_id=found[0], seen=found[1], verdict=verdict, user=user)
        raise ForbiddenError(NOT_OURS)


def _payload(body: bytes) -> dict[str, Any]:
    try:
        fields = parse_qs(body.decode(), keep_blank_values=True, max_num_fields=5, errors="strict")
        (text,) = fields["payload"]
        found = json.loads(text)
    except (ValueError, KeyError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise MalformedError("the request has not the form of Slack's")
    return found


def _text(document: object, *path: str) -> str:
    """Return the text at that path, or an empty string for anything else."""
    for name in path:
        document = document.get(name) if isinstance(document, dict) else None
    return document if isinstance(document, str) else ""
