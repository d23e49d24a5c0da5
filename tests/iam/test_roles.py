"""Each role's IAM policy, tried on an engine that enforces it: enough for its work, and not one action more."""

from __future__ import annotations

import fnmatch
import json
import re
import signal
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from botocore.exceptions import ClientError

from approval_resource.store.interface import DEFAULT_TABLE
from tests.iam.account import (
    DOCUMENTS,
    NUMBER,
    Account,
    Caller,
    Grant,
    Policy,
    Result,
    answer,
    document,
    grants,
    printed,
    refusal,
    without,
)
from tests.notify.standins import Receiver, served

ROLES = ("pipeline", "reviewer", "operator", "auditor", "notifier")
PAYLOAD = {"change": "CHG-1"}
WAITING = "is waiting for an approval"


@pytest.fixture(scope="session")
def pipeline(account: Account) -> Caller:
    """A pipeline's worker."""
    return account.user(document("pipeline"), name="pipeline")


@pytest.fixture(scope="session")
def reviewer(account: Account) -> Caller:
    """A reviewer."""
    return account.user(document("reviewer"), name="reviewer")


@pytest.fixture(scope="session")
def operator(account: Account) -> Caller:
    """An operator."""
    return account.user(document("operator"), name="operator")


@pytest.fixture(scope="session")
def auditor(account: Account) -> Caller:
    """An auditor."""
    return account.user(document("auditor"), name="auditor")


@pytest.fixture(scope="session")
def notifier(account: Account) -> Caller:
    """Whoever tells people."""
    return account.user(document("notifier"), name="notifier")


def notify(who: Caller, pool: str, table: str = "") -> Result:
    """Tell a channel that is new what waits in that pool."""
    with tempfile.TemporaryDirectory() as folder, served(Receiver()) as receiver:
        secret, config = Path(folder) / "secret", Path(folder) / "notify.yaml"
        secret.write_text("x")
        hook = f"hook-{uuid4()}"
        channel = f'{{webhook: "{receiver.url}", secret: "file:{secret}"}}'
        config.write_text(f"channels: {{{hook}: {channel}}}\nnotify: [{{pools: [{pool}], to: [{hook}]}}]\n")
        ran = who.cli("notify", "--config", str(config), table=table)
        assert ran.returncode or receiver.taken
        return ran


def a_table_name() -> str:
    """The name of a table that doesn't exist."""
    return f"missing-{uuid4()}"


def claim(pipeline: Caller, pool: str, lock_name: str = "deploy", build: str = "1", **params: Any) -> dict[str, str]:
    """Claim a lock for approval; returns the version."""
    params = {"need_approval": True, **params}
    version: dict[str, str] = answer(pipeline.out(pool, build, action="claim", lock_name=lock_name, **params))["version"]
    return version


def await_line(process: subprocess.Popen[str], words: str) -> None:
    """Read a running script's log up to the line with those words."""
    assert process.stderr is not None
    seen = []
    for line in process.stderr:
        if words in line:
            return
        seen.append(line)
    pytest.fail(f"ended without saying so: {''.join(seen)}")


# ---- each policy is enough ---------------------------------------------------------


