"""Messages call each thing by its own word: a lock has a name, a claim has an id."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

import pytest

from tests.unit.test_layout import PACKAGE
from tests.unit.test_prose import docstrings, modules

ORIGINAL = ("commands/deciding.py", "INFO: The lock {after.id} has been {done}")
"""The line that programs know of the original resource, whose claims had no id but their lock's."""

CONFUSED = [
    re.compile(r"\block \{[^{}]*\b(id|claim_id)\b[^{}]*\}", re.IGNORECASE),
    re.compile(r"\bclaim \{[^{}]*\block(_?name)?\b[^{}]*\}", re.IGNORECASE),
]


def sentences(text: str) -> Iterator[str]:
    """Each text of a module's code but its docstrings, with what is put into it as source in braces."""
    told = {value for _, value in docstrings(text)}
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.JoinedStr):
            yield "".join(
                str(part.value) if isinstance(part, ast.Constant) else f"{{{ast.unparse(part.value)}}}"  # type: ignore[attr-defined]
                for part in node.values
            )
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value not in told:
            yield node.value


def confusions(text: str) -> list[str]:
    """Each sentence that calls a claim's id a lock, or a lock's name a claim."""
    return [sentence for sentence in sentences(text) if any(form.search(sentence) for form in CONFUSED)]


def test_no_sentence_confuses_a_lock_with_a_claim() -> None:
    """In the whole package the original's line alone, which stays as programs know it."""
    found = [(str(path.relative_to(PACKAGE)), told) for path in modules() for told in confusions(path.read_text("utf-8"))]
    assert found == [ORIGINAL]


def test_no_page_confuses_a_lock_with_a_claim() -> None:
    """In the templates of the service's pages."""
    pages = sorted((PACKAGE / "service" / "templates").glob("*.html"))
    assert len(pages) > 5
    page = re.compile(r"\block \{\{[^{}]*\.id\b|\bclaim \{\{[^{}]*lock_name", re.IGNORECASE)
    assert [str(path) for path in pages if page.search(path.read_text("utf-8"))] == []


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ('f"The lock {claim.id} is free"', 1),
        ("f\"on the lock {ended['id']}\"", 1),
        ('f"Lock {clean(claim_id)}"', 1),
        ('f"claim {claim.lock_name} waits"', 1),
        ('f"claim {claim.id} of lock {claim.lock_name}"', 0),
        ('f"{what} of the lock "\nf"{event.claim_id} waits"', 0),
        ('(f"claim {claim.id} of "\nf"lock {event.claim_id}")', 1),
        ('def f():\n    """The lock {claim.id}."""', 0),
    ],
)
def test_confusions_are_found(text: str, found: int) -> None:
    """In one text, also where its source is in parts; never across two of them."""
    assert len(confusions(text)) == found
