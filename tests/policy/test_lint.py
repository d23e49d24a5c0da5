"""What lint says of policies: errors that make them unfit, warnings of what is seldom meant, each with its place."""

from __future__ import annotations

from pathlib import Path

import pytest

from approval_resource.errors import ConfigError
from approval_resource.policy.authoring.lint import require_no_errors
from approval_resource.policy.language.load import load_text
from tests.policy.asking import ANA, BOB, errors, findings, ran, warnings, written

QUIET = """\
approval_rules:
  - {group: qa, required_approvals: 1}
  - {user: ana}
groups: {qa: [ana, "aws:arn:aws:iam::111122223333:user/bob"]}
people: {ana: ["aws:arn:aws:iam::111122223333:user/ana", "concourse:ana"]}
allow_self_approval: false
windows: [{days: mon-fri, from: 09:00, to: 17:00, tz: Europe/Paris}]
"""

ONE = f"people: {{ana: ['{ANA}'], bob: ['{BOB}'], zoe: ['Zoe of GitHub']}}\n"
UNSATISFIABLE = [
    ("approval_rules: [{group: qa}]\n", "1:18", "group qa has no members here"),
    ("approval_rules:\n  - group: leds\ngroups: {leads: [ana]}\n" + ONE, "2:5", "did you mean leads?"),
    ("approval_rules:\n  - {group: qa, count: 2}\ngroups: {qa: [ana]}\n" + ONE, "2:5", "has 1 member who can approve"),
    ("approval_rules:\n  - {group: qa}\ngroups: {qa: [zoe]}\n" + ONE, "2:5", "has no member who can approve"),
    ("approval_rules: [{user: ana}]\n", "1:18", "user ana is nobody here"),
    ("approval_rules: [{user: zoe}]\n" + ONE, "1:18", "user zoe is nobody here"),
    ("approval_rules: [{user: 'concourse:zoe'}]\nreviewers: {concourse: false}\n", "1:18", "doesn't count here"),
    ("approval_rules: [{user: ana}, {group: g}]\ngroups: {g: [ana]}\n" + ONE, "1:31", "g can't be met together"),
]


@pytest.mark.parametrize(("text", "place", "words"), UNSATISFIABLE, ids=[words for _, _, words in UNSATISFIABLE])
def test_a_rule_that_nobody_can_meet_is_an_error_with_its_place(text: str, place: str, words: str) -> None:
    """Alone, or together with the other rules."""
    told = errors(text, "p.yaml")
    assert len(told) == 1
    assert told[0].startswith(f"p.yaml:{place}: ")
    assert words in told[0]


@pytest.mark.parametrize(
    "more",
    [
        "per_rule: true\n",
        "delegates: [{person: ana, delegate: bob, from: 2026-01-01, until: 2026-12-31}]\n",
    ],
)
def test_rules_that_somebody_can_meet_are_no_error(more: str) -> None:
    """One person for each of two rules, or their delegate for one of them."""
    text = "approval_rules: [{user: ana}, {group: g}]\ngroups: {g: [ana]}\n" + ONE + more
    assert errors(text, "p.yaml") == []


LIKELY = [
    ("required_approvals: 1\ngroups:\n  qa: [ana]\n", "3:3", "ana of group qa is nobody here"),
    ("required_approvals: 1\nbypass: {groups: [ops]}\n", "2:1", "group ops has no members here"),
    ("windows:\n- {days: mon, tz: EST}\n", "2:15", "EST is UTC-05:00 all year, whatever clocks do; write America/New_York"),
    ("windows:\n- {days: mon, tz: MST}\n", "2:15", "write America/Denver"),
    ("windows:\n- {days: mon, tz: HST}\n", "2:15", "write Pacific/Honolulu"),
    ("windows:\n- {days: mon, tz: GMT}\n", "2:15", "write Europe/London"),
    ("windows:\n- {days: mon, tz: Etc/GMT+5}\n", "2:15", "Etc/GMT+5 is UTC-05:00 all year, whatever clocks do: its sign"),
    ("freezes:\n- {from: 2026-01-01, until: 2026-01-02, tz: EST}\n", "2:41", "write America/New_York"),
    ("required_approvals: 1\non_policy_fail: deny\n", "2:1", "this policy has no conditions"),
    ("required_approvals: 1\nconditions: {a: 1}\n", "2:1", "the conditions change nothing"),
    ("required_approvals: 1\nper_rule: true\n", "2:1", "per_rule is about approval_rules"),
    ("required_approvals: 1\nunknown_requester: allow\n", "2:1", "matters only with allow_self_approval"),
    ("required_approvals: 1\nallow_self_approval: false\n", "2:1", "list people"),
]


@pytest.mark.parametrize(("text", "place", "words"), LIKELY, ids=[words for _, _, words in LIKELY])
def test_what_is_seldom_meant_is_a_warning_with_its_place(text: str, place: str, words: str) -> None:
    """It doesn't make the policy unfit."""
    (told,) = warnings(text, "p.yaml")
    assert f"p.yaml:{place}: warning: " in told
    assert words in told
    assert require_no_errors(load_text(text, "p.yaml"))


