"""Nothing is sent anywhere but where the configuration says, and never to an address that answers for a machine's keys."""

from __future__ import annotations

import ipaddress
import socket
import ssl
import time
from threading import Thread

import pytest
from hypothesis import given
from hypothesis import strategies as st

from approval_resource.notify import connections
from approval_resource.notify.connections import (
    ChannelDownError,
    MessageRefusedError,
    address_problem,
    checked,
    parse_address,
    post,
)
from tests.notify.standins import DRIPPING, Receiver, dripping, served
from tests.tls import Authority

HTTPS = ("https",)
SMTP = ("smtp", "smtps")


@pytest.mark.parametrize(
    "url",
    [
        "https://hooks.example.com/x?y=1",
        "https://hooks.example.com:8443/",
        "https://10.0.0.1/",
        "https://[2001:db8::1]/x",
        "http://127.0.0.1:8080/x",
        "http://localhost/x",
        "http://[::1]:80/",
    ],
)
def test_an_address_that_is_allowed(url: str) -> None:
    """https anywhere, http to this machine; private networks are somebody's own business."""
    assert address_problem(url, HTTPS) == ""


@pytest.mark.parametrize(
    "url",
    [
        *("http://hooks.example.com/", "ftp://x/", "file:///etc/passwd", "gopher://x", "//x/", "x", "", None, 3, ["https://x"]),
        *("https://user:secret@x/", "https://user@x/", "https:///x", "https://x:0/", "https://x:99999/", "https://x/#y"),
        *("https://169.254.169.254/", "https://[fe80::1]/", "https://[fd00:ec2::254]/", "https://0.0.0.0/", "https://[::]/"),
        *("https://[::ffff:169.254.169.254]/", "https://[64:ff9b::a9fe:a9fe]/", "https://[::a9fe:a9fe]/", "https://224.0.0.1/"),
        *("https://[2002:a9fe:a9fe::1]/", "https://x y/", "https://x/\n", "http://10.0.0.1/", "http://169.254.169.254/"),
    ],
)
def test_an_address_that_is_refused(url: object) -> None:
    """At the file already, in words that repeat no secret."""
    why = address_problem(url, HTTPS)
    assert why
    assert "secret" not in why


@pytest.mark.parametrize(
    ("url", "fine"), [("smtp://m:25", True), ("smtps://m", True), ("https://m", False), ("http://127.0.0.1", False)]
)
def test_mail_has_schemes_of_its_own(url: str, fine: bool) -> None:
    """smtp for STARTTLS, smtps for TLS from the beginning."""
    assert (address_problem(url, SMTP) == "") is fine


FORBIDDEN = (
    *("169.254.169.254", "169.254.0.1", "fe80::1", "fe80::a9fe:a9fe%lo", "fd00:ec2::254", "::ffff:169.254.169.254"),
    *("fd20:ce::254", "100.100.100.200", "168.63.129.16", "192.0.0.192", "::ffff:100.100.100.200", "64:ff9b:1::a9fe:a9fe"),
    *("64:ff9b::a9fe:a9fe", str(ipaddress.IPv4Address(0)), "::", "224.0.0.1", "ff02::1", "2002:a9fe:a9fe::"),
)


@pytest.mark.parametrize("ip", FORBIDDEN)
@pytest.mark.parametrize("before", [[], ["93.184.216.34"]], ids=["alone", "behind another"])
def test_a_name_leads_to_no_forbidden_address(ip: str, before: list[str]) -> None:
    """Whatever DNS says: one forbidden address among several is enough to send nothing."""
    with pytest.raises(ChannelDownError, match=r"is not allowed|has no address"):
        checked(parse_address("https://hooks.example.com/"), lambda host, port: [*before, ip])


@given(st.integers(0xA9FE0000, 0xA9FEFFFF))
def test_no_link_local_address_gets_through_in_any_spelling(number: int) -> None:
    """Of IPv4, and of IPv6 that holds one."""
    inner = ipaddress.IPv4Address(number)
    for ip in (
        inner,
        ipaddress.IPv6Address(f"::ffff:{inner}"),
        ipaddress.IPv6Address(f"64:ff9b::{inner}"),
        ipaddress.IPv6Address((0x2002 << 112) | (number << 80)),
        ipaddress.IPv6Address((0x20010000 << 96) | (number ^ 0xFFFFFFFF)),
    ):
        assert connections.forbidden(ip)


def test_plain_http_goes_to_this_machine_whatever_its_name_leads_to() -> None:
    """localhost that a resolver sends elsewhere gets nothing."""
    with pytest.raises(ChannelDownError, match="needs https"):
        checked(parse_address("http://localhost/"), lambda host, port: ["10.0.0.1"])


def test_the_checked_address_is_the_one_connected_to() -> None:
    """The name is looked up once: a second answer can't lead elsewhere."""
    looked_up = []

    def once(host: str, port: int) -> list[str]:
        looked_up.append(host)
        return ["127.0.0.1"] if len(looked_up) == 1 else ["169.254.169.254"]

    with served(Receiver()) as receiver:
        address = parse_address(receiver.url.replace("127.0.0.1", "localhost"))
        assert post(address, b"x", {}, once).status == 200
        assert receiver.requests[0].headers["host"] == str(address).partition("://")[2]
    assert looked_up == ["localhost"]


def test_an_address_that_takes_no_connection_hides_no_other() -> None:
    """A name may lead to an address that isn't reachable from here, as by IPv6; the next one is tried."""
    with served(Receiver()) as receiver:
        address = parse_address(receiver.url.replace("127.0.0.1", "localhost"))
        assert post(address, b"x", {}, lambda host, port: ["127.0.0.9", "127.0.0.1"]).status == 200


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(status: int) -> None:
    """It is a failure, wherever it leads."""
    with served(Receiver()) as other, served(Receiver()) as receiver:
        receiver.answer = lambda request: (status, {"Location": f"{other.url}/x"}, b"")
        address = parse_address(receiver.url)
        answer = post(address, b"x", {})
        with pytest.raises(ChannelDownError, match="a redirect, which is not followed"):
            connections.require_accepted(address, answer, ())
        assert other.requests == []


