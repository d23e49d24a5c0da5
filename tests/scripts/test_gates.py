"""Gates: claims that wait for people, steps that wait for claims, and what becomes of both."""

from __future__ import annotations

import hashlib
import json
import os
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from approval_resource.claims import gate as gates
from approval_resource.claims import release as releases
from approval_resource.claims import review as reviews
from approval_resource.claims.end import end_claim
from approval_resource.model.claim import PAYLOAD_CONTENT, Claim, Claimant, Verdict, attachment_content
from approval_resource.model.event import Kind, State
from approval_resource.store.dynamodb.store import DynamoStore
from tests.builders import FrozenTime, a_build, take
from tests.scripts.conftest import LOCK, POOL, SECONDS, Concourse, Running, Wire, held_by, kept, until
from tests.soak.toxics import FAULTY

ABORT_SECONDS = 5.0
"""Concourse kills ten seconds after it told a step to stop; this is what the steps promise."""
WAITS = "is waiting for an approval"


def approve(store: DynamoStore, claim: Claim, comment: str = "") -> None:
    """Approve as another person would, without a process for it."""
    reviews.review(store, claim.id, reviewer="typed:bob", verdict=Verdict.APPROVE, comment=comment)


def reject(store: DynamoStore, claim: Claim, comment: str = "") -> None:
    """Reject as another person would."""
    reviews.review(store, claim.id, reviewer="typed:bob", verdict=Verdict.REJECT, comment=comment)


def pending(store: DynamoStore) -> Claim:
    """The one claim that waits for its decision."""
    return until(lambda: [claim for claim in store.open_claims(POOL) if claim.state is State.PENDING], "a pending claim")[0]


def kinds(store: DynamoStore, claim_id: str) -> list[Kind]:
    """What happened to a claim."""
    return [event.kind for event in store.events(POOL) if event.claim_id == claim_id]


def newest(concourse: Concourse) -> dict[str, str]:
    """The newest version of the pool."""
    return concourse.versions()[-1]


# ---- claim and wait in one step --------------------------------------------------


def test_claim_and_gate_are_one_step(concourse: Concourse, store: DynamoStore) -> None:
    """With `wait` a put returns once its claim is approved, and its version says so."""
    put = concourse.start_put("claim", lock_name=LOCK, need_approval=True, wait=True, description="deploy 1.2")
    put.says(WAITS)
    claim = pending(store)
    assert f"approve --id {claim.id}" in put.stderr
    assert f"reject --id {claim.id}" in put.stderr
    assert "deploy 1.2" in put.stderr
    approve(store, claim, "looks good")
    done = put.ends()
    assert done.version == {
        "id": claim.id,
        "lock_name": LOCK,
        "state": "approved",
        "timestamp": newest(concourse)["timestamp"],
    }
    assert done.metadata["decided by"] == "typed:bob"
    assert done.metadata["reason"] == "looks good"
    assert held_by(store) == claim.id
    assert kinds(store, claim.id) == [Kind.PENDING, Kind.APPROVED, Kind.PASSED]


def test_a_rejection_fails_the_one_step_gate(concourse: Concourse, store: DynamoStore) -> None:
    """The step fails with who, when and why; the same build gets the same answer again, another a new claim."""
    put = concourse.start_put("claim", lock_name=LOCK, need_approval=True, wait=True)
    put.says(WAITS)
    rejected = pending(store)
    reject(store, rejected, "not today")
    shut = put.ends().refused()
    assert "rejected by typed:bob at " in shut
    assert "not today" in shut
    again = concourse.put("claim", lock_name=LOCK, need_approval=True, wait=True)
    assert "rejected by typed:bob" in again.refused()
    assert store.open_claims(POOL) == []
    assert concourse.claim(build=2).version["id"] != rejected.id


def test_waiting_without_a_decision_to_wait_for_is_refused(concourse: Concourse, store: DynamoStore) -> None:
    """`wait` without `need_approval` would wait for nothing, so it is refused before anything is claimed."""
    assert "params.wait" in concourse.put("claim", lock_name=LOCK, wait=True).refused()
    assert store.head(POOL) is None


# ---- await: the gate as a put ----------------------------------------------------


def test_await_opens_on_the_claim_that_from_names(concourse: Concourse, store: DynamoStore) -> None:
    """A put waits for the decision on exactly the claim that an earlier get left its id of."""
    claim = take(store, 1)
    concourse.get(newest(concourse), build=2, into="plan")
    gate = concourse.start_put("await", build=2, from_="plan")
    gate.says(WAITS)
    assert gate.running
    approve(store, claim)
    opened = gate.ends()
    assert opened.version["id"] == claim.id
    assert opened.version["state"] == "approved"
    assert kept(store, opened.version).spent == a_build(2).key()
    assert kinds(store, claim.id)[-1] is Kind.SPENT


def test_await_by_name_means_this_builds_claim(concourse: Concourse, store: DynamoStore) -> None:
    """With `lock_name` the claim that this build made is meant, though another one holds the lock by now."""
    mine = take(store, 1)
    reject(store, mine, "no")
    other = take(store, 2)
    approve(store, other)
    shut = concourse.put("await", build=1, lock_name=LOCK).refused()
    assert "rejected by typed:bob" in shut
    assert kept(store, {"id": other.id}).spent == ""


