"""Who has to approve, rule by rule, as GitLab's deployment approvals have it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from approval_resource.policy.decision import Explanation, combine
from approval_resource.policy.kinds.quorum import approval_document, counted_and_not, tallied
from approval_resource.policy.people import Roster, Voice
from approval_resource.text import clean

if TYPE_CHECKING:
    from approval_resource.policy.language.document import Policy, Rule


@dataclass(slots=True)
class Tally:
    """One rule and the approvals that it took, each under the name of the person it counts for."""

    rule: Rule
    approvals: dict[str, Voice] = field(default_factory=dict)

    @property
    def missing(self) -> int:
        """How many more it takes."""
        return max(0, self.rule.required_approvals - len(self.approvals))


def fits(roster: Roster, voice: Voice, rule: Rule) -> str:
    """The person for whom that voice counts under the rule: themselves, else one they stand in for; or an empty string."""
    if voice.typed:
        return ""
    if rule.user is not None:
        wanted = roster.person(rule.user)
        return wanted if voice.person == wanted or wanted in voice.stands_for else ""
    if rule.group in voice.own_groups:
        return voice.person
    return next((person for person, groups in sorted(voice.stands_for.items()) if rule.group in groups), "")


def tally(policy: Policy, roster: Roster, voices: Sequence[Voice]) -> tuple[list[Tally], list[str]]:
    """What each rule took, and why some approvals count for none.

    The first rule that fits takes an approval, unless it was given for another by name; with `per_rule` one
    that names several rules counts for each. What one rule doesn't need pays for no other.
    """
    tallies = [Tally(rule) for rule in policy.approval_rules]
    counting, others = counted_and_not(policy, voices, roster.requester)
    for voice in counting:
        named = [one for one in tallies if one.rule.label in voice.represented_as]
        taken = [(one, person) for one in named or tallies if (person := fits(roster, voice, one.rule))]
        if not taken:
            others.append(f"{clean(voice.shown)} is named by no rule and doesn't count")
        for one, person in taken if policy.per_rule and named else taken[:1]:
            one.approvals.setdefault(person, voice)
    return tallies, others


def rules(policy: Policy, roster: Roster, voices: Sequence[Voice]) -> tuple[Explanation, list[Tally]]:
    """Approved once every rule has its approvals."""
    tallies, others = tally(policy, roster, voices)
    parts = [
        tallied(
            f"approvals from {clean(one.rule.label)}",
            list(one.approvals.values()),
            one.rule.required_approvals,
            others if number == 0 else (),
        )
        for number, one in enumerate(tallies)
    ]
    return combine("every rule has its approvals", parts), tallies


def counting(policy: Policy, roster: Roster, voices: Sequence[Voice]) -> list[Voice]:
    """The approvals that count for anything in the policy."""
    able, _ = counted_and_not(policy, voices, roster.requester)
    if policy.required_approvals is not None or policy.rego or not policy.approval_rules:
        return able
    return [voice for voice in able if any(fits(roster, voice, rule) for rule in policy.approval_rules)]


def named_rejections(policy: Policy, roster: Roster, voices: Iterable[Voice]) -> list[Voice]:
    """The rejections of people whom a rule names."""
    return [
        voice for voice in voices if not voice.approves and any(fits(roster, voice, rule) for rule in policy.approval_rules)
    ]


def summary(tallies: Sequence[Tally], rejected: Sequence[Voice], roster: Roster, status: str) -> dict[str, Any]:
    """The rules as GitLab's API shows them."""
    return {
        "status": status,
        "rules": [
            {
                "name": one.rule.label,
                **({"user": one.rule.user} if one.rule.user else {"group": one.rule.group}),
                "required_approvals": one.rule.required_approvals,
                "deployment_approvals": [
                    approval_document(voice)
                    for voice in (
                        *one.approvals.values(),
                        *(voice for voice in rejected if fits(roster, voice, one.rule)),
                    )
                ],
            }
            for one in tallies
        ],
    }


def pending(tallies: Sequence[Tally]) -> int:
    """How many approvals are still missing, over all rules."""
    return sum(one.missing for one in tallies)
