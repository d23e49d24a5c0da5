"""Report as a page that prints, as CSV, and as lines of text."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from datetime import datetime
from html import escape

from approval_resource.audit.report import UNVERIFIED, Decision, PoolReport
from approval_resource.canonical import instant
from approval_resource.text import clean, counted

COLUMNS = (
    "decision",
    "forced",
    "pool",
    "lock_name",
    "claim",
    "decided_by",
    "decided_at",
    "reason",
    "build",
    "requester",
    "description",
    "used_by",
    "reviews",
    "policy",
    "verified",
    "faults",
    "notes",
    "event",
    "digest",
)
STYLE = """
body{font:15px/1.45 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#111;background:#fff}
h1{font-size:1.5rem}h2{font-size:1.1rem;margin:0}section{border:1px solid #999;border-radius:4px;padding:.8rem 1rem;margin:1rem 0;
break-inside:avoid}dl{display:grid;grid-template-columns:8rem 1fr;gap:.15rem .8rem;margin:.5rem 0}dt{color:#555}dd{margin:0;
overflow-wrap:anywhere}pre{background:#f4f4f4;padding:.5rem;white-space:pre-wrap;overflow-wrap:anywhere;margin:0}
.ok{color:#05602c}.bad{color:#a40000;font-weight:700}
@media print{body{margin:0;max-width:none;font-size:10pt}pre{background:none;border-left:2px solid #999}}
"""


def page(pool: PoolReport, what: str, now: datetime) -> Iterator[str]:
    """Yield a self-contained HTML page. All text from the log is escaped."""
    yield "<!doctype html>\n<html lang=en>\n<meta charset=utf-8>\n"
    yield f"<meta name=viewport content='width=device-width'>\n<title>{_html(what)}</title>\n<style>{STYLE}</style>\n"
    yield f"<h1>{_html(what)}</h1>\n"
    proof = summary(pool)
    yield f"<p class={'bad' if pool.audit.findings else 'ok'}>{_html(proof)}</p>\n<p>Made at {_html(_at(now))}.</p>\n"
    for finding in pool.audit.findings:
        yield f"<p class=bad>{_html(finding)}</p>\n"
    number = 0
    for number, decision in enumerate(pool.decisions, 1):
        yield _section(number, decision)
    yield f"<p>{_html(counted(number, 'decision'))}.</p>\n</html>\n"


def _section(number: int, decision: Decision) -> str:
    event, rows = decision.event, list(_rows(decision))
    forced = " (forced)" if event.forced else ""
    told = "".join(f"<dt>{_html(name)}</dt><dd>{_html(value)}</dd>\n" for name, value in rows if value)
    policy = "".join(
        f"<dt>policy</dt><dd>{_html(whose)}<pre>{_html(text, lines=True)}</pre></dd>\n" for whose, text in decision.policies
    )
    faults = "".join(f"<li>{_html(fault)}</li>\n" for fault in decision.faults)
    found = f"<ul>\n{faults}</ul>" if faults else ""
    proof = f"<dt>proof</dt><dd class={'bad' if decision.faults else 'ok'}>{_html(decision.proof)}{found}</dd>\n"
    return (
        f"<section>\n<h2>{number}. {_html(event.lock_name)}: {_html(event.kind.value)}{forced}</h2>\n"
        f"<dl>\n{told}{policy}{proof}</dl>\n</section>\n"
    )


def _rows(decision: Decision) -> Iterator[tuple[str, str]]:
    event, claim = decision.event, decision.claim
    yield "by", event.actor
    yield "at", _at(event.at)
    yield "why", event.reason
    yield "on", decision.about
    if claim is not None:
        yield "asked by", claim.build.created_by
        yield "build", claim.build.link
        for review, whether in decision.reviews:
            said = f": {review.comment}" if review.comment else ""
            yield "review", f"{review.verdict.value} by {review.reviewer}, {_at(review.at)}{said} ({whether})"
        yield "used by", claim.spent_by
    yield "claim", event.claim_id
    yield "log entry", f"{instant(event.timestamp)} {event.digest}"
    for note in decision.notes:
        yield "note", note


def rows(pool: PoolReport) -> Iterator[str]:
    """Yield CSV: a header, and a line for each decision. No spreadsheet takes a cell for a formula."""
    yield _csv(COLUMNS)
    for decision in pool.decisions:
        told = decision.document()
        told |= {
            "policy": "\n".join(f"# {whose}\n{text}" for whose, text in decision.policies),
            "reviews": "\n".join(
                f"{instant(review.at)} {review.verdict.value} by {review.reviewer}{review.comment and f': {review.comment}'} ({whether})"
                for review, whether in decision.reviews
            ),
            "faults": "\n".join(decision.faults),
            "notes": "; ".join(decision.notes),
            "event": told["event"]["timestamp"],
            "digest": decision.event.digest,
        }
        yield _csv([_cell(told[name]) for name in COLUMNS])


def _csv(cells: list[str] | tuple[str, ...]) -> str:
    line = io.StringIO()
    csv.writer(line, lineterminator="\r\n").writerow(cells)
    return line.getvalue()


def _cell(value: object) -> str:
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text


def lines(pool: PoolReport) -> Iterator[str]:
    """Yield the report as text, a paragraph for each decision."""
    told = set(pool.audit.findings)
    number = 0
    for decision in pool.decisions:
        number += 1
        event = decision.event
        forced = " (forced)" if event.forced else ""
        yield f"{_at(event.at)}  {clean(event.lock_name)}: {event.kind.value}{forced} by {clean(event.actor)}"
        for name, value in _rows(decision):
            if value and name not in ("by", "at"):
                yield f"  {name}: {clean(value)}"
        for whose, text in decision.policies:
            yield f"  policy: {whose}"
            yield from (f"    {clean(line)}" for line in text.splitlines())
        yield f"  proof: {decision.proof}"
        for fault in decision.faults:
            told.discard(fault)
            yield f"    {clean(fault)}"
        yield ""
    yield f"{counted(number, 'decision')}. {summary(pool)}"
    yield from (f"  {UNVERIFIED}: {clean(finding)}" for finding in pool.audit.findings if finding in told)


def summary(pool: PoolReport) -> str:
    """Return in one line what the audit of the whole pool found."""
    audit = pool.audit
    found = counted(len(audit.findings), "fault") if audit.findings else "nothing altered, dropped or reordered"
    head = f"; newest entry {instant(audit.head.timestamp)} {audit.head.digest}" if audit.head.timestamp else ""
    return f"The log of pool {clean(audit.pool)}: {counted(audit.events, 'event')} checked, {found}{head}"


def _at(at: datetime) -> str:
    return f"{at:%A %Y-%m-%d %H:%M:%S} UTC"


def _html(text: str, *, lines: bool = False) -> str:
    cleaned = "\n".join(clean(line) for line in text.splitlines()) if lines else clean(text)
    return escape(cleaned)
