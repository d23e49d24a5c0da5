"""Progress of long commands: one line on a terminal, nothing anywhere else."""

from __future__ import annotations

import io
import sys

import pytest

from approval_resource.commands.shared import progress


class Stream(io.StringIO):
    """Stderr, a terminal or not."""

    def __init__(self, *, terminal: bool) -> None:
        super().__init__()
        self._terminal = terminal

    def isatty(self) -> bool:
        """Whether it is a terminal."""
        return self._terminal


def shown(monkeypatch: pytest.MonkeyPatch, *, terminal: bool, total: int) -> str:
    """What 100 things done write."""
    stream = Stream(terminal=terminal)
    monkeypatch.setattr(sys, "stderr", stream)
    with progress("verifying pool a\x1b[2J", "events") as watch:
        for number in range(1, 101):
            watch(number, total)
    return stream.getvalue()


def test_progress_is_one_line_on_a_terminal_and_gone_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each look begins at the line's start; names that others chose move no cursor."""
    lines = shown(monkeypatch, terminal=True, total=1200).split("\r")
    assert lines[1:4:2] == [f"verifying pool a [2J: {done} of 1,200 events\x1b[K" for done in (25, 75)]
    assert lines[-1] == "\x1b[K"
    assert "\n" not in "".join(lines)
    assert "\r verifying pool a [2J: 25 events" in shown(monkeypatch, terminal=True, total=0).replace("\r", "\r ")


def test_progress_is_silent_where_stderr_is_no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """A scheduler's log has findings alone."""
    assert shown(monkeypatch, terminal=False, total=1200) == ""
