"""A pipeline written for the original resource runs unchanged, and none of the original's defects is here."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from approval_resource.claims import release as releases
from approval_resource.claims import review as reviews
from approval_resource.claims.end import end_claim
from approval_resource.claims.roll_call import FRONT_PAUSE
from approval_resource.model.claim import Claimant, Verdict
from approval_resource.model.event import State
from approval_resource.store.dynamodb.connect import dynamodb, session_of
from approval_resource.store.dynamodb.store import DynamoStore
from approval_resource.store.interface import Connection
from tests.builders import FrozenTime, a_build, take
from tests.scripts.conftest import LOCK, POOL, Concourse, Wire, held_by, kept, until

CANARY = "s3cr3t-canary"
PROMPT = 15.0
"""Seconds within which a step that has nothing to wait for ends, on a busy machine too."""


# ---- a pipeline of the original, and what its README and code say ------------------


def test_a_pipeline_of_the_original_runs_unchanged(concourse: Concourse, store: DynamoStore) -> None:
    """Claim, implicit get, a get that waits, an approval by hand, release: each step with the original's params."""
    claimed = concourse.put("claim", lock_name="test1", need_approval="true", description="deploy 1.2")
    version = claimed.version
    assert kept(store, version).state is State.PENDING

    implicit = concourse.get(version, into="approval")
    assert implicit.version == version
    assert implicit.file("name") == "test1"
    told = {pair["name"]: pair["value"] for pair in json.loads(implicit.file("metadata"))}
    assert told == implicit.metadata
    assert told["state"] == "pending"

    gate = concourse.start_get(version, into="gate", lock_name="test1", need_approval="true", timeout=60)
    gate.says("The lock test1 is waiting for an approval. There is")
    assert gate.running
    listed = concourse.cli("list")
    assert version["id"] in listed.stdout
    assert "deploy 1.2" in listed.stdout
    assert concourse.cli("approve", "--id", version["id"]).stdout == f"INFO: The lock {version['id']} has been approved\n"
    opened = gate.ends()
    assert opened.version == version
    assert opened.file("name") == "test1"
    assert opened.metadata["decided by"] == "typed:alice"
    assert held_by(store, "test1") == version["id"]

    released = concourse.put("release", lock_name="test1")
    assert "Releasing the lock test1" in released.stderr
    assert concourse.get(released.version, into="released").file("name") == "test1"
    assert held_by(store, "test1") == ""
    assert concourse.cli("list").stdout == "There is no waiting approval\n"


def test_every_put_takes_the_originals_params(concourse: Concourse, store: DynamoStore) -> None:
    """The original has one set of params for both actions, so a release may carry those of a claim."""
    everything: dict[str, Any] = {
        "lock_name": LOCK,
        "need_approval": "true",
        "override_approval": "false",
        "description": "again",
    }
    version = concourse.put("claim", **everything).version
    concourse.approve(version)
    assert concourse.put("release", **everything).version["id"] == version["id"]
    assert kept(store, version).state is State.RELEASED


def test_check_gives_what_came_after_the_asked_for_version(concourse: Concourse, store: DynamoStore) -> None:
    """The asked-for version comes first and the newer ones after it, for the original's bare timestamp too."""
    take(store, lock_name="first")
    (first,) = concourse.versions()
    take(store, lock_name="second")
    after = concourse.versions(first)
    assert [version["lock_name"] for version in after] == ["first", "second"]
    assert after[0] == first
    assert concourse.versions({"timestamp": first["timestamp"]})[-1] == after[-1]
    long_ago = datetime(2016, 11, 30, 13, 55, tzinfo=UTC)
    for original in ("2016-11-30 13:55:05.079579+00:00", str(long_ago.timestamp())):
        assert concourse.versions({"timestamp": original}) == after


def test_a_claimer_waits_while_the_lock_is_held(concourse: Concourse, store: DynamoStore) -> None:
    """A held lock is waited for, which is said once and with its holder, and taken as soon as it is free."""
    holder = take(store, 1, need_approval=False)
    waiting = concourse.start_put("claim", build=2, lock_name=LOCK)
    line = waiting.says(f"The lock {LOCK} is already claimed")
    assert "main/app/deploy #1" in line
    assert held_by(store) == holder.id
    releases.release(store, POOL, LOCK, Claimant(a_build(1)))
    claimed = waiting.ends()
    assert held_by(store) == claimed.version["id"] != holder.id
    assert claimed.stderr.count("already claimed") == 1


