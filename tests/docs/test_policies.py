"""What docs/policies.md says of policies holds: its recipes do what their cases say, its tables are complete, its numbers are right."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from approval_resource.claims import decide as decisions
from approval_resource.claims import review as reviews
from approval_resource.model.claim import MAX_COMMENT, MAX_REVIEWS
from approval_resource.policy import entitlement, unblock
from approval_resource.policy.authoring import cases, trial
from approval_resource.policy.authoring.lint import lint
from approval_resource.policy.facts import OURS, OURS_WITHIN, SCHEMA
from approval_resource.policy.kinds import conditions, inputs, windows
from approval_resource.policy.language import document, load, times
from approval_resource.policy.sandbox import child
from approval_resource.policy.sandbox import parent as sandbox
from approval_resource.policy.sandbox.functions import ALLOWED
from approval_resource.policy.sandbox.rego_lint import INSTEAD
from approval_resource.steps import files
from approval_resource.steps.protocol import Source
from approval_resource.steps.put_params import ClaimParams
from approval_resource.strict_options import MAX_DURATION, MAX_NAME, read_part
from demo.engine import ROOT

PAGE = (ROOT / "docs" / "policies.md").read_text(encoding="utf-8")
RECIPE = re.compile(
    r"^<!-- recipe: ([\w-]+) -->\n```yaml\n(.*?)^```\n\n(?:<details><summary>Cases</summary>\n\n)?```yaml cases\n(.*?)^```\n",
    re.DOTALL | re.MULTILINE,
)


@dataclass(frozen=True)
class Recipe:
    """One policy of the page, with its cases."""

    name: str
    policy: str
    cases: tuple[Mapping[str, Any], ...]


def recipes() -> Iterator[Recipe]:
    """Every recipe of the page, its cases read as `policy test` reads them."""
    for name, policy, told in RECIPE.findall(PAGE):
        listed, _ = load.parse(told, name)
        assert isinstance(listed, list), name
        yield Recipe(name, policy, tuple(listed))


RECIPES = list(recipes())
CASES = [(recipe, case) for recipe in RECIPES for case in recipe.cases]


def section(title: str) -> str:
    """The page's part under that heading, up to the next of the same or a higher rank."""
    found = re.search(rf"^(#+) {re.escape(title)}\n(.*)", PAGE, re.DOTALL | re.MULTILINE)
    assert found, title
    return re.split(rf"^#{{1,{len(found[1])}}} ", found[2], maxsplit=1, flags=re.MULTILINE)[0]


def rows(text: str) -> list[list[str]]:
    """The cells of the tables in `text`, their heads left out."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]
    rules = {number for number, row in enumerate(cells) if set(row[0]) == {"-"}}
    return [row for number, row in enumerate(cells) if number not in rules and number + 1 not in rules]


def named(text: str) -> list[str]:
    """The names in the first column of the tables in `text`."""
    return [name for row in rows(text) for name in re.findall(r"`([^`]+)`", row[0])]


def told(recipe: Recipe) -> str:
    """What the recipe's cases expect, for each the decision alone."""
    return " ".join(one if isinstance(one, str) else one["decision"] for one in (case["expect"] for case in recipe.cases))


@pytest.mark.parametrize("recipe", RECIPES, ids=[recipe.name for recipe in RECIPES])
def test_a_recipe_is_fit_to_copy(recipe: Recipe) -> None:
    """Each recipe loads and neither lint nor anything else finds an error or so much as a warning in it."""
    loaded = load.load_text(recipe.policy, f"{recipe.name}.yaml")
    assert [str(finding) for one in loaded for finding in lint(one)] == []


@pytest.mark.parametrize(
    ("recipe", "case"), CASES, ids=[f"{recipe.name}: {case['name']}".replace(" ", "-") for recipe, case in CASES]
)
def test_a_recipe_does_what_its_case_says(recipe: Recipe, case: Mapping[str, Any], tmp_path: Path) -> None:
    """Each case, run as a file beside the policy by what `policy test` runs, ends as the page says."""
    (tmp_path / "recipe.yaml").write_text(recipe.policy, encoding="utf-8")
    beside = tmp_path / "recipe.test.json"
    beside.write_text(json.dumps({"cases": [case]}), encoding="utf-8")
    [outcome] = cases.run(beside)
    assert outcome.problems == ()


