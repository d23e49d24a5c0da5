"""What a policy can answer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from approval_resource.model import Claim


@dataclass(frozen=True, slots=True)
class Waiting:
    """Not decided yet; the reasons say what is missing."""

    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Approved:
    """The gate may open."""

    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Rejected:
    """The gate stays shut for good."""

    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Undecidable:
    """The policy can't be evaluated, which never opens a gate."""

    reasons: tuple[str, ...]


Decision = Waiting | Approved | Rejected | Undecidable

Evaluate = Callable[[Claim, datetime], Decision]
"""What a policy is to those who record reviews: the claim with its reviews, and the store's time, to a decision."""
