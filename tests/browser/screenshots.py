"""Pictures of the service for the documentation: phone and desk, light and dark."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser

from demo.engine import ROOT
from tests.browser.test_browser import DESK, PHONE, a_claim, opened_in, sign_in
from tests.builders import under
from tests.service.conftest import Running

PLACE = ROOT / "docs" / "service"


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(("name", "screen"), [("phone", PHONE), ("desk", DESK)])
def test_pictures_are_taken(chromium: Browser, running: Running, name: str, screen: dict[str, Any], scheme: Any) -> None:
    """Of what waits, and of a claim."""
    PLACE.mkdir(exist_ok=True)
    claim = a_claim(running, lock_name=f"production-{name}-{scheme}", terms=under(required_approvals=2))
    context = opened_in(chromium, **screen, color_scheme=scheme)
    page = context.new_page()
    sign_in(page, running, "ana", "/")
    shoot(page, PLACE / f"waiting-{name}-{scheme}.png")
    page.goto(f"{running.url}/claims/{claim.id}")
    shoot(page, PLACE / f"claim-{name}-{scheme}.png")
    context.close()


def shoot(page: Any, path: Path) -> None:
    """Write what the screen shows."""
    page.screenshot(path=path, animations="disabled")
    assert path.stat().st_size > 5_000