@pytest.mark.parametrize("recipe", RECIPES, ids=[recipe.name for recipe in RECIPES])
def test_a_recipe_shows_both_sides(recipe: Recipe) -> None:
    """Each recipe has a case that approves and one that doesn't."""
    decisions_told = told(recipe).split()
    assert "approve" in decisions_told
    assert {*decisions_told} - {"approve"}


def test_no_policy_on_the_page_goes_untried() -> None:
    """Every block of YAML is a recipe, its cases, or of a kind that another test here reads."""
    kinds = re.findall(r"^```yaml ?(.*)$", PAGE, re.MULTILINE)
    assert {*kinds} == {"", "cases", "params", "resource", "file"}
    assert len(RECIPES) == kinds.count("") == kinds.count("cases") > 14


def test_the_cookbook_s_table_lists_its_recipes() -> None:
    """Each by its heading, in the order of the page."""
    text = section("Cookbook")
    assert re.findall(r"^\| \[(.+)\]\(#", text, re.MULTILINE) == re.findall(r"^### (.+)$", text, re.MULTILINE)


def block(kind: str) -> Any:
    """The one block of that kind, read as YAML."""
    [text] = re.findall(rf"^```yaml {kind}\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
    return load.parse(text, kind)[0]


def test_the_put_on_the_page_is_taken() -> None:
    """The params shown are those of a put that claims, and their policy can be read."""
    params = read_part(ClaimParams, block("params"))
    assert params.need_approval
    assert params.policy is not None
    assert load.load(params.policy, "params.policy")
    read_part(Source, block("resource")["source"])


def test_the_readme_s_policy_is_taken() -> None:
    """The example that the README begins with is fit to copy, too."""
    [text] = re.findall(
        r"^## Policies\n.*?^```yaml\n(.*?)^```$", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE
    )
    assert [str(finding) for one in load.load_text(text, "README.yaml") for finding in lint(one)] == []


def test_the_file_of_cases_on_the_page_passes(tmp_path: Path) -> None:
    """The example of a file for `policy test` passes beside the policy that it names."""
    (tmp_path / "two.yaml").write_text("required_approvals: 2\n", encoding="utf-8")
    beside = tmp_path / "two.test.json"
    beside.write_text(json.dumps(block("file")), encoding="utf-8")
    assert [outcome.problems for outcome in cases.run(beside)] == [(), ()]


# ---- the schema ------------------------------------------------------------------


def options(model: Any) -> set[str]:
    """What the model calls its options."""
    return {field.alias or name for name, field in model.model_fields.items()}


@pytest.mark.parametrize(
    ("title", "model"),
    [
        ("A policy document", document.Policy),
        ("A rule", document.Rule),
        ("A window", document.Window),
        ("A freeze", document.Freeze),
        ("A bypass", document.Bypass),
        ("Reviewers", document.Reviewers),
        ("A delegate", document.Delegate),
        ("An input", document.Input),
        ("A review", trial.Said),
        ("A case", cases.Case),
        ("What is expected", cases.Expected),
        ("The claim of a trial", trial.ClaimFacts),
    ],
)
def test_every_option_has_its_row(title: str, model: Any) -> None:
    """No option of that part is undocumented, and none is documented that isn't there."""
    found = named(section(title))
    assert sorted(found) == sorted(options(model))


def test_defaults_are_those_of_the_code() -> None:
    """Where the table of a policy document gives a default that is a word or a number, it is the default."""
    for name, _, default, _ in rows(section("A policy document")):
        field = document.Policy.model_fields[name.strip("`")]
        value = field.get_default(call_default_factory=True)
        shown = json.dumps(value).strip('"') if isinstance(value, bool | int | str) else ""
        assert default.strip("`") == shown, name


def test_every_part_of_a_policy_has_its_table() -> None:
    """A part that is added to the schema gets a table of its own."""
    parts = {part.__name__ for part in document.Part.__subclasses__()}
    assert parts == {"Policy", "Rule", "Window", "Freeze", "Bypass", "Reviewers", "Delegate", "Input"}


# ---- the input document ------------------------------------------------------------


def leaves(schema: Mapping[str, Any], path: str = "") -> Iterator[str]:
    """Every path of the schema at which a value stands."""
    inner = {name: value for name, value in schema.items() if name != "open"}
    if not inner:
        yield path
    for name, value in inner.items():
        yield from leaves(value, f"{path}[]" if name == "[]" else f"{path}.{name}".lstrip("."))


def opened(schema: Mapping[str, Any], path: str = "") -> Iterator[str]:
    """Every path under which a pipeline may give what it likes."""
    if "open" in schema:
        yield path.replace("?", "")
    for name, value in schema.items():
        if name != "open":
            yield from opened(value, f"{path}[]" if name == "[]" else f"{path}.{name}".lstrip("."))


REVIEW = SCHEMA["reviews"]["older"]["[]"]
SESSION = REVIEW["session"]


def test_every_path_of_the_input_has_its_row() -> None:
    """Rego is told nothing that the table leaves out, and all that is in the table; `?` marks what may be missing."""
    whole = {name: value for name, value in SCHEMA.items() if name != "reviews"}
    whole["run"] = {**SCHEMA["run"], "creator_session?": {}}
    told_ = named(section("The input document").split("\n#### ")[0])
    reviews_told = {"reviews.current.approvals[]", "reviews.current.rejections[]", "reviews.older[]"}
    assert sorted(told_) == sorted({*leaves(whole), *reviews_told})
    assert sorted(named(section("Each review"))) == sorted(leaves({**REVIEW, "session": {}}))
    assert sorted(named(section("Each session"))) == sorted(leaves(SESSION))
    for listed in (*SCHEMA["reviews"]["current"].values(), SCHEMA["reviews"]["older"]):
        assert listed["[]"] == REVIEW
    assert SCHEMA["run"]["creator_session?"] == SESSION


def test_every_open_part_is_told() -> None:
    """Where a pipeline may add facts of its own is said in full."""
    [line] = re.findall(r"^A pipeline may add.*?(?=\n\n)", section("The input document"), re.DOTALL | re.MULTILINE)
    assert sorted(re.findall(r"`([^`]+)`", line)) == sorted({*opened({**SCHEMA, "reviews": {}})} - {""})


def test_what_a_pipeline_can_not_supply_is_told() -> None:
    """Each fact that is left out, whatever a pipeline says, is named."""
    [line] = re.findall(r"^Left out is.*?(?=\n\n)", section("The input document"), re.DOTALL | re.MULTILINE)
    within = {f"{name}.{key}" for name, keys in OURS_WITHIN.items() if name != "build" for key in keys}
    assert sorted(re.findall(r"`([^`]+)`", line)) == sorted({*OURS, *within, "build"})


# ---- operators, built-ins, numbers ---------------------------------------------------


def test_every_operator_has_its_row() -> None:
    """Conditions know the operators in the table and no others."""
    assert sorted(named(section("Conditions"))) == sorted(conditions.OPERATORS)


def test_every_built_in_is_told() -> None:
    """Rego's functions are the ones listed, and those that are refused with a hint are named, too."""
    [listed] = re.findall(r"^```text built-ins\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
    found = set()
    for word in listed.split():
        prefix, brace, names = word.partition("{")
        found |= {prefix + name for name in names.rstrip("}").split(",")} if brace else {word}
    assert found == ALLOWED
    assert [name for name in INSTEAD if f"`{name}`" not in section("Rego")] == []


def number(value: float) -> str:
    """A number as the page writes it."""
    return f"{value:,}"


def test_limits_are_those_of_the_code() -> None:
    """Every number in the table of limits is the constant that the code goes by."""
    mib = 1024 * 1024
    expected = {
        "documents of one claim, or of one pool": number(load.MAX_DOCUMENTS),
        "bytes of them, as they are kept": number(load.MAX_STORED),
        "characters of one policy file": number(load.MAX_TEXT),
        "characters of a file of facts, reviews or input, in JSON": number(load.MAX_DATA),
        "levels and parts of a policy file": f"{load.MAX_DEPTH}, {number(load.MAX_NODES)}",
        "rules, windows, freezes or Rego texts of one document": number(document.MAX_RULES),
        "approvals or rejections that can be asked for": number(document.MAX_PEOPLE),
        "delegates of one document": "100",
        "inputs of one document": number(document.MAX_INPUTS),
        "characters of one value, and of all that one person fills in": f"{inputs.MAX_VALUE}, {number(inputs.MAX_ALL)}",
        "rules that one review may name": number(entitlement.MAX_REPRESENTED),
        "characters of one Rego text": number(document.MAX_REGO),
        "characters of the name of a policy, rule, group or person": number(document.MAX_SHORT_NAME),
        "characters of an identity": number(MAX_NAME),
        "characters of a comment": number(MAX_COMMENT),
        "levels of conditions, and values in one of their lists": f"{conditions.MAX_DEPTH}, {conditions.MAX_LIST}",
        "processor seconds for a Rego text, a document's conditions or a pattern, and for all of one decision": (
            f"{sandbox.CPU_SECONDS:g}, {sandbox.BUDGET_SECONDS:g}"
        ),
        "seconds that one of those is waited for": f"{sandbox.WALL_SECONDS:g}",
        "MiB of memory for it": number(child.MEMORY // mib),
        "characters of its answer": number(child.MAX_ANSWER),
        "days that are looked through for the next window": number(windows.LOOK_AHEAD),
        "days of a duration": number(MAX_DURATION.days),
        "days that holidays come to": number(times.MAX_HOLIDAYS),
        "claims that may pass one freeze of a pool": number(reviews.MAX_PASSES),
        "people whose reviews a claim keeps while it waits": number(MAX_REVIEWS),
        "bytes of facts": number(files.MAX_CONTENT),
        "characters of a decision's reasons on record": number(decisions.MAX_REASON),
        "reviews in one case": number(trial.MAX_TRIAL_REVIEWS),
        "questions that `unblock` asks the policies, and with Rego": (
            f"{number(unblock.MAX_EVALUATIONS)}, {unblock.MAX_REGO_EVALUATIONS}"
        ),
        "sets that `unblock` tells": number(unblock.MAX_SETS),
    }
    assert dict(rows(section("Limits"))) == expected


def test_the_delegates_limit_is_the_schema_s() -> None:
    """The one limit that is no constant of its own."""
    [bound] = [one.max_length for one in document.Policy.model_fields["delegates"].metadata if hasattr(one, "max_length")]
    assert bound == 100


def test_the_time_of_a_case_is_told() -> None:
    """What time it is in a case that doesn't say stands on the page."""
    assert isinstance(cases.BEGINNING, datetime)
    assert f"{cases.BEGINNING:%Y-%m-%dT%H:%M:%SZ}" in section("Testing policies")
    assert [suffix for suffix in cases.SUFFIXES if f"`{suffix}`" not in section("Testing policies")] == []


# ---- where one comes from --------------------------------------------------------------


@pytest.mark.parametrize(
    ("title", "words"),
    [
        (
            "Coming from Spacelift",
            "approve_with_note reject_with_note undecided reviews.current reviews.older author session.login session.name "
            "session.teams session.admin session.machine remote_ip request.timestamp_ns run.id run.state run.type run.created_at "
            "run.creator_session run.command run.branch run.commit run.changes run.runtime_config run.user_provided_metadata "
            "run.flags QUEUED UNCONFIRMED TRACKED PROPOSED TASK TESTING DESTROY stack.name stack.labels stack.branch "
            "stack.administrative stack.worker_pool http.send opa.runtime rego.parse_module time.now_ns trace",
        ),
        (
            "Coming from GitLab",
            "user group access_level required_approvals count required_approval_count represented_as per_rule spill self_approval "
            "255 pending_approval_count approval_summary approvals status deploy_access_levels group_inheritance_type blocked "
            "protected triggered",
        ),
        (
            "Coming from nullplatform",
            "conditions selector on_policy_success on_policy_fail manual deny pending approved auto_approved denied auto_denied "
            "cancelled expired time_to_reply allowed_time_to_execute approve_url deny_url token reviewer message details dry "
            "NRN dimensions is_required can_execute execute criteria result met not_met passed selected nestedEvaluations "
            "policy_context.action Slack checklists informational override $dynamicPattern $elemMatch",
        ),
        (
            "Coming from GitHub environments and Azure DevOps",
            "six self-review timer bypass gates minimum sequence hours latest Harness allowed older Buildkite Jenkins Octopus "
            "responsibility CodePipeline token Tekton policy-bot tree simulation skipped",
        ),
    ],
)
def test_who_comes_from_elsewhere_finds_what_they_know(title: str, words: str) -> None:
    """Every feature that those systems' users know has a row, be it one that says why it isn't here."""
    text = section(title)
    assert [word for word in words.split() if word not in text] == []
    assert [row for row in rows(text) if not all(row)] == []
