"""Hours in which a gate may open: days, zones, clocks that are set forward and back, holidays, and waiting times."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from approval_resource.errors import ConfigError
from approval_resource.policy.authoring.lint import lint
from approval_resource.policy.decision import Waiting
from approval_resource.policy.kinds import windows
from approval_resource.policy.language.days import DAYS
from approval_resource.policy.language.document import Policy, Window
from approval_resource.policy.language.load import load
from tests.policy.asking import ANA, Document, answer, approval, asked, policy, utc, why

MINUTE = timedelta(minutes=1)
PARIS = "Europe/Paris"


def opening(*listed: Document, **options: Any) -> Policy:
    """A policy with those windows."""
    return policy(required_approvals=1, windows=list(listed), **options)


def is_open(one: Policy, at: str) -> bool:
    """Whether it is open then, in UTC."""
    return windows.is_open(one, utc(at))


OFFICE: Document = {"days": "mon-fri", "from": "09:00", "to": "17:00"}
NIGHT: Document = {"days": ["fri"], "from": "22:00", "to": "06:00"}


@pytest.mark.parametrize(
    ("window", "at", "expected"),
    [
        (OFFICE, "2026-11-20 09:00", True),
        (OFFICE, "2026-11-20 08:59", False),
        (OFFICE, "2026-11-20 16:59", True),
        (OFFICE, "2026-11-20 17:00", False),
        (OFFICE, "2026-11-21 12:00", False),
        ({**OFFICE, "tz": PARIS}, "2026-11-20 08:00", True),
        ({**OFFICE, "tz": PARIS}, "2026-11-20 16:00", False),
        ({**OFFICE, "tz": PARIS}, "2026-07-20 07:00", True),
        ({**OFFICE, "tz": "America/New_York"}, "2026-11-20 13:59", False),
        ({**OFFICE, "tz": "America/New_York"}, "2026-11-20 14:00", True),
        ({"days": ["mon"], "tz": "Pacific/Auckland"}, "2026-11-22 12:00", True),
        ({"days": ["mon"], "tz": "Pacific/Auckland"}, "2026-11-23 12:00", False),
        (NIGHT, "2026-11-20 21:59", False),
        (NIGHT, "2026-11-20 22:00", True),
        (NIGHT, "2026-11-21 05:59", True),
        (NIGHT, "2026-11-21 06:00", False),
        (NIGHT, "2026-11-20 05:00", False),
        ({"days": ["fri"], "to": "24:00"}, "2026-11-20 23:59", True),
        ({"days": ["fri"], "to": "24:00"}, "2026-11-21 00:00", False),
        ({"days": ["fri"], "from": "18:00"}, "2026-11-20 23:59", True),
        ({"days": ["fri"], "from": "18:00"}, "2026-11-20 17:59", False),
        ({"days": "sat,sun"}, "2026-11-21 00:00", True),
        ({"days": "fri-mon"}, "2026-11-22 10:00", True),
        ({"days": "fri-mon"}, "2026-11-24 10:00", False),
        ({"days": ["Saturday"]}, "2026-11-21 10:00", True),
        ({}, "2026-11-21 10:00", True),
    ],
)
def test_a_window_is_open_in_its_hours_on_its_days(window: Document, at: str, expected: bool) -> None:
    """From its first minute to the one before its end, by its own zone's clock; one over midnight belongs to the day it begins on."""
    one = opening(window)
    assert is_open(one, at) is expected
    assert answer(one, approval(ANA), now=utc(at)) == ("approve" if expected else "undecided")


def test_a_window_holds_back_and_never_approves() -> None:
    """Open hours alone are nobody's approval, and a rejection doesn't wait for them."""
    one = opening(OFFICE)
    assert answer(one, now=utc("2026-11-20 10:00")) == "undecided"
    assert answer(policy(windows=[OFFICE]), now=utc("2026-11-20 10:00")) == "undecided"
    assert answer(policy(windows=[OFFICE]), approval(ANA), now=utc("2026-11-20 10:00")) == "approve"