def test_the_pipeline_policy_suffices_for_a_gate_from_claim_to_release(
    pipeline: Caller, reviewer: Caller, pool: str, tmp_path: Path
) -> None:
    """A pipeline can check, claim with files, wait in `in`, pass `await` and release."""
    assert answer(pipeline.check(pool)) == []
    (tmp_path / "plan").write_text("one change")
    pending = answer(
        pipeline.out(
            pool,
            "1",
            tmp_path,
            action="claim",
            lock_name="deploy",
            need_approval=True,
            payload=PAYLOAD,
            attach={"plan": "plan"},
        )
    )["version"]
    assert answer(pipeline.check(pool)) == [pending]
    with pipeline.getting(pool, pending, "1", tmp_path / "gate", need_approval=True, timeout="10m") as gate:
        await_line(gate, WAITING)
        printed(reviewer.cli("approve", pending["id"]))
        _, log = gate.communicate()
    assert gate.returncode == 0, log
    assert json.loads((tmp_path / "gate" / "payload.json").read_text()) == PAYLOAD
    passed = pipeline.out(pool, "1", tmp_path, action="await", from_="gate", verify={"plan": "plan"})
    assert answer(passed)["version"]["state"] == "approved"
    released = answer(pipeline.out(pool, "1", tmp_path, action="release", from_="gate"))["version"]
    assert released["state"] == "released"
    seen = answer(pipeline.check(pool, pending))
    assert [version["state"] for version in seen] == ["pending", "approved", "released"]
    assert answer(pipeline.check(pool, pending, lock_name="deploy")) == seen


@pytest.mark.long
def test_the_pipeline_policy_suffices_for_waiting_in_out_and_for_another_claim_in_the_way(
    pipeline: Caller, reviewer: Caller, pool: str
) -> None:
    """A pipeline can supersede a pending claim, release what it holds, and is told by the gate who rejected."""
    old = claim(pipeline, pool)
    new = claim(pipeline, pool, build="2", override_approval=True)
    assert [version["state"] for version in answer(pipeline.check(pool, old))] == ["pending", "superseded", "pending"]
    printed(reviewer.cli("reject", new["id"], "--comment", "not today"))
    shut = pipeline.out(pool, "2", action="await", lock_name="deploy")
    assert "not today" in refusal(shut)
    held = claim(pipeline, pool, build="3", need_approval=False)
    assert held["state"] == "held"
    assert answer(pipeline.out(pool, "3", action="release", lock_name="deploy"))["version"]["state"] == "released"


def test_the_notifier_policy_suffices_to_tell(notifier: Caller, pipeline: Caller, pool: str) -> None:
    """Claims with policies and files are told; nothing is decided by it."""
    pending = claim(pipeline, pool, policy={"required_approvals": 1}, description="deploy")
    claim(pipeline, pool, "other")
    assert printed(notify(notifier, pool)) == ""
    assert "not authorized to perform" in refusal(notifier.cli("audit", "verify"))
    assert answer(pipeline.check(pool, pending))[0]["state"] == "pending"


@pytest.mark.long
def test_the_pipeline_policy_suffices_to_decide_from_concourse(pipeline: Caller, pool: str, tmp_path: Path) -> None:
    """A put can approve and reject, under a policy too, and get the claim afterwards."""
    for number, action in enumerate(("approve", "reject")):
        pending = claim(pipeline, pool, action, str(number), policy={"required_approvals": 1})
        answer(pipeline.get(pool, pending, "7", tmp_path / action))
        decided = answer(pipeline.out(pool, "7", tmp_path, by="anna", action=action, from_=action, comment="why"))
        assert decided["version"]["state"] == {"approve": "approved", "reject": "rejected"}[action]
        again = answer(pipeline.out(pool, "7", tmp_path, by="anna", action=action, from_=action, comment="why"))
        assert again["version"] == decided["version"]


@pytest.mark.long
def test_the_pipeline_policy_lets_check_with_states_end_an_overdue_claim(pipeline: Caller, pool: str, tmp_path: Path) -> None:
    """`check` of a resource with `states` writes too: it can end a claim whose deadline passed with nobody waiting."""
    pending = claim(pipeline, pool)
    assert answer(pipeline.check(pool, states=["expired"])) == []
    with pipeline.getting(pool, pending, "1", tmp_path, need_approval=True, timeout="3s") as gate:
        await_line(gate, WAITING)
        gate.send_signal(signal.SIGTERM)
        gate.communicate()
    found: list[dict[str, str]] = []
    for _ in range(40):
        found = answer(pipeline.check(pool, states=["expired"]))
        if found:
            break
    assert [(version["id"], version["state"]) for version in found] == [(pending["id"], "expired")]


