"""The file is read strictly: all that is wrong is told at once, with its place, and no secret stands in it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from approval_resource.errors import ConfigError
from approval_resource.model.event import State
from approval_resource.notify.config import Config, MailChannel, SlackChannel, load, read
from approval_resource.notify.outlets import outlet_of

RULE = {"pools": ["payments"], "to": ["ops"]}
SLACK = {"slack": "C0123", "token": "env:SLACK_TOKEN"}


@pytest.fixture(autouse=True)
def _secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SLACK_TOKEN", "HOOK_SECRET", "PASSWORD"):
        monkeypatch.setenv(name, f"canary-{name}")
    monkeypatch.setenv("TEAMS_URL", "https://flow.example/canary")


def problems(document: object) -> list[str]:
    """All that is told of it."""
    with pytest.raises(ConfigError) as told:
        read(document, "n.yaml")
    return list(told.value.problems)


def test_a_whole_file_is_understood(tmp_path: Path) -> None:
    """Every kind of channel, and sections of the reviewers' service, which are left to it."""
    (tmp_path / "password").write_text("from a file\n")
    text = f"""
url: https://approvals.example.com
table: approvals
region: eu-west-1
pools:
  payments: {{viewers: [everyone]}}
login: {{issuer: https://login.example.com}}
machines: []
session: {{hours: 8}}
channels:
  ops: {{slack: C0123, token: env:SLACK_TOKEN, zone: Europe/Berlin, people: {{ana: U1}}, digest: "09:00", excerpt: 5}}
  hook: {{webhook: https://hooks.example.com/approvals, secret: env:HOOK_SECRET}}
  post:
    mail: [ops@example.com]
    from: approvals@example.com
    smtp: smtp://smtp.example.com
    username: robot
    password: file:{tmp_path}/password
  cards: {{teams: env:TEAMS_URL}}
  others: {{apprise: env:HOOK_SECRET}}
notify:
  - {{pools: [payments], locks: ["prod*"], on: [pending, approved], to: [ops, hook], remind: false}}
  - {{pools: [payments, billing], to: [post, cards, others]}}
"""
    (tmp_path / "n.yaml").write_text(text)
    config = load(str(tmp_path / "n.yaml"))
    assert list(config.channels) == ["ops", "hook", "post", "cards", "others"]
    ops, post = config.channel("ops"), config.channel("post")
    assert isinstance(ops, SlackChannel)
    assert isinstance(post, MailChannel)
    assert (str(ops.zone), ops.token, ops.people, ops.digest, ops.excerpt) == (
        *("Europe/Berlin", "canary-SLACK_TOKEN", {"ana": "U1"}),
        *("09:00", 5),
    )
    assert (post.password, post.smtp.port) == ("from a file", 587)
    assert config.rules("hook")[0].on == (State.PENDING, State.APPROVED)
    assert config.rules("post")[0].remind
    assert all(outlet_of(config.channel(name)) for name in config.channels)
    assert "canary" not in repr(config)


def test_everything_wrong_is_told_at_once() -> None:
    """Each with its place and the way out."""
    told = problems(
        {
            "url": "http://x.example",
            "tabel": "x",
            "channels": {
                "ops": {"slack": "#general", "token": "xoxb-canary-in-the-file", "zone": "Mars/Base"},
                "hook": {"webhook": "https://canary:canary@x/", "secret": "env:NOT_THERE"},
                "mail": {"mail": ["ops"], "from": "a@b", "smtp": "mail.example"},
                "both": {"slack": "C1", "teams": "env:TEAMS_URL"},
                "odd": {"pager": 1},
                "spare": SLACK,
                "bad": {"teams": "env:TEAMS_URL", "digest": "9", "excerpt": 400},
            },
            "notify": [{"pools": [], "to": ["opps", "ops"], "on": ["pendng"]}, {"to": ["hook", "mail", "both", "odd", "bad"]}],
        }
    )
    text = "\n".join(told)
    for words in (
        "n.yaml.url: must begin with https://",
        'n.yaml.tabel: unknown option; did you mean "table"?',
        "n.yaml.channels.ops.slack: must be a channel's id",
        "n.yaml.channels.ops.token: must be env:NAME or file:PATH",
        "n.yaml.channels.ops.zone: must be a time zone",
        "n.yaml.channels.hook.webhook: must not hold a user or password",
        "n.yaml.channels.hook.secret: the environment variable NOT_THERE is not set",
        "n.yaml.channels.mail.mail.0: must be a mail address",
        "n.yaml.channels.mail.smtp: must",
        "n.yaml.channels.both: must have exactly one of slack, webhook, mail, teams, apprise",
        "n.yaml.channels.odd: must have exactly one of",
        "n.yaml.channels.bad.digest: must be a time",
        "n.yaml.channels.bad.excerpt: ",
        "n.yaml.channels.spare: no rule of notify names it",
        "n.yaml.notify.0.pools: must be a list with at least one name",
        'n.yaml.notify.0.on: "pendng" is no state',
        'n.yaml.notify.0.to.0: no channel is called "opps"',
        "n.yaml.notify.1.pools: required",
    ):
        assert words in text, words
    assert "canary" not in text


