"""Report of a step about a claim: metadata and lines of the build log."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import TYPE_CHECKING

from approval_resource.canonical import instant
from approval_resource.claims import decide as decisions
from approval_resource.claims.poller import REMIND
from approval_resource.errors import ApprovalError
from approval_resource.model.claim import Claim
from approval_resource.model.event import Event, State
from approval_resource.program import called
from approval_resource.steps.step import Step
from approval_resource.store.interface import DEFAULT_TABLE
from approval_resource.text import clean, duration, visible, without_mail

if TYPE_CHECKING:
    from approval_resource.claims.wait_for_lock import Standing
    from approval_resource.model.queue_order import Waiter

CONNECTION_VARIABLES = ("APPROVAL_TABLE", "AWS_REGION", "AWS_ENDPOINT_URL_DYNAMODB")
"""The command line's variables for the table, its region and its endpoint."""
Metadata = list[dict[str, str]]
YAML_WORDS = {
    word
    for each in ("true", "false", "yes", "no", "on", "off", "null", "y", "n")
    for word in (each, each.title(), each.upper())
}
MAX_NAMED = 3
"""Upper bound of the lines about who can open a gate, and of the builds named that are ahead in a queue."""


def metadata(claim: Claim, state: str, event: Event | None) -> Metadata:
    """Return the pairs that Concourse shows with a step: never payloads, attachments or mail addresses.

    `event`: event that brought the claim into `state`; None if it was removed by age.
    """
    pairs = {"lock": claim.lock_name, "pool": claim.pool, "state": state, "claim": claim.id}
    if claim.build.created_by:
        pairs["requester"] = visible(claim.build.created_by)
    pairs["claimed by"] = str(claim.build)
    if claim.build.link:
        pairs["build"] = claim.build.link
    if claim.description:
        pairs["description"] = claim.description
    decision = claim.decided if claim.decided and (event is None or claim.decided.timestamp <= event.timestamp) else None
    if decision:
        pairs |= {"decided by": visible(decision.actor), "decided at": instant(decision.at)}
        if decision.reason:
            pairs["reason"] = decision.reason
    if event is not None:
        pairs["event digest"] = event.digest
    return [{"name": name, "value": without_mail(clean(value))} for name, value in pairs.items()]


def who_decides(step: Step, claim: Claim) -> list[str]:
    """Return what the claim still needs, who may decide, and the lines to copy.

    The lines repeat nothing of `source`: Concourse redacts values from `((vars))` in a build log, so a
    repeated value could not be pasted.
    """
    source = step.source
    lines = [
        *_jobs(step),
        f"  {called()} show {claim.id}",
        f"  {called()} approve --id {claim.id}",
        f"  {called()} reject --id {claim.id} --comment 'why'",
    ]
    given = (source.table != DEFAULT_TABLE, source.aws_default_region, source.endpoint_url)
    needed = [name for name, told in zip(CONNECTION_VARIABLES, given, strict=True) if told]
    if needed:
        lines.append(f"  with {', '.join(needed)} set to what this resource's source says")
    missing = still_missing(step, claim)
    if not missing:
        return ["One approval opens it, by anyone who may write its table; one rejection ends it:", *lines]
    return [f"It {missing}" if missing.startswith("needs ") else f"It waits: {missing}", *_openers(step, claim), *lines]


def _jobs(step: Step) -> list[str]:
    """Return the lines that start the deciding jobs, where the source names them."""
    source, build = step.source, step.build
    named = [job for job in (source.approve_job, source.reject_job) if job]
    if not named or not build.pipeline:
        return []
    team = f" --team {shlex.quote(build.team)}" if build.team else ""
    pipeline = "/".join(part for part in (build.pipeline, _instance(build.instance_vars)) if part)
    lines = [f"  fly trigger-job -j {shlex.quote(f'{pipeline}/{job}')}{team}" for job in named]
    return [
        *lines,
        "  with -t and your target, or the + on the job's page. The job decides on the claim pending when it runs. Or:",
    ]


def _instance(instance_vars: str) -> str:
    """Return a pipeline's instance variables as fly takes them, such as `env:eu,region.name:north`."""
    try:
        given = json.loads(instance_vars or "{}")
    except (ValueError, RecursionError):
        return instance_vars
    return ",".join(f"{name}:{_fly_value(value)}" for name, value in _flat(given)) if isinstance(given, dict) else instance_vars


def _flat(value: object, path: str = "") -> Iterator[tuple[str, object]]:
    if not isinstance(value, dict) or (path and not value):
        yield path, value
        return
    for name, inner in value.items():
        key = name if re.fullmatch(r"[\w-]+", name) else json.dumps(name, ensure_ascii=False)
        yield from _flat(inner, f"{path}.{key}" if path else key)


def _fly_value(value: object) -> str:
    """Return a value as YAML on one line. Text that YAML would read as another type is quoted."""
    plain = isinstance(value, str) and re.fullmatch(r"[A-Za-z][\w./-]*", value, re.ASCII)
    return str(value) if plain and value not in YAML_WORDS else json.dumps(value)


def still_missing(step: Step, claim: Claim) -> str:
    """Return in one line what the claim still needs; empty where one approval is enough.

    If that can't be determined, the line says so, and the step goes on.
    """
    try:
        return step.poller.call(decisions.missing, step.store, claim)
    except ApprovalError as unknown:
        return f"what is missing can't be determined now ({unknown})"


def _openers(step: Step, claim: Claim) -> list[str]:
    """Return who can open the gate, or a warning that nobody can."""
    try:
        found = step.poller.call(decisions.openers, step.store, claim)
    except ApprovalError:
        return []
    if found.sets:
        first = found.lines[:MAX_NAMED]
        return [f"Can be opened by: {first[0]}", *(f"  or by: {line}" for line in first[1:])]
    if not found.complete:
        return []
    return [f"warning: nobody can open this gate; {'; '.join(found.reasons)}"]


class Waiting:
    """Build log of a wait for a lock: a line when its holder or the place changes, else every few minutes."""

    def __init__(self, say: Callable[[str], None]) -> None:
        """Write the lines to `say`."""
        self._say = say
        self._holder: tuple[str, State] | None = None
        self._place = -1
        self._at: datetime | None = None

    def tell(self, standing: Standing) -> None:
        """Write a line if a poll found a new holder or place. A lock that is free for a moment isn't news."""
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
        f"The lock {holder.lock_name} is already claimed by {holder.build}{where} for {duration(now - holder.created_at)}{waits}: "
        f"claim {holder.id}. Waiting for it"
    )


def _queued(standing: Standing) -> str:
    ahead = standing.lock.queue[: standing.place]
    named = ", ".join(_waiter(waiter, standing.now) for waiter in ahead[:MAX_NAMED])
    more = f" and {len(ahead) - MAX_NAMED} more" if len(ahead) > MAX_NAMED else ""
    after = f", after {named}{more}" if ahead else ""
    return f"Place {standing.place + 1} of {len(standing.lock.queue)} in the queue for {standing.lock.name}{after}"


def _waiter(waiter: Waiter, now: datetime) -> str:
    """Name a waiter, and for how long it has waited."""
    return f"{waiter.build} (waiting for {duration(now - waiter.since)})"
