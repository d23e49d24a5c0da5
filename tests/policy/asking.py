"""Short ways to ask policies: documents, reviews and inputs that are right but for what a test says."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result

from approval_resource.canonical import EMPTY
from approval_resource.model.claim import Review, Verdict
from approval_resource.policy.authoring.lint import lint
from approval_resource.policy.authoring.trial import trial
from approval_resource.policy.decision import Decision
from approval_resource.policy.evaluate import evaluate
from approval_resource.policy.facts import Facts
from approval_resource.policy.kinds import rego
from approval_resource.policy.language.document import Policy
from approval_resource.policy.language.load import Finding, Loaded, load, load_text
from approval_resource.policy.people import Memberships
from cli import cli
from tests.builders import NOON

Document = dict[str, Any]
ANA, BOB, CAROL, DAN = (f"aws:arn:aws:iam::123456789012:user/{name}" for name in ("ana", "bob", "carol", "dan"))


def policy(**options: Any) -> Policy:
    """The one policy document with those options."""
    return load(options, "policy")[0].policy


def approval(reviewer: str, at: datetime = NOON, **changes: Any) -> Review:
    """That person's approval."""
    return Review(**{"reviewer": reviewer, "verdict": Verdict.APPROVE, "at": at, **changes})


def rejection(reviewer: str, at: datetime = NOON, **changes: Any) -> Review:
    """That person's rejection."""
    return Review(**{"reviewer": reviewer, "verdict": Verdict.REJECT, "at": at, **changes})


def facts(**changes: Any) -> Facts:
    """The facts of a claim that was made at noon."""
    return Facts(**{"id": "claim-1", "pool": "payments", "lock_name": "deploy", "created_at": NOON, **changes})


def asked(
    policies: Policy | Sequence[Policy],
    *reviews: Review,
    now: datetime = NOON,
    memberships: Memberships = EMPTY,
    **claim: Any,
) -> Decision:
    """What the policies make of those reviews."""
    policies = [policies] if isinstance(policies, Policy) else policies
    return evaluate(policies, facts(**claim), list(reviews), now, memberships)


def answer(policies: Policy | Sequence[Policy], *reviews: Review, **more: Any) -> str:
    """The same, in one word."""
    return asked(policies, *reviews, **more).result.answer.value


def why(decision: Decision) -> str:
    """All reasons in one line."""
    return "; ".join(decision.reasons)


def tried(document: Document | list[Document], reviews: Sequence[Document] = (), given: Document | None = None) -> Decision:
    """A trial, as `policy eval` makes it, at noon."""
    return trial(load(document, "policy"), given or {}, list(reviews), NOON)


def findings(text: str, where: str = "policy.yaml") -> list[Finding]:
    """All that lint says of the file."""
    return [finding for one in load_text(text, where) for finding in lint(one)]


def told(text: str, where: str = "policy.rego") -> list[str]:
    """The same, a line each."""
    return [str(finding) for finding in findings(text, where)]


def errors(text: str, where: str = "policy.rego") -> list[str]:
    """What makes the file unfit."""
    return [str(finding) for finding in findings(text, where) if finding.error]


def warnings(text: str, where: str = "policy.rego") -> list[str]:
    """What is odd about the file."""
    return [str(finding) for finding in findings(text, where) if not finding.error]


def loaded_rego(*texts: str) -> list[Loaded]:
    """Each of the texts as a file of its own."""
    return [one for number, text in enumerate(texts) for one in load_text(text, f"{number}.rego")]


# ---- Spacelift's input -------------------------------------------------------


def review(author: str, *teams: str, state: str = "UNCONFIRMED") -> Document:
    """One review as Spacelift shows it."""
    session = {"login": author, "name": author.title(), "teams": list(teams)}
    return {"author": author, "request": {"remote_ip": "192.0.2.1", "timestamp_ns": 0}, "session": session, "state": state}


def change(resource: str) -> Document:
    """A planned change to a resource of that type."""
    entity = {
        "address": f"{resource}.x",
        "name": "x",
        "type": resource,
        "entity_vendor": "terraform",
        "entity_type": resource,
        "data": {},
    }
    return {"action": "added", "entity": entity, "phase": "plan"}


def run_input(
    approvals: Sequence[Document] = (), rejections: Sequence[Document] = (), older: Sequence[Document] = (), **run: Any
) -> Document:
    """The whole input document for a run that carol made."""
    creator = {"login": "carol", "name": "Carol", "teams": [], "admin": False, "machine": False}
    pool = {"public": False, "id": "wp", "name": "private", "labels": []}
    return {
        "reviews": {"current": {"approvals": list(approvals), "rejections": list(rejections)}, "older": list(older)},
        "request": {"timestamp_ns": 1_692_788_400_000_000_000},
        "run": {
            "id": "run-1",
            "state": "UNCONFIRMED",
            "type": "TRACKED",
            "command": None,
            "flags": [],
            "changes": [],
            "created_at": 1_692_788_400_000_000_000,
            "creator_session": creator,
        }
        | run,
        "stack": {
            "name": "s",
            "labels": [],
            "autodeploy": False,
            "administrative": False,
            "branch": "main",
            "repository": "r",
            "state": "NONE",
            "worker_pool": pool,
        },
    }


def verdict(text: str, given: Mapping[str, Any] | None = None) -> rego.Verdict:
    """What one Rego policy says of that input."""
    return rego.ask(text, dict(given or run_input()))


def says(text: str, given: Mapping[str, Any] | None = None) -> str:
    """The same, in one word."""
    return verdict(text, given).result.answer.value


# ---- the command line ----------------------------------------------------------


def ran(*arguments: str | Path) -> Result:
    """`cli.py policy` with those arguments, which must end in exit code 0 or 1 and without a traceback."""
    result = CliRunner().invoke(cli, ["policy", *map(str, arguments)], prog_name="cli.py")
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code in (0, 1), result.output
    assert "Traceback" not in result.output
    return result


def written(directory: Path, name: str, content: object) -> Path:
    """A file with that text, or that value as JSON."""
    path = directory / name
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def utc(text: str) -> datetime:
    """An instant such as `2026-11-21 09:00`, in UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)
