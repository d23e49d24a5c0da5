"""schemathesis against the API: requests made of openapi.json, good and bad, and every answer held to what it tells."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from uuid import uuid4

import pytest

from approval_resource.model.claim import Attachment, Verdict
from approval_resource.service.acts import Said
from approval_resource.service.app import service_of
from approval_resource.service.config import Secrets
from approval_resource.service.guard import Buckets
from approval_resource.service.people import Person
from approval_resource.store.dynamodb.store import DynamoStore
from approval_resource.store.interface import Connection
from demo.engine import REGION, Engine, free_port
from tests.builders import under
from tests.service.conftest import ANA, KEY, Running, a_config, one_provider, serving
from tests.service.provider import ISSUER, SECRET, Provider

__all__ = ["one_provider"]

SECONDS = 110
"""Upper bound of one run."""
EXAMPLES = 100


@pytest.fixture(scope="module")
def api(engine: Engine, one_provider: Provider) -> Iterator[Running]:
    """A service for programs, which floods nobody out."""
    connection = Connection(
        table=f"t-{uuid4()}", region=REGION, endpoint_url=engine.url, access_key_id="test", secret_access_key="test-secret"
    )
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    machines = [{"issuer": ISSUER, "discovery": one_provider.url, "audience": "approvals-api"}]
    config = a_config(url, one_provider, connection, machines=machines)
    service = service_of(config, Secrets(SECRET, (KEY.encode(),)), DynamoStore.connect(connection, creates=True))
    service = replace(service, buckets=Buckets(10**6, 10**6))
    with ExitStack() as running, serving(service, port):
        yield Running(service, DynamoStore.connect(connection, creates=True), url, running)


EXPECTED = """
[checks.missing_required_header]
expected-statuses = [401, 428]
[checks.positive_data_acceptance]
expected-statuses = ["2xx", 401, 404, 409, 412]
"""
"""428 is RFC 6585's for a missing If-Match, and 412 tells of a claim that isn't as the request says."""


def operations(api: Running) -> Iterator[str]:
    """Yield the settings of each operation that is about a claim: one that is there, and its tag where it takes one."""
    content = b"# plan\n"
    file = Attachment(sha256(content).hexdigest(), len(content), True)
    taken = {"attachments": {"plan.txt": file}, "attached": {"plan.txt": content}}
    claims = [api.claim(number, terms=under(required_approvals=3), **taken) for number in range(1, 4)]
    person = Person(identity=ANA, via="session", groups=GROUPS)
    api.service.acts.review(person, claims[0].id, Said(verdict=Verdict.APPROVE))
    tag = api.service.desk.view(person, claims[1]).tag
    for name, claim, more in (
        ("claim", claims[0], ""),
        ("reviews", claims[0], ""),
        ("attachment", claims[0], ', "path.name" = "plan.txt"'),
        ("review", claims[1], f', "header.If-Match" = \'"{tag}"\''),
        ("withdrawal", claims[2], ""),
    ):
        yield f'[[operations]]\ninclude-operation-id = "{name}"\nparameters = {{ "path.id" = "{claim.id}"{more} }}\n'


@pytest.mark.timeout(300)
@pytest.mark.parametrize("known", [False, True], ids=["any id", "ids of claims"])
def test_schemathesis_finds_nothing(
    api: Running,
    one_provider: Provider,
    tmp_path: Path,
    known: bool,
) -> None:
    """No failure of any of its checks, in a run that is the same each time."""
    config = tmp_path / "schemathesis.toml"
    config.write_text(EXPECTED + ("\n".join(operations(api)) if known else ""), encoding="utf-8")
    token = one_provider.token(one_provider.claims("ana", audience="approvals-api", groups=["team-payments", "platform"]))
    command = [
        *(str(Path(sys.executable).with_name("schemathesis")), f"--config-file={config}", "run", f"{api.url}/openapi.json"),
        *("--checks=all", "--seed=1", "--generation-database=none", f"--max-examples={EXAMPLES}", "--no-color"),
        *("--phases=examples,coverage,fuzzing", f"--header=Authorization: Bearer {token}"),
    ]
    environment = {"PATH": os.defpath, "HOME": str(tmp_path), "NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False, timeout=SECONDS)
    assert done.returncode == 0, done.stdout[-12_000:] + done.stderr[-2_000:]
    assert json.loads(api.browser().send("GET", "/openapi.json").text)["openapi"] == "3.1.0"


GROUPS = (f"oidc-group:{ISSUER}#team-payments",)
