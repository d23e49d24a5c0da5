"""The page of guarantees: each test that it names is there."""

from __future__ import annotations

import re

import pytest

from demo.engine import ROOT

PAGE = (ROOT / "docs" / "guarantees.md").read_text(encoding="utf-8")
NAMED = sorted(set(re.findall(r"`(tests/[\w/.]+?)(?:::(\w+))?`", PAGE)))


@pytest.mark.parametrize(("path", "test"), NAMED, ids=lambda part: part or "all")
def test_what_a_guarantee_rests_on_is_there(path: str, test: str) -> None:
    """A file of tests, or one test in it."""
    text = (ROOT / path).read_text(encoding="utf-8")
    assert re.search(rf"^    def {test}\(|^def {test}\(" if test else r"^def test_", text, re.MULTILINE)


def test_every_promise_names_what_shows_it() -> None:
    """No promise rests on words."""
    promises = re.split(r"^## ", PAGE, flags=re.MULTILINE)[1:-1]
    assert len(promises) > 9
    assert [promise.splitlines()[0] for promise in promises if "*Shown by*" not in promise] == []


def test_typed_names_are_told_the_same_way_on_both_pages() -> None:
    """What counts beside whom is one sentence, word by word."""
    said = (
        "All typed names are one person: alone they count once towards `required_approvals`, beside somebody who is known they "
        "count for nothing, whatever the order. They satisfy no rule, force nothing, and one rejection among them stands "
        "whatever another says"
    )
    for page in ("guarantees.md", "policies.md"):
        assert said in " ".join((ROOT / "docs" / page).read_text(encoding="utf-8").split()), page