def test_holidays_are_days_on_which_no_window_begins() -> None:
    """Of one window, or of all of a policy's; a night that began the day before goes on."""
    one = opening({**OFFICE, "holidays": ["2026-12-25"]}, {"days": ["fri"], "from": "20:00", "to": "21:00"})
    assert not is_open(one, "2026-12-25 10:00")
    assert is_open(one, "2026-12-25 20:30")
    assert is_open(one, "2026-12-24 10:00")
    both = opening(OFFICE, {"days": ["thu", "fri"], "from": "20:00", "to": "02:00"}, holidays=["2026-12-25"])
    assert not is_open(both, "2026-12-25 20:30")
    assert is_open(both, "2026-12-25 01:00")
    assert not is_open(both, "2026-12-26 01:00")


def test_a_holiday_is_a_day_of_the_windows_zone() -> None:
    """Not of UTC."""
    one = opening({"tz": "Pacific/Auckland", "holidays": ["2026-12-25"]})
    assert is_open(one, "2026-12-24 10:59")
    assert not is_open(one, "2026-12-24 11:00")
    assert not is_open(one, "2026-12-25 10:59")
    assert is_open(one, "2026-12-25 11:00")


# ---- clocks that are changed ----------------------------------------------------------


@pytest.mark.parametrize(
    ("from_", "to", "open_from", "open_to"),
    [
        ("01:00", "04:00", "2026-03-29 00:00", "2026-03-29 02:00"),
        ("01:00", "03:00", "2026-03-29 00:00", "2026-03-29 01:00"),
        ("03:00", "04:00", "2026-03-29 01:00", "2026-03-29 02:00"),
        ("00:00", "24:00", "2026-03-28 23:00", "2026-03-29 22:00"),
    ],
)
def test_where_clocks_are_set_forward_a_window_is_an_hour_shorter(from_: str, to: str, open_from: str, open_to: str) -> None:
    """In Paris on 29 March 2026 it is three o'clock right after two."""
    one = opening({"days": ["sun"], "from": from_, "to": to, "tz": PARIS})
    begin, end = utc(open_from), utc(open_to)
    assert [windows.is_open(one, at) for at in (begin - MINUTE, begin, end - MINUTE, end)] == [False, True, True, False]
    assert windows.next_opening(one, begin - MINUTE) == begin


def test_a_window_in_the_hour_that_isnt_there_doesnt_open() -> None:
    """Nor does it open on another day."""
    one = opening({"days": ["sun"], "from": "02:15", "to": "02:45", "tz": PARIS})
    at = utc("2026-03-28 12:00")
    assert not any(windows.is_open(one, at + MINUTE * minute) for minute in range(0, 24 * 60, 5))
    assert windows.next_opening(one, at) == utc("2026-04-05 00:15")


def test_a_window_that_ends_in_the_hour_that_isnt_there_ends_as_it_begins() -> None:
    """At two, when it becomes three: at a quarter to two it is still open."""
    one = opening({"days": ["sun"], "from": "01:00", "to": "02:30", "tz": PARIS})
    assert is_open(one, "2026-03-29 00:45")
    assert not is_open(one, "2026-03-29 01:00")


def test_a_window_that_begins_in_the_hour_that_isnt_there_begins_as_it_ends() -> None:
    """At three: half past two is over then."""
    one = opening({"days": ["sun"], "from": "02:30", "to": "05:00", "tz": PARIS})
    assert is_open(one, "2026-03-29 01:05")


