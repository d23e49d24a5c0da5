"""`check` loads no more than it needs: it runs every minute for each resource, and most of its time is loading modules."""

from __future__ import annotations

import re

from tests.scripts.conftest import Concourse

LOADED = """
canonical clock errors logs program strict_json strict_options text
documents.codec documents.events
model.event
steps.aborts steps.check steps.main steps.protocol steps.run
store.gapless store.interface
store.dynamodb.connect store.dynamodb.keys store.dynamodb.outcomes store.dynamodb.reads store.dynamodb.requests
store.dynamodb.retries store.dynamodb.store store.dynamodb.values
"""
"""This package's modules that a check loads, apart from the empty ones of its rooms. The list only gets shorter."""
SLOW = ("pydantic", "click", "boto3", "yaml", "_strptime")
"""Modules that take long to load, and that a check has no use for."""


def test_check_loads_only_what_is_listed(concourse: Concourse) -> None:
    """With keys, a claim and an endpoint without TLS: no credentials, certificates, proxies, table or policy besides."""
    concourse.claim()
    ran = concourse.start("check", {"source": concourse.source}, [], PYTHONPROFILEIMPORTTIME="1").ends()
    assert ran.code == 0, ran.stderr[-500:]
    assert len(ran.answer) == 1
    loaded = set(re.findall(r"\| +([\w.]+)$", ran.stderr, re.MULTILINE))
    ours = {name.removeprefix("approval_resource.") for name in loaded if name.startswith("approval_resource.")}
    rooms = {name.rpartition(".")[0] for name in ours}
    assert ours - rooms - {""} == set(LOADED.split()), "load it where it is needed, or strike it out of the list"
    assert [name for name in SLOW if name in loaded] == []
