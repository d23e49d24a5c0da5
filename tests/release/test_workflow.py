"""The release workflow's own steps, run by bash as GitHub runs them, with tools that only note what is asked of them."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
JOBS: dict[str, Any] = yaml.safe_load((ROOT / ".github/workflows/release.yml").read_text(encoding="utf-8"))["jobs"]
IMAGE = "ghcr.io/o/r"
BASE = "docker.io/library/python:3.13-slim"
DIGEST = "sha256:" + "cd" * 32
OUTPUTS = {
    "needs.base.outputs.image": f"{BASE}@{DIGEST}",
    "needs.build.outputs.amd64": "sha256:1",
    "needs.build.outputs.arm64": "sha256:2",
}
TOOL = """#!/bin/sh
echo "$(basename "$0") $*" >> "$CALLS"
case "$(basename "$0") $*" in
  $FAILING*) exit 1 ;;
  "skopeo list-tags"*) echo "$REGISTRY" ;;
  "docker buildx imagetools inspect"*) echo "$INSPECTED" ;;
  "gh release create"*) cat notes.md >> "$CALLS" ;;
esac
"""


@dataclass
class Runner:
    """A machine that runs a job's steps until one fails."""

    path: Path
    registry: Sequence[str] = ()
    failing: str = "nothing"
    inspected: str = DIGEST
    outputs: dict[str, str] = field(default_factory=dict)

    def run(self, job: str, **matrix: str) -> bool:
        """Run a job; whether it succeeded."""
        known = OUTPUTS | {f"matrix.{name}": text for name, text in matrix.items()}
        for step in (step for step in JOBS[job]["steps"] if "run" in step):
            given = _filled(JOBS[job].get("env", {}) | step.get("env", {}), known)
            command = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]]
            done = subprocess.run(
                command, cwd=self.path, env=self.environment() | given, capture_output=True, text=True, check=False
            )
            if done.returncode:
                return False
            told = self.path / "output"
            lines = told.read_text(encoding="utf-8").splitlines() if told.exists() else []
            self.outputs = dict(line.split("=", 1) for line in lines)
            known |= {f"steps.{step.get('id')}.outputs.{name}": text for name, text in self.outputs.items()}
        return True

    def environment(self) -> dict[str, str]:
        """What a step finds: the tools, the repository's files, and GitHub's variables."""
        tools = self.path / "tools"
        tools.mkdir(exist_ok=True)
        for name in ("docker", "skopeo", "cosign", "make", "gh"):
            (tools / name).write_text(TOOL, encoding="utf-8")
            (tools / name).chmod(0o755)
        for name in ("Dockerfile", "image"):
            if not (self.path / name).exists():
                (self.path / name).symlink_to(ROOT / name)
        return {
            "PATH": f"{tools}:{os.environ['PATH']}",
            "CALLS": str(self.path / "calls"),
            "REGISTRY": json.dumps({"Repository": IMAGE, "Tags": list(self.registry)}),
            "FAILING": self.failing,
            "INSPECTED": self.inspected,
            "IMAGE": IMAGE,
            "STAGED": f"{IMAGE}:run-1",
            "GITHUB_REF_NAME": "v1.2.3",
            "GITHUB_OUTPUT": str(self.path / "output"),
            "GITHUB_ACTOR": "o",
            "GITHUB_REPOSITORY": "o/r",
            "GITHUB_SERVER_URL": "https://github.com",
        }

    @property
    def calls(self) -> list[str]:
        """What the tools were asked for."""
        return (self.path / "calls").read_text(encoding="utf-8").splitlines()

    @property
    def tagged(self) -> list[str]:
        """The release's tags that were set, in order."""
        created = [call for call in self.calls if "imagetools create" in call or call.startswith("docker push")]
        tags = [tag for call in created for tag in re.findall(rf"{re.escape(IMAGE)}:(\S+)", call)]
        return [tag for tag in tags if not tag.startswith("run-1")]


def _filled(variables: Mapping[str, str], known: Mapping[str, str]) -> dict[str, str]:
    """Expressions replaced; what nobody has said is empty, as on GitHub."""
    return {
        name: re.sub(r"\$\{\{ (.*?) \}\}", lambda match: known.get(match[1], ""), str(text)) for name, text in variables.items()
    }


