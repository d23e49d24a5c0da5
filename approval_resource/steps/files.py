"""Files that a step reads from a build and writes for it."""

from __future__ import annotations

import errno
import hashlib
import json
import re
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from approval_resource.audit.receipts import receipt
from approval_resource.claims.lookup import read_attachment, read_content
from approval_resource.errors import ConfigError, ContentChangedError, CorruptRecordError, Problems
from approval_resource.model.claim import PAYLOAD_CONTENT, Attachment, Claim
from approval_resource.model.event import Event
from approval_resource.store.interface import LockStore
from approval_resource.strict_json import exact, no_constant
from approval_resource.text import clean, quoted

MAX_CONTENT = 350_000
"""Upper bound of a payload or attachment, in bytes. An item holds 400 KB, with its key and JSON's escapes."""
MAX_CONTENTS = 2_900_000
"""Upper bound of a claim's contents, in bytes. A transaction holds 4 MB; some engines count base64."""
MAX_FILES = 20
MAX_FILE_NAME = 200
BLOCK = 1 << 20
CLAIM_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def inside(directory: Path, relative: str, where: str) -> Path:
    """Return the path of a file in the build's directory.

    Raises:
        ConfigError: the path is empty, can't be followed, or leads out of the directory.
    """
    if not relative or "\0" in relative:
        raise ConfigError([f"{where}: must be a path below the build's directory"])
    try:
        path = (directory / relative).resolve()
    except (OSError, RuntimeError) as loop:
        raise ConfigError([f"{where}: {quoted(relative)} can't be followed ({type(loop).__name__})"]) from loop
    if not path.is_relative_to(directory.resolve()):
        raise ConfigError([f"{where}: {quoted(relative)} leads out of the build's directory"])
    return path


def regular(path: Path) -> Path:
    """Return the path of a regular file. Others are refused: a read of a pipe would wait for its writer.

    Raises:
        OSError: it isn't a regular file, or doesn't exist.
    """
    if not stat.S_ISREG(path.stat().st_mode):
        raise IsADirectoryError(errno.EISDIR, "it is no regular file")
    return path


