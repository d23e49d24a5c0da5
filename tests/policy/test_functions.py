"""The functions of a Rego text: those that are listed are there, and one that fails never opens a gate."""

from __future__ import annotations

import json
from typing import Any

import pytest

from approval_resource.policy.sandbox import functions, go_format
from tests.policy.asking import approval, asked, errors, policy, says, verdict, warnings, why

HEAD = "package spacelift\n"
VALID = {
    "s": '"a"',
    "n": "1",
    "i": "1",
    "u": "1",
    "a": "[1]",
    "o": '{"a": 1}',
    "t": "{1}",
    "c": "[1]",
    "k": "[1]",
    "S": '["a"]',
    "N": "[1]",
    "T": "{{1}}",
    "O": '[{"a": 1}]',
    "p": '"a"',
    "v": '"1.0.0"',
    "r": '"10.0.0.0/8"',
    "b": "1",
    "x": "1",
}
GIVEN = {
    "base64.decode": ['"YQ=="'],
    "base64url.decode": ['"YQ=="'],
    "cast_boolean": ["true"],
    "cast_null": ["null"],
    "format_int": ["1", "10"],
    "glob.match": ['"a"', '["."]', '"a"'],
    "graph.reachable": ['{"a": ["b"], "b": []}', '["a"]'],
    "graph.reachable_paths": ['{"a": ["b"], "b": []}', '["a"]'],
    "hex.decode": ['"61"'],
    "json.filter": ['{"a": 1}', '["a"]'],
    "json.remove": ['{"a": 1}', '["a"]'],
    "json.unmarshal": ['"1"'],
    "net.cidr_expand": ['"10.0.0.0/30"'],
    "object.filter": ['{"a": 1}', '["a"]'],
    "object.remove": ['{"a": 1}', '["a"]'],
    "object.subset": ['{"a": 1}', '{"a": 1}'],
    "print": ['"a"'],
    "regex.template_match": ['"urn:{a}"', '"urn:a"', '"{"', '"}"'],
    "sprintf": ['"%d"', "[1]"],
    "strings.any_prefix_match": ['"a"', '"a"'],
    "strings.any_suffix_match": ['"a"', '"a"'],
    "strings.replace_n": ['{"a": "b"}', '"a"'],
    "substring": ['"abc"', "1", "1"],
    "time.clock": ["1"],
    "time.diff": ["1", "2"],
    "time.parse_duration_ns": ['"1h"'],
    "time.parse_ns": ['"2006-01-02"', '"2024-01-02"'],
    "time.parse_rfc3339_ns": ['"2024-01-02T03:04:05Z"'],
    "units.parse": ['"1K"'],
    "units.parse_bytes": ['"1KB"'],
    "urlquery.decode_object": ['"a=b"'],
    "urlquery.encode_object": ['{"a": "b"}'],
    "regex.replace": ['"a"', '"a"', '"b"'],
}
"""Arguments that each function takes, where those by its types don't do."""


def call(name: str, *given: str) -> str:
    """A call that works, unless told otherwise."""
    return f"{name}({', '.join(given or GIVEN.get(name) or [VALID[letter] for letter in functions.SIGNATURES[name]])})"


@pytest.mark.parametrize("name", sorted(functions.ALLOWED))
@pytest.mark.long
def test_every_function_that_is_listed_is_there(name: str) -> None:
    """It can be called, in Rego v0 and v1, and gives something."""
    got = f"count([x | x := {call(name)}]) == 1" if name != "walk" else "walk(1, [[], 1])"
    assert errors(f"{HEAD}approve {{ {got} }}") == []
    assert says(f"{HEAD}approve {{ {got} }}\n") == "approve"
    assert says(f"{HEAD}import rego.v1\napprove if {got}\n") == "approve"


