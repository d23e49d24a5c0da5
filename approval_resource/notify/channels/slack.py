"""Slack: one message per claim, by a bot's token, edited as the claim goes on."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from approval_resource.model.event import State
from approval_resource.notify import connections
from approval_resource.notify.connections import Address, ChannelDownError, MessageRefusedError
from approval_resource.notify.message import Message

MAX_HEADER = 150
"""Upper bound of a header's text, set by Slack, as are MAX_SECTION, MAX_FALLBACK and MAX_BLOCKS."""
MAX_SECTION = 3000
FENCE = 20
"""Upper bound of the characters around a quoted text."""
MAX_FALLBACK = 4000
MAX_BLOCKS = 50
MAX_MENTIONED = 10
USER = re.compile(r"[UW][A-Z0-9]{1,20}|S[A-Z0-9]{1,20}", re.ASCII)
ICONS = {
    State.PENDING: ":hourglass_flowing_sand:",
    State.APPROVED: ":white_check_mark:",
    State.REJECTED: ":x:",
}
GONE = frozenset({"message_not_found", "cant_update_message", "edit_window_closed", "thread_not_found"})
"""Errors for a message that can't be edited or answered any more. A new one is sent."""
REFUSED = frozenset({"invalid_blocks", "invalid_blocks_format", "msg_too_long", "msg_blocks_too_long", "no_text"})
"""Errors that are about one message."""
THROTTLED = 429


def escaped(text: str) -> str:
    """Return a text in which nothing is a mention, a link or markup of Slack's."""
    plain = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    # Slack has no escape for markup characters. A zero-width space before each disarms it.
    return re.sub(r"([*_~`])", "\u200b\\1", plain)


def quoted(text: str, most: int) -> str:
    """Return a block of code, which nothing in the text can end."""
    plain = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("`", "\u02cb")
    return f"```\n{plain if len(plain) <= most else f'{_whole(plain[:most])}…'}\n```"


def _whole(text: str) -> str:
    """Return a cut text without a cut escape at its end."""
    return re.sub(r"&[a-z]{0,3}\Z", "", text)


