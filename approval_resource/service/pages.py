"""Pages for people: what waits, one claim, a pool, the record; and the forms by which they decide."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import groupby
from urllib.parse import quote

from starlette.responses import RedirectResponse, Response

from approval_resource.claims.lookup import read_attachment
from approval_resource.errors import ApprovalError, ChangedSinceShownError, CorruptRecordError, ReviewTimeoutError
from approval_resource.model.claim import Claim, Verdict, attachment_content
from approval_resource.model.event import State
from approval_resource.policy.authoring.trial import document_of
from approval_resource.service.acts import Outcome, Said
from approval_resource.service.call import Call
from approval_resource.service.desk import View
from approval_resource.service.problems import MalformedError, problem_of
from approval_resource.service.render import as_text, difference
from approval_resource.text import clean

MAX_BATCH = 20
VERDICTS = {"approve": Verdict.APPROVE, "reject": Verdict.REJECT}


@dataclass(frozen=True, slots=True)
class Shown:
    """An attached file as a page shows it."""

    name: str
    size: int
    digest: str
    stored: bool
    text: str | None = None
    earlier: str = ""
    """Digest of the file of that name in the claim that was approved last, or an empty string."""
    change: str = ""
    """Difference to that file, or an empty string where there is none to show."""
    fault: str = ""


def waiting(call: Call) -> Response:
    """Show what waits for this person, what waits for others, and what was decided lately."""
    person = call.require_person()
    desk = call.service.desk
    rows = desk.rows(person)
    pending = [row for row in rows if row.claim.state is State.PENDING]
    return call.page(
        "waiting.html",
        now=call.now,
        mine=[row for row in pending if row.standing.waits],
        others=[row for row in pending if not row.standing.waits],
        holding=[row for row in rows if row.claim.state is not State.PENDING],
        decided=desk.decided(person),
        pools=desk.access.visible(person),
        unwell=call.service.telling.unwell(desk.access.visible(person)),
    )


def claim_page(call: Call) -> Response:
    """Show one claim."""
    person = call.require_person()
    claim = call.service.desk.claim(person, call.path["id"])
    # Anybody can send a link with ?done, so only a verdict on record is confirmed.
    recorded = claim.state is not State.PENDING or person.identity in claim.reviews
    done = call.query.get("done", "") if recorded else ""
    looks = call.service.desk.looks
    asked = done and claim.state is State.PENDING
    missing = "; ".join(looks.decision(claim, looks.settings(claim.pool)).reasons) if asked else ""
    return claim_answer(call, claim, outcome=Outcome(claim, done == "1", clean(missing)) if done else None)


def claim_answer(  # noqa: PLR0913 - each is a word of its own at the call
    call: Call,
    claim: Claim,
    status: int = 200,
    errors: tuple[str, ...] = (),
    outcome: Outcome | None = None,
    given: dict[str, str] | None = None,
    since: datetime | None = None,
    token: str = "",
    wanted: str = "",
) -> Response:
    """Return a claim's page, with what went wrong or what became of a verdict on top.

    Reviews after `since`, when the reviewer's page was made, are marked. `token` is of the link that led the
    reviewer here, and `wanted` is the verdict that this link gives.
    """
    view = call.service.desk.view(call.require_person(), claim)
    explanation = document_of(view.decision) if view.decision is not None else None
    return call.page(
        "claim.html",
        status,
        view=view,
        claim=claim,
        now=view.now,
        files=_files(call, view),
        facts=_facts(call, view),
        explanation=explanation,
        errors=errors,
        outcome=outcome,
        given=given or {},
        since=since,
        token=token,
        wanted=wanted,
    )


def _facts(call: Call, view: View) -> list[tuple[str, str]]:
    if view.broken:
        return []
    terms = call.service.desk.looks.terms(view.claim)
    return [(name, json.dumps(value, indent=2, ensure_ascii=False)) for name, value in sorted(terms.given.items())]


def _files(call: Call, view: View) -> list[Shown]:
    looks = call.service.desk.looks
    claim = view.claim
    before = looks.approved_before(claim) if any(file.stored for file in claim.attachments.values()) else None
    found = []
    for name, file in sorted(claim.attachments.items()):
        if not file.stored:
            found.append(Shown(name, file.size, file.digest, stored=False))
            continue
        try:
            text = as_text(looks.content(claim, attachment_content(name), file.digest))
            earlier = before.attachments[name].digest if before is not None and name in before.attachments else ""
            found.append(Shown(name, file.size, file.digest, True, text, earlier, _change(call, before, name, text)))
        except CorruptRecordError as corrupt:
            found.append(Shown(name, file.size, file.digest, True, fault=str(corrupt)))
    return found


def _change(call: Call, before: Claim | None, name: str, text: str | None) -> str:
    earlier = before.attachments.get(name) if before is not None else None
    if before is None or earlier is None or not earlier.stored or text is None:
        return ""
    try:
        old = as_text(call.service.desk.looks.content(before, attachment_content(name), earlier.digest))
    except CorruptRecordError:
        return ""
    return "" if old is None else difference(old, text)


def review(call: Call) -> Response:
    """Record the verdict of the form, and show what became of it."""
    person = call.require_person()
    fields = call.form()
    given = dict(fields)
    call.require_own_form(given)
    claim = call.service.desk.claim(person, call.path["id"])
    said = said_of(fields)
    try:
        if not said.seen:
            raise MalformedError("the form doesn't say what it showed; open the page again")
        if said.verdict is Verdict.REJECT and not said.comment.strip():
            return claim_answer(call, claim, 422, ("Comment: tell why you reject; the people who asked read it.",), given=given)
        link = call.service.links.verified(given.get("token", ""), claim, said.verdict)
        outcome = call.service.acts.review(person, claim.id, replace(said, link=link.id if link else ""))
    except (ChangedSinceShownError, ReviewTimeoutError) as changed:
        call.service.metrics.refused(changed, problem_of(changed).type)
        call.request.scope["told"]["refused"] = problem_of(changed).type
        fresh = call.service.desk.claim(person, claim.id)
        return claim_answer(
            call, fresh, problem_of(changed).status, tuple(str(changed).splitlines()), given=given, since=_since(given)
        )
    except ApprovalError as error:
        kind = problem_of(error)
        if kind.status in (401, 404, 503):
            raise
        call.service.metrics.refused(error, kind.type)
        call.request.scope["told"]["refused"] = kind.type
        fresh = call.service.desk.claim(person, claim.id)
        return claim_answer(call, fresh, kind.status, tuple(str(error).splitlines()), given=given)
    count(call, outcome, said.verdict)
    if outcome.older:
        return claim_answer(call, call.service.desk.claim(person, claim.id), outcome=outcome)
    # The browser's next request is a GET, so that a reload decides nothing.
    return RedirectResponse(f"/claims/{quote(claim.id)}?done={'1' if outcome.changed else '0'}", 303)


def count(call: Call, outcome: Outcome, verdict: Verdict) -> None:
    """Count a review for the monitor."""
    if outcome.changed:
        call.service.metrics.decisions.labels(outcome.claim.pool, verdict.value, outcome.claim.state.value).inc()


def said_of(fields: list[tuple[str, str]]) -> Said:
    """Return the verdict that a form gives.

    Raises:
        MalformedError: it gives none.
    """
    given = dict(fields)
    verdict = VERDICTS.get(given.get("verdict", ""))
    if verdict is None:
        raise MalformedError("the form gives no verdict; press approve or reject")
    inputs: dict[str, str] = {}
    if verdict is Verdict.APPROVE:
        for name, value in fields:
            if name.startswith("input-") and value != "":
                named = name.removeprefix("input-")
                inputs[named] = f"{inputs[named]},{value}" if named in inputs else value
    return Said(
        verdict=verdict,
        comment=given.get("comment", ""),
        rules=tuple(value for name, value in fields if name == "rule" and value),
        force=given.get("force", "") == "yes",
        inputs=inputs,
        seen=given.get("seen", ""),
        supersede=tuple(value for name, value in fields if name == "supersede") if verdict is Verdict.APPROVE else (),
    )


def _since(given: dict[str, str]) -> datetime | None:
    try:
        at = datetime.fromisoformat(given.get("shown_at", ""))
    except ValueError:
        return None
    return at if at.tzinfo else None


def withdraw(call: Call) -> Response:
    """Take the claim back, or free its lock."""
    person = call.require_person()
    given = dict(call.form())
    call.require_own_form(given)
    claim = call.service.desk.claim(person, call.path["id"])
    try:
        call.service.acts.withdraw(person, claim.id, given.get("reason", ""), force=given.get("force", "") == "yes")
    except ApprovalError as error:
        kind = problem_of(error)
        if kind.status in (401, 404, 503):
            raise
        call.request.scope["told"]["refused"] = kind.type
        fresh = call.service.desk.claim(person, claim.id)
        return claim_answer(call, fresh, kind.status, tuple(str(error).splitlines()), given=given)
    return RedirectResponse(f"/claims/{quote(claim.id)}?done=1", 303)


def attachment(call: Call) -> Response:
    """Send an attached file for download, never as a page."""
    person = call.require_person()
    claim = call.service.desk.claim(person, call.path["id"])
    name = call.path["name"]
    content = read_attachment(call.service.store, claim, name)
    return file_answer(name, content, claim.attachments[name].digest)


def file_answer(name: str, content: bytes, digest: str) -> Response:
    """Return a file with headers that make browsers download it, and render nothing."""
    headers = {
        "Content-Disposition": f"attachment; filename*=UTF-8''{quote(clean(name).rpartition('/')[2], safe='')}",
        "Content-Security-Policy": "default-src 'none'; sandbox; frame-ancestors 'none'",
        "Repr-Digest": f"sha-256=:{_base64(digest)}:",
    }
    return Response(content, media_type="application/octet-stream", headers=headers)


def _base64(digest: str) -> str:
    return base64.b64encode(bytes.fromhex(digest)).decode()


def record(call: Call) -> Response:
    """Show the record of a claim, to be printed and handed on."""
    person = call.require_person()
    claim = call.service.desk.claim(person, call.path["id"])
    view = call.service.desk.view(person, claim)
    explanation = document_of(view.decision) if view.decision is not None else None
    events = call.service.desk.looks.events_of(claim)
    return call.page("record.html", view=view, claim=claim, now=view.now, events=events, explanation=explanation)


def pool_page(call: Call) -> Response:
    """Show one pool: holders, queues, freeze, and what happened by day."""
    person = call.require_person()
    desk = call.service.desk
    pool = desk.pool(person, call.path["pool"])
    settings = desk.looks.settings(pool)
    events = [event for event in desk.looks.events(pool) if event.pool == pool]
    days = [(day, list(of_day)) for day, of_day in groupby(events, key=lambda event: event.at.date())]
    return call.page(
        "pool.html",
        now=call.now,
        pool=pool,
        rows=desk.rows(person, [pool]),
        queues=call.service.store.queues(pool),
        freeze=settings.frozen(call.now),
        days=days,
    )


def batch_page(call: Call) -> Response:
    """Show several claims that wait for this person, each with its digest, before one confirmation."""
    person = call.require_person()
    rows = [row for row in call.service.desk.rows(person) if row.claim.state is State.PENDING and row.standing.waits]
    chosen = set(call.request.query_params.getlist("claim"))
    rows = [row for row in rows if not chosen or row.claim.id in chosen][:MAX_BATCH]
    views = [call.service.desk.view(person, row.claim) for row in rows]
    return call.page("batch.html", now=call.now, views=views, results=None)


def batch(call: Call) -> Response:
    """Decide on each confirmed claim, each in its own transaction, and tell what became of each."""
    person = call.require_person()
    fields = call.form()
    given = dict(fields)
    call.require_own_form(given)
    verdict = VERDICTS.get(given.get("verdict", ""))
    if verdict is None:
        raise MalformedError("the form gives no verdict; press approve or reject")
    comment = given.get("comment", "")
    results: list[tuple[str, bool, str]] = []
    chosen = [(name, seen) for name, seen in fields if name.startswith("claim-")]
    if len(chosen) > MAX_BATCH:
        raise MalformedError(f"at most {MAX_BATCH} claims at once, not {len(chosen)}; choose fewer")
    for name, seen in chosen:
        claim_id = name.removeprefix("claim-")
        try:
            if verdict is Verdict.REJECT and not comment.strip():
                raise MalformedError("tell why you reject")
            outcome = call.service.acts.review(person, claim_id, Said(verdict=verdict, comment=comment, seen=seen or "none"))
            count(call, outcome, verdict)
            results.append((claim_id, True, outcome.sentence))
        except ApprovalError as error:
            call.service.metrics.refused(error, problem_of(error).type)
            results.append((claim_id, False, str(error)))
    return call.page("batch.html", 200 if results else 422, now=call.now, views=[], results=results)
