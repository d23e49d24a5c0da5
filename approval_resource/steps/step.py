"""What a get or a put step has at hand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from approval_resource.clock import Clock
from approval_resource.errors import ConfigError
from approval_resource.model import Build
from approval_resource.steps.protocol import Source
from approval_resource.store import LockStore
from approval_resource.text import quoted
from approval_resource.waiting import Lookout


@dataclass(frozen=True, slots=True)
class Step:
    """One step of one build, set on a store."""

    source: Source
    directory: Path
    build: Build
    store: LockStore
    clock: Clock
    say: Callable[[str], None]
    """Takes one line for the build log."""

    @property
    def lookout(self) -> Lookout:
        """A new look-out at the pace that the source asks for."""
        return Lookout(self.clock, self.source.wait_lock, self.say)

    def require_own_lock(self, lock_name: str, where: str) -> None:
        """Pass where the source leaves the lock open or names this one.

        Raises:
            ConfigError: the resource is another lock's.
        """
        if self.source.lock_name not in (None, lock_name):
            raise ConfigError(
                [f"{where}: is of lock {quoted(lock_name)}, but source.lock_name is {quoted(self.source.lock_name)}"]
            )
