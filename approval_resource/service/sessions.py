"""Sessions: a signed cookie holds the whole session. The table can revoke it, and can make none."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from approval_resource.canonical import digest
from approval_resource.policy.language.identities import OIDC_GROUP
from approval_resource.service.oidc import NotSignedInError
from approval_resource.service.people import Person, issuers_group
from approval_resource.service.signing import Signer, random_text
from approval_resource.store.dynamodb.store import DynamoStore

COOKIE = "__Host-session"
MAX_COOKIE = 3_900
"""Upper bound of a cookie's value, so that browsers keep it."""
FRESH_SECONDS = 1.0


def session_mark(session: str) -> str:
    """Return the name of the mark that ends one session."""
    return f"session#{session}"


def issuers_mark(issuer: str, session: str) -> str:
    """Return the name of the mark that ends all sessions begun by one session at the issuer."""
    return f"issuer#{digest([issuer, session])}"


def persons_mark(identity: str) -> str:
    """Return the name of the mark that ends all sessions that one person has begun so far."""
    return f"person#{digest(identity)}"


class Endings:
    """Ended sessions, as the table and this process know them. The table is read once a second at most."""

    def __init__(self, store: DynamoStore) -> None:
        """Read them from `store`."""
        self._store = store
        self._lock = threading.Lock()
        self._looked = float("-inf")
        self._ended: dict[str, datetime] = {}
        self._here: dict[str, datetime] = {}

    def end(self, mark: str) -> None:
        """Revoke the sessions with that mark, in every process."""
        self._store.revoke(mark)
        with self._lock:
            # This process keeps the mark, so deleting it from the table revives the session only in other
            # processes.
            self._here[mark] = self._store.now()

    def ended(self, marks: Iterable[str], since: datetime) -> bool:
        """Whether a session with those marks that began at `since` was ended."""
        with self._lock:
            if time.monotonic() - self._looked > FRESH_SECONDS:
                self._ended = self._store.revoked()
                self._looked = time.monotonic()
            known = [at for mark in marks for at in (self._ended.get(mark), self._here.get(mark)) if at is not None]
        return any(at >= since - timedelta(seconds=1) for at in known)


class Sessions:
    """Cookies of people who signed in."""

    def __init__(self, signer: Signer, endings: Endings, hours: int) -> None:
        """Let sessions last for `hours`."""
        self._signer = signer
        self._endings = endings
        self._life = timedelta(hours=hours)

    def begin(self, person: Person, issuers_session: str, now: datetime) -> tuple[str, Person]:
        """Return the cookie of a new session, and the person in it.

        Raises:
            NotSignedInError: they are in more groups than a cookie holds.
        """
        begun = replace(person, session=random_text(), until=now + self._life, via="session")
        issuer, _, subject = person.identity.removeprefix("oidc:").partition("#")
        document = {
            "id": begun.session,
            "iss": issuer,
            "sub": subject,
            "name": person.name,
            "mail": person.mail,
            "groups": [group.removeprefix(f"{OIDC_GROUP}{issuer}#") for group in person.groups],
            "overage": person.overage,
            "auth_time": person.auth_time.timestamp() if person.auth_time else None,
            "from": now.timestamp(),
            "until": (now + self._life).timestamp(),
            "sid": issuers_session,
        }
        cookie = self._signer.pack("session", document)
        if len(cookie) > MAX_COOKIE:
            raise NotSignedInError(
                f"you are in {len(person.groups)} groups, more than a session holds; let the issuer tell only those that are "
                "assigned to this application"
            )
        return cookie, begun

    def person(self, cookie: str, now: datetime) -> Person | None:
        """Return the person of a cookie's session, or None if it is invalid or has ended."""
        document = self._signer.unpack("session", cookie)
        if document is None:
            return None
        begun, until = (datetime.fromtimestamp(document[name], UTC) for name in ("from", "until"))
        if not begun - timedelta(minutes=1) <= now < until:
            return None
        person = _person(document, until)
        marks = [session_mark(person.session), persons_mark(person.identity)]
        marks += [issuers_mark(document["iss"], document["sid"])] if document["sid"] else []
        return None if self._endings.ended(marks, begun) else person

    def end(self, person: Person) -> None:
        """End one session."""
        self._endings.end(session_mark(person.session))


def _person(document: dict[str, Any], until: datetime) -> Person:
    issuer = document["iss"]
    at = document["auth_time"]
    return Person(
        identity=f"oidc:{issuer}#{document['sub']}",
        name=document["name"],
        mail=document["mail"],
        groups=tuple(issuers_group(issuer, name) for name in document["groups"]),
        overage=document["overage"],
        via="session",
        auth_time=datetime.fromtimestamp(at, UTC) if at is not None else None,
        session=document["id"],
        until=until,
    )
