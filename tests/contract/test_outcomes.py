"""Every failed answer of DynamoDB, injected, and what becomes of the change it met.

No local engine raises conflicts, throttles or loses answers by itself, so these are put between the
store and a real engine: what landed is then read from that engine by another store.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from botocore.awsrequest import AWSResponse

from approval_resource.audit import verify as audit
from approval_resource.claims import acquire as claims
from approval_resource.claims import gate as gates
from approval_resource.claims import release as releases
from approval_resource.claims import review as reviews
from approval_resource.claims.end import end_claim
from approval_resource.claims.request import Attempt
from approval_resource.errors import (
    AlreadyReviewedError,
    CorruptRecordError,
    LockHeldError,
    StaleLockError,
    StoreUnavailableError,
)
from approval_resource.model.claim import Claim, Claimant, Verdict
from approval_resource.model.event import Kind, State
from approval_resource.steps.aborts import GRACE_SECONDS, Aborted
from approval_resource.store.dynamodb.commits import COMMIT_SECONDS
from approval_resource.store.dynamodb.store import DynamoStore
from tests.builders import ManualClock, a_build, a_request, take, under
from tests.contract.faults import (
    Body,
    Fault,
    Faults,
    answer_lost,
    answers,
    before,
    cancelled,
    delivery,
    times_out,
    unreachable,
)
from tests.contract.images import delete, items

Connect = Callable[..., DynamoStore]
WRITE = "TransactWriteItems"

MENDED_BY_TRYING_AGAIN = {
    "condition failed": cancelled("None", "ConditionalCheckFailed", "None"),
    "conflict, as a reason": cancelled("TransactionConflict", "None"),
    "conflict, as an error": answers(400, "TransactionConflictException"),
    "condition failed and conflict": cancelled("ConditionalCheckFailed", "TransactionConflict"),
    "in progress": answers(400, "TransactionInProgressException"),
    "throttled": answers(400, "ThrottlingException"),
    "throughput exceeded": answers(400, "ProvisionedThroughputExceededException"),
    "throughput exceeded, as a reason": cancelled("ProvisionedThroughputExceeded", "None"),
    "throttled, as a reason": cancelled("None", "ThrottlingError"),
    "request limit": answers(400, "RequestLimitExceeded"),
    "server error": answers(500, "InternalServerError"),
    "unavailable": answers(503, "ServiceUnavailable"),
    "timeout": times_out,
    "unreachable for a moment": unreachable,
    "cancelled for no reason given": cancelled("None"),
    "expired token": answers(400, "ExpiredTokenException"),
}

NEVER_MENDED = {
    "validation": (answers(400, "ValidationException", "One or more parameter values were invalid"), "invalid"),
    "item too large": (answers(400, "ValidationException", "Item size has exceeded the maximum allowed size"), "400 KB"),
    "item too large, as a reason": (
        cancelled("ValidationError", message="Item size to update has exceeded the maximum allowed size"),
        "400 KB",
    ),
    "skew": (answers(400, "InvalidSignatureException", "Signature expired: 20261121T1 is now earlier than 2"), "clock"),
    "skew ahead": (answers(403, "SignatureDoesNotMatch", "Signature not yet current: 2 is still later than 1"), "clock"),
    "request too skewed": (answers(403, "RequestTimeTooSkewed"), "clock"),
    "wrong key": (answers(400, "UnrecognizedClientException", "The security token is invalid"), "credentials"),
    "wrong secret": (answers(400, "InvalidSignatureException", "The signature does not match"), "credentials"),
    "denied": (answers(400, "AccessDeniedException", "User: x is not authorized to perform: dynamodb:PutItem"), "PutItem"),
    "pool full": (cancelled("ItemCollectionSizeLimitExceeded"), "10 GB"),
    "anything else": (answers(400, "SomethingNewException"), "SomethingNewException"),
}


@pytest.fixture
def quick(connect: Connect) -> DynamoStore:
    """A store whose pauses take no time."""
    return connect(clock=ManualClock())


def events(store: DynamoStore) -> list[tuple[Kind, str]]:
    """What the log tells, in order."""
    return [(event.kind, event.claim_id) for event in store.events("payments")]


@pytest.mark.parametrize("fault", MENDED_BY_TRYING_AGAIN.values(), ids=MENDED_BY_TRYING_AGAIN)
def test_what_did_not_happen_is_tried_again(fault: Fault, quick: DynamoStore, store: DynamoStore) -> None:
    """A refusal that passes costs a pause: the claim is made once, after a fresh read."""
    take(store, 9, lock_name="other")
    assert quick.head("payments") is not None
    faults = Faults.on(quick, WRITE, fault)
    claim = take(quick, 1)
    assert faults.seen == 2
    assert events(store)[1:] == [(Kind.PENDING, claim.id)]
    assert audit.verify(store, "payments").findings == []


@pytest.mark.parametrize(("fault", "word"), NEVER_MENDED.values(), ids=NEVER_MENDED)
def test_what_will_never_happen_is_told_at_once(fault: Fault, word: str, quick: DynamoStore, store: DynamoStore) -> None:
    """A refusal that stays is one line with its cause, after one request, and nothing is written."""
    assert store.head("payments") is None
    assert quick.head("payments") is None
    faults = Faults.on(quick, WRITE, fault)
    with pytest.raises(StoreUnavailableError, match=word) as refused:
        take(quick, 1)
    assert faults.seen == 1
    assert "\n" not in str(refused.value)
    assert not refused.value.transient
    assert events(store) == []


def test_a_token_that_stays_expired_is_told(quick: DynamoStore) -> None:
    """Fresh credentials are tried once; then the line says that the token has expired."""
    assert quick.head("payments") is None
    Faults.on(quick, WRITE, *[answers(400, "ExpiredTokenException")] * 2)
    with pytest.raises(StoreUnavailableError, match="expired"):
        take(quick, 1)


def test_contention_is_given_a_minute(connect: Connect, store: DynamoStore) -> None:
    """A change that is refused again and again gives up after a minute, says so, and has written nothing."""
    clock = ManualClock()
    contended = connect(clock=clock)
    assert contended.head("payments") is None
    faults = Faults.on(contended, WRITE, *[cancelled("TransactionConflict")] * 10_000)
    with pytest.raises(StoreUnavailableError, match="gave up after 60 s"):
        take(contended, 1)
    assert COMMIT_SECONDS * 0.9 < clock.monotonic() <= COMMIT_SECONDS
    assert faults.seen > 50
    assert events(store) == []


def test_contention_ends_no_step_while_the_pool_moves(connect: Connect, store: DynamoStore) -> None:
    """Minutes in which others are always faster: the claim of a lock that is free is made in the end."""
    clock = ManualClock()
    contended = connect(clock=clock)
    assert contended.head("payments") is None
    others = 0

    def faster(_: Any) -> None:
        nonlocal others
        others += 1
        clock.slept.append(2.0)
        take(store, 100 + others, lock_name=f"other-{others}")

    Faults.on(contended, WRITE, *[faster] * 60)
    assert take(contended, 1).build == a_build(1)
    assert clock.monotonic() > 2 * COMMIT_SECONDS
    assert len(events(store)) == 61


def test_an_endpoint_that_never_answered_is_given_up_soon(connect: Connect) -> None:
    """A wrong address is told within seconds, before anybody waits a minute for it."""
    clock = ManualClock()
    stranger = connect(clock=clock)
    Faults.on(stranger, "GetItem", *[unreachable] * 1_000)
    with pytest.raises(StoreUnavailableError, match="can't reach http"):
        stranger.head("payments")
    assert clock.monotonic() < 4


def test_a_lost_answer_counts_as_success(quick: DynamoStore, store: DynamoStore) -> None:
    """A claim that landed while its answer was lost is the caller's, once."""
    assert quick.head("payments") is None
    Faults.on(quick, WRITE, answer_lost(delivery(quick)))
    claim = take(quick, 1)
    assert events(store) == [(Kind.PENDING, claim.id)]


