"""The step of a build: its source, directory, store and clock."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from approval_resource.canonical import digest
from approval_resource.claims.poller import GATE_PAUSE, Poller
from approval_resource.clock import Clock
from approval_resource.errors import ConfigError
from approval_resource.model.claim import Build
from approval_resource.steps.protocol import Source
from approval_resource.store.interface import LockStore, new_id
from approval_resource.strict_options import MAX_NAME
from approval_resource.text import as_displayed, clean, quoted

MARK = "…"
"""Mark between an altered name and its digest."""


@dataclass(frozen=True, slots=True)
class Step:
    """One step of one build, with its store and clock."""

    source: Source
    directory: Path
    build: Build
    store: LockStore
    clock: Clock
    say: Callable[[str], None]
    """Function that writes one line to the build log."""
    undo: list[Callable[[], object]] = field(default_factory=list)
    """Actions to run if the step is stopped before Concourse has its answer."""

    @property
    def poller(self) -> Poller:
        """New poller that pauses for up to `source.wait_lock` seconds."""
        return Poller(self.clock, self.source.wait_lock, self.say)

    @property
    def gate_poller(self) -> Poller:
        """New poller for a gate: with shorter pauses, since people wait for it to open."""
        return Poller(self.clock, min(GATE_PAUSE, self.source.wait_lock), self.say)

    def require_own_lock(self, lock_name: str, where: str) -> None:
        """Pass if the source names no lock, or this one. `where` is the option that the error blames.

        Raises:
            ConfigError: the source names another lock.
        """
        if self.source.lock_name not in (None, lock_name):
            raise ConfigError(
                [f"{where}: is of lock {quoted(lock_name)}, but source.lock_name is {quoted(self.source.lock_name)}"]
            )


def build_of(environ: Mapping[str, str]) -> Build:
    """Return the build of this step, from Concourse's environment variables.

    Without a BUILD_ID, a run can't be a retry of another, so it gets an id of its own.
    """

    def variable(name: str, *, exact: bool = False) -> str:
        raw = environ.get(name, "").encode("utf-8", "surrogateescape")
        text = as_displayed(raw.decode("utf-8", "ignore")) if exact else clean(raw.decode("utf-8", "replace"))
        if exact and text and (text.encode() != raw or MARK in text):
            # Two names that differ only in invisible characters must neither be equal nor look equal. A mark
            # within a name could imitate another name's digest.
            text = f"{text[:MAX_NAME]}{MARK}{hashlib.sha256(raw).hexdigest()[:16]}"
        # A claim has to fit into an item, so a long name is cut. The digest keeps it unique.
        return text if len(text) <= MAX_NAME else f"{text[:MAX_NAME]}{MARK}{digest(text)[:16]}"

    return Build(
        url=variable("ATC_EXTERNAL_URL"),
        team=variable("BUILD_TEAM_NAME"),
        pipeline=variable("BUILD_PIPELINE_NAME"),
        instance_vars=variable("BUILD_PIPELINE_INSTANCE_VARS"),
        job=variable("BUILD_JOB_NAME"),
        id=variable("BUILD_ID") or f"unknown-{new_id()}",
        name=variable("BUILD_NAME"),
        created_by=variable("BUILD_CREATED_BY", exact=True),
    )
