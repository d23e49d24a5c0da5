"""Stage of the demo: run the real programs, show input and output, stop at the first surprise."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import shlex
import shutil
import signal
import struct
import subprocess
import sys
import termios
import textwrap
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from demo.engine import ROOT, Engine

STEP_SECONDS = 20
LOOK_SECONDS = 0.02
NARROWEST, WIDEST = 60, 120
SCREEN = 78
"""Columns of a person's terminal: 80 less the indentation."""
PLAIN = {"NO_COLOR": "1", "TERM": "xterm", "LOGNAME": "ana"}
METADATA = re.compile(r'"metadata": \[.*\]')
STRAY = ("AWS_", "APPROVAL_", "BUILD_", "ATC_")
"""Prefixes of variables that would lead a program away from the engine."""


class SurpriseError(Exception):
    """A step of the demo did not do what it must."""


def environment(engine: Engine) -> dict[str, str]:
    """This process's environment, with the engine in place of its AWS and Concourse, and with this Python."""
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(STRAY) and not name.lower().endswith("_proxy")
    }
    path = os.pathsep.join([str(Path(sys.executable).parent), kept.get("PATH", os.defpath)])
    return kept | engine.environment() | {"PATH": path}


@contextmanager
def terminable() -> Iterator[None]:
    """Treat SIGTERM as Ctrl-C from here on. Ignore later signals, so that the clean-up can finish."""

    def stop(*_: object) -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
        raise KeyboardInterrupt

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    yield


@dataclass(slots=True)
class Program:
    """One started program. `shown` is the length of its stderr that was printed already."""

    title: str
    process: subprocess.Popen[bytes]
    out: Path
    err: Path
    shown: int = 0

    def waits(self, says: str) -> None:
        """Show what it printed, once that contains `says`; it must go on running after that.

        Raises:
            SurpriseError: it ended, or never said so.
        """
        until = time.monotonic() + STEP_SECONDS
        while says not in (text := self.err.read_text("utf-8")) or not text.endswith("\n"):
            if self.process.poll() is not None or time.monotonic() > until:
                self._show()
                raise SurpriseError(f'{self.title}: never said "{says}"')
            time.sleep(LOOK_SECONDS)
        self._show()
        if self.process.poll() is not None:
            raise SurpriseError(f"{self.title}: should wait, but ended")
        print("  … and it waits")

    def ends(self, *says: str, code: int = 0, whole: bool = False) -> str:
        """Wait for its end, show the rest of its output, and return its stdout. `whole` shows metadata too.

        Raises:
            SurpriseError: it ended with another exit code, without saying one of `says`, or not at all.
        """
        try:
            ended = self.process.wait(STEP_SECONDS)
        except subprocess.TimeoutExpired:
            ended = None
        self._show()
        out = self.out.read_text("utf-8")
        for line in out.splitlines():
            print(_laid_out(line if whole else METADATA.sub('"metadata": […]', line)))
        if ended is None:
            raise SurpriseError(f"{self.title}: still runs after {STEP_SECONDS} s")
        if ended != code:
            raise SurpriseError(f"{self.title}: exit code {ended}, not {code}")
        if code:
            print(f"  (exit code {code})")
        for words in says:
            if words not in self.err.read_text("utf-8") + out:
                raise SurpriseError(f'{self.title}: never said "{words}"')
        return out

    def _show(self) -> None:
        text = self.err.read_text("utf-8")
        for line in text[self.shown :].splitlines():
            print(_laid_out(line))
        self.shown = len(text)