def test_claim_against_claim_with_a_lost_answer(quick: DynamoStore, store: DynamoStore) -> None:
    """Whoever landed holds the lock, whether they heard of it or not; the other is told who."""
    assert quick.head("payments") is None
    Faults.on(quick, WRITE, answer_lost(delivery(quick)))
    mine = take(quick, 1)
    with pytest.raises(LockHeldError) as held:
        take(store, 2)
    assert held.value.current.id == mine.id


def test_a_claim_lost_on_its_way_goes_to_whoever_came_next(quick: DynamoStore, store: DynamoStore) -> None:
    """A request that never arrived gives no claim to its sender once somebody else holds the lock."""
    assert quick.head("payments") is None
    theirs: list[Claim] = []

    def lost(request: Any) -> Any:
        theirs.append(take(store, 2))
        return times_out(request)

    Faults.on(quick, WRITE, lost)
    with pytest.raises(LockHeldError) as held:
        take(quick, 1)
    assert held.value.current.id == theirs[0].id
    assert events(store) == [(Kind.PENDING, theirs[0].id)]


def test_a_write_that_lands_late_lands_once(quick: DynamoStore, store: DynamoStore) -> None:
    """A first try that arrives only while the second is under way makes that one fail, and is then found."""
    assert quick.head("payments") is None
    late: list[Any] = []
    send = delivery(quick)

    def delayed(request: Any) -> Any:
        late.append(request)
        return times_out(request)

    faults = Faults.on(quick, WRITE, delayed, before(lambda: send(late[0])))
    claim = take(quick, 1)
    assert faults.seen == 2
    assert events(store) == [(Kind.PENDING, claim.id)]
    assert audit.verify(store, "payments").findings == []


