"""Render a decision's approvals and rules as GitLab's API shows those of a deployment."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from approval_resource.canonical import instant
from approval_resource.policy.decision import Answer, Decision, PolicyResult
from approval_resource.policy.kinds.quorum import Count
from approval_resource.policy.kinds.rules import Tally
from approval_resource.policy.people import Voice

STATUS = {Answer.APPROVE: "approved", Answer.REJECT: "rejected"}
PENDING = "pending_approval"


def deployment(decision: Decision) -> dict[str, Any]:
    """Render all policies together; empty where none has a quorum or approval rules."""
    shapes = [shape for shape in map(approvals, decision.policies) if shape]
    if not shapes:
        return {}
    listed: list[dict[str, Any]] = []
    for shape in shapes:
        known = list(listed)  # an approval under several policies is shown once
        listed += [approval for approval in shape["approvals"] if approval not in known]
    rules = [rule for shape in shapes for rule in shape["approval_summary"]["rules"]]
    return _shape(decision.result.answer, sum(shape["pending_approval_count"] for shape in shapes), listed, rules)


def approvals(result: PolicyResult) -> dict[str, Any]:
    """Render one policy; empty where it has no quorum and no approval rules."""
    quorum: Count | None = result.found.get("quorum")
    tallies: Sequence[Tally] = result.found.get("rules", ())
    against: Sequence[Voice] = result.found.get("rejections", ())
    if quorum is None and not tallies:
        return {}
    taken = [voice for one in tallies for voice in one.approvals.values()]
    missing = sum(one.missing for one in tallies)
    if quorum is not None and not tallies:
        taken, missing = list(quorum.approvals), quorum.missing
    return _shape(result.without_time, missing, [_approval(voice) for voice in (*taken, *against)], [*map(_rule, tallies)])


def _shape(answer: Answer, missing: int, listed: list[dict[str, Any]], rules: list[dict[str, Any]]) -> dict[str, Any]:
    status = STATUS.get(answer, PENDING)
    return {
        "status": status,
        "pending_approval_count": missing if status == PENDING else 0,
        "approvals": listed,
        "approval_summary": {"status": status, "rules": rules},
    }


def _rule(tally: Tally) -> dict[str, Any]:
    rule = tally.rule
    return {
        "name": rule.label,
        **({"user": rule.user} if rule.user else {"group": rule.group}),
        "required_approvals": rule.required_approvals,
        "deployment_approvals": [_approval(voice) for voice in (*tally.approvals.values(), *tally.rejections)],
    }


def _approval(voice: Voice) -> dict[str, Any]:
    return {
        "user": {"username": voice.login},
        "status": "approved" if voice.approves else "rejected",
        "created_at": instant(voice.at),
        "comment": voice.comment or None,
    }
