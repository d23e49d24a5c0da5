"""Evaluate policies on facts and reviews at one instant, to a decision that explains itself."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

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
from approval_resource.policy.kinds import freezes, quorum, rules, windows
from approval_resource.policy.kinds.requester import requester_known, uncounted
from approval_resource.policy.language.default import DEFAULT
from approval_resource.policy.people import Memberships, Roster, Voice
from approval_resource.policy.sandbox import parent as sandbox
from approval_resource.text import clean, counted

if TYPE_CHECKING:
    from approval_resource.policy.language.document import Policy

ACTIONS = {Answer.APPROVE: "approve", Answer.REJECT: "deny"}
"""Actions of conditions, in nullplatform's words."""


def evaluate(
    policies: Sequence[Policy],
    facts: Facts,
    reviews: Sequence[Review],
    now: datetime,
    memberships: Memberships = EMPTY,
) -> Decision:
    """Return the decision of all policies together on a claim, at that instant.

    Every policy that applies must approve, and one rejection is enough. Where no policy applies, one approval
    by anyone is required. The same arguments always give the same decision, and none raises an error.
    """
    with sandbox.budget():
        judged = [judge(policy, facts, reviews, now, memberships, number) for number, policy in enumerate(policies)]
    if all(one.answer is Answer.ABSTAIN for one in judged):
        judged.append(judge(DEFAULT, facts, reviews, now, memberships))
    return decided(judged)


def decided(judged: Sequence[PolicyResult]) -> Decision:
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
    ways = [_heard(policy, name, facts, roster, voices, now) for voices in roster.hearings(reviews)]
    return max(ways, key=lambda one: (one.result.answer is Answer.APPROVE, one.ready))


def _heard(policy: Policy, name: str, facts: Facts, roster: Roster, voices: Sequence[Voice], now: datetime) -> PolicyResult:
    """Return the answer of the policy to those voices."""
    people, told = _people(policy, facts, roster, voices, now)
    asked = combine(name, people)
    forced = _forced(policy, roster, voices) if asked.answer is not Answer.ABSTAIN else None
    if forced is not None:
        from approval_resource.policy.kinds import inputs

        voice, result = forced
        return PolicyResult(
            name=name,
            result=Explanation(result.answer, name, (result,)),
            ready=True,
            valid_for=policy.valid_for,
            forced_by=voice.shown,
            filled_in=told.filled_in
            | {name: value for name, value in voice.inputs.items() if name in inputs.asked_for([policy])},
        )
    # A policy that its selector drops holds nothing back by time either.
    time = _time(policy, facts, now) if asked.answer is not Answer.ABSTAIN else []
    opens = [at for result, at in time if result.answer is Answer.UNDECIDED]
    return PolicyResult(
        name=name,
        result=combine(name, [*people, *(result for result, _ in time)]),
        notes=told.notes,
        flags=told.flags,
        opens_at=None if None in opens else max((at for at in opens if at is not None), default=None),
        ready=asked.answer is Answer.APPROVE and None not in opens,
        valid_for=policy.valid_for,
        filled_in=told.filled_in,
        details=told.details,
    )


def time_agrees(policies: Sequence[Policy], facts: Facts, at: datetime, now: datetime) -> bool:
    """Whether windows, freezes and waiting times give the same answers at both instants."""
    return all(
        [result.answer for result, _ in _time(policy, facts, at)] == [result.answer for result, _ in _time(policy, facts, now)]
        for policy in policies
    )


def dropped(policy: Policy, facts: Facts) -> bool:
    """Whether the selector drops the whole policy for a claim with those facts.

    It can drop only a policy of conditions alone: other rules apply whatever the selector says.
    """
    if policy.selector is None or _asks_more(policy):
        return False
    from approval_resource.policy.kinds import conditions

    return not conditions.selected(policy, facts.static_document(facts.roster(policy)))


def asks_people(policy: Policy) -> bool:
    """Whether the policy has a quorum, approval rules or Rego of its own."""
    return bool(policy.approval_rules or policy.rego) or policy.required_approvals is not None


def _asks_more(policy: Policy) -> bool:
    """Whether anything of the policy applies where its conditions don't."""
    holds = (policy.windows, policy.freezes, policy.not_before, policy.inputs, policy.valid_for, policy.bypass)
    return asks_people(policy) or any(holds) or not policy.allow_self_approval or policy.rejections_required > 1


class _Told:
    """Results of the kinds of rules beside their answers."""

    def __init__(self) -> None:
        self.notes: tuple[str, ...] = ()
        self.flags: tuple[str, ...] = ()
        self.filled_in: dict[str, str] = {}
        self.details: dict[str, Any] = {}