@pytest.mark.parametrize(
    ("from_", "to", "open_from", "open_to"),
    [
        ("01:00", "04:00", "2026-10-24 23:00", "2026-10-25 03:00"),
        ("02:00", "03:00", "2026-10-25 00:00", "2026-10-25 02:00"),
        ("02:30", "02:45", "2026-10-25 00:30", "2026-10-25 00:45"),
        ("00:00", "02:00", "2026-10-24 22:00", "2026-10-25 00:00"),
        ("01:00", "02:30", "2026-10-24 23:00", "2026-10-25 00:30"),
        ("00:00", "24:00", "2026-10-24 22:00", "2026-10-25 23:00"),
        ("03:00", "04:00", "2026-10-25 02:00", "2026-10-25 03:00"),
    ],
)
def test_a_window_ends_the_first_time_that_its_end_comes(from_: str, to: str, open_from: str, open_to: str) -> None:
    """In Paris on 25 October 2026 two o'clock comes twice: a window opens and closes at the first; one around both is longer."""
    one = opening({"days": ["sun"], "from": from_, "to": to, "tz": PARIS})
    begin, end = utc(open_from), utc(open_to)
    assert [windows.is_open(one, at) for at in (begin - MINUTE, begin, end - MINUTE, end)] == [False, True, True, False]
    assert windows.next_opening(one, begin - MINUTE) == begin


# ---- against the clock on the wall ------------------------------------------------------

SAMPLES: list[tuple[list[Document], list[str]]] = [
    ([OFFICE], ["2026-11-25"]),
    ([{**OFFICE, "tz": PARIS}, {"days": ["sat"], "from": "10:00", "to": "12:30", "tz": "Asia/Kolkata"}], []),
    ([NIGHT, {"days": "mon,wed", "from": "23:45", "to": "00:15", "tz": "America/St_Johns"}], []),
    ([{"days": ["tue"], "from": "00:00", "to": "24:00", "tz": "Pacific/Chatham"}], ["2026-11-24"]),
    ([{"days": "sat-sun", "from": "12:00", "to": "11:59", "tz": "Australia/Lord_Howe", "holidays": ["2026-11-22"]}], []),
]


def on_the_wall(one: Policy, at: datetime) -> bool:
    """Whether a window is open, by reading the clock of each window's zone."""
    return any(_shows(one, window, at) for window in one.windows)


def _shows(one: Policy, window: Window, at: datetime) -> bool:
    local = at.astimezone(window.tz)
    now, to = f"{local:%H:%M}", window.to

    def begins(day: date) -> bool:
        return DAYS[day.weekday()] in window.days and day not in {*window.holidays, *one.holidays}

    today, yesterday = local.date(), local.date() - timedelta(days=1)
    if window.from_ < to:
        return begins(today) and window.from_ <= now < to
    return (begins(today) and now >= window.from_) or (begins(yesterday) and now < to)


def minutes() -> Iterator[datetime]:
    """Every fifth minute of eight days in which no clock is changed."""
    begin = utc("2026-11-20 00:00")
    return (begin + MINUTE * number for number in range(0, 8 * 24 * 60, 5))


@pytest.mark.parametrize("sample", range(len(SAMPLES)))
def test_windows_agree_with_the_clock_on_the_wall(sample: int) -> None:
    """Open when it says so, and the next opening is the first minute at which a closed one is open."""
    listed, holidays = SAMPLES[sample]
    one = opening(*listed, **({"holidays": holidays} if holidays else {}))
    expected = {at: on_the_wall(one, at) for at in minutes()}
    wrong = [at for at, shown in expected.items() if windows.is_open(one, at) is not shown]
    assert wrong == []
    opens = [at for at, shown in expected.items() if shown and not expected.get(at - 5 * MINUTE, True)]
    for at in [at for at, shown in expected.items() if not shown][::40]:
        later = [begin for begin in opens if begin > at]
        if later:
            assert windows.next_opening(one, at) == later[0]


@pytest.mark.parametrize("day", ["2026-03-29", "2026-10-25", "2026-04-05", "2026-10-04"])
@pytest.mark.parametrize("zone", [PARIS, "Australia/Lord_Howe", "America/New_York"])
def test_next_opening_is_an_opening(day: str, zone: str) -> None:
    """Also around the days on which clocks are changed: at that instant it is open, and a minute before it wasn't."""
    one = opening({"from": "01:40", "to": "03:20", "tz": zone}, {"from": "23:30", "to": "00:30", "tz": zone})
    begin = utc(f"{day} 00:00") - timedelta(days=1)
    for number in range(0, 48 * 60, 20):
        at = begin + MINUTE * number
        opens = windows.next_opening(one, at)
        assert opens is not None
        assert opens > at
        assert windows.is_open(one, opens)


