"""Decisions from Concourse under attack: stopped, killed, raced and repeated puts, borrowed names, and reviewers who are confused."""

from __future__ import annotations

import json
import os
import signal
import threading
from collections.abc import Callable
from datetime import timedelta
from itertools import count
from typing import Any

import pytest

from approval_resource.audit import verify as audit
from approval_resource.claims import review as reviews
from approval_resource.model.claim import Verdict
from approval_resource.model.event import Kind, State
from approval_resource.pools import set_policy
from approval_resource.store.dynamodb.store import DynamoStore
from tests.builders import FrozenTime, a_build, take
from tests.scripts.conftest import LOCK, POOL, SECONDS, Concourse, Wire, kept
from tests.scripts.test_attempts import ON_ITS_OWN_PROCESS, Killer, hung_up
from tests.scripts.test_deciding import TWO, URL, by, decide, identity

pytestmark = pytest.mark.long


def verdicts(store: DynamoStore) -> list[tuple[str, str]]:
    """The reviews in the pool's log, oldest first: whose, and what they said."""
    return [(event.actor, event.verdict) for event in store.events(POOL) if event.verdict]


# ---- again, later ----------------------------------------------------------------------


def test_a_retry_does_not_undo_what_the_person_said_since(concourse: Concourse, store: DynamoStore) -> None:
    """A build that Concourse runs again hours later says nothing anew, though the claim still waits."""
    version = concourse.claim(policy={"required_approvals": 2, "rejections_required": 2}).version
    assert decide(concourse, version, by("anna", 50)).code == 0
    assert decide(concourse, version, by("anna", 51), "reject", comment="wrong branch").version["state"] == "pending"
    again = decide(concourse, version, by("anna", 50))
    assert again.version["state"] == "pending"
    assert "This build said so before; nothing has changed" in again.stderr
    assert kept(store, version).reviews[identity("anna")].verdict is Verdict.REJECT
    assert decide(concourse, version, by("ben", 52)).version["state"] == "pending"
    assert decide(concourse, version, by("anna", 53)).version["state"] == "approved"


def test_approving_and_then_rejecting_ends_the_claim(concourse: Concourse, store: DynamoStore) -> None:
    """Whoever approved in a quorum may change their mind as long as nothing is decided."""
    version = concourse.claim(policy=TWO).version
    assert decide(concourse, version, by("anna", 50)).code == 0
    assert decide(concourse, version, by("anna", 51), "reject", comment="no").version["state"] == "rejected"
    assert "rejected by" in decide(concourse, version, by("ben", 52)).refused()


@ON_ITS_OWN_PROCESS
@pytest.mark.parametrize("landed", [False, True], ids=["before it lands", "once it has landed"])
def test_a_review_that_is_killed_is_one_review(concourse: Concourse, store: DynamoStore, wire: Wire, landed: bool) -> None:
    """The process dies around its write: the same build again answers, and the log has the review once."""
    version = concourse.claim().version
    anna = by("anna")
    assert concourse.get(version, build=anna, into="waiting").code == 0
    line = concourse.sourced(endpoint_url=wire.url)
    ready = threading.Event()

    def strike(operation: str) -> None:
        if operation == "TransactWriteItems":
            assert ready.wait(SECONDS)
            running.kill()

    wire.before, wire.after = (lambda _: None, strike) if landed else (strike, lambda _: None)
    running = line.start_put("approve", build=anna, from_="waiting")
    ready.set()
    assert running.ends().code == -signal.SIGKILL
    again = concourse.put("approve", build=anna, from_="waiting")
    assert again.version["state"] == "approved"
    assert ("This build said so before" in again.stderr) is landed or not landed
    assert verdicts(store) == [(identity("anna"), "approve")]
    assert audit.verify(store, POOL).findings == []


@ON_ITS_OWN_PROCESS
@pytest.mark.long
def test_a_review_that_is_killed_at_any_request_is_one_review(concourse: Concourse, store: DynamoStore, wire: Wire) -> None:
    """Whatever has been asked for when it dies."""
    killer, line = Killer(wire, landed=True), concourse.sourced(endpoint_url=wire.url)
    for point in count():
        version = concourse.claim(f"{LOCK}-{point}", build=point + 1).version
        anna = by("anna", 50 + point)
        assert concourse.get(version, build=anna, into="waiting").code == 0
        with killer.aim(point):
            killer.victim = line.start_put("approve", build=anna, from_="waiting")
        killer.victim.ends()
        killed = killer.rest()
        assert concourse.put("approve", build=anna, from_="waiting").version["state"] == "approved"
        assert [event.kind for event in store.events(POOL, lock_name=f"{LOCK}-{point}")] == [Kind.PENDING, Kind.APPROVED]
        if not killed:
            break
    assert point > 2


