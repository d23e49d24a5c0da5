"""Request of a build for a lock, its attempt, and its result."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from approval_resource.canonical import EMPTY, digest
from approval_resource.claims.decide import Terms
from approval_resource.model.claim import FACTS_CONTENT, PAYLOAD_CONTENT, POLICY_CONTENT, Attachment, Claim, attachment_content
from approval_resource.store.interface import new_id


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """Everything that a build asks for when it claims."""

    pool: str
    lock_name: str
    need_approval: bool = False
    description: str = ""
    payload: bytes = b""
    payload_digest: str = ""
    attachments: Mapping[str, Attachment] = field(default_factory=lambda: EMPTY)
    attached: Mapping[str, bytes] = field(default_factory=lambda: EMPTY)
    """Content of the attachments to keep, by name."""
    override_approval: bool = False
    """Whether to supersede a pending claim instead of waiting for its decision."""
    expires_after: timedelta | None = None
    """Time to decide on the claim, from when it is made; None: no deadline."""
    hold_timeout: timedelta | None = None
    """Time that the claim may hold the lock before another claim may take it over; None: no limit."""
    priority: int = 0
    """Priority in the queue; a higher number comes first."""
    terms: Terms = field(default_factory=Terms)
    """Policies that its approval must satisfy, in addition to the pool's own, and facts from the pipeline."""

    @property
    def digest(self) -> str:
        """Digest of the request, equal for a retry. It leaves out how to queue (priority, override)."""
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
        kept = {POLICY_CONTENT: self.terms.policy.encode(), FACTS_CONTENT: given}
        return {name: content for name, content in kept.items() if content}

    @property
    def contents(self) -> dict[str, bytes]:
        """Content to keep beside the claim, by name."""
        payload = {PAYLOAD_CONTENT: self.payload} if self.payload_digest else {}
        return payload | self._terms | {attachment_content(name): content for name, content in self.attached.items()}

    def digest_of(self, name: str) -> str:
        """Return the SHA-256, in hex, of the term called `name`; an empty string if there is none."""
        return _sha256(self._terms[name]) if name in self._terms else ""


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@dataclass(slots=True)
class Attempt:
    """One run's attempt at a lock: claim id, ticket in the queue, and which writes may be in flight."""

    claim_id: str = field(default_factory=new_id)
    in_flight: bool = False
    """Whether a write of the claim may be in flight."""
    ticket: int = 0
    since: datetime | None = None
    """Instant at which it joined the queue."""
    joining: bool = False
    """Whether a write of its place in the queue may be in flight."""
    slow: bool = False
    """Whether its policies may be slow, so that a roll call has to wait for it longer."""


@dataclass(frozen=True, slots=True)
class Taken:
    """Result of a claim: the build's claim. `fresh`: this call made it; otherwise this is a retry."""

    claim: Claim
    fresh: bool
    ended: tuple[Claim, ...] = ()
    """Claims that this call ended to get the lock."""


def _seconds(span: timedelta | None) -> int:
    return 0 if span is None else math.ceil(span.total_seconds())