def test_await_never_takes_another_pipelines_approval(concourse: Concourse, store: DynamoStore) -> None:
    """A holder of another pipeline is not what a build means by a lock's name."""
    claim = take(store, 1)
    approve(store, claim)
    shut = concourse.put("await", build=a_build(9, pipeline="other"), lock_name=LOCK).refused()
    assert "held by main/app/deploy #1" in shut
    assert kept(store, {"id": claim.id}).spent == ""


def test_await_of_nothing_fails(concourse: Concourse, store: DynamoStore) -> None:
    """There is nothing to wait for where nobody claimed, and no directory is no claim."""
    assert "The lock nope does not exist" in concourse.put("await", lock_name="nope").refused()
    assert 'there is no directory "gone"' in concourse.put("await", from_="gone").refused()
    ended = take(store, 1)
    end_claim(store, ended, State.WITHDRAWN, actor="typed:bob")
    assert "nobody holds the lock" in concourse.put("await", build=2, lock_name=LOCK).refused()


@pytest.mark.long
def test_an_approval_opens_await_for_one_build(concourse: Concourse, store: DynamoStore) -> None:
    """The build that used an approval may come again; another is refused, told who used it, unless it says reuse."""
    claim = take(store, 1)
    approve(store, claim)
    assert concourse.put("await", build=2, lock_name=LOCK).code == 0
    assert concourse.put("await", build=2, lock_name=LOCK).code == 0
    assert kinds(store, claim.id).count(Kind.SPENT) == 1
    second = concourse.put("await", build=3, lock_name=LOCK).refused()
    assert "another build, main/app/deploy #2, has used the approval" in second
    assert concourse.put("await", build=3, lock_name=LOCK, reuse=True).code == 0
    assert kept(store, {"id": claim.id}).spent_by == "main/app/deploy #2"


def test_of_builds_that_await_at_once_one_passes(concourse: Concourse, store: DynamoStore) -> None:
    """Builds that wait for the same decision together can't all use it."""
    claim = take(store, 1)
    waiting = [concourse.start_put("await", build=number, lock_name=LOCK) for number in (2, 3, 4)]
    for gate in waiting:
        gate.says(WAITS)
    approve(store, claim)
    ended = [gate.ends() for gate in waiting]
    assert sorted(result.code for result in ended) == [0, 1, 1]
    assert all("has used the approval of claim" in result.refused() for result in ended if result.code)


def test_a_get_spends_no_approval(concourse: Concourse, store: DynamoStore) -> None:
    """A get that passes is on record, and leaves the approval to the put that uses it."""
    claim = take(store, 1)
    approve(store, claim)
    version = newest(concourse)
    assert concourse.get(version, build=2, need_approval=True).code == 0
    assert concourse.get(version, build=3, need_approval=True).code == 0
    assert kinds(store, claim.id)[-2:] == [Kind.PASSED, Kind.PASSED]
    assert kept(store, version).spent == ""
    assert concourse.put("await", build=4, lock_name=LOCK).code == 0


def test_await_times_out(concourse: Concourse, store: DynamoStore) -> None:
    """A put that waits ends with its timeout, and the claim with it."""
    claim = take(store, 1)
    told = concourse.put("await", lock_name=LOCK, timeout="1s").refused()
    assert "of lock deploy by" in told
    assert "(this step's timeout of 1 s, counted from when the lock was claimed, " in told
    assert "to count from the start of the step, set timeout_from: step" in told
    assert kept(store, {"id": claim.id}).state is State.EXPIRED


# ---- in with need_approval ----------------------------------------------------------


def test_a_gate_opens_with_a_receipt(concourse: Concourse, store: DynamoStore) -> None:
    """An approval opens a waiting get, whose receipt says who decided, when and why, on which event."""
    claim = take(store, 1, description="deploy 1.2")
    gate = concourse.start_get(newest(concourse), need_approval=True)
    gate.says(WAITS)
    assert gate.stderr.count(WAITS) == 1
    approve(store, claim, "go ahead")
    opened = gate.ends()
    event = next(event for event in store.events(POOL) if event.kind is Kind.APPROVED)
    receipt = json.loads(opened.file("receipt.json"))
    assert receipt["decision"] == "approved"
    assert receipt["decided_by"] == "typed:bob"
    assert receipt["reason"] == "go ahead"
    assert receipt["decided_at"].endswith("Z")
    assert receipt["policy"]
    assert receipt["event"]["digest"] == event.digest == opened.metadata["event digest"]
    assert receipt["claim"]["id"] == claim.id == opened.file("id")
    assert opened.file("state") == "approved"
    assert json.loads(opened.file("claim.json"))["description"] == "deploy 1.2"
    checked = concourse.cli("audit", "verify", "--against", str(opened.directory / "receipt.json"))
    assert checked.code == 0, checked.stdout