@ON_ITS_OWN_PROCESS
@pytest.mark.parametrize("landed", [False, True], ids=["before it lands", "once it has landed"])
def test_a_step_that_is_stopped_says_whether_its_review_counts(
    concourse: Concourse, store: DynamoStore, wire: Wire, landed: bool
) -> None:
    """Whoever aborts the build they started by mistake reads what has become of it, and of which claim."""
    version = concourse.claim(policy=TWO).version
    anna = by("anna")
    assert concourse.get(version, build=anna, into="waiting").code == 0
    ready, stopped = threading.Event(), threading.Event()

    def stop(operation: str) -> None:
        if not stopped.is_set() and operation == ("TransactWriteItems" if landed else "BatchGetItem"):
            assert ready.wait(SECONDS)
            stopped.set()
            running._process.send_signal(signal.SIGTERM)

    wire.before, wire.after = (lambda _: None, stop) if landed else (stop, lambda _: None)
    running = concourse.sourced(endpoint_url=wire.url).start_put("approve", build=anna, from_="waiting")
    ready.set()
    ended = running.ends()
    assert ended.code == 143
    told = [line for line in ended.lines if line.startswith("Stopped (aborted, or its time was up): ")]
    assert len(told) == 1, ended.stderr
    assert version["id"] in told[0]
    assert ("anna's approve of claim" in told[0]) is landed
    assert ("is on record and stays" in told[0]) is landed
    assert (identity("anna") in kept(store, version).reviews) is landed


@ON_ITS_OWN_PROCESS
def test_a_review_whose_answer_nobody_can_read_stays(concourse: Concourse, store: DynamoStore) -> None:
    """A gate may have opened by it, so it isn't taken back; the next attempt answers."""
    version = concourse.claim().version
    anna = by("anna")
    assert concourse.get(version, build=anna, into="waiting").code == 0
    with hung_up() as stdout:
        first = concourse.answering(stdout).start_put("approve", build=anna, from_="waiting").ends()
    assert first.code == 143
    assert "is on record and stays" in first.stderr
    assert concourse.put("approve", build=anna, from_="waiting").version["state"] == "approved"
    assert len(verdicts(store)) == 1


# ---- at once ---------------------------------------------------------------------------


def test_a_claim_withdrawn_while_somebody_approves_it_is_not_approved(
    concourse: Concourse, store: DynamoStore, wire: Wire
) -> None:
    """The gate's build is aborted after the reviewer's put has looked, and before it writes: it is told who and when."""
    gate = concourse.start_put("claim", lock_name=LOCK, need_approval=True, wait=True)
    gate.says("is waiting for an approval")
    [version] = concourse.versions()
    anna = by("anna")
    assert concourse.get(version, build=anna, into="waiting").code == 0
    aborted = threading.Event()

    def abort(operation: str) -> None:
        if operation == "TransactWriteItems" and not aborted.is_set():
            aborted.set()
            assert gate.stop().code == 143

    wire.before = abort
    told = concourse.sourced(endpoint_url=wire.url).put("approve", build=anna, from_="waiting").refused()
    assert aborted.is_set()
    assert f"claim {version['id']} of lock" in told
    assert "is withdrawn by main/app/deploy #1 at" in told
    assert kept(store, version).reviews == {}


# ---- whom it is ------------------------------------------------------------------------


ADDRESSES = [URL, f"{URL}/", URL.upper().replace("HTTPS", "https"), f"{URL}:443", f"{URL}:443//"]


@pytest.mark.long
def test_one_address_written_in_any_way_is_one_concourse(concourse: Concourse, store: DynamoStore) -> None:
    """Nobody becomes two people, or hides that they asked, because a web node's address is written otherwise."""
    version = concourse.claim(build=a_build(1, created_by="carl"), policy=TWO | {"allow_self_approval": False}).version
    for number, url in enumerate(ADDRESSES):
        assert decide(concourse, version, by("anna", 50 + number, url=url)).version["state"] == "pending"
        assert decide(concourse, version, by("carl", 60 + number, url=url)).version["state"] == "pending"
    assert set(kept(store, version).reviews) == {identity("anna"), identity("carl")}
    assert decide(concourse, version, by("ben", 70)).version["state"] == "approved"


