"""Self-approval: whether an approval may be the requester's own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from approval_resource.policy.decision import Answer, Explanation
from approval_resource.policy.kinds.kind import Part, View
from approval_resource.policy.people import Voice
from approval_resource.text import clean

if TYPE_CHECKING:
    from approval_resource.policy.language.document import Policy


def uncounted(policy: Policy, voice: Voice, requester: str) -> str:
    """Return why that approval can't count under any rule; an empty string where it can."""
    if voice.may_be:
        return f"may be the same person as {clean(voice.may_be)} (if not, list both under people)"
    return self_approval(policy, voice, requester)


def self_approval(policy: Policy, voice: Voice, requester: str) -> str:
    """Return why an approval that may be the requester's own doesn't count; empty where it counts."""
    if policy.allow_self_approval:
        return ""
    if voice.may_be_requester:
        return "asked for this claim"
    if voice.typed and requester:
        return f"is only a typed name, which may belong to {clean(requester)}, who asked for this claim,"
    return ""


def judge(view: View) -> Part:
    """Fail where the requester is unknown, and the policy needs to know them to refuse a self-approval."""
    if view.policy.allow_self_approval or view.roster.requester or view.policy.unknown_requester == "allow":
        return Part()
    why = (
        "nobody knows who asked for this claim, so a self-approval can't be recognized; set expose_build_created_by: true "
        "on the Concourse resource, or unknown_requester: allow in the policy"
    )
    return Part(answers=[Explanation(Answer.ERROR, why)])
