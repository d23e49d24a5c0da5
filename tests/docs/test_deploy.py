"""The infrastructure to copy makes the same table, and allows the same, as the program and its documents say."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hcl2
import pytest
import yaml

from approval_resource.store.dynamodb.table import definition
from approval_resource.store.interface import DEFAULT_TABLE

DOCS = Path(__file__).resolve().parents[2] / "docs"
TEMPLATE = DOCS / "deploy" / "approvals.yaml"
MODULE = DOCS / "deploy" / "approvals.tf"
ROLES = ("pipeline", "reviewer", "operator", "auditor", "service", "notifier")
ARN = f"arn:aws:dynamodb:eu-west-1:123456789012:table/{DEFAULT_TABLE}"


@pytest.fixture(scope="module")
def template() -> dict[str, Any]:
    """The CloudFormation template."""
    loaded: dict[str, Any] = yaml.safe_load(TEMPLATE.read_text(encoding="utf-8"))
    return loaded


@pytest.fixture(scope="module")
def module() -> dict[str, Any]:
    """The Terraform module."""
    loaded: dict[str, Any] = unquoted(hcl2.loads(MODULE.read_text(encoding="utf-8")))
    return loaded


def unquoted(value: object) -> Any:
    """What the parser gives, without the quotes that it leaves around texts and names."""
    match value:
        case str():
            return value.strip('"')
        case list():
            return [unquoted(inner) for inner in value]
        case dict():
            return {unquoted(name): unquoted(inner) for name, inner in value.items() if not str(name).startswith("__")}
        case _:
            return value


def statement(resource: object) -> object:
    """The template's way to name a resource, as the ARN that the documents have."""
    match resource:
        case {"Fn::GetAtt": ["Table", "Arn"]}:
            return ARN
        case {"Fn::Sub": str(text)}:
            return text.replace("${Table.Arn}", ARN)
        case list():
            return [statement(inner) for inner in resource]
        case _:
            raise AssertionError(resource)


def test_the_template_makes_the_program_s_table(template: dict[str, Any]) -> None:
    """Keys, indexes, billing and protection as `init` makes them, and it outlives its stack."""
    table = template["Resources"]["Table"]
    properties = dict(table["Properties"])
    assert properties.pop("TableName") == {"Ref": "TableName"}
    assert properties.pop("TimeToLiveSpecification") == {"AttributeName": "ttl", "Enabled": True}
    assert properties.pop("PointInTimeRecoverySpecification") == {"PointInTimeRecoveryEnabled": True}
    wanted = definition(DEFAULT_TABLE)
    assert wanted.pop("TableName") == template["Parameters"]["TableName"]["Default"]
    assert properties == wanted
    assert (table["DeletionPolicy"], table["UpdateReplacePolicy"]) == ("Retain", "Retain")


@pytest.mark.parametrize("role", ROLES)
def test_the_template_allows_what_the_documents_say(template: dict[str, Any], role: str) -> None:
    """Not an action more or less, on this table alone."""
    stated = template["Resources"][f"{role.capitalize()}Policy"]["Properties"]["PolicyDocument"]
    stated["Statement"] = [entry | {"Resource": statement(entry["Resource"])} for entry in stated["Statement"]]
    assert stated == json.loads((DOCS / "iam" / f"{role}.json").read_text(encoding="utf-8"))


@pytest.mark.long
def test_a_reviewer_s_session_is_named_after_its_user(template: dict[str, Any], module: dict[str, Any]) -> None:
    """In both, as reviewer-trust.json says: the name that goes on record can't be chosen."""
    trust = template["Resources"]["ReviewerRole"]["Properties"]["AssumeRolePolicyDocument"]["Statement"][0]
    wanted = json.loads((DOCS / "iam" / "reviewer-trust.json").read_text(encoding="utf-8"))["Statement"][0]
    assert trust["Condition"] == wanted["Condition"]
    text = MODULE.read_text(encoding="utf-8")
    assert 'each.key == "reviewer" ? ["sts:RoleSessionName"]' in text
    assert '"$${aws:username}"' in text


