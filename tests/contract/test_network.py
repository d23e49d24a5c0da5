"""Networks as companies have them: a private CA, bundles, proxies, and addresses that can't be."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from botocore.exceptions import SSLError

from approval_resource.errors import ApprovalError, ConfigError, StoreUnavailableError
from approval_resource.store.dynamodb import certificates
from approval_resource.store.dynamodb.connect import caller_arn, dynamodb, session_of
from approval_resource.store.dynamodb.outcomes import classify
from approval_resource.store.dynamodb.store import DynamoStore
from approval_resource.store.interface import Connection
from demo.engine import ROOT, free_port
from tests.builders import ManualClock
from tests.tls import Authority, aws, proxy

CANARY = "c4nary-p4ssword"
NAMED = ("AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR")
PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy")


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """The company's CA."""
    return Authority.made(tmp_path_factory.mktemp("ca"), "ours")


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """A CA that stands for the public ones: the list that botocore brings, in most of these tests."""
    return Authority.made(tmp_path_factory.mktemp("ca"), "other")


@pytest.fixture(autouse=True)
def system(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, other: Authority) -> Path:
    """A machine that trusts nothing but the public CA, and has no proxy; its directory of certificates."""
    for variable in (*NAMED, *PROXIES):
        monkeypatch.delenv(variable, raising=False)
    folder = tmp_path / "system"
    folder.mkdir()
    monkeypatch.setattr(certificates, "SYSTEM", str(folder))
    monkeypatch.setattr(certificates, "get_cert_path", lambda verify: str(other.certificate))
    return folder


@pytest.fixture(scope="module")
def url(ours: Authority) -> Iterator[str]:
    """DynamoDB with a certificate of the company's CA."""
    with aws(ours.server("127.0.0.1")) as served:
        yield served.url


@pytest.fixture(scope="module")
def public(other: Authority) -> Iterator[str]:
    """DynamoDB with a certificate of the public CA."""
    with aws(other.server("127.0.0.1")) as served:
        yield served.url


def connection(url: str, *ca_certs: str) -> Connection:
    """How to reach that DynamoDB."""
    return Connection(region="eu-west-1", access_key_id="a", secret_access_key="bbbbbb", endpoint_url=url, ca_certs=ca_certs)


def look(url: str, *ca_certs: str) -> None:
    """Ask that DynamoDB for a lock; none of it is there."""
    store = DynamoStore.connect(connection(url, *ca_certs), clock=ManualClock())
    assert store.lock("pool", "lock") is None


def refusal(url: str, *ca_certs: str) -> str:
    """The one line with which that fails."""
    with pytest.raises(ApprovalError) as caught:
        look(url, *ca_certs)
    [line] = str(caught.value).splitlines()
    assert CANARY not in line
    return line


# ---- whom to trust ------------------------------------------------------------------------------


def named(way: str, ours: Authority, system: Path, tmp_path: Path) -> dict[str, str]:
    """A machine on which the company's CA is named in that way: its variables."""
    match way:
        case "SSL_CERT_FILE":
            return {way: str(ours.certificate)}
        case "SSL_CERT_DIR, hashed":
            return {"SSL_CERT_DIR": str(ours.hashed(tmp_path / "hashed"))}
        case "SSL_CERT_DIR, any names":
            (tmp_path / "any").mkdir()
            shutil.copy(ours.certificate, tmp_path / "any" / "corp.crt")
            return {"SSL_CERT_DIR": f"{system}:{tmp_path / 'any'}"}
        case "/etc/ssl/certs, hashed":
            system.rmdir()
            ours.hashed(system)
        case "/etc/ssl/certs, a bundle":
            (system / "ca-certificates.crt").write_text(f"# ours\n{ours.text}")
        case "/etc/ssl/certs, with what is no certificate":
            (system / "java").mkdir()
            (system / "00000000.0").write_text("a hash that leads nowhere")
            (system / "README").write_bytes(b"\xff\xfe")
            (system / "dangling.pem").symlink_to("nowhere")
            broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n-----BEGIN CERTIFICATE-----\n!\n-----END"
            (system / "all.crt").write_text(f"{broken} CERTIFICATE-----\n{ours.text}")
        case _:
            raise AssertionError(way)
    return {}


WAYS = (
    "SSL_CERT_FILE",
    "SSL_CERT_DIR, hashed",
    "SSL_CERT_DIR, any names",
    "/etc/ssl/certs, hashed",
    "/etc/ssl/certs, a bundle",
    "/etc/ssl/certs, with what is no certificate",
)