@pytest.mark.long
def test_the_reviewer_policy_suffices_to_look_and_to_decide(pipeline: Caller, reviewer: Caller, pool: str) -> None:
    """A reviewer can list, show, read the history, approve and reject, by whole ids and by their beginnings."""
    first, second, third = (claim(pipeline, pool, lock_name)["id"] for lock_name in ("a", "b", "c"))
    assert first in printed(reviewer.cli("list"))
    listed = json.loads(printed(reviewer.cli("list", "--pool", pool, "--format", "json")))
    assert [row["id"] for row in listed] == [first, second, third]
    assert first in printed(reviewer.cli("show", first))
    assert second in printed(reviewer.cli("show", second[:13]))
    printed(reviewer.cli("approve", "--id", first[:13], third, "--comment", "go"))
    printed(reviewer.cli("reject", second, "--comment", "not today"))
    ended = json.loads(printed(reviewer.cli("list", "--all", "--pool", pool, "--format", "json")))
    assert {row["id"]: row["state"] for row in ended} == {first: "approved", second: "rejected", third: "approved"}
    assert "not today" in printed(reviewer.cli("history", "--pool", pool))
    assert first in printed(reviewer.cli("history", "--pool", pool, "--lock", "a"))
    assert "not today" in printed(reviewer.cli("history", "--id", second))
    fourth = claim(pipeline, pool, "d", policy={"required_approvals": 2})["id"]
    assert "1 other person" in printed(reviewer.cli("unblock", printed(reviewer.cli("approve", fourth)) and fourth))


@pytest.mark.long
def test_the_operator_policy_suffices_to_make_the_table_and_free_locks(
    account: Account, operator: Caller, pipeline: Caller, pool: str, tmp_path: Path
) -> None:
    """An operator can make the table with all that belongs to it, decide, free a stuck lock, and audit."""
    table = a_table_name()
    maker = account.user(document("operator", table))
    made = maker.cli("init", table=table)
    assert made.returncode == 0, made.stderr
    assert "could not be switched on" not in made.stderr
    root = account.root.client("dynamodb")
    assert root.describe_time_to_live(TableName=table)["TimeToLiveDescription"]["TimeToLiveStatus"] == "ENABLED"
    backups = root.describe_continuous_backups(TableName=table)["ContinuousBackupsDescription"]
    assert backups["PointInTimeRecoveryDescription"]["PointInTimeRecoveryStatus"] == "ENABLED"
    assert "exists" in printed(operator.cli("init"))
    stuck, waiting = claim(pipeline, pool, "a")["id"], claim(pipeline, pool, "b")["id"]
    printed(operator.cli("approve", stuck))
    printed(operator.cli("release", stuck[:13], "--reason", "its worker is gone"))
    pending = claim(pipeline, pool, "c")["id"]
    printed(operator.cli("release", pending, "--force", "--reason", "nobody knows whose it is"))
    assert "400 days" in printed(operator.cli("pool", "show", pool))
    assert "30 days" in maker.cli("pool", "set", pool, "--retention-days", "30", table=table).stdout
    rule = tmp_path / "rule.yaml"
    rule.write_text("required_approvals: 2")
    printed(operator.cli("policy", "set", pool, str(rule)))
    assert "required_approvals: 2" in printed(operator.cli("policy", "show", pool))
    assert "1 would have gone differently" in printed(operator.cli("policy", "backtest", str(rule), "--pool", pool))
    printed(operator.cli("policy", "unset", pool))
    assert printed(operator.cli("list", "--waiting")) == "Nobody waits for a lock\n"
    printed(operator.cli("withdraw", waiting, "--reason", "asked for by mistake"))
    assert printed(operator.cli("list", "--pool", pool)) == "There is no waiting approval\n"
    assert "nothing wrong" in printed(operator.cli("audit", "verify"))
    assert "asked for by mistake" in printed(operator.cli("audit", "export", "--pool", pool))


