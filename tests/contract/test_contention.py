"""A slow policy in a busy pool: what was worked out once is kept for the commit's next try, as long as it holds."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from time import monotonic
from typing import Any

import pytest

from approval_resource import pools
from approval_resource.audit import verify as audit
from approval_resource.claims import deadline
from approval_resource.claims import review as reviews
from approval_resource.claims.decide import MAX_REUSE, Terms
from approval_resource.claims.end import end_claim
from approval_resource.claims.lookup import find
from approval_resource.claims.poller import Poller
from approval_resource.claims.proof import require_supported
from approval_resource.claims.request import Attempt
from approval_resource.claims.wait_for_lock import acquire
from approval_resource.clock import HostClock
from approval_resource.errors import AlreadyReviewedError
from approval_resource.model.claim import Claim, Claimant, Verdict
from approval_resource.model.event import State
from approval_resource.policy import evaluate
from approval_resource.policy.decision import Answer, Approved, Explanation, Undecidable
from approval_resource.policy.sandbox import parent as sandbox
from approval_resource.store.dynamodb.store import DynamoStore
from approval_resource.store.interface import Committed
from approval_resource.store.transaction import Commit, ReadSet, Snapshot
from tests.builders import NOON, FrozenTime, a_build, a_request, take, under

POOL = "payments"
ANN, BOB = (f"aws:arn:aws:iam::111122223333:user/{name}" for name in ("ann", "bob"))
Act = Callable[[], object]


class Busy:
    """A pool in which something happens during each evaluation of the policies, so that the commit is tried again."""

    def __init__(self, connect: Callable[..., DynamoStore], time: FrozenTime, monkeypatch: pytest.MonkeyPatch) -> None:
        self.time = time
        self.store, self._other = connect(store_clock=time), connect(store_clock=time)
        self.evaluations = 0
        self.meanwhile: list[Act] = []
        self._real = evaluate.evaluate
        monkeypatch.setattr(evaluate, "evaluate", self._slowly)

    def _slowly(self, *arguments: Any) -> Any:
        self.evaluations += 1
        decision = self._real(*arguments)
        meanwhile = self.meanwhile
        self.meanwhile = []
        for act in meanwhile:
            act()
        return decision

    def another_claim(self) -> None:
        """A claim on another lock of the pool, which moves the pool's head on."""
        take(
            self._other, 100 + self.evaluations, lock_name=f"other-{self.evaluations}-{self.time.at:%M%S}", need_approval=False
        )

    def claimed(self, terms: Terms) -> Claim:
        """A claim to review."""
        claim = take(self.store, 1, terms=terms)
        self.evaluations = 0
        return claim

    def approve(self, claim: Claim, who: str = ANN, *meanwhile: Act) -> Claim:
        """That person's approval, during whose first evaluation something happens."""
        self.meanwhile = list(meanwhile)
        return reviews.review(self.store, claim.id, reviewer=who, verdict=Verdict.APPROVE).claim


@pytest.fixture
def busy(connect: Callable[..., DynamoStore], time: FrozenTime, monkeypatch: pytest.MonkeyPatch) -> Busy:
    """Such a pool."""
    return Busy(connect, time, monkeypatch)


def supported(store: DynamoStore, claim: Claim) -> bool:
    """Whether a gate works out the same."""
    (event,) = [one for one in store.events(POOL) if one.claim_id == claim.id and one.kind.state is State.APPROVED]
    return isinstance(require_supported(store, claim, event), Approved)


def test_a_slow_policy_is_asked_once_however_busy_its_pool(busy: Busy) -> None:
    """The second try goes by what the first worked out, at the instant of the first; a gate and the audit agree."""
    claim = busy.claimed(under(required_approvals=1, valid_for="1h"))

    def later() -> None:
        busy.time.tick(seconds=3)
        busy.another_claim()

    approved = busy.approve(claim, ANN, later)
    assert busy.evaluations == 1
    assert approved.state is State.APPROVED
    assert approved.judged_at == NOON
    assert approved.valid_until == NOON + timedelta(hours=1)
    assert approved.decided is not None
    assert approved.decided.at >= NOON + timedelta(seconds=3)
    assert supported(busy.store, approved)
    assert audit.verify(busy.store, POOL).findings == []


