"""Deciding: approve, reject, release and withdraw."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta

import pytest

from approval_resource.claims import gate as gates
from approval_resource.model.claim import Verdict
from approval_resource.model.event import State
from approval_resource.store.dynamodb.store import DynamoStore
from demo.engine import Engine
from tests.builders import FrozenTime, a_build, under
from tests.cli.conftest import POOL, Process, Run, claim_of, refused, revision

A, B, C = (f"{number}0000000-aaaa-4aaa-8aaa-aaaaaaaaaaaa" for number in (1, 2, 3))
TWIN = "1000000b-bbbb-4bbb-8bbb-bbbbbbbbbbbb"
DECISIONS = [("approve", "approved", State.APPROVED), ("reject", "rejected", State.REJECTED)]
VERDICTS = ["approve", "reject"]


def state(store: DynamoStore, claim_id: str) -> State:
    return store.claims([claim_id])[0].state


@pytest.mark.parametrize(("command", "done", "after"), DECISIONS)
@pytest.mark.parametrize("given", [("--id", A), (A,), (A[:8],), ("--id", A[:12]), (A.upper(),), ("--id", A, A)])
def test_a_decision_is_told_in_the_original_s_words(
    store: DynamoStore, run: Run, command: str, done: str, after: State, given: tuple[str, ...]
) -> None:
    """The id as option or argument, whole or its beginning: one line, to the character, and one event."""
    claim_of(store, A)
    ran = run(command, *given)
    assert (ran.exit_code, ran.stdout, ran.stderr) == (0, f"INFO: The lock {A} has been {done}\n", "")
    assert state(store, A) is after
    assert revision(store) == 2


def test_a_decision_by_a_process(store: DynamoStore, process: Process) -> None:
    """The program as people start it says the same."""
    claim_of(store, A)
    ran = process("approve", "--id", A)
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, f"INFO: The lock {A} has been approved\n", "")


def test_one_bad_id_does_not_keep_the_others(store: DynamoStore, run: Run) -> None:
    """Of several ids the good ones are decided, and the exit code says that one was not."""
    claim_of(store, A, lock_name="a")
    claim_of(store, C, number=3, lock_name="c")
    ran = run("approve", "--id", A, B, C)
    assert ran.exit_code == 1
    assert ran.stdout == f"INFO: The lock {A} has been approved\nINFO: The lock {C} has been approved\n"
    assert ran.stderr == f"ERROR: there is no claim {B}; see cli.py list --all\n"


def test_who_when_and_why_are_kept(store: DynamoStore, run: Run) -> None:
    """The comment and the reviewer are on the claim and in the log."""
    claim_of(store, A)
    run("reject", A, "--comment", "not on a\x1b[31m Friday", "--reviewer", "bob")
    decided = store.claims([A])[0].decided
    assert decided is not None
    assert (decided.actor, decided.reason) == ("typed:bob", "not on a [31m Friday")
    assert list(store.events(POOL))[-1].actor == "typed:bob"


# ---- refusals ------------------------------------------------------------------


@pytest.mark.parametrize("command", VERDICTS)
def test_without_an_id_one_is_asked_for(store: DynamoStore, run: Run, command: str) -> None:
    """In the original's words, with where to find one."""
    claim_of(store, A)
    refused(run(command), "Please give an id", "cli.py list")
    assert revision(store) == 1


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (B, f"there is no claim {B}"),
        (B[:8], "no open claim's id begins with 20000000"),
        (A[:7], "8 or more characters"),
        ("1", "8 or more characters"),
        ("", "8 or more characters"),
        (f"{A}0", "there is no claim"),
        ("claim#10000000", "no open claim's id begins with"),
    ],
)
def test_an_id_that_names_nothing_changes_nothing(store: DynamoStore, run: Run, given: str, words: str) -> None:
    """Unknown, mistyped or too short: one line."""
    claim_of(store, A)
    for command in VERDICTS:
        refused(run(command, "--id", given), words)
    assert revision(store) == 1


