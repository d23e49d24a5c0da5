"""Test cases of policies, in files beside them that end in .test.yaml, .test.yml or .test.json."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from approval_resource.errors import ConfigError
from approval_resource.policy.authoring.lint import require_no_errors
from approval_resource.policy.authoring.trial import an_instant, trial, trial_on_input
from approval_resource.policy.language.load import Loaded, load_text, parse, text_of
from approval_resource.policy.language.strict import Document, Name, one_or_more, problems_of, read_document
from approval_resource.text import clean

SUFFIXES = (".test.yaml", ".test.yml", ".test.json")
BEGINNING = datetime(2026, 1, 1, 12, tzinfo=UTC)
"""Instant of a case that gives none: a Thursday, at noon."""


class Expected(Document):
    """Expected outcome of a case."""

    decision: Literal["approve", "reject", "undecided", "error"]
    reasons: Annotated[list[str], BeforeValidator(one_or_more)] = Field(default_factory=list)
    """Texts, each of which must occur in one of the reasons."""
    notes: list[str] | None = None


class Case(Document):
    """A test case: facts, reviews and the expected outcome."""

    name: Name
    facts: dict[str, Any] = Field(default_factory=dict)
    requester: str = ""
    reviews: list[Any] = Field(default_factory=list)
    now: Annotated[datetime | None, BeforeValidator(an_instant)] = None
    input: dict[str, Any] | None = None
    """Whole input document of a Rego policy, instead of facts and reviews."""
    expect: Literal["approve", "reject", "undecided", "error"] | dict[str, Any]


class CaseFile(Document):
    """A file of test cases."""

    policy: Annotated[list[str], BeforeValidator(one_or_more)] = Field(default_factory=list)
    cases: list[dict[str, Any]] = Field(min_length=1)


@dataclass(frozen=True, slots=True)
class Outcome:
    """Outcome of a case: its problems, or none where it passed."""

    file: str
    case: str
    problems: tuple[str, ...]

    @property
    def passed(self) -> bool:
        """Whether everything was as expected."""
        return not self.problems


def files_in(directory: Path) -> list[Path]:
    """Return the files of test cases in a directory tree, sorted."""
    return sorted(path for path in directory.rglob("*") if path.name.endswith(SUFFIXES) and path.is_file())


def run(path: Path) -> Iterator[Outcome]:
    """Run every case of one file.

    A file that can't be read counts as one failed case.
    """
    name = str(path)
    try:
        document, _ = parse(text_of(path), name)
        cases = read_document(CaseFile, document, "tests")
        loaded = _policies(path, cases)
    except ConfigError as broken:
        yield Outcome(name, "", broken.problems)
        return
    except (OSError, ValueError) as broken:
        yield Outcome(name, "", (f"can't be read ({type(broken).__name__})",))
        return
    for number, one in enumerate(cases.cases):
        yield _outcome(name, number, one, loaded)


def _policies(path: Path, cases: CaseFile) -> list[Loaded]:
    suffix = next(suffix for suffix in SUFFIXES if path.name.endswith(suffix))
    stem = path.name.removesuffix(suffix)
    beside = [path.with_name(f"{stem}{end}") for end in (".yaml", ".yml", ".json", ".rego")]
    files = [path.parent / name for name in cases.policy] or [file for file in beside if file.is_file()][:1]
    if not files:
        raise ConfigError([f"there is no policy {stem}.yaml or {stem}.rego beside it, and it names none under policy"])
    loaded = [one for file in files for one in load_text(text_of(file), str(file))]
    require_no_errors(loaded)
    return loaded


def _outcome(file: str, number: int, one: dict[str, Any], loaded: list[Loaded]) -> Outcome:
    case, wrong = problems_of(Case, one)
    if case is None:
        return Outcome(file, f"case {number + 1}", tuple(f"{'.'.join(map(str, where))}: {told}" for where, told in wrong))
    wanted = {"decision": case.expect} if isinstance(case.expect, str) else case.expect
    expected, wrong = problems_of(Expected, wanted)
    if expected is None:
        return Outcome(file, case.name, tuple(f"expect.{'.'.join(map(str, where))}: {told}" for where, told in wrong))
    try:
        if case.input is not None:
            decision = trial_on_input(loaded, case.input)
        else:
            decision = trial(loaded, case.facts, case.reviews, case.now or BEGINNING, case.requester)
    except ConfigError as broken:
        return Outcome(file, case.name, broken.problems)
    problems = []
    if decision.result.answer.value != expected.decision:
        why = clean("; ".join(decision.reasons))
        problems.append(f"expected {expected.decision}, but it is {decision.result.answer.value}: {why}")
    problems += [
        f"no reason says {clean(text)!r}: {clean('; '.join(decision.reasons))}"
        for text in expected.reasons
        if not any(text in reason for reason in decision.reasons)
    ]
    if expected.notes is not None and sorted(expected.notes) != sorted(decision.notes):
        problems.append(f"expected notes {expected.notes}, but they are {list(decision.notes)}")
    return Outcome(file, case.name, tuple(problems))
