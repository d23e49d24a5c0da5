"""Builds, claims and reviews: frozen, with the properties that follow from their fields."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from approval_resource.canonical import EMPTY, digest
from approval_resource.model.event import State

MAX_INSTANCE = 120
"""Upper bound of the characters by which a pipeline's instance is shown."""


class Verdict(StrEnum):
    """Verdict of one person on one claim."""

    APPROVE = "approve"
    REJECT = "reject"


@dataclass(frozen=True, slots=True, kw_only=True)
class Build:
    """Concourse build that makes a request, as its environment names it. Unknown fields are empty."""

    url: str = ""
    team: str = ""
    pipeline: str = ""
    instance_vars: str = ""
    job: str = ""
    id: str = ""
    name: str = ""
    created_by: str = ""

    def key(self, claim_key: str = "") -> str:
        """Return the idempotency key: equal for two runs of one build with the same `claim_key`.

        Concourse gives a build's steps no names, so steps that want separate claims on one lock say so with
        `claim_key`. A key repeats when Concourse's database is restored or recreated, so a key alone never
        hands out an approval: see `claims.acquire.take`.
        """
        return digest([self.url, self.team, self.pipeline, self.instance_vars, self.job, self.id, self.name, claim_key])

    def same_pipeline(self, other: Build) -> bool:
        """Whether both builds run in the same team and pipeline, with the same instance variables."""
        return (self.url, self.team, self.pipeline, self.instance_vars) == (
            other.url,
            other.team,
            other.pipeline,
            other.instance_vars,
        )

    @property
    def job_key(self) -> str:
        """Digest that is equal for all builds of one job, or an empty string for a build without a job."""
        return digest([self.url, self.team, self.pipeline, self.instance_vars, self.job])[:16] if self.job else ""

    @property
    def link(self) -> str:
        """URL of the build's page, or an empty string."""
        return f"{self.url.rstrip('/')}/builds/{self.id}" if self.url and self.id else ""

    @property
    def instance(self) -> str:
        """Instance of the pipeline, such as `(env: eu)`, or an empty string."""
        if not self.instance_vars:
            return ""
        try:
            pairs = list(_flat(json.loads(self.instance_vars)))
            told = ", ".join(f"{name}: {value}" for name, value in pairs)
        except (ValueError, RecursionError):
            told = self.instance_vars
        # A claim stores the names of several builds, and the size of its item is limited.
        return f"({told if len(told) <= MAX_INSTANCE else f'{told[:MAX_INSTANCE]}…'})" if told else ""

    def __str__(self) -> str:
        """Return the build's path, number and instance, such as `main/app/deploy #41 (env: eu)`."""
        path = "/".join(part for part in (self.team, self.pipeline, self.job) if part)
        number = f"#{self.name}" if self.name else ""
        named = " ".join(part for part in (path, number) if part) or (f"build {self.id}" if self.id else "an unnamed build")
        return f"{named} {self.instance}".rstrip()


@dataclass(frozen=True, slots=True)
class Claimant:
    """Build that claims a lock. `claim_key` distinguishes several claims of one build on one lock."""

    build: Build
    claim_key: str = ""

    @property
    def key(self) -> str:
        """Idempotency key of the build with this `claim_key`."""
        return self.build.key(self.claim_key)


def _flat(value: object, path: str = "") -> Iterator[tuple[str, str]]:
    """Yield pairs of dotted path and text, as Concourse shows instance variables.

    Raises:
        ValueError: the outermost value is no map.
    """
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _flat(inner, f"{path}.{name}" if path else name)
    elif not path:
        raise ValueError("instance variables are a map")
    else:
        yield path, value if isinstance(value, str) else json.dumps(value)


@dataclass(frozen=True, slots=True)
class Attachment:
    """File bound to a claim: its SHA-256 in hex, its size in bytes, and whether its content is stored."""

    digest: str
    size: int
    stored: bool


MAX_COMMENT = 255
"""Upper bound of a review's comment, in characters."""
MAX_REVIEWS = 24
"""Upper bound of the reviews of a claim that is not decided. Its stored size may limit them earlier."""
PAYLOAD_CONTENT = "payload"
POLICY_CONTENT = "policy"
FACTS_CONTENT = "facts"
POOL_POLICY_CONTENT = "pool policy"


