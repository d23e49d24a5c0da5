"""What Concourse sends and takes: source, params, versions, metadata and the build, checked at the door."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field, SecretStr, model_validator
from pydantic_core import PydanticCustomError

from approval_resource.canonical import digest, instant, parse_instant
from approval_resource.errors import ConfigError
from approval_resource.model import STATES, Build, Claim, State
from approval_resource.options import MAX_NAME, Document, Duration, Flag, Name, read_part, try_part
from approval_resource.store import new_id
from approval_resource.store.connect import DEFAULT_TABLE, Connection
from approval_resource.text import clean, quoted

DEFAULT_WAIT_LOCK = 1.0
MIN_SECRET = 6
MAX_DESCRIPTION = 2_000
MAX_PRIORITY = 1_000_000
Seconds = Annotated[float, Field(gt=0, le=3600, allow_inf_nan=False)]


class Source(Document):
    """The resource's `source`."""

    WHERE: ClassVar[str] = "source"

    pool: Name
    aws_access_key_id: SecretStr = Field(SecretStr(""), alias="AWS_ACCESS_KEY_ID")
    aws_secret_access_key: SecretStr = Field(SecretStr(""), alias="AWS_SECRET_ACCESS_KEY")
    aws_session_token: SecretStr = Field(SecretStr(""), alias="AWS_SESSION_TOKEN")
    aws_default_region: str = Field("", alias="AWS_DEFAULT_REGION")
    role_arn: str = Field("", pattern=r"^(arn:[a-z-]+:iam::\d{12}:role/[\w+=,.@/-]+)?$")
    endpoint_url: str = Field("", repr=False)
    """It may hold a password, until it is refused for that."""
    table: str = Field(DEFAULT_TABLE, pattern=r"^[a-zA-Z0-9_.-]{3,255}$")
    wait_lock: Seconds = DEFAULT_WAIT_LOCK
    debug: Flag = False
    lock_name: Name | None = None
    states: Annotated[tuple[State, ...], BeforeValidator(lambda value: _states(value))] = ()

    @model_validator(mode="after")
    def _whole_keys(self) -> Source:
        keys = (self.aws_access_key_id.get_secret_value(), self.aws_secret_access_key.get_secret_value())
        if any(keys) != all(keys) or (self.aws_session_token.get_secret_value() and not all(keys)):
            raise PydanticCustomError(
                "keys",
                "needs both AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, with or without AWS_SESSION_TOKEN, "
                "or none of them, to use the worker's role",
            )
        return self

    @property
    def connection(self) -> Connection:
        """How to reach the table."""
        return Connection(
            table=self.table,
            region=self.aws_default_region,
            endpoint_url=self.endpoint_url,
            role_arn=self.role_arn,
            access_key_id=self.aws_access_key_id.get_secret_value(),
            secret_access_key=self.aws_secret_access_key.get_secret_value(),
            session_token=self.aws_session_token.get_secret_value(),
        )

    def secrets(self) -> list[str]:
        """What must never be shown. Anything shorter is no credential of AWS, and would blot out ordinary words."""
        kept = (self.aws_access_key_id, self.aws_secret_access_key, self.aws_session_token)
        return [secret.get_secret_value() for secret in kept if len(secret.get_secret_value()) >= MIN_SECRET]


def _states(value: object) -> object:
    if not isinstance(value, list) or not value or not all(isinstance(state, str) for state in value):
        raise PydanticCustomError("states", "must be a list of states, such as [approved]")
    wrong = [state for state in value if state not in STATES]
    if wrong:
        known = ", ".join(State)
        raise PydanticCustomError("states", "unknown state {wrong}; use {known}", {"wrong": quoted(wrong[0]), "known": known})
    return tuple(State(state) for state in value)


class GetParams(Document):
    """`params` of a get step."""

    lock_name: Name | None = None
    need_approval: Flag = False
    timeout: Duration | None = None


class ClaimParams(Document):
    """`params` of a put step that claims."""

    action: Literal["claim"]
    lock_name: Name
    need_approval: Flag = False
    description: str = Field("", max_length=MAX_DESCRIPTION)
    payload: dict[str, Any] | None = None
    payload_file: str | None = None
    override_approval: Flag = False
    attach: dict[str, str] = Field(default_factory=dict)
    attach_digest: dict[str, str] = Field(default_factory=dict)
    wait: Flag = False
    expires_after: Duration | None = None
    hold_timeout: Duration | None = None
    wait_timeout: Duration | None = None
    priority: int = Field(0, ge=-MAX_PRIORITY, le=MAX_PRIORITY)
    policy: dict[str, Any] | list[Any] | None = None
    policy_file: str | list[str] | None = None
    facts: dict[str, Any] | None = None
    facts_file: str | None = None
    claim_key: str = Field("", max_length=MAX_NAME)


