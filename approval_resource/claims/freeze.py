"""Freezes at the gate: what keeps an approved claim from passing now, the pool's emergency stop or a policy's freeze."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from approval_resource.claims.decide import Terms, facts_of, policies_of
from approval_resource.errors import ConfigError
from approval_resource.model.claim import Claim, Verdict
from approval_resource.model.settings import Freeze, Settings
from approval_resource.text import clean

if TYPE_CHECKING:
    from approval_resource.policy.language.document import Policy

LIFT = "see cli.py pool show; whoever the pool's policy lets bypass may approve --force"


@dataclass(frozen=True, slots=True)
class Frozen:
    """One freeze that is in effect, and who broke the glass for the claim, if anybody did."""

    why: str
    broken_by: str = ""


def freezes(claim: Claim, terms: Terms, settings: Settings, now: datetime) -> list[Frozen]:
    """Return the freezes that concern a claim at that instant: its policies', its pool's policies', and its pool's own.

    A freeze is broken by a forced approval that was given while it was in effect, by whoever its document's `bypass`
    names; the pool's own by whoever the pool's policies name. What can't be read freezes.
    """
    stop = settings.frozen(now)
    if stop is None and '"freezes"' not in terms.policy + settings.policy:
        return []
    try:
        return [*_of_policies(claim, terms, settings, now), *_of_pool(claim, terms, settings, stop)]
    except ConfigError as broken:
        return [Frozen(f"a policy can't be read: {broken.problems[0]}")]


def holding(claim: Claim, terms: Terms, settings: Settings, now: datetime) -> str:
    """Return why the claim's gate stays shut now, in one line; an empty string where no freeze keeps it shut."""
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
    why = f"pool {clean(claim.pool)} is frozen {until} by {clean(stop.actor)}: {clean(stop.reason)}; {LIFT}"
    if claim.id in stop.passes:
        yield Frozen(why, "whom the settings of the pool tell")
    else:
        # A claim's own policy is its pipeline's, which can't let itself past the pool's stop.
        yield Frozen(why, _broken_by(policies_of(Terms(), settings.policy), claim, terms, stop.since))


def _broken_by(policies: Sequence[Policy], claim: Claim, terms: Terms, since: datetime) -> str:
    """Return who forced an approval of the claim since then, as one of those policies lets them, with their reason."""
    forced = [one for one in claim.reviews.values() if one.forced and one.verdict is Verdict.APPROVE and one.at >= since]
    if not forced:
        return ""
    from approval_resource.policy.entitlement import may_force

    facts = facts_of(claim, terms)
    found = (f"{clean(one.reviewer)}: {clean(one.comment)}" for one in forced if may_force(policies, facts, one))
    return next(found, "")
