"""The checker of pipelines objects to what Concourse would, wherever it stands; and the pages' pipelines can be set and run."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from demo.engine import ROOT
from tests.docs.pipeline import HOOKS, JOB, RESOURCE, RESOURCE_TYPE, STEPS, objections, steps_of

Step = dict[str, Any]
Pipeline = dict[str, Any]
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])
TASK: Step = {"platform": "linux", "run": {"path": "ci/run.sh"}, "inputs": [{"name": "ci"}], "outputs": [{"name": "made"}]}
PUT: Step = {"put": "gate", "resource": "approval", "inputs": [], "params": {"action": "claim", "lock_name": "x"}}


def sound(*steps: Step, **job: Any) -> Pipeline:
    """A pipeline without a fault whose second job runs these steps after it has got `ci` and `claim`."""
    first: list[Step] = [{"get": "ci"}, {"put": "approval", "inputs": [], "params": {"action": "claim", "lock_name": "x"}}]
    got: list[Step] = [{"get": "ci"}, {"get": "claim", "resource": "approval", "passed": ["first"], "trigger": True}]
    return {
        "resource_types": [{"name": "approval", "type": "registry-image", "source": {"repository": "registry.example/a"}}],
        "resources": [
            {"name": "approval", "type": "approval", "source": {"pool": "x"}},
            {"name": "ci", "type": "git", "source": {"uri": "https://git.example/ci.git"}},
        ],
        "jobs": [
            {"name": "first", "plan": first},
            {"name": "second", "plan": got + copy.deepcopy(list(steps)), **copy.deepcopy(job)},
        ],
    }


def found(pipeline: Pipeline) -> list[str]:
    """The objections to it as it would stand in a file."""
    return objections(yaml.safe_dump(pipeline))


def in_hook(hook: str) -> Callable[[Step], Pipeline]:
    """Puts a step into that hook of a step."""
    return lambda step: sound(PUT | {hook: step})


PLACES: dict[str, Callable[[Step], Pipeline]] = {
    "plan": sound,
    "do": lambda step: sound({"do": [step]}),
    "do in do": lambda step: sound({"do": [{"do": [step]}]}),
    "try": lambda step: sound({"try": step}),
    "in_parallel": lambda step: sound({"in_parallel": [step]}),
    "in_parallel with steps": lambda step: sound({"in_parallel": {"limit": 1, "steps": [step]}}),
    "across": lambda step: sound({"across": [{"var": "region", "values": ["a", "b"]}]} | step),
    "do across": lambda step: sound({"do": [step], "across": [{"var": "region", "values": ["a"]}], "fail_fast": True}),
    "hook in hook": lambda step: sound(PUT | {"ensure": {"try": PUT | {"on_error": step}}}),
    **{hook: in_hook(hook) for hook in HOOKS},
}
"""Where a step may stand, after gets of `ci` and `claim`."""

SOUND: dict[str, Step] = {
    "get": {"get": "another", "resource": "approval", "passed": ["first"], "version": "every", "params": {}},
    "put": PUT | {"attempts": 2, "timeout": "1h30m", "get_params": {"need_approval": True}},
    "put of what is there": PUT | {"inputs": ["claim"], "params": {"action": "await", "from": "claim"}},
    "put that detects": PUT
    | {"inputs": "detect", "params": {"attach": {"a": "ci/a"}, "policy_file": ["ci/p.yml", "ci/q.rego"]}},
    "task of a file": {"task": "deploy", "file": "ci/deploy.yml", "image": "ci"},
    "task": {"task": "deploy", "config": TASK, "input_mapping": {"ci": "claim"}},
    "task and what it makes": {"do": [{"task": "make", "config": TASK}, {"task": "use", "file": "made/task.yml"}]},
    "load_var": {"load_var": "x", "file": "ci/x"},
    "set_pipeline": {"set_pipeline": "self", "file": "ci/pipeline.yml", "var_files": ["ci/vars.yml"]},
}

BROKEN: dict[str, tuple[Step, str]] = {
    "get of nothing known": ({"get": "cii"}, "unknown resource cii"),
    "put to nothing known": ({"put": "approvals", "inputs": []}, "unknown resource approvals"),
    "resource of nothing known": (PUT | {"resource": "approvals"}, "unknown resource approvals"),
    "get twice": ({"get": "ci"}, "duplicate name"),
    "put without inputs": ({"put": "approval", "params": {"action": "release"}}, "inputs: missing"),
    "put with odd inputs": (PUT | {"inputs": "none"}, "inputs: missing"),
    "input that nobody brings": (PUT | {"inputs": ["plan"]}, "unknown artifact plan"),
    "path that isn't handed over": (PUT | {"params": {"from": "claim"}}, "claim is not among the put's inputs"),
    **{
        f"{key} that nobody brings": (PUT | {"inputs": "detect", "params": {key: value}}, "unknown artifact plan")
        for key, value in {
            "from": "plan",
            "file": "plan/a",
            "attach": {"a": "plan/a"},
            "attach_digest": {"b": "ci/b", "a": "plan/a"},
            "verify": {"a": "plan/a"},
            "payload_file": "plan/a",
            "policy_file": ["ci/p.yml", "plan/p.rego"],
            "facts_file": "plan/a",
        }.items()
    },
    "trigger on a put": (PUT | {"trigger": True}, "unknown key trigger"),
    "passed on a put": (PUT | {"passed": ["first"]}, "unknown key passed"),
    "passed an unknown job": ({"get": "x", "resource": "approval", "passed": ["frist"]}, "passed: unknown job frist"),
    "passed no list": ({"get": "x", "resource": "approval", "passed": "first"}, "passed: must be a list"),
    "passed nothing": ({"get": "x", "resource": "approval", "passed": []}, "passed: must be a list"),
    "trigger in words": ({"get": "x", "resource": "ci", "trigger": "yes please"}, "trigger: must be true or false"),
    "version of no kind": ({"get": "x", "resource": "ci", "version": "newest"}, "version: must be"),
    "task file that nobody brings": ({"task": "t", "file": "repo/deploy.yml"}, "unknown artifact repo"),
    "task file outside": ({"task": "t", "file": "deploy.yml"}, "no path of a file in an artifact"),
    "task without a config": ({"task": "t"}, "needs either file or config"),
    "task with two": ({"task": "t", "file": "ci/t.yml", "config": TASK}, "needs either file or config"),
    "task input that nobody brings": ({"task": "t", "config": TASK | {"inputs": [{"name": "plan"}]}}, "unknown artifact plan"),
    "task input mapped to nothing": ({"task": "t", "config": TASK, "input_mapping": {"ci": "plan"}}, "unknown artifact plan"),
    "mapped input of a file": ({"task": "t", "file": "ci/t.yml", "input_mapping": {"x": "plan"}}, "unknown artifact plan"),
    "task image that nobody brings": ({"task": "t", "file": "ci/t.yml", "image": "rootfs"}, "unknown artifact rootfs"),
    "task config without run": ({"task": "t", "config": {"platform": "linux"}}, "has no run"),
    "task config without platform": ({"task": "t", "config": {"run": {"path": "x"}}}, "has no platform"),
    "task config with an odd key": ({"task": "t", "config": TASK | {"output": []}}, "unknown key output"),
    "what a task made elsewhere": (
        {"do": [{"task": "t", "config": TASK, "output_mapping": {"made": "plan"}}, {"task": "u", "file": "made/u.yml"}]},
        "unknown artifact made",
    ),
    "what a try may not bring": (
        {"do": [{"try": {"get": "x", "resource": "ci"}}, {"task": "t", "file": "x/t.yml"}]},
        "artifact x may be missing",
    ),
    "what a parallel step brings": (
        {"in_parallel": [{"get": "x", "resource": "ci"}, {"task": "t", "file": "x/t.yml"}]},
        "unknown artifact x",
    ),
    "what an across keeps": (
        {
            "do": [
                {"get": "x", "resource": "ci", "across": [{"var": "v", "values": [1]}]},
                {"task": "t", "file": "x/t.yml"},
            ]
        },
        "unknown artifact x",
    ),
    "no step": ({"name": "x"}, "not one step"),
    "two steps": ({"get": "x", "resource": "ci", "put": "approval", "inputs": []}, "not one step"),
    "attempts of none": (PUT | {"attempts": 0}, "attempts: must be"),
    "attempts in words": (PUT | {"attempts": "two"}, "attempts: must be"),
    "timeout without a unit": (PUT | {"timeout": "90"}, "timeout: 90 is no duration"),
    "across nothing": (PUT | {"across": []}, "across: each entry"),
    "across without values": (PUT | {"across": [{"var": "x"}]}, "across: each entry"),
    "load_var of nothing": ({"load_var": "x"}, "no path of a file"),
    "set_pipeline of nothing known": ({"set_pipeline": "x", "file": "repo/p.yml"}, "unknown artifact repo"),
    "a variable": (PUT | {"params": {"lock_name": "((lock))"}}, "((lock)): has no value"),
    **{
        f"a misspelt key of {kind}": (
            next(step for step in SOUND.values() if kind in step) | {"inputz": []},
            "unknown key inputz",
        )
        for kind in ("get", "put", "task", "load_var", "set_pipeline", "do")
    },
    "a misspelt key of in_parallel": ({"in_parallel": {"steps": [PUT], "fail_fats": True}}, "unknown key fail_fats"),
    **{f"a misspelt {hook}": (PUT | {f"{hook}s": PUT}, f"unknown key {hook}s") for hook in HOOKS},
}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("name", SOUND)
def test_a_sound_step_is_taken_anywhere(name: str, place: str) -> None:
    """The checker has nothing against what Concourse takes."""
    assert found(PLACES[place](SOUND[name])) == []


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_step_is_objected_to_anywhere(name: str, place: str) -> None:
    """At the top, in any step that holds others and in each hook, told with its place, and nothing else is."""
    step, told = BROKEN[name]
    problems = found(PLACES[place](step))
    assert problems
    assert all(told in problem for problem in problems)
    assert all(problem.startswith(("jobs.second.plan[2]", "((")) for problem in problems)


def test_fail_fast_belongs_to_across() -> None:
    """Elsewhere Concourse doesn't know it."""
    assert found(sound(PUT | {"fail_fast": True})) == ["jobs.second.plan[2].put(gate): unknown key fail_fast"]


