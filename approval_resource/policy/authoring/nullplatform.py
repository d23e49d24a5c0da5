"""Render a policy's conditions as nullplatform's approval API shows them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from approval_resource.policy.decision import Answer, Decision, PolicyResult
from approval_resource.policy.kinds.conditions import Matched
from approval_resource.policy.sandbox import matching

ACTIONS = {Answer.APPROVE: "approve", Answer.REJECT: "deny"}


def action(decision: Decision) -> dict[str, Any]:
    """Render the action of all conditions together; empty where no policy has any."""
    found: list[Matched] = [one.found["conditions"] for one in decision.policies if "conditions" in one.found]
    actions = [ACTIONS.get(one.answer, "manual") for one in found if one.selected]
    return {"action": next((word for word in ("deny", "manual", "approve") if word in actions), "manual")} if found else {}


def evaluations(result: PolicyResult) -> dict[str, Any]:
    """Render the conditions of one policy; empty where it has none."""
    found: Matched | None = result.found.get("conditions")
    return {} if found is None else shape(found)


def shape(found: Matched) -> dict[str, Any]:
    """Render conditions that were matched with facts."""
    return {
        **({} if found.id in (None, "") else {"id": found.id}),
        "selected": found.selected,
        "passed": bool(found.met) and all(met for _, met in found.met),
        "evaluations": [_evaluation(one, met, found.facts) for one, met in found.met],
    }


def _evaluation(criteria: Mapping[str, Any], met: bool, facts: Mapping[str, Any]) -> dict[str, Any]:
    result = "met" if met else "not_met"
    nested = [
        {
            "criteria": {path: None if (value := matching.at(facts, path)) is matching.ABSENT else value},
            "expected": matching.expected(condition, facts),
            "result": result,
        }
        for path, condition in criteria.items()
        if isinstance(condition, Mapping) and "$dynamicPattern" in condition
    ]
    return {"criteria": criteria, "result": result, **({"nestedEvaluations": nested} if nested else {})}