@pytest.mark.parametrize(
    "name",
    [
        "crypto.md5",
        "crypto.sha256",
        "json.patch",
        "net.cidr_intersects",
        "net.cidr_merge",
        "regex.globs_match",
        "strings.render_template",
        "nosuch",
        "net.lookup_ip_addr",
        "uuid.rfc4122",
        "io.jwt.decode",
        "http.send",
        "providers.aws.sign_req",
    ],
)
def test_every_other_function_is_refused_whether_it_is_reached_or_not(name: str) -> None:
    """Where the sample never comes, too."""
    assert any(f"calls {name}" in one for one in errors(f"{HEAD}approve {{ 1 == 2; {name}(1) }}"))
    assert any(f"calls {name}" in one for one in errors(f"{HEAD}approve {{ true }}\nf(x) {{ not {name}(x) }}"))


@pytest.mark.parametrize(
    ("text", "words"), [("count(1, 2, 3)", "takes 1"), ("startswith(1)", "takes 2"), ("re_match(1, 2, x)", "write x :=")]
)
def test_a_call_with_another_number_of_arguments_is_refused(text: str, words: str) -> None:
    """The engine would find out only when it gets there."""
    assert any(words in one for one in errors(f"{HEAD}approve {{ 1 == 2; {text} }}"))


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("any([false, true])", True),
        ("any([])", False),
        ("all([true, true])", True),
        ("all([true, false])", False),
        ("all([])", True),
        ('re_match("^a", "ab")', True),
        ('re_match("^b", "ab")', False),
        ("array_concat([1], [2]) == [1, 2]", True),
        ("cast_set([1, 1]) == {1}", True),
        ("cast_array({2, 1}) == [1, 2]", True),
        ("set_diff({1, 2}, {1}) == {2}", True),
        ("and({1, 2}, {1}) == {1}", True),
        ("or({2}, {1}) == {1, 2}", True),
        ("plus(1, 2) == 3", True),
        ("minus(3, 2) == 1", True),
        ("minus({1, 2}, {2}) == {1}", True),
        ("(1 + 2) * (3 - 1) == 6", True),
        ("7 % 4 / 3 == 1", True),
        ("10 - 2 - 3 == 5", True),
        ("{1, 2} - {2} == {1}", True),
        ('count("abc") + count([1]) * 2 == 5', True),
        ('to_number("12") - 2 == 10', True),
        ("to_number(null) == 0", True),
    ],
)
def test_functions_and_sums_say_what_they_do_in_opa(text: str, holds: bool) -> None:
    """Those that the engine has, and those it hasn't, in both versions."""
    expected = "approve" if holds else "undecided"
    assert says(f"{HEAD}approve {{ {text} }}\n") == expected
    assert says(f"{HEAD}import rego.v1\napprove if {text}\n") == expected


# ---- what fails ---------------------------------------------------------------------

FAILING = {
    **{
        name: call(name, "null", *["null"] * (len(functions.SIGNATURES[name]) - 1))
        for name, signature in functions.SIGNATURES.items()
        if set(signature) - {"x", "*"}
    },
    "a number that is none": 'to_number("n/a")',
    "a division by nothing": "1 / input.zero",
    "a remainder of nothing": "1 % input.zero",
    "a sum with nothing": "1 + null",
    "a product with a list": "2 * [1]",
    "a difference of unlikes": "{1} - 1",
    "a time that is none": 'time.parse_rfc3339_ns("2024-13-99T00:00:00Z")',
    "a duration that is none": 'time.parse_duration_ns("long")',
    "JSON that is none": 'json.unmarshal("{")',
    "a pattern that is none": 'regex.match("(", "a")',
    "a version that is none": 'semver.compare("1", "2")',
    "base64 that is none": 'base64.decode("?")',
    "an amount that is none": 'units.parse("many")',
    "a clock of text": 'time.clock("noon")',
    "a place before the first": 'substring("abc", -1, 2)',
    "an argument that fails": 'startswith(substring("abc", -1, 2), "a")',
}


@pytest.mark.parametrize("what", FAILING)
@pytest.mark.long
def test_a_call_that_fails_is_undefined_where_that_holds_an_approval_back(what: str) -> None:
    """As in OPA: the rule doesn't hold, and another one does without it."""
    text = (
        f"{HEAD}approve if count([1]) == {FAILING[what]}\nhelper := x if {{ x := {FAILING[what]} }}\napprove if helper == 1\n"
    )
    given = {"zero": 0, "reviews": {"current": {"approvals": [], "rejections": []}}}
    assert says(text, given) == "undecided"
    assert says(text + "approve if 1 == 1\n", given) == "approve"
    assert says(f"{HEAD}approve {{ x := {FAILING[what]}; x != 7 }}\napprove {{ true }}\n", given) == "approve"


