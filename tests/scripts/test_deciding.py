"""Decisions from Concourse: a job that a person starts approves or rejects, and the build's own variable says who that was."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

from approval_resource.audit import verify as audit
from approval_resource.claims import review as reviews
from approval_resource.model.claim import Build, Verdict
from approval_resource.model.event import Kind, State
from approval_resource.pools import freeze, set_policy
from approval_resource.store.dynamodb.store import DynamoStore
from tests.builders import a_build, take
from tests.scripts.conftest import LOCK, POOL, Concourse, Result, kept

URL = a_build().url
Version = Mapping[str, str]


def by(who: str, number: int = 50, **changes: str) -> Build:
    """A build of the job that decides, started by that person."""
    return a_build(number, **({"job": "approve-production", "created_by": who} | changes))


def identity(name: str) -> str:
    """Whom a review names that came from there."""
    return f"concourse:{URL}#{name}"


def decide(concourse: Concourse, version: Version, build: Build, action: str = "approve", **params: Any) -> Result:
    """Get the claim and decide on it, as the job does."""
    assert concourse.get(version, build=build, into="waiting").code == 0
    return concourse.put(action, build=build, from_="waiting", **params)


# ---- one approval ------------------------------------------------------------------


def test_who_starts_the_job_approves(concourse: Concourse, store: DynamoStore) -> None:
    """The review is theirs at that Concourse, the version is the claim's newest state, and the record fits together."""
    version = concourse.claim(build=a_build(1, created_by="ben"), description="deploy 1.2").version
    done = decide(concourse, version, by("anna"), comment="looks good")
    assert (done.version["id"], done.version["state"]) == (version["id"], "approved")
    assert done.metadata["decided by"] == identity("anna")
    assert done.metadata["reason"] == "looks good"
    claim = kept(store, version)
    assert list(claim.reviews) == [identity("anna")]
    assert claim.state is State.APPROVED
    [event] = [event for event in store.events(POOL) if event.kind is Kind.APPROVED]
    assert (event.actor, event.build) == (identity("anna"), by("anna").link)
    assert audit.verify(store, POOL).findings == []


def test_the_log_tells_what_is_decided_before_and_after(concourse: Concourse) -> None:
    """Which claim, by whom, for what, with what attached; and how it stands afterwards."""
    concourse.write("plan/plan.txt", "+ 1")
    ben = a_build(1, created_by="ben")
    version = concourse.claim(build=ben, description="deploy 1.2", attach={"plan.txt": "plan/plan.txt"}).version
    log = decide(concourse, version, by("anna")).stderr
    before, after = log.split("it is pending")
    for told in (
        version["id"],
        f"lock {LOCK} in pool {POOL}",
        str(ben),
        "started by ben",
        ben.link,
        "for: deploy 1.2",
        "plan.txt",
    ):
        assert told in before
    assert f"approved by {identity('anna')}" in after


def test_who_starts_the_job_rejects(concourse: Concourse, store: DynamoStore) -> None:
    """With the comment as the reason; the lock is free, and the put itself succeeds."""
    version = concourse.claim().version
    done = decide(concourse, version, by("anna"), "reject", comment="not on Friday")
    assert done.version["state"] == "rejected"
    gate = concourse.put("claim", lock_name=LOCK, need_approval=True, wait=True)
    assert f"rejected by {identity('anna')}" in gate.refused()
    assert "not on Friday" in gate.stderr


def test_a_comment_may_come_from_a_file(concourse: Concourse, store: DynamoStore) -> None:
    """Its text is cleaned as what is typed is."""
    version = concourse.claim().version
    concourse.write("note/why.txt", "two lines\nof it\n", by("anna"))
    assert decide(concourse, version, by("anna"), comment_file="note/why.txt").code == 0
    assert kept(store, version).reviews[identity("anna")].comment == "two lines of it"


