"""Digests and instants come out the same for everybody."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from approval_resource.canonical import digest, instant, parse_instant

AWARE = st.datetimes(min_value=datetime(1970, 1, 1), max_value=datetime(2999, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001


def test_a_digest_can_be_computed_by_hand() -> None:
    """Sorted keys, no white space, ASCII only, SHA-256 in hex: nothing of this program is needed to check one."""
    by_hand = b'{"a":[1,true,null],"b":"\\u00e4"}'
    assert digest({"b": "ä", "a": [1, True, None]}) == hashlib.sha256(by_hand).hexdigest()


@given(AWARE, AWARE)
def test_instants_survive_the_round_trip_and_sort_as_text(one: datetime, other: datetime) -> None:
    """What is written is read back exactly, and text order is time order."""
    assert parse_instant(instant(one)) == one
    assert len(instant(one)) == 27
    assert (instant(one) < instant(other)) == (one < other)


def test_an_instant_is_told_in_utc() -> None:
    """Another zone's time is the same instant."""
    paris = datetime(2026, 11, 21, 13, 0, tzinfo=timezone(timedelta(hours=1)))
    assert instant(paris) == "2026-11-21T12:00:00.000000Z"


@pytest.mark.parametrize(
    "text", ["", "2026-11-21", "2026-11-21T12:00:00Z", "2026-11-21T12:00:00.0Z", "2026-1-21T12:00:00.000000Z"]
)
def test_only_the_one_form_is_read(text: str) -> None:
    """An instant in any other form is refused, so that two texts never mean one place."""
    with pytest.raises(ValueError, match=r".+"):
        parse_instant(text)
