"""Protocol of Concourse: source, versions and requests, validated before anything else."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from approval_resource import strict_options as options
from approval_resource.canonical import instant, parse_instant
from approval_resource.errors import ConfigError
from approval_resource.model.event import STATES, State
from approval_resource.store.interface import DEFAULT_TABLE, Connection
from approval_resource.strict_json import exact, no_constant
from approval_resource.strict_options import MAX_NAME, Options, WrongError, flag, option, read_part, text
from approval_resource.text import clean, quoted

if TYPE_CHECKING:
    from approval_resource.model.claim import Claim

DEFAULT_WAIT_LOCK = 1.0
MIN_SECRET = 6
_role = options.matching(
    r"arn:[a-z-]+:iam::\d{12}:role/[\w+=,.@/-]+",
    "must be a role's ARN, such as arn:aws:iam::123456789012:role/approvals",
)
_external_id = options.matching(r"([\w+=,.@:/-]{2,1224})?", "must be 2 to 1224 letters, digits or +=,.@:/-_")
_session_name = options.matching(r"([\w+=,.@-]{2,64})?", "must be 2 to 64 letters, digits or +=,.@-_")
_table = options.matching(r"[a-zA-Z0-9_.-]{3,255}", "must be 3 to 255 letters, digits or _.-")
_short = partial(text, most=MAX_NAME)


def _job(value: object) -> str:
    """Parse a job's name, which may hold spaces where a pipeline is old; an empty text counts as none."""
    job = text(value, MAX_NAME)
    if "/" in job or job != clean(job).strip():
        raise WrongError("must be the name of a job of this pipeline")
    return job


def _states(value: object) -> tuple[State, ...]:
    if not isinstance(value, list) or not value or not all(isinstance(state, str) for state in value):
        raise WrongError("must be a list of states, such as [approved]")
    wrong = [state for state in value if state not in STATES]
    if wrong:
        raise WrongError(f"unknown state {quoted(wrong[0])}; use {', '.join(State)}")
    return tuple(State(state) for state in value)


def _one_or_more(value: object, read: Callable[[object], str]) -> tuple[str, ...]:
    """Read one text or a list of texts. An empty text counts as none, since a variable may be empty."""
    if not isinstance(value, list):
        return () if value == "" else (read(value),)
    found, problems = [], {}
    for number, one in enumerate(value):
        try:
            found.append(read(one))
        except WrongError as wrong:
            problems[str(number)] = str(wrong)
    if problems:
        raise WrongError(next(iter(problems.values())), *problems)
    return tuple(found)


def _pem(value: object) -> str:
    written = text(value)
    if "PRIVATE KEY-----" in written:
        raise WrongError("holds a private key; give certificates alone, and make a new key, since this one was shown")
    from approval_resource.store.dynamodb.certificates import decoded

    try:
        decoded(written)
    except ValueError as wrong:
        raise WrongError(f"{wrong}; give it certificates as PEM text") from wrong
    return written