def test_a_rejection_is_told_with_who_when_and_why(concourse: Concourse, store: DynamoStore) -> None:
    """A get on a claim that was rejected fails at once, with one line that says it all, and writes nothing."""
    claim = take(store, 1)
    version = newest(concourse)
    reject(store, claim, "wrong branch")
    result = concourse.get(version, need_approval=True)
    result.refused()
    (line,) = [line for line in result.lines if "rejected" in line]
    ruling = kept(store, version).decided
    assert ruling is not None
    for part in ("typed:bob", f"{ruling.at:%Y-%m-%d %H:%M:%S} UTC", "wrong branch"):
        assert part in line
    assert result.files() == {}


def test_a_rejected_version_without_a_gate_is_only_told(concourse: Concourse, store: DynamoStore) -> None:
    """A get that is no gate gives the facts of any version, those of a rejection with its receipt."""
    reject(store, take(store, 1), "no")
    got = concourse.get(newest(concourse))
    assert got.file("state") == "rejected"
    assert json.loads(got.file("receipt.json"))["decision"] == "rejected"


def test_a_gate_that_is_reached_too_late_stays_shut(
    concourse: Concourse, store: DynamoStore, connect: Callable[..., DynamoStore]
) -> None:
    """The timeout counts from the claim, not from the get: when it is over the claim expires without any wait."""
    assert store.head(POOL) is None
    take(connect(FrozenTime(store.now() - timedelta(minutes=10))), 1)
    version = newest(concourse)
    result = concourse.get(version, need_approval=True, timeout="5m")
    assert "of lock deploy by" in result.refused()
    assert kept(store, version).state is State.EXPIRED
    assert held_by(store) == ""


def test_a_shorter_timeout_leaves_the_claim_its_longer_one(
    concourse: Concourse, store: DynamoStore, connect: Callable[..., DynamoStore]
) -> None:
    """Of two gates on one claim the more patient one sets its deadline; the other gives up alone."""
    assert store.head(POOL) is None
    claim = take(connect(FrozenTime(store.now() - timedelta(minutes=10))), 1)
    version = newest(concourse)
    patient = concourse.start_get(version, build=2, need_approval=True, timeout="1h")
    assert "There is 4" in patient.says(WAITS) or "There is 5" in patient.stderr
    told = concourse.get(version, build=3, need_approval=True, timeout="5m").refused()
    assert (
        f"gave up after this step's timeout of 5 min, counted from when the lock was claimed, {claim.created_at:%Y-%m-%d}"
        in told
    )
    assert f"claim {claim.id} of lock deploy may still be decided on until " in told
    assert kept(store, version).state is State.PENDING
    approve(store, claim)
    assert patient.ends().code == 0


@pytest.mark.long
@pytest.mark.parametrize("step", ["get", "await"])
def test_a_timeout_may_count_from_the_step(
    concourse: Concourse, store: DynamoStore, connect: Callable[..., DynamoStore], step: str
) -> None:
    """A step that is reached late waits as long as it says, and tells what its timeout counts from."""
    assert store.head(POOL) is None
    claim = take(connect(FrozenTime(store.now() - timedelta(minutes=10))), 1)
    params = {"timeout": "5m", "timeout_from": "step"}
    if step == "get":
        gate = concourse.start_get(newest(concourse), build=2, need_approval=True, **params)
    else:
        gate = concourse.start_put("await", build=2, lock_name=LOCK, **params)
    assert "There is 4 min" in gate.says(WAITS) or "There is 5 min left" in gate.stderr
    gate.says("  the wait ends with this step's timeout of 5 min, counted from when this step began, ")
    deadline = kept(store, {"id": claim.id}).deadline
    assert deadline is not None
    assert timedelta(minutes=14) < deadline - claim.created_at < timedelta(minutes=16)
    approve(store, claim)
    assert gate.ends().code == 0


@pytest.mark.long
def test_a_timeout_that_counts_from_the_step_ends_the_claim_that_has_no_other_end(
    concourse: Concourse, store: DynamoStore
) -> None:
    """As one that counts from the claim does; the message says from when it counted."""
    claim = take(store, 1)
    told = concourse.put("await", lock_name=LOCK, timeout="1s", timeout_from="step").refused()
    assert "(this step's timeout of 1 s, counted from when this step began, " in told
    assert "timeout_from" not in told
    assert kept(store, {"id": claim.id}).state is State.EXPIRED


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"timeout_from": "step"}, "params: timeout_from says from when timeout counts, and there is no timeout"),
        ({"timeout_from": "now", "timeout": "5m"}, "params.timeout_from: must be claim or step"),
    ],
)
def test_a_timeout_counts_from_the_claim_or_the_step(concourse: Concourse, params: dict[str, Any], words: str) -> None:
    """And from nothing else."""
    assert words in concourse.put("await", lock_name=LOCK, **params).refused()


