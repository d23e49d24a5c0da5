"""The build log, as a step writes it."""

from __future__ import annotations

from typing import TextIO

from approval_resource.text import clean, shortened


class Log:
    """The build log: whole lines on stderr, with nothing in them that would move a cursor or tell a secret."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self.secrets: list[str] = []

    def say(self, line: str) -> None:
        """One line, cut where it is too long to be read."""
        for secret in self.secrets:
            line = line.replace(secret, "((redacted))")
        text = shortened(clean(line)).encode(self._stream.encoding or "utf-8", "backslashreplace")
        self._stream.write(text.decode(self._stream.encoding or "utf-8") + "\n")
        self._stream.flush()