def test_a_review_that_changes_nothing_still_changes_nothing(busy: Busy) -> None:
    """Also where the pool is busy."""
    claim = busy.claimed(under(required_approvals=2))
    busy.approve(claim)
    busy.meanwhile = [busy.another_claim]
    assert not reviews.review(busy.store, claim.id, reviewer=ANN, verdict=Verdict.APPROVE).changed


def test_another_review_in_between_is_counted(busy: Busy) -> None:
    """The claim is another then, so all is asked again."""
    claim = busy.claimed(under(required_approvals=2))
    approved = busy.approve(claim, ANN, lambda: reviews.review(busy._other, claim.id, reviewer=BOB, verdict=Verdict.APPROVE))
    assert busy.evaluations == 3
    assert approved.state is State.APPROVED
    assert set(approved.reviews) == {ANN, BOB}
    assert supported(busy.store, approved)


def test_another_policy_of_the_pool_in_between_is_asked(busy: Busy) -> None:
    """As every claim that waits is decided under the pool's policy of that moment."""
    claim = busy.claimed(under(required_approvals=1))
    strict = under(required_approvals=2).policy
    assert busy.approve(claim, ANN, lambda: pools.set_policy(busy._other, POOL, strict, actor="aws:op")).state is State.PENDING
    assert busy.evaluations == 2


@pytest.mark.parametrize(
    "policy",
    [
        {"windows": [{"from": "09:00", "to": "12:01"}]},
        {"freezes": [{"from": "2026-11-21 12:01", "until": "2026-11-22"}]},
    ],
    ids=str,
)
def test_hours_that_end_in_between_hold_back(busy: Busy, policy: dict[str, Any]) -> None:
    """What time says is looked at in each try."""
    busy.time.tick(seconds=50)
    claim = busy.claimed(under(required_approvals=1, **policy))

    def later() -> None:
        busy.time.tick(seconds=20)
        busy.another_claim()

    assert busy.approve(claim, ANN, later).state is State.PENDING
    assert busy.evaluations == 2


def test_what_was_worked_out_long_ago_is_worked_out_again(busy: Busy) -> None:
    """A gate doubts a decision whose policies were asked for another time."""
    claim = busy.claimed(under(required_approvals=1))

    def later() -> None:
        busy.time.tick(seconds=MAX_REUSE.total_seconds() + 1)
        busy.another_claim()

    approved = busy.approve(claim, ANN, later)
    assert busy.evaluations == 2
    assert approved.judged_at == NOON + MAX_REUSE + timedelta(seconds=1)


def test_what_could_not_be_worked_out_is_tried_again(busy: Busy, monkeypatch: pytest.MonkeyPatch) -> None:
    """Too slow on a busy machine is no answer to keep."""
    claim = busy.claimed(under(required_approvals=1))
    real = evaluate.evaluate

    def fails_first(*arguments: Any) -> Any:
        decision = real(*arguments)
        return Undecidable(result=Explanation(Answer.ERROR, "too slow"), policies=()) if busy.evaluations == 1 else decision

    monkeypatch.setattr(evaluate, "evaluate", fails_first)
    assert busy.approve(claim, ANN, busy.another_claim).state is State.APPROVED
    assert busy.evaluations == 2


def test_a_window_that_opens_is_applied_in_a_busy_pool(busy: Busy) -> None:
    """What completes by time alone is worked out once, too."""
    claim = busy.claimed(under(required_approvals=1, not_before="1h"))
    busy.approve(claim)
    busy.time.tick(hours=1)
    busy.evaluations, busy.meanwhile = 0, [busy.another_claim]
    assert deadline.apply_time(busy.store, find(busy.store, claim.id)).state is State.APPROVED
    assert busy.evaluations == 1