@pytest.mark.parametrize("command", [*VERDICTS, "withdraw", "release", "show"])
def test_a_beginning_that_two_share_decides_neither(store: DynamoStore, run: Run, command: str) -> None:
    """An ambiguous prefix is refused; nine characters more would tell them apart."""
    claim_of(store, A.replace("10000000", "1000000b"), lock_name="a")
    claim_of(store, TWIN, number=2, lock_name="b")
    refused(run(command, "1000000b"), "2 open claims' ids begin with 1000000b")
    assert revision(store) == 2


@pytest.mark.parametrize("command", VERDICTS)
@pytest.mark.parametrize("end", ["approve", "reject", "withdraw"])
def test_what_is_decided_or_ended_stays(store: DynamoStore, run: Run, command: str, end: str) -> None:
    """Who decided, when and why is told instead."""
    claim_of(store, A)
    run(end, A, "--reviewer", "bob")
    refused(run(command, A), "by typed:bob at ", "nothing was changed")
    assert revision(store) == 2


@pytest.mark.parametrize("command", VERDICTS)
def test_a_beginning_is_looked_for_among_open_claims_only(store: DynamoStore, run: Run, command: str) -> None:
    """An ended claim needs its whole id, so that its beginning can't be taken for another's."""
    claim_of(store, A)
    run("withdraw", A)
    refused(run(command, A[:8]), "no open claim's id begins with")


@pytest.mark.parametrize("command", VERDICTS)
def test_a_claim_without_a_question_takes_no_answer(store: DynamoStore, run: Run, command: str) -> None:
    """A claim that needs no approval can't be reviewed."""
    claim_of(store, A, need_approval=False)
    refused(run(command, A), "needs no approval")
    assert revision(store) == 1


def test_a_deadline_that_has_passed_is_applied(connect: Callable[..., DynamoStore], store: DynamoStore, run: Run) -> None:
    """An approval that comes too late approves nothing; the claim is expired by it."""
    then = connect(FrozenTime())
    claim = claim_of(then, A)
    gates.prolong(then, claim, timedelta(seconds=-60), a_build(2))
    refused(run("approve", A), "of lock deploy by ")
    assert state(store, A) is State.EXPIRED


@pytest.mark.parametrize(("command", "option"), [("approve", "--comment"), ("reject", "--comment"), ("release", "--reason")])
def test_what_is_said_is_bounded(store: DynamoStore, run: Run, command: str, option: str) -> None:
    """255 characters are taken, one more is refused before anything is asked."""
    claim_of(store, A)
    refused(run(command, A, option, "x" * 256), f"{option}: at most 255 characters, not 256")
    assert revision(store) == 1
    assert run("approve", A, "--comment", "x" * 255).exit_code == 0


def test_what_a_policy_leaves_open_is_told_so(store: DynamoStore, run: Run) -> None:
    """A verdict that decides nothing yet is recorded once; the same again is no event and no failure."""
    claim_of(store, A, terms=under(required_approvals=2, rejections_required=2))
    first, again, other = run("approve", A), run("approve", A), run("reject", A)
    missing = ": 1 of 2 approvals (typed:ana)\n"
    assert first.stdout == f"INFO: Your verdict on claim {A} is recorded; it is not decided yet{missing}"
    assert again.stdout == f"INFO: You had approved claim {A} before; nothing has changed{missing}"
    assert (first.exit_code, again.exit_code, other.exit_code) == (0, 0, 0)
    assert revision(store) == 3
    assert store.claims([A])[0].reviews["typed:ana"].verdict is Verdict.REJECT


