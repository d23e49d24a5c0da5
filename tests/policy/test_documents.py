"""Policy files: YAML and JSON without their traps, every problem with its place, and any file at all without a traceback."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from approval_resource.errors import ConfigError
from approval_resource.policy.language.default import DEFAULT
from approval_resource.policy.language.document import Policy
from approval_resource.policy.language.load import MAX_TEXT, load, load_text, parse, stored
from tests.policy.asking import ANA, BOB, ran, written
from tests.policy.making import KINDS


def read(text: str) -> object:
    """The document in the text."""
    return parse(text, "p.yaml")[0]


def refused(text: str, where: str = "p.yaml") -> list[str]:
    """The problems for which the policy file is refused."""
    with pytest.raises(ConfigError) as caught:
        load_text(text, where)
    return list(caught.value.problems)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("18:00", "18:00"),
        ("1:30:00", "1:30:00"),
        ("on", "on"),
        ("off", "off"),
        ("yes", "yes"),
        ("no", "no"),
        ("y", "y"),
        ("010", 10),
        ("0x10", "0x10"),
        ("0o10", "0o10"),
        ("1_000", "1_000"),
        ("2026-12-24", "2026-12-24"),
        ("2026-12-24T09:00:00Z", "2026-12-24T09:00:00Z"),
        ("1.10", 1.1),
        ("1e3", 1000.0),
        (".5", 0.5),
        ("true", True),
        ("FALSE", False),
        ("null", None),
        ("~", None),
        ("", None),
        ("=", "="),
        ("<<", "<<"),
        (".inf", ".inf"),
        (".nan", ".nan"),
        ("'1'", "1"),
        ("!!str 1", "1"),
        ("-7", -7),
    ],
)
def test_yaml_is_read_as_people_mean_it(text: str, value: object) -> None:
    """Times, dates and words stay text; only true, false, null and plain numbers are anything else."""
    found = read(f"a: {text}\n")
    assert found == {"a": value}
    assert isinstance(found, dict)
    assert type(found["a"]) is type(value)


def test_times_of_day_need_no_quotes() -> None:
    """Nor do dates."""
    text = "required_approvals: 1\nwindows: [{from: 09:00, to: 18:00, holidays: [2026-12-24]}]\n"
    (window,) = load_text(text, "p.yaml")[0].policy.windows
    assert (window.from_, window.to, str(window.holidays[0])) == ("09:00", "18:00", "2026-12-24")


PLACED: list[tuple[str, str, str]] = [
    ("required_approvals: 0\n", "1:1", "required_approvals: "),
    ("name: x\nrequired_aprovals: 1\n", "2:1", 'unknown option; did you mean "required_approvals"?'),
    ("approval_rules:\n  - group: a\n    count: many\n", "3:5", "must be a whole number"),
    ("approval_rules:\n  - grup: a\n", "2:5", 'did you mean "group"?'),
    ("required_approvals: 1\nwindows:\n  - form: 09:00\n", "3:5", 'did you mean "from"?'),
    ("required_approvals: 1\nwindows:\n  - days: [mon]\n    tz: Mars\n", "4:5", "must be a time zone"),
    ("required_approvals: 1\nrequired_approvals: 2\n", "2:1", "says required_approvals twice"),
    ("a: &x {b: 1}\nc: *x\n", "1:4", "uses an anchor twice"),
    ("required_approvals: !!python/object:os.system 1\n", "1:21", "unknown tag"),
    ("required_approvals: !secret 1\n", "1:21", "unknown tag"),
    ("? [a]\n: 1\n", "1:3", "a key must be text"),
    ("a: [1\nb: 2\n", "2:2", "not YAML or JSON"),
    ("a: 1\n\tb: 2\n", "2:1", "not YAML or JSON"),
    ("- required_approvals: 1\n- required_approvals: x\n", "2:3", "must be a whole number"),
    ("- required_approvals: 1\n- 7\n", "2:3", "must be a map of rules"),
    ("policy:\n  required_aprovals: 1\n", "2:3", "did you mean"),
    ("name: x\n", "1:1", "asks for nothing"),
    ("7\n", "1:1", "must be a map of rules"),
    ("conditions: {a: 1}\nselector: {}\nrego: 7\n", "3:1", "must be"),
]


@pytest.mark.parametrize(("text", "place", "words"), PLACED, ids=[text for text, _, _ in PLACED])
def test_each_problem_is_told_with_line_and_column(text: str, place: str, words: str) -> None:
    """And, where a name was misspelt, with the nearest one."""
    problems = refused(text)
    assert problems[0].startswith(f"p.yaml:{place}: ")
    assert words in problems[0]


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ('{\n  "required_approvals": 1,\n  "windws": []\n}', "3:3"),
        ('{"required_approvals":\n 0}', "1:2"),
        ('[{"required_approvals": 1},\n {"name": 7}]', "2:3"),
        ('{"required_approvals": 1,\n}', ""),
    ],
)
def test_json_is_told_with_line_and_column_too(text: str, place: str) -> None:
    """What is no JSON may be YAML's shorthand for it."""
    if not place:
        assert load_text(text, "p.json")[0].policy.required_approvals == 1
    else:
        assert refused(text, "p.json")[0].startswith(f"p.json:{place}: ")


