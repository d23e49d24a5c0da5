"""Pages and requests of Slack: a pressed button, and the link of an account with a person's own sign-in."""

from __future__ import annotations

import hmac
import logging
from dataclasses import replace
from datetime import datetime, timedelta

from starlette.responses import Response

from approval_resource.errors import ApprovalError, StoreUnavailableError
from approval_resource.service.acts import Said
from approval_resource.service.call import Call
from approval_resource.service.desk import ForbiddenError, HiddenError
from approval_resource.service.oidc import Client
from approval_resource.service.pages import count
from approval_resource.service.people import Person
from approval_resource.service.problems import problem_of
from approval_resource.service.signing import random_text
from approval_resource.service.slack import USER, Press, Slack
from approval_resource.service.slack_accounts import ISSUER, Accounts
from approval_resource.text import clean

log = logging.getLogger("approval_resource.service.slack_pages")

TEAM_CLAIM, USER_CLAIM = f"{ISSUER}/team_id", f"{ISSUER}/user_id"
"""Claims of Slack's id token."""
COOKIE = "__Host-slack"
SECONDS = 300
UNKNOWN = "It isn't known whether this was recorded; look at the page"
"""Answer to a presser if the outcome of the press isn't known."""


def interactions(call: Call) -> Response:
    """Record the press of a button. Slack is answered within seconds, even if the record takes longer."""
    slack = _slack(call)
    headers = call.request.headers
    timestamp, signature = (headers.get(f"x-slack-{name}", "") for name in ("request-timestamp", "signature"))
    press = slack.press(timestamp, signature, call.body, call.now)
    if press is not None:
        call.request.scope["told"] |= {"who": slack.account(press), "claim": press.claim_id}
        slack.within_seconds(lambda: _record(call, slack, press))
    return Response(status_code=200)


def _record(call: Call, slack: Slack, press: Press) -> None:
    """Record the verdict, and tell the presser alone what became of it."""
    service, account = call.service, slack.account(press)
    try:
        person = slack.accounts.person(account, call.now) or Person(identity=account, via="slack")
        said = Said(verdict=press.verdict, comment=f"by a button in Slack, as {account}", seen=press.seen)
        outcome = service.acts.review(person, press.claim_id, said)
        count(call, outcome, press.verdict)
        told = outcome.sentence
    except ApprovalError as error:
        kind = problem_of(error).type
        service.metrics.refused(error, kind)
        fields = {"event": "press", "who": account, "claim": press.claim_id, "refused": kind, "why": str(error)[:300]}
        log.info("refused", extra={"told": fields})
        lost = isinstance(error, StoreUnavailableError)
        told = f"{UNKNOWN} ({error})" if lost else f"Nothing was recorded: {error}"
    except Exception:
        # Slack may have its answer, so only a whisper reaches the presser. The review is atomic.
        log.exception("a press of a button ended in a fault")
        told = f"{UNKNOWN}, by a fault of the service."
    slack.whisper(press, f"{told}\n{service.config.url}/claims/{press.claim_id}")


def page(call: Call) -> Response:
    """Offer to link an account of Slack. Nothing changes."""
    _require_session(call)
    return _shown(call, _accounts(call))


def begin(call: Call) -> Response:
    """Remember whose account is about to be linked, and show the way to Slack's sign-in."""
    accounts, person = _accounts(call), _require_session(call)
    call.require_own_form(dict(call.form()))
    state, nonce, verifier = random_text(), random_text(), random_text() + random_text()
    until = (call.now + timedelta(seconds=SECONDS)).timestamp()
    document = {"state": state, "nonce": nonce, "verifier": verifier, "session": person.session, "until": until}
    address = _client(accounts).authorization_url(state=state, nonce=nonce, verifier=verifier, max_age=None)
    answer = _shown(call, accounts, address=address)
    text = call.service.signer.pack("slack-begun", document)
    answer.set_cookie(COOKIE, text, max_age=SECONDS, path="/", secure=True, httponly=True, samesite="lax")
    return answer


def callback(call: Call) -> Response:
    """Link the account of the sign-in at Slack with the person who signed in here."""
    accounts, person, now = _accounts(call), _require_session(call), call.now
    begun = call.service.signer.unpack("slack-begun", call.request.cookies.get(COOKIE, ""))
    if begun is None or begun["until"] <= now.timestamp() or begun["session"] != person.session:
        raise ForbiddenError("this wasn't begun in this session, or took too long; begin again at /slack/link")
    if not hmac.compare_digest(begun["state"].encode(), call.query.get("state", "").encode()):
        raise ForbiddenError("this answer belongs to another sign-in; begin again at /slack/link")
    if refused := call.query.get("error"):
        raise ForbiddenError(f"Slack refused the sign-in ({clean(refused)[:80]}); begin again at /slack/link")
    claims = _client(accounts).claims(call.query.get("code", ""), verifier=begun["verifier"], nonce=begun["nonce"], now=now)
    team, user = str(claims.get(TEAM_CLAIM) or ""), str(claims.get(USER_CLAIM) or "")
    if team != accounts.team or not USER.fullmatch(user):
        raise ForbiddenError("that account is of another workspace than this service's")
    account = f"slack:{team}#{user}"
    until = accounts.link(account, replace(person, session=""), now)
    call.request.scope["told"] |= {"linked": account}
    answer = _shown(call, accounts, linked=account, until=until)
    answer.delete_cookie(COOKIE, secure=True, httponly=True, samesite="lax")
    return answer


def unlink(call: Call) -> Response:
    """End the links that this person made, whichever accounts they are of."""
    accounts, person = _accounts(call), _require_session(call)
    call.require_own_form(dict(call.form()))
    accounts.unlink(person)
    call.request.scope["told"] |= {"unlinked": person.identity}
    return _shown(call, accounts, ended=True)


def _shown(
    call: Call, accounts: Accounts, *, address: str = "", linked: str = "", until: datetime | None = None, ended: bool = False
) -> Response:
    return call.page("slack.html", accounts=accounts, address=address, linked=linked, until=until, ended=ended)


def _slack(call: Call) -> Slack:
    if call.service.slack is None:
        raise HiddenError("this service answers no buttons of Slack's")
    return call.service.slack


def _accounts(call: Call) -> Accounts:
    accounts = _slack(call).accounts
    if accounts.client is None:
        raise HiddenError("accounts of Slack can't be linked here")
    return accounts


def _client(accounts: Accounts) -> Client:
    if accounts.client is None:
        raise HiddenError("accounts of Slack can't be linked here")
    return accounts.client


def _require_session(call: Call) -> Person:
    """Return the person, who has to be signed in by a browser's session."""
    person = call.require_person()
    if not person.session:
        raise ForbiddenError("sign in with a browser to link an account")
    return person
