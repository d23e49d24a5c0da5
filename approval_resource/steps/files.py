"""The files a step reads from a build and writes for it."""

from __future__ import annotations

import errno
import hashlib
import json
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from approval_resource.audit.receipts import receipt_of
from approval_resource.claims import decide as decisions
from approval_resource.claims.lookup import read_attachment, read_content
from approval_resource.errors import CorruptRecordError
from approval_resource.model.claim import PAYLOAD_CONTENT, Attachment, Claim
from approval_resource.model.event import Event
from approval_resource.store.interface import LockStore
from approval_resource.strict_json import exact, no_constant
from approval_resource.text import clean, quoted

MAX_CONTENT = 350_000
"""Bytes of one payload or attachment: DynamoDB's item holds 400 KB, and the key and JSON's escapes need room."""
MAX_CONTENTS = 2_900_000
"""Bytes of all of a claim's contents: one transaction holds 4 MB, which some engines count as base64."""
MAX_FILES = 20
MAX_FILE_NAME = 200
BLOCK = 1 << 20


def inside(directory: Path, relative: str, where: str, problems: list[str]) -> Path | None:
    """The path of a file of the build, or None with a problem noted: a path may not lead out of the build's directory."""
    if not relative or "\0" in relative:
        problems.append(f"{where}: must be a path below the build's directory")
        return None
    try:
        path = (directory / relative).resolve()
    except (OSError, RuntimeError) as loop:
        problems.append(f"{where}: {quoted(relative)} can't be followed ({type(loop).__name__})")
        return None
    if not path.is_relative_to(directory.resolve()):
        problems.append(f"{where}: {quoted(relative)} leads out of the build's directory")
        return None
    return path


def regular(path: Path) -> Path:
    """The path, if reading it ends: a pipe's reader would wait for its writer.

    Raises:
        OSError: it is no regular file, or isn't there.
    """
    if not stat.S_ISREG(path.stat().st_mode):
        raise IsADirectoryError(errno.EISDIR, "it is no regular file")
    return path


def attachment_of(path: Path, *, stored: bool) -> tuple[Attachment, bytes]:
    """A file's digest and size, with its content if that is to be kept. Any size may be digested.

    Raises:
        OSError: it can't be read.
    """
    hasher, size, kept = hashlib.sha256(), 0, []
    with regular(path).open("rb") as file:
        while block := file.read(BLOCK):
            hasher.update(block)
            size += len(block)
            if stored and size <= MAX_CONTENT:
                kept.append(block)
    return Attachment(hasher.hexdigest(), size, stored), b"".join(kept)


def read_attachments(
    directory: Path, attach: Mapping[str, str], attach_digest: Mapping[str, str], problems: list[str], kept: int = 0
) -> tuple[dict[str, Attachment], dict[str, bytes]]:
    """The files to bind to a claim, and the content of those to keep, beside `kept` bytes of other things; problems are noted, one line each."""
    attachments: dict[str, Attachment] = {}
    contents: dict[str, bytes] = {}
    if len(attach) + len(attach_digest) > MAX_FILES:
        problems.append(f"params.attach: at most {MAX_FILES} files, attach_digest included")
        return attachments, contents
    for option, files, stored in (("attach", attach, True), ("attach_digest", attach_digest, False)):
        for name, relative in files.items():
            where = f"params.{option}.{clean(name)[:80]}"
            if not _fit_for_a_file(name) or name in attachments:
                problems.append(f"{where}: must be a plain file name of at most {MAX_FILE_NAME} bytes, used once")
                continue
            file = _digest(directory, relative, where, problems, stored=stored)
            if file is None:
                continue
            attachments[name], content = file
            if stored:
                if attachments[name].size > MAX_CONTENT:
                    problems.append(
                        f"{where}: {quoted(relative)} has {attachments[name].size} bytes, more than the {MAX_CONTENT} "
                        "that are kept; use attach_digest"
                    )
                contents[name] = content
    if contents and kept + sum(map(len, contents.values())) > MAX_CONTENTS:
        problems.append(
            f"params.attach: more than {MAX_CONTENTS} bytes in all, payload, policy and facts included; use attach_digest"
        )
    return attachments, contents


def changed_files(directory: Path, verify: Mapping[str, str], claim: Claim) -> list[str]:
    """What is wrong with the files that must still be those attached to the claim, one line each."""
    problems: list[str] = []
    for name, relative in verify.items():
        where = f"params.verify.{clean(name)[:80]}"
        approved = claim.attachments.get(name)
        if approved is None:
            attached = ", ".join(sorted(claim.attachments)) or "nothing"
            problems.append(f"{where}: claim {claim.id} has no such attachment; attached is {clean(attached)}")
            continue
        file = _digest(directory, relative, where, problems, stored=False)
        if file is not None and file[0].digest != approved.digest:
            problems.append(f"{where}: {quoted(relative)} has changed: sha256 {file[0].digest}, attached was {approved.digest}")
    return problems


