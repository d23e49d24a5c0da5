"""Every trap that the engine was found to have, and what a stranger may write: an error or a warning, never an approval."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from approval_resource.errors import ConfigError
from approval_resource.policy.kinds import conditions, inputs, rego
from approval_resource.policy.language.load import load
from approval_resource.policy.sandbox import parent as sandbox
from tests.policy.asking import (
    ANA,
    answer,
    approval,
    asked,
    errors,
    findings,
    policy,
    ran,
    rejection,
    run_input,
    says,
    verdict,
    warnings,
    why,
    written,
)

HEAD = "package spacelift\n"
V1 = "package spacelift\nimport rego.v1\n"
SECONDS = 45.0
"""Less than the backstop: what ends sooner was ended by its processor seconds, also on a busy machine."""

ERRORS = {
    "the one version's if among the other's rules": (HEAD + "approve if { 1 == 2 }\nreject { 1 == 2 }", ""),
    "the same with a body on its own line": (HEAD + "reject { 1 == 2 }\napprove if {\n  1 == 2\n}", ""),
    "http.send": (HEAD + 'approve { http.send({"method": "get", "url": "http://127.0.0.1"}).status_code == 200 }', "http.send"),
    "opa.runtime": (HEAD + "approve { opa.runtime().env.HOME }", "opa.runtime"),
    "rand.intn": (HEAD + 'approve { rand.intn("x", 2) == 0 }', "rand.intn"),
    "uuid.rfc4122": (HEAD + 'approve { uuid.rfc4122("x") != "" }', "uuid.rfc4122"),
    "net.lookup_ip_addr": (HEAD + 'approve { net.lookup_ip_addr("localhost") }', "net.lookup_ip_addr"),
    "time.now_ns": (HEAD + "approve { time.now_ns() > 0 }", "input.request.timestamp_ns"),
    "trace": (HEAD + 'approve { trace("x") }', "trace"),
    "rego.parse_module": (HEAD + 'approve { rego.parse_module("x", "package x") }', "rego.parse_module"),
    "rego.metadata.rule": (HEAD + "approve { rego.metadata.rule() }", "rego.metadata"),
    "an unknown function": (HEAD + "approve { is_friday(1) }", "is_friday"),
    "a rule named if": (HEAD + "approve { 1 == 2 }\nif { true }", "if"),
    "a rule named contains": (HEAD + "approve { 1 == 2 }\ncontains { true }", "contains"),
    "a rule named in": (HEAD + "approve { 1 == 2 }\nin { true }", "in"),
    "a rule named every": (HEAD + "approve { 1 == 2 }\nevery { true }", "every"),
    "data by a computed name": (HEAD + "approve { data[input.run.branch] }", "data"),
    "a rule by a computed name": (HEAD + "approve { data.spacelift[input.run.branch] }", "data"),
    "another package's data": (HEAD + "approve { data.other.allowed }", "data"),
    "all of data": (HEAD + "approve { count(data) > 0 }", "data"),
    "an import of data": (HEAD + "import data.other\napprove { other.allowed }", "imports what isn't there"),
    "a path that can't exist": (HEAD + "approve { input.reviews.current.aprovals[_] }", "did you mean approvals"),
    "a path that can't exist, under not": (HEAD + "approve { not input.reviews.current.rejection }", "does not exist"),
    "a helper that nothing defines": (HEAD + "approve { not has_rejection }", "has_rejection"),
    "a helper that nothing defines, in v1": (V1 + "approve if not has_rejection", "has_rejection"),
    "a wrong package": ("package spacelfit\napprove { true }", "it must be spacelift"),
    "a package below": ("package spacelift.more\napprove { true }", "it must be spacelift"),
    "no package": ("approve { true }", "package"),
    "approve that is a string": (HEAD + 'approve = "false" { true }', "neither true nor false"),
    "approve that is a number": (HEAD + "approve = 1 { true }", "neither true nor false"),
    "approve that is a set": (HEAD + 'approve["x"] { true }', "neither true nor false"),
    "approve that is an object": (V1 + "approve.x := true", ""),
    "notes that are no set": (HEAD + 'approve_with_note = "x" { true }', "no set of strings"),
    "notes that are numbers": (HEAD + "approve_with_note[1] { true }", "no set of strings"),
    "complete rules in conflict": (HEAD + "approve = true { true }\napprove = false { true }", "conflict"),
    "nothing": ("", ""),
    "no Rego": ("required_approvals: 1", ""),
    "half a rule": (HEAD + "approve {", ""),
}


@pytest.mark.parametrize("name", ERRORS)
@pytest.mark.long
def test_a_trap_is_an_error_in_lint_and_in_evaluation(name: str) -> None:
    """Lint says what is wrong, and the same text asked all the same, with approvals at hand, gives an error."""
    text, words = ERRORS[name]
    found = errors(text)
    assert found
    assert words in " ".join(found)
    assert says(text) == "error"
    assert answer(policy(rego=text or " "), approval(ANA)) == "error"


def test_if_without_its_import_is_read_as_v1_and_its_condition_counts() -> None:
    """Read as v0, `approve if {…}` is two rules of which the first is always true."""
    assert says(HEAD + "approve if { 1 == 2 }") == "undecided"
    assert says(HEAD + "approve if {\n  1 == 2\n}") == "undecided"
    assert says(HEAD + "approve if { 1 == 1 }") == "approve"


@pytest.mark.parametrize("changed", ['input.run.type as "TASK"', 'input as {"run": {"type": "TASK"}}'])
def test_an_input_changed_with_with_is_an_error(changed: str) -> None:
    """A policy that asks itself about another input than the one there is answers for nothing."""
    assert errors(HEAD + f'approve {{ is_task with {changed} }}\nis_task {{ input.run.type == "TASK" }}')


WARNINGS = {
    "no approve rule": (HEAD + "reject { input.run.flags[_] }", "has no approve rule"),
    "a fact only the pipeline can give": (HEAD + "approve { input.ticket.open }", "has to give it as a fact"),
    "such a fact within run": (HEAD + "approve { input.run.brnch }", "did you mean branch"),
    "not over what may be missing": (HEAD + "approve { not input.frozen }", "holds also where input.frozen is missing"),
    "not over an optional path": (HEAD + 'approve { not input.run.branch == "main" }', "input.run.branch is missing"),
    "not through a helper": (HEAD + "approve { not frozen }\nfrozen { input.freeze.on }", "input.freeze is missing"),
    "not through two helpers": (HEAD + "approve { not a }\na { b }\nb { input.freeze.on }", "input.freeze is missing"),
    "not over an alias of an import": (HEAD + "import input.freeze as f\napprove { not f.on }", "input.freeze is missing"),
    "not over a call": (HEAD + 'approve { not startswith(input.freeze.until, "2") }', "input.freeze is missing"),
    "an unconditional note": (V1 + 'approve_with_note contains "x"', "approves everything"),
}


@pytest.mark.parametrize("name", WARNINGS)
def test_what_is_seldom_meant_is_warned_of(name: str) -> None:
    """It is no error, and the way out is told."""
    text, words = WARNINGS[name]
    assert errors(text) == []
    assert words in " ".join(warnings(text))


@pytest.mark.parametrize(
    "text",
    [
        HEAD + "approve { not input.reviews.current.rejections[_] }",
        HEAD + 'approve { not bad }\nbad { input.reviews.current.rejections[_].session.teams[_] == "x" }',
        HEAD + 'approve { not input.claim.lock_name == "production" }',
        HEAD + 'approve { count(input.reviews.current.approvals) > 0; not "x" == input.run.flags[_] }',
    ],
)
def test_not_over_what_is_always_there_is_not_warned_of(text: str) -> None:
    """A warning that comes always is read by nobody. That a text asks nobody at all is another."""
    assert [told for told in findings(text, "p.rego") if "on no fact" not in str(told)] == []


NO_WARNING = "the lint sees no unconditional approval in {}"


@pytest.mark.parametrize(
    "text",
    [pytest.param(text) for text in ("default approve = true", "default approve := true", "approve := true", "approve = true")],
)
def test_an_approval_without_a_condition_is_warned_of(text: str) -> None:
    """However it is written."""
    assert warnings(HEAD + text)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(text)
        for text in (
            "approve { r := input.reviews.current; not r.rejection }",
            "approve { current := input.reviews.current; count({x | x := current.rejection[_]}) == 0 }",
            "approve { given := input; not given.freeze.on }",
            'approve { not input["reviews"][part][_] }\npart := "rejection"',
        )
    ],
)
def test_a_misspelt_path_behind_a_local_name_is_told(text: str) -> None:
    """It approves whatever is said of it, since the path is never there."""
    assert findings(HEAD + text, "p.rego")


@pytest.mark.parametrize(
    "text", ["approve { not data.spacelift.frozen }", "approve { not data.spacelift.frozn }\nfrozen { true }"]
)
def test_a_rule_that_nothing_defines_is_an_error_by_its_full_name_too(text: str) -> None:
    """Under `not` it would approve everything."""
    assert errors(HEAD + text)


@pytest.mark.parametrize("text", ["approve { not i.reviews.current.rejection }", "approve { not i.freeze }"])
def test_a_path_below_an_import_of_the_whole_input_is_checked(text: str) -> None:
    """Under whatever name."""
    assert findings(f"{HEAD}import input as i\n{text}", "p.rego")


def test_a_computed_name_below_input_is_warned_of_under_not() -> None:
    """Nobody can tell that it is there."""
    assert findings(HEAD + 'approve { x := "reviews"; not input[x].current.rejection }', "p.rego")


def test_what_only_goes_wrong_on_an_empty_input_is_no_error() -> None:
    """No policy is ever asked about nothing: run.type and stack.name are always there."""
    text = HEAD + 'n = 1 { not input.run.type == "TASK" }\nn = 2 { not input.run.type == "TRACKED" }\napprove { n == 1 }\n'
    assert says(text) == "approve"
    assert errors(text) == []


def test_false_stays_false() -> None:
    """A fact that is false is neither 0 nor true."""
    text = (
        HEAD + "approve { input.claim_is_safe == false; is_boolean(input.claim_is_safe) }\nreject { input.claim_is_safe == 0 }"
    )
    assert says(text, run_input() | {"claim_is_safe": False}) == "approve"
    assert says(text, run_input() | {"claim_is_safe": 0}) == "reject"
    assert says(text, run_input() | {"claim_is_safe": True}) == "undecided"


def test_a_text_that_looks_like_the_engines_undefined_is_a_text() -> None:
    """It gives no approval, and in a note it is told as it is."""
    assert says(HEAD + 'approve = "<undefined>" { true }') != "approve"
    said = verdict(HEAD + "approve_with_note[n] { n := input.run.flags[_] }", run_input(flags=["<undefined>"]))
    assert said.notes == ("<undefined>",)


def test_notes_are_told_without_what_moves_a_cursor() -> None:
    """A note is made of facts, which a pipeline gave."""
    said = verdict(HEAD + "approve_with_note[n] { n := input.run.flags[_] }", run_input(flags=["a\x1b[2Jb\nc"]))
    assert said.notes == ("a [2Jb c",)


# ---- where it is -------------------------------------------------------------------

REGO = "package spacelift\n\napprove {\n  1 == 2\n}\n\n  contains { true }\n"
INDENTED = "".join(f"    {line}" if line.strip() else line for line in REGO.splitlines(keepends=True))


@pytest.mark.parametrize(
    ("name", "text", "place"),
    [
        ("p.rego", REGO, (7, 3)),
        ("p.yaml", f"name: x\nrego: |\n{INDENTED}", (9, 7)),
        ("p.yaml", f"name: x\nrego: |  # why\n{INDENTED}", (9, 7)),
        ("p.yaml", f"rego:\n  - |\n{INDENTED}  - |-\n    package spacelift\n    approve {{ true }}\n", (9, 7)),
        ("p.yaml", f"rego:\n  - |\n    package spacelift\n    approve {{ true }}\n  - |\n{INDENTED}", (12, 7)),
        ("p.yaml", f"policy:\n  rego: |\n{INDENTED}", (9, 7)),
        ("p.yaml", f"- required_approvals: 1\n- rego: |\n{INDENTED}", (9, 7)),
    ],
    ids=["bare", "block", "block with a comment", "first of a list", "second of a list", "under policy", "second document"],
)
def test_a_problem_in_rego_is_told_with_its_place_in_the_file(name: str, text: str, place: tuple[int, int]) -> None:
    """Line and column are those of the file that holds it."""
    (found,) = [finding for finding in findings(text, name) if finding.error]
    assert found.place == place


@pytest.mark.parametrize("body", ["http.send({}).x", "http.send({})", "data.other.x", "input.reviews.current.aprovals[_]"])
def test_a_problem_in_an_expression_is_told_where_the_expression_begins(body: str) -> None:
    """Whoever jumps there finds its first letter."""
    found = [finding for finding in findings(f"{HEAD}approve {{ {body} }}", "p.rego") if finding.error]
    assert [finding.place for finding in found] == [(2, 11)]


def test_a_problem_in_rego_within_json_is_told_with_a_line_of_the_file() -> None:
    """A JSON string is on one line, so that is where the problem is."""
    text = json.dumps({"name": "x", "rego": REGO}, indent=1)
    (found,) = [finding for finding in findings(text, "p.json") if finding.error]
    assert found.place is not None
    assert found.place[0] == 3


def test_a_block_that_begins_with_an_empty_line_keeps_its_columns() -> None:
    """The column is counted from where the block's text begins."""
    (found,) = [finding for finding in findings(f"rego: |\n\n{INDENTED}", "p.yaml") if finding.error]
    assert found.place == (9, 7)


