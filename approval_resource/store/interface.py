"""Protocols of a store, the only durable home of everything. Their docstrings are its promises."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol, TypeVar
from uuid import uuid4

from approval_resource.errors import CorruptRecordError
from approval_resource.text import without_user

if TYPE_CHECKING:
    from approval_resource.model.claim import Claim
    from approval_resource.model.delivery import Delivery, Progress
    from approval_resource.model.event import Event, Head
    from approval_resource.model.lock import BuildRecord, Lock, Turn
    from approval_resource.model.settings import Settings
    from approval_resource.store.transaction import Commit, ReadSet, Snapshot

T = TypeVar("T")
DEFAULT_TABLE = "concourse-approvals"


def require_identity(found: T, **identity: object) -> T:
    """Return `found`, None included. Refuse an item whose identity isn't that of its key.

    Raises:
        CorruptRecordError: the item under this key belongs to something else, or has no revision.
    """
    if found is None:
        return found
    why = ""
    if any(getattr(found, name) != value for name, value in identity.items()):
        why = "it is of something else"
    elif getattr(found, "revision", 1) < 1:
        # Writes take revision 0 for an item that is absent, so none could succeed on one that is there.
        why = "its revision is none that was ever written"
    if why:
        what = " ".join(f"{name} {value}" for name, value in identity.items())
        raise CorruptRecordError(f"what is stored for {what}", why)
    return found


def new_id() -> str:
    """Return a new id of a claim or an operation. It is random, so that nobody can guess or repeat it."""
    return str(uuid4())


@dataclass(frozen=True, slots=True)
class Committed:
    """Result of a commit: the snapshot after it, and the events it wrote. No events: nothing changed."""

    after: Snapshot
    events: tuple[Event, ...] = ()


@dataclass(frozen=True, slots=True)
class Record:
    """Stored event: its document, and whether it lies at the place that its content says."""

    document: dict[str, Any]
    in_place: bool


@dataclass(frozen=True, slots=True)
class Finding:
    """Line of an examination: its subject, whether it is as it should be, and the next move where it isn't.

    `fine` is None if it can't be determined, or if the line only informs.
    """

    subject: str
    fine: bool | None
    told: str
    move: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """Settings by which the table is reached. Secrets never appear in its repr.

    An empty string leaves the choice to AWS's usual sources. `role_arn` is a chain: each role is assumed with
    the one before it. `ca_certs` are PEM texts.
    """

    table: str = DEFAULT_TABLE
    region: str = ""
    endpoint_url: str = ""
    profile: str = ""
    role_arn: tuple[str, ...] = ()
    external_id: str = ""
    role_session_name: str = ""
    ca_certs: tuple[str, ...] = ()
    access_key_id: str = ""
    secret_access_key: str = ""
    session_token: str = ""

    def __repr__(self) -> str:
        """Return table, region and endpoint, without credentials."""
        return f"Connection(table={self.table!r}, region={self.region!r}, endpoint_url={without_user(self.endpoint_url)!r})"


class RecordReads(Protocol):
    """Reads that an audit makes of everything stored, in a table or in an export of one."""

    def now(self) -> datetime:
        """Return the store's time, aware and in UTC."""

    def claim(self, claim_id: str) -> Claim | None:
        """Return the claim with exactly that id, or None."""

    def claims(self, claim_ids: list[str]) -> list[Claim]:
        """Return the claims with those ids, in that order, without those that don't exist."""

    def lock(self, pool: str, lock_name: str) -> Lock | None:
        """Return the lock, or None when nobody ever claimed it."""

    def lock_names(self, pool: str) -> list[str]:
        """Return the names of all locks of the pool, sorted. They are taken from the items' keys."""

    def settings(self, pool: str) -> Settings:
        """Return the pool's settings. They have revision 0 if no operator made any."""

    def head(self, pool: str) -> Head | None:
        """Return the head of the pool's log, or None when it has no event."""

    def event(self, pool: str, timestamp: datetime) -> Event | None:
        """Return the event at exactly that place, or None."""

    def events(
        self, pool: str, *, lock_name: str | None = None, since: datetime | None = None, newest_first: bool = False
    ) -> Iterator[Event]:
        """Yield the events of the pool, or of one lock, at `since` and later.

        The oldest comes first, or the newest if `newest_first` is set.
        """

    def records(self, pool: str) -> Iterator[Record]:
        """Yield the pool's events as stored, newest first.

        They are not parsed, because an audit must also see events that can't be understood.
        """

    def open_claims(self, pool: str | None = None) -> list[Claim]:
        """Return the claims that hold a lock, of one pool or of all, oldest first."""

    def content(self, claim_id: str, name: str, digest: str = "") -> bytes | None:
        """Return content kept beside a claim, by its name; None where there is none.

        If `digest` (SHA-256 in hex) is given, content that is missing or differs is read again for some
        seconds: while a commit lands, the claim may be visible already and its content not yet.
        """

    def claim_ids(self, pool: str) -> Iterator[str]:
        """Yield the ids of all claims of the pool, in no order, ended ones too. This scans the table."""


