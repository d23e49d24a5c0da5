"""Windows: hours in which a gate may open."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime, time, timedelta
from typing import TYPE_CHECKING

from approval_resource.policy.decision import Answer, Explanation
from approval_resource.policy.kinds.kind import Part, View
from approval_resource.policy.language.days import DAYS

if TYPE_CHECKING:
    from approval_resource.policy.language.document import Policy, Window


PRECISION = timedelta(seconds=1)
LOOK_AHEAD = 800
"""Upper bound of the search for the next window, in days."""


DAYLIGHT_SAVING = {"EST": "America/New_York", "MST": "America/Denver", "HST": "Pacific/Honolulu", "GMT": "Europe/London"}
"""Legacy time zones with one offset all year, each with the zone that people may have meant."""


def judge(view: View) -> Part:
    """Delay the gate until a window is open."""
    policy = view.policy
    if is_open(policy, view.now):
        return Part(answers=[Explanation(Answer.ABSTAIN, "its window is open")])
    at = next_opening(policy, view.now)
    sentence = f"its window opens {told(at, policy.windows)}" if at else "none of its windows ever opens"
    return Part(answers=[Explanation(Answer.UNDECIDED, sentence)], opens_at=at)


def doubtful_zones(policy: Policy) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """Yield each doubtful time zone: its path and a message.

    A zone is doubtful where its name suggests daylight saving that it hasn't, or where its sign is inverted.
    """
    zones = {
        "windows": [one.tz for one in policy.windows],
        "freezes": [one.tz for one in policy.freezes],
        "delegates": [one.tz for one in policy.delegates],
    }
    for option, listed in zones.items():
        for number, zone in enumerate(listed):
            key, offset = zone.key, datetime(2026, 1, 1, tzinfo=zone).strftime("%z")
            told = f"{key} is UTC{offset[:3]}:{offset[3:]} all year, whatever clocks do"
            if key in DAYLIGHT_SAVING:
                yield (option, number, "tz"), f"{told}; write {DAYLIGHT_SAVING[key]} where daylight saving is meant"
            elif re.fullmatch(r"(Etc/)?GMT[-+][1-9]\d*", key):
                yield (option, number, "tz"), f"{told}: its sign is turned round; name a place, such as Europe/Paris"


def is_open(policy: Policy, now: datetime) -> bool:
    """Whether a window of the policy is open. A policy without windows is always open."""
    spans = (span for window in policy.windows for span in _spans(policy, window, now, days=1))
    return not policy.windows or any(begin <= now < end for begin, end in spans)


def next_opening(policy: Policy, now: datetime) -> datetime | None:
    """Return when the next window opens, in UTC; None where none does within LOOK_AHEAD days."""
    firsts = (
        next((begin for begin, end in _spans(policy, window, now, LOOK_AHEAD) if now < begin < end), None)
        for window in policy.windows
    )
    return min((begin for begin in firsts if begin is not None), default=None)


def _spans(policy: Policy, window: Window, now: datetime, days: int) -> Iterator[tuple[datetime, datetime]]:
    """Yield the window's openings as (begin, end), in UTC.

    The days run from the day before `now` to `days` days after it.
    """
    closed = {*window.holidays, *policy.holidays}
    today = now.astimezone(window.tz).date()
    for step in range(-1, days + 1):
        day = today + timedelta(days=step)
        if DAYS[day.weekday()] in window.days and day not in closed and _exists(window, day):
            yield _span(window, day)


def _exists(window: Window, day: date) -> bool:
    """Whether the window's time zone has that day: Samoa skipped 30 December 2011."""
    midnights = (datetime.combine(one, time(), window.tz) for one in (day, day + timedelta(days=1)))
    begin, end = (_instant(at) for at in midnights)
    return begin < end


def _span(window: Window, day: date) -> tuple[datetime, datetime]:
    """Return one opening: when the clock first shows `from`, and when it first shows `to`.

    Where clocks are set back, a time that occurs twice counts the first time. So a window never stays open
    past its end.
    """
    begin, end = window.hours
    last = day + timedelta(days=1) if end is None or end <= begin else day
    end_at = datetime.combine(last, end or begin.replace(hour=0, minute=0), window.tz)
    return _instant(datetime.combine(day, begin, window.tz)), _instant(end_at)


def _instant(at: datetime) -> datetime:
    """Return a local time in UTC.

    A time that occurs twice means its first occurrence. A time that clocks skip means the instant of the
    skip.
    """
    found = at.astimezone(UTC)
    if found.astimezone(at.tzinfo).replace(tzinfo=None) == at.replace(tzinfo=None):
        return found
    before, after = sorted(at.replace(fold=fold).astimezone(UTC) for fold in (0, 1))
    offset = before.astimezone(at.tzinfo).utcoffset()
    while after - before > PRECISION:
        middle = before + (after - before) / 2
        before, after = (middle, after) if middle.astimezone(at.tzinfo).utcoffset() == offset else (before, middle)
    return after.replace(microsecond=0)


def told(at: datetime, zones: Iterable[Window]) -> str:
    """Describe an instant for people, in the first window's time zone."""
    zone = next(iter(zones)).tz
    local = at.astimezone(zone)
    return f"{local:%a %Y-%m-%d %H:%M} {zone.key}"
