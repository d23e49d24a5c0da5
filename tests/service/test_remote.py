"""The command line through a service: for people who have an identity and no access to the table."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner, Result

from approval_resource.model.event import State
from approval_resource.store.interface import Connection
from cli import cli
from tests.builders import under
from tests.service.conftest import ANA, Running, Serve
from tests.service.provider import ISSUER, Provider


@pytest.fixture
def remote(serve: Serve, provider: Provider, monkeypatch: pytest.MonkeyPatch) -> Running:
    """A service that takes the token in this environment, which has no way to the table."""
    running = serve(machines=[{"issuer": ISSUER, "discovery": provider.url, "audience": "cli"}])
    monkeypatch.setenv("APPROVAL_TOKEN", provider.token(provider.claims("ana", audience="cli")))
    monkeypatch.setenv("AWS_ENDPOINT_URL_DYNAMODB", "http://127.0.0.1:1")
    return running


def run(running: Running, *arguments: str) -> Result:
    """The command line with --service."""
    return CliRunner().invoke(cli, ["--service", running.url, *arguments])


def test_a_claim_is_listed_shown_and_approved(remote: Running) -> None:
    """Under the identity of the token; what is still missing is told."""
    claim = remote.claim(description="Release 41", terms=under(required_approvals=2))
    assert claim.id in run(remote, "list", "--mine").output
    assert json.loads(run(remote, "list", "--format", "json").output)[0]["id"] == claim.id
    assert "Release 41" in run(remote, "show", claim.id).output
    done = run(remote, "approve", claim.id, "--comment", "fine")
    assert done.exit_code == 0, done.output
    assert "1 of 2" in done.output
    assert remote.store.claim(claim.id).reviews[ANA].comment == "fine"  # type: ignore[union-attr]


def test_a_claim_is_rejected_or_withdrawn(remote: Running) -> None:
    """Each by its own command; a refusal is one line and exit code 1."""
    one, two = remote.claim(1), remote.claim(2)
    assert run(remote, "reject", one.id, "--comment", "no").exit_code == 0
    assert run(remote, "withdraw", two.id, "--reason", "old").exit_code == 0
    assert [remote.store.claim(c.id).state for c in (one, two)] == [State.REJECTED, State.WITHDRAWN]  # type: ignore[union-attr]
    again = run(remote, "approve", one.id)
    assert again.exit_code == 1
    assert again.output.startswith("ERROR: claim")
    assert run(remote, "approve", "unknown").exit_code == 1


def test_what_needs_the_table_says_so(remote: Running) -> None:
    """And a token is never sent in the clear."""
    answer = run(remote, "audit", "verify")
    assert answer.exit_code == 1
    assert "audit needs the table" in answer.output
    plain = CliRunner().invoke(cli, ["--service", "http://approvals.example.com", "list"])
    assert plain.exit_code == 1
    assert "must be https" in plain.output


def test_aws_credentials_are_proof_enough(serve: Serve, connection: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a token the command line signs a request that tells the service who its caller is."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", connection.endpoint_url)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test-secret")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    aws = {"region": "us-east-1", "sts": connection.endpoint_url, "accounts": ["000000000000"]}
    running = serve(aws=aws, pools={"payments": {"reviewers": ["everyone"]}})
    claim = running.claim()
    assert run(running, "approve", claim.id).exit_code == 0
    after = running.store.claim(claim.id)
    assert after is not None
    assert all(who.startswith("aws:arn:") for who in after.reviews)
