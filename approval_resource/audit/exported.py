"""Exports, read back from a file: a pool's record, with the same reads as an audit makes of a table."""

from __future__ import annotations

import base64
import hashlib
import json
from array import array
from bisect import bisect_left
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

from approval_resource.audit.export import line_of
from approval_resource.canonical import EMPTY, instant, parse_instant
from approval_resource.documents.claims import CLAIM
from approval_resource.documents.events import EVENT, HEAD
from approval_resource.documents.locks import LOCK
from approval_resource.documents.settings import SETTINGS
from approval_resource.errors import ConfigError, CorruptRecordError
from approval_resource.model.claim import Claim
from approval_resource.model.event import STATES, Event, Head, Place, State
from approval_resource.model.lock import Lock
from approval_resource.model.settings import Settings
from approval_resource.store.interface import Record, require_identity

FORMAT = 1
PARTS: Mapping[str, tuple[set[str], ...]] = {
    "pool": ({"pool", "format", "at", "head"},),
    "settings": ({"settings"},),
    "lock": ({"lock"},),
    "claim": ({"claim"},),
    "content": ({"claim", "name", "text"}, {"claim", "name", "base64"}),
    "head": ({"head"},),
    "end": ({"pools", "digest"},),
}
"""Keys of each kind of record besides `record`, in all variants."""
BEFORE_ALL = datetime.min.replace(tzinfo=UTC)
"""Time of an export that has none of its own: so early that no event counts as gone by age."""


@dataclass(slots=True)
class Exported:
    """One pool in an export, read from the file at each call. Memory holds only offsets in the file.

    See `RecordReads` for its reads. An export of an older release holds events alone.
    """

    file: BinaryIO
    pool: str
    header: Mapping[str, Any] = field(default_factory=lambda: EMPTY)
    findings: list[str] = field(default_factory=list)
    """Faults of the export itself: of its lines, its ends and its digest."""
    offsets: array[int] = field(default_factory=lambda: array("Q"))
    """Offsets of the events, in the order of the file."""
    places: dict[tuple[str, ...], int] = field(default_factory=dict)
    """Offsets of the other records, by their kind and name."""
    newest: dict[State, Place] = field(default_factory=dict)
    _looked: bool = False

    @property
    def events_only(self) -> bool:
        """Whether nothing but events was exported."""
        return not self.header

    def now(self) -> datetime:
        """Return the time of the export, or that of the newest event if the export has none."""
        if not self.events_only:
            return _instant(self.header["at"]) or BEFORE_ALL
        return max(
            (_instant(record.document.get("at")) or BEFORE_ALL for record in self.records(self.pool)), default=BEFORE_ALL
        )

    def head(self, pool: str) -> Head | None:
        """Return the head from before the export on the first call, and from after it on later calls."""
        if self.events_only:
            return self._newest_head()
        found = self._looked and self.last_head()
        self._looked = True
        return found or self._head(self.header["head"])

    def last_head(self) -> Head | None:
        """Return the head that was exported last, after all other records, or None if it can't be read."""
        found = self._record("head")
        try:
            return self._head(found and found["head"])
        except CorruptRecordError:
            return None

    def _head(self, document: object) -> Head:
        return require_identity(HEAD.read(_map(document, f"the head of pool {self.pool}")), pool=self.pool)

    def _newest_head(self) -> Head | None:
        newest = next(self.records(self.pool), None)
        if newest is None:
            return None
        event = EVENT.read(newest.document)
        return Head(pool=self.pool, revision=event.revision, timestamp=event.timestamp, digest=event.digest, newest=self.newest)

    def settings(self, pool: str) -> Settings:
        """See `RecordReads.settings`."""
        found = self._record("settings")
        if found is None:
            return Settings(pool=pool)
        return require_identity(SETTINGS.read(_map(found["settings"], f"the settings of pool {pool}")), pool=pool)

    def lock_names(self, pool: str) -> list[str]:
        """See `RecordReads.lock_names`."""
        return sorted(key[1] for key in self.places if key[0] == "lock")

    def lock(self, pool: str, lock_name: str) -> Lock | None:
        """See `RecordReads.lock`."""
        found = self._record("lock", lock_name)
        return None if found is None else require_identity(LOCK.read(_map(found["lock"], f"lock {lock_name}")), pool=pool)

    def claim(self, claim_id: str) -> Claim | None:
        """See `RecordReads.claim`."""
        found = self._record("claim", claim_id)
        return (
            None if found is None else require_identity(CLAIM.read(_map(found["claim"], f"claim {claim_id}")), pool=self.pool)
        )

    def claims(self, claim_ids: list[str]) -> list[Claim]:
        """See `RecordReads.claims`."""
        return [claim for id_ in claim_ids if (claim := self.claim(id_)) is not None]

    def claim_ids(self, pool: str) -> Iterator[str]:
        """See `RecordReads.claim_ids`."""
        yield from (key[1] for key in self.places if key[0] == "claim")

    def open_claims(self, pool: str | None = None) -> list[Claim]:
        """Return none: an export has no index, and `claim_ids` has every claim."""
        return []

    def content(self, claim_id: str, name: str, digest: str = "") -> bytes | None:
        """See `RecordReads.content`. An export never changes, so nothing is read a second time."""
        found = self._record("content", claim_id, name)
        return None if found is None else _bytes(found)

    def records(self, pool: str) -> Iterator[Record]:
        """See `RecordReads.records`."""
        for offset in reversed(self.offsets):
            yield Record(self._at(offset), in_place=True)

    def events(
        self, pool: str, *, lock_name: str | None = None, since: datetime | None = None, newest_first: bool = False
    ) -> Iterator[Event]:
        """See `RecordReads.events`."""
        for offset in reversed(self.offsets) if newest_first else self.offsets:
            event = EVENT.read(self._at(offset))
            if (lock_name is None or event.lock_name == lock_name) and (since is None or event.timestamp >= since):
                yield event

    def event(self, pool: str, timestamp: datetime) -> Event | None:
        """See `RecordReads.event`."""
        wanted = instant(timestamp)
        # Bisection needs sorted events. The walk reports an export whose events are out of order.
        place = bisect_left(self.offsets, wanted, key=lambda offset: str(self._at(offset).get("timestamp")))
        document = self._at(self.offsets[place]) if place < len(self.offsets) else {}
        return EVENT.read(document) if document.get("timestamp") == wanted else None

    def _record(self, *key: str) -> dict[str, Any] | None:
        return self._at(self.places[key]) if key in self.places else None

    def _at(self, offset: int) -> dict[str, Any]:
        self.file.seek(offset)
        found: dict[str, Any] = json.loads(self.file.readline())
        return found


