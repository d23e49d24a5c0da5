"""Plays the jobs of a pipeline from its YAML, as far as Concourse would: gets, puts, tasks, passed, ensure, abort."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from approval_resource.model.claim import Build
from tests.builders import a_build
from tests.scripts.conftest import SECONDS, Concourse, Result, Running, until

Step = dict[str, Any]
Version = dict[str, str]
SECRETS_OF_THE_TEST = ("AWS_DEFAULT_REGION",)


class StepFailedError(Exception):
    """A step of a build failed."""


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
        """Wait for its end: succeeded, failed or aborted."""
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
            for step in self.plan["plan"]:
                self._step(step)
            self.outcome = "succeeded"
        except StepFailedError:
            self.outcome = "failed"
        except BuildAbortedError:
            self.outcome = "aborted"
        except Exception as surprise:  # noqa: BLE001 - shown by the test
            self.outcome = f"errored: {surprise!r}"
        self.aborted = False
        hooks = [hook for hook in (f"on_{self.outcome.removesuffix('ed')}", "ensure") if hook in self.plan]
        hooks += ["on_failure"] if self.outcome == "failed" and "on_failure" in self.plan else []
        for hook in hooks:
            self._step(self.plan[hook])

    def _step(self, step: Step) -> None:
        match step:
            case {"task": name}:
                self.player.tasks[name](self.workspace)
                self.ran.append(name)
            case {"put": name}:
                self._put(name, step)
            case {"get": name}:
                self._get(name, step)
            case _:
                raise AssertionError(f"not a step this player knows: {step}")

    def _put(self, name: str, step: Step) -> None:
        resource = step.get("resource", name)
        assert isinstance(step.get("inputs"), list), f"put {name} names its inputs"
        if resource not in self.player.resources:
            shutil.copy(self.workspace / step["params"]["file"], self.player.shelf(resource))
            return
        directory = self.player.concourse.scratch / f"put-{self.build.id}-{len(self.results)}"
        directory.mkdir()
        for artifact in step["inputs"]:
            # What a failed step was to make isn't there.
            if (self.workspace / artifact).is_dir():
                shutil.copytree(self.workspace / artifact, directory / artifact)
        concourse = self.player.resources[resource]
        request = {"source": concourse.source, "params": step["params"]}
        version = self._run(concourse.start("out", request, [str(directory)], self.build)).version
        self._fetch(concourse, name, version, step.get("get_params", {}))
        self._used(resource, version)

    def _get(self, name: str, step: Step) -> None:
        resource = step.get("resource", name)
        if resource not in self.player.resources:
            shutil.copytree(self.player.shelf(resource), self.workspace / name)
            return
        concourse = self.player.resources[resource]
        versions = [version for job in step.get("passed", []) for version in self.player.used.get((job, resource), [])]
        found = versions if "passed" in step else concourse.versions()
        assert found, f"{name} has no version"
        self._fetch(concourse, name, found[-1], step.get("params", {}))
        self._used(resource, found[-1])

    def _fetch(self, concourse: Concourse, name: str, version: Version, params: Mapping[str, object]) -> None:
        directory = self.workspace / name
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir()
        request = {"source": concourse.source, "params": params, "version": version}
        self._run(concourse.start("in", request, [str(directory)], self.build))

    def _run(self, running: Running) -> Result:
        self.running = running
        result = running.ends()
        self.log += result.lines
        self.running = None
        self.results.append(result)
        if self.aborted:
            raise BuildAbortedError
        if result.code:
            raise StepFailedError
        return result

    def _used(self, resource: str, version: Version) -> None:
        self.player.used.setdefault((self.name, resource), []).append(version)


class Player:
    """A pipeline, set on the embedded engine."""

    def __init__(self, concourse: Concourse, text: str, tasks: Mapping[str, Callable[[Path], object]]) -> None:
        """`tasks`: what each task does in its build's workspace. Resources of other types keep files on a shelf."""
        self.concourse = concourse
        self.tasks = tasks
        self.used: dict[tuple[str, str], list[Version]] = {}
        pipeline = yaml.safe_load(text)
        self.jobs: dict[str, Step] = {job["name"]: job for job in pipeline["jobs"]}
        self.resources = {
            resource["name"]: concourse.sourced(**self._source(resource["source"]))
            for resource in pipeline["resources"]
            if resource["type"] == "approval"
        }
        self._builds = 0

    def _source(self, source: Step) -> Step:
        return {name: value for name, value in source.items() if name not in SECRETS_OF_THE_TEST}

    def shelf(self, resource: str) -> Path:
        """Where a resource of another type keeps its newest version."""
        path = self.concourse.scratch / "shelf" / resource
        path.mkdir(parents=True, exist_ok=True)
        return path

    def start(self, job: str) -> Job:
        """Begin a new build of that job."""
        self._builds += 1
        build = a_build(100 + self._builds, job=job, name=str(self._builds))
        return Job(self, job, self.jobs[job], build).start()

    def run(self, job: str) -> Job:
        """A whole build of that job."""
        started = self.start(job)
        started.ends()
        return started
