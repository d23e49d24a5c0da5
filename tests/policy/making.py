"""Policy documents made at random, right and spoilt, from a `random.Random`."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from tests.policy.asking import ANA, BOB

Make = Callable[[random.Random], Any]
NAMES = ("ana", "bob", ANA, BOB, "aws:x", "typed:ana", "concourse:carol", "ü", "")
GROUPS = ("qa", "leads", "q")
VALUES: tuple[Any, ...] = (
    None,
    True,
    False,
    0,
    1,
    -1,
    2.5,
    "",
    "x",
    "09:00",
    "mon",
    [],
    {},
    [1],
    {"a": 1},
    "2026-01-01",
    "1h",
    "\u202e",
)
OPERATORS = ("$eq", "$ne", "$gt", "$lte", "$in", "$nin", "$exists", "$not", "$elemMatch", "$all", "$size", "$foo", "$or")
PATHS = ("run.id", "env", "a.b", "build.metadata.coverage", "a..b", "$nor", "$and", "pool.name")
SPOILT = 0.12


def maybe(chance: random.Random, value: Any) -> Any:
    """That value, and now and then quite another."""
    return chance.choice(VALUES) if chance.random() < SPOILT else value


def quorum(chance: random.Random) -> dict[str, Any]:
    """A quorum, or nearly one."""
    document = {
        "required_approvals": maybe(chance, chance.randint(1, 4)),
        "rejections_required": maybe(chance, chance.randint(1, 2)),
    }
    if chance.random() < 0.5:
        document["allow_self_approval"] = maybe(chance, chance.random() < 0.5)
    if chance.random() < 0.3:
        document["bypass"] = maybe(chance, {"users": [chance.choice(NAMES)]})
    if chance.random() < 0.2:
        document["inputs"] = maybe(chance, [{"name": "v", "kind": chance.choice(("string", "number", "boolean", "choice"))}])
    return document


def rules(chance: random.Random) -> dict[str, Any]:
    """Approval rules, or nearly so."""
    listed = [
        {
            "name": f"r{number}",
            chance.choice(("group", "group", "user")): maybe(chance, chance.choice(GROUPS)),
            "count": maybe(chance, chance.choice((1, 1, 2))),
        }
        for number in range(chance.randint(1, 3))
    ]
    groups = {group: [chance.choice(NAMES[:5]) for _ in range(chance.randint(0, 3))] for group in GROUPS[:2]}
    return {"approval_rules": maybe(chance, listed), "groups": maybe(chance, groups), "per_rule": maybe(chance, True)}


def query(chance: random.Random, depth: int = 0) -> Any:
    """Conditions, or nearly so."""
    found: dict[str, Any] = {}
    for _ in range(chance.randint(1, 2)):
        path = chance.choice(PATHS)
        if path.startswith("$"):
            found[path] = [query(chance, depth + 1) for _ in range(2)] if depth < 3 else chance.choice(VALUES)
        elif chance.random() < 0.5:
            found[path] = chance.choice(VALUES)
        else:
            operand = query(chance, depth + 1) if depth < 3 and chance.random() < 0.3 else chance.choice(VALUES)
            found[path] = {chance.choice(OPERATORS): operand}
    return found


def conditions(chance: random.Random) -> dict[str, Any]:
    """A policy with conditions."""
    document = {
        "conditions": query(chance),
        "on_policy_success": maybe(chance, "approve"),
        "on_policy_fail": maybe(chance, "deny"),
    }
    if chance.random() < 0.3:
        document["selector"] = query(chance)
    return document


def windows(chance: random.Random) -> dict[str, Any]:
    """A policy with windows."""
    one = {
        "days": maybe(chance, chance.choice(("mon-fri", ["sat", "sun"], "fri-mon"))),
        "from": maybe(chance, chance.choice(("09:00", "22:30"))),
        "to": maybe(chance, chance.choice(("17:00", "24:00", "06:00"))),
        "tz": maybe(chance, chance.choice(("UTC", "Europe/Paris", "Pacific/Chatham"))),
    }
    return {"windows": [one], "not_before": maybe(chance, "1h"), "required_approvals": 1}


def regos(chance: random.Random) -> dict[str, Any]:
    """A Rego policy, or nearly one."""
    words = [
        "package spacelift",
        "import rego.v1",
        "approve { true }",
        "approve if true",
        "reject {",
        "}",
        "not x",
        "default approve = false",
    ]
    words += [
        "approve { count(input.reviews.current.approvals) > 0 }",
        'flag["x"] { input.run.branch }',
        "data.x",
        "http.send({})",
        "#",
    ]
    lines = chance.sample(words[2:], chance.randint(0, 3))
    return {"rego": "\n".join([*words[: 1 + (chance.random() < 0.3)], *lines])}


def mixed(chance: random.Random) -> Any:
    """All kinds in one document, or several documents."""
    made: dict[str, Any] = {}
    for kind in (quorum, rules, conditions, windows):
        if chance.random() < 0.6:
            made |= kind(chance)
    return [made, quorum(chance)] if chance.random() < 0.3 else made


def junk(chance: random.Random) -> str:
    """What looks like YAML from afar."""
    pieces = [
        "a",
        "required_approvals",
        "rego",
        ":",
        ": ",
        "- ",
        "\n",
        "\n  ",
        "[",
        "]",
        "{",
        "}",
        "|",
        ">",
        "&a ",
        "*a",
        "!",
        "!!int ",
        "'",
        '"',
    ]
    pieces += [
        "#",
        "%",
        "@",
        "`",
        ",",
        "? ",
        "<<",
        "\t",
        "1",
        "0x1",
        "true",
        "~",
        "\ufeff",
        "\x00",
        "ü",
        "\u2028",
        "---\n",
        "...\n",
        "package spacelift",
    ]
    return "".join(chance.choice(pieces) for _ in range(chance.randint(1, 40)))


KINDS: dict[str, Make] = {
    "quorum": quorum,
    "rules": rules,
    "conditions": conditions,
    "windows": windows,
    "rego": regos,
    "mixed": mixed,
    "junk": junk,
}
