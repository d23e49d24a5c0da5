"""From connection settings to a DynamoDB client, and to who its caller is."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

from botocore.config import Config
from botocore.exceptions import BotoCoreError, ProfileNotFound
from botocore.handlers import BUILTIN_HANDLERS
from botocore.loaders import Loader, create_loader
from botocore.session import Session

from approval_resource.errors import ConfigError, StoreUnavailableError
from approval_resource.store.dynamodb.certificates import Certificates, TrustingSession
from approval_resource.store.dynamodb.credentials import CREDENTIAL_ERRORS, assume, found, missing_files, sts_config
from approval_resource.store.dynamodb.proxies import proxy_of
from approval_resource.store.interface import Connection
from approval_resource.text import without_user

CONNECT_SECONDS = 5
READ_SECONDS = 10
SERVICES = ("dynamodb", "signin", "sso", "sso-oidc", "sts")
"""What is asked: the table, and those that credentials come from."""
EVENT_AND_HANDLER = 2
"""What is told of a handler; of those that have to come first or last, that too. None of these is kept now."""
LOOPBACK = ("127.", "localhost", "[::1]", "::1")


class _Loader(Loader):  # type: ignore[misc]
    """botocore's own, which knows what there is: it would go through the folders of all 400 services to find one."""

    def list_available_services(self, type_name: str) -> list[str]:
        return list(SERVICES)


class _Session(Session):  # type: ignore[misc]
    """botocore's own, with certificates, proxies and files that are named looked at before any of them is used."""

    def __init__(self, *, ca_certs: Sequence[str], **settings: Any) -> None:
        super().__init__(**settings)
        self._ca_certs = ca_certs
        self._certificates: Certificates | None = None

    def create_client(self, service_name: str, *arguments: Any, **settings: Any) -> Any:
        """botocore's client of that service.

        Raises:
            ConfigError: its address, the proxy on the way there, or a certificate that is named can't be used.
        """
        try:
            # True, since no bundle is botocore's business here.
            client = super().create_client(service_name, *arguments, verify=True, **settings)
        except ValueError as wrong:
            _require_hyphens(str(wrong).partition("Invalid endpoint: ")[2])
            raise
        endpoint = client.meta.endpoint_url
        proxy_of(endpoint)
        if endpoint.lower().startswith("https:"):
            client._endpoint.http_session = TrustingSession(client._endpoint.http_session, self._trusted())
        return client

    def get_credentials(self) -> Any:
        if self._credentials is not None:
            return self._credentials
        return found(self, super().get_credentials)

    def _trusted(self) -> Certificates:
        if self._certificates is None:
            configured = self.get_config_variable("ca_bundle")
            bundles = [
                ("AWS_CA_BUNDLE" if os.environ.get("AWS_CA_BUNDLE") else "ca_bundle of the AWS profile", configured),
                ("REQUESTS_CA_BUNDLE", os.environ.get("REQUESTS_CA_BUNDLE")),
            ]
            given = [(variable, path.strip()) for variable, path in bundles if path and path.strip()]
            self._certificates = Certificates(self._ca_certs, given[0] if given else None)
        return self._certificates


def _require_hyphens(address: str) -> None:
    """Pass for an address whose host has no underscore: botocore takes no such host."""
    host = urlsplit(address).hostname or ""
    if "_" in host:
        raise ConfigError(
            [
                f"the address {without_user(address)} has an underscore in its host, which no name of a host may have; "
                f"give the host a name without, such as {host.replace('_', '-')} (in docker compose, an alias of the "
                "service's network), or use its IP address"
            ]
        )


def _concerns_us(handler: tuple[Any, ...]) -> bool:
    """Whether one of botocore's handlers may have to do with the services that are asked.

    It is registered for an event such as `before-call` or `before-call.s3`; of the 127, a dozen name no other service.
    """
    event, *service = handler[0].split(".")
    return event != "docs" and (not service or service[0] in SERVICES)