def test_a_claim_s_own_end_is_not_told_as_the_step_s(
    concourse: Concourse, store: DynamoStore, connect: Callable[..., DynamoStore]
) -> None:
    """What ended it is its `expires_after`, not the longer timeout of the step that waited."""
    assert store.head(POOL) is None
    take(connect(FrozenTime(store.now() - timedelta(minutes=10))), 1, expires_after=timedelta(minutes=5))
    told = concourse.get(newest(concourse), need_approval=True, timeout="1h").refused()
    assert "5 min after it was claimed" in told
    assert "timeout" not in told


@pytest.mark.parametrize("need_approval", [False, "false", None])
def test_a_get_that_asks_for_nothing_waits_for_nothing(concourse: Concourse, store: DynamoStore, need_approval: object) -> None:
    """Absent, false and "false" are the same: no gate."""
    claim = take(store, 1)
    params = {} if need_approval is None else {"need_approval": need_approval}
    assert concourse.get(newest(concourse), **params).file("state") == "pending"  # type: ignore[arg-type]
    assert kinds(store, claim.id) == [Kind.PENDING]


# ---- what was approved is what is used ------------------------------------------------


def test_what_is_attached_reaches_reviewers_and_later_steps(concourse: Concourse, store: DynamoStore) -> None:
    """Files and payload are bound to the claim by digest, kept, and written by get to the byte."""
    plan, image = b"+ aws_instance.web\r\n\xff\x00", b"x" * 500_000
    concourse.write("terraform/plan.txt", plan)
    concourse.write("build/image.tar", image)
    concourse.write("build/facts.json", '{"memory": 4, "name": "web"}')
    version = concourse.claim(
        attach={"plan.txt": "terraform/plan.txt"},
        attach_digest={"image.tar": "build/image.tar"},
        payload_file="build/facts.json",
    ).version
    claim = kept(store, version)
    assert claim.attachments["plan.txt"].digest == hashlib.sha256(plan).hexdigest()
    assert store.content(claim.id, attachment_content("plan.txt")) == plan
    assert claim.attachments["image.tar"].digest == hashlib.sha256(image).hexdigest()
    assert claim.attachments["image.tar"].size == len(image)
    assert store.content(claim.id, attachment_content("image.tar")) is None
    assert store.content(claim.id, PAYLOAD_CONTENT) is not None

    got = concourse.get(version, build=2)
    assert got.files()["attached/plan.txt"] == plan
    assert "attached/image.tar" not in got.files()
    assert json.loads(got.file("payload.json")) == {"memory": 4, "name": "web"}


def test_a_payload_may_stand_in_the_params(concourse: Concourse) -> None:
    """Any JSON object is kept as it is and handed on."""
    payload = {"deep": [{"a": 1.5, "b": None}, True], "ünï": "☃"}
    version = concourse.claim(payload=payload).version
    assert json.loads(concourse.get(version).file("payload.json")) == payload


def test_await_refuses_a_file_that_was_changed(concourse: Concourse, store: DynamoStore) -> None:
    """After an approval only the approved file passes; a changed one is named and spends nothing."""
    concourse.write("plan/plan.txt", "+ one machine")
    concourse.write("plan/other.txt", "untouched")
    version = concourse.claim(attach={"plan.txt": "plan/plan.txt"}, attach_digest={"other.txt": "plan/other.txt"}).version
    approve(store, kept(store, version))
    verify = {"plan.txt": "plan/plan.txt", "other.txt": "plan/other.txt"}
    concourse.write("plan/plan.txt", "+ a hundred machines", build=2)
    concourse.write("plan/other.txt", "untouched", build=2)
    refused = concourse.put("await", build=2, lock_name=LOCK, verify=verify).refused()
    assert "params.verify.plan.txt" in refused
    assert "has changed" in refused
    assert "other.txt" not in refused
    assert kept(store, version).spent == ""
    concourse.write("plan/plan.txt", "+ one machine", build=2)
    assert concourse.put("await", build=2, lock_name=LOCK, verify=verify).code == 0
    assert kept(store, version).spent == a_build(2).key()


def test_a_file_that_changes_during_the_wait_is_refused(concourse: Concourse, store: DynamoStore) -> None:
    """Files are compared right before the gate opens, not only when the wait begins."""
    concourse.write("plan.txt", "+ one machine")
    version = concourse.claim(attach={"plan.txt": "plan.txt"}).version
    gate = concourse.start_put("await", lock_name=LOCK, verify={"plan.txt": "plan.txt"})
    gate.says(WAITS)
    concourse.write("plan.txt", "+ a hundred machines")
    approve(store, kept(store, version))
    assert "params.verify.plan.txt" in gate.ends().refused()
    assert kept(store, version).spent == ""


def test_what_verify_cant_compare_is_refused(concourse: Concourse, store: DynamoStore) -> None:
    """A name that wasn't attached and a file that isn't there are both told, and the gate stays shut."""
    concourse.write("plan.txt", "+ one machine")
    version = concourse.claim(attach={"plan.txt": "plan.txt"}).version
    approve(store, kept(store, version))
    verify = {"plan.tx": "plan.txt", "plan.txt": "missing.txt"}
    refused = concourse.put("await", lock_name=LOCK, verify=verify).refused()
    assert "params.verify.plan.tx: claim" in refused
    assert 'can\'t read "missing.txt"' in refused
    assert kept(store, version).spent == ""


