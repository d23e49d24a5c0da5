"""Work is bounded, and not time: a slow machine gives the same answer, and no policy takes more than its share."""

from __future__ import annotations

import resource
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from approval_resource.policy.evaluate import dropped
from approval_resource.policy.sandbox import child
from approval_resource.policy.sandbox import parent as sandbox
from tests.policy.asking import ANA, answer, approval, asked, facts, policy

REGO = "package spacelift\n\napprove { count(input.reviews.current.approvals) > 0 }\n"
MANY = {"items": [{"n": number, "t": "x" * 20} for number in range(9_000)]}
"""Facts near the most that a claim may have."""
WIDE = {"$or": [{"items": {"$elemMatch": {"n": {"$gt": 10_000 + number}, "t": "y"}}} for number in range(60)]}


def work() -> float:
    """Processor seconds of this process and of those it has waited for."""
    own, children = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    return own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime


@pytest.mark.long
def test_a_machine_that_is_slow_to_start_a_process_gives_the_same_decision(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three seconds of waiting are no work."""
    late = tmp_path / "late.py"
    late.write_text(
        f"import os, time\ntime.sleep(3)\nos.execv({sys.executable!r}, [{sys.executable!r}, '-I', {child.__file__!r}])\n"
    )
    one = policy(rego=REGO)
    before = asked(one, approval(ANA))
    monkeypatch.setattr(sandbox, "CHILD", late)
    assert asked(one, approval(ANA)) == before
    assert before.result.answer.value == "approve"


def test_no_clock_is_read_but_one_that_is_handed_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """A decision doesn't depend on any; who wants work of this process to count says by which."""
    for name in ("monotonic", "perf_counter", "time", "thread_time", "process_time"):
        monkeypatch.setattr(time, name, lambda: pytest.fail("a clock was read"))
    one = [policy(conditions={"a": 1}, on_policy_success="approve"), policy(required_approvals=1)]
    assert answer(one, approval(ANA), given={"a": 1}) == "approve"
    hours = iter(range(0, 10**9, 3600))
    with sandbox.budget(2.0, lambda: float(next(hours))):
        assert sandbox.spent()


def test_a_task_is_charged_for_its_work() -> None:
    """The next has what is left."""
    slow = {"task": "pattern", "pairs": [["(a+)+b", "a" * 60]]}
    with sandbox.budget(0.3):
        with pytest.raises(sandbox.SandboxError, match="processor time"):
            sandbox.run(slow)
        assert sandbox.spent()
        with pytest.raises(sandbox.SandboxError, match="took all the processor time"):
            sandbox.run({"task": "pattern", "pairs": [["a", "a"]]})


def test_a_budget_within_a_budget_gives_no_more() -> None:
    """What runs within shares what is left outside."""
    with sandbox.budget(0.0), sandbox.budget(100.0):
        assert sandbox.spent()


@pytest.mark.long
def test_many_documents_of_conditions_share_one_budget() -> None:
    """Twenty documents, each within all limits, over facts that are large: an answer, and no more work than one decision has."""
    documents = [policy(conditions={f"k{number}": 1, **WIDE}, on_policy_success="approve") for number in range(20)]
    before = work()
    decision = asked(documents, given=MANY)
    assert work() - before < sandbox.BUDGET_SECONDS + 2
    assert decision.result.answer.value != "approve"


def test_conditions_that_are_asked_here_take_next_to_nothing() -> None:
    """What needs no process of its own is small by what it looks at times what it asks."""
    nots = {"$nor": [{"items": {"$elemMatch": {"n": number}}} for number in range(60)]}
    small: dict[str, Any] = {"items": [{"n": number} for number in range(100, 130)]}
    before = work()
    for _ in range(20):
        answer(policy(conditions=nots, on_policy_success="approve"), given=small)
    assert work() - before < 2


def test_a_selector_alone_says_whether_a_policy_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    """The conditions aren't asked; one that can't be evaluated errs by applying."""
    one = policy(selector={"kind": "x"}, conditions={"a": {"$regex": "(a+)+$"}}, on_policy_fail="deny")

    def never(task: object) -> dict[str, Any]:
        raise sandbox.SandboxError("asked")

    monkeypatch.setattr(sandbox, "run", never)
    assert dropped(one, facts(given={"kind": "y", "a": "b"}))
    assert not dropped(one, facts(given={"kind": "x"}))
    assert not dropped(policy(selector={"kind": {"$regex": "x"}}, conditions={"a": 1}), facts(given={"kind": "y"}))


@pytest.mark.parametrize(
    ("path", "condition"),
    [
        ("run.flags", {"$size": 0}),
        ("run.changes", {"$size": 0}),
        ("run.type", "TRACKED"),
        ("stack.labels", {"$size": 0}),
        ("stack.administrative", False),
        ("stack.autodeploy", {"$ne": True}),
    ],
)
def test_conditions_approve_by_no_fact_that_nobody_gave(path: str, condition: object) -> None:
    """A default stands for what isn't known; where it is given the same conditions approve."""
    one = policy(conditions={path: condition}, on_policy_success="approve")
    decision = asked(one)
    assert decision.result.answer.value == "error"
    assert f"give {path}" in decision.reasons[0]
    first, second = path.split(".")
    known: object = {"$size": []}.get(next(iter(condition)) if isinstance(condition, dict) else "", False)
    given = {first: {second: "TRACKED" if path == "run.type" else known}}
    assert answer(one, given=given) == "approve"
    assert answer(policy(conditions={path: condition}, on_policy_fail="deny"), approval(ANA)) == "approve"


@pytest.mark.parametrize("condition", [None, {"$eq": None}, {"$in": [None, 0]}, {"$lte": None}], ids=str)
def test_conditions_approve_by_no_null_that_is_only_missing(condition: object) -> None:
    """Null that was given is null; what wasn't given is nothing to approve by."""
    one = policy(conditions={"plan.destroyed": condition}, on_policy_success="approve")
    assert answer(one) in ("error", "undecided")
    assert answer(one, given={"plan": {"destroyed": None}}) == "approve"
    assert (
        answer(policy(conditions={"$or": [{"a": 1}, {"plan.destroyed": condition}]}, on_policy_success="approve")) != "approve"
    )
