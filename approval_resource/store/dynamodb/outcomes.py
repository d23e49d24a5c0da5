"""Outcomes: the one table of what each failed answer of DynamoDB means for the caller.

| outcome   | the write                  | what follows                                                     |
|-----------|----------------------------|------------------------------------------------------------------|
| CONTENDED | did not happen             | read again, decide again                                         |
| BUSY      | did not happen             | as CONTENDED, after a longer pause                               |
| UNKNOWN   | may have happened          | read again, look for the operation's events, then as CONTENDED   |
| RENEW     | did not happen             | credentials have expired: once more with fresh ones              |
| ABSENT    | did not happen             | no such table: a put step tries once to make it, if its role may |
| REFUSED   | did not happen, never will | report it, with the next move                                    |
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from enum import Enum, auto
from http import HTTPStatus
from typing import Any

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

from approval_resource.program import called
from approval_resource.text import without_user


class Outcome(Enum):
    """Outcome of a failed answer; see the table above."""

    CONTENDED = auto()
    BUSY = auto()
    UNKNOWN = auto()
    RENEW = auto()
    ABSENT = auto()
    REFUSED = auto()


@dataclass(frozen=True, slots=True)
class Failure:
    """Failed answer: its outcome, and one line that says what happened and what to do."""

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
OTHER_KEYS = ("key element does not match", "does not have the specified index", "Missing the key", "Type mismatch for key")
DNS_OR_REFUSED = (EndpointConnectionError, ConnectTimeoutError)
TUNNEL = re.compile(r"Tunnel connection failed: (\d{3})")
VERIFY = re.compile(r"certificate verify failed: ([a-zA-Z0-9 ,-]{1,100})")
PLAIN = ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE", "PACKET_LENGTH_TOO_LONG")


class RoleError(BotoCoreError):  # type: ignore[misc]
    """Failure to assume a role. Its cause is botocore's error."""

    fmt = "{which} could not be assumed"


class NotDynamoDBError(BotoCoreError):  # type: ignore[misc]
    """Answer from something other than DynamoDB, such as a proxy with a page of its own."""

    fmt = "something other than DynamoDB answered"


def refused(error: Exception) -> frozenset[int]:
    """Return the indexes of the writes that made DynamoDB cancel a transaction; empty for any other error."""
    reasons = error.response.get("CancellationReasons", []) if isinstance(error, ClientError) else []
    return frozenset(index for index, reason in enumerate(reasons) if reason.get("Code", "None") != "None")


def classify(error: Exception, *, table: str, endpoint: str) -> Failure:
    """Return the meaning of `error`, which botocore raised while asking `endpoint` about `table`.

    The message never repeats a request or a credential. It quotes AWS only on permissions and on what it
    found invalid, and botocore only on wrong settings.

    Raises:
        TypeError: the error is not one of botocore's.
    """
    endpoint = without_user(endpoint)
    if isinstance(error, RoleError):
        return _role_failure(error)
    if isinstance(error, ClientError):
        return _answered(error, table, f"DynamoDB at {endpoint}")
    from approval_resource.store.dynamodb.proxies import through

    # If the error comes from fetching credentials, it names the address that was asked for them.
    asked = through(without_user(getattr(error, "kwargs", {}).get("endpoint_url") or endpoint).removesuffix("/"))
    if isinstance(error, (NoCredentialsError, PartialCredentialsError, CredentialRetrievalError, TokenRetrievalError)):
        return Failure(
            Outcome.REFUSED,
            "no AWS credentials were found (looked at the source's keys, the environment, the shared files and this "
            "machine's role); give keys or a role",
        )
    if isinstance(error, (NoRegionError, InvalidRegionError)):
        return Failure(Outcome.REFUSED, "no valid AWS region is set; set AWS_DEFAULT_REGION (source, environment or --region)")
    if isinstance(error, SSLError):
        return Failure(Outcome.REFUSED, _distrusted(str(error.kwargs.get("error")), asked))
    if isinstance(error, ProxyConnectionError):
        return _proxy_failure(error, asked)
    if isinstance(error, ParamValidationError):
        return Failure(Outcome.REFUSED, "AWS's client found the request invalid; check names, role_arn and region")
    if isinstance(error, NotDynamoDBError):
        return Failure(Outcome.UNKNOWN, f"something other than DynamoDB answers at {asked}; check endpoint_url and proxies")
    if isinstance(error, DNS_OR_REFUSED):
        # Imported on first use: most processes are a check that reaches its table.
        from approval_resource.store.dynamodb.regions import unknown_region

        move = unknown_region(asked) or "check endpoint_url, region and network"
        return Failure(Outcome.BUSY, f"can't reach {asked}; {move}")
    if isinstance(error, BotoCoreError):
        return Failure(Outcome.UNKNOWN, f"{asked} broke off its answer; try again")
    raise TypeError(f"not an error of botocore: {type(error).__name__}") from error


def _distrusted(text: str, asked: str) -> str:
    """Return why TLS failed with `asked`. Of OpenSSL's text, only its plain words are repeated."""
    if any(word in text for word in PLAIN):
        return f"{asked} speaks no TLS; check endpoint_url, maybe it is http://"
    if "doesn't match" in text or "mismatch" in text:
        return f"{asked} has a certificate for another host; check endpoint_url, and whether a proxy intercepts TLS"
    why = VERIFY.search(text)
    trusted = next((name for name in ("AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE") if os.environ.get(name)), "")
    move = f"only {trusted} and source.ca_certs are trusted" if trusted else "give its CA in source.ca_certs or SSL_CERT_FILE"
    return f"{asked} has no certificate this machine trusts ({why[1].strip() if why else 'TLS failed'}); {move}"


