"""Answers say what happened to what, on a terminal; an approval that counts for nothing is told as such anywhere."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from approval_resource.claims import review as reviews
from approval_resource.model.claim import Verdict
from approval_resource.store.dynamodb.store import DynamoStore
from demo.engine import Engine
from tests.builders import under
from tests.cli.conftest import Run, Terminal, claim_of

A = "10000000-aaaa-4aaa-8aaa-aaaaaaaaaaaa"
ROOT_ARN = "aws:arn:aws:iam::000000000000:root"
GROUPS = {"security": [ROOT_ARN, "aws:arn:aws:iam::000000000000:user/sec"], "release": ["aws:arn:aws:iam::000000000000:user/r"]}
RULES = [{"group": "security", "required_approvals": 2}, {"group": "release", "required_approvals": 1}]
OWN = under(required_approvals=1, allow_self_approval=False, people={"root": [ROOT_ARN]})
PRODUCTION = "production (main/app/deploy #1: release 3.2)"


def production(store: DynamoStore, **request: Any) -> None:
    """Release 3.2 asks for production."""
    claim_of(store, A, lock_name="production", description="release 3.2", **request)


def test_an_approval_that_opens_the_gate_says_what_it_opened(store: DynamoStore, terminal: Terminal) -> None:
    """What was approved, for which build, and what follows."""
    production(store)
    assert terminal("approve", A[:8]).said == f"Approved {PRODUCTION}. Its gate opens"
    assert "is approved by typed:ana" in terminal("approve", A).stderr


def test_a_rejection_says_what_it_stopped(store: DynamoStore, terminal: Terminal) -> None:
    """And that the lock is free."""
    production(store)
    assert terminal("reject", A).said == f"Rejected {PRODUCTION}. Its gate stays shut, and its lock is free"


def test_an_approval_that_is_not_enough_says_whose_are_still_needed(
    store: DynamoStore, terminal: Terminal, engine: Engine
) -> None:
    """Rule by rule, in few words; the same again changes nothing and says so."""
    production(store, terms=under(groups=GROUPS, approval_rules=RULES, unknown_requester="allow"))
    needed = "Still needed: 1 of group security and 1 of group release"
    first = terminal("approve", A, AWS_ENDPOINT_URL_STS=engine.url)
    assert (first.code, first.said, first.stderr) == (0, f"Approved {PRODUCTION}. {needed}", "")
    again = terminal("approve", A, AWS_ENDPOINT_URL_STS=engine.url)
    assert again.said == f"You had approved {PRODUCTION} before; nothing has changed. {needed}"


@pytest.mark.parametrize(
    ("policy", "needed"),
    [
        ({"required_approvals": 3}, "2 more approvals"),
        ({"required_approvals": 2, "inputs": [{"name": "ticket"}]}, "1 more approval"),
        ({"required_approvals": 1, "not_before": "2h"}, "not before"),
        ({"required_approvals": 1, "unknown_requester": "refuse"}, "nobody knows who asked for this claim"),
    ],
)
@pytest.mark.long
def test_what_is_still_needed_is_said_of_every_kind(
    store: DynamoStore, terminal: Terminal, policy: dict[str, Any], needed: str
) -> None:
    """Numbers of people where people are missing, else the policy's own reason."""
    production(
        store, terms=under({"unknown_requester": "allow", "allow_self_approval": "unknown_requester" not in policy} | policy)
    )
    reviews.review(
        store, A, reviewer="aws:ben", verdict=Verdict.APPROVE, inputs={"ticket": "T-1"} if "inputs" in policy else {}
    )
    seen = terminal("approve", A, "--reviewer", "ann", *(("--input", "ticket=T-1") if "inputs" in policy else ()))
    assert needed in seen.said, seen.screen + seen.stderr


def test_a_release_says_what_is_free(store: DynamoStore, terminal: Terminal) -> None:
    """The lock by name, and whose it was."""
    production(store, need_approval=False)
    assert terminal("release", A).said == f"Released {PRODUCTION}. The lock is free"


# ---- what doesn't count ------------------------------------------------------------


def test_one_s_own_approval_warns_and_exits_3(store: DynamoStore, run: Run, terminal: Terminal, engine: Engine) -> None:
    """It is on record, opens nothing, and no script takes it for a yes."""
    claim_of(store, A, build={"created_by": "root"}, terms=OWN)
    ran = run("approve", A, AWS_ENDPOINT_URL_STS=engine.url)
    assert ran.exit_code == 3
    assert ran.stdout.startswith(f"INFO: Your verdict on claim {A} is recorded; it is not decided yet")
    assert ran.stderr == (
        f"warning: this approval is on record, and opens nothing: {ROOT_ARN} asked for this claim and doesn't count\n"
    )
    assert terminal("approve", A, AWS_ENDPOINT_URL_STS=engine.url).code == 3


def test_a_typed_name_beside_who_is_known_warns_and_exits_3(store: DynamoStore, run: Run) -> None:
    """It counts beside nobody whom AWS knows."""
    claim_of(store, A, build={"created_by": "ben"}, terms=under(required_approvals=3))
    reviews.review(store, A, reviewer="aws:dana", verdict=Verdict.APPROVE)
    ran = run("approve", A, "--reviewer", "ann")
    assert ran.exit_code == 3
    assert "typed:ann is only a typed name, which counts only if no known identity approves, and doesn't count" in ran.stderr


@pytest.mark.parametrize(
    ("policies", "code"),
    [
        ([{"required_approvals": 2}], 0),
        ([{"required_approvals": 2}, {"groups": GROUPS, "approval_rules": RULES}], 0),
        ([{"required_approvals": 2, "allow_self_approval": False}], 3),
        ([{"required_approvals": 2, "allow_self_approval": False}, {"required_approvals": 2}], 0),
    ],
)
def test_an_approval_that_counts_somewhere_is_none_of_these(
    store: DynamoStore, run: Run, policies: list[dict[str, Any]], code: int
) -> None:
    """Of several policies one is enough to make it count."""
    lenient = [{"allow_self_approval": True, "unknown_requester": "allow"} | policy for policy in policies]
    claim_of(store, A, build={"created_by": "ben"}, terms=under(*lenient))
    assert run("approve", A, "--reviewer", "ann").exit_code == code


def test_a_rejection_always_counts_or_is_refused(store: DynamoStore, run: Run) -> None:
    """A person may refuse what they asked for themselves."""
    claim_of(store, A, build={"created_by": "root"}, terms=OWN)
    assert run("reject", A).exit_code == 0


def test_one_id_that_fails_is_worse_than_one_that_doesn_t_count(store: DynamoStore, run: Run, engine: Engine) -> None:
    """Exit code 1 stays what it was."""
    claim_of(store, A, build={"created_by": "root"}, terms=OWN)
    assert run("approve", A, A.replace("1", "2"), AWS_ENDPOINT_URL_STS=engine.url).exit_code == 1


def test_a_waiting_time_makes_no_approval_uncounted(connect: Callable[..., DynamoStore], run: Run) -> None:
    """Time holds back; the approval counts when it comes."""
    claim_of(connect(), A, terms=under(required_approvals=1, not_before="2h"))
    assert run("approve", A).exit_code == 0