@pytest.mark.long
def test_the_auditor_policy_suffices_to_read_everything(
    pipeline: Caller, reviewer: Caller, auditor: Caller, pool: str, tmp_path: Path
) -> None:
    """An auditor can list all claims of all pools, read the history, verify it against a receipt, and export it."""
    approved, waiting = claim(pipeline, pool, "a", payload=PAYLOAD), claim(pipeline, pool, "b")
    printed(reviewer.cli("approve", approved["id"]))
    answer(pipeline.get(pool, approved, "1", tmp_path, need_approval=True))
    everything = printed(auditor.cli("list", "--all", "--wide"))
    assert approved["id"] in everything
    assert waiting["id"] in everything
    assert waiting["id"] in printed(auditor.cli("show", waiting["id"][:13]))
    assert approved["id"] in printed(auditor.cli("history", "--id", approved["id"]))
    assert "nothing wrong" in printed(auditor.cli("audit", "verify"))
    assert "nothing wrong" in printed(auditor.cli("audit", "verify", "--against", str(tmp_path / "receipt.json")))
    exported = [json.loads(line) for line in printed(auditor.cli("audit", "export")).splitlines()]
    assert {approved["id"], waiting["id"]} <= {line["id"] for line in exported if "id" in line}


def test_create_table_lets_a_pipeline_make_its_table_on_first_use(account: Account, pool: str) -> None:
    """With the optional statement a pipeline makes the missing table itself, TTL and recovery included."""
    table = a_table_name()
    first = account.user(document("pipeline", table), document("create-table", table))
    nothing = first.check(pool, table=table)
    assert (answer(nothing), "approvals init" in nothing.stderr) == ([], True)
    made = first.out(pool, "1", table=table, action="claim", lock_name="deploy")
    assert answer(made)["version"]["state"] == "held"
    assert "could not be switched on" not in made.stderr
    assert len(answer(first.check(pool, table=table))) == 1


@pytest.mark.parametrize(
    ("role", "lacks"),
    [
        ("pipeline", ["read the whole table", "find all open claims"]),
        ("reviewer", ["read the whole table", "check items"]),
        ("auditor", ["write items", "update items", "check items"]),
        ("operator", ["check items"]),
    ],
)
def test_doctor_tells_each_role_what_it_may_not(account: Account, role: str, lacks: list[str]) -> None:
    """Just that, each line with where the policies are; to lack what another role is for is no fault."""
    ran = account.user(document(role)).cli("doctor", "--format", "json")
    found = {one["subject"]: one for one in json.loads(ran.stdout)}
    tried = {subject: one["fine"] for subject, one in found.items() if subject.startswith("may ")}
    assert sorted(subject for subject, fine in tried.items() if not fine) == sorted(f"may {one}" for one in lacks)
    assert all("docs/iam" in found[f"may {one}"]["move"] for one in lacks)
    assert len(tried) == 10


# ---- who is who ----------------------------------------------------------------------


def test_a_review_carries_the_callers_identity_without_a_permission_for_it(
    pipeline: Caller, reviewer: Caller, pool: str
) -> None:
    """STS tells a reviewer's identity though no policy names `sts:GetCallerIdentity`."""
    assert not [grant for role in ROLES for grant in grants(document(role)) if grant.action.startswith("sts:")]
    pending = claim(pipeline, pool)["id"]
    printed(reviewer.cli("approve", pending))
    shown = json.loads(printed(reviewer.cli("show", pending, "--format", "json")))
    assert list(shown["reviews"]) == [f"aws:arn:aws:iam::{NUMBER}:user/{reviewer.name}"]


def may_assume(role_arn: str) -> Policy:
    """A policy that allows to assume that role and nothing else."""
    return {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "sts:AssumeRole", "Resource": role_arn}]}


