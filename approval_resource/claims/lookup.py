"""Claims by id, and content kept beside them: written once, checked against its digest when read."""

from __future__ import annotations

import hashlib

from approval_resource.errors import CorruptRecordError, LockNotFoundError
from approval_resource.model.claim import Claim, attachment_content
from approval_resource.program import called
from approval_resource.store.interface import RecordReads
from approval_resource.text import clean


def read_content(store: RecordReads, claim: Claim, name: str, digest: str) -> bytes:
    """Return content kept beside a claim, checked against `digest`, which the claim names.

    Raises:
        CorruptRecordError: the content is missing, or has another SHA-256.
    """
    content = store.content(claim.id, name, digest)
    if content is None or hashlib.sha256(content).hexdigest() != digest:
        raise CorruptRecordError(f"claim {claim.id}", f"its {clean(name)} is not what it was claimed with")
    return content


def read_attachment(store: RecordReads, claim: Claim, name: str) -> bytes:
    """Return an attached file's content.

    Raises:
        LockNotFoundError: nothing of that name is kept.
        CorruptRecordError: it is not what the claim was made with.
    """
    file = claim.attachments.get(name)
    if file is None or not file.stored:
        kept = ", ".join(sorted(name for name, file in claim.attachments.items() if file.stored)) or "nothing"
        raise LockNotFoundError(f"claim {claim.id} keeps no file {clean(name)}; kept is {clean(kept)}")
    return read_content(store, claim, attachment_content(name), file.digest)


def find(store: RecordReads, claim_id: str) -> Claim:
    """Return the claim with that id.

    Raises:
        LockNotFoundError: there is none.
    """
    claim = store.claim(claim_id)
    if claim is None:
        raise LockNotFoundError(f"there is no claim {claim_id}; see {called()} list")
    return claim