def test_a_lost_approval_is_found_after_others_went_on(quick: DynamoStore, store: DynamoStore) -> None:
    """The approver is told of success though the claim was released before they could look again."""
    claim = take(store, 1)
    send = delivery(quick)

    def lost_and_gone(request: Any) -> Any:
        send(request)
        approved = store.claim(claim.id)
        assert approved is not None
        end_claim(store, approved, State.RELEASED, actor="op")
        return times_out(request)

    Faults.on(quick, WRITE, lost_and_gone)
    recorded = reviews.review(quick, claim.id, reviewer="typed:bob", verdict=Verdict.APPROVE)
    assert recorded.changed
    assert [kind for kind, _ in events(store)] == [Kind.PENDING, Kind.APPROVED, Kind.RELEASED]


def test_a_lost_approval_is_found_however_busy_its_pool(quick: DynamoStore, store: DynamoStore) -> None:
    """Others go on between any two reads, so that what is read never ends with what was written."""
    claim = take(store, 1)
    send = delivery(quick)
    others = iter(range(100, 200))

    def go_on(_: Any) -> None:
        number = next(others)
        take(store, number, lock_name=f"other-{number}")

    def lost(request: Any) -> Any:
        send(request)
        for operation in ("Query", "GetItem", "BatchGetItem"):
            Faults.on(quick, operation, *[go_on] * 30)
        return times_out(request)

    Faults.on(quick, WRITE, lost)
    recorded = reviews.review(quick, claim.id, reviewer="typed:bob", verdict=Verdict.APPROVE)
    assert recorded.changed
    assert [kind for kind, claim_id in events(store) if claim_id == claim.id] == [Kind.PENDING, Kind.APPROVED]


def test_a_lost_answer_is_found_beside_an_event_that_nobody_can_read(quick: DynamoStore, store: DynamoStore) -> None:
    """Whoever plants one, or a newer release that writes another kind, makes no landed commit a failed one."""
    claim = take(store, 1)
    key = {"pk": {"S": "pool#payments"}, "sk": {"S": "event#2999-01-01T00:00:00.000000Z"}}
    store._client.put_item(TableName=store._table, Item=key)
    Faults.on(quick, WRITE, answer_lost(delivery(quick)))
    assert reviews.review(quick, claim.id, reviewer="typed:bob", verdict=Verdict.APPROVE).changed
    after = store.claim(claim.id)
    assert after is not None
    assert after.state is State.APPROVED