def test_the_trust_policy_pins_the_session_to_its_users_name(account: Account, pipeline: Caller, pool: str) -> None:
    """Whoever assumes the reviewers' role is on record under their own name, and can't take another's."""
    alice = account.user(name="alice")
    # The engine doesn't fill in IAM's variables.
    trust = json.loads(json.dumps(document("reviewer-trust")).replace("${aws:username}", alice.name))
    role = account.role("reviewers", trust, document("reviewer"))
    account.grant(alice, may_assume(role))
    sts = alice.client("sts")
    with pytest.raises(ClientError, match="AccessDenied"):
        sts.assume_role(RoleArn=role, RoleSessionName="bob")
    session = account.session(sts.assume_role(RoleArn=role, RoleSessionName=alice.name)["Credentials"])
    pending = claim(pipeline, pool)["id"]
    printed(session.cli("approve", pending))
    shown = json.loads(printed(session.cli("show", pending, "--format", "json")))
    name = role.rsplit("/", 1)[-1]
    assert list(shown["reviews"]) == [f"aws:arn:aws:sts::{NUMBER}:assumed-role/{name}/{alice.name}"]


def test_a_pipeline_can_come_by_its_policy_through_role_arn(account: Account, pool: str) -> None:
    """Keys that may do nothing but assume the pipeline's role are enough where the source names it."""
    anyone = {"Effect": "Allow", "Principal": {"AWS": f"arn:aws:iam::{NUMBER}:root"}, "Action": "sts:AssumeRole"}
    role = account.role("pipeline", {"Version": "2012-10-17", "Statement": [anyone]}, document("pipeline"))
    worker = account.user(may_assume(role))
    assert answer(worker.check(pool, role_arn=role)) == []
    assert "not authorized to perform: dynamodb:GetItem" in refusal(worker.check(pool))


# ---- and no more than enough ------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Scene:
    """A pool with claims that wait, and a table that is missing."""

    pool: str
    version: dict[str, str]
    missing: str = ""
    spare: Callable[[], str] = lambda: ""
    """Makes a claim with a payload, which may be ended; returns its id."""

    @property
    def id(self) -> str:
        return self.version["id"]


@pytest.fixture(scope="session")
def scene(pipeline: Caller) -> Scene:
    """What refused commands are tried on; none of them changes it."""
    pool = f"pool-{uuid4()}"
    version = claim(pipeline, pool, "a")
    claim(pipeline, pool, "b")
    return Scene(pool, version, spare=lambda: claim(pipeline, pool, f"spare-{uuid4()}", payload=PAYLOAD)["id"])


Needs = Callable[[Caller, Scene], Result]

LOOKING: dict[str, Needs] = {
    "GetItem": lambda who, scene: who.cli("show", scene.id),
    "BatchGetItem": lambda who, scene: who.cli("list", "--all", "--pool", scene.pool),
    "Query": lambda who, scene: who.cli("history", "--pool", scene.pool),
    "Query/index/by_lock": lambda who, scene: who.cli("history", "--pool", scene.pool, "--lock", "a"),
    "Query/index/open": lambda who, scene: who.cli("list", "--pool", scene.pool),
    "Scan/index/open": lambda who, scene: who.cli("list"),
}
AUDITING: dict[str, Needs] = {"Scan": lambda who, scene: who.cli("audit", "verify")}
DECIDING: dict[str, Needs] = {
    "PutItem": lambda who, scene: who.cli("approve", scene.id),
    "UpdateItem": lambda who, scene: who.cli("reject", scene.spare()),
}
MAKING: dict[str, Needs] = {
    action: lambda who, scene: who.cli("init", table=scene.missing)
    for action in ("CreateTable", "DescribeTable", "UpdateContinuousBackups", "UpdateTimeToLive")
}
NEEDED_BY: dict[str, dict[str, Needs]] = {
    "pipeline": {
        "GetItem": lambda who, scene: who.check(scene.pool),
        "BatchGetItem": lambda who, scene: who.out(scene.pool, "1", action="claim", lock_name="a"),
        "Query": lambda who, scene: who.check(scene.pool, scene.version),
        "Query/index/by_lock": lambda who, scene: who.check(scene.pool, scene.version, lock_name="a"),
        "Query/index/open": lambda who, scene: who.check(scene.pool, states=["approved"]),
        "PutItem": lambda who, scene: who.out(scene.pool, "1", action="claim", lock_name="c"),
        "ConditionCheckItem": lambda who, scene: who.out(scene.pool, "1", action="release", lock_name="a"),
        "UpdateItem": lambda who, scene: who.out(scene.pool, "2", action="claim", lock_name="a", wait_timeout="1s"),
    },
    "reviewer": LOOKING | DECIDING,
    "operator": LOOKING | AUDITING | DECIDING | MAKING,
    "auditor": LOOKING | AUDITING,
    "notifier": {
        grant: lambda who, scene: notify(who, scene.pool)
        for grant in ("GetItem", "BatchGetItem", "Query", "Query/index/by_lock", "Query/index/open", "PutItem")
    },
    "create-table": {
        action: lambda who, scene: who.out(scene.pool, "1", table=scene.missing, action="claim", lock_name="a")
        for action in MAKING
    },
}
"""For each grant of each document, something of that role's that can't be done without it."""


