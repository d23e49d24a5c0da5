"""Spacelift's approval policies: their rules, their input document, their precedence; policies written for these tests."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from approval_resource.claims.lifecycle import reviewed
from approval_resource.errors import NoApprovalNeededError
from approval_resource.model.event import State
from approval_resource.policy.authoring.trial import trial_on_input
from tests.builders import a_claim, a_request
from tests.policy.asking import approval, change, errors, loaded_rego, ran, review, run_input, told, verdict, written

HOURS = """package spacelift
hour := time.clock(input.run.created_at)[0]
name_of_day := time.weekday(input.run.created_at)
free_day { name_of_day == "Saturday" }
free_day { name_of_day == "Sunday" }
unopposed { count(input.reviews.current.rejections) == 0 }
staffed { not free_day; hour >= 9; hour < 17 }
approve { staffed; unopposed }
approve { count(input.reviews.current.approvals) > 0; unopposed }
reject { not unopposed }
"""
GUARDED = """package spacelift
watched := {"aws_iam_role", "aws_security_group", "aws_iam_policy"}
touches_access { watched[input.run.changes[_].entity.type] }
approve { not touches_access }
approve { "Security" == input.reviews.current.approvals[_].session.teams[_] }
reject { input.reviews.current.rejections[_] }
"""
NOTED = """package spacelift
harmless := {"ls", "ps"}
harmful := {"rm -rf /"}
approve_with_note[told] { harmless[input.run.command]; told := concat(" ", ["read-only command", input.run.command]) }
reject_with_note[told] { harmful[input.run.command]; told := concat(" ", ["destructive command", input.run.command]) }
"""
FLAGGED = """package spacelift
asks_network { "review:network" == input.run.flags[_] }
approve { not asks_network }
approve { "Network" == input.reviews.current.approvals[_].session.teams[_] }
"""
MARKING = """package spacelift
by_lead { "Lead" == input.reviews.current.approvals[_].session.teams[_] }
flag["approved-by-lead"] { by_lead }
approve { by_lead }
"""
FOUR_EYES = """package spacelift
strangers[who] { who := input.reviews.current.approvals[_].author; who != input.run.creator_session.login }
approve { count(strangers) >= 1 }
"""
ON_CALL = """package spacelift
approve { count(input.reviews.current.approvals) >= 2 }
approve { "On-Call" == input.reviews.older[_].session.teams[_] }
"""
ONE = "package spacelift\napprove { count(input.reviews.current.approvals) >= 1 }\n"
ONE_V1 = "package spacelift\nimport rego.v1\napprove if count(input.reviews.current.approvals) >= 1\n"
VETO = "package spacelift\nreject { count(input.reviews.current.rejections) >= 1 }\n"
BOTH = "package spacelift\napprove { 1 == 1 }\nreject { 1 == 1 }\n"

WEDNESDAY_11 = 1_692_790_710_000_000_000
WEDNESDAY_20 = 1_692_823_110_000_000_000
SATURDAY_12 = 1_692_446_400_000_000_000
SATURDAY_20 = 1_692_477_510_000_000_000
ROLE = [change("aws_iam_role")]
ANN, BOB = review("ann"), review("bob")
TASK: dict[str, Any] = {"state": "QUEUED", "type": "TASK"}
FLAG: dict[str, Any] = {"state": "QUEUED", "flags": ["review:network"]}


@dataclass(frozen=True)
class Vector:
    """Policies, an input, and what must come out."""

    name: str
    policies: tuple[str, ...]
    given: dict[str, Any]
    decision: str
    notes: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()


def vector(
    name: str, decision: str, *policies: str, notes: tuple[str, ...] = (), marks: tuple[str, ...] = (), **given: Any
) -> Vector:
    """The vector of that name on a run with those reviews."""
    return Vector(name, policies, run_input(**given), decision, notes, marks)


VECTORS = [
    vector("in working hours nobody is needed", "approve", HOURS, created_at=WEDNESDAY_11),
    vector("in the evening somebody is", "undecided", HOURS, created_at=WEDNESDAY_20),
    vector("in the evening one is enough", "approve", HOURS, approvals=[ANN], created_at=WEDNESDAY_20),
    vector("on a Saturday evening somebody is needed", "undecided", HOURS, created_at=SATURDAY_20),
    vector("on a Saturday at noon too: the day counts, not the hour alone", "undecided", HOURS, created_at=SATURDAY_12),
    vector("any rejection rejects", "reject", HOURS, approvals=[ANN], rejections=[BOB], created_at=SATURDAY_20),
    vector("nothing guarded changes", "approve", GUARDED),
    vector("something guarded changes", "undecided", GUARDED, changes=ROLE),
    vector("another team doesn't do", "undecided", GUARDED, approvals=[review("dev", "Development")], changes=ROLE),
    vector("the right team does", "approve", GUARDED, approvals=[review("sec", "Security")], changes=ROLE),
    vector(
        "its approval and a rejection", "reject", GUARDED, approvals=[review("sec", "Security")], rejections=[ANN], changes=ROLE
    ),
    vector("approved with a note", "approve", NOTED, notes=("read-only command ls",), command="ls", **TASK),
    vector("rejected with a note", "reject", NOTED, notes=("destructive command rm -rf /",), command="rm -rf /", **TASK),
    vector("no note, no answer", "undecided", NOTED, command="make", **TASK),
    vector("no flag, no review", "approve", FLAGGED, state="QUEUED"),
    vector("a flag asks for a review", "undecided", FLAGGED, **FLAG),
    vector("which the team gives", "approve", FLAGGED, approvals=[review("n", "Network")], **FLAG),
    vector("a policy sets a flag", "approve", MARKING, marks=("approved-by-lead",), approvals=[review("l", "Lead")]),
    vector("Rego v1", "approve", ONE_V1, approvals=[ANN]),
    vector("Rego v1, unmet", "undecided", ONE_V1),
    vector("who made the run doesn't count", "undecided", FOUR_EYES, approvals=[review("carol")]),
    vector("somebody else does", "approve", FOUR_EYES, approvals=[review("carol"), ANN]),
    vector("an older review counts where it is asked for", "approve", ON_CALL, older=[review("o", "On-Call", state="QUEUED")]),
    vector("and nowhere else", "undecided", ONE, older=[review("o", state="QUEUED"), review("p", state="QUEUED")]),
    vector("both at once: the rejection wins", "reject", BOTH),
    vector("of several policies one rejects", "reject", ONE, VETO, approvals=[ANN], rejections=[BOB]),
    vector("of several policies one never approves", "undecided", ONE, VETO, approvals=[ANN]),
    vector("of several policies in both versions all approve", "approve", ONE, ONE_V1, approvals=[ANN]),
]


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector.name)
def test_policies_of_spacelifts_kind_decide_as_there(vector: Vector) -> None:
    """The whole input document as Spacelift gives it leads to the same answer, the same notes, the same flags."""
    decision = trial_on_input(loaded_rego(*vector.policies), vector.given)
    assert decision.result.answer.value == vector.decision
    assert decision.notes == vector.notes
    assert decision.flags == vector.flags


@pytest.mark.parametrize("name", ["approved with a note", "a policy sets a flag", "of several policies one rejects", "Rego v1"])
def test_policy_eval_takes_a_whole_input_document(name: str, tmp_path: Path) -> None:
    """The command line shows the decision, its notes and its flags as JSON."""
    chosen = next(one for one in VECTORS if one.name == name)
    files = [written(tmp_path, f"{number}.rego", text) for number, text in enumerate(chosen.policies)]
    result = ran("eval", *files, "--input", written(tmp_path, "input.json", chosen.given), "--format", "json")
    shown = json.loads(result.stdout)
    assert result.exit_code == 0
    assert shown["decision"] == chosen.decision
    assert shown["notes"] == list(chosen.notes)
    assert shown.get("flags", []) == list(chosen.flags)
    assert len(shown["policies"]) == len(chosen.policies)


def test_both_kinds_of_notes_are_told_and_the_rejection_wins() -> None:
    """Whoever reads the decision learns what spoke for it too."""
    text = 'package spacelift\napprove_with_note[n] { n := "fine" }\nreject_with_note[n] { n := "not fine" }\n'
    said = verdict(text)
    assert said.result.answer.value == "reject"
    assert said.notes == ("not fine", "fine")


def test_an_empty_set_of_notes_says_nothing() -> None:
    """`approve_with_note` approves by having a note in it, not by being there."""
    assert verdict("package spacelift\napprove_with_note[n] { n := input.run.flags[_] }\n").result.answer.value == "undecided"


def test_a_claim_that_asks_for_no_approval_is_simply_held() -> None:
    """Spacelift lets a run go on where no policy is attached; here that is a claim without need_approval: nobody is asked."""
    assert not a_request(need_approval=False).need_approval
    held = a_claim(need_approval=False, state=State.HELD)
    assert held.claimed
    with pytest.raises(NoApprovalNeededError):
        reviewed(held, approval("typed:ann"))


REVIEW_FIELDS = (
    "author",
    "request.remote_ip",
    "request.timestamp_ns",
    "session.login",
    "session.name",
    "session.teams[_]",
    "state",
)
RUN_FIELDS = [
    "based_on_local_workspace",
    "branch",
    "changes[_].action",
    "changes[_].entity.address",
    "changes[_].entity.name",
    "changes[_].entity.type",
    "changes[_].entity.entity_vendor",
    "changes[_].entity.entity_type",
    "changes[_].entity.data",
    "changes[_].phase",
    "command",
    "commit.author",
    "commit.branch",
    "commit.created_at",
    "commit.hash",
    "commit.message",
    "created_at",
    "creator_session.admin",
    "creator_session.creator_ip",
    "creator_session.login",
    "creator_session.name",
    "creator_session.teams[_]",
    "creator_session.machine",
    "drift_detection",
    "flags[_]",
    "id",
    "runtime_config.before_init[_]",
    "runtime_config.project_root",
    "runtime_config.runner_image",
    "runtime_config.terraform_version",
    "state",
    "triggered_by",
    "type",
    "updated_at",
    "user_provided_metadata[_]",
]
STACK_FIELDS = [
    "administrative",
    "autodeploy",
    "branch",
    "labels[_]",
    "locked_by",
    "name",
    "namespace",
    "project_root",
    "repository",
    "state",
    "terraform_version",
    "worker_pool.id",
    "worker_pool.labels[_]",
    "worker_pool.name",
    "worker_pool.public",
]
DOCUMENTED = [
    *(
        f"reviews.{which}[_].{field}"
        for which in ("current.approvals", "current.rejections", "older")
        for field in REVIEW_FIELDS
    ),
    *(f"run.{field}" for field in RUN_FIELDS),
    *(f"stack.{field}" for field in STACK_FIELDS),
]
"""Every field of the input that Spacelift's page on approval policies documents (November 2026)."""
UNKNOWN = re.compile("is not in the schema|does not exist")


@pytest.mark.parametrize("field", DOCUMENTED)
def test_every_documented_field_is_known(field: str) -> None:
    """Filled in, or never known, which the docs tell: no text that asks for it is called misspelt."""
    misspelt = f"{field}.x" if field.endswith("[_]") else f"{field}x"
    unknown = [
        [line for line in told(f"package spacelift\napprove {{ input.{path} == input.run.id }}\n") if UNKNOWN.search(line)]
        for path in (field, misspelt)
    ]
    assert unknown[0] == []
    assert len(unknown[1]) == 1


def test_roles_of_an_author_are_refused_with_what_to_use() -> None:
    """Spacelift has spaces and roles; nothing here can fill them."""
    text = 'package spacelift\napprove { input.reviews.current.approvals[_].author_roles[_].slug == "space-admin" }\n'
    (found,) = errors(text)
    assert "author_roles" in found
    assert "there are no roles here; list people under groups, and ask for session.teams" in found