def _people(
    policy: Policy, facts: Facts, roster: Roster, voices: Sequence[Voice], now: datetime
) -> tuple[list[Explanation], _Told]:
    """Return the answer of every kind of rule but time, and the results beside the answers."""
    told = _Told()
    parts: list[Explanation] = []
    # Each kind is imported only where a policy has it. Most claims have none, and a gate opens sooner.
    if policy.conditions is not None:
        from approval_resource.policy.kinds import conditions

        result, told.details["conditions"] = conditions.judge(policy, facts.static_document(roster), facts.defaults)
        if told.details["conditions"]["selected"]:
            told.details["action"] = ACTIONS.get(result.answer, "manual")
        parts.append(result)
    settled = any(part.answer in (Answer.APPROVE, Answer.REJECT, Answer.ERROR) for part in parts)
    if policy.conditions is not None and not told.details["conditions"]["selected"] and not _asks_more(policy):
        return parts, told
    required = policy.required_approvals or (None if asks_people(policy) or settled else 1)
    if (policy.approval_rules or policy.rego or required) and (unknown := requester_known(policy, roster.requester)):
        parts.append(unknown)
    if required is not None:
        parts.append(quorum.quorum(policy, voices, required, roster.requester))
    tallies: list[rules.Tally] = []
    if policy.approval_rules:
        result, tallies = rules.rules(policy, roster, voices)
        parts.append(result)
    against = _against(policy, roster, voices)
    if (rejected := quorum.rejections(policy, against)) is not None:
        parts.insert(0, rejected)
    if policy.rego:
        from approval_resource.policy.kinds import rego

        shown = _shown(policy, roster, voices)
        document = facts.document(roster, shown, now)
        # A Rego text that reads who asked sees no typed approval, since it may be the requester's.
        known = facts.document(roster, [voice for voice in shown if not voice.typed], now)["reviews"]["current"]["approvals"]
        verdicts = [rego.ask_of_claim(text, document, known, facts.defaults) for text in policy.rego]
        parts += [one.result for one in verdicts]
        told.notes = tuple(note for one in verdicts for note in one.notes)
        told.flags = tuple(flag for one in verdicts for flag in one.flags)
    if policy.inputs:
        from approval_resource.policy.kinds import inputs

        counting = rules.counting(policy, roster, voices)
        parts.append(inputs.complete(policy, counting))
        told.filled_in = inputs.filled_in(policy, counting)[0]
    if policy.approval_rules or policy.required_approvals is not None:
        told.details["gitlab"] = _gitlab(policy, roster, voices, against, tallies, combine("", parts).answer)
    return parts, told


def _shown(policy: Policy, roster: Roster, voices: Sequence[Voice]) -> list[Voice]:
    """Return whom a Rego policy hears: no approval that doesn't count whatever rules say."""
    return [voice for voice in voices if not voice.approves or not uncounted(policy, voice, roster.requester)]


def _against(policy: Policy, roster: Roster, voices: Sequence[Voice]) -> list[Voice]:
    """Return the rejections that count: anybody's, with two exceptions.

    Without a quorum, approval rules count only rejections by people whom they name. With neither, a Rego
    policy judges rejections itself, so that none count here.
    """
    if policy.required_approvals is None and policy.approval_rules:
        return rules.named_rejections(policy, roster, voices)
    if policy.required_approvals is None and policy.rego:
        return []
    return [voice for voice in voices if not voice.approves]


def _time(policy: Policy, facts: Facts, now: datetime) -> list[tuple[Explanation, datetime | None]]:
    """Return each answer of time, with the instant at which it may change, or None."""
    found: list[tuple[Explanation, datetime | None]] = []
    begin = windows.within(policy, facts.created_at)
    if begin is not None:
        open_ = begin <= now
        sentence = f"not before {begin.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC" if not open_ else "its waiting time is over"
        found.append((Explanation(Answer.APPROVE if open_ else Answer.UNDECIDED, sentence), begin))
    if policy.windows:
        if windows.is_open(policy, now):
            found.append((Explanation(Answer.APPROVE, "its window is open"), None))
        else:
            at = windows.next_opening(policy, now)
            sentence = f"its window opens {windows.told(at, policy.windows)}" if at else "none of its windows ever opens"
            found.append((Explanation(Answer.UNDECIDED, sentence), at))
    if frozen := freezes.in_effect(policy, now):
        at = freezes.thaws(policy.freezes, now)
        found += [(Explanation(Answer.UNDECIDED, freezes.told(one)), at) for one in frozen]
    # Time never approves, it only delays.
    return [
        (Explanation(Answer.ABSTAIN, result.sentence), None) if result.answer is Answer.APPROVE else (result, at)
        for result, at in found
    ]


def _forced(policy: Policy, roster: Roster, voices: Sequence[Voice]) -> tuple[Voice, Explanation] | None:
    """Return the decision that an entitled person forced, a rejection before an approval; else None."""
    if policy.bypass is None:
        return None
    forcing = [voice for voice in voices if voice.forced and roster.is_one_of(voice, policy.bypass.users, policy.bypass.groups)]
    for voice in sorted(forcing, key=lambda voice: voice.approves):
        done = "approved" if voice.approves else "rejected"
        sentence = f"{clean(voice.shown)} forced it to be {done}: {clean(voice.comment)}"
        return voice, Explanation(Answer.APPROVE if voice.approves else Answer.REJECT, sentence)
    return None


def _gitlab(
    policy: Policy,
    roster: Roster,
    voices: Sequence[Voice],
    against: Sequence[Voice],
    tallies: Sequence[rules.Tally],
    answer: Answer,
) -> dict[str, Any]:
    """Render quorum and rules as GitLab's API shows the approvals of a deployment."""
    counting, _ = quorum.counted_and_not(policy, voices, roster.requester)
    taken = [voice for one in tallies for voice in one.approvals.values()] if tallies else counting
    missing = rules.pending(tallies) if tallies else max(0, (policy.required_approvals or 0) - len(counting))
    status = {Answer.REJECT: "rejected", Answer.APPROVE: "approved"}.get(answer, "pending_approval")
    return {
        "status": status,
        "pending_approval_count": missing if status == "pending_approval" else 0,
        "approvals": [quorum.approval_document(voice) for voice in (*taken, *against)],
        "approval_summary": rules.summary(tallies, against, roster, status),
    }