@pytest.mark.parametrize("hook", HOOKS)
@pytest.mark.parametrize("inputs", [["claim"], "detect"])
def test_a_job_s_hook_finds_what_is_certain(hook: str, inputs: object) -> None:
    """After a failure nothing need be there: a put that names an input then fails before it does anything, one that detects runs."""
    problems = found(sound(**{hook: PUT | {"inputs": inputs, "params": {"action": "release", "from": "claim"}}}))
    if hook == "on_success" or inputs == "detect":
        assert problems == []
    else:
        assert all("artifact claim may be missing" in problem for problem in problems)
        assert len(problems) == 2


def without(pipeline: Pipeline, section: str, number: int, key: str) -> Pipeline:
    """The pipeline without one key of one entry."""
    del pipeline[section][number][key]
    return pipeline


def with_(pipeline: Pipeline, section: str, number: int, **keys: Any) -> Pipeline:
    """The pipeline with other keys in one entry."""
    pipeline[section][number] |= keys
    return pipeline


UNMET: Step = {"get": "x", "resource": "approval", "passed": ["second"]}
WHOLES: dict[str, tuple[Pipeline, str]] = {
    "no jobs": ({"resources": []}, "jobs: a pipeline has at least one"),
    "an unknown type": (with_(sound(), "resources", 0, type="aproval"), "resources.approval: unknown resource type aproval"),
    "a type of an unknown type": (
        with_(sound(), "resource_types", 0, type="registry"),
        "resource_types.approval: unknown resource type registry",
    ),
    "no resource types": (
        {key: value for key, value in sound().items() if key != "resource_types"},
        "resources.approval: unknown resource type approval",
    ),
    **{
        f"two {section} of one name": (
            sound() | {section: [*sound()[section], copy.deepcopy(sound()[section][0])]},
            f"{section}.{sound()[section][0]['name']}: duplicate name",
        )
        for section in ("resource_types", "resources", "jobs")
    },
    **{
        f"a misspelt key of {section}": (with_(sound(), section, 0, sources={}), ": unknown key sources")
        for section in ("resource_types", "resources", "jobs")
    },
    "a resource without a source": (without(sound(), "resources", 1, "source"), "resources.ci: has no source"),
    "a job without a plan": (without(sound() | {"jobs": [*sound()["jobs"], {"name": "x", "plan": []}]}, "jobs", 2, "plan"), "has no plan"),
    "a list of names": (sound() | {"resource_types": [*sound()["resource_types"], "approval"]}, "must be a list of maps"),
    "an unused resource": (
        sound() | {"resources": [*sound()["resources"], {"name": "plans", "type": "s3", "source": {"bucket": "x"}}]},
        "resources.plans: is not used",
    ),
    "passed a job that only puts elsewhere": (
        sound({"get": "x", "resource": "ci", "passed": ["third"]})
        | {"jobs": [*sound({"get": "x", "resource": "ci", "passed": ["third"]})["jobs"], {"name": "third", "plan": [PUT]}]},
        "passed: no build of third that succeeds gets ci or puts to it",
    ),
    **{
        f"passed a job that gets it {hook} alone": (
            sound({"get": "x", "resource": "ci", "passed": ["third"]})
            | {
                "jobs": [
                    *sound({"get": "x", "resource": "ci", "passed": ["third"]})["jobs"],
                    {"name": "third", "plan": [PUT | {hook: {"get": "ci"}}]},
                ]
            },
            "passed: no build of third that succeeds gets ci or puts to it",
        )
        for hook in ("on_failure", "on_error", "on_abort")
    },
    "a job that nobody can start": (
        with_(sound(), "jobs", 0, disable_manual_trigger=True),
        "jobs.first: nothing can start it",
    ),
    "a job that waits for itself": (sound(UNMET), "jobs.second: passed: it waits for itself"),
    "a put that is checked": (
        sound() | {"jobs": [{"name": "first", "plan": [{"get": "ci"}, PUT]}], "resources": [
            {"name": "approval", "type": "approval", "source": {"pool": "x"}, "check_every": "5m"}, sound()["resources"][1]]},
        "resources.approval: check_every does nothing",
    ),
    "a put with a webhook": (
        sound() | {"jobs": [{"name": "first", "plan": [{"get": "ci"}, PUT]}], "resources": [
            {"name": "approval", "type": "approval", "source": {"pool": "x"}, "webhook_token": "x"}, sound()["resources"][1]]},
        "resources.approval: webhook_token does nothing",
    ),
    "a variable in a source": (with_(sound(), "resources", 1, source={"uri": "((uri))"}), "((uri)): has no value"),
}  # fmt: skip


