"""Dates, times and time zones, as people write them in a policy."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date, datetime, timedelta
from typing import Annotated, Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import BeforeValidator
from pydantic_core import PydanticCustomError

from approval_resource.policy.language.days import DAYS
from approval_resource.policy.language.strict import Duration

MAX_HOLIDAYS = 1_000
"""Upper bound of the holidays of a document or of a window, in days."""
A_DATE = re.compile(r"\d{4}-\d\d-\d\d")
CLOCK = re.compile(r"([01]\d|2[0-3]):([0-5]\d)|24:00")
LOCAL = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d)?")
INSTANT = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d(:\d\d(\.\d+)?)?([Zz]|[+-]\d\d:\d\d)")


def _date(value: object) -> date:
    if isinstance(value, date) and not isinstance(value, datetime):
        return value
    if isinstance(value, str) and A_DATE.fullmatch(value):
        try:
            return date.fromisoformat(value)
        except ValueError:
            leap = " is no leap year and" if value.endswith("-02-29") else ""
            told = "there is no {day}: {year}{leap} has no such day"
            raise PydanticCustomError("date", told, {"day": value, "year": value[:4], "leap": leap}) from None
    if isinstance(value, str) and re.fullmatch(r"\d\d-\d\d", value):
        raise PydanticCustomError("date", "{day} has no year: each is one date, such as 2026-12-24", {"day": value})
    raise PydanticCustomError("date", "must be a date such as 2026-12-24")


def _holidays(value: object) -> object:
    """Expand each range of dates in a list of holidays to its days."""
    if not isinstance(value, list):
        return value
    found: list[object] = []
    for one in value:
        if not isinstance(one, Mapping):
            found.append(one)
            continue
        if one.keys() != {"from", "until"}:
            raise PydanticCustomError("range", "a range of holidays has from and until, the first and the last day")
        first, last = _date(one["from"]), _date(one["until"])
        if not 0 <= (last - first).days < MAX_HOLIDAYS:
            raise PydanticCustomError(
                "range", "a range of holidays can't end before it begins, and has at most {most} days", {"most": MAX_HOLIDAYS}
            )
        found += [first + timedelta(days=day) for day in range((last - first).days + 1)]
    if len(found) > MAX_HOLIDAYS:
        raise PydanticCustomError("range", "at most {most} days can be holidays", {"most": MAX_HOLIDAYS})
    return found


def _moment(value: object) -> object:
    """Parse a date, a local time, or an instant with its time zone."""
    if isinstance(value, str) and (LOCAL.fullmatch(value) or INSTANT.fullmatch(value)):
        try:
            return datetime.fromisoformat(value.upper())
        except ValueError:
            raise PydanticCustomError("moment", "there is no {moment}", {"moment": value}) from None
    if isinstance(value, str) and A_DATE.fullmatch(value):
        return _date(value)
    raise PydanticCustomError("moment", 'must be a date such as 2026-12-24, or a time such as "2026-12-24 18:00"')


def _clock(value: object) -> object:
    if not isinstance(value, str) or not CLOCK.fullmatch(value):
        raise PydanticCustomError("clock", 'must be a time of day such as "09:00", in quotes, from "00:00" to "24:00"')
    return value


def _days(value: object) -> object:
    if isinstance(value, str):
        value = [part.strip() for part in value.split(",")]
    if not isinstance(value, list) or not value or not all(isinstance(day, str) for day in value):
        raise PydanticCustomError("days", "must be a list of days, such as [mon, tue]")
    found: list[str] = []
    for day in value:
        first, dash, last = day.lower().partition("-")
        ends = [DAYS.index(part[:3]) for part in (first, last if dash else first) if part[:3] in DAYS and _is_day(part)]
        if len(ends) != 2:
            raise PydanticCustomError("days", "unknown day; use mon, tue, wed, thu, fri, sat, sun, or mon-fri")
        count = (ends[1] - ends[0]) % 7 + 1
        found += [DAYS[(ends[0] + step) % 7] for step in range(count)]
    return list(dict.fromkeys(found))


def _is_day(word: str) -> bool:
    full = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
    return any(word in (name, name[:3]) for name in full)


def _zone(value: object) -> object:
    try:
        if isinstance(value, str):
            return ZoneInfo(value)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        pass
    raise PydanticCustomError("zone", "must be a time zone such as Europe/Paris or UTC")


def _not_before(value: object) -> object:
    if isinstance(value, str) and INSTANT.fullmatch(value):
        try:
            return datetime.fromisoformat(value.upper())
        except ValueError:
            pass
    return value


Date = Annotated[date, BeforeValidator(_date)]
Holidays = Annotated[list[Date], BeforeValidator(_holidays)]
Moment = Annotated[Any, BeforeValidator(_moment)]
TimeOfDay = Annotated[str, BeforeValidator(_clock)]
Zone = Annotated[ZoneInfo, BeforeValidator(_zone)]
Days = Annotated[list[str], BeforeValidator(_days)]
NotBefore = Annotated[datetime | Duration | None, BeforeValidator(_not_before)]
