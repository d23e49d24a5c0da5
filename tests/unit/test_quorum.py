"""How reviews become a decision."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from approval_resource.model import Review, Verdict
from approval_resource.policy.model import Approved, Decision, Rejected, Waiting
from approval_resource.policy.quorum import one_approval, quorum
from tests.builders import NOON, a_claim

REVIEWERS = st.sampled_from(["aws:ann", "aws:bob", "typed:cy", "typed:dee", "aws:eve"])
REVIEWS = st.dictionaries(REVIEWERS, st.sampled_from(Verdict))


def reviews(said: dict[str, Verdict]) -> list[Review]:
    """Those verdicts, one a person."""
    return [Review(reviewer=who, verdict=verdict, at=NOON) for who, verdict in said.items()]


def decide(said: dict[str, Verdict], required: int = 2) -> Decision:
    """What a quorum makes of them."""
    return quorum(reviews(said), required_approvals=required, rejections_required=1)


def test_typed_names_together_are_one_person() -> None:
    """Whoever can type one name can type two."""
    assert decide({"typed:cy": Verdict.APPROVE, "typed:dee": Verdict.APPROVE}) == Waiting(("1 of 2 approvals",))
    assert decide({"typed:cy": Verdict.APPROVE, "aws:ann": Verdict.APPROVE}) == Approved(("2 of 2 approvals",))


def test_a_rejection_wins() -> None:
    """Enough approvals beside a rejection open nothing."""
    said = {"aws:ann": Verdict.APPROVE, "aws:bob": Verdict.APPROVE, "aws:eve": Verdict.REJECT}
    assert decide(said) == Rejected(("1 of 1 rejections",))


def test_one_approval_by_anyone_is_the_default() -> None:
    """As in the original resource, and one rejection ends it."""
    claim = a_claim()
    assert isinstance(one_approval(claim, NOON), Waiting)
    for verdict, decision in ((Verdict.APPROVE, Approved), (Verdict.REJECT, Rejected)):
        given_ = claim.reviewed(Review(reviewer="typed:bob", verdict=verdict, at=NOON))
        assert isinstance(one_approval(given_, NOON), decision)


@given(REVIEWS, REVIEWERS, st.integers(1, 4))
def test_another_approval_never_hurts(said: dict[str, Verdict], who: str, required: int) -> None:
    """A further person's approval never turns an approval into waiting or a rejection."""
    if who not in said and isinstance(decide(said, required), Approved):
        assert isinstance(decide(said | {who: Verdict.APPROVE}, required), Approved)


@given(REVIEWS, st.randoms(use_true_random=False))
def test_the_order_of_reviews_does_not_matter(said: dict[str, Verdict], random: object) -> None:
    """The same verdicts of the same people decide the same."""
    shuffled = list(said.items())
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert decide(said) == decide(dict(shuffled))
