"""Freezes: periods in which no gate opens, unless somebody in `bypass` forces an approval."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import TYPE_CHECKING

from approval_resource.policy.decision import Answer, Explanation
from approval_resource.policy.kinds.kind import Part, View
from approval_resource.text import clean

if TYPE_CHECKING:
    from approval_resource.policy.language.document import Freeze, Policy


def judge(view: View) -> Part:
    """Delay the gate until no freeze is in effect."""
    frozen = in_effect(view.policy, view.now)
    return Part(
        answers=[Explanation(Answer.UNDECIDED, told(one)) for one in frozen],
        opens_at=thaws(view.policy.freezes, view.now) if frozen else None,
    )


def in_effect(policy: Policy, now: datetime) -> list[Freeze]:
    """Return the policy's freezes that are in effect at that instant."""
    return [freeze for freeze in policy.freezes if freeze.span[0] <= now < freeze.span[1]]


def thaws(freezes: Iterable[Freeze], now: datetime) -> datetime:
    """Return the first instant from `now` on that lies in none of those freezes."""
    for begin, end in sorted(freeze.span for freeze in freezes):
        if begin <= now < end:
            now = end
    return now


def told(freeze: Freeze) -> str:
    """Describe a freeze for people, in its own time zone."""
    until = freeze.span[1].astimezone(freeze.tz)
    why = f": {clean(freeze.reason)}" if freeze.reason else ""
    return f"frozen until {until:%a %Y-%m-%d %H:%M} {freeze.tz.key}{why}"