@pytest.mark.parametrize(
    ("params", "told"),
    [
        ({"attach": {"plan": "missing"}}, 'params.attach.plan: can\'t read "missing"'),
        ({"attach": {"plan": "../../etc/passwd"}}, "leads out of the build's directory"),
        ({"attach": {"plan": "/etc/passwd"}}, "leads out of the build's directory"),
        ({"attach": {"plan": "link"}}, "leads out of the build's directory"),
        ({"attach": {"plan": "loop"}}, "params.attach.plan: "),
        ({"attach": {"plan": "x" * 300}}, "params.attach.plan: "),
        ({"attach": {"../plan": "file"}}, "must be a plain file name"),
        ({"attach": {"plan": "large"}}, "use attach_digest"),
        ({"payload_file": "file"}, "is not a JSON document"),
        ({"payload_file": "list.json"}, "must hold a JSON object"),
        ({"payload_file": "list.json", "payload": {}}, "not both"),
    ],
)
def test_what_cant_be_attached_is_refused(concourse: Concourse, store: DynamoStore, params: dict[str, Any], told: str) -> None:
    """A file that isn't there, leads elsewhere or is too large ends the step before anything is claimed."""
    concourse.write("file", "text")
    concourse.write("large", b"x" * 400_000)
    concourse.write("list.json", "[]")
    (concourse.workspace() / "link").symlink_to("/etc/hostname")
    (concourse.workspace() / "loop").symlink_to("loop")
    assert told in concourse.claim(**params).refused()
    assert store.head(POOL) is None


@pytest.mark.long
def test_files_depend_on_version_and_params_alone(concourse: Concourse, store: DynamoStore) -> None:
    """Concourse may hand one build's files to another, so what happens later must not change them."""
    concourse.write("plan.txt", "+ one machine")
    first = concourse.claim(attach={"plan.txt": "plan.txt"}, payload={"a": 1}, description="x").version
    plain = concourse.get(first, build=1, into="before").files()
    approve(store, kept(store, first))
    approved = newest(concourse)
    gated = concourse.get(first, build=1, into="gated", need_approval=True).files()
    decided = concourse.get(approved, build=1, into="decided").files()

    gates.pass_through(store, kept(store, first), a_build(8), spend=True)
    releases.release(store, POOL, LOCK, Claimant(a_build(1)))
    take(store, 9)
    assert concourse.get(first, build=3, into="after").files() == plain
    assert concourse.get(approved, build=3, into="decided").files() == decided
    assert {"name", "metadata", "claim.json", "id", "state", "payload.json", "attached/plan.txt"} == plain.keys()
    assert gated.keys() - plain.keys() == {"receipt.json"} == decided.keys() - plain.keys()


@pytest.mark.long
def test_gated_files_are_the_same_for_every_build(concourse: Concourse, store: DynamoStore) -> None:
    """Two builds that pass one gate, with another's await between them, get the same files."""
    claim = take(store, 1)
    version = newest(concourse)
    approve(store, claim)
    first = concourse.get(version, build=2, need_approval=True).files()
    gates.pass_through(store, claim, a_build(5), spend=True)
    assert concourse.get(version, build=3, need_approval=True).files() == first


# ---- release -----------------------------------------------------------------------


def test_release_with_from_ends_exactly_that_claim(concourse: Concourse, store: DynamoStore) -> None:
    """The directory of a get or put names the claim, whichever build and job releases it."""
    claim = take(store, 1, need_approval=False)
    concourse.get(newest(concourse), build=a_build(5, job="cleanup"), into="lock")
    released = concourse.put("release", build=a_build(5, job="cleanup"), from_="lock")
    assert released.version["id"] == claim.id
    assert released.version["state"] == "released"
    assert kept(store, released.version).claimed is False
    assert held_by(store) == ""


def test_release_without_from_means_the_claim_this_build_passed(concourse: Concourse, store: DynamoStore) -> None:
    """A build that passed another build's gate releases that claim, from another pipeline too."""
    claim = take(store, 1)
    approve(store, claim)
    other = a_build(5, pipeline="other")
    assert concourse.get(newest(concourse), build=other, need_approval=True).code == 0
    assert concourse.put("release", build=other, lock_name=LOCK).version["id"] == claim.id
    assert held_by(store) == ""


def test_release_without_from_leaves_anothers_pending_claim(concourse: Concourse, store: DynamoStore) -> None:
    """Another build's claim that people are still asked about is not taken from under them."""
    claim = take(store, 1)
    refused = concourse.put("release", build=2, lock_name=LOCK).refused()
    assert "is held by main/app/deploy #1" in refused
    assert kept(store, {"id": claim.id}).state is State.PENDING


def test_release_with_a_missing_directory_is_as_without(concourse: Concourse, store: DynamoStore) -> None:
    """`ensure` after a step that failed still frees this build's lock."""
    claim = take(store, 1, need_approval=False)
    released = concourse.put("release", build=1, from_="never-made", lock_name=LOCK)
    assert "There is no directory never-made" in released.stderr
    assert released.version["id"] == claim.id
    assert held_by(store) == ""
    assert "params.lock_name: required" in concourse.put("release", from_="never-made").refused()


