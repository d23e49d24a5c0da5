"""Objects to a pipeline as `fly validate-pipeline` and a run would, without a Concourse: names, keys, artifacts, constraints.

It knows the keys that Concourse 7.14 and 8 both know, and takes a pipeline to be set as it stands, without variables.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

Step = dict[str, Any]
HOOKS_OF_FAILURE = ("on_failure", "on_error", "on_abort")
HOOKS = (*HOOKS_OF_FAILURE, "on_success", "ensure")
BASE_TYPES = {"git", "registry-image", "docker-image", "s3", "semver", "time", "pool", "mock", "hg", "github-release"}
"""The resource types that workers of both versions bring along."""
STEPS = {
    "get": {"resource", "version", "params", "passed", "trigger", "tags"},
    "put": {"resource", "params", "inputs", "tags", "get_params"},
    "task": {
        *("file", "config", "privileged", "hermetic", "params", "vars", "tags", "image", "container_limits"),
        *("input_mapping", "output_mapping"),
    },
    "set_pipeline": {"file", "team", "vars", "var_files", "instance_vars"},
    "load_var": {"file", "format", "reveal"},
    "do": set(),
    "try": set(),
    "in_parallel": set(),
}
MODIFIERS = {*HOOKS, "attempts", "timeout", "across"}
JOB = {
    *("name", "old_name", "public", "plan", "serial", "serial_groups", "max_in_flight", "interruptible"),
    *("disable_manual_trigger", "build_logs_to_retain", "build_log_retention", *HOOKS),
}
RESOURCE = {
    *("name", "old_name", "type", "source", "version", "check_every", "check_timeout", "expose_build_created_by"),
    *("icon", "public", "tags", "webhook_token"),
}
RESOURCE_TYPE = {"name", "type", "source", "defaults", "privileged", "check_every", "tags", "params"}
TASK_CONFIG = {
    *("platform", "image_resource", "rootfs_uri", "container_limits", "params", "run", "inputs", "outputs", "caches"),
}
PATHS = ("from", "comment_file", "file", "attach", "attach_digest", "verify", "payload_file", "policy_file", "facts_file")
"""The params of a put whose values are paths, or maps or lists of them."""
DURATION = re.compile(r"(\d+(\.\d+)?(ns|us|µs|ms|s|m|h))+")


class _Loader(yaml.SafeLoader):
    """Refuses a key that stands twice in one map, as Concourse does."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [key.value for key, _ in node.value if key.value != "<<"]
        for key in sorted({key for key in keys if keys.count(key) > 1}):
            raise yaml.constructor.ConstructorError(None, None, f"the key {key} stands twice", node.start_mark)
        return super().construct_mapping(node, deep)


@dataclass(frozen=True)
class Artifacts:
    """The directories that a build has at some point: for certain, and those that a failed step may have left out."""

    certain: frozenset[str] = frozenset()
    maybe: frozenset[str] = frozenset()

    def plus(self, names: Iterable[str]) -> Artifacts:
        """The same once these are there."""
        more = frozenset(names)
        return Artifacts(self.certain | more, self.maybe | more)

    def unless(self, after: Artifacts) -> Artifacts:
        """The same where the steps that lead to `after` may have failed on the way."""
        return Artifacts(self.certain, self.maybe | after.maybe)


def objections(text: str, tasks: Mapping[str, Mapping[str, Any]] | None = None) -> list[str]:
    """All that is wrong with a pipeline, one line each. `tasks`: the files of tasks, by path; others are taken to have no outputs."""
    try:
        pipeline = yaml.load(text, _Loader)  # noqa: S506 - a safe loader
    except yaml.YAMLError as error:
        return [f"not YAML: {' '.join(str(error).split())}"]
    if not isinstance(pipeline, dict) or not pipeline.get("jobs"):
        return ["jobs: a pipeline has at least one"]
    check = _Check(pipeline, tasks or {})
    check.resources()
    for job in check.named("jobs").values():
        check.job(job)
    check.startable()
    return check.found


