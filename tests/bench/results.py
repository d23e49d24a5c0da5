"""What was found, and whether it holds what was promised."""

from __future__ import annotations

from dataclasses import dataclass, field
from statistics import median, quantiles


@dataclass(frozen=True, slots=True)
class Budget:
    """A promise with a number: what was found for it, and the bound."""

    what: str
    found: float
    bound: float
    unit: str = ""
    at_least: bool = False

    @property
    def holds(self) -> bool:
        """Whether it is kept."""
        return self.found >= self.bound if self.at_least else self.found <= self.bound

    def __str__(self) -> str:
        sign = "≥" if self.at_least else "≤"
        return (
            f"{'holds ' if self.holds else 'MISSED'}  {self.what}: {self.found:.2f} {sign} {self.bound:g} {self.unit}".rstrip()
        )


@dataclass(slots=True)
class Group:
    """One of those measured: its budgets, and a table for people."""

    title: str
    budgets: list[Budget] = field(default_factory=list)
    heads: list[str] = field(default_factory=list)
    rows: list[list[str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return "\n".join([f"\n{self.title}", self.table(), *self.notes, *map(str, self.budgets)])

    def table(self) -> str:
        """The table as Markdown."""
        lines = [self.heads, ["---"] * len(self.heads), *self.rows]
        return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def ms(seconds: list[float]) -> str:
    """Median and spread, in milliseconds."""
    if len(seconds) < 4:
        return f"{median(seconds) * 1000:.0f} ({min(seconds) * 1000:.0f} to {max(seconds) * 1000:.0f})"
    low, _, high = quantiles(seconds, n=4)
    return f"{median(seconds) * 1000:.0f} ({low * 1000:.0f} to {high * 1000:.0f})"


def ratio(seconds: list[float], baseline: list[float]) -> float:
    """How much of the baseline's time it takes: the median of the rounds, in each of which both took their turn."""
    return median(one / other for one, other in zip(seconds, baseline, strict=True))