def test_no_proxy_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment's proxies would look up the name themselves."""
    with served(Receiver()) as proxy, served(Receiver()) as receiver:
        for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url)
        monkeypatch.delenv("no_proxy", raising=False)
        monkeypatch.delenv("NO_PROXY", raising=False)
        post(parse_address(receiver.url), b"x", {})
        assert (len(receiver.requests), proxy.requests) == (1, [])


@pytest.mark.parametrize(
    ("status", "headers", "wait"),
    [
        (429, {"Retry-After": "17"}, 17),
        (503, {"Retry-After": "999999"}, 3600),
        (500, {}, 0),
        (429, {"Retry-After": "Wed, 21 Oct 2026 07:28:00 GMT"}, 0),
        (403, {"Retry-After": "-1"}, 0),
        (204, {}, None),
    ],
)
def test_an_answer_says_when_to_come_back(status: int, headers: dict[str, str], wait: int | None) -> None:
    """Retry-After in seconds, bounded."""
    with served(Receiver(answer=lambda request: (status, headers, b""))) as receiver:
        address = parse_address(receiver.url)
        answer = post(address, b"x", {})
        if wait is None:
            connections.require_accepted(address, answer, ())
            return
        with pytest.raises(ChannelDownError) as told:
            connections.require_accepted(address, answer, ())
        assert told.value.retry_after == wait


def test_a_refused_message_is_told_from_a_channel_that_is_down() -> None:
    """By the statuses that the channel names."""
    address = parse_address("https://x/")
    with pytest.raises(MessageRefusedError):
        connections.require_accepted(address, connections.Answer(413, b""), (413,))


def test_an_answer_without_end_is_cut() -> None:
    """No more is read than is needed."""
    with served(Receiver(answer=lambda request: (200, {}, b"x" * 10**6))) as receiver:
        assert len(post(parse_address(receiver.url), b"x", {}).body) <= connections.MAX_ANSWER


def test_a_target_that_never_answers_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """In less time than a lease lasts."""
    monkeypatch.setattr(connections, "SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = parse_address(f"http://127.0.0.1:{silent.getsockname()[1]}/secret")
        with pytest.raises(ChannelDownError, match="no answer in time") as told:
            post(address, b"x", {})
    assert "secret" not in str(told.value)
    with pytest.raises(ChannelDownError, match="connection refused"):
        post(address, b"x", {})


@pytest.mark.parametrize("head", DRIPPING)
def test_a_target_that_never_ends_is_cut(head: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """A byte now and then keeps no worker busy, in the first line, the headers or the body."""
    monkeypatch.setattr(connections, "SECONDS", 0.3)
    with dripping(head) as url:
        begun = time.monotonic()
        with pytest.raises(ChannelDownError, match="no answer in time"):
            post(parse_address(url), b"x", {})
        assert time.monotonic() - begun < 10


def test_a_slow_resolver_takes_its_time_from_the_request(monkeypatch: pytest.MonkeyPatch) -> None:
    """The rest of the time is the request's; nothing is sent when a lease may be over."""
    monkeypatch.setattr(connections, "SECONDS", 0.2)

    def slow(host: str, port: int) -> list[str]:
        time.sleep(0.3)
        return ["127.0.0.1"]

    with served(Receiver()) as receiver:
        with pytest.raises(ChannelDownError, match="no answer in time"):
            post(parse_address(receiver.url), b"x", {}, slow)
        assert receiver.requests == []


def test_a_name_that_nobody_knows_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """By the name alone."""

    def nobody(host: str, port: int) -> list[str]:
        raise socket.gaierror

    with pytest.raises(ChannelDownError, match=r"hooks.example has no address"):
        post(parse_address("https://hooks.example/secret"), b"x", {}, nobody)


def test_https_wants_the_certificate_of_the_name(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though the connection is made to an IP address, the name is what the certificate must be of."""
    authority = Authority.made(tmp_path_factory.mktemp("ca"), "ca")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*authority.server("hooks.example"))

    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(20)

        def serve() -> None:
            for _ in range(3):
                try:
                    with context.wrap_socket(listener.accept()[0], server_side=True) as there:
                        there.settimeout(5)
                        there.recv(10_000)
                        there.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
                        # Closing before the rest of a request has come resets the connection, and the answer is lost.
                        while there.recv(10_000):
                            pass
                except OSError:
                    continue

        thread = Thread(target=serve, daemon=True)
        thread.start()
        port = listener.getsockname()[1]

        def here(host: str, port: int) -> list[str]:
            return ["127.0.0.1"]

        with pytest.raises(ChannelDownError, match="its certificate is not trusted"):
            post(parse_address(f"https://hooks.example:{port}/"), b"x", {}, here)
        monkeypatch.setenv("SSL_CERT_FILE", str(authority.certificate))
        with pytest.raises(ChannelDownError, match="its certificate is not trusted"):
            post(parse_address(f"https://other.example:{port}/"), b"x", {}, here)
        assert post(parse_address(f"https://hooks.example:{port}/"), b"x", {}, here).status == 200
        thread.join(20)


def test_an_address_does_not_tell_its_path() -> None:
    """It may be a secret, as that of a workflow of Teams is."""
    address = parse_address("https://flow.example:8443/workflows/1?sig=secret")
    assert "secret" not in f"{address} {address!r}"
    assert str(address) == "https://flow.example:8443"
