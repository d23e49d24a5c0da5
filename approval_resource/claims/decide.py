"""Decisions on a claim by its own policies, kept beside it, and by its pool's."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeVar

from approval_resource.canonical import EMPTY
from approval_resource.claims.lifecycle import transition
from approval_resource.claims.lookup import read_content
from approval_resource.documents.settings import policy_digest
from approval_resource.errors import ConfigError, CorruptRecordError
from approval_resource.model.claim import FACTS_CONTENT, POLICY_CONTENT, POOL_POLICY_CONTENT, Claim, Review, Verdict
from approval_resource.model.event import Kind, State
from approval_resource.model.settings import Settings
from approval_resource.store.interface import RecordReads
from approval_resource.store.transaction import ClaimChange, Snapshot
from approval_resource.text import clean

if TYPE_CHECKING:
    # The policies are only loaded where something is decided: a check must start fast.
    from approval_resource.policy.decision import Decision
    from approval_resource.policy.facts import Facts
    from approval_resource.policy.language.document import Policy
    from approval_resource.policy.unblock import Openers

T = TypeVar("T")

MAX_REUSE = timedelta(seconds=30)
"""Upper bound of the time for which the retries of one commit reuse an evaluation."""
POLICY_ACTOR = "the policy"
"""Actor on record for a decision that no person made."""
MAX_REASON = 300
"""Upper bound of the reason of a decision by policies, in characters."""


@dataclass(frozen=True, slots=True)
class Terms:
    """Terms of a claim: its policies as stored, a JSON list, and the facts that its pipeline gave."""

    policy: str = ""
    given: Mapping[str, Any] = field(default_factory=lambda: EMPTY)


def terms_of(store: RecordReads, claim: Claim) -> Terms:
    """Return the terms kept beside the claim.

    Raises:
        CorruptRecordError: they are missing, or are not the terms that it was made under.
    """
    policy = read_content(store, claim, POLICY_CONTENT, claim.policy).decode() if claim.policy else ""
    given = read_content(store, claim, FACTS_CONTENT, claim.facts) if claim.facts else b"{}"
    try:
        return Terms(policy, json.loads(given))
    except ValueError as broken:
        raise CorruptRecordError(f"claim {claim.id}", "its facts are no JSON") from broken


def policies_of(terms: Terms, pool_policy: str) -> tuple[Policy, ...]:
    """Return every policy that applies, the claim's own first.

    Raises:
        ConfigError: one of them can't be read.
    """
    return (*_policies(terms.policy, "policy"), *_policies(pool_policy, "pool policy"))


@lru_cache(maxsize=32)
def _policies(text: str, where: str) -> tuple[Policy, ...]:
    if not text:
        return ()
    from approval_resource.policy.language.load import load

    try:
        loaded = load(json.loads(text), where)
    except (ValueError, RecursionError) as broken:
        raise ConfigError([f"{where}: is not what was stored"]) from broken
    return tuple(one.policy if one.policy.name else one.policy.model_copy(update={"name": one.name}) for one in loaded)


def facts_of(claim: Claim, terms: Terms) -> Facts:
    """Return the facts about the claim that its policies may ask for."""
    from approval_resource.documents.claims import BUILD_FIELDS
    from approval_resource.policy.facts import Facts

    return Facts(
        id=claim.id,
        pool=claim.pool,
        lock_name=claim.lock_name,
        description=claim.description,
        requester=claim.build.created_by,
        created_at=claim.created_at,
        build={name: getattr(claim.build, name) for name in BUILD_FIELDS} | {"link": claim.build.link},
        payload_digest=claim.payload,
        attached=[{"name": name, "size": file.size, "digest": file.digest} for name, file in sorted(claim.attachments.items())],
        given=terms.given,
    )


def decide(claim: Claim, terms: Terms, pool_policy: str, now: datetime) -> Decision:
    """Return the decision of all policies that apply, on the claim with its reviews, as of `now`.

    This fails closed and raises nothing: a policy that can't be read gives `Undecidable`.
    """
    from approval_resource.policy.decision import Answer, Explanation, Undecidable
    from approval_resource.policy.evaluate import evaluate

    try:
        policies = policies_of(terms, pool_policy)
    except ConfigError as broken:
        return Undecidable(result=Explanation(Answer.ERROR, f"a policy can't be read: {broken.problems[0]}"), policies=())
    return evaluate(policies, facts_of(claim, terms), list(claim.reviews.values()), now)


class EvaluationCache:
    """Evaluations shared by the retries of one commit, so that a slow policy doesn't starve in a busy pool.

    They are reused for at most `MAX_REUSE`, while the claim, the pool's policy and the policies' answers
    about time stay the same. All are for the instant of the first one. The claim records that instant, and a
    gate evaluates the policies for it again.
    """

    def __init__(self, terms: Terms) -> None:
        """Start without evaluations. `terms` are those of the claim."""
        self._terms = terms
        self._about: tuple[object, str, datetime | None] | None = None
        self._at: datetime | None = None
        self._kept: dict[object, Any] = {}

    def instant(self, claim: Claim, snapshot: Snapshot, about: object = None, fixed: datetime | None = None) -> datetime:
        """Return the instant to evaluate for: the last try's if that is reusable, else the snapshot's.

        `about`: key of the claim, by default the claim itself. A claim in the making has other times in each
        try, so its id is the key. `fixed`: instant to evaluate for, whatever the snapshot's is.
        """
        key = (about or claim, snapshot.settings.policy, fixed)
        if key != self._about or self._at is None or not (fixed or self._holds(claim, self._at, snapshot)):
            self._about, self._at, self._kept = key, fixed or snapshot.now, {}
        return self._at

    def once(self, what: object, make: Callable[[], T], keeps: Callable[[T], bool] = lambda made: True) -> T:
        """Return the result kept under `what`, else that of `make`, which is kept if `keeps` says so."""
        if what in self._kept:
            kept: T = self._kept[what]
            return kept
        made = make()
        if keeps(made):
            self._kept[what] = made
        return made

    def _holds(self, claim: Claim, at: datetime, snapshot: Snapshot) -> bool:
        from approval_resource.policy.evaluate import time_agrees

        if not at <= snapshot.now <= at + MAX_REUSE:
            return False
        try:
            policies = policies_of(self._terms, snapshot.settings.policy)
        except ConfigError:
            return False
        return time_agrees(policies, facts_of(claim, self._terms), at, snapshot.now)


def apply_policies(
    claim: Claim,
    terms: Terms,
    snapshot: Snapshot,
    change: ClaimChange,
    evaluations: EvaluationCache | None = None,
    at: datetime | None = None,
) -> ClaimChange:
    """Return `change` with `claim` decided by the policies, or with the instant at which time may decide it.

    `change` says what happened to the claim; its kind stays unless the policies decide. `evaluations` keeps
    the evaluation for the next try. `at` is the instant to evaluate for, by default the snapshot's.
    """
    from approval_resource.policy.decision import Approved, Rejected, Undecidable, Waiting

    pool_policy = snapshot.settings.policy
    at = at or snapshot.now
    decision = (evaluations or EvaluationCache(terms)).once(
        "decision",
        lambda: decide(claim, terms, pool_policy, at),
        # Undecidable isn't kept: a policy that was too slow on a busy machine may finish on the next try.
        keeps=lambda made: not isinstance(made, Undecidable),
    )
    if isinstance(decision, Approved | Rejected):
        state, kind = (State.APPROVED, Kind.APPROVED) if isinstance(decision, Approved) else (State.REJECTED, Kind.REJECTED)
        same_verdict = change.verdict == ("approve" if state is State.APPROVED else "reject")
        reason = change.reason if same_verdict else short_reasons(decision)
        after = transition(claim, state, actor=change.actor, reason=reason, at=snapshot.now)
        kept = pool_policy.encode()
        after = replace(
            after,
            opens_at=None,
            judged_at=at if terms.policy or pool_policy else None,
            pool_policy=policy_digest(pool_policy),
            valid_until=_until(decision, at if terms.policy or pool_policy else snapshot.now),
        )
        contents = {**change.contents, POOL_POLICY_CONTENT: kept} if kept else change.contents
        return replace(change, claim=after, kind=kind, reason=reason, forced=decision.forced, contents=contents)
    # Undecidable keeps the claim's `opens_at`, so the policies are asked again: they may be decidable later.
    opens_at = decision.opens_at if isinstance(decision, Waiting) else claim.opens_at
    return replace(change, claim=replace(claim, opens_at=opens_at))


def _until(decision: Decision, now: datetime) -> datetime | None:
    from approval_resource.policy.decision import Approved

    return now + decision.valid_for if isinstance(decision, Approved) and decision.valid_for else None


def short_reasons(decision: Decision) -> str:
    """Return the decision's reasons in one line, cut at `MAX_REASON` characters."""
    text = clean("; ".join(decision.reasons))
    return text if len(text) <= MAX_REASON else f"{text[: MAX_REASON - 1]}…"