def test_release_of_a_directory_that_names_no_claim_is_refused(concourse: Concourse, store: DynamoStore) -> None:
    """A directory of something else is a mistake, not a release by name."""
    take(store, 1, need_approval=False)
    concourse.write("source/README", "text")
    holder = held_by(store)
    assert "has no id file" in concourse.put("release", from_="source", lock_name=LOCK).refused()
    concourse.write("source/id", "11111111-1111-4111-8111-111111111111")
    assert "has no claim 11111111" in concourse.put("release", from_="source", lock_name=LOCK).refused()
    assert "params.from" in concourse.put("release", from_="../source", lock_name=LOCK).refused()
    assert held_by(store) == holder


def test_release_of_a_directory_that_cant_be_is_no_crash(concourse: Concourse, store: DynamoStore) -> None:
    """A name that no file system takes is a directory that is missing, or refused in one line."""
    claim = take(store, 1, need_approval=False)
    released = concourse.put("release", from_="x" * 300, lock_name=LOCK)
    assert "Traceback" not in released.stderr
    assert "xxx" in released.stderr
    assert held_by(store) == ("" if released.code == 0 else claim.id)


def test_what_has_ended_is_released_without_harm(concourse: Concourse, store: DynamoStore) -> None:
    """A release that comes after the end succeeds, says so, and gives the version of that claim's end."""
    ended = take(store, 1)
    reject(store, ended, "no")
    live = take(store, 2, need_approval=False)
    before = store.head(POOL)
    late = concourse.put("release", build=1, lock_name=LOCK)
    assert "Nothing to release" in late.stderr
    assert late.version["id"] == ended.id
    assert late.version["state"] == "rejected"
    assert concourse.get(late.version, build=1, into="end").file("id") == ended.id
    assert held_by(store) == live.id
    assert store.head(POOL) == before


def test_a_stranger_to_a_free_lock_gets_its_newest_end(concourse: Concourse, store: DynamoStore) -> None:
    """A build without a claim of its own gets the version of the lock's newest ended claim."""
    first = take(store, 1)
    releases.release(store, POOL, LOCK, Claimant(a_build(1)))
    second = take(store, 2)
    releases.release(store, POOL, LOCK, Claimant(a_build(2)))
    late = concourse.put("release", build=3, lock_name=LOCK)
    assert late.version["id"] == second.id != first.id
    assert f"Nothing to release: this build never got the lock {LOCK}, so nothing was freed" in late.stderr
    assert "claim again" not in late.stderr
    assert "action: claim" not in late.stderr


@pytest.mark.long
def test_ones_own_pending_claim_is_withdrawn(concourse: Concourse, store: DynamoStore) -> None:
    """A build that releases while it still waits takes its question back; its gate says so."""
    version = concourse.claim().version
    gate = concourse.start_get(version, need_approval=True)
    gate.says(WAITS)
    released = concourse.put("release", lock_name=LOCK)
    assert released.version["state"] == "withdrawn"
    assert kept(store, version).state is State.WITHDRAWN
    assert "withdrawn by main/app/deploy #1" in gate.ends().refused()


@pytest.mark.long
def test_every_release_has_a_version_that_get_knows(concourse: Concourse, store: DynamoStore) -> None:
    """The implicit get of a release finds what the put gave, files and all."""
    concourse.put("claim", lock_name=LOCK)
    released = concourse.put("release", lock_name=LOCK)
    got = concourse.get(released.version, into="released")
    assert got.version == released.version == newest(concourse)
    assert got.file("state") == "released"


# ---- one build, several questions --------------------------------------------------


def test_a_different_question_replaces_the_pending_one(concourse: Concourse, store: DynamoStore) -> None:
    """A build that asks for something else takes its own pending claim back: nobody approves what is no longer asked."""
    first = concourse.claim(description="one").version
    second = concourse.claim(description="two").version
    assert kept(store, first).state is State.SUPERSEDED
    assert held_by(store) == second["id"] != first["id"]


@pytest.mark.long
def test_a_different_question_after_the_decision_is_refused(concourse: Concourse, store: DynamoStore) -> None:
    """What was decided stays so: asking for more under the same key is refused with the way out."""
    first = concourse.claim(description="one").version
    approve(store, kept(store, first))
    refused = concourse.claim(description="two").refused()
    assert "claim_key" in refused
    assert first["id"] in refused
    assert held_by(store) == first["id"]
    assert kept(store, first).description == "one"


def test_claim_key_tells_one_builds_claims_apart(concourse: Concourse, store: DynamoStore) -> None:
    """Two steps of one build that want a lock one after the other are two askers."""
    first = concourse.put("claim", lock_name=LOCK, claim_key="a").version
    waiting = concourse.start_put("claim", lock_name=LOCK, claim_key="b")
    waiting.says("already claimed")
    assert concourse.put("claim", lock_name=LOCK, claim_key="a").version == first
    assert concourse.put("release", lock_name=LOCK, claim_key="a").version["id"] == first["id"]
    second = waiting.ends().version
    assert held_by(store) == second["id"] != first["id"]


