"""What keeps the repository in order: its hook runs the lint, its bot waits, and a hole can be reported in private."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from demo.engine import ROOT

UPDATES: list[dict[str, Any]] = yaml.safe_load((ROOT / ".github/dependabot.yml").read_text(encoding="utf-8"))["updates"]
A_WEEK = 7


def test_the_hook_runs_the_lint_that_ci_runs() -> None:
    """And nothing from another repository."""
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))
    assert [repository["repo"] for repository in hooks["repos"]] == ["local"]
    [hook] = hooks["repos"][0]["hooks"]
    assert (hook["entry"], hook["pass_filenames"], hook["always_run"]) == ("make lint", False, True)
    assert "\nmake lint\n" in (ROOT / ".ci" / "run").read_text(encoding="utf-8")


@pytest.mark.parametrize("ecosystem", ["pip", "github-actions"])
def test_the_bot_lets_new_versions_wait(ecosystem: str) -> None:
    """A version that is withdrawn within days is never proposed."""
    [update] = [update for update in UPDATES if update["package-ecosystem"] == ecosystem]
    assert update["cooldown"]["default-days"] >= A_WEEK
    assert (ROOT / update["directory"].lstrip("/")).is_dir()


def test_the_bot_leaves_alone_what_has_to_be_compared_first() -> None:
    """The Rego engine's source is read before another version is taken."""
    [pip] = [update for update in UPDATES if update["package-ecosystem"] == "pip"]
    assert [ignored["dependency-name"] for ignored in pip["ignore"]] == ["gordon-to-regorus"]


def test_a_hole_can_be_reported_in_private() -> None:
    """Where GitHub looks for it: how to report, what is supported, and whom the program trusts."""
    text = (ROOT / ".github" / "SECURITY.md").read_text(encoding="utf-8")
    assert [line for line in text.splitlines() if line.startswith("## ")] == [
        "## Report a hole",
        "## What is supported",
        "## Trust boundaries",
    ]
    assert "../docs/guarantees.md" in text
