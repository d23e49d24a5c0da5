"""The nouns: builds, claims and reviews, frozen, with their pure transitions."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from approval_resource.canonical import EMPTY, digest
from approval_resource.model.event import State


class Verdict(StrEnum):
    """What one person said of one claim."""

    APPROVE = "approve"
    REJECT = "reject"


@dataclass(frozen=True, slots=True, kw_only=True)
class Build:
    """The build of Concourse that asks for something, as its environment tells; empty strings where it does not."""

    url: str = ""
    team: str = ""
    pipeline: str = ""
    instance_vars: str = ""
    job: str = ""
    id: str = ""
    name: str = ""
    created_by: str = ""

    def key(self, claim_key: str = "") -> str:
        """Idempotency key: equal for two runs of one build with the same `claim_key`.

        Concourse gives a build's steps no names, so steps that want separate claims on one lock say so with `claim_key`.
        Keys come again where Concourse's database is restored or made anew, so a key alone never hands out an approval:
        see `claims.acquire.take`.
        """
        return digest([self.url, self.team, self.pipeline, self.instance_vars, self.job, self.id, self.name, claim_key])

    def same_pipeline(self, other: Build) -> bool:
        """Whether both run in the same team and pipeline."""
        return (self.url, self.team, self.pipeline, self.instance_vars) == (
            other.url,
            other.team,
            other.pipeline,
            other.instance_vars,
        )

    @property
    def job_key(self) -> str:
        """What is the same for all builds of one job, or an empty string for a build of none."""
        return digest([self.url, self.team, self.pipeline, self.instance_vars, self.job])[:16] if self.job else ""

    @property
    def link(self) -> str:
        """Where the build is to be seen, or an empty string."""
        return f"{self.url.rstrip('/')}/builds/{self.id}" if self.url and self.id else ""

    @property
    def instance(self) -> str:
        """The instance of the pipeline, such as `(env: eu)`, or an empty string."""
        if not self.instance_vars:
            return ""
        try:
            pairs = list(_flat(json.loads(self.instance_vars)))
        except (ValueError, RecursionError):
            return f"({self.instance_vars})"
        return f"({', '.join(f'{name}: {value}' for name, value in pairs)})" if pairs else ""

    def __str__(self) -> str:
        path = "/".join(part for part in (self.team, self.pipeline, self.job) if part)
        number = f"#{self.name}" if self.name else ""
        named = " ".join(part for part in (path, number) if part) or (f"build {self.id}" if self.id else "an unnamed build")
        return f"{named} {self.instance}".rstrip()


@dataclass(frozen=True, slots=True)
class Claimant:
    """A build that claims a lock. `claim_key` tells apart several claims of one build on one lock."""

    build: Build
    claim_key: str = ""

    @property
    def key(self) -> str:
        """The idempotency key."""
        return self.build.key(self.claim_key)


def _flat(value: object, path: str = "") -> Iterator[tuple[str, str]]:
    """Pairs of dotted path and text, as Concourse shows instance variables.

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
    """A file that was bound to a claim: its SHA-256 in hex, its size in bytes, and whether its content is kept."""

    digest: str
    size: int
    stored: bool


MAX_REVIEWS = 24
"""People whose undecided reviews one claim keeps, if it has room for all of them."""
PAYLOAD_CONTENT = "payload"
POLICY_CONTENT = "policy"
FACTS_CONTENT = "facts"
POOL_POLICY_CONTENT = "pool policy"


