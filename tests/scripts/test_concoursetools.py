"""The scripts through another's idea of Concourse: the test wrappers of concoursetools."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest
from concoursetools.testing import FileTestResourceWrapper

from approval_resource.claims import review as reviews
from approval_resource.model.claim import Verdict
from approval_resource.model.event import State
from approval_resource.store.dynamodb.store import DynamoStore
from tests.scripts.conftest import COMMAND, LOCK, POOL, SCRIPTS, Concourse, kept


@pytest.fixture
def wrapper(concourse: Concourse, tmp_path: Path) -> FileTestResourceWrapper:
    """The wrapper around the scripts; it starts them with a nearly empty environment, so each is told its interpreter."""
    assets = tmp_path / "assets"
    assets.mkdir()
    for name in ("check", "in", "out"):
        command = shlex.join([*COMMAND, str(SCRIPTS / name)])
        (assets / name).write_text(f'#!/bin/sh\nexec {command} "$@"\n')
        (assets / name).chmod(0o755)
    return FileTestResourceWrapper.from_assets_dir(
        concourse.source, assets, instance_vars={"branch": "main"}, BUILD_CREATED_BY="carol", AWS_EC2_METADATA_DISABLED="true"
    )


def test_a_gate_from_claim_to_release(wrapper: FileTestResourceWrapper, store: DynamoStore) -> None:
    """Claim, check, a gate that is approved and a release work the way this library calls them."""
    assert wrapper.fetch_new_versions() == []

    with wrapper.capture_debugging() as log:
        claimed, metadata = wrapper.publish_new_version(
            {"action": "claim", "lock_name": LOCK, "need_approval": True, "description": "deploy 1.2"}
        )
        assert f"approve --id {claimed['id']}" in log.value
    assert {"name": "requester", "value": "carol"} in metadata
    assert wrapper.fetch_new_versions() == [claimed]

    claim = kept(store, claimed)
    assert claim.build.pipeline == "my-pipeline"
    assert json.loads(claim.build.instance_vars) == {"branch": "main"}
    reviews.review(store, claim.id, reviewer="typed:bob", verdict=Verdict.APPROVE, comment="go")

    pending, approved = wrapper.fetch_new_versions(claimed)
    assert pending == claimed
    assert approved["state"] == "approved"
    with wrapper.capture_directory_state() as directory:
        got, metadata = wrapper.download_version(claimed, {"lock_name": LOCK, "need_approval": True})
    assert got == claimed
    assert {"name": "decided by", "value": "typed:bob"} in metadata
    assert directory.final_state["name"] == LOCK
    assert json.loads(directory.final_state["receipt.json"])["reason"] == "go"

    released, _ = wrapper.publish_new_version({"action": "release", "lock_name": LOCK})
    assert released["id"] == claim.id
    assert kept(store, released).state is State.RELEASED
    assert wrapper.fetch_new_versions(released) == [released]


def test_a_failed_step_raises_with_its_log(wrapper: FileTestResourceWrapper, store: DynamoStore) -> None:
    """What the library calls a failure is one, with the line a person reads."""
    with pytest.raises(RuntimeError, match="this build has nothing to release: nobody ever claimed the lock nope"):
        wrapper.publish_new_version({"action": "release", "lock_name": "nope"})
    assert store.head(POOL) is None
