"""Inputs: fields that approvers fill in. Values are checked, and merged over all approvals that count."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from approval_resource.policy.decision import Answer, Explanation
from approval_resource.policy.kinds.kind import Part, View
from approval_resource.policy.kinds.rules import counting
from approval_resource.policy.people import Voice
from approval_resource.policy.sandbox import parent as sandbox
from approval_resource.text import clean

if TYPE_CHECKING:
    from approval_resource.policy.language.document import Input, Policy

NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?")
MAX_VALUE = 200
MAX_ALL = 500
"""Upper bounds in characters: of one value, and of all names and values that one person gives."""


def judge(view: View) -> Part:
    """Approve once every required input is there; give the values of approvals that count."""
    able = counting(view.policy, view.roster, view.voices)
    return Part(answers=[complete(view.policy, able)], filled_in=filled_in(view.policy, able)[0])


def asked_for(policies: Iterable[Policy]) -> dict[str, list[Input]]:
    """Return the inputs that the policies ask for, by name.

    Where several policies ask for the same name, a value must fit all of them.
    """
    found: dict[str, list[Input]] = {}
    for policy in policies:
        for asked in policy.inputs:
            found.setdefault(asked.name, []).append(asked)
    return found


def problems(policies: Iterable[Policy], given: Mapping[str, str]) -> list[str]:
    """Return the problems of the values that somebody gave, one line each."""
    asked = asked_for(policies)
    found = []
    for name, value in given.items():
        if name not in asked:
            known = f"the policy asks for {', '.join(asked)}" if asked else "the policy asks for none"
            found.append(f"input {clean(name)[:80]}: unknown; {known}")
        elif len(value) > MAX_VALUE or value != clean(value):
            found.append(f"input {name}: must have at most {MAX_VALUE} characters, none of them control characters")
        else:
            found += [f"input {name}: {why}" for one in asked[name] if (why := _unfit(one, value))]
    if sum(len(name) + len(value) for name, value in given.items()) > MAX_ALL:
        found.append(f"inputs: more than {MAX_ALL} characters in all")
    return found


def _unfit(asked: Input, value: str) -> str:
    if asked.kind == "choices":
        picked = [one.strip() for one in value.split(",")]
        if not set(picked) <= set(asked.choices) or len(set(picked)) < len(picked):
            return f"must be one or more of {', '.join(asked.choices)}, each once, with commas between them"
    elif asked.choices and value not in asked.choices:
        return f"must be one of {', '.join(asked.choices)}"
    match asked.kind:
        case "boolean" if value not in ("true", "false"):
            return "must be true or false"
        case "number":
            return "" if NUMBER.fullmatch(value) else "must be a number"
        case "string" if not value.strip():
            return "must not be empty"
        case "string" if asked.pattern:
            return "" if _matches(asked.pattern, value) else f"must match {clean(asked.pattern)}"
    return ""


def _matches(pattern: str, value: str) -> bool:
    # A regular expression may backtrack for ever, so it runs in the sandbox, where it can be stopped.
    try:
        answer = sandbox.run({"task": "pattern", "pairs": [[pattern, value]]})
    except sandbox.SandboxError:
        return False
    return answer.get("results") == [True]


def _canonical(asked: Iterable[Input], value: str) -> str:
    """Return the canonical form of a value: several choices come in the policy's order."""
    for one in asked:
        if one.kind == "choices" and not _unfit(one, value):
            picked = {part.strip() for part in value.split(",")}
            return ",".join(choice for choice in one.choices if choice in picked)
    return value


def filled_in(policy: Policy, able: Iterable[Voice]) -> tuple[dict[str, str], list[str]]:
    """Return the values from approvals that count, and the names on which they disagree."""
    asked = asked_for([policy])
    values: dict[str, str] = {}
    disputed = []
    for voice in sorted(able, key=lambda voice: (voice.at, voice.person)):
        for name, given in voice.inputs.items():
            if name not in asked:
                continue
            value = _canonical(asked[name], given)
            if values.setdefault(name, value) != value:
                disputed.append(name)
    return values, list(dict.fromkeys(disputed))


def complete(policy: Policy, able: Sequence[Voice]) -> Explanation:
    """Approve once every required input is there, and all values fit and agree."""
    values, disputed = filled_in(policy, able)
    if disputed:
        return Explanation(
            Answer.UNDECIDED, f"those who approve disagree on {', '.join(disputed)}; one of them must change their mind"
        )
    if wrong := problems([policy], values):
        return Explanation(Answer.ERROR, "; ".join(wrong))
    missing = [asked.name for asked in policy.inputs if asked.required and asked.name not in values]
    if missing:
        options = " ".join(f"--input {name}=…" for name in missing)
        keys = ", ".join(f"{name}: …" for name in missing)
        return Explanation(
            Answer.UNDECIDED, f"needs {', '.join(missing)}: approve with {options}, or by a put with inputs: {{{keys}}}"
        )
    return Explanation(
        Answer.APPROVE, f"filled in: {', '.join(f'{name}={value}' for name, value in values.items()) or 'nothing'}"
    )
