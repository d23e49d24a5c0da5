"""All other services, by apprise, which is an extra.

It sends only: nothing can be edited, and no id comes back.
"""

from __future__ import annotations

import importlib.util
from typing import Any

from approval_resource.notify.message import Message
from approval_resource.notify.targets import ChannelDownError

MAX_BODY = 4_000


def missing() -> str:
    """Return what to install where apprise is missing, or an empty string."""
    found = importlib.util.find_spec("apprise") is not None
    return "" if found else "needs the extra apprise: pip install 'approval-resource[apprise]'"


class AppriseOutlet:
    """`Outlet` to the service that the address names. apprise connects, so no target is checked."""

    edits = False

    def __init__(self, url: str) -> None:
        """Send to `url`, which holds secrets."""
        self._url = url

    def send(self, message: Message, ref: str, at: int) -> str:
        """See `Outlet.send`."""
        lines = [*(f"{label}: {text}" if label else text for label, text in message.facts), message.link]
        body = "\n".join(line for line in lines if line)[:MAX_BODY]
        if not self._service().notify(title=message.title, body=body or message.title, body_format="text"):
            raise ChannelDownError("apprise could not send it")
        return ref or message.id

    def check(self) -> None:
        """See `Outlet.check`."""
        self._service()

    def _service(self) -> Any:
        if told := missing():
            raise ChannelDownError(told)
        import apprise

        service = apprise.Apprise()
        if not service.add(self._url):
            raise ChannelDownError("apprise doesn't understand the address")
        return service