@pytest.mark.parametrize("document", [None, [], "x", 3, {}, {"channels": {}, "notify": []}, {"channels": 1, "notify": {}}])
def test_what_is_no_configuration_is_refused(document: object) -> None:
    """Whatever it is, without a traceback."""
    assert problems(document)


@pytest.mark.parametrize(
    ("secret", "told"),
    [
        ("canary", "must be env:NAME or file:PATH"),
        ("env:", "must be env:NAME or file:PATH"),
        ("env:NOT_THERE", "the environment variable NOT_THERE is not set"),
        ("file:/nowhere/x", "the file /nowhere/x can't be read"),
        (3, "must be env:NAME or file:PATH"),
        (None, "must be env:NAME or file:PATH"),
    ],
)
def test_a_secret_stands_elsewhere(secret: object, told: str) -> None:
    """In the environment or in a file of its own; an empty one is none."""
    (problem,) = problems({"channels": {"ops": {"slack": "C1", "token": secret}}, "notify": [RULE]})
    assert problem == f"n.yaml.channels.ops.token: {told}" + (
        ", since a secret doesn't belong in the file" if told.startswith("must") else ""
    )


@pytest.mark.parametrize("secret", ["whsec_", "whsec_abc", "whsec_a b c d=", "whsec_ä"])
def test_a_webhook_s_secret_that_is_no_base64_is_refused(secret: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else its receiver could verify nothing, or anybody could sign."""
    monkeypatch.setenv("HOOK_SECRET", secret)
    channel = {"webhook": "https://hook.example/x", "secret": "env:HOOK_SECRET"}
    (problem,) = problems({"channels": {"ops": channel}, "notify": [RULE]})
    assert problem == "n.yaml.channels.ops.secret: must be base64 after whsec_, or any other text"


def test_an_empty_secret_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither in a variable nor in a file."""
    monkeypatch.setenv("EMPTY", "")
    (tmp_path / "empty").write_text("\n")
    for secret in ("env:EMPTY", f"file:{tmp_path}/empty"):
        assert len(problems({"channels": {"ops": {"slack": "C1", "token": secret}}, "notify": [RULE]})) == 1


def test_the_shortest_file_is_quiet() -> None:
    """By default what waits and how it ended is told, in UTC, and no morning's digest."""
    config: Config = read({"channels": {"ops": SLACK}, "notify": [RULE]}, "n.yaml")
    (rule,) = config.rules("ops")
    assert State.HELD not in rule.on
    assert State.RELEASED not in rule.on
    assert rule.locks == ["*"]
    channel: Any = config.channel("ops")
    assert (str(channel.zone), channel.digest, str(channel.api)) == ("UTC", None, "https://slack.com")


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    """In one line."""
    with pytest.raises(ConfigError, match=r"nothing.yaml: can't be read"):
        load(str(tmp_path / "nothing.yaml"))
    (tmp_path / "bytes.yaml").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match=r"bytes.yaml: is no text in UTF-8"):
        load(str(tmp_path / "bytes.yaml"))
    (tmp_path / "twice.yaml").write_text("channels: {}\nchannels: {}\n")
    with pytest.raises(ConfigError, match="twice"):
        load(str(tmp_path / "twice.yaml"))


def test_a_file_of_the_service_is_understood(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every section that the reviewers' service has is either known here, or left to it."""
    from approval_resource.service.config import Config as Service

    monkeypatch.setenv("HOOK", "x")
    sections = {key: {"left": "to the service"} for key in Service.model_fields}
    mine: dict[str, Any] = {
        "url": "https://approvals.example.com",
        "table": "t",
        "region": "eu-west-1",
        "endpoint_url": "http://127.0.0.1",
        "channels": {"hook": {"webhook": "https://hooks.example.com", "secret": "env:HOOK"}},
        "notify": [{"pools": ["payments"], "to": ["hook"]}],
    }
    assert list(read({**sections, **mine}, "service.yaml").channels) == ["hook"]
