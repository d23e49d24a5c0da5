"""HTTP requests of the service to other servers: bounded in time and size, never redirected."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from approval_resource.errors import StoreUnavailableError
from approval_resource.notify.connections import ChannelDownError, address_problem, parse_address, request

MAX_ANSWER = 1_048_576
"""Upper bound of an answer, in bytes."""
AT_ONCE = 16
"""Upper bound of concurrent requests. It is below the number of threads that answer people."""


class UnreachableError(StoreUnavailableError):
    """Outage: a server that the service asks, other than the store, gave no answer that can be used."""


class Web:
    """HTTP client for issuers, STS and the keys of a balancer.

    A stranger's token can cause a request, since only an issuer or STS can refuse it. So requests beyond
    AT_ONCE fail at once, and keep no thread from everybody else.
    """

    def __init__(self) -> None:
        """Begin with no request under way."""
        self._room = threading.BoundedSemaphore(AT_ONCE)

    def ask(
        self,
        url: str,
        *,
        form: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> tuple[int, bytes]:
        """Return status and body of a GET, or of a POST where there is a form.

        Raises:
            UnreachableError: no answer came in time, it is too large, or too many requests are under way.
        """
        sent = dict(headers or {}) | ({"Content-Type": "application/x-www-form-urlencoded"} if form is not None else {})
        where = url.partition("?")[0]
        if why := address_problem(url, ("https",)):
            raise UnreachableError(f"{where} can't be asked: {why}")
        method, body = ("GET", None) if form is None else ("POST", urlencode(form).encode())
        if not self._room.acquire(blocking=False):
            raise UnreachableError(f"{where} could not be asked: too many requests are under way; try again")
        try:
            answer = request(method, parse_address(url), body, sent, most=MAX_ANSWER + 1)
        except ChannelDownError as down:
            raise UnreachableError(f"{where} could not be asked ({down}); try again") from down
        finally:
            self._room.release()
        if len(answer.body) > MAX_ANSWER:
            raise UnreachableError(f"the answer of {where} is too large")
        return answer.status, answer.body

    def document(self, url: str) -> dict[str, Any]:
        """Return the JSON object at that address.

        Raises:
            UnreachableError: there is none.
        """
        status, body = self.ask(url, headers={"Accept": "application/json"})
        found = json_object(body) if status == 200 else None
        if found is None:
            raise UnreachableError(f"{url.partition('?')[0]} answered {status}, and no JSON object; try again")
        return found


def json_object(body: bytes) -> dict[str, Any] | None:
    """Return the JSON object that a body is, or None for anything else."""
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None
