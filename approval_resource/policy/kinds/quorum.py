"""Quorum: a number of approvals or rejections, whoever gives them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from approval_resource.canonical import instant
from approval_resource.policy.decision import Answer, Explanation
from approval_resource.policy.kinds.requester import uncounted
from approval_resource.policy.people import Voice
from approval_resource.text import clean, counted

if TYPE_CHECKING:
    from approval_resource.policy.language.document import Policy


Uncounted = tuple[str, str]
"""A person whose approval doesn't count, by the name shown to people, and the reason."""


BESIDE_NOBODY = "is only a typed name, which counts beside nobody who is known"


def quorum(policy: Policy, voices: Sequence[Voice], required: int, requester: str) -> Explanation:
    """Approve once `required` people approve."""
    counting, others = counted_and_not(policy, voices, requester)
    return tallied("", counting, required, others)


def tallied(rule: str, counting: Sequence[Voice], required: int, others: Iterable[Uncounted] = ()) -> Explanation:
    """Return how many of the required approvals there are, from whom, and whose don't count.

    `rule`: the rule's name; empty for a quorum.
    """
    names = tuple(clean(voice.shown) for voice in counting)
    from_ = f" from {clean(rule)}" if rule else ""
    sentence = f"{len(names)} of {required} approvals{from_} ({', '.join(names)})" if names else ""
    answer = Answer.UNDECIDED if len(names) < required else Answer.APPROVE
    return Explanation(
        answer, sentence or f"needs {counted(required, 'approval')}{from_}", counts=names, uncounted=tuple(others)
    )


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
    # A typed name may be anybody's, so it may be that of somebody who is known, too.
    known = [voice for voice in counting if not voice.typed]
    if known:
        others += [(clean(voice.shown), BESIDE_NOBODY) for voice in counting if voice.typed]
    return known or counting, others


def rejections(policy: Policy, voices: Sequence[Voice]) -> Explanation | None:
    """Reject once enough people reject; return None where nobody does."""
    if not voices:
        return None
    said = "; ".join(
        f"{clean(voice.shown)} rejected it{f': {clean(voice.comment)}' if voice.comment else ''}" for voice in voices
    )
    required = policy.rejections_required
    if len(voices) >= required:
        return Explanation(Answer.REJECT, said)
    return Explanation(Answer.ABSTAIN, f"{len(voices)} of {required} rejections: {said}")


def approval_document(voice: Voice) -> dict[str, Any]:
    """Render one approval or rejection as GitLab's API shows it."""
    return {
        "user": {"username": voice.login},
        "status": "approved" if voice.approves else "rejected",
        "created_at": instant(voice.at),
        "comment": voice.comment or None,
    }
