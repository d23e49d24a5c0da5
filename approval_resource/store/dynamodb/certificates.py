"""Certificates by which https endpoints are trusted: the source's, and a bundle's or this machine's."""

from __future__ import annotations

import binascii
import os
import re
import ssl
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from botocore.exceptions import SSLError
from botocore.httpsession import URLLib3Session, create_urllib3_context, get_cert_path

from approval_resource.errors import ConfigError

SYSTEM = "/etc/ssl/certs"
"""Directory where Concourse mounts a worker's certificates, in the containers of resources."""
BEGIN = re.compile(r"-----BEGIN (?:X509 )?CERTIFICATE-----")
END = "-----END"
HASHED = re.compile(r"[0-9a-f]{8}\.\d+")
UNTRUSTED = "CERTIFICATE_VERIFY_FAILED"
NO_PEM = "holds no certificate in PEM, which begins with -----BEGIN CERTIFICATE-----"


def decoded(text: str) -> list[bytes]:
    """Return the certificates in a text of PEM blocks, as DER. Lost line breaks don't matter.

    Raises:
        ValueError: there is none, or one is not base64.
    """
    found = []
    for number, block in enumerate(BEGIN.split(text)[1:], start=1):
        try:
            found.append(_decoded(block))
        except ValueError as wrong:
            raise ValueError(f"holds a certificate that can't be read: number {number} is cut off, or no base64") from wrong
    if not found:
        raise ValueError(NO_PEM)
    return found


def _decoded(block: str) -> bytes:
    body, end, _ = block.partition(END)
    if not end:
        raise ValueError("the block has no end")
    return binascii.a2b_base64("".join(body.split()), strict_mode=True)


class Certificates:
    """Trusted certificates: the source's `ca_certs`, and either a bundle or this machine's certificates.

    AWS's variables or profile may name a bundle. Without one, the certificates from all of this machine's
    places are trusted.

    Named certificates and files are loaded at once, so that a fault in them is reported. A certificate takes
    0.15 ms to load, and a machine has 130 of them. So OpenSSL gets the directories with hash links, as
    update-ca-certificates makes them, and opens the one file it needs. Everything else, such as files without
    links, is loaded only if a server would otherwise not be trusted.
    """

    def __init__(self, ca_certs: Sequence[str], bundle: tuple[str, str] | None) -> None:
        """Load what is named. `bundle` has the variable or setting of AWS's SDKs, and the path it gives.

        Raises:
            ConfigError: something that is named is missing or broken.
        """
        self.context: ssl.SSLContext = create_urllib3_context()
        # A trusted CA ends the chain, whoever signed its certificate.
        self.context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        self._loaded: set[bytes] = set()
        self._problems: list[str] = []
        for text in ca_certs:
            self._load_named("source.ca_certs", text, "give it certificates as PEM text")
        self._directories = [] if bundle else self._name_directories()
        for variable, path in [bundle] if bundle else [("SSL_CERT_FILE", os.environ.get("SSL_CERT_FILE", "").strip())]:
            if path:
                self._load_named_file(variable, path)
        if self._problems:
            raise ConfigError(self._problems)
        hashed = [path for path in self._directories if any(map(HASHED.fullmatch, os.listdir(path)))]
        for path in hashed:
            self.context.load_verify_locations(capath=path)
        self._complete = bundle is not None
        if not (hashed or self._loaded):
            self.complete()

    def complete(self) -> bool:
        """Load the rest, or return False when it is loaded already. Skip files that hold no certificate."""
        if self._complete:
            return False
        self._complete = True
        for path in [Path(get_cert_path(True)), *self._files()]:
            try:
                text = path.read_text(encoding="utf-8", errors="replace")
            except OSError:
                continue
            for block in BEGIN.split(text)[1:]:
                with suppress(ValueError, ssl.SSLError):
                    self._load([_decoded(block)])
        return True

    def _name_directories(self) -> list[str]:
        named = [path for path in os.environ.get("SSL_CERT_DIR", "").split(os.pathsep) if path.strip()]
        for path in named:
            try:
                os.listdir(path)
            except OSError as error:
                self._problems.append(
                    f"SSL_CERT_DIR names {path}, which can't be read ({error.strerror}); name a directory, or unset it"
                )
        system = [SYSTEM] if os.path.isdir(SYSTEM) and os.access(SYSTEM, os.R_OK) else []
        return list(dict.fromkeys([*named, *system]))

    def _files(self) -> Iterator[Path]:
        for directory in self._directories:
            with os.scandir(directory) as entries:
                yield from (Path(entry.path) for entry in entries if not HASHED.fullmatch(entry.name) and entry.is_file())

    def _load_named_file(self, variable: str, path: str) -> None:
        move = "name a file of PEM certificates, or unset it"
        if not os.path.isfile(path):
            why = "is no file" if os.path.exists(path) else "isn't there"
            self._problems.append(f"{variable} names {path}, which {why}; {move}")
            return
        try:
            text = Path(path).read_text(encoding="utf-8", errors="replace")
        except OSError as error:
            self._problems.append(f"{variable} names {path}, which can't be read ({error.strerror}); {move}")
        else:
            self._load_named(f"{variable} names {path}, which", text, move)

    def _load_named(self, what: str, text: str, move: str) -> None:
        try:
            self._load(decoded(text))
        except ssl.SSLError as error:
            self._problems.append(f"{what} holds a certificate that can't be read ({error.reason or 'broken'}); {move}")
        except ValueError as wrong:
            self._problems.append(f"{what} {wrong}; {move}")

    def _load(self, certificates: list[bytes]) -> None:
        for certificate in certificates:
            if certificate not in self._loaded:
                self.context.load_verify_locations(cadata=certificate)
                self._loaded.add(certificate)


class TrustingSession(URLLib3Session):  # type: ignore[misc]
    """HTTP session of botocore that trusts `Certificates` instead of a bundle file."""

    def __init__(self, like: URLLib3Session, certificates: Certificates) -> None:
        """Take over the settings of `like`, and trust `certificates` alone."""
        self.__dict__.update(like.__dict__)
        self._certificates = certificates
        self._manager.connection_pool_kw["ssl_context"] = certificates.context

    def send(self, request: Any) -> Any:
        """Send the request. If the server is not trusted, load all certificates and try once more.

        The failed TLS handshake sent nothing of the request.
        """
        try:
            return super().send(request)
        except SSLError as error:
            if UNTRUSTED in str(error) and self._certificates.complete():
                return super().send(request)
            raise

    def _get_ssl_context(self) -> ssl.SSLContext:
        return self._certificates.context

    def _setup_proxy_ssl_context(self, proxy_url: str) -> ssl.SSLContext:
        return super()._setup_proxy_ssl_context(proxy_url) or self._certificates.context

    def _setup_ssl_cert(self, conn: Any, url: str, verify: object) -> None:
        conn.cert_reqs = "CERT_REQUIRED"
        conn.ca_certs = None
