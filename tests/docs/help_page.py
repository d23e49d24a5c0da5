"""The page docs/cli.md: the help of every command, as the program prints it. `make docs` writes it."""

from __future__ import annotations

from collections.abc import Iterator

import click
from click.testing import CliRunner

from cli import cli
from demo.engine import ROOT

PAGE = ROOT / "docs" / "cli.md"
PROGRAM = "approvals"
COLUMNS = 100
INTRODUCTION = f"""\
# Every command's help

`approvals COMMAND --help`, on a terminal of {COLUMNS} columns. `make docs` writes this page from the program: change the
program, not the page. The reference tells
[what each command is for](reference.md#command-line).
"""


def commands(command: click.Command = cli, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The path of every command, groups included: each group before its commands, in the order of its help."""
    yield path
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            found = command.get_command(context, name)
            assert found is not None, name
            yield from commands(found, (*path, name))


def at(path: tuple[str, ...]) -> click.Command:
    """The command at that path."""
    command: click.Command = cli
    for name in path:
        assert isinstance(command, click.Group)
        found = command.get_command(click.Context(command), name)
        assert found is not None, path
        command = found
    return command


def help_of(path: tuple[str, ...]) -> str:
    """The text that the program prints for `--help` after that path."""
    result = CliRunner().invoke(cli, [*path, "--help"], prog_name=PROGRAM, terminal_width=COLUMNS)
    assert result.exit_code == 0, result.output
    return result.output


def page() -> str:
    """The whole page."""
    paths = list(commands())
    titles = {path: " ".join((PROGRAM, *path)) for path in paths}
    links = [f"- [{title}](#{title.replace('.', '').replace(' ', '-')})" for title in titles.values()]
    sections = [f"## {titles[path]}\n\n```text\n{help_of(path)}```\n" for path in paths]
    return "\n".join([INTRODUCTION, "\n".join(links) + "\n", *sections])


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