class ReleaseParams(Document):
    """`params` of a put step that releases. The original's other params of a put are taken and mean nothing here."""

    action: Literal["release"]
    lock_name: Name | None = None
    from_: str | None = Field(None, alias="from")
    claim_key: str = Field("", max_length=MAX_NAME)
    need_approval: Flag = False
    override_approval: Flag = False
    description: str = Field("", max_length=MAX_DESCRIPTION)


class AwaitParams(Document):
    """`params` of a put step that waits for a decision."""

    action: Literal["await"]
    lock_name: Name | None = None
    from_: str | None = Field(None, alias="from")
    verify: dict[str, str] = Field(default_factory=dict)
    reuse: Flag = False
    timeout: Duration | None = None
    claim_key: str = Field("", max_length=MAX_NAME)


class RenewParams(Document):
    """`params` of a put step that may hold its lock for longer."""

    action: Literal["renew"]
    lock_name: Name | None = None
    from_: str | None = Field(None, alias="from")
    hold_timeout: Duration | None = None
    claim_key: str = Field("", max_length=MAX_NAME)


PutParams = ClaimParams | ReleaseParams | AwaitParams | RenewParams
ACTIONS: Mapping[str, type[PutParams]] = {
    "claim": ClaimParams,
    "release": ReleaseParams,
    "await": AwaitParams,
    "renew": RenewParams,
}


class RequestedVersion(Document):
    """A version as Concourse hands it back; the original resource's had only a timestamp."""

    WHERE: ClassVar[str] = "version"

    id: str = Field("", max_length=MAX_NAME)
    lock_name: str = ""
    state: str = ""
    timestamp: str


@dataclass(frozen=True, slots=True)
class Version:
    """One state change of one claim: what Concourse stores, hands around and asks for again."""

    id: str
    lock_name: str
    state: State
    timestamp: datetime

    def render(self) -> dict[str, str]:
        """The flat map of strings that Concourse wants."""
        return {
            "id": self.id,
            "lock_name": self.lock_name,
            "state": self.state.value,
            "timestamp": instant(self.timestamp),
        }

    @classmethod
    def of(cls, claim: Claim) -> Version:
        """The version of a claim's newest state change."""
        return cls(claim.id, claim.lock_name, claim.state, claim.changed)

    @classmethod
    def parse(cls, document: Mapping[str, Any]) -> Version:
        """The version that `render` wrote.

        Raises:
            ConfigError: it is not of that form.
        """
        raw = read_part(RequestedVersion, document)
        try:
            return cls(raw.id, raw.lock_name, State(raw.state), parse_instant(raw.timestamp))
        except ValueError as wrong:
            raise ConfigError(
                ["version: not one that this resource's check gave; it has id, lock_name, state and timestamp"]
            ) from wrong


def version_timestamp(document: Mapping[str, Any]) -> datetime:
    """The instant of any version `check` may be given, the original resource's bare timestamps included.

    Raises:
        ConfigError: it tells no instant.
    """
    text = read_part(RequestedVersion, document).timestamp
    try:
        at = datetime.fromtimestamp(float(text), UTC) if re.fullmatch(r"\d+(\.\d+)?", text) else datetime.fromisoformat(text)
        return at.astimezone(UTC) if at.tzinfo else at.replace(tzinfo=UTC)
    except (ValueError, OverflowError, OSError) as wrong:
        raise ConfigError(["version.timestamp: must be an instant such as 2026-11-21T09:30:00.000000Z"]) from wrong


def build_of(environ: Mapping[str, str]) -> Build:
    """The build whose step this is, as Concourse's environment variables tell.

    A run that no BUILD_ID names is nobody's second try, so it gets an id of its own.
    """

    def told(name: str) -> str:
        text = clean(environ.get(name, "").encode("utf-8", "surrogateescape").decode("utf-8", "replace"))
        # No such name is that long, and a claim has to fit its item; what makes it differ is kept.
        return text if len(text) <= MAX_NAME else f"{text[:MAX_NAME]}…{digest(text)[:16]}"

    return Build(
        url=told("ATC_EXTERNAL_URL"),
        team=told("BUILD_TEAM_NAME"),
        pipeline=told("BUILD_PIPELINE_NAME"),
        instance_vars=told("BUILD_PIPELINE_INSTANCE_VARS"),
        job=told("BUILD_JOB_NAME"),
        id=told("BUILD_ID") or f"unknown-{new_id()}",
        name=told("BUILD_NAME"),
        created_by=told("BUILD_CREATED_BY"),
    )


def read_put_params(document: object) -> tuple[PutParams | None, list[str]]:
    """A put step's params by its action, or every problem of them."""
    if not isinstance(document, Mapping):
        return None, ["params: must be a map of options"]
    action = document.get("action")
    known = "claim, release, await or renew"
    if action is None:
        return None, [f"params.action: required; use {known}"]
    if not isinstance(action, str) or action not in ACTIONS:
        return None, [f"params.action: unknown action {quoted(action)}; use {known}"]
    return try_part(ACTIONS[action], document)