def test_the_service_s_role_is_for_what_runs_it(template: dict[str, Any]) -> None:
    """In both: ECS or EKS may act as it, nobody else, and it has its one policy."""
    role = template["Resources"]["ServiceRole"]["Properties"]
    assert role["ManagedPolicyArns"] == [{"Ref": "ServicePolicy"}]
    (trust,) = role["AssumeRolePolicyDocument"]["Statement"]
    assert trust["Principal"] == {"Service": {"Ref": "ServicePrincipal"}}
    allowed = template["Parameters"]["ServicePrincipal"]["AllowedValues"]
    assert allowed == ["", "ecs-tasks.amazonaws.com", "pods.eks.amazonaws.com"]
    text = MODULE.read_text(encoding="utf-8")
    assert 'type        = each.key == "service" ? "Service" : "AWS"' in text
    assert all(name in text for name in allowed)


def test_cfn_lint_is_content() -> None:
    """Every property is one that CloudFormation knows."""
    linter = Path(sys.executable).with_name("cfn-lint")
    ran = subprocess.run([str(linter), str(TEMPLATE)], capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stdout) == (0, "")


def test_the_module_makes_the_program_s_table(module: dict[str, Any]) -> None:
    """The same keys, indexes, billing and protection."""
    (table,) = [entry["aws_dynamodb_table"]["approvals"] for entry in module["resource"] if "aws_dynamodb_table" in entry]
    wanted = definition(DEFAULT_TABLE)
    (attributes,) = [entry["attribute"] for entry in table["dynamic"]]
    assert sorted(attributes["for_each"]) == sorted(entry["AttributeName"] for entry in wanted["AttributeDefinitions"])
    assert [table["hash_key"], table["range_key"]] == [entry["AttributeName"] for entry in wanted["KeySchema"]]
    for kind in ("global", "local"):
        (index,) = table[f"{kind}_secondary_index"]
        (meant,) = wanted[f"{kind.capitalize()}SecondaryIndexes"]
        keys = [index.get("hash_key", table["hash_key"]), index["range_key"]]
        assert keys == [entry["AttributeName"] for entry in meant["KeySchema"]]
        assert (index["name"], index["projection_type"]) == (meant["IndexName"], meant["Projection"]["ProjectionType"])
    assert table["billing_mode"] == wanted["BillingMode"]
    assert table["deletion_protection_enabled"] is True
    assert table["ttl"][0] == {"attribute_name": "ttl", "enabled": True}
    assert table["point_in_time_recovery"][0]["enabled"] is True


def test_the_module_takes_its_policies_from_the_documents() -> None:
    """By their path, with the ARN that they are written with in mind."""
    text = MODULE.read_text(encoding="utf-8")
    assert f'documented_arn = "{ARN}"' in text
    assert "../iam/${each.key}.json" in text
    assert re.findall(r'roles\s+= toset\(\["(.*)"\]\)', text) == ['", "'.join(ROLES)]
    for role in ROLES:
        assert ARN in (DOCS / "iam" / f"{role}.json").read_text(encoding="utf-8")


def test_both_raise_the_same_alarms(template: dict[str, Any]) -> None:
    """On the same metrics, and each is of the table."""
    alarms = [entry["Properties"] for entry in template["Resources"].values() if entry["Type"] == "AWS::CloudWatch::Alarm"]
    metrics = {alarm["MetricName"] for alarm in alarms}
    assert metrics == set(re.findall(r'metric = "(\w+)"', MODULE.read_text(encoding="utf-8")))
    assert all(alarm["Dimensions"] == [{"Name": "TableName", "Value": {"Ref": "Table"}}] for alarm in alarms)


