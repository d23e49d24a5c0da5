"""What can go wrong between a process and its engine, one function each, and who says what a request meets.

Run as a program it stands where an engine is expected, on GATEWAY_PORT, and passes on to another one with faults between.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from random import Random

from tests.soak.proxy import Answer, Asked, Exchange, Judge, Proxy, Toxic, an_answer

WRITE = "TransactWriteItems"
BATCH = "BatchGetItem"
OPERATIONS = frozenset({WRITE, BATCH, "GetItem", "UpdateItem", "Query", "Scan"})
"""By which the store reads and writes items. What makes and describes a table meets no faults unless a test asks for one."""
FAULTY = "FAULTY_STORE"
"""Variable that tells a suite of faults: an aborted step may run out of the seconds that it has to undo what it did."""
SILENCE = 12.0
"""Longer than any client here waits for an answer."""
JSON = "application/x-amz-json-1.0"
PAGE = b"<html><body><h1>The service is being upgraded</h1></body></html>"


# ---- the line ----------------------------------------------------------------------


def refused(exchange: Exchange) -> None:
    """Nobody listens at the address for a moment."""
    exchange.hang_up()
    with exchange.proxy.deaf():
        exchange.pause(exchange.random.uniform(0.02, 0.2))


def lost_request(exchange: Exchange) -> None:
    """The request is dropped on its way."""
    exchange.hang_up()


def lost_answer(exchange: Exchange) -> None:
    """The engine does what it was asked for, and nobody hears of it."""
    exchange.forward()
    exchange.hang_up()


def late(exchange: Exchange) -> None:
    """The line breaks, and the request reaches the engine only afterwards."""
    exchange.hang_up()
    exchange.pause(exchange.random.uniform(0.05, 0.5))
    exchange.forward()


def slow(exchange: Exchange) -> None:
    """It takes its time, going or coming."""
    seconds = exchange.random.uniform(0.05, 0.5)
    if exchange.random.random() < 0.5:
        exchange.pause(seconds)
        exchange.give(exchange.forward())
    else:
        answer = exchange.forward()
        exchange.pause(seconds)
        exchange.give(answer)


def cut(exchange: Exchange) -> None:
    """The line breaks in the middle of the answer."""
    exchange.give(exchange.forward(), part=0.5)


def silent(exchange: Exchange) -> None:
    """Nothing ever answers."""
    exchange.pause(SILENCE)
    exchange.hang_up()


# ---- answers that are DynamoDB's, or claim to be ---------------------------------------


def server_error(exchange: Exchange) -> None:
    """A 500 or 503, which doesn't tell whether anything was done."""
    if exchange.random.random() < 0.5:
        exchange.forward()
    code, status = exchange.random.choice([("InternalServerError", 500), ("ServiceUnavailable", 503)])
    exchange.refuse(code, status=status)


def bad_gateway(exchange: Exchange) -> None:
    """A load balancer's page with status 502, whether the engine did it or not."""
    if exchange.random.random() < 0.5:
        exchange.forward()
    exchange.give(an_answer(502, "text/html", PAGE))


def page(exchange: Exchange) -> None:
    """A page that says 200, whether the engine did it or not."""
    if exchange.random.random() < 0.5:
        exchange.forward()
    exchange.give(an_answer(200, "text/html", PAGE))


def _cancel(exchange: Exchange, code: str) -> None:
    """Cancel the transaction for that reason, which one of its items gives."""
    items = len(exchange.asked.document["TransactItems"])
    guilty = exchange.random.randrange(items)
    reasons = [{"Code": code, "Message": code} if number == guilty else {"Code": "None"} for number in range(items)]
    told = f"Transaction cancelled, please refer cancellation reasons for specific reasons [{', '.join(r['Code'] for r in reasons)}]"
    exchange.refuse("TransactionCanceledException", told, CancellationReasons=reasons)


