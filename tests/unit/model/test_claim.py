"""What a build and a claim tell of themselves."""

from __future__ import annotations

from dataclasses import fields
from datetime import timedelta

import pytest

from approval_resource.model.claim import Build, Claimant
from approval_resource.model.event import OPEN_STATES, State
from tests.builders import NOON, a_build, a_claim

SOON = NOON + timedelta(seconds=1)


@pytest.mark.parametrize("name", [field.name for field in fields(Build) if field.name != "created_by"])
def test_builds_that_differ_in_anything_have_keys_that_differ(name: str) -> None:
    """All that Concourse says of a build tells it apart."""
    assert a_build(**{name: "other"}).key() != a_build().key()


def test_who_started_a_build_is_no_part_of_its_key() -> None:
    """Concourse tells that of some steps of a build and not of others."""
    assert a_build(created_by="ann").key() == a_build().key()


def test_claim_keys_tell_steps_of_one_build_apart() -> None:
    """Concourse gives its steps no names."""
    assert Claimant(a_build()).key == a_build().key()
    assert len({Claimant(a_build(), claim_key).key for claim_key in ("", "a", "b")}) == 3


@pytest.mark.parametrize(
    ("instance_vars", "shown"),
    [
        ("", "main/app/deploy #1"),
        ('{"env": "eu"}', "main/app/deploy #1 (env: eu)"),
        ('{"a": {"b": 1}, "c": true}', "main/app/deploy #1 (a.b: 1, c: true)"),
        ("{}", "main/app/deploy #1"),
        ("no json", "main/app/deploy #1 (no json)"),
        ("[1]", "main/app/deploy #1 ([1])"),
    ],
)
def test_a_build_is_named_with_its_pipeline_s_instance(instance_vars: str, shown: str) -> None:
    """Instances share pipeline, job and number."""
    assert str(a_build(instance_vars=instance_vars)) == shown


def test_a_build_without_a_job_has_a_name_too() -> None:
    """One-off builds have only an id, and some callers not even that."""
    assert str(Build(id="7")) == "build 7"
    assert str(Build()) == "an unnamed build"


@pytest.mark.parametrize("state", State)
def test_only_a_pending_claim_waits_for_time(state: State) -> None:
    """A deadline and an opening window are nothing to a claim that was decided or has ended."""
    claim = a_claim(state=state, deadline=SOON, opens_at=SOON)
    assert [claim.late(NOON), claim.due(NOON)] == [False, False]
    assert [claim.late(SOON), claim.due(SOON)] == [state is State.PENDING] * 2


def test_an_approval_that_time_completed_by_the_deadline_is_not_overdue() -> None:
    """Whoever looks first, and however late."""
    assert not a_claim(state=State.PENDING, deadline=SOON, opens_at=SOON).overdue(SOON + timedelta(days=1))
    after = a_claim(state=State.PENDING, deadline=SOON, opens_at=SOON + timedelta(seconds=1))
    assert after.overdue(SOON + timedelta(days=1))
    assert a_claim(state=State.PENDING, deadline=SOON).overdue(SOON)


@pytest.mark.parametrize("state", State)
def test_only_a_claim_that_holds_its_lock_overstays(state: State) -> None:
    """From the instant on to which it may hold it."""
    claim = a_claim(state=state, hold_until=SOON)
    assert not claim.overstayed(NOON)
    assert claim.overstayed(SOON) is claim.claimed is (state in OPEN_STATES)


def test_without_a_limit_nothing_is_ever_late() -> None:
    """A claim that names no time waits and holds for ever."""
    far = NOON + timedelta(days=3650)
    claim = a_claim()
    assert [claim.overdue(far), claim.due(far), claim.overstayed(far)] == [False] * 3