def _proxy_failure(error: ProxyConnectionError, asked: str) -> Failure:
    """Return the failure of a proxy that was not reached, or did not let the request through.

    Nothing was sent to AWS.
    """
    tunnel = TUNNEL.search(str(error.kwargs.get("error")))
    if not tunnel:
        return Failure(Outcome.BUSY, f"can't reach {asked}: no proxy answers there; check its address, or set NO_PROXY")
    status = int(tunnel[1])
    told = f"{status} {HTTPStatus(status).phrase}" if status in set(HTTPStatus) else str(status)
    if status == HTTPStatus.PROXY_AUTHENTICATION_REQUIRED:
        return Failure(Outcome.REFUSED, f"can't reach {asked}: it wants another user and password ({told}); correct them")
    outcome = Outcome.REFUSED if status < HTTPStatus.INTERNAL_SERVER_ERROR else Outcome.BUSY
    return Failure(outcome, f"can't reach {asked}: it refuses ({told}); have it let this host through, or set NO_PROXY")


def _role_failure(error: RoleError) -> Failure:
    """Return the failure to assume a role. The request itself was not made, because the role comes first."""
    cause: Any = error.__cause__
    if isinstance(cause, ClientError):
        failure = _denied(cause) or _answered(cause, "", "STS")
    elif isinstance(cause, BotoCoreError):
        failure = classify(cause, table="", endpoint="STS")
    elif isinstance(cause, ValueError) and "@" not in str(cause):
        failure = Failure(Outcome.REFUSED, f"AWS's settings can't be used: {cause}")
    else:
        failure = Failure(
            Outcome.BUSY, f"AWS's answer could not be used ({type(cause).__name__}); check the address of STS and proxies"
        )
    outcome = failure.outcome if failure.outcome in (Outcome.REFUSED, Outcome.RENEW) else Outcome.BUSY
    return Failure(outcome, f"{error}: {failure.message}")


def _denied(error: ClientError) -> Failure | None:
    """Return the failure when STS denies the role or doesn't know it, or None for any other error."""
    details = error.response.get("Error", {})
    if details.get("Code") not in DENIED:
        return None
    move = "its trust policy must name that caller, with external_id where it asks for one; the caller needs sts:AssumeRole"
    return Failure(Outcome.REFUSED, f"{details.get('Message') or details['Code']}; {move}")


def _answered(error: ClientError, table: str, service: str) -> Failure:
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
        return Failure(Outcome.ABSENT, f"table {table} doesn't exist at {service.removeprefix('DynamoDB at ')}")
    if code in CREDENTIALS:
        return Failure(Outcome.REFUSED, f"AWS refused these credentials ({code}); check the keys")
    if code in DENIED:
        return Failure(Outcome.REFUSED, f"this role may not do that: {text or code}; see the README's IAM policies")
    if code == "ValidationException":
        return _invalid(text, table)
    if code in UNKNOWN or status >= 500:
        return Failure(Outcome.UNKNOWN, f"{service} failed ({code or status}); try again")
    return Failure(Outcome.REFUSED, f"{service} refused the request ({code or status})")


def _cancelled(error: ClientError, table: str) -> Failure:
    """Return the failure of a transaction. Of its items' reasons, one that no retry can mend goes first."""
    reasons = error.response.get("CancellationReasons") or []
    codes = {reason.get("Code", "") for reason in reasons} - {"None", ""}
    if not codes:
        # An engine that leaves the list out still names the codes in its text.
        text = error.response.get("Error", {}).get("Message", "")
        codes = {code for code in CONTENDED | BUSY | {"ValidationError", "ItemCollectionSizeLimitExceeded"} if code in text}
    if "ItemCollectionSizeLimitExceeded" in codes:
        return Failure(Outcome.REFUSED, "the pool has reached DynamoDB's 10 GB for one pool; use another pool")
    if "ValidationError" in codes:
        return _invalid(" ".join(reason.get("Message") or "" for reason in reasons), table)
    if "AccessDenied" in codes:
        return Failure(Outcome.REFUSED, "this role may not write that; see the README's IAM policies")
    if codes & BUSY:
        return Failure(Outcome.BUSY, f"DynamoDB is throttling table {table}; try again, or raise its limits")
    if codes and codes <= CONTENDED:
        return Failure(Outcome.CONTENDED, f"table {table} is much in use; try again")
    return Failure(Outcome.UNKNOWN, f"DynamoDB cancelled the write to table {table} and gave no reason; try again")


def _invalid(text: str, table: str) -> Failure:
    if any(words in text for words in OTHER_KEYS):
        return Failure(
            Outcome.REFUSED,
            f"table {table} has other keys or indexes than this program's tables; name another, see {called()} init",
        )
    if any(words in text for words in TOO_LARGE):
        return Failure(
            Outcome.REFUSED,
            "what is to be stored is larger than DynamoDB takes (400 KB an item, 4 MB in all); use attach_digest for large files",
        )
    return Failure(Outcome.REFUSED, f"DynamoDB found the request invalid: {text}")
