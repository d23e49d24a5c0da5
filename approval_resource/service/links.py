"""Links to one decision on one claim: signed tokens, of which nothing is stored until they are used."""

from __future__ import annotations

import json
import secrets
import struct
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from urllib.parse import quote

from approval_resource.documents.claims import terms_digest
from approval_resource.model.claim import Claim, Verdict
from approval_resource.service.signing import MAC_BYTES, Signer, decoded, encoded

VERSION = "v1."
ID_BYTES = 16
MAX_TOKEN = 400
PATHS = {Verdict.APPROVE: "approve", Verdict.REJECT: "deny"}


@dataclass(frozen=True, slots=True)
class Link:
    """Link that was verified: its id, the channel it was made for, and its end."""

    id: str
    channel: str
    until: datetime


class Links:
    """Maker and verifier of links."""

    def __init__(self, signer: Signer, url: str, life: timedelta) -> None:
        """Make links below `url` that last no longer than `life`, nor than their claim's deadline."""
        self._signer = signer
        self._url = url
        self._life = life

    def address(self, claim: Claim, verdict: Verdict, channel: str, now: datetime) -> str:
        """Return a link to that verdict on the claim."""
        until = min(filter(None, (now + self._life, claim.deadline)))
        # A deadline that somebody wrote into the table may be no time of ours.
        seconds = max(0, int(until.timestamp()))
        head = secrets.token_bytes(ID_BYTES) + struct.pack(">I", seconds) + channel.encode()
        token = VERSION + encoded(head + self._mac(claim, verdict, head))
        return f"{self._url}/approval/{quote(claim.id)}/{PATHS[verdict]}?token={token}"

    def verified(self, token: str, claim: Claim, verdict: Verdict) -> Link | None:
        """Return the link with that token, for exactly that claim and verdict; None where there is none."""
        try:
            data = decoded(token.removeprefix(VERSION)) if token.startswith(VERSION) and len(token) <= MAX_TOKEN else b""
            head, mac = data[:-MAC_BYTES], data[-MAC_BYTES:]
            seconds = struct.unpack(">I", head[ID_BYTES : ID_BYTES + 4])[0]
            channel = head[ID_BYTES + 4 :].decode()
        except (ValueError, struct.error):
            return None
        if not self._verifies(claim, verdict, head, mac):
            return None
        return Link(head[:ID_BYTES].hex(), channel, datetime.fromtimestamp(seconds, UTC))

    def _message(self, claim: Claim, verdict: Verdict, head: bytes) -> bytes:
        return json.dumps([self._url, claim.id, terms_digest(claim), verdict.value, head.hex()]).encode()

    def _mac(self, claim: Claim, verdict: Verdict, head: bytes) -> bytes:
        return self._signer.mac("link", self._message(claim, verdict, head))

    def _verifies(self, claim: Claim, verdict: Verdict, head: bytes, mac: bytes) -> bool:
        return self._signer.verifies("link", self._message(claim, verdict, head), mac)
