"""Entitlement: whether a person may review at all, decided before policies are evaluated."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from approval_resource.canonical import EMPTY
from approval_resource.model.claim import Review, Verdict
from approval_resource.policy.decision import Answer
from approval_resource.policy.facts import Facts
from approval_resource.policy.kinds import inputs
from approval_resource.policy.kinds.rules import counting, fits
from approval_resource.policy.language.default import DEFAULT
from approval_resource.policy.language.identities import SENT
from approval_resource.policy.people import TYPED, Memberships, Roster, Voice
from approval_resource.program import called
from approval_resource.text import clean

if TYPE_CHECKING:
    from approval_resource.policy.language.document import Policy, Rule

MAX_REPRESENTED = 5
"""Upper bound of the rules that one review may name."""


def merged(policies: Sequence[Policy], before: Review | None, new: Review) -> Review:
    """Return the review to keep of one person: `before` itself where the new one changes nothing.

    A repeated verdict changes nothing, not even the comment, with four exceptions: it forces a decision that
    was not forced, it fills in other values, its reviewer's groups have changed, or it names another rule. In
    the last case the approval moves to that rule, or under `per_rule` counts there too.
    """
    if before is None or before.verdict is not new.verdict:
        return new
    if new.groups != before.groups:
        before = replace(before, groups=new.groups, at=new.at)
    named = _named(policies, before.represented_as, new.represented_as)
    if (new.forced and not before.forced) or (new.inputs and dict(new.inputs) != dict(before.inputs)):
        return replace(new, represented_as=named, forced=new.forced or before.forced, inputs={**before.inputs, **new.inputs})
    return before if set(named) == set(before.represented_as) else replace(before, represented_as=named)


def _named(policies: Sequence[Policy], before: tuple[str, ...], new: tuple[str, ...]) -> tuple[str, ...]:
    """Return the rules that an approval names: the new ones, and those that they don't replace."""
    if not new:
        return before
    known = [(policy.per_rule, {rule.label for rule in policy.approval_rules}) for policy in policies]
    replaced = {name for per_rule, labels in known if not per_rule and labels.intersection(new) for name in labels}
    kept = [name for name in before if name not in replaced and any(name in labels for _, labels in known)]
    return (*kept, *(name for name in dict.fromkeys(new) if name not in kept))


def refusal(policies: Sequence[Policy], facts: Facts, others: Sequence[Review], review: Review) -> str | None:
    """Return why that person may not review, or not force a decision; None if they may.

    They may if one policy gives them a say, and each policy with `reviewers` counts their identity.
    """
    policies = policies or (DEFAULT,)
    rosters = [(policy, facts.roster(policy)) for policy in policies]
    not_counting = [policy for policy, roster in rosters if not roster.counts(review.reviewer)]
    if not_counting and (len(not_counting) == len(policies) or any(policy.reviewers for policy in not_counting)):
        return _not_counted(not_counting[0], review)
    if review.forced:
        if may_force(policies, facts, review):
            return None
        return "no policy's bypass names you, so you can't force a decision"
    speaking = ((policy, roster, _own(roster, others, review)) for policy, roster in rosters if policy not in not_counting)
    if any(_has_a_say(policy, roster, voice) for policy, roster, voice in speaking):
        return None
    rules = ", ".join(dict.fromkeys(clean(rule.label) for policy in policies for rule in policy.approval_rules))
    typed = "; a name that was only typed satisfies no rule" if review.reviewer.startswith(TYPED) else ""
    return f"{clean(review.reviewer)} is named by none of the rules {rules}{typed}"


def _not_counted(policy: Policy, review: Review) -> str:
    named = f"the policy {clean(policy.name)}" if policy.name else "its policy"
    if review.reviewer.startswith(SENT):
        return (
            f"{named} doesn't name {clean(review.reviewer)}, which counts only where a policy does; open the claim's page and "
            "decide there as yourself"
        )
    why = (
        "says reviewers: {concourse: false}"
        if policy.reviewers
        else f"{'has Rego' if policy.rego else 'names people'} and doesn't name your Concourse user"
    )
    _, _, name = review.reviewer.partition("#")
    return (
        f"{named} {why}, so {clean(review.reviewer)} doesn't count. Decide with {called()} under an identity that counts; or let the policy say "
        f"reviewers: {{concourse: true}}, or name concourse:{clean(name)}"
    )


def may_force(policies: Sequence[Policy], facts: Facts, review: Review, memberships: Memberships = EMPTY) -> bool:
    """Whether a policy's bypass names the reviewer."""
    rosters = [(policy, facts.roster(policy, memberships)) for policy in policies]
    return any(
        policy.bypass is not None
        and roster.counts(review.reviewer)
        and roster.is_one_of(_own(roster, [], review), policy.bypass.users, policy.bypass.groups)
        for policy, roster in rosters
    )


def _own(roster: Roster, others: Sequence[Review], review: Review) -> Voice:
    """Return the voice of the reviewer, with this review as their newest."""
    person = roster.person(review.reviewer)
    rest = [other for other in others if roster.person(other.reviewer) != person]
    return next(voice for voice in roster.voices([*rest, review]) if voice.person == person)


def _has_a_say(policy: Policy, roster: Roster, voice: Voice) -> bool:
    if policy.required_approvals is not None or policy.rego or not policy.approval_rules:
        return True
    return any(fits(roster, voice, rule) for rule in policy.approval_rules)


def problems(policies: Sequence[Policy], facts: Facts, others: Sequence[Review], review: Review) -> list[str]:
    """Return what is wrong with the rules that a review names and with what was filled in, one line each."""
    hearing = [policy for policy in policies if facts.roster(policy).counts(review.reviewer)]
    known = [(policy, rule) for policy in policies for rule in policy.approval_rules]
    found = []
    for name in review.represented_as:
        meant = [(policy, rule) for policy, rule in known if rule.label == name]
        if not meant:
            labels = ", ".join(dict.fromkeys(rule.label for _, rule in known))
            instead = f"use {clean(labels)}" if labels else "the policies have none, so leave it out"
            found.append(f"as {clean(name)[:80] or 'nothing'}: there is no approval rule of that name; {instead}")
        elif not any(
            fits(roster, _own(roster, others, review), rule)
            for roster, rule in _with_roster(meant, facts)
            if roster.counts(review.reviewer)
        ):
            found.append(f"as {clean(name)}: that rule doesn't name you")
    if len(review.represented_as) > MAX_REPRESENTED:
        found.append(f"as: at most {MAX_REPRESENTED} rules")
    several = [policy for policy in policies if sum(rule.label in review.represented_as for rule in policy.approval_rules) > 1]
    if any(not policy.per_rule for policy in several):
        found.append("as: one approval counts for one rule; a policy with per_rule: true would take several")
    found += inputs.problems(policies, review.inputs)
    if review.verdict is Verdict.APPROVE and not review.forced and not found:
        rest = [other for other in others if other.reviewer != review.reviewer]
        for policy in hearing:
            roster = facts.roster(policy)
            able = counting(policy, roster, roster.voices([*rest, review]))
            if not policy.inputs or all(voice.person != roster.person(review.reviewer) for voice in able):
                continue
            complete = inputs.complete(policy, able)
            if complete.answer is not Answer.APPROVE:
                found.append(complete.sentence)
    return list(dict.fromkeys(found))


def _with_roster(rules: Iterable[tuple[Policy, Rule]], facts: Facts) -> Iterator[tuple[Roster, Rule]]:
    for policy, rule in rules:
        yield facts.roster(policy), rule
