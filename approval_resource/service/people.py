"""People and machines as the service knows them, and what the config lets each do in a pool."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from approval_resource.policy.language.identities import OIDC_GROUP
from approval_resource.service.config import Config

EVERYONE = "everyone"


class Role(StrEnum):
    """Right of a person in a pool."""

    VIEW = "view"
    REVIEW = "review"
    OPERATE = "operate"


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """Somebody who has proven who they are."""

    identity: str
    """Recorded: `oidc:ISSUER#SUB`, `aws:ARN`, `slack:TEAM#USER`, `link:CHANNEL`. Name and mail are labels."""
    name: str = ""
    mail: str = ""
    groups: tuple[str, ...] = ()
    """Groups that their issuer told, each as `oidc-group:ISSUER#NAME`."""
    overage: bool = False
    """Whether their issuer said that there are more groups than it tells."""
    via: str
    """Proof: `session`, `bearer`, `sts`, `balancer`, `link` or `slack`."""
    auth_time: datetime | None = None
    session: str = ""
    """Id of the session, or an empty string."""
    until: datetime | None = None
    """End of the session, after which they have to sign in again."""

    @property
    def shown(self) -> str:
        """Label for people: name and mail where there are any, else the identity."""
        return " ".join(part for part in (self.name, f"<{self.mail}>" if self.mail else "") if part) or self.identity


def issuers_group(issuer: str, name: str) -> str:
    """Return a group's name as policies write it."""
    return f"{OIDC_GROUP}{issuer}#{name}"


class Access:
    """Rights in pools, as the config gives them. Policies alone say what a decision needs."""

    def __init__(self, config: Config) -> None:
        """Read the rights of `config`."""
        self._pools = config.pools
        self._issuer = config.login.issuer

    @property
    def pools(self) -> list[str]:
        """Return the pools that the service serves."""
        return list(self._pools)

    def may(self, person: Person, pool: str, role: Role) -> bool:
        """Whether the config gives that person the right. Reviewers and operators may view too."""
        access = self._pools.get(pool)
        if access is None:
            return False
        match role:
            case Role.OPERATE:
                named: Iterable[str] = access.operators
            case Role.REVIEW:
                named = access.reviewers
            case Role.VIEW:
                named = (*access.viewers, *access.reviewers, *access.operators)
        return any(self._is(person, name) for name in named)

    def visible(self, person: Person) -> list[str]:
        """Return the pools that the person may see."""
        return [pool for pool in self._pools if self.may(person, pool, Role.VIEW)]

    def _is(self, person: Person, name: str) -> bool:
        if name == EVERYONE:
            return True
        if ":" in name:
            return name == person.identity or name in person.groups
        return issuers_group(self._issuer, name) in person.groups
