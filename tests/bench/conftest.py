"""A table for a whole module: filling one takes longer than looking at it."""

from __future__ import annotations

from uuid import uuid4

import pytest

from approval_resource.store.dynamodb.store import DynamoStore
from approval_resource.store.interface import Connection
from demo.engine import REGION, Engine


@pytest.fixture(scope="module")
def module_store(engine: Engine) -> tuple[Connection, DynamoStore]:
    """A store on a table of its own."""
    connection = Connection(
        table=f"t-{uuid4()}", region=REGION, endpoint_url=engine.url, access_key_id="test", secret_access_key="test-secret"
    )
    store = DynamoStore.connect(connection)
    store.create_table()
    return connection, store
