"""Compile, lint and evaluate one Rego text, and check what its approval rests on. Runs in the child."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import re
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from approval_resource.policy.sandbox import functions, go_format, rego_lint, supplied
from approval_resource.policy.sandbox import tree as ast
from approval_resource.policy.sandbox.expressions import Clause, Use
from approval_resource.policy.sandbox.reach import Reach
from approval_resource.policy.sandbox.supplied import APPROVALS, REJECTIONS, Supply

RULES = (*ast.APPROVING, *ast.REJECTING, "flag")
BACKTRACE = "\nStack backtrace:"
BOM = "\ufeff"
MAX_DOUBTS = 4
"""Upper bound of the rules that are tried both true and undefined. Each doubles the work."""
FAILED = "approval-failed"
"""Mark of this program's own messages, to find them within the engine's."""


def evaluate(text: str, task: dict[str, Any]) -> dict[str, Any]:
    """Return the policy's problems, and its answer on each input.

    Without inputs, it also evaluates a sample, for the lint.
    """
    source = text.encode()
    if text.startswith(BOM):
        return {
            "problems": [_problem(1, 1, "begins with a byte order mark; save the file as UTF-8 without one")],
            "results": [],
        }
    tree, v0, problems = _compiled(text)
    if tree is None:
        return {"problems": problems, "results": []}
    reach = Reach(tree, source)
    problems = rego_lint.lint(tree, source, task["schema"], reach)
    results: list[dict[str, Any]] = []
    if not any(problem["error"] for problem in problems):
        policy = _Policy(tree, source, reach, v0=v0)
        results = [policy.answer(given, task["known"]) for given in task["inputs"]]
        if not task["inputs"]:
            problems += policy.doubts(task["sample"], task["known"])
    return {"problems": problems, "results": results}


# ---- the engine ----------------------------------------------------------------


@contextlib.contextmanager
def _warnings() -> Iterator[Callable[[], str]]:
    """Capture what the engine writes to stderr meanwhile.

    The engine isn't Python code, and its warnings come no other way.
    """
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as file:
        os.dup2(file.fileno(), 2)

        def told() -> str:
            file.seek(0)
            return file.read().decode("utf-8", "replace")

        try:
            yield told
        finally:
            os.dup2(kept, 2)
            os.close(kept)


def _compiled(text: str) -> tuple[Any, bool, list[dict[str, Any]]]:
    """Return the policy's abstract syntax tree, whether it is Rego v0, and its problems.

    The tree is None where the text can't be compiled.
    """
    import regorus

    refusals: list[tuple[bool, dict[str, Any]]] = []
    for v0 in (False, True):
        engine = regorus.Engine()
        engine.set_rego_v0(v0)
        with _warnings() as told:
            try:
                engine.add_policy("policy", text)
                tree = json.loads(engine.get_ast_as_json())[0]["ast"]
                warned = told()
            except RecursionError:
                raise
            except (RuntimeError, ValueError) as wrong:
                refusals.append((v0, _located(str(wrong))))
                continue
        if "warning" not in warned:
            return tree, v0, []
        refusals.append((v0, _located(warned)))
    # Each version refuses the other's keywords. The version that got further is the one meant.
    _, refusal = max(refusals, key=lambda refused: (refused[1]["line"], refused[1]["column"], refused[0]))
    return None, False, [refusal]


def _problem(line: int, column: int, message: str, *, error: bool = True) -> dict[str, Any]:
    return {"line": line, "column": column, "message": message, "error": error}


def _located(text: str) -> dict[str, Any]:
    """Return the engine's message as a problem, with its place."""
    text = text.split(BACKTRACE)[0]
    if FAILED in text:
        at, _, failed = text.partition(FAILED)[2].strip(" :").partition(":")
        return _problem(int(at), 1, failed.strip()[:300])
    place = re.search(r"--> policy:(\d+):(\d+)", text)
    message = re.search(r"(?:error|warning): (.*)", text, re.DOTALL)
    why = " ".join((message.group(1) if message else text).partition("-->")[0].split())
    line, column = (int(place.group(1)), int(place.group(2))) if place else (1, 1)
    return _problem(line, column, why.replace("regorus", "the engine")[:300])