@pytest.mark.long
def test_a_waiting_claimer_pauses_no_longer_than_wait_lock(concourse: Concourse, store: DynamoStore, wire: Wire) -> None:
    """Give or take its jitter; where `wait_lock` is long, it looks as often as its place in the queue asks for."""
    take(store, 1, need_approval=False)
    for number, (wait_lock, pause) in enumerate([(0.1, 0.1), (60, FRONT_PAUSE)], 2):
        waiting = concourse.sourced(endpoint_url=wire.url, wait_lock=wait_lock).start_put("claim", build=number, lock_name=LOCK)
        waiting.says("already claimed")
        first = len(wire.asked)
        until(lambda first=first: len(wire.asked) >= first + 2, "two more looks")  # type: ignore[misc]
        started = datetime.now(UTC)
        until(lambda first=first: len(wire.asked) >= first + 5, "three more looks")  # type: ignore[misc]
        assert datetime.now(UTC) - started >= timedelta(seconds=3 * pause * 0.85)
        waiting.stop()


def test_release_frees_an_approved_lock(concourse: Concourse, store: DynamoStore) -> None:
    """A release by another job of the same pipeline frees the lock and keeps what was decided."""
    claim = take(store, 1)
    reviews.review(store, claim.id, reviewer="typed:bob", verdict=Verdict.APPROVE)
    released = concourse.put("release", build=a_build(7, job="cleanup"), lock_name=LOCK)
    assert f"Releasing the lock {LOCK}" in released.stderr
    after = kept(store, released.version)
    assert (after.id, after.claimed, after.approved) == (claim.id, False, True)


def test_releasing_a_lock_that_never_was_fails(concourse: Concourse, store: DynamoStore) -> None:
    """A wrong name is an error, and makes no lock of that name."""
    take(store, 1)
    assert (
        "this build has nothing to release: nobody ever claimed the lock nope"
        in concourse.put("release", lock_name="nope").refused()
    )
    assert store.lock(POOL, "nope") is None


def test_a_description_is_kept(concourse: Concourse, store: DynamoStore) -> None:
    """Reviewers see in the claim what the pipeline wrote there."""
    assert kept(store, concourse.claim(description="deploy 1.2").version).description == "deploy 1.2"


def test_a_rejection_shuts_the_gate_and_frees_the_lock(concourse: Concourse, store: DynamoStore) -> None:
    """A get that waits fails with the original's words as soon as somebody rejects."""
    version = concourse.claim().version
    gate = concourse.start_get(version, need_approval=True)
    gate.says("is waiting for an approval")
    concourse.reject(version, "--comment", "not on a Friday")
    shut = gate.ends().refused()
    assert "The lock hasn't been approved, exiting" in shut
    assert kept(store, version).claimed is False
    assert held_by(store) == ""


@pytest.mark.long
def test_a_timeout_counts_as_a_rejection(concourse: Concourse, store: DynamoStore) -> None:
    """Minutes counted from the claim: when they are over the gate fails and the lock is free."""
    version = concourse.claim().version
    shut = concourse.get(version, need_approval=True, timeout=0.02).refused()
    assert "is waiting for an approval. There is" in shut
    assert "The lock hasn't been approved, exiting" in shut
    assert kept(store, version).state is State.EXPIRED
    assert held_by(store) == ""


def test_a_get_without_need_approval_does_not_wait(concourse: Concourse, store: DynamoStore) -> None:
    """Only a get that says so is a gate, whatever the claim asked for."""
    version = concourse.claim().version
    assert concourse.get(version, lock_name=LOCK).file("state") == "pending"
    assert kept(store, version).state is State.PENDING


def test_list_of_nothing_prints_one_line(concourse: Concourse, store: DynamoStore) -> None:
    """The original's words for an empty list."""
    store.create_table()
    listed = concourse.cli("list")
    assert (listed.code, listed.stdout) == (0, "There is no waiting approval\n")


def test_approve_without_an_id_asks_for_one(concourse: Concourse) -> None:
    """The original meant to say so and never did."""
    refused = concourse.cli("approve")
    assert refused.code == 1
    assert "Please give an id" in refused.stderr


