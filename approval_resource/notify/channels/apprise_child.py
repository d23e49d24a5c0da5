"""Child process: let apprise send one message, and connect to allowed addresses alone.

It is run by path. apprise connects through other libraries and in threads, so an audit hook checks every
connection of the process, by the IP address that a name was resolved to.
"""

from __future__ import annotations

import importlib
import ipaddress
import json
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

STARTS = ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.fork", "os.forkpty")
CONNECTS = ("socket.connect", "socket.sendto", "socket.sendmsg")


class Guard:
    """Guard of this process: an audit hook, and requests without redirects."""

    def __init__(self) -> None:
        """Allow loopback alone, until `plain` is set to False."""
        self.plain = True
        """Whether the address names a protocol without TLS, which may go to the loopback alone."""
        self.why = ""

    def audit(self, event: str, arguments: tuple[Any, ...]) -> None:
        """Raise for the start of a program, and for a connection that isn't allowed."""
        if event in STARTS:
            self._refuse("it wants to start another program")
        if event in CONNECTS and arguments[1] is not None:
            self._require_allowed(arguments[1])

    def _require_allowed(self, address: object) -> None:
        from approval_resource.notify.connections import forbidden

        try:
            ip = ipaddress.ip_address(str(address[0]).partition("%")[0]) if isinstance(address, tuple) else None
        except (ValueError, IndexError):
            ip = None
        if ip is None:
            self._refuse("it connects to something that is no address of the internet")
        elif why := forbidden(ip):
            self._refuse(why)
        elif self.plain and not ip.is_loopback:
            self._refuse("its protocol is without TLS, and goes to this machine's loopback alone")

    def _refuse(self, why: str) -> None:
        self.why = self.why or why
        raise PermissionError(why)

    def adapter(self, inner: Any) -> Any:
        """Return requests' `Session.get_adapter`, wrapped to refuse http beyond the loopback."""
        from approval_resource.notify.connections import is_loopback

        def found(session: Any, url: str) -> Any:
            if urlsplit(url).scheme.lower() != "https" and not is_loopback(urlsplit(url).hostname or ""):
                self._refuse("http goes to this machine's loopback alone")
            return inner(session, url)

        return found


def answered(task: dict[str, Any]) -> dict[str, object]:
    """Send the message that the task may have. Return whether that worked, and why not."""
    apprise, requests = (importlib.import_module(name) for name in ("apprise", "requests"))
    guard = Guard()
    requests.Session.get_adapter = guard.adapter(requests.Session.get_adapter)
    requests.Session.get_redirect_target = lambda self, resp: None
    sys.addaudithook(guard.audit)
    service = apprise.Apprise()
    if not service.add(task["url"]):
        return {"sent": False, "why": "apprise doesn't understand the address"}
    secure = service[0].secure_protocol or ()
    guard.plain = urlsplit(task["url"]).scheme.lower() not in ((secure,) if isinstance(secure, str) else secure)
    if "body" not in task:
        return {"sent": True, "why": ""}
    sent = service.notify(title=task["title"], body=task["body"], body_format="text")
    return {"sent": bool(sent) and not guard.why, "why": guard.why or "apprise could not send it"}


def main() -> None:
    """Answer the one task that stdin holds."""
    # Run by path, this process lacks the package's folder in sys.path.
    sys.path.insert(0, str(Path(__file__).resolve().parents[3]))
    task, out = json.loads(sys.stdin.read()), sys.stdout
    # What a library prints must not mix with the answer.
    sys.stdout = sys.stderr
    out.write(json.dumps(answered(task)))
    out.flush()


if __name__ == "__main__":
    main()