def test_a_policy_with_nothing_odd_is_not_commented_on() -> None:
    """Rules, groups, people and hours."""
    assert findings(QUIET) == []


def test_one_person_with_two_identities_is_one_member() -> None:
    """Two of a group with one person in it can't be had."""
    two = f"['{ANA}', 'oidc:https://a#b']"
    text = f"approval_rules: [{{group: g, count: 2}}]\ngroups: {{g: {two}}}\npeople: {{a: {two}}}\n"
    assert "has 1 member who can approve" in errors(text, "p.yaml")[0]


def test_conditions_are_told_with_their_place() -> None:
    """Each broken one, in conditions and in a selector."""
    text = "conditions:\n  a: {$foo: 1}\n  b:\n    $in: []\nselector:\n  $where: x\non_policy_success: approve\n"
    found = findings(text)
    assert [finding.place for finding in found] == [(2, 7), (4, 5), (6, 3)]
    assert all(finding.error for finding in found)


def test_what_is_found_comes_by_line() -> None:
    """Errors among warnings, as who reads the file from its top meets them; at one place the error first."""
    text = "approval_rules: [{group: qa}]\nconditions:\n  a: {$foo: 1}\nrequired_approvals: 1\nper_rule: true\n"
    found = findings(text)
    assert [finding.place for finding in found] == sorted(finding.place or (0, 0) for finding in found)
    assert {finding.error for finding in found} == {True, False}


def test_every_error_is_told_and_no_warning_among_them() -> None:
    """A policy that is unfit is refused with all that makes it so."""
    with pytest.raises(ConfigError) as caught:
        require_no_errors(load_text("per_rule: true\nconditions: {a: {$foo: 1}, b: {$bar: 1}}\n", "p.yaml"))
    assert len(caught.value.problems) == 2


# ---- the command -------------------------------------------------------------------------


def test_lint_ends_in_0_where_there_are_only_warnings(tmp_path: Path) -> None:
    """And counts them, file by file."""
    quiet, odd = written(tmp_path, "quiet.yaml", QUIET), written(tmp_path, "odd.yaml", LIKELY[0][0])
    result = ran("lint", quiet, odd)
    assert result.exit_code == 0
    assert f"{quiet}: 0 errors, 0 warnings" in result.output
    assert f"{odd}: 0 errors, 1 warning\n" in result.output


def test_lint_ends_in_1_on_any_error_and_reads_on(tmp_path: Path) -> None:
    """In whichever file it is, one that can't be read included."""
    broken = written(tmp_path, "broken.yaml", "required_approvals: [\n")
    unfit = written(tmp_path, "unfit.yaml", "conditions: {a: {$foo: 1}}\n")
    result = ran("lint", broken, unfit, written(tmp_path, "quiet.yaml", QUIET))
    assert result.exit_code == 1
    assert "broken.yaml:" in result.output
    assert "unfit.yaml:1:" in result.output
    assert "quiet.yaml: 0 errors" in result.output


def test_lint_of_bare_rego_tells_line_and_column(tmp_path: Path) -> None:
    """The file's own."""
    result = ran("lint", written(tmp_path, "p.rego", "package spacelift\n\napprove { true }\n  in { true }\n"))
    assert result.exit_code == 1
    assert "p.rego:4:3: a rule is called in" in result.output


def test_eval_of_an_unfit_policy_ends_in_1_and_says_so_to_programs_too(tmp_path: Path) -> None:
    """It is an error, and never an approval."""
    result = ran(
        "eval", written(tmp_path, "p.yaml", "conditions: {a: {$foo: 1}}\non_policy_success: approve\n"), "--format", "json"
    )
    assert result.exit_code == 1
    assert '"decision": "error"' in result.stdout


def test_eval_without_a_file_shows_what_stands_where_nobody_set_a_policy(tmp_path: Path) -> None:
    """One approval by anyone; one rejection ends it."""
    reviews = written(tmp_path, "r.json", [{"author": "typed:x", "verdict": "approve"}])
    assert "undecided: waiting" in ran("eval").output
    assert "approve: approved" in ran("eval", "--reviews", reviews).output
    assert (
        "reject: rejected"
        in ran("eval", "--reviews", written(tmp_path, "n.json", [{"author": "x", "verdict": "reject"}])).output
    )


@pytest.mark.parametrize(
    ("option", "content", "words"),
    [
        ("--reviews", "{}", "must be a list"),
        ("--reviews", '[{"author": "a"}]', "reviews.0.verdict: required"),
        ("--reviews", '[{"author": "a", "verdict": "maybe"}, {"verdict": "approve"}]', "reviews.1.author: required"),
        ("--reviews", '[{"author": "a", "verdict": "approve", "at": "noon"}]', "must be an instant"),
        ("--facts", "[]", "must be a map"),
        ("--facts", '{"claim": {"requestor": "ana"}}', "did you mean"),
        ("--input", "[]", "must be a map"),
    ],
)
def test_what_is_asked_about_is_checked_as_strictly(option: str, content: str, words: str, tmp_path: Path) -> None:
    """A misspelt fact would make the trial another one."""
    policy = written(tmp_path, "p.rego", "package spacelift\napprove { input.run.id == 1 }\n")
    result = ran("eval", policy, option, written(tmp_path, "given.json", content))
    assert result.exit_code == 1
    assert words in result.output


