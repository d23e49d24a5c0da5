"""A person's desk: what they may see, what waits for them, and what they can do about a claim."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime

from approval_resource.canonical import digest
from approval_resource.claims.decide import Terms, facts_of, policies_of
from approval_resource.claims.freeze import shut_reasons
from approval_resource.claims.review import is_older, shown_digest
from approval_resource.errors import ApprovalError, ConfigError, CorruptRecordError, LockNotFoundError, describe_state
from approval_resource.model.claim import Claim, Review, Verdict
from approval_resource.model.event import Event, State
from approval_resource.model.queue_order import Waiter
from approval_resource.model.settings import Settings
from approval_resource.policy import entitlement
from approval_resource.policy.authoring.trial import document_of
from approval_resource.policy.decision import Decision, Undecidable, Waiting
from approval_resource.policy.language.document import Input, Policy
from approval_resource.policy.language.identities import OIDC_GROUP
from approval_resource.policy.needs import waits_for
from approval_resource.policy.unblock import Openers
from approval_resource.service.looks import MAX_ENDED, MAX_ID, Looks
from approval_resource.service.people import Access, Person, Role
from approval_resource.text import clean

MAX_OLDER = 20
"""Upper bound of the older claims that one approval may end."""


class ForbiddenError(ApprovalError):
    """Refusal: somebody who is known may not do that here."""


class HiddenError(LockNotFoundError):
    """Refusal: there is no such claim or pool, or this person may not see it. Nobody is told which."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """Rights of one person on one claim."""

    can_decide: bool
    why_not: str = ""
    may_force: bool = False
    may_withdraw: bool = False
    operates: bool = False
    own: Review | None = None
    asked: bool = False
    """Whether they may be its requester, and a policy counts no self-approval."""
    waits: bool = False
    """Whether the claim waits for this person's word, by the rule of the column `you` of `list`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """A claim as one person is shown it."""

    claim: Claim
    settings: Settings
    now: datetime
    etag: str
    """Digest that a verdict is bound to: of the claim with its reviews, and of the pool's settings."""
    standing: Standing
    decision: Decision | None
    broken: str = ""
    """Why nothing can be told of the claim's policies, or an empty string."""
    openers: Openers | None = None
    frozen: str = ""
    queue: tuple[Waiter, ...] = ()
    rules: tuple[str, ...] = ()
    inputs: tuple[Input, ...] = ()
    older: tuple[Claim, ...] = ()
    """Older claims of the same pipeline that wait, and that this person may end."""
    passages: tuple[Event, ...] = ()
    """Passages through the claim's gate, one for each build, oldest first."""

    @property
    def tag(self) -> str:
        """Return the entity tag of all that is shown: the digest that binds a verdict, then that of the rest.

        A change of the queue, of rights or by time alone makes a page stale, and leaves a verdict valid.
        """
        rest = {
            "standing": asdict(replace(self.standing, own=None)),
            "decision": document_of(self.decision) if self.decision is not None else None,
            "openers": list(self.openers.lines) if self.openers else None,
            "more": [self.face, self.broken, self.frozen, *self.rules],
            "queue": [waiter.build for waiter in self.queue],
            "older": [claim.id for claim in self.older],
            "passages": [event.digest for event in self.passages],
        }
        return f"{self.etag}.{digest(rest)[:16]}"

    @property
    def gate(self) -> str:
        """Words for people on whether the gate has opened; an empty string while that is not decided.

        Old events are removed. So of an ended claim without passages, it only says that the log has none.
        """
        claim = self.claim
        if self.passages:
            return "opened: passed"
        if not claim.need_approval or claim.state is State.PENDING or self.broken:
            return ""
        if claim.state is State.APPROVED:
            if claim.valid_until is not None and claim.valid_until <= self.now:
                return "not opened: no build passed before the approval lapsed"
            return "kept shut by a freeze" if self.frozen else "not opened yet: no build has passed"
        return "the log has no build that passed" if claim.approved else "stayed shut"

    @property
    def face(self) -> str:
        """Name of the claim's state for people: its own, or a pending claim's particular case."""
        claim = self.claim
        if claim.state is not State.PENDING:
            return claim.state.value
        if self.broken or isinstance(self.decision, Undecidable):
            return "undecidable"
        if claim.overdue(self.now):
            return "overdue"
        if isinstance(self.decision, Waiting) and self.decision.opens_at is not None:
            return "waits for a window"
        if self.standing.waits:
            return "waits for you"
        return "you decided, others have to" if self.standing.own else "waits for others"


