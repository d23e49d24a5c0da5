"""All channels, each by its own worker, so that a failure of one stops no other."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from threading import Event as Flag

from approval_resource.clock import Clock
from approval_resource.errors import ApprovalError, CorruptRecordError
from approval_resource.model.delivery import Progress
from approval_resource.notify.config import Config
from approval_resource.notify.links import Links
from approval_resource.notify.message import Reading
from approval_resource.notify.outlets import outlet_of
from approval_resource.notify.worker import FAILED_AFTER, LEASE, Worker
from approval_resource.store.gapless import gapless
from approval_resource.store.interface import LockStore, Outbox, new_id

log = logging.getLogger(__name__)

PAUSE = 2.0
"""Seconds between two turns of a worker."""
MAX_BEHIND = 1000
"""Upper bound of the events that are counted for a status."""

STATES = ("ok", "new", "retrying", "refusing", "behind", "failed")
"""States of a channel. `new`: no worker has run for it. `refusing`: it refused its newest message."""

Connect = Callable[[], tuple[LockStore, Outbox]]


def workers(config: Config, connect: Connect, links: Links, clock: Clock) -> list[Worker]:
    """Return a worker for each channel. Each has a call of `connect` of its own for its store and outbox."""
    made = []
    for name in config.channels:
        channel = config.channel(name)
        store, outbox = connect()
        reading = Reading(name, channel.zone, channel.excerpt, links)
        made.append(
            Worker(
                reading,
                outlet_of(channel),
                config.rules(name),
                store,
                outbox,
                clock,
                holder=new_id(),
                digest=channel.digest or "",
            )
        )
    return made


def once(work: Sequence[Worker], clock: Clock) -> list[str]:
    """Tell each channel what is new. Return a line for each that could not be told."""
    problems = []
    for worker in work:
        try:
            until = clock.monotonic() + LEASE.total_seconds() + PAUSE
            while not (held := worker.turn(patient=False)) and clock.monotonic() < until:
                clock.sleep(PAUSE / 2)
            worker.leave()
        except ApprovalError as error:
            problems.append(f"channel {worker.name}: {error}")
            continue
        except Exception as error:
            # The other channels are told all the same.
            log.exception("channel %s: a fault of this program", worker.name)
            problems.append(f"channel {worker.name}: a fault of this program: {type(error).__name__}")
            continue
        if not held:
            problems.append(f"channel {worker.name}: another process tells it")
        elif worker.failing:
            problems.append(f"channel {worker.name}: {worker.failing}")
    return problems


def follow(work: Sequence[Worker], stop: Flag) -> None:
    """Tell all channels what is new, until `stop` is set."""
    with ThreadPoolExecutor(max_workers=len(work), thread_name_prefix="notify") as pool:
        for future in [pool.submit(_follow, worker, stop) for worker in work]:
            future.result()


def _follow(worker: Worker, stop: Flag) -> None:
    told = ""
    while not stop.is_set():
        try:
            worker.turn()
            told = ""
        except Exception as error:
            # An outage is logged once, then retried in silence. A fault is logged with its traceback.
            why = str(error) if isinstance(error, ApprovalError) else f"a fault of this program: {type(error).__name__}"
            if why != told:
                log.warning("channel %s: %s; still trying", worker.name, why, exc_info=not isinstance(error, ApprovalError))
            told = why
        stop.wait(PAUSE)
    try:
        worker.leave()
    except ApprovalError as error:
        log.warning("channel %s: its lease ends by itself: %s", worker.name, error)


@dataclass(frozen=True, slots=True)
class Status:
    """Status of a channel."""

    channel: str
    state: str
    """One of `STATES`."""
    behind: int
    """Events after its cursors, whether they concern it or not."""
    since: datetime | None
    """Start of its failures, else the instant of the oldest of those events."""
    progress: Progress


def statuses(config: Config, store: LockStore, outbox: Outbox) -> list[Status]:
    """Return the status of each channel."""
    return [_status(name, config, store, outbox) for name in config.channels]


def _status(name: str, config: Config, store: LockStore, outbox: Outbox) -> Status:
    try:
        progress = outbox.progress(name)
    except CorruptRecordError as corrupt:
        return Status(name, "failed", 0, None, Progress(channel=name, error=str(corrupt)))
    now = store.now()
    behind, oldest = 0, None
    for pool in dict.fromkeys(pool for rule in config.rules(name) for pool in rule.pools):
        cursor = progress.cursors.get(pool)
        if cursor is None:
            continue
        # Read as the worker reads, so that an event it rightly skips doesn't count as behind.
        for event in gapless(store.events(pool, since=cursor), cursor, by_lock=False, store=store):
            if event.timestamp > cursor:
                behind += 1
                oldest = event.at if oldest is None else min(oldest, event.at)
            if behind >= MAX_BEHIND:
                break
    since = progress.failing_since or oldest
    late = since is not None and now - since >= FAILED_AFTER
    if progress.tries:
        state = "failed" if late else "retrying"
    elif progress.lost:
        state = "refusing"
    elif progress.revision == 0:
        state = "new"
    else:
        state = "behind" if late else "ok"
    return Status(name, state, behind, since, progress)


def is_well(status: Status) -> bool:
    """Whether the channel needs no attention: it is `ok`, `new` or `retrying`."""
    return status.state not in ("failed", "refusing", "behind")