def decision_of(store: RecordReads, claim: Claim) -> Decision:
    """Return the policies' decision on the claim: as of the time it was decided, else as of now.

    Raises:
        CorruptRecordError: the kept policies or facts differ from those of the claim's making or decision.
    """
    if claim.decided is None:
        settings: Settings = store.settings(claim.pool)
        return decide(claim, terms_of(store, claim), settings.policy, store.now())
    _, pool_policy = kept_policies(store, claim)
    return decide(claim, terms_of(store, claim), pool_policy, claim.judged_at or claim.decided.at)


def kept_policies(store: RecordReads, claim: Claim) -> tuple[str, str]:
    """Return the claim's policies and its pool's, as kept beside it.

    Each is a JSON list, or an empty string for none.

    Raises:
        CorruptRecordError: they differ from the policies that the claim was made under or decided by.
    """
    kept = ((POLICY_CONTENT, claim.policy), (POOL_POLICY_CONTENT, claim.pool_policy))
    own, pool = (read_content(store, claim, name, digest).decode() if digest else "" for name, digest in kept)
    return own, pool


def missing(store: RecordReads, claim: Claim) -> str:
    """Return the reasons why a pending claim isn't decided, in one line. `needed` gives a shorter summary.

    The line is empty for a claim that isn't pending. It is also empty if no policy is set, since one approval
    is enough then.

    Raises:
        CorruptRecordError: as `decision_of`.
    """
    if claim.state is not State.PENDING or not (claim.policy or store.settings(claim.pool).policy):
        return ""
    return short_reasons(decision_of(store, claim))


