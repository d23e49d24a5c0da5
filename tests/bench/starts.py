"""Groups 1 and 2: what whole processes take, here and in the image, as parts of what a straightforward script takes."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from approval_resource.store.dynamodb.store import DynamoStore
from approval_resource.store.interface import Connection
from tests.bench import running, timer
from tests.bench.pools import decided
from tests.bench.results import Budget, Group, ms, ratio
from tests.image.workshop import ROOT, ToolMissingError, Workshop, workshop

ROUNDS = 20
TIME_CHECK = ROOT / "build" / "bench" / "time-check"
"""The least that a check can cost: a Go program that asks nobody."""
BUDGETS = {
    "check": (0.55, 0.42),
    "out claim": (0.80, 0.62),
    "out release": (0.80, 0.62),
    "in": (0.75, 0.58),
    "cli list": (1.0, 1.0),
}
"""Plain, and in the image."""
NAIVE = """
ARG BASE_IMAGE
FROM ${BASE_IMAGE}
COPY requirements/runtime.txt /tmp/runtime.txt
RUN python3 -m venv /opt/naive && /opt/naive/bin/python -m pip install --quiet --require-hashes -r /tmp/runtime.txt
RUN python3 -m compileall -q -j 0 --invalidation-mode unchecked-hash "$(python3 -c 'import sysconfig; print(sysconfig.get_path("stdlib"))')" || true
"""
"""Where the baseline runs: everything that the lock names, whole, and all of the standard library compiled."""


def cases(
    connection: Connection, store: DynamoStore, pool: str, *, python: str, scripts: str, cli: list[str]
) -> list[dict[str, Any]]:
    """The baselines and this resource's programs on one pool, where those are found."""
    claim = decided(store, pool)
    given = running.environment(connection.endpoint_url, connection.table)
    source = running.source(connection.endpoint_url, connection.table, pool)
    plain = {"pool": pool, "table": connection.table}
    others = "/bench" if scripts == "/opt/resource" else str(running.PROGRAMS)
    scripted = [] if scripts == "/opt/resource" else [python]
    lock = {"lock_name": f"{pool}-{{round}}"}
    time_check = "/built/time-check" if scripts == "/opt/resource" else str(TIME_CHECK)
    hourly = {"source": {"interval": "1h", "location": "Europe/Berlin"}, "version": {"time": "2026-11-01T00:00:00Z"}}
    go = [running.case("a check in Go", [time_check], hourly, given)] if TIME_CHECK.exists() else []

    def own(name: str, script: str, arguments: list[str], **request: object) -> dict[str, Any]:
        return running.case(name, [*scripted, f"{scripts}/{script}", *arguments], {"source": source} | request, given)

    scratch = "/tmp"
    return [
        running.case("baseline", [python, f"{others}/baseline.py"], plain, given),
        own("check", "check", [], version=claim.pending),
        own("out claim", "out", [scratch], params={"action": "claim"} | lock),
        own("out release", "out", [scratch], params={"action": "release"} | lock),
        own("in", "in", [f"{scratch}/approval-bench-{pool}/{{round}}"], version=claim.approved),
        running.case("cli list", [*cli, "list", "--pool", pool], {}, given),
        running.case("floor", [python, f"{others}/floor.py"], plain, given),
        running.case("original", [python, f"{others}/original.py", "check"], plain, given),
        *go,
    ]


def measure(connection: Connection, store: DynamoStore) -> list[Group]:
    """Both groups. What the machine has no tools for is left out, and said."""
    running.compiled()
    notes = [*_compiled_go()]
    here = cases(
        connection,
        store,
        "starts",
        python=running.PYTHON,
        scripts=str(ROOT / "assets"),
        cli=[running.PYTHON, str(ROOT / "cli.py")],
    )
    found = {"plain": running.timed(here, ROUNDS)}
    try:
        with inside() as python:
            there = cases(
                connection,
                store,
                "starts-image",
                python="/opt/naive/bin/python",
                scripts="/opt/resource",
                cli=["/opt/approval/bin/cli"],
            )
            found["image"] = running.timed(there, ROUNDS, first=10_000, python=python)
    except ToolMissingError as missing:
        notes.append(f"The image was not measured: {missing}")
    return [_group("1. check", ["check"], found, notes), _group("2. out, in and list", [*BUDGETS][1:], found, notes)]


@contextmanager
def inside() -> Iterator[list[str]]:
    """How to run the timer in a container that has both the image's files and the baseline's."""
    with workshop() as shop:
        base = shop.base(shop.architecture())
        image = shop.build("bench", base, (ROOT / "Dockerfile").read_text(encoding="utf-8"))
        naive = shop.build("naive", base, NAIVE)
        with shop.mounted(image) as files:
            yield _timer(shop, naive, files)


def _compiled_go() -> Iterator[str]:
    """Build the check in Go, as Concourse's image of it has it; yield why not."""
    TIME_CHECK.unlink(missing_ok=True)
    go = shutil.which("go")
    if go is None:
        yield "The check in Go was not measured: there is no go on PATH"
        return
    TIME_CHECK.parent.mkdir(parents=True, exist_ok=True)
    source = str(running.PROGRAMS / "time_check.go")
    subprocess.run([go, "build", "-o", str(TIME_CHECK), source], check=True, env=os.environ | {"CGO_ENABLED": "0"})


def _timer(shop: Workshop, naive: str, files: Any) -> list[str]:
    mounts = [f"--volume={files}/opt/{name}:/opt/{name}:ro" for name in ("approval", "resource")]
    mounts += [f"--volume={TIME_CHECK.parent}:/built:ro"] if TIME_CHECK.exists() else []
    mounts += [f"--volume={running.PROGRAMS}:/bench:ro", f"--volume={timer.__file__}:/timer.py:ro"]
    run = shop.command("podman", "run", "--rm", "--interactive", "--network=host", *mounts, naive, "python3", "/timer.py")
    return ["/usr/bin/env", f"CONTAINERS_CONF={shop.environment['CONTAINERS_CONF']}", *run]


def _group(title: str, names: list[str], found: dict[str, Any], notes: list[str]) -> Group:
    group = Group(
        title, heads=["process", *(f"{where}, ms" for where in found), *(f"{where}, of the baseline" for where in found)]
    )
    shown = ["baseline", *names, "floor", "original", "a check in Go"] if "check" in names else ["baseline", *names]
    for name in [name for name in shown if all(name in of for of in found.values())]:
        times = [ms(found[where][name]["clock"]) for where in found]
        parts = [ratio(found[where][name]["clock"], found[where]["baseline"]["clock"]) for where in found]
        group.rows.append([name, *times, *(f"{part:.2f}" for part in parts)])
        if name in BUDGETS:
            bounds = dict(zip(("plain", "image"), BUDGETS[name], strict=True))
            group.budgets += [Budget(f"{name}, {where}", part, bounds[where]) for where, part in zip(found, parts, strict=True)]
    group.notes = list(notes)
    return group