def test_after_its_release_a_build_may_claim_anew(concourse: Concourse, store: DynamoStore) -> None:
    """The same question after a release is a new claim with a higher fence, and needs a new answer."""
    first = take(store, 1)
    approve(store, first)
    releases.release(store, POOL, LOCK, Claimant(a_build(1)))
    second = kept(store, concourse.claim().version)
    assert (second.state, second.approved) == (State.PENDING, None)
    assert second.fence == first.fence + 1


def test_the_same_build_number_elsewhere_is_another_asker(concourse: Concourse, store: DynamoStore) -> None:
    """What makes an asker is the whole of installation, team, pipeline, instance, job and build."""
    first = take(store, 1)
    for other in ({"url": "https://ci.other"}, {"instance_vars": '{"branch":"b"}'}, {"job": "test"}):
        second = concourse.start_put("claim", build=a_build(1, **other), lock_name=LOCK, need_approval=True)
        second.says("already claimed")
        second.kill()
    assert held_by(store) == first.id


# ---- check ------------------------------------------------------------------------


def test_check_with_a_lock_name_knows_that_lock_only(concourse: Concourse, store: DynamoStore) -> None:
    """Other locks of the pool have no versions in such a resource."""
    take(store, 1, lock_name="mine")
    take(store, 2, lock_name="other")
    mine = concourse.sourced(lock_name="mine")
    (first,) = mine.versions()
    assert first["lock_name"] == "mine"
    releases.release(store, POOL, "mine", Claimant(a_build(1)))
    releases.release(store, POOL, "other", Claimant(a_build(2)))
    assert [(version["lock_name"], version["state"]) for version in mine.versions(first)] == [
        ("mine", "pending"),
        ("mine", "withdrawn"),
    ]
    assert concourse.sourced(lock_name="never").versions() == []


def test_a_resource_with_states_starts_when_an_approval_lands(concourse: Concourse, store: DynamoStore) -> None:
    """`states: [approved]` has no version while people think, and one as soon as they approved."""
    trigger = concourse.sourced(states=["approved"])
    claim = take(store, 1)
    assert trigger.versions() == []
    approve(store, claim)
    (version,) = trigger.versions()
    assert (version["id"], version["state"]) == (claim.id, "approved")
    releases.release(store, POOL, LOCK, Claimant(a_build(1)))
    approve(store, take(store, 2))
    assert [found["state"] for found in trigger.versions(version)] == ["approved", "approved"]


def test_a_first_check_with_states_sees_open_claims_only(concourse: Concourse, store: DynamoStore) -> None:
    """A new resource does not start a job for an approval whose lock was released long ago."""
    approve(store, take(store, 1))
    releases.release(store, POOL, LOCK, Claimant(a_build(1)))
    assert concourse.sourced(states=["approved"]).versions() == []


@pytest.mark.long
def test_check_with_states_ends_what_is_overdue(concourse: Concourse, store: DynamoStore) -> None:
    """A deadline passes without a container that waits: the check that looks for it applies it."""
    claim = take(store, 1)
    gates.prolong(store, claim, timedelta(microseconds=1), a_build(1))
    expired = until(lambda: concourse.sourced(states=["expired"]).versions(), "the deadline")
    assert [(version["id"], version["state"]) for version in expired] == [(claim.id, "expired")]
    assert held_by(store) == ""


# ---- being told to stop ----------------------------------------------------------


def stopped(running: Running) -> None:
    """Abort the step and see that it ends in time, without an answer and without a traceback."""
    result = running.stop()
    assert result.code != 0
    assert result.seconds < ABORT_SECONDS
    assert result.stdout == ""
    assert "Traceback" not in result.stderr
    if "may still be there" in result.stderr:
        assert os.environ.get(FAULTY), result.stderr
        pytest.skip("the store refused for as long as an aborted step has, and the step said so")


