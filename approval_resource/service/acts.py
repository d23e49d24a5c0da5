"""Acts of a person on a claim: the one way by which pages, the API and links record anything."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta

from approval_resource.canonical import EMPTY
from approval_resource.claims import decide as decisions
from approval_resource.claims import review as reviews
from approval_resource.claims.end import force_release
from approval_resource.claims.lookup import find
from approval_resource.errors import ApprovalError, ConfigError, NotEntitledError, StaleLockError
from approval_resource.model.claim import Claim, Review, Verdict
from approval_resource.model.event import State
from approval_resource.service.desk import MAX_OLDER, Desk, ForbiddenError, untold
from approval_resource.service.links import Link
from approval_resource.service.oidc import NotSignedInError
from approval_resource.service.people import Person, Role
from approval_resource.text import clean

log = logging.getLogger("approval_resource.service.acts")

MAX_COMMENT = 255


class StaleSignInError(NotSignedInError):
    """Refusal: the person must sign in again to decide, since their last sign-in is too old."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """A verdict as somebody gives it."""

    verdict: Verdict
    comment: str = ""
    rules: tuple[str, ...] = ()
    force: bool = False
    inputs: Mapping[str, str] = field(default_factory=lambda: EMPTY)
    seen: str = ""
    """Digest of what they were shown."""
    link: str = ""
    """Id of the link by which it came, or an empty string."""
    supersede: tuple[str, ...] = ()
    """Ids of the pipeline's older claims, to be superseded if this verdict gets the claim approved."""

    def problems(self) -> list[str]:
        """Return what is wrong with the verdict itself, for any claim."""
        found = []
        if len(self.comment) > MAX_COMMENT:
            found.append(f"comment: at most {MAX_COMMENT} characters, not {len(self.comment)}")
        if self.force and not self.comment.strip():
            found.append("comment: required with force, since the record shall tell why")
        if self.verdict is Verdict.REJECT and self.inputs:
            found.append("inputs: are what an approval fills in; a rejection tells why in its comment")
        if self.verdict is Verdict.REJECT and self.supersede:
            found.append("supersede: older claims end with an approval; a rejection is of one claim")
        if len(self.supersede) > MAX_OLDER:
            found.append(f"supersede: at most {MAX_OLDER} claims, not {len(self.supersede)}")
        return found


@dataclass(frozen=True, slots=True)
class Outcome:
    """The claim after an act, whether the act changed anything, and what is still missing."""

    claim: Claim
    changed: bool
    missing: str = ""
    older: tuple[tuple[str, bool, str], ...] = ()
    """Older claims that were to end with it: the id of each, whether it has ended, and what became of it."""

    @property
    def sentence(self) -> str:
        """Return what became of it and what happens next."""
        match self.claim.state:
            case State.APPROVED:
                return "It is approved: the waiting step goes on within seconds."
            case State.REJECTED:
                return "It is rejected: the waiting step fails, and the lock is free."
            case State.PENDING:
                again = "" if self.changed else "You had said so before; nothing has changed. "
                return f"{again}Your verdict is recorded. It is not decided yet{self.missing and f': {self.missing}'}."
            case _:
                return f"It is {self.claim.state.value}."


