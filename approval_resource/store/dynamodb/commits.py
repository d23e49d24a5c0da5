"""Commits: the one way to change anything in the table."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from approval_resource.documents.claims import CLAIM
from approval_resource.documents.events import EVENT, HEAD
from approval_resource.documents.locks import BUILD_RECORD, LOCK, queue_document
from approval_resource.documents.settings import SETTINGS
from approval_resource.errors import CorruptRecordError
from approval_resource.model.claim import Claim
from approval_resource.model.event import Event, Head, Kind
from approval_resource.model.lock import BuildRecord, Lock
from approval_resource.model.settings import Settings
from approval_resource.store.dynamodb import items, keys
from approval_resource.store.dynamodb.outcomes import Failure, Outcome
from approval_resource.store.dynamodb.reads import DynamoReads, maybe
from approval_resource.store.dynamodb.requests import RequestFailedError, Requests
from approval_resource.store.dynamodb.retries import RetryBudget
from approval_resource.store.dynamodb.turns import Turns
from approval_resource.store.dynamodb.values import Item, values
from approval_resource.store.evidence import Evidence, contradiction, newest_of_claims, require_provable
from approval_resource.store.interface import Committed, require_identity
from approval_resource.store.transaction import Commit, Plan, ReadSet, Snapshot, plan

log = logging.getLogger(__name__)

COMMIT_SECONDS = 60.0
"""Seconds that a change may take after the newest change by others, failures included."""

LOCK_WRITE = 1
"""Index of the lock's write in a transaction; the head's write comes before it."""


class Proofs:
    """Evidence from the log for the snapshots of one commit.

    The log is not read again for a snapshot that says the same as the last proven one.
    """

    def __init__(self, reads: DynamoReads, budget: RetryBudget) -> None:
        """Read the log within `budget`."""
        self._reads = reads
        self._budget = budget
        self._proven: object = None
        self.evidence = Evidence()

    def fault(self, snapshot: Snapshot) -> CorruptRecordError | None:
        """Return the contradiction between the log and the snapshot, or None."""
        lock = snapshot.lock
        subject = (replace(lock, queue=(), tickets=0, revision=0), snapshot.claims, snapshot.settings, snapshot.head.settings)
        if subject == self._proven:
            return None
        self.evidence = self._look(snapshot)
        found = contradiction(snapshot, self.evidence)
        self._proven = None if found else subject
        return found

    def forget(self) -> None:
        """Read the log again at the next look, even if the snapshot says the same as the last proven one."""
        self._proven = None

    def _look(self, snapshot: Snapshot) -> Evidence:
        lock, pool = snapshot.lock, snapshot.head.pool
        claims = {claim.id: claim for claim in snapshot.claims.values() if (claim.pool, claim.lock_name) == (pool, lock.name)}
        begins = [lock.event_at, *(claim.event_at for claim in claims.values())]
        since = [at for at in begins if at is not None]
        tail = list(self._events(lock.name, pool, since=min(since))) if since else []
        newest = newest_of_claims(tail, set(claims))
        if not tail or newest.keys() != claims.keys():
            # Items of older releases don't name their newest event. Very old ones may have no event left.
            for event in self._events(lock.name, pool, newest_first=True):
                tail = tail or [event]
                if event.claim_id in claims:
                    newest.setdefault(event.claim_id, event)
                if newest.keys() == claims.keys():
                    break
        of_pool = self._events("", pool, newest_first=True) if lock.name else reversed(tail)
        settings = next((event for event in of_pool if event.kind is Kind.SETTINGS), None)
        return Evidence(lock=tail[-1] if tail else None, settings=settings, claims=newest)

    def _events(
        self, lock_name: str, pool: str, *, since: datetime | None = None, newest_first: bool = False
    ) -> Iterator[Event]:
        records = self._reads.stored(pool, lock_name=lock_name, since=since, newest_first=newest_first, budget=self._budget)
        return (EVENT.read(record.document) for record in records)


class Commits:
    """Commits to one table, and changes of queues, which have no event."""

    def __init__(self, reads: DynamoReads, requests: Requests, table: str) -> None:
        """Change `table` through `requests`."""
        self._reads = reads
        self._requests = requests
        self._table = table
        self._turns = Turns(reads, requests, table)

    def commit(self, read: ReadSet, decide: Callable[[Snapshot], Commit], operation: str) -> Committed:
        """See `LockStore.commit`."""
        budget = self._requests.budget(COMMIT_SECONDS)
        uncertain_since: Head | None = None
        proofs = Proofs(self._reads, budget)
        snapshot: Snapshot | None = None
        while True:
            budget.start_try()
            before, snapshot = snapshot, self._snapshot(read, budget, snapshot)
            if before is not None and before.head != snapshot.head:
                budget.restart()
            if (fault := proofs.fault(snapshot)) is not None:
                # A commit in flight looks like tampering. Real tampering is still there at the next look.
                if not budget.look_again():
                    raise fault
                continue
            if uncertain_since is not None and (landed := self._landed(read, snapshot, uncertain_since, operation, budget)):
                return landed
            wanted = budget.run_untimed(decide, snapshot)
            if wanted.nothing:
                if wanted.spends and (failed := self._spend(wanted.spends, snapshot)) is not None:
                    self._requests.again(failed, budget)
                    continue
                return Committed(snapshot)
            try:
                require_provable(snapshot, proofs.evidence, (change.claim for change in wanted.changes))
            except CorruptRecordError:
                if not budget.look_again():
                    raise
                proofs.forget()
                continue
            budget.reset_looks()
            planned = plan(snapshot, wanted, operation)
            try:
                self._requests.call("transact_write_items", TransactItems=self._writes(read, snapshot, planned))
            except RequestFailedError as failed:
                if failed.failure.outcome is Outcome.UNKNOWN and uncertain_since is None:
                    uncertain_since = snapshot.head
                spread = not wanted.urgent and LOCK_WRITE not in failed.refused
                self._requests.again(failed.failure, budget, spread=spread)
            else:
                self._retire(planned.claims, planned.keep)
                return Committed(_after(snapshot, planned), planned.events)

    def _spend(self, link: str, snapshot: Snapshot) -> Failure | None:
        """Mark as used a link whose verdict changed nothing. Return the failure, or None for success."""
        put = self._put(items.link_item(link, snapshot.now), 0)["Put"]
        try:
            self._requests.call("put_item", **put)
        except RequestFailedError as failed:
            return failed.failure
        return None

    def _retire(self, claims: Iterable[Claim], keep: timedelta | None) -> None:
        """Set the TTL of the contents of ended claims. If that fails, they are kept for ever.

        This is not part of the transaction. Ending a claim must never be harder than making it, and its
        contents may fill a transaction. A failure is not retried, because a release must not wait for it.
        """
        for claim in claims:
            ttl = items.time_to_live(claim.ended.at, keep) if claim.ended else {}
            try:
                for name in claim.contents if ttl else ():
                    self._requests.call(
                        "update_item",
                        TableName=self._table,
                        Key=keys.content_key(claim.id, name),
                        UpdateExpression="SET #ttl = if_not_exists(#ttl, :ttl)",
                        ConditionExpression="attribute_exists(pk)",
                        ExpressionAttributeNames={"#ttl": "ttl"},
                        ExpressionAttributeValues={":ttl": ttl["ttl"]},
                    )
            except RequestFailedError as failed:
                log.warning("payload or attachments of claim %s are kept for ever: %s", claim.id, failed)

    def requeue(self, pool: str, lock_name: str, change: Callable[[Lock, datetime], Lock]) -> Lock:
        """See `LockStore.requeue`."""
        budget = self._requests.budget(COMMIT_SECONDS)
        revision = -1
        while True:
            found = self._requests.get([keys.lock_key(pool, lock_name)], budget)[0]
            before = require_identity(maybe(LOCK.read, found), pool=pool, name=lock_name) or Lock(pool=pool, name=lock_name)
            if revision not in (-1, before.revision):
                budget.restart()
            revision = before.revision
            after = change(before, self._requests.now())
            if after is before or before.revision == 0:
                return before
            after = replace(after, revision=before.revision + 1)
            written = values({"queue": queue_document(after), "tickets": after.tickets, "revision": after.revision})
            unchanged = if_unchanged(before.revision)
            try:
                self._requests.call(
                    "update_item",
                    TableName=self._table,
                    Key=keys.lock_key(pool, lock_name),
                    UpdateExpression="SET #queue = :queue, #tickets = :tickets, #revision = :after",
                    ConditionExpression=unchanged["ConditionExpression"],
                    ExpressionAttributeNames={"#queue": "queue", "#tickets": "tickets", "#revision": "revision"},
                    ExpressionAttributeValues={
                        ":queue": written["queue"],
                        ":tickets": written["tickets"],
                        ":after": written["revision"],
                        **unchanged["ExpressionAttributeValues"],
                    },
                )
            except RequestFailedError as failed:
                # Retry soon: many builds that join a queue at once must not leave a free lock idle.
                self._requests.again(failed.failure, budget, spread=False)
            else:
                self._turns.after(after)
                return after

    def revoke(self, session: str) -> None:
        """See `DynamoStore.revoke`."""
        budget = self._requests.budget()
        item = items.session_item(session, self._requests.now())
        self._requests.ask("put_item", budget, TableName=self._table, Item=item)

    def keep_signed(self, subject: str, text: str, life: timedelta) -> None:
        """See `DynamoStore.keep_signed`."""
        item = items.signed_item(subject, text, self._requests.now(), life)
        self._requests.ask("put_item", self._requests.budget(), TableName=self._table, Item=item)

    def _landed(
        self, read: ReadSet, after: Snapshot, uncertain_since: Head, operation: str, budget: RetryBudget
    ) -> Committed | None:
        """Return what this operation committed since `uncertain_since`, once all of it is visible, or None.

        The log is the proof, because nobody can overwrite it. An attempt still in flight can't land after
        the next one, because both are conditional on the same head. `after` is a snapshot from before.

        Raises:
            CorruptRecordError: parts of it stay out of sight.
        """
        looked = False
        while True:
            records = self._reads.stored(uncertain_since.pool, since=uncertain_since.timestamp, budget=budget)
            events = [record.document for record in records]
            # Events of others aren't parsed: one that can't be trusted says nothing against this commit.
            written = tuple(EVENT.read(event) for event in events if event.get("operation") == operation)
            if not written:
                return None
            if not looked:
                budget.reset_looks()
                looked = True
            changed_ids = {event.claim_id for event in written} - {""}
            others = self._reads.claims_within(sorted(changed_ids - after.claims.keys()), budget)
            after = replace(after, claims={**after.claims, **{claim.id: claim for claim in others}})
            revisions = [event.get("revision") for event in events]
            if _is_whole(written, [uncertain_since.revision, *revisions], after):
                self._retire((after.claims[id_] for id_ in changed_ids), after.settings.retention)
                return Committed(after, written)
            if not budget.look_again():
                raise CorruptRecordError(f"the log of pool {read.pool}", f"it shows only parts of operation {operation}")
            after = self._snapshot(read, budget)

    def _snapshot(self, read: ReadSet, budget: RetryBudget, before: Snapshot | None = None) -> Snapshot:
        """Read until all items belong to one moment. The first request also reads the claims of `before`."""
        while True:
            snapshot = self._look(read, budget, before)
            if snapshot.is_whole and not snapshot.lacks_record:
                return snapshot
            if not budget.look_again():
                break
        if snapshot.is_whole:
            return snapshot  # the record may be gone by its age
        what = f'lock "{read.lock_name}" in pool "{read.pool}"'
        raise CorruptRecordError(what, "the lock, its claims and the pool's settings contradict each other")

    def _look(self, read: ReadSet, budget: RetryBudget, before: Snapshot | None) -> Snapshot:
        wanted = [keys.head_key(read.pool), keys.lock_key(read.pool, read.lock_name), keys.settings_key(read.pool)]
        if read.claim_id:
            wanted.append(keys.claim_key(read.claim_id))
        if read.build_key:
            wanted.append(keys.build_key(read.build_key, read.pool, read.lock_name))
        again = sorted(before.claims.keys() - {read.claim_id}) if before is not None else []
        link = [keys.link_key(read.link)] if read.link else []
        found = self._requests.get([*link, *wanted, *(keys.claim_key(id_) for id_ in again)], budget)
        link_spent = found.pop(0) is not None if link else False
        claims_again = dict(zip(again, found[len(wanted) :], strict=True))
        head = require_identity(maybe(HEAD.read, found[0]), pool=read.pool) or Head(pool=read.pool)
        lock = require_identity(maybe(LOCK.read, found[1]), pool=read.pool, name=read.lock_name) or Lock(
            pool=read.pool, name=read.lock_name
        )
        settings = require_identity(maybe(SETTINGS.read, found[2]), pool=read.pool) or Settings(pool=read.pool)
        asked = require_identity(maybe(CLAIM.read, found[3]), id=read.claim_id) if read.claim_id else None
        own = {"key": read.build_key, "pool": read.pool, "lock_name": read.lock_name}
        build = require_identity(maybe(BUILD_RECORD.read, found[len(wanted) - 1]), **own) if read.build_key else None
        others = {lock.holder, build.made if build else "", build.passed if build else ""} - {"", read.claim_id}
        there = [require_identity(maybe(CLAIM.read, claims_again[id_]), id=id_) for id_ in again if id_ in others]
        known = self._reads.claims_within(sorted(others - claims_again.keys()), budget)
        claims = {claim.id: claim for claim in (*there, *known, asked) if claim is not None}
        if read.build_key and build is None:
            build = BuildRecord(key=read.build_key, pool=read.pool, lock_name=read.lock_name)
        return Snapshot(
            now=self._requests.now(),
            head=head,
            lock=lock,
            settings=settings,
            build=build,
            claims=claims,
            link_spent=link_spent,
        )

    def _writes(self, read: ReadSet, snapshot: Snapshot, planned: Plan) -> list[dict[str, Any]]:
        """Return the writes and condition checks of the transaction.

        The head's, the lock's and each claim's are conditional on what was read, so the transaction fails if
        any of that has changed. Contents are new, and the turn is a hint: these two have no condition.
        """
        before = dict(snapshot.claims)
        writes = [
            self._put(items.head_item(planned.head), snapshot.head.revision),
            self._put(items.lock_item(planned.lock), snapshot.lock.revision),
            *(
                self._put(items.claim_item(claim, planned.keep), before[claim.id].revision if claim.id in before else 0)
                for claim in planned.claims
            ),
            *(self._put(items.event_item(event, planned.keep), 0) for event in planned.events),
        ]
        written = {claim.id for claim in planned.claims}
        # No condition: nothing named the content before, so whatever lies there was planted, and must not
        # keep the claim from being decided.
        contents = [items.content_item(*kept) for kept in planned.contents]
        writes += [{"Put": {"TableName": self._table, "Item": item}} for item in contents]
        writes += [self._check(keys.claim_key(id_), claim.revision) for id_, claim in before.items() if id_ not in written]
        if read.claim_id and read.claim_id not in written | before.keys():
            writes.append(self._check(keys.claim_key(read.claim_id), 0))
        if planned.build is not None and snapshot.build is not None:
            writes.append(self._put(items.build_item(planned.build, snapshot.now, planned.keep), snapshot.build.revision))
        elif snapshot.build is not None:
            key = keys.build_key(snapshot.build.key, snapshot.build.pool, snapshot.build.lock_name)
            writes.append(self._check(key, snapshot.build.revision))
        if planned.spends:
            writes.append(self._put(items.link_item(planned.spends, snapshot.now), 0))
        if planned.settings is not None:
            writes.append(self._put(items.settings_item(planned.settings), snapshot.settings.revision))
        if snapshot.lock.queue:
            holders = before | {claim.id: claim for claim in planned.claims}
            writes.append(self._turns.transaction_write(planned.lock, holders.get(planned.lock.holder)))
        return writes

    def _put(self, item: Item, revision: int) -> dict[str, Any]:
        return {"Put": {"TableName": self._table, "Item": item, **if_unchanged(revision)}}

    def _check(self, key: Item, revision: int) -> dict[str, Any]:
        return {"ConditionCheck": {"TableName": self._table, "Key": key, **if_unchanged(revision)}}


def if_unchanged(revision: int) -> dict[str, Any]:
    """Return the condition that an item is as it was read: absent (revision 0), or at that revision."""
    if revision == 0:
        return {"ConditionExpression": "attribute_not_exists(pk)"}
    return {
        "ConditionExpression": "#revision = :revision",
        "ExpressionAttributeNames": {"#revision": "revision"},
        "ExpressionAttributeValues": {":revision": {"N": str(revision)}},
    }


def _after(snapshot: Snapshot, planned: Plan) -> Snapshot:
    return replace(
        snapshot,
        head=planned.head,
        lock=planned.lock,
        settings=planned.settings or snapshot.settings,
        build=planned.build or snapshot.build,
        claims={**snapshot.claims, **{claim.id: claim for claim in planned.claims}},
    )


def _is_whole(written: tuple[Event, ...], seen: Sequence[object], after: Snapshot) -> bool:
    """Whether these are all events of one operation, and the snapshot shows what they tell of.

    `seen` are the revisions of all events that were read. An operation's revisions have no gap. So it is
    whole if the one before its first was seen, and either the one after its last was seen too, or the head
    is at its last.
    """
    first, newest = written[0], written[-1]
    last = newest.revision
    return (
        len(written) == last + 1 - first.revision
        and first.revision - 1 in seen
        and (last + 1 in seen or after.head.revision == last)
        and after.head.revision >= last
        and after.lock.events >= newest.lock_event_number
        and all(_shows(after, event) for event in written if event.claim_id)
    )


def _shows(after: Snapshot, event: Event) -> bool:
    claim = after.claims.get(event.claim_id)
    return claim is not None and (claim.event_at or claim.changed) >= event.timestamp
