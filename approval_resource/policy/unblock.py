"""Openers of a gate: the smallest sets of people whose approval would open it.

They are found by evaluating the policies on trial approvals.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from approval_resource.model.claim import Review, Verdict
from approval_resource.policy.decision import Approved, Rejected
from approval_resource.policy.entitlement import MAX_REPRESENTED, merged
from approval_resource.policy.evaluate import evaluate
from approval_resource.policy.facts import Facts
from approval_resource.policy.kinds.rules import fits
from approval_resource.policy.language.document import Policy
from approval_resource.policy.language.identities import OIDC_GROUP, knower, name_at_concourse
from approval_resource.policy.people import Roster
from approval_resource.policy.sandbox import parent as sandbox

MAX_EVALUATIONS = 2_000
MAX_REGO_EVALUATIONS = 40
SECONDS = 5.0
"""Resource limit of one search, in processor seconds."""
MAX_SETS = 20
MAX_WAYS = 32
MAX_STRANGERS = 4
"""Number of people whom no policy names that a search tries on a Rego policy."""
AWS_STRANGER = "aws:anyone"
"""Placeholder for people whom AWS knows and no policy names."""
CONCOURSE_STRANGER = "\0anybody"
"""Placeholder for users of a Concourse whom no policy names. No real user can have this name."""

Wanted = tuple[tuple[int, tuple[str, ...]], ...]
"""Set of openers: for each group of interchangeable people, how many are needed, and who is in it."""


@dataclass(frozen=True, slots=True)
class Openers:
    """Smallest sets of people who can open a gate, or why nobody can."""

    sets: tuple[Wanted, ...]
    """Smallest sets. One empty set means that nobody is needed."""
    reasons: tuple[str, ...]
    """Reasons why there is no set: what is still missing when everybody known approves."""
    complete: bool = True
    """Whether the search is exhaustive. False where a limit cut it short, or where a Rego policy may count
    people who were not tried."""
    how: tuple[str, ...] = ()
    """For each set, the people who have to name a rule, and the rule; empty where plain approvals suffice."""

    @property
    def lines(self) -> list[str]:
        """Return the sets in words, one line each."""
        return [f"{told(wanted)}{how and f' ({how})'}" for wanted, how in zip(self.sets, self.how, strict=True)]


def openers(policies: Sequence[Policy], facts: Facts, reviews: Sequence[Review], now: datetime) -> Openers:
    """Return the smallest sets of people whose approval, added to the reviews, would open the gate.

    Windows, freezes, waiting times and inputs are left out.
    """
    with sandbox.budget(SECONDS, time.thread_time):
        return _openers(policies, facts, reviews, now)


def _openers(policies: Sequence[Policy], facts: Facts, reviews: Sequence[Review], now: datetime) -> Openers:
    # Time and inputs don't depend on who approves.
    applying = [
        policy.model_copy(update={"windows": [], "freezes": [], "not_before": None, "inputs": []})
        for policy in policies or [Policy(name="default", required_approvals=1)]
    ]
    budget = MAX_REGO_EVALUATIONS if any(policy.rego for policy in applying) else MAX_EVALUATIONS
    spoken = _spoken(applying, facts, reviews)
    classes = _classes(applying, facts, spoken, now)
    found: list[tuple[Wanted, str]] = []
    tried = 0

    def approved_by(people: Sequence[str]) -> str | None:
        """Return how these people open the gate together: empty for plain approvals, None if they don't."""
        ways = itertools.product(
            *(_ways(applying, facts, person, _before(applying, facts, person, spoken), now) for person in people)
        )
        for given in itertools.islice(ways, MAX_WAYS):
            said = {review.reviewer: review for review in [*reviews, *given]}
            if not sandbox.spent() and isinstance(evaluate(applying, facts, list(said.values()), now), Approved):
                named = (f"{who}: approve {_as(review)}" for who, review in zip(people, given, strict=True))
                return "; ".join(one for one, review in zip(named, given, strict=True) if review.represented_as)
        return None

    def answer(reasons: tuple[str, ...], complete: bool) -> Openers:
        sets, how = zip(*found[:MAX_SETS], strict=True) if found else ((), ())
        return Openers(tuple(sets), reasons, complete, tuple(how))

    most = sum(policy.required_approvals or 0 for policy in applying)
    most = max(most + sum(rule.required_approvals for policy in applying for rule in policy.approval_rules), 2)
    # Nobody can read from a Rego policy how many approvals it needs, so a few numbers are tried. Finding no
    # set proves nothing then.
    certain = not any(policy.rego for policy in applying)
    most = most if certain else max(most, MAX_STRANGERS)
    for size in range(min(most, sum(map(len, classes))) + 1):
        for counts in _counts(classes, size):
            if tried >= budget or sandbox.spent():
                return answer(() if found else _why_none(applying, facts, reviews, classes, now), complete=False)
            tried += 1
            chosen = [person for count, people in zip(counts, classes, strict=True) for person in people[:count]]
            if (how := approved_by(chosen)) is not None:
                wanted = tuple((count, tuple(people)) for count, people in zip(counts, classes, strict=True) if count)
                found.append((wanted, how))
        if found:
            return answer((), complete=len(found) <= MAX_SETS)
    return answer(_why_none(applying, facts, reviews, classes, now), complete=certain)