def test_what_json_says_twice_is_told_with_its_place() -> None:
    """As in YAML."""
    assert refused('{"required_approvals": 1,\n "required_approvals": 2}', "p.json")[0].startswith("p.json:2:")


def test_what_json_says_twice_is_refused_at_any_depth() -> None:
    """Whoever reads the file may see only the one."""
    assert "twice" in refused('{"required_approvals": 1, "required_approvals": 2}', "p.json")[0]
    assert "twice" in refused('{"rules": [{"a": {"b": 1, "b": 2}}]}', "p.json")[0]
    assert "twice" in refused('{"name": "a", "n\\u0061me": "b"}', "p.json")[0]


def test_all_problems_are_told_at_once() -> None:
    """Of all documents in a file, and of all files."""
    text = "- required_approvals: 0\n  nme: x\n- windows: [{from: 9}]\n  bogus: 1\n"
    problems = refused(text)
    assert len(problems) == 4
    assert [problem.split(":")[1] for problem in problems] == ["1", "2", "3", "4"]


def test_problems_of_all_files_are_told_at_once(tmp_path: Path) -> None:
    """Not one file at a time."""
    files = [written(tmp_path, name, "bogus: 1\n") for name in ("a.yaml", "b.yaml")]
    result = ran("eval", *files)
    assert result.exit_code == 1
    assert "a.yaml:1:1" in result.output
    assert "b.yaml:1:1" in result.output


@pytest.mark.parametrize(
    "text",
    [
        '{"name": "\\ud800", "required_approvals": 1}',
        '{"required_approvals": NaN}',
        '{"required_approvals": Infinity}',
        '{"required_approvals": ' + "9" * 5_000 + "}",
        "required_approvals: " + "9" * 5_000,
        "required_approvals: 1e999",
        "required_approvals: !!int x",
        "required_approvals: !!float ''",
        "a: \x00",
        "a: \x07",
        "--- {}\n--- {}\n",
        "%YAML 9.9\n---\na: 1",
        "",
        "null",
        "[]",
        "{}",
        "[{}]",
        '"text"',
        "@",
        "a: b: c",
        "&a [*a]",
        "*a",
        "a: !<x> b",
        "\ufeff",
    ],
)
def test_a_file_that_is_no_policy_is_refused(text: str) -> None:
    """Each in its own words, none with a traceback."""
    assert refused(text)


def test_a_tag_that_doesnt_fit_its_value_is_refused() -> None:
    """A word that is called true or false, and isn't."""
    assert refused("required_approvals: !!bool maybe")


def test_escapes_in_json_are_read() -> None:
    """A pair of surrogates is one character."""
    assert read('{"a": "\\ud83d\\ude00\\u00fc"}') == {"a": "😀ü"}


LAUGHS = "a: &a [x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]\n" for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)
HUGE: dict[str, Callable[[], str]] = {
    "a billion laughs": lambda: LAUGHS,
    "deep lists": lambda: "a: " + "[" * 10_000 + "]" * 10_000,
    "deep maps": lambda: "a: " + "{b: " * 10_000 + "1" + "}" * 10_000,
    "deep blocks": lambda: "\n".join(f"{' ' * depth}a:" for depth in range(450)),
    "deep dashes": lambda: "- " * 10_000 + "x",
    "deep JSON": lambda: '{"a":' * 10_000 + "1" + "}" * 10_000,
    "JSON of middling depth": lambda: '{"a":' * 500 + "1" + "}" * 500,
    "many keys": lambda: "".join(f"k{number}: 1\n" for number in range(12_000)),
    "a long line": lambda: "name: " + "x" * (MAX_TEXT - 10),
    "too long": lambda: "#" * (MAX_TEXT + 1),
    "too much JSON": lambda: json.dumps(["x" * 100] * 60_000),
    "too many documents": lambda: "- required_approvals: 1\n" * 21,
    "many brackets in JSON": lambda: "[" * 100_000,
    "many quotes": lambda: "'" * 100_000,
    "many anchors": lambda: "".join(f"&a{number} " for number in range(3_000)),
}


@pytest.mark.long
@pytest.mark.parametrize("name", HUGE)
def test_a_huge_file_is_refused_soon(name: str) -> None:
    """Before it takes time or memory that nobody has."""
    text = HUGE[name]()
    begin = time.perf_counter()
    problems = refused(text)
    assert time.perf_counter() - begin < 8
    assert all(len(problem) < 1_000 for problem in problems)


def test_names_that_move_a_cursor_are_told_without_what_does() -> None:
    """A key in a file is shown to whoever lints it."""
    (problem,) = refused('"\\e[2Jx": 1\nrequired_approvals: 1\n')
    assert "\x1b" not in problem