def session_of(connection: Connection) -> Session:
    """A session with the connection's credentials: its keys, else its profile, else what AWS's SDKs look for; then its role.

    It is botocore's, the core of boto3: what boto3 puts around that costs each process as much again, and isn't used here.

    Raises:
        ConfigError: the profile or the region is missing.
    """
    kept = list(filter(_concerns_us, BUILTIN_HANDLERS))
    ordered = any(len(handler) > EVENT_AND_HANDLER for handler in kept)
    session = _Session(ca_certs=connection.ca_certs, profile=connection.profile or None, include_builtin_handlers=ordered)
    for event, handler in () if ordered else kept:
        session.register(event, handler)
    if connection.access_key_id:
        session.set_credentials(connection.access_key_id, connection.secret_access_key, connection.session_token or None)
    region = connection.region or os.environ.get("AWS_DEFAULT_REGION") or os.environ.get("AWS_REGION")
    try:
        session.get_scoped_config()
        if region:
            session.set_config_variable("region", region)
        named = session.get_config_variable("region")
    except ProfileNotFound as missing:
        profile = missing.kwargs.get("profile", "")
        raise ConfigError([f'the AWS profile "{profile}" does not exist; see ~/.aws/config', *missing_files()]) from missing
    except BotoCoreError as wrong:
        raise ConfigError([f"AWS's settings can't be used: {wrong}"]) from wrong
    paths = create_loader(session.get_config_variable("data_path")).search_paths
    session.register_component("data_loader", _Loader(extra_search_paths=paths, include_default_search_paths=False))
    if not named:
        told = "no AWS region is set; set AWS_DEFAULT_REGION (in source, the environment, or with --region)"
        raise ConfigError([told, *missing_files()])
    if connection.role_arn:
        assume(session, connection)
    return session


def dynamodb(session: Session, connection: Connection) -> Any:
    """A client that makes each request once: when to try again is the store's business, which knows what is safe.

    Raises:
        ConfigError: the endpoint is no URL.
    """
    _require_address(connection.endpoint_url)
    config = Config(
        connect_timeout=CONNECT_SECONDS,
        read_timeout=READ_SECONDS,
        retries={"total_max_attempts": 1, "mode": "standard"},
        tcp_keepalive=True,
    )
    try:
        client = session.create_client("dynamodb", endpoint_url=connection.endpoint_url or None, config=config)
    except (ValueError, BotoCoreError) as wrong:
        raise ConfigError([f"endpoint_url, region or AWS's settings are wrong: {_told(wrong)}"]) from wrong
    _require_address(client.meta.endpoint_url)
    return client


def _told(error: Exception) -> str:
    """What botocore says, unless it may repeat an address that has a password in it."""
    text = str(error)
    return type(error).__name__ if "@" in text else text


def _require_address(url: str) -> None:
    """Pass for an address that can be asked, and shown: one with a password in it would end up in the build log."""
    try:
        parts = urlsplit(url)
        fit = not url or (parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0)
        fit = fit and "@" not in parts.netloc
    except ValueError:
        fit = False
    if not fit:
        raise ConfigError(["endpoint_url: must be http:// or https://, a host and maybe a port, without user or password"])


def caller_arn(connection: Connection) -> str:
    """The ARN by which STS knows the caller, or an empty string where there is no STS to ask.

    A DynamoDB on this machine has no part in AWS: STS is asked then only when it was given an endpoint of its own.

    Raises:
        StoreUnavailableError: STS should know, and could not be asked.
    """
    endpoint = connection.endpoint_url or os.environ.get("AWS_ENDPOINT_URL_DYNAMODB", "")
    local = (urlsplit(endpoint).hostname or "").startswith(LOOPBACK)
    if local and not (os.environ.get("AWS_ENDPOINT_URL_STS") or os.environ.get("AWS_ENDPOINT_URL")):
        return ""
    try:
        return str(session_of(connection).create_client("sts", config=sts_config()).get_caller_identity()["Arn"])
    except ConfigError as wrong:
        raise StoreUnavailableError(f"AWS could not be asked who you are ({wrong})") from wrong
    except CREDENTIAL_ERRORS as error:
        raise StoreUnavailableError(f"AWS could not be asked who you are ({type(error).__name__})") from error