@pytest.mark.timeout(120)
def test_a_claim_whose_events_are_gone_is_refused_after_some_looks(connect: Connect, store: DynamoStore) -> None:
    """As retention leaves a claim that stays open longer: a review ends with what helps, and a withdrawal still ends it."""
    clock = ManualClock()
    quick, claim = connect(clock=clock), take(store, 1)
    for (pk, sk), item in items(store).items():
        if sk.startswith("event#") and item["id"]["S"] == claim.id:
            delete(store, (pk, sk))
    with pytest.raises(CorruptRecordError, match="can only be ended"):
        reviews.review(quick, claim.id, reviewer="typed:bob", verdict=Verdict.APPROVE)
    assert clock.monotonic() < COMMIT_SECONDS
    assert end_claim(quick, claim, State.WITHDRAWN, actor="typed:op").state is State.WITHDRAWN


def test_a_lost_approval_never_undoes_a_change_of_mind(quick: DynamoStore, store: DynamoStore) -> None:
    """The same person's later rejection stands, though the approval before it is only now found to have landed."""
    claim = take(store, 1, terms=under(required_approvals=3, rejections_required=2))
    review = partial(reviews.review, claim_id=claim.id, reviewer="aws:bob")
    send = delivery(quick)

    def lost_and_changed(request: Any) -> Any:
        send(request)
        review(store, verdict=Verdict.REJECT)
        return times_out(request)

    Faults.on(quick, WRITE, lost_and_changed)
    review(quick, verdict=Verdict.APPROVE)
    stored = store.claim(claim.id)
    assert stored is not None
    assert [given.verdict for given in stored.reviews.values()] == [Verdict.REJECT]
    assert [kind for kind, _ in events(store)] == [Kind.PENDING, Kind.REVIEWED, Kind.REVIEWED]


def test_two_approvers_at_once_under_quorum_decide_once(quick: DynamoStore, store: DynamoStore) -> None:
    """The second of two approvals that meet is decided on with the first in sight: no review without its decision."""
    claim = take(store, 1, terms=under(required_approvals=2))
    first = partial(reviews.review, store, claim.id, reviewer="aws:ann", verdict=Verdict.APPROVE)
    Faults.on(quick, WRITE, before(first))
    reviews.review(quick, claim.id, reviewer="aws:bob", verdict=Verdict.APPROVE)
    stored = store.claim(claim.id)
    assert stored is not None
    assert stored.state is State.APPROVED
    assert set(stored.reviews) == {"aws:ann", "aws:bob"}
    assert [kind for kind, _ in events(store)] == [Kind.PENDING, Kind.REVIEWED, Kind.APPROVED]


@pytest.mark.parametrize("winner", list(Verdict))
def test_approve_against_reject_has_one_outcome(winner: Verdict, quick: DynamoStore, store: DynamoStore) -> None:
    """Whichever verdict is committed first decides; the other is told so and leaves no trace."""
    claim = take(store, 1)
    loser = Verdict.REJECT if winner is Verdict.APPROVE else Verdict.APPROVE
    Faults.on(quick, WRITE, before(partial(reviews.review, store, claim.id, reviewer="aws:ann", verdict=winner)))
    with pytest.raises(AlreadyReviewedError):
        reviews.review(quick, claim.id, reviewer="aws:bob", verdict=loser)
    stored = store.claim(claim.id)
    assert stored is not None
    assert list(stored.reviews) == ["aws:ann"]
    assert len(events(store)) == 2