class Acts:
    """Reviews, withdrawals and releases, by people to whom the config gives the right."""

    def __init__(self, desk: Desk, max_age: int | None) -> None:
        """Act on what `desk` shows. `max_age`: longest age, in seconds, of a sign-in or token that decides.

        If `max_age` is set, a Slack button decides nothing, since a press carries neither sign-in nor token.
        AWS identities and links are exempt.
        """
        self._desk = desk
        self._store = desk.looks.store
        self._max_age = max_age

    def reply(self, claim: Claim, link: Link, said: Said) -> Outcome:
        """Record a verdict by a link that carries the authority of its channel.

        Raises:
            ConfigError: the verdict has problems of its own.
            Others: as `claims.review.review`.
        """
        if problems := said.problems():
            raise ConfigError(problems)
        return self._record(Person(identity=f"link:{link.channel}", via="link"), claim, said)

    def review(self, person: Person, claim_id: str, said: Said) -> Outcome:
        """Record a verdict.

        Raises:
            ForbiddenError: the config doesn't let that person review in the pool.
            ConfigError: the verdict has problems of its own.
            StaleSignInError: they have to sign in again first.
            Others: as `claims.review.review`.
        """
        claim = self._desk.claim(person, claim_id)
        if not self._desk.access.may(person, claim.pool, Role.REVIEW):
            raise ForbiddenError(f"you don't review pool {claim.pool} here; ask who runs this service to add you or your group")
        self._require_recent(person)
        if problems := said.problems():
            raise ConfigError(problems)
        claim = find(self._store, claim.id)
        settings = self._store.settings(claim.pool)
        own = claim.reviews.get(person.identity)
        # A retry after a lost answer carries the digest from before the first try, so it isn't refused as
        # stale.
        stale = claim.state is not State.PENDING or said.seen not in ("", reviews.shown_digest(claim, settings))
        if own is not None and stale and _same(own, said):
            outcome = Outcome(claim, changed=False, missing=self._missing(claim))
        elif why := untold(person, self._desk.looks.terms(claim), settings):
            raise NotEntitledError(claim, why)
        else:
            outcome = self._record(person, claim, said)
        return replace(
            outcome, older=tuple(self._superseded(person, outcome.claim, id_) for id_ in dict.fromkeys(said.supersede))
        )

    def _superseded(self, person: Person, newer: Claim, claim_id: str) -> tuple[str, bool, str]:
        """End one older claim in a transaction of its own. The approval stands, whatever becomes of that."""
        if newer.state is not State.APPROVED:
            return claim_id, False, f"It was left alone, since the newer claim is {newer.state.value}."
        try:
            claim = self._desk.claim(person, claim_id)
            if not self._desk.access.may(person, claim.pool, Role.REVIEW):
                raise ForbiddenError(f"you don't review pool {claim.pool} here")
            try:
                after = find(self._store, claim.id)
                ended = after.ended if after.state is State.SUPERSEDED else None
                # A retry after a lost answer finds what the first try ended.
                if ended is None or ended.actor != person.identity:
                    after = reviews.supersede(self._store, after, newer, actor=person.identity, groups=person.groups)
            finally:
                self._desk.looks.forget(claim)
        except ApprovalError as error:
            return claim_id, False, str(error)
        told = {"event": "superseded", "who": person.identity, "claim": after.id, "pool": after.pool, "by": newer.id}
        log.info("superseded", extra={"told": told})
        return claim_id, True, "It is superseded: its waiting step fails, and its lock is free."

    def _record(self, person: Person, claim: Claim, said: Said) -> Outcome:
        try:
            recorded = reviews.review(
                self._store,
                claim.id,
                reviewer=person.identity,
                verdict=said.verdict,
                comment=clean(said.comment),
                represented_as=tuple(dict.fromkeys(said.rules)),
                forced=said.force,
                inputs=said.inputs,
                groups=person.groups,
                seen=said.seen,
                link=said.link,
            )
        finally:
            self._desk.looks.forget(claim)
        after = recorded.claim
        log.info(
            "reviewed",
            extra={
                "told": {
                    "event": "review",
                    "who": person.identity,
                    "claim": after.id,
                    "pool": after.pool,
                    "verdict": said.verdict.value,
                    "state": after.state.value,
                    "changed": recorded.changed,
                    "forced": said.force,
                    "via": person.via,
                }
            },
        )
        return Outcome(after, recorded.changed, self._missing(after))

    def withdraw(self, person: Person, claim_id: str, reason: str, *, force: bool) -> Outcome:
        """Withdraw a pending claim for a person who may reject it.

        An operator may force that, and may also free a lock.

        Raises:
            ForbiddenError: the config doesn't let that person do so in the pool.
            Others: as `claims.review.withdraw`.
        """
        claim = self._desk.claim(person, claim_id)
        role = Role.OPERATE if force else Role.REVIEW
        if not self._desk.access.may(person, claim.pool, role):
            raise ForbiddenError(f"you may not withdraw claims of pool {claim.pool} here{' by force' if force else ''}")
        self._require_recent(person)
        if len(reason) > MAX_COMMENT:
            raise ConfigError([f"reason: at most {MAX_COMMENT} characters, not {len(reason)}"])
        if force and not reason.strip():
            raise ConfigError(["reason: required with force, since the record shall tell why"])
        before = self._store.claim(claim.id) or claim
        if before.state is State.WITHDRAWN and before.ended and before.ended.actor == person.identity:
            return Outcome(before, changed=False)
        try:
            if before.state is State.PENDING:
                after = reviews.withdraw(
                    self._store, before, actor=person.identity, reason=clean(reason), forced=force, groups=person.groups
                )
            elif force:
                after = force_release(self._store, before, actor=person.identity, reason=clean(reason))
            else:
                raise StaleLockError(before, "withdrawn")
        finally:
            self._desk.looks.forget(claim)
        told = {"event": "withdrawal", "who": person.identity, "claim": after.id, "pool": after.pool, "forced": force}
        log.info("withdrawn", extra={"told": told | {"state": after.state.value}})
        return Outcome(after, changed=True)

    def _missing(self, claim: Claim) -> str:
        return decisions.missing(self._store, claim)

    def _require_recent(self, person: Person) -> None:
        if self._max_age is None or person.via not in ("session", "balancer", "slack", "bearer"):
            return
        if person.auth_time is None or person.auth_time + timedelta(seconds=self._max_age) < self._store.now():
            raise StaleSignInError("you signed in too long ago to decide; sign in again, then decide")


def _same(own: Review, said: Said) -> bool:
    """Whether a verdict equals the person's recorded one, as that of a retry does."""
    return (own.verdict, own.comment, own.represented_as, own.forced, dict(own.inputs)) == (
        said.verdict,
        clean(said.comment),
        tuple(dict.fromkeys(said.rules)),
        said.force,
        dict(said.inputs),
    )
