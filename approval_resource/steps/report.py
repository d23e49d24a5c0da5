"""What a step tells of a claim: metadata and lines of the build log."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from datetime import datetime, timedelta

from approval_resource.canonical import instant
from approval_resource.model import Claim, Event, State, Waiter
from approval_resource.queue import Standing
from approval_resource.steps.protocol import Source
from approval_resource.store.connect import DEFAULT_TABLE
from approval_resource.text import clean, duration, without_mail

Metadata = list[dict[str, str]]
AHEAD = 3
"""Of those ahead in a queue, how many are named."""
REMIND = timedelta(minutes=5)
"""How often a wait is told of though nothing has changed."""


def metadata(claim: Claim, state: str, event: Event) -> Metadata:
    """The pairs that Concourse shows with a step: never payloads, attachments or mail addresses."""
    pairs = {"lock": claim.lock_name, "pool": claim.pool, "state": state, "claim": claim.id}
    if claim.build.created_by:
        pairs["requester"] = claim.build.created_by
    pairs["claimed by"] = str(claim.build)
    if claim.build.link:
        pairs["build"] = claim.build.link
    if claim.description:
        pairs["description"] = claim.description
    decision = claim.decided if claim.decided and claim.decided.timestamp <= event.timestamp else None
    if decision:
        pairs |= {"decided by": decision.actor, "decided at": instant(decision.at)}
        if decision.reason:
            pairs["reason"] = decision.reason
    pairs["event digest"] = event.digest
    return [{"name": name, "value": without_mail(clean(value))} for name, value in pairs.items()]


def how_to_decide(claim: Claim, source: Source) -> list[str]:
    """Who may decide, and the lines to copy."""
    options = [("--table", source.table, DEFAULT_TABLE), ("--region", source.aws_default_region, "")]
    options.append(("--endpoint-url", source.endpoint_url, ""))
    where = [part for name, value, usual in options if value != usual for part in (name, value)]
    command = shlex.join(["python3", "cli.py", *where])
    return [
        f"One approval opens it, by anyone who may write table {source.table}; one rejection ends it:",
        f"  {command} approve --id {claim.id}",
        f"  {command} reject --id {claim.id} --comment 'why'",
    ]


class Waiting:
    """The build log of a wait for a lock: a line when its holder or the place in the queue changes, else every few minutes."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._holder: tuple[str, State] | None = None
        self._place = -1
        self._at: datetime | None = None

    def tell(self, standing: Standing) -> None:
        """Tell of a look, if there is anything to tell. A lock that is free for a moment is nothing new."""
        seen, now = standing.holder, standing.now
        holder = (seen.id, seen.state) if seen else self._holder
        again = self._at is None or now - self._at >= REMIND
        if seen is not None and (again or holder != self._holder):
            self._say(_held(seen, now))
        if again or (holder, standing.place) != (self._holder, self._place):
            self._say(_queued(standing))
            self._holder, self._place, self._at = holder, standing.place, now


def _held(holder: Claim, now: datetime) -> str:
    waits = ", waiting for an approval" if holder.state is State.PENDING else ""
    where = f" ({holder.build.link})" if holder.build.link else ""
    return (
        f"The lock {holder.lock_name} is already claimed by {holder.build}{where} for {duration(now - holder.timestamp)}{waits}: "
        f"claim {holder.id}. Waiting for it"
    )


def _queued(standing: Standing) -> str:
    ahead = standing.lock.queue[: standing.place]
    named = ", ".join(_waiter(waiter, standing.now) for waiter in ahead[:AHEAD])
    more = f" and {len(ahead) - AHEAD} more" if len(ahead) > AHEAD else ""
    after = f", after {named}{more}" if ahead else ""
    return f"Place {standing.place + 1} of {len(standing.lock.queue)} in the queue for {standing.lock.name}{after}"


def _waiter(waiter: Waiter, now: datetime) -> str:
    """Who waits, and for how long."""
    return f"{waiter.build} (waiting for {duration(now - waiter.since)})"
