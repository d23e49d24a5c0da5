"""`policy test`: cases beside a policy, run as unit tests are."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from approval_resource.policy.authoring import cases
from tests.policy.asking import Document, ran, written

POLICY = "required_approvals: 2\nwindows: [{days: mon-fri, from: 09:00, to: 17:00}]\n"
GOOD = """\
cases:
  - name: nobody yet
    expect: undecided
  - name: two
    reviews:
      - {author: "aws:a", verdict: approve}
      - {author: "aws:b", verdict: approved, comment: fine}
    expect: approve
  - name: two at night
    now: 2026-01-01T03:00:00Z
    reviews: [{author: "aws:a", verdict: approve}, {author: "aws:b", verdict: approve}]
    expect: {decision: undecided, reasons: its window opens}
  - name: one against
    reviews: [{author: "aws:a", verdict: reject, comment: no}]
    expect: {decision: reject, reasons: ["aws:a rejected it", ": no"], notes: []}
"""


def test_cases_that_pass_end_in_0(tmp_path: Path) -> None:
    """Each is told, and the sum; a case that says no time is at noon on a Thursday."""
    written(tmp_path, "deploy.yaml", POLICY)
    file = written(tmp_path, "deploy.test.yaml", GOOD)
    result = ran("test", tmp_path)
    assert result.exit_code == 0
    assert result.output.splitlines() == [
        f"ok   {file} nobody yet",
        f"ok   {file} two",
        f"ok   {file} two at night",
        f"ok   {file} one against",
        "4 passed, 0 failed",
    ]


def test_cases_that_fail_are_told_with_why_and_end_in_1(tmp_path: Path) -> None:
    """What was expected, what it is, and the reasons for it."""
    written(tmp_path, "p.yaml", POLICY)
    text = (
        "cases:\n  - {name: a, expect: approve}\n  - {name: b, expect: {decision: undecided, reasons: [bogus], notes: [n]}}\n"
    )
    file = written(tmp_path, "p.test.yaml", text + "  - {name: c, expect: undecided}\n")
    result = ran("test", file)
    assert result.exit_code == 1
    assert f"FAIL {file} a\n     expected approve, but it is undecided: needs 2 approvals" in result.output
    assert "     no reason says 'bogus'" in result.output
    assert "     expected notes ['n'], but they are []" in result.output
    assert f"ok   {file} c" in result.output
    assert result.output.endswith("1 passed, 2 failed\n")


def test_rego_is_tested_with_facts_or_a_whole_input(tmp_path: Path) -> None:
    """Beside a file of that name that ends in .rego; notes in any order."""
    written(tmp_path, "p.rego", "package spacelift\napprove_with_note[n] { n := input.run.flags[_] }\n")
    inner = {"run": {"flags": ["b", "a"]}}
    listed = [
        {"name": "facts", "facts": inner, "expect": {"decision": "approve", "notes": ["a", "b"]}},
        {"name": "input", "input": inner, "expect": {"decision": "approve", "notes": ["b", "a"]}},
        {"name": "neither", "expect": "undecided"},
    ]
    written(tmp_path, "p.test.json", {"cases": listed})
    result = ran("test", tmp_path)
    assert result.output.endswith("3 passed, 0 failed\n")


def test_cases_may_name_their_policies_and_requester(tmp_path: Path) -> None:
    """Several together, from beside the file."""
    written(
        tmp_path,
        "one.yaml",
        "required_approvals: 1\nallow_self_approval: false\npeople: {ana: ['aws:arn:aws:iam::111122223333:user/ana']}\n",
    )
    written(tmp_path, "two.yaml", "conditions: {env: prod}\non_policy_fail: deny\n")
    listed: list[Document] = [
        {
            "name": "own",
            "requester": "ana",
            "facts": {"env": "prod"},
            "reviews": [{"author": "aws:arn:aws:iam::111122223333:user/ana", "verdict": "approve"}],
        },
        {
            "name": "other",
            "requester": "bob",
            "facts": {"env": "prod"},
            "reviews": [{"author": "aws:arn:aws:iam::111122223333:user/ana", "verdict": "approve"}],
        },
        {"name": "dev", "requester": "bob", "facts": {"env": "dev"}},
    ]
    expected = ["undecided", "approve", "reject"]
    both = [{**case, "expect": word} for case, word in zip(listed, expected, strict=True)]
    (tmp_path / "deeper").mkdir()
    written(tmp_path / "deeper", "both.test.yml", {"policy": ["../one.yaml", "../two.yaml"], "cases": both})
    assert ran("test", tmp_path).output.endswith("3 passed, 0 failed\n")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("cases: []\n", "cases"),
        ("cases: [\n", "not YAML"),
        ("casse: []\n", 'did you mean "cases"?'),
        ("cases: [{name: a}]\n", "expect: required"),
        ("cases: [{expect: approve}]\n", "name: required"),
        ("cases: [{name: a, expect: yes}]\n", "expect"),
        ("cases: [{name: a, expect: {decison: approve}}]\n", "did you mean"),
        ("cases: [{name: a, expect: approve, review: []}]\n", 'did you mean "reviews"?'),
        ("cases: [{name: a, expect: approve, reviews: [{author: a}]}]\n", "reviews.0.verdict: required"),
        ("cases: [{name: a, expect: approve, now: never}]\n", "must be an instant"),
        ("cases: [{name: a, expect: approve, input: {}}]\n", "is for Rego policies alone"),
        ("policy: none.yaml\ncases: [{name: a, expect: approve}]\n", "can't be read"),
    ],
)
def test_a_file_of_cases_that_makes_no_sense_fails(text: str, words: str, tmp_path: Path) -> None:
    """It is a failure with its reason, and never passes for want of cases."""
    written(tmp_path, "p.yaml", POLICY)
    written(tmp_path, "p.test.yaml", text)
    result = ran("test", tmp_path)
    assert result.exit_code == 1
    assert words in result.output
    assert "0 passed, 1 failed" in result.output


def test_an_unfit_policy_fails_all_its_cases(tmp_path: Path) -> None:
    """Lint's errors included, even where an error is expected."""
    written(tmp_path, "p.yaml", "conditions: {a: {$foo: 1}}\n")
    written(tmp_path, "p.test.yaml", "cases: [{name: a, expect: error}]\n")
    result = ran("test", tmp_path)
    assert result.exit_code == 1
    assert "unknown operator" in result.output


