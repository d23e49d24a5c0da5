"""Reviewers' service of the playground. People sign in at the engine's Cognito."""

from __future__ import annotations

import json
import secrets
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from botocore.session import Session

from demo.engine import REGION, ROOT, Engine, free_port, running
from demo.inbox import inbox

GROUPS = {"anna": ("reviewers", "security"), "ben": ("reviewers",), "carl": ("reviewers",)}
"""Groups at the issuer of each person who can sign in."""


@dataclass(frozen=True, slots=True)
class Issuer:
    """User pool of the engine's Cognito, with its one client and its people."""

    name: str
    discovery: str
    client_id: str
    client_secret: str
    password: str
    subjects: Mapping[str, str]

    def identity(self, name: str) -> str:
        """One of its people, as reviews and policies name them."""
        return f"oidc:{self.name}#{self.subjects[name]}"

    def group(self, name: str) -> str:
        """One of its groups, as policies name it."""
        return f"oidc-group:{self.name}#{name}"


def issuer_of(engine: Engine, url: str, environ: Mapping[str, str]) -> Issuer:
    """Make the pool, its people, and the client whose service answers at `url`."""
    session = Session()
    session.set_credentials(environ["AWS_ACCESS_KEY_ID"], environ["AWS_SECRET_ACCESS_KEY"])
    cognito = session.create_client("cognito-idp", region_name=REGION, endpoint_url=engine.url)
    pool = cognito.create_user_pool(PoolName="playground")["UserPool"]["Id"]
    client = cognito.create_user_pool_client(
        UserPoolId=pool,
        ClientName="approvals",
        GenerateSecret=True,
        CallbackURLs=[f"{url}/auth/callback"],
        AllowedOAuthFlows=["code"],
        AllowedOAuthScopes=["openid", "profile", "email"],
        AllowedOAuthFlowsUserPoolClient=True,
        SupportedIdentityProviders=["COGNITO"],
    )["UserPoolClient"]
    password = f"Try-{secrets.token_hex(3)}"
    subjects = {}
    for name, groups in GROUPS.items():
        about = {"email": f"{name}@example.com", "email_verified": "true", "name": name.capitalize()}
        attributes = [{"Name": key, "Value": value} for key, value in about.items()]
        made = cognito.admin_create_user(UserPoolId=pool, Username=name, UserAttributes=attributes)["User"]
        subjects[name] = next(one["Value"] for one in made["Attributes"] if one["Name"] == "sub")
        cognito.admin_set_user_password(UserPoolId=pool, Username=name, Password=password, Permanent=True)
        for group in groups:
            if group not in {one["GroupName"] for one in cognito.list_groups(UserPoolId=pool)["Groups"]}:
                cognito.create_group(UserPoolId=pool, GroupName=group)
            cognito.admin_add_user_to_group(UserPoolId=pool, Username=name, GroupName=group)
    return Issuer(
        name=f"https://cognito-idp.{REGION}.amazonaws.com/{pool}",
        discovery=f"{engine.url}/{pool}",
        client_id=client["ClientId"],
        client_secret=client["ClientSecret"],
        password=password,
        subjects=subjects,
    )


@contextmanager
def service(engine: Engine, environ: Mapping[str, str], directory: Path) -> Iterator[tuple[str, Issuer]]:
    """Run a service of the pool `try`, which sends to an inbox. Yield its address and its issuer.

    Raises:
        RuntimeError: it did not start.
    """
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    issuer = issuer_of(engine, url, environ)
    hook = secrets.token_urlsafe(32)
    config = {
        "url": url,
        "listen": f"127.0.0.1:{port}",
        "pools": {"try": {"viewers": ["everyone"], "reviewers": ["reviewers"], "operators": ["security"]}},
        "login": {
            "issuer": issuer.name,
            "discovery": issuer.discovery,
            "client_id": issuer.client_id,
            "client_secret": "env:OIDC_SECRET",
            "groups_claim": "cognito:groups",
        },
        "session": {"keys": ["env:SESSION_KEY"]},
        "notify": [{"pools": ["try"], "to": ["inbox"]}],
    }
    scratch = directory / "service"
    scratch.mkdir()
    file = scratch / "service.yaml"
    secret = {"OIDC_SECRET": issuer.client_secret, "SESSION_KEY": secrets.token_urlsafe(48), "HOOK_SECRET": hook}
    command = [sys.executable, str(ROOT / "cli.py"), "serve", "--config", str(file)]
    with inbox(hook) as address:
        channels = {"channels": {"inbox": {"webhook": address, "secret": "env:HOOK_SECRET"}}}
        file.write_text(json.dumps(config | channels, indent=2), encoding="utf-8")  # JSON is YAML too
        with running(command, {**environ, **secret}, f"{url}/healthz", scratch):
            yield url, issuer
