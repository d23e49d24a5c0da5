"""What others wrote is shown safely, and durations are readable."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from approval_resource.text import (
    MAX_LINE,
    MAX_LINES,
    clean,
    counted,
    duration,
    first_lines,
    quoted,
    shortened,
    without_mail,
    without_user,
)


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


@given(st.timedeltas(min_value=timedelta(0), max_value=timedelta(days=4000)))
def test_a_duration_is_never_nothing(span: timedelta) -> None:
    """At least a second, at most two units, the larger first."""
    units = [part for part in duration(span).split() if not part.isdigit()]
    assert 1 <= len(units) <= 2
    assert units == sorted(units, key=["d", "h", "min", "s"].index)


def test_a_long_line_is_cut_and_says_so() -> None:
    """One that fits stays as it is."""
    assert shortened("x" * MAX_LINE) == "x" * MAX_LINE
    assert shortened("x" * (MAX_LINE + 1)) == "x" * MAX_LINE + "…"


def test_of_many_lines_the_first_are_told_and_how_many_follow() -> None:
    """Nobody reads hundreds, and nobody is to think there are no more."""
    lines = [f"{number}" for number in range(MAX_LINES + 1)]
    assert first_lines(lines[:-1]) == lines[:-1]
    assert first_lines(lines) == [*lines[:-1], "… and 1 more"]


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("https://user:secret@host/path", "https://host/path"),
        ("user:secret@host", "host"),
        ("HTTPS://a@b@host", "HTTPS://host"),
        ("https://host", "https://host"),
    ],
)
def test_an_address_is_shown_without_what_may_be_a_password(address: str, shown: str) -> None:
    """Whatever stands before the last sign that ends it."""
    assert without_user(address) == shown


def test_numbers_of_things_are_told_as_people_do() -> None:
    """One thing is no plural."""
    assert [counted(number, "claim") for number in (0, 1, 2)] == ["0 claims", "1 claim", "2 claims"]
    assert counted(2, "policy", "policies") == "2 policies"


def test_a_value_is_quoted_as_it_was_written() -> None:
    """Cleaned, and cut where it is long; what is no text as JSON."""
    assert quoted("a\x1bb") == '"a b"'
    assert quoted({"a": 1}) == '"{"a": 1}"'
    assert quoted("x" * 61) == '"' + "x" * 60 + '…"'