@pytest.fixture
def children(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The task of each child process that is started."""
    started: list[bytes] = []
    real = sandbox._run_child

    def run_child(task: bytes) -> tuple[int, bytes, bytes]:
        started.append(task)
        return real(task)

    monkeypatch.setattr(sandbox, "_run_child", run_child)
    return started


APPROVES_DEV = 'package spacelift\napprove { input.env == "dev" }\n'
ASKS = "package spacelift\napprove { count(input.reviews.current.approvals) > 0 }\n"


def test_a_claim_is_made_under_policies_that_were_asked_once(busy: Busy) -> None:
    """However often its commit is tried; what was worked out is recorded with its instant, and a gate works out the same."""

    def later() -> None:
        busy.time.tick(seconds=3)
        busy.another_claim()

    busy.meanwhile = [later]
    terms = under(conditions={"env": "dev"}, on_policy_success="approve", valid_for="1h", given={"env": "dev"})
    claim = take(busy.store, 1, terms=terms)
    assert busy.evaluations == 1
    assert claim.state is State.APPROVED
    assert claim.judged_at == NOON
    assert claim.timestamp >= NOON + timedelta(seconds=3)
    assert claim.valid_until == NOON + timedelta(hours=1)
    assert supported(busy.store, claim)
    assert audit.verify(busy.store, POOL).findings == []


def test_a_claim_in_the_making_is_judged_by_the_pool_s_policy_of_that_moment(busy: Busy) -> None:
    """One that was set in between is another input."""
    strict = under(required_approvals=2).policy
    busy.meanwhile = [lambda: pools.set_policy(busy._other, POOL, strict, actor="aws:op")]
    claim = take(busy.store, 1, terms=under(conditions={"env": "dev"}, on_policy_success="approve", given={"env": "dev"}))
    assert (busy.evaluations, claim.state) == (2, State.PENDING)


def test_hours_that_end_while_a_claim_is_made_hold_back(busy: Busy) -> None:
    """As for a review."""
    busy.time.tick(seconds=50)

    def later() -> None:
        busy.time.tick(seconds=20)
        busy.another_claim()

    busy.meanwhile = [later]
    windows = [{"from": "09:00", "to": "12:01"}]
    terms = under(conditions={"env": "dev"}, on_policy_success="approve", windows=windows, given={"env": "dev"})
    assert take(busy.store, 1, terms=terms).state is State.PENDING
    assert busy.evaluations == 2


def test_a_child_is_started_once_for_each_text_and_input(busy: Busy, children: list[bytes]) -> None:
    """Two texts: two children for the claim in the making, and two for its review, on a pool that moves each time."""
    busy.meanwhile = [busy.another_claim]
    claim = take(busy.store, 1, terms=under(rego=[APPROVES_DEV, ASKS], given={"env": "dev"}))
    assert (len(children), len(set(children))) == (2, 2)
    children.clear()
    assert busy.approve(claim, ANN, busy.another_claim).state is State.APPROVED
    assert (len(children), len(set(children))) == (2, 2)


BEATEN = 4
"""Tries of each commit that another claim comes before, once its policies are worked out."""
FEW = range(BEATEN + 1, BEATEN + 4)
"""Tries that a commit takes then. The builds that wait write, too, which may cost it one or two."""


@pytest.mark.long
def test_eight_texts_decide_in_a_busy_pool(
    connect: Callable[..., DynamoStore], children: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The pool's head moves with each text that is asked, and at each of the first tries, whatever the machine's pace.

    Each text is asked once for the claim and once for its review, the tries are few, and the waiting front keeps its turn.
    """
    store, other, stop = connect(), connect(), threading.Event()
    texts = [f"{ASKS}# {number}\n" for number in range(8)]
    first = take(store, 1)
    changes = itertools.count(1000)
    run_child, commit = sandbox._run_child, store.commit
    tries: dict[str, int] = {}

    def another_change() -> None:
        number = next(changes)
        take(other, number, lock_name=f"other {number}", need_approval=False)

    def asked(task: bytes) -> tuple[int, bytes, bytes]:
        another_change()
        return run_child(task)

    def beaten(read: ReadSet, decide: Callable[[Snapshot], Commit], operation: str) -> Committed:
        def then(snapshot: Snapshot) -> Commit:
            assert tries.get(operation, 0) < FEW[-1], "tried again and again"
            found = decide(snapshot)
            tries[operation] = tries.get(operation, 0) + 1
            if tries[operation] <= BEATEN:
                another_change()
            return found

        return commit(read, then, operation)

    def waiting(by: DynamoStore, number: int, **request: Any) -> Claim:
        poller = Poller(HostClock(), 0.2, lambda line: None)
        asker = Claimant(a_build(number))
        return acquire(by, a_request(**request), asker, Attempt(), poller=poller, wait_timeout=timedelta(seconds=90)).claim

    def in_queue(number: int) -> None:
        end = monotonic() + 120
        while monotonic() < end:
            lock = other.lock(POOL, first.lock_name)
            if lock is not None and lock.place_of(a_build(number).key()) >= 0:
                return
            stop.wait(0.05)
        pytest.fail("never in the queue")

    with ThreadPoolExecutor() as pool:
        front = pool.submit(waiting, store, 2, terms=under(rego=texts))
        in_queue(2)
        behind = pool.submit(waiting, connect(), 3)
        in_queue(3)
        monkeypatch.setattr(sandbox, "_run_child", asked)
        monkeypatch.setattr(store, "commit", beaten)
        tries.clear()
        assert end_claim(other, first, State.WITHDRAWN, actor="somebody").state is State.WITHDRAWN
        made = front.result(100)
        assert len(children) == len(set(children)) == 8
        assert tries[made.id] in FEW
        children.clear()
        tries.clear()
        done = reviews.review(store, made.id, reviewer=ANN, verdict=Verdict.APPROVE).claim
        assert done.state is State.APPROVED
        assert len(children) == len(set(children)) == 8
        assert [found in FEW for found in tries.values()] == [True]
        end_claim(other, done, State.RELEASED, actor="somebody")
        assert behind.result(100).fence == made.fence + 1
    assert next(changes) - 1000 == 2 * (8 + BEATEN)
    assert [event.claim_id for event in store.events(POOL) if event.lock_name == first.lock_name][1:3] == [first.id, made.id]


def test_a_review_that_a_deadline_overtakes_decides_nothing(busy: Busy) -> None:
    """What was worked out with it isn't taken for what time had completed before the deadline."""
    claim = take(busy.store, 1, terms=under(required_approvals=1, not_before="1h"), expires_after=timedelta(hours=2))
    busy.approve(claim)
    busy.time.tick(hours=2, seconds=-10)

    def too_late() -> None:
        busy.time.tick(seconds=20)
        busy.another_claim()

    busy.meanwhile = [too_late]
    with pytest.raises(AlreadyReviewedError):
        reviews.review(busy.store, claim.id, reviewer=BOB, verdict=Verdict.REJECT)
    after = find(busy.store, claim.id)
    assert after.state is State.APPROVED
    assert after.judged_at == NOON + timedelta(hours=1)
    assert supported(busy.store, after)


def test_an_approval_that_time_completed_before_a_deadline_is_worked_out_once(busy: Busy) -> None:
    """However often its commit is tried."""
    claim = take(busy.store, 1, terms=under(required_approvals=1, not_before="1h"), expires_after=timedelta(hours=2))
    busy.approve(claim)
    busy.time.tick(hours=3)
    busy.evaluations, busy.meanwhile = 0, [busy.another_claim]
    assert deadline.apply_time(busy.store, find(busy.store, claim.id)).state is State.APPROVED
    assert busy.evaluations == 1
