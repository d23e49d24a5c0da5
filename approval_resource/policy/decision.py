"""Answers of a policy, and the tree of sentences that explains them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from approval_resource.canonical import EMPTY


class Answer(StrEnum):
    """Answer of one rule, of one policy or of all policies, in the words of `policy eval`."""

    REJECT = "reject"
    ERROR = "error"
    UNDECIDED = "undecided"
    APPROVE = "approve"
    ABSTAIN = "abstain"
    """No opinion: the other answers decide."""


PRECEDENCE = (Answer.REJECT, Answer.ERROR, Answer.UNDECIDED, Answer.APPROVE)
"""Precedence of answers that are combined. A rejection wins over everything. An error wins over an approval,
so that the gate fails closed."""


@dataclass(frozen=True, slots=True)
class Explanation:
    """Node of an explanation: an answer, a sentence that people can act on, and the nodes it follows from."""

    answer: Answer
    sentence: str
    parts: tuple[Explanation, ...] = ()
    counted_people: tuple[str, ...] = ()
    """People whose approval counts here. The sentence doesn't name them."""
    rule: str = ""
    """Rule whose approvals are counted here, by name."""
    uncounted: tuple[tuple[str, str], ...] = ()
    """People whose approval doesn't count here, each with the reason."""

    @property
    def reasons(self) -> tuple[str, ...]:
        """Return the sentences of the leaves that decide the answer.

        Nobody is named twice. Names stand beside the count they are in. The reason why an approval doesn't
        count is given once. If somebody would be named twice, one list at the end names everybody whose
        approval counts, each with the rules that count it and, if another rule doesn't, with the reason.
        """
        leaves = list(self._leaves())
        counted = {who for leaf in self._leaves(all_of_them=True) for who in leaf.counted_people}
        here = {who for leaf in leaves for who in leaf.counted_people}
        counts = {(leaf.sentence, leaf.counted_people) for leaf in leaves}
        named = Counter([who for _, people in counts for who in people])
        named.update({who for leaf in leaves for who, _ in leaf.uncounted})
        listed = here if any(named[who] > 1 for who in here) else set()
        told: set[str] = set(listed)
        sentences: set[str] = set()
        found: list[str] = []
        for leaf in leaves:
            sentence = leaf.sentence if listed else leaf._counted
            fresh = [(who, why) for who, why in leaf.uncounted if who not in told]
            # Where a person's approval counts elsewhere in the tree, "and doesn't count" is left out.
            more = [f"{who} {why.rstrip(',')}" if who in counted else _uncounted(who, why) for who, why in fresh]
            if sentence not in sentences or more:
                found.append("; ".join([*([] if sentence in sentences else [sentence]), *more]))
            told |= {who for who, _ in fresh}
            sentences.add(sentence)
        return (*found, _approved_by(leaves)) if listed else tuple(found)

    def _leaves(self, *, all_of_them: bool = False) -> Iterator[Explanation]:
        if not self.parts:
            yield self
        deciding = [part for part in self.parts if part.answer is self.answer]
        for part in self.parts if all_of_them else deciding or self.parts:
            yield from part._leaves(all_of_them=all_of_them)

    @property
    def _counted(self) -> str:
        return f"{self.sentence} ({', '.join(self.counted_people)})" if self.counted_people else self.sentence

    @property
    def _text(self) -> str:
        return "; ".join([self._counted, *(_uncounted(who, why) for who, why in self.uncounted)])

    def document(self) -> dict[str, Any]:
        """Return the tree as JSON values, for programs."""
        parts = {"parts": [part.document() for part in self.parts]} if self.parts else {}
        return {"answer": self.answer.value, "sentence": self._text, **parts}

    def lines(self, indent: str = "") -> Iterable[str]:
        """Yield the tree as text for people, one line per node."""
        yield f"{indent}{self.answer.value}: {self._text}"
        for part in self.parts:
            yield from part.lines(indent + "  ")


def _uncounted(who: str, why: str) -> str:
    return f"{who} {why} and doesn't count"


def _approved_by(leaves: Sequence[Explanation]) -> str:
    rules: dict[str, dict[str, None]] = {}
    for leaf in leaves:
        for who in leaf.counted_people:
            rules.setdefault(who, {}).update({leaf.rule: None} if leaf.rule else {})
    whys: dict[str, str] = {}
    for leaf in leaves:
        for who, why in leaf.uncounted:
            whys.setdefault(who, why.removeprefix("is ").rstrip(","))
    told = []
    for who, those in rules.items():
        more = [*([f"for {', '.join(those)}"] if those else []), *([whys[who]] if who in whys else [])]
        told.append(f"{who} ({'; '.join(more)})" if more else who)
    return f"approved by {', '.join(told)}"


def combine(sentence: str, parts: Iterable[Explanation], otherwise: Answer = Answer.ABSTAIN) -> Explanation:
    """Combine parts into one explanation, by the precedence of their answers.

    The answer is `otherwise` where every part abstains or there is no part.
    """
    parts = tuple(parts)
    said = {part.answer for part in parts}
    return Explanation(next((answer for answer in PRECEDENCE if answer in said), otherwise), sentence, parts)


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyResult:
    """Result of one policy document: its answer, with everything else that the document gives."""

    name: str
    result: Explanation
    notes: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()
    opens_at: datetime | None = None
    """Earliest instant at which time stops delaying the gate. None if it doesn't delay it, or if that instant
    is unknown."""
    ready: bool = False
    """Whether nothing is missing for the approval, or nothing but time until a known instant."""
    valid_for: timedelta | None = None
    forced_by: str = ""
    filled_in: Mapping[str, str] = field(default_factory=lambda: EMPTY)
    """Values of the document's inputs, from people whose approval counts."""
    without_time: Answer = Answer.ABSTAIN
    """Answer of all kinds of rule except time."""
    found: Mapping[str, Any] = field(default_factory=lambda: EMPTY, compare=False)
    """Counts and matches behind the answer, by kind of rule, from which other systems' JSON is rendered."""

    @property
    def answer(self) -> Answer:
        """Answer of the document."""
        return self.result.answer


@dataclass(frozen=True, slots=True, kw_only=True)
class CombinedResult:
    """Combined result of all policies at one instant."""

    result: Explanation
    policies: tuple[PolicyResult, ...]

    @property
    def reasons(self) -> tuple[str, ...]:
        """Reasons for the answer, one sentence each."""
        return self.result.reasons

    @property
    def notes(self) -> tuple[str, ...]:
        """Notes that policies gave with their answers."""
        return tuple(note for judged in self.policies for note in judged.notes)

    @property
    def flags(self) -> tuple[str, ...]:
        """Flags that policies put on the claim, each once."""
        return tuple(dict.fromkeys(flag for judged in self.policies for flag in judged.flags))

    @property
    def filled_in(self) -> dict[str, str]:
        """Values of all inputs, by name."""
        return {name: value for judged in self.policies for name, value in judged.filled_in.items()}

    @property
    def forced(self) -> bool:
        """Whether somebody forced the result of any policy."""
        return any(judged.forced_by for judged in self.policies)


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting(CombinedResult):
    """No decision yet; the reasons say what is missing."""

    opens_at: datetime | None = None
    """Earliest instant at which time alone may complete the approval; None where time alone can't."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Approved(CombinedResult):
    """The gate may open."""

    valid_for: timedelta | None = None
    """Period for which the gate may open; None: for ever."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejected(CombinedResult):
    """The gate stays shut for good."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Undecidable(CombinedResult):
    """The policies can't be evaluated. The gate fails closed."""


Decision = Waiting | Approved | Rejected | Undecidable