def attachment_content(name: str) -> str:
    """The name of the part in which an attached file's content is kept beside a claim."""
    return f"attached#{name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Review:
    """One person's newest verdict on one claim. `reviewer` begins with how the name is known: `aws:` or `typed:`."""

    reviewer: str
    verdict: Verdict
    comment: str = ""
    at: datetime
    represented_as: tuple[str, ...] = ()
    """The rules that it was given for, by name; none: the first that fits."""
    forced: bool = False
    """Whether it was meant to decide whatever others say, by somebody who may."""
    inputs: Mapping[str, str] = field(default_factory=lambda: EMPTY)
    """What the reviewer filled in."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Transition:
    """Who brought a claim into a state that matters, why and when; `timestamp` is the deciding event's place in the log."""

    state: State
    actor: str
    reason: str = ""
    at: datetime
    timestamp: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """One acquisition of a lock by one build, from the moment it is taken to its end."""

    id: str
    pool: str
    lock_name: str
    build: Build
    build_key: str
    request: str
    """The digest of what was asked for; the same build asking for the same again gets this claim."""
    need_approval: bool
    description: str = ""
    payload: str = ""
    """The digest of the payload, or an empty string."""
    attachments: Mapping[str, Attachment] = field(default_factory=lambda: EMPTY)
    fence: int = 0
    timestamp: datetime
    """When it was taken: the place of its first event in the pool's log."""

    state: State
    changed: datetime
    """The place in the pool's log of the event that brought it into `state`."""
    deadline: datetime | None = None
    """When it expires unless it was decided."""
    hold_timeout: int = 0
    """Seconds that it may hold its lock before another claim may take that over, counted anew by a renewal; 0: for ever."""
    hold_until: datetime | None = None
    reviews: Mapping[str, Review] = field(default_factory=lambda: EMPTY)
    decided: Transition | None = None
    ended: Transition | None = None
    spent: str = ""
    """The key of the build for which the approval opened an `await`, or an empty string."""
    spent_by: str = ""
    spent_job: str = ""
    """The key of that build's job."""
    policy: str = ""
    """The digest of the policies that it was made under, or an empty string: nobody set any."""
    facts: str = ""
    """The digest of what its pipeline said of it."""
    pool_policy: str = ""
    """The digest of the pool's policy by which it was decided too."""
    judged_at: datetime | None = None
    """The instant for which the policies gave their decision."""
    opens_at: datetime | None = None
    """When time alone may complete its approval: a window opens, or a waiting time is over."""
    valid_until: datetime | None = None
    """How long its approval may be used."""
    made_at: datetime | None = None
    """When it was taken, where its place in the log is later: an event before it bore a time that had not come yet."""
    event_at: datetime | None = None
    """The place in the pool's log of its newest event; None in claims written by versions that kept none."""
    revision: int = 0

    @property
    def approved(self) -> bool | None:
        """What was decided, as the original resource shows it; None until then."""
        return None if self.decided is None else self.decided.state is State.APPROVED

    @property
    def claimed(self) -> bool:
        """Whether the claim holds its lock now."""
        return self.state.is_open

    @property
    def contents(self) -> dict[str, str]:
        """The digest of everything that is kept beside the claim, by part name."""
        named = {
            PAYLOAD_CONTENT: self.payload,
            POLICY_CONTENT: self.policy,
            FACTS_CONTENT: self.facts,
            POOL_POLICY_CONTENT: self.pool_policy,
        }
        kept = {name: digest for name, digest in named.items() if digest}
        return kept | {attachment_content(name): file.digest for name, file in self.attachments.items() if file.stored}

    def due(self, now: datetime) -> bool:
        """Whether the claim waits for a decision that time may have completed. Nothing has changed until that is committed."""
        return self.state is State.PENDING and self.opens_at is not None and self.opens_at <= now

    @property
    def created_at(self) -> datetime:
        """The store's time when it was taken."""
        return self.made_at or self.timestamp

    def late(self, now: datetime) -> bool:
        """Whether the claim still waits though its deadline has passed, so that a review comes too late."""
        return self.state is State.PENDING and self.deadline is not None and self.deadline <= now

    def overdue(self, now: datetime) -> bool:
        """Whether the claim has expired. Nothing has changed until that is committed.

        A claim whose waiting time or window completed its approval by the deadline has not: see `due`.
        """
        completed = self.opens_at is not None and self.deadline is not None and self.opens_at <= self.deadline
        return self.late(now) and not completed

    def overstayed(self, now: datetime) -> bool:
        """Whether another claim may take its lock over, since it holds it longer than it said it would."""
        return self.claimed and self.hold_until is not None and self.hold_until <= now
