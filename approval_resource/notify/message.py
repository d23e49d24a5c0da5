"""Messages: all that people are told of one claim, bounded and cleaned, before it gets a channel's form."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from approval_resource.canonical import EMPTY, digest, instant
from approval_resource.claims import decide as decisions
from approval_resource.claims.lookup import read_attachment
from approval_resource.documents.claims import claim_digest
from approval_resource.documents.events import event_digest
from approval_resource.errors import ApprovalError
from approval_resource.model.claim import Claim
from approval_resource.model.event import Event, State
from approval_resource.notify.links import Links
from approval_resource.store.interface import LockStore
from approval_resource.text import clean, counted, duration, hides, without_mail

MAX_TEXT = 600
"""Upper bound of the characters of one text in a message."""
MAX_LINE = 160
SPARE = 100
"""Characters read beyond the limit, because mail addresses get shorter when their hosts are removed."""
MAX_LINK = 1_000
LINK = re.compile(r"https?://[A-Za-z0-9\[][\w.:\[\]-]*(?:[/?#][!-~]*)?", re.ASCII)
MAX_ASKED = 10
"""Upper bound of the reviews in a message, and of its lines on who can open the gate."""
MAX_LISTED = 30
"""Upper bound of the claims in a digest."""
MAX_EXCERPT_BYTES = 256 * 1024
TITLES = {
    State.HELD: "is held",
    State.PENDING: "waits for approval",
    State.APPROVED: "was approved",
    State.REJECTED: "was rejected",
    State.EXPIRED: "expired: nobody decided in time",
    State.SUPERSEDED: "was superseded by another claim",
    State.WITHDRAWN: "was withdrawn",
    State.RELEASED: "was released",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """Message about one event, one reminder or one day's digest."""

    id: str
    """Idempotency key: equal when the same message is sent again."""
    kind: str
    """`claim`, `reminder` or `digest`."""
    pool: str
    title: str
    subject: str
    """Title shared by all messages about a claim."""
    facts: Sequence[tuple[str, str]] = ()
    """Label and text of each line."""
    excerpt_name: str = ""
    excerpt: str = ""
    link: str = ""
    buttons: Mapping[str, str] = field(default_factory=lambda: EMPTY)
    """Values of the buttons `approve` and `reject`, where the channel has them and one press is enough."""
    state: State | None = None
    claim_id: str = ""
    asked: Sequence[str] = ()
    """People whose approval could help to open the gate, as the policies name them."""
    requester: str = ""
    outcome: bool = False
    """Whether it tells the requester how the waiting ended."""
    document: Mapping[str, object] = field(default_factory=lambda: EMPTY)
    """Message for programs, as JSON values."""


@dataclass(frozen=True, slots=True)
class Reading:
    """Presentation of messages to a channel's readers: time zone, lines of an excerpt, links."""

    channel: str
    zone: ZoneInfo
    excerpt: int
    links: Links


def said(text: str, most: int = MAX_TEXT) -> str:
    """Return a text of others on one line, without the hosts of mail addresses, cut at `most` characters."""
    # Cut first: nothing needs the rest of a text that may be very long.
    shown = without_mail(clean(text[: most + SPARE]))
    return shown if len(shown) <= most else f"{shown[: most - 1]}…"


def link(url: str) -> str:
    """Return the URL if it is an http or https URL short enough for a channel, else an empty string."""
    return url if len(url) <= MAX_LINK and LINK.fullmatch(url) else ""


def about(store: LockStore, claim: Claim, event: Event, reading: Reading) -> Message:
    """Return the message that tells of `event`, with the claim as it is now."""
    message = _about(store, claim, reading, _key(event), "claim")
    told = {"id": message.id, "type": f"claim.{event.kind.value}", "timestamp": instant(event.at)}
    happened = {
        "kind": event.kind.value,
        "pool": event.pool,
        "timestamp": instant(event.timestamp),
        "actor": said(event.actor),
        "reason": said(event.reason),
        "verdict": event.verdict,
        "forced": event.forced,
        "digest": event.digest,
    }
    outcome = event.kind.state is not None and event.kind.state not in (State.PENDING, State.HELD, State.RELEASED)
    return _with(message, {**told, "event": happened}, outcome=outcome)


def doubtful(claim: Claim, event: Event, why: str) -> Message:
    """Return a warning that a claim's record contradicts the log. It repeats nothing else of the record."""
    title = f"{said(claim.lock_name, MAX_LINE)} in {said(claim.pool, MAX_LINE)} has a record that can't be trusted"
    key = _key(event)
    return Message(
        id=key,
        kind="claim",
        pool=claim.pool,
        title=title,
        subject=_subject(claim),
        facts=[("Warning", said(why))],
        claim_id=claim.id,
        document={
            "id": key,
            "type": "claim.doubtful",
            "timestamp": instant(event.at),
            "claim": {"id": claim.id, "pool": claim.pool},
            "warning": said(why),
        },
    )