# ---- hostile ----------------------------------------------------------------------


@contextmanager
def soon() -> Iterator[None]:
    """End of work by its processor seconds: a busy machine takes longer over them, but not for ever."""
    begin = time.perf_counter()
    yield
    assert time.perf_counter() - begin < SECONDS


PRODUCT = " ".join(f"x{n} := numbers.range(1, 1000)[_];" for n in range(6))
HOSTILE = {
    "an endless product": HEAD + f"approve {{ {PRODUCT} x0 + x1 + x2 + x3 + x4 + x5 < 0 }}",
    "an endless product that would approve": HEAD + f"approve {{ n := count([1 | {PRODUCT} true]); n > 0 }}",
    "deep brackets": HEAD + "approve { x := " + "[" * 5_000 + "]" * 5_000 + "; true }",
    "deep parentheses": HEAD + "approve { " + "(" * 5_000 + "1" + ")" * 5_000 + " == 1 }",
    "deep objects": HEAD + "approve { x := " + '{"a":' * 3_000 + "1" + "}" * 3_000 + "; true }",
    "deep comprehensions": HEAD + "approve { x := " + "[1 | " * 500 + "true" + "]" * 500 + "; true }",
    "deep negations": HEAD + "approve { " + "not " * 5_000 + "false }",
    "a long sum": HEAD + "approve { 0 < " + "+".join(["1"] * 15_000) + " }",
    "a memory bomb of numbers": HEAD + "approve { count(numbers.range(1, 100000000)) > 0 }",
    "a memory bomb of text": HEAD
    + 'approve { a := concat("", [s | s := "xxxxxxxxxx"; numbers.range(1, 100000)[_]]); '
    + 'b := concat(a, [s | s := "x"; numbers.range(1, 100000)[_]]); count(b) > 0 }',
    "recursion through functions": HEAD + "f(x) = y { y := f(x + 1) }\napprove { f(0) }",
    "recursion through two functions": HEAD + "f(x) = y { y := g(x) }\ng(x) = y { y := f(x) }\napprove { f(0) }",
    "recursion through rules": HEAD + "approve { ok }\nok { approve }",
    "a wide CIDR": HEAD + 'approve { count(net.cidr_expand("0.0.0.0/0")) > 0 }',
    "a pattern that backs up": HEAD
    + 'approve { not regex.match("^(a+)+$", "'
    + "a" * 200
    + '!"); regex.match("(a*)*(a*)*b", "'
    + "a" * 2000
    + '") }',
}