def test_a_window_that_never_opens_is_told() -> None:
    """By lint, and in the reason."""
    holidays = [f"{date(2025, 12, 28) + timedelta(days=7 * week)}" for week in range(130)]
    document: Document = {"required_approvals": 1, "windows": [{"days": ["sun"], "holidays": holidays}]}
    (found,) = lint(load(document, "p")[0])
    assert "none of the windows ever opens" in found.message
    decision = asked(policy(**document), approval(ANA), now=utc("2026-01-02 12:00"))
    assert isinstance(decision, Waiting)
    assert decision.opens_at is None
    assert "none of its windows ever opens" in why(decision)


# ---- waiting times, and when a decision may change ---------------------------------------


def test_a_waiting_time_is_counted_from_the_claim() -> None:
    """An hour is over an hour after it was made."""
    one = policy(required_approvals=1, not_before="1h")
    assert answer(one, approval(ANA), now=utc("2026-11-21 12:59")) == "undecided"
    assert answer(one, approval(ANA), now=utc("2026-11-21 13:00")) == "approve"
    assert answer(one, now=utc("2026-11-21 13:00")) == "undecided"


@pytest.mark.parametrize(
    "instant", ["2026-11-22T09:00:00Z", "2026-11-22T10:00:00+01:00", "2026-11-22 09:00Z", "2026-11-22t09:00:00.000z"]
)
def test_a_waiting_time_may_be_an_instant(instant: str) -> None:
    """With its zone."""
    one = policy(required_approvals=1, not_before=instant)
    assert answer(one, approval(ANA), now=utc("2026-11-22 08:59")) == "undecided"
    assert answer(one, approval(ANA), now=utc("2026-11-22 09:00")) == "approve"


def test_an_instant_that_is_waited_for_is_told_in_utc() -> None:
    """As it says itself."""
    decision = asked(policy(required_approvals=1, not_before="2026-11-22T09:00:00Z"), approval(ANA))
    assert "not before 2026-11-22 09:00:00 UTC" in why(decision)


def test_an_instant_with_an_offset_is_told_in_utc_too() -> None:
    """Two hours earlier than it was written."""
    decision = asked(policy(required_approvals=1, not_before="2026-11-22T09:00:00+02:00"), approval(ANA))
    assert "not before 2026-11-22 07:00:00 UTC" in why(decision)


@pytest.mark.parametrize("wrong", ["2026-11-22T09:00:00", "2026-02-30T09:00:00Z", "tomorrow", -1, True, "0s", "400d"])
def test_a_waiting_time_that_is_none_is_a_configuration_error(wrong: object) -> None:
    """An instant without a zone included."""
    with pytest.raises(ConfigError):
        load({"required_approvals": 1, "not_before": wrong}, "p")


def opens_at(*policies: Policy, reviewed: bool = True) -> datetime | None:
    """When time alone may complete the approval, asked on Saturday at noon."""
    decision = asked(policies, *([approval(ANA)] if reviewed else []))
    assert isinstance(decision, Waiting)
    return decision.opens_at


def test_a_decision_tells_when_time_alone_may_complete_it() -> None:
    """The next opening, or the end of the waiting time, whichever is later; None while people are missing."""
    monday = utc("2026-11-23 09:00")
    assert opens_at(opening(OFFICE)) == monday
    assert opens_at(opening(OFFICE), reviewed=False) is None
    assert opens_at(policy(required_approvals=1, not_before="1h")) == utc("2026-11-21 13:00")
    assert opens_at(opening(OFFICE, not_before="1h")) == monday
    assert opens_at(opening(OFFICE, not_before="3d")) == utc("2026-11-24 12:00")


