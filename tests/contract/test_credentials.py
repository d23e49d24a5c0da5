"""Credentials: chains of roles, and files of AWS's variables that aren't there."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from approval_resource.errors import ApprovalError
from approval_resource.store.dynamodb.store import DynamoStore
from approval_resource.store.interface import Connection
from tests.builders import ManualClock
from tests.tls import Authority, Aws, aws

ARN = "arn:aws:iam::123456789012:role/"
CANARY = "c4nary-s3cret"
UNSET = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE", "AWS_ROLE_ARN", "AWS_CONFIG_FILE")
MORE = ("AWS_SHARED_CREDENTIALS_FILE", "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_CA_BUNDLE", "SSL_CERT_FILE")


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A machine without any credentials."""
    for variable in (*UNSET, *MORE):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


@pytest.fixture
def both(monkeypatch: pytest.MonkeyPatch) -> Iterator[Aws]:
    """DynamoDB and STS."""
    with aws() as served:
        monkeypatch.setenv("AWS_ENDPOINT_URL", served.url)
        yield served


def chain(*names: str, **more: Any) -> Connection:
    """Those roles, one assumed with the other, from keys of the source."""
    roles = tuple(ARN + name for name in names)
    return Connection(region="eu-west-1", access_key_id="worker", secret_access_key="bbbbbb", role_arn=roles, **more)


def store(connection: Connection) -> DynamoStore:
    """The store behind it."""
    return DynamoStore.connect(connection, clock=ManualClock())


def refusal(connection: Connection) -> str:
    """The one line with which a look at the table fails."""
    with pytest.raises(ApprovalError) as caught:
        store(connection).lock("pool", "lock")
    [line] = str(caught.value).splitlines()
    assert CANARY not in line
    return line


# ---- chains of roles --------------------------------------------------------------------------


@pytest.mark.parametrize("names", [("one",), ("one", "two"), ("one", "two", "three")])
def test_each_role_is_assumed_with_the_one_before_it(both: Aws, names: tuple[str, ...]) -> None:
    """The table is asked with the last one's keys; the external id goes to the last, the session's name to all."""
    reached = store(chain(*names, external_id="ext/1", role_session_name="concourse@main"))
    for _ in range(2):
        assert reached.lock("pool", "lock") is None
    assert both.signers == ["worker", *names, names[-1]]
    assert [asked["RoleArn"] for asked in both.asked] == [ARN + name for name in names]
    assert [asked.get("ExternalId") for asked in both.asked] == [None] * (len(names) - 1) + ["ext/1"]
    assert {asked["RoleSessionName"] for asked in both.asked} == {"concourse@main"}


def test_a_session_has_a_name_of_its_own(both: Aws) -> None:
    """This resource's, unless another is given."""
    store(chain("one")).lock("pool", "lock")
    assert both.asked[0]["RoleSessionName"] == "approval-resource"
    assert "ExternalId" not in both.asked[0]


def test_the_credentials_of_a_chain_are_renewed(both: Aws) -> None:
    """All of them, whenever they are about to run out: whoever waits for days is not thrown out."""
    both.until = f"{datetime.now(UTC) + timedelta(minutes=2):%Y-%m-%dT%H:%M:%SZ}"
    reached = store(chain("one", "two"))
    for _ in range(2):
        reached.lock("pool", "lock")
    assert both.signers.count("worker") >= 2
    assert both.signers.count("one") >= 2
    both.signers.clear()
    both.until = "2099-01-01T00:00:00Z"
    for _ in range(2):
        reached.lock("pool", "lock")
    assert both.signers == ["worker", "one", "two", "two"]


@pytest.mark.parametrize("refused", ["one", "two", "three"])
def test_the_role_that_can_t_be_assumed_is_named(both: Aws, refused: str) -> None:
    """With its place in the chain, what AWS said, and the next move; the external id isn't told."""
    both.refused = refused
    names = ["one", "two", "three"]
    number = names.index(refused)
    line = refusal(chain(*names, external_id=CANARY))
    caller = ["worker", *names][number]
    assert line.startswith(f"role {ARN}{refused} ({number + 1} of 3) could not be assumed: User: {caller} is not authorized")
    assert "its trust policy must name that caller, with external_id where it asks for one" in line


def test_a_single_role_has_no_number(both: Aws) -> None:
    """There is nothing to count."""
    both.refused = "one"
    assert refusal(chain("one")).startswith(f"role {ARN}one could not be assumed: User: worker is not authorized")


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("http://127.0.0.1:9", "can't reach http://127.0.0.1:9; check endpoint_url, region and network"),
        ("nonsense", "AWS's settings can't be used: Invalid endpoint: nonsense"),
        ("http://s_t_s", "the address http://s_t_s has an underscore in its host"),
        (f"http://user:{CANARY}@127.0.0.1:9", "can't reach http://127.0.0.1:9;"),
    ],
)
def test_an_sts_that_can_t_be_asked_is_told_with_its_role(
    both: Aws, address: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its address is named, without a password."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", address)
    line = refusal(chain("one", "two"))
    assert words in line
    assert line.startswith((f"role {ARN}one (1 of 2) could not be assumed: ", "the address "))