@pytest.mark.long
def test_show_and_receipt_and_history_tell_who_and_by_which_concourse(concourse: Concourse) -> None:
    """Whoever looks later finds the person, the Concourse, and the build in which they said it."""
    version = concourse.claim().version
    done = decide(concourse, version, by("anna"))
    assert identity("anna") in concourse.cli("show", version["id"]).stdout
    history = json.loads(concourse.cli("history", "--id", version["id"], "--format", "json").stdout)
    assert (identity("anna"), by("anna").link) in [(event["actor"], event["build"]) for event in history]
    gate = concourse.get(done.version, build=2)
    assert identity("anna") in gate.file("receipt.json")


# ---- again ---------------------------------------------------------------------------


@pytest.mark.parametrize("action", ["approve", "reject"])
@pytest.mark.long
def test_the_same_build_again_changes_nothing_and_answers_again(concourse: Concourse, store: DynamoStore, action: str) -> None:
    """`attempts: 2` after a lost answer: one review, one decision, and the same version."""
    version = concourse.claim().version
    first = decide(concourse, version, by("anna"), action)
    events = len(list(store.events(POOL)))
    again = decide(concourse, version, by("anna"), action)
    assert again.version == first.version
    assert "nothing has changed" in again.stderr
    assert len(list(store.events(POOL))) == events


@pytest.mark.long
def test_the_same_build_again_answers_with_what_has_become_of_the_claim(concourse: Concourse, store: DynamoStore) -> None:
    """Where the gate was passed and its lock released meanwhile, the retry says that, and fails nothing."""
    version = concourse.claim().version
    assert decide(concourse, version, by("anna")).code == 0
    assert concourse.put("release", lock_name=LOCK).code == 0
    assert decide(concourse, version, by("anna")).version["state"] == "released"


def test_another_build_of_the_same_person_is_no_retry(concourse: Concourse) -> None:
    """Who starts the job again after the decision is told how it stands, and that nothing was changed."""
    version = concourse.claim().version
    assert decide(concourse, version, by("anna")).code == 0
    assert "is approved by" in decide(concourse, version, by("anna", 51)).refused()


def test_one_build_can_not_say_both(concourse: Concourse, store: DynamoStore) -> None:
    """A rejection after the approval was counted is refused, in the same build too."""
    version = concourse.claim().version
    assert decide(concourse, version, by("anna")).code == 0
    assert "is approved by" in decide(concourse, version, by("anna"), "reject").refused()
    assert kept(store, version).state is State.APPROVED


# ---- several people ------------------------------------------------------------------


TWO = {"required_approvals": 2}


def test_a_second_person_on_the_same_job_completes_a_quorum(concourse: Concourse, store: DynamoStore) -> None:
    """The first is told what is missing; the same person in another build counts once."""
    version = concourse.claim(policy=TWO).version
    first = decide(concourse, version, by("anna"))
    assert first.version["state"] == "pending"
    assert "1 of 2 approvals (anna)" in first.stderr
    again = decide(concourse, version, by("anna", 51))
    assert again.version["state"] == "pending"
    assert "said so before" in again.stderr
    assert decide(concourse, version, by("ben", 52)).version["state"] == "approved"


def test_a_rerun_by_somebody_else_is_somebody_else_s(concourse: Concourse, store: DynamoStore) -> None:
    """A rerun of a build has an id and a creator of its own, and the version of the first: it is their review."""
    version = concourse.claim(policy=TWO).version
    assert decide(concourse, version, by("anna", 50, name="7")).code == 0
    assert decide(concourse, version, by("ben", 51, name="7.1")).version["state"] == "approved"
    assert set(kept(store, version).reviews) == {identity("anna"), identity("ben")}


@pytest.mark.long
def test_a_retry_by_somebody_else_is_never_the_first_s(concourse: Concourse, store: DynamoStore) -> None:
    """Where a Concourse made anew numbers a build as before, another person's is not answered with the first one's word."""
    version = concourse.claim().version
    assert decide(concourse, version, by("anna")).code == 0
    assert "is approved by" in decide(concourse, version, by("eve")).refused()


