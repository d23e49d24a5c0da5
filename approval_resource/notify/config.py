"""Configuration of the notifications: one YAML file, shared with the reviewers' service, read strictly."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, BeforeValidator, Field
from pydantic_core import PydanticCustomError

from approval_resource.config_file import NoSecretError, document_in, matching, names_secret, secret_of
from approval_resource.errors import ConfigError
from approval_resource.model.event import STATES, State
from approval_resource.notify.channels.webhook import key_of
from approval_resource.notify.connections import Address, address_problem, parse_address
from approval_resource.policy.language.strict import Document, Flag, Name, problems_of
from approval_resource.strict_options import placed
from approval_resource.text import clean, quoted

OTHERS = (
    *("pools", "login", "machines", "session", "aws", "balancer", "links"),
    *("listen", "proxies", "metrics", "slack"),
)
"""Sections of the same file that the reviewers' service reads."""
MAX_CHANNEL = 60
MAX_EXCERPT = 40
DEFAULT_ON = (State.PENDING, State.APPROVED, State.REJECTED, State.EXPIRED, State.SUPERSEDED, State.WITHDRAWN)


def _secret(value: object) -> object:
    """Return the value that `env:NAME` or `file:PATH` names. A secret never stands in the file itself."""
    if not names_secret(value):
        raise PydanticCustomError("secret", "must be env:NAME or file:PATH, since a secret doesn't belong in the file")
    try:
        return secret_of(str(value))
    except NoSecretError as absent:
        raise PydanticCustomError("secret", "{told}", {"told": str(absent)}) from None


def _address(*schemes: str, secret: bool = False) -> BeforeValidator:
    """Return a validator of URLs with these schemes. With `secret`, env:NAME may name the URL."""

    def read(value: object) -> Address:
        if secret and names_secret(value):
            value = _secret(value)
        why = address_problem(value, schemes)
        if why:
            raise PydanticCustomError("address", "{told}", {"told": why})
        return parse_address(str(value))

    return BeforeValidator(read)


def _zone(value: object) -> ZoneInfo:
    try:
        return ZoneInfo(str(value))
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise PydanticCustomError("zone", "must be a time zone such as Europe/Berlin") from None


def _states(value: object) -> object:
    if not isinstance(value, list) or not value:
        raise PydanticCustomError("states", "must be a list of states")
    wrong = [str(one) for one in value if str(one) not in STATES]
    if wrong:
        told = f"{quoted(wrong[0])} is no state; there are {', '.join(STATES)}"
        raise PydanticCustomError("states", "{told}", {"told": told})
    return tuple(STATES[str(one)] for one in value)


def _list_of_names(value: object) -> object:
    if not isinstance(value, list) or not value:
        raise PydanticCustomError("names", "must be a list with at least one name")
    return value


def _signing(secret: str) -> str:
    try:
        key_of(secret)
    except ValueError:
        raise PydanticCustomError("signing", "must be base64 after whsec_, or any other text") from None
    return secret


Secret = Annotated[str, Field(repr=False), BeforeValidator(_secret)]
Zone = Annotated[ZoneInfo, BeforeValidator(_zone)]
Names = Annotated[list[Name], BeforeValidator(_list_of_names)]
Mailbox = Annotated[str, matching(r"[\w.!#\$%&'*+/=?^`{|}~-]{1,64}@[A-Za-z0-9.-]{1,189}", "must be a mail address")]
Time = Annotated[str, matching(r"([01][0-9]|2[0-3]):[0-5][0-9]", 'must be a time such as "09:00"')]
SlackId = Annotated[str, matching(r"[CGD][A-Z0-9]{1,20}", "must be a channel's id, such as C0123456789")]


class Channel(Document):
    """Options that every kind of channel has."""

    zone: Zone = ZoneInfo("UTC")
    """Time zone of the times in its messages."""
    excerpt: int = Field(12, ge=0, le=MAX_EXCERPT)
    """Lines of the first attached text that are shown; 0 for none."""
    people: dict[str, str] = Field(default_factory=dict)
    """Channel's own name of each person, by identity or by name in policies."""
    digest: Time | None = None
    """Local time at which a digest lists all pending claims on weekdays, or None."""


class SlackChannel(Channel):
    """Channel of Slack, by a bot's token."""

    slack: SlackId
    token: Secret
    api: Annotated[Address, _address("https")] = parse_address("https://slack.com/api")
    buttons: Flag = False
    """Whether its messages have buttons to decide by. Only the reviewers' service sends them."""


class WebhookChannel(Channel):
    """Program that gets signed POST requests."""

    webhook: Annotated[Address, _address("https", secret=True)]
    secret: Annotated[Secret, AfterValidator(_signing)]


