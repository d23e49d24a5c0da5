"""Waiting: an outage is sat out and told once; a refusal is not waited for."""

from __future__ import annotations

import pytest

from approval_resource.claims import proof
from approval_resource.claims.poller import Poller
from approval_resource.errors import StoreUnavailableError
from tests.builders import ManualClock


def test_an_outage_is_told_once_and_sat_out() -> None:
    """A hundred failed looks are one line, and one more when the store is back."""
    lines: list[str] = []
    clock = ManualClock()
    left = 100

    def look() -> str:
        nonlocal left
        left -= 1
        if left:
            raise StoreUnavailableError("can't reach DynamoDB", transient=True)
        return "seen"

    assert Poller(clock, 1.0, lines.append).call(look) == "seen"
    assert lines == ["can't reach DynamoDB; still waiting", "DynamoDB answers again"]
    assert len(clock.slept) == 99


def test_a_refusal_is_not_waited_for() -> None:
    """Wrong credentials don't mend themselves."""

    def look() -> None:
        raise StoreUnavailableError("AWS refused these credentials")

    with pytest.raises(StoreUnavailableError, match="refused"):
        Poller(ManualClock(), 1.0, lambda _: None).call(look)


def test_waiters_do_not_look_in_step() -> None:
    """Pauses vary around the one asked for."""
    clock = ManualClock()
    poller = Poller(clock, 2.0, lambda _: None)
    for _ in range(50):
        poller.pause()
    assert len(set(clock.slept)) > 10
    assert all(1.8 <= pause <= 2.2 for pause in clock.slept)


@pytest.mark.parametrize("interval", [5e-324, 1e-9, 0.02, 1.0, 60.0])
def test_looks_at_what_is_late_are_bounded_whatever_the_pause(interval: float) -> None:
    """A pause may be as short as a float can be; the looks are a few at least and some hundred at most."""
    poller = Poller(ManualClock(), interval, print)
    assert proof.FRESH_LOOKS <= proof._looks(poller) <= proof.MAX_LOOKS
