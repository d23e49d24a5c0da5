"""Connections: from their settings to a DynamoDB client, and to the identity of its caller."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from urllib.request import getproxies

from botocore.config import Config
from botocore.exceptions import BotoCoreError, ProfileNotFound
from botocore.handlers import BUILTIN_HANDLERS
from botocore.loaders import Loader, create_loader
from botocore.session import Session

from approval_resource.errors import ConfigError, StoreUnavailableError
from approval_resource.store.interface import Connection
from approval_resource.text import without_user

if TYPE_CHECKING:
    # Modules for certificates, proxies, and credentials other than keys are loaded only for a connection that
    # has these: a check spends most of its time on loading modules.
    from approval_resource.store.dynamodb.certificates import Certificates

CONNECT_SECONDS = 5
READ_SECONDS = 10
SERVICES = ("dynamodb", "signin", "sso", "sso-oidc", "sts")
"""Services that are called: DynamoDB, and those that credentials come from."""
EVENT_AND_HANDLER = 2
"""Length of a plain entry in botocore's list: an event and its handler.

An entry is longer if its handler must come first or last. In this release of botocore, every
entry that `_concerns_us` keeps is plain.
"""
LOOPBACK = ("127.", "localhost", "[::1]", "::1")


class _Loader(Loader):  # type: ignore[misc]
    """Loader of botocore that knows the list of services.

    The original would search the folders of all 400 services to find one.
    """

    def list_available_services(self, type_name: str) -> list[str]:
        return list(SERVICES)


class _Session(Session):  # type: ignore[misc]
    """Session of botocore that checks named certificates, proxies and files before it uses any of them."""

    def __init__(self, *, ca_certs: Sequence[str], **settings: Any) -> None:
        super().__init__(**settings)
        self._ca_certs = ca_certs
        self._certificates: Certificates | None = None

    def create_client(self, service_name: str, *arguments: Any, **settings: Any) -> Any:
        """Return botocore's client of that service.

        Raises:
            ConfigError: its address, the proxy on the way there, or a named certificate can't be used.
        """
        try:
            # With verify=True botocore looks for no bundle itself: `Certificates` does.
            client = super().create_client(service_name, *arguments, verify=True, **settings)
        except ValueError as wrong:
            _require_hyphens(str(wrong).partition("Invalid endpoint: ")[2])
            raise
        endpoint = client.meta.endpoint_url
        if getproxies():
            from approval_resource.store.dynamodb.proxies import proxy_of

            proxy_of(endpoint)
        if endpoint.lower().startswith("https:"):
            from approval_resource.store.dynamodb.certificates import TrustingSession

            client._endpoint.http_session = TrustingSession(client._endpoint.http_session, self._trusted())
        return client

    def get_credentials(self) -> Any:
        if self._credentials is not None:
            return self._credentials
        from approval_resource.store.dynamodb.credentials import find_credentials

        return find_credentials(self, super().get_credentials)

    def _trusted(self) -> Certificates:
        if self._certificates is None:
            from approval_resource.store.dynamodb.certificates import Certificates

            configured = self.get_config_variable("ca_bundle")
            bundles = [
                ("AWS_CA_BUNDLE" if os.environ.get("AWS_CA_BUNDLE") else "ca_bundle of the AWS profile", configured),
                ("REQUESTS_CA_BUNDLE", os.environ.get("REQUESTS_CA_BUNDLE")),
            ]
            given = [(variable, path.strip()) for variable, path in bundles if path and path.strip()]
            self._certificates = Certificates(self._ca_certs, given[0] if given else None)
        return self._certificates


def _require_hyphens(address: str) -> None:
    """Refuse an address whose host has an underscore, because botocore accepts no such host.

    Raises:
        ConfigError: it has one.
    """
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
    """Whether one of botocore's handlers may concern the services that are called.

    A handler is registered for an event such as `before-call` or `before-call.s3`. Of botocore's 127
    handlers, about a dozen are for every service or for one of these.
    """
    event, *service = handler[0].split(".")
    return event != "docs" and (not service or service[0] in SERVICES)


def session_of(connection: Connection) -> Session:
    """Return a session with the connection's credentials.

    The credentials are the connection's keys, else its profile's, else those that AWS's SDKs would find. The
    connection's roles are assumed with them.

    The session is of botocore, the core of boto3. boto3's layer around it would cost each process as much
    again, and isn't used here.

    Raises:
        ConfigError: the profile or the region is missing, or AWS's settings can't be used.
        StoreUnavailableError: there are no credentials with which to assume a role.
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
        from approval_resource.store.dynamodb.credentials import missing_files

        profile = missing.kwargs.get("profile", "")
        raise ConfigError([f'the AWS profile "{profile}" does not exist; see ~/.aws/config', *missing_files()]) from missing
    except BotoCoreError as wrong:
        raise ConfigError([f"AWS's settings can't be used: {wrong}"]) from wrong
    paths = create_loader(session.get_config_variable("data_path")).search_paths
    session.register_component("data_loader", _Loader(extra_search_paths=paths, include_default_search_paths=False))
    if not named:
        from approval_resource.store.dynamodb.credentials import missing_files

        told = "no AWS region is set; set AWS_DEFAULT_REGION (in source, the environment, or with --region)"
        raise ConfigError([told, *missing_files()])
    if connection.role_arn:
        from approval_resource.store.dynamodb.credentials import assume

        assume(session, connection)
    return session


def dynamodb(session: Session, connection: Connection) -> Any:
    """Return a client that makes each request once. The store retries, because it knows what is safe.

    Raises:
        ConfigError: the endpoint is no URL that can be used, or AWS's settings can't be used.
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
    """Return botocore's text, or only the error's name if the text may hold an address with a password."""
    text = str(error)
    return type(error).__name__ if "@" in text else text


def _require_address(url: str) -> None:
    """Refuse an address that can't be used, or has a password, which would end up in the build log.

    Raises:
        ConfigError: the address is one of these.
    """
    try:
        parts = urlsplit(url)
        fit = not url or (parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0)
        fit = fit and "@" not in parts.netloc
    except ValueError:
        fit = False
    if not fit:
        raise ConfigError(["endpoint_url: must be http:// or https://, a host and maybe a port, without user or password"])


def caller_arn(connection: Connection) -> str:
    """Return the ARN by which STS knows the caller, or an empty string if there is no STS to ask.

    A DynamoDB on this machine is no part of AWS. With such a DynamoDB, STS is asked only if an endpoint is
    set for it.

    Raises:
        StoreUnavailableError: STS could not be asked.
    """
    endpoint = connection.endpoint_url or os.environ.get("AWS_ENDPOINT_URL_DYNAMODB", "")
    local = (urlsplit(endpoint).hostname or "").startswith(LOOPBACK)
    if local and not (os.environ.get("AWS_ENDPOINT_URL_STS") or os.environ.get("AWS_ENDPOINT_URL")):
        return ""
    from approval_resource.store.dynamodb.credentials import CREDENTIAL_ERRORS, sts_config

    try:
        return str(session_of(connection).create_client("sts", config=sts_config()).get_caller_identity()["Arn"])
    except ConfigError as wrong:
        raise StoreUnavailableError(f"AWS could not be asked who you are ({wrong})") from wrong
    except CREDENTIAL_ERRORS as error:
        raise StoreUnavailableError(f"AWS could not be asked who you are ({type(error).__name__})") from error
