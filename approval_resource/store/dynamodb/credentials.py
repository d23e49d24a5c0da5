"""Credentials: the files that AWS's variables name, and the chain of roles assumed with credentials."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from botocore.config import Config
from botocore.credentials import AssumeRoleCredentialFetcher, DeferredRefreshableCredentials
from botocore.exceptions import BotoCoreError, ClientError, InvalidConfigError
from botocore.parsers import ResponseParserError
from botocore.session import Session

from approval_resource.errors import ConfigError, StoreUnavailableError
from approval_resource.store.dynamodb.outcomes import RoleError
from approval_resource.store.interface import Connection

CREDENTIAL_ERRORS = (BotoCoreError, ClientError, ResponseParserError, RuntimeError, ValueError, KeyError)
"""Errors of botocore when credentials, or their owner, can't be determined."""
SESSION_NAME = "approval-resource"
STS_SECONDS = 5
FILES = ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE")
TOKEN_FILE = "AWS_WEB_IDENTITY_TOKEN_FILE"  # noqa: S105 - the name of a variable
WEB_IDENTITY = "assume-role-with-web-identity"


def sts_config() -> Config:
    """Return STS's client settings. Their short timeouts report a wrong address in seconds."""
    return Config(connect_timeout=STS_SECONDS, read_timeout=STS_SECONDS, retries={"total_max_attempts": 2})


def missing_files() -> list[str]:
    """Return one line for each of AWS's variables that names a missing file."""
    named = [(variable, os.environ.get(variable, "").strip()) for variable in FILES]
    return [
        f"{variable} names {path}, which isn't there; name a file, or unset it"
        for variable, path in named
        if path and not os.path.exists(os.path.expandvars(os.path.expanduser(path)))
    ]


def find_credentials(session: Session, look: Callable[[], Any]) -> Any:
    """Return the credentials that `look` finds in the usual places, or None.

    Raises:
        ConfigError: a named file can't be used, or AWS_WEB_IDENTITY_TOKEN_FILE is set without AWS_ROLE_ARN.
    """
    try:
        credentials = look()
    except InvalidConfigError as wrong:
        if os.environ.get(TOKEN_FILE) and not os.environ.get("AWS_ROLE_ARN"):
            raise ConfigError([f"{TOKEN_FILE} is set and AWS_ROLE_ARN isn't; set both, or neither"]) from wrong
        raise
    method = getattr(credentials, "method", "")
    if method == WEB_IDENTITY:
        _require_token(session)
    elif method != "env" and (problems := missing_files()):
        raise ConfigError(problems)
    return credentials


def _require_token(session: Session) -> None:
    variable, path = TOKEN_FILE, os.environ.get(TOKEN_FILE)
    if not path or session.instance_variables().get("profile"):
        variable, path = "web_identity_token_file of the AWS profile", session.get_scoped_config()["web_identity_token_file"]
    try:
        with open(path, encoding="utf-8") as file:
            why = "" if file.read().strip() else "is empty"
    except FileNotFoundError:
        why = "isn't there"
    except (OSError, ValueError) as error:
        why = f"can't be read ({getattr(error, 'strerror', None) or 'it is no text'})"
    if why:
        raise ConfigError([f"{variable} names {path}, which {why}; mount the token there, or unset it"])


def assume(session: Session, connection: Connection) -> None:
    """Let the session act as the last role of the chain. Each role is assumed with the one before it.

    botocore renews each role's credentials when they are about to expire. The external id is for the last
    role: a chain leads to another account, whose owner asks for it.

    Raises:
        ConfigError: as `find_credentials`.
        StoreUnavailableError: there are no credentials with which to assume the first role.
    """
    roles = connection.role_arn
    try:
        source = session.get_credentials()
    except CREDENTIAL_ERRORS as error:
        # The answer of a container's role or a profile's command is left out: it may be a credential.
        raise StoreUnavailableError(
            f"the AWS credentials with which to assume {roles[0]} could not be had ({type(error).__name__}); give keys or a role"
        ) from error
    if source is None:
        raise StoreUnavailableError(f"no AWS credentials were found with which to assume {roles[0]}; give keys or a role")
    for number, role in enumerate(roles, start=1):
        extra = {"RoleSessionName": connection.role_session_name or SESSION_NAME}
        if connection.external_id and number == len(roles):
            extra["ExternalId"] = connection.external_id
        which = f"role {role} ({number} of {len(roles)})" if len(roles) > 1 else f"role {role}"
        fetch = _fetching(session, source, role, extra, which)
        source = DeferredRefreshableCredentials(method="assume-role", refresh_using=fetch)
    session._credentials = source


def _fetching(session: Session, source: Any, role: str, extra: dict[str, str], which: str) -> Callable[[], Any]:
    """Return a function that fetches the role's credentials. It reports every failure as that role's."""

    def sts(*arguments: Any, **keys: Any) -> Any:
        return session.create_client(*arguments, config=sts_config(), **keys)

    fetcher = AssumeRoleCredentialFetcher(client_creator=sts, source_credentials=source, role_arn=role, extra_args=extra)

    def fetch() -> Any:
        try:
            return fetcher.fetch_credentials()
        except RoleError:
            raise
        except CREDENTIAL_ERRORS as error:
            raise RoleError(which=which) from error

    return fetch