class MailChannel(Channel):
    """Mailboxes, by SMTP."""

    mail: list[Mailbox] = Field(min_length=1, max_length=20)
    sender: Mailbox = Field(alias="from")
    smtp: Annotated[Address, _address("smtp", "smtps")]
    username: str = ""
    password: Secret = ""


class TeamsChannel(Channel):
    """Channel of Microsoft Teams, by the address of a workflow, which is a secret."""

    teams: Annotated[Address, _address("https", secret=True)]


class AppriseChannel(Channel):
    """Any service that apprise knows, by its address, which is a secret."""

    apprise: Secret


AnyChannel = SlackChannel | WebhookChannel | MailChannel | TeamsChannel | AppriseChannel
KINDS: dict[str, type[AnyChannel]] = {
    "slack": SlackChannel,
    "webhook": WebhookChannel,
    "mail": MailChannel,
    "teams": TeamsChannel,
    "apprise": AppriseChannel,
}


class Rule(Document):
    """Rule by which channels are told of some pools' claims."""

    pools: Names
    locks: Names = Field(default_factory=lambda: ["*"])
    """Shell patterns of lock names."""
    on: Annotated[tuple[State, ...], BeforeValidator(_states)] = DEFAULT_ON
    to: Names
    remind: Flag = True


class Config(Document):
    """Whole configuration, with each channel by its name."""

    url: Annotated[Address, _address("https")] | None = None
    table: Name | None = None
    region: Name | None = None
    endpoint_url: Name | None = None
    channels: dict[str, Any] = Field(min_length=1)
    notify: list[Rule] = Field(min_length=1)

    def channel(self, name: str) -> AnyChannel:
        """Return the channel of that name."""
        found: AnyChannel = self.channels[name]
        return found

    def rules(self, channel: str) -> list[Rule]:
        """Return the rules that name the channel."""
        return [rule for rule in self.notify if channel in rule.to]


def load(path: str) -> Config:
    """Read the configuration from a file.

    Raises:
        ConfigError: all that is wrong with it.
    """
    return read(document_in(Path(path)), path)


def read(document: object, where: str) -> Config:
    """Parse a configuration document.

    Raises:
        ConfigError: all that is wrong with it.
    """
    told = {key: value for key, value in document.items() if key not in OTHERS} if isinstance(document, Mapping) else document
    config, found = problems_of(Config, told)
    problems = [placed(where, path, why) for path, why in found]
    channels: dict[str, AnyChannel] = {}
    given = told.get("channels") if isinstance(told, Mapping) else None
    for name, options in given.items() if isinstance(given, Mapping) else ():
        channel, wrong = _channel(str(name), options)
        problems += [placed(where, ("channels", str(name), *path), why) for path, why in wrong]
        if channel is not None:
            channels[str(name)] = channel
    problems += _unmatched(told, where)
    if problems or config is None:
        raise ConfigError(problems)
    return config.model_copy(update={"channels": channels})


def _channel(name: str, options: object) -> tuple[AnyChannel | None, list[tuple[tuple[str | int, ...], str]]]:
    if not name or name != clean(name).strip() or len(name) > MAX_CHANNEL:
        return None, [((), f"must have a name of at most {MAX_CHANNEL} characters, without space around it")]
    kinds = [kind for kind in KINDS if isinstance(options, Mapping) and kind in options]
    if len(kinds) != 1:
        return None, [((), f"must have exactly one of {', '.join(KINDS)}")]
    channel, found = problems_of(KINDS[kinds[0]], options)
    if isinstance(channel, MailChannel) and not found:
        found = [(("people", who), "must be a mail address") for who, to in channel.people.items() if "@" not in clean(to)]
    return channel, found


def _unmatched(told: object, where: str) -> list[str]:
    """Return a line for each unknown channel that a rule names, and each channel that no rule names."""
    if not isinstance(told, Mapping) or not isinstance(told.get("channels"), Mapping):
        return []
    names = [str(name) for name in told["channels"]]
    rules = told["notify"] if isinstance(told.get("notify"), list) else []
    used = [
        (number, place, str(name))
        for number, rule in enumerate(rules)
        if isinstance(rule, Mapping) and isinstance(rule.get("to"), list)
        for place, name in enumerate(rule["to"])
    ]
    problems = [
        placed(where, ("notify", number, "to", place), f"no channel is called {quoted(name)}")
        for number, place, name in used
        if name not in names
    ]
    unused = [name for name in names if name not in {name for _, _, name in used}]
    return problems + [placed(where, ("channels", name), "no rule of notify names it in `to`") for name in unused]
