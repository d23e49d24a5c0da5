"""Rego policies in Spacelift's form, evaluated in the sandbox."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from approval_resource.policy.decision import Answer, Explanation
from approval_resource.policy.facts import KNOWN, SAMPLE, SAMPLE_DEFAULTS, SCHEMA
from approval_resource.policy.kinds.kind import Part, View
from approval_resource.policy.kinds.requester import uncounted
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


def judge(view: View) -> Part:
    """Return the answers of the policy's Rego texts on the claim."""
    heard = [voice for voice in view.voices if not voice.approves or not uncounted(view.policy, voice, view.roster.requester)]
    # A Rego text that reads a field of facts.IDENTITY_PATHS sees no typed approval, since a typed name may be
    # the requester's.
    known = [voice for voice in heard if not voice.typed]
    document, known_only = (view.facts.document(view.roster, voices, view.now) for voices in (heard, known))
    given = {
        "document": document,
        "known_only": known_only["reviews"]["current"]["approvals"],
        "defaults": view.facts.defaults,
    }
    return part_of([_asked(text, given) for text in view.policy.rego])


def part_of(verdicts: Sequence[Verdict]) -> Part:
    """Return the verdicts of a policy's texts as one part."""
    return Part(
        answers=[one.result for one in verdicts],
        notes=[note for one in verdicts for note in one.notes],
        flags=[flag for one in verdicts for flag in one.flags],
    )


def ask(text: str, document: dict[str, Any]) -> Verdict:
    """Return one policy's answer on a whole input document.

    Everything in it counts as given, people included.
    """
    return _asked(text, {"document": document, "merged": [], "defaults": [], "people": []})


def _asked(text: str, given: dict[str, Any]) -> Verdict:
    """Evaluate one policy on an input.

    It fails closed: whatever goes wrong is an error, and an error is never an approval.
    """
    if not installed():
        return _error(MISSING_ENGINE)
    try:
        answer = sandbox.run({"task": "rego", "policies": [text], "inputs": [given], "schema": SCHEMA, "known": KNOWN})
        found = answer["policies"][0]
        wrong = next((problem for problem in found["problems"] if problem["error"]), None)
        if wrong is not None:
            return _error(f"line {wrong['line']}: {wrong['message']}")
        return _verdict(found["results"][0])
    except (sandbox.SandboxError, LookupError, TypeError) as broken:
        why = str(broken) if isinstance(broken, sandbox.SandboxError) else "its evaluation gave no answer"
        return _error(why)


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