def test_another_locks_name_on_get_is_refused(concourse: Concourse, store: DynamoStore) -> None:
    """The one place where a pipeline has to change is told by the line that refuses it."""
    version = concourse.claim("one").version
    take(store, 2, lock_name="two")
    shut = concourse.get(version, lock_name="two", need_approval=True).refused()
    assert "source.lock_name" in shut
    assert '"one"' in shut


# ---- the original's defects --------------------------------------------------------


def test_of_several_claimers_at_once_one_wins(concourse: Concourse, store: DynamoStore) -> None:
    """However close together they come, one holds the lock and the others wait and say who does."""
    racing = [concourse.start_put("claim", build=number, lock_name=LOCK) for number in range(1, 5)]
    until(lambda: sum(one.running for one in racing) == 3, "a winner")
    winner = next(one for one in racing if not one.running).ends().version["id"]
    for one in racing:
        if one.running:
            assert winner in one.says("already claimed")
    assert held_by(store) == winner
    assert [claim.id for claim in store.open_claims(POOL)] == [winner]


def test_a_name_has_one_lock_however_often_it_is_claimed(
    concourse: Concourse, store: DynamoStore, connection: Connection
) -> None:
    """Claims by several builds, one after the other and at once, leave one item for the lock."""
    racing = [concourse.start_put("claim", build=number, lock_name=LOCK, need_approval=True) for number in (1, 2)]
    until(lambda: held_by(store), "a holder")
    concourse.put("claim", build=3, lock_name=LOCK, need_approval=True, override_approval=True)
    for one in racing:
        one.kill()
    client = dynamodb(session_of(connection), connection)
    stored = client.scan(TableName=connection.table, ConsistentRead=True)["Items"]
    assert [item["sk"]["S"] for item in stored if item["sk"]["S"].startswith("lock#")] == [f"lock#{LOCK}"]
    assert sum(item["sk"]["S"] == "claim" and item["claimed"]["BOOL"] for item in stored) == 1


@pytest.mark.long
def test_every_read_that_decides_is_consistent(concourse: Concourse, wire: Wire) -> None:
    """Claiming, gating, checking and releasing never look at a copy that may be old."""
    listened = concourse.sourced(endpoint_url=wire.url)
    version = listened.claim().version
    concourse.approve(version)
    listened.get(version, need_approval=True)
    listened.versions(version)
    assert listened.put("release", lock_name=LOCK).code == 0
    reads = [(name, body) for name, body in wire.asked if name in ("GetItem", "BatchGetItem", "Query", "Scan")]
    assert {name for name, _ in reads} >= {"GetItem", "BatchGetItem", "Query"}
    for name, body in reads:
        parts = body["RequestItems"].values() if name == "BatchGetItem" else [body]
        assert all(part.get("ConsistentRead") for part in parts), f"{name} {body}"


def test_every_write_is_conditional(concourse: Concourse, wire: Wire) -> None:
    """Nothing is saved on the strength of a read alone."""
    listened = concourse.sourced(endpoint_url=wire.url)
    version = listened.put("claim", lock_name=LOCK).version
    assert listened.put("release", lock_name=LOCK).version["id"] == version["id"]
    writes = [body for name, body in wire.asked if name == "TransactWriteItems"]
    assert len(writes) == 2
    for body in writes:
        for part in body["TransactItems"]:
            (write,) = part.values()
            assert write["ConditionExpression"]
    assert not {"PutItem", "UpdateItem", "DeleteItem", "BatchWriteItem"} & set(wire.operations)


def test_a_late_step_never_frees_the_next_holders_lock(concourse: Concourse, store: DynamoStore) -> None:
    """A release that comes after its own claim has ended leaves the next claim alone, by name and by directory."""
    first = take(store, 1, need_approval=False)
    concourse.write("lock/id", first.id, build=1)
    end_claim(store, first, State.RELEASED, actor="typed:operator", reason="stuck")
    second = concourse.put("claim", build=2, lock_name=LOCK).version
    for params in ({"lock_name": LOCK}, {"from_": "lock"}):
        late = concourse.put("release", build=1, **params)
        assert late.version["id"] == first.id
        assert late.version["state"] == "released"
        assert "Nothing to release" in late.stderr
    assert held_by(store) == second["id"]
    assert kept(store, second).state is State.HELD