@pytest.mark.parametrize("name", WHOLES)
def test_a_broken_whole_is_objected_to(name: str) -> None:
    """Each is told as what it is, once."""
    pipeline, told = WHOLES[name]
    problems = found(pipeline)
    assert len([problem for problem in problems if told in problem]) == 1, problems


def test_two_jobs_that_wait_for_each_other_never_start() -> None:
    """A circle of passed is told for each job in it."""
    pipeline = sound({"get": "x", "resource": "approval", "passed": ["first"]})
    pipeline["jobs"][0]["plan"].append({"get": "y", "resource": "approval", "passed": ["second"]})
    assert [problem.split(":")[0] for problem in found(pipeline)] == ["jobs.first", "jobs.second"]


def test_what_is_no_yaml_is_told() -> None:
    """A key that stands twice in one map, as Concourse objects to, and what can't be read."""
    assert "the key name stands twice" in objections("jobs:\n- name: a\n  name: b\n  plan: []\n")[0]
    assert objections("jobs: [")[0].startswith("not YAML")
    assert objections("just text") == ["jobs: a pipeline has at least one"]


def test_every_key_is_known_to_both() -> None:
    """No key of version 8 alone, which 7.14 refuses, is taken."""
    assert not {"no_get", "skip_download"} & {
        *JOB,
        *RESOURCE,
        *RESOURCE_TYPE,
        *(key for keys in STEPS.values() for key in keys),
    }