def _key(event: Event) -> str:
    # Computed anew: the stored digest of a forged event may be any text, and the key goes into a header.
    return f"msg_{event_digest(event)[:32]}"


def reminder(store: LockStore, claim: Claim, due: datetime, reading: Reading) -> Message:
    """Return the reminder of a pending claim that was due at that instant."""
    key = digest([claim.id, instant(due), "reminder"])[:32]
    message = _about(store, claim, reading, f"msg_{key}", "reminder")
    left = f", {duration(claim.deadline - store.now())} left" if claim.deadline and claim.deadline > store.now() else ""
    told = {"id": message.id, "type": "claim.reminder", "timestamp": instant(due)}
    return _with(message, told, title=f"Reminder: {message.title}{left}")


def digest_of(claims: Sequence[Claim], day: str, reading: Reading, now: datetime) -> Message:
    """Return the digest of all claims that wait, for one day."""
    shown = [_listed(claim, reading, now) for claim in claims[:MAX_LISTED]]
    if len(claims) > MAX_LISTED:
        shown.append(("", f"and {counted(len(claims) - MAX_LISTED, 'more', 'more')}"))
    key = f"msg_{digest([reading.channel, day, 'digest'])[:32]}"
    listed = [_claim(claim, reading) for claim in claims[:MAX_LISTED]]
    return Message(
        id=key,
        kind="digest",
        pool="",
        title=f"{counted(len(claims), 'claim waits', 'claims wait')} for approval",
        subject=f"what waits on {day}",
        facts=shown,
        document={"id": key, "type": "digest", "timestamp": instant(now), "claims": listed, "count": len(claims)},
    )


def _listed(claim: Claim, reading: Reading, now: datetime) -> tuple[str, str]:
    parts = [said(claim.description, MAX_LINE), f"since {duration(now - claim.created_at)}", _until(claim, reading.zone)]
    page = link(reading.links.page(claim))
    return f"{said(claim.lock_name, MAX_LINE)} in {said(claim.pool, MAX_LINE)}", ", ".join(
        part for part in (*parts, page) if part
    )


def _with(message: Message, told: Mapping[str, object], *, title: str = "", outcome: bool = False) -> Message:
    return replace(message, title=title or message.title, outcome=outcome, document={**told, **message.document})


def _about(store: LockStore, claim: Claim, reading: Reading, key: str, kind: str) -> Message:
    asked, needed, openers = _needs(store, claim)
    name, excerpt = _excerpt(store, claim, reading.excerpt)
    build = str(claim.build) + (f" ({claim.build.link})" if claim.build.link else "")
    by = claim.build.created_by
    facts = [
        ("What", said(claim.description)),
        ("Asked by", said(f"{by}, {build}" if by else build)),
        ("Waits for", said(needed)),
        ("Until", _until(claim, reading.zone)),
        *(("Can be opened by", said(line)) for line in openers),
        *_reviews(claim),
        *_decision(claim, reading.zone),
    ]
    return Message(
        id=key,
        kind=kind,
        pool=claim.pool,
        title=f"{said(claim.lock_name, MAX_LINE)} in {said(claim.pool, MAX_LINE)} {TITLES[claim.state]}",
        subject=_subject(claim),
        facts=[(label, text) for label, text in facts if text],
        excerpt_name=name,
        excerpt=excerpt,
        link=link(reading.links.page(claim)),
        # A reminder isn't edited once the claim is decided, so its buttons would stay.
        buttons=reading.links.buttons(claim, reading.channel) if kind == "claim" and claim.state is State.PENDING else EMPTY,
        state=claim.state,
        claim_id=claim.id,
        asked=asked,
        requester=by,
        document={"claim": _claim(claim, reading), "missing": said(needed), "can_decide": openers, "excerpt": excerpt},
    )


def _subject(claim: Claim) -> str:
    return f"{said(claim.lock_name, MAX_LINE)} in {said(claim.pool, MAX_LINE)} ({claim.id[:8]})"


def _claim(claim: Claim, reading: Reading) -> dict[str, object]:
    ruling = claim.ended or claim.decided
    return {
        "id": claim.id,
        "pool": claim.pool,
        "lock_name": claim.lock_name,
        "state": claim.state.value,
        "digest": claim_digest(claim),
        "description": said(claim.description),
        "requester": said(claim.build.created_by),
        "build": said(str(claim.build)),
        "build_url": link(claim.build.link),
        "created_at": instant(claim.created_at),
        "deadline": instant(claim.deadline) if claim.deadline else None,
        "attachments": [
            {"name": said(name, MAX_LINE), "size": file.size, "digest": file.digest}
            for name, file in sorted(claim.attachments.items())
        ],
        "decided_by": said(ruling.actor) if ruling else None,
        "decided_at": instant(ruling.at) if ruling else None,
        "reason": said(ruling.reason) if ruling else None,
        "url": link(reading.links.page(claim)),
        **(reading.links.decisions(claim, reading.channel) if claim.state is State.PENDING else {}),
    }