def test_an_error_can_be_expected(tmp_path: Path) -> None:
    """Where it comes of what is asked."""
    written(tmp_path, "p.yaml", "required_approvals: 1\nallow_self_approval: false\n")
    written(tmp_path, "p.test.yaml", "cases: [{name: unknown, expect: {decision: error, reasons: nobody knows who asked}}]\n")
    assert ran("test", tmp_path).exit_code == 0


def test_a_directory_without_cases_is_a_mistake(tmp_path: Path) -> None:
    """No test has passed there."""
    written(tmp_path, "p.yaml", POLICY)
    result = ran("test", tmp_path)
    assert result.exit_code == 1
    assert "has no cases" in result.output


def test_a_file_of_cases_without_its_policy_fails(tmp_path: Path) -> None:
    """With the names that were looked for."""
    written(tmp_path, "lost.test.yaml", GOOD)
    assert "there is no policy lost.yaml or lost.rego beside it" in ran("test", tmp_path).output


def test_files_are_found_below_and_in_order(tmp_path: Path) -> None:
    """All three endings, and nothing else."""
    (tmp_path / "b").mkdir()
    names = ["z.test.yaml", "a.test.json", "b/c.test.yml", "p.yaml", "test.yaml", "x.tests.yaml"]
    for name in names:
        written(tmp_path, name, "")
    assert [str(path.relative_to(tmp_path)) for path in cases.files_in(tmp_path)] == [
        "a.test.json",
        "b/c.test.yml",
        "z.test.yaml",
    ]


def test_names_of_cases_are_told_without_what_moves_a_cursor(tmp_path: Path) -> None:
    """Others wrote them."""
    written(tmp_path, "p.yaml", POLICY)
    written(tmp_path, "p.test.json", json.dumps({"cases": [{"name": "a\x1b[2J", "expect": "undecided"}]}))
    assert "\x1b" not in ran("test", tmp_path).output
