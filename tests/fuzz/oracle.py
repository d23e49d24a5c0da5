"""What Concourse takes, and what a person may be shown."""

from __future__ import annotations

import hashlib
import unicodedata
from contextlib import suppress
from typing import Any

from approval_resource.audit import verify as audit
from approval_resource.errors import ConfigError
from approval_resource.model.claim import Claim
from approval_resource.steps.aborts import ABORTED_CODE
from tests.fuzz.world import Ran, World

LINES = 25
"""How many lines a failure may take."""
LINE = 1_000
"""How many characters one of them may have, beside what it repeats."""
REPEATED = 3
"""How many texts of others one line may repeat, such as the names of a build's team, pipeline and job."""
SECONDS = 10.0
"""How long one input may take: many times what any needs, on a busy machine."""
UNFIT = ("Cc", "Cf", "Cs", "Zl", "Zp")


def faults(world: World) -> list[str]:
    """What the audit finds wrong with the pools that the story used."""
    found: list[str] = []
    for pool in sorted(world.pools):
        with suppress(ConfigError):  # no key can hold its name, so nothing can be there
            found += audit.verify(world.store, pool).findings
    return found


def outside(world: World, claim: Claim) -> list[str]:
    """The attachments of a claim that are no file of the build."""
    files = [path for path in world.workspace.rglob("*") if path.is_file()]
    known = {hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
    return [name for name, file in claim.attachments.items() if file.digest not in known]


def require_fit(text: str) -> None:
    """Pass for a line with nothing in it that moves a cursor, or turns or hides text."""
    odd = sorted({f"U+{ord(character):04X}" for character in text if unicodedata.category(character) in UNFIT})
    assert not odd, f"{odd} in {text[:200]!r}"


def require_log(stderr: str) -> list[str]:
    """The lines of a build log or of a command's stderr: whole ones, fit to be shown."""
    assert "Traceback" not in stderr, stderr
    assert not stderr or stderr.endswith("\n"), stderr[-200:]
    lines = stderr.split("\n")[:-1]
    for line in lines:
        require_fit(line)
    return lines


def longest(document: Any) -> int:
    """How long the longest text in it is, payloads aside, which nobody repeats."""
    if isinstance(document, dict):
        return max(
            (longest(part) for name, value in document.items() if name != "payload" for part in (name, value)), default=0
        )
    if isinstance(document, list):
        return max(map(longest, document), default=0)
    return len(document) if isinstance(document, str) else 0


def require_refusal(stderr: str, repeated: int = 0) -> None:
    """Pass for a failure that is told: a few lines, none of them long but for texts of up to `repeated` characters in it.

    Those should be cut short too; test_lines.py has what is repeated in full though it is too long for any reader.
    """
    lines = require_log(stderr)
    assert any(line.strip() for line in lines), "it failed and said nothing"
    assert len(lines) <= LINES, f"{len(lines)} lines: {lines[0][:200]} … {lines[-1][:200]}"
    line = max(lines, key=len)
    assert len(line) <= LINE + REPEATED * repeated, f"a line of {len(line)} characters: {line[:300]}"


def require_ending(ran: Ran, repeated: int) -> None:
    """Pass for one of the ways in which a script may end."""
    assert ran.seconds < SECONDS, f"it took {ran.seconds:.1f} s"
    if ran.code == 0:
        require_log(ran.stderr)
        return
    assert ran.code in (1, ABORTED_CODE), f"exit {ran.code}: {ran.stderr[-500:]}"
    assert ran.stdout == ""
    if ran.code == 1:
        require_refusal(ran.stderr, repeated)
    else:
        require_log(ran.stderr)


def require_answer(script: str, stdout: str, answer: Any) -> None:
    """Pass for one document of the shape that Concourse takes from that script."""
    assert stdout.endswith("\n")
    assert stdout.count("\n") == 1
    if script == "check":
        versions = answer
    else:
        assert answer.keys() == {"version", "metadata"}
        versions = [answer["version"]]
        for pair in answer["metadata"]:
            assert pair.keys() == {"name", "value"}
            assert all(isinstance(value, str) for value in pair.values())
            require_fit(pair["value"])
    assert isinstance(versions, list)
    for version in versions:
        assert version.keys() == {"id", "lock_name", "state", "timestamp"}
        assert all(isinstance(value, str) for value in version.values())


def require_command_ending(ran: Ran, repeated: int, *, raw: bool) -> None:
    """Pass for one of the ways in which a command may end. `raw`: what it writes is a file's content as it is."""
    match ran.code:
        case 0:
            require_log(ran.stderr)
        case 1:
            # An audit that found something has nothing to complain of.
            assert ran.stderr or ran.stdout
            if ran.stderr:
                require_refusal(ran.stderr, repeated)
        case 130:
            assert ran.stderr == "Interrupted; the same command may be given again\n"
        case 2:
            require_log(ran.stderr)
            assert ran.stderr.startswith(("Usage: ", "Error: ")), ran.stderr[:200]
        case _:
            raise AssertionError(f"exit {ran.code}: {ran.stderr[-500:]}")
    if not raw:
        require_log(ran.stdout)
