"""Config of the service: one YAML file, read strictly; secrets are named, never written in it."""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Field
from pydantic_core import PydanticCustomError

from approval_resource.config_file import NoSecretError, document_in, matching, names_secret, secret_of
from approval_resource.errors import Problems
from approval_resource.policy.language.strict import Document, Name, read_document
from approval_resource.store.interface import DEFAULT_TABLE, Connection

MIN_KEY = 32
"""Lower bound of a signing key's length in characters."""
LOOPBACK = ("127.0.0.1", "localhost", "::1")


def local(url: str) -> bool:
    """Whether an address is this machine's own, where plain http reveals nothing."""
    return (urlsplit(url).hostname or "") in LOOPBACK


def _address(value: object) -> object:
    """Validate the URL of a server: https, or plain http to this machine."""
    try:
        parts = urlsplit(value) if isinstance(value, str) else None
        fit = parts is not None and bool(parts.hostname) and "@" not in parts.netloc and not parts.query and not parts.fragment
        fit = fit and parts is not None and (parts.scheme == "https" or (parts.scheme == "http" and local(str(value))))
        fit = fit and (parts is None or parts.port != 0)
    except ValueError:
        fit = False
    if not fit:
        raise PydanticCustomError("address", "must be https://, a host, and maybe a path; http:// only to this machine")
    return str(value).rstrip("/")


def _secret(value: object) -> object:
    if not names_secret(value):
        raise PydanticCustomError("secret", "must name a secret as env:NAME or file:PATH, so that none stands in this file")
    return value


def _network(value: object) -> object:
    try:
        ipaddress.ip_network(str(value))
    except ValueError:
        raise PydanticCustomError("network", "must be an address or a network, such as 10.0.0.0/8") from None
    return value


Account = Annotated[str, matching(r"[0-9]{12}", "must be an account's 12 digits, in quotes")]
BalancerArn = Annotated[
    str,
    matching(r"arn:aws[\w-]*:elasticloadbalancing:[\w-]+:\d{12}:loadbalancer/\S+", "must be the ARN of a load balancer"),
]
ChannelName = Annotated[
    str, matching(r"[A-Za-z][\w-]{0,49}", "must begin with a letter and have at most 50 letters, digits, _ or -")
]
HostAndPort = Annotated[str, matching(r"\S+:[0-9]{1,5}", "must be an address and a port, such as 0.0.0.0:8080")]
Address = Annotated[str, BeforeValidator(_address)]
Secret = Annotated[str, BeforeValidator(_secret)]
Network = Annotated[str, BeforeValidator(_network)]
Hours = Annotated[int, Field(ge=1, le=24)]


class PoolAccess(Document):
    """Access to one pool, by groups of the login's issuer, `oidc-group:` names, identities, or `everyone`."""

    viewers: list[Name] = Field(default_factory=list)
    reviewers: list[Name] = Field(default_factory=list)
    operators: list[Name] = Field(default_factory=list)


class Login(Document):
    """Issuer at which people sign in."""

    issuer: Name
    discovery: Address | None = None
    """Address of the issuer's configuration, where it isn't below the issuer."""
    client_id: Name
    client_secret: Secret
    groups_claim: Name = "groups"
    scopes: list[Name] = Field(default_factory=lambda: ["openid", "profile", "email"])
    max_age: Annotated[int, Field(ge=60, le=86_400)] | None = None
    """Longest age, in seconds, of the sign-in or token that decides. AWS identities and links are exempt."""


class Machine(Document):
    """Issuer whose bearer tokens are taken, for one audience."""

    issuer: Name
    discovery: Address | None = None
    audience: Name
    groups_claim: Name = "groups"
    device: bool = False
    """Whether people sign in on the command line as this client, which has no secret; see RFC 8628."""


class Aws(Document):
    """Reviewers who prove by a presigned request to STS who they are."""

    region: Name
    sts: Address | None = None
    """Address of STS, where it isn't the region's."""
    accounts: list[Account] = Field(min_length=1)
    """Accounts whose callers are known here."""


class Balancer(Document):
    """Load balancer of AWS that signs people in, and tells by a signed header who they are."""

    arn: BalancerArn
    issuer: Name
    keys: Address | None = None
    """Address of the keys, where it isn't the region's."""


class SessionOptions(Document):
    """Sessions of people who signed in."""

    hours: Hours = 8
    keys: list[Secret] = Field(min_length=1)
    """Keys that sign cookies, forms and links. The first signs; all verify."""


class LinkOptions(Document):
    """Links to one decision on one claim."""

    hours: Annotated[int, Field(ge=1, le=168)] = 168
    bearer: list[ChannelName] = Field(default_factory=list)
    """Channels whose links carry the authority of `link:CHANNEL` themselves."""