@pytest.mark.long
def test_two_people_at_once_are_both_heard(concourse: Concourse, store: DynamoStore) -> None:
    """Neither review is lost, and the claim is approved once."""
    version = concourse.claim(policy=TWO).version
    builds = [by("anna", 50), by("ben", 51)]
    for build in builds:
        assert concourse.get(version, build=build, into="waiting").code == 0
    running = [concourse.start_put("approve", build=build, from_="waiting") for build in builds]
    states = sorted(one.ends().version["state"] for one in running)
    assert states in (["approved", "pending"], ["approved", "approved"])
    claim = kept(store, version)
    assert set(claim.reviews) == {identity("anna"), identity("ben")}
    assert [event.kind for event in store.events(POOL) if event.kind in (Kind.REVIEWED, Kind.APPROVED)] == [
        Kind.REVIEWED,
        Kind.APPROVED,
    ]


@pytest.mark.long
def test_approve_against_reject_has_one_outcome(concourse: Concourse, store: DynamoStore) -> None:
    """Of two people at once who disagree one is heard; the other is told how it stands."""
    version = concourse.claim().version
    builds = {"approve": by("anna", 50), "reject": by("ben", 51)}
    for build in builds.values():
        assert concourse.get(version, build=build, into="waiting").code == 0
    ended = {
        action: one.ends()
        for action, one in [
            (action, concourse.start_put(action, build=build, from_="waiting")) for action, build in builds.items()
        ]
    }
    won = {"approve": State.APPROVED, "reject": State.REJECTED}
    [winner] = [action for action, one in ended.items() if one.code == 0]
    [loser] = [one for one in ended.values() if one.code != 0]
    assert kept(store, version).state is won[winner]
    assert won[winner].value in loser.refused()


# ---- what can't be decided -----------------------------------------------------------


@pytest.mark.long
def test_a_build_without_a_creator_decides_nothing(concourse: Concourse, store: DynamoStore) -> None:
    """Whether the resource hides it or the scheduler started it: the line to add, and to start it by hand."""
    version = concourse.claim().version
    for nobody in ("", " "):
        told = decide(concourse, version, by(nobody)).refused()
        assert "expose_build_created_by: true" in told
        assert "by hand" in told
    assert kept(store, version).reviews == {}


@pytest.mark.parametrize("url", ["", "ci.example", "https://ci.example/#a", "https://"])
@pytest.mark.long
def test_a_concourse_without_an_address_decides_nothing(concourse: Concourse, store: DynamoStore, url: str) -> None:
    """A name alone is nobody: at which Concourse?"""
    version = concourse.claim().version
    assert "CONCOURSE_EXTERNAL_URL" in decide(concourse, version, by("anna", url=url)).refused()
    assert kept(store, version).reviews == {}


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({}, "params.from: required"),
        ({"from_": "elsewhere"}, 'there is no directory "elsewhere"'),
        ({"from_": "other"}, "has no id file of this resource"),
        ({"from_": "../.."}, "leads out of the build's directory"),
        ({"from_": "stranger"}, f"pool {POOL} has no claim"),
        ({"from_": "waiting", "comment": "x" * 256}, "params.comment: must have at most 255 characters, not 256"),
        ({"from_": "waiting", "comment_file": "other/long"}, "params.comment_file: must have at most 255 characters"),
        ({"from_": "waiting", "comment_file": "other/none"}, "params.comment_file: can't read"),
        ({"from_": "waiting", "comment_file": "other/binary"}, "is no text in UTF-8"),
        ({"from_": "waiting", "comment_file": "other/long", "comment": "x"}, "give comment or comment_file, not both"),
        ({"from_": "waiting", "force": True}, "params.comment: required with force"),
        ({"from_": "waiting", "force": True, "comment": "now"}, "you can't force a decision"),
        ({"from_": "waiting", "as": "leads"}, "there is no approval rule of that name"),
        ({"from_": "waiting", "as": [1.5]}, "params.as: must be the name of an approval rule"),
        ({"from_": "waiting", "inputs": {"version": "1"}}, "the policy asks for none"),
        ({"from_": "waiting", "inputs": "version"}, "params.inputs: must be a map"),
        ({"from_": "waiting", "lock_name": LOCK}, "params.lock_name: unknown option"),
    ],
)
@pytest.mark.long
def test_what_is_wrong_is_told_and_nothing_recorded(
    concourse: Concourse, store: DynamoStore, params: dict[str, Any], words: str
) -> None:
    """In words that a reviewer understands, before anything is written."""
    version = concourse.claim().version
    anna = by("anna")
    assert concourse.get(version, build=anna, into="waiting").code == 0
    for name, content in (
        ("other/long", "x" * 256),
        ("other/binary", b"\xff"),
        ("stranger/id", "00000000-0000-4000-8000-000000000000"),
    ):
        concourse.write(name, content, anna)
    assert words in concourse.put("approve", build=anna, **params).refused()
    assert kept(store, version).reviews == {}


