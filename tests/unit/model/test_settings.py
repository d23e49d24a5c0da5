"""What may be gone by age: each event by the setting of its time, and never a setting's own event."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from approval_resource.model.settings import DEFAULT_RETENTION_DAYS, Retention, Settings
from tests.builders import NOON

DAY = timedelta(days=1)
MICROSECOND = timedelta(microseconds=1)
BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)
Log = list[tuple[datetime, int | None]]
"""Events, oldest first: when each happened, and for how many days what follows is kept where it changed that."""
LOGS = st.lists(st.tuples(st.integers(0, 900), st.one_of(st.none(), st.none(), st.sampled_from([0, 1, 30, 400]))), max_size=12)


def log_of(steps: list[tuple[int, int | None]]) -> Log:
    """A log whose events lie so many hours apart."""
    at, log = NOON, Log()
    for hours, days in steps:
        at += timedelta(hours=hours) + MICROSECOND
        log.append((at, days))
    return log


def settings_of(log: Log) -> Settings:
    """The settings that such a log leaves behind."""
    retentions: list[Retention] = []
    for number, (at, days) in enumerate(log):
        if days is not None:
            retentions = retentions or [Retention(BEGINNING, DEFAULT_RETENTION_DAYS, 0, None)]
            retentions.append(Retention(at, days, number + 1, log[number - 1][0] if number else None))
    return Settings(pool="payments", retentions=tuple(retentions))


def test_without_a_setting_everything_is_kept_for_400_days() -> None:
    """Up to the last microsecond, and not longer than one may rely on."""
    settings = Settings(pool="payments")
    assert settings.retention_days == DEFAULT_RETENTION_DAYS == 400
    assert not settings.may_be_gone(NOON, NOON + 400 * DAY - MICROSECOND)
    assert settings.may_be_gone(NOON, NOON + 400 * DAY)


def test_lowering_the_time_excuses_nothing_that_came_before() -> None:
    """An event is kept as long as was set when it happened, whatever was set since."""
    settings = settings_of([(NOON, None), (NOON + DAY, 7), (NOON + 2 * DAY, None)])
    now = NOON + 30 * DAY
    assert not settings.may_be_gone(NOON, now)
    assert settings.may_be_gone(NOON + 2 * DAY, now)
    assert settings.may_be_gone(NOON, NOON + 400 * DAY)


def test_zero_days_mean_for_ever() -> None:
    """Nothing of that time may ever be missing."""
    settings = settings_of([(NOON, 0)])
    assert settings.retention is None
    assert not settings.may_be_gone(NOON + DAY, NOON + 36_500 * DAY)


def test_what_is_older_than_every_setting_kept_may_be_gone() -> None:
    """Settings are forgotten once nothing of their time can be left."""
    settings = Settings(pool="payments", retentions=(Retention(NOON, 0, 5, None),))
    assert settings.may_be_gone(NOON - MICROSECOND, NOON)
    assert not settings.may_be_gone(NOON, NOON + 1000 * DAY)


@pytest.mark.parametrize(
    ("oldest", "newest", "gone"), [(1, 1, True), (1, 2, False), (2, 2, False), (2, 3, False), (3, 3, True)]
)
def test_a_setting_s_own_event_is_never_gone(oldest: int, newest: int, gone: bool) -> None:
    """A gap that would hide one is always a fault, however old it is."""
    settings = settings_of([(NOON, None), (NOON + DAY, 7), (NOON + 2 * DAY, None)])
    assert settings.all_may_be_gone(oldest, newest, NOON + 2 * DAY, NOON + 1000 * DAY) is gone


def test_a_gap_may_be_gone_from_the_instant_on_at_which_its_newest_event_may() -> None:
    """Not a microsecond before, by the default and by a setting."""
    for settings, days in ((Settings(pool="payments"), 400), (settings_of([(NOON, 7), (NOON, None)]), 7)):
        assert not settings.all_may_be_gone(2, 2, NOON, NOON + days * DAY - MICROSECOND)
        assert settings.all_may_be_gone(2, 2, NOON, NOON + days * DAY)


@given(LOGS, st.integers(0, 500))
def test_a_gap_may_be_gone_exactly_if_each_of_its_events_may(steps: list[tuple[int, int | None]], days: int) -> None:
    """For every gap in any log: all its events are over by the setting of their time, and none is a setting's."""
    log = log_of(steps)
    settings = settings_of(log)
    now = NOON + timedelta(days=days)
    for oldest in range(1, len(log) + 1):
        for newest in range(oldest, len(log) + 1):
            events = log[oldest - 1 : newest]
            each = all(kept is None and settings.may_be_gone(at, now) for at, kept in events)
            assert settings.all_may_be_gone(oldest, newest, events[-1][0], now) is each


@given(LOGS, st.integers(0, 500), st.integers(0, 500))
def test_what_may_be_gone_may_be_gone_ever_after(steps: list[tuple[int, int | None]], days: int, more: int) -> None:
    """Time alone takes no excuse back."""
    log = log_of(steps)
    settings = settings_of(log)
    now = NOON + timedelta(days=days)
    for at, _ in log:
        assert not settings.may_be_gone(at, now) or settings.may_be_gone(at, now + timedelta(days=more))