@pytest.mark.parametrize(
    "url", ["https://ci.example:8443", "http://ci.example", "https://ci.example/team", "https://ci.example."]
)
def test_another_address_is_another_concourse(concourse: Concourse, store: DynamoStore, url: str) -> None:
    """Its anna is somebody else to a rule, and may be the same human to a quorum: either way she doesn't count twice."""
    version = concourse.claim(policy=TWO).version
    assert decide(concourse, version, by("anna", 50)).code == 0
    assert decide(concourse, version, by("anna", 51, url=url)).version["state"] == "pending"
    ruled = concourse.claim("ruled", build=2, policy={"approval_rules": [{"user": "concourse:anna"}]}).version
    assert "doesn't count" in decide(concourse, ruled, by("anna", 52, url=url)).refused()


SEEN_AS_ANNA = {
    "space after": "anna ",
    "space before": " anna",
    "no-break space": "anna\u00a0",
    "filler": "anna\u3164",
    "braille blank": "\u2800anna",
    "joiner": "an\u034fna",
    "variation": "anna\ufe0f",
    "plane 14": "anna\U000e0101",
    "bidi": "\u202eanna",
    "line": "anna\u2028",
    "tab": "anna\t",
    "tag": "anna\U000e0061",
} | ({} if "APPROVAL_SCRIPTS_COMMAND" in os.environ else {"not utf-8": "anna\udcff"})
"""A container's runtime would put another character in the place of what is no UTF-8."""


@pytest.mark.parametrize("name", SEEN_AS_ANNA.values(), ids=SEEN_AS_ANNA.keys())
def test_a_name_that_looks_like_anna_s_is_told_apart(concourse: Concourse, store: DynamoStore, name: str) -> None:
    """It carries a mark wherever it is shown, is named by no rule for her, and doesn't hide that it may be hers who asked."""
    policy = TWO | {"allow_self_approval": False}
    version = concourse.claim(build=a_build(1, created_by="anna"), policy=policy).version
    done = decide(concourse, version, by(name))
    assert done.version["state"] == "pending"
    assert "asked for this claim" in done.stderr
    [reviewer] = kept(store, version).reviews
    assert reviewer.startswith(identity("anna"))
    assert "…" in reviewer
    assert reviewer == " ".join(reviewer.split())


def test_nobody_writes_somebody_else_s_mark_into_their_name(concourse: Concourse, store: DynamoStore) -> None:
    """A name that spells a marked one, to the character, is another name."""
    version = concourse.claim(policy={"required_approvals": 3}).version
    assert decide(concourse, version, by("anna\u200b")).code == 0
    [marked] = kept(store, version).reviews
    for number in (51, 52):
        name = list(kept(store, version).reviews)[-1].partition("#")[2]
        assert decide(concourse, version, by(name, number)).code == 0
    assert len(kept(store, version).reviews) == 3
    assert marked in kept(store, version).reviews


OWN = {
    "plain": {},
    "people": {"people": {"A": ["concourse:anna", "aws:arn:aws:iam::111122223333:user/anna"]}},
    "rule": {"approval_rules": [{"user": "concourse:anna"}]},
    "group": {"approval_rules": [{"group": "qa"}], "groups": {"qa": ["concourse:anna", identity("ben")]}},
    "delegate": {
        "approval_rules": [{"name": "qa", "user": "concourse:carl"}],
        "delegates": [{"person": "concourse:carl", "delegate": "concourse:anna", "from": "2020-01-01", "until": "2099-12-31"}],
    },
    "delegate of the requester": {
        "approval_rules": [{"name": "qa", "user": "concourse:anna"}],
        "delegates": [{"person": "concourse:anna", "delegate": "concourse:ben", "from": "2020-01-01", "until": "2099-12-31"}],
    },
}


