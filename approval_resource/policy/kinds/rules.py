"""Approval rules, as in GitLab's deployment approvals: each names people, and each must be met."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import TYPE_CHECKING

from approval_resource.model.claim import MAX_REVIEWS
from approval_resource.policy.decision import combine
from approval_resource.policy.kinds.assignment import Seat, assign
from approval_resource.policy.kinds.kind import Part, View
from approval_resource.policy.kinds.quorum import Uncounted, counted_and_not, tallied
from approval_resource.policy.language.identities import CONCOURSE
from approval_resource.policy.people import Roster, Voice
from approval_resource.text import clean, counted

if TYPE_CHECKING:
    from approval_resource.policy.language.document import Policy, Rule


@dataclass(slots=True)
class Tally:
    """A rule and the reviews that count for it.

    `approvals` has each approval under the person for whom it counts: its reviewer, or whom they represent.
    """

    rule: Rule
    approvals: dict[str, Voice] = field(default_factory=dict)
    rejections: list[Voice] = field(default_factory=list)
    """Rejections by people whom the rule names."""

    @property
    def missing(self) -> int:
        """Number of approvals that the rule still lacks."""
        return max(0, self.rule.required_approvals - len(self.approvals))


def fits(roster: Roster, voice: Voice, rule: Rule) -> str:
    """Return the person for whom the voice counts under the rule; empty where it doesn't count.

    That is the voice's own person if the rule names them, else a person for whom they stand in.
    """
    if voice.typed:
        return ""
    if rule.user is not None:
        wanted = roster.person(rule.user)
        return wanted if voice.person == wanted or wanted in voice.stands_for else ""
    if rule.group in voice.own_groups:
        return voice.person
    return next((person for person, groups in sorted(voice.stands_for.items()) if rule.group in groups), "")


def tally(policy: Policy, roster: Roster, voices: Sequence[Voice]) -> tuple[list[Tally], list[Uncounted]]:
    """Return each rule with its approvals, and the people whose approval counts for none.

    The assignment is a maximum matching: as many rules as possible are met. An approval that names a rule
    counts for that rule alone. With `per_rule`, an approval that names several rules counts for each. The
    surplus of one rule never makes up for what another lacks.
    """
    against = [voice for voice in voices if not voice.approves]
    tallies = [
        Tally(rule, rejections=[voice for voice in against if fits(roster, voice, rule)]) for rule in policy.approval_rules
    ]
    counting, others = counted_and_not(policy, voices, roster.requester)
    ballots: list[tuple[Voice, list[Seat]]] = []
    for voice in counting:
        named = {number for number, one in enumerate(tallies) if one.rule.label in voice.represented_as}
        seats = [
            (number, person)
            for number, one in enumerate(tallies)
            if (not named or number in named) and (person := fits(roster, voice, one.rule))
        ]
        if not seats:
            others.append(_uncounted(voice, [tallies[number] for number in sorted(named)]))
        elif policy.per_rule and named:
            ballots += [
                (voice, [seat for seat in seats if seat[0] == number]) for number in sorted({seat[0] for seat in seats})
            ]
        else:
            ballots.append((voice, seats))
    assigned = assign([seats for _, seats in ballots], [one.rule.required_approvals for one in tallies])
    for (voice, _), seat in zip(ballots, assigned, strict=True):
        if seat is not None:
            tallies[seat[0]].approvals[seat[1]] = voice
    for (voice, seats), seat in zip(ballots, assigned, strict=True):
        # A surplus approval is shown under a rule that it fits, as GitLab does.
        spare = next((one for one in seats if one[1] not in tallies[one[0]].approvals), None)
        if seat is None and spare is not None:
            tallies[spare[0]].approvals[spare[1]] = voice
        elif seat is None and seats[0][1] != voice.person:
            others.append((clean(voice.shown), f"stands in for {clean(seats[0][1])}, who is counted already,"))
    return tallies, others


def _uncounted(voice: Voice, named: Sequence[Tally]) -> Uncounted:
    labels = ", ".join(clean(one.rule.label) for one in named)
    why = f"approved for {labels}, which doesn't name them," if named else "is named by no rule"
    return clean(voice.shown), why


def judge(view: View) -> Part:
    """Approve once every rule has its approvals."""
    tallies, others = tally(view.policy, view.roster, view.voices)
    lacking = next((number for number, one in enumerate(tallies) if one.missing), 0)
    parts = [
        tallied(
            one.rule.label,
            list(one.approvals.values()),
            one.rule.required_approvals,
            others if number == lacking else (),
        )
        for number, one in enumerate(tallies)
    ]
    return Part(answers=[combine("every rule has its approvals", parts)], found=tallies)


def counting(policy: Policy, roster: Roster, voices: Sequence[Voice]) -> list[Voice]:
    """Return the approvals that count for any part of the policy."""
    able, _ = counted_and_not(policy, voices, roster.requester)
    if policy.required_approvals is not None or policy.rego or not policy.approval_rules:
        return able
    return [voice for voice in able if any(fits(roster, voice, rule) for rule in policy.approval_rules)]


def unsatisfiable(policy: Policy) -> Iterator[tuple[int, str]]:
    """Yield each rule that can't be met even if everybody named approves: its number, and the reason."""
    roster = Roster(policy)
    able = [_able(policy, roster, rule) for rule in policy.approval_rules]
    short = False
    for number, (rule, people) in enumerate(zip(policy.approval_rules, able, strict=True)):
        if len(people) < rule.required_approvals:
            short = True
            yield number, _too_few(policy, rule, people)
    total = sum(rule.required_approvals for rule in policy.approval_rules)
    if short or policy.per_rule or total > MAX_REVIEWS:
        return  # reported elsewhere; under per_rule, no rule takes from another
    seats: dict[str, list[Seat]] = {}
    # A rule is met whatever the others take, if it has as many people as all rules together require.
    contested = [number for number, people in enumerate(able) if len(people) < total]
    for number in contested:
        people = able[number]
        for person in sorted(people):
            # A delegate may take a seat that their principal leaves free.
            helpers = {roster.person(one.delegate) for one in policy.delegates if roster.person(one.person) == person}
            for who in (person, *sorted(helpers - people)):
                seats.setdefault(who, []).append((number, person))
    required = [rule.required_approvals for rule in policy.approval_rules]
    assigned = assign(list(seats.values()), required)
    for number in contested:
        rule = policy.approval_rules[number]
        if sum(seat is not None and seat[0] == number for seat in assigned) < rule.required_approvals:
            yield (
                number,
                f"{rule.label} can't be met together with the other rules, since an approval counts once: name more "
                "people, or set per_rule: true",
            )


def _able(policy: Policy, roster: Roster, rule: Rule) -> set[str]:
    named = [rule.user] if rule.user is not None else policy.groups.get(rule.group or "", [])
    # Whether an identity can exist is checked elsewhere, for every place that names one.
    able = {person for person in map(roster.person, named) if roster.can_be(person)}
    # The size of an issuer's group is unknown here, so the group counts as large enough.
    return able | {f"{group}\0{number}" for group in named if group in roster.issuers_groups for number in range(MAX_REVIEWS)}


def _too_few(policy: Policy, rule: Rule, people: set[str]) -> str:
    if rule.user is not None and rule.user.startswith(CONCOURSE):
        return f"user {rule.user} doesn't count here, since the policy says reviewers: {{concourse: false}}"
    if rule.user is not None:
        return f"user {rule.user} is nobody here: list their identities under people"
    if rule.group not in policy.groups:
        near = get_close_matches(rule.group or "", policy.groups, n=1)
        return f"group {rule.group} has no members here: list it under groups{f'; did you mean {near[0]}?' if near else ''}"
    members = counted(len(people), "member") if people else "no member"
    return f"group {rule.group} has {members} who can approve, and the rule needs {rule.required_approvals}"
