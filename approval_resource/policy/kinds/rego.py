"""Rego policies in Spacelift's form, evaluated in the sandbox."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from approval_resource.policy.decision import Answer, Explanation
from approval_resource.policy.facts import KNOWN, SAMPLE, SAMPLE_DEFAULTS, SCHEMA
from approval_resource.policy.sandbox import parent as sandbox
from approval_resource.text import clean

MISSING_ENGINE = (
    "needs the Rego engine, which is not installed here; use the container image, or install approval-resource[rego]"
)


@dataclass(frozen=True, slots=True)
class Verdict:
    """Answer of one Rego policy on one input document."""

    result: Explanation
    notes: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()


def installed() -> bool:
    """Whether the Rego engine is installed."""
    return importlib.util.find_spec("regorus") is not None


def lint(texts: Sequence[str]) -> list[list[dict[str, Any]]]:
    """Return the problems of each text: line, column, message, and whether it is an error."""
    if not installed():
        return [[_fault(MISSING_ENGINE)] for _ in texts]
    sample = {"document": SAMPLE, "defaults": SAMPLE_DEFAULTS}
    found = []
    for text in texts:
        try:
            task = {"task": "rego", "policies": [text], "inputs": [], "schema": SCHEMA, "sample": sample, "known": KNOWN}
            found.append(list(sandbox.run(task)["policies"][0]["problems"]))
        except (sandbox.SandboxError, LookupError, TypeError) as broken:
            found.append([_fault(f"can't be read: {broken}")])
    return found


def _fault(message: str) -> dict[str, Any]:
    return {"line": 1, "column": 1, "message": message, "error": True}


def ask(texts: Sequence[str], inputs: Sequence[dict[str, Any]]) -> list[list[Verdict]]:
    """Return each policy's answers on whole input documents.

    Everything in such a document counts as given, people included.
    """
    given = [{"document": one, "merged": [], "defaults": [], "people": []} for one in inputs]
    return [_asked(text, given) for text in texts]


def ask_of_claim(text: str, document: dict[str, Any], known_only: Sequence[Any], defaults: Sequence[str]) -> Verdict:
    """Return one policy's answer on a claim.

    `known_only`: the approvals without those under a typed name. A policy that reads a field of facts.PEOPLE
    sees these alone. `defaults`: the paths at which a default stands for a fact that nobody gave.
    """
    return _asked(text, [{"document": document, "known_only": list(known_only), "defaults": list(defaults)}])[0]


def _asked(text: str, inputs: Sequence[dict[str, Any]]) -> list[Verdict]:
    """Evaluate one policy on each input.

    It fails closed: whatever goes wrong is an error, and an error is never an approval.
    """
    if not installed():
        return [_error(MISSING_ENGINE) for _ in inputs]
    try:
        answer = sandbox.run({"task": "rego", "policies": [text], "inputs": list(inputs), "schema": SCHEMA, "known": KNOWN})
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
        wrong = answers["error"]
        return _error(f"line {wrong['line']}: {wrong['message']}" if wrong["line"] else wrong["message"])
    rejecting = [clean(note) for note in answers.get("reject_with_note", [])]
    approving = [clean(note) for note in answers.get("approve_with_note", [])]
    flags = tuple(clean(flag) for flag in answers.get("flag", []))
    notes = tuple([*rejecting, *approving])
    told = f": {', '.join(notes)}" if notes else ""
    # Where a policy both approves and rejects, the rejection wins.
    if answers.get("reject") is True or rejecting:
        return Verdict(Explanation(Answer.REJECT, f"the Rego policy rejects{told}"), notes, flags)
    if answers.get("approve") is True or approving:
        return Verdict(Explanation(Answer.APPROVE, f"the Rego policy approves{told}"), notes, flags)
    return Verdict(Explanation(Answer.UNDECIDED, "the Rego policy neither approves nor rejects yet"), notes, flags)


def _error(why: str) -> Verdict:
    return Verdict(Explanation(Answer.ERROR, f"the Rego policy can't be evaluated: {clean(why)}"))