def test_another_pipelines_step_frees_nothing(concourse: Concourse, store: DynamoStore) -> None:
    """A lock is not freed by whoever happens to name it."""
    version = concourse.put("claim", lock_name=LOCK).version
    stranger = concourse.put("release", build=a_build(9, pipeline="other"), lock_name=LOCK)
    assert "is held by main/app/deploy #1" in stranger.refused()
    assert held_by(store) == version["id"]


def test_an_approval_lands_on_the_claim_it_was_meant_for(concourse: Concourse, store: DynamoStore) -> None:
    """An approval of a claim that has ended is refused, and never reaches the next claim on that lock."""
    seen = {"id": take(store, 1).id}
    releases.release(store, POOL, LOCK, Claimant(a_build(1)))
    unseen = concourse.claim(build=2).version
    assert unseen["id"] != seen["id"]
    late = concourse.cli("approve", "--id", seen["id"])
    assert late.code == 1
    assert seen["id"] in late.stderr
    assert kept(store, unseen).state is State.PENDING
    assert kept(store, unseen).approved is None


def test_an_approval_outlives_the_timeout(
    concourse: Concourse, store: DynamoStore, connect: Callable[..., DynamoStore]
) -> None:
    """A gate that is reached after its timeout, but was approved in time, opens."""
    assert store.head(POOL) is None
    time = FrozenTime(store.now() - timedelta(minutes=10))
    store = connect(time)
    claim = take(store)
    time.tick(minutes=1)
    reviews.review(store, claim.id, reviewer="typed:bob", verdict=Verdict.APPROVE)
    (version,) = concourse.versions()
    opened = concourse.get(version, need_approval=True, timeout=3)
    assert opened.metadata["decided by"] == "typed:bob"
    assert kept(store, version).state is State.APPROVED


def test_an_override_needs_no_waiting_get(concourse: Concourse, store: DynamoStore) -> None:
    """A newer claim takes a pending one's place at once, though nobody waits for the older."""
    older = concourse.claim(build=1).version
    newer = concourse.claim(build=2, override_approval=True)
    assert newer.seconds < PROMPT
    assert kept(store, older).state is State.SUPERSEDED
    assert held_by(store) == newer.version["id"]
    shut = concourse.get(older, build=1, need_approval=True).refused()
    assert "superseded by main/app/deploy #2" in shut


def test_an_override_takes_nothing_that_is_decided(concourse: Concourse, store: DynamoStore) -> None:
    """What is approved or simply held is waited for, override or not."""
    held = concourse.put("claim", build=1, lock_name=LOCK).version
    newer = concourse.start_put("claim", build=2, lock_name=LOCK, need_approval=True, override_approval=True)
    newer.says("already claimed")
    assert held_by(store) == held["id"]
    newer.stop()
    assert kept(store, held).state is State.HELD


def test_a_build_that_runs_again_keeps_its_own_lock(concourse: Concourse, store: DynamoStore) -> None:
    """The same build's claim, asked for again, is the one it has: no wait for itself and no second claim."""
    first = concourse.claim(description="same")
    again = concourse.claim(description="same")
    assert again.version == first.version
    assert again.seconds < PROMPT
    assert "already claimed" not in again.stderr
    assert [claim.id for claim in store.open_claims(POOL)] == [first.version["id"]]


def test_a_gate_stays_shut_for_a_claim_that_asked_for_no_approval(concourse: Concourse, store: DynamoStore) -> None:
    """Nobody was asked, so nobody approved: the gate fails at once and says what to change."""
    version = concourse.put("claim", lock_name=LOCK).version
    shut = concourse.get(version, need_approval=True)
    assert "needs no approval; claim with need_approval: true" in shut.refused()
    assert shut.seconds < PROMPT
    assert not (shut.directory / "name").exists()
    assert kept(store, version).state is State.HELD


def test_approval_is_asked_for_claim_by_claim(concourse: Concourse, store: DynamoStore) -> None:
    """A lock that once needed approval needs none in a later claim that doesn't ask for it, and the other way round."""
    reviews.review(store, take(store, 1).id, reviewer="typed:bob", verdict=Verdict.APPROVE)
    releases.release(store, POOL, LOCK, Claimant(a_build(1)))
    second = concourse.put("claim", build=2, lock_name=LOCK).version
    assert (kept(store, second).state, kept(store, second).need_approval) == (State.HELD, False)
    releases.release(store, POOL, LOCK, Claimant(a_build(2)))
    third = concourse.claim(build=3).version
    assert (kept(store, third).state, kept(store, third).approved) == (State.PENDING, None)


