"""The kinds of rule: each is a file with one function and a line in the list, and none is loaded for nothing."""

from __future__ import annotations

import inspect
import subprocess
import sys
from importlib import import_module
from types import ModuleType

import pytest

from approval_resource.policy import evaluate
from approval_resource.policy.decision import Answer, Explanation
from approval_resource.policy.kinds.kind import EXCEPT_TIME, TIME, Kind, Part, View
from demo.engine import ROOT
from tests.policy.asking import ANA, answer, approval, asked, policy
from tests.unit.test_layout import PACKAGE

ROOM = PACKAGE / "policy" / "kinds"
THEIRS = ("approval_summary", "deployment_approvals", "pending_approval", "nestedEvaluations", '"evaluations"', '"not_met"')


def test_every_kind_is_a_module_and_a_line_of_the_list() -> None:
    """A module with a `judge` that isn't listed would never be asked; a name without one could not be."""
    modules = {path.stem: import_module(f"approval_resource.policy.kinds.{path.stem}") for path in ROOM.glob("[a-z]*.py")}
    judging = {name: module.judge for name, module in modules.items() if hasattr(module, "judge")}
    assert sorted(judging) == sorted(kind.name for kind in (*EXCEPT_TIME, *TIME))
    for judge in judging.values():
        signature = inspect.signature(judge)
        assert ([one.annotation for one in signature.parameters.values()], signature.return_annotation) == (["View"], "Part")


@pytest.mark.parametrize("said", [Answer.REJECT, Answer.ERROR, Answer.UNDECIDED])
def test_a_new_kind_is_a_file_and_a_line(monkeypatch: pytest.MonkeyPatch, said: Answer) -> None:
    """Its answer counts as any other's, its notes and flags are told; nothing else has to know of it."""

    def judge(view: View) -> Part:
        return Part(answers=[Explanation(said, f"the moon, and {len(view.voices)}")], notes=["full"], flags=["moon"])

    module = ModuleType("moon")
    module.__dict__["judge"] = judge
    monkeypatch.setitem(sys.modules, "approval_resource.policy.kinds.moon", module)
    monkeypatch.setattr(evaluate, "EXCEPT_TIME", (*EXCEPT_TIME, Kind("moon", lambda view: view.policy.name == "m")))
    decision = asked(policy(required_approvals=1, name="m"), approval(ANA))
    assert (decision.result.answer, decision.reasons, decision.notes, decision.flags) == (
        said,
        ("the moon, and 1",),
        ("full",),
        ("moon",),
    )
    assert answer(policy(required_approvals=1, name="n"), approval(ANA)) == "approve"


def test_no_kind_is_loaded_for_a_claim_without_a_policy() -> None:
    """A gate without policies opens sooner for it."""
    program = (
        "import sys; from datetime import datetime, UTC; from approval_resource.policy.evaluate import evaluate; "
        "from approval_resource.policy.facts import Facts; now = datetime.now(UTC); "
        "print(evaluate([], Facts(created_at=now), [], now).result.answer.value, *sorted(sys.modules))"
    )
    ran = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True, timeout=60)
    answered, *loaded = ran.stdout.split()
    assert answered == "undecided"
    there = {name.rpartition(".")[2] for name in loaded if name.startswith("approval_resource.policy.kinds.")}
    assert there <= {"kind", "quorum", "requester"}
    assert "pydantic" not in loaded


def test_evaluation_renders_no_other_system_s_json() -> None:
    """Their words stand in the renderers alone."""
    paths = [path for path in (PACKAGE / "policy").rglob("*.py") if path.parent.name != "authoring"]
    assert [(path.name, word) for path in paths for word in THEIRS if word in path.read_text(encoding="utf-8")] == []