def _as(review: Review) -> str:
    return " ".join(f"--as {label}" for label in review.represented_as)


def told(wanted: Wanted) -> str:
    """Describe one set for people."""
    parts = []
    for count, people in wanted:
        if group := _member(people[0]):
            parts.append(f"{count} {'person' if count == 1 else 'people'} of {group}")
        elif who := _stranger(people[0]):
            parts.append(f"{count} other {'person' if count == 1 else 'people'} whom {who} knows")
        elif count == len(people):
            parts.append(" and ".join(people))
        else:
            parts.append(f"{count} of {', '.join(people)}")
    return "; and ".join(parts) or "nobody: only time or an input is missing"


def _stranger(person: str) -> str:
    """Return who knows that stranger, or an empty string for a person who is named or has spoken."""
    if person.startswith(AWS_STRANGER):
        return "AWS or an issuer"
    return "the Concourse of an earlier approval" if name_at_concourse(person).startswith(CONCOURSE_STRANGER) else ""


def _member(person: str) -> str:
    """Return the issuer's group whose members that person stands for, or an empty string for anybody else."""
    group, mark, _ = person.partition("\0")
    return group if mark and group.startswith(OIDC_GROUP) else ""


def _why_none(
    applying: Sequence[Policy], facts: Facts, reviews: Sequence[Review], classes: Sequence[Sequence[str]], now: datetime
) -> tuple[str, ...]:
    known = {review.reviewer: review for review in reviews}
    everybody = known | {person: _approval(person, now) for people in classes for person in people if person not in known}
    decision = evaluate(applying, facts, list(everybody.values()), now)
    if isinstance(decision, Rejected):
        return decision.reasons
    return tuple(f"though everybody known approves: {reason}" for reason in decision.reasons)


def _spoken(applying: Sequence[Policy], facts: Facts, reviews: Sequence[Review]) -> dict[str, Review]:
    """Return the approvals by person. Each policy adds them under its own name for the person."""
    found = {}
    for policy in applying:
        roster = facts.roster(policy)
        by_identity = {review.reviewer: review for review in reviews}
        for voice in roster.voices(reviews):
            if voice.approves:
                found[voice.person] = by_identity[voice.identity]
    return found


def _before(applying: Sequence[Policy], facts: Facts, person: str, spoken: Mapping[str, Review]) -> Review | None:
    """Return the person's approval, by the first policy that knows it to be theirs."""
    known = (facts.roster(policy).person(person) for policy in applying)
    return next((spoken[who] for who in known if who in spoken), None)