@dataclass(frozen=True, slots=True)
class Outlook:
    """Needs of a pending claim in few words, and whether it waits for one person."""

    needs: str
    waits: bool = False


def needed(store: RecordReads, claim: Claim, pool_policy: str | None = None) -> str:
    """Return a summary of what a pending claim still needs, such as `1 of group security`, for tables.

    The text is empty for a claim that isn't pending. `pool_policy` saves the read of the pool's settings.

    Raises:
        CorruptRecordError: as `terms_of`.
    """
    return outlook(store, claim, "", pool_policy).needs


def outlook(store: RecordReads, claim: Claim, reviewer: str, pool_policy: str | None = None) -> Outlook:
    """Return what a pending claim still needs, and whether it waits for that reviewer.

    It never waits for an empty `reviewer`. The policies are evaluated once. Arguments and errors are those of
    `needed`.
    """
    if claim.state is not State.PENDING:
        return Outlook("")
    now = store.now()
    asked = bool(reviewer) and not claim.overdue(now)
    pool_policy = store.settings(claim.pool).policy if pool_policy is None else pool_policy
    if not (claim.policy or pool_policy):
        return Outlook("1 approval, by anyone", waits=asked)
    from approval_resource.policy import needs
    from approval_resource.policy.decision import Waiting

    terms = terms_of(store, claim)
    decision = decide(claim, terms, pool_policy, now)
    if not isinstance(decision, Waiting):
        return Outlook(short_reasons(decision))
    policies, facts, reviews = policies_of(terms, pool_policy), facts_of(claim, terms), [*claim.reviews.values()]
    trial = Review(reviewer=reviewer, verdict=Verdict.APPROVE, at=now)
    people = needs.needs(policies, facts, reviews)
    return Outlook(
        " and ".join(people) or short_reasons(decision),
        waits=asked and needs.waits_for(policies, facts, reviews, decision, trial),
    )


def discounted(store: RecordReads, claim: Claim, reviewer: str) -> str:
    """Return why that person's approval of a pending claim doesn't count, or an empty string if it does.

    Raises:
        CorruptRecordError: as `terms_of`.
    """
    from approval_resource.policy import needs

    terms = terms_of(store, claim)
    try:
        policies = policies_of(terms, store.settings(claim.pool).policy)
    except ConfigError:
        return ""  # the decision says what can't be read
    return needs.discounted(policies, facts_of(claim, terms), [*claim.reviews.values()], reviewer)


def weighed(store: RecordReads, claim: Claim, pool_policy: str) -> dict[str, str]:
    """Return for each reviewer why their review counts for no policy; an empty text where it counts.

    `pool_policy` is the pool's policy at the claim's decision.

    Raises:
        ConfigError: a policy can't be read.
        CorruptRecordError: as `terms_of`.
    """
    from approval_resource.policy import needs

    terms = terms_of(store, claim)
    return needs.weighed(policies_of(terms, pool_policy), facts_of(claim, terms), [*claim.reviews.values()])


def openers(store: RecordReads, claim: Claim) -> Openers:
    """Return who can open the claim's gate, in addition to those who have approved.

    Policies that can't be read give no set of people; their problems are the reasons.

    Raises:
        CorruptRecordError: as `terms_of`.
    """
    from approval_resource.policy import unblock

    terms = terms_of(store, claim)
    try:
        policies = policies_of(terms, store.settings(claim.pool).policy)
    except ConfigError as broken:
        return unblock.Openers((), broken.problems)
    return unblock.openers(policies, facts_of(claim, terms), list(claim.reviews.values()), store.now())
