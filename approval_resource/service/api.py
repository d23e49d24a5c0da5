"""API for programs: the same claims and acts as on the pages, in JSON, with GitLab's field names."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from itertools import islice
from typing import TypeVar
from urllib.parse import quote

from starlette.responses import JSONResponse, Response

from approval_resource.canonical import instant
from approval_resource.claims.lookup import read_attachment
from approval_resource.errors import ConfigError
from approval_resource.model import claim as nouns
from approval_resource.model.claim import Verdict
from approval_resource.model.event import TICK, State
from approval_resource.policy.authoring.trial import document_of
from approval_resource.policy.language.strict import Document, read_document
from approval_resource.service import shapes
from approval_resource.service.acts import Said
from approval_resource.service.call import Call
from approval_resource.service.desk import HiddenError, Row, View
from approval_resource.service.pages import count, file_answer
from approval_resource.service.people import Role
from approval_resource.service.problems import MalformedError, NotSeenError
from approval_resource.store.gapless import gapless
from approval_resource.text import clean

D = TypeVar("D", bound=Document)

PAGE = 50
MAX_PAGE = 200
VERDICTS = {"approved": Verdict.APPROVE, "rejected": Verdict.REJECT}
DATE_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)", re.ASCII | re.IGNORECASE)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def claims(call: Call) -> Response:
    """List claims: those that wait, or those of another state, of all pools or one."""
    person = call.require_person()
    desk = call.service.desk
    pool = call.query.get("pool")
    wanted = call.query.get("state", "pending")
    if wanted not in {state.value for state in State} | {"open"}:
        raise MalformedError(f"state: must be open, or one of {', '.join(state.value for state in State)}")
    pools = [desk.pool(person, pool)] if pool else desk.access.visible(person)
    rows = desk.rows(person, pools)
    if wanted != "open" and not State(wanted).is_open:
        rows = [row for name in pools for row in desk.ended(person, name)]
    found = [row for row in rows if wanted in ("open", row.claim.state.value)]
    if _flag(call, "mine"):
        found = [row for row in found if row.standing.waits]
    cursor = call.query.get("cursor", "")
    found = sorted((row for row in found if _place(row) > cursor), key=_place)
    limit = _limit(call)
    shown = [_summary(call, row) for row in found[:limit]]
    more = _place(found[limit - 1]) if len(found) > limit else None
    return _answer(shapes.ClaimList(claims=shown, next=more))


def claim(call: Call) -> Response:
    """Tell all of one claim, with the ETag that a review has to send back."""
    person = call.require_person()
    view = call.service.desk.view(person, call.service.desk.claim(person, call.path["id"]))
    etag = f'"{view.tag}"'
    if etag in _tags(call.request.headers.get("if-none-match", "")):
        return Response(status_code=304, headers={"ETag": etag, "Cache-Control": "no-cache"})
    return _answer(_claim(call, view), headers={"ETag": etag, "Cache-Control": "no-cache"})


def attachment(call: Call) -> Response:
    """Send an attached file."""
    person = call.require_person()
    found = call.service.desk.claim(person, call.path["id"])
    content = read_attachment(call.service.store, found, call.path["name"])
    return file_answer(call.path["name"], content, found.attachments[call.path["name"]].digest)


def reviews(call: Call) -> Response:
    """List the verdicts on a claim."""
    person = call.require_person()
    found = call.service.desk.claim(person, call.path["id"])
    return _answer(shapes.Reviews(approvals=[_approval(one) for one in found.reviews.values()]))


def review(call: Call) -> Response:
    """Record a verdict on what If-Match says was shown."""
    person = call.require_person()
    found = call.service.desk.claim(person, call.path["id"])
    body = _body(call, shapes.ReviewBody)
    seen = _tags(call.request.headers.get("if-match", ""))
    if len(seen) != 1 or "*" in seen:
        raise NotSeenError("send the claim's ETag as If-Match, so that your verdict binds what you saw")
    named = [body.represented_as] if isinstance(body.represented_as, str) else body.represented_as or []
    said = Said(
        verdict=VERDICTS[body.status],
        comment=body.comment or "",
        rules=tuple(named),
        force=body.force,
        inputs=body.inputs or {},
        supersede=tuple(body.supersede or ()),
        seen=next(iter(seen)).strip('"').partition(".")[0] or "none",
    )
    outcome = call.service.acts.review(person, found.id, said)
    count(call, outcome, said.verdict)
    view = call.service.desk.view(person, outcome.claim)
    # Forcing an approved claim through a freeze adds no review.
    own = outcome.claim.reviews.get(person.identity)
    answer = shapes.Recorded(
        review=_approval(own) if own else None,
        claim=_claim(call, view),
        changed=outcome.changed,
        sentence=outcome.sentence,
        superseded=[
            shapes.Superseded(id=clean(id_)[:36], done=done, sentence=clean(told)) for id_, done, told in outcome.older
        ],
    )
    return _answer(answer, 201 if outcome.changed else 200, {"ETag": f'"{view.tag}"'})


def withdrawal(call: Call) -> Response:
    """Take a claim back."""
    person = call.require_person()
    found = call.service.desk.claim(person, call.path["id"])
    body = _body(call, shapes.WithdrawalBody)
    outcome = call.service.acts.withdraw(person, found.id, body.reason, force=body.force)
    return _answer(_claim(call, call.service.desk.view(person, outcome.claim)))


def events(call: Call) -> Response:
    """List the events of a pool after a cursor, oldest first."""
    person = call.require_person()
    visible = call.service.desk.access.visible(person)
    named = call.query.get("pool", "")
    if not named and len(visible) != 1:
        raise MalformedError("pool: give one, since each pool has a log of its own")
    pool = call.service.desk.pool(person, named or visible[0])
    after = call.query.get("after", "")
    since = _after(after) if after else EPOCH
    limit = _limit(call)
    store = call.service.store
    read = gapless(store.events(pool, since=since), since, by_lock=False, store=store)
    # A planted event of another pool would show what this person may not see.
    found = list(islice((event for event in read if event.pool == pool), limit))
    shown = [
        shapes.Event(
            cursor=instant(event.timestamp),
            pool=event.pool,
            at=instant(event.at),
            kind=event.kind.value,
            claim=event.claim_id,
            lock_name=event.lock_name,
            state=event.state.value if event.state else None,
            actor=event.actor,
            reason=event.reason,
            verdict=event.verdict,
            forced=event.forced,
            digest=event.digest,
        )
        for event in found
    ]
    return _answer(shapes.EventList(events=shown, next=shown[-1].cursor if shown else after))


def whoami(call: Call) -> Response:
    """Tell whoever asks who they are here."""
    person = call.require_person()
    access = call.service.desk.access
    pools = {pool: [role.value for role in Role if access.may(person, pool, role)] for pool in access.visible(person)}
    return _answer(
        shapes.Self(
            identity=person.identity,
            name=person.name,
            email=person.mail,
            groups=list(person.groups),
            auth_time=instant(person.auth_time) if person.auth_time else None,
            via=person.via,
            pools=pools,
        )
    )


def login(call: Call) -> Response:
    """Tell the command line where its people sign in, and as which client. It asks for no proof."""
    found = call.service.callers.device
    if found is None:
        raise HiddenError("this service has no sign-in for the command line; use AWS credentials, or the pages")
    machine, issuer = found
    return _answer(
        shapes.DeviceLogin(
            issuer=issuer.name,
            client_id=machine.audience,
            scope=" ".join(call.service.config.login.scopes),
            device_authorization_endpoint=issuer.endpoint("device_authorization_endpoint"),
            token_endpoint=issuer.endpoint("token_endpoint"),
        )
    )


def _claim(call: Call, view: View) -> shapes.Claim:
    told = view.claim
    document = document_of(view.decision) if view.decision is not None else {}
    terms = {} if view.broken else dict(call.service.desk.looks.terms(told).given)
    row = Row(told, view.standing, "; ".join(document.get("reasons", [])) or view.broken)
    return shapes.Claim(
        **_summary(call, row).model_dump(),
        approvals=[_approval(one) for one in told.reviews.values()],
        pending_approval_count=document.get("pending_approval_count", 0),
        approval_summary=document.get("approval_summary", {"rules": []}),
        attachments=[
            shapes.File(name=name, size=file.size, sha256=file.digest, stored=file.stored)
            for name, file in sorted(told.attachments.items())
        ],
        facts=terms,
        openers=[clean(line) for line in view.openers.lines] if view.openers else [],
        policies=document.get("policies", []),
        reasons=document.get("reasons", [view.broken] if view.broken else []),
        rules=list(view.rules),
        inputs=[asked.model_dump(mode="json") for asked in view.inputs],
        frozen=view.frozen,
        older=[one.id for one in view.older],
        queue=[waiter.build for waiter in view.queue],
        decision=_ruling(told.decided),
        ended=_ruling(told.ended),
        passages=[shapes.Passage(build=one.actor, build_url=one.build, at=instant(one.at)) for one in view.passages],
        may_force=view.standing.may_force,
    )


def _summary(call: Call, row: Row) -> shapes.ClaimSummary:
    told = row.claim
    return shapes.ClaimSummary(
        id=told.id,
        pool=told.pool,
        lock_name=told.lock_name,
        state=told.state.value,
        status="blocked" if told.state is State.PENDING else told.state.value,
        description=told.description,
        build=str(told.build),
        build_url=told.build.link,
        requester=told.build.created_by,
        created_at=instant(told.created_at),
        deadline=instant(told.deadline) if told.deadline else None,
        can_decide=row.standing.can_decide,
        why_not=row.standing.why_not,
        waits_for_you=row.standing.waits,
        summary=row.summary,
        url=f"{call.service.config.url}/claims/{quote(told.id)}",
    )


def _approval(one: nouns.Review) -> shapes.Approval:
    return shapes.Approval(
        user=shapes.User(username=one.reviewer),
        status="approved" if one.verdict is Verdict.APPROVE else "rejected",
        created_at=instant(one.at),
        comment=one.comment or None,
        represented_as=list(one.represented_as),
        inputs=dict(one.inputs),
        forced=one.forced,
        groups=list(one.groups),
    )


def _ruling(ruling: nouns.Transition | None) -> shapes.Ruling | None:
    if ruling is None:
        return None
    return shapes.Ruling(state=ruling.state.value, actor=ruling.actor, reason=ruling.reason, at=instant(ruling.at))


def _answer(model: shapes.Answer, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return JSONResponse(model.model_dump(mode="json"), status, headers)


def _body(call: Call, model: type[D]) -> D:
    document = call.document()
    try:
        return read_document(model, document, "body")
    except ConfigError as wrong:
        raise MalformedError("\n".join(wrong.problems)) from wrong


def _tags(header: str) -> set[str]:
    return {tag.strip().removeprefix("W/") for tag in header.split(",") if tag.strip()}


def _place(row: Row) -> str:
    return f"{instant(row.claim.timestamp)}.{row.claim.id}"


def _limit(call: Call) -> int:
    text = call.query.get("limit", str(PAGE))
    if not (text.isascii() and text.isdigit() and len(text) <= len(str(MAX_PAGE))) or not 1 <= int(text) <= MAX_PAGE:
        raise MalformedError(f"limit: must be a number from 1 to {MAX_PAGE}")
    return int(text)


def _after(text: str) -> datetime:
    try:
        if DATE_TIME.fullmatch(text):
            return datetime.fromisoformat(text.upper()).astimezone(UTC) + TICK
    except (ValueError, OverflowError):
        pass
    raise MalformedError("after: must be a cursor, as `next` gave it, or an instant of RFC 3339")


def _flag(call: Call, name: str) -> bool:
    text = call.query.get(name, "false")
    if text not in ("true", "false"):
        raise MalformedError(f"{name}: must be true or false")
    return text == "true"


Endpoint = Callable[[Call], Response]


def routes() -> Iterator[tuple[str, str, Endpoint]]:
    """Yield method, path and endpoint of each operation."""
    base = "/api/v1"
    yield "GET", f"{base}/claims", claims
    yield "GET", f"{base}/claims/{{id}}", claim
    yield "GET", f"{base}/claims/{{id}}/attachments/{{name:path}}", attachment
    yield "GET", f"{base}/claims/{{id}}/reviews", reviews
    yield "POST", f"{base}/claims/{{id}}/reviews", review
    yield "POST", f"{base}/claims/{{id}}/withdrawal", withdrawal
    yield "GET", f"{base}/events", events
    yield "GET", f"{base}/whoami", whoami
    yield "GET", f"{base}/login", login
