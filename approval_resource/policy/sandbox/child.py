"""The program that evaluates what strangers wrote: Rego, conditions and patterns, alone in a process with limits.

Run by path, with nothing of this package imported: it must start fast, and what it runs must find nothing. One JSON
document comes in on stdin, one goes out on stdout. Whatever else happens, a crash included, is an error to its caller.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import re
import resource
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

MEMORY = 256 * 1024 * 1024
"""Bytes of address space."""
CPU_SECONDS = 2
MAX_ANSWER = 4_000_000
RULES = ("approve", "reject", "approve_with_note", "reject_with_note", "flag")
BACKTRACE = "\nStack backtrace:"


def _limit() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS + 1))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))


def _beside(name: str) -> ModuleType:
    """A module that lies beside this one."""
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    if spec is None or spec.loader is None:
        raise ImportError(name)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# ---- Rego --------------------------------------------------------------------


@contextlib.contextmanager
def _warnings() -> Iterator[Callable[[], str]]:
    """What the engine, which is no Python, writes to stderr meanwhile: its warnings come no other way."""
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


def _compiled(text: str) -> tuple[Any, Any, list[dict[str, Any]]]:
    """The engine with the policy in it, the policy's syntax tree, and what is wrong with it."""
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
            return engine, tree, []
        refusals.append((v0, _located(warned)))
    # Each version refuses the other's keywords; the one meant is the one that got further.
    _, refusal = max(refusals, key=lambda refused: (refused[1]["line"], refused[1]["column"], refused[0]))
    return None, None, [refusal]


def _located(text: str) -> dict[str, Any]:
    """What the engine says, with its place."""
    text = text.split(BACKTRACE)[0]
    place = re.search(r"--> policy:(\d+):(\d+)", text)
    message = re.search(r"(?:error|warning): (.*)", text, re.DOTALL)
    why = " ".join((message.group(1) if message else text).split())
    line, column = (int(place.group(1)), int(place.group(2))) if place else (1, 1)
    return {"line": line, "column": column, "message": why[:300], "error": True}


def _rego(task: dict[str, Any]) -> dict[str, Any]:
    """Each policy, linted, and what it says on each input."""
    lint = _beside("rego_lint")
    found = []
    for text in task["policies"]:
        engine, tree, problems = _compiled(text)
        if engine is None:
            found.append({"problems": problems, "results": []})
            continue
        problems = lint.lint(tree, text, task["schema"])
        broken = any(problem["error"] for problem in problems)
        names = lint.rule_names(tree)
        engine.set_gather_prints(True)
        results = [] if broken else [_asked(engine, names, given) for given in task["inputs"]]
        if not broken and not task["inputs"]:
            # What the engine only sees when it is asked: a variable that nothing defines, a function that isn't there.
            problems += [_located(told) for told in [_asked(engine, names, task["sample"]).get("error", "")] if told]
        found.append({"problems": problems, "results": results})
    return {"policies": found}


def _asked(engine: Any, names: set[str], given: Any) -> dict[str, Any]:
    # As JSON: the other way in turns false into 0.
    engine.set_input_json(json.dumps(given))
    answers: dict[str, Any] = {}
    with _warnings() as told:
        for rule in RULES:
            if rule not in names:
                continue
            try:
                # Not the rule alone: its answer for undefined is a text that a rule could have too.
                found = json.loads(engine.eval_query_as_json(f"data.spacelift.{rule}")).get("result")
            except (RuntimeError, ValueError) as wrong:
                return {"error": str(wrong)}
            if not found:
                continue
            value = found[0]["expressions"][0]["value"]
            if rule in ("approve", "reject"):
                if not isinstance(value, bool):
                    return {"error": f"{rule} is neither true nor false"}
            elif not isinstance(value, list) or not all(isinstance(note, str) for note in value):
                return {"error": f"{rule} is no set of strings"}
            answers[rule] = value
        if "warning" in told():
            return {"error": "the engine warned of something"}
    return answers


# ---- conditions and patterns ---------------------------------------------------


def _conditions(task: dict[str, Any]) -> dict[str, Any]:
    module = _beside("matching")
    return {"results": [module.matches(query, task["facts"], closed=closed) for query, closed in task["queries"]]}


def _pattern(task: dict[str, Any]) -> dict[str, Any]:
    return {"results": [re.fullmatch(pattern, text) is not None for pattern, text in task["pairs"]]}


TASKS = {"rego": _rego, "conditions": _conditions, "pattern": _pattern}


def main() -> None:
    """One task."""
    _limit()
    task = json.load(sys.stdin)
    answer = json.dumps(TASKS[task["task"]](task))
    if len(answer) > MAX_ANSWER:
        sys.exit(1)
    sys.stdout.write(answer)
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