def test_a_read_is_repeated_while_that_can_help(quick: DynamoStore, store: DynamoStore) -> None:
    """Throttled, failed and lost reads are asked again; refused ones are told at once."""
    claim = take(store, 1)
    assert quick.head("payments") is not None
    transient = (answers(400, "ThrottlingException"), answers(500, "InternalServerError"), times_out, unreachable)
    Faults.on(quick, "GetItem", *transient)
    assert quick.claim(claim.id) == claim
    refused = Faults.on(quick, "GetItem", answers(400, "AccessDeniedException", "not authorized"))
    with pytest.raises(StoreUnavailableError, match="not authorized"):
        quick.claim(claim.id)
    assert refused.seen == 1


def test_a_missing_table_that_may_not_be_made_is_told(quick: DynamoStore) -> None:
    """The line names the table and the next move."""
    Faults.on(quick, "CreateTable", answers(400, "AccessDeniedException", "no"))
    with pytest.raises(StoreUnavailableError, match=r"may not create it.*approvals init"):
        take(quick, 1)


def test_a_table_works_where_recovery_and_ttl_can_not_be_had(quick: DynamoStore, store: DynamoStore) -> None:
    """An engine or a role that refuses point-in-time recovery or TTL still gets a table."""
    Faults.on(quick, "UpdateContinuousBackups", answers(400, "UnknownOperationException"))
    Faults.on(quick, "UpdateTimeToLive", answers(400, "AccessDeniedException"))
    assert take(quick, 1) == store.open_claims()[0]


def test_only_part_of_a_batch_is_answered(quick: DynamoStore, store: DynamoStore) -> None:
    """Keys that a throttled table leaves out of an answer are asked for again."""
    made = [take(store, number, lock_name=f"l{number}") for number in range(3)]
    keys = [{"pk": {"S": f"claim#{claim.id}"}, "sk": {"S": "claim"}} for claim in made]
    unprocessed: dict[str, Any] = {
        "UnprocessedKeys": {quick._table: {"Keys": keys, "ConsistentRead": True}},
        "Responses": {quick._table: []},
    }
    Faults.on(quick, "BatchGetItem", answers(200, "", **unprocessed))
    assert quick.claims([claim.id for claim in made]) == made


def test_a_lost_release_of_the_holder_is_found(quick: DynamoStore, store: DynamoStore) -> None:
    """Another job's release whose answer was lost still tells which claim it ended."""
    claim = take(store, 1, need_approval=False)
    other = a_build(2, job="unlock")
    assert quick.head("payments") is not None
    Faults.on(quick, WRITE, answer_lost(delivery(quick)))
    ended = releases.release(quick, "payments", "deploy", Claimant(other))
    assert (ended.claim.id, ended.claim.state, ended.changed) == (claim.id, State.RELEASED, True)


def torn(store: DynamoStore, claim: Claim, act: Callable[[], object]) -> Fault:
    """A batch that reads the claim before `act` and everything else after it, as a batch may."""
    send = delivery(store)

    def fault(request: Any) -> AWSResponse:
        def items_now() -> list[dict[str, Any]]:
            answer: Any = send(request)
            found: list[dict[str, Any]] = json.loads(answer.content)["Responses"][store._table]
            return found

        before = items_now()
        act()
        mixed = [item for item in items_now() if item["pk"]["S"] != f"claim#{claim.id}"]
        mixed += [item for item in before if item["pk"]["S"] == f"claim#{claim.id}"]
        return answers(200, "", Responses={store._table: mixed}, UnprocessedKeys={})(request)

    return fault