class Stage:
    """A build's directory with the programs in it, and the engine they talk to."""

    def __init__(self, directory: Path, engine: Engine) -> None:
        self.directory = directory
        self._environment = environment(engine)
        self._log = directory / ".demo"
        self._log.mkdir()
        self._programs: list[Program] = []
        for name, kept in (("assets", "assets"), ("approvals", "cli.py")):
            (directory / name).symlink_to(ROOT / kept)

    def step(self, step: str, directory: str, document: Mapping[str, Any], build: Mapping[str, str] | None = None) -> Program:
        """Start one of the three scripts as Concourse would, with that document on stdin."""
        lines = [f"{json.dumps(name)}: {json.dumps(value)}" for name, value in document.items()]
        text = "{" + ",\n    ".join(lines) + "}"
        command = [f"assets/{step}", directory] if step != "check" else ["assets/check"]
        print(f"$ echo '{text}' | {' '.join(command)}")
        return self._start(step, command, text, build or {})

    def cli(self, *arguments: str) -> Program:
        """Start the command line."""
        line = " ".join(f"'{word}'" if " " in word else word for word in arguments)
        print(f"$ approvals {line}")
        return self._start(f"approvals {arguments[0]}", ["python3", "approvals", *arguments])

    def person(self, *arguments: str) -> str:
        """Run the command line on a terminal; show and return the output that a person sees.

        Raises:
            SurpriseError: it fails.
        """
        print(f"$ approvals {shlex.join(arguments)}", flush=True)
        ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, SCREEN, 0, 0))
        environ = {name: value for name, value in self._environment.items() if name not in ("COLUMNS", "LINES")} | PLAIN
        command = [sys.executable, "-m", "approval_resource", *arguments]
        with subprocess.Popen(
            command, env=environ, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=theirs, stderr=theirs
        ) as process:
            os.close(theirs)
            seen = b""
            with suppress(OSError):  # Linux raises it once the other end is closed
                while more := os.read(ours, 65536):
                    seen += more
        os.close(ours)
        text = seen.decode("utf-8", "replace").replace("\r\n", "\n")
        print(textwrap.indent(text, "  "))
        if process.returncode:
            raise SurpriseError(f"approvals {arguments[0]}: exit code {process.returncode}")
        return text

    def shell(self, line: str) -> None:
        """Run the line in a shell, in the build's directory."""
        print(f"$ {line}")
        self._start(line, ["sh", "-c", line]).ends()

    def _start(self, title: str, command: Sequence[str], stdin: str = "", build: Mapping[str, str] | None = None) -> Program:
        sys.stdout.flush()
        number = len(self._programs)
        out, err, given = (self._log / f"{number}.{name}" for name in ("out", "err", "in"))
        given.write_text(stdin, "utf-8")
        with out.open("wb") as output, err.open("wb") as errors, given.open("rb") as source:
            environ = self._environment | dict(build or {})
            process = subprocess.Popen(command, stdin=source, stdout=output, stderr=errors, cwd=self.directory, env=environ)
        self._programs.append(Program(f"step {number + 1} ({title})", process, out, err))
        return self._programs[-1]

    def clear(self) -> None:
        """Stop whatever still runs."""
        for program in self._programs:
            if program.process.poll() is None:
                program.process.kill()
                program.process.wait()


@contextmanager
def stage(engine: Engine) -> Iterator[Stage]:
    """A fresh stage; nothing of it is left afterwards."""
    with TemporaryDirectory(prefix="demo-") as directory:
        set_up = Stage(Path(directory), engine)
        try:
            yield set_up
        finally:
            set_up.clear()


def heading(text: str) -> None:
    """Print a title: bold on a terminal that takes it, underlined elsewhere."""
    bold = sys.stdout.isatty() and "NO_COLOR" not in os.environ
    print(f"\n\033[1m{text}\033[0m" if bold else f"\n{text}\n{'-' * len(text)}")


def _laid_out(line: str) -> str:
    """Return a line of output, indented. JSON is wrapped at its spaces to the terminal's width."""
    if not line.startswith(("{", "[")):
        return f"  {line}"
    width = min(max(shutil.get_terminal_size().columns, NARROWEST), WIDEST)
    return textwrap.fill(
        line, width, initial_indent="  ", subsequent_indent="   ", break_long_words=False, break_on_hyphens=False
    )
