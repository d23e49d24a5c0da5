"""Digests and instants come out the same for everybody."""

from __future__ import annotations

import hashlib
import json
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
    "text",
    [
        *("", "Z", "2026-11-21", "2026-11-21T12:00:00Z", "2026-11-21T12:00:00.0Z", "2026-1-21T12:00:00.000000Z"),
        *(
            "2026-11-21T12:00:00.000000",
            "2026-11-21T12:00:00.000000+00:00",
            "2026-11-21 12:00:00.000000Z",
            "2026-W47-6T00:00:00Z",
        ),
        *("0001-01-01", "0001-01-01T00:00:00.000000+01:00", "9999-12-31T23:59:59.999999-01:00", "20261121T120000.000000Z"),
    ],
)
def test_only_the_one_form_is_read(text: str) -> None:
    """An instant in any other form is refused, so that two texts never mean one place."""
    with pytest.raises(ValueError, match=r".+"):
        parse_instant(text)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text(max_size=5), JSON, max_size=4))
def test_a_digest_does_not_depend_on_the_order_of_keys(document: dict[str, object]) -> None:
    """Whoever writes the document again gets the same, from JSON too."""
    backwards = dict(reversed(document.items()))
    assert digest(document) == digest(backwards) == digest(json.loads(json.dumps(document)))


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_what_json_lacks_has_no_digest(number: float) -> None:
    """Nobody else could compute it."""
    with pytest.raises(ValueError, match="JSON"):
        digest({"a": number})


def test_early_years_have_four_digits_too() -> None:
    """Every instant is as long as any other, so that text sorts as time."""
    assert instant(datetime(987, 6, 5, tzinfo=UTC)) == "0987-06-05T00:00:00.000000Z"