@pytest.mark.parametrize("way", WAYS)
def test_a_private_ca_is_trusted_beside_the_public_ones(
    way: str, url: str, public: str, ours: Authority, system: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wherever the machine has it; nothing is trusted before."""
    assert "has no certificate this machine trusts" in refusal(url)
    for variable, value in named(way, ours, system, tmp_path).items():
        monkeypatch.setenv(variable, value)
    look(url)
    look(public)


def test_ca_certs_are_trusted_beside_the_public_ones(url: str, public: str, ours: Authority) -> None:
    """Also with the line breaks lost, as a folded text in YAML has them."""
    for text in (ours.text, ours.text.replace("\n", " "), f"some words\n{ours.text}"):
        look(url, text)
        look(public, text)


@pytest.mark.parametrize("variable", ["AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE"])
def test_a_bundle_of_aws_is_used_alone(
    url: str, public: str, ours: Authority, other: Authority, variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As AWS's SDKs use it: other variables don't count, ca_certs do, and the failure names it."""
    monkeypatch.setenv(variable, str(ours.certificate))
    monkeypatch.setenv("SSL_CERT_FILE", str(other.certificate))
    look(url)
    assert refusal(public).endswith(f"; only {variable} and source.ca_certs are trusted")
    look(public, other.text)


def test_the_bundle_of_a_profile_counts_too(url: str, ours: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And is named by it where it isn't there."""
    (tmp_path / "config").write_text(f"[default]\nca_bundle = {ours.certificate}\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    look(url)
    (tmp_path / "config").write_text("[default]\nca_bundle = /no such\n")
    assert refusal(url).startswith("ca_bundle of the AWS profile names /no such, which isn't there; ")


def test_an_authority_in_the_middle_of_a_chain_may_be_trusted(tmp_path: Path, ours: Authority) -> None:
    """Whoever names it means it, though another has signed it."""
    middle = Authority.made(ours.folder, "middle", ours)
    with aws(middle.server("127.0.0.1")) as served:
        look(served.url, middle.text)


def test_a_certificate_for_another_host_is_refused(ours: Authority) -> None:
    """Though its CA is trusted."""
    with aws(ours.server("dynamodb.example")) as served:
        assert "has a certificate for another host; check endpoint_url" in refusal(served.url, ours.text)


def test_an_endpoint_without_tls_is_told() -> None:
    """https:// where http:// is meant."""
    with aws() as served:
        assert "speaks no TLS; check endpoint_url, maybe it is http://" in refusal(served.url.replace("http:", "https:"))


def test_nothing_is_loaded_for_http(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even a bundle that isn't there is looked for."""
    monkeypatch.setenv("AWS_CA_BUNDLE", "/no such")
    monkeypatch.setenv("SSL_CERT_FILE", "/no such")
    monkeypatch.setattr(certificates, "Certificates", None)
    with aws() as served:
        look(served.url, "no PEM")


def test_what_openssl_finds_by_itself_is_not_loaded(
    url: str, ours: Authority, system: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a directory with hash links one file is opened; the list of all public CAs isn't."""
    system.rmdir()
    ours.hashed(system)
    monkeypatch.setattr(certificates.Certificates, "complete", lambda _: pytest.fail("everything was loaded"))
    look(url)


def test_sts_and_dynamodb_share_what_was_loaded(ours: Authority) -> None:
    """One session, one context."""
    reached = connection("https://127.0.0.1:1", ours.text)
    session = session_of(reached)
    contexts = {
        id(client._endpoint.http_session._get_ssl_context())
        for client in (dynamodb(session, reached), session.create_client("sts"))
    }
    assert len(contexts) == 1


BROKEN: dict[str, tuple[str | None, str]] = {
    "missing": (None, "isn't there"),
    "empty": ("", "holds no certificate in PEM"),
    "text": ("hello", "holds no certificate in PEM"),
    "no base64": (
        "-----BEGIN CERTIFICATE-----\n!!\n-----END CERTIFICATE-----\n",
        "holds a certificate that can't be read: number 1 is cut off, or no base64",
    ),
    "no certificate": ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "holds a certificate that can't be"),
}


@pytest.mark.parametrize("variable", ["AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE"])
@pytest.mark.parametrize("fault", BROKEN)
def test_a_bundle_that_is_broken_is_named(
    url: str, fault: str, variable: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By its variable and path, with what is wrong and what to do."""
    written, words = BROKEN[fault]
    path = tmp_path / "bundle.pem"
    if written is not None:
        path.write_text(written)
    monkeypatch.setenv(variable, str(path))
    line = refusal(url)
    assert line.startswith(f"{variable} names {path}, which {words}")
    assert line.endswith("; name a file of PEM certificates, or unset it")


@pytest.mark.parametrize("variable", ["AWS_CA_BUNDLE", "SSL_CERT_FILE"])
def test_a_directory_is_no_bundle(url: str, variable: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is told so."""
    monkeypatch.setenv(variable, str(tmp_path))
    assert refusal(url) == f"{variable} names {tmp_path}, which is no file; name a file of PEM certificates, or unset it"


def test_a_directory_that_is_missing_is_named(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """SSL_CERT_DIR was set by somebody."""
    monkeypatch.setenv("SSL_CERT_DIR", "/no such")
    assert refusal(url).startswith("SSL_CERT_DIR names /no such, which can't be read (No such file or directory); ")


def test_every_broken_certificate_is_told_at_once(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The option's and the variable's."""
    monkeypatch.setenv("SSL_CERT_FILE", "/no such")
    with pytest.raises(ConfigError) as caught:
        look(url, BROKEN["no certificate"][0] or "")
    first, second = caught.value.problems
    assert first.startswith("source.ca_certs holds a certificate that can't be read (")
    assert second.startswith("SSL_CERT_FILE names /no such")


def test_an_empty_variable_is_none(public: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As `docker run -e AWS_CA_BUNDLE=` sets it."""
    for variable in NAMED:
        monkeypatch.setenv(variable, " ")
    look(public)


def test_no_file_is_left(url: str, ours: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Certificates stay in memory, so a root file system that can't be written does."""
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))
    look(url, ours.text)
    assert not (tmp_path / "temporary").exists()


def test_a_failure_of_tls_repeats_no_foreign_text() -> None:
    """Only OpenSSL's own words are shown."""
    for text in (CANARY, f"certificate verify failed: x (y) {CANARY}", f"certificate verify failed: \x1b[31m{CANARY}"):
        failure = classify(SSLError(endpoint_url="https://a.example", error=text), table="t", endpoint="https://a.example")
        assert CANARY not in failure.message


# ---- proxies --------------------------------------------------------------------------------------


@pytest.mark.parametrize("variable", ["HTTPS_PROXY", "https_proxy"])
def test_a_proxy_is_used(url: str, ours: Authority, variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a user and a password or without, and not for hosts of NO_PROXY."""
    with proxy() as (address, asked):
        for user in ("", f"http://user:{CANARY}@"):
            monkeypatch.setenv(variable, f"{user}{address}")
            look(url, ours.text)
        assert asked == [url.removeprefix("https://")] * 2
        monkeypatch.setenv("NO_PROXY", "example.com,127.0.0.1")
        look(url, ours.text)
        assert len(asked) == 2


def test_all_certificates_are_tried_through_a_proxy_too(
    url: str, ours: Authority, system: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those that are loaded only when the first don't do."""
    (system / "00000000.0").write_text("a hash that leads nowhere")
    (system / "corp.crt").write_text(ours.text)
    with proxy() as (address, asked):
        monkeypatch.setenv("HTTPS_PROXY", address)
        look(url)
        assert len(asked) == 2


def test_a_proxy_behind_tls_is_trusted_as_endpoints_are(url: str, ours: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the same certificates."""
    with proxy(certificate=ours.server("127.0.0.1")) as (address, asked):
        monkeypatch.setenv("HTTPS_PROXY", f"https://{address}")
        look(url, ours.text)
        assert len(asked) == 1


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (407, "it wants another user and password (407 Proxy Authentication Required); correct them"),
        (403, "it refuses (403 Forbidden); have it let this host through, or set NO_PROXY"),
        (502, "it refuses (502 Bad Gateway); have it let this host through, or set NO_PROXY"),
        (599, "it refuses (599); have it let this host through, or set NO_PROXY"),
    ],
)
def test_a_proxy_that_refuses_is_named(url: str, status: int, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """By host and port, never by its password."""
    with proxy(status) as (address, _):
        monkeypatch.setenv("HTTPS_PROXY", f"http://user:{CANARY}@{address}")
        assert f"can't reach {url} through the proxy {address} (HTTPS_PROXY): {words}" in refusal(url).replace(
            "/ through", " through"
        )


@pytest.mark.parametrize("password", [CANARY, "http", "1", "a%40b"])
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_proxy_that_is_dead_is_named(scheme: str, password: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the password is a word of the address."""
    port = free_port()
    monkeypatch.setenv(f"{scheme}_proxy", f"http://http:{password}@127.0.0.1:{port}")
    line = refusal(f"{scheme}://dynamodb.example")
    where = f"can't reach {scheme}://dynamodb.example through the proxy 127.0.0.1:{port} ({scheme}_proxy)"
    assert line.startswith(f"{where}: no proxy answers there; ")
    assert f":{password}@" not in line


@pytest.mark.parametrize(
    "address",
    [
        f"http://user:{CANARY}/@127.0.0.1:1",
        f"http://user:{CANARY}#@127.0.0.1:1",
        f"http://user:{CANARY}?@127.0.0.1:1",
        f"http://user:{CANARY}@127.0.0.1:port",
        f"http://user:{CANARY}@127.0.0.1:99999",
        f"http://user:{CANARY}@",
        f"socks5://user:{CANARY}@127.0.0.1:1",
        f"http://[{CANARY}",
        f"user:{CANARY}/@127.0.0.1:1",
        f"http://user:{CANARY}@127.0.0.1:1/{CANARY}",
        "http://",
        "http:",
    ],
)
@pytest.mark.parametrize("variable", ["HTTPS_PROXY", "http_proxy"])
def test_a_proxy_that_is_no_address_is_named(variable: str, address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """By its variable, with how it has to be; no password that stands where it can't is told."""
    monkeypatch.setenv(variable, address)
    line = refusal(f"{variable[:-6].lower()}://dynamodb.example")
    assert line.startswith(f"{variable}: must be http:// or https://, a host and maybe a port; ")


def test_a_password_that_can_t_be_sent_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Percent-encoded or not."""
    for password in ("pässword", "p%C3%A4ssword"):
        monkeypatch.setenv("HTTPS_PROXY", f"http://user:{password}@127.0.0.1:1")
        assert refusal("https://dynamodb.example") == "HTTPS_PROXY: user and password must be ASCII"


def test_a_proxy_that_answers_itself_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """For http there is no tunnel: its page comes in DynamoDB's place."""
    with proxy() as (address, _):
        monkeypatch.setenv("HTTP_PROXY", f"http://user:{CANARY}@{address}")
        line = refusal("http://dynamodb.example")
        assert f"http://dynamodb.example through the proxy {address} (HTTP_PROXY)" in line


# ---- addresses --------------------------------------------------------------------------------------


@pytest.mark.parametrize("url", ["http://dynamo_db:8000", "https://my_own.host_name.example"])
@pytest.mark.parametrize("way", ["endpoint_url", "AWS_ENDPOINT_URL_DYNAMODB", "AWS_ENDPOINT_URL"])
def test_an_underscore_in_a_host_is_named(url: str, way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whichever way it was given: botocore takes no such host, which docker compose makes of a service's name."""
    if way != "endpoint_url":
        monkeypatch.setenv(way, url)
    line = refusal(url if way == "endpoint_url" else "")
    host = url.split("/")[2].split(":")[0]
    assert line.startswith(f"the address {url} has an underscore in its host")
    assert f"such as {host.replace('_', '-')}" in line


def test_an_underscore_in_the_host_of_sts_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """To a reviewer, who goes on with a typed name."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", "http://s_t_s:1")
    with pytest.raises(StoreUnavailableError, match="the address http://s_t_s:1 has an underscore in its host"):
        caller_arn(connection("http://127.0.0.1:1"))


# ---- as Concourse runs it -----------------------------------------------------------------------------


@pytest.mark.parametrize("shape", ["text", "list"])
def test_check_takes_ca_certs_of_its_source(url: str, ours: Authority, other: Authority, shape: str) -> None:
    """The script itself, where nothing can be written; without them it says what to give."""
    source = {
        "pool": 2024,
        "endpoint_url": url,
        "AWS_DEFAULT_REGION": "eu-west-1",
        "AWS_ACCESS_KEY_ID": "a",
        "AWS_SECRET_ACCESS_KEY": "bbbbbb",
    }
    given = {"ca_certs": ours.text if shape == "text" else [other.text, ours.text]}
    ran = [
        subprocess.run(
            [sys.executable, ROOT / "assets" / "check"],
            input=json.dumps({"source": tried}),
            env={"PATH": os.defpath, "TMPDIR": "/no such", "AWS_EC2_METADATA_DISABLED": "true"},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        for tried in (source | given, source)
    ]
    assert [(one.returncode, one.stdout) for one in ran] == [(0, "[]\n"), (1, "")]
    assert ran[0].stderr == ""
    assert ran[1].stderr.startswith(f"{url} has no certificate this machine trusts (")
    assert ran[1].stderr.endswith("; give its CA in source.ca_certs or SSL_CERT_FILE\n")