def test_only_the_original_s_line_calls_a_claim_a_lock(store: DynamoStore, run: Run) -> None:
    """Of all that the commands say of a claim where output is piped: elsewhere an id is a claim's, and a lock has its name."""
    two = under(required_approvals=2, rejections_required=2)
    claim_of(store, A, terms=two)
    claim_of(store, B, number=2, lock_name="b", need_approval=False)
    claim_of(store, C, number=3, lock_name="c")
    claim_of(store, TWIN, number=4, lock_name="d")
    said = [
        run(*command)
        for command in [
            ("approve", A),
            ("approve", A),
            ("unblock", A),
            ("show", A),
            ("reject", A),
            ("approve", A, "--reviewer", "bob", "--as", "QA"),
            ("withdraw", A),
            ("approve", A),
            ("approve", B),
            ("release", B),
            ("reject", C),
            ("withdraw", C),
            ("approve", TWIN),
            ("release", TWIN, "--force", "--reason", "its build is gone"),
            ("show", TWIN),
            ("list", "--all"),
            ("history", "--pool", POOL),
        ]
    ]
    lines = [line for ran in said for line in f"{ran.stdout}\n{ran.stderr}".splitlines()]
    assert sum(any(one in line for one in (A, B, C, TWIN)) for line in lines) > 15
    called = [line for line in lines if re.search(r"lock [0-9a-f]{8}-", line, re.IGNORECASE)]
    assert called == [f"INFO: The lock {C} has been rejected", f"INFO: The lock {TWIN} has been approved"]


# ---- who ---------------------------------------------------------------------


def test_a_reviewer_is_who_aws_says(store: DynamoStore, run: Run, engine: Engine) -> None:
    """Where STS answers, its ARN is stored; a typed name is told to count for nothing."""
    claim_of(store, A)
    ran = run("approve", A, "--reviewer", "mallory", AWS_ENDPOINT_URL_STS=engine.url)
    decided = store.claims([A])[0].decided
    assert decided is not None
    assert decided.actor == "aws:arn:aws:iam::000000000000:root"
    assert ran.stdout == f"INFO: The lock {A} has been approved\n"
    assert ran.stderr == ("AWS knows you as arn:aws:iam::000000000000:root; --reviewer only counts where it doesn't\n")


@pytest.mark.parametrize(
    ("typed", "variables", "stored"),
    [
        ((), {}, "typed:ana"),
        (("--reviewer", "bob"), {}, "typed:bob"),
        ((), {"APPROVAL_REVIEWER": "cara"}, "typed:cara"),
        (("--reviewer", "bob"), {"APPROVAL_REVIEWER": "cara"}, "typed:bob"),
        (("--reviewer", "aws:arn:aws:iam::000000000000:root"), {}, "typed:aws:arn:aws:iam::000000000000:root"),
        (("--reviewer", "b\x1bo\u202eb\n"), {}, "typed:b ob"),
        (("--reviewer", "x" * 64), {}, f"typed:{'x' * 64}"),
    ],
)
def test_elsewhere_a_reviewer_is_a_typed_name(
    store: DynamoStore, run: Run, typed: tuple[str, ...], variables: dict[str, str], stored: str
) -> None:
    """Stored as typed, whatever it says: the option, the variable, else the login name."""
    claim_of(store, A)
    assert run("approve", A, *typed, **variables).exit_code == 0
    assert run("release", A, *typed, **variables).exit_code == 0
    assert [event.actor for event in store.events(POOL)][1:] == [stored, stored]


@pytest.mark.parametrize("name", ["\x1b \u202e", "x" * 65])
def test_a_typed_name_must_be_one(store: DynamoStore, run: Run, name: str) -> None:
    """Nothing but blanks and control characters, or more than a name, is refused."""
    claim_of(store, A)
    refused(run("approve", A, "--reviewer", name), "--reviewer: must be a name")
    assert revision(store) == 1


@pytest.mark.parametrize("nobody", [KeyError("uid not found: 4711"), OSError("No username set in the environment")])
def test_a_machine_that_knows_no_name_asks_for_one(
    store: DynamoStore, run: Run, monkeypatch: pytest.MonkeyPatch, nobody: Exception
) -> None:
    """In a container a user may have no name; Python says so by one error or another."""

    def unknown() -> str:
        raise nobody

    monkeypatch.setattr("approval_resource.commands.shared.getpass.getuser", unknown)
    claim_of(store, A)
    refused(run("approve", A), "--reviewer NAME")
    assert run("approve", A, "--reviewer", "bob").exit_code == 0


# ---- release and withdraw ---------------------------------------------------------