def test_every_documented_grant_has_its_use() -> None:
    """What the documents allow and what is shown below to be needed are the same."""
    documented = {role: sorted(map(str, grants(document(role)))) for role in NEEDED_BY}
    assert documented == {role: sorted(needed) for role, needed in NEEDED_BY.items()}


def test_the_readme_tells_what_the_documents_grant() -> None:
    """The table of roles beside the documents lists exactly their actions, place by place."""
    places = ("", "/index/by_lock", "/index/open")
    told: dict[str, list[str]] = {}
    for line in (DOCUMENTS / "README.md").read_text(encoding="utf-8").splitlines():
        if row := re.fullmatch(r"\| \[(\w+)\]\(\1\.json\) \|.*? \|(.*)\|(.*)\|(.*)\|", line):
            role, *cells = row.groups()
            told[role] = sorted(f"{action}{place}" for place, cell in zip(places, cells, strict=True) for action in words(cell))
    assert told == {role: sorted(map(str, grants(document(role)))) for role in (*ROLES, "service")}


def words(cell: str) -> list[str]:
    """The names that a cell lists."""
    return re.findall(r"\w+", cell)


def falls_short(result: Result, grant: Grant) -> str:
    """How a run shows that it missed that grant: a refusal, or what was done without all that belongs to it."""
    if grant.action in ("dynamodb:UpdateContinuousBackups", "dynamodb:UpdateTimeToLive"):
        assert result.returncode == 0, result.stderr
        (line,) = (line for line in result.stderr.splitlines() if "could not be switched on" in line)
        return line
    if grant.action == "dynamodb:UpdateItem" and result.returncode == 0:
        (line,) = (line for line in result.stderr.splitlines() if "are kept for ever" in line)
        assert f"not authorized to perform: {grant.action} " in line
        return line
    if grant.action in ("dynamodb:CreateTable", "dynamodb:DescribeTable"):
        line = refusal(result)
        assert any(words in line for words in ("may not create it", "can't be looked at", grant.action))
        return line
    line = refusal(result)
    assert f"not authorized to perform: {grant.action} " in line
    return line


@pytest.mark.long
@pytest.mark.parametrize(("role", "grant"), [(role, grant) for role in NEEDED_BY for grant in grants(document(role))], ids=str)
def test_no_grant_can_be_left_out(account: Account, scene: Scene, role: str, grant: Grant) -> None:
    """Without any single grant of its policy, something that the role is for fails and says so in one line."""
    needs = NEEDED_BY[role][str(grant)]
    making = role == "create-table" or str(grant) in MAKING
    table = a_table_name() if making else DEFAULT_TABLE
    policies = [without(document(role), grant, table)]
    if role == "create-table":
        policies.append(document("pipeline", table))
    falls_short(needs(account.user(*policies), replace(scene, missing=table)), grant)


