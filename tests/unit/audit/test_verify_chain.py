"""The way back through a log finds what was altered, moved, added or cut, and excuses only what may be gone by age."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, cast

import pytest

from approval_resource.audit.verify_chain import Keeping, Report, Walk
from approval_resource.documents.events import EVENT, event_digest
from approval_resource.model.event import Event, Head, Kind, Place, State
from approval_resource.model.settings import Settings
from approval_resource.store.interface import LockStore, Record
from tests.builders import NOON, a_lock, an_event

LENGTH = 6
SETTINGS = Settings(pool="payments")
OLD = NOON + timedelta(days=401)
NOW = NOON + timedelta(minutes=LENGTH)


def a_log(length: int = LENGTH, **changes: Any) -> list[Event]:
    """A chain of reviews of one claim, a minute apart, oldest first; the first makes it."""
    events: list[Event] = []
    for number in range(length):
        kind = Kind.REVIEWED if number else Kind.PENDING
        links = {"previous": events[-1].digest, "previous_timestamp": events[-1].timestamp} if events else {}
        at = NOON + timedelta(minutes=number)
        count = number + 1
        events.append(an_event(kind=kind, timestamp=at, at=at, revision=count, lock_event_number=count, **(links | changes)))
    return events


def head_of(events: list[Event]) -> Head:
    """The head that such a log has."""
    newest = {event.kind.state: Place(event.timestamp, event.claim_id, event.lock_name) for event in events if event.kind.state}
    last = events[-1]
    return Head(pool="payments", revision=last.revision, timestamp=last.timestamp, digest=last.digest, newest=newest)


class Heads:
    """A store that knows a head and nothing else: as it is when the walk is over."""

    def __init__(self, now: Head) -> None:
        self._now = now

    def head(self, pool: str) -> Head:
        return self._now


def record(event: Event, **altered: Any) -> Record:
    """The event as it is stored, with what somebody altered by hand."""
    return Record(EVENT.write(event) | altered, in_place=True)


def walked(records: list[Record], head: Head, now: datetime = NOW, later: Head | None = None) -> Walk:
    """The walk over those records, oldest first, from that head."""
    walk = Walk(Report("payments", head), Keeping(SETTINGS, now), {"deploy": a_lock(events=LENGTH)})
    for one in reversed(records):
        walk.step(one)
    walk.finish(cast("LockStore", Heads(later or head)))
    return walk


def findings(events: list[Event], head: Head | None = None, now: datetime = NOW) -> list[str]:
    """Findings of the audit in a log of those events."""
    return walked([record(event) for event in events], head or head_of(a_log()), now).report.findings


def test_a_log_that_nobody_touched_has_no_findings() -> None:
    """Every event is seen, and nothing counts as removed."""
    walk = walked([record(event) for event in a_log()], head_of(a_log()))
    assert (walk.report.findings, walk.report.events, walk.report.removed) == ([], LENGTH, 0)
    assert {event.revision for event in walk.newest_of_lock.values()} == {LENGTH}


@pytest.mark.parametrize("number", range(LENGTH))
def test_an_altered_event_is_found(number: int) -> None:
    """Whichever it is, and though all others are as they were."""
    records = [record(event) for event in a_log()]
    records[number] = record(a_log()[number], reason="other")
    [finding] = walked(records, head_of(a_log())).report.findings
    assert f"event {number + 1} at" in finding
    assert "altered" in finding


@pytest.mark.parametrize("number", range(LENGTH))
def test_an_event_that_was_altered_with_its_digest_is_found(number: int) -> None:
    """The event after it, or the head, names another."""
    events = a_log()
    forged = replace(events[number], reason="other", digest="")
    events[number] = replace(forged, digest=event_digest(forged))
    [finding] = findings(events)
    assert "it is not the one that the event after it was chained to" in finding


@pytest.mark.parametrize("number", range(LENGTH))
def test_a_dropped_event_is_found(number: int) -> None:
    """In the middle, at the beginning, and at the end, which the head still knows."""
    events = a_log()
    del events[number]
    assert any("missing" in finding and f"{number + 1}" in finding for finding in findings(events))


def test_a_cut_tail_with_a_head_of_its_own_hides_nothing_of_the_lock() -> None:
    """A head that was set back is held against the lock, whose counter tells how many are gone."""
    events = a_log()[:-2]
    walk = walked([record(event) for event in events], head_of(events))
    assert walk.removed_of("deploy") == 2


def test_two_events_that_changed_places_are_found() -> None:
    """Order is part of what is chained."""
    events = a_log()
    events[2], events[3] = events[3], events[2]
    assert any("out of order" in finding for finding in findings(events))


def test_an_event_that_was_added_is_found() -> None:
    """A revision that the log has already can't come again."""
    events = a_log()
    assert any("out of order or was added" in finding for finding in findings([*events[:3], events[2], *events[3:]]))


