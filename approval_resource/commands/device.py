"""Sign-in at the issuer of a reviewers' service, by a code that is entered in a browser (RFC 8628)."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlencode, urlsplit

from approval_resource.clock import Clock
from approval_resource.errors import ApprovalError, StoreUnavailableError
from approval_resource.notify.connections import ChannelDownError, address_problem, parse_address, request
from approval_resource.text import clean

LOCAL = ("127.0.0.1", "localhost", "::1")
GRANT = "urn:ietf:params:oauth:grant-type:device_code"
LONGEST = 1_800.0
"""Longest wait for the sign-in, in seconds."""
PAUSE, SLOWER, SLOWEST = 5.0, 5.0, 60.0
"""Seconds between polls by default, seconds to add on slow_down, and the upper bound of the pause."""


class SignInError(ApprovalError):
    """Refusal: nobody has signed in, or the service has no sign-in for the command line."""


def by_https(url: object) -> bool:
    """Whether a secret may be sent to that URL: https to any host, http to this machine alone."""
    try:
        parts = urlsplit(url) if isinstance(url, str) else None
    except ValueError:
        return False
    return parts is not None and bool(parts.hostname) and (parts.scheme == "https" or _local(parts.scheme, parts.hostname))


def _local(scheme: str, host: str | None) -> bool:
    return scheme == "http" and host in LOCAL


class Device:
    """Public OAuth client of the command line, which has no secret."""

    def __init__(self, service: str, clock: Clock, say: Callable[[str], None]) -> None:
        """Sign in for `service`. `say` shows the person what to do."""
        self._service = service.rstrip("/")
        self._clock = clock
        self._say = say

    def token(self) -> str:
        """Return the id token of the person who signs in.

        Raises:
            SignInError: they refuse, take too long, or can't sign in this way.
            StoreUnavailableError: the service or its issuer gives no answer.
        """
        status, told = self._asked(f"{self._service}/api/v1/login")
        if status != 200:
            raise SignInError(clean(str(told.get("detail") or f"{self._service} answered {status}")))
        issuer, endpoint = str(told.get("issuer", "")), told.get("token_endpoint")
        client = {"client_id": str(told.get("client_id", ""))}
        if not by_https(told.get("device_authorization_endpoint")) or not by_https(endpoint):
            raise SignInError(f"{self._service} names no addresses by https at which to sign in")
        begun_at = self._clock.monotonic()
        status, begun = self._asked(str(told["device_authorization_endpoint"]), client | {"scope": str(told.get("scope", ""))})
        code, shown, where = (begun.get(name) for name in ("device_code", "user_code", "verification_uri"))
        if status != 200 or not isinstance(code, str) or not isinstance(shown, str) or not by_https(where):
            raise SignInError(f"{clean(issuer)} began no sign-in ({clean(str(begun.get('error') or status))[:80]})")
        self._say(f"Sign in at {clean(str(where))} and enter {clean(shown)}. Enter no code there that you did not ask for.")
        until = begun_at + _seconds(begun.get("expires_in"), LONGEST, LONGEST)
        return self._poll(str(endpoint), client | {"grant_type": GRANT, "device_code": code}, begun, until)

    def _poll(self, endpoint: str, form: Mapping[str, str], begun: Mapping[str, Any], until: float) -> str:
        pause = _seconds(begun.get("interval"), PAUSE, SLOWEST)
        while self._clock.monotonic() + pause < until:
            self._clock.sleep(pause)
            try:
                status, answer = self._asked(endpoint, form)
            except StoreUnavailableError:
                pause = min(pause * 2, SLOWEST)
                continue
            token, error = answer.get("id_token"), answer.get("error")
            if status == 200 and isinstance(token, str):
                return token
            if error == "slow_down":
                pause = min(pause + SLOWER, SLOWEST)
            elif error != "authorization_pending":
                raise SignInError(f"nobody is signed in: the issuer answered {clean(str(error or status))[:80]}")
        raise SignInError("nobody signed in in time; begin again")

    def _asked(self, url: str, form: Mapping[str, str] | None = None) -> tuple[int, dict[str, Any]]:
        headers = {"Accept": "application/json"}
        if form is not None:
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        method, body = ("GET", None) if form is None else ("POST", urlencode(form).encode())
        if why := address_problem(url, ("https",)):
            raise StoreUnavailableError(f"{clean(url)[:80]} can't be asked: {why}")
        address = parse_address(url)
        try:
            answer = request(method, address, body, headers)
            document = json.loads(answer.body)
        except ChannelDownError as down:
            raise StoreUnavailableError(f"{address} gave no answer ({down})") from down
        except (ValueError, RecursionError) as error:
            raise StoreUnavailableError(f"{address} gave no answer that can be read") from error
        if not isinstance(document, dict):
            raise StoreUnavailableError(f"{address} gave no answer that can be read")
        return answer.status, document


def _seconds(told: object, otherwise: float, most: float) -> float:
    """Return the issuer's number of seconds, within 1 and `most`; `otherwise` if it names none."""
    if isinstance(told, bool) or not isinstance(told, int | float):
        return otherwise
    return min(max(float(told), 1.0), most)
