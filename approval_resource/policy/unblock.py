"""Who can open this gate: the smallest sets of people whose approval would, found by asking the policies themselves."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from approval_resource.model.claim import Review, Verdict
from approval_resource.policy.decision import Approved, Rejected
from approval_resource.policy.entitlement import MAX_REPRESENTED
from approval_resource.policy.evaluate import evaluate
from approval_resource.policy.facts import Facts
from approval_resource.policy.kinds.rules import fits
from approval_resource.policy.language.document import Policy
from approval_resource.policy.people import Roster
from approval_resource.policy.sandbox import parent as sandbox

MAX_EVALUATIONS = 2_000
MAX_REGO_EVALUATIONS = 40
SECONDS = 5.0
"""What looking for all of them may take."""
MAX_SETS = 20
MAX_WAYS = 32
MAX_STRANGERS = 4
"""People whom no policy names that are tried on Rego."""
ANYONE = "aws:anyone"
"""Stands for people whom no policy names."""

Wanted = tuple[tuple[int, tuple[str, ...]], ...]
"""So many of these people, and so many of those."""


@dataclass(frozen=True, slots=True)
class Openers:
    """Who can open a gate."""

    sets: tuple[Wanted, ...]
    """The smallest sets, each as numbers of interchangeable people. One empty set: nobody is needed."""
    reasons: tuple[str, ...]
    """Where there is none: what is missing though everybody known approves."""
    complete: bool = True
    """Whether all sets were tried that could be smaller or as small."""


def openers(policies: Sequence[Policy], facts: Facts, reviews: Sequence[Review], now: datetime) -> Openers:
    """The smallest sets of people whose approval, added to the reviews there are, would open the gate once its hours come."""
    with sandbox.budget(SECONDS):
        return _openers(policies, facts, reviews, now)


def _openers(policies: Sequence[Policy], facts: Facts, reviews: Sequence[Review], now: datetime) -> Openers:
    # Time and what has to be filled in don't depend on who approves.
    asked = [
        policy.model_copy(update={"windows": [], "not_before": None, "inputs": []})
        for policy in policies or [Policy(name="default", required_approvals=1)]
    ]
    budget = MAX_REGO_EVALUATIONS if any(policy.rego for policy in asked) else MAX_EVALUATIONS
    classes = _classes(asked, facts, reviews, now)
    found: list[Wanted] = []
    tried = 0

    def approved_by(people: Sequence[str]) -> bool:
        # Who fits several rules says which they approve for.
        ways = itertools.product(*(_ways(asked, facts, person, now) for person in people))
        return any(
            isinstance(evaluate(asked, facts, [*reviews, *given], now), Approved)
            for given in itertools.islice(ways, MAX_WAYS)
            if not sandbox.spent()
        )

    most = sum(policy.required_approvals or 0 for policy in asked)
    most = max(most + sum(rule.required_approvals for policy in asked for rule in policy.approval_rules), 2)
    # What a Rego policy counts nobody can read from it, so some are tried; that none is enough proves nothing then.
    certain = not any(policy.rego for policy in asked)
    most = most if certain else max(most, MAX_STRANGERS)
    for size in range(min(most, sum(map(len, classes))) + 1):
        for counts in _counts(classes, size):
            if tried >= budget or sandbox.spent():
                return Openers(tuple(found), () if found else _why_none(asked, facts, reviews, classes, now), complete=False)
            tried += 1
            chosen = [person for count, people in zip(counts, classes, strict=True) for person in people[:count]]
            if approved_by(chosen):
                found.append(tuple((count, tuple(people)) for count, people in zip(counts, classes, strict=True) if count))
        if found:
            return Openers(tuple(found[:MAX_SETS]), (), complete=len(found) <= MAX_SETS)
    return Openers((), _why_none(asked, facts, reviews, classes, now), complete=certain)


def told(wanted: Wanted) -> str:
    """One set in words."""
    parts = []
    for count, people in wanted:
        if people[0].startswith(ANYONE):
            parts.append(f"{count} other {'person' if count == 1 else 'people'} whom AWS knows")
        elif count == len(people):
            parts.append(" and ".join(people))
        else:
            parts.append(f"{count} of {', '.join(people)}")
    return "; and ".join(parts) or "nobody: only time is missing"


def _why_none(
    asked: Sequence[Policy], facts: Facts, reviews: Sequence[Review], classes: Sequence[Sequence[str]], now: datetime
) -> tuple[str, ...]:
    everybody = [*reviews, *(_approval(person, now) for people in classes for person in people)]
    decision = evaluate(asked, facts, everybody, now)
    if isinstance(decision, Rejected):
        return decision.reasons
    return tuple(f"though everybody known approves: {reason}" for reason in decision.reasons)


def _ways(asked: Sequence[Policy], facts: Facts, person: str, now: datetime) -> list[Review]:
    """The approvals that person may give: for the first rule that fits, for another by name, or for several at once."""
    plain = _approval(person, now)
    ways = [plain]
    for policy in asked:
        roster = Roster(policy, facts.requester)
        voice = roster.voices([plain])[0]
        labels = tuple(rule.label for rule in policy.approval_rules if fits(roster, voice, rule))
        ways += [replace(plain, represented_as=(label,)) for label in labels[1:]]
        if policy.per_rule and len(labels) > 1:
            ways.append(replace(plain, represented_as=labels[:MAX_REPRESENTED]))
    return ways


def _approval(person: str, now: datetime) -> Review:
    return Review(reviewer=person, verdict=Verdict.APPROVE, at=now)


def _classes(asked: Sequence[Policy], facts: Facts, reviews: Sequence[Review], now: datetime) -> list[list[str]]:
    """Everybody who may still approve, those together whom no policy can tell apart."""
    rosters = [(policy, Roster(policy, facts.requester)) for policy in asked]
    spoken = [{voice.person for voice in roster.voices(reviews) if voice.approves} for _, roster in rosters]
    named: dict[str, None] = {}
    for _, roster in rosters:
        named |= dict.fromkeys(person for person in roster.everybody if roster.can_be(person))
    strangers = max(MAX_STRANGERS if policy.rego else policy.required_approvals or 1 for policy in asked)
    known: dict[object, list[str]] = {}
    for person in [*named, *(f"{ANYONE}-{number + 1}" for number in range(strangers))]:
        if any(roster.person(person) in said for (_, roster), said in zip(rosters, spoken, strict=True)):
            continue
        known.setdefault(_looks(rosters, person, now), []).append(person)
    return list(known.values())


def _looks(rosters: Sequence[tuple[Policy, Roster]], person: str, now: datetime) -> object:
    """All by which the policies may tell that person from another; a Rego policy may by a name that it holds."""
    looks: list[object] = [person.startswith(ANYONE)]
    for policy, roster in rosters:
        voice = roster.voices([_approval(person, now)])[0]
        fitting = tuple(rule.label for rule in policy.approval_rules if fits(roster, voice, rule))
        names = (person, *policy.people.get(person, ()))
        by_name = person if any(name in text for text in policy.rego for name in names) else ""
        looks.append((voice.groups, tuple(voice.stands_for), voice.asked and not policy.allow_self_approval, fitting, by_name))
    return tuple(looks)


def _counts(classes: Sequence[Sequence[str]], size: int) -> Iterator[tuple[int, ...]]:
    """Every way to choose that many people, by how many of each class."""
    if not classes:
        if size == 0:
            yield ()
        return
    for count in range(min(size, len(classes[0])), -1, -1):
        for rest in _counts(classes[1:], size - count):
            yield (count, *rest)