@pytest.mark.parametrize("false", [False, "false"])
def test_need_approval_set_to_false_is_false(concourse: Concourse, store: DynamoStore, false: object) -> None:
    """A value of false asks for nothing, on put and on get."""
    plain = concourse.put("claim", lock_name="plain", need_approval=false).version
    assert kept(store, plain).state is State.HELD
    pending = concourse.claim().version
    assert concourse.get(pending, need_approval=false).code == 0
    assert kept(store, pending).state is State.PENDING


def test_a_get_on_a_released_lock_ends(concourse: Concourse, store: DynamoStore) -> None:
    """A gate on a claim that is no longer there fails and says what became of it, instead of waiting for ever."""
    claim = take(store, 1)
    (version,) = concourse.versions()
    reviews.review(store, claim.id, reviewer="typed:bob", verdict=Verdict.APPROVE)
    released = concourse.put("release", lock_name=LOCK).version
    for gone in (version, released):
        shut = concourse.get(gone, need_approval=True)
        assert "released by main/app/deploy #1" in shut.refused()
        assert shut.seconds < PROMPT
    assert kept(store, version).state is State.RELEASED


@pytest.mark.long
def test_who_decided_and_why_is_kept(concourse: Concourse, store: DynamoStore) -> None:
    """A decision's author, reason and time stay with the claim and in the log, when the lock is used again too."""
    rejected = {"id": take(store, 1).id}
    concourse.reject(rejected, "--comment", "tests are red")
    approved = {"id": take(store, 2).id}
    concourse.approve(approved, "--comment", "tests are green")
    assert concourse.put("release", build=2, lock_name=LOCK).code == 0

    for version, verdict, why in ((rejected, False, "tests are red"), (approved, True, "tests are green")):
        claim = kept(store, version)
        assert claim.approved is verdict
        assert claim.decided is not None
        assert (claim.decided.actor, claim.decided.reason) == ("typed:alice", why)
    said = [(event.claim_id, event.kind.value, event.actor, event.reason) for event in store.events(POOL)]
    build = "main/app/deploy #1", "main/app/deploy #2"
    assert said == [
        (rejected["id"], "pending", build[0], ""),
        (rejected["id"], "rejected", "typed:alice", "tests are red"),
        (approved["id"], "pending", build[1], ""),
        (approved["id"], "approved", "typed:alice", "tests are green"),
        (approved["id"], "released", build[1], ""),
    ]
    assert "tests are red" in concourse.cli("history", "--pool", POOL).stdout


def test_an_empty_pool_has_no_version(concourse: Concourse) -> None:
    """There is nothing to tell before anything has happened, whatever Concourse asks."""
    assert concourse.check().stdout.strip() == "[]"
    assert concourse.versions({"timestamp": "0"}) == []


def test_versions_come_in_the_order_of_what_happened(concourse: Concourse, store: DynamoStore) -> None:
    """Every state change is one version, oldest first, each later than the one before."""
    before = datetime(2016, 1, 1, tzinfo=UTC).isoformat()
    expected = []
    for number in range(1, 6):
        claim = take(store, number, lock_name=f"lock-{number % 2}")
        reviews.review(store, claim.id, reviewer="typed:bob", verdict=Verdict.APPROVE)
        releases.release(store, POOL, claim.lock_name, Claimant(a_build(number)))
        expected += [(claim.id, state) for state in ("pending", "approved", "released")]
    found = concourse.versions({"timestamp": before})
    assert [(version["id"], version["state"]) for version in found] == expected
    timestamps = [version["timestamp"] for version in found]
    assert timestamps == sorted(set(timestamps))
    assert concourse.versions() == found[-1:]


def test_the_implicit_get_is_of_the_lock_that_was_put(concourse: Concourse, store: DynamoStore) -> None:
    """A get gives the version that was asked for, though other locks of the pool changed since."""
    mine = concourse.put("claim", build=1, lock_name="mine").version
    take(store, 2, lock_name="other")
    got = concourse.get(mine, build=1)
    assert got.version == mine
    assert got.file("name") == "mine"
    assert got.file("id") == mine["id"]
    assert got.metadata["lock"] == "mine"


