"""Evaluate policies on facts and reviews at one instant, to a decision that explains itself."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from approval_resource.canonical import EMPTY
from approval_resource.model.claim import Review
from approval_resource.policy.decision import (
    Answer,
    Approved,
    Decision,
    Explanation,
    PolicyResult,
    Rejected,
    Undecidable,
    Waiting,
    combine,
)
from approval_resource.policy.facts import Facts
from approval_resource.policy.kinds.kind import EXCEPT_TIME, TIME, Part, View, asks_people, parts_of
from approval_resource.policy.language.default import DEFAULT
from approval_resource.policy.people import Memberships, Voice
from approval_resource.policy.sandbox import parent as sandbox
from approval_resource.text import clean, counted

if TYPE_CHECKING:
    from approval_resource.policy.language.document import Policy


def evaluate(
    policies: Sequence[Policy],
    facts: Facts,
    reviews: Sequence[Review],
    now: datetime,
    memberships: Memberships = EMPTY,
) -> Decision:
    """Return the decision of all policies together on a claim, at that instant.

    Every policy that applies must approve, and one rejection is enough. Where no policy applies, one approval
    by anyone is required. The same arguments give the same decision, unless a limit of the sandbox stops an
    evaluation. No error is raised.
    """
    with sandbox.budget():
        judged = [judge(policy, facts, reviews, now, memberships, number) for number, policy in enumerate(policies)]
    if all(one.answer is Answer.ABSTAIN for one in judged):
        judged.append(judge(DEFAULT, facts, reviews, now, memberships))
    return combine_results(judged)


def combine_results(judged: Sequence[PolicyResult]) -> Decision:
    """Combine the results of policies into one decision."""
    applying = [one for one in judged if one.answer is not Answer.ABSTAIN]
    values: dict[str, str] = {}
    disputed = [name for one in judged for name, value in one.filled_in.items() if values.setdefault(name, value) != value]
    parts = [one.result for one in judged]
    if disputed:
        parts.append(Explanation(Answer.UNDECIDED, f"those who approve disagree on {', '.join(disputed)}"))
    result = combine("", parts)
    policies = tuple(judged)
    match result.answer:
        case Answer.REJECT:
            return Rejected(result=_headed(result, "rejected"), policies=policies)
        case Answer.APPROVE:
            spans = [one.valid_for for one in applying if one.valid_for is not None]
            return Approved(result=_headed(result, "approved"), policies=policies, valid_for=min(spans, default=None))
        case Answer.UNDECIDED:
            opens = [one.opens_at for one in applying if one.opens_at is not None]
            at = max(opens, default=None) if all(one.ready for one in applying) and not disputed else None
            return Waiting(result=_headed(result, "waiting"), policies=policies, opens_at=at)
        case Answer.ERROR | Answer.ABSTAIN:
            return Undecidable(result=_headed(result, "undecidable"), policies=policies)


def _headed(result: Explanation, word: str) -> Explanation:
    return Explanation(result.answer, f"{word}, by {counted(len(result.parts), 'policy', 'policies')}", result.parts)


def judge(
    policy: Policy,
    facts: Facts,
    reviews: Sequence[Review],
    now: datetime,
    memberships: Memberships = EMPTY,
    number: int = 0,
) -> PolicyResult:
    """Return the result of one policy document.

    A policy that can't be evaluated answers with an error.
    """
    name = policy.name or f"policy {number + 1}"
    try:
        return _judged(policy, name, facts, reviews, now, memberships)
    except (ArithmeticError, ValueError, LookupError, TypeError, RecursionError, MemoryError) as broken:
        why = Explanation(Answer.ERROR, f"the policy can't be evaluated ({type(broken).__name__})")
        return PolicyResult(name=name, result=Explanation(Answer.ERROR, name, (why,)))


def _judged(
    policy: Policy, name: str, facts: Facts, reviews: Sequence[Review], now: datetime, memberships: Memberships
) -> PolicyResult:
    roster = facts.roster(policy, memberships)
    views = (View(policy=policy, facts=facts, roster=roster, voices=one, now=now) for one in roster.hearings(reviews))
    return max((_heard(name, view) for view in views), key=lambda one: (one.result.answer is Answer.APPROVE, one.ready))


def _heard(name: str, view: View) -> PolicyResult:
    """Return the result of the policy for one way to count voices."""
    parts = _parts_except_time(view)
    people = combine(name, _answers(parts.values()))
    filled_in = {key: value for part in parts.values() for key, value in part.filled_in.items()}
    # A policy that its selector drops can't be forced, and its rules of time delay nothing.
    dropped = people.answer is Answer.ABSTAIN
    if not dropped and (forced := _forced(view)) is not None:
        from approval_resource.policy.kinds import inputs

        voice, told = forced
        given = {key: value for key, value in voice.inputs.items() if key in inputs.asked_for([view.policy])}
        return PolicyResult(
            name=name,
            result=Explanation(told.answer, name, (told,)),
            ready=True,
            valid_for=view.policy.valid_for,
            forced_by=voice.shown,
            filled_in=filled_in | given,
        )
    time = [] if dropped else [part for _, part in parts_of(TIME, view)]
    opens = [part.opens_at for part in time if any(one.answer is Answer.UNDECIDED for one in part.answers)]
    return PolicyResult(
        name=name,
        result=combine(name, [*people.parts, *_answers(time)]),
        notes=tuple(note for part in parts.values() for note in part.notes),
        flags=tuple(flag for part in parts.values() for flag in part.flags),
        opens_at=None if None in opens else max((at for at in opens if at is not None), default=None),
        ready=people.answer is Answer.APPROVE and None not in opens,
        valid_for=view.policy.valid_for,
        filled_in=filled_in,
        without_time=people.answer,
        found={kind: part.found for kind, part in parts.items() if part.found},
    )


def _answers(parts: Iterable[Part]) -> list[Explanation]:
    return [answer for part in parts for answer in part.answers]


def _parts_except_time(view: View) -> dict[str, Part]:
    """Return the part of every kind of rule but time, by kind."""
    parts: dict[str, Part] = {}
    for kind, part in parts_of(EXCEPT_TIME, view):
        if not part.applies and not _asks_more(view.policy):
            return {kind: part}
        parts[kind] = part
    return parts


def time_agrees(policies: Sequence[Policy], facts: Facts, at: datetime, now: datetime) -> bool:
    """Whether windows, freezes and waiting times give the same answers at both instants."""

    def said(policy: Policy, instant: datetime) -> list[Answer]:
        view = View(policy=policy, facts=facts, roster=facts.roster(policy), now=instant)
        return [answer.answer for answer in _answers(part for _, part in parts_of(TIME, view))]

    return all(said(policy, at) == said(policy, now) for policy in policies)


def dropped(policy: Policy, facts: Facts) -> bool:
    """Whether the selector drops the whole policy for a claim with those facts.

    A policy with other rules besides conditions is never dropped: those apply whatever the selector says.
    """
    if policy.selector is None or _asks_more(policy):
        return False
    from approval_resource.policy.kinds import conditions

    return not conditions.selected(policy, facts.static_document(facts.roster(policy)))


def _asks_more(policy: Policy) -> bool:
    """Whether the policy has rules that apply even where its selector doesn't select."""
    holds = (policy.windows, policy.freezes, policy.not_before, policy.inputs, policy.valid_for, policy.bypass)
    return asks_people(policy) or any(holds) or not policy.allow_self_approval or policy.rejections_required > 1


def _forced(view: View) -> tuple[Voice, Explanation] | None:
    """Return the decision that an entitled person forced, a rejection before an approval; else None."""
    bypass = view.policy.bypass
    if bypass is None:
        return None
    forcing = [voice for voice in view.voices if voice.forced and view.roster.is_one_of(voice, bypass.users, bypass.groups)]
    for voice in sorted(forcing, key=lambda voice: voice.approves):
        done = "approved" if voice.approves else "rejected"
        sentence = f"{clean(voice.shown)} forced it to be {done}: {clean(voice.comment)}"
        return voice, Explanation(Answer.APPROVE if voice.approves else Answer.REJECT, sentence)
    return None
