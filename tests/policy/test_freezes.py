"""Freezes in policies: times in which nothing is approved, by the clock of their zone, with whoever may break the glass."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from approval_resource.errors import ConfigError
from approval_resource.policy.decision import Waiting
from approval_resource.policy.kinds import freezes, windows
from approval_resource.policy.language.load import load
from tests.policy.asking import ANA, BOB, Document, answer, approval, asked, policy, rejection, utc, why

CHECKED = settings(deadline=None, database=None, derandomize=True, max_examples=100, suppress_health_check=list(HealthCheck))
MINUTE = timedelta(minutes=1)
XMAS: Document = {"from": "2026-12-24", "until": "2026-12-26", "reason": "Christmas"}


def frozen(*listed: Document, **options: Any) -> Any:
    """A policy of one approval with those freezes."""
    return policy(**{"required_approvals": 1, "freezes": list(listed), **options})


@pytest.mark.parametrize(
    ("freeze", "begin", "end"),
    [
        (XMAS, "2026-12-24 00:00", "2026-12-27 00:00"),
        ({**XMAS, "tz": "Europe/Paris"}, "2026-12-23 23:00", "2026-12-26 23:00"),
        ({"from": "2026-12-24", "until": "2026-12-24"}, "2026-12-24 00:00", "2026-12-25 00:00"),
        ({"from": "2026-12-24 18:00", "until": "2026-12-24T19:30"}, "2026-12-24 18:00", "2026-12-24 19:30"),
        ({"from": "2026-12-24 18:00", "until": "2026-12-25", "tz": "America/New_York"}, "2026-12-24 23:00", "2026-12-26 05:00"),
        ({"from": "2026-12-24T18:00:00Z", "until": "2026-12-24T18:00:00-02:00"}, "2026-12-24 18:00", "2026-12-24 20:00"),
        # Where two o'clock comes twice, or not at all, it is frozen from the earlier to the later.
        (
            {"from": "2026-10-25 02:30", "until": "2026-10-25 02:45", "tz": "Europe/Paris"},
            "2026-10-25 00:30",
            "2026-10-25 01:45",
        ),
        (
            {"from": "2026-03-29 02:30", "until": "2026-03-29 02:45", "tz": "Europe/Paris"},
            "2026-03-29 00:30",
            "2026-03-29 01:45",
        ),
    ],
)
def test_a_freeze_holds_from_its_first_instant_to_its_last(freeze: Document, begin: str, end: str) -> None:
    """Nobody's approval opens anything then, a rejection ends the claim, and outside nothing is different."""
    one = frozen(freeze)
    first, last = utc(begin), utc(end)
    for at, expected in ((first - MINUTE, "approve"), (first, "undecided"), (last - MINUTE, "undecided"), (last, "approve")):
        assert answer(one, approval(ANA, at), now=at) == expected
        assert answer(one, rejection(ANA, at), now=at) == "reject"
    decision = asked(one, approval(ANA, first), now=first)
    assert isinstance(decision, Waiting)
    assert decision.opens_at == last


def test_the_reason_tells_until_when_and_why() -> None:
    """In the freeze's own zone."""
    told = why(asked(frozen({**XMAS, "tz": "Europe/Paris"}), approval(ANA), now=utc("2026-12-25 12:00")))
    assert told == "frozen until Sun 2026-12-27 00:00 Europe/Paris: Christmas"


def test_freezes_that_meet_are_one() -> None:
    """The gate opens after the last; with windows, once those are open too."""
    listed = [XMAS, {"from": "2026-12-27", "until": "2027-01-01", "reason": "the year's end"}]
    decision = asked(frozen(*listed), approval(ANA), now=utc("2026-12-25 12:00"))
    assert isinstance(decision, Waiting)
    assert decision.opens_at == utc("2027-01-02 00:00")
    office = {"windows": [{"days": "mon-fri", "from": "09:00", "to": "17:00"}]}
    assert answer(frozen(*listed, **office), approval(ANA), now=utc("2027-01-02 10:00")) == "undecided"
    assert answer(frozen(*listed, **office), approval(ANA), now=utc("2027-01-04 10:00")) == "approve"


def test_whoever_may_break_the_glass_passes() -> None:
    """By force and with a reason; nobody else."""
    one = frozen(XMAS, bypass={"users": [ANA]})
    noon = utc("2026-12-25 12:00")
    assert answer(one, approval(ANA, noon), now=noon) == "undecided"
    assert answer(one, approval(ANA, noon, forced=True, comment="fire"), now=noon) == "approve"
    assert answer(one, approval(BOB, noon, forced=True, comment="fire"), now=noon) == "undecided"


def test_a_document_that_only_freezes_asks_for_one_approval() -> None:
    """As one with windows alone; a freeze never approves."""
    one = policy(freezes=[XMAS])
    assert answer(one) == "undecided"
    assert answer(one, approval(ANA)) == "approve"
    assert answer(one, approval(ANA), now=utc("2026-12-25 12:00")) == "undecided"


