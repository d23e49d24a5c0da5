"""Run as a program: many processes claim one lock at the same moment, round after round; prints what each of them got.

Forked before anything else is started, so that the processes begin as alike as they can be.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import sys
from typing import Any

from approval_resource.claims import acquire as claims
from approval_resource.claims.end import end_claim
from approval_resource.claims.request import Attempt
from approval_resource.errors import ApprovalError, LockHeldError
from approval_resource.model.claim import Claimant
from approval_resource.model.event import State
from approval_resource.store.dynamodb.store import DynamoStore
from approval_resource.store.interface import Connection
from tests.builders import a_build, a_request

ROUND_SECONDS = 60


def contend(number: int, rounds: int, connection: Connection, barrier: Any, results: Any) -> None:
    """One process: claim in each round, note the outcome, and give up what it got once all have theirs."""
    store = DynamoStore.connect(connection)
    store.head("races")
    for turn in range(rounds):
        build = a_build(f"{turn}-{number}")
        barrier.wait(ROUND_SECONDS)
        try:
            taken = claims.take(store, a_request(pool="races"), Claimant(build), Attempt()).claim
            outcome = ("won", taken.id)
        except LockHeldError as held:
            taken, outcome = None, ("held by", held.current.id)
        except ApprovalError as error:
            taken, outcome = None, ("failed", str(error))
        barrier.wait(ROUND_SECONDS)
        if taken is not None:
            end_claim(store, taken, State.WITHDRAWN, actor=f"process {number}")
        results.put((turn, *outcome))


def main() -> None:
    """Arguments: processes, rounds, endpoint, table."""
    processes, rounds = int(sys.argv[1]), int(sys.argv[2])
    connection = Connection(
        table=sys.argv[4],
        region=os.environ["AWS_DEFAULT_REGION"],
        endpoint_url=sys.argv[3],
    )
    DynamoStore.connect(connection).create_table()
    fork = multiprocessing.get_context("fork")
    barrier, results = fork.Barrier(processes), fork.SimpleQueue()
    started = [
        fork.Process(target=contend, args=(number, rounds, connection, barrier, results), daemon=True)
        for number in range(processes)
    ]
    for process in started:
        process.start()
    for _ in range(processes * rounds):
        print(json.dumps(results.get()))  # noqa: T201 - the program's output
    for process in started:
        process.join()


if __name__ == "__main__":
    main()
