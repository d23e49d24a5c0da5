"""docs/decisions has one page per decision, each of one form and in the index; what they name exists."""

from __future__ import annotations

import re

import pytest

from demo.engine import ROOT
from tests.docs.test_architecture import NAMED, defined

FOLDER = ROOT / "docs" / "decisions"
PAGES = sorted(path.name for path in FOLDER.glob("*.md") if path.name != "README.md")
HALF_A_PAGE = 300
"""Words."""


@pytest.mark.parametrize("name", PAGES)
def test_a_decision_tells_context_decision_and_consequences(name: str) -> None:
    """In that order, briefly, and with names that the code has."""
    text = (FOLDER / name).read_text(encoding="utf-8")
    assert re.findall(r"^## (.*)$", text, re.MULTILINE) == ["Context", "Decision", "Consequences"]
    assert len(text.split()) <= HALF_A_PAGE
    assert [pair for pair in NAMED.findall(text) if pair[1] not in defined(pair[0])] == []


def test_every_decision_is_in_the_index_by_its_title() -> None:
    """Once, and the index lists nothing else."""
    index = (FOLDER / "README.md").read_text(encoding="utf-8")
    titles = {name: (FOLDER / name).read_text(encoding="utf-8").splitlines()[0].removeprefix("# ") for name in PAGES}
    assert dict((name, title) for title, name in re.findall(r"^- \[(.*)\]\((.*)\)$", index, re.MULTILINE)) == titles
