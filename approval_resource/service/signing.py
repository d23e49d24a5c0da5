"""Signatures of the service's own cookies, forms and links: HMAC-SHA256, one key per purpose, rotatable."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import secrets
import zlib
from collections.abc import Sequence
from typing import Any

MAX_UNPACKED = 262_144
"""Upper bound of what a signed text may unpack to, in bytes."""
MAC_BYTES = 32


def random_text() -> str:
    """Return 128 random bits as text."""
    return secrets.token_urlsafe(16)


def encoded(data: bytes) -> str:
    """Return bytes as base64url without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def decoded(text: str) -> bytes:
    """Return the bytes that `encoded` wrote.

    Raises:
        ValueError: the text is not exactly what it writes.
    """
    try:
        data = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError) as wrong:
        raise ValueError("no base64url") from wrong
    if encoded(data) != text:
        raise ValueError("not the one spelling")
    return data


class Signer:
    """Signer with one secret or more. The first signs, all verify."""

    def __init__(self, keys: Sequence[bytes]) -> None:
        """Derive from `keys` a key for each purpose, so that nothing signed for one serves another."""
        self._keys = tuple(keys)

    def mac(self, purpose: str, data: bytes, which: int = 0) -> bytes:
        """Return the signature of `data` for `purpose`."""
        derived = hmac.digest(self._keys[which], f"approval-resource/{purpose}/v1".encode(), hashlib.sha256)
        return hmac.digest(derived, data, hashlib.sha256)

    def verifies(self, purpose: str, data: bytes, mac: bytes) -> bool:
        """Whether any of the keys made that signature."""
        found = [hmac.compare_digest(self.mac(purpose, data, which), mac) for which in range(len(self._keys))]
        return any(found)

    def pack(self, purpose: str, document: dict[str, Any]) -> str:
        """Return a document as signed text."""
        data = zlib.compress(json.dumps(document, separators=(",", ":")).encode(), 9)
        return f"{encoded(data)}.{encoded(self.mac(purpose, data))}"

    def unpack(self, purpose: str, text: str) -> dict[str, Any] | None:
        """Return the document that `pack` signed for that purpose, or None for any other text."""
        body, _, mac = text.partition(".")
        try:
            data = decoded(body)
            if not self.verifies(purpose, data, decoded(mac)):
                return None
            unpacking = zlib.decompressobj()
            document = json.loads(unpacking.decompress(data, MAX_UNPACKED))
        except (ValueError, zlib.error):
            return None
        return document if isinstance(document, dict) else None

    def word(self, purpose: str, *parts: str) -> str:
        """Return a MAC over these parts together, as text."""
        return encoded(self.mac(purpose, json.dumps(parts).encode()))

    def is_word(self, word: str, purpose: str, *parts: str) -> bool:
        """Whether `word` signs these parts."""
        try:
            return self.verifies(purpose, json.dumps(parts).encode(), decoded(word))
        except ValueError:
            return False
