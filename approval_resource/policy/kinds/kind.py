"""The one interface of all kinds of rule, and the list of them. Each kind is a module beside this one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol, cast

from approval_resource.canonical import EMPTY
from approval_resource.policy.decision import Explanation
from approval_resource.policy.facts import Facts
from approval_resource.policy.people import Roster, Voice

if TYPE_CHECKING:
    from approval_resource.policy.language.document import Policy


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """Everything that a kind of rule may judge by."""

    policy: Policy
    facts: Facts
    roster: Roster
    voices: Sequence[Voice] = ()
    now: datetime
    settled: bool = False
    """Whether a kind that was asked earlier has decided. Then no approval is required by default."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Result of one kind of rule: its answers, with everything else that it gives."""

    answers: Sequence[Explanation] = ()
    applies: bool = True
    """Whether the policy applies to the claim. False drops it, unless it has rules that always apply."""
    settles: bool = False
    """Whether the kind decides without people; see `View.settled`."""
    opens_at: datetime | None = None
    """Instant at which the kind stops delaying the gate. None if it doesn't delay it, or none is known."""
    notes: Sequence[str] = ()
    flags: Sequence[str] = ()
    filled_in: Mapping[str, str] = field(default_factory=lambda: EMPTY)
    found: Any = None
    """Counts and matches behind the answers, from which other systems' JSON is rendered."""


class Judge(Protocol):
    """Interface of a kind's module."""

    def judge(self, view: View) -> Part:
        """Return the kind's part of a policy's result."""
        ...


@dataclass(frozen=True, slots=True)
class Kind:
    """Kind of rule: its module, and whether a policy has rules of that kind.

    The module is imported only for a policy that has some. Most claims have no policy, and so the import
    doesn't delay their gates.
    """

    name: str
    wanted: Callable[[View], object]

    def judge(self, view: View) -> Part:
        """Return the kind's part of a policy's result."""
        module = cast("Judge", import_module(f"{__package__}.{self.name}"))
        return module.judge(view)


def asks_people(policy: Policy) -> bool:
    """Whether the policy has a quorum, approval rules or Rego of its own."""
    return bool(policy.approval_rules or policy.rego) or policy.required_approvals is not None


def by_default(view: View) -> bool:
    """Whether one approval is required, since nothing else of the policy asks people or decides."""
    return not (asks_people(view.policy) or view.settled)


EXCEPT_TIME = (
    Kind("rejections", lambda view: view.voices),
    Kind("conditions", lambda view: view.policy.conditions is not None),
    Kind("requester", lambda view: asks_people(view.policy) or by_default(view)),
    Kind("quorum", lambda view: view.policy.required_approvals or by_default(view)),
    Kind("rules", lambda view: view.policy.approval_rules),
    Kind("rego", lambda view: view.policy.rego),
    Kind("inputs", lambda view: view.policy.inputs),
)
"""Kinds that judge a claim by its facts and reviews, in the order in which they are asked and explained."""
TIME = (
    Kind("waiting", lambda view: view.policy.not_before is not None),
    Kind("windows", lambda view: view.policy.windows),
    Kind("freezes", lambda view: view.policy.freezes),
)
"""Kinds that judge by time alone. They never approve, they only delay."""


def parts_of(kinds: Sequence[Kind], view: View) -> Iterator[tuple[str, Part]]:
    """Yield the part of each kind that the policy has, by the kind's name."""
    for kind in kinds:
        if kind.wanted(view):
            part = kind.judge(view)
            view = replace(view, settled=view.settled or part.settles)
            yield kind.name, part