def steps_of(step: object, *, failures: bool = True) -> Iterator[Step]:
    """Every step within a step or a job, hooks included; without `failures` those alone that a build that succeeds runs."""
    if not isinstance(step, dict):
        return
    yield step
    inner = [*_listed(step.get("plan")), *_listed(step.get("do")), *_listed(_parallel(step)), step.get("try")]
    hooks = HOOKS if failures else [name for name in HOOKS if name not in HOOKS_OF_FAILURE]
    for one in (*inner, *(step.get(name) for name in hooks)):
        yield from steps_of(one, failures=failures)


def resource_of(step: Step) -> str | None:
    """The resource that a get or put is of."""
    kind = next((kind for kind in ("get", "put") if kind in step), None)
    return str(step.get("resource") or step[kind]) if kind else None


def _listed(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _parallel(step: Step) -> object:
    told = step.get("in_parallel")
    return told.get("steps") if isinstance(told, dict) else told


@dataclass
class _Check:
    pipeline: dict[str, Any]
    tasks: Mapping[str, Mapping[str, Any]]
    found: list[str] = field(default_factory=list)
    gets: set[str] = field(default_factory=set)
    """The names of the gets seen so far in a job."""

    def wrong(self, where: str, what: str) -> None:
        """Note one more."""
        self.found.append(f"{where}: {what}")

    def named(self, section: str) -> dict[str, dict[str, Any]]:
        """The entries of resources, resource_types or jobs by name."""
        return {str(one.get("name")): one for one in _listed(self.pipeline.get(section)) if isinstance(one, dict)}

    def keys(self, where: str, told: Mapping[str, Any], known: set[str]) -> None:
        """Object to keys that Concourse doesn't know there."""
        for key in sorted(map(str, told.keys() - known)):
            self.wrong(where, f"unknown key {key}")

    # ---- resources --------------------------------------------------------------------------

    def resources(self) -> None:
        """Look at resource types and resources."""
        types = BASE_TYPES | self.named("resource_types").keys()
        for section, known in (("resource_types", RESOURCE_TYPE), ("resources", RESOURCE), ("jobs", JOB)):
            told = self.pipeline.get(section) or []
            entries = [one for one in _listed(told) if isinstance(one, dict)]
            if not isinstance(told, list) or len(entries) < len(told):
                self.wrong(section, "must be a list of maps")
            names = [str(one.get("name")) for one in entries]
            for name in sorted({name for name in names if names.count(name) > 1}):
                self.wrong(f"{section}.{name}", "duplicate name")
            for one in entries:
                where = f"{section}.{one.get('name')}"
                self.keys(where, one, known)
                for key in sorted({"name", "plan"} if section == "jobs" else {"name", "type", "source"}):
                    if not one.get(key):
                        self.wrong(where, f"has no {key}")
                if section != "jobs" and one.get("type") not in types:
                    self.wrong(where, f"unknown resource type {one.get('type')}")
        every = [step for job in _listed(self.pipeline["jobs"]) for step in steps_of(job)]
        used = {resource_of(step) for step in every}
        got = {resource_of(step) for step in every if "get" in step}
        for name, resource in self.named("resources").items():
            if name not in used:
                self.wrong(f"resources.{name}", "is not used")
            for key in ("check_every", "webhook_token"):
                if key in resource and name not in got:
                    self.wrong(f"resources.{name}", f"{key} does nothing, since no job gets it and so it is never checked")
        for variable in sorted(set(re.findall(r"\(\((?!\.:)([^)]+)\)\)", str(self.pipeline)))):
            self.wrong(f"(({variable}))", "has no value where the pipeline is set as it stands")

    # ---- jobs ---------------------------------------------------------------------------------

    def job(self, job: Step) -> None:
        """Look at a job's plan and hooks."""
        self.gets.clear()
        where = f"jobs.{job.get('name')}"
        before = Artifacts()
        after = self._sequence(f"{where}.plan", _listed(job.get("plan")), before)
        self._hooks(where, job, before, after)

    def startable(self) -> None:
        """Object to jobs that nobody can start and to those that wait for themselves."""
        jobs = self.named("jobs")
        after = {
            name: {str(one) for step in steps_of(job) if "get" in step for one in _listed(step.get("passed"))}
            for name, job in jobs.items()
        }
        for name, job in jobs.items():
            if job.get("disable_manual_trigger") and not any("get" in step and step.get("trigger") for step in steps_of(job)):
                self.wrong(f"jobs.{name}", "nothing can start it: no get has trigger: true, and nobody may start it by hand")
            reached, ahead = set[str](), [*after[name]]
            while ahead:
                one = ahead.pop()
                if one not in reached:
                    reached.add(one)
                    ahead += after.get(one, ())
            if name in reached:
                self.wrong(f"jobs.{name}", "passed: it waits for itself, so it never starts")

    # ---- steps --------------------------------------------------------------------------------

    def _sequence(self, where: str, steps: list[Any], have: Artifacts) -> Artifacts:
        for number, step in enumerate(steps):
            have = self._step(f"{where}[{number}]", step, have)
        return have

    def _step(self, where: str, step: object, have: Artifacts) -> Artifacts:
        """Look at a step that finds these artifacts; returns those that are there once it has succeeded."""
        kinds = [kind for kind in STEPS if isinstance(step, dict) and kind in step]
        if not isinstance(step, dict) or len(kinds) != 1:
            self.wrong(where, "not one step: it needs one of " + ", ".join(STEPS))
            return have
        [kind] = kinds
        where = f"{where}.{kind}" + (f"({step[kind]})" if isinstance(step[kind], str) else "")
        self.keys(where, step, STEPS[kind] | MODIFIERS | {kind} | ({"fail_fast"} if "across" in step else set()))
        self._modifiers(where, step)
        after = {
            "get": self._get,
            "put": self._put,
            "task": self._task,
            "set_pipeline": self._file,
            "load_var": self._file,
            "do": lambda where, step, have: self._sequence(where, _listed(step["do"]), have),
            "try": lambda where, step, have: have.unless(self._step(where, step["try"], have)),
            "in_parallel": self._in_parallel,
        }[kind](where, step, have)
        after = self._hooks(where, step, have, after)
        # What steps under across bring stays with them.
        return have if "across" in step else after

    def _modifiers(self, where: str, step: Step) -> None:
        attempts, timeout = step.get("attempts", 1), step.get("timeout", "1h")
        if isinstance(attempts, bool) or not isinstance(attempts, int) or attempts < 1:
            self.wrong(where, "attempts: must be a whole number above 0")
        if not DURATION.fullmatch(str(timeout)):
            self.wrong(where, f"timeout: {timeout} is no duration such as 90m")
        for one in _listed(step.get("across", [{"var": "x", "values": []}])) or [{}]:
            if not isinstance(one, dict) or not {"var", "values"} <= one.keys() <= {"var", "values", "max_in_flight"}:
                self.wrong(where, "across: each entry is a var with values")

    def _hooks(self, where: str, told: Step, before: Artifacts, after: Artifacts) -> Artifacts:
        for name in HOOKS_OF_FAILURE:
            if name in told:
                self._step(f"{where}.{name}", told[name], before.unless(after))
        for name in ("on_success", "ensure"):
            if name in told:
                found = after if name == "on_success" else before.unless(after)
                after = after.plus(self._step(f"{where}.{name}", told[name], found).certain - before.certain)
        return after

    def _in_parallel(self, where: str, step: Step, have: Artifacts) -> Artifacts:
        told = step["in_parallel"]
        if isinstance(told, dict):
            self.keys(where, told, {"steps", "limit", "fail_fast"})
        ends = [self._step(f"{where}[{number}]", one, have) for number, one in enumerate(_listed(_parallel(step)))]
        return have.plus(name for end in ends for name in end.certain)

    def _known(self, where: str, step: Step) -> str:
        resource = str(resource_of(step))
        if resource not in self.named("resources"):
            self.wrong(where, f"unknown resource {resource}")
        return resource

    def _get(self, where: str, step: Step, have: Artifacts) -> Artifacts:
        resource = self._known(where, step)
        if step["get"] in self.gets:
            self.wrong(where, "duplicate name: another get of this job has it")
        self.gets.add(step["get"])
        if not isinstance(step.get("trigger", False), bool):
            self.wrong(where, "trigger: must be true or false")
        if step.get("version", "latest") not in ("latest", "every") and not isinstance(step["version"], dict):
            self.wrong(where, "version: must be latest, every or a map")
        if "passed" in step and not (isinstance(step["passed"], list) and step["passed"]):
            self.wrong(where, "passed: must be a list of jobs")
        for name in _listed(step.get("passed")):
            job = self.named("jobs").get(str(name))
            if job is None:
                self.wrong(where, f"passed: unknown job {name}")
            elif resource not in {resource_of(one) for one in steps_of(job, failures=False)}:
                self.wrong(where, f"passed: no build of {name} that succeeds gets {resource} or puts to it")
        return have.plus([step["get"]])

    def _put(self, where: str, step: Step, have: Artifacts) -> Artifacts:
        self._known(where, step)
        inputs = step.get("inputs")
        if inputs not in ("all", "detect") and not isinstance(inputs, list):
            self.wrong(where, "inputs: missing; name the artifacts that it needs, [] for none, detect for those in its params")
            inputs = "all"
        for name in _listed(inputs):
            self._require(f"{where}.inputs", name, have)
        for key, value in (step.get("params") or {}).items():
            paths = value.values() if isinstance(value, dict) else value if isinstance(value, list) else [value]
            for path in map(str, paths if key in PATHS else ()):
                name = path.split("/")[0]
                if isinstance(inputs, list) and name not in inputs:
                    self.wrong(f"{where}.params.{key}", f"{name} is not among the put's inputs")
                # With detect a put goes on without what a failed step was to bring, and release knows what to do then.
                self._require(f"{where}.params.{key}", name, have, may_lack=inputs == "detect" and key == "from")
        return have.plus([step["put"]])

    def _task(self, where: str, step: Step, have: Artifacts) -> Artifacts:
        if ("file" in step) == ("config" in step):
            self.wrong(where, "needs either file or config")
        if "file" in step:
            self._path(f"{where}.file", step["file"], have)
        if "image" in step:
            self._require(f"{where}.image", step["image"], have)
        config = step.get("config") or self.tasks.get(str(step.get("file")), {})
        if config:
            self.keys(f"{where}.config", config, TASK_CONFIG)
            for key in ("platform", "run"):
                if key not in config:
                    self.wrong(f"{where}.config", f"has no {key}")
        mapped, renamed = step.get("input_mapping") or {}, step.get("output_mapping") or {}
        inputs = {one["name"]: one for one in config.get("inputs") or ()}
        outputs = [one["name"] for one in config.get("outputs") or ()]
        needed = [mapped.get(name, name) for name, one in inputs.items() if not one.get("optional")]
        for name in (*needed, *(value for key, value in mapped.items() if key not in inputs)):
            self._require(f"{where}.inputs", name, have)
        return have.plus(renamed.get(name, name) for name in outputs)

    def _file(self, where: str, step: Step, have: Artifacts) -> Artifacts:
        for path in (step.get("file"), *_listed(step.get("var_files"))):
            self._path(f"{where}.file", path, have)
        return have

    def _path(self, where: str, path: object, have: Artifacts) -> None:
        name, _, rest = str(path).partition("/")
        if not rest:
            self.wrong(where, f"{path or 'nothing'} is no path of a file in an artifact")
        else:
            self._require(where, name, have)

    def _require(self, where: str, name: object, have: Artifacts, *, may_lack: bool = False) -> None:
        if name not in have.maybe:
            self.wrong(where, f"unknown artifact {name}: no step before brings it")
        elif name not in have.certain and not may_lack:
            self.wrong(where, f"artifact {name} may be missing: the step that brings it may have failed; use inputs: detect")
