"""Quorum: a number of approvals, whoever gives them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from approval_resource.policy.decision import Answer, Explanation
from approval_resource.policy.kinds.kind import Part, View
from approval_resource.policy.kinds.requester import uncounted
from approval_resource.policy.people import Voice
from approval_resource.text import clean, counted

if TYPE_CHECKING:
    from approval_resource.policy.language.document import Policy


Uncounted = tuple[str, str]
"""A person whose approval doesn't count, by the name shown to people, and the reason."""


NOT_BESIDE_KNOWN = "is only a typed name, which counts only if no known identity approves,"


@dataclass(frozen=True, slots=True)
class Count:
    """Approvals that count for a quorum, and how many more it requires."""

    approvals: Sequence[Voice]
    missing: int


def judge(view: View) -> Part:
    """Approve once the required number of people approve."""
    policy = view.policy
    counting, others = counted_and_not(policy, view.voices, view.roster.requester)
    answer = tallied("", counting, policy.required_approvals or 1, others)
    found = policy.required_approvals and Count(counting, max(0, policy.required_approvals - len(counting)))
    return Part(answers=[answer], found=found)


def tallied(rule: str, counting: Sequence[Voice], required: int, others: Iterable[Uncounted] = ()) -> Explanation:
    """Return how many of the required approvals there are, from whom, and whose don't count.

    `rule`: the rule's name; empty for a quorum.
    """
    names = tuple(clean(voice.shown) for voice in counting)
    from_ = f" from {clean(rule)}" if rule else ""
    lead = f"{len(names)} of {required} approvals" if names else f"needs {counted(required, 'approval')}"
    answer = Answer.UNDECIDED if len(names) < required else Answer.APPROVE
    return Explanation(answer, lead + from_, counted_people=names, uncounted=tuple(others), rule=clean(rule))


def counted_and_not(policy: Policy, voices: Sequence[Voice], requester: str) -> tuple[list[Voice], list[Uncounted]]:
    """Return the approvals that count, and the people whose approval doesn't, each with the reason."""
    counting: list[Voice] = []
    others: list[Uncounted] = []
    for voice in voices:
        if not voice.approves:
            continue
        why = uncounted(policy, voice, requester)
        if why:
            others.append((clean(voice.shown), why))
        else:
            counting.append(voice)
    # A typed name may belong to somebody who approves under a known identity, too.
    known = [voice for voice in counting if not voice.typed]
    if known:
        others += [(clean(voice.shown), NOT_BESIDE_KNOWN) for voice in counting if voice.typed]
    return known or counting, others
