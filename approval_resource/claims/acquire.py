"""Taking a lock, keeping it, and ending the claim on it."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from approval_resource.canonical import digest
from approval_resource.claims.decide import POLICY_ACTOR, Terms, following
from approval_resource.errors import ConfigError, LockHeldError, NotYourTurnError, RequestChangedError, StaleLockError
from approval_resource.model.claim import FACTS_PART, PAYLOAD_PART, POLICY_PART, Attachment, Build, Claim, attachment_part
from approval_resource.model.event import NOTHING, Kind, State
from approval_resource.model.lock import Lock
from approval_resource.store.interface import LockStore, new_id
from approval_resource.store.transaction import Change, Changes, Read, Snapshot

DEADLINE_ACTOR = "the deadline"
"""Who is said to have ended a claim that nobody decided on in time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What a build asks for when it claims."""

    pool: str
    lock_name: str
    need_approval: bool = False
    description: str = ""
    payload: bytes = b""
    payload_digest: str = ""
    attachments: Mapping[str, Attachment] = field(default_factory=lambda: NOTHING)
    contents: Mapping[str, bytes] = field(default_factory=lambda: NOTHING)
    """The content of each attachment that is to be kept, by name."""
    override_approval: bool = False
    """Supersede a claim that still waits for its decision instead of waiting for it."""
    expires_after: timedelta | None = None
    """How long there is to decide on the claim; None: for ever."""
    hold_timeout: timedelta | None = None
    """How long the claim may hold the lock before another may take that over; None: for ever."""
    priority: int = 0
    """Who waits with a higher one comes first."""
    terms: Terms = field(default_factory=Terms)
    """The policies that its approval must satisfy, beside the pool's own, and what the pipeline says of it."""

    @property
    def digest(self) -> str:
        """What is asked for, how aside: two requests with the same digest are the same."""
        spans = {"expires_after": self.expires_after, "hold_timeout": self.hold_timeout}
        return digest(
            {
                "need_approval": self.need_approval,
                "description": self.description,
                "payload": self.payload_digest,
                "attachments": {name: file.digest for name, file in self.attachments.items()},
                **{name: str(span) for name, span in spans.items() if span is not None},
                **{name: _sha256(text) for name, text in self._terms.items()},
            }
        )

    @property
    def _terms(self) -> dict[str, bytes]:
        given = json.dumps(dict(self.terms.given), sort_keys=True).encode() if self.terms.given else b""
        kept = {POLICY_PART: self.terms.policy.encode(), FACTS_PART: given}
        return {name: content for name, content in kept.items() if content}

    @property
    def parts(self) -> dict[str, bytes]:
        """What is kept beside the claim, by part name."""
        payload = {PAYLOAD_PART: self.payload} if self.payload_digest else {}
        return payload | self._terms | {attachment_part(name): content for name, content in self.contents.items()}

    def digest_of(self, part: str) -> str:
        """The SHA-256, in hex, of one of its terms, or an empty string where it has none."""
        return _sha256(self._terms[part]) if part in self._terms else ""


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@dataclass(slots=True)
class Attempt:
    """One asker's try at a lock: the id of its claim, its ticket in the queue, and whether a write of either may be under way."""

    claim_id: str = field(default_factory=new_id)
    in_flight: bool = False
    ticket: int = 0
    since: datetime | None = None
    """When it joined the queue."""
    joining: bool = False


@dataclass(frozen=True, slots=True)
class Taken:
    """The claim a build has now, and whether this call made it (else it is the answer to the same question before)."""

    claim: Claim
    fresh: bool
    ended: tuple[Claim, ...] = ()
    """Claims that this call ended to get the lock."""