def test_a_rejection_fills_nothing_in(concourse: Concourse) -> None:
    """Inputs are what an approval gives."""
    assert "params.inputs" in concourse.put("reject", build=by("anna"), from_="waiting", inputs={"a": "b"}).refused()


def test_a_resource_with_states_decides_nothing(concourse: Concourse) -> None:
    """Its versions are for showing what waits; decisions go to another resource."""
    shown = concourse.sourced(states=["pending"])
    assert "source.states" in shown.put("approve", build=by("anna"), from_="waiting").refused()


def test_another_lock_s_resource_decides_nothing(concourse: Concourse, store: DynamoStore) -> None:
    """A source with a lock_name decides on that lock's claims alone."""
    version = concourse.claim().version
    assert concourse.get(version, build=by("anna"), into="waiting").code == 0
    other = concourse.sourced(lock_name="other")
    assert f'is of lock "{LOCK}"' in other.put("approve", build=by("anna"), from_="waiting").refused()


def test_a_claim_that_ended_is_not_decided_on(concourse: Concourse, store: DynamoStore) -> None:
    """Say, since its gate's build was aborted: who ended it and when."""
    gate = concourse.start_put("claim", lock_name=LOCK, need_approval=True, wait=True)
    gate.says("is waiting for an approval")
    [version] = concourse.versions()
    anna = by("anna")
    assert concourse.get(version, build=anna, into="waiting").code == 0
    assert gate.stop().code == 143
    told = concourse.put("approve", build=anna, from_="waiting").refused()
    assert "withdrawn by" in told
    assert kept(store, version).state is State.WITHDRAWN


def test_a_claim_that_needs_no_approval_takes_none(concourse: Concourse, store: DynamoStore) -> None:
    """It only holds its lock."""
    version = concourse.claim(need_approval=False).version
    decide(concourse, version, by("anna")).refused()
    assert kept(store, version).reviews == {}


def test_an_older_claim_is_not_decided_on_and_the_newest_is_named(concourse: Concourse, store: DynamoStore) -> None:
    """Whoever looked at the one before is told that another waits now."""
    old = concourse.claim().version
    anna = by("anna")
    assert concourse.get(old, build=anna, into="waiting").code == 0
    new = concourse.claim(build=2, override_approval=True).version
    told = concourse.put("approve", build=anna, from_="waiting").refused()
    assert new["id"] in told
    assert "superseded" in told
    assert kept(store, new).reviews == {}


# ---- names ---------------------------------------------------------------------------


NAMES = [
    "Anna Smith",
    "corp:anna",
    "anna#1",
    "https://elsewhere.example#anna",
    "anna@example.com",
    "Zoë Müller",
    "安娜",
    "аnna",  # noqa: RUF001 - a look-alike
    "o'neil; $(reboot) `x`",
    "typed:anna",
    "aws:arn:aws:iam::111122223333:user/anna",
    "x" * 500,
    "é" * 500,
]