# ---- what each role is refused -------------------------------------------------------------


def denied(call: Callable[..., object], **parameters: object) -> None:
    """That call is refused for want of a permission, and for nothing else."""
    with pytest.raises(ClientError) as refused:
        call(**parameters)
    assert refused.value.response["Error"]["Code"] == "AccessDeniedException"


@pytest.mark.long
@pytest.mark.parametrize("role", [*ROLES, "create-table"])
def test_nobody_may_delete_or_alter_the_table_or_remove_items(account: Account, role: str) -> None:
    """No role can delete the table, lift its protection, or remove items."""
    client = account.user(document(role)).client("dynamodb")
    table = {"TableName": DEFAULT_TABLE}
    key = {"pk": {"S": "pool#payments"}, "sk": {"S": "head"}}
    denied(client.delete_table, **table)
    denied(client.update_table, **table, DeletionProtectionEnabled=False)
    denied(client.delete_item, **table, Key=key)
    denied(client.batch_write_item, RequestItems={DEFAULT_TABLE: [{"DeleteRequest": {"Key": key}}]})
    denied(client.transact_write_items, TransactItems=[{"Delete": {**table, "Key": key}}])
    assert account.root.client("dynamodb").describe_table(**table)["Table"]["TableStatus"] == "ACTIVE"


@pytest.mark.long
@pytest.mark.parametrize("role", ["pipeline", "reviewer", "auditor"])
def test_only_an_operator_may_create_the_table(account: Account, role: str) -> None:
    """`init` on a missing table is refused to everyone else, and nothing comes of it."""
    table = a_table_name()
    line = refusal(account.user(document(role, table)).cli("init", table=table))
    assert "not authorized to perform: dynamodb:DescribeTable " in line
    denied(account.user(document(role, table)).client("dynamodb").create_table, **a_definition(table))
    assert table not in account.root.client("dynamodb").list_tables()["TableNames"]


def a_definition(table: str) -> dict[str, Any]:
    """The least that CreateTable takes."""
    return {
        "TableName": table,
        "BillingMode": "PAY_PER_REQUEST",
        "AttributeDefinitions": [{"AttributeName": "pk", "AttributeType": "S"}],
        "KeySchema": [{"AttributeName": "pk", "KeyType": "HASH"}],
    }


def test_a_missing_table_that_a_pipeline_may_not_create_is_named_with_the_next_move(account: Account, pool: str) -> None:
    """Check and out say in one line which table is missing and who makes it."""
    table = a_table_name()
    worker = account.user(document("pipeline", table))
    looked = worker.check(pool, table=table)
    assert answer(looked) == []
    for line in (looked.stderr, refusal(worker.out(pool, "1", table=table, action="claim", lock_name="deploy"))):
        assert table in line
        assert "approvals init" in line


@pytest.fixture(scope="session")
def other_table(account: Account) -> str:
    """Somebody else's table, of the same shape."""
    table = f"other-{uuid4()}"
    assert account.root.cli("init", table=table).returncode == 0
    return table


ELSEWHERE: dict[str, Callable[[Caller, str], Result]] = {
    "pipeline": lambda who, table: who.out("payments", "1", table=table, action="claim", lock_name="deploy"),
    "reviewer": lambda who, table: who.cli("list", table=table),
    "operator": lambda who, table: who.cli("audit", "verify", table=table),
    "auditor": lambda who, table: who.cli("audit", "export", table=table),
    "notifier": lambda who, table: notify(who, "payments", table=table),
}


