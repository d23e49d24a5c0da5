"""Outgoing connections, each made to an IP address that was checked."""

from __future__ import annotations

import ipaddress
import socket
import ssl
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException
from threading import Event as Flag
from threading import Timer
from urllib.parse import urlsplit

from approval_resource.text import clean

SECONDS = 7.0
"""Upper bound of the seconds for one request or mail. It is shorter than a lease."""
CONNECT_SECONDS = 3.0
MAX_ANSWER = 1024 * 1024
MAX_RETRY_AFTER = 3600
PORTS = {"https": 443, "http": 80, "smtp": 587, "smtps": 465}
METADATA = tuple(
    map(
        ipaddress.ip_network,
        ("fd00:ec2::/32", "fd20:ce::254/128", "100.100.100.200/32", "168.63.129.16/32", "192.0.0.192/32"),
    )
)
"""Metadata services beyond the link-local range: of EC2 and Google (IPv6), Alibaba, Azure, Oracle."""
EMBEDDING = tuple(map(ipaddress.ip_network, ("64:ff9b::/96", "64:ff9b:1::/48", "::/96")))
"""IPv6 networks whose last 32 bits are an IPv4 address."""
IP = ipaddress.IPv4Address | ipaddress.IPv6Address


class ChannelDownError(Exception):
    """Failure of a channel: it can't be reached, or doesn't take anything now. A later try may succeed."""

    def __init__(self, why: str, retry_after: int = 0) -> None:
        """Say `why`. `retry_after` are the seconds that the channel asks to wait."""
        self.retry_after = retry_after
        super().__init__(why)


class MessageRefusedError(Exception):
    """Permanent refusal of one message; the channel may take others."""


@dataclass(frozen=True, slots=True)
class Address:
    """Address of a target. Its path and query may be secrets, so its text is its origin alone."""

    scheme: str
    host: str
    port: int
    path: str = field(default="", repr=False)

    def __str__(self) -> str:
        """Return scheme, host and port."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        port = "" if PORTS.get(self.scheme) == self.port else f":{self.port}"
        return f"{self.scheme}://{host}{port}"

    def at(self, path: str) -> Address:
        """Return the address with that path below its own."""
        return Address(self.scheme, self.host, self.port, f"{self.path.rstrip('/')}/{path}")


def parse_address(url: str) -> Address:
    """Parse a URL in which `address_problem` finds nothing wrong."""
    parts = urlsplit(url)
    path = (parts.path or "") + (f"?{parts.query}" if parts.query else "")
    return Address(parts.scheme, parts.hostname or "", parts.port or PORTS[parts.scheme], path)


def address_problem(url: object, schemes: tuple[str, ...]) -> str:
    """Return why nothing may be sent to that URL, or an empty string."""
    secure = schemes[0]
    shape = f"must be an address such as {secure}://HOST" + ("" if secure.startswith("smtp") else "/PATH")
    if not isinstance(url, str) or url != clean(url) or " " in url:
        return shape
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return shape
    if not host or port == 0 or parts.fragment:
        return shape
    if parts.username is not None or parts.password is not None:
        return "must not hold a user or password"
    if parts.scheme == "http" and secure == "https":
        return "" if is_loopback(host) else "must begin with https://; http:// goes to this machine's loopback alone"
    if parts.scheme not in schemes:
        return f"must begin with {' or '.join(f'{scheme}://' for scheme in schemes)}"
    try:
        return forbidden(ipaddress.ip_address(host))
    except ValueError:
        return ""


def is_loopback(host: str) -> bool:
    """Whether that is a name or an address of this machine's loopback interface."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def forbidden(ip: IP) -> str:
    """Return why no connection may be made to that address, or an empty string."""
    if isinstance(ip, ipaddress.IPv6Address):
        inner = ip.ipv4_mapped or ip.sixtofour or (ip.teredo[1] if ip.teredo else None)
        if inner is None and any(ip in network for network in EMBEDDING) and not ip.is_loopback:
            inner = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
        if inner is not None and (why := forbidden(inner)):
            return why
    if any(ip in network for network in METADATA):
        return f"{ip} is an address of metadata"
    if ip.is_link_local:
        return f"{ip} is a link-local address"
    if ip.is_unspecified or ip.is_multicast:
        return f"{ip} is no address of one machine"
    return ""


Lookup = Callable[[str, int], list[str]]


def lookup(host: str, port: int) -> list[str]:
    """Return the addresses of a host, as the system's resolver tells them.

    Raises:
        OSError: there are none.
    """
    return [str(found[4][0]) for found in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]


def checked(address: Address, resolve: Lookup = lookup) -> list[str]:
    """Return the IP addresses to connect to. The name is looked up once, and each address must be allowed.

    Raises:
        ChannelDownError: it has no address, or one that is forbidden.
    """
    try:
        ips = [ipaddress.ip_address(found) for found in resolve(address.host, address.port)]
    except (OSError, ValueError, UnicodeError):
        raise ChannelDownError(f"{address.host} has no address") from None
    plain = address.scheme == "http"
    for ip in ips:
        why = forbidden(ip)
        if why:
            raise ChannelDownError(f"{address.host} is not allowed: {why}")
        if plain and not ip.is_loopback:
            raise ChannelDownError(f"{address.host} is not this machine, so it needs https")
    if not ips:
        raise ChannelDownError(f"{address.host} has no address")
    return [str(ip) for ip in ips]


