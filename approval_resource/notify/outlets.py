"""Outlets: the class that sends to each kind of channel."""

from __future__ import annotations

from collections.abc import Iterator

from approval_resource.notify.channels.apprise import AppriseOutlet
from approval_resource.notify.channels.interface import Outlet
from approval_resource.notify.channels.mail import MailOutlet
from approval_resource.notify.channels.slack import SlackOutlet
from approval_resource.notify.channels.teams import TeamsOutlet
from approval_resource.notify.channels.webhook import WebhookOutlet
from approval_resource.notify.config import (
    AnyChannel,
    AppriseChannel,
    Config,
    MailChannel,
    SlackChannel,
    TeamsChannel,
    WebhookChannel,
)
from approval_resource.notify.connections import ChannelDownError, MessageRefusedError


def outlet_of(channel: AnyChannel) -> Outlet:
    """Return the outlet to a channel. Nothing is sent yet."""
    match channel:
        case SlackChannel():
            return SlackOutlet(channel.slack, channel.token, channel.api, channel.people)
        case WebhookChannel():
            return WebhookOutlet(channel.webhook, channel.secret)
        case MailChannel():
            return MailOutlet(channel.mail, channel.sender, channel.smtp, channel.username, channel.password, channel.people)
        case TeamsChannel():
            return TeamsOutlet(channel.teams)
        case AppriseChannel():
            return AppriseOutlet(channel.apprise)


def unreachable(config: Config) -> Iterator[str]:
    """Yield a line for each channel that can't be reached. No message is sent."""
    for name in config.channels:
        try:
            outlet_of(config.channel(name)).check()
        except (ChannelDownError, MessageRefusedError) as why:
            yield f"channel {name}: {why}"
