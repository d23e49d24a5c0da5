"""Windows around every change of a clock: each zone of tzdata, each transition of 2000 to 2040, against the zone's own clock."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
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


def _changes(zone: ZoneInfo) -> Iterator[datetime]:
    at, offset = FIRST, FIRST.astimezone(zone).utcoffset()
    while at < LAST:
        after = at + DAY
        now = after.astimezone(zone).utcoffset()
        if now != offset:
            hours = range(int(DAY / SECOND) + 1)
            second = bisect_left(
                hours, True, key=lambda s, at=at, old=offset: (at + s * SECOND).astimezone(zone).utcoffset() != old
            )
            yield at + second * SECOND
        at, offset = after, now


def first_shown(zone: ZoneInfo, wall: datetime, near: datetime) -> datetime:
    """The first second at which the zone's clock shows that time or a later one, found by watching the clock around a transition."""

    def shows(at: datetime) -> bool:
        return at.astimezone(zone).replace(tzinfo=None, fold=0) >= wall

    # Before and after the transition the clock only goes forward, so each side is searched by itself.
    for begin, end in ((near - 3 * DAY, near - SECOND), (near, near + 3 * DAY)):
        seconds = range(int((end - begin) / SECOND) + 1)
        second = bisect_left(seconds, True, key=lambda s, begin=begin: shows(begin + s * SECOND))
        if second < len(seconds):
            return begin + second * SECOND
    raise AssertionError(f"{zone.key} never shows {wall} near {near}")


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
                from_, to = first_shown(zone, opens, at), first_shown(zone, opens + (end - begin), at)
                tried = {from_: from_ < to, to - SECOND: from_ < to, from_ - SECOND: False, to: False}
                wrong += [
                    f"{name} {at}: {opens:%m-%d %H:%M} for {end - begin}, at {instant}: {expected}"
                    for instant, expected in tried.items()
                    if windows.is_open(one, instant) is not expected
                ]
    return wrong


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