@pytest.mark.parametrize(
    "word", ["blackout", "blackouts", "Blackout", "moratorium", "moratoria", "freeze", "frezes", "change_freeze"]
)
def test_the_words_of_other_systems_lead_to_freezes(word: str) -> None:
    """Wherever they stand."""
    with pytest.raises(ConfigError, match='unknown option; did you mean "freezes"'):
        load({"required_approvals": 1, word: [XMAS]}, "p")


@pytest.mark.parametrize(
    "freeze",
    [
        {},
        {"from": "2026-12-24"},
        {"from": "2026-12-26", "until": "2026-12-24"},
        {"from": "2026-12-24 18:00", "until": "2026-12-24 18:00"},
        {"from": "2026-02-29", "until": "2026-03-01"},
        {"from": "12-24", "until": "12-26"},
        {"from": "2026-12-24 25:00", "until": "2026-12-26"},
        {"from": "0001-01-01", "until": "9999-12-31"},
        {"from": 20261224, "until": "2026-12-26"},
        {**XMAS, "tz": "Mars"},
        {**XMAS, "reason": "x" * 256},
        {**XMAS, "days": ["mon"]},
    ],
    ids=str,
)
def test_a_freeze_that_makes_no_sense_is_a_configuration_error(freeze: Document) -> None:
    """Never a traceback, and never a freeze that doesn't freeze."""
    with pytest.raises(ConfigError):
        load({"required_approvals": 1, "freezes": [freeze]}, "p")


LOCAL = st.datetimes(datetime(2026, 1, 1), datetime(2027, 12, 31)).map(lambda at: at.replace(second=0, microsecond=0))  # noqa: DTZ001
ZONES = st.sampled_from(
    ("UTC", "Europe/Paris", "America/New_York", "Pacific/Chatham", "Africa/Casablanca", "Australia/Lord_Howe")
)


@CHECKED
@given(LOCAL, st.integers(1, 60 * 24 * 20), ZONES, st.integers(-60 * 24, 60 * 24 * 21))
def test_a_freeze_holds_whenever_its_clock_shows_a_time_within(begin: datetime, minutes: int, zone: str, at: int) -> None:
    """By reading the clock of its zone: a time between its ends is always frozen."""
    end = begin + minutes * MINUTE
    one = frozen({"from": f"{begin:%Y-%m-%d %H:%M}", "until": f"{end:%Y-%m-%d %H:%M}", "tz": zone})
    now = begin.replace(tzinfo=UTC) + at * MINUTE
    shown = now.astimezone(ZoneInfo(zone)).replace(tzinfo=None, fold=0)
    if begin <= shown < end:
        assert freezes.in_effect(one, now)
        assert freezes.thaws(one.freezes, now) > now
    if shown < begin - timedelta(hours=3) or shown > end + timedelta(hours=3):
        assert not freezes.in_effect(one, now)
        assert freezes.thaws(one.freezes, now) == now


# ---- holidays in ranges, and dates that aren't there ------------------------------------


def test_holidays_may_be_a_range_of_dates() -> None:
    """Of a document or of one window, both ends included, beside single dates."""
    off = [{"from": "2026-12-24", "until": "2027-01-01"}, "2027-01-05"]
    for one in (
        policy(windows=[{}], holidays=off, required_approvals=1),
        policy(windows=[{"holidays": off}], required_approvals=1),
    ):
        opened = {day: windows.is_open(one, utc(f"{day} 12:00")) for day in ("2026-12-23", "2027-01-02", "2027-01-04")}
        assert all(opened.values())
        for day in ("2026-12-24", "2026-12-28", "2027-01-01", "2027-01-05"):
            assert not windows.is_open(one, utc(f"{day} 12:00"))


@pytest.mark.parametrize(
    ("holiday", "words"),
    [
        ("2026-02-29", "there is no 2026-02-29: 2026 is no leap year"),
        ("2100-02-29", "2100 is no leap year"),
        ("2026-02-30", "there is no 2026-02-30"),
        ("2026-13-01", "there is no 2026-13-01"),
        ("12-25", "12-25 has no year"),
        ("02-29", "02-29 has no year"),
        ("24.12.2026", "must be a date such as"),
        ({"from": "2026-12-24"}, "a range of holidays has from and until"),
        ({"from": "2026-12-24", "to": "2027-01-01"}, "a range of holidays has from and until"),
        ({"from": "2027-01-01", "until": "2026-12-24"}, "can't end before it begins"),
        ({"from": "2026-02-29", "until": "2026-03-01"}, "2026 is no leap year"),
        ({"from": "0001-01-01", "until": "9999-12-31"}, "has at most 1000 days"),
    ],
    ids=str,
)
def test_a_holiday_that_is_none_is_told_as_what_it_is(holiday: object, words: str) -> None:
    """With the day, and why there is no such day."""
    for document in ({"windows": [{}], "holidays": [holiday]}, {"windows": [{"holidays": [holiday]}]}):
        with pytest.raises(ConfigError) as caught:
            load(document, "p")
        assert words in str(caught.value)


def test_leap_days_are_days() -> None:
    """In a list of each year's, those that are there."""
    one = policy(windows=[{}], holidays=["2028-02-29", "2032-02-29"], required_approvals=1)
    assert not windows.is_open(one, utc("2028-02-29 12:00"))
