"""GitLab's deployment approvals: rules, counts, the summary and the refusals, review by review."""

from __future__ import annotations

from typing import Any

import pytest

from approval_resource.claims.lifecycle import reviewed
from approval_resource.errors import AlreadyReviewedError, ConfigError, NoApprovalNeededError
from approval_resource.model.claim import Review
from approval_resource.model.event import State
from approval_resource.policy import entitlement
from approval_resource.policy.authoring import gitlab
from approval_resource.policy.authoring.trial import document_of
from approval_resource.policy.language.load import load
from tests.builders import NOON, a_claim
from tests.policy.asking import Document, approval, facts, policy, rejection, tried

MEMBERS = {
    "shinya": ["Maintainers"],
    "mia": ["Maintainers"],
    "dev": [],
    "g1": ["qa"],
    "g2": ["qa"],
    "sec": ["security"],
    "both": ["qa", "security"],
}
"""GitLab's access levels are groups here like any other."""
LISTED = {
    group: [f"aws:{user}" for user, groups in MEMBERS.items() if group in groups] for group in ("Maintainers", "qa", "security")
}

MAINTAINER = {"name": "Maintainers", "group": "Maintainers", "required_approvals": 1}
TWO_QA = {"name": "qa-group", "group": "qa", "required_approvals": 2}
QA = {"name": "qa-group", "group": "qa", "required_approvals": 1}
SECURITY = {"name": "security-group", "group": "security", "count": 1}
SEC = {"name": "sec", "user": "aws:sec"}

BLOCKED, APPROVED, FAILED = "undecided", "approve", "reject"


def event(user: str, status: str = "approved", **more: Any) -> Document:
    """One review, by somebody with the groups that they have there."""
    return {"author": f"aws:{user}", "verdict": status, "groups": MEMBERS[user], **more}


def yes(user: str, **more: Any) -> Document:
    """An approval."""
    return event(user, **more)


def no(user: str, **more: Any) -> Document:
    """A rejection."""
    return event(user, "rejected", **more)


Step = tuple[Document, dict[str, Any]]
REPLAYS: dict[str, tuple[Document, list[Step]]] = {
    "one maintainer": (
        {"approval_rules": [MAINTAINER]},
        [
            (
                yes("shinya", comment="Looks good to me"),
                {"state": APPROVED, "pending": 0, "summary": "approved", "comment": "Looks good to me"},
            )
        ],
    ),
    "one rejection ends it": (
        {"approval_rules": [TWO_QA, SEC, MAINTAINER]},
        [
            (yes("g1"), {"state": BLOCKED, "pending": 3}),
            (no("g2"), {"state": FAILED, "summary": "rejected", "pending": 0}),
        ],
    ),
    "two and one and one are four": (
        {"approval_rules": [TWO_QA, SEC, MAINTAINER]},
        [
            (yes("g1"), {"pending": 3, "summary": "pending_approval"}),
            (yes("g2"), {"pending": 2, "summary": "pending_approval"}),
            (yes("sec"), {"pending": 1, "summary": "pending_approval"}),
            (yes("mia"), {"state": APPROVED, "summary": "approved", "pending": 0}),
        ],
    ),
    "what one rule doesn't need pays for no other": (
        {"approval_rules": [QA, SECURITY]},
        [(yes("g1"), {"pending": 1}), (yes("g2"), {"pending": 1, "summary": "pending_approval", "state": BLOCKED})],
    ),
    "one approval per person, which moves to the rule that is named": (
        {"approval_rules": [QA, SECURITY]},
        [
            (yes("both"), {"pending": 1, "count": 1}),
            (yes("both", represented_as="security-group"), {"pending": 1, "count": 1, "state": BLOCKED}),
            (yes("sec"), {"pending": 1, "count": 2, "state": BLOCKED}),
            (yes("g1"), {"state": APPROVED}),
        ],
    ),
    "one per rule where the policy says so": (
        {"approval_rules": [QA, SECURITY], "per_rule": True},
        [
            (yes("both", represented_as="qa-group"), {"pending": 1}),
            (yes("both", represented_as="security-group"), {"state": APPROVED, "count": 2}),
        ],
    ),
    "represented_as picks a rule": (
        {"approval_rules": [QA, SECURITY]},
        [(yes("both", represented_as="security-group"), {"pending": 1}), (yes("g1"), {"state": APPROVED})],
    ),
    "two of anybody": (
        {"required_approvals": 2},
        [(yes("shinya"), {"state": BLOCKED, "pending": 1}), (yes("mia"), {"state": APPROVED, "pending": 0})],
    ),
}