SLOW = ("an endless product that would approve", "deep objects", "deep comprehensions", "deep negations")
"""Those that take all of the time that they are given, as others here do."""


@pytest.mark.parametrize("name", [pytest.param(name, marks=pytest.mark.long) if name in SLOW else name for name in HOSTILE])
def test_a_hostile_policy_ends_soon_and_approves_nothing(name: str) -> None:
    """Whatever time, memory or stack it takes, it takes from its own process, and its end is an error."""
    text = HOSTILE[name]
    with soon():
        said = verdict(text).result
    assert said.answer.value != "approve"
    if "backs up" not in name:
        assert said.answer.value == "error", said


@pytest.mark.long
@pytest.mark.parametrize("name", ["an endless product", "deep objects", "recursion through functions"])
def test_a_hostile_policy_is_linted_soon(name: str) -> None:
    """Lint may not be held up either."""
    with soon():
        rego.lint([HOSTILE[name]])


EVIL = "^(a+)+$"
LONG = "a" * 200 + "!"


@pytest.mark.parametrize(
    "condition",
    [
        {"$regex": EVIL},
        {"$not": {"$regex": EVIL}},
        {"$dynamicPattern": {"template": "^({x}+)+$", "fields": {"x": {"path": "letter"}}}},
    ],
    ids=["$regex", "negated", "$dynamicPattern"],
)
@pytest.mark.long
def test_a_pattern_that_never_ends_in_conditions_is_an_error(condition: dict[str, object]) -> None:
    """Not met, and not the other way round under a negation either."""
    one = policy(conditions={"name": condition}, on_policy_success="approve", on_policy_fail="manual")
    with soon():
        decision = asked(one, approval(ANA), given={"name": LONG, "letter": "a"})
    assert decision.result.answer.value == "error"


