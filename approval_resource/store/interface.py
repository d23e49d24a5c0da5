"""The only durable home of everything: what any store must do, told by the protocol's docstrings."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol
from uuid import uuid4

from approval_resource.text import without_user

if TYPE_CHECKING:
    from approval_resource.model.claim import Claim
    from approval_resource.model.event import Event, Head
    from approval_resource.model.lock import BuildRecord, Lock
    from approval_resource.model.settings import Settings
    from approval_resource.store.transaction import Commit, ReadSet, Snapshot

DEFAULT_TABLE = "concourse-approvals"


def new_id() -> str:
    """A fresh id of a claim or an operation: random, so that nobody can guess or repeat it."""
    return str(uuid4())


@dataclass(frozen=True, slots=True)
class Committed:
    """What a commit left behind: the snapshot as it is after it, and the events it wrote (none: nothing changed)."""

    after: Snapshot
    events: tuple[Event, ...] = ()


@dataclass(frozen=True, slots=True)
class Record:
    """One stored event: its document, and whether it lies where its own content says."""

    document: dict[str, Any]
    in_place: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """How to reach the table. Empty strings leave the choice to AWS's usual sources; secrets never appear in its repr.

    `role_arn` is a chain: each role is assumed with the one before it. `ca_certs` are PEM texts.
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
        return f"Connection(table={self.table!r}, region={self.region!r}, endpoint_url={without_user(self.endpoint_url)!r})"


class LockStore(Protocol):
    """Pools, locks, claims and their log.

    Every read is strongly consistent, except where `open_claims` finds its claims by an index that may
    lag by moments; what it then returns is consistent again. Any method may raise
    `StoreUnavailableError`, and `CorruptRecordError` for an item that can't be understood.
    """

    def now(self) -> datetime:
        """The store's time, aware, in UTC."""

    def commit(self, read: ReadSet, decide: Callable[[Snapshot], Commit], operation: str) -> Committed:
        """Read what `read` names, let `decide` say what shall change, and write that whole or not at all.

        The write is conditional on everything that was read. When it is refused, or its answer is lost,
        all of it starts again from the read, for up to a minute; `decide` must therefore be pure. An
        attempt that turns out to have succeeded counts as this call's success: `operation`, unique to
        the call, is in the events it wrote. What `decide` raises ends the commit with nothing written.

        Raises:
            StoreUnavailableError: a minute was not enough. The outcome may be unknown; asking again
                with the same claim id is safe.
        """

    def requeue(self, pool: str, lock_name: str, change: Callable[[Lock, datetime], Lock]) -> Lock:
        """Let `change` rearrange the lock's queue, and nothing else of it; it is given the lock and the store's time.

        Written on condition that the lock is as it was read, else all of it starts again; nothing is written where
        `change` returns the lock it was given. No event tells of it. Returns the lock as it is then.
        """

    def claim(self, claim_id: str) -> Claim | None:
        """The claim with exactly that id."""

    def claims(self, claim_ids: list[str]) -> list[Claim]:
        """The claims with those ids that exist, in that order."""

    def lock(self, pool: str, lock_name: str) -> Lock | None:
        """The lock, or None when nobody ever claimed it."""

    def lock_names(self, pool: str) -> list[str]:
        """The names of all locks of the pool, by their keys, sorted."""

    def queues(self, pool: str) -> list[Lock]:
        """The locks of the pool that somebody waits for."""

    def settings(self, pool: str) -> Settings:
        """What an operator set for the pool; nobody did: revision 0."""

    def head(self, pool: str) -> Head | None:
        """The newest end of the pool's log, or None when it has none."""

    def build(self, key: str, pool: str, lock_name: str) -> BuildRecord | None:
        """What the build with that key made or passed on that lock."""

    def event(self, pool: str, timestamp: datetime) -> Event | None:
        """The event at exactly that place."""

    def events(
        self, pool: str, *, lock_name: str | None = None, since: datetime | None = None, newest_first: bool = False
    ) -> Iterator[Event]:
        """The pool's events, or one lock's, from `since` on (that one included), oldest first unless told otherwise."""

    def records(self, pool: str) -> Iterator[Record]:
        """The pool's events as they are stored, newest first, unread: an audit must see also what can't be understood."""

    def open_claims(self, pool: str | None = None) -> list[Claim]:
        """The claims that hold a lock, of one pool or of all, oldest first."""

    def open_claim_ids(self, prefix: str) -> list[str]:
        """The ids of open claims, of all pools, that begin with `prefix`."""

    def content(self, claim_id: str, name: str, digest: str = "") -> bytes | None:
        """Return content kept beside a claim, by its name; None where there is none.

        With its SHA-256 in hex, `digest`, other content, or none, is looked at again for some seconds: a commit may be
        seen item by item while it lands, the claim already and its content not yet.
        """

    def all_claims(self) -> Iterator[Claim]:
        """Every stored claim of every pool, in no order. Reads the whole table."""

    def claim_ids(self, pool: str) -> Iterator[str]:
        """The ids of all claims that lie in the pool, ended ones too, in no order. Reads the whole table."""

    def pools(self) -> list[str]:
        """Every pool that has anything stored, sorted. Reads the whole table."""
