"""What a policy can answer, and how it explains itself."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from approval_resource.canonical import EMPTY


class Answer(StrEnum):
    """What one rule, one policy or all of them say, in the words of `policy eval`."""

    REJECT = "reject"
    ERROR = "error"
    UNDECIDED = "undecided"
    APPROVE = "approve"
    ABSTAIN = "abstain"
    """It leaves the say to the others."""


PRECEDENCE = (Answer.REJECT, Answer.ERROR, Answer.UNDECIDED, Answer.APPROVE)
"""The first that anybody says is what all of them say together: a rejection wins, and an error is never an approval."""


@dataclass(frozen=True, slots=True)
class Explanation:
    """One node of an explanation: an answer, a sentence a person can act on, and the parts it follows from."""

    answer: Answer
    sentence: str
    parts: tuple[Explanation, ...] = ()
    counts: tuple[str, ...] = ()
    """The people whose approval counts here."""
    uncounted: tuple[tuple[str, str], ...] = ()
    """The people whose approval doesn't, each with why."""

    @property
    def reasons(self) -> tuple[str, ...]:
        """Return the sentences at the ends of the tree that make the answer. Why an approval doesn't count is told once."""
        counted = {who for leaf in self._leaves(all_of_them=True) for who in leaf.counts}
        told: set[str] = set()
        found: dict[str, None] = {}
        for leaf in self._leaves():
            fresh = [(who, why) for who, why in leaf.uncounted if who not in told]
            told |= {who for who, _ in fresh}
            # Who counts for another rule or document is only said to be not named by this one.
            more = [f"{who} {why.rstrip(',')}" if who in counted else _uncounted(who, why) for who, why in fresh]
            found["; ".join([leaf.sentence, *more])] = None
        return tuple(found)

    def _leaves(self, *, all_of_them: bool = False) -> Iterator[Explanation]:
        if not self.parts:
            yield self
        deciding = [part for part in self.parts if part.answer is self.answer]
        for part in self.parts if all_of_them else deciding or self.parts:
            yield from part._leaves(all_of_them=all_of_them)

    @property
    def _text(self) -> str:
        return "; ".join([self.sentence, *(_uncounted(who, why) for who, why in self.uncounted)])

    def document(self) -> dict[str, Any]:
        """Return the tree for programs."""
        parts = {"parts": [part.document() for part in self.parts]} if self.parts else {}
        return {"answer": self.answer.value, "sentence": self._text, **parts}

    def lines(self, indent: str = "") -> Iterable[str]:
        """Yield the tree for people, a line a node."""
        yield f"{indent}{self.answer.value}: {self._text}"
        for part in self.parts:
            yield from part.lines(indent + "  ")


def _uncounted(who: str, why: str) -> str:
    return f"{who} {why} and doesn't count"


def combine(sentence: str, parts: Iterable[Explanation], otherwise: Answer = Answer.ABSTAIN) -> Explanation:
    """What the parts say together; `otherwise` where all of them abstain or there are none."""
    parts = tuple(parts)
    said = {part.answer for part in parts}
    return Explanation(next((answer for answer in PRECEDENCE if answer in said), otherwise), sentence, parts)


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyResult:
    """What one policy document says, and what else it tells."""

    name: str
    result: Explanation
    notes: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()
    opens_at: datetime | None = None
    """When time alone may complete an approval: all else that the document asks for is there."""
    ready: bool = False
    """Whether nothing but time is missing, if anything is."""
    valid_for: timedelta | None = None
    forced_by: str = ""
    filled_in: Mapping[str, str] = field(default_factory=lambda: EMPTY)
    """What those whose approval counts filled in, of what the document asks for."""
    details: Mapping[str, Any] = field(default_factory=lambda: EMPTY)
    """The same in the form that the system has whose kind of policy it is."""

    @property
    def answer(self) -> Answer:
        """The document's answer."""
        return self.result.answer


@dataclass(frozen=True, slots=True, kw_only=True)
class Decided:
    """What all policies that apply say together at one instant."""

    result: Explanation
    policies: tuple[PolicyResult, ...]

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why, a sentence each."""
        return self.result.reasons

    @property
    def notes(self) -> tuple[str, ...]:
        """What policies wanted told with their answer."""
        return tuple(note for judged in self.policies for note in judged.notes)

    @property
    def flags(self) -> tuple[str, ...]:
        """What policies want the claim to be marked with."""
        return tuple(dict.fromkeys(flag for judged in self.policies for flag in judged.flags))

    @property
    def filled_in(self) -> dict[str, str]:
        """What was asked for and filled in."""
        return {name: value for judged in self.policies for name, value in judged.filled_in.items()}

    @property
    def forced(self) -> bool:
        """Whether somebody who may forced any part of the decision."""
        return any(judged.forced_by for judged in self.policies)


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting(Decided):
    """Not decided yet; the reasons say what is missing."""

    opens_at: datetime | None = None
    """When time alone may complete the approval; None where people have to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Approved(Decided):
    """The gate may open."""

    valid_for: timedelta | None = None
    """How long it may; None: for ever."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejected(Decided):
    """The gate stays shut for good."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Undecidable(Decided):
    """The policies can't be evaluated, which never opens a gate."""


Decision = Waiting | Approved | Rejected | Undecidable
