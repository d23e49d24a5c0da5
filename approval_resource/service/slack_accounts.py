"""Accounts of Slack that people linked with their own sign-in. Links are signed, so none can be forged."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from approval_resource.canonical import digest
from approval_resource.service.config import SlackApp
from approval_resource.service.oidc import Client
from approval_resource.service.people import Person
from approval_resource.service.sessions import Endings, persons_mark
from approval_resource.service.signing import Signer
from approval_resource.store.dynamodb.store import DynamoStore

ISSUER = "https://slack.com"


def links_mark(identity: str) -> str:
    """Return the name of the mark that ends all links that one person has made so far."""
    return f"slack#{digest(identity)}"


class Accounts:
    """Linked accounts. The table keeps each link, and its signature tells who made it."""

    def __init__(self, app: SlackApp, client: Client | None, signer: Signer, endings: Endings, store: DynamoStore) -> None:
        """Let people link accounts by `client`; without it nobody can."""
        self.client = client
        self.team = app.team
        self.life = timedelta(days=app.linked_days)
        self._signer = signer
        self._endings = endings
        self._store = store

    def link(self, account: str, person: Person, now: datetime) -> datetime:
        """Count presses by the account as the person's. Return until when."""
        until = now + self.life
        document = {
            "account": account,
            "identity": person.identity,
            "name": person.name,
            "mail": person.mail,
            "groups": person.groups,
            "overage": person.overage,
            "from": now.timestamp(),
            "until": until.timestamp(),
        }
        self._store.keep_signed(account, self._signer.pack("slack", document), self.life)
        return until

    def unlink(self, person: Person) -> None:
        """End every link that the person has made so far."""
        self._endings.end(links_mark(person.identity))

    def person(self, account: str, now: datetime) -> Person | None:
        """Return the person who linked that account, or None where nobody did, or the link has ended."""
        document = self._signer.unpack("slack", self._store.signed(account))
        if document is None or document["account"] != account:
            return None
        begun, until = (datetime.fromtimestamp(document[name], UTC) for name in ("from", "until"))
        if not begun - timedelta(minutes=1) <= now < until:
            return None
        person = Person(
            identity=document["identity"],
            name=document["name"],
            mail=document["mail"],
            groups=tuple(document["groups"]),
            overage=document["overage"],
            via="slack",
        )
        return None if self._endings.ended([links_mark(person.identity), persons_mark(person.identity)], begun) else person
