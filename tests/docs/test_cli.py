"""docs/cli.md says of every command just what the program says."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from demo.engine import ROOT
from tests.docs.help_page import COLUMNS, PAGE, PROGRAM, commands, help_of, page

SHOWN = PAGE.read_text(encoding="utf-8")


@pytest.mark.parametrize("path", list(commands()), ids=" ".join)
def test_a_command_s_help_is_on_the_page(path: tuple[str, ...]) -> None:
    """The page repeats the program; after a change of a command's help it has to be written anew."""
    title = " ".join((PROGRAM, *path))
    assert f"\n## {title}\n\n```text\n{help_of(path)}```\n" in SHOWN, "docs/cli.md is out of date: run `make docs`"


def test_the_page_has_nothing_else() -> None:
    """A command that is gone leaves the page, and so does what was written by hand."""
    assert page() == SHOWN, "docs/cli.md is out of date: run `make docs`"


def test_no_help_is_wider_than_its_terminal() -> None:
    """Help reads well on a terminal of so many columns."""
    assert [line for path in commands() for line in help_of(path).splitlines() if len(line) > COLUMNS] == []


def test_the_page_is_the_same_on_every_machine() -> None:
    """Neither the terminal nor what a person has set in the environment changes it."""
    surroundings = {
        "COLUMNS": "40",
        "APPROVAL_TABLE": "mine",
        "APPROVAL_REVIEWER": "me",
        "AWS_REGION": "eu-west-1",
        "TERM": "dumb",
    }
    program = "from tests.docs.help_page import page; import sys; sys.stdout.write(page())"
    made = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env={**os.environ, **surroundings},
        capture_output=True,
        check=True,
        timeout=60,
    )
    assert made.stdout.decode() == SHOWN
