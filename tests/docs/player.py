"""Plays the jobs of a pipeline from its YAML, as far as Concourse would: gets, puts, tasks, passed, attempts, hooks, abort."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from approval_resource.model.claim import Build
from tests.builders import a_build
from tests.scripts.conftest import SECONDS, Concourse, Result, Running, until

Step = dict[str, Any]
Version = dict[str, str]
WHOLE_STORY = 4 * SECONDS
"""How long a step may wait while other builds are played beside it."""
SECRETS_OF_THE_TEST = ("AWS_DEFAULT_REGION",)


class StepFailedError(Exception):
    """A step of a build failed."""


class StepErroredError(Exception):
    """A step of a build could not be run, or its answer was lost."""


class BuildAbortedError(Exception):
    """The build was aborted."""


@dataclass
class Job:
    """One build of a job, under way or done."""

    player: Player
    name: str
    plan: Step
    build: Build
    outcome: str = ""
    ran: list[str] = field(default_factory=list)
    log: list[str] = field(default_factory=list)
    results: list[Result] = field(default_factory=list)
    running: Running | None = None
    aborted: bool = False
    used: list[tuple[str, Version]] = field(default_factory=list)
    """Each version that it got or put, with its resource."""

    @property
    def workspace(self) -> Path:
        """Where the build's artifacts lie."""
        return self.player.concourse.workspace(self.build)

    def start(self) -> Job:
        """Play it on a thread of its own."""
        self._thread = threading.Thread(target=self._play, daemon=True)
        self._thread.start()
        return self

    def says(self, text: str) -> str:
        """Wait until the step that runs now, or one before it, says that."""
        return until(lambda: next((line for line in self._lines() if text in line), ""), f"{self.name}: {text!r}")

    def _lines(self) -> list[str]:
        return self.log + (self.running.stderr.splitlines() if self.running else [])

    def ends(self) -> str:
        """Wait for its end: succeeded, failed, errored or aborted."""
        self._thread.join(SECONDS)
        assert not self._thread.is_alive(), f"{self.name} is still running: {self._lines()}"
        return self.outcome

    def abort(self) -> None:
        """Abort the build as a person would."""
        self.aborted = True
        assert self.running is not None
        self.running._process.terminate()

    def _play(self) -> None:
        try:
            self._with_hooks(self.plan, lambda: self._sequence(self.plan["plan"]))
            self.outcome = "succeeded"
            for resource, version in self.used:
                self.player.passed.setdefault((self.name, resource), []).append(version)
        except StepFailedError:
            self.outcome = "failed"
        except BuildAbortedError:
            self.outcome = "aborted"
        except Exception as surprise:  # noqa: BLE001 - shown by the test
            self.outcome = "errored"
            self.log.append(repr(surprise))

    def _sequence(self, steps: list[Step]) -> None:
        for step in steps:
            self._step(step)

    def _step(self, step: Step) -> None:
        self._with_hooks(step, lambda: self._attempts(step))

    def _with_hooks(self, told: Step, run: Callable[[], None]) -> None:
        """Run it, then the hook for its end, then `ensure`. What went wrong first is what the build ends with."""
        ends: list[Exception] = []

        def do(what: Callable[[], None]) -> None:
            try:
                what()
            except Exception as wrong:  # noqa: BLE001 - raised in the end
                # Hooks of an aborted build are not aborted.
                self.aborted = False
                self.log.append(repr(wrong))
                ends.append(wrong)

        do(run)
        for hook in (_hook_for(ends[0] if ends else None), "ensure"):
            if hook in told:
                do(partial(self._step, told[hook]))
        if ends:
            raise ends[0]

    def _attempts(self, step: Step) -> None:
        """Run it until it succeeds, as often as it says; an abort is no attempt that failed."""
        left = step.get("attempts", 1)
        while True:
            left -= 1
            try:
                self._once(step)
            except (StepFailedError, StepErroredError) as failed:
                if not left:
                    raise
                self.log.append(f"again, after {failed!r}")
            else:
                return

    def _once(self, step: Step) -> None:
        match step:
            case {"task": name, "file": file}:
                if not (self.workspace / file).is_file():
                    raise StepErroredError(f"task {name} has no file {file}")
                self.player.tasks[name](self.workspace)
                self.ran.append(name)
            case {"put": name}:
                self._put(name, step)
            case {"get": name}:
                self._get(name, step)
            case _:
                raise AssertionError(f"not a step this player knows: {step}")

    def _put(self, name: str, step: Step) -> None:
        resource, params = step.get("resource", name), step["params"]
        if resource not in self.player.resources:
            shutil.copy(self.workspace / params["file"], self.player.shelf(resource))
            self._used(resource, {})
            return
        directory = self.player.concourse.scratch / f"put-{self.build.id}-{len(self.results)}"
        directory.mkdir()
        for artifact in self._inputs(step):
            shutil.copytree(self.workspace / artifact, directory / artifact)
        concourse = self.player.resources[resource]
        request = {"source": concourse.source, "params": params}
        exposed = self.build if resource in self.player.exposing else replace(self.build, created_by="")
        result = self._run(concourse.start("out", request, [str(directory)], exposed))
        if self.player.loses and all(step is not lost for lost in self.player.lost):
            self.player.lost.append(step)
            raise StepErroredError("output a null version")
        self._used(resource, result.version)
        self._fetch(concourse, name, result.version, step.get("get_params", {}))

    def _inputs(self, step: Step) -> list[str]:
        """The artifacts that a put is handed: those it lists, or those its params name that are there."""
        if step["inputs"] == "detect":
            named = {str(value).split("/")[0] for value in step["params"].values()}
            return [name for name in sorted(named) if (self.workspace / name).is_dir()]
        for name in step["inputs"]:
            if not (self.workspace / name).is_dir():
                raise StepErroredError(f"input not found: {name}")
        return list(step["inputs"])

    def _get(self, name: str, step: Step) -> None:
        resource = step.get("resource", name)
        if name in self.player.fails:
            raise StepFailedError(f"{name} can't be got")
        if resource not in self.player.resources:
            shutil.copytree(self.player.shelf(resource), self.workspace / name, dirs_exist_ok=True)
            self._used(resource, {})
            return
        concourse = self.player.resources[resource]
        versions = [version for job in step.get("passed", []) for version in self.player.passed.get((job, resource), [])]
        found = versions if "passed" in step else self.player.look(resource)
        assert found, f"{name} has no version"
        self._used(resource, found[-1])
        self._fetch(concourse, name, found[-1], step.get("params", {}))

    def _fetch(self, concourse: Concourse, name: str, version: Version, params: Mapping[str, object]) -> None:
        directory = self.workspace / name
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir()
        request = {"source": concourse.source, "params": params, "version": version}
        # A get is never told who started its build.
        self._run(concourse.start("in", request, [str(directory)], replace(self.build, created_by="")))

    def _run(self, running: Running) -> Result:
        self.running = running
        result = running.ends(WHOLE_STORY)
        self.log += result.lines
        self.running = None
        self.results.append(result)
        if self.aborted:
            raise BuildAbortedError
        if result.code:
            raise StepFailedError(f"exit {result.code}")
        return result

    def _used(self, resource: str, version: Version) -> None:
        self.used.append((resource, version))


