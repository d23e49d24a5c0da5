"""Report for people: each decision of a pool with who, when, on what, under which policy, and its proof."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from approval_resource.audit.lives import UNREADABLE
from approval_resource.audit.receipts import DEFAULT_POLICY
from approval_resource.audit.verify import Watch, verify
from approval_resource.audit.verify_chain import Report
from approval_resource.canonical import instant
from approval_resource.claims.decide import kept_policies, weighed
from approval_resource.claims.proof import require_supported
from approval_resource.documents.events import event_digest
from approval_resource.errors import ApprovalError, ConfigError, CorruptRecordError
from approval_resource.model.claim import Claim, Review
from approval_resource.model.event import Event, Kind, State
from approval_resource.store.interface import LockStore
from approval_resource.text import clean

DECISIONS = frozenset({Kind.APPROVED, Kind.REJECTED, Kind.EXPIRED})
"""Kinds of event that decide on a claim. A forced end is reported too."""
BATCH = 50
"""Decisions whose claims are read together."""
OF_THE_LOG = re.compile(r"(after )?(event|the head|the log|the first event)\b")
"""Beginning of a finding about the log as a whole, even if it also names a claim."""
OF_A_CLAIM = re.compile(r"\bclaim ([0-9a-f]{8}-[0-9a-f-]{27})\b")
VERIFIED = "verified"
UNVERIFIED = "NOT VERIFIED"


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """One decision as the log tells it, and its claim as far as that is still stored."""

    event: Event
    claim: Claim | None
    put_policies: tuple[Any, ...] = ()
    """Policy documents of the put step that claimed, which took part in the decision."""
    pool_policies: tuple[Any, ...] = ()
    """Policy documents of the pool, which took part too. Without any here and in `put_policies`, one
    approval by anyone was enough."""
    uncounted: Mapping[str, str] | None = None
    """Reason why a review counts for no policy, by reviewer; empty where it counts. None: nobody can tell."""
    notes: tuple[str, ...] = ()
    """Parts that are gone by their age, one sentence each."""
    faults: tuple[str, ...] = ()
    """Reasons why the decision isn't proven. Empty: it is proven."""

    @property
    def proof(self) -> str:
        """Return the word for whether the decision is proven. If it isn't, `faults` has the reasons."""
        return UNVERIFIED if self.faults else VERIFIED

    @property
    def policies(self) -> list[tuple[str, str]]:
        """Return whose policies decided, each with their text as YAML, for people."""
        whose = (("the put's", self.put_policies), ("the pool's", self.pool_policies))
        told = [(one, documents) for one, documents in whose if documents]
        if not told:
            return (
                []
                if self.claim is None or self.uncounted is None
                else [("none was set; the default applied", f"{DEFAULT_POLICY}\n")]
            )
        import yaml

        return [(one, str(yaml.safe_dump_all(documents, sort_keys=False, allow_unicode=True))) for one, documents in told]

    @property
    def reviews(self) -> list[tuple[Review, str]]:
        """Return the reviews by time, each with whether it counted."""
        if self.claim is None:
            return []
        ordered = sorted(self.claim.reviews.values(), key=lambda review: (review.at, review.reviewer))
        return [(review, self._counted(review)) for review in ordered]

    def _counted(self, review: Review) -> str:
        if self.uncounted is None:
            return "whether it counted can't be told"
        why = self.uncounted.get(review.reviewer, "")
        told = [f"didn't count: {why.rstrip(',').removesuffix(' and')}" if why else "counted"]
        told += [f"who is {name}" for name in self._persons(review)]
        told += [f"in {clean(group)}" for group in review.groups]
        return "; ".join(told)

    def _persons(self, review: Review) -> list[str]:
        """Return the names under which the policies' `people` list a reviewer."""
        lists = [policy.get("people") or {} for policy in (*self.put_policies, *self.pool_policies)]
        return sorted({clean(name) for people in lists for name, ids in people.items() if review.reviewer in ids})

    @property
    def about(self) -> str:
        """Return the build that asked, and what for."""
        if self.claim is None:
            return ""
        told = f"{self.claim.build}: {self.claim.description}" if self.claim.description else str(self.claim.build)
        return clean(told)

    def document(self) -> dict[str, Any]:
        """Return the decision as JSON values."""
        claim, event = self.claim, self.event
        return {
            "decision": event.kind.value,
            "forced": event.forced,
            "pool": event.pool,
            "lock_name": event.lock_name,
            "claim": event.claim_id,
            "decided_by": event.actor,
            "decided_at": instant(event.at),
            "reason": event.reason,
            "build": str(claim.build) if claim else "",
            "link": claim.build.link if claim else "",
            "requester": claim.build.created_by if claim else "",
            "description": claim.description if claim else "",
            "used_by": claim.spent_by if claim else "",
            "reviews": [
                {
                    "reviewer": one.reviewer,
                    "persons": self._persons(one),
                    "groups": list(one.groups),
                    "verdict": one.verdict.value,
                    "at": instant(one.at),
                    "comment": one.comment,
                    "counted": None if self.uncounted is None else not self.uncounted.get(one.reviewer),
                    "why_not": (self.uncounted or {}).get(one.reviewer, ""),
                }
                for one, _ in self.reviews
            ],
            "policies": [*self.put_policies, *self.pool_policies],
            "put_policies": list(self.put_policies),
            "pool_policies": list(self.pool_policies),
            "verified": not self.faults,
            "faults": list(self.faults),
            "notes": list(self.notes),
            "event": {"timestamp": instant(event.timestamp), "digest": event.digest},
        }


