"""An AWS account on the embedded engine that enforces IAM, and the people and pipelines in it."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import boto3

from approval_resource.store.interface import DEFAULT_TABLE
from demo.engine import ROOT, ministack

NUMBER = "123456789012"
REGION = "eu-west-1"
"""With the default table, these are what the policy documents name, so that they are tried as they stand."""
TABLE_ARN = f"arn:aws:dynamodb:{REGION}:{NUMBER}:table/{DEFAULT_TABLE}"
DOCUMENTS = ROOT / "docs" / "iam"
SECONDS = 60

Result = subprocess.CompletedProcess[str]
Policy = dict[str, Any]


def document(name: str, table: str = DEFAULT_TABLE) -> Policy:
    """The policy document of that name, for that table."""
    text = (DOCUMENTS / f"{name}.json").read_text(encoding="utf-8")
    policy: Policy = json.loads(text.replace(f"table/{DEFAULT_TABLE}", f"table/{table}"))
    return policy


@dataclass(frozen=True, slots=True, order=True)
class Grant:
    """One action on one resource; the resource is told by what follows the table's ARN in it."""

    action: str
    place: str = ""

    def __str__(self) -> str:
        return f"{self.action.removeprefix('dynamodb:')}{self.place}"


def grants(policy: Policy) -> list[Grant]:
    """Everything that the policy allows, one by one."""
    allowed = [statement for statement in policy["Statement"] if statement["Effect"] == "Allow"]
    return [
        Grant(action, resource.removeprefix(TABLE_ARN))
        for statement in allowed
        for action in _listed(statement["Action"])
        for resource in _listed(statement["Resource"])
    ]


def without(policy: Policy, grant: Grant, table: str = DEFAULT_TABLE) -> Policy:
    """The policy with everything but that grant, for that table."""
    arn = TABLE_ARN.removesuffix(DEFAULT_TABLE) + table
    kept = [statement for statement in policy["Statement"] if statement["Effect"] == "Deny"]
    kept += [
        {"Effect": "Allow", "Action": [other.action], "Resource": f"{arn}{other.place}"}
        for other in grants(policy)
        if other != grant
    ]
    return {"Version": policy["Version"], "Statement": kept}


