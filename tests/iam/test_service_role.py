"""The role of the reviewers' service: enough for all that it does, and not one action more."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from approval_resource.errors import ApprovalError
from approval_resource.model.claim import Verdict
from approval_resource.model.event import State
from approval_resource.service.acts import Acts, Said
from approval_resource.service.config import Config
from approval_resource.service.desk import Desk
from approval_resource.service.looks import Looks
from approval_resource.service.people import Access, Person
from approval_resource.service.sessions import Endings
from approval_resource.store.dynamodb.store import DynamoStore
from approval_resource.store.interface import DEFAULT_TABLE, Connection
from tests.builders import a_build, take, under
from tests.iam.account import DOCUMENTS, REGION, Account, Caller, Grant, document, grants, without

ANA = Person(identity="oidc:https://login.example.com#ana", via="session")
GRANTS = grants(document("service"))


def store_of(caller: Caller, table: str = DEFAULT_TABLE) -> DynamoStore:
    """The table, with that caller's keys."""
    keys = caller.keys
    return DynamoStore.connect(
        Connection(table=table, region=REGION, endpoint_url=caller.url, access_key_id=keys.id, secret_access_key=keys.secret)
    )


def worked(store: DynamoStore, operator: DynamoStore, pool: str) -> None:
    """Everything that the service does to the table: lists, looks, reviews, withdrawals, sessions, linked accounts, what is told, and its probes."""
    config = Config.model_validate(
        {
            "url": "https://a.example",
            "pools": {pool: {"reviewers": ["everyone"], "operators": ["everyone"]}},
            "login": {"issuer": "https://login.example.com", "client_id": "x", "client_secret": "env:X"},
            "session": {"keys": ["env:X"]},
        }
    )
    first = take(
        operator, a_build(1), pool=pool, lock_name="a", terms=under(required_approvals=1), payload=b"{}", payload_digest=PAYLOAD
    )
    second = take(operator, a_build(2), pool=pool, lock_name="b")
    looks = Looks(store)
    desk = Desk(looks, Access(config))
    acts = Acts(desk, None)
    assert {row.claim.id for row in desk.rows(ANA)} == {first.id, second.id}
    view = desk.view(ANA, desk.claim(ANA, first.id))
    assert acts.review(ANA, first.id, Said(verdict=Verdict.APPROVE, seen=view.etag)).claim.state is State.APPROVED
    assert acts.withdraw(ANA, second.id, "old", force=False).claim.state is State.WITHDRAWN
    assert [claim.id for claim in desk.decided(ANA)][:1] == [second.id]
    assert looks.events_of(first)
    assert looks.approved_before(second) is None
    assert store.queues(pool) == []
    endings = Endings(store)
    endings.end("session#x")
    assert endings.ended(["session#x"], store.now())
    store.keep_signed("slack:T1#U1", "a text", timedelta(days=1))
    assert store.signed("slack:T1#U1") == "a text"
    assert store.outbox.write(replace(store.outbox.progress(pool), told_at=store.now())) is not None
    acts.withdraw(ANA, first.id, "by force", force=True)
    assert store.content(first.id, "payload") is not None


PAYLOAD = "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"


@pytest.fixture(scope="module")
def operator(account: Account) -> DynamoStore:
    """The store of whoever makes claims and tables."""
    return store_of(account.user(document("operator"), document("pipeline")))


def test_the_role_suffices(account: Account, operator: DynamoStore, pool: str, caplog: pytest.LogCaptureFixture) -> None:
    """For all of it, without a word about what could not be done."""
    worked(store_of(account.user(document("service"))), operator, pool)
    assert not [record for record in caplog.records if record.levelname == "WARNING" and "kept for ever" in record.getMessage()]


@pytest.mark.parametrize("grant", GRANTS, ids=str)
def test_no_grant_is_idle(
    account: Account, operator: DynamoStore, pool: str, grant: Grant, caplog: pytest.LogCaptureFixture
) -> None:
    """Without any single one some of it fails, or is left undone with a warning."""
    store = store_of(account.user(without(document("service"), grant)))
    try:
        worked(store, operator, pool)
    except ApprovalError:
        return
    assert [record for record in caplog.records if "kept for ever" in record.getMessage()], f"{grant} was never used"


def test_the_role_reaches_nothing_else() -> None:
    """No scan, no other table, no settings of pools."""
    text = (DOCUMENTS / "service.json").read_text(encoding="utf-8")
    assert "Scan" not in text
    assert "policy#*" in text