def test_ca_certs_count_for_sts_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The role is assumed behind a private CA, and so is the table reached."""
    ours = Authority.made(tmp_path, "ours")
    with aws(ours.server("127.0.0.1")) as served:
        monkeypatch.setenv("AWS_ENDPOINT_URL", served.url)
        line = refusal(chain("one"))
        assert line.startswith(f"role {ARN}one could not be assumed: {served.url} has no certificate this machine trusts")
        assert store(chain("one", ca_certs=(ours.text,))).lock("pool", "lock") is None
        assert served.signers == ["worker", "one"]


def test_no_credentials_to_begin_with_names_the_first_role() -> None:
    """It is what they are for."""
    line = refusal(Connection(region="eu-west-1", role_arn=(f"{ARN}one", f"{ARN}two")))
    assert line == f"no AWS credentials were found with which to assume {ARN}one; give keys or a role"


# ---- files ------------------------------------------------------------------------------------------

WORKER = Connection(region="eu-west-1")


def test_a_web_identity_is_used(both: Aws, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By AWS's variables, as Kubernetes sets them; roles of the source are assumed with it."""
    (tmp_path / "token").write_text("token")
    monkeypatch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", str(tmp_path / "token"))
    monkeypatch.setenv("AWS_ROLE_ARN", f"{ARN}pod")
    assert store(Connection(region="eu-west-1", role_arn=(f"{ARN}one",))).lock("pool", "lock") is None
    assert [asked["Action"] for asked in both.asked] == ["AssumeRoleWithWebIdentity", "AssumeRole"]
    assert both.signers == ["", "pod", "one"]


@pytest.mark.parametrize("roles", [(), (f"{ARN}one",)])
@pytest.mark.parametrize(
    ("content", "why"), [(None, "isn't there"), (b" \n", "is empty"), (b"\xff", "can't be read (it is no text)")]
)
def test_a_token_file_that_can_t_be_used_is_named(
    both: Aws, content: bytes | None, why: str, roles: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By its variable and path; nothing is asked."""
    path = tmp_path / "token"
    if content is not None:
        path.write_bytes(content)
    monkeypatch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", str(path))
    monkeypatch.setenv("AWS_ROLE_ARN", f"{ARN}pod")
    line = refusal(Connection(region="eu-west-1", role_arn=roles))
    assert line == f"AWS_WEB_IDENTITY_TOKEN_FILE names {path}, which {why}; mount the token there, or unset it"
    assert both.signers == []


def test_a_profiles_token_file_is_named(both: Aws, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the profile's setting."""
    (tmp_path / "config").write_text(f"[profile pod]\nrole_arn = {ARN}pod\nweb_identity_token_file = /no such\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    line = refusal(Connection(region="eu-west-1", profile="pod"))
    assert line.startswith("web_identity_token_file of the AWS profile names /no such, which isn't there")


def test_a_token_file_without_its_role_is_told(both: Aws, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """AWS_ROLE_ARN belongs to it."""
    monkeypatch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", str(tmp_path / "token"))
    assert refusal(WORKER) == "AWS_WEB_IDENTITY_TOKEN_FILE is set and AWS_ROLE_ARN isn't; set both, or neither"


@pytest.mark.parametrize("variable", ["AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"])
def test_a_file_that_points_nowhere_is_named(both: Aws, variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Instead of other credentials, which are not meant, or none."""
    monkeypatch.setenv(variable, "/no such")
    assert refusal(WORKER) == f"{variable} names /no such, which isn't there; name a file, or unset it"


@pytest.mark.parametrize("variable", ["AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"])
def test_a_file_that_is_not_needed_may_be_missing(both: Aws, variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys of the source or the environment count more than any file, so some set it to nothing on purpose."""
    monkeypatch.setenv(variable, "/no such")
    assert store(chain("one")).lock("pool", "lock") is None
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "worker")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "bbbbbb")
    monkeypatch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", "/no such")
    assert store(WORKER).lock("pool", "lock") is None


def test_a_region_or_profile_that_is_missing_names_the_file_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is most likely there."""
    for variable in ("AWS_DEFAULT_REGION", "AWS_REGION"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", "/no such")
    for connection in (Connection(), Connection(region="eu-west-1", profile="ops")):
        with pytest.raises(ApprovalError) as caught:
            store(connection)
        assert str(caught.value).endswith("AWS_CONFIG_FILE names /no such, which isn't there; name a file, or unset it")