OPENING = {
    "reject": "approve if 1 == 1\nreject if {} == 7",
    "a note of a rejection": 'approve if 1 == 1\nreject_with_note contains "n" if {} == 7',
    "what a rejection asks": "approve if 1 == 1\nreject if bad\nbad if {} == 7",
    "not": "approve if not {} == 7",
    "what not asks": "approve if not bad\nbad if {} == 7",
    "what a function under not asks": "approve if not bad(1)\nbad(_) if worse\nworse if {} == 7",
    "every": "approve if {{ every i in [1] {{ i != {} }} }}",
    "a count": "approve if count([1 | {} == 7]) == 0",
    "a set that is counted": "approve if count(bads) == 0\nbads contains 1 if {} == 7",
    "an object that is counted": "approve if count(bads) == 0\nbads[1] := 2 if {} == 7",
    "else": "approve if ok\nok := false if {} != 7 else := true",
    "a part that is counted": "approve if count(bads) == 0\nbads.one := 1 if {} == 7",
    "the other value": "approve := false if {} != 7\napprove := true if 1 == 1",
    "the other value of a function": 'approve if f(1) == "no"\nf(_) := "yes" if {} != 7\nf(_) := "no" if 1 == 1',
    "a default": "approve if not_bad\ndefault not_bad := true\nnot_bad := false if {} != 7",
}


@pytest.mark.parametrize("where", OPENING)
@pytest.mark.parametrize(
    "what", ["to_number", "a number that is none", "a division by nothing", "startswith", "a time that is none"]
)
def test_where_it_could_open_a_gate_it_is_an_error(what: str, where: str) -> None:
    """It names the function, what it was given, and the line."""
    failing = FAILING.get(what, 'to_number("n/a")')
    text = f"{HEAD}\n" + OPENING[where].format(failing) + "\n"
    result = verdict(text, {"zero": 0}).result
    assert result.answer.value == "error"
    line = next(number for number, one in enumerate(text.splitlines(), start=1) if failing in one)
    assert f"line {line}: " in result.sentence
    name = failing.partition("(")[0] if "(" in failing else "/"
    assert name in result.sentence
    assert (
        ("null" in result.sentence)
        or ("n/a" in result.sentence)
        or ("1 / 0" in result.sentence)
        or "2024-13" in result.sentence
    )


def test_lint_warns_of_a_call_that_would_be_an_error() -> None:
    """On what a pipeline gives, and where it could open something; not elsewhere."""
    loud = warnings(f'{HEAD}\napprove if not startswith(input.run.branch, "release/")\n')
    assert any(one.startswith("policy.rego:3:") and "startswith fails" in one for one in loud)
    quiet = warnings(f'{HEAD}approve if {{ startswith(input.run.branch, "x"); count(input.reviews.current.approvals) > 0 }}\n')
    assert not any("fails" in one for one in quiet)


def test_a_failing_call_takes_nothing_from_a_persons_approval() -> None:
    """A fact that is null meets no rule; people are heard all the same."""
    text = f'{HEAD}approve if startswith(input.ticket, "OPS-")\napprove if count(input.reviews.current.approvals) > 0\n'
    assert why(asked(policy(rego=text), approval("aws:ann"), given={"ticket": None})) == "the Rego policy approves"


# ---- sprintf --------------------------------------------------------------------------