def test_the_build_log_repeats_no_value_of_the_source(concourse: Concourse, store: DynamoStore) -> None:
    """Concourse redacts what comes from a secret, so that a hint with such a value could not be pasted."""
    store.create_table()  # whoever makes one is told its name
    logs = [concourse.claim()]
    waiting = concourse.start_get(logs[0].version, need_approval=True)
    waiting.says(WAITS)
    reviews.review(store, logs[0].version["id"], reviewer="typed:bob", verdict=Verdict.APPROVE)
    logs += [waiting.ends(), concourse.put("release", lock_name=LOCK), concourse.put("release", build=9, lock_name=LOCK)]
    told = "".join(log.stderr for log in logs)
    assert "approvals approve --id" in told
    for option in ("endpoint_url", "table", "AWS_DEFAULT_REGION", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        assert concourse.source[option] not in told, option


def test_an_aborted_await_leaves_the_claim(concourse: Concourse, store: DynamoStore) -> None:
    """Others may still decide on a claim whose await was aborted."""
    claim = take(store, 1)
    gate = concourse.start_put("await", build=2, lock_name=LOCK)
    gate.says(WAITS)
    stopped(gate)
    assert kept(store, {"id": claim.id}).state is State.PENDING


def test_an_aborted_claimer_never_claims(concourse: Concourse, store: DynamoStore) -> None:
    """A put that was aborted in the queue leaves nothing: once the lock is free, nobody takes it."""
    holder = take(store, 1, need_approval=False)
    waiting = concourse.start_put("claim", build=2, lock_name=LOCK)
    waiting.says("already claimed")
    stopped(waiting)
    releases.release(store, POOL, LOCK, Claimant(a_build(1)))
    assert held_by(store) == ""
    assert {event.claim_id for event in store.events(POOL)} == {holder.id}
    assert concourse.put("claim", build=3, lock_name=LOCK).seconds < 15


@pytest.mark.long
def test_a_claim_whose_answer_was_not_given_is_withdrawn(concourse: Concourse, store: DynamoStore, wire: Wire) -> None:
    """Concourse forgets an aborted put, so a claim that landed a moment before is taken back."""
    reads_back = threading.Event()

    def linger(operation: str) -> None:
        if operation == "GetItem":
            reads_back.set()
            time.sleep(1)

    wire.before = linger
    claiming = concourse.sourced(endpoint_url=wire.url).start_put("claim", lock_name=LOCK, need_approval=True)
    claiming.says("Claimed the lock")
    assert reads_back.wait(SECONDS)
    stopped(claiming)
    assert held_by(store) == ""
    assert [event.kind.value for event in store.events(POOL)] == ["pending", "withdrawn"]


def test_a_second_run_of_a_build_takes_back_what_the_first_made(concourse: Concourse, store: DynamoStore, wire: Wire) -> None:
    """Run again after its worker died, and aborted before it could even look: the claim of the first run goes too."""
    assert concourse.claim().code == 0
    asked = threading.Event()

    def linger(operation: str) -> None:
        if not asked.is_set():
            asked.set()
            time.sleep(1)

    wire.before = linger
    again = concourse.sourced(endpoint_url=wire.url).start_put("claim", lock_name=LOCK, need_approval=True)
    assert asked.wait(SECONDS)
    stopped(again)
    assert held_by(store) == ""
    assert store.open_claims() == []


def test_an_aborted_one_step_gate_withdraws_its_claim(concourse: Concourse, store: DynamoStore) -> None:
    """Nobody is asked any more about a build that was aborted, and its lock is free."""
    waiting = concourse.start_put("claim", lock_name=LOCK, need_approval=True, wait=True)
    waiting.says(WAITS)
    claim = pending(store)
    stopped(waiting)
    after = kept(store, {"id": claim.id})
    assert after.state is State.WITHDRAWN
    assert after.ended is not None
    assert "aborted" in after.ended.reason
    assert held_by(store) == ""


def test_a_build_of_a_concourse_made_anew_deploys_on_no_approval_of_the_first(
    concourse: Concourse, store: DynamoStore, connect: Callable[..., DynamoStore]
) -> None:
    """Same URL, team, pipeline, job, id and name, an approved claim still held: the second build is asked for anew."""
    store.create_table()
    past = connect(FrozenTime(store.now() - timedelta(minutes=30)))
    first = take(past, 1)
    approve(past, first)
    gates.pass_through(past, first, a_build(1), spend=False)
    second = concourse.start_put("claim", lock_name=LOCK, need_approval=True, wait=True)
    assert "superseded" in second.says(f"The claim {first.id} on it is")
    second.says("is waiting for an approval")
    assert second.running
    claim = store.open_claims()[0]
    assert claim.id != first.id
    approve(store, claim)
    assert second.ends().version["id"] == claim.id


@pytest.mark.long
def test_a_build_s_name_tells_its_instance(concourse: Concourse, store: DynamoStore) -> None:
    """Instances of a pipeline share its name, their jobs' and their builds' numbers: log, queue, list, show and history tell."""
    eu = a_build(1, instance_vars='{"env":"eu","cell":{"id":7}}')
    us = a_build(1, instance_vars='{"env":"us"}')
    held = concourse.claim(build=eu)
    named = "main/app/deploy #1 (env: eu, cell.id: 7)"
    assert f"Claiming the lock {LOCK} in pool {POOL} for {named}" in held.lines
    assert held.metadata["claimed by"] == named
    waiting = concourse.start_put("claim", build=us, lock_name=LOCK, need_approval=True)
    assert named in waiting.says("is already claimed by")
    waiting.says("Place 1 of 1")
    assert "main/app/deploy #1 (env: us)" in concourse.cli("list", "--waiting").stdout
    assert "app (env: eu, cell.id: 7)" in concourse.cli("list").stdout
    assert "app (env: eu, cell.id: 7)" in concourse.cli("show", held.version["id"]).stdout
    assert named in concourse.cli("history", "--pool", POOL).stdout
    assert named in concourse.put("release", build=us, lock_name=LOCK).refused()
