"""The build log that a step writes."""

from __future__ import annotations

from typing import TextIO

from approval_resource.text import clean, shortened, without_mail


class Log:
    """Build log of whole lines. Secrets, mail addresses' hosts and cursor controls are taken out."""

    def __init__(self, stream: TextIO) -> None:
        """Write to `stream`. Each of `secrets` is redacted in every line."""
        self._stream = stream
        self.secrets: list[str] = []

    def say(self, line: str) -> None:
        """Write one line. A line too long to be read is cut."""
        for secret in self.secrets:
            line = line.replace(secret, "((redacted))")
        # Build pages may be public, so a line says no more of mail addresses than the metadata beside it.
        text = shortened(without_mail(clean(line))).encode(self._stream.encoding or "utf-8", "backslashreplace")
        self._stream.write(text.decode(self._stream.encoding or "utf-8") + "\n")
        self._stream.flush()