@pytest.mark.parametrize("need_approval", [True, False])
def test_release_frees_what_is_held(store: DynamoStore, run: Run, need_approval: bool) -> None:
    """A held or an approved claim, by its id, with the reason on record."""
    claim_of(store, A, need_approval=need_approval)
    if need_approval:
        run("approve", A)
    ran = run("release", A[:8], "--reason", "the worker died")
    assert (ran.exit_code, ran.stdout) == (0, f"INFO: Claim {A} has been released; the lock deploy is free\n")
    ended = store.claims([A])[0].ended
    assert ended is not None
    assert (ended.state, ended.actor, ended.reason) == (State.RELEASED, "typed:ana", "the worker died")


@pytest.mark.parametrize(("before", "after"), [("pending", "withdrawn"), ("held", "released"), ("approved", "released")])
def test_force_frees_a_lock_from_wherever_its_claim_stands(store: DynamoStore, run: Run, before: str, after: str) -> None:
    """One command, one event, which says that it was forced, by whom and why."""
    claim_of(store, A, need_approval=before != "held")
    if before == "approved":
        run("approve", A)
    ran = run("release", A, "--force", "--reason", "its build is gone")
    assert (ran.exit_code, ran.stdout) == (0, f"INFO: Claim {A} has been {after}; the lock deploy is free\n")
    event = list(store.events(POOL))[-1]
    assert (event.kind.value, event.forced, event.actor, event.reason) == (after, True, "typed:ana", "its build is gone")
    assert f"{after} (forced)" in run("history", "--pool", POOL).stdout
    assert claim_of(store, B, number=2).claimed


def test_force_needs_a_reason(store: DynamoStore, run: Run) -> None:
    """Nothing happens without."""
    claim_of(store, A)
    refused(run("release", A, "--force"), "--reason: required with --force")
    refused(run("release", A, "--force", "--reason", " "), "--reason: required with --force")
    assert revision(store) == 1


def test_force_ends_nothing_twice(store: DynamoStore, run: Run) -> None:
    """What has ended stays as it is, and the next holder is left alone."""
    claim_of(store, A)
    run("reject", A)
    newer = claim_of(store, B, number=2)
    refused(run("release", A, "--force", "--reason", "late"), "is rejected by typed:ana at ")
    assert store.claims([B]) == [newer]


def test_withdraw_takes_back_what_waits(store: DynamoStore, run: Run) -> None:
    """A pending claim ends without a decision."""
    claim_of(store, A)
    ran = run("withdraw", A, "--reason", "no longer wanted")
    assert (ran.exit_code, ran.stdout) == (0, f"INFO: Claim {A} has been withdrawn; the lock deploy is free\n")
    assert store.claims([A])[0].approved is None


@pytest.mark.parametrize(
    ("before", "command", "words"),
    [
        ("pending", "release", "is pending, so it can't be released"),
        ("held", "withdraw", "is held, so it can't be withdrawn"),
        ("approved", "withdraw", "is approved by typed:ana at "),
        ("rejected", "release", "is rejected by typed:ana at "),
        ("rejected", "withdraw", "is rejected by typed:ana at "),
        ("released", "release", "is released by typed:ana at "),
        ("released", "withdraw", "is released by typed:ana at "),
    ],
)
def test_release_and_withdraw_refuse_what_is_elsewhere(
    store: DynamoStore, run: Run, before: str, command: str, words: str
) -> None:
    """One line that says where the claim is, and nothing changed."""
    claim_of(store, A, need_approval=before not in ("held", "released"))
    ways = {"approved": "approve", "rejected": "reject", "released": "release"}
    if before in ways:
        assert run(ways[before], A).exit_code == 0
    events = revision(store)
    refused(run(command, A), words)
    assert revision(store) == events


@pytest.mark.parametrize("command", ["release", "withdraw"])
def test_release_and_withdraw_of_nothing_are_one_line(store: DynamoStore, run: Run, command: str) -> None:
    """An unknown id is refused; a missing one is a wrong command line."""
    store.create_table()
    refused(run(command, A), f"there is no claim {A}")
    assert run(command).exit_code == 2