@pytest.mark.long
def test_a_pattern_that_never_ends_in_an_input_refuses_the_input() -> None:
    """What can't be checked doesn't fit."""
    one = policy(required_approvals=1, inputs=[{"name": "version", "pattern": EVIL[1:-1]}])
    with soon():
        assert answer(one, approval(ANA, inputs={"version": LONG[-150:]})) == "error"


def test_a_pattern_that_is_none_is_a_configuration_error() -> None:
    """In conditions as in inputs."""
    assert list(conditions.problems({"a": {"$regex": "("}}))
    with pytest.raises(ConfigError, match="regular expression"):
        load({"required_approvals": 1, "inputs": [{"name": "a", "pattern": "("}]}, "p")


# ---- without the engine -----------------------------------------------------------


def test_without_the_engine_a_rego_policy_is_a_configuration_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lint says how to get it."""
    monkeypatch.setattr(rego, "installed", lambda: False)
    (found,) = errors(HEAD + "approve { true }")
    assert "approval-resource[rego]" in found


def test_without_the_engine_nothing_is_approved(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever others approve: an error is never an approval, and the reason names the engine."""
    monkeypatch.setattr(rego, "installed", lambda: False)
    decision = asked([policy(rego=HEAD + "approve { true }"), policy(required_approvals=1)], approval(ANA))
    assert decision.result.answer.value == "error"
    assert "Rego engine" in why(decision)