def attachment_content(name: str) -> str:
    """Return the name under which an attached file's content is stored beside a claim."""
    return f"attached#{name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Review:
    """One person's newest verdict on one claim.

    `reviewer` begins with the source of the name: `aws:`, `oidc:`, `concourse:`, `slack:`, `link:`, `typed:`.
    """

    reviewer: str
    verdict: Verdict
    comment: str = ""
    at: datetime
    represented_as: tuple[str, ...] = ()
    """Names of the rules that the review is for. If empty, the policy assigns it to one that fits."""
    forced: bool = False
    """Whether the review decides alone, because a policy's bypass lets its reviewer force a decision."""
    inputs: Mapping[str, str] = field(default_factory=lambda: EMPTY)
    """Values that the reviewer filled in, by name."""
    groups: tuple[str, ...] = ()
    """Groups that the reviewer's issuer told at the review, each as `oidc-group:ISSUER#NAME`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Transition:
    """Decision or end of a claim: the new state, by whom, why and when.

    `timestamp` is its event's place in the log.
    """

    state: State
    actor: str
    reason: str = ""
    at: datetime
    timestamp: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """Acquisition of a lock by one build, from the moment it is taken to its end."""

    id: str
    pool: str
    lock_name: str
    build: Build
    build_key: str
    request: str
    """Digest of the request. The same build with an equal digest is a retry, and gets this claim."""
    need_approval: bool
    description: str = ""
    payload: str = ""
    """Digest of the payload, or an empty string."""
    attachments: Mapping[str, Attachment] = field(default_factory=lambda: EMPTY)
    fence: int = 0
    timestamp: datetime
    """Time of the acquisition: the place of the claim's first event in the pool's log."""

    state: State
    changed: datetime
    """Place in the pool's log of the event that brought the claim into `state`."""
    deadline: datetime | None = None
    """Instant at which the claim expires, unless it was decided."""
    hold_timeout: int = 0
    """Lease in seconds, after which another claim may take over the lock; 0 means no limit.

    A renewal starts it again.
    """
    hold_until: datetime | None = None
    """End of the lease, or None for no limit."""
    reviews: Mapping[str, Review] = field(default_factory=lambda: EMPTY)
    decided: Transition | None = None
    ended: Transition | None = None
    spent: str = ""
    """Key of the build that used the approval up, or an empty string."""
    spent_by: str = ""
    spent_job: str = ""
    """Key of that build's job."""
    policy: str = ""
    """Digest of the claim's own policies, or an empty string if it has none."""
    facts: str = ""
    """Digest of the facts that its pipeline gave."""
    pool_policy: str = ""
    """Digest of the pool's policy that took part in the decision."""
    judged_at: datetime | None = None
    """Instant for which the policies gave their decision."""
    opens_at: datetime | None = None
    """Instant at which time alone may complete the approval: a window opens, or a waiting time is over."""
    valid_until: datetime | None = None
    """Instant until which the approval may be used, or None for no limit."""
    made_at: datetime | None = None
    """Store's time at which the claim was taken.

    It is set only if `timestamp` had to be later, because the event before it was dated ahead.
    """
    event_at: datetime | None = None
    """Place in the pool's log of the newest event; None in claims of older releases, which stored none."""
    revision: int = 0

    @property
    def approved(self) -> bool | None:
        """Decision as the original resource shows it, or None until there is one."""
        return None if self.decided is None else self.decided.state is State.APPROVED

    @property
    def claimed(self) -> bool:
        """Whether the claim holds its lock now."""
        return self.state.is_open

    @property
    def contents(self) -> dict[str, str]:
        """Digest of each content stored beside the claim, by content name."""
        named = {
            PAYLOAD_CONTENT: self.payload,
            POLICY_CONTENT: self.policy,
            FACTS_CONTENT: self.facts,
            POOL_POLICY_CONTENT: self.pool_policy,
        }
        kept = {name: digest for name, digest in named.items() if digest}
        return kept | {attachment_content(name): file.digest for name, file in self.attachments.items() if file.stored}

    def due(self, now: datetime) -> bool:
        """Whether the claim is pending and time may have completed its approval.

        Nothing has changed until the decision is committed.
        """
        return self.state is State.PENDING and self.opens_at is not None and self.opens_at <= now

    @property
    def created_at(self) -> datetime:
        """Store's time at which the claim was taken."""
        return self.made_at or self.timestamp

    def late(self, now: datetime) -> bool:
        """Whether the claim is pending past its deadline, so that a review comes too late."""
        return self.state is State.PENDING and self.deadline is not None and self.deadline <= now

    def overdue(self, now: datetime) -> bool:
        """Whether the claim is pending, and its deadline ends it. It stays pending until that is committed.

        A claim doesn't expire if time completed its approval by the deadline: see `due`.
        """
        completed = self.opens_at is not None and self.deadline is not None and self.opens_at <= self.deadline
        return self.late(now) and not completed

    @property
    def frees_at(self) -> datetime | None:
        """Instant at which the deadline or the end of the lease frees the lock, or None if neither will."""
        ends = [end for end, ended in ((self.deadline, self.overdue), (self.hold_until, self.overstayed)) if end and ended(end)]
        return min(ends, default=None)

    def overstayed(self, now: datetime) -> bool:
        """Whether the claim holds its lock past the end of its lease, so that another may take it over."""
        return self.claimed and self.hold_until is not None and self.hold_until <= now