def _ways(applying: Sequence[Policy], facts: Facts, person: str, before: Review | None, now: datetime) -> list[Review]:
    """Return the approvals that the person may still give.

    Each is plain, or names rules if that may change the outcome.
    """
    plain = _approval(before.reviewer if before else person, now)
    ways = [] if before else [plain]
    for policy in applying:
        roster = facts.roster(policy)
        voices = roster.voices([plain])
        labels = tuple(rule.label for rule in policy.approval_rules if any(fits(roster, voice, rule) for voice in voices))
        if policy.per_rule and len(labels) > 1:
            ways.append(replace(plain, represented_as=labels[:MAX_REPRESENTED]))
        elif before and any(rule.label in before.represented_as for rule in policy.approval_rules):
            ways += [replace(plain, represented_as=(label,)) for label in labels]
    if before is None:
        return ways
    kept = [merged(applying, before, way) for way in ways]
    return list({review.represented_as: review for review in kept if review is not before}.values())


def _approval(person: str, now: datetime) -> Review:
    if group := _member(person):
        identity = f"oidc:{group.removeprefix(OIDC_GROUP).partition('#')[0]}#{person}"
        return Review(reviewer=identity, verdict=Verdict.APPROVE, at=now, groups=(group,))
    return Review(reviewer=person, verdict=Verdict.APPROVE, at=now)


def _classes(applying: Sequence[Policy], facts: Facts, spoken: Mapping[str, Review], now: datetime) -> list[list[str]]:
    """Return the people whose approval may change anything, grouped where no policy tells them apart."""
    rosters = [(policy, facts.roster(policy)) for policy in applying]
    named: dict[str, None] = {}
    for policy, roster in rosters:
        named |= dict.fromkeys(person for person in roster.everybody if roster.can_be(person))
        most = max([policy.required_approvals or 1, *(rule.required_approvals for rule in policy.approval_rules)])
        named |= {f"{group}\0{number}": None for group in roster.issuers_groups for number in range(most)}
    named |= dict.fromkeys(spoken)
    strangers = max(MAX_STRANGERS if policy.rego else policy.required_approvals or 1 for policy in applying)
    known: dict[object, list[str]] = {}
    # Somebody who approved at a Concourse may also be a stranger whom AWS knows. Only a stranger of the same
    # Concourse is certainly somebody else.
    there = [one for one in spoken if name_at_concourse(one) and not any(roster.listed(one) for _, roster in rosters)]
    anyone = dict.fromkeys((AWS_STRANGER, *(f"{knower(person)}#{CONCOURSE_STRANGER}" for person in there)))
    for person in [*named, *(f"{who}-{number + 1}" for who in anyone for number in range(strangers))]:
        before = _before(applying, facts, person, spoken)
        if _ways(applying, facts, person, before, now):
            known.setdefault((before and before.reviewer, _traits(rosters, person, now)), []).append(person)
    return list(known.values())


def _traits(rosters: Sequence[tuple[Policy, Roster]], person: str, now: datetime) -> object:
    """Return everything by which the policies may tell that person from another.

    A Rego policy may do so by a name in its text.
    """
    traits: list[object] = [_stranger(person)]
    for policy, roster in rosters:
        voice = next(iter(roster.voices([_approval(person, now)])), None)
        if voice is None:
            traits.append(None)
            continue
        fitting = tuple(rule.label for rule in policy.approval_rules if fits(roster, voice, rule))
        names = (person, *policy.people.get(person, ()))
        by_name = person if any(name in text for text in policy.rego for name in names) else ""
        traits.append(
            (voice.groups, tuple(voice.stands_for), voice.may_be_requester and not policy.allow_self_approval, fitting, by_name)
        )
    return tuple(traits)


def _counts(classes: Sequence[Sequence[str]], size: int) -> Iterator[tuple[int, ...]]:
    """Yield every way to choose that many people, as the number taken from each class."""
    if not classes:
        if size == 0:
            yield ()
        return
    for count in range(min(size, len(classes[0])), -1, -1):
        for rest in _counts(classes[1:], size - count):
            yield (count, *rest)
