"""Logging: the lines of this package, and of no library below it."""

from __future__ import annotations

import logging


def log_to(handler: logging.Handler, *, debug: bool) -> None:
    """Send this package's warnings to `handler`, and its requests too if `debug` is set.

    The libraries below stay quiet. Their warnings come back as errors with a line of their own, and their
    logs hold tracebacks.
    """
    if not logging.getLogger().handlers:
        logging.getLogger().addHandler(logging.NullHandler())
    logger = logging.getLogger("approval_resource")
    logger.handlers = [handler]
    logger.setLevel(logging.DEBUG if debug else logging.WARNING)
