"""What others wrote is shown safely, and durations are readable."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from approval_resource.text import clean, duration, without_mail


@given(st.text())
def test_nothing_that_moves_a_cursor_is_left(text: str) -> None:
    """One line of printable characters, whatever came in; cleaning twice changes nothing more."""
    cleaned = clean(text)
    assert len(cleaned.splitlines()) <= 1
    assert all(character.isprintable() or character.isspace() for character in cleaned)
    assert clean(cleaned) == cleaned


def test_terminal_escapes_and_direction_marks_are_taken_out() -> None:
    """Neither colours nor a reversed reading direction survive."""
    assert clean("a\x1b[31mb\u202ec\r\nd") == "a [31mbc  d"


def test_mail_addresses_lose_their_host() -> None:
    """Build pages may be public; who it was stays recognisable to those who know."""
    assert without_mail("typed:ann.b+c@corp.example said ok") == "typed:ann.b+c@… said ok"
    assert without_mail("aws:arn:aws:sts::1:assumed-role/dev/bob@corp.example") == "aws:arn:aws:sts::1:assumed-role/dev/bob@…"
    assert without_mail("nobody") == "nobody"


@pytest.mark.parametrize(
    ("span", "text"),
    [
        (timedelta(seconds=0.2), "1 s"),
        (timedelta(seconds=90), "1 min 30 s"),
        (timedelta(hours=25), "1 d 1 h"),
        (timedelta(minutes=60), "1 h"),
        (timedelta(days=2, seconds=5), "2 d 5 s"),
    ],
)
def test_durations_are_told_in_their_two_largest_units(span: timedelta, text: str) -> None:
    """Enough to know whether to hurry."""
    assert duration(span) == text
