"""A pool, a clock that stands still, and workers whose channels are stand-ins."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from approval_resource.notify.channels.interface import Outlet
from approval_resource.notify.config import Rule, read
from approval_resource.notify.links import PageLinks
from approval_resource.notify.message import Reading
from approval_resource.notify.worker import Worker
from approval_resource.store.dynamodb.store import DynamoStore
from tests.builders import FrozenTime, ManualClock
from tests.notify.standins import Receiver, served

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


@pytest.fixture
def time() -> FrozenTime:
    """The store's time, as a test sets it."""
    return FrozenTime()


@pytest.fixture
def shared(connect: Callable[..., DynamoStore], time: FrozenTime) -> DynamoStore:
    """A store whose time is the test's."""
    return connect(time)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """A program that gets webhooks."""
    with served(Receiver()) as started:
        yield started


def rules(*documents: dict[str, Any], to: str = "hook") -> list[Rule]:
    """Rules as a file gives them; none: all that is told of pool payments unless said otherwise."""
    given = [{"pools": ["payments"], "to": [to], **document} for document in documents or ({},)]
    return read({"channels": {to: {"apprise": "env:PATH"}}, "notify": given}, "rules").notify


@pytest.fixture
def working(shared: DynamoStore, time: FrozenTime) -> Callable[..., Worker]:
    """Makes a worker of a channel, as another process would; what they know of each other is in the table."""

    def worker(outlet: Outlet, name: str = "hook", holder: str = "one", **changes: Any) -> Worker:
        reading = Reading(
            name, changes.pop("zone", ZoneInfo("UTC")), changes.pop("excerpt", 12), changes.pop("links", PageLinks())
        )
        return Worker(
            reading=reading,
            outlet=outlet,
            rules=changes.pop("rules", None) or rules(to=name),
            store=shared,
            outbox=shared.outbox,
            clock=ManualClock(time),
            holder=holder,
            **changes,
        )

    return worker