@contextmanager
def opened(path: Path) -> Iterator[dict[str, Exported]]:
    """Open an export, and yield its pools by name. They can be read while the context lasts.

    Raises:
        ConfigError: it is no export.
    """
    try:
        file = path.open("rb")
    except OSError as wrong:
        raise ConfigError([f"--export: can't read {path} ({wrong.strerror})"]) from wrong
    with file:
        yield {one.pool: one for one in _Index(file).pools}


class _Index:
    """One pass over an export."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.pools: list[Exported] = []
        self._contents: Mapping[str, str] = EMPTY
        """Digests of the contents of the claim that was read last, by name."""
        self._claim = ""
        """Id of the claim that was read last."""
        seal, offset, ended = hashlib.sha256(), 0, False
        for number, line in enumerate(file, 1):
            document = self._parsed(line, number)
            if ended:
                self._wrong(number, "comes after the end")
            if document.get("record") == "end":
                ended = True
                self._end(document, seal.hexdigest(), number)
            elif document:
                self._take(document, offset, number)
            seal.update(line)
            offset += len(line)
        self._close()
        if not self.pools:
            raise ConfigError(["--export: no export: it holds no event and no pool"])
        if not ended and not all(pool.events_only for pool in self.pools):
            self._found("the export was cut: it has no last line")

    def _parsed(self, line: bytes, number: int) -> dict[str, Any]:
        """Return the line's document, or an empty one where it can't be part of an export."""
        try:
            document = json.loads(line)
            same = isinstance(document, dict) and document != {} and line == f"{line_of(document)}\n".encode()
        except (ValueError, RecursionError):
            same = False
        if same and "record" in document:
            parts = PARTS.get(document["record"], ()) if isinstance(document["record"], str) else ()
            same = document.keys() - {"record"} in parts
        if same:
            found: dict[str, Any] = document
            return found
        self._wrong(number, "is no line of an export")
        return {}

    def _take(self, document: dict[str, Any], offset: int, number: int) -> None:
        kind: str | None = document.get("record")
        match kind:
            case None:
                self._event(document, offset, number)
            case "pool":
                self._pool(document, number)
            case _ if not self.pools or self.pools[-1].events_only:
                self._wrong(number, "comes before its pool")
            case "settings":
                self._keep(("settings",), offset, number)
            case "head":
                self._keep(("head",), offset, number)
            case "lock":
                self._named("lock", document["lock"], "lockname", offset, number)
            case "claim":
                self._named("claim", document["claim"], "id", offset, number)
                self._claim, self._contents = _contents(document["claim"])
            case _:
                self._content(document, offset, number)

    def _pool(self, document: dict[str, Any], number: int) -> None:
        pool = str(document["pool"])
        if document["format"] != FORMAT:
            raise ConfigError([f"--export: it is of a format that this version doesn't know: {document['format']!r}"])
        if any(known.pool == pool for known in self.pools):
            self._wrong(number, f"begins pool {pool} again")
        self._close()
        self.pools.append(Exported(self._file, pool, document))
        if _instant(document["at"]) is None:
            self._wrong(number, "tells no time")

    def _close(self) -> None:
        if self.pools and not self.pools[-1].events_only and ("head",) not in self.pools[-1].places:
            self._found("the export was cut: it has no end of this pool")

    def _event(self, document: dict[str, Any], offset: int, number: int) -> None:
        pool = str(document.get("pool", ""))
        if not self.pools or (self.pools[-1].events_only and self.pools[-1].pool != pool):
            try:
                EVENT.read(document)
            except CorruptRecordError as wrong:
                raise ConfigError([f"--export: line {number} is no line of an export"]) from wrong
            self.pools.append(Exported(self._file, pool))
        into = self.pools[-1]
        if into.pool != pool:
            self._wrong(number, f"is an event of pool {pool}")
        if ("head",) in into.places:
            self._wrong(number, "comes after the end of its pool")
        into.offsets.append(offset)
        state = STATES.get(str(document.get("kind")))
        at = _instant(document.get("timestamp"))
        if into.events_only and state is not None and at is not None:
            into.newest[state] = Place(at, str(document.get("id")), str(document.get("lock_name")))

    def _named(self, kind: str, document: object, name: str, offset: int, number: int) -> None:
        named = document if isinstance(document, dict) else {}
        if named.get("pool") != self.pools[-1].pool:
            self._wrong(number, "is of another pool")
        self._keep((kind, str(named.get(name))), offset, number)

    def _content(self, document: dict[str, Any], offset: int, number: int) -> None:
        name = str(document["name"])
        content = _bytes(document)
        if content is None or document["claim"] != self._claim or name not in self._contents:
            self._wrong(number, "is no content of the claim before it")
        self._keep(("content", str(document["claim"]), name), offset, number)

    def _keep(self, key: tuple[str, ...], offset: int, number: int) -> None:
        places = self.pools[-1].places
        if key in places:
            self._wrong(number, f"tells of {' '.join(key)} again")
        places[key] = offset

    def _end(self, document: dict[str, Any], digest: str, number: int) -> None:
        if document["pools"] != [pool.pool for pool in self.pools]:
            self._wrong(number, "names other pools than there are")
        if document["digest"] != digest:
            self._found("the export was altered: its last line has another digest than that of the lines before it")

    def _wrong(self, number: int, why: str) -> None:
        if not self.pools:
            raise ConfigError([f"--export: not the beginning of an export: line {number} {why}"])
        self._found(f"line {number} of the export was altered: it {why}")

    def _found(self, finding: str) -> None:
        self.pools[-1].findings.append(finding)


def _contents(document: object) -> tuple[str, Mapping[str, str]]:
    """Return the id of a claim, and the digests of the contents that it names."""
    try:
        claim = CLAIM.read(_map(document, "a claim"))
    except CorruptRecordError:
        return "", EMPTY
    return claim.id, claim.contents


def _bytes(document: Mapping[str, Any]) -> bytes | None:
    """Return the bytes of a content, or None if they are missing or not as an export writes them."""
    try:
        if "text" in document:
            return str(document["text"]).encode()
        content = base64.b64decode(document["base64"], validate=True)
        content.decode()
    except UnicodeDecodeError:
        return content
    except (TypeError, ValueError):
        return None
    return None


def _instant(text: object) -> datetime | None:
    try:
        return parse_instant(str(text))
    except ValueError:
        return None


def _map(document: object, what: str) -> Mapping[str, Any]:
    if not isinstance(document, dict):
        raise CorruptRecordError(what, "it is no map")
    return document