def test_both_tell_of_long_waiting_and_of_a_failed_audit(template: dict[str, Any], module: dict[str, Any]) -> None:
    """By the numbers that watch.sh publishes, alike in both: one late approval, any exit code, or no audit at all."""
    (alarms,) = [
        entry["aws_cloudwatch_metric_alarm"]["watched"]
        for entry in module["resource"]
        if "watched" in entry.get("aws_cloudwatch_metric_alarm", {})
    ]
    watched = next(entry["watched"] for entry in module["locals"] if "watched" in entry)
    made = {(one["metric"], int(one["period"]), one["missing"]) for one in watched.values()}
    properties = [template["Resources"][name]["Properties"] for name in ("WaitingTooLongAlarm", "AuditFailedAlarm")]
    assert made == {(one["MetricName"], one["Period"], one["TreatMissingData"]) for one in properties}
    assert made == {("Waiting", 300, "notBreaching"), ("AuditExitCode", 900, "breaching")}
    for one in properties:
        assert (one["Namespace"], one["Statistic"], one["Threshold"]) == ("Approvals", "Maximum", 1)
        assert one["ComparisonOperator"] == alarms["comparison_operator"] == "GreaterThanOrEqualToThreshold"
    assert (alarms["namespace"], alarms["statistic"], int(alarms["threshold"])) == ("Approvals", "Maximum", 1)
    assert alarms["alarm_actions"] == "${var.alarm_topics}"
    text = (DOCS / "deploy" / "watch.sh").read_text(encoding="utf-8")
    assert set(re.findall(r"publish (\w+)", text)) == {"Waiting", "AuditExitCode"}
    assert "--namespace Approvals --dimensions " in text


Terraform = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def terraform(tmp_path: Path) -> Terraform:
    """Terraform on a copy of the module; without it these say nothing, and the tests above still compare table and policies."""
    if shutil.which("terraform") is None:
        pytest.skip("terraform isn't installed")
    environment = {name: value for name, value in os.environ.items() if name != "TF_CLI_CONFIG_FILE"}
    for name in ("deploy", "iam"):
        shutil.copytree(DOCS / name, tmp_path / name)

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = ["terraform", f"-chdir={tmp_path / 'deploy'}", *arguments, "-no-color"]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=100)

    return run


def test_the_module_is_as_terraform_writes_it(terraform: Terraform) -> None:
    """It parses, in the format of `terraform fmt`."""
    formatted = terraform("fmt", "-check", "-diff")
    assert formatted.returncode == 0, formatted.stdout + formatted.stderr


def test_terraform_takes_the_module_for_valid(terraform: Terraform) -> None:
    """By the schema of the provider it asks for, where that can be had."""
    ready = terraform("init", "-backend=false", "-input=false")
    if ready.returncode:
        assert "registry" in ready.stderr, ready.stderr
        pytest.skip("terraform can't reach its registry, so the provider's schema is unknown here")
    valid = terraform("validate")
    assert valid.returncode == 0, valid.stderr


@pytest.mark.parametrize("role", ROLES)
def test_every_role_can_be_made_by_both(template: dict[str, Any], role: str) -> None:
    """Each with its own policy alone, for whom a parameter names, and not at all for nobody."""
    name = role.capitalize()
    made = template["Resources"][f"{name}Role"]
    assert made["Condition"] == f"Has{name}"
    assert made["Properties"]["ManagedPolicyArns"] == [{"Ref": f"{name}Policy"}]
    (trust,) = made["Properties"]["AssumeRolePolicyDocument"]["Statement"]
    kind = "Service" if role == "service" else "AWS"
    assert (trust["Principal"], "sts:AssumeRole" in trust["Action"]) == ({kind: {"Ref": f"{name}Principal"}}, True)
    assert template["Parameters"][f"{name}Principal"]["Default"] == ""
    text = MODULE.read_text(encoding="utf-8")
    assert f'"{role}"' in text.partition("condition     =")[2].partition("\n")[0]