@pytest.mark.parametrize("name", NAMES, ids=[name[:20] for name in NAMES])
@pytest.mark.long
def test_any_name_is_kept_as_it_is(concourse: Concourse, store: DynamoStore, name: str) -> None:
    """And is nobody but that name at that Concourse."""
    version = concourse.claim(policy=TWO).version
    assert decide(concourse, version, by(name)).code == 0
    assert list(kept(store, version).reviews) == [identity(name)]
    assert decide(concourse, version, by("anna", 51)).version["state"] == "approved"
    assert audit.verify(store, POOL).findings == []


@pytest.mark.parametrize("name", ["an\u200bna", "anna\x1b[2J", "anna\n", "x" * 501])
@pytest.mark.long
def test_a_name_that_can_not_be_shown_is_another_than_the_one_it_looks_like(
    concourse: Concourse, store: DynamoStore, name: str
) -> None:
    """It carries a mark, so that nobody becomes somebody else by characters that are left out or cut off."""
    version = concourse.claim(
        policy={
            "approval_rules": [{"user": "concourse:" + ("anna" if "a" in name else "x" * 490)}],
            "reviewers": {"concourse": True},
        }
    ).version
    assert "is named by none of the rules" in decide(concourse, version, by(name)).refused()
    other = concourse.claim("other", build=2).version
    assert decide(concourse, other, by(name, 51)).code == 0
    [reviewer] = kept(store, other).reviews
    assert reviewer.startswith(identity(name[:2]))
    assert "…" in reviewer
    assert reviewer == "".join(c for c in reviewer if c.isprintable())


# ---- policies ------------------------------------------------------------------------


@pytest.mark.long
def test_rules_name_who_decides_at_the_claim_s_concourse(concourse: Concourse, store: DynamoStore) -> None:
    """In either spelling of that Concourse; the same name at another one is somebody else."""
    for number, user in enumerate(
        ["concourse:anna", identity("anna"), f"concourse:{URL.upper().replace('HTTPS', 'https')}/#anna"]
    ):
        version = concourse.claim(f"lock-{number}", build=number + 1, policy={"approval_rules": [{"user": user}]}).version
        other = by("anna", 60 + number, url="https://other.example")
        assert "doesn't count" in decide(concourse, version, other).refused()
        assert "doesn't count" in decide(concourse, version, by("ben", 70 + number)).refused()
        assert decide(concourse, version, by("anna", 80 + number)).version["state"] == "approved"


@pytest.mark.long
def test_where_people_are_named_concourse_counts_only_if_the_policy_says_so(concourse: Concourse, store: DynamoStore) -> None:
    """The pool's operators decide that, and the reviewer is told which line would."""
    aws = "aws:arn:aws:iam::111122223333:user/anna"
    version = concourse.claim().version
    set_policy(store, POOL, json.dumps([{"required_approvals": 1, "people": {"anna": [aws]}}]), actor="aws:op")
    told = decide(concourse, version, by("anna")).refused()
    assert "You do not have permission" in told
    assert "reviewers: {concourse: true}" in told
    assert kept(store, version).reviews == {}
    said = [{"required_approvals": 1, "people": {"anna": [aws]}, "reviewers": {"concourse": True}}]
    set_policy(store, POOL, json.dumps(said), actor="aws:op")
    assert decide(concourse, version, by("anna", 51)).version["state"] == "approved"


@pytest.mark.long
def test_a_pool_can_shut_concourse_out(concourse: Concourse, store: DynamoStore) -> None:
    """Whatever a pipeline's own policy says."""
    set_policy(store, POOL, json.dumps([{"required_approvals": 1, "reviewers": {"concourse": False}}]), actor="aws:op")
    version = concourse.claim(policy={"required_approvals": 1, "reviewers": {"concourse": True}}).version
    assert "says reviewers: {concourse: false}" in decide(concourse, version, by("anna")).refused()
    assert kept(store, version).reviews == {}


