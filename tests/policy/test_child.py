"""The program in the child: what it says there it says here, where its lines can be seen to be run."""

from __future__ import annotations

from typing import Any

import pytest

from approval_resource.policy.facts import KNOWN, SAMPLE, SAMPLE_DEFAULTS, SCHEMA
from approval_resource.policy.sandbox import child
from approval_resource.policy.sandbox import parent as sandbox

HEAD = "package spacelift\n"
TEXTS = {
    "v0": HEAD + "approve { count(input.reviews.current.approvals) > 0 }\n",
    "v1": HEAD + "import rego.v1\n\napprove if count(input.reviews.current.approvals) > 0\n\nreject if input.run.branch\n",
    "notes and flags": HEAD + 'approve_with_note["a"] { true }\nreject_with_note["b"] { false }\nflag["c"] { true }\n',
    "neither version": HEAD + "approve {{\n",
    "a warning": HEAD + "approve if { true }\nreject { true }\n",
    "wrong answers": HEAD + 'approve = "yes" { true }\n',
    "wrong notes": HEAD + "approve_with_note[1] { true }\n",
    "undefined": HEAD + "approve { not frozn }\n",
    "built-ins": HEAD + "approve { http.send({}) }\nreject { time.now_ns() > 0 }\nflag[x] { x := nosuch(1) }\n",
    "data": HEAD
    + "approve { data.other; data[input.run.id]; data.spacelift; data.spacelift.reject; not data.spacelift.frozn }\n"
    "reject { false }\n",
    "paths": HEAD + "import input.run as r\nimport input as i\nimport data.x\n"
    "approve { not r.nope; not i.stack.labels[0]; not input.reviews.current.rejection; x := input.build; not x.commit.id;"
    ' input["run"].id; not input.run.changes[_].entity.type; blocked }\nblocked { not input.freeze }\n',
    "names": "package other\nif { true }\ncount(x) = 1 { x }\ndefault approve = true\napprove = true\nreject { approve with input.run.id as 1 }\n",
    "else": HEAD + "approve = false { false } else = true { f(1) == 2 }\nf(x) = y { y := x + 1 }\np[x] { x := 1 }\n",
}


GIVEN = {"document": SAMPLE, "defaults": SAMPLE_DEFAULTS, "known_only": []}


def there_and_here(task: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The child's answer, and the same without a process; how long either took is no part of it."""
    there = sandbox.run(task)
    there.pop("used")
    return there, child.TASKS[task["task"]](task)


@pytest.mark.parametrize("inputs", [[], [GIVEN]], ids=["lint", "ask"])
@pytest.mark.parametrize("name", TEXTS)
def test_rego_is_the_same_in_the_child_and_here(name: str, inputs: list[Any]) -> None:
    """Its problems with their places, and its answers."""
    task = {"task": "rego", "policies": [TEXTS[name]], "inputs": inputs, "schema": SCHEMA, "sample": GIVEN, "known": KNOWN}
    there, here = there_and_here(task)
    assert here == there


@pytest.mark.parametrize(
    "task",
    [
        {"task": "pattern", "pairs": [["a+", "aaa"], ["a+", "b"]]},
        {
            "task": "conditions",
            "queries": [[{"a.b": {"$regex": "^x"}}, True], [{"a.c": {"$ne": 1}}, False]],
            "facts": {"a": {"b": "xy"}},
        },
    ],
    ids=["pattern", "conditions"],
)
def test_the_rest_is_the_same_too(task: dict[str, Any]) -> None:
    """Patterns and conditions."""
    there, here = there_and_here(task)
    assert here == there
