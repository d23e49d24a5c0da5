"""Notifications that the service sends, with links and buttons of its own, and its channels' status."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Collection, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from threading import Event as Flag
from threading import Thread
from typing import Any

from starlette.concurrency import run_in_threadpool

from approval_resource.canonical import EMPTY
from approval_resource.claims.decide import policies_of, terms_of
from approval_resource.claims.review import shown_digest
from approval_resource.clock import HostClock
from approval_resource.errors import ApprovalError, ConfigError
from approval_resource.model.claim import Claim, Verdict
from approval_resource.notify import config as channels
from approval_resource.notify import run
from approval_resource.notify.channels import apprise
from approval_resource.notify.worker import Worker
from approval_resource.service.config import Config
from approval_resource.service.links import Links
from approval_resource.service.looks import Cache
from approval_resource.service.signing import Signer
from approval_resource.store.dynamodb.store import DynamoStore

log = logging.getLogger("approval_resource.service.telling")

FRESH_SECONDS = 10.0
"""Time for which the channels' status is shown before it is looked at again."""
MAX_VALUE = 2_000
"""Upper bound of a button's value, set by Slack."""
BUTTONS = {"approve": Verdict.APPROVE, "reject": Verdict.REJECT}


def channels_of(config: Config, where: str = "config") -> channels.Config | None:
    """Return the channels and rules of the service's config, with their secrets; None where it has none.

    Raises:
        ConfigError: all that is wrong with them.
    """
    if not config.channels and not config.notify:
        return None
    found = channels.read({"channels": config.channels, "notify": config.notify}, where)
    problems = [
        f"{where}.channels.{name}: {apprise.missing()}"
        for name in found.channels
        if isinstance(found.channel(name), channels.AppriseChannel) and apprise.missing()
    ]
    if not config.slack:
        problems += [
            f"{where}.channels.{name}.buttons: need the section slack, by which the service knows Slack's requests"
            for name in with_buttons(found)
        ]
    problems += [
        f"{where}.notify.{number}.pools: {pool} is none of the pools that are served"
        for number, rule in enumerate(found.notify)
        for pool in rule.pools
        if pool not in config.pools
    ]
    if problems:
        raise ConfigError(problems)
    return found


def with_buttons(config: channels.Config) -> dict[str, channels.SlackChannel]:
    """Return the channels whose messages have buttons, by name."""
    found = {name: config.channel(name) for name in config.channels}
    return {name: one for name, one in found.items() if isinstance(one, channels.SlackChannel) and one.buttons}


class Ways:
    """`Links` of the service's own messages: pages, links by which programs decide, buttons."""

    def __init__(self, store: DynamoStore, links: Links, signer: Signer, config: Config, buttons: Collection[str]) -> None:
        """Make links below `config.url`. `buttons`: names of the channels that have buttons."""
        self._store = store
        self._links = links
        self._signer = signer
        self._url = config.url
        # With max_age, deciding takes a recent sign-in, which a button can't prove.
        self._buttons = () if config.login.max_age is not None else buttons

    def page(self, claim: Claim) -> str:
        """See `notify.links.Links.page`."""
        return f"{self._url}/claims/{claim.id}"

    def decisions(self, claim: Claim, channel: str) -> Mapping[str, str]:
        """See `notify.links.Links.decisions`."""
        now = self._store.now()
        ways = (("approve_url", Verdict.APPROVE), ("deny_url", Verdict.REJECT))
        return {name: self._links.address(claim, verdict, channel, now) for name, verdict in ways}

    def buttons(self, claim: Claim, channel: str) -> Mapping[str, str]:
        """See `notify.links.Links.buttons`. A claim has none if a policy asks for inputs."""
        if channel not in self._buttons:
            return EMPTY
        try:
            settings = self._store.settings(claim.pool)
            policies = policies_of(terms_of(self._store, claim), settings.policy)
        except ApprovalError:
            return EMPTY
        if any(policy.inputs for policy in policies):
            return EMPTY
        seen = shown_digest(claim, settings)
        values = {
            action: f"{claim.id}.{seen}.{self._signer.word('button', *self._parts(channel, claim.id, verdict, seen))}"
            for action, verdict in BUTTONS.items()
        }
        return values if all(len(value) <= MAX_VALUE for value in values.values()) else EMPTY

    def pressed(self, value: str, verdict: Verdict, channel: str) -> tuple[str, str] | None:
        """Return the claim's id and the shown digest in a button's value; None if it isn't ours."""
        claim_id, _, rest = value.partition(".")
        seen, _, word = rest.partition(".")
        fits = self._signer.is_word(word, "button", *self._parts(channel, claim_id, verdict, seen))
        return (claim_id, seen) if fits else None

    def _parts(self, channel: str, claim_id: str, verdict: Verdict, seen: str) -> tuple[str, ...]:
        return self._url, channel, claim_id, verdict.value, seen


class Telling:
    """Notifications of a running service."""

    def __init__(self, config: channels.Config | None, store: DynamoStore, ways: Ways) -> None:
        """Send what `store` holds to the channels of `config`."""
        self.config = config
        self.ways = ways
        self._store = store
        self._thread: Thread | None = None
        self._statuses: Cache[list[run.Status]] = Cache(FRESH_SECONDS)

    @asynccontextmanager
    async def lifespan(self, app: Any) -> AsyncIterator[None]:
        """Send notifications while the application runs."""
        with self.running() as stop:
            try:
                yield
            finally:
                stop.set()
                await run_in_threadpool(self.finish)

    @contextmanager
    def running(self) -> Iterator[Flag]:
        """Send notifications until the block ends, or until the flag that it yields is set."""
        stop = Flag()
        self._thread = self._begun(stop)
        try:
            yield stop
        finally:
            stop.set()
            self.finish()

    def finish(self) -> None:
        """Wait until each worker has ended its turn."""
        if self._thread:
            self._thread.join()

    def _begun(self, stop: Flag) -> Thread | None:
        workers = self.workers()
        if not workers:
            return None
        thread = Thread(target=run.follow, args=(workers, stop), name="telling")
        thread.start()
        return thread

    def workers(self) -> list[Worker]:
        """Return a worker for each channel."""
        ours = self._store, self._store.outbox
        return run.workers(self.config, lambda: ours, self.ways, HostClock()) if self.config else []

    def statuses(self) -> list[run.Status]:
        """Return the status of each channel."""
        if self.config is None:
            return []
        config = self.config
        return self._statuses.get("", lambda: run.statuses(config, self._store, self._store.outbox))

    def unwell(self, pools: Collection[str]) -> list[run.Status]:
        """Return the status of each channel of those pools that needs attention."""
        config = self.config
        if config is None:
            return []
        told = {name for name in config.channels for rule in config.rules(name) if set(rule.pools) & set(pools)}
        try:
            return [status for status in self.statuses() if status.channel in told and not run.is_well(status)]
        except ApprovalError as error:
            # A page about claims is shown all the same.
            log.warning("channels", extra={"told": {"event": "channels", "why": str(error)[:300]}})
            return []
