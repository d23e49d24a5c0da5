"""What once fooled the policies from the command line and in steps."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from approval_resource import pools
from approval_resource.claims import decide as decisions
from approval_resource.claims import review as reviews
from approval_resource.errors import ConfigError, StoreUnavailableError
from approval_resource.model.claim import FACTS_CONTENT, Verdict
from approval_resource.model.event import State
from approval_resource.policy.language.load import load, stored
from approval_resource.steps.gate import pass_gate
from approval_resource.steps.protocol import Source
from approval_resource.steps.step import Step
from approval_resource.store.dynamodb import keys
from approval_resource.store.dynamodb.store import DynamoStore
from tests.builders import ManualClock, a_build, under
from tests.cli.conftest import Run, claim_of

POOL = "payments"


@pytest.mark.parametrize("name", ["tab\there.yaml", "zwj\u200d.yaml", "\ufefffirst.yaml", "apple\uf8ff.yaml"])
def test_a_pool_is_not_bricked_by_a_policy_file_s_name(store: DynamoStore, run: Any, tmp_path: Path, name: str) -> None:
    """The name of the file becomes the policy's name, which the reading back refuses: no claim of the pool opens any more."""
    path = tmp_path / name
    path.write_text("required_approvals: 1\n")
    done = run("policy", "set", POOL, str(path))
    claim = claim_of(store)
    assert done.exit_code == 1 or reviews.review(store, claim.id, reviewer="aws:ann", verdict=Verdict.APPROVE).claim.approved


@pytest.mark.parametrize("name", ["tab\there.yaml", "zwj\u200d.yaml"])
def test_what_is_stored_can_be_read_again(name: str) -> None:
    """What is stored can be read again."""
    text = stored(load({"required_approvals": 1}, name))
    assert decisions.policies_of(decisions.Terms(text), "")


@pytest.mark.long
def test_backtest_goes_on_where_one_claim_s_facts_are_gone(store: DynamoStore, run: Any, tmp_path: Path) -> None:
    """Removed by age item by item, a part may go before its claim; the other claims still have their answers."""
    for number in (1, 2):
        claim = claim_of(store, number=number, lock_name=f"{number}", terms=under(required_approvals=1, given={"a": number}))
        reviews.review(store, claim.id, reviewer="aws:ann", verdict=Verdict.APPROVE)
    store._client.delete_item(TableName=store._table, Key=keys.content_key(claim.id, FACTS_CONTENT))
    path = tmp_path / "two.yaml"
    path.write_text("required_approvals: 2\n")
    ran = run("policy", "backtest", str(path), "--pool", POOL)
    assert "would have gone differently" in ran.stdout


def test_show_of_a_damaged_policy_is_no_traceback(store: DynamoStore, run: Any) -> None:
    """Show of a damaged policy is no traceback."""
    pools.set_policy(store, POOL, "{", actor="aws:op")
    ran = run("policy", "show", POOL)
    assert ran.exception is None or isinstance(ran.exception, SystemExit), repr(ran.exception)


def test_an_outage_while_a_waiting_gate_tells_of_a_review_is_sat_out(
    store: DynamoStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every other look of a waiting gate sits an outage out; telling what is still missing after a review doesn't."""
    claim = claim_of(store, terms=under(required_approvals=2))
    clock = ManualClock()
    clock.on_sleep = [
        lambda: reviews.review(store, claim.id, reviewer="aws:ann", verdict=Verdict.APPROVE),
        lambda: reviews.review(store, claim.id, reviewer="aws:bob", verdict=Verdict.APPROVE),
    ]
    step = Step(Source(pool=POOL, table=store._table), tmp_path, a_build(7), store, clock, lambda line: None)
    whole = decisions.missing
    once: list[int] = []

    def missing(asked: Any, seen: Any) -> str:
        if seen.reviews and not once:
            once.append(1)
            raise StoreUnavailableError("away for a second", transient=True)
        return whole(asked, seen)

    monkeypatch.setattr(decisions, "missing", missing)
    assert pass_gate(step, claim).state is State.APPROVED


def test_filling_in_something_else_keeps_the_rule_it_was_for(store: DynamoStore) -> None:
    """Bob approved as Sec; correcting his ticket makes it an approval for QA, and Sec's is lost."""
    rules = [{"name": "QA", "group": "qa", "required_approvals": 2}, {"name": "Sec", "group": "sec"}]
    terms = under(
        approval_rules=rules, groups={"qa": ["aws:ann", "aws:bob", "aws:cat"], "sec": ["aws:bob"]}, inputs=[{"name": "ticket"}]
    )
    claim = claim_of(store, terms=terms)

    def said(who: str, **more: Any) -> Any:
        return reviews.review(store, claim.id, reviewer=who, verdict=Verdict.APPROVE, **more).claim

    said("aws:bob", represented_as=("Sec",), inputs={"ticket": "A"})
    said("aws:bob", inputs={"ticket": "B"})
    said("aws:ann")
    assert said("aws:cat").state is State.APPROVED


def test_an_input_is_asked_for_whatever_the_selector_says(store: DynamoStore) -> None:
    """A selector scopes conditions; an input beside them holds for every claim."""
    terms = under(
        {"selector": {"tags.env": "prod"}, "conditions": {"tags.a": 1}, "inputs": [{"name": "ticket", "required": True}]},
        {"required_approvals": 1},
    )
    claim = claim_of(store, terms=replace(terms, given={"tags": {"env": "dev"}}))
    with pytest.raises(ConfigError, match="needs ticket"):
        reviews.review(store, claim.id, reviewer="aws:ann", verdict=Verdict.APPROVE)
    given = {"ticket": "A-1"}
    done = reviews.review(store, claim.id, reviewer="aws:ann", verdict=Verdict.APPROVE, inputs=given)
    assert done.claim.state is State.APPROVED


def test_json_of_the_tests(run: Any, tmp_path: Path) -> None:
    """A sanity check of this file's own fixtures: this one passes."""
    path = tmp_path / "p.yaml"
    path.write_text("required_approvals: 1\n")
    assert json.loads(run("policy", "eval", str(path), "--format", "json").stdout)["decision"] == "undecided"


@pytest.mark.parametrize(("file", "told"), [("/dev/zero", "has more than 16000000 bytes"), ("/proc/self/mem", "can't be read")])
@pytest.mark.parametrize("command", ["eval", "lint"])
def test_a_file_without_an_end_ends_in_a_line(run: Run, command: str, file: str, told: str) -> None:
    """A device, or what can't be read, is named and not read for ever."""
    ran = run("policy", command, file)
    assert ran.exit_code == 1
    assert f"{file}: {told}" in ran.stdout + ran.stderr