def _hook_for(wrong: Exception | None) -> str:
    """The hook that runs at such an end."""
    match wrong:
        case None:
            return "on_success"
        case StepFailedError():
            return "on_failure"
        case BuildAbortedError():
            return "on_abort"
        case _:
            return "on_error"


class Player:
    """A pipeline, set on the embedded engine."""

    def __init__(self, concourse: Concourse, text: str, tasks: Mapping[str, Callable[[Path], object]]) -> None:
        """`tasks`: what each task does in its build's workspace. Resources of other types keep files on a shelf."""
        self.concourse = concourse
        self.tasks = tasks
        self.passed: dict[tuple[str, str], list[Version]] = {}
        """The versions that each job's builds got and put, by job and resource; only those of builds that succeeded."""
        self.found: dict[str, list[Version]] = {}
        """The versions that each resource's checks found last."""
        self.loses = False
        """Whether the first answer of each put is lost."""
        self.lost: list[Step] = []
        """The puts of which one was."""
        self.fails: list[str] = []
        """The gets that fail."""
        pipeline = yaml.safe_load(text)
        self.jobs: dict[str, Step] = {job["name"]: job for job in pipeline["jobs"]}
        self.resources = {
            resource["name"]: concourse.sourced(**self._source(resource["source"]))
            for resource in pipeline["resources"]
            if resource["type"] == "approval"
        }
        self.exposing = {one["name"] for one in pipeline["resources"] if one.get("expose_build_created_by")}
        """The resources whose puts are told who started the build."""
        self._builds = 0

    def _source(self, source: Step) -> Step:
        return {name: value for name, value in source.items() if name not in SECRETS_OF_THE_TEST}

    def look(self, resource: str) -> list[Version]:
        """Check a resource; where that finds nothing, what was found before, which Concourse never forgets."""
        self.found[resource] = self.resources[resource].versions() or self.found.get(resource, [])
        return self.found[resource]

    def shelf(self, resource: str) -> Path:
        """Where a resource of another type keeps its newest version."""
        path = self.concourse.scratch / "shelf" / resource
        path.mkdir(parents=True, exist_ok=True)
        return path

    def start(self, job: str, by: str = "") -> Job:
        """Begin a new build of that job, started by that person, or by the scheduler."""
        self._builds += 1
        build = a_build(100 + self._builds, job=job, name=str(self._builds), created_by=by)
        return Job(self, job, self.jobs[job], build).start()

    def run(self, job: str, by: str = "") -> Job:
        """A whole build of that job."""
        started = self.start(job, by)
        started.ends()
        return started
