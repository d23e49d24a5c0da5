"""Copies of the log that somebody keeps elsewhere: receipts, exports, and plain digests."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from approval_resource.canonical import EMPTY, parse_instant
from approval_resource.documents.events import EVENT
from approval_resource.errors import ConfigError, CorruptRecordError

NOTE = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z)[=: ]([0-9a-f]{64})")


@dataclass(frozen=True, slots=True)
class Copy:
    """One kept copy: a receipt, the path of an export, or the digest of the event at an instant."""

    pools: tuple[str, ...] = ()
    """Pools whose events it holds; none for a digest."""
    receipt: Mapping[str, Any] = field(default_factory=lambda: EMPTY)
    export: Path | None = None
    at: datetime | None = None
    digest: str = ""

    def events(self) -> Iterator[Mapping[str, Any]]:
        """Yield the events of an export, as documents, without its other records.

        Raises:
            ConfigError: a line is no record of an export.
        """
        if self.export is None:
            return
        with self.export.open("rb") as file:
            for number, line in enumerate(file, 1):
                document = _line(line, f"--against: line {number} of {self.export}")
                if "record" not in document:
                    yield document


def read(given: str) -> Copy:
    """Read the copy at a path, or parse `TIMESTAMP=DIGEST`.

    Raises:
        ConfigError: it is none of these.
    """
    if (noted := NOTE.fullmatch(given.strip())) is not None:
        return Copy(at=parse_instant(noted[1]), digest=noted[2])
    path = Path(given)
    if not path.is_file():
        raise ConfigError([f"--against: {given} is no file, and not TIMESTAMP=DIGEST"])
    try:
        with path.open("rb") as file:
            first = file.readline()
            try:
                _line(first, "--against")
            except ConfigError:
                receipt = json.loads(first + file.read(), object_pairs_hook=_once)
            else:
                export = Copy(export=path)
                return replace(export, pools=tuple(dict.fromkeys(str(event["pool"]) for event in export.events())))
    except OSError as wrong:
        raise ConfigError([f"--against: can't read {path} ({wrong.strerror})"]) from wrong
    except (ValueError, RecursionError) as wrong:
        raise ConfigError([f"--against: {path} is neither a receipt nor an export"]) from wrong
    if not isinstance(receipt, dict) or not isinstance(receipt.get("event"), dict):
        raise ConfigError([f"--against: {path} is not a receipt: it has no event"])
    return Copy((str(receipt["event"].get("pool", "")),), receipt=receipt)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return the object with these entries, as the `object_pairs_hook` of `json.loads`.

    Raises:
        ValueError: a name comes twice, so that two parsers may read different values.
    """
    document = dict(pairs)
    if len(document) != len(pairs):
        raise ValueError("a name comes twice")
    return document


def _line(line: bytes, where: str) -> Mapping[str, Any]:
    try:
        document = json.loads(line)
        # No record of an export has an entry `event`. A receipt has one, even if somebody added a `record`.
        if not isinstance(document.get("record"), str) or "event" in document:
            EVENT.read(document)
    except (ValueError, RecursionError, AttributeError, CorruptRecordError) as wrong:
        raise ConfigError([f"{where} is no line of an export"]) from wrong
    found: Mapping[str, Any] = document
    return found
