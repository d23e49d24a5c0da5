"""Rejections: how many it takes, and whose count."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from approval_resource.policy.decision import Answer, Explanation
from approval_resource.policy.kinds.kind import Part, View
from approval_resource.policy.kinds.rules import fits
from approval_resource.policy.people import Roster, Voice
from approval_resource.text import clean

if TYPE_CHECKING:
    from approval_resource.policy.language.document import Policy


def judge(view: View) -> Part:
    """Reject once enough people reject."""
    against = counting(view.policy, view.roster, view.voices)
    if not against:
        return Part()
    said = [f"{clean(voice.shown)} rejected it{f': {clean(voice.comment)}' if voice.comment else ''}" for voice in against]
    required = view.policy.rejections_required
    if len(against) >= required:
        return Part(answers=[Explanation(Answer.REJECT, one) for one in said], found=against)
    told = f"{len(against)} of {required} rejections: {'; '.join(said)}"
    return Part(answers=[Explanation(Answer.ABSTAIN, told)], found=against)


def counting(policy: Policy, roster: Roster, voices: Sequence[Voice]) -> list[Voice]:
    """Return the rejections that count: anybody's, with two exceptions.

    Without a quorum, approval rules count only rejections by people whom they name. With neither, a Rego
    policy judges rejections itself, so that none count here.
    """
    against = [voice for voice in voices if not voice.approves]
    if policy.required_approvals is None and policy.approval_rules:
        return [voice for voice in against if any(fits(roster, voice, rule) for rule in policy.approval_rules)]
    if policy.required_approvals is None and policy.rego:
        return []
    return against
