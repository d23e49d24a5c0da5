"""What is logged, and what isn't: this package's own lines, and nobody else's."""

from __future__ import annotations

import logging


def log_to(handler: logging.Handler, *, debug: bool) -> None:
    """Hand this package's warnings to `handler`, with `debug` its requests too.

    The libraries below are kept quiet: what they warn of comes back as an error with a line of its own, and their
    log holds tracebacks.
    """
    if not logging.getLogger().handlers:
        logging.getLogger().addHandler(logging.NullHandler())
    logger = logging.getLogger("approval_resource")
    logger.handlers = [handler]
    logger.setLevel(logging.DEBUG if debug else logging.WARNING)
