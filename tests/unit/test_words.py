"""Messages call each thing by its own word: a lock has a name, a claim has an id."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from approval_resource.service import openapi
from demo.engine import ROOT
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


# ---- keys of JSON ---------------------------------------------------------------


def misnamed(document: Any, place: str = "") -> list[str]:
    """The places of keys `lock` that hold a lock's name; the key of a name is `lock_name`.

    In the log `lock` is a lock's digest, and in an export a whole lock.
    """
    if isinstance(document, list):
        return [found for number, one in enumerate(document) for found in misnamed(one, f"{place}[{number}]")]
    if not isinstance(document, dict):
        return []
    name = document.get("lock")
    own = [f"{place}.lock"] if isinstance(name, str) and not re.fullmatch("[0-9a-f]{64}", name) else []
    return own + [found for key, one in document.items() for found in misnamed(one, f"{place}.{key}")]


def test_no_schema_of_the_api_has_a_lock_for_its_name() -> None:
    """Neither what the service takes nor what it answers, and its lists can't be asked by one."""
    described = openapi.document("https://approvals.example")
    schemas = described["components"]["schemas"]
    named = {name for name, schema in schemas.items() if "lock_name" in schema.get("properties", {})}
    assert {"Claim", "ClaimSummary", "Event"} <= named
    assert [name for name, schema in schemas.items() if "lock" in schema.get("properties", {})] == []
    assert '"name": "lock"' not in json.dumps(described)


def test_no_example_of_json_has_a_lock_for_its_name() -> None:
    """On any page: what commands and scripts write, and what is told by webhooks."""
    pages = sorted((ROOT / "docs").rglob("*.md"))
    examples = [
        (page.name, json.loads(text))
        for page in pages
        for text in re.findall(r"```json\n(.*?)```", page.read_text("utf-8"), re.S)
    ]
    assert len(examples) > 15
    assert [(page, misnamed(example)) for page, example in examples if misnamed(example)] == []


@pytest.mark.parametrize(
    ("document", "found"),
    [
        ({"lock": "deploy"}, [".lock"]),
        ([{"claim": {"lock": ""}}], ["[0].claim.lock"]),
        ({"lock": "a" * 64, "lock_name": "deploy"}, []),
        ({"lock": {"lockname": "deploy"}}, []),
        ({"metadata": [{"name": "lock", "value": "deploy"}]}, []),
    ],
)
def test_misnamed_locks_are_found(document: Any, found: list[str]) -> None:
    """A digest, a whole lock and the words of a build's page are none."""
    assert misnamed(document) == found
