"""Windows around every change of a clock: each zone of tzdata, each transition of 2000 to 2040, against the zone's own clock."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, time, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo, available_timezones

import pytest

from approval_resource.policy.kinds import windows
from tests.policy.asking import policy

DAY, HOUR, MINUTE, SECOND = timedelta(days=1), timedelta(hours=1), timedelta(minutes=1), timedelta(seconds=1)
FIRST, LAST = datetime(2000, 1, 1, tzinfo=UTC), datetime(2041, 1, 1, tzinfo=UTC)
ZONES = sorted(available_timezones() - {"localtime", "posixrules"})
SOME_ZONES, SOME_TRANSITIONS = 7, 13
"""The steps of the sample that `make test` tries."""
SHAPES = ((-90, -15), (-30, 45), (-15, 15), (0, 30), (-60, 0), (15, 90), (-600, -45))
"""Windows by the minutes from where the clock stands at a transition to where they begin and end."""


@lru_cache(maxsize=2)
def transitions(step: int = 1) -> tuple[tuple[str, datetime], ...]:
    """Every instant from 2000 to 2040 at which the clock of each `step`th zone is changed, once for zones that are alike."""
    seen: set[object] = set()
    found: list[tuple[str, datetime]] = []
    for name in ZONES[::step]:
        changes = tuple(_changes(ZoneInfo(name)))
        same = tuple((at, at.astimezone(ZoneInfo(name)).utcoffset()) for at in changes)
        if changes and same not in seen:
            seen.add(same)
            found += [(name, at) for at in changes]
    return tuple(found)


def first_second(begin: datetime, end: datetime, holds: Callable[[datetime], bool]) -> datetime | None:
    """The first second from `begin` to `end` at which something holds that then goes on to hold, or None."""
    seconds = range(int((end - begin) / SECOND) + 1)
    found = bisect_left(seconds, True, key=lambda second: holds(begin + second * SECOND))
    return begin + found * SECOND if found < len(seconds) else None


def _changes(zone: ZoneInfo) -> Iterator[datetime]:
    at = FIRST
    while at < LAST:
        offset = at.astimezone(zone).utcoffset()
        if (at + DAY).astimezone(zone).utcoffset() != offset:
            changed = first_second(at, at + DAY, lambda when, old=offset: when.astimezone(zone).utcoffset() != old)  # type: ignore[misc]
            assert changed is not None
            yield changed
        at += DAY


def first_shown(zone: ZoneInfo, wall: datetime, near: datetime) -> datetime:
    """The first second at which the zone's clock shows that time or a later one, found by watching the clock around a transition."""

    def shows(at: datetime) -> bool:
        return at.astimezone(zone).replace(tzinfo=None, fold=0) >= wall

    # Before and after the transition the clock only goes forward, so each side is searched by itself.
    before = first_second(near - 4 * DAY, near - SECOND, shows)
    found = before or first_second(near, near + 4 * DAY, shows)
    assert found is not None, f"{zone.key} never shows {wall} near {near}"
    return found


def check(name: str, at: datetime) -> list[str]:
    """Everything in which windows around that transition differ from the zone's clock."""
    zone = ZoneInfo(name)
    wrong = []
    for side in (at - SECOND, at):
        shown = side.astimezone(zone).replace(tzinfo=None, fold=0, second=0)
        for before, after in SHAPES:
            begin, end = shown + before * MINUTE, shown + after * MINUTE
            one = policy(required_approvals=1, windows=[{"from": f"{begin:%H:%M}", "to": f"{end:%H:%M}", "tz": name}])
            for day in (begin.date(), begin.date() - DAY, begin.date() + DAY):
                opens = datetime.combine(day, begin.time())
                midnight = datetime.combine(day, time())
                if first_shown(zone, midnight, at) == first_shown(zone, midnight + DAY, at):
                    continue  # the zone has no such day
                from_, to = first_shown(zone, opens, at), first_shown(zone, opens + (end - begin), at)
                tried = {from_: from_ < to, to - SECOND: from_ < to, from_ - SECOND: False, to: False}
                wrong += [
                    f"{name} {at}: {opens:%m-%d %H:%M} for {end - begin}, at {instant}: {expected}"
                    for instant, expected in tried.items()
                    if windows.is_open(one, instant) is not expected
                ]
    return wrong


@pytest.mark.long
def test_windows_keep_the_clock_at_transitions() -> None:
    """A sample of all, the same each time: open from the first beginning to the first end, and no second longer."""
    sample = transitions(SOME_ZONES)[::SOME_TRANSITIONS]
    assert len(sample) > 50
    assert [told for name, at in sample for told in check(name, at)] == []


@pytest.mark.long
@pytest.mark.timeout(900)
def test_windows_keep_the_clock_at_every_transition() -> None:
    """All zones of tzdata, all transitions of 2000 to 2040."""
    assert len(transitions()) > 5_000
    assert [told for name, at in transitions() for told in check(name, at)] == []
