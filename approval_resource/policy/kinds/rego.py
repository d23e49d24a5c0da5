"""Rego policies of Spacelift's kind, asked in a process of their own."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from approval_resource.policy.decision import Answer, Explanation
from approval_resource.policy.facts import SAMPLE, SCHEMA
from approval_resource.policy.sandbox import parent as sandbox
from approval_resource.text import clean

MISSING_ENGINE = (
    "needs the Rego engine, which is not installed here; use the container image, or install approval-resource[rego]"
)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one Rego policy says on one input."""

    result: Explanation
    notes: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()


def installed() -> bool:
    """Whether the engine is there."""
    return importlib.util.find_spec("regorus") is not None


def lint(texts: Sequence[str]) -> list[list[dict[str, Any]]]:
    """What is wrong with each text: line, column, message, and whether it is an error."""
    if not installed():
        return [[_fault(MISSING_ENGINE)] for _ in texts]
    found = []
    for text in texts:
        try:
            answer = sandbox.run({"task": "rego", "policies": [text], "inputs": [], "schema": SCHEMA, "sample": SAMPLE})
            found.append(list(answer["policies"][0]["problems"]))
        except (sandbox.SandboxError, LookupError, TypeError) as broken:
            found.append([_fault(f"can't be read: {broken}")])
    return found


def _fault(message: str) -> dict[str, Any]:
    return {"line": 1, "column": 1, "message": message, "error": True}


def ask(texts: Sequence[str], inputs: Sequence[dict[str, Any]]) -> list[list[Verdict]]:
    """What each policy says on each input. Whatever goes wrong is an error, and an error is never an approval."""
    if not installed():
        return [[_error(MISSING_ENGINE) for _ in inputs] for _ in texts]
    return [_asked(text, inputs) for text in texts]


def _asked(text: str, inputs: Sequence[dict[str, Any]]) -> list[Verdict]:
    try:
        answer = sandbox.run({"task": "rego", "policies": [text], "inputs": list(inputs), "schema": SCHEMA})
        found = answer["policies"][0]
        wrong = next((problem for problem in found["problems"] if problem["error"]), None)
        if wrong is not None:
            return [_error(f"line {wrong['line']}: {wrong['message']}") for _ in inputs]
        return [_verdict(result) for result in found["results"]]
    except (sandbox.SandboxError, LookupError, TypeError) as broken:
        why = str(broken) if isinstance(broken, sandbox.SandboxError) else "its evaluation gave no answer"
        return [_error(why) for _ in inputs]


def _verdict(answers: dict[str, Any]) -> Verdict:
    if "error" in answers:
        return _error(_short(str(answers["error"])))
    rejecting = [clean(note) for note in answers.get("reject_with_note", [])]
    approving = [clean(note) for note in answers.get("approve_with_note", [])]
    flags = tuple(clean(flag) for flag in answers.get("flag", []))
    notes = tuple([*rejecting, *approving])
    told = f": {', '.join(notes)}" if notes else ""
    # Both at once: the rejection wins.
    if answers.get("reject") is True or rejecting:
        return Verdict(Explanation(Answer.REJECT, f"the Rego policy rejects{told}"), notes, flags)
    if answers.get("approve") is True or approving:
        return Verdict(Explanation(Answer.APPROVE, f"the Rego policy approves{told}"), notes, flags)
    return Verdict(Explanation(Answer.UNDECIDED, "the Rego policy neither approves nor rejects yet"), notes, flags)


def _short(error: str) -> str:
    """What the engine says, without the picture of the line and without its own insides."""
    text = error.split("\nStack backtrace:")[0]
    place = re.search(r"--> policy:(\d+):", text)
    message = re.search(r"error: (.*)", text, re.DOTALL)
    where = f"line {place.group(1)}: " if place else ""
    return where + " ".join((message.group(1) if message else text).split())[:300]


def _error(why: str) -> Verdict:
    return Verdict(Explanation(Answer.ERROR, f"the Rego policy can't be evaluated: {clean(why)}"))