def test_a_map_under_policy_is_a_policy() -> None:
    """As it stands in a pipeline's params."""
    assert load_text("policy: {required_approvals: 2}", "p.yaml")[0].policy.required_approvals == 2
    assert len(load_text("policy: [{required_approvals: 2}, {required_approvals: 1}]", "p.yaml")) == 2


def test_the_digest_is_of_what_was_written() -> None:
    """YAML and JSON of the same meaning have one digest, another meaning has another."""
    one = load_text("required_approvals: 2\nname: x\n", "a.yaml")[0]
    same = load_text('{"name": "x", "required_approvals": 2}', "b.json")[0]
    assert one.digest == same.digest
    assert one.digest != load_text("required_approvals: 3\nname: x\n", "a.yaml")[0].digest


def test_what_is_kept_is_read_as_what_was_written() -> None:
    """Under the name of its file where it had none."""
    loaded = load_text("- required_approvals: 2\n- rego: 'package spacelift'\n  name: ours\n", "p.yaml")
    again = load(json.loads(stored(loaded)), "kept")
    assert [one.policy.model_dump(exclude={"name"}) for one in again] == [
        one.policy.model_dump(exclude={"name"}) for one in loaded
    ]
    assert [one.name for one in again] == ["p.yaml[0]", "ours"]


def test_more_than_is_kept_is_refused() -> None:
    """With the sizes."""
    with pytest.raises(ConfigError, match="at most 20 documents and 32768 bytes are kept"):
        stored(load({"required_approvals": 1, "rego": ["package spacelift #" + "x" * 40_000]}, "p"))


# ---- any document ------------------------------------------------------------------------

FACTS = {"env": "prod", "a": {"b": [1, {"c": None}]}, "build": {"metadata": {"coverage": 80}}, "claim": {"requester": "ana"}}
REVIEWS = [
    {"author": ANA, "verdict": "approve", "groups": ["qa"], "inputs": {"v": "true"}},
    {"author": BOB, "verdict": "approve", "groups": ["leads"]},
]


def tried(kind: str, count: int, directory: Path) -> dict[int, int]:
    """Lint and try so many documents of a kind; how often each ended in which exit code."""
    facts, reviews = written(directory, "facts.json", FACTS), written(directory, "reviews.json", REVIEWS)
    ended = {0: 0, 1: 0}
    for number in range(count):
        made = KINDS[kind](random.Random(f"{kind} {number}"))  # noqa: S311 - the same each time
        text = made if isinstance(made, str) else json.dumps(made) if number % 2 else yaml.safe_dump(made, allow_unicode=True)
        file = written(directory, "p.yaml" if number % 3 else "p.json", text)
        linted = ran("lint", file)
        result = ran("eval", file, "--facts", facts, "--reviews", reviews, "--now", "2026-11-21T12:00:00Z", "--format", "json")
        assert linted.exit_code == result.exit_code, text
        assert json.loads(result.stdout)["decision"] in ("approve", "reject", "undecided", "error"), text
        ended[linted.exit_code] += 1
    return ended


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "rego"])
@pytest.mark.long
def test_any_document_is_taken_or_refused(kind: str, tmp_path: Path) -> None:
    """Two hundred of each kind, right and spoilt: an answer or a list of problems, and lint and eval agree on which."""
    ended = tried(kind, 200, tmp_path)
    assert ended[1] > 0
    assert ended[0] > 0 or kind == "junk"


@pytest.mark.parametrize("count", [20, pytest.param(200, marks=pytest.mark.long)])
def test_any_rego_document_is_taken_or_refused(count: int, tmp_path: Path) -> None:
    """The same, in a process each."""
    ended = tried("rego", count, tmp_path)
    assert min(ended.values()) > 0


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    """Bytes that are no UTF-8."""
    file = tmp_path / "p.yaml"
    file.write_bytes(b"\xff\xfe\x00a")
    result = ran("lint", file)
    assert result.exit_code == 1
    assert "is no text in UTF-8" in result.output


def test_the_policy_where_nobody_set_one_is_a_document_of_one_approval() -> None:
    """It is made without pydantic, and is in each option what pydantic would have made."""
    document = Policy(name="default", required_approvals=1)
    for name in Policy.model_fields:
        own, meant = getattr(DEFAULT, name), getattr(document, name)
        assert (list(own) if isinstance(meant, list) else own) == meant, name
    assert not {name for name in vars(type(DEFAULT)) if not name.startswith("__")} - set(Policy.model_fields)


@pytest.mark.parametrize("name", ["p.yaml", "p.json"])
def test_a_byte_order_mark_is_no_part_of_a_policy(name: str, tmp_path: Path) -> None:
    """Some editors write one before everything else."""
    file = tmp_path / name
    file.write_bytes(b"\xef\xbb\xbf" + b'{"required_approvals": 1}')
    assert ran("lint", file).exit_code == 0
    assert ran("eval", file).exit_code == 0