def _digest(
    directory: Path, relative: str, where: str, problems: list[str], *, stored: bool
) -> tuple[Attachment, bytes] | None:
    path = inside(directory, relative, where, problems)
    if path is None:
        return None
    try:
        return attachment_of(path, stored=stored)
    except OSError as error:
        problems.append(f"{where}: can't read {quoted(relative)} ({error.strerror}); on Concourse, name its artifact in inputs")
        return None


def _fit_for_a_file(name: str) -> bool:
    plain = bool(name) and name == clean(name) and "/" not in name and name not in (".", "..")
    return plain and len(name.encode()) <= MAX_FILE_NAME


def read_object(directory: Path, option: str, inline: Mapping[str, Any] | None, file: str | None, problems: list[str]) -> bytes:
    """A JSON object, given inline or as a file of the build, or nothing where there is none; problems are noted, one line each."""
    content: object = inline
    where = f"params.{option}_file"
    if file is not None:
        if inline is not None:
            problems.append(f"{where}: give {option} or {option}_file, not both")
            return b""
        path = inside(directory, file, where, problems)
        if path is None:
            return b""
        try:
            content = json.loads(regular(path).read_bytes(), parse_constant=no_constant, parse_float=exact)
        except OSError as error:
            problems.append(f"{where}: can't read {quoted(file)} ({error.strerror})")
            return b""
        except (ValueError, RecursionError):
            problems.append(f"{where}: {quoted(file)} is not a JSON document, or has a number that can't be kept")
            return b""
        if not isinstance(content, dict):
            problems.append(f"{where}: {quoted(file)} must hold a JSON object")
            return b""
    if content is None:
        return b""
    try:
        text = json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()
    except (ValueError, RecursionError):
        problems.append(f"params.{option}: holds a number that JSON can't, or is nested too deeply")
        return b""
    if len(text) > MAX_CONTENT:
        problems.append(f"params.{option}: has {len(text)} bytes as JSON, more than the {MAX_CONTENT} that are kept")
    return text


def claim_id_in(directory: Path, relative: str, problems: list[str]) -> str | None:
    """The claim that an earlier get or put left its id of in `relative`; None when there is no such directory."""
    path = inside(directory, relative, "params.from", problems)
    try:
        if path is None or not path.is_dir():
            return None
    except OSError:
        return None  # a name that no directory can have
    try:
        claim_id = regular(path / "id").read_text(encoding="utf-8").strip()
    except (OSError, ValueError):
        claim_id = ""
    if not claim_id or claim_id != clean(claim_id) or len(claim_id) > MAX_FILE_NAME:
        problems.append(
            f"params.from: {quoted(relative)} has no id file of this resource; name the directory of its get or put"
        )
        return None
    return claim_id


def write_json(path: Path, document: object) -> None:
    """A file that depends on nothing but the document."""
    path.write_text(json.dumps(document, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def write_decision(store: LockStore, claim: Claim, event: Event, directory: Path) -> None:
    """The receipt, and what was filled in by those whose approval counted: as one JSON document and as a file each."""
    asked = claim.approved and any(review.inputs for review in claim.reviews.values())
    filled = decisions.explained(store, claim).filled_in if asked else {}
    write_json(directory / "receipt.json", receipt_of(claim, event, *decisions.texts(store, claim), filled))
    if filled:
        write_json(directory / "inputs.json", filled)
        (directory / "inputs").mkdir(exist_ok=True)
    for name, value in filled.items():
        if not _fit_for_a_file(name):
            raise CorruptRecordError(f"claim {claim.id}", "an input's name is no file name")
        (directory / "inputs" / name).write_text(value, encoding="utf-8")


def write_contents(store: LockStore, claim: Claim, directory: Path) -> None:
    """The claim's payload and kept attachments as files, each checked against its digest.

    Raises:
        CorruptRecordError: one of them isn't what was claimed with.
    """
    payload = read_content(store, claim, PAYLOAD_CONTENT, claim.payload) if claim.payload else b"{}"
    (directory / "payload.json").write_bytes(payload + b"\n")
    kept = {name: file for name, file in claim.attachments.items() if file.stored}
    if kept:
        (directory / "attached").mkdir(exist_ok=True)
    for name in kept:
        if not _fit_for_a_file(name):
            raise CorruptRecordError(f"claim {claim.id}", "an attachment's name is no file name")
        (directory / "attached" / name).write_bytes(read_attachment(store, claim, name))
