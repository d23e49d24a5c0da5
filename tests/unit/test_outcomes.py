"""The table of outcomes, where no request is needed to see it."""

from __future__ import annotations

import pytest
from botocore import exceptions as aws

from approval_resource.store.dynamodb import outcomes
from approval_resource.store.dynamodb.outcomes import Outcome, classify

ENDPOINT = "https://dynamodb.eu-west-1.amazonaws.com"
CASES = [
    (aws.NoCredentialsError(), Outcome.REFUSED, "no AWS credentials were found"),
    (aws.PartialCredentialsError(provider="env", cred_var="x"), Outcome.REFUSED, "no AWS credentials"),
    (aws.CredentialRetrievalError(provider="x", error_msg="canary"), Outcome.REFUSED, "no AWS credentials"),
    (aws.NoRegionError(), Outcome.REFUSED, "region"),
    (aws.SSLError(endpoint_url=ENDPOINT, error="x"), Outcome.REFUSED, "certificate"),
    (aws.EndpointConnectionError(endpoint_url="https://sts.example"), Outcome.BUSY, "can't reach https://sts.example"),
    (aws.ConnectTimeoutError(endpoint_url=ENDPOINT), Outcome.BUSY, "can't reach"),
    (aws.ReadTimeoutError(endpoint_url=ENDPOINT), Outcome.UNKNOWN, "broke off"),
    (aws.ConnectionClosedError(endpoint_url=ENDPOINT), Outcome.UNKNOWN, "broke off"),
    (aws.HTTPClientError(error="canary"), Outcome.UNKNOWN, "broke off"),
]


def refused(code: str, message: str = "", status: int = 400, **more: object) -> aws.ClientError:
    """DynamoDB's error with that code."""
    response = {"Error": {"Code": code, "Message": message}, "ResponseMetadata": {"HTTPStatusCode": status}} | more
    return aws.ClientError(response, "TransactWriteItems")


def test_the_table_has_a_line_for_each_outcome() -> None:
    """In the order of the outcomes, with three cells: prose that is wrapped anew would run the rows into each other."""
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in (outcomes.__doc__ or "").splitlines() if "|" in line]
    assert {len(row) for row in rows} == {3}
    assert [name for name, *_ in rows[2:]] == [outcome.name for outcome in Outcome]


@pytest.mark.parametrize(("error", "outcome", "words"), CASES, ids=lambda value: type(value).__name__)
def test_what_happens_before_an_answer(error: Exception, outcome: Outcome, words: str) -> None:
    """A request that can't be made, or was cut off, is told with its address and the next move, never with botocore's text."""
    failure = classify(error, table="t", endpoint=ENDPOINT)
    assert failure.outcome is outcome
    assert words in failure.message
    assert "canary" not in failure.message
    assert "\n" not in failure.message


def test_a_cancellation_without_its_list_is_read_from_its_text() -> None:
    """Some engines name the reasons only in words."""
    error = refused("TransactionCanceledException", "cancelled, reasons [None, ConditionalCheckFailed]")
    assert classify(error, table="t", endpoint=ENDPOINT).outcome is Outcome.CONTENDED


def test_the_most_final_reason_counts() -> None:
    """A transaction that is contended and invalid at once is invalid: trying again would never end."""
    reasons = [{"Code": "ConditionalCheckFailed"}, {"Code": "ValidationError", "Message": "Item size has exceeded"}]
    error = refused("TransactionCanceledException", CancellationReasons=reasons)
    assert classify(error, table="t", endpoint=ENDPOINT).outcome is Outcome.REFUSED


def test_a_cancellation_names_the_writes_that_met_others() -> None:
    """By their index; no other error names any."""
    reasons = [{"Code": "ConditionalCheckFailed"}, {"Code": "None"}, {"Code": "TransactionConflict"}, {}]
    error = refused("TransactionCanceledException", CancellationReasons=reasons)
    assert outcomes.refused(error) == {0, 2}
    assert outcomes.refused(refused("ThrottlingException")) == outcomes.refused(ValueError()) == frozenset()


def test_any_server_error_leaves_the_outcome_open() -> None:
    """Whatever its code: the write may have happened."""
    assert classify(refused("Surprise", status=502), table="t", endpoint=ENDPOINT).outcome is Outcome.UNKNOWN


def test_what_is_not_botocores_is_not_explained_away() -> None:
    """A mistake in this program keeps its traceback."""
    with pytest.raises(TypeError):
        classify(KeyError("x"), table="t", endpoint=ENDPOINT)
