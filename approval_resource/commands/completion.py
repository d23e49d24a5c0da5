"""Shell completion of claim ids, pools and locks from the table. A failure completes nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import click
from click.shell_completion import CompletionItem

from approval_resource.commands.shared import connection_in, connection_of
from approval_resource.errors import ApprovalError
from approval_resource.model.claim import Claim
from approval_resource.store.dynamodb.store import DynamoStore
from approval_resource.store.interface import Connection, LockStore
from approval_resource.text import clean

Complete = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]
CONNECTION = ("table", "region", "profile", "endpoint_url")


def _store(context: click.Context) -> LockStore:
    root = context.find_root()
    base = connection_of(Connection(), {name: root.params.get(name) for name in CONNECTION})
    if context is not root:
        base = connection_in(context, base, {name: context.params.get(name) for name in CONNECTION})
    return DynamoStore.connect(base)


def _completion(found: Callable[[LockStore, click.Context, str], Iterable[tuple[str, str]]]) -> Complete:
    """Return a completion by the words that `found` yields, each with its description."""

    def complete(context: click.Context, _: click.Parameter, incomplete: str) -> list[CompletionItem]:
        try:
            words = list(found(_store(context), context, incomplete))
        except ApprovalError:
            return []
        return [CompletionItem(word, help=told) for word, told in words if word.startswith(incomplete) and word == clean(word)]

    return complete


def _claims(store: LockStore, _: click.Context, incomplete: str) -> Iterable[tuple[str, str]]:
    return ((claim.id, _told(claim)) for claim in store.open_claims())


def _pools(store: LockStore, _: click.Context, incomplete: str) -> Iterable[tuple[str, str]]:
    """Return the pools in which a lock is held. If none of them fits, scan the table for all pools."""
    found = {claim.pool for claim in store.open_claims()}
    fit = any(pool.startswith(incomplete) for pool in found)
    return ((pool, "") for pool in (sorted(found) if fit else store.pools()))


def _locks(store: LockStore, context: click.Context, _: str) -> Iterable[tuple[str, str]]:
    pool = context.params.get("pool")
    names = store.lock_names(pool) if pool else sorted({claim.lock_name for claim in store.open_claims()})
    return ((name, "") for name in names if name)


def _told(claim: Claim) -> str:
    return clean(f"{claim.lock_name}, {claim.state.value}{claim.description and f': {claim.description[:60]}'}")


CLAIM_IDS, POOLS, LOCKS = _completion(_claims), _completion(_pools), _completion(_locks)
