"""Links to one decision: a page that changes nothing, and the reply of a program, as nullplatform has it."""

from __future__ import annotations

from starlette.responses import JSONResponse, Response

from approval_resource.errors import LinkSpentError
from approval_resource.model.claim import Claim, Verdict
from approval_resource.model.event import State
from approval_resource.service.acts import MAX_COMMENT, Said
from approval_resource.service.call import Call
from approval_resource.service.links import Link
from approval_resource.service.oidc import NotSignedInError
from approval_resource.service.pages import claim_answer, count
from approval_resource.service.people import Role
from approval_resource.service.problems import BadLinkError, GoneError, MalformedError
from approval_resource.service.shapes import ReplyBody
from approval_resource.text import clean

STATUS = {State.PENDING: "pending", State.APPROVED: "approved", State.REJECTED: "denied", State.EXPIRED: "expired"}


def _found(call: Call, verdict: Verdict) -> tuple[Claim, Link]:
    """Return the claim and the link that the address names.

    Raises:
        BadLinkError: the token isn't one for that claim and verdict.
        GoneError: it has come to its end.
    """
    links, claim_id, token = call.service.links, call.path["id"], call.query.get("token", "")
    # Strangers reach this: a claim is read only with a link made for it, and at most once a second.
    claim = call.service.desk.looks.claim(claim_id) if links.made(token, claim_id, verdict) else None
    link = links.verified(token, claim, verdict) if claim else None
    if claim is None or link is None:
        raise BadLinkError("this link was never made for that; open the claim from the list of what waits for you")
    if link.until <= call.now:
        raise GoneError("this link has expired; open the claim from the list of what waits for you")
    return claim, link


def confirm(verdict: Verdict, call: Call) -> Response:
    """Show what the link is about, to whoever signed in and may see it. Nothing changes, whoever asks."""
    claim, _ = _found(call, verdict)
    person = call.person
    if person is None or not call.service.desk.access.may(person, claim.pool, Role.VIEW):
        return call.page("confirm.html", 200 if person is None else 403, claim_id=claim.id, known=person is not None)
    if claim.state is not State.PENDING:
        return claim_answer(call, claim, 410, ("This link has come to its end: the claim is decided, or has ended.",))
    return claim_answer(call, claim, token=call.query.get("token", ""), wanted=verdict.value)


def reply(verdict: Verdict, call: Call) -> Response:
    """Record the reply of a channel whose links carry its authority."""
    claim, link = _found(call, verdict)
    if link.channel not in call.service.config.links.bearer:
        raise NotSignedInError("this link only finds the claim; open it in a browser, sign in and decide there")
    if claim.pool not in call.service.desk.access.pools:
        raise GoneError("this link has come to its end: the service no longer serves the claim's pool")
    body = _body(call)
    identity = f"link:{link.channel}"
    if claim.state is not State.PENDING:
        if identity in claim.reviews:
            raise LinkSpentError(claim)
        raise GoneError(f"this link has come to its end: the claim is {claim.state.value}")
    outcome = call.service.acts.reply(claim, link, Said(verdict=verdict, comment=said_comment(body), link=link.id))
    count(call, outcome, verdict)
    after = outcome.claim
    document = {"id": after.id, "status": STATUS.get(after.state, "cancelled"), "execution_status": "pending"}
    return JSONResponse(document | {"message": outcome.sentence})


def said_comment(body: ReplyBody) -> str:
    """Return the comment of a reply: its message, and the reviewer that it names, marked as unproven."""
    named = body.reviewer
    who = " ".join(part for part in (named.name or "", f"<{named.email}>" if named.email else "") if part) if named else ""
    parts = [clean(body.message or "").strip(), f"(said to be by {clean(who)})" if who else ""]
    return " ".join(part for part in parts if part)[:MAX_COMMENT]


def _body(call: Call) -> ReplyBody:
    if not call.body.strip():
        return ReplyBody()
    document = call.document()
    try:
        return ReplyBody.model_validate(document)
    except ValueError as wrong:
        raise MalformedError("the reply's reviewer and message must be as nullplatform has them") from wrong