@dataclass(frozen=True, slots=True)
class Row:
    """A claim in a list."""

    claim: Claim
    standing: Standing
    summary: str


class Desk:
    """Claims and pools as each person may see them, by the config."""

    def __init__(self, looks: Looks, access: Access) -> None:
        """Show what `looks` finds, as far as `access` allows."""
        self.looks = looks
        self.access = access

    def claim(self, person: Person, claim_id: str) -> Claim:
        """Return a claim that the person may see.

        Raises:
            HiddenError: there is none.
        """
        claim = self.looks.claim(claim_id) if len(claim_id) <= MAX_ID else None
        if claim is None or not self.access.may(person, claim.pool, Role.VIEW):
            raise HiddenError(f"there is no claim {clean(claim_id)[:36]} that you may see; see the list of what waits")
        return claim

    def pool(self, person: Person, pool: str) -> str:
        """Return the name of a pool that the person may see.

        Raises:
            HiddenError: there is none.
        """
        if not self.access.may(person, pool, Role.VIEW):
            raise HiddenError(f"there is no pool {clean(pool)[:80]} that you may see; see the list of what waits")
        return pool

    def rows(self, person: Person, pools: Sequence[str] | None = None) -> list[Row]:
        """Return the open claims of those pools, or of all that the person may see; the oldest first."""
        found = []
        for pool in pools if pools is not None else self.access.visible(person):
            settings = self.looks.settings(pool)
            # A planted item could be listed under a pool that isn't its own.
            own = (claim for claim in self.looks.open_claims(pool) if claim.pool == pool)
            found += [self._row(person, claim, settings) for claim in own]
        return sorted(found, key=lambda row: (row.claim.timestamp, row.claim.id))

    def decided(self, person: Person) -> list[Claim]:
        """Return the claims that were decided or ended lately, the newest first."""
        found = [claim for pool in self.access.visible(person) for claim in self.looks.ended(pool)]
        return sorted(found, key=lambda claim: claim.changed, reverse=True)[:MAX_ENDED]

    def ended(self, person: Person, pool: str) -> list[Row]:
        """Return the claims of one pool that were decided or ended lately, the newest first."""
        settings = self.looks.settings(pool)
        return [self._row(person, claim, settings) for claim in self.looks.ended(pool)]

    def _row(self, person: Person, claim: Claim, settings: Settings) -> Row:
        try:
            standing = self.standing(person, claim, settings)
            summary = "; ".join(self.looks.decision(claim, settings).reasons) if claim.state is State.PENDING else ""
        except CorruptRecordError as corrupt:
            standing, summary = Standing(can_decide=False, why_not=str(corrupt)), f"can't be evaluated: {corrupt}"
        return Row(claim, standing, clean(summary) or describe_state(claim))

    def view(self, person: Person, claim: Claim) -> View:
        """Return all that the person is shown of a claim that they may see."""
        settings = self.looks.settings(claim.pool)
        now = self.looks.store.now()
        lock = self.looks.lock(claim)
        queue = lock.queue if lock is not None and lock.holder == claim.id else ()
        etag = shown_digest(claim, settings)
        try:
            terms = self.looks.terms(claim)
            standing = self.standing(person, claim, settings)
            policies = _policies(terms, settings)
            decision = self.looks.decision(claim, settings) if claim.need_approval else None
            pending = claim.state is State.PENDING and not isinstance(decision, Undecidable)
            return View(
                claim=claim,
                settings=settings,
                now=now,
                etag=etag,
                standing=standing,
                decision=decision,
                openers=self.looks.openers(claim, settings) if pending else None,
                frozen=shut_reasons(claim, terms, settings, now) if claim.claimed and claim.need_approval else "",
                queue=queue,
                rules=tuple(dict.fromkeys(rule.label for policy in policies for rule in policy.approval_rules)),
                inputs=tuple({asked.name: asked for policy in policies for asked in policy.inputs}.values()),
                older=self._older(person, claim, settings) if standing.can_decide else (),
                passages=self.looks.passages(claim),
            )
        except CorruptRecordError as corrupt:
            standing = Standing(can_decide=False, why_not=str(corrupt))
            return View(
                claim=claim,
                settings=settings,
                now=now,
                etag=etag,
                standing=standing,
                decision=None,
                broken=str(corrupt),
                queue=queue,
            )

    def _older(self, person: Person, claim: Claim, settings: Settings) -> tuple[Claim, ...]:
        def may_end(older: Claim) -> bool:
            try:
                return self.standing(person, older, settings).may_withdraw
            except CorruptRecordError:
                return False

        older = [one for one in self.looks.open_claims(claim.pool) if is_older(one, claim)]
        return tuple(one for one in older if may_end(one))[:MAX_OLDER]

    def standing(self, person: Person, claim: Claim, settings: Settings) -> Standing:
        """Return what the person can do about the claim.

        Raises:
            CorruptRecordError: the claim's terms can't be trusted.
        """
        own = claim.reviews.get(person.identity)
        operates = self.access.may(person, claim.pool, Role.OPERATE)
        if not claim.need_approval or claim.state not in (State.PENDING, State.APPROVED):
            told = f"it is {describe_state(claim)}" if claim.need_approval else "it needs no approval"
            return Standing(can_decide=False, why_not=told, own=own, operates=operates)
        if not self.access.may(person, claim.pool, Role.REVIEW):
            more = "; your issuer told none of your groups, since there are too many" if person.overage else ""
            return Standing(
                can_decide=False, why_not=f"you don't review pool {claim.pool} here{more}", own=own, operates=operates
            )
        terms = self.looks.terms(claim)
        if why := untold(person, terms, settings):
            return Standing(can_decide=False, why_not=why, own=own, operates=operates)
        try:
            policies = policies_of(terms, settings.policy)
        except ConfigError as broken:
            return Standing(
                can_decide=False, why_not=f"a policy can't be read: {broken.problems[0]}", own=own, operates=operates
            )
        facts = facts_of(claim, terms)
        now = self.looks.store.now()
        others = [review for review in claim.reviews.values() if review.reviewer != person.identity]
        trial = Review(reviewer=person.identity, verdict=Verdict.APPROVE, at=now, groups=person.groups)
        may_force = entitlement.may_force(policies, facts, trial)
        if claim.state is State.APPROVED:
            # A freeze is the pool's, so only the pool's policy can let somebody past it.
            pools = policies_of(Terms(), settings.policy)
            frozen = settings.frozen(now) is not None and entitlement.may_force(pools, facts, trial)
            return Standing(can_decide=False, why_not="it is approved", own=own, operates=operates, may_force=frozen)
        refused = entitlement.refusal(policies, facts, others, trial)
        decision = self.looks.decision(claim, settings)
        asked = [
            policy
            for policy in policies
            if not policy.allow_self_approval and facts.roster(policy).may_be_requester(person.identity)
        ]
        return Standing(
            can_decide=refused is None or may_force,
            why_not=clean(refused or ""),
            may_force=may_force,
            may_withdraw=refused is None,
            operates=operates,
            own=own,
            asked=bool(asked),
            waits=not claim.overdue(now) and waits_for(policies, facts, [*claim.reviews.values()], decision, trial),
        )


def untold(person: Person, terms: Terms, settings: Settings) -> str:
    """Return why policies that ask for groups can't judge a person; an empty string where they can."""
    asks = any(word in text for text in (terms.policy, settings.policy) for word in (OIDC_GROUP, '"rego"'))
    if not person.overage or not asks:
        return ""
    return (
        "its policy asks for groups, and your issuer told none of yours, since there are too many: let it tell only the groups "
        "that are assigned to this application"
    )


def _policies(terms: Terms, settings: Settings) -> tuple[Policy, ...]:
    try:
        return policies_of(terms, settings.policy)
    except ConfigError:
        return ()