def throttled(exchange: Exchange) -> None:
    """There was too much of it."""
    codes = ["ProvisionedThroughputExceededException", "ThrottlingException", "RequestLimitExceeded"]
    if exchange.asked.operation == WRITE:
        codes += ["ThrottlingError", "ProvisionedThroughputExceeded"]
    code = exchange.random.choice(codes)
    if code in ("ThrottlingError", "ProvisionedThroughputExceeded"):
        _cancel(exchange, code)
    else:
        exchange.refuse(code)


def conflict(exchange: Exchange) -> None:
    """Another transaction is about the same items."""
    if exchange.asked.operation == WRITE:
        _cancel(exchange, "TransactionConflict")
    else:
        exchange.refuse("TransactionConflictException")


def in_progress(exchange: Exchange) -> None:
    """The same transaction is said to be under way."""
    exchange.refuse("TransactionInProgressException")


def unprocessed(exchange: Exchange) -> None:
    """A batch of which only a part is answered."""
    request = exchange.asked.document
    ((table, wanted),) = request["RequestItems"].items()
    keys = list(wanted["Keys"])
    exchange.random.shuffle(keys)
    done = exchange.random.randrange(1, len(keys)) if len(keys) > 1 else 0
    left = {table: wanted | {"Keys": keys[done:]}}
    if not done:
        empty = json.dumps({"Responses": {table: []}, "UnprocessedKeys": left}).encode()
        exchange.give(an_answer(200, JSON, empty, ("x-amzn-requestid", "TOXIC")))
        return
    asked = request | {"RequestItems": {table: wanted | {"Keys": keys[:done]}}}
    answer = exchange.forward(json.dumps(asked).encode())
    headers = [(name, value) for name, value in answer.headers if name.lower() != "x-amz-crc32"]
    body = json.loads(answer.body)
    if answer.status == 200:
        body["UnprocessedKeys"] = left
    exchange.give(Answer(answer.status, headers, json.dumps(body).encode()))


def expired_token(exchange: Exchange) -> None:
    """The credentials' time is up."""
    exchange.refuse("ExpiredTokenException", "The security token included in the request is expired")


MET_BY: dict[Toxic, frozenset[str]] = {in_progress: frozenset({WRITE}), unprocessed: frozenset({BATCH})}
"""The operations to which a toxic can happen, where those aren't all."""
LINE = (refused, lost_request, lost_answer, late, slow, cut)
ANSWERS = (server_error, bad_gateway, page, throttled, conflict, in_progress, unprocessed)
KINDS: dict[str, Toxic] = {toxic.__name__: toxic for toxic in (*LINE, *ANSWERS)}
CONTENTION = ("conflict", "in_progress", "throttled")


def at_rate(random: Random, rate: float, kinds: Sequence[str]) -> Judge:
    """Each request that can meets one of these, at that rate."""

    def judge(asked: Asked) -> Toxic | None:
        fit = [KINDS[kind] for kind in kinds if asked.operation in MET_BY.get(KINDS[kind], OPERATIONS)]
        return random.choice(fit) if fit and random.random() < rate else None

    return judge


def next_of(operation: str, *toxics: Toxic) -> Judge:
    """The next requests of that operation meet these, in order."""
    left = list(toxics)
    lock = threading.Lock()

    def judge(asked: Asked) -> Toxic | None:
        with lock:
            return left.pop(0) if left and asked.operation == operation else None

    return judge


def main() -> None:
    """Arguments: the engine's address, rate, seed, the directory for a count of what was met, and the kinds."""
    onward, rate, seed, met, *kinds = sys.argv[1:]
    port = int(os.environ["GATEWAY_PORT"])
    stop = {signal.SIGTERM, signal.SIGINT}
    signal.pthread_sigmask(signal.SIG_BLOCK, stop)
    random = Random(int(seed))  # noqa: S311 - what is tried, not what is kept secret
    with Proxy(onward, random, at_rate(random, float(rate), kinds), port) as proxy:
        signal.sigwait(stop)
    Path(met, f"{port}.json").write_text(json.dumps(proxy.applied), encoding="utf-8")


if __name__ == "__main__":
    main()
