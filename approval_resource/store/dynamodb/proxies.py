"""Proxies that the environment names: which one a request goes through, shown without its password."""

from __future__ import annotations

import os
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies

from botocore.utils import should_bypass_proxies

from approval_resource.errors import ConfigError


def proxy_of(url: str) -> str:
    """Return the proxy on the way to that address, such as `proxy.example:3128 (HTTPS_PROXY)`.

    It is an empty string if there is none.

    Raises:
        ConfigError: the proxy's address can't be used.
    """
    scheme = url.partition(":")[0]
    address = "" if should_bypass_proxies(url) else getproxies().get(scheme, "")
    if not address:
        return ""
    name = f"{scheme}_proxy"
    variable = name if os.environ.get(name) else name.upper() if os.environ.get(name.upper()) else "the system's settings"
    try:
        whole = "://" in address or address.startswith(("http:", "https:"))
        parts = urlsplit(address if whole else f"http://{address.removeprefix('//')}")
        port = parts.port or (443 if parts.scheme == "https" else 80)
        fit = parts.scheme in ("http", "https") and bool(parts.hostname) and not parts.path.strip("/") and not parts.query
        secret = unquote(f"{parts.username}{parts.password}")
    except ValueError:
        fit = False
    if not fit or parts.fragment:
        raise ConfigError(
            [
                f"{variable}: must be http:// or https://, a host and maybe a port; a user and password before the host "
                "have their special characters percent-encoded, such as %40 for @"
            ]
        )
    if not secret.isascii():
        raise ConfigError([f"{variable}: user and password must be ASCII"])
    return f"{parts.hostname}:{port} ({variable})"


def through(url: str) -> str:
    """Return the address, with the proxy on the way to it."""
    try:
        proxy = proxy_of(url)
    except ConfigError:
        proxy = ""
    return f"{url} through the proxy {proxy}" if proxy else url