@pytest.mark.parametrize(
    ("registry", "tags"),
    [([], ["1.2", "1.2.3"]), (["1.2", "1.2.2", "1.3.0"], ["1.2", "1.2.3"]), (["1.2", "1.2.4"], ["1.2.3"])],
)
def test_what_was_signed_is_tagged(tmp_path: Path, registry: list[str], tags: list[str]) -> None:
    """X.Y.Z after everything else; X.Y only forward; both name the digest that was signed and has its bills."""
    runner = Runner(tmp_path, registry)
    assert runner.run("publish")
    assert runner.tagged == tags
    assert f"docker buildx imagetools create --tag {IMAGE}:run-1 {IMAGE}@sha256:1 {IMAGE}@sha256:2" in runner.calls
    signed = runner.calls.index(f"cosign sign --yes {IMAGE}@{DIGEST}")
    assert runner.calls[signed + 1 : -len(tags)] == [
        line
        for arch, digest in (("amd64", "sha256:1"), ("arm64", "sha256:2"))
        for line in (
            f"make sbom ENGINE=docker IMAGE={IMAGE}@{digest} PLATFORM=linux/{arch}",
            f"cosign attest --yes --type cyclonedx --predicate build/sbom.cdx.json {IMAGE}@{digest}",
            f"cosign attest --yes --type cyclonedx --predicate build/sbom.cdx.json {IMAGE}@{DIGEST}",
        )
    ]
    assert runner.calls[-len(tags) :] == [
        f"docker buildx imagetools create --tag {IMAGE}:{tag} {IMAGE}@{DIGEST}" for tag in tags
    ]


def test_a_released_version_is_left_alone(tmp_path: Path) -> None:
    """Nothing is joined, signed or tagged once the registry has X.Y.Z."""
    runner = Runner(tmp_path, ["1.2", "1.2.3"])
    assert not runner.run("publish")
    assert [call.split()[0] for call in runner.calls if "login" not in call] == ["skopeo"]


@pytest.mark.parametrize("failing", ["skopeo", "cosign sign", "cosign attest", "make sbom", "docker buildx imagetools inspect"])
def test_nothing_is_tagged_after_a_failure(tmp_path: Path, failing: str) -> None:
    """What is released is whole, and what failed can be run again."""
    runner = Runner(tmp_path, failing=failing)
    assert not runner.run("publish")
    assert runner.tagged == []
    runner.failing = "nothing"
    (tmp_path / "output").unlink(missing_ok=True)
    assert runner.run("publish")
    assert runner.tagged == ["1.2", "1.2.3"]


def test_every_architecture_is_built_on_one_digest(tmp_path: Path) -> None:
    """The default base is looked up once, and its digest is what both builds and the release's page name."""
    runner = Runner(tmp_path)
    assert runner.run("base")
    assert runner.outputs == {"image": f"{BASE}@{DIGEST}"}
    for matrix in JOBS["build"]["strategy"]["matrix"]["include"]:
        runner.outputs.clear()
        (tmp_path / "output").unlink()
        assert runner.run("build", **matrix)
        assert runner.outputs == {matrix["arch"]: DIGEST}
        assert set(JOBS["build"]["outputs"]) >= set(runner.outputs)
    builds = [call for call in runner.calls if call.startswith("make image")]
    assert len(builds) == 2
    assert all(f" BASE_IMAGE={BASE}@{DIGEST} VERSION=1.2.3 " in call for call in builds)
    assert runner.tagged == []
    assert runner.run("announce")
    assert f"Base: `{BASE}@{DIGEST}`" in runner.calls


@pytest.mark.parametrize("inspected", ["", "null", "sha256:", "<no value>", f"{DIGEST} ", "sha512:" + "cd" * 64])
def test_a_base_without_a_digest_stops_the_release(tmp_path: Path, inspected: str) -> None:
    """A tag alone may name two bases in one release."""
    runner = Runner(tmp_path, inspected=inspected)
    assert not runner.run("base")
    assert runner.outputs == {}


def test_each_job_waits_for_what_it_uses() -> None:
    """A job that doesn't name another gets nothing from it, and might run before the tests have passed."""
    for name, job in JOBS.items():
        needs = {job["needs"]} if isinstance(job.get("needs"), str) else set(job.get("needs", ()))
        assert set(re.findall(r"needs\.(\w+)\.", json.dumps(job))) <= needs, name
    assert "test" in JOBS["build"]["needs"]
    assert "build" in JOBS["publish"]["needs"]