WRITTEN: list[tuple[str, list[Any], str]] = [
    ("%d", [12], "12"),
    ("%d", [12.5], "%!d(float64=12.5)"),
    ("$%d of $%d", [1, 2], "$1 of $2"),
    ("%5d|%-5d|%05d|%+d", [42, 42, 42, 42], "   42|42   |00042|+42"),
    ("%05d", [-42], "-0042"),
    ("%x %X %o %b", [255, 255, 8, 5], "ff FF 10 101"),
    ("%v %v %v", [1, 1.5, "a"], "1 1.5 a"),
    ("%v %v %v", [True, None, []], "true null []"),
    ("%v", [["a", 1, {"b": None}]], '["a", 1, {"b": null}]'),
    ("%v", [1e-7], "1e-07"),
    ("%s|%8s|%-8s|%.2s", ["abc", "abc", "abc", "abc"], "abc|     abc|abc     |ab"),
    ("%s", [True], "true"),
    ("%s", [["a"]], '["a"]'),
    ("%q", ['a"b\n'], '"a\\"b\\n"'),
    ("%t", [True], "%!t(string=true)"),
    ("%6.2f|%.0f|%f", [3.14159, 2.5, 0.5], "  3.14|2|0.500000"),
    ("%e", [1234.5], "1.234500e+03"),
    ("%x", ["hi"], "6869"),
    ("100%%", [], "100%"),
    ("%d", [], "%!d(MISSING)"),
    ("a", ["b"], "a%!(EXTRA string=b)"),
    ("%", [], "%!(NOVERB)"),
    ("%d", ["a"], "%!d(string=a)"),
    ("%f", ["a"], "%!f(string=a)"),
    ("ü%s", ["日本"], "ü日本"),
]


@pytest.mark.parametrize(("form", "values", "text"), WRITTEN)
def test_sprintf_writes_what_go_writes(form: str, values: list[Any], text: str) -> None:
    """In a note, as people read it."""
    given = {"form": form, "values": values}
    said = verdict(f"{HEAD}approve_with_note contains sprintf(input.form, input.values) if true\n", given)
    assert said.notes == (" ".join(text.split("\n")),)


@pytest.mark.parametrize(
    ("form", "values"),
    [
        ("%#v", ["a"]),
        ("%*d", [1, 2]),
        ("%[1]d", [1]),
        ("%T", [1]),
        ("%c", [65]),
        ("%U", [65]),
        ("%s", [1]),
        ("%t", [1]),
        ("%f", [1]),
        ("%d", [1e300]),
        ("%d", [12345678901234567890123]),
        ("%9999d", [1]),
        ("%05s", ["a"]),
        ("%8d", ["a"]),
        ("% x", ["a"]),
        ("%.3d", [1]),
        ("%q", [65]),
        ("a", [1]),
    ],
)
def test_what_go_might_write_otherwise_is_an_error(form: str, values: list[Any]) -> None:
    """It names sprintf, and approves nothing."""
    text = f"{HEAD}approve_with_note contains sprintf(input.form, input.values) if true\n"
    result = verdict(text, {"form": form, "values": values}).result
    assert result.answer.value == "error"
    assert "line 2: sprintf: " in result.sentence
    assert "regorus" not in result.sentence


def test_a_set_within_a_list_is_an_error_and_a_set_is_written() -> None:
    """JSON, in which the values come, knows no sets."""
    assert verdict(HEAD + 'approve_with_note contains sprintf("%v", [{2, 1}]) if true\n').notes == ("{1, 2}",)
    assert says(HEAD + 'approve_with_note contains sprintf("%v", [[{1}]]) if true\n') == "error"


@pytest.mark.parametrize("form", ["%#v", "%T", "%[1]d"])
def test_lint_warns_of_a_format_that_is_an_error(form: str) -> None:
    """Before anybody waits for it."""
    assert any("sprintf: " in one for one in warnings(f'{HEAD}approve_with_note contains sprintf("{form}", [1]) if true\n'))


def test_lint_warns_of_values_that_dont_fit_the_format() -> None:
    """Their number is seen at once."""
    assert any(
        "2 values, and 1" in one for one in warnings(f'{HEAD}approve_with_note contains sprintf("%s %s", ["a"]) if true\n')
    )


def test_the_format_of_every_number_is_a_number() -> None:
    """Read back it is the same."""
    for number in (0.1, 1.5, 1e-5, 123456.789, 1e14 + 0.5):
        assert float(go_format.sprintf("%v", json.dumps([["number", number]]))) == number