class SlackApp(Document):
    """App of one workspace of Slack, by whose buttons people decide."""

    team: Annotated[str, matching(r"T[A-Z0-9]{1,20}", "must be a workspace's id, such as T0123456789")]
    secret: Secret
    """Signing secret, by which Slack's own requests are known."""
    client_id: str = ""
    client_secret: Secret | None = None
    """OAuth client by which people sign in with Slack once, to link that account with their own sign-in."""
    linked_days: Annotated[int, Field(ge=1, le=30)] = 30
    discovery: Address | None = None


class Config(Document):
    """Config of the service, as it is written."""

    url: Address
    listen: HostAndPort = "127.0.0.1:8080"
    table: Name = DEFAULT_TABLE
    region: Name | None = None
    endpoint_url: Address | None = None
    pools: dict[Name, PoolAccess] = Field(min_length=1)
    login: Login
    machines: list[Machine] = Field(default_factory=list)
    aws: Aws | None = None
    balancer: Balancer | None = None
    session: SessionOptions
    links: LinkOptions = Field(default_factory=LinkOptions)
    slack: SlackApp | None = None
    proxies: list[Network] = Field(default_factory=list)
    """Networks of the proxies whose X-Forwarded-For is believed."""
    metrics: Literal["open", "off"] = "open"
    channels: dict[str, Any] = Field(default_factory=dict)
    notify: list[Any] = Field(default_factory=list)

    @property
    def connection(self) -> Connection:
        """Settings by which the table is reached."""
        return Connection(table=self.table, region=self.region or "", endpoint_url=self.endpoint_url or "")

    @property
    def origin(self) -> str:
        """Scheme, host and port of the service, as browsers name it."""
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.netloc}"

    @property
    def host(self) -> str:
        """Host of the service, without a port."""
        return urlsplit(self.url).hostname or ""


@dataclass(frozen=True, slots=True)
class Secrets:
    """Values of the secrets that the config names. They appear in no repr."""

    client_secret: str
    keys: tuple[bytes, ...]
    slack: str = ""
    slack_client: str = ""

    def __repr__(self) -> str:
        """Return no secret."""
        return "Secrets(...)"


def read_config(path: Path) -> Config:
    """Return the config in that file.

    Raises:
        ConfigError: every problem of it, each with its place.
    """
    config = read_document(Config, document_in(path), str(path))
    require_apart(config)
    return config


def require_apart(config: Config) -> None:
    """Pass for a config whose parts fit together.

    Raises:
        ConfigError: each part that doesn't.
    """
    problems = Problems()
    if config.url != config.origin:
        problems.add("url: must have no path, since cookies of the whole host are the service's; give it a host of its own")
    if config.slack and bool(config.slack.client_id) != bool(config.slack.client_secret):
        problems.add("slack: client_id and client_secret go together; they let people link their accounts")
    known = [(config.login.issuer, config.login.client_id), *((one.issuer, one.audience) for one in config.machines)]
    for number, (issuer, audience) in enumerate(known):
        if not issuer.startswith(("https://", "http://")) or "#" in issuer or " " in issuer:
            problems.add(f"issuer {issuer}: must be the address that its tokens name as iss, without #")
        if (issuer, audience) in known[:number]:
            problems.add(f"machines: {issuer} with the audience {audience} stands twice, or is the login's own")
    if sum(machine.device for machine in config.machines) > 1:
        problems.add("machines: at most one has device, since the command line signs in at one issuer")
    issuers: list[Login | Machine] = [config.login, *config.machines]
    for url, issuer in ((one.discovery, one.issuer) for one in issuers):
        if url is None and not issuer.startswith("https://") and not local(issuer):
            problems.add(f"issuer {issuer}: must be https, or give the address of its configuration as discovery")
    problems.require_none()


def read_secrets(config: Config, environment: Mapping[str, str] = os.environ) -> Secrets:
    """Return the secrets that the config names.

    Raises:
        ConfigError: each that is missing, or too short to sign with.
    """
    problems = Problems()

    def value(where: str, named: str) -> str:
        try:
            return secret_of(named, environment)
        except NoSecretError:
            problems.add(f"{where}: {named} is empty or missing")
            return ""

    client_secret = value("login.client_secret", config.login.client_secret)
    keys = [value(f"session.keys[{number}]", named) for number, named in enumerate(config.session.keys)]
    for number, key in enumerate(keys):
        if key and len(key) < MIN_KEY:
            problems.add(f"session.keys[{number}]: at least {MIN_KEY} characters; make one with: openssl rand -base64 48")
    app = config.slack
    slack = value("slack.secret", app.secret) if app else ""
    slack_client = value("slack.client_secret", app.client_secret) if app and app.client_secret else ""
    problems.require_none()
    return Secrets(client_secret, tuple(key.encode() for key in keys), slack, slack_client)
