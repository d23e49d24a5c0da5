"""The store's clock rules, however the host's behaves."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from approval_resource.clock import HostClock, StoreClock
from tests.builders import ManualClock

DATE = "Sat, 21 Nov 2026 12:00:00 GMT"
NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)


def test_nobody_knows_the_time_before_the_first_answer() -> None:
    """No host's wall clock fills in."""
    assert StoreClock(ManualClock()).now() is None


def test_time_is_carried_on_between_answers() -> None:
    """The monotonic clock counts from the newest answer."""
    clock = ManualClock()
    time = StoreClock(clock)
    time.observe(DATE)
    clock.sleep(2.5)
    assert time.now() == NOON + timedelta(seconds=2.5)


def test_an_answer_within_the_second_does_not_set_time_back() -> None:
    """A Date tells whole seconds; what is known better is kept."""
    clock = ManualClock()
    time = StoreClock(clock)
    time.observe(DATE)
    clock.sleep(0.7)
    time.observe(DATE)
    assert time.now() == NOON + timedelta(seconds=0.7)


def test_the_store_is_followed_wherever_its_clock_goes() -> None:
    """Suspended hosts and a store that was set back: the newest answer counts, to a second."""
    clock = ManualClock()
    time = StoreClock(clock)
    time.observe(DATE)
    time.observe("Sat, 21 Nov 2026 13:00:00 GMT")
    assert time.now() == NOON + timedelta(hours=1)
    time.observe(DATE)
    assert NOON <= (time.now() or NOON) < NOON + timedelta(seconds=1)


def test_a_date_that_cannot_be_read_is_passed_over() -> None:
    """Time goes on from the answer before."""
    time = StoreClock(ManualClock())
    for date in (None, "", "soon", DATE, "later", "Sat, 21 Nov 2026 14:00:00 -0000"):
        time.observe(date)
    assert time.now() == NOON


def test_the_hosts_clock_sleeps() -> None:
    """The one real sleep of the suite."""
    clock = HostClock()
    before = clock.monotonic()
    clock.sleep(0.01)
    assert clock.monotonic() - before >= 0.01
