"""The `params` of a put step, validated before the store is used."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any

from approval_resource import strict_options as options
from approval_resource.errors import ConfigError
from approval_resource.strict_options import MAX_NAME, Options, WrongError, duration, flag, mapping, option, read_part, text
from approval_resource.text import quoted

MAX_DESCRIPTION = 2_000
MAX_PRIORITY = 1_000_000


def _policies(value: object) -> dict[str, Any] | list[Any]:
    if not isinstance(value, (dict, list)):
        raise WrongError("must be a policy, which is a map, or a list of them")
    return options.filled(value)


def _files(value: object) -> str | list[str]:
    try:
        names = [text(name) for name in value] if isinstance(value, list) else text(value)
    except WrongError:
        raise WrongError("must be a path, or a list of paths") from None
    return options.filled(names)


def _rules(value: object) -> tuple[str, ...]:
    try:
        names = [text(name) for name in value] if isinstance(value, list) else [text(value)]
    except WrongError:
        raise WrongError("must be the name of an approval rule, or a list of names") from None
    return tuple(dict.fromkeys(options.filled(names)))


_short = partial(text, most=MAX_NAME)
_description = partial(text, most=MAX_DESCRIPTION)
_priority = partial(options.whole, within=MAX_PRIORITY)
counted_from = options.matching("claim|step", "must be claim or step, from when timeout counts")
STEP = "step"


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimParams(Options):
    """`params` of a put step that claims."""

    action: str = option(text)
    lock_name: str = option(options.numbered_name)
    need_approval: bool = option(flag, False)
    description: str = option(_description, "")
    payload: dict[str, Any] | None = option(mapping, None)
    payload_file: str | None = option(text, None)
    override_approval: bool = option(flag, False)
    attach: Mapping[str, str] = option(options.texts, default_factory=dict)
    attach_digest: Mapping[str, str] = option(options.texts, default_factory=dict)
    wait: bool = option(flag, False)
    expires_after: timedelta | None = option(duration, None)
    hold_timeout: timedelta | None = option(duration, None)
    wait_timeout: timedelta | None = option(duration, None)
    priority: int = option(_priority, 0)
    policy: dict[str, Any] | list[Any] | None = option(_policies, None)
    policy_file: str | list[str] | None = option(_files, None)
    facts: dict[str, Any] | None = option(mapping, None)
    facts_file: str | None = option(text, None)
    claim_key: str = option(_short, "")


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseParams(Options):
    """`params` of a put step that releases. The original's other params of a put are accepted and ignored."""

    action: str = option(text)
    lock_name: str | None = option(options.numbered_name, None)
    from_: str | None = option(text, None, called="from")
    claim_key: str = option(_short, "")
    need_approval: bool = option(flag, False)
    override_approval: bool = option(flag, False)
    description: str = option(_description, "")


def timeout_problems(timeout: timedelta | None, timeout_from: str) -> Iterable[str]:
    """Yield a line if timeout_from is given without timeout."""
    if timeout_from and timeout is None:
        yield "timeout_from says from when timeout counts, and there is no timeout; give both or neither"


@dataclass(frozen=True, slots=True, kw_only=True)
class AwaitParams(Options):
    """`params` of a put step that waits for a decision."""

    action: str = option(text)
    lock_name: str | None = option(options.numbered_name, None)
    from_: str | None = option(text, None, called="from")
    verify: Mapping[str, str] = option(options.texts, default_factory=dict)
    reuse: bool = option(flag, False)
    timeout: timedelta | None = option(duration, None)
    claim_key: str = option(_short, "")
    timeout_from: str = option(counted_from, "")

    def contradictions(self) -> Iterable[str]:
        """Yield a line if timeout_from is given without timeout."""
        yield from timeout_problems(self.timeout, self.timeout_from)


@dataclass(frozen=True, slots=True, kw_only=True)
class RenewParams(Options):
    """`params` of a put step that renews a claim's hold on its lock."""

    action: str = option(text)
    lock_name: str | None = option(options.numbered_name, None)
    from_: str | None = option(text, None, called="from")
    hold_timeout: timedelta | None = option(duration, None)
    claim_key: str = option(_short, "")


@dataclass(frozen=True, slots=True, kw_only=True)
class DecideParams(Options):
    """`params` of a put step that approves or rejects a claim for the person who started the build."""

    action: str = option(text)
    from_: str = option(text, called="from")
    comment: str = option(text, "")
    comment_file: str | None = option(text, None)
    as_: tuple[str, ...] = option(_rules, (), called="as")
    inputs: Mapping[str, str] = option(options.texts, default_factory=dict)
    force: bool = option(flag, False)


PutParams = ClaimParams | ReleaseParams | AwaitParams | RenewParams | DecideParams
ACTIONS: Mapping[str, type[PutParams]] = {
    "claim": ClaimParams,
    "release": ReleaseParams,
    "await": AwaitParams,
    "renew": RenewParams,
    "approve": DecideParams,
    "reject": DecideParams,
}


def read_put_params(document: object) -> PutParams:
    """Read a put step's params by its action.

    Raises:
        ConfigError: every problem of them.
    """
    if not isinstance(document, Mapping):
        raise ConfigError(["params: must be a map of options"])
    action = document.get("action")
    known = "claim, release, await, renew, approve or reject"
    if action is None:
        raise ConfigError([f"params.action: required; use {known}"])
    if not isinstance(action, str) or action not in ACTIONS:
        raise ConfigError([f"params.action: unknown action {quoted(action)}; use {known}"])
    return read_part(ACTIONS[action], document)
