"""The image of the reviewers' service: what it adds to the resource's, and that it serves as nobody who writes nothing."""

from __future__ import annotations

import gzip
import json
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from uuid import uuid4

import pytest
import urllib3
import yaml

from approval_resource.store.dynamodb.store import DynamoStore
from approval_resource.store.interface import Connection
from demo.engine import REGION, free_port
from tests.image.faults import installers, left_over, loose, uncompiled
from tests.image.workshop import HARDENED, Workshop

MB = 1_000_000
MOST = 30 * MB
MOST_MEMORY = 110 * MB
NOBODY = 65_532
SECRETS = {"OIDC_SECRET": "secret-of-the-image-test", "SESSION_KEY": "0123456789abcdef0123456789abcdef-image"}


def test_what_it_adds_to_the_resource_is_small(shop: Workshop, service_image: str, image: str) -> None:
    """Under 30 MB, and nothing that the resource's layers have already."""
    layers = shop.exported(service_image)
    own = json.loads((layers / "manifest.json").read_text())["layers"][len(shop.layers(image)) :]
    paths = [layers / layer["digest"].removeprefix("sha256:") for layer in own]
    unpacked = sum(path.stat().st_size for path in paths)
    compressed = sum(len(gzip.compress(path.read_bytes(), 6)) for path in paths)
    print(f"above the resource: {unpacked / MB:.1f} MB, compressed {compressed / MB:.1f} MB")
    assert shop.layers(service_image)[: len(shop.layers(image))] == shop.layers(image)
    assert unpacked < MOST


def test_it_has_no_faults(shop: Workshop, service_image: str) -> None:
    """Nothing is loose, uncompiled or left over, no installer is in it, and it starts without compiling anything."""
    with shop.mounted(service_image) as root:
        assert [*loose(root), *uncompiled(root), *installers(root), *left_over(root)] == []
    settings = ["--env=PYTHONVERBOSE=1", "--network=none", *HARDENED]
    ran = shop.call("podman", "run", "--rm", *settings, service_image, "serve", "--config", "/none", "--check")
    assert "/none: can't be read" in ran.stderr
    loaded = [line for line in ran.stderr.splitlines() if line.startswith("# code object from ")]
    assert any("/service/__pycache__/app." in line for line in loaded)
    assert [line for line in loaded if not line.strip("'").endswith(".pyc")] == []


def test_the_resource_has_nothing_of_it(shop: Workshop, image: str) -> None:
    """Neither its modules nor its packages, and `serve` says where they are."""
    with shop.mounted(image) as root:
        assert not (root / "opt/resource/approval_resource/service").exists()
        assert not (root / "opt/service").exists()
        assert not list((root / "opt").rglob("starlette"))
    ran = shop.run(image, "cli", "serve", "--config", "/none")
    assert ran.code == 1
    assert "X.Y.Z-service" in ran.stderr


@contextmanager
def container(shop: Workshop, image: str, config: Path) -> Iterator[tuple[str, int]]:
    """A container that serves by that config, with nothing to write to, and its process here; removed at the end."""
    name = f"service-{uuid4()}"
    options = [option for option in HARDENED if not option.startswith("--tmpfs")]
    given = [f"--env={key}={value}" for key, value in SECRETS.items()]
    given += ["--env=AWS_ACCESS_KEY_ID=test", "--env=AWS_SECRET_ACCESS_KEY=test-secret", "--env=AWS_EC2_METADATA_DISABLED=true"]
    mount = f"--volume={config.parent}:/etc/approvals:ro"
    shop.must("podman", "run", "--detach", f"--name={name}", "--network=host", *options, *given, mount, image)
    try:
        yield name, int(shop.must("podman", "inspect", "--format={{.State.Pid}}", name))
    finally:
        shop.call("podman", "rm", "--force", "--time=0", name)


def answers(url: str) -> bool:
    """Whether it answers with 200 there."""
    try:
        return urllib3.request("GET", url, retries=False, timeout=5).status == 200
    except urllib3.exceptions.HTTPError:
        return False


def status(pid: int) -> dict[str, str]:
    """Status of a process, as the kernel tells it."""
    lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def test_it_serves_as_nobody_and_writes_nothing(shop: Workshop, service_image: str, connection: Connection) -> None:
    """On a read-only root without any capability; it is ready once the table answers, and ends when it is told to."""
    DynamoStore.connect(connection).create_table()
    port = free_port()
    document = {
        "url": f"http://127.0.0.1:{port}",
        "listen": f"127.0.0.1:{port}",
        "table": connection.table,
        "region": REGION,
        "endpoint_url": connection.endpoint_url,
        "pools": {"payments": {"reviewers": ["everyone"]}},
        "login": {"issuer": "https://login.example.com", "client_id": "approvals", "client_secret": "env:OIDC_SECRET"},
        "session": {"keys": ["env:SESSION_KEY"]},
    }
    assert shop.configuration(service_image)["Config"]["User"] == f"{NOBODY}:{NOBODY}"
    with TemporaryDirectory(prefix="config-") as directory:
        config = Path(directory, "service.yaml")
        config.write_text(yaml.safe_dump(document), encoding="utf-8")
        config.parent.chmod(0o755)
        with container(shop, service_image, config) as (name, pid):
            until = time.monotonic() + 60
            while not answers(f"{document['url']}/readyz"):
                assert Path(f"/proc/{pid}").exists(), shop.call("podman", "logs", name).stderr
                assert time.monotonic() < until
                time.sleep(0.05)
            told = status(pid)
            assert {told["Uid"].split()[0], told["Gid"].split()[0]} == {str(NOBODY)}
            assert int(told["CapEff"], 16) == 0
            assert told["NoNewPrivs"] == "1"
            memory = int(told["VmRSS"].split()[0]) * 1024
            print(f"memory: {memory / MB:.0f} MB")
            assert memory < MOST_MEMORY
            write = "import sys; open(sys.argv[1], 'w')"
            for path in ("/tmp/x", "/opt/resource/x", "/etc/approvals/x"):  # noqa: S108 - in the container
                tried = shop.call("podman", "exec", name, "/opt/approval/bin/python3", "-c", write, path)
                assert "Read-only file system" in tried.stderr or "Permission denied" in tried.stderr
            shop.must("podman", "kill", f"--signal={signal.Signals.SIGTERM.name}", name)
            assert shop.must("podman", "wait", name) == "0"
            logged = shop.call("podman", "logs", name)
    assert '"event": "stop"' in logged.stderr + logged.stdout
    for secret in SECRETS.values():
        assert secret not in logged.stderr + logged.stdout


@pytest.mark.parametrize("label", ["version", "revision"])
def test_it_says_what_it_is(shop: Workshop, service_image: str, image: str, label: str) -> None:
    """Its labels are the resource's."""
    key = f"org.opencontainers.image.{label}"
    assert shop.configuration(service_image)["Config"]["Labels"][key] == shop.configuration(image)["Config"]["Labels"][key]
