"""Interface of a channel: it gives a message a form, and hands it over."""

from __future__ import annotations

from typing import Protocol

from approval_resource.notify.message import Message


class Outlet(Protocol):
    """Way to one channel.

    Each method may raise `ChannelDownError` if a later try may succeed, and `MessageRefusedError` if no try
    of this message can.
    """

    edits: bool
    """Whether a message that was sent can be edited, so that each claim has one."""

    def send(self, message: Message, ref: str, at: int) -> str:
        """Send the message, or edit or answer the one that `ref` names. Return the `ref` to keep.

        `ref` is the channel's id of the claim's message, or empty. `at` is the store's time, in Unix seconds.
        """

    def check(self) -> None:
        """Try the way there without telling anybody anything."""