def test_of_several_documents_the_latest_opening_counts() -> None:
    """Each has its own windows; the gate opens once all are open."""
    monday, tuesday = opening(OFFICE), opening({**OFFICE, "days": ["tue"]})
    assert opens_at(monday, tuesday) == utc("2026-11-24 09:00")
    assert opens_at(monday, policy(required_approvals=1)) == utc("2026-11-23 09:00")
    assert opens_at(monday, policy(required_approvals=2)) is None
    assert answer([monday, tuesday], approval(ANA), now=utc("2026-11-23 10:00")) == "undecided"
    assert answer([monday, tuesday], approval(ANA), now=utc("2026-11-24 10:00")) == "approve"


def test_documents_whose_windows_never_meet_never_approve() -> None:
    """Each opening only leads to the next."""
    monday, tuesday = opening({"days": ["mon"]}), opening({"days": ["tue"]})
    at = utc("2026-11-21 12:00")
    for _ in range(6):
        decision = asked([monday, tuesday], approval(ANA), now=at)
        assert isinstance(decision, Waiting)
        assert decision.opens_at is not None
        assert decision.opens_at > at
        at = decision.opens_at


def test_a_selector_takes_no_window_away() -> None:
    """Where conditions don't apply the hours still hold, and what is left asks for one approval as hours alone do."""
    one = policy(selector={"env": "prod"}, conditions={"ok": True}, on_policy_success="approve", windows=[OFFICE])
    given = {"ok": True}
    assert answer(one, approval(ANA), given={**given, "env": "dev"}) == "undecided"
    assert answer(one, approval(ANA), given={**given, "env": "dev"}, now=utc("2026-11-23 10:00")) == "approve"
    assert answer(one, given={**given, "env": "dev"}, now=utc("2026-11-23 10:00")) == "undecided"
    assert answer(one, given={**given, "env": "prod"}) == "undecided"
    assert answer(one, given={**given, "env": "prod"}, now=utc("2026-11-23 10:00")) == "approve"


@pytest.mark.parametrize(
    "window",
    [
        {"from": "09:00", "to": "09:00"},
        {"from": "24:00"},
        {"from": "00:00", "to": "00:00"},
        {"from": "9:00"},
        {"from": 900},
        {"to": "25:00"},
        {"to": "12:60"},
        {"days": []},
        {"days": ["someday"]},
        pytest.param({"days": "mon-"}),
        {"days": "monster"},
        {"days": [1]},
        {"tz": "Europe/Parris"},
        {"tz": "../../etc/passwd"},
        {"tz": ""},
        {"tz": 1},
        {"holidays": ["24.12.2026"]},
        {"holidays": ["2026-02-30"]},
    ],
    ids=str,
)
def test_a_window_that_makes_no_sense_is_a_configuration_error(window: Document) -> None:
    """Told with what to write."""
    with pytest.raises(ConfigError):
        load({"required_approvals": 1, "windows": [window]}, "p")


def test_every_zone_is_read_from_the_package_that_comes_along() -> None:
    """Zones that clocks know: the image has no others."""
    assert opening({"tz": PARIS}).windows[0].tz == ZoneInfo(PARIS)


@pytest.mark.parametrize(
    ("window", "words"),
    [
        ({"from": "09:00", "to": "09:00"}, "from and to are both 09:00, so it never opens; for the whole day leave both out"),
        ({"from": "00:00", "to": "00:00"}, "from and to are both 00:00"),
        ({"from": "24:00"}, "can't begin at 24:00"),
    ],
)
def test_a_window_without_time_is_told_as_what_it_is(window: Document, words: str) -> None:
    """And what to write where the whole day is meant."""
    with pytest.raises(ConfigError) as caught:
        load({"required_approvals": 1, "windows": [window]}, "p")
    assert words in str(caught.value)


@pytest.mark.parametrize("zone", ["EST5EDT", "America/New_York", "CET", "UTC", "Etc/UTC", "Asia/Tokyo"])
def test_zones_that_are_as_they_are_called_are_not_commented_on(zone: str) -> None:
    """Those that follow daylight saving, and those that nobody takes for one that does."""
    assert lint(load({"windows": [{"tz": zone}]}, "p")[0]) == []
