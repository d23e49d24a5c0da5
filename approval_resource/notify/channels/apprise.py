"""All other services, by apprise, which is an extra.

It sends only: nothing can be edited, and no id comes back.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

from approval_resource.notify import connections
from approval_resource.notify.connections import ChannelDownError
from approval_resource.notify.message import Message
from approval_resource.text import clean

MAX_BODY = 4_000
CHILD = Path(__file__).with_name("apprise_child.py")
PASSED = ("PATH", "LANG", "LC_ALL", "TZ", "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
"""Environment variables that are passed on to the child."""


def missing() -> str:
    """Return what to install where apprise is missing, or an empty string."""
    found = importlib.util.find_spec("apprise") is not None
    return "" if found else "needs the extra apprise: pip install 'approval-resource[apprise]'"


class AppriseOutlet:
    """`Outlet` to the service that the address names.

    A child process sends, so that every connection is checked, and the whole is bounded in time: see
    `apprise_child.py`.
    """

    edits = False

    def __init__(self, url: str) -> None:
        """Send to `url`, which holds secrets."""
        self._url = url

    def send(self, message: Message, ref: str, at: int) -> str:
        """See `Outlet.send`."""
        lines = [*(f"{label}: {text}" if label else text for label, text in message.facts), message.link]
        body = "\n".join(line for line in lines if line)[:MAX_BODY]
        self._ask({"url": self._url, "title": message.title, "body": body or message.title})
        return ref or message.id

    def check(self) -> None:
        """See `Outlet.check`."""
        self._ask({"url": self._url})

    def _ask(self, task: dict[str, str]) -> None:
        if told := missing():
            raise ChannelDownError(told)
        # The child gets no secret and no proxy from this process's environment.
        environment = {name: os.environ[name] for name in PASSED if name in os.environ} | {"NETRC": os.devnull}
        try:
            ran = subprocess.run(  # noqa: S603 - a file of this package
                [sys.executable, "-I", "-B", str(CHILD)],
                input=json.dumps(task).encode(),
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=environment,
                timeout=connections.SECONDS,
                check=False,
            )
            answer = json.loads(ran.stdout)
        except subprocess.TimeoutExpired:
            raise ChannelDownError("apprise didn't end in time") from None
        except ValueError:
            raise ChannelDownError("apprise ended without an answer") from None
        if answer["sent"] is not True:
            raise ChannelDownError(clean(str(answer["why"])))
