"""Numbers of JSON are kept as they are written, or refused."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from approval_resource.strict_json import exact, no_constant


def read(text: str) -> object:
    """What the strict reader makes of that document."""
    return json.loads(text, parse_float=exact, parse_constant=no_constant)


@pytest.mark.parametrize("text", ["NaN", "[Infinity]", '{"a": -Infinity}'])
def test_constants_that_json_lacks_are_refused(text: str) -> None:
    """Python's own reader takes them."""
    with pytest.raises(ValueError, match="no number of JSON"):
        read(text)


@pytest.mark.parametrize("text", ["1e400", "0.12345678901234567890123", "1.00000000000000000001"])
def test_a_number_that_would_become_another_is_refused(text: str) -> None:
    """What people approve is what comes out again."""
    with pytest.raises(ValueError, match="too large, or has more digits"):
        read(text)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_every_number_that_can_be_kept_is_taken(number: float) -> None:
    """As it is."""
    assert read(json.dumps([number])) == [number]