@pytest.mark.parametrize("people", [{}, {"anna": ["concourse:anna"]}, {"anna": [identity("anna")]}])
@pytest.mark.long
def test_who_asked_does_not_approve_their_own(concourse: Concourse, store: DynamoStore, people: dict[str, Any]) -> None:
    """Both names come from the same variable, so no spelling hides it; somebody else may."""
    policy = {"required_approvals": 1, "allow_self_approval": False, "people": people, "reviewers": {"concourse": True}}
    version = concourse.claim(build=a_build(1, created_by="anna"), policy=policy).version
    own = decide(concourse, version, by("anna"))
    assert own.version["state"] == "pending"
    assert "asked for this claim" in own.stderr
    assert decide(concourse, version, by("ben", 51)).version["state"] == "approved"


def test_inputs_are_filled_in_and_rules_named(concourse: Concourse, store: DynamoStore) -> None:
    """As by the command line."""
    rules = [{"name": "qa", "user": "concourse:anna"}, {"name": "ops", "user": "concourse:anna"}]
    policy = {"approval_rules": rules, "per_rule": True, "inputs": [{"name": "ticket", "required": True}]}
    version = concourse.claim(policy=policy).version
    done = decide(concourse, version, by("anna"), as_=["qa", "ops"], inputs={"ticket": "CHG-1"})
    assert done.version["state"] == "approved"
    review = kept(store, version).reviews[identity("anna")]
    assert (review.represented_as, dict(review.inputs)) == (("qa", "ops"), {"ticket": "CHG-1"})


@pytest.mark.long
def test_who_may_bypass_forces_a_decision(concourse: Concourse, store: DynamoStore) -> None:
    """With a comment, and on record as forced."""
    policy = {"required_approvals": 3, "bypass": {"users": ["concourse:anna"]}}
    version = concourse.claim(policy=policy).version
    assert (
        "you can't force a decision" in decide(concourse, version, by("ben"), force=True, comment="now").refused()
        or "doesn't count" in decide(concourse, version, by("ben"), force=True, comment="now").refused()
    )
    assert decide(concourse, version, by("anna", 51), force=True, comment="outage").version["state"] == "approved"
    [event] = [event for event in store.events(POOL) if event.kind is Kind.APPROVED]
    assert event.forced


@pytest.mark.long
def test_whom_the_pool_lets_bypass_breaks_a_freeze(concourse: Concourse, store: DynamoStore) -> None:
    """An approved claim may pass the pool's stop by their word; a retry of that build changes nothing."""
    set_policy(store, POOL, json.dumps([{"required_approvals": 1, "bypass": {"users": ["concourse:anna"]}}]), actor="aws:op")
    version = concourse.claim().version
    assert decide(concourse, version, by("anna")).code == 0
    freeze(store, POOL, None, "incident", actor="aws:op")
    assert "is approved by" in decide(concourse, version, by("anna", 51)).refused()
    for _ in range(2):
        assert decide(concourse, version, by("anna", 52), force=True, comment="the fix").version["state"] == "approved"
    frozen = store.settings(POOL).freeze
    assert frozen is not None
    assert frozen.passes == (version["id"],)


@pytest.mark.long
def test_one_human_by_two_ways_is_one_approval(concourse: Concourse, store: DynamoStore) -> None:
    """Nothing tells a name of Concourse from somebody else's proof, so both together are not two people; the log says why."""
    version = concourse.claim(policy=TWO).version
    reviews.review(store, version["id"], reviewer="aws:arn:aws:iam::111122223333:user/anna", verdict=Verdict.APPROVE)
    done = decide(concourse, version, by("a.smith"))
    assert done.version["state"] == "pending"
    assert "list both under people" in done.stderr
    assert decide(concourse, version, by("ben", 51)).version["state"] == "approved"


@pytest.mark.long
def test_the_pool_s_lists_tell_who_is_who(concourse: Concourse, store: DynamoStore) -> None:
    """By either identity anna is one person, and ben is another."""
    anna, ben = ("aws:arn:aws:iam::111122223333:user/anna", "aws:arn:aws:iam::111122223333:user/ben")
    people = {"anna": [anna, "concourse:a.smith"], "ben": [ben, "concourse:ben"]}
    set_policy(store, POOL, json.dumps([TWO | {"people": people}]), actor="aws:op")
    version = concourse.claim().version
    reviews.review(store, version["id"], reviewer=anna, verdict=Verdict.APPROVE)
    assert decide(concourse, version, by("a.smith")).version["state"] == "pending"
    assert decide(concourse, version, by("ben", 51)).version["state"] == "approved"


