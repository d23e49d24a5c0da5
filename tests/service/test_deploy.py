"""What is there to copy fits the program: configs that it reads, probes that it answers, secrets that it finds."""

from __future__ import annotations

import json
import re
import subprocess
from typing import Any

import yaml
from botocore.session import Session
from botocore.validate import ParamValidator

from approval_resource.policy.language.load import parse
from approval_resource.policy.language.strict import read_document
from approval_resource.service.config import Config, require_apart
from demo.engine import ROOT
from tests.service.conftest import Running

DEPLOY = ROOT / "docs" / "deploy"


def read(text: str) -> Config:
    """A config in that text, as the program reads it."""
    config = read_document(Config, parse(text, "service.yaml")[0], "service.yaml")
    require_apart(config)
    return config


def test_kubernetes_runs_it_as_nobody_with_probes_and_its_secrets(running: Running) -> None:
    """The config is whole, each probe is answered, each secret is mounted where the config looks, nothing is writable."""
    documents = list(yaml.safe_load_all((DEPLOY / "service-kubernetes.yaml").read_text(encoding="utf-8")))
    kinds: dict[str, Any] = {document["kind"]: document for document in documents}
    config = read(kinds["ConfigMap"]["data"]["service.yaml"])
    pod = kinds["Deployment"]["spec"]["template"]["spec"]
    container = pod["containers"][0]
    for probe in ("readinessProbe", "livenessProbe"):
        assert running.browser().send("GET", container[probe]["httpGet"]["path"]).status == 200
    mounted = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    secret = next(volume["secret"] for volume in pod["volumes"] if "secret" in volume)
    files = {f"file:{mounted['secrets']}/{item['path']}" for item in secret["items"]}
    assert files == {config.login.client_secret, *config.session.keys}
    assert pod["securityContext"]["runAsNonRoot"]
    assert container["securityContext"]["readOnlyRootFilesystem"]
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert str(container["ports"][0]["containerPort"]) == config.listen.rpartition(":")[2]
    assert pod["terminationGracePeriodSeconds"] > 20
    role = kinds["ServiceAccount"]["metadata"]["annotations"]["eks.amazonaws.com/role-arn"]
    assert role.endswith("/approvals-service")


def test_ecs_runs_it_with_its_secrets_and_its_own_role() -> None:
    """The config is whole, and every secret that it names is given; the root is read-only, and the user nobody."""
    task = json.loads((DEPLOY / "service-ecs.json").read_text(encoding="utf-8"))
    writer, service = task["containerDefinitions"]
    config = read(writer["environment"][0]["value"])
    given = {f"env:{secret['name']}" for secret in service["secrets"]}
    assert given == {config.login.client_secret, *config.session.keys}
    assert service["readonlyRootFilesystem"] is True
    assert service["user"] == "65532"
    assert task["taskRoleArn"].endswith("/approvals-service")
    assert str(service["portMappings"][0]["containerPort"]) == config.listen.rpartition(":")[2]


def test_aws_takes_the_task_for_one() -> None:
    """Every name and type in it is one of ECS's own model, none is required that it lacks."""
    client = Session().create_client("ecs", region_name="eu-west-1", aws_access_key_id="x", aws_secret_access_key="x")
    shape = client.meta.service_model.operation_model("RegisterTaskDefinition").input_shape
    task = json.loads((DEPLOY / "service-ecs.json").read_text(encoding="utf-8"))
    assert ParamValidator().validate(task, shape).generate_report() == ""
    assert "typo" in ParamValidator().validate(task | {"typo": 1}, shape).generate_report()


def test_neither_has_another_role_or_more_secrets_than_it_needs() -> None:
    """One role with docs/iam/service.json each, no key of AWS, and the secrets that the config names."""
    text = (DEPLOY / "service-kubernetes.yaml").read_text(encoding="utf-8") + (DEPLOY / "service-ecs.json").read_text("utf-8")
    roles = set(re.findall(r"arn:aws:iam::\d+:role/([\w-]+)", text))
    assert roles == {"approvals-service", "approvals-execution"}
    assert "docs/iam/service.json" in text
    assert not re.search(r"AWS_\w*(KEY|TOKEN)|AKIA|hostNetwork|hostPath|privileged: true", text)
    assert len(re.findall(r"secretsmanager", text)) == 2


def test_the_image_has_a_target_of_its_own() -> None:
    """A build without a target makes the resource, which has nothing of the service."""
    lines = (ROOT / "Dockerfile").read_text(encoding="utf-8").splitlines()
    stages = [line for line in lines if line.startswith("FROM ")]
    assert stages[-1] == "FROM resource"
    assert "FROM resource AS service" in stages
    assert "RUN rm -r /opt/resource/approval_resource/service" in lines
    assert lines[-1] == "FROM resource"


def test_make_builds_that_target() -> None:
    """With whichever engine it is told; without a target it is the resource."""
    for target, wanted in (("service", " --target service "), ("", None)):
        command = ["make", "--dry-run", "image", "ENGINE=docker", f"TARGET={target}", "TAG=localhost/x"]
        told = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
        assert "docker build" in told
        assert (wanted in told) if wanted else ("--target" not in told)


def test_each_issuer_of_the_page_fits_the_config() -> None:
    """Its options are read as they stand, and the table has a line for each."""
    text = (ROOT / "docs" / "service.md").read_text(encoding="utf-8")
    config = yaml.safe_load(text.partition("```yaml\n")[2].partition("```")[0])
    issuers = yaml.safe_load(text.partition("```yaml issuers\n")[2].partition("```")[0])
    assert set(issuers) == {"okta", "entra", "google", "keycloak", "dex", "cognito"}
    for name, login in issuers.items():
        document = config | {"login": login | {"client_id": "x", "client_secret": "env:X"}}
        require_apart(read_document(Config, document, name))
        assert f"| {name.capitalize()} |" in text


def test_the_page_s_config_is_one() -> None:
    """The example in docs/service.md is read as it stands."""
    text = (ROOT / "docs" / "service.md").read_text(encoding="utf-8")
    example = text.partition("```yaml\n")[2].partition("```")[0]
    assert set(Config.model_fields) >= set(yaml.safe_load(example))
    read(example)
    for name in Config.model_fields:
        assert f"`{name}" in text, name
