"""Waiting time: an instant before which the gate stays shut."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from approval_resource.policy.decision import Answer, Explanation
from approval_resource.policy.kinds.kind import Part, View

if TYPE_CHECKING:
    from approval_resource.policy.language.document import Policy


def judge(view: View) -> Part:
    """Delay the gate until the waiting time is over."""
    begin = shut_until(view.policy, view.facts.created_at)
    if begin is None or begin <= view.now:
        return Part(answers=[Explanation(Answer.ABSTAIN, "its waiting time is over")])
    told = f"not before {begin.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
    return Part(answers=[Explanation(Answer.UNDECIDED, told)], opens_at=begin)


def shut_until(policy: Policy, claimed: datetime) -> datetime | None:
    """Return the instant before which the gate stays shut, or None.

    `claimed`: the instant of the claim, at which a waiting time begins.
    """
    if isinstance(policy.not_before, timedelta):
        return claimed + policy.not_before
    return policy.not_before