def test_without_the_engine_a_rejection_still_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that another document takes ends it."""
    monkeypatch.setattr(rego, "installed", lambda: False)
    assert answer([policy(rego=HEAD + "approve { true }"), policy(required_approvals=1)], rejection(ANA)) == "reject"


@pytest.mark.parametrize("answered", ["exit 1", "echo", "echo '[]'", "echo '{}'", "echo '{\"policies\": [{}]}'", "sleep 5"])
def test_an_evaluation_that_gives_no_answer_is_an_error(answered: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A child that dies, hangs or talks nonsense approves nothing, and its pattern doesn't match."""
    child = tmp_path / "child.py"
    child.write_text(f"import os\nos.execv('/bin/sh', ['sh', '-c', {answered!r}])\n")
    monkeypatch.setattr(sandbox, "CHILD", child)
    monkeypatch.setattr(sandbox, "WALL_SECONDS", 0.5)
    assert says(HEAD + "approve { true }") == "error"
    assert errors(HEAD + "approve { true }")
    assert answer(policy(conditions={"a": {"$regex": "x"}}, on_policy_success="approve"), given={"a": "x"}) == "error"
    assert inputs.problems([policy(required_approvals=1, inputs=[{"name": "a", "pattern": "x"}])], {"a": "x"}) != []


def test_the_child_finds_nothing_of_its_surroundings(monkeypatch: pytest.MonkeyPatch) -> None:
    """A secret in the environment isn't there, should a built-in ever be let through that reads it."""
    real = subprocess.Popen
    seen: list[object] = []

    def watched(*arguments: object, **options: object) -> object:
        seen.append(options["env"])
        return real(*arguments, **options)  # type: ignore[call-overload]

    monkeypatch.setenv("SECRET", "canary")
    monkeypatch.setattr(subprocess, "Popen", watched)
    assert says(HEAD + "approve { true }") == "approve"
    assert seen == [{}]


def test_policy_eval_of_a_trap_says_so_and_ends_in_1(tmp_path: Path) -> None:
    """As JSON too, for a program that asks."""
    file = written(tmp_path, "p.rego", ERRORS["http.send"][0])
    result = ran("eval", file, "--format", "json")
    assert result.exit_code == 1
    assert json.loads(result.stdout)["decision"] == "error"
    assert ran("lint", file).exit_code == 1