# ---- the pages --------------------------------------------------------------------------------


def blocks(page: Path, told: str) -> list[str]:
    """The page's blocks of YAML of that kind."""
    return re.findall(rf"^```yaml{told}\n(.*?)^```$", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


def is_pipeline(block: str) -> bool:
    """Whether it is more than a policy or a task."""
    document = yaml.safe_load(block)
    return isinstance(document, dict) and bool(document.keys() & {"jobs", "resources", "resource_types"})


PIPELINES = [
    pytest.param(block, id=f"{page.relative_to(ROOT)}-{number}")
    for page in PAGES
    for number, block in enumerate(filter(is_pipeline, blocks(page, "")))
]


def task_files() -> dict[str, dict[str, Any]]:
    """The files of tasks that the pages show, by path."""
    text = (ROOT / "docs" / "pipelines.md").read_text(encoding="utf-8")
    shown = re.findall(r"<!-- task: (\S+) -->\n```yaml\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    return {path: yaml.safe_load(block) for path, block in shown}


@pytest.mark.parametrize("block", PIPELINES)
def test_a_pipeline_of_the_pages_can_be_set_and_run(block: str) -> None:
    """Each block stands alone: a copy of it is a whole pipeline."""
    assert objections(block, task_files()) == []


def test_every_pipeline_of_the_readme_is_looked_at() -> None:
    """None hides in a block of another kind, and each that is marked is a pipeline."""
    pages = [ROOT / "README.md", ROOT / "docs" / "pipelines.md"]
    text = "\n".join(page.read_text(encoding="utf-8") for page in pages)
    looked = [one for page in pages for one in blocks(page, "") if is_pipeline(one)]
    assert len(looked) == text.count("<!-- pipeline: ") == text.count("\njobs:\n") >= 4


def test_parts_of_pipelines_on_the_pages_are_sound() -> None:
    """The resource and the put's params that docs/policies.md shows fit into a pipeline."""
    page = ROOT / "docs" / "policies.md"
    [resource], [params] = blocks(page, " resource"), blocks(page, " params")
    pipeline = sound(PUT | {"params": yaml.safe_load(params)})
    pipeline["resources"][0] = yaml.safe_load(resource)
    assert found(pipeline) == []


@pytest.mark.parametrize("block", PIPELINES)
def test_every_put_of_the_pages_is_tried_again(block: str) -> None:
    """`attempts: 2` on each put to this resource, in hooks too: what heals a lost answer."""
    pipeline = yaml.safe_load(block)
    ours = {one["name"] for one in pipeline["resources"] if one["type"] == "approval"}
    puts = [step for job in pipeline["jobs"] for step in steps_of(job) if step.get("resource", step.get("put")) in ours]
    assert [step["put"] for step in puts if "put" in step and step.get("attempts") != 2] == []