def attachment_of(path: Path, *, stored: bool) -> tuple[Attachment, bytes]:
    """Return a file's digest and size, and its content if `stored`.

    A file of any size can be digested. Content above `MAX_CONTENT` is cut, and the caller refuses it.

    Raises:
        OSError: the file can't be read.
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
    directory: Path, attach: Mapping[str, str], attach_digest: Mapping[str, str], kept: int = 0
) -> tuple[dict[str, Attachment], dict[str, bytes]]:
    """Return the files to bind to a claim, and the content of those to keep, both by name.

    `kept` is the size of the claim's other contents, in bytes.

    Raises:
        ConfigError: every problem of the files.
    """
    if len(attach) + len(attach_digest) > MAX_FILES:
        raise ConfigError([f"params.attach: at most {MAX_FILES} files, attach_digest included"])
    attachments: dict[str, Attachment] = {}
    contents: dict[str, bytes] = {}
    problems = Problems()
    for option, files, stored in (("attach", attach, True), ("attach_digest", attach_digest, False)):
        for name, relative in files.items():
            where = f"params.{option}.{clean(name)[:80]}"
            if not _fit_for_a_file(name) or name in attachments:
                problems.add(f"{where}: must be a plain file name of at most {MAX_FILE_NAME} bytes, used once")
                continue
            file = problems.gather(_digest, directory, relative, where, stored=stored)
            if file is None:
                continue
            attachments[name], content = file
            if stored:
                if attachments[name].size > MAX_CONTENT:
                    problems.add(
                        f"{where}: {quoted(relative)} has {attachments[name].size} bytes, more than the {MAX_CONTENT} "
                        "that are kept; use attach_digest"
                    )
                contents[name] = content
    if contents and kept + sum(map(len, contents.values())) > MAX_CONTENTS:
        problems.add(
            f"params.attach: more than {MAX_CONTENTS} bytes in all, payload, policy and facts included; use attach_digest"
        )
    problems.require_none()
    return attachments, contents


def require_unchanged(directory: Path, verify: Mapping[str, str], claim: Claim) -> None:
    """Pass only if the named files are still those attached to the claim.

    Raises:
        ContentChangedError: every file that has changed, can't be read, or was never attached.
    """
    problems = Problems()
    for name, relative in verify.items():
        where = f"params.verify.{clean(name)[:80]}"
        approved = claim.attachments.get(name)
        if approved is None:
            attached = ", ".join(sorted(claim.attachments)) or "nothing"
            problems.add(f"{where}: claim {claim.id} has no such attachment; attached is {clean(attached)}")
            continue
        file = problems.gather(_digest, directory, relative, where, stored=False)
        if file is not None and file[0].digest != approved.digest:
            problems.add(f"{where}: {quoted(relative)} has changed: sha256 {file[0].digest}, attached was {approved.digest}")
    if problems.lines:
        raise ContentChangedError(claim, problems.lines)


def _digest(directory: Path, relative: str, where: str, *, stored: bool) -> tuple[Attachment, bytes]:
    path = inside(directory, relative, where)
    try:
        return attachment_of(path, stored=stored)
    except OSError as error:
        raise ConfigError(
            [f"{where}: can't read {quoted(relative)} ({error.strerror}); on Concourse, name its artifact in inputs"]
        ) from error


def _fit_for_a_file(name: str) -> bool:
    plain = bool(name) and name == clean(name) and "/" not in name and name not in (".", "..")
    return plain and len(name.encode()) <= MAX_FILE_NAME


def read_object(directory: Path, option: str, inline: Mapping[str, Any] | None, file: str | None) -> bytes:
    """Return the stored form of a JSON object, given inline or as a file; empty where none is given.

    Raises:
        ConfigError: it isn't a JSON object, is too large, or is given both inline and as a file.
    """
    if file is not None and inline is not None:
        raise ConfigError([f"params.{option}_file: give {option} or {option}_file, not both"])
    content = inline if file is None else _object_in(directory, file, f"params.{option}_file")
    if content is None:
        return b""
    try:
        text = json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()
    except (ValueError, RecursionError) as odd:
        raise ConfigError([f"params.{option}: holds a number that JSON can't, or is nested too deeply"]) from odd
    if len(text) > MAX_CONTENT:
        raise ConfigError([f"params.{option}: has {len(text)} bytes as JSON, more than the {MAX_CONTENT} that are kept"])
    return text


def read_text(directory: Path, file: str, where: str) -> str:
    """Return the text in a file of the build.

    Raises:
        ConfigError: it can't be read, is too large, or is no text.
    """
    path = inside(directory, file, where)
    try:
        with regular(path).open("rb") as opened:
            content = opened.read(MAX_CONTENT + 1)
    except OSError as error:
        raise ConfigError(
            [f"{where}: can't read {quoted(file)} ({error.strerror}); on Concourse, name its artifact in inputs"]
        ) from error
    if len(content) > MAX_CONTENT:
        raise ConfigError([f"{where}: {quoted(file)} has more than {MAX_CONTENT} bytes"])
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as other:
        raise ConfigError([f"{where}: {quoted(file)} is no text in UTF-8"]) from other


def _object_in(directory: Path, file: str, where: str) -> dict[str, Any]:
    path = inside(directory, file, where)
    try:
        content = json.loads(regular(path).read_bytes(), parse_constant=no_constant, parse_float=exact)
    except OSError as error:
        raise ConfigError([f"{where}: can't read {quoted(file)} ({error.strerror})"]) from error
    except (ValueError, RecursionError) as odd:
        raise ConfigError([f"{where}: {quoted(file)} is not a JSON document, or has a number that can't be kept"]) from odd
    if not isinstance(content, dict):
        raise ConfigError([f"{where}: {quoted(file)} must hold a JSON object"])
    return content


def claim_id_in(directory: Path, relative: str) -> str | None:
    """Return the claim id that a get or put left in the directory `relative`; None without that directory.

    Raises:
        ConfigError: the directory isn't this resource's, or is outside the build's.
    """
    path = inside(directory, relative, "params.from")
    try:
        if not path.is_dir():
            return None
    except OSError:
        return None  # a name that no directory can have
    # The id file may be a symlink to another file of the build. Nothing of its content is shown but an id.
    file = inside(directory, f"{relative}/id", "params.from")
    try:
        claim_id = regular(file).read_text(encoding="utf-8").strip()
    except (OSError, ValueError):
        claim_id = ""
    if not CLAIM_ID.fullmatch(claim_id):
        raise ConfigError(
            [f"params.from: {quoted(relative)} has no id file of this resource; name the directory of its get or put"]
        )
    return claim_id


def write_json(path: Path, document: object) -> None:
    """Write the document as JSON. The file's bytes depend on the document alone."""
    path.write_text(json.dumps(document, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def write_decision(store: LockStore, claim: Claim, event: Event, directory: Path) -> None:
    """Write the receipt of the decision, and the inputs filled in by those whose approvals counted.

    The inputs are written both as one JSON document and as a file each.

    Raises:
        CorruptRecordError: a stored policy isn't what decided the claim, or an input can't be named as a
            file.
    """
    written = receipt(store, claim, event)
    write_json(directory / "receipt.json", written)
    filled = written["inputs"]
    if filled:
        write_json(directory / "inputs.json", filled)
        (directory / "inputs").mkdir(exist_ok=True)
    for name, value in filled.items():
        if not _fit_for_a_file(name):
            raise CorruptRecordError(f"claim {claim.id}", "an input's name is no file name")
        (directory / "inputs" / name).write_text(value, encoding="utf-8")


def write_contents(store: LockStore, claim: Claim, directory: Path) -> None:
    """Write the claim's payload and kept attachments as files. Each is checked against its digest.

    Raises:
        CorruptRecordError: one doesn't match its digest, or can't be named as a file.
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