class LockStore(RecordReads, Protocol):
    """Pools, locks, claims and their log.

    Reads are strongly consistent, with these exceptions. `glance` is eventually consistent, and so is
    `turn` by default. `open_claims` and `open_claim_ids` find claims by a sparse global secondary index,
    which may lag by moments; `open_claims` then reads those claims strongly consistently. Any method may
    raise `StoreUnavailableError`, and `CorruptRecordError` for an item that can't be understood.
    """

    def commit(self, read: ReadSet, decide: Callable[[Snapshot], Commit], operation: str) -> Committed:
        """Read what `read` names, let `decide` say what changes, and write all of that or nothing.

        The write is conditional on everything that was read. When it is refused, or its answer is lost, the
        commit starts again from the read, for up to a minute after the newest change of others. So `decide`
        may run several times, and must do nothing that a second run would repeat. If an earlier attempt turns
        out to have succeeded, the call has succeeded: the events it wrote carry `operation`, which is unique
        to the call. An error that `decide` raises ends the commit and writes nothing.

        Raises:
            StoreUnavailableError: a minute was not enough. The outcome may be unknown. Another call is
                safe if `decide` recognizes what this one wrote, as that of `claims.acquire.take` does.
        """

    def requeue(self, pool: str, lock_name: str, change: Callable[[Lock, datetime], Lock]) -> Lock:
        """Let `change` rearrange the lock's queue, and nothing else of the lock. Return the resulting lock.

        `change` gets the lock and the store's time. The write has an optimistic lock: it is conditional on
        the revision that was read, and starts again from the read when it is refused. Nothing is written if
        `change` returns the lock it got, or if nobody ever claimed the lock. No event records the change.
        """

    def glance(self, claim_id: str) -> Claim | None:
        """Read as `claim` does, but eventually consistent, at half the price: a hint for a closer look."""

    def turn(self, pool: str, lock_name: str, *, consistent: bool = False) -> Turn | None:
        """Return the hint of whose turn it is, or None where there is none that can be understood.

        Unless `consistent`, the read is eventually consistent. Every commit and every change of the queue
        writes the hint while somebody waits. Older releases of this program leave the stored one as it is.
        """

    def show_turn(self, lock: Lock, seen: Turn | None) -> None:
        """Write the hint for `lock`. With `seen`, write it only if the stored one still has that revision.

        A failure is logged and harmless.
        """

    def answer_roll(self, turn: Turn, round_: int, ticket: int) -> None:
        """Record in the hint that the waiter with that ticket answers that round of the roll call.

        If that round isn't in progress in `turn`, the answer begins it. A failure is logged and harmless.
        """

    def queues(self, pool: str) -> list[Lock]:
        """Return the locks of the pool that have waiters."""

    def build(self, key: str, pool: str, lock_name: str) -> BuildRecord | None:
        """Return the record of what the build with that key made or passed on that lock, or None."""

    def open_claim_ids(self, prefix: str) -> list[str]:
        """Return the ids of open claims, of all pools, that begin with `prefix`."""

    def all_claims(self) -> Iterator[Claim]:
        """Yield every stored claim of every pool, in no order. This scans the whole table."""

    def claim_ids_from(self, prefix: str) -> list[str]:
        """Return the ids of all claims that begin with `prefix`, ended ones too. This scans the table."""

    def pools(self) -> list[str]:
        """Return every pool that has anything stored, sorted. This scans the whole table."""


class Outbox(Protocol):
    """State of the notifications: what each channel was told. The events to send are read from the log.

    None of it is evidence for anything. Reads are strongly consistent. Any method may raise
    `StoreUnavailableError`, and `CorruptRecordError` for an item that can't be understood.
    """

    def progress(self, channel: str) -> Progress:
        """Return the channel's progress. It has revision 0 where there is none."""

    def delivery(self, channel: str, claim_id: str) -> Delivery:
        """Return the record of what the channel was told about the claim, of revision 0 if there is none."""

    def write(self, progress: Progress, delivery: Delivery | None = None) -> Progress | None:
        """Write both or neither, on condition that each still has the revision that it was read with.

        Return the progress as it is stored now, or None where somebody else wrote it in between.
        """
