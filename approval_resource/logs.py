"""Logging: this package's own lines, without those of libraries; and the build log that a step writes."""

from __future__ import annotations

import logging
from typing import TextIO

from approval_resource.text import clean, shortened, without_mail


def log_to(handler: logging.Handler, *, debug: bool) -> None:
    """Send this package's warnings to `handler`, and its requests too if `debug` is set.

    The libraries below stay quiet: this package reports their failures, and their logs hold tracebacks.
    """
    if not logging.getLogger().handlers:
        logging.getLogger().addHandler(logging.NullHandler())
    logger = logging.getLogger("approval_resource")
    logger.handlers = [handler]
    logger.setLevel(logging.DEBUG if debug else logging.WARNING)


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
        # Build pages may be public, so mail addresses lose their hosts here, as in the metadata.
        text = shortened(without_mail(clean(line))).encode(self._stream.encoding or "utf-8", "backslashreplace")
        self._stream.write(text.decode(self._stream.encoding or "utf-8") + "\n")
        self._stream.flush()