def take(store: LockStore, request: Request, build: Build, build_key: str, attempt: Attempt) -> Taken:
    """Take the lock for `build` at once, under the attempt's id.

    The same build asking for the same gets the claim it has, whatever became of it, and a new one after
    it released that; the attempt's id is then that claim's. Asking for something else replaces its own pending claim.

    Raises:
        LockHeldError: another claim holds the lock.
        NotYourTurnError: it can be had, but others wait for it and come first.
        RequestChangedError: this build's claim on the lock was for something else, and is past changing.
    """
    claim_id = attempt.claim_id

    def decide(snapshot: Snapshot) -> Changes:
        if claim_id in snapshot.claims:
            return Changes()
        ended = []
        mine = snapshot.made
        if mine is not None and mine.state is not State.RELEASED:
            if mine.request == request.digest:
                return Changes()
            if mine.state is State.PENDING:
                # One whose time is up frees the lock for whoever is first in its queue.
                if _due(mine, snapshot, build) is None:
                    ended.append(_superseded(mine, snapshot, build))
            elif mine.claimed or mine.decided is not None:
                raise RequestChangedError(mine)
        holder = snapshot.holder
        if not ended:
            if holder is not None and (due := _due(holder, snapshot, build)) is not None:
                ended.append(due)
            if holder is not None and not ended:
                if not request.override_approval or holder.state is not State.PENDING:
                    raise LockHeldError(holder)
                # Instead of waiting it takes the pending claim's own place, which nobody in the queue could have.
                ended.append(_superseded(holder, snapshot, build))
            elif snapshot.lock.front is not None and snapshot.lock.front.key != build_key:
                raise NotYourTurnError(snapshot.lock)
        taken = _taken(_new(request, build, build_key, claim_id, snapshot), request, snapshot)
        record = replace(snapshot.build, made=claim_id) if snapshot.build else None
        return Changes(changes=(*ended, taken), build=record)

    read = Read(pool=request.pool, lock_name=request.lock_name, claim_id=claim_id, build_key=build_key)
    attempt.in_flight = True
    try:
        done = store.commit(read, decide, claim_id)
    except (LockHeldError, NotYourTurnError, RequestChangedError):
        # Refused on what was read after every attempt before it, so none of those can land any more.
        attempt.in_flight = False
        raise
    own = done.after.claims.get(claim_id) or done.after.made
    if own is None:
        raise AssertionError("a claim was neither made nor found")
    attempt.claim_id = own.id
    ended = tuple(done.after.claims[event.claim_id] for event in done.events if event.claim_id != own.id)
    return Taken(own, fresh=own.id == claim_id, ended=ended)


def _taken(claim: Claim, request: Request, snapshot: Snapshot) -> Change:
    """The change that makes the claim; policies that need nobody decide on it at once."""
    taken = Change(
        claim=claim,
        kind=Kind(claim.state.value),
        actor=str(claim.build),
        build=claim.build.link,
        reason=request.description,
        parts=request.parts,
    )
    if not claim.need_approval or not (request.terms.policy or snapshot.settings.policy):
        return taken
    judged = following(claim, request.terms, snapshot, replace(taken, actor=POLICY_ACTOR))
    return judged if judged.claim.decided else replace(judged, actor=taken.actor)


def amend(store: LockStore, claim: Claim, decide: Callable[[Claim, Snapshot], Change | None]) -> Claim:
    """That claim as it is after what `decide` makes of it, as it stands at the moment of writing; None changes nothing."""

    def decided(snapshot: Snapshot) -> Changes:
        change = decide(snapshot.claims[claim.id], snapshot)
        return Changes(changes=(change,) if change else ())

    read = Read(pool=claim.pool, lock_name=claim.lock_name, claim_id=claim.id)
    return store.commit(read, decided, new_id()).after.claims[claim.id]


def end(store: LockStore, claim: Claim, state: State, *, actor: str, reason: str = "", build: str = "") -> Claim:
    """End that claim, as a person who may: released, or withdrawn while pending.

    Raises:
        StaleLockError: it is not in a state from which that is possible.
    """
    return amend(
        store, claim, lambda current, snapshot: ending(current, snapshot, state, actor=actor, reason=reason, build=build)
    )


def force_out(store: LockStore, claim: Claim, *, actor: str, reason: str) -> Claim:
    """Free the lock from that claim wherever it stands, as `giving_up` says; the log says it was forced.

    Raises:
        StaleLockError: it has ended.
    """

    def forced(current: Claim, snapshot: Snapshot) -> Change:
        return replace(giving_up(current, snapshot, actor=actor, reason=reason), forced=True)

    return amend(store, claim, forced)


def abandon(store: LockStore, request: Request, build: Build, build_key: str, attempt: Attempt) -> Claim | None:
    """Make sure that an aborted build's attempt holds nothing and never will; returns the claim this ended, if any.

    One that landed is withdrawn, and so is one that an earlier run of the same build made. For one that may
    still be in flight a withdrawn claim of that id is written, so that it can't land any more.
    """
    claim_id = attempt.claim_id

    def decide(snapshot: Snapshot) -> Changes:
        own = [snapshot.claims.get(claim_id), snapshot.made]
        left = next((claim for claim in own if claim and claim.claimed and claim.request == request.digest), None)
        if left is not None:
            return Changes(
                changes=(ending(left, snapshot, State.WITHDRAWN, actor=str(build), build=build.link, reason=ABORTED),)
            )
        if own[0] is not None or not attempt.in_flight:
            return Changes()
        # A claim that never was keeps none of its parts, and is withdrawn as one that nobody decided on.
        bare = replace(
            _new(request, build, build_key, claim_id, snapshot),
            payload="",
            policy="",
            facts="",
            attachments={},
            state=State.PENDING,
        )
        never = bare.ruled(State.WITHDRAWN, actor=str(build), reason=ABORTED, at=snapshot.now)
        return Changes(changes=(Change(claim=never, kind=Kind.WITHDRAWN, actor=str(build), build=build.link, reason=ABORTED),))

    read = Read(pool=request.pool, lock_name=request.lock_name, claim_id=claim_id, build_key=build_key)
    done = store.commit(read, decide, new_id())
    leave(store, request, build_key, attempt)
    return done.after.claims[done.events[-1].claim_id] if done.events else None