def test_an_event_that_was_moved_is_found() -> None:
    """Its keys say something else than its content."""
    records = [record(event) for event in a_log()]
    records[1] = replace(records[1], in_place=False)
    [finding] = walked(records, head_of(a_log())).report.findings
    assert "event 2 at" in finding
    assert "was moved" in finding


@pytest.mark.parametrize("number", range(LENGTH))
@pytest.mark.parametrize(
    "altered", [{"state": "nearly approved"}, {"kind": "nothing known"}, {"actor": 7}, {"lock_name": None}]
)
def test_an_event_that_can_not_be_read_is_found_and_walked_past(number: int, altered: dict[str, Any]) -> None:
    """It is the one finding: the rest of the log is checked all the same, and is not called wrong for its sake."""
    records = [record(event) for event in a_log()]
    records[number] = record(a_log()[number], **altered)
    report = walked(records, head_of(a_log())).report
    [finding] = report.findings
    assert finding.startswith(f"event {number + 1} at")
    assert "was altered" in finding
    assert report.events == LENGTH - 1


def test_an_event_that_can_not_be_read_excuses_no_other_gap() -> None:
    """It counts once."""
    events = a_log()
    records = [record(event) for event in (events[0], events[2], events[3], events[4], events[5])]
    records[3] = record(events[4], kind="nothing known")
    found = walked(records, head_of(events)).report.findings
    assert any("event 5 at" in finding for finding in found)
    assert any("after event 1 at" in finding for finding in found)
    assert len(found) > 1


@pytest.mark.parametrize(
    "change",
    [{"newest": {}}, {"newest": {State.PENDING: Place(NOON, "another", "deploy")}}, {"digest": "x"}, {"revision": LENGTH + 1}],
)
def test_an_altered_head_is_found(change: dict[str, Any]) -> None:
    """Its places, its digest and its number are those of the log."""
    assert findings(a_log(), replace(head_of(a_log()), **change))


def test_what_is_gone_by_age_is_counted_and_is_no_fault() -> None:
    """The oldest part, and a gap in the middle, since nothing is removed in order."""
    events = a_log()
    walk = walked([record(event) for event in (events[2], events[4], events[5])], head_of(events), OLD)
    assert (walk.report.findings, walk.report.removed) == ([], 3)


def test_what_is_gone_before_its_time_is_a_fault() -> None:
    """A day before the oldest of them may go."""
    events = a_log()
    assert "the log's oldest part, up to event 2, is missing" in findings(events[2:], now=OLD - timedelta(days=2))


def test_an_altered_event_excuses_no_gap_before_it() -> None:
    """An event that can't be trusted doesn't tell when the one before it was written."""
    events = a_log()
    records = [record(events[0]), record(events[3], kind="nothing known"), *map(record, events[4:])]
    found = walked(records, head_of(events), OLD).report.findings
    assert any("events 2 to 3 are missing" in finding for finding in found)


def test_events_that_landed_since_the_walk_began_are_no_fault() -> None:
    """As far as the head knows of them by now."""
    events = a_log()
    records = [record(event) for event in events]
    known = walked(records, head_of(events[:-2]), later=head_of(events))
    unknown = walked(records, head_of(events[:-2]), later=head_of(events[:-1]))
    assert known.report.findings == []
    assert [f"event {LENGTH} at" in finding for finding in unknown.report.findings] == [True]


def test_of_two_events_that_landed_under_one_number_one_is_found() -> None:
    """An event that the head counts once may be there once."""
    events = a_log()
    double = replace(events[-1], timestamp=events[-1].timestamp - timedelta(seconds=1))
    walk = walked([record(event) for event in (*events[:-1], double, events[-1])], head_of(events[:-1]), later=head_of(events))
    assert [finding.startswith("the head does not know of event 6") for finding in walk.report.findings] == [True]


def test_the_first_event_follows_nothing() -> None:
    """One that names an event before it belongs to another log."""
    first = an_event(previous="x", previous_timestamp=NOON - timedelta(days=1))
    head = replace(head_of([first]), revision=1)
    walk = Walk(Report("payments", head), Keeping(SETTINGS, NOON), {})
    walk.step(record(first))
    walk.finish(cast("LockStore", Heads(head)))
    assert walk.report.findings == ["the first event names one before it"]
