"""How many people it takes."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from approval_resource.model import Claim, Review, Verdict
from approval_resource.policy.model import Approved, Decision, Rejected, Waiting

TYPED = "typed:"


def person(reviewer: str) -> str:
    """Who a reviewer counts as. Typed names can't be told apart from inventions, so together they are one person."""
    return TYPED if reviewer.startswith(TYPED) else reviewer


def quorum(reviews: Iterable[Review], *, required_approvals: int, rejections_required: int) -> Decision:
    """Rejected once that many people reject, else approved once that many approve."""
    said: dict[Verdict, set[str]] = {Verdict.APPROVE: set(), Verdict.REJECT: set()}
    for review in reviews:
        said[review.verdict].add(person(review.reviewer))
    approvals, rejections = (len(said[verdict]) for verdict in (Verdict.APPROVE, Verdict.REJECT))
    if rejections >= rejections_required:
        return Rejected((f"{rejections} of {rejections_required} rejections",))
    tally = (f"{approvals} of {required_approvals} approvals",)
    return Approved(tally) if approvals >= required_approvals else Waiting(tally)


def one_approval(claim: Claim, now: datetime) -> Decision:
    """What holds where nobody set a policy, as in the original resource: one approval by anyone; one rejection ends it."""
    return quorum(claim.reviews.values(), required_approvals=1, rejections_required=1)
