"""The hint beside a table that isn't there: the tables that are, or that there are none."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from approval_resource.store.dynamodb.table import SHOWN, tables_hint

MANY = [f"t{number}" for number in range(SHOWN + 1)]


@pytest.mark.parametrize(
    ("names", "hint"),
    [
        ([], "there are no tables in eu-west-1; check the region, or "),
        (["a"], "there is a in eu-west-1; name one, or "),
        (["a", "b"], "there are a, b in eu-west-1; name one, or "),
        (MANY, f"there are {', '.join(MANY[:SHOWN])} and others in eu-west-1; name one, or "),
    ],
    ids=["none", "one", "two", "many"],
)
def test_the_hint_reads_as_a_sentence(names: list[str], hint: str) -> None:
    """However many tables there are."""
    client = SimpleNamespace(list_tables=lambda Limit: {"TableNames": names}, meta=SimpleNamespace(region_name="eu-west-1"))
    assert tables_hint(client) == hint