@pytest.mark.long
@pytest.mark.parametrize("role", ROLES)
def test_another_table_is_out_of_reach(account: Account, other_table: str, role: str) -> None:
    """On a table its policy doesn't name, each role's commands are refused in one line, and so is a plain read or write."""
    who = account.user(document(role))
    assert "not authorized" in refusal(ELSEWHERE[role](who, other_table))
    client = who.client("dynamodb")
    item = {"pk": {"S": "pool#payments"}, "sk": {"S": "head"}}
    denied(client.get_item, TableName=other_table, Key=item)
    denied(client.put_item, TableName=other_table, Item=item)
    denied(client.delete_table, TableName=other_table)


@pytest.mark.long
def test_an_auditor_changes_nothing(pipeline: Caller, auditor: Caller, scene: Scene) -> None:
    """An auditor is refused every command that writes, and the claims stay as they were."""
    held = claim(pipeline, scene.pool, "held", need_approval=False)["id"]
    for command, id_ in (("approve", scene.id), ("reject", scene.id), ("withdraw", scene.id), ("release", held)):
        assert "not authorized to perform: dynamodb:PutItem " in refusal(auditor.cli(command, id_))
    still = json.loads(printed(auditor.cli("list", "--pool", scene.pool, "--format", "json")))
    assert {row["state"] for row in still} == {"pending", "held"}


def test_iam_alone_does_not_keep_a_pipeline_from_approving(pipeline: Caller, pool: str) -> None:
    """A documented limit: a pipeline's keys can approve, since they write the same items; the record shows whose keys they were."""
    pending = claim(pipeline, pool)["id"]
    printed(pipeline.cli("approve", pending))
    shown = json.loads(printed(pipeline.cli("show", pending, "--format", "json")))
    assert list(shown["reviews"]) == [f"aws:arn:aws:iam::{NUMBER}:user/{pipeline.name}"]


def test_a_reviewer_or_a_pipeline_does_not_read_the_whole_table(pipeline: Caller, reviewer: Caller) -> None:
    """Only operators and auditors scan the table; a reviewer's `list --all` needs `--pool`."""
    for arguments in (("list", "--all"), ("audit", "verify")):
        assert "not authorized to perform: dynamodb:Scan " in refusal(reviewer.cli(*arguments))
    denied(pipeline.client("dynamodb").scan, TableName=DEFAULT_TABLE)
    denied(pipeline.client("dynamodb").scan, TableName=DEFAULT_TABLE, IndexName="open")


@pytest.mark.parametrize("role", ["pipeline", "reviewer"])
def test_the_guard_of_pool_policies_bars_no_item_of_a_claim(account: Account, scene: Scene, role: str) -> None:
    """The denied partitions are those of pool policies and settings, and none that scripts and reviewers write.

    The engine doesn't enforce `dynamodb:LeadingKeys`; that the guard does its work on AWS is not shown here.
    """
    patterns = barred(document(role))
    assert patterns
    assert any(fnmatch.fnmatchcase("policy#payments", pattern) for pattern in patterns)
    pages = account.root.client("dynamodb").get_paginator("scan").paginate(TableName=DEFAULT_TABLE, ProjectionExpression="pk")
    written = {item["pk"]["S"] for page in pages for item in page["Items"]}
    written -= {pk for pk in written if pk.startswith("policy#") and pk != f"policy#{scene.pool}"}  # an operator's
    assert f"pool#{scene.pool}" in written
    assert not [pk for pk in written for pattern in patterns if fnmatch.fnmatchcase(pk, pattern)]


def barred(policy: Policy) -> list[str]:
    """The partitions into which the policy forbids every kind of write."""
    (deny,) = (statement for statement in policy["Statement"] if statement["Effect"] == "Deny")
    assert {"dynamodb:PutItem", "dynamodb:UpdateItem", "dynamodb:DeleteItem", "dynamodb:BatchWriteItem"} < set(deny["Action"])
    patterns: list[str] = deny["Condition"]["ForAnyValue:StringLike"]["dynamodb:LeadingKeys"]
    return patterns
