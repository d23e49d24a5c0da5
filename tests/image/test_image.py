"""The image is what it says, and no more than it needs."""

from __future__ import annotations

import gzip
import json
import shlex
import subprocess

import pytest

from approval_resource.store.interface import Connection
from tests.image.faults import faults
from tests.image.workshop import ROOT, Workshop

README = (ROOT / "README.md").read_text(encoding="utf-8")
MB = 1_000_000
MOST = 40 * MB
MOST_COMPRESSED = 12 * MB


def test_it_has_no_faults(shop: Workshop, image: str, source: dict[str, str]) -> None:
    """Modes, compiled modules, installers, executables, output."""
    assert faults(shop, image, source) == []


def test_what_it_adds_to_its_base_is_small(shop: Workshop, image: str, base: str) -> None:
    """Under 40 MB unpacked and 12 MB as a registry keeps it."""
    layers = shop.exported(image)
    own = json.loads((layers / "manifest.json").read_text())["layers"][len(shop.layers(base)) :]
    paths = [layers / layer["digest"].removeprefix("sha256:") for layer in own]
    unpacked = sum(path.stat().st_size for path in paths)
    compressed = sum(len(gzip.compress(path.read_bytes(), 6)) for path in paths)
    print(f"above the base: {unpacked / MB:.1f} MB, compressed {compressed / MB:.1f} MB")
    assert own
    assert unpacked < MOST
    assert compressed < MOST_COMPRESSED


def test_it_says_what_it_is(shop: Workshop, image: str) -> None:
    """Where it comes from, which version, which commit, under which licence."""
    configuration = shop.configuration(image)["Config"]
    labels = {name.removeprefix("org.opencontainers.image."): text for name, text in configuration["Labels"].items()}
    assert labels["version"] == "1.2.3"
    assert labels["revision"] == "abc"
    assert labels["licenses"] == "Apache-2.0"
    assert labels["source"].startswith("https://")


def test_it_runs_as_root_unless_told_otherwise(shop: Workshop, image: str) -> None:
    """Concourse's volumes belong to root."""
    assert shop.run(image, "id", "-u").stdout.strip() == "0"


def test_make_image_builds_it(shop: Workshop, base: str, image: str) -> None:
    """With whichever engine it is told, and with the version, the commit and the pinned base that it is made from."""
    pinned = f"{base.rpartition(':')[0]}@{shop.configuration(base)['Digest']}"
    options = {"ENGINE": shlex.join(shop.command("buildah")), "BASE_IMAGE": pinned, "TAG": "localhost/made", "VERSION": "9.9.9"}
    lent = {"BUILDAH_ISOLATION": "chroot", "BUILDAH_LAYERS": "true", "BUILDAH_FORMAT": "docker"}
    command = ["make", "image", *(f"{name}={text}" for name, text in options.items())]
    made = subprocess.run(command, cwd=ROOT, env=shop.environment | lent, capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stderr
    commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()
    labels = shop.configuration("localhost/made")["Config"]["Labels"]
    assert f"{labels['org.opencontainers.image.base.name']}@{labels['org.opencontainers.image.base.digest']}" == pinned
    assert shop.run("localhost/made", "cli", "--help").code == 0
    # What the labels become is seen in test_it_says_what_it_is: an old buildah takes cached labels for those of other arguments.
    assert f"VERSION=9.9.9 --build-arg REVISION={commit}" in made.stdout


@pytest.mark.parametrize("user", ["", "10001", "4711:4711"])
def test_people_use_its_command_line(shop: Workshop, image: str, connection: Connection, user: str) -> None:
    """Whoever it runs as, without any privilege; the README names somebody who isn't root."""
    assert "docker run --rm --user 10001 " in README
    settings = {
        "AWS_ACCESS_KEY_ID": connection.access_key_id,
        "AWS_SECRET_ACCESS_KEY": connection.secret_access_key,
        "AWS_DEFAULT_REGION": connection.region,
        "AWS_ENDPOINT_URL_DYNAMODB": connection.endpoint_url,
        "APPROVAL_TABLE": connection.table,
    }
    given = [f"{name}={value}" for name, value in settings.items()]
    assert shop.run(image, "env", *given, "cli", "init", user=user).code == 0
    ran = shop.run(image, "env", *given, "approvals", "list", "--format", "json", user=user)
    assert (ran.code, json.loads(ran.stdout)) == (0, []), ran.stderr


def test_a_rego_policy_is_judged_in_it(shop: Workshop, image: str) -> None:
    """The engine is in it, and has room enough in 256 MB with nothing but /tmp to write to."""
    policy = "package spacelift\napprove { 1 > 0 }\n"
    command = f"printf '{policy}' > /tmp/policy.rego && cli policy eval --format json /tmp/policy.rego"
    ran = shop.run(image, "sh", "-c", command)
    assert json.loads(ran.stdout)["decision"] == "approve", ran.stderr


def test_it_ends_in_a_line_where_no_network_is(shop: Workshop, image: str) -> None:
    """Not in one of podman's own exit codes, and not in a traceback."""
    source = {"pool": "p", "AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "bbbbbb", "AWS_DEFAULT_REGION": "eu-west-1"}
    ran = shop.run(image, "/opt/resource/check", stdin=json.dumps({"source": source}).encode(), network="none")
    assert (ran.code, ran.stdout) == (1, "")
    assert "Traceback" not in ran.stderr
    assert len(ran.stderr.splitlines()) == 1