@pytest.mark.parametrize("document", OWN.values(), ids=OWN.keys())
def test_no_list_makes_one_s_own_approval_count(concourse: Concourse, store: DynamoStore, document: dict[str, Any]) -> None:
    """Neither people, groups, rules and `as`, nor who stands in for whom."""
    own = {"required_approvals": 1, "allow_self_approval": False, "reviewers": {"concourse": True}} | document
    version = concourse.claim(build=a_build(1, created_by="anna"), policy=own).version
    names: dict[str, Any] = {"as": ["qa"]} if "delegates" in document else {}
    delegated = any(one["delegate"] == "concourse:ben" for one in document.get("delegates", []))
    done = decide(concourse, version, by("ben" if delegated else "anna"), **names)
    assert done.code == 1 or done.version["state"] == "pending", done.stderr
    assert kept(store, version).state is State.PENDING


def test_a_job_that_approves_its_own_claim_is_its_starter_s_own(concourse: Concourse, store: DynamoStore) -> None:
    """Claim and approval in one job, by the put's own directory: whoever starts it asked for it."""
    anna = a_build(1, created_by="anna")
    version = concourse.claim(build=anna, policy={"required_approvals": 1, "allow_self_approval": False}).version
    concourse.write("approval/id", version["id"], anna)
    done = concourse.put("approve", build=anna, from_="approval")
    assert done.version["state"] == "pending"
    assert "anna asked for this claim and doesn't count" in done.stderr


def test_a_typed_name_beside_one_of_concourse_is_no_second_person(concourse: Concourse, store: DynamoStore) -> None:
    """Whoever starts the job can also type a name."""
    version = concourse.claim(policy=TWO).version
    reviews.review(store, version["id"], reviewer="typed:ben", verdict=Verdict.APPROVE)
    assert decide(concourse, version, by("anna")).version["state"] == "pending"
    assert decide(concourse, version, by("ben", 51)).version["state"] == "approved"


def test_a_pool_that_shuts_concourse_out_in_between_is_heard(concourse: Concourse, store: DynamoStore) -> None:
    """The policy of the moment of the decision counts, not that of the get."""
    version = concourse.claim().version
    anna = by("anna")
    assert concourse.get(version, build=anna, into="waiting").code == 0
    set_policy(store, POOL, json.dumps([{"required_approvals": 1, "reviewers": {"concourse": False}}]), actor="aws:op")
    assert "says reviewers: {concourse: false}" in concourse.put("approve", build=anna, from_="waiting").refused()
    assert kept(store, version).reviews == {}


# ---- what is confused ------------------------------------------------------------------


def test_all_that_is_wrong_is_told_together(concourse: Concourse, store: DynamoStore) -> None:
    """Nobody has to start the job three times to learn three things."""
    concourse.claim()
    told = concourse.put("approve", build=by(""), from_="elsewhere", comment_file="none/x").refused()
    for words in ("expose_build_created_by: true", 'no directory "elsewhere"', "params.comment_file: can't read"):
        assert words in told


def test_which_claim_to_decide_on_instead_is_told(concourse: Concourse, store: DynamoStore) -> None:
    """One that waits is named as the next, one that doesn't isn't; and where there is none, that is told."""
    old = concourse.claim().version
    anna = by("anna")
    assert concourse.get(old, build=anna, into="waiting").code == 0
    assert concourse.put("release", lock_name=LOCK).code == 0
    told = concourse.put("approve", build=anna, from_="waiting").refused()
    assert f"claim {old['id']} of lock" in told
    assert f"nothing waits for a decision on this lock now, see approvals show {old['id']}" in told
    held = concourse.claim(build=2, need_approval=False).version
    told = concourse.put("approve", build=anna, from_="waiting").refused()
    assert f"newest claim is {held['id']} of main/app/deploy #2, held: nothing waits for a decision" in told
    assert concourse.put("release", build=2, lock_name=LOCK).code == 0
    waiting = concourse.claim(build=3).version
    told = concourse.put("approve", build=anna, from_="waiting").refused()
    assert f"newest claim is {waiting['id']} of main/app/deploy #3, pending: to decide on that one, look at it first" in told


def test_a_claim_that_asks_for_no_approval_says_so(concourse: Concourse, store: DynamoStore) -> None:
    """Rather than that it can't be decided on."""
    version = concourse.claim(need_approval=False).version
    assert f"claim {version['id']} of lock" in (told := decide(concourse, version, by("anna")).refused())
    assert "needs no approval" in told


