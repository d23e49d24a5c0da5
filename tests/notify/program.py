"""A program that follows one channel in a child, which its parent starts and kills as it is told.

Children are forked from a process that has loaded everything, so that a kill costs no start.
"""

from __future__ import annotations

import os
import signal
import sys
from threading import Event as Flag

from approval_resource.clock import HostClock
from approval_resource.notify import run
from approval_resource.notify.config import load
from approval_resource.notify.links import PageLinks
from approval_resource.store.dynamodb.store import DynamoStore
from approval_resource.store.interface import Connection, LockStore, Outbox


def follow(path: str) -> None:
    """Follow as the command does, as one worker that takes up its own lease again."""
    config = load(path)

    def connect() -> tuple[LockStore, Outbox]:
        store = DynamoStore.connect(Connection(table=config.table or ""))
        return store, store.outbox

    work = run.workers(config, connect, PageLinks(), HostClock())
    for worker in work:
        worker.holder = "the only one"
    run.PAUSE = 0.01
    run.follow(work, Flag())


def main() -> None:
    """Start a child at the first line, kill it at the next, and so on; answer each line when that is done."""
    child = 0
    for _ in sys.stdin:
        if child:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            child = 0
        else:
            child = os.fork()
            if not child:
                try:
                    follow(sys.argv[1])
                finally:
                    os._exit(1)
        print(child, flush=True)  # noqa: T201 - the answer


main()
