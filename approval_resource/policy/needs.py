"""Needs of a claim that waits, in few words, and whether a recorded approval counts for anything."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from approval_resource.model.claim import Review
from approval_resource.policy.evaluate import dropped
from approval_resource.policy.facts import Facts
from approval_resource.policy.kinds.kind import asks_people
from approval_resource.policy.kinds.quorum import counted_and_not
from approval_resource.policy.kinds.rules import counting, tally
from approval_resource.text import clean, counted

if TYPE_CHECKING:
    from approval_resource.policy.language.document import Policy


def needs(policies: Sequence[Policy], facts: Facts, reviews: Sequence[Review]) -> list[str]:
    """Return the approvals that are still missing, such as `1 of group security`, each once.

    It has only approvals that a quorum or a rule counts. Rego, inputs and time are left out: the decision's
    reasons have them.
    """
    applying = [policy for policy in policies if not dropped(policy, facts)]
    return list(dict.fromkeys(one for policy in applying for one in _lacking(policy, facts, reviews)))


def _lacking(policy: Policy, facts: Facts, reviews: Sequence[Review]) -> Iterator[str]:
    roster = facts.roster(policy)
    voices = roster.hearings(reviews)[0]
    if policy.required_approvals is not None:
        able, _ = counted_and_not(policy, voices, roster.requester)
        if len(able) < policy.required_approvals:
            more = "more approval" if able else "approval"
            yield counted(policy.required_approvals - len(able), more)
    for one in tally(policy, roster, voices)[0] if policy.approval_rules else ():
        if one.missing:
            yield f"{one.missing} of group {clean(one.rule.group)}" if one.rule.group else clean(one.rule.label)


def discounted(policies: Sequence[Policy], facts: Facts, reviews: Sequence[Review], reviewer: str) -> str:
    """Return why that person's approval counts for no policy; an empty string where it counts for one."""
    applying = [policy for policy in policies if not dropped(policy, facts)]
    whys: list[str] = []
    for policy in [policy for policy in applying if asks_people(policy)] or applying:
        roster = facts.roster(policy)
        person = roster.person(reviewer)
        for voices in roster.hearings(reviews):
            own = next((voice for voice in voices if voice.person == person), None)
            if own is None:
                continue
            if any(voice.person == person for voice in counting(policy, roster, voices)):
                return ""
            _, others = counted_and_not(policy, voices, roster.requester)
            whys.append(next((why for who, why in others if who == clean(own.shown)), "is named by no rule"))
    return f"{clean(reviewer)} {whys[0]} and doesn't count" if whys else ""