@pytest.mark.parametrize("state", [State.PENDING, State.APPROVED])
def test_a_torn_read_is_read_again(state: State, quick: DynamoStore, store: DynamoStore) -> None:
    """A claim that was read before it ended, beside a lock that was read after, is no ground to decide on."""
    claim = take(store, 1)
    if state is State.APPROVED:
        claim = reviews.review(store, claim.id, reviewer="aws:ann", verdict=Verdict.APPROVE).claim
    assert quick.head("payments") is not None
    Faults.on(quick, "BatchGetItem", torn(quick, claim, partial(end_claim, store, claim, State.WITHDRAWN, actor="op")))
    acts: dict[State, Callable[[], object]] = {
        State.PENDING: partial(reviews.review, quick, claim.id, reviewer="aws:bob", verdict=Verdict.APPROVE),
        State.APPROVED: partial(gates.pass_through, quick, claim, a_build(7), spend=True),
    }
    with pytest.raises((AlreadyReviewedError, StaleLockError), match="is withdrawn by op"):
        acts[state]()
    assert audit.verify(store, "payments").findings == []


def test_a_proxys_page_is_no_answer(quick: DynamoStore, store: DynamoStore) -> None:
    """Something that answers 200 in DynamoDB's stead makes nothing happen, in reads and in writes."""

    def page(request: Any) -> AWSResponse:
        headers = {"content-type": "text/html", "date": "Sat, 21 Nov 2026 12:00:00 GMT"}
        return AWSResponse(request.url, 200, headers, Body(b"<html>being upgraded</html>"))

    claim = take(store, 1)
    assert quick.head("payments") is not None
    Faults.on(quick, WRITE, page)
    Faults.on(quick, "GetItem", page)
    reviews.review(quick, claim.id, reviewer="aws:ann", verdict=Verdict.APPROVE)
    assert [kind for kind, _ in events(store)] == [Kind.PENDING, Kind.APPROVED]
    Faults.on(quick, "Scan", *[page] * 1000)
    with pytest.raises(StoreUnavailableError, match="something other than DynamoDB answers"):
        quick.open_claims()


def test_a_claim_in_flight_when_its_build_is_aborted_can_never_land(quick: DynamoStore, store: DynamoStore) -> None:
    """The write that was under way arrives after all, and is refused: what was abandoned holds nothing."""
    late: list[Any] = []

    def aborted(request: Any) -> Any:
        late.append(request)
        raise Aborted

    take(store, 9, lock_name="other", pool="elsewhere")
    Faults.on(quick, WRITE, aborted)
    build, attempt = a_build(1), Attempt()
    with pytest.raises(Aborted):
        claims.take(quick, a_request(), Claimant(build), attempt)
    left = claims.abandon(store, a_request(), Claimant(build), attempt)
    assert left is not None
    assert left.state is State.WITHDRAWN
    answer: Any = delivery(quick)(late[0])
    assert answer.status_code == 400
    assert store.open_claims("payments") == []
    assert events(store) == [(Kind.WITHDRAWN, attempt.claim_id)]
    assert audit.verify(store, "payments").findings == []


def test_an_abort_does_not_make_way(connect: Connect, store: DynamoStore) -> None:
    """It has seconds. On a busy pool, where a try takes a third of one, its next tries come at once all the same."""
    clock = ManualClock()
    contended = connect(clock=clock)
    build, attempt = a_build(1), Attempt()
    claims.take(store, a_request(), Claimant(build), attempt)
    assert contended.head("payments") is not None

    def slowly(request: Any) -> Any:
        clock.slept.append(0.3)
        return cancelled("TransactionConflict")(request)

    faults = Faults.on(contended, WRITE, *[slowly] * 5)
    left = claims.abandon(contended, a_request(), Claimant(build), attempt)
    assert left is not None
    assert left.state is State.WITHDRAWN
    assert faults.seen == 6
    assert sum(clock.slept) < 5 * 0.3 + 0.02 * (1 + 2 + 4 + 8 + 16) < GRACE_SECONDS


def test_a_build_that_was_aborted_while_it_waited_leaves_no_trace(store: DynamoStore) -> None:
    """Nothing of it was under way, so nothing has to be made impossible."""
    take(store, 1)
    build, attempt = a_build(2), Attempt()
    with pytest.raises(LockHeldError):
        claims.take(store, a_request(), Claimant(build), attempt)
    assert claims.abandon(store, a_request(), Claimant(build), attempt) is None
    assert len(events(store)) == 1