class SlackOutlet:
    """`Outlet` to one channel of Slack."""

    edits = True

    def __init__(self, channel: str, token: str, api: Address, people: Mapping[str, str]) -> None:
        """Send to `channel`. `people`: Slack's ids of people and groups, by their names in policies."""
        self._channel = channel
        self._token = token
        self._api = api
        self._people = people

    def send(self, message: Message, ref: str, at: int) -> str:
        """See `Outlet.send`."""
        if message.kind == "digest":
            self._post(message)
            return ref
        if message.kind == "reminder":
            self._post(message, thread=ref)
            return ref
        if ref and self._edited(message, ref):
            if message.outcome and (who := self._mention([message.requester])):
                self._reply(f"{who} {escaped(message.title)}", ref)
            return ref
        return self._post(message)

    def check(self) -> None:
        """See `Outlet.check`."""
        self._call("auth.test", {})

    def whisper(self, user: str, text: str) -> None:
        """Show a text to one member of the channel alone.

        Raises:
            ChannelDownError, MessageRefusedError: as `Outlet.send`.
        """
        shown = _whole(escaped(text)[:MAX_SECTION])
        content = {"text": shown, "blocks": [_section(shown)]}
        self._call("chat.postEphemeral", {"channel": self._channel, "user": user, **content})

    def _edited(self, message: Message, ref: str) -> bool:
        """Edit the claim's message. Return False where it is gone."""
        try:
            self._call("chat.update", {"channel": self._channel, "ts": ref, **self._content(message)})
        except _GoneError:
            return False
        return True

    def _post(self, message: Message, thread: str = "") -> str:
        place = {"thread_ts": thread} if thread else {}
        try:
            return self._posted(self._content(message) | place)
        except _GoneError:
            return self._posted(self._content(message))

    def _reply(self, text: str, thread: str) -> None:
        # As a block: in `text`, Slack would turn an address into a link.
        self._posted({"text": text[:MAX_FALLBACK], "blocks": [_section(_whole(text[:MAX_SECTION]))], "thread_ts": thread})

    def _posted(self, content: Mapping[str, Any]) -> str:
        answer = self._call(
            "chat.postMessage", {"channel": self._channel, "unfurl_links": False, "unfurl_media": False, **content}
        )
        return str(answer.get("ts", ""))

    def _content(self, message: Message) -> dict[str, Any]:
        # The id lets programs recognise a repeated message.
        known = {"event_type": "approval_resource", "event_payload": {"id": message.id}}
        blocks = list(self._blocks(message))[:MAX_BLOCKS]
        return {"text": escaped(message.title)[:MAX_FALLBACK], "blocks": blocks, "metadata": known}

    def _blocks(self, message: Message) -> Iterator[dict[str, Any]]:
        title = message.title if len(message.title) <= MAX_HEADER else f"{message.title[: MAX_HEADER - 1]}…"
        yield {"type": "header", "text": {"type": "plain_text", "text": title, "emoji": False}}
        icon = ICONS.get(message.state, "") if message.state else ""
        lines = [f"{icon} *{message.state.value}*"] if icon and message.state else []
        lines += [f"*{escaped(label)}:* {escaped(text)}" if label else escaped(text) for label, text in message.facts]
        for part in _parts(lines):
            yield _section(part)
        if message.excerpt:
            name = escaped(message.excerpt_name)
            yield _section(f"{name}\n{quoted(message.excerpt, MAX_SECTION - len(name) - FENCE)}")
        if message.state is State.PENDING and (who := self._mention(message.asked)):
            yield _section(f"It still takes: {who}")
        buttons = [_button(action, value) for action, value in message.buttons.items()]
        if message.link:
            buttons.append({"type": "button", "text": _plain("Open"), "url": message.link, "action_id": "open"})
        if buttons:
            yield {"type": "actions", "elements": buttons}

    def _mention(self, names: Sequence[str]) -> str:
        """Return mentions of those people whose ids at Slack are known."""
        ids = dict.fromkeys(self._people[name] for name in names if USER.fullmatch(self._people.get(name, "")))
        told = [f"<!subteam^{id_}>" if id_.startswith("S") else f"<@{id_}>" for id_ in list(ids)[:MAX_MENTIONED]]
        return " ".join(told)

    def _call(self, method: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
        address = self._api.at(method)
        headers = {"Content-Type": "application/json; charset=utf-8", "Authorization": f"Bearer {self._token}"}
        answer = connections.post(address, json.dumps(arguments).encode(), headers)
        connections.require_accepted(address, answer, ())
        try:
            told = json.loads(answer.body)
        except ValueError:
            told = None
        if not isinstance(told, dict):
            raise ChannelDownError(f"{address} answered something that isn't Slack's")
        error = str(told.get("error", ""))
        if told.get("ok") is True:
            return told
        if error in GONE:
            raise _GoneError(f"Slack refused {method}: {error}")
        if error in REFUSED:
            raise MessageRefusedError(f"Slack refused it: {error}")
        raise ChannelDownError(f"Slack refused {method}: {re.sub('[^a-z_]', '', error)[:80] or 'no reason given'}")


class _GoneError(ChannelDownError):
    """Failure because a message is gone. The caller sends a new one, or fails and is retried."""


def _plain(text: str) -> dict[str, Any]:
    return {"type": "plain_text", "text": text, "emoji": False}


def _button(action: str, value: str) -> dict[str, Any]:
    """Return a button that records a verdict, once its presser has confirmed that."""
    word = action.capitalize()
    asked = {"title": f"{word} this?", "text": "It is recorded under your name.", "confirm": word, "deny": "Back"}
    return {
        "type": "button",
        "text": _plain(word),
        "action_id": action,
        "value": value,
        "style": "primary" if action == "approve" else "danger",
        "confirm": {part: _plain(text) for part, text in asked.items()},
    }


def _section(text: str) -> dict[str, Any]:
    # Verbatim: Slack makes no link of an address that somebody wrote into a description.
    return {"type": "section", "text": {"type": "mrkdwn", "text": text, "verbatim": True}}


def _parts(lines: Sequence[str]) -> Iterator[str]:
    """Yield the lines, joined into texts that each fit a section."""
    part = ""
    for line in lines:
        cut = line if len(line) <= MAX_SECTION else f"{_whole(line[: MAX_SECTION - 1])}…"
        if part and len(part) + len(cut) + 1 > MAX_SECTION:
            yield part
            part = ""
        part = f"{part}\n{cut}" if part else cut
    if part:
        yield part
