"""How hard a run tries, and what it tried, summed over all its processes."""

from __future__ import annotations

import json
import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from random import Random

VARIABLE = "APPROVAL_TALLY"


@dataclass(frozen=True, slots=True)
class Effort:
    """A short run, for every change, or a soak."""

    soak: bool

    def of(self, short: int, soak: int) -> int:
        """How many, by the kind of run."""
        return soak if self.soak else short


def add(**tried: int) -> None:
    """Count what was tried, such as `kills=3`, and what came of it."""
    path = os.environ.get(VARIABLE)
    if path:
        with Path(path).open("a", encoding="utf-8") as file:
            file.write(json.dumps(tried) + "\n")


def total(path: Path) -> Counter[str]:
    """All that was counted in a run."""
    counts: Counter[str] = Counter()
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
        counts.update(json.loads(line))
    return counts


def seeded() -> tuple[int, Random]:
    """A seed, from APPROVAL_SEED or by chance, and a generator that starts from it. Print the seed where a test fails."""
    seed = int(os.environ.get("APPROVAL_SEED") or int.from_bytes(os.urandom(4), "big"))
    return seed, Random(seed)  # noqa: S311 - what is tried, not what is kept secret
