"""Turns: the small item beside a lock by which its waiters learn whose turn it is."""

from __future__ import annotations

import logging
from typing import Any

from approval_resource.documents.locks import TURN, turn_of
from approval_resource.errors import ApprovalError
from approval_resource.model.claim import Claim
from approval_resource.model.lock import Lock, Turn
from approval_resource.store.dynamodb import keys
from approval_resource.store.dynamodb.outcomes import Outcome
from approval_resource.store.dynamodb.reads import DynamoReads
from approval_resource.store.dynamodb.requests import RequestFailedError, Requests
from approval_resource.store.dynamodb.values import values

log = logging.getLogger(__name__)

CALL = ("call", "present")
"""Entries of roll calls. An update keeps them: `call` names the lock's state, so a roll call for an
earlier state counts for nothing. A whole write resets them."""


class Turns:
    """Writes of hints, which are no evidence.

    A write that fails outside a transaction neither ends a step nor is retried.
    """

    def __init__(self, reads: DynamoReads, requests: Requests, table: str) -> None:
        """Write to `table` through `requests`."""
        self._reads = reads
        self._requests = requests
        self._table = table

    def transaction_write(self, lock: Lock, holder: Claim | None) -> dict[str, Any]:
        """Return the hint's write in a transaction. It has no condition, so a hint refuses no commit."""
        return {"Update": self._update(turn_of(lock, holder))}

    def after(self, lock: Lock) -> None:
        """Write the hint after a change of the queue, unless a newer one is there."""
        self._show(lock, "attribute_not_exists(pk) OR #revision < :revision", {})

    def show(self, lock: Lock, seen: Turn | None) -> None:
        """See `LockStore.show_turn`."""
        if seen is None:
            self._show(lock, "", {}, whole=True)
        else:
            self._show(lock, "#revision = :seen", {":seen": seen.revision})

    def answer(self, turn: Turn, round_: int, ticket: int) -> None:
        """See `LockStore.answer_roll`."""
        call = f"{turn.roll}/{round_}"
        again = call == turn.call
        self._try(
            {
                "TableName": self._table,
                "Key": keys.turn_key(turn.pool, turn.lock_name),
                "UpdateExpression": f"SET #call = :call, #present = {'list_append(#present, :me)' if again else ':me'}",
                "ConditionExpression": "#call = :seen",
                "ExpressionAttributeNames": {"#call": "call", "#present": "present"},
                "ExpressionAttributeValues": values({":call": call, ":me": [ticket], ":seen": turn.call}),
            }
        )

    def _show(self, lock: Lock, condition: str, more: dict[str, object], *, whole: bool = False) -> None:
        try:
            holder = self._reads.claim(lock.holder) if lock.holder else None
        except ApprovalError as unknown:
            log.debug("the turn of lock %s is not told: %s", lock.name, unknown)
            return
        update = self._update(turn_of(lock, holder), whole=whole)
        if condition:
            update |= {"ConditionExpression": condition}
            update["ExpressionAttributeNames"] |= {"#revision": "revision"}
            update["ExpressionAttributeValues"] |= values(more)
        self._try(update)

    def _update(self, turn: Turn, *, whole: bool = False) -> dict[str, Any]:
        document = TURN.write(turn)
        told = [f"#{name} = :{name}" for name in document if whole or name not in CALL]
        kept = [] if whole else [f"#{name} = if_not_exists(#{name}, :{name})" for name in CALL]
        return {
            "TableName": self._table,
            "Key": keys.turn_key(turn.pool, turn.lock_name),
            "UpdateExpression": f"SET {', '.join(told + kept)}",
            "ExpressionAttributeNames": {f"#{name}": name for name in document},
            "ExpressionAttributeValues": values({f":{name}": value for name, value in document.items()}),
        }

    def _try(self, update: dict[str, Any]) -> None:
        try:
            self._requests.call("update_item", **update)
        except RequestFailedError as failed:
            if failed.failure.outcome is not Outcome.CONTENDED:
                log.debug("a turn is not told: %s", failed)
