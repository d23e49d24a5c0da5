"""What a build asks for when it claims, and what it gets."""

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
    """What a build asks for when it claims."""

    pool: str
    lock_name: str
    need_approval: bool = False
    description: str = ""
    payload: bytes = b""
    payload_digest: str = ""
    attachments: Mapping[str, Attachment] = field(default_factory=lambda: EMPTY)
    attached: Mapping[str, bytes] = field(default_factory=lambda: EMPTY)
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
        kept = {POLICY_CONTENT: self.terms.policy.encode(), FACTS_CONTENT: given}
        return {name: content for name, content in kept.items() if content}

    @property
    def contents(self) -> dict[str, bytes]:
        """What is kept beside the claim, by part name."""
        payload = {PAYLOAD_CONTENT: self.payload} if self.payload_digest else {}
        return payload | self._terms | {attachment_content(name): content for name, content in self.attached.items()}

    def digest_of(self, name: str) -> str:
        """The SHA-256, in hex, of one of its terms, or an empty string where it has none."""
        return _sha256(self._terms[name]) if name in self._terms else ""


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


def _seconds(span: timedelta | None) -> int:
    return 0 if span is None else math.ceil(span.total_seconds())