@dataclass(frozen=True, slots=True)
class PoolReport:
    """Decisions of one pool, and the audit of its log that proves them."""

    audit: Report
    decisions: Iterator[Decision]


def report(
    store: LockStore,
    pool: str,
    lock_name: str | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    watch: Watch | None = None,
) -> PoolReport:
    """Audit the pool, and return its decisions from `since` to before `until`, oldest first, each with proof.

    A decision is proven if the pool's audit finds nothing that concerns it, and its event's digest fits
    the event. An approval must also follow again from the stored policies and reviews. A finding about one
    claim affects only decisions on that claim. A finding about the log as a whole affects every decision,
    because the log proves them all.
    """
    audited = verify(store, pool, watch=watch)
    return PoolReport(audited, _decisions(store, audited, lock_name, since, until))


def _decisions(
    store: LockStore, audited: Report, lock_name: str | None, since: datetime | None, until: datetime | None
) -> Iterator[Decision]:
    batch: list[Event] = []
    for event in store.events(audited.pool, lock_name=lock_name, since=since):
        if until is not None and event.timestamp >= until:
            break
        if event.kind in DECISIONS or (event.forced and event.kind.state is not None):
            batch.append(event)
        if len(batch) == BATCH:
            yield from _with_claims(store, audited, batch)
            batch = []
    yield from _with_claims(store, audited, batch)


def _with_claims(store: LockStore, audited: Report, events: Sequence[Event]) -> Iterator[Decision]:
    try:
        known = {claim.id: claim for claim in store.claims([event.claim_id for event in events])}
    except UNREADABLE:
        known = None  # one of them was altered; each is read by itself
    for event in events:
        faults = _findings(audited, event.claim_id)
        if event_digest(event) != event.digest:
            faults.append("its event was altered")
        try:
            claim = store.claim(event.claim_id) if known is None else known.get(event.claim_id)
        except UNREADABLE as corrupt:
            yield Decision(event=event, claim=None, faults=(*faults, str(corrupt)))
            continue
        yield _decision(store, event, claim, faults)


def _decision(store: LockStore, event: Event, claim: Claim | None, faults: list[str]) -> Decision:
    if claim is None:
        return Decision(event=event, claim=None, notes=("its claim and policy are gone by age",), faults=tuple(faults))
    notes: tuple[str, ...] = ()
    policies: dict[str, Any] = {}
    try:
        own, pool = kept_policies(store, claim)
        policies = {"put_policies": tuple(json.loads(own or "[]")), "pool_policies": tuple(json.loads(pool or "[]"))}
        with suppress(ConfigError):  # a policy that can't be read by now; a rejection doesn't rest on it
            policies["uncounted"] = weighed(store, claim, pool)
        if event.kind.state is State.APPROVED:
            require_supported(store, claim, event)
    except (ApprovalError, ValueError) as fault:
        if isinstance(fault, CorruptRecordError) and store.settings(claim.pool).may_be_gone(claim.timestamp, store.now()):
            notes = ("its policy is gone by age",)
        else:
            faults.append(str(fault))
    return Decision(event=event, claim=claim, notes=notes, faults=tuple(dict.fromkeys(faults)), **policies)


def _findings(audited: Report, claim_id: str) -> list[str]:
    """Return the audit's findings that concern a decision on that claim."""
    found = []
    for finding in audited.findings:
        named = None if OF_THE_LOG.match(finding) else OF_A_CLAIM.search(finding)
        if named is None or named[1] == claim_id:
            found.append(finding)
    return found
