"""What every failed answer of DynamoDB means for the one who asked: the one table of outcomes.

| outcome   | the write                    | what follows |
|-----------|------------------------------|--------------|
| CONTENDED | did not happen               | read again, decide again |
| BUSY      | did not happen               | the same, after a longer pause |
| UNKNOWN   | may have happened            | read again, look for the operation's events, then as CONTENDED |
| RENEW     | did not happen               | credentials have run out: once more with fresh ones |
| ABSENT    | did not happen               | the table is missing: make it where the role may, once |
| REFUSED   | did not happen, never will   | tell what, and the next move |
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectTimeoutError,
    CredentialRetrievalError,
    EndpointConnectionError,
    InvalidRegionError,
    NoCredentialsError,
    NoRegionError,
    ParamValidationError,
    PartialCredentialsError,
    ProxyConnectionError,
    SSLError,
    TokenRetrievalError,
)

from approval_resource.text import without_user


class Outcome(Enum):
    """What to do about a failed answer; see the table above."""

    CONTENDED = auto()
    BUSY = auto()
    UNKNOWN = auto()
    RENEW = auto()
    ABSENT = auto()
    REFUSED = auto()


@dataclass(frozen=True, slots=True)
class Failure:
    """A failed answer: its outcome, and one line that says what happened and what to do."""

    outcome: Outcome
    message: str


CONTENDED = frozenset(
    {
        "ConditionalCheckFailed",
        "ConditionalCheckFailedException",
        "TransactionConflict",
        "TransactionConflictException",
        "TransactionInProgressException",
        "IdempotentParameterMismatchException",
    }
)
BUSY = frozenset(
    {
        "ThrottlingError",
        "ThrottlingException",
        "Throttling",
        "ProvisionedThroughputExceeded",
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
        "LimitExceededException",
        "SlowDown",
    }
)
UNKNOWN = frozenset(
    {
        "InternalServerError",
        "InternalFailure",
        "ServiceUnavailable",
        "ServiceUnavailableException",
        "RequestTimeout",
        "RequestTimeoutException",
    }
)
EXPIRED = frozenset({"ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired", "RequestExpired"})
SKEW_CODES = frozenset({"RequestTimeTooSkewed", "RequestInTheFuture"})
SKEW_WORDS = ("Signature expired", "Signature not yet current", "clock skew")
CREDENTIALS = frozenset(
    {
        "UnrecognizedClientException",
        "InvalidClientTokenId",
        "InvalidAccessKeyId",
        "InvalidSignatureException",
        "SignatureDoesNotMatch",
        "IncompleteSignature",
        "MissingAuthenticationToken",
        "MissingAuthenticationTokenException",
        "AuthFailure",
    }
)
DENIED = frozenset({"AccessDenied", "AccessDeniedException"})
ABSENT = frozenset({"ResourceNotFoundException"})
TOO_LARGE = ("Item size", "exceeded the maximum allowed size", "cannot exceed", "larger than")
DNS_OR_REFUSED = (EndpointConnectionError, ConnectTimeoutError, ProxyConnectionError)


class NotDynamoDBError(BotoCoreError):  # type: ignore[misc]
    """What answered is something else, such as a proxy with a page of its own."""

    fmt = "something other than DynamoDB answered"


def classify(error: Exception, *, table: str, endpoint: str) -> Failure:
    """What `error`, raised by botocore while asking `endpoint` about `table`, means.

    The message never repeats a request or a credential: botocore's own text is used only where AWS
    wrote it about the caller's permissions.
    """
    endpoint = without_user(endpoint)
    if isinstance(error, ClientError):
        return _answered(error, table, endpoint)
    # Assuming a role asks STS on the way, which has an address of its own.
    asked = without_user(getattr(error, "kwargs", {}).get("endpoint_url") or endpoint)
    if isinstance(error, (NoCredentialsError, PartialCredentialsError, CredentialRetrievalError, TokenRetrievalError)):
        return Failure(
            Outcome.REFUSED,
            "no AWS credentials were found (looked at the source's keys, the environment, the shared files and this "
            "machine's role); give keys or a role",
        )
    if isinstance(error, (NoRegionError, InvalidRegionError)):
        return Failure(Outcome.REFUSED, "no valid AWS region is set; set AWS_DEFAULT_REGION (source, environment or --region)")
    if isinstance(error, SSLError):
        return Failure(Outcome.REFUSED, f"{asked} has no certificate this machine trusts; check endpoint_url and the CA bundle")
    if isinstance(error, ParamValidationError):
        return Failure(Outcome.REFUSED, "AWS's client found the request invalid; check names, role_arn and region")
    if isinstance(error, NotDynamoDBError):
        return Failure(Outcome.UNKNOWN, f"something other than DynamoDB answers at {asked}; check endpoint_url and proxies")
    if isinstance(error, DNS_OR_REFUSED):
        return Failure(Outcome.BUSY, f"can't reach {asked}; check endpoint_url, region and network")
    if isinstance(error, BotoCoreError):
        return Failure(Outcome.UNKNOWN, f"{asked} broke off its answer; try again")
    raise TypeError(f"not an error of botocore: {type(error).__name__}") from error


def _answered(error: ClientError, table: str, endpoint: str) -> Failure:
    details = error.response.get("Error", {})
    code, text = str(details.get("Code") or ""), str(details.get("Message") or "")
    status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    if code == "TransactionCanceledException":
        return _cancelled(error, table)
    if code in CONTENDED:
        return Failure(Outcome.CONTENDED, f"table {table} is much in use; try again")
    if code in BUSY:
        return Failure(Outcome.BUSY, f"DynamoDB is throttling table {table}; try again, or raise its limits")
    if code in SKEW_CODES or any(words in text for words in SKEW_WORDS):
        return Failure(
            Outcome.REFUSED, "this machine's clock is too far from AWS's, which refuses its signatures; set the clock"
        )
    if code in EXPIRED:
        return Failure(Outcome.RENEW, "the AWS session token has expired; give a new one, or a role")
    if code in ABSENT:
        return Failure(Outcome.ABSENT, f"table {table} doesn't exist at {endpoint}")
    if code in CREDENTIALS:
        return Failure(Outcome.REFUSED, f"AWS refused these credentials ({code}); check the keys")
    if code in DENIED:
        return Failure(Outcome.REFUSED, f"this role may not do that: {text or code}; see the README's IAM policies")
    if code == "ValidationException":
        return _invalid(text)
    if code in UNKNOWN or status >= 500:
        return Failure(Outcome.UNKNOWN, f"DynamoDB at {endpoint} failed ({code or status}); try again")
    return Failure(Outcome.REFUSED, f"DynamoDB at {endpoint} refused the request ({code or status})")


def _cancelled(error: ClientError, table: str) -> Failure:
    """A transaction's reasons, one per item; the most final one counts."""
    reasons = error.response.get("CancellationReasons") or []
    codes = {reason.get("Code", "") for reason in reasons} - {"None", ""}
    if not codes:
        # An engine that leaves the list out still names the codes in its text.
        text = error.response.get("Error", {}).get("Message", "")
        codes = {code for code in CONTENDED | BUSY | {"ValidationError", "ItemCollectionSizeLimitExceeded"} if code in text}
    if "ItemCollectionSizeLimitExceeded" in codes:
        return Failure(Outcome.REFUSED, "the pool has reached DynamoDB's 10 GB for one pool; use another pool")
    if "ValidationError" in codes:
        return _invalid(" ".join(reason.get("Message") or "" for reason in reasons))
    if "AccessDenied" in codes:
        return Failure(Outcome.REFUSED, "this role may not write that; see the README's IAM policies")
    if codes & BUSY:
        return Failure(Outcome.BUSY, f"DynamoDB is throttling table {table}; try again, or raise its limits")
    if codes and codes <= CONTENDED:
        return Failure(Outcome.CONTENDED, f"table {table} is much in use; try again")
    return Failure(Outcome.UNKNOWN, f"DynamoDB cancelled the write to table {table} for no reason it gave; try again")


def _invalid(text: str) -> Failure:
    if any(words in text for words in TOO_LARGE):
        return Failure(
            Outcome.REFUSED,
            "what is to be stored is larger than DynamoDB takes (400 KB an item, 4 MB in all); use attach_digest for large files",
        )
    return Failure(Outcome.REFUSED, f"DynamoDB found the request invalid: {text}")
