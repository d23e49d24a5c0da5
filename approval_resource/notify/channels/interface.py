"""Interface of a channel: it gives a message a form, and hands it over."""

from __future__ import annotations

from typing import Protocol

from approval_resource.notify.message import Message


class Outlet(Protocol):
    """Sender to one channel.

    A method fails with `ChannelDownError` if a later try may succeed, else with `MessageRefusedError`.
    """

    edits: bool
    """Whether a message that was sent can be edited, so that each claim has one."""

    def send(self, message: Message, ref: str, at: int) -> str:
        """Send the message, or edit or answer the one that `ref` names. Return the `ref` to keep.

        `ref` is the channel's id of the claim's message, or empty. `at` is the store's time, in Unix seconds.
        """

    def check(self) -> None:
        """Check that the channel can be reached, as far as that is possible without a message."""
