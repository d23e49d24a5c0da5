"""docs/json.md has an example of each command's and script's JSON, whose keys are those that the program writes."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest

from approval_resource.claims import review as reviews
from approval_resource.model.claim import Verdict
from approval_resource.store.dynamodb.store import DynamoStore
from demo.engine import ROOT
from tests.builders import under
from tests.cli.conftest import POOL, Run, claim_of
from tests.cli.test_queue import wait
from tests.docs.help_page import at, commands
from tests.scripts.conftest import Concourse

PAGE = ROOT / "docs" / "json.md"
A, B = (f"{number}0000000-aaaa-4aaa-8aaa-aaaaaaaaaaaa" for number in (1, 2))
RECORDING = bool(os.environ.get("RECORD_STORIES"))
LINES = {
    "list": ("list", "--format", "json"),
    "list --waiting": ("list", "--waiting", "--format", "json"),
    "show": ("show", A, "--format", "json"),
    "history": ("history", "--id", A, "--event", "pending", "--format", "json"),
    "receipt": ("receipt", B),
    "unblock": ("unblock", A, "--format", "json"),
    "doctor": ("doctor", "--format", "json"),
    "pool show": ("pool", "show", POOL, "--format", "json"),
    "policy show": ("policy", "show", POOL, "--format", "json"),
    "policy eval": ("policy", "eval", "POLICY", "--requester", "carl", "--format", "json"),
    "policy backtest": ("policy", "backtest", "POLICY", "--pool", POOL, "--format", "json"),
    "notify": ("notify", "--config", "CONFIG", "--status", "--format", "json"),
    "audit verify": ("audit", "verify", "--format", "json"),
    "audit report": ("audit", "report", "--pool", POOL, "--format", "json"),
    "audit export": ("audit", "export"),
}

CONFIG = """
url: https://approvals.example.com
channels:
  hook: {webhook: "http://127.0.0.1:9/hook", secret: env:LOGNAME}
notify:
  - {pools: [payments], to: [hook]}
"""


def shape(value: Any) -> Any:
    """The keys of a document, and of the first of each list, whatever the values."""
    if isinstance(value, dict):
        return {name: shape(inner) for name, inner in sorted(value.items())}
    return [shape(inner) for inner in value[:1]] if isinstance(value, list) else ""


def shown() -> dict[str, Any]:
    """The example of each command on the page."""
    found = re.findall(r"^## ([^\n]+)\n\n```json\n(.*?)```$", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    return {title: json.loads(text) for title, text in found}


def conversation(concourse: Concourse) -> dict[str, Any]:
    """JSON between Concourse and the three scripts: a claim, its version, and its gate."""
    source = {name: value for name, value in concourse.source.items() if name != "wait_lock"}
    params = {"action": "claim", "lock_name": "production", "need_approval": True, "description": "release 3.2"}
    told: dict[str, Any] = {"out, stdin": {"source": source, "params": params}}
    told["out, stdout"] = _answer(concourse, "out", told["out, stdin"], str(concourse.workspace()))
    version = told["out, stdout"]["version"]
    told["check, stdin"] = {"source": source, "version": version}
    told["check, stdout"] = _answer(concourse, "check", told["check, stdin"])
    told["in, stdin"] = {"source": source, "params": {"need_approval": False}, "version": version}
    told["in, stdout"] = _answer(concourse, "in", told["in, stdin"], str(concourse.workspace()))
    return {title: told[title] for title in sorted(told)}


def _answer(concourse: Concourse, script: str, request: dict[str, Any], *arguments: str) -> Any:
    ended = concourse.start(script, request, list(arguments)).ends()
    assert ended.code == 0, ended.stderr
    return ended.answer


def masked(document: Any) -> Any:
    """The document without what is only a test's."""
    if not isinstance(document, dict) or "source" not in document:
        return document
    of_the_test = {
        "AWS_ACCESS_KEY_ID": "((aws.id))",
        "AWS_SECRET_ACCESS_KEY": "((aws.secret))",
        "endpoint_url": "https://dynamodb.eu-west-1.amazonaws.com",
        "AWS_DEFAULT_REGION": "eu-west-1",
        "table": "concourse-approvals",
    }
    return document | {"source": document["source"] | of_the_test}


@pytest.fixture
def written(store: DynamoStore, run: Run, tmp_path: Path, concourse: Concourse) -> dict[str, Any]:
    """JSON of each command: a claim that waits under a policy, one that was rejected, and one in the queue.

    Then what passes between Concourse and the three scripts.
    """
    policy = tmp_path / "policy.yaml"
    policy.write_text("{name: two-people, required_approvals: 2}\n", encoding="utf-8")
    claim_of(store, A, description="release 3.2", terms=under(required_approvals=2))
    reviews.review(store, A, reviewer="aws:ben", verdict=Verdict.APPROVE, comment="fine")
    claim_of(store, B, number=2, lock_name="docs")
    wait(store, 3)
    reviews.review(store, B, reviewer="aws:ben", verdict=Verdict.REJECT, comment="no")
    assert run("policy", "set", POOL, str(policy)).exit_code == 0
    config = tmp_path / "config.yaml"
    config.write_text(CONFIG, encoding="utf-8")
    files = {"POLICY": str(policy), "CONFIG": str(config)}
    found = {}
    for title, words in LINES.items():
        ran = run(*(files.get(word, word) for word in words))
        assert ran.exit_code == 0, ran.output
        text = ran.stdout.splitlines()[0] if title == "audit export" else ran.stdout
        found[title] = json.loads(text)
    return found | conversation(concourse)


def short(value: Any) -> Any:
    """A document with one element of each list."""
    if isinstance(value, dict):
        return {name: short(inner) for name, inner in value.items()}
    return [short(inner) for inner in value[:1]] if isinstance(value, list) else value


@pytest.mark.long
def test_each_example_has_the_keys_that_the_program_writes(written: dict[str, Any]) -> None:
    """Whoever adds or takes away a key writes the page anew: RECORD_STORIES=1."""
    if RECORDING:
        head = PAGE.read_text(encoding="utf-8").split("## ")[0]
        parts = [f"## {title}\n\n```json\n{json.dumps(short(masked(one)), indent=2)}\n```\n" for title, one in written.items()]
        PAGE.write_text(head + "\n".join(parts), encoding="utf-8")
    assert {title: shape(one) for title, one in shown().items()} == {title: shape(one) for title, one in written.items()}


def writers() -> Iterator[str]:
    """The commands that have a JSON form."""
    for path in commands():
        for option in at(path).params:
            if option.name == "form" and isinstance(option.type, click.Choice) and "json" in option.type.choices:
                yield " ".join(path)


def test_every_command_with_json_is_on_the_page() -> None:
    """None is left out."""
    assert set(writers()) <= set(LINES)
    steps = {f"{script}, {stream}" for script in ("check", "in", "out") for stream in ("stdin", "stdout")}
    assert set(shown()) == set(LINES) | steps