def _listed(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value


@dataclass(frozen=True, slots=True)
class Keys:
    """An access key, with a session's token where it belongs to one."""

    id: str
    secret: str
    token: str = ""


@dataclass(frozen=True, slots=True)
class Caller:
    """Somebody with keys of the account, who runs the real scripts and the real command line."""

    name: str
    keys: Keys
    url: str

    def client(self, service: str) -> Any:
        """A client of that service with nothing of this project in between."""
        return boto3.client(
            service,
            endpoint_url=self.url,
            region_name=REGION,
            aws_access_key_id=self.keys.id,
            aws_secret_access_key=self.keys.secret,
            aws_session_token=self.keys.token or None,
        )

    def cli(self, *arguments: str, table: str = "") -> Result:
        """Run `cli.py`; the caller's identity comes from the engine's STS."""
        environment = _environment(self.url) | {
            "AWS_ACCESS_KEY_ID": self.keys.id,
            "AWS_SECRET_ACCESS_KEY": self.keys.secret,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_ENDPOINT_URL_DYNAMODB": self.url,
        }
        if table:
            environment["APPROVAL_TABLE"] = table
        if self.keys.token:
            environment["AWS_SESSION_TOKEN"] = self.keys.token
        return subprocess.run(
            [sys.executable, "cli.py", *arguments],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )

    def check(self, pool: str, version: Mapping[str, str] | None = None, **source: Any) -> Result:
        """Run `assets/check`."""
        return self._script("check", {"source": self._source(pool, source), "version": version})

    def out(self, pool: str, build: str, directory: Path | str = ROOT, table: str = "", by: str = "", **params: Any) -> Result:
        """Run `assets/out` for that build, which `by` started. `from_` is the param `from`."""
        named = {name.removesuffix("_"): value for name, value in params.items()}
        source = self._source(pool, {"table": table} if table else {})
        return self._script("out", {"source": source, "params": named}, build, str(directory), by=by)

    def get(self, pool: str, version: Mapping[str, str], build: str, directory: Path, **params: Any) -> Result:
        """Run `assets/in` for that build."""
        request = {"source": self._source(pool, {}), "version": version, "params": params}
        return self._script("in", request, build, str(directory))

    @contextmanager
    def getting(
        self, pool: str, version: Mapping[str, str], build: str, directory: Path, **params: Any
    ) -> Iterator[subprocess.Popen[str]]:
        """Let `assets/in` run meanwhile; it is gone at the end whatever happens."""
        process = subprocess.Popen(
            [sys.executable, str(ROOT / "assets" / "in"), str(directory)],
            env=_environment(self.url, build),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        with process:
            try:
                assert process.stdin is not None
                json.dump({"source": self._source(pool, {}), "version": version, "params": params}, process.stdin)
                process.stdin.close()
                process.stdin = None
                yield process
            finally:
                process.kill()

    def _source(self, pool: str, more: Mapping[str, Any]) -> dict[str, Any]:
        return {
            "pool": pool,
            "AWS_ACCESS_KEY_ID": self.keys.id,
            "AWS_SECRET_ACCESS_KEY": self.keys.secret,
            "AWS_DEFAULT_REGION": REGION,
            "endpoint_url": self.url,
            "wait_lock": 0.1,
            **more,
        }

    def _script(self, step: str, request: object, build: str = "1", *arguments: str, by: str = "") -> Result:
        return subprocess.run(
            [sys.executable, str(ROOT / "assets" / step), *arguments],
            env=_environment(self.url, build) | ({"BUILD_CREATED_BY": by} if by else {}),
            input=json.dumps(request),
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )


def _environment(url: str, build: str = "") -> dict[str, str]:
    """Nothing of AWS but the engine; with a build's number, what Concourse tells of it."""
    environment = os.environ | {
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_ENDPOINT_URL_STS": url,
        "NO_PROXY": "127.0.0.1",
        "no_proxy": "127.0.0.1",
    }
    if build:
        environment |= {
            "ATC_EXTERNAL_URL": "https://ci.example",
            "BUILD_TEAM_NAME": "main",
            "BUILD_PIPELINE_NAME": "app",
            "BUILD_JOB_NAME": "deploy",
            "BUILD_ID": build,
            "BUILD_NAME": build,
        }
    return dict(environment)


class Account:
    """The account. Its root may do everything; everybody else what their policy says."""

    def __init__(self, url: str, root: Keys) -> None:
        self.root = Caller("root", root, url)
        self._iam = self.root.client("iam")

    def user(self, *policies: Policy, name: str = "user") -> Caller:
        """A new IAM user with those policies and nothing else."""
        name = f"{name}-{uuid4().hex[:12]}"
        self._iam.create_user(UserName=name)
        key = self._iam.create_access_key(UserName=name)["AccessKey"]
        user = Caller(name, Keys(key["AccessKeyId"], key["SecretAccessKey"]), self.root.url)
        for policy in policies:
            self.grant(user, policy)
        return user

    def grant(self, user: Caller, policy: Policy) -> None:
        """Give a user one more policy."""
        self._iam.put_user_policy(UserName=user.name, PolicyName=f"policy-{uuid4()}", PolicyDocument=json.dumps(policy))

    def session(self, credentials: Mapping[str, Any]) -> Caller:
        """Somebody with a role's temporary credentials."""
        keys = Keys(credentials["AccessKeyId"], credentials["SecretAccessKey"], credentials["SessionToken"])
        return Caller("session", keys, self.root.url)

    def role(self, name: str, trust: Policy, policy: Policy) -> str:
        """A new IAM role; returns its ARN."""
        unique = f"{name}-{uuid4().hex[:12]}"
        role = self._iam.create_role(RoleName=unique, AssumeRolePolicyDocument=json.dumps(trust))["Role"]
        self._iam.put_role_policy(RoleName=unique, PolicyName="policy", PolicyDocument=json.dumps(policy))
        return str(role["Arn"])


@contextmanager
def an_account() -> Iterator[Account]:
    """A fresh account on an engine of its own, with the documented table in it.

    Under AUTH the engine takes the keys in its own environment for the account's root.
    """
    root = Keys("root-of-the-account", secrets.token_hex(16))
    with ministack(
        AUTH="true", MINISTACK_ACCOUNT_ID=NUMBER, AWS_ACCESS_KEY_ID=root.id, AWS_SECRET_ACCESS_KEY=root.secret
    ) as engine:
        account = Account(engine.url, root)
        made = account.root.cli("init")
        assert made.returncode == 0, made.stderr
        yield account


def answer(result: Result) -> Any:
    """What a script that succeeded answered."""
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


def printed(result: Result) -> str:
    """What a command that succeeded printed."""
    assert result.returncode == 0, result.stderr
    assert not result.stderr
    return result.stdout


def refusal(result: Result) -> str:
    """The one line that a refused script or command ended with: no answer, no traceback; 3 is an audit that could not look."""
    assert result.returncode in (1, 3), f"not refused: {result.returncode} {result.stdout} {result.stderr}"
    assert not result.stdout
    assert "Traceback" not in result.stderr
    lines = [line for line in result.stderr.splitlines() if not line.startswith(("Claiming the lock", "Releasing the lock"))]
    assert len(lines) == 1, result.stderr
    return lines[0]
