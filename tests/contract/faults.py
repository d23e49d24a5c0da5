"""Faults between the store and its engine: refusals before a request leaves, and answers that get lost."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from botocore.awsrequest import AWSResponse
from botocore.exceptions import EndpointConnectionError, ReadTimeoutError

from approval_resource.store.dynamodb.store import DynamoStore

Fault = Callable[[Any], Any]


@dataclass
class Faults:
    """What shall go wrong with one operation's next requests, in order; after that all is well."""

    operation: str
    pending: list[Fault] = field(default_factory=list)
    seen: int = 0

    @classmethod
    def on(cls, store: DynamoStore, operation: str, *faults: Fault) -> Faults:
        """Let the store's next requests of `operation` (such as TransactWriteItems) meet these faults."""
        planned = cls(operation, list(faults))

        def hooked(client: Any) -> Any:
            client.meta.events.register_first(f"before-send.dynamodb.{operation}", planned._send)
            return client

        hooked(store._client)
        renew = store._requests._renew
        if renew is not None:
            store._requests._renew = lambda: hooked(renew())
        return planned

    def _send(self, request: Any, **_: object) -> Any:
        self.seen += 1
        return self.pending.pop(0)(request) if self.pending else None


class Body:
    """A response's body as botocore reads it."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    def stream(self, *_: object, **__: object) -> Any:
        yield self._content

    def read(self, *_: object) -> bytes:
        return self._content


def answers(status: int, code: str, message: str = "", **more: object) -> Fault:
    """The request never reaches the engine; this error comes back instead."""

    def fault(request: Any) -> AWSResponse:
        body = {"__type": f"com.amazonaws.dynamodb.v20120810#{code}", "message": message, "Message": message} | more
        headers = {
            "content-type": "application/x-amz-json-1.0",
            "date": "Sat, 21 Nov 2026 12:00:00 GMT",
            "x-amzn-requestid": "INJECTED",
        }
        return AWSResponse(request.url, status, headers, Body(json.dumps(body).encode()))

    return fault


def cancelled(*codes: str, message: str = "") -> Fault:
    """The transaction is cancelled for these reasons, one an item."""
    reasons = [{"Code": code, "Message": message} for code in codes]
    text = f"Transaction cancelled, please refer cancellation reasons for specific reasons [{', '.join(codes)}]"
    return answers(400, "TransactionCanceledException", text, CancellationReasons=reasons)


def before(act: Callable[[], object]) -> Fault:
    """Something else happens first; then the request goes its way."""

    def fault(_: Any) -> None:
        act()

    return fault


def unreachable(request: Any) -> AWSResponse:
    """No connection comes about."""
    raise EndpointConnectionError(endpoint_url=request.url)


def times_out(request: Any) -> AWSResponse:
    """The request is lost on its way."""
    raise ReadTimeoutError(endpoint_url=request.url)


def answer_lost(send: Callable[[Any], object]) -> Fault:
    """The engine does what it was asked for, and its answer is lost."""

    def fault(request: Any) -> AWSResponse:
        send(request)
        raise ReadTimeoutError(endpoint_url=request.url)

    return fault


def delivery(store: DynamoStore) -> Callable[[Any], object]:
    """Sends a prepared request to the store's engine."""
    send: Callable[[Any], object] = store._client._endpoint.http_session.send
    return send