@pytest.mark.parametrize("action", ["proclaim", "clam", "", "Claim", ["claim"], None])
def test_only_known_actions_are_taken(concourse: Concourse, store: DynamoStore, action: object) -> None:
    """A word that merely contains an action's is refused, with the right ones."""
    put = concourse.start(
        "out", {"source": concourse.source, "params": {"action": action, "lock_name": LOCK}}, [str(concourse.workspace())]
    )
    assert "use claim, release, await, renew, approve or reject" in put.ends().refused()
    assert store.head(POOL) is None


def test_times_are_utc_and_say_so(concourse: Concourse, store: DynamoStore) -> None:
    """Whatever the time zone of the machine, a time that is shown has its zone and is UTC."""
    request = {"source": concourse.source, "params": {"action": "claim", "lock_name": LOCK, "need_approval": True}}
    put = concourse.start("out", request, [str(concourse.workspace())], TZ="Pacific/Kiritimati").ends()
    version = put.version
    assert version["timestamp"].endswith("Z")
    assert len(version["timestamp"]) == 27
    shown = datetime.fromisoformat(version["timestamp"])
    assert kept(store, version).timestamp == shown
    assert abs(shown - store.now()) < timedelta(minutes=2)
    assert f"{shown:%Y-%m-%d %H:%M:%S.%f}+00:00" in concourse.cli("list").stdout


@pytest.mark.parametrize("script", ["check", "in", "out"])
def test_debug_never_tells_a_secret(concourse: Concourse, store: DynamoStore, script: str) -> None:
    """What debug adds to the log has no credential in it, and neither has any file."""
    take(store)
    (version,) = concourse.versions()
    told = concourse.sourced(debug=True, AWS_SECRET_ACCESS_KEY=CANARY)
    match script:
        case "check":
            result = told.check(version)
        case "in":
            result = told.get(version)
        case _:
            result = told.put("release", lock_name=LOCK)
    assert result.code == 0
    assert "ms" in result.stderr  # debug does tell something
    written = [path.read_bytes() for path in concourse.scratch.rglob("*") if path.is_file()]
    assert len(written) >= 2
    assert not any(CANARY.encode() in content for content in written)


@pytest.mark.long
def test_no_step_makes_a_table_that_is_there(concourse: Concourse, wire: Wire) -> None:
    """The table is made once, when it is missing, and no later step tries."""
    listened = concourse.sourced(endpoint_url=wire.url)
    version = listened.put("claim", lock_name=LOCK).version
    assert wire.operations.count("CreateTable") == 1
    wire.asked.clear()
    listened.versions(version)
    listened.get(version)
    assert listened.put("release", lock_name=LOCK).code == 0
    assert len(wire.asked) >= 3
    assert not {"CreateTable", "DescribeTable", "ListTables"} & set(wire.operations)


@pytest.mark.parametrize("waits", ["in", "out"])
@pytest.mark.long
def test_a_look_reads_one_item(concourse: Concourse, store: DynamoStore, wire: Wire, waits: str) -> None:
    """While a step waits, each look gets one item by its key: never a query, a scan or a write."""
    for number in range(3):
        take(store, number, lock_name=f"other-{number}")
    take(store, 1)
    version = concourse.versions()[-1]
    listened = concourse.sourced(endpoint_url=wire.url)
    waiting = (
        listened.start_get(version, build=2, need_approval=True)
        if waits == "in"
        else listened.start_put("claim", build=2, lock_name=LOCK)
    )
    waiting.says("already claimed" if waits == "out" else "  ")
    settled = len(wire.asked)
    until(lambda: len(wire.asked) >= settled + 6, "six looks")
    waiting.stop()
    looks = wire.asked[settled + 1 : settled + 6]
    assert [name for name, _ in looks] == ["GetItem"] * 5
    assert len({json.dumps(body["Key"], sort_keys=True) for _, body in looks}) == 1


def test_an_aborted_get_stops(concourse: Concourse, store: DynamoStore) -> None:
    """A gate that is told to stop does so at once, and leaves the claim to whoever decides on it."""
    version = concourse.claim().version
    gate = concourse.start_get(version, need_approval=True)
    gate.says("is waiting for an approval")
    stopped = gate.stop()
    assert stopped.code != 0
    assert stopped.stdout == ""
    assert stopped.seconds < 5
    assert kept(store, version).state is State.PENDING
    assert "Traceback" not in stopped.stderr