@dataclass(frozen=True, slots=True, kw_only=True)
class Source(Options):
    """The resource's `source`.

    Its repr shows no secret. It shows no address either, since an unchecked one may hold a password.
    """

    WHERE: ClassVar[str] = "source"

    pool: str = option(options.numbered_name)
    aws_access_key_id: str = option(text, "", called="AWS_ACCESS_KEY_ID", repr=False)
    aws_secret_access_key: str = option(text, "", called="AWS_SECRET_ACCESS_KEY", repr=False)
    aws_session_token: str = option(text, "", called="AWS_SESSION_TOKEN", repr=False)
    aws_default_region: str = option(text, "", called="AWS_DEFAULT_REGION")
    role_arn: tuple[str, ...] = option(partial(_one_or_more, read=_role), ())
    external_id: str = option(_external_id, "", repr=False)
    role_session_name: str = option(_session_name, "")
    ca_certs: tuple[str, ...] = option(partial(_one_or_more, read=_pem), (), repr=False)
    endpoint_url: str = option(text, "", repr=False)
    table: str = option(_table, DEFAULT_TABLE)
    wait_lock: float = option(options.seconds, DEFAULT_WAIT_LOCK)
    debug: bool = option(flag, False)
    lock_name: str | None = option(options.numbered_name, None)
    states: tuple[State, ...] = option(_states, ())
    approve_job: str = option(_job, "")
    reject_job: str = option(_job, "")

    def contradictions(self) -> Iterable[str]:
        """Yield each contradiction between options that are valid one by one, as a line."""
        keys = (self.aws_access_key_id, self.aws_secret_access_key)
        if any(keys) != all(keys) or (self.aws_session_token and not all(keys)):
            yield (
                "needs both AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, with or without AWS_SESSION_TOKEN, "
                "or none of them, to use the worker's role"
            )
        if not self.role_arn and (self.external_id or self.role_session_name):
            yield "external_id and role_session_name are for a role that is assumed; give role_arn too"

    @property
    def connection(self) -> Connection:
        """Connection to the table."""
        return Connection(
            table=self.table,
            region=self.aws_default_region,
            endpoint_url=self.endpoint_url,
            role_arn=self.role_arn,
            external_id=self.external_id,
            role_session_name=self.role_session_name,
            ca_certs=self.ca_certs,
            access_key_id=self.aws_access_key_id,
            secret_access_key=self.aws_secret_access_key,
            session_token=self.aws_session_token,
        )

    def secrets(self) -> list[str]:
        """Return the texts that must never be shown.

        A text below `MIN_SECRET` characters is no AWS credential, and its redaction would hide other words.
        """
        kept = (self.aws_access_key_id, self.aws_secret_access_key, self.aws_session_token, self.external_id)
        return [secret for secret in kept if len(secret) >= MIN_SECRET]


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestedVersion(Options):
    """Version as Concourse hands it back. The original resource's versions have only a timestamp."""

    WHERE: ClassVar[str] = "version"

    id: str = option(_short, "")
    lock_name: str = option(text, "")
    state: str = option(text, "")
    timestamp: str = option(text)


@dataclass(frozen=True, slots=True)
class Version:
    """One state change of one claim. Concourse stores it, and hands it to steps and to the next check."""

    id: str
    lock_name: str
    state: State
    timestamp: datetime

    def render(self) -> dict[str, str]:
        """Return the flat map of strings that Concourse requires."""
        return {
            "id": self.id,
            "lock_name": self.lock_name,
            "state": self.state.value,
            "timestamp": instant(self.timestamp),
        }

    @classmethod
    def of(cls, claim: Claim) -> Version:
        """Return the version of a claim's newest state change."""
        return cls(claim.id, claim.lock_name, claim.state, claim.changed)

    @classmethod
    def parse(cls, document: Mapping[str, Any]) -> Version:
        """Parse a version that `render` wrote.

        Raises:
            ConfigError: it isn't of that form.
        """
        raw = read_part(RequestedVersion, document)
        try:
            return cls(raw.id, raw.lock_name, State(raw.state), parse_instant(raw.timestamp))
        except ValueError as wrong:
            raise ConfigError(
                ["version: not one that this resource's check gave; it has id, lock_name, state and timestamp"]
            ) from wrong


def version_timestamp(document: Mapping[str, Any]) -> datetime:
    """Parse the instant of any version that `check` may get, the original's bare timestamps included.

    Raises:
        ConfigError: the version has no instant.
    """
    text = read_part(RequestedVersion, document).timestamp
    try:
        at = datetime.fromtimestamp(float(text), UTC) if re.fullmatch(r"\d+(\.\d+)?", text) else datetime.fromisoformat(text)
        return at.astimezone(UTC) if at.tzinfo else at.replace(tzinfo=UTC)
    except (ValueError, OverflowError, OSError) as wrong:
        raise ConfigError(["version.timestamp: must be an instant such as 2026-11-21T09:30:00.000000Z"]) from wrong


def read_request(text: bytes) -> dict[str, Any]:
    """Parse the JSON document on stdin.

    Raises:
        ConfigError: it isn't one JSON object, or has numbers or characters that can't be stored.
    """
    try:
        request = json.loads(text, parse_constant=no_constant, parse_float=exact)
        json.dumps(request, ensure_ascii=False).encode()
    except RecursionError as deep:
        raise ConfigError(["stdin: the document is nested too deeply"]) from deep
    except UnicodeEncodeError as half:
        raise ConfigError(["stdin: the document holds half a surrogate pair, which is no character"]) from half
    except (ValueError, UnicodeDecodeError) as wrong:
        why = wrong.msg if isinstance(wrong, json.JSONDecodeError) else "it has a number or a character that can't be kept"
        raise ConfigError([f"stdin: not a JSON document ({why})"]) from wrong
    if not isinstance(request, dict):
        raise ConfigError(["stdin: must be a JSON object with source, and params or version where they apply"])
    return request
