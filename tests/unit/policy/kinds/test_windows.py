"""Windows by the instant: open exactly between an opening and an end, whatever the zone's clocks do."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from approval_resource.policy.kinds.waiting import shut_until
from approval_resource.policy.kinds.windows import is_open, next_opening, told
from approval_resource.policy.language.days import DAYS
from approval_resource.policy.language.document import Policy
from tests.builders import NOON
from tests.policy.asking import policy

SECOND = timedelta(seconds=1)
INSTANTS = st.datetimes(datetime(2025, 1, 1), datetime(2028, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
TIMES = st.integers(0, 95).map(lambda quarter: f"{quarter // 4:02}:{quarter % 4 * 15:02}")
ZONES = st.sampled_from(["UTC", "Europe/Paris", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu", "Pacific/Apia"])
WINDOWS = st.fixed_dictionaries(
    {"days": st.lists(st.sampled_from(DAYS), min_size=1, unique=True), "from": TIMES, "to": TIMES, "tz": ZONES}
).filter(lambda window: window["from"] != window["to"])


def opening(*listed: dict[str, Any], **options: Any) -> Policy:
    """A policy with those windows."""
    return policy(required_approvals=1, windows=list(listed), **options)


def test_without_windows_a_policy_is_always_open() -> None:
    """Time holds back only where a policy says so."""
    assert is_open(policy(required_approvals=1), NOON)
    assert next_opening(policy(required_approvals=1), NOON) is None


def test_one_open_window_is_enough() -> None:
    """Each of several may open the gate by itself. NOON is a Saturday."""
    office, weekend = {"days": "mon-fri"}, {"days": "sat,sun"}
    assert not is_open(opening(office), NOON)
    assert is_open(opening(office, weekend), NOON)


def test_a_closed_day_opens_no_window() -> None:
    """Of the window's own holidays, and of the whole policy's."""
    saturday = {"days": ["sat"]}
    assert is_open(opening(saturday), NOON)
    assert not is_open(opening({**saturday, "holidays": ["2026-11-21"]}), NOON)
    assert not is_open(opening(saturday, holidays=["2026-11-21"]), NOON)


@given(st.lists(WINDOWS, min_size=1, max_size=2), INSTANTS)
@settings(max_examples=60, deadline=None)
def test_the_next_opening_is_the_first_instant_that_is_open(listed: list[dict[str, Any]], now: datetime) -> None:
    """From a closed gate on: nothing is open before it, and it is open then."""
    one = opening(*listed)
    at = next_opening(one, now)
    assert at is not None
    assert at > now
    assert is_open(one, at)
    if not is_open(one, now):
        assert not is_open(one, at - SECOND) or at - SECOND < now
        assert not any(is_open(one, now + (at - now) * part / 8) for part in range(8))


@given(WINDOWS, INSTANTS)
@settings(max_examples=60, deadline=None)
def test_another_window_never_closes_a_gate(listed: dict[str, Any], now: datetime) -> None:
    """Windows add up."""
    other = {"days": ["wed"], "from": "10:00", "to": "11:00"}
    assert is_open(opening(listed, other), now) == (is_open(opening(listed), now) or is_open(opening(other), now))


@pytest.mark.parametrize(("not_before", "begins"), [("2h", NOON + timedelta(hours=2)), ("2026-12-01T00:00:00Z", None)])
def test_a_waiting_time_counts_from_the_claim_and_an_instant_from_nothing(not_before: str, begins: datetime | None) -> None:
    """Two claims wait equally long, or until the same moment."""
    one = policy(required_approvals=1, not_before=not_before)
    assert shut_until(one, NOON) == (begins or datetime(2026, 12, 1, tzinfo=UTC))
    assert shut_until(policy(required_approvals=1), NOON) is None


def test_an_opening_is_told_in_the_window_s_zone() -> None:
    """People read their own clock."""
    [window] = opening({"tz": "Europe/Paris"}).windows
    assert told(NOON, [window]) == "Sat 2026-11-21 13:00 Europe/Paris"
