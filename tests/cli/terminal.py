"""A terminal of a given size, on which the command line runs as a person sees it."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from demo.engine import ROOT

SECONDS = 30
COLOUR = re.compile(r"\x1b\[[0-9;]*m")


@dataclass(frozen=True, slots=True)
class Seen:
    """The screen after a command, what it said on stderr, and its exit code."""

    code: int
    raw: str
    stderr: str

    @property
    def screen(self) -> str:
        """The screen without colours."""
        return COLOUR.sub("", self.raw)

    @property
    def said(self) -> str:
        """The screen's words in one line, however it was wrapped."""
        return " ".join(self.screen.split())

    @property
    def lines(self) -> list[str]:
        """The screen's lines, without blanks at their ends."""
        return [line.rstrip() for line in self.screen.splitlines()]


Watcher = Callable[[str, "subprocess.Popen[bytes]"], object]


CLI_PY = (sys.executable, str(ROOT / "cli.py"))


def on_terminal(
    arguments: tuple[str, ...],
    environment: Mapping[str, str],
    columns: int = 80,
    rows: int = 40,
    watcher: Watcher = lambda text, program: None,
    called: tuple[str, ...] = CLI_PY,
    cwd: Path = ROOT,
) -> Seen:
    """Run `cli.py` with those arguments on a terminal of that size; `watcher` is called with all that was written so far."""
    ours, theirs = pty.openpty()
    try:
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        variables = {"TERM": "xterm-256color", **environment}
        kept = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES", "NO_COLOR")}
        command = [*called, *arguments]
        with subprocess.Popen(
            command, cwd=cwd, env=kept | variables, stdin=subprocess.DEVNULL, stdout=theirs, stderr=subprocess.PIPE
        ) as program:
            os.close(theirs)
            theirs = -1
            text = _read(ours, lambda text: watcher(text, program))
            _, errors = program.communicate(timeout=SECONDS)
    finally:
        os.close(ours)
        if theirs >= 0:
            os.close(theirs)
    return Seen(program.returncode, text.replace("\r\n", "\n"), errors.decode())


def _read(terminal: int, watcher: Callable[[str], object]) -> str:
    """Return all that is written until the last writer has gone."""
    found = b""
    while True:
        try:
            more = os.read(terminal, 65536)
        except OSError:  # Linux says so where nobody has the other end open any more
            more = b""
        if not more:
            return found.decode("utf-8", "replace")
        found += more
        watcher(found.decode("utf-8", "replace"))