def test_a_whole_input_is_for_rego_alone(tmp_path: Path) -> None:
    """Other kinds ask for facts and reviews, and both together ask for two things at once."""
    whole = written(tmp_path, "i.json", "{}")
    assert "is for Rego policies alone" in ran("eval", written(tmp_path, "p.yaml", QUIET), "--input", whole).output
    rego = written(tmp_path, "p.rego", "package spacelift\napprove { input.run.id == 1 }\n")
    assert "leave out --facts" in ran("eval", rego, "--input", whole, "--facts", whole).output


# ---- what Rego is seldom meant to say --------------------------------------------------

ASKED = "package spacelift\n\napprove { count(input.reviews.current.approvals) > 0 }\n"


@pytest.mark.parametrize(
    "rule", ["deny[msg] { msg := input.run.id }", "deny { true }", "warn[m] { m := 1 }", "helper := 1", "f(x) { x }"]
)
def test_a_rule_that_decides_nothing_is_told(rule: str) -> None:
    """Such as a deny that somebody thinks rejects; one that an answer asks is not."""
    (told,) = [one for one in warnings(ASKED + rule + "\n", "p.rego") if "decides nothing" in one]
    assert told.startswith("p.rego:4:1: ")
    name = rule.partition("[")[0].partition(" ")[0].partition("(")[0]
    call = f"{name}(1)" if rule.startswith("f(") else name
    assert not any("decides nothing" in one for one in warnings(f"{ASKED}{rule}\nreject {{ {call} }}\n", "p.rego"))


def test_a_misspelt_answer_is_told_with_the_right_one() -> None:
    """It would reject nothing."""
    assert any("did you mean reject?" in one for one in warnings(ASKED + "rejct { true }\n", "p.rego"))


@pytest.mark.parametrize("rule", ["approve", "approve := true", "approve = true", "default approve := true"])
def test_an_answer_that_is_always_true_is_told(rule: str) -> None:
    """It approves everything; one that is always false approves nothing, and isn't said to."""
    told = [warnings(f"package spacelift\n{text}\n", "p.rego") for text in (rule, rule.replace("true", "false"))]
    assert ["approves everything" in " ".join(one) for one in told] == [True, "true" not in rule]


@pytest.mark.parametrize(
    "comparison",
    [
        'input.app.version > "1.9"',
        '"1.9" <= input.app.release',
        'input.app.release < "v1.10.2"',
        "input.app.version >= input.app.old_version",
        "x := input.app.release; x > `2.0`",
        "input.app.version < oldest",
    ],
)
def test_versions_compared_as_text_are_told(comparison: str) -> None:
    """1.10 is less than 1.9 there; semver.compare knows better."""
    text = f'{ASKED}oldest := "1.9"\nreject {{ {comparison}; oldest }}\n'
    assert any(one.startswith("p.rego:5:") and "versions as text" in one for one in warnings(text, "p.rego"))
    better = 'semver.compare(input.app.version, "1.9.0") > 0; input.count > 1; input.text > "b"'
    assert not any("versions as text" in one for one in warnings(f"{ASKED}reject {{ {better} }}\n", "p.rego"))


@pytest.mark.parametrize("operator", ["$gt", "$gte", "$lt", "$lte"])
def test_versions_compared_as_text_by_conditions_are_told(operator: str) -> None:
    """As in Rego."""
    text = f'conditions:\n  app.version: {{{operator}: "1.9"}}\non_policy_fail: deny\n'
    assert any("p.yaml:2:" in one and "versions as text" in one for one in warnings(text, "p.yaml"))
    assert warnings(text.replace('"1.9"', "1.9"), "p.yaml") == []


def test_a_byte_order_mark_is_told_as_what_it_is() -> None:
    """Editors don't show it."""
    assert errors("\ufeff" + ASKED, "p.rego") == [
        "p.rego:1:1: begins with a byte order mark; save the file as UTF-8 without one"
    ]


@pytest.mark.parametrize(
    "text",
    [
        "approve {",
        "approve { x }",
        "approve { true } }",
        'approve = "x" { true }',
        "approve { f(1) }",
        "import data.x\napprove { x.y }",
    ],
)
def test_no_library_shows_its_insides(text: str) -> None:
    """What is said is about the policy, in one line."""
    for one in errors(f"package spacelift\n\n{text}\n", "p.rego"):
        assert "\n" not in one
        assert not any(
            word in one.lower() for word in ("regorus", "stack backtrace", "runtimeerror", "-->", "pydantic", "mgqpy")
        )
