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
FIXED_BYTES = ID_BYTES + 32
"""Length of a token's id and the digest of the claim's terms."""
MAX_TOKEN = 400
PATHS = {Verdict.APPROVE: "approve", Verdict.REJECT: "deny"}


@dataclass(frozen=True, slots=True)
class Link:
    """Link that was verified: its id, its channel, its end, and the terms that it was made under."""

    id: str
    channel: str
    until: datetime
    terms: str


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
        fixed = secrets.token_bytes(ID_BYTES) + bytes.fromhex(terms_digest(claim))
        # A forged deadline may lie before 1970, which >I can't hold.
        head = fixed + struct.pack(">I", max(0, int(until.timestamp()))) + channel.encode()
        token = VERSION + encoded(head + self._signer.mac("link", self._message(claim.id, verdict, head)))
        return f"{self._url}/approval/{quote(claim.id)}/{PATHS[verdict]}?token={token}"

    def made(self, token: str, claim_id: str, verdict: Verdict) -> Link | None:
        """Return the link with that token, if it was made here for that claim's id and that verdict.

        The claim itself isn't looked at.
        """
        try:
            data = decoded(token.removeprefix(VERSION)) if token.startswith(VERSION) and len(token) <= MAX_TOKEN else b""
            head, mac = data[:-MAC_BYTES], data[-MAC_BYTES:]
            terms, seconds = head[ID_BYTES:FIXED_BYTES], struct.unpack(">I", head[FIXED_BYTES : FIXED_BYTES + 4])[0]
            channel = head[FIXED_BYTES + 4 :].decode()
        except (ValueError, struct.error):
            return None
        if not self._signer.verifies("link", self._message(claim_id, verdict, head), mac):
            return None
        return Link(head[:ID_BYTES].hex(), channel, datetime.fromtimestamp(seconds, UTC), terms.hex())

    def verified(self, token: str, claim: Claim, verdict: Verdict) -> Link | None:
        """Return the link with that token, for exactly that claim and verdict; None where there is none."""
        link = self.made(token, claim.id, verdict)
        return link if link is not None and link.terms == terms_digest(claim) else None

    def _message(self, claim_id: str, verdict: Verdict, head: bytes) -> bytes:
        return json.dumps([self._url, claim_id, verdict.value, head.hex()]).encode()
