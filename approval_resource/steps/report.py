"""What a step tells of a claim: metadata and lines of the build log."""

from __future__ import annotations

import shlex

from approval_resource.canonical import instant
from approval_resource.model import Claim, Event
from approval_resource.steps.protocol import Source
from approval_resource.store.connect import DEFAULT_TABLE
from approval_resource.text import clean, without_mail

Metadata = list[dict[str, str]]


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