@dataclass(frozen=True, slots=True)
class Answer:
    """Answer of a target: its status, its body, and the seconds that it asks to wait."""

    status: int
    body: bytes
    retry_after: int = 0


@contextmanager
def connected(address: Address, resolve: Lookup = lookup) -> Iterator[socket.socket]:
    """Yield a connection to the checked address of a target.

    It is shut down `SECONDS` after the lookup began, since a worker's lease must not end meanwhile.

    Raises:
        ChannelDownError: there is no connection, or what is done with it fails.
    """
    end = time.monotonic() + SECONDS
    ips = checked(address, resolve)
    late = Flag()
    try:
        with _connect_first(ips, address.port, end) as sock:
            # The lookup has no timeout of its own. After a slow one, nothing is sent.
            left = end - time.monotonic()
            if left <= 0:
                raise TimeoutError
            with _cut(sock, late, left):
                sock.settimeout(left)
                yield sock
                # A connection that was shut down looks like an answer that has ended.
                _require_whole(late)
    except (OSError, HTTPException, ValueError) as error:
        why = "no answer in time" if late.is_set() else reason(error)
        raise ChannelDownError(f"{address} can't be reached: {why}") from error


def _connect_first(ips: Sequence[str], port: int, end: float) -> socket.socket:
    """Return a connection to the first of the addresses that takes one."""
    *others, last = ips
    for ip in others:
        with suppress(OSError):
            return socket.create_connection((ip, port), min(CONNECT_SECONDS, max(0.1, end - time.monotonic())))
    return socket.create_connection((last, port), CONNECT_SECONDS)


def _require_whole(late: Flag) -> None:
    if late.is_set():
        raise TimeoutError


@contextmanager
def _cut(sock: socket.socket, late: Flag, seconds: float) -> Iterator[None]:
    """Shut the connection down after some seconds, by a duplicate, since TLS detaches the socket itself."""
    with sock.dup() as copy:

        def end() -> None:
            late.set()
            with suppress(OSError):
                copy.shutdown(socket.SHUT_RDWR)

        timer = Timer(seconds, end)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()
            timer.join()


@contextmanager
def _secured(address: Address, resolve: Lookup) -> Iterator[socket.socket]:
    with connected(address, resolve) as sock:
        if address.scheme != "https":
            yield sock
            return
        with ssl.create_default_context().wrap_socket(sock, server_hostname=address.host) as secure:
            yield secure


def post(address: Address, body: bytes, headers: Mapping[str, str], resolve: Lookup = lookup) -> Answer:
    """Send one POST request and return the answer. See `request`."""
    return request("POST", address, body, headers, resolve)


def request(
    method: str,
    address: Address,
    body: bytes | None,
    headers: Mapping[str, str],
    resolve: Lookup = lookup,
    most: int = MAX_ANSWER,
) -> Answer:
    """Send one request and return the answer, at most `most` bytes of it.

    No redirect is followed, and no proxy is asked.

    Raises:
        ChannelDownError: there was no answer.
    """
    host = str(address).partition("://")[2]
    with _secured(address, resolve) as sock:
        connection = HTTPConnection(address.host, address.port)
        connection.sock = sock
        given = {"Host": host, "User-Agent": "approval-resource", "Connection": "close", **headers}
        connection.request(method, address.path or "/", body=body, headers=given)
        answer = connection.getresponse()
        return Answer(answer.status, answer.read(most), _seconds(answer.getheader("Retry-After")))


def reach(address: Address, resolve: Lookup = lookup) -> None:
    """Connect to a target, with TLS where its address says so, and send nothing.

    Raises:
        ChannelDownError: that is not possible.
    """
    with _secured(address, resolve):
        return


def require_accepted(address: Address, answer: Answer, refused: Collection[int]) -> None:
    """Pass if the answer accepts the message. `refused`: statuses that refuse it permanently.

    Raises:
        ChannelDownError: it doesn't, and a later try may succeed.
        MessageRefusedError: it refuses the message for good.
    """
    if HTTPStatus.OK <= answer.status < HTTPStatus.MULTIPLE_CHOICES:
        return
    told = f"{address} answered {answer.status}"
    if answer.status in refused:
        raise MessageRefusedError(told)
    if HTTPStatus.MULTIPLE_CHOICES <= answer.status < HTTPStatus.BAD_REQUEST:
        told += ", a redirect, which is not followed"
    raise ChannelDownError(told, answer.retry_after)


def _seconds(text: str | None) -> int:
    """Return the seconds of a Retry-After header; 0 for none or a date, so that backoff decides."""
    return min(int(text), MAX_RETRY_AFTER) if text and text.isascii() and text.isdigit() and len(text) < 10 else 0


def reason(error: BaseException) -> str:
    """Return why a connection failed, in a few words that repeat nothing of a request."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted ({clean(error.verify_message)})"
    if isinstance(error, ConnectionRefusedError):
        return "connection refused"
    return "no answer in time" if isinstance(error, TimeoutError) else type(error).__name__
