"""How many people it takes, whoever they are."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from approval_resource.canonical import instant
from approval_resource.policy.decision import Answer, Explanation
from approval_resource.policy.people import Voice
from approval_resource.policy.requester import self_approval
from approval_resource.text import clean

if TYPE_CHECKING:
    from approval_resource.policy.language.document import Policy


def quorum(policy: Policy, voices: Sequence[Voice], required: int, requester: str) -> Explanation:
    """Approved once so many people approve."""
    counting, others = counted_and_not(policy, voices, requester)
    return tallied("approvals", counting, required, others)


def tallied(what: str, counting: Sequence[Voice], required: int, others: Iterable[str] = ()) -> Explanation:
    """So many of so many, by whom, and why others don't count."""
    who = f" ({', '.join(clean(voice.shown) for voice in counting)})" if counting else ""
    missing = required - len(counting)
    why = "".join(f"; {other}" for other in others)
    sentence = f"{len(counting)} of {required} {what}{who}{why}"
    return Explanation(Answer.UNDECIDED if missing > 0 else Answer.APPROVE, sentence)


def counted_and_not(policy: Policy, voices: Sequence[Voice], requester: str) -> tuple[list[Voice], list[str]]:
    """The approvals that count, and why others don't, a sentence each."""
    counting, others = [], []
    for voice in voices:
        if not voice.approves:
            continue
        why = self_approval(policy, voice, requester)
        if why:
            others.append(why)
        else:
            counting.append(voice)
    return counting, others


def rejections(policy: Policy, voices: Sequence[Voice]) -> Explanation | None:
    """Rejected once so many people reject; None where nobody did."""
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
    """One approval or rejection as GitLab's API shows it."""
    return {
        "user": {"username": voice.login},
        "status": "approved" if voice.approves else "rejected",
        "created_at": instant(voice.at),
        "comment": voice.comment or None,
    }
