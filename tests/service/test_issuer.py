"""An issuer's configuration and keys: one look for all who wait, none for long that failed, and no key for ever."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from threading import Barrier
from typing import TypeVar

import pytest

from approval_resource.clock import HostClock
from approval_resource.commands.device import Device
from approval_resource.errors import StoreUnavailableError
from approval_resource.notify import connections
from approval_resource.service import oidc
from approval_resource.service.fetch import AT_ONCE, UnreachableError, Web
from approval_resource.service.oidc import Issuer, NotSignedInError
from tests.notify.standins import DRIPPING, dripping
from tests.service.conftest import next_look
from tests.service.provider import CLIENT, ISSUER, Provider, provided

T = TypeVar("T")
MANY = 8


def at_once(act: Callable[[], T]) -> list[T | BaseException]:
    """What becomes of many calls at the same time."""
    barrier = Barrier(MANY)

    def one() -> T:
        barrier.wait(30)
        return act()

    with ThreadPoolExecutor(MANY) as pool:
        found = [pool.submit(one) for _ in range(MANY)]
    return [done.exception() or done.result() for done in found]


def test_all_who_sign_in_at_once_wait_for_the_same_look() -> None:
    """None is refused because another's look for the keys is on its way; nor when the keys have changed."""
    with provided(Provider()) as provider:
        issuer = Issuer(ISSUER, provider.url, Web())
        for kid in ("k1", "k2"):
            if kid == "k2":
                provider.rotate(kid)
                issuer._looked = float("-inf")
            token = provider.token(provider.claims("ana"))
            found = at_once(lambda token=token: issuer.claims(token, CLIENT, datetime.now(UTC))["sub"])  # type: ignore[misc]
            assert found == ["ana"] * MANY
        assert provider.asked.count("/jwks") == 2


def test_an_issuer_that_is_silent_holds_nobody_up_in_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    """All who wait learn of the one failed look, instead of each making another."""
    monkeypatch.setattr(connections, "SECONDS", 0.5)
    with socket.create_server(("127.0.0.1", 0), backlog=64) as silent:
        issuer = Issuer(ISSUER, f"http://127.0.0.1:{silent.getsockname()[1]}", Web())
        begun = time.monotonic()
        found = at_once(lambda: issuer.endpoint("jwks_uri"))
        assert time.monotonic() - begun < 0.5 * MANY
    assert {type(one) for one in found} == {UnreachableError}


@pytest.mark.parametrize("head", DRIPPING)
def test_a_server_that_never_ends_its_answer_is_given_up(head: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else its callers, and all who wait for the same look, would hang for as long as it sends a byte now and then."""
    monkeypatch.setattr(connections, "SECONDS", 0.3)
    for ask in (Web().document, Device("https://a.example", HostClock(), lambda line: None)._asked):
        with dripping(head) as url:
            begun = time.monotonic()
            with pytest.raises(StoreUnavailableError, match="no answer in time"):
                ask(url)
            assert time.monotonic() - begun < 10


def test_a_failed_look_at_the_keys_is_no_verdict_on_a_token() -> None:
    """The issuer's outage is told as that, and over as soon as it is."""
    with provided(Provider()) as provider:
        issuer = Issuer(ISSUER, provider.url, Web())
        token = provider.token(provider.claims("ana"))
        issuer.configuration()
        jwks, provider.jwks = provider.jwks, lambda: [][0]  # type: ignore[method-assign]
        for _ in range(2):
            with pytest.raises(UnreachableError):
                issuer.claims(token, CLIENT, datetime.now(UTC))
        provider.jwks = jwks  # type: ignore[method-assign]
        next_look()  # a failed look is kept as long
        assert issuer.claims(token, CLIENT, datetime.now(UTC))["sub"] == "ana"


def test_a_key_that_the_issuer_withdrew_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """Though it is known here: keys are looked for anew."""
    monkeypatch.setattr(oidc, "FRESH_SECONDS", 0.2)
    with provided(Provider()) as provider:
        issuer = Issuer(ISSUER, provider.url, Web())
        token = provider.token(provider.claims("ana"))
        assert issuer.claims(token, CLIENT, datetime.now(UTC))["sub"] == "ana"
        provider.rotate("k2")
        del provider.keys["k1"]
        time.sleep(0.3)
        with pytest.raises(NotSignedInError, match="doesn't publish"):
            issuer.claims(token, CLIENT, datetime.now(UTC))


def test_requests_beyond_those_under_way_fail_at_once() -> None:
    """Strangers' tokens make the service ask; however many they send, threads are left. A failed request leaves no mark."""
    web = Web()
    with provided(Provider()) as provider:
        where = f"{provider.url}/.well-known/openid-configuration"
        for _ in range(AT_ONCE + 1):
            with pytest.raises(UnreachableError, match="could not be asked"):
                web.ask("http://127.0.0.1:1/")
        for _ in range(AT_ONCE):
            assert web._room.acquire(blocking=False)
        with pytest.raises(UnreachableError, match="too many requests are under way"):
            web.ask(where)
        web._room.release()
        assert [web.ask(where)[0] for _ in range(2)] == [200, 200]
