"""What goes over the wire is what botocore's whole session would send, though ours loads a part of it."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.config import Config
from botocore.handlers import BUILTIN_HANDLERS
from botocore.session import Session

from approval_resource.store.dynamodb.connect import SERVICES, session_of
from approval_resource.store.interface import Connection

CONNECTION = Connection(region="eu-west-1", access_key_id="a", secret_access_key="bbbbbb")
KEY = {"pk": {"S": "a"}, "sk": {"S": "b"}}
PUT = {"Put": {"TableName": "table", "Item": KEY}}
CALLS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "get_item": ("dynamodb", "get_item", {"TableName": "table", "Key": KEY, "ConsistentRead": True}),
    "batch_get_item": ("dynamodb", "batch_get_item", {"RequestItems": {"table": {"Keys": [KEY]}}}),
    "transact_write_items": ("dynamodb", "transact_write_items", {"TransactItems": [PUT], "ClientRequestToken": "token"}),
    "query": ("dynamodb", "query", {"TableName": "table", "KeyConditionExpression": "pk = :a"}),
    "get_caller_identity": ("sts", "get_caller_identity", {}),
    "assume_role": ("sts", "assume_role", {"RoleArn": "arn:aws:iam::123456789012:role/a", "RoleSessionName": "me"}),
    "assume_role_with_web_identity": (
        "sts",
        "assume_role_with_web_identity",
        {"RoleArn": "arn:aws:iam::123456789012:role/a", "RoleSessionName": "me", "WebIdentityToken": "token"},
    ),
}
OWN = ("Authorization", "X-Amz-Date", "amz-sdk-invocation-id", "User-Agent")
"""Headers that differ from one request to the next; of the first only whether it is there."""


class Sent(Exception):
    """A request that was about to go out."""

    def __init__(self, request: Any) -> None:
        self.request = request


def sent(session: Session, call: str) -> dict[str, Any]:
    """Where that call's request would have gone, and with what."""
    service, method, arguments = CALLS[call]
    client = session.create_client(service, region_name="eu-west-1", config=Config(retries={"total_max_attempts": 1}))

    def hold(request: Any, **_: object) -> None:
        raise Sent(request)

    client.meta.events.register("before-send", hold)
    with pytest.raises(Sent) as caught:
        getattr(client, method)(**arguments)
    request = caught.value.request
    headers = {name: value for name, value in request.headers.items() if name not in OWN}
    return {"url": request.url, "body": request.body, "signed": "Authorization" in request.headers, "headers": headers}


@pytest.mark.parametrize("call", CALLS)
def test_the_same_request_goes_out(call: str) -> None:
    """Address, body, headers, and whether it is signed: a web identity's isn't."""
    whole = Session()
    whole.set_credentials("a", "bbbbbb")
    found = sent(session_of(CONNECTION), call)
    assert found == sent(whole, call)
    assert found["signed"] == (call != "assume_role_with_web_identity")


def test_no_handler_that_concerns_us_is_left_out() -> None:
    """Those that are name another service, or botocore's own documentation."""
    events = [handler[0].split(".") for handler in BUILTIN_HANDLERS]
    ours = [event for event in events if event[0] != "docs" and (len(event) == 1 or event[1] in SERVICES)]
    assert 5 < len(ours) < len(events) / 2


def test_models_of_one_s_own_are_still_looked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where AWS_DATA_PATH says, before botocore's own."""
    monkeypatch.setenv("AWS_DATA_PATH", "/models/of/mine")
    assert session_of(CONNECTION).get_component("data_loader").search_paths[0] == "/models/of/mine"
