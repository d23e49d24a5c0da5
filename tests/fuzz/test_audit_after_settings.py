"""What fuzzing the command line found in the audit."""

from __future__ import annotations

from approval_resource import audit
from tests.builders import take
from tests.fuzz.oracle import FALSE_ALARM
from tests.fuzz.world import World


def test_setting_the_retention_is_no_fault(world: World) -> None:
    """A pool with claims whose retention is set passes the audit as before."""
    take(world.store, pool=world.pool)
    assert world.command("pool", "set", world.pool, "--retention-days", "30").code == 0
    assert FALSE_ALARM not in audit.verify(world.store, world.pool).findings
