"""Failures as HTTP tells them: a status, a stable type and a title, and the sentence with the next move."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from approval_resource import errors
from approval_resource.errors import ApprovalError
from approval_resource.service.acts import StaleSignInError
from approval_resource.service.desk import ForbiddenError
from approval_resource.service.fetch import UnreachableError
from approval_resource.service.oidc import NotSignedInError


class MalformedError(ApprovalError):
    """Refusal: the request can't be understood."""


class NotSeenError(ApprovalError):
    """Refusal: a review has to say what its reviewer was shown, and this one doesn't."""


class ForeignError(ApprovalError):
    """Refusal: the request comes from another site's page."""


class TooManyError(ApprovalError):
    """Refusal: there were too many requests."""


class GoneError(ApprovalError):
    """Refusal: the link is no longer good for anything."""


class BadLinkError(ApprovalError):
    """Refusal: the link was never made here, or not for that claim and verdict."""


@dataclass(frozen=True, slots=True)
class Problem:
    """Kind of failure: its status, the last part of its type's address, and its title."""

    status: int
    type: str
    title: str


KINDS: dict[type[ApprovalError], Problem] = {
    MalformedError: Problem(400, "malformed", "The request can't be understood"),
    StaleSignInError: Problem(401, "sign-in-too-old", "You have to sign in again to decide"),
    NotSignedInError: Problem(401, "not-signed-in", "Nobody has proven who they are"),
    BadLinkError: Problem(401, "bad-link", "The link is none of this service"),
    ForeignError: Problem(403, "foreign-request", "The request comes from another site"),
    ForbiddenError: Problem(403, "forbidden", "You may not do that here"),
    errors.NotEntitledError: Problem(403, "not-entitled", "No policy gives you a say"),
    errors.LockNotFoundError: Problem(404, "not-found", "There is nothing by that name that you may see"),
    errors.LinkSpentError: Problem(409, "link-spent", "The link was used already"),
    errors.AlreadyReviewedError: Problem(409, "decided", "It is decided, or has ended"),
    errors.ReviewTimeoutError: Problem(409, "expired", "It was to be decided earlier"),
    errors.NoApprovalNeededError: Problem(409, "no-approval-needed", "It asks for no approval"),
    errors.StaleLockError: Problem(409, "ended", "It is in another state by now"),
    errors.ReviewsFullError: Problem(409, "reviews-full", "It has no room for another review"),
    errors.CorruptRecordError: Problem(409, "record-not-trusted", "The record can't be trusted"),
    GoneError: Problem(410, "link-gone", "The link has come to its end"),
    errors.ChangedSinceShownError: Problem(412, "changed", "It changed since you looked"),
    errors.ConfigError: Problem(422, "unfit", "Something that was given doesn't fit"),
    NotSeenError: Problem(428, "if-match-required", "The review has to say what its reviewer was shown"),
    TooManyError: Problem(429, "too-many-requests", "There were too many requests"),
    UnreachableError: Problem(503, "unreachable", "A server that is needed gives no answer"),
    errors.StoreUnavailableError: Problem(503, "store-unavailable", "The table can't be asked"),
}


def told(url: str, kind: Problem, lines: Sequence[str]) -> dict[str, Any]:
    """Return the document of a failure, by RFC 9457. Types in `KINDS` are explained at /problems/TYPE."""
    return {
        "type": f"{url}/problems/{kind.type}",
        "title": kind.title,
        "status": kind.status,
        "detail": "\n".join(lines),
        "problems": list(lines),
    }


def problem_of(error: ApprovalError) -> Problem:
    """Return the kind of a failure. An unknown one is a conflict, since it was raised on purpose."""
    for kind in type(error).__mro__:
        if kind in KINDS:
            return KINDS[kind]
    return Problem(409, "refused", "It was refused")
