"""Connections to targets: named by the configuration alone, and made to an address that was checked."""

from __future__ import annotations

import ipaddress
import socket
import ssl
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from urllib.parse import urlsplit

import urllib3

from approval_resource.text import clean

SECONDS = 6.0
"""Upper bound of the seconds for one request, far below a lease."""
CONNECT_SECONDS = 3.0
MAX_ANSWER = 64 * 1024
MAX_RETRY_AFTER = 3600
PORTS = {"https": 443, "http": 80, "smtp": 587, "smtps": 465}
METADATA = ipaddress.ip_network("fd00:ec2::/32")
"""Addresses of EC2's metadata by IPv6, which are not link-local."""
EMBEDDING = (ipaddress.ip_network("64:ff9b::/96"), ipaddress.ip_network("::/96"))
"""Networks of IPv6 whose last 32 bits are an address of IPv4."""
IP = ipaddress.IPv4Address | ipaddress.IPv6Address


class ChannelDownError(Exception):
    """Failure of a channel: it can't be reached, or doesn't take anything now. A later try may succeed."""

    def __init__(self, why: str, retry_after: int = 0) -> None:
        """Say `why`. `retry_after` are the seconds that the channel asks to wait."""
        self.retry_after = retry_after
        super().__init__(why)


class MessageRefusedError(Exception):
    """Refusal of one message for what it is; the channel may take others."""


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
    """Return the address that a URL says, once `address_problem` found nothing wrong with it."""
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
        if ip in METADATA:
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


def checked(address: Address, resolve: Lookup = lookup) -> str:
    """Return the IP address to connect to. The name is looked up once; all its addresses are allowed.

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
    return str(ips[0])


@dataclass(frozen=True, slots=True)
class Answer:
    """Answer of a target: its status, its body, and the seconds that it asks to wait."""

    status: int
    body: bytes
    retry_after: int = 0


def post(address: Address, body: bytes, headers: Mapping[str, str], resolve: Lookup = lookup) -> Answer:
    """Send one POST request and return the answer. No redirect is followed, and no proxy is asked.

    Raises:
        ChannelDownError: there was no answer.
    """
    ip = checked(address, resolve)
    timeout = urllib3.Timeout(connect=CONNECT_SECONDS, read=SECONDS - CONNECT_SECONDS)
    pool: urllib3.HTTPConnectionPool
    if address.scheme == "https":
        pool = urllib3.HTTPSConnectionPool(
            ip,
            address.port,
            timeout=timeout,
            ssl_context=ssl.create_default_context(),
            server_hostname=address.host,
        )
    else:
        pool = urllib3.HTTPConnectionPool(ip, address.port, timeout=timeout)
    host = str(address).partition("://")[2]
    try:
        answer = pool.urlopen(
            "POST",
            address.path or "/",
            body=body,
            headers={"Host": host, "User-Agent": "approval-resource", **headers},
            redirect=False,
            retries=False,
            preload_content=False,
        )
        content = answer.read(MAX_ANSWER, decode_content=False)
        answer.close()
    except (urllib3.exceptions.HTTPError, OSError, ValueError) as error:
        raise ChannelDownError(f"{address} can't be reached: {reason(error)}") from error
    finally:
        pool.close()
    return Answer(answer.status, content, _seconds(answer.headers.get("Retry-After")))


def require_accepted(address: Address, answer: Answer, refused: Collection[int]) -> None:
    """Pass for an answer that says that the message was taken. `refused`: statuses that refuse it for good.

    Raises:
        ChannelDownError: it wasn't, and a later try may succeed.
        MessageRefusedError: it never will be.
    """
    if HTTPStatus.OK <= answer.status < HTTPStatus.MULTIPLE_CHOICES:
        return
    told = f"{address} answered {answer.status}"
    if answer.status in refused:
        raise MessageRefusedError(told)
    if HTTPStatus.MULTIPLE_CHOICES <= answer.status < HTTPStatus.BAD_REQUEST:
        told += ", a redirect, which is not followed"
    raise ChannelDownError(told, answer.retry_after)


def connected(address: Address, resolve: Lookup = lookup) -> socket.socket:
    """Return a connection to the checked address of a target.

    Raises:
        ChannelDownError: there is none.
    """
    ip = checked(address, resolve)
    try:
        return socket.create_connection((ip, address.port), CONNECT_SECONDS)
    except OSError as error:
        raise ChannelDownError(f"{address} can't be reached: {reason(error)}") from error


def reach(address: Address, resolve: Lookup = lookup) -> None:
    """Connect to a target, with TLS where its address says so, and send nothing.

    Raises:
        ChannelDownError: that is not possible.
    """
    with connected(address, resolve) as connection:
        if address.scheme == "https":
            try:
                ssl.create_default_context().wrap_socket(connection, server_hostname=address.host).close()
            except OSError as error:
                raise ChannelDownError(f"{address} can't be reached: {reason(error)}") from error


def _seconds(text: str | None) -> int:
    """Return the seconds of a Retry-After header; 0 for none, and for a date, which backoff replaces."""
    return min(int(text), MAX_RETRY_AFTER) if text and text.isascii() and text.isdigit() and len(text) < 10 else 0


def reason(error: BaseException) -> str:
    """Return why a connection failed, in a few words that repeat nothing of a request."""
    chain: list[BaseException] = []
    inner: object = error
    while isinstance(inner, BaseException) and inner not in chain:
        chain.append(inner)
        wrapped = [getattr(inner, "reason", None), *inner.args, inner.__cause__]
        inner = next((one for one in wrapped if isinstance(one, BaseException)), None)
    for one in chain:
        if isinstance(one, ssl.SSLCertVerificationError):
            return f"its certificate is not trusted ({clean(one.verify_message)})"
        if isinstance(one, ConnectionRefusedError):
            return "connection refused"
    if any(isinstance(one, TimeoutError | urllib3.exceptions.TimeoutError) for one in chain):
        return "no answer in time"
    return type(chain[-1]).__name__
