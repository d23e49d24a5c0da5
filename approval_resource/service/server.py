"""The process of the service: its check, its start, and its graceful stop."""

from __future__ import annotations

import ctypes
import logging
from collections.abc import Iterator
from pathlib import Path

import uvicorn

from approval_resource.errors import ApprovalError, ConfigError
from approval_resource.notify.outlets import unreachable
from approval_resource.service.app import app_of, service_of
from approval_resource.service.call import Service
from approval_resource.service.config import Config, Login, Machine, read_config, read_secrets
from approval_resource.service.fetch import Web
from approval_resource.service.guard import Lines
from approval_resource.service.oidc import Issuer
from approval_resource.service.telling import channels_of
from approval_resource.store.dynamodb.store import DynamoStore

log = logging.getLogger("approval_resource.service.server")

M_ARENA_MAX = -8
"""Parameter of mallopt for the number of arenas, from malloc.h."""
GRACE_SECONDS = 20
"""Upper bound of the seconds that a stopping process waits for requests in flight."""


def faults(path: Path) -> Iterator[str]:
    """Yield every fault of a config: of the file, its secrets, its channels, its issuers and its table."""
    try:
        config = read_config(path)
    except ConfigError as wrong:
        yield from wrong.problems
        return
    try:
        read_secrets(config)
    except ConfigError as wrong:
        yield from wrong.problems
    try:
        told = channels_of(config, str(path))
    except ConfigError as wrong:
        yield from wrong.problems
    else:
        yield from unreachable(told) if told else ()
    issuers: list[Login | Machine] = [config.login, *config.machines]
    needed: dict[tuple[str, str | None], set[str]] = {}
    for one in issuers:
        names = needed.setdefault((one.issuer, one.discovery), {"jwks_uri"})
        if one is config.login:
            names |= {"authorization_endpoint", "token_endpoint"}
        elif isinstance(one, Machine) and one.device:
            names |= {"device_authorization_endpoint", "token_endpoint"}
    for (name_of_issuer, discovery), names in needed.items():
        try:
            issuer = Issuer(name_of_issuer, discovery, Web())
            for name in sorted(names):
                issuer.endpoint(name)
            issuer.web.document(issuer.endpoint("jwks_uri"))
        except ApprovalError as wrong:
            yield f"issuer {name_of_issuer}: {wrong}"
    try:
        store = DynamoStore.connect(config.connection)
        for pool in config.pools:
            store.head(pool)
    except ApprovalError as wrong:
        yield f"table {config.table}: {wrong}"


def bound_heaps() -> None:
    """Limit glibc to two malloc arenas, instead of eight per processor that each grow by themselves."""
    library = ctypes.CDLL(None)
    if hasattr(library, "mallopt"):
        library.mallopt(M_ARENA_MAX, 2)


def options_of(service: Service, host: str, port: int) -> uvicorn.Config:
    """Return how uvicorn serves at that address.

    It believes X-Forwarded-For of the configured proxies alone.
    """
    proxies = list(service.config.proxies)
    return uvicorn.Config(
        app_of(service),
        host=host,
        port=port,
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=bool(proxies),
        forwarded_allow_ips=proxies,
        timeout_graceful_shutdown=GRACE_SECONDS,
        h11_max_incomplete_event_size=65_536,
    )


def serve(config: Config) -> None:
    """Answer requests until the process is told to end.

    Raises:
        ConfigError: secrets are missing, or AWS's settings can't be used.
    """
    bound_heaps()
    service = service_of(config, read_secrets(config), DynamoStore.connect(config.connection))
    handler = logging.StreamHandler()
    handler.setFormatter(Lines())
    for name in ("approval_resource", "uvicorn"):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [handler], False
        logger.setLevel(logging.INFO)
    host, _, port = config.listen.rpartition(":")
    log.info("starting", extra={"told": {"event": "start", "listen": config.listen, "url": config.url, "table": config.table}})
    uvicorn.Server(options_of(service, host.strip("[]"), int(port))).run()
    log.info("stopped", extra={"told": {"event": "stop"}})
