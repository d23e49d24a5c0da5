"""Shapes of the API: models of bodies and answers, of which openapi.json is made."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.config import JsonDict

from approval_resource.policy.language.strict import Document
from approval_resource.service.acts import MAX_COMMENT
from approval_resource.service.desk import MAX_OLDER


def _force_tells_why(name: str) -> JsonDict:
    """Return the JSON schema by which force requires a text in that field, as `Acts` does."""
    forced: JsonDict = {"properties": {"force": {"const": True}}, "required": ["force"]}
    return {"if": forced, "then": {"properties": {name: {"type": "string", "pattern": r"\S"}}, "required": [name]}}


REJECTED: JsonDict = {"properties": {"status": {"const": "rejected"}}}
EMPTY: JsonDict = {"anyOf": [{"type": "null"}, {"maxProperties": 0, "maxItems": 0}]}
APPROVALS_ALONE: JsonDict = {"properties": {"inputs": EMPTY, "supersede": EMPTY}}


class ReviewBody(Document):
    """Verdict on a claim, in GitLab's words."""

    model_config = ConfigDict(
        json_schema_extra={"allOf": [_force_tells_why("comment"), {"if": REJECTED, "then": APPROVALS_ALONE}]}
    )

    status: Literal["approved", "rejected"]
    comment: str | None = Field(default=None, max_length=MAX_COMMENT)
    represented_as: str | list[str] | None = None
    inputs: dict[str, str] | None = None
    force: bool = False
    supersede: list[str] | None = Field(default=None, max_length=MAX_OLDER)


class WithdrawalBody(Document):
    """End of a claim that waits; operators may force it."""

    model_config = ConfigDict(json_schema_extra={"allOf": [_force_tells_why("reason")]})

    reason: str = Field(default="", max_length=MAX_COMMENT)
    force: bool = False


class SaidReviewer(BaseModel):
    """Person whom the sender of a reply names. Nothing proves it."""

    model_config = ConfigDict(extra="ignore", frozen=True, hide_input_in_errors=True)
    name: str | None = None
    email: str | None = None


class ReplyBody(BaseModel):
    """Reply to a link, as nullplatform has it. Every field may be missing, and others are ignored."""

    model_config = ConfigDict(extra="ignore", frozen=True, hide_input_in_errors=True)
    reviewer: SaidReviewer | None = None
    message: str | None = None
    details: Any = None


class Answer(BaseModel):
    """Base of the answers."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class User(Answer):
    """Person, by the identity that is recorded."""

    username: str


class Approval(Answer):
    """One person's newest verdict, in GitLab's words."""

    user: User
    status: Literal["approved", "rejected"]
    created_at: str
    comment: str | None
    represented_as: list[str]
    inputs: dict[str, str]
    forced: bool
    groups: list[str]


class Ruling(Answer):
    """Decision or end of a claim."""

    state: str
    actor: str
    reason: str
    at: str


class File(Answer):
    """Attached file."""

    name: str
    size: int
    sha256: str
    stored: bool


class Passage(Answer):
    """Build that passed the gate of a claim, and when."""

    build: str
    build_url: str
    at: str


class ClaimSummary(Answer):
    """Claim in a list."""

    id: str
    pool: str
    lock_name: str
    state: str
    status: str = Field(description="GitLab's word for the state: blocked, or the state itself")
    description: str
    build: str
    build_url: str
    requester: str
    created_at: str
    deadline: str | None
    can_decide: bool
    why_not: str
    waits_for_you: bool
    summary: str
    url: str


class Claim(ClaimSummary):
    """Claim with all that a reviewer is shown. Its ETag is what a review has to send back as If-Match."""

    approvals: list[Approval]
    pending_approval_count: int
    approval_summary: dict[str, Any]
    attachments: list[File]
    facts: dict[str, Any]
    openers: list[str]
    policies: list[dict[str, Any]]
    reasons: list[str]
    rules: list[str]
    inputs: list[dict[str, Any]]
    frozen: str
    older: list[str] = Field(description="Older claims of the same pipeline that wait, and that you may end by an approval")
    queue: list[str]
    decision: Ruling | None
    ended: Ruling | None
    passages: list[Passage] = Field(description="Builds that passed the gate, oldest first; empty while it has not opened")
    may_force: bool


class ClaimList(Answer):
    """Page of claims. `next` is the cursor of the page after it, or null."""

    claims: list[ClaimSummary]
    next: str | None


class Superseded(Answer):
    """Older claim that was to end with an approval, and what became of it."""

    id: str
    done: bool
    sentence: str


class Recorded(Answer):
    """Verdict that was recorded, and what became of the claim."""

    review: Approval | None
    """None where an approved claim was let pass a freeze."""
    claim: Claim
    changed: bool
    sentence: str
    superseded: list[Superseded]


class Reviews(Answer):
    """All verdicts on a claim."""

    approvals: list[Approval]


class Event(Answer):
    """Entry of a pool's log."""

    cursor: str
    pool: str
    at: str
    kind: str
    claim: str
    lock_name: str
    state: str | None
    actor: str
    reason: str
    verdict: str
    forced: bool
    digest: str


class EventList(Answer):
    """Page of events, oldest first. `next` is the cursor to go on from."""

    events: list[Event]
    next: str


class Self(Answer):
    """Whoever asks, as the service knows them."""

    identity: str
    name: str
    email: str
    groups: list[str]
    auth_time: str | None
    via: str
    pools: dict[str, list[str]]


class DeviceLogin(Answer):
    """Addresses at which the command line signs in, by RFC 8628."""

    issuer: str
    client_id: str
    scope: str
    device_authorization_endpoint: str
    token_endpoint: str


class ProblemAnswer(Answer):
    """Failure, by RFC 9457."""

    type: str
    title: str
    status: int
    detail: str
    problems: list[str]
