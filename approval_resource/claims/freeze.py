"""Freezes, which keep an approved claim's gate shut: those of policies, and the pool's emergency stop."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from approval_resource.claims.decide import Terms, facts_of, policies_of
from approval_resource.errors import ConfigError
from approval_resource.model.claim import Claim, Verdict
from approval_resource.model.settings import Freeze, Settings
from approval_resource.program import called
from approval_resource.text import clean

if TYPE_CHECKING:
    from approval_resource.policy.language.document import Policy


@dataclass(frozen=True, slots=True)
class Frozen:
    """One freeze in effect. `broken_by` names the person who broke it for the claim, or is empty."""

    why: str
    broken_by: str = ""


def freezes(claim: Claim, terms: Terms, settings: Settings, now: datetime) -> list[Frozen]:
    """Return the freezes in effect for a claim: of its policies, its pool's policies, and the pool itself.

    A forced approval breaks a freeze if it was given during the freeze, by a person in `bypass` of the
    freeze's policy document. For the pool's own freeze, only `bypass` of the pool's policies counts. A claim
    in its `passes` needs no forced approval. This fails closed: a policy that can't be read is a freeze.
    """
    stop = settings.frozen(now)
    if stop is None and '"freezes"' not in terms.policy + settings.policy:
        return []
    try:
        return [*_of_policies(claim, terms, settings, now), *_of_pool(claim, terms, settings, stop)]
    except ConfigError as broken:
        return [Frozen(f"a policy can't be read: {broken.problems[0]}")]


def shut_reasons(claim: Claim, terms: Terms, settings: Settings, now: datetime) -> str:
    """Return in one line the freezes that keep the claim's gate shut, or an empty string for none."""
    return "; ".join(one.why for one in freezes(claim, terms, settings, now) if not one.broken_by)


def _of_policies(claim: Claim, terms: Terms, settings: Settings, now: datetime) -> Iterator[Frozen]:
    policies = policies_of(terms, settings.policy)
    if not policies:
        return
    from approval_resource.policy.kinds.freezes import in_effect, told

    for policy in policies:
        for freeze in in_effect(policy, now):
            yield Frozen(told(freeze), _broken_by([policy], claim, terms, freeze.span[0]))


def _of_pool(claim: Claim, terms: Terms, settings: Settings, stop: Freeze | None) -> Iterator[Frozen]:
    if stop is None:
        return
    until = f"until {stop.until:%Y-%m-%d %H:%M:%S} UTC" if stop.until else "until somebody lifts that"
    why = (
        f"pool {clean(claim.pool)} is frozen {until} by {clean(stop.actor)}: {clean(stop.reason)}; see {called()} "
        f"pool show {clean(claim.pool)}; people in bypass of the pool's policy can override it with approve --force"
    )
    if claim.id in stop.passes:
        yield Frozen(why, "somebody named in the log of the pool's settings")
    else:
        # The claim's own policy doesn't count: its pipeline wrote it, and must not bypass the pool's stop.
        yield Frozen(why, _broken_by(policies_of(Terms(), settings.policy), claim, terms, stop.since))


def _broken_by(policies: Sequence[Policy], claim: Claim, terms: Terms, since: datetime) -> str:
    """Return who forced an approval since `since`, with their comment; an empty string where nobody did.

    A forced approval counts only if one of `policies` allows it.
    """
    forced = [one for one in claim.reviews.values() if one.forced and one.verdict is Verdict.APPROVE and one.at >= since]
    if not forced:
        return ""
    from approval_resource.policy.entitlement import may_force

    facts = facts_of(claim, terms)
    found = (f"{clean(one.reviewer)}: {clean(one.comment)}" for one in forced if may_force(policies, facts, one))
    return next(found, "")