# ---- the line that a waiting put prints ------------------------------------------------


def waiting_says(concourse: Concourse, build: Build) -> list[str]:
    """What a put prints while it waits, up to the command line's lines."""
    gate = concourse.start_put("claim", build=build, lock_name=LOCK, need_approval=True, wait=True)
    gate.says("reject --id")
    lines = gate.stderr.splitlines()
    gate.stop()
    return lines[: next(number for number, line in enumerate(lines) if "approve --id" in line)]


def test_a_waiting_put_tells_how_to_start_the_jobs_that_decide(concourse: Concourse) -> None:
    """With team and pipeline, before the command line's lines."""
    told = waiting_says(concourse.sourced(approve_job="approve-production", reject_job="reject-production"), a_build(1))
    assert "  fly trigger-job -j app/approve-production --team main" in told
    assert "  fly trigger-job -j app/reject-production --team main" in told


def test_an_instance_of_a_pipeline_is_named_as_fly_takes_it(concourse: Concourse) -> None:
    """Quoted for the shell, values that YAML would read as something else in quotes of their own."""
    given = {"env": "eu", "on": {"branch": "feature/x"}, "number": 7, "text": "7", "odd": "a b", "a.b": {"c:d": 1}}
    told = waiting_says(concourse.sourced(approve_job="approve"), a_build(1, instance_vars=json.dumps(given)))
    assert (
        """  fly trigger-job -j 'app/env:eu,on.branch:feature/x,number:7,text:"7",odd:"a b","a.b"."c:d":1/approve' --team main"""
        in told
    )


def test_an_old_job_s_name_may_hold_spaces(concourse: Concourse) -> None:
    """Concourse takes such names still, so a waiting put tells of them, quoted for the shell."""
    told = waiting_says(concourse.sourced(approve_job="Approve it's production"), a_build(1))
    assert """  fly trigger-job -j 'app/Approve it'"'"'s production' --team main""" in told


@pytest.mark.parametrize("job", ["other/approve", " approve", "approve\n", "\u202eapprove"])
def test_what_is_no_job_of_this_pipeline_is_refused(concourse: Concourse, job: str) -> None:
    """Before anything is claimed."""
    told = concourse.sourced(approve_job=job).claim().refused()
    assert "source.approve_job: must be the name of a job of this pipeline" in told


def test_nothing_is_told_of_jobs_that_the_source_does_not_name(concourse: Concourse) -> None:
    """Nor to a build of no pipeline."""
    assert not [line for line in waiting_says(concourse, a_build(1)) if "fly" in line]
    oneoff = a_build(2, pipeline="", job="")
    assert not [line for line in waiting_says(concourse.sourced(approve_job="approve"), oneoff) if "fly" in line]


def test_an_instance_decides_on_an_instance_s_claim(concourse: Concourse, store: DynamoStore) -> None:
    """The log tells of which instance the claim is."""
    eu = a_build(1, instance_vars='{"env":"eu"}')
    version = concourse.claim(build=eu).version
    done = decide(concourse, version, by("anna", instance_vars='{"env":"eu"}'))
    assert done.version["state"] == "approved"
    assert "(env: eu)" in done.stderr


def test_what_nobody_got_before_is_no_claim_of_another_pool(concourse: Concourse, store: DynamoStore) -> None:
    """A claim of a pool that this resource isn't of is not decided on."""
    elsewhere = take(store, 1, pool="elsewhere")
    concourse.write("waiting/id", elsewhere.id, by("anna"))
    assert f"pool {POOL} has no claim" in concourse.put("approve", build=by("anna"), from_="waiting").refused()