@pytest.mark.parametrize("listed", [False, True], ids=["groups in the reviews", "groups in the policy"])
@pytest.mark.parametrize("name", REPLAYS)
def test_reviews_count_as_they_do_in_gitlab(name: str, listed: bool) -> None:
    """After each review stand the state, the pending count, the summary and the approvals that GitLab would show."""
    document, steps = REPLAYS[name]
    if listed:
        document = {**document, "groups": LISTED}
    reviews: list[Document] = []
    for review, expected in steps:
        reviews.append({**review, "groups": []} if listed else review)
        decision = tried(document, reviews)
        shown = document_of(decision)
        approvals = gitlab.approvals(decision.policies[0])["approvals"]
        assert decision.result.answer.value == expected.get("state", decision.result.answer.value)
        assert shown["pending_approval_count"] == expected.get("pending", shown["pending_approval_count"])
        assert shown["approval_summary"]["status"] == shown["status"] == expected.get("summary", shown["status"])
        assert len(approvals) == expected.get("count", len(approvals))
        assert approvals[0]["comment"] == expected.get("comment")
        assert approvals[0]["status"] == review["verdict"] or len(reviews) > 1


def test_the_summary_lists_each_rule_with_its_approvals() -> None:
    """Rule by rule: its name, whom it names, how many it asks for, and who approved for it."""
    shown = document_of(tried({"approval_rules": [TWO_QA, SEC]}, [yes("sec", comment="ok"), yes("g1")]))
    one, other = shown["approval_summary"]["rules"]
    assert (one["name"], one["group"], one["required_approvals"]) == ("qa-group", "qa", 2)
    assert [approval["user"] for approval in one["deployment_approvals"]] == [{"username": "aws:g1"}]
    assert one["deployment_approvals"][0]["comment"] is None
    assert (other["name"], other["user"]) == ("sec", "aws:sec")
    assert other["deployment_approvals"] == [
        {"user": {"username": "aws:sec"}, "status": "approved", "created_at": "2026-11-21T12:00:00.000000Z", "comment": "ok"}
    ]


def test_an_approval_for_each_of_two_rules_is_shown_twice() -> None:
    """Under per_rule GitLab keeps, and shows, an approval for each rule."""
    document = {"approval_rules": [QA, SECURITY], "per_rule": True}
    reviews = [yes("both", represented_as="qa-group"), yes("both", represented_as="security-group")]
    assert len(document_of(tried(document, reviews))["approvals"]) == 2


def test_the_same_verdict_again_changes_nothing_its_comment_included() -> None:
    """Who said it once has said it."""
    shown = document_of(tried({"required_approvals": 2}, [yes("g1", comment="first"), yes("g1", comment="second")]))
    assert [approval["comment"] for approval in shown["approvals"]] == ["first"]
    assert shown["pending_approval_count"] == 1


def test_another_verdict_replaces_both_verdict_and_comment() -> None:
    """While nothing is decided a person may change their mind."""
    document = {"required_approvals": 2, "rejections_required": 2}
    shown = document_of(tried(document, [no("g1", comment="not yet"), yes("g1", comment="now")]))
    assert [(one["status"], one["comment"]) for one in shown["approvals"]] == [("approved", "now")]
    back = document_of(tried(document, [yes("g1", comment="now"), no("g1", comment="no")]))
    assert [(one["status"], one["comment"]) for one in back["approvals"]] == [("rejected", "no")]
    assert back["pending_approval_count"] == 2


def test_after_a_decision_no_review_is_taken() -> None:
    """GitLab: this deployment is not waiting for approvals."""
    for state in (State.REJECTED, State.APPROVED):
        with pytest.raises(AlreadyReviewedError):
            reviewed(a_claim(state=state), approval("aws:sec"))


def test_where_no_approval_is_asked_for_none_is_taken() -> None:
    """GitLab: deployment approvals is not configured; a policy that asks for none is a mistake."""
    with pytest.raises(NoApprovalNeededError):
        reviewed(a_claim(need_approval=False, state=State.HELD), approval("aws:shinya"))
    with pytest.raises(ConfigError, match="required_approvals"):
        load({"required_approvals": 0}, "policy")


def refused(document: Document, review: Review, *others: Review, requester: str = "root") -> str | None:
    """Why no policy takes that review."""
    return entitlement.refusal([policy(**document)], facts(requester=requester), others, review)


@pytest.mark.parametrize("say", [approval, rejection])
def test_someone_no_rule_names_is_refused(say: Any) -> None:
    """GitLab: you do not have permission to approve or reject this deployment, which here names the rules that do."""
    told = refused({"approval_rules": [MAINTAINER, QA], "groups": LISTED}, say("aws:dev"))
    assert told == "aws:dev is named by none of the rules Maintainers, qa-group"
    assert refused({"approval_rules": [MAINTAINER], "groups": LISTED}, say("aws:mia")) is None


