"""Lock store in one DynamoDB table."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from approval_resource.clock import Clock, HostClock, StoreClock
from approval_resource.store.dynamodb.connect import dynamodb, session_of
from approval_resource.store.dynamodb.reads import DynamoReads
from approval_resource.store.dynamodb.requests import Requests
from approval_resource.store.interface import Committed, Connection, Finding

if TYPE_CHECKING:
    from approval_resource.model.lock import Lock, Turn
    from approval_resource.store.dynamodb.commits import Commits
    from approval_resource.store.dynamodb.outbox import DynamoOutbox
    from approval_resource.store.dynamodb.turns import Turns
    from approval_resource.store.transaction import Commit, ReadSet, Snapshot


class DynamoStore(DynamoReads):
    """Implementation of `LockStore` on DynamoDB. The docstrings of `LockStore` hold its promises."""

    def __init__(
        self,
        client: Any,
        table_name: str,
        *,
        clock: Clock | None = None,
        store_clock: StoreClock | None = None,
        renew: Callable[[], Any] | None = None,
        creates: bool = False,
    ) -> None:
        """Use `client`. `renew` and `creates` are as for `Requests`."""
        self._client = client
        self._table = table_name
        super().__init__(Requests(client, table_name, clock or HostClock(), store_clock, renew, creates))

    @classmethod
    def connect(
        cls,
        connection: Connection,
        *,
        clock: Clock | None = None,
        store_clock: StoreClock | None = None,
        creates: bool = False,
    ) -> DynamoStore:
        """Return the store behind that connection. This makes no request to DynamoDB.

        If `creates` is set, a request that finds no table creates it. Otherwise none does.

        Raises:
            ConfigError, StoreUnavailableError: the connection can't work.
        """

        def client() -> Any:
            return dynamodb(session_of(connection), connection)

        return cls(client(), connection.table, clock=clock, store_clock=store_clock, renew=client, creates=creates)

    def create_table(self) -> bool:
        """See `Requests.create_table`."""
        return self._requests.create_table()

    def examine(self) -> list[Finding]:
        """Return the findings on the table and on this caller's permissions. Nothing is changed."""
        from approval_resource.store.dynamodb.examination import examine

        return examine(self._client, self._table)

    def commit(self, read: ReadSet, decide: Callable[[Snapshot], Commit], operation: str) -> Committed:
        """See `LockStore.commit`."""
        return self._commits.commit(read, decide, operation)

    def requeue(self, pool: str, lock_name: str, change: Callable[[Lock, datetime], Lock]) -> Lock:
        """See `LockStore.requeue`."""
        return self._commits.requeue(pool, lock_name, change)

    def show_turn(self, lock: Lock, seen: Turn | None) -> None:
        """See `LockStore.show_turn`."""
        self._turns.show(lock, seen)

    def answer_roll(self, turn: Turn, round_: int, ticket: int) -> None:
        """See `LockStore.answer_roll`."""
        self._turns.answer(turn, round_, ticket)

    @property
    def _turns(self) -> Turns:
        from approval_resource.store.dynamodb.turns import Turns

        return Turns(self, self._requests, self._table)

    def revoke(self, session: str) -> None:
        """Mark a session of the reviewers' service as ended, for all of its processes."""
        self._commits.revoke(session)

    def keep_signed(self, subject: str, text: str, life: timedelta) -> None:
        """Keep a text that the reviewers' service signed, for `life` at most."""
        self._commits.keep_signed(subject, text, life)

    @property
    def outbox(self) -> DynamoOutbox:
        """The channels' progress and deliveries, in the same table."""
        from approval_resource.store.dynamodb.outbox import DynamoOutbox

        return DynamoOutbox(self._requests, self._table)

    @property
    def _commits(self) -> Commits:
        # Imported on first use: most processes are a check, which only reads.
        from approval_resource.store.dynamodb.commits import Commits

        return Commits(self, self._requests, self._table)