def test_who_comes_too_late_is_told_by_how_much(
    concourse: Concourse, store: DynamoStore, connect: Callable[..., DynamoStore]
) -> None:
    """Which claim, until when, and how long that was after it was made."""
    assert store.head(POOL) is None
    claim = take(connect(FrozenTime(store.now() - timedelta(minutes=10))), 1, expires_after=timedelta(minutes=5))
    concourse.write("waiting/id", claim.id, by("anna"))
    told = concourse.put("approve", build=by("anna"), from_="waiting").refused()
    assert "UTC, 5 min after it was claimed" in told
    assert f"claim {claim.id}" in told
    assert "claim it again to ask again" in told


@pytest.mark.parametrize("file", ["pipe", "link", "waiting", "/etc/hostname", "big"])
def test_a_comment_file_that_is_no_file_of_the_build_is_refused(concourse: Concourse, store: DynamoStore, file: str) -> None:
    """Nor waited for, nor followed out of the build's directory."""
    version = concourse.claim().version
    anna = by("anna")
    assert concourse.get(version, build=anna, into="waiting").code == 0
    os.mkfifo(concourse.workspace(anna) / "pipe")
    (concourse.workspace(anna) / "link").symlink_to("/etc/hostname")
    concourse.write("big", "x" * 400_000, anna)
    assert "params.comment_file: " in concourse.put("approve", build=anna, from_="waiting", comment_file=file).refused()
    assert kept(store, version).reviews == {}


def test_an_id_file_that_leads_out_of_the_build_is_not_followed(concourse: Concourse, store: DynamoStore) -> None:
    """The directory that `from` names is the build's, and so is what is read in it."""
    anna = by("anna")
    (concourse.workspace(anna) / "waiting").mkdir()
    (concourse.workspace(anna) / "waiting" / "id").symlink_to("/etc/hostname")
    assert "leads out of the build's directory" in concourse.put("approve", build=anna, from_="waiting").refused()


def test_messages_of_a_put_name_a_put_s_options(concourse: Concourse, store: DynamoStore) -> None:
    """Whoever reads the build's log finds the words that stand in the pipeline."""
    policy = {"required_approvals": 2, "inputs": [{"name": "ticket", "required": True}]}
    version = concourse.claim(policy=policy).version
    assert "or by a put with inputs: {ticket: …}" in decide(concourse, version, by("anna")).refused()
    told = decide(concourse, version, by("anna"), as_="x", inputs={"ticket": "1"}).refused()
    assert "as x: there is no approval rule of that name; the policies have none, so leave it out" in told
    assert "--as" not in told


def test_the_whole_story_tells_who_and_by_which_concourse(concourse: Concourse, store: DynamoStore) -> None:
    """show, history, the receipt and the audit's export: two people, their Concourse, their builds and their words."""
    version = concourse.claim(build=a_build(1, created_by="carl"), policy=TWO).version
    assert decide(concourse, version, by("anna", 50), comment="tests pass").code == 0
    done = decide(concourse, version, by("ben", 51), comment="go")
    shown = concourse.cli("show", version["id"]).stdout
    whole = json.loads(concourse.cli("show", version["id"], "--format", "json").stdout)
    history = json.loads(concourse.cli("history", "--id", version["id"], "--format", "json").stdout)
    receipt = json.loads(concourse.get(done.version, build=2).file("receipt.json"))
    exported = [json.loads(line) for line in concourse.cli("audit", "export", "--pool", POOL).stdout.splitlines()]
    exported = [line for line in exported if "record" not in line]
    for name, build, comment in (("anna", by("anna", 50), "tests pass"), ("ben", by("ben", 51), "go")):
        assert f"approve by {identity(name)}" in shown
        assert comment in shown
        assert identity(name) in json.dumps(whole["reviews"])
        assert (identity(name), comment) in [(one["reviewer"], one["comment"]) for one in receipt["reviews"]]
        for log in (history, exported):
            assert (identity(name), build.link, comment) in [(one["actor"], one["build"], one["reason"]) for one in log]
    assert (receipt["decided_by"], receipt["event"]["build"]) == (identity("ben"), by("ben", 51).link)
    assert whole["lock_name"] == whole["lockname"] == LOCK
    verified = concourse.cli("audit", "verify", "--pool", POOL)
    assert verified.code == 0, verified.stdout
