"""Needs of a pending claim in few words, whom it waits for, and whether an approval counts for anything."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from approval_resource.model.claim import Review, Verdict
from approval_resource.policy.decision import Answer, Decision, Waiting
from approval_resource.policy.entitlement import may_force, refusal
from approval_resource.policy.evaluate import dropped
from approval_resource.policy.facts import Facts
from approval_resource.policy.kinds.kind import asks_people
from approval_resource.policy.kinds.quorum import counted_and_not
from approval_resource.policy.kinds.rejections import counting as rejections
from approval_resource.policy.kinds.rules import counting, tally
from approval_resource.policy.language.default import DEFAULT
from approval_resource.text import clean, counted

if TYPE_CHECKING:
    from approval_resource.policy.language.document import Policy


def needs(policies: Sequence[Policy], facts: Facts, reviews: Sequence[Review]) -> list[str]:
    """Return the approvals that are still missing, such as `1 of group security`, each once.

    It has only approvals that a quorum or a rule counts. Rego, inputs and time are left out: the decision's
    reasons have them.
    """
    applying = [policy for policy in policies if not dropped(policy, facts)]
    return list(dict.fromkeys(one for policy in applying for one in _lacking(policy, facts, reviews)))


def _lacking(policy: Policy, facts: Facts, reviews: Sequence[Review]) -> Iterator[str]:
    roster = facts.roster(policy)
    voices = roster.hearings(reviews)[0]
    if policy.required_approvals is not None:
        able, _ = counted_and_not(policy, voices, roster.requester)
        if len(able) < policy.required_approvals:
            more = "more approval" if able else "approval"
            yield counted(policy.required_approvals - len(able), more)
    for one in tally(policy, roster, voices)[0] if policy.approval_rules else ():
        if one.missing:
            yield f"{one.missing} of group {clean(one.rule.group)}" if one.rule.group else clean(one.rule.label)


def discounted(policies: Sequence[Policy], facts: Facts, reviews: Sequence[Review], reviewer: str) -> str:
    """Return why that person's approval counts for no policy; an empty string where it counts for one."""
    applying = [policy for policy in policies if not dropped(policy, facts)]
    whys: list[str] = []
    for policy in [policy for policy in applying if asks_people(policy)] or applying:
        roster = facts.roster(policy)
        person = roster.person(reviewer)
        for voices in roster.hearings(reviews):
            own = next((voice for voice in voices if voice.person == person), None)
            if own is None:
                continue
            if any(voice.person == person for voice in counting(policy, roster, voices)):
                return ""
            _, others = counted_and_not(policy, voices, roster.requester)
            whys.append(next((why for who, why in others if who == clean(own.shown)), "is named by no rule"))
    return f"{clean(reviewer)} {whys[0]} and doesn't count" if whys else ""


def weighed(policies: Sequence[Policy], facts: Facts, reviews: Sequence[Review]) -> dict[str, str]:
    """Return for each reviewer why their review counts for nothing; empty if it counts or Rego judges it."""
    applying = [policy for policy in policies if not dropped(policy, facts)] or [DEFAULT]
    return {review.reviewer: _why_not(applying, facts, reviews, review) for review in reviews}


def _why_not(policies: Sequence[Policy], facts: Facts, reviews: Sequence[Review], review: Review) -> str:
    if review.forced and may_force(policies, facts, review):
        return ""
    heard = [(policy, facts.roster(policy)) for policy in policies if facts.roster(policy).counts(review.reviewer)]
    if not heard:
        return "no policy counts that identity"
    voices = [(policy, roster, roster.voices(reviews)) for policy, roster in heard]
    if not any(voice.identity == review.reviewer for _, _, all_ in voices for voice in all_):
        return "another review by the same person stands instead"
    if review.verdict is Verdict.APPROVE:
        told = discounted(policies, facts, reviews, review.reviewer)
        return told.removeprefix(f"{clean(review.reviewer)} ").removesuffix(" and doesn't count").removesuffix(",")
    judged = any(policy.rego and policy.required_approvals is None and not policy.approval_rules for policy in policies)
    against = (voice.identity for policy, roster, all_ in voices for voice in rejections(policy, roster, all_))
    return "" if judged or review.reviewer in against else "is named by no rule"


def waits_for(policies: Sequence[Policy], facts: Facts, reviews: Sequence[Review], decision: Decision, trial: Review) -> bool:
    """Whether a pending claim waits for a reviewer. `trial` is the approval that this reviewer could give.

    That is so if they may review, haven't approved yet, and their approval would fill a need of a policy.
    Rego doesn't tell whom it needs, so it counts as waiting for everybody whose approval it would see.
    `decision` is that of these policies on these reviews.
    """
    if not isinstance(decision, Waiting):
        return False
    others = [review for review in reviews if review.reviewer != trial.reviewer]
    if refusal(policies, facts, others, trial) is not None:
        return False
    return any(
        not (result.without_time is Answer.ABSTAIN or result.ready)
        and _helps(policy, facts, reviews, [*others, trial], trial.reviewer)
        for policy, result in zip((*policies, DEFAULT), decision.policies, strict=False)
    )


def _helps(policy: Policy, facts: Facts, reviews: Sequence[Review], then: Sequence[Review], reviewer: str) -> bool:
    """Whether that person's approval, which `then` adds to the reviews, fills a need of the policy."""
    roster = facts.roster(policy)
    person = roster.person(reviewer)
    before, after = (roster.hearings(said)[0] for said in (reviews, then))
    if any(voice.person == person and voice.approves for voice in before):
        return False
    if policy.rego:
        return any(voice.person == person for voice in counting(policy, roster, after))
    if not asks_people(policy):
        able, _ = counted_and_not(policy, before, roster.requester)
        return not able and bool(counted_and_not(policy, after, roster.requester)[0])
    return [*_lacking(policy, facts, reviews)] != [*_lacking(policy, facts, then)]