def _because(name: str, given: str, line: int) -> None:
    values = ", ".join(json.dumps(one)[:80] for one in json.loads(given))
    shown = f"{name}({values})" if name.isidentifier() or "." in name else values.replace(", ", f" {name} ")
    raise ValueError(f"{FAILED}: {line}: {shown} fails, and a policy that went on without it might approve by mistake")


def _go(form: str, given: str, nested: bool) -> str:
    return go_format.sprintf(form, given, nested=nested)


class _Trial:
    """Trial call: whether a function of the engine succeeds on some arguments."""

    def __init__(self) -> None:
        import regorus

        self._engine = regorus.Engine()

    def __call__(self, name: str, given: str) -> bool:
        arguments = ", ".join(f"input[{number}]" for number in range(len(functions.SIGNATURES[name])))
        self._engine.set_input_json(given)
        try:
            return bool(json.loads(self._engine.eval_query_as_json(f"x := {name}({arguments})")).get("result"))
        except (RuntimeError, ValueError):
            return False


class _Policy:
    """A compiled policy that has no lint errors."""

    def __init__(self, tree: Any, source: bytes, reach: Reach, *, v0: bool) -> None:
        self._tree, self._source, self._reach, self._v0 = tree, source, reach, v0
        self._names = ast.rule_names(tree)
        self._edits = functions.edits(source, tree)
        self._whole = self._engine()

    def _engine(self, without: Sequence[tuple[int, int]] = (), more: str = "") -> Any:
        import regorus

        engine = regorus.Engine()
        engine.add_extension(functions.FAIL, 3, _because)
        engine.add_extension(functions.FORMAT, 3, _go)
        engine.add_extension(functions.TRY, 2, _Trial())
        engine.set_gather_prints(True)
        engine.set_rego_v0(False)
        engine.add_policy("library", functions.library())
        engine.set_rego_v0(self._v0)
        engine.add_policy("policy", functions.applied(self._source, self._edits, without) + more)
        return engine

    def _ask(self, engine: Any, given: Any, rules: Sequence[str]) -> dict[str, Any]:
        # The input is passed as JSON. Passed as a Python value, false becomes 0.
        engine.set_input_json(json.dumps(given))
        answers: dict[str, Any] = {}
        with _warnings() as told:
            for rule in rules:
                if rule not in self._names:
                    continue
                try:
                    # eval_rule_as_json won't do: for undefined it gives a text that a rule may give, too.
                    found = json.loads(engine.eval_query_as_json(f"data.{ast.PACKAGE}.{rule}")).get("result")
                except (RuntimeError, ValueError) as wrong:
                    return {"error": self._explained(str(wrong))}
                if not found:
                    continue
                value = found[0]["expressions"][0]["value"]
                if rule in ("approve", "reject"):
                    if not isinstance(value, bool):
                        return {"error": _problem(0, 0, f"{rule} is neither true nor false")}
                elif not isinstance(value, list) or not all(isinstance(note, str) for note in value):
                    return {"error": _problem(0, 0, f"{rule} is no set of strings")}
                answers[rule] = value
            if "warning" in told():
                return {"error": _problem(0, 0, "the engine warned of something")}
        return answers

    def _explained(self, told: str) -> dict[str, Any]:
        """Return the engine's error, at its place in the policy.

        An error within the library is reported for the function that the policy calls.
        """
        place = re.search(r"--> library:(\d+):", told)
        found = _located(told)
        if place is None or FAILED in told:
            return found
        line = functions.library().splitlines()[int(place.group(1)) - 1]
        name = line.partition("(")[0].removeprefix("quiet_").removeprefix("loud_")
        known = next((one for one in functions.ALLOWED if one.replace(".", "_") == name), name)
        raised = found["message"].rpartition("UnlikeGoError: ")[2]
        at = [i for i, one in enumerate(self._source.decode().splitlines(), start=1) if f"{known}(" in one]
        return _problem(
            at[0] if len(at) == 1 else 1, 1, f"{known}: {raised}" + (f", in one of lines {at}" if len(at) > 1 else "")
        )

    # ---- an approval and what it rests on ----

    def answer(self, given: dict[str, Any], known: dict[str, Any]) -> dict[str, Any]:
        """Return the policy's answer on an input.

        It fails closed. An approval is an error if it reads a field that identifies a
        person and is missing. So is an approval that needs no approving review and reads facts that nobody
        gave.
        """
        document = given["document"]
        known = {**known, **{name: given[name] for name in ("merged", "defaults", "people") if name in given}}
        every: dict[Use, None] = {}
        for clause in self._reach.clauses:
            every |= clause.uses
        if "known_only" in given and supplied.reached(every, [supplied.path_of(one) for one in known["people"]]):
            document = _with_approvals(document, given["known_only"])
        answers = self._ask(self._whole, document, RULES)
        if "error" in answers or not _approves(answers) or answers.get("reject") is True or answers.get("reject_with_note"):
            return answers
        lacking = self._lacking(document, Supply(known, document))
        return {"error": _problem(0, 0, lacking)} if lacking else answers

    def _lacking(self, document: dict[str, Any], supply: Supply) -> str:
        """Return what an approval lacks, as a message: known people, or facts that were given.

        The message is empty where it lacks nothing.
        """
        approving = [clause for clause in self._reach.clauses if clause.name in ast.APPROVING]
        against = self._against()
        bare = _with_approvals(document, [])
        facts: set[Any] = set()
        people: set[Any] = set()
        for clause in approving:
            others = [self._place(one) for one in approving if one is not clause]
            try:
                engine = self._engine(others) if others else self._whole
            except (RuntimeError, ValueError):
                continue
            if not _approves(self._ask(engine, document, ast.APPROVING)):
                continue
            uses = self._rests_on(clause) | against
            unknown = supply.unknown_people(uses)
            alone = self._ask(engine, bare, ast.APPROVING)
            missing = supply.missing(uses) if "error" in alone or _approves(alone) else set()
            if not unknown and not missing:
                return ""
            people, facts = people | unknown, facts | missing
        if facts and not people and self._stands_anyway(document, supply):
            return ""
        said = []
        if facts:
            said.append(f"approves though nobody approved, and without facts that it asks for; give {_listed(facts)}")
        if people:
            said.append(f"asks for {_listed(people)}, which nobody knows here{_hint(people)}")
        return "; ".join(said) or "approves, and what it rests on can't be told"

    def _stands_anyway(self, document: dict[str, Any], supply: Supply) -> bool:
        """Whether the policy approves for every value of the missing facts.

        It can be told if every rule that reads them is either true or undefined: all combinations of the two
        are tried. Otherwise return False.
        """
        asked = {one.name for one in self._reach.clauses if one.name in (*ast.APPROVING, *ast.REJECTING)}
        relevant = self._reach.reachable_rules(asked)
        doubtful = {one.name for one in self._reach.clauses if one.name in relevant and supply.missing(one.uses)}
        clauses = [one for one in self._reach.clauses if one.name in doubtful]
        if len(doubtful) > MAX_DOUBTS or any(one.name in RULES or not ast.plain(one.rule) for one in clauses):
            return False
        without = [self._place(one) for one in clauses]
        for truths in itertools.product((True, False), repeat=len(doubtful)):
            undefined = "{} {{ false }}" if self._v0 else "{} if false"
            rules = [
                f"{name} := true" if true else undefined.format(name)
                for name, true in zip(sorted(doubtful), truths, strict=True)
            ]
            try:
                engine = self._engine(without, "\n".join(["", *rules, ""]))
            except (RuntimeError, ValueError):
                return False
            answers = self._ask(engine, document, RULES)
            if not _approves(answers) or answers.get("reject") is True or answers.get("reject_with_note"):
                return False
        return True

    def _place(self, clause: Clause) -> tuple[int, int]:
        """Return the offsets at which a rule and the next one begin.

        The engine's own end of a rule may leave out a quote.
        """
        begins = sorted(ast.kind_of(one.rule)[1]["span"]["start"] for one in self._reach.clauses)
        start = ast.kind_of(clause.rule)[1]["span"]["start"]
        return start, next((one for one in begins if one > start), len(self._source))

    def _against(self) -> dict[Use, None]:
        """Return the uses that may speak against an approval.

        They are those of rejecting rules, and of approving rules that may have other values than true.
        """
        found: dict[Use, None] = {}
        for clause in self._reach.clauses:
            if clause.name in ast.REJECTING or (clause.name in ast.APPROVING and not ast.only_true(clause.rule)):
                found |= self._reach.of(clause)
        return found

    def _rests_on(self, clause: Clause) -> dict[Use, None]:
        """Return the uses that an approving rule rests on.

        A default rule rests on every rule of its name, since it applies only when all of those are undefined.
        """
        clauses = [clause]
        if "Default" in clause.rule:
            clauses = [one for one in self._reach.clauses if one.name == clause.name]
        found: dict[Use, None] = {}
        for one in clauses:
            found |= self._reach.of(one)
        return found

    # ---- lint ----

    def doubts(self, sample: dict[str, Any], known: dict[str, Any]) -> list[dict[str, Any]]:
        """Return the error of evaluating the sample, and warnings about what an approval would lack."""
        told = self._ask(self._whole, sample["document"], RULES).get("error")
        found = [told] if told else []
        supply = Supply({**known, "defaults": sample["defaults"]}, sample["document"])
        against = self._against()
        for clause in self._reach.clauses:
            if clause.name in ast.APPROVING and not ast.never(clause.rule):
                found += self._doubt(clause, self._rests_on(clause), against, supply)
        return found

    def _doubt(
        self, clause: Clause, uses: dict[Use, None], against: dict[Use, None], supply: Supply
    ) -> Iterator[dict[str, Any]]:
        start = ast.kind_of(clause.rule)[1]["span"]["start"]
        line, column = rego_lint.place(self._source, start)
        if unknown := supply.unknown_people(uses | against):
            yield _problem(
                line, column, f"asks for {_listed(unknown)}, which nobody knows here, so it approves nothing", error=False
            )
        paths = {path for use in uses for path in use.paths} - {()}
        reviews = {path for path in paths if path[0] == APPROVALS[0]}
        if any(path[: len(REJECTIONS)] != REJECTIONS for path in reviews):
            return  # it asks somebody
        if missing := supply.missing(uses | against):
            yield _problem(
                line,
                column,
                f"approves by itself, which is an error where nobody gives {_listed(missing)}",
                error=False,
            )
        elif paths == reviews and rego_lint.conditional(clause.rule):
            told = "rests on nobody's approval and on no fact, so it approves by itself, or never"
            yield _problem(line, column, told, error=False)


def _approves(answers: dict[str, Any]) -> bool:
    return answers.get("approve") is True or bool(answers.get("approve_with_note"))


def _with_approvals(document: dict[str, Any], approvals: list[Any]) -> dict[str, Any]:
    reviews = document.get("reviews")
    current = reviews.get("current") if isinstance(reviews, dict) else None
    if not isinstance(reviews, dict) or not isinstance(current, dict):
        return document
    return {**document, "reviews": {**reviews, "current": {**current, "approvals": approvals}}}


def _hint(people: set[Any]) -> str:
    """Return how to make Concourse tell who started a build, where that is read; else an empty string."""
    asked = any(path[-1] in ("creator_session", "triggered_by", "requester", "created_by") for path in people)
    return "; Concourse tells who started a build where the resource says expose_build_created_by: true" if asked else ""


def _listed(paths: set[Any]) -> str:
    return ", ".join(sorted(supplied.told(path) for path in paths))