def test_a_typed_name_is_told_why_it_is_refused() -> None:
    """A rule needs people whom AWS knows."""
    told = refused({"approval_rules": [MAINTAINER], "groups": LISTED}, approval("typed:mia"))
    assert told is not None
    assert "a name that was only typed satisfies no rule" in told


def wrong(document: Document, review: Review, *others: Review) -> list[str]:
    """What is wrong with that review."""
    return entitlement.problems([policy(**document)], facts(requester="root"), others, review)


def test_an_unknown_rule_in_represented_as_is_refused() -> None:
    """GitLab: there are no approval rules for it; here with the names that there are."""
    document = {"approval_rules": [QA, SECURITY], "groups": LISTED}
    (told,) = wrong(document, approval("aws:g1", represented_as=("Developer group",)))
    assert told == "as Developer group: there is no approval rule of that name; use qa-group, security-group"
    assert wrong(document, approval("aws:g1", represented_as=("qa-group",))) == []


def test_a_rule_that_doesnt_name_somebody_is_refused_to_them() -> None:
    """Nobody approves for a group that they are not in."""
    document = {"approval_rules": [QA, SECURITY], "groups": LISTED}
    assert wrong(document, approval("aws:g1", represented_as=("security-group",))) == [
        "as security-group: that rule doesn't name you"
    ]


def test_a_rules_name_may_stand_in_two_documents() -> None:
    """A claim's and its pool's policy may both call a rule qa; whoever either names may approve for it."""
    both = [policy(approval_rules=[{"name": "qa", "user": f"aws:{user}"}]) for user in ("g1", "g2")]
    for user in ("g2", "g1"):
        review = approval(f"aws:{user}", represented_as=("qa",))
        assert entitlement.problems(both, facts(), [], review) == []


def test_several_rules_at_once_need_per_rule() -> None:
    """One approval counts for one rule, unless the policy takes one for each."""
    document = {"approval_rules": [QA, SECURITY], "groups": LISTED}
    review = approval("aws:both", represented_as=("qa-group", "security-group"))
    (told,) = wrong(document, review)
    assert "per_rule" in told
    assert wrong({**document, "per_rule": True}, review) == []


def test_an_unknown_represented_as_that_was_kept_all_the_same_takes_no_further_rule() -> None:
    """A rule that has gone from a policy since costs nobody their approval, and gives nobody a second one."""
    shown = document_of(tried({"approval_rules": [QA, SECURITY]}, [yes("both", represented_as="gone")]))
    assert shown["pending_approval_count"] == 1


@pytest.mark.parametrize("theirs", ["access_level", "user_id", "group_id"])
def test_gitlabs_numbers_are_told_apart_from_names(theirs: str) -> None:
    """A rule copied from GitLab says what to write instead."""
    with pytest.raises(ConfigError, match=f"{theirs} is GitLab's own"):
        load({"approval_rules": [{theirs: 40, "required_approvals": 1}]}, "policy")


@pytest.mark.parametrize(
    "rule", [{}, {"user": "a", "group": "b"}, {"user": "a", "count": 2}, {"group": "a", "count": 1, "required_approvals": 1}]
)
def test_a_rule_names_exactly_one_subject_and_one_count(rule: Document) -> None:
    """Anything else is a configuration error."""
    with pytest.raises(ConfigError):
        load({"approval_rules": [rule]}, "policy")


def test_who_triggered_it_may_reject_and_not_approve() -> None:
    """Unless self-approval is allowed, as it is where the policy doesn't say."""
    document: Document = {"approval_rules": [QA], "people": {"root": ["aws:g1", "concourse:root"]}}
    strict = {**document, "allow_self_approval": False}

    def outcome(document: Document, review: Document) -> str:
        return tried(document, [review], {"claim": {"requester": "root"}}).result.answer.value

    assert outcome(document, yes("g1")) == "approve"
    assert outcome(strict, yes("g1")) == "undecided"
    assert outcome(strict, yes("g2")) == "approve"
    assert outcome(strict, no("g1")) == "reject"


def test_a_rejection_counts_only_by_somebody_whom_a_rule_names() -> None:
    """Under rules alone an outsider has no say, for or against."""
    assert tried({"approval_rules": [QA]}, [no("dev"), yes("g1")]).result.answer.value == "approve"
    assert tried({"approval_rules": [QA], "required_approvals": 1}, [no("dev"), yes("g1")]).result.answer.value == "reject"


def test_review_times_are_the_claims() -> None:
    """A review without a time of its own is one of the trial's."""
    shown = document_of(tried({"required_approvals": 1}, [yes("g1", at="2026-11-20T09:00:00Z")]))
    assert shown["approvals"][0]["created_at"] == "2026-11-20T09:00:00.000000Z"
    assert f"{NOON:%Y-%m-%d}" == "2026-11-21"