def leave(store: LockStore, request: Request, build_key: str, attempt: Attempt) -> None:
    """Give up the build's place in the lock's queue: this attempt's, also one still on its way there, and an earlier run's."""

    def without(lock: Lock, _: datetime) -> Lock:
        # Written even where the build isn't in the queue: a join in flight is conditional on the revision that this raises.
        return lock.left(build_key) if attempt.joining or lock.place_of(build_key) >= 0 else lock

    store.requeue(request.pool, request.lock_name, without)
    attempt.ticket, attempt.since, attempt.joining = 0, None, False


def renew(store: LockStore, claim: Claim, build: Build, hold_timeout: timedelta | None) -> Claim:
    """Let the claim hold its lock from now for `hold_timeout`, else for as long as it was claimed for. It never becomes shorter.

    Raises:
        StaleLockError: it has ended: the lock may be somebody else's by now.
        ConfigError: it has no hold time, and none is given.
    """

    def renewed(current: Claim, snapshot: Snapshot) -> Change:
        if not current.claimed:
            raise StaleLockError(current, "renewed")
        seconds = _seconds(hold_timeout) or current.hold_timeout
        if not seconds:
            raise ConfigError([f"params.hold_timeout: required, since claim {claim.id} was made without one"])
        until = snapshot.now + timedelta(seconds=seconds)
        until = max(until, current.hold_until) if current.hold_until else until
        return Change(
            claim=replace(current, hold_timeout=current.hold_timeout or seconds, hold_until=until),
            kind=Kind.RENEWED,
            actor=str(build),
            build=build.link,
            reason=f"may be held until {until:%Y-%m-%d %H:%M:%S} UTC",
        )

    return amend(store, claim, renewed)


def _seconds(span: timedelta | None) -> int:
    return 0 if span is None else math.ceil(span.total_seconds())


ABORTED = "the build was aborted"


def ending(claim: Claim, snapshot: Snapshot, state: State, *, actor: str, reason: str = "", build: str = "") -> Change:
    """The change that brings `claim` into `state`, which ends it."""
    ended = claim.ruled(state, actor=actor, reason=reason, at=snapshot.now)
    return Change(claim=ended, kind=Kind(state.value), actor=actor, reason=reason, build=build)


def giving_up(claim: Claim, snapshot: Snapshot, *, actor: str, reason: str = "", build: str = "") -> Change:
    """The change by which a claim gives its lock back: released, or withdrawn where nobody has decided on it."""
    state = State.WITHDRAWN if claim.state is State.PENDING else State.RELEASED
    return ending(claim, snapshot, state, actor=actor, reason=reason, build=build)


def expired(claim: Claim, snapshot: Snapshot) -> Change:
    """The change that ends a claim nobody decided on in time."""
    return ending(claim, snapshot, State.EXPIRED, actor=DEADLINE_ACTOR, reason="nobody decided in time")


def _due(holder: Claim, snapshot: Snapshot, build: Build) -> Change | None:
    """The change that ends a holder whose time is up, for `build` that wants its lock."""
    if holder.overdue(snapshot.now):
        return expired(holder, snapshot)
    if not holder.overstayed(snapshot.now):
        return None
    why = f"{holder.build} held it past {holder.hold_until:%Y-%m-%d %H:%M:%S} UTC, its hold_timeout; {build} took it over"
    return ending(holder, snapshot, State.EXPIRED, actor=str(build), build=build.link, reason=why)


def _new(request: Request, build: Build, build_key: str, claim_id: str, snapshot: Snapshot) -> Claim:
    """The claim that a request makes; its place in the log and its fence come with the transaction."""
    # What the pool asks for, no pipeline can leave out.
    need_approval = request.need_approval or bool(snapshot.settings.policy)
    return Claim(
        id=claim_id,
        pool=request.pool,
        lock_name=request.lock_name,
        build=build,
        build_key=build_key,
        request=request.digest,
        need_approval=need_approval,
        description=request.description,
        payload=request.payload_digest,
        attachments=request.attachments,
        timestamp=snapshot.now,
        state=State.PENDING if need_approval else State.HELD,
        changed=snapshot.now,
        policy=request.digest_of(POLICY_PART),
        facts=request.digest_of(FACTS_PART),
        deadline=snapshot.now + request.expires_after if request.expires_after and need_approval else None,
        hold_timeout=_seconds(request.hold_timeout),
        hold_until=snapshot.now + timedelta(seconds=_seconds(request.hold_timeout)) if request.hold_timeout else None,
    )


def _superseded(claim: Claim, snapshot: Snapshot, build: Build) -> Change:
    return ending(claim, snapshot, State.SUPERSEDED, actor=str(build), build=build.link, reason="a newer claim took its place")