def _needs(store: LockStore, claim: Claim) -> tuple[list[str], str, list[str]]:
    """Return who can still approve, what a pending claim needs, and the sets of people who can open it."""
    if claim.state is not State.PENDING:
        return [], "", []
    try:
        needed = decisions.missing(store, claim)
        if not needed:
            return [], "one approval, by anyone who may review", []
        found = decisions.openers(store, claim)
    except ApprovalError as unknown:
        return [], f"what can't be told now: {unknown}", []
    people = dict.fromkeys(person for wanted in found.sets for _, some in wanted for person in some)
    lines = [said(line) for line in found.lines[:MAX_ASKED]]
    if not found.sets and found.complete:
        lines = [said(f"nobody: {'; '.join(found.reasons)}")]
    return list(people), needed, lines


def _reviews(claim: Claim) -> list[tuple[str, str]]:
    if claim.state is not State.PENDING:
        return []
    reviews = sorted(claim.reviews.values(), key=lambda review: review.at)
    return [
        ("Review", said(f"{review.reviewer}: {review.verdict.value}{f' ({review.comment})' if review.comment else ''}"))
        for review in reviews[-MAX_ASKED:]
    ]


def _decision(claim: Claim, zone: ZoneInfo) -> list[tuple[str, str]]:
    told: list[tuple[str, str]] = []
    for ruling in (claim.decided, claim.ended):
        if ruling is not None and ruling.state not in {State(state) for state, _ in told}:
            why = f": {ruling.reason}" if ruling.reason else ""
            told.append((ruling.state.value, said(f"by {ruling.actor}, {local(ruling.at, zone)}{why}")))
    return [(state.capitalize(), text) for state, text in told]


def _until(claim: Claim, zone: ZoneInfo) -> str:
    return local(claim.deadline, zone) if claim.state is State.PENDING and claim.deadline else ""


def local(at: datetime, zone: ZoneInfo) -> str:
    """Return an instant as the channel's readers know it, such as `Thu 26 Nov 2026, 14:05 CET`."""
    # The earliest and latest instants can't be converted to every zone. They stay in UTC.
    with suppress(OverflowError):
        at = at.astimezone(zone)
    return f"{at:%a %d %b %Y, %H:%M %Z}"


def _excerpt(store: LockStore, claim: Claim, lines: int) -> tuple[str, str]:
    """Return the name and the first lines of the first attached text, a plan before others."""
    names = [name for name, file in claim.attachments.items() if file.stored and file.size <= MAX_EXCERPT_BYTES]
    if not lines or claim.state is not State.PENDING:
        return "", ""
    for name in sorted(names, key=lambda name: ("plan" not in name.lower(), name)):
        try:
            text = read_attachment(store, claim, name).decode("utf-8")
        except (ApprovalError, UnicodeError):
            continue
        if "\0" in text:
            continue
        return said(name, MAX_LINE) or "a file", excerpt(text, lines)
    return "", ""


def excerpt(text: str, lines: int) -> str:
    """Return the first lines of a text, each cleaned and cut, and how many more there are."""
    found = text.splitlines()
    shown = [_line(line) for line in found[:lines]]
    more = [f"… and {counted(len(found) - lines, 'more line')}"] if len(found) > lines else []
    return "\n".join((*shown, *more))


def _line(line: str) -> str:
    """Return one line with its indentation; characters that hide something are escaped."""
    indented = line.replace("\t", "    ")[: MAX_LINE + 1]
    shown = "".join(f"\\u{ord(c):04x}" if hides(c) else c for c in indented)
    shown = without_mail(shown)
    return shown if len(shown) <= MAX_LINE else f"{shown[: MAX_LINE - 1]}…"


def due_reminder(claim: Claim, reminded: datetime | None, now: datetime) -> datetime | None:
    """Return when the newest unsent reminder was due (after 50 % or 90 % of the time), or None."""
    if claim.state is not State.PENDING or claim.deadline is None or claim.deadline <= now:
        return None
    span = claim.deadline - claim.created_at
    instants = (claim.created_at + span * part // 10 for part in (5, 9))
    due = [at for at in instants if at <= now and (reminded is None or at > reminded)]
    return max(due) if due and span >= timedelta(minutes=1) else None
