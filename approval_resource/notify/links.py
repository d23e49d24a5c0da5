"""Links of a message: to the claim's page, and those by which a program decides."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from approval_resource.canonical import EMPTY
from approval_resource.model.claim import Claim


class Links(Protocol):
    """Links to where people decide. `PageLinks` has pages alone; the reviewers' service has all three."""

    def page(self, claim: Claim) -> str:
        """Return the address at which people see the claim, or an empty string."""

    def decisions(self, claim: Claim, channel: str) -> Mapping[str, str]:
        """Return `approve_url` and `deny_url` of a pending claim for that channel, or nothing."""

    def buttons(self, claim: Claim, channel: str) -> Mapping[str, str]:
        """Return the values of the claim's buttons `approve` and `reject` in that channel, or nothing."""


@dataclass(frozen=True, slots=True)
class PageLinks:
    """Links that decide nothing: the claim's page below `url`, else its build's page at Concourse."""

    url: str = ""

    def page(self, claim: Claim) -> str:
        """See `Links.page`."""
        return f"{self.url.rstrip('/')}/claims/{claim.id}" if self.url else claim.build.link

    def decisions(self, claim: Claim, channel: str) -> Mapping[str, str]:
        """See `Links.decisions`."""
        return EMPTY

    def buttons(self, claim: Claim, channel: str) -> Mapping[str, str]:
        """See `Links.buttons`."""
        return EMPTY
