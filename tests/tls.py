"""Certificates and servers of a company's network, on 127.0.0.1: a private CA, AWS behind TLS, and proxies on the way there."""

from __future__ import annotations

import re
import select
import socket
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import parse_qsl

SECONDS = 10
KEYS = """<AssumeRole{kind}Response><AssumeRole{kind}Result><Credentials><AccessKeyId>{key}</AccessKeyId>
<SecretAccessKey>secret-{key}</SecretAccessKey><SessionToken>token-{key}</SessionToken><Expiration>{until}</Expiration>
</Credentials></AssumeRole{kind}Result></AssumeRole{kind}Response>"""
DENIED = (
    "<ErrorResponse><Error><Code>AccessDenied</Code><Message>User: {user} is not authorized to perform: sts:AssumeRole"
    "</Message></Error></ErrorResponse>"
)


@dataclass(frozen=True)
class Authority:
    """A CA of one's own, and what it has signed."""

    certificate: Path
    folder: Path

    @classmethod
    def made(cls, folder: Path, name: str, signer: Authority | None = None) -> Authority:
        """A new CA, by its own word or by that of another."""
        key, certificate = folder / f"{name}.key", folder / f"{name}.pem"
        _signed(folder, name, key, certificate, signer, "basicConstraints=critical,CA:TRUE")
        return cls(certificate, folder)

    def server(self, host: str) -> tuple[Path, Path]:
        """A server's certificate and its key."""
        name = f"{self.certificate.stem}-{host}"
        key, certificate = self.folder / f"{name}.key", self.folder / f"{name}.pem"
        kind = "IP" if re.fullmatch(r"[0-9.]+", host) else "DNS"
        _signed(self.folder, name, key, certificate, self, f"subjectAltName={kind}:{host}")
        return certificate, key

    @property
    def text(self) -> str:
        """Its certificate as PEM."""
        return self.certificate.read_text()

    def hashed(self, folder: Path) -> Path:
        """A directory with its certificate under the name by which OpenSSL finds it."""
        folder.mkdir()
        name = _openssl("x509", "-noout", "-subject_hash", "-in", str(self.certificate)).strip()
        (folder / f"{name}.0").write_text(self.text)
        return folder


def _signed(folder: Path, name: str, key: Path, certificate: Path, signer: Authority | None, extension: str) -> None:
    request = ["req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj", f"/CN={name}"]
    if signer is None:
        _openssl(*request, "-x509", "-days", "2", "-keyout", str(key), "-out", str(certificate), "-addext", extension)
        return
    asked, extensions = folder / f"{name}.csr", folder / f"{name}.ext"
    extensions.write_text(extension)
    _openssl(*request, "-keyout", str(key), "-out", str(asked))
    ca = ["-CA", str(signer.certificate), "-CAkey", str(signer.certificate.with_suffix(".key")), "-CAcreateserial"]
    _openssl("x509", "-req", "-days", "2", "-in", str(asked), "-out", str(certificate), "-extfile", str(extensions), *ca)


def _openssl(*arguments: str) -> str:
    return subprocess.run(["openssl", *arguments], check=True, capture_output=True, text=True, timeout=SECONDS).stdout


@dataclass
class Aws:
    """DynamoDB, whose table is empty, and STS at one address; what STS was asked, and by which key."""

    url: str = ""
    asked: list[dict[str, str]] = field(default_factory=list)
    signers: list[str] = field(default_factory=list)
    refused: str = ""
    until: str = "2099-01-01T00:00:00Z"


@contextmanager
def aws(certificate: tuple[Path, Path] | None = None, name: str = "127.0.0.1") -> Iterator[Aws]:
    """It runs, behind TLS where there is a certificate. STS refuses the role whose ARN ends in `refused`."""
    state = Aws()

    class Answer(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            signer = self.headers.get("Authorization", "=/").partition("Credential=")[2].partition("/")[0]
            state.signers.append(signer)
            if "X-Amz-Target" in self.headers:
                return self.answer(200, "{}")
            asked = dict(parse_qsl(body))
            state.asked.append(asked)
            role = asked.get("RoleArn", "").rpartition("/")[2]
            if state.refused and role == state.refused:
                return self.answer(403, DENIED.format(user=signer))
            kind = asked["Action"].removeprefix("AssumeRole")
            return self.answer(200, KEYS.format(kind=kind, key=role, until=state.until))

        def answer(self, status: int, text: str) -> None:
            self.send_response_only(status)
            self.send_header("Date", formatdate(usegmt=True))
            self.send_header("x-amzn-requestid", "1")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *_: Any) -> None: ...

    with _serving(Answer, certificate) as port:
        state.url = f"{'https' if certificate else 'http'}://{name}:{port}"
        yield state


@contextmanager
def proxy(status: int = 200, certificate: tuple[Path, Path] | None = None) -> Iterator[tuple[str, list[str]]]:
    """A proxy for CONNECT, which lets everything through or answers with that status; its address, and what it was asked."""
    asked: list[str] = []

    class Tunnel(BaseHTTPRequestHandler):
        def do_CONNECT(self) -> None:
            asked.append(self.path)
            self.send_response_only(status)
            self.end_headers()
            if status == 200:
                host, _, port = self.path.partition(":")
                with socket.create_connection((host, int(port)), timeout=SECONDS) as onward, suppress(OSError):
                    _join(self.connection, onward)

        def log_message(self, *_: Any) -> None: ...

    with _serving(Tunnel, certificate) as port:
        yield f"127.0.0.1:{port}", asked


def _join(one: socket.socket, other: socket.socket) -> None:
    """Pass on what either says until one of them stops."""
    onward = {one: other, other: one}
    while ready := select.select([*onward], [], [], SECONDS)[0]:
        for source in ready:
            while True:
                data = source.recv(65536)
                if not data:
                    return
                onward[source].sendall(data)
                if not (isinstance(source, ssl.SSLSocket) and source.pending()):
                    break


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    context: ssl.SSLContext | None = None

    def finish_request(self, request: Any, client_address: Any) -> None:
        # A client that doesn't trust the certificate breaks off, in a thread of its own.
        with suppress(OSError):
            request.settimeout(SECONDS)
            if not self.context:
                return super().finish_request(request, client_address)
            with self.context.wrap_socket(request, server_side=True, do_handshake_on_connect=False) as secured:
                secured.do_handshake()
                super().finish_request(secured, client_address)
                secured.unwrap()


@contextmanager
def _serving(handler: type[BaseHTTPRequestHandler], certificate: tuple[Path, Path] | None) -> Iterator[int]:
    with _Server(("127.0.0.1", 0), handler) as server:
        if certificate:
            server.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            server.context.load_cert_chain(*certificate)
        thread = Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join(SECONDS)
